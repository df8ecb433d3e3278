//! How a command of an operator goes in, and how its refusal comes out: shared by orders, merges and splits.
//!
//! A command is carried out by the shard that has the incident, and answered once it is durable. Where no shard knows
//! it, the read model and the store say why not. A body is small and read whole; one that cannot be read changes nothing.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::unreadable::complaint;
use crate::api::{ApiState, Problem, echo};
use crate::engine::Culprit;
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::incident::IncidentStatus;
use crate::engine::moves::Move;
use crate::identity::IncidentId;
use crate::ingest;
use crate::runtime::CommandError;

/// Characters of an operator's name; the rest is cut.
const NAME_CHARS_MAX: usize = 64;
/// Who orders something without saying so.
const NOBODY: &str = "api";
/// Characters of a message about a body that cannot be read, for it may cite the body.
const MESSAGE_CHARS_MAX: usize = 240;

/// The shards, as far as operators may reach into them.
pub trait Operators: Send + Sync {
    /// Carries out a command of somebody; resolves once it is durable.
    fn order(&self, by: String, command: Command) -> BoxFuture<'static, Result<Done, CommandError>>;

    /// Values of union rules that have been named for joining no further.
    fn culprits(&self) -> BoxFuture<'static, Vec<Culprit>>;
}

/// A body as it came in.
pub(in crate::api) type Sent = Result<Bytes, BytesRejection>;

/// Reads a body; an empty one is taken for `{}`.
pub(in crate::api) fn read<T: DeserializeOwned + JsonSchema>(body: Sent) -> Result<T, Problem> {
    let wrong = |status, detail: String| Problem::new(status, "invalid_body", detail);
    let body = body.map_err(|rejection| wrong(rejection.status(), rejection.body_text()))?;
    let text: &[u8] = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &body };
    serde_json::from_slice(text).map_err(|error| {
        let detail = complaint::<T>(text, &error);
        wrong(StatusCode::BAD_REQUEST, detail.chars().take(MESSAGE_CHARS_MAX).collect())
    })
}

/// What is known of an incident, as far as a refusal speaks of it.
pub(in crate::api) struct Known {
    pub(in crate::api) id: IncidentId,
    pub(in crate::api) status: IncidentStatus,
}

/// Finds an incident by its name.
pub(in crate::api) async fn known(state: &ApiState, name: &str) -> Result<Known, Problem> {
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

/// The name of whoever orders something.
pub(in crate::api) fn operator(by: Option<String>) -> String {
    let by: String = by.as_deref().unwrap_or(NOBODY).trim().chars().take(NAME_CHARS_MAX).collect();
    if by.is_empty() { NOBODY.to_owned() } else { by }
}

/// Hands a command in. Answers with the incident as it then is; a refusal of the engine goes back to the caller, who
/// knows what it was about.
pub(in crate::api) async fn pass(
    state: &ApiState,
    by: Option<String>,
    command: Command,
) -> Result<Result<Response, Refusal>, Problem> {
    match state.operators.order(operator(by), command).await {
        Ok(Done::Incident(incident)) => Ok(Ok(Json(&*incident).into_response())),
        Ok(Done::Silence(_) | Done::Problem(_)) => {
            Err(Problem::internal("the command was answered with something else", &"a fault of ours"))
        }
        Err(CommandError::Refusal(refusal)) => Ok(Err(refusal)),
        Err(CommandError::Refused(why)) => Ok(Ok(ingest::Problem::refused(&why).into_response())),
    }
}

/// A refusal as a problem. The first of those named is the one whose legal moves are told; `unknown` says why no shard
/// knows them although none of them is closed.
pub(in crate::api) fn problem(refusal: Refusal, named: &[Known], unknown: &str) -> Problem {
    let conflict = |code, detail: String| Problem::new(StatusCode::CONFLICT, code, detail);
    let detail = refusal.to_string();
    match refusal {
        Refusal::Version { current } => conflict("version_conflict", detail).with("current", json!(current)),
        Refusal::Illegal(_) => illegal(detail, named[0].status),
        Refusal::Limit(_) => conflict("limit_reached", detail),
        Refusal::Invalid(_) => Problem::new(StatusCode::BAD_REQUEST, "invalid_command", detail),
        Refusal::Unknown => match named.iter().position(|one| one.status == IncidentStatus::Closed) {
            // Not even a split brings back what no shard knows any more.
            Some(0) => conflict("illegal_transition", closed(&named[0])).with("legal", json!([])),
            Some(other) => illegal(closed(&named[other]), named[0].status),
            None => illegal(unknown.to_owned(), named[0].status),
        },
    }
}

fn closed(incident: &Known) -> String {
    format!("{} is closed for good", incident.id)
}

/// 409, with the moves that are legal for the incident as it is. What moves nothing is no move to name, and a split is
/// ordered of the whole, not of what was merged into it.
fn illegal(detail: String, status: IncidentStatus) -> Problem {
    let unnamed = [Move::Update, Move::Link, Move::Split];
    let moves = status.orders().map(|row| row.step).filter(|step| !unnamed.contains(step));
    let legal: Vec<&str> = moves.map(Move::as_str).collect();
    Problem::new(StatusCode::CONFLICT, "illegal_transition", detail).with("legal", json!(legal))
}
