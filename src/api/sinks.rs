//! How the sinks fare, which deliveries were given up, and another try for those.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::problem::echo;
use super::{ApiState, Problem};

/// Parked deliveries shown at most.
const PARKED_MAX: usize = 1_000;

/// The outbox, as far as the API may reach into it.
pub trait Sinks: Send + Sync {
    /// One entry per sink: backlog, parked, breaker, last error, next try.
    fn status(&self) -> Vec<Value>;

    /// Tries a sink's parked deliveries again, at most the oldest 1,000. Tells how many, once that is durable; `None`
    /// when there is no such sink.
    fn retry(self: Arc<Self>, sink: String) -> BoxFuture<'static, Option<usize>>;
}

/// `GET /api/v1/sinks`.
pub(super) async fn list(State(state): State<ApiState>) -> Response {
    Json(json!({ "sinks": state.sinks.status() })).into_response()
}

/// `GET /api/v1/sinks/{name}/parked`: deliveries that were given up, oldest first.
pub(super) async fn parked(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    if !is_known(&state, &name) {
        return unknown(&name).into_response();
    }
    let found = tokio::task::spawn_blocking(move || state.reads.parked(&name, PARKED_MAX)).await;
    let waiting = match found {
        Ok(Ok(waiting)) => waiting,
        Ok(Err(error)) => return Problem::internal("the store cannot be read", &error).into_response(),
        Err(error) => return Problem::internal("the store cannot be read", &error).into_response(),
    };
    let shown = waiting.iter().map(|one| {
        json!({
            "delivery_id": one.delivery.id(),
            "incident_id": one.delivery.incident,
            "sequence": one.delivery.sequence,
            "action": one.delivery.action,
            "created_at": one.delivery.created_at,
            "attempts": one.attempts,
            "last_error": one.last_error,
        })
    });
    Json(json!({ "parked": shown.collect::<Vec<_>>() })).into_response()
}

/// `POST /api/v1/sinks/{name}/retry`.
pub(super) async fn retry(State(state): State<ApiState>, Path(name): Path<String>) -> Response {
    match state.sinks.retry(name.clone()).await {
        Some(retried) => Json(json!({ "retried": retried })).into_response(),
        None => unknown(&name).into_response(),
    }
}

fn is_known(state: &ApiState, name: &str) -> bool {
    state.sinks.status().iter().any(|sink| sink["sink"] == name)
}

fn unknown(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("no sink is named {}; see /api/v1/sinks", echo(name)))
}
