//! How the sinks fare, which deliveries were given up, and another try for those.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::{INTERNAL, NOT_FOUND, Name, echo};
use super::{ApiState, Problem};
use crate::delivery::Action;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::openapi::{Api, Operation};
use crate::outbox::SinkStatus;

/// Parked deliveries shown at most.
const PARKED_MAX: usize = 1_000;

/// The outbox, as far as the API may reach into it.
pub trait Sinks: Send + Sync {
    /// One entry per sink: backlog, parked, breaker, last error, next try.
    fn status(&self) -> Vec<SinkStatus>;

    /// Tries a sink's parked deliveries again, at most the oldest 1,000. Tells how many, once that is durable; `None`
    /// when there is no such sink.
    fn retry(self: Arc<Self>, sink: String) -> BoxFuture<'static, Option<usize>>;
}

/// How every sink fares.
#[derive(Serialize, JsonSchema)]
struct Statuses {
    /// By name.
    sinks: Vec<SinkStatus>,
}

/// Deliveries that were given up.
#[derive(Serialize, JsonSchema)]
struct Parked {
    /// Oldest first, at most 1,000.
    parked: Vec<ParkedDelivery>,
}

/// A delivery that was given up.
#[derive(Serialize, JsonSchema)]
struct ParkedDelivery {
    /// Its id, the same in every try.
    delivery_id: String,
    /// The incident.
    incident_id: IncidentId,
    /// The number of the decision within the incident.
    sequence: u64,
    /// What happened.
    action: Action,
    /// When it was decided.
    created_at: Timestamp,
    /// Tries so far.
    attempts: u32,
    /// Why the last one failed.
    last_error: Option<String>,
}

/// How many are tried again.
#[derive(Serialize, JsonSchema)]
struct Retried {
    /// The oldest, at most 1,000.
    retried: usize,
}

/// The routes.
pub(super) fn api() -> Api<ApiState> {
    let list_is = Operation::new("listSinks", "sinks", "how every sink fares").answer::<Statuses>(200, "all sinks");
    let parked_is = Operation::new("listParked", "sinks", "deliveries that were given up")
        .path::<String>("name", "the sink")
        .answer::<Parked>(200, "oldest first, at most 1,000")
        .fails(&[NOT_FOUND, INTERNAL]);
    let retry_is = Operation::new("retryParked", "sinks", "tries them again")
        .path::<String>("name", "the sink")
        .answer::<Retried>(200, "they are in the sink's queue again, on disk")
        .fails(&[NOT_FOUND]);
    Api::new().get("/api/v1/sinks", list, list_is).get("/api/v1/sinks/{name}/parked", parked, parked_is).post(
        "/api/v1/sinks/{name}/retry",
        retry,
        retry_is,
    )
}

/// `GET /api/v1/sinks`.
pub(super) async fn list(State(state): State<ApiState>) -> Response {
    Json(Statuses { sinks: state.sinks.status() }).into_response()
}

/// `GET /api/v1/sinks/{name}/parked`: deliveries that were given up, oldest first.
pub(super) async fn parked(State(state): State<ApiState>, Name(name): Name) -> Response {
    if !is_known(&state, &name) {
        return unknown(&name).into_response();
    }
    let found = tokio::task::spawn_blocking(move || state.reads.parked(&name, PARKED_MAX)).await;
    let waiting = match found {
        Ok(Ok(waiting)) => waiting,
        Ok(Err(error)) => return Problem::internal("the store cannot be read", &error).into_response(),
        Err(error) => return Problem::internal("the store cannot be read", &error).into_response(),
    };
    let shown = waiting.iter().map(|one| ParkedDelivery {
        delivery_id: one.delivery.id(),
        incident_id: one.delivery.incident,
        sequence: one.delivery.sequence,
        action: one.delivery.action,
        created_at: one.delivery.created_at,
        attempts: one.attempts,
        last_error: one.last_error.clone(),
    });
    Json(Parked { parked: shown.collect() }).into_response()
}

/// `POST /api/v1/sinks/{name}/retry`.
pub(super) async fn retry(State(state): State<ApiState>, Name(name): Name) -> Response {
    match state.sinks.retry(name.clone()).await {
        Some(retried) => Json(Retried { retried }).into_response(),
        None => unknown(&name).into_response(),
    }
}

fn is_known(state: &ApiState, name: &str) -> bool {
    state.sinks.status().iter().any(|sink| sink.sink == name)
}

fn unknown(name: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("no sink is named {}; see /api/v1/sinks", echo(name)))
}
