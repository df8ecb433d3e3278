//! `GET /api/v2/status` and `GET /api/v2/receivers`: who we are, and our sinks.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{ApiState, Millis, Named, Routing};

/// `GET /api/v2/status`. There is no cluster; of the configuration only the receivers are told, in a form that tools made
/// for Alertmanager can read. No URL, token or header of a sink is ever shown.
pub(super) async fn status(State(state): State<ApiState>) -> Response {
    let original = original(&(state.routing)().await);
    Json(json!({
        "cluster": { "peers": [], "status": "disabled" },
        "config": { "original": original },
        "uptime": Millis(state.started_at),
        "versionInfo": {
            "branch": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
            "revision": "",
            "version": env!("CARGO_PKG_VERSION"),
        },
    }))
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
