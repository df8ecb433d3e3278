//! `POST /api/v1/incidents/{id}/merge` and `…/split`, and which values of union rules join nothing further.
//!
//! A command is carried out by the shard that has both incidents, and answered once it is durable. Where no shard knows
//! them, the read model and the store say why not.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::problem::echo;
use super::{ApiState, Problem};
use crate::engine::Culprit;
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::incident::{IncidentDoc, IncidentStatus};
use crate::identity::IncidentId;
use crate::ingest;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MergeBody {
    into: String,
    version: Option<u64>,
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitBody {
    incident: String,
    version: Option<u64>,
    by: Option<String>,
}

/// `POST /api/v1/incidents/{id}/merge`: ends it, and lets the other one go on with its alerts.
pub(super) async fn merge(
    State(state): State<ApiState>,
    Path(name): Path<String>,
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
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let SplitBody { incident: part, version, by } = read(body)?;
    let (incident, part) = (known(&state, &name).await?, known(&state, &part).await?);
    let command = Command::Split { incident: incident.id, part: part.id, version };
    order(&state, by, command, [incident, part]).await
}

/// `GET /api/v1/unions`: values that join nothing further, or lead to a component that grows no more.
pub(super) async fn culprits(State(state): State<ApiState>) -> Response {
    Json(json!({ "culprits": state.operators.culprits().await })).into_response()
}

pub(super) fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
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
    match state.operators.order(named_operator(by), command).await {
        Ok(Done::Incident(incident)) => Ok(answer(incident)),
        Ok(Done::Silence(_) | Done::Problem(_)) => {
            Err(Problem::internal("the command was answered with something else", &"a fault of ours"))
        }
        Err(CommandError::Refusal(refusal)) => Err(problem(refusal, &named)),
        Err(CommandError::Refused(why)) => Ok(ingest::Problem::refused(&why).into_response()),
    }
}

/// The name of whoever orders something.
pub(super) fn named_operator(by: Option<String>) -> String {
    let by: String = by.as_deref().unwrap_or(NOBODY).trim().chars().take(NAME_CHARS_MAX).collect();
    if by.is_empty() { NOBODY.to_owned() } else { by }
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
