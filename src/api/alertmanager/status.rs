//! `GET /api/v2/status` and `GET /api/v2/receivers`: who we are, and our sinks.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{ApiState, Millis, Named, Routing};
use crate::openapi::{Api, Operation};

/// Who we are, as Alertmanager says it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AlertmanagerStatus")]
struct Status {
    cluster: Cluster,
    config: Shown,
    uptime: Millis,
    version_info: VersionInfo,
}

/// There is none: `disabled`, no peers.
#[derive(Serialize, JsonSchema)]
struct Cluster {
    peers: [String; 0],
    status: &'static str,
}

/// Of the configuration, the receivers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AlertmanagerConfig")]
struct Shown {
    original: String,
}

/// The version; the other members are empty.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct VersionInfo {
    branch: &'static str,
    build_date: &'static str,
    build_user: &'static str,
    go_version: &'static str,
    revision: &'static str,
    version: &'static str,
}

/// The routes.
pub(super) fn api() -> Api<ApiState> {
    let status_is = Operation::new("getStatus", "alertmanager", "for clients of Alertmanager")
        .answer::<Status>(200, "the version, when it started, the receivers");
    let receivers_is = Operation::new("getReceivers", "alertmanager", "the sinks, as Alertmanager names them")
        .answer::<Vec<Named<'_>>>(200, "in the order of the configuration");
    Api::new().get("/api/v2/status", status, status_is).get("/api/v2/receivers", receivers, receivers_is)
}

/// `GET /api/v2/status`. There is no cluster; of the configuration only the receivers are told, in a form that tools made
/// for Alertmanager can read. No URL, token or header of a sink is ever shown.
pub(super) async fn status(State(state): State<ApiState>) -> Response {
    Json(Status {
        cluster: Cluster { peers: [], status: "disabled" },
        config: Shown { original: original(&(state.routing)().await) },
        uptime: Millis(state.started_at),
        version_info: VersionInfo { version: env!("CARGO_PKG_VERSION"), ..VersionInfo::default() },
    })
    .into_response()
}

/// `GET /api/v2/receivers`.
pub(super) async fn receivers(State(state): State<ApiState>) -> Response {
    let routing = (state.routing)().await;
    let receivers: Vec<Named<'_>> = routing.receivers.iter().map(|name| Named { name }).collect();
    Json(json!(receivers)).into_response()
}

/// What an Alertmanager with these receivers would call its configuration. Names of sinks need no quotes.
fn original(routing: &Routing) -> String {
    let first = routing.receivers.first().map_or("none", |name| name);
    let mut text = "# incidentd: only the receivers are shown; its rules are in its own file\n".to_owned();
    text.push_str(&format!("route:\n  receiver: {first}\nreceivers:\n"));
    if routing.receivers.is_empty() {
        text.push_str("- name: none\n");
    }
    routing.receivers.iter().for_each(|name| text.push_str(&format!("- name: {name}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_shown_names_receivers_and_is_one_that_tools_can_read() {
        let routing = Routing { receivers: vec!["console".into(), "ops".into()], ..Routing::default() };
        let text = original(&routing);
        assert!(text.ends_with("route:\n  receiver: console\nreceivers:\n- name: console\n- name: ops\n"), "{text}");
        assert!(original(&Routing::default()).ends_with("route:\n  receiver: none\nreceivers:\n- name: none\n"));
    }
}
