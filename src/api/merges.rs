//! `POST /api/v1/incidents/{id}/merge` and `…/split`, and which values of union rules join nothing further.
//!
//! A command is carried out by the shard that has both incidents, and answered once it is durable. Where no shard knows
//! them, the read model and the store say why not.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::{INTERNAL, Name, UNKNOWN_INCIDENT, echo};
use super::{ApiState, Problem};
use crate::engine::Culprit;
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::incident::{IncidentDoc, IncidentStatus};
use crate::identity::IncidentId;
use crate::ingest;
use crate::openapi::{Api, Failure, Operation};
use crate::runtime::CommandError;

/// Characters of an operator's name; the rest is cut.
const NAME_CHARS_MAX: usize = 64;
/// Who orders something without saying so.
const NOBODY: &str = "api";

/// The shards, as far as operators may reach into them.
pub trait Operators: Send + Sync {
    /// Carries out a command of somebody; resolves once it is durable.
    fn order(&self, by: String, command: Command) -> BoxFuture<'static, Result<Done, CommandError>>;

    /// Values of union rules that have been named for joining no further.
    fn culprits(&self) -> BoxFuture<'static, Vec<Culprit>>;
}

/// What a merge is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MergeBody {
    /// The incident that goes on with the alerts.
    #[schemars(with = "IncidentId")]
    into: String,
    /// The version of this incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

/// What a split is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SplitBody {
    /// The incident that is taken out.
    #[schemars(with = "IncidentId")]
    incident: String,
    /// The version of this incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

/// Values that join nothing further.
#[derive(Serialize, JsonSchema)]
struct Culprits {
    /// At most 1,000.
    culprits: Vec<Culprit>,
}

/// Ways in which an order to an incident can fail.
const NOT_DONE: [Failure; 6] = [
    Failure::new(400, &["invalid_body", "invalid_command"], "the body cannot be read, or asks for what makes no sense"),
    UNKNOWN_INCIDENT,
    Failure::new(
        409,
        &["version_conflict", "illegal_transition", "limit_reached"],
        "another `version` (`current`), or a move that the incident's state does not allow (`legal` ones are named)",
    ),
    Failure::new(413, &["invalid_body"], "the body is longer than 2 MiB"),
    INTERNAL,
    Failure::new(503, &["E_STORE_DOWN", "E_STOPPING"], "no commits are taken at present; it may have been done or not"),
];

/// An order to the incident `{id}`, answered with the incident as it then is, once that is durable.
pub(super) fn on_incident(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, "incidents", summary)
        .path::<IncidentId>("id", "the incident")
        .answer::<IncidentDoc>(200, "the incident as it then is, on disk")
        .fails(&NOT_DONE)
}

/// The routes that merge and split.
pub(super) fn api() -> Api<ApiState> {
    let merge_is = on_incident("mergeIncident", "merges it into another one").body::<MergeBody>();
    let split_is = on_incident("splitIncident", "takes out of it what was merged into it").body::<SplitBody>();
    let culprits_is = Operation::new("listUnions", "rules", "values of union rules that join nothing further")
        .answer::<Culprits>(200, "the values, by rule");
    Api::new()
        .post("/api/v1/incidents/{id}/merge", merge, merge_is)
        .post("/api/v1/incidents/{id}/split", split, split_is)
        .get("/api/v1/unions", culprits, culprits_is)
}

/// `POST /api/v1/incidents/{id}/merge`: ends it, and lets the other one go on with its alerts.
pub(super) async fn merge(
    State(state): State<ApiState>,
    Name(name): Name,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let MergeBody { into, version, by } = read(body)?;
    let (incident, into) = (known(&state, &name).await?, known(&state, &into).await?);
    let command = Command::Merge { incident: incident.id, into: into.id, version };
    order(&state, by, command, [incident, into]).await
}

/// `POST /api/v1/incidents/{id}/split`: takes out of it what was merged into it or put under it.
pub(super) async fn split(
    State(state): State<ApiState>,
    Name(name): Name,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let SplitBody { incident: part, version, by } = read(body)?;
    let (incident, part) = (known(&state, &name).await?, known(&state, &part).await?);
    let command = Command::Split { incident: incident.id, part: part.id, version };
    order(&state, by, command, [incident, part]).await
}

/// `GET /api/v1/unions`: values that join nothing further, or lead to a component that grows no more.
pub(super) async fn culprits(State(state): State<ApiState>) -> Response {
    Json(Culprits { culprits: state.operators.culprits().await }).into_response()
}

fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let wrong = |status, detail: String| Problem::new(status, "invalid_body", detail);
    let body = body.map_err(|rejection| wrong(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| wrong(StatusCode::BAD_REQUEST, error.to_string()))
}

/// What is known of an incident, as far as a refusal speaks of it.
struct Known {
    id: IncidentId,
    status: IncidentStatus,
}

async fn known(state: &ApiState, name: &str) -> Result<Known, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_incident", format!("no incident {}", echo(name)));
    let id: IncidentId = name.parse().map_err(|_| unknown())?;
    if let Some(doc) = state.read_model.get(id) {
        return Ok(Known { id, status: doc.status });
    }
    let reads = state.reads.clone();
    let found = tokio::task::spawn_blocking(move || reads.incident(id)).await;
    let found = found
        .map_err(|error| Problem::internal("the reading broke off", &error))?
        .map_err(|error| Problem::internal("the store could not be read", &error))?;
    // The read model holds whatever is not closed.
    found.map(|_| Known { id, status: IncidentStatus::Closed }).ok_or_else(unknown)
}

async fn order(state: &ApiState, by: Option<String>, command: Command, named: [Known; 2]) -> Result<Response, Problem> {
    let by: String = by.as_deref().unwrap_or(NOBODY).trim().chars().take(NAME_CHARS_MAX).collect();
    let by = if by.is_empty() { NOBODY.to_owned() } else { by };
    match state.operators.order(by, command).await {
        Ok(Done::Incident(incident)) => Ok(answer(incident)),
        Ok(Done::Silence(_)) => Err(Problem::internal("the command was answered with a silence", &"a fault of ours")),
        Err(CommandError::Refusal(refusal)) => Err(problem(refusal, &named)),
        Err(CommandError::Refused(why)) => Ok(ingest::Problem::refused(&why).into_response()),
    }
}

fn answer(incident: Arc<IncidentDoc>) -> Response {
    Json(&*incident).into_response()
}

fn problem(refusal: Refusal, named: &[Known; 2]) -> Problem {
    let conflict = |code, detail: String| Problem::new(StatusCode::CONFLICT, code, detail);
    let detail = refusal.to_string();
    match refusal {
        Refusal::Version { current } => conflict("version_conflict", detail).with("current", json!(current)),
        Refusal::Illegal(_) => illegal(detail, named[0].status),
        Refusal::Limit(_) => conflict("limit_reached", detail),
        Refusal::Invalid(_) => Problem::new(StatusCode::BAD_REQUEST, "invalid_command", detail),
        Refusal::Unknown => match named.iter().find(|one| one.status == IncidentStatus::Closed) {
            Some(closed) => illegal(format!("{} is closed for good", closed.id), named[0].status),
            None => illegal("their scopes differ, so that they never meet".to_owned(), named[0].status),
        },
    }
}

/// 409, with the moves that are legal for the incident as it is.
fn illegal(detail: String, status: IncidentStatus) -> Problem {
    let legal: Vec<&str> = status.orders().map(|row| row.step.as_str()).collect();
    Problem::new(StatusCode::CONFLICT, "illegal_transition", detail).with("legal", json!(legal))
}
