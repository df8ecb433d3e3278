//! `GET /api/v1/problems`, `GET /api/v1/problems/{id}`, `POST /api/v1/problems/{id}/close`: incidents that keep recurring.
//!
//! Read from the store, as of the last commit; at most [`LISTED_MAX`] at once, the one that was raised last first. Closed by
//! the shard that has it, and answered once that is durable.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::merges::{named_operator, read};
use super::problem::echo;
use super::{ApiState, Problem};
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::problems::ProblemStatus;
use crate::identity::ProblemId;
use crate::ingest;
use crate::runtime::CommandError;
use crate::store::{Reads, StoreError};

const LISTED_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseBody {
    resolution: String,
    by: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    problems: Vec<Box<RawValue>>,
}

/// `GET /api/v1/problems`.
pub(super) async fn list(
    State(state): State<ApiState>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Asked { status }) = asked.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_query", format!("{}; known: status", rejection.body_text()))
    })?;
    let known = [ProblemStatus::Open, ProblemStatus::Closed].map(ProblemStatus::as_str);
    let status = status.filter(|status| !status.is_empty());
    if let Some(status) = status.as_deref().filter(|status| !known.contains(status)) {
        let detail = format!("\"status\" is one of {}, not \"{}\"", known.join(", "), echo(status));
        return Err(Problem::parameter("status", detail));
    }
    let found = stored(&state, move |reads| reads.problems(status.as_deref(), LISTED_MAX)).await?;
    let problems = found.into_iter().map(RawValue::from_string).collect::<Result<_, _>>();
    let problems = problems.map_err(|error| Problem::internal("the problems cannot be shown", &error))?;
    Ok(Json(Listing { problems }).into_response())
}

/// `GET /api/v1/problems/{id}`.
pub(super) async fn show(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Response, Problem> {
    let (_, document) = known(&state, &name).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

/// `POST /api/v1/problems/{id}/close`.
pub(super) async fn close(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let CloseBody { resolution, by } = read(body)?;
    let (problem, _) = known(&state, &name).await?;
    match state.operators.order(named_operator(by), Command::CloseProblem { problem, resolution }).await {
        Ok(Done::Problem(document)) => Ok(Json(&*document).into_response()),
        Ok(_) => Err(Problem::internal("the command was answered with something else", &"a fault of ours")),
        Err(CommandError::Refusal(Refusal::Unknown)) => {
            Err(Problem::new(StatusCode::CONFLICT, "illegal_transition", format!("{problem} is closed already")))
        }
        Err(CommandError::Refusal(refusal)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_command", refusal.to_string()))
        }
        Err(CommandError::Refused(why)) => Ok(ingest::Problem::refused(&why).into_response()),
    }
}

async fn known(state: &ApiState, name: &str) -> Result<(ProblemId, String), Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_problem", format!("no problem {}", echo(name)));
    let id: ProblemId = name.parse().map_err(|_| unknown())?;
    let document = stored(state, move |reads| reads.problem(id)).await?;
    document.map(|document| (id, document)).ok_or_else(unknown)
}

async fn stored<T: Send + 'static>(
    state: &ApiState,
    ask: impl FnOnce(&dyn Reads) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Problem> {
    let reads = state.reads.clone();
    let found = tokio::task::spawn_blocking(move || ask(&*reads)).await;
    found
        .map_err(|error| Problem::internal("the reading broke off", &error))?
        .map_err(|error| Problem::internal("the store could not be read", &error))
}
