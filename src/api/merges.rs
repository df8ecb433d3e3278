//! `POST /api/v1/incidents/{id}/merge` and `…/split`, and which values of union rules join nothing further.
//!
//! A command is carried out by the shard that has both incidents, and goes in and comes out as orders do (`orders`).

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::orders::{Body, Known, known, pass, problem, read};
use super::{ApiState, Problem};
use crate::engine::command::Command;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MergeBody {
    /// The incident that goes on with the alerts.
    into: String,
    /// The version of this incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SplitBody {
    /// The incident that is taken out.
    incident: String,
    /// The version of this incident that is known; 409 where it is another.
    version: Option<u64>,
    /// Who orders it, for the timeline; default `api`. Cut after 64 characters.
    by: Option<String>,
}

/// `POST /api/v1/incidents/{id}/merge`: ends it, and lets the other one go on with its alerts.
pub(super) async fn merge(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    body: Body,
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
    body: Body,
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

async fn order(state: &ApiState, by: Option<String>, command: Command, named: [Known; 2]) -> Result<Response, Problem> {
    let done = pass(state, by, command).await?;
    done.map_err(|refusal| problem(refusal, &named, "their scopes differ, so that they never meet"))
}
