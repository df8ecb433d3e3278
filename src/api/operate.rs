//! Operating the daemon over HTTP: metrics, health, readiness, reload. Prometheus conventions.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{ApiState, Problem};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = concat!(
    "incidentd ",
    env!("CARGO_PKG_VERSION"),
    "

POST /api/v1/events                  events as JSON, an array of them, or NDJSON
POST /api/v2/alerts                  alerts as Prometheus sends them to an Alertmanager
gRPC incidentd.v1.EventService       on this port, with reflection
GET  /api/v1/incidents               incidents, newest first
GET  /api/v1/incidents/{id}          one incident with its alerts and timeline
POST /api/v1/incidents/{id}/merge    merges it into another one
POST /api/v1/incidents/{id}/split    takes out of it what was merged into it
GET  /api/v1/unions                  values of union rules that join nothing further
GET  /api/v1/rules/unmatched         which alerts no rule wants, by source and label
GET  /api/v1/problems                incidents that keep recurring
GET  /api/v1/problems/{id}           one problem with its incidents
POST /api/v1/problems/{id}/close     closes it
GET  /api/v1/silences                silences, with what they have muted
GET  /api/v1/silences/{id}           one of them
GET  /api/v2/alerts                  what fires, as Alertmanager shows it; also /api/v2/alerts/groups
     /api/v2/silences                silences as Alertmanager has them: GET, POST; /api/v2/silence/{id}: GET, DELETE
GET  /api/v2/status                  for clients of Alertmanager; also /api/v2/receivers
GET  /api/v1/sinks                   how every sink fares
GET  /api/v1/sinks/{name}/parked     deliveries that were given up
POST /api/v1/sinks/{name}/retry      tries them again
GET  /metrics                        for Prometheus
GET  /-/healthy, /-/ready            for whoever looks after the process
POST /-/reload                       loads the configuration anew
"
);

/// `GET /`: what there is, for somebody who looks here first.
pub(super) async fn index() -> &'static str {
    INDEX
}

/// `GET /metrics`.
pub(super) async fn metrics(State(state): State<ApiState>) -> Response {
    let rendered = tokio::task::spawn_blocking(move || state.metrics.render()).await;
    match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response(),
        Err(error) => Problem::internal("the metrics could not be rendered", &error).into_response(),
    }
}

/// `GET /-/healthy`: the process answers.
pub(super) async fn healthy() -> &'static str {
    "incidentd is healthy\n"
}

/// `GET /-/ready`: events are taken.
pub(super) async fn ready(State(state): State<ApiState>) -> Response {
    match (state.ready)() {
        Ok(()) => "incidentd is ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("incidentd is not ready: {reason}\n")).into_response(),
    }
}
