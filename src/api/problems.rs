//! `GET /api/v1/problems`, `GET /api/v1/problems/{id}`, `POST /api/v1/problems/{id}/close`: incidents that keep recurring.
//!
//! Read from the store, as of the last commit; at most [`LISTED_MAX`] at once, the one that was raised last first. Closed by
//! the shard that has it, and answered once that is durable.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::orders::{Body, operator, read};
use super::problem::{INTERNAL, Name, echo};
use super::{ApiState, Problem};
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::problems::{ProblemDoc, ProblemStatus};
use crate::identity::ProblemId;
use crate::ingest;
use crate::openapi::{Api, Failure, Operation};
use crate::runtime::CommandError;
use crate::store::{Reads, StoreError};

const LISTED_MAX: usize = 1_000;

/// What a listing is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Only `open` or `closed` ones.
    status: Option<String>,
}

/// What closing is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CloseProblemBody")]
struct CloseBody {
    /// How it ended; not empty, at most 10 KiB.
    resolution: String,
    /// Who closes it; default `api`. Cut after 64 characters.
    by: Option<String>,
}

#[derive(Serialize)]
struct Listing {
    problems: Vec<Box<RawValue>>,
}

/// The listing, for the document.
#[derive(JsonSchema)]
#[schemars(rename = "Problems")]
#[expect(dead_code, reason = "describes what is passed on as the store has it")]
struct Listed {
    /// The one that was raised last first, at most 1,000.
    problems: Vec<ProblemDoc>,
}

const UNKNOWN_PROBLEM: Failure = Failure::new(404, &["unknown_problem"], "there is no such problem");

/// The routes.
pub(super) fn api() -> Api<ApiState> {
    let list_is = Operation::new("listProblems", "problems", "incidents that keep recurring")
        .query::<Asked>()
        .answer::<Listed>(200, "the problems")
        .fails(&[
            Failure::new(400, &["invalid_query", "invalid_parameter"], "the query cannot be understood"),
            INTERNAL,
        ]);
    let show_is = Operation::new("getProblem", "problems", "one problem with its incidents")
        .path::<ProblemId>("id", "the problem")
        .answer::<ProblemDoc>(200, "the problem")
        .fails(&[UNKNOWN_PROBLEM, INTERNAL]);
    let close_is = Operation::new("closeProblem", "problems", "closes it")
        .path::<ProblemId>("id", "the problem")
        .body::<CloseBody>()
        .answer::<ProblemDoc>(200, "the problem as it then is, on disk")
        .fails(&[
            Failure::new(400, &["invalid_body", "invalid_command"], "the body cannot be read, or says nothing"),
            UNKNOWN_PROBLEM,
            Failure::new(409, &["illegal_transition"], "it is closed already"),
            Failure::new(413, &["invalid_body"], "the body is longer than 2 MiB"),
            INTERNAL,
            Failure::new(503, &["E_STORE_DOWN", "E_STOPPING"], "no commits are taken at present"),
        ]);
    Api::new().get("/api/v1/problems", list, list_is).get("/api/v1/problems/{id}", show, show_is).post(
        "/api/v1/problems/{id}/close",
        close,
        close_is,
    )
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
pub(super) async fn show(State(state): State<ApiState>, Name(name): Name) -> Result<Response, Problem> {
    let (_, document) = known(&state, &name).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

/// `POST /api/v1/problems/{id}/close`.
pub(super) async fn close(State(state): State<ApiState>, Name(name): Name, body: Body) -> Result<Response, Problem> {
    let CloseBody { resolution, by } = read(body)?;
    let (problem, _) = known(&state, &name).await?;
    match state.operators.order(operator(by), Command::CloseProblem { problem, resolution }).await {
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
