//! Operating the daemon over HTTP: metrics, health, readiness. Prometheus conventions.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::INTERNAL;
use super::{ApiState, Problem, TEXT};
use crate::openapi::{Api, Operation};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes for whoever looks after the process.
pub(super) fn api() -> Api<ApiState> {
    let metrics_is = Operation::new("getMetrics", "daemon", "for Prometheus")
        .answer_as::<String>(PROMETHEUS_TEXT, 200, "all metrics, in the text format")
        .fails(&[INTERNAL]);
    let healthy_is = Operation::new("isHealthy", "daemon", "200 while the process answers").answer_as::<String>(
        TEXT,
        200,
        "a sentence",
    );
    let ready_is = Operation::new("isReady", "daemon", "200 while events are taken")
        .answer_as::<String>(TEXT, 200, "a sentence")
        .answer_as::<String>(TEXT, 503, "events are not taken; why");
    Api::new()
        .get("/metrics", metrics, metrics_is)
        .get("/-/healthy", healthy, healthy_is)
        .get("/-/ready", ready, ready_is)
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
