//! `POST /api/v1/incidents/{id}/merge` and `…/split`, and which values of union rules join nothing further.
//!
//! A command is carried out by the shard that has both incidents, and goes in and comes out as orders do (`orders`).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::orders::{Body, Known, known, on_incident, pass, problem, read};
use super::problem::Name;
use super::{ApiState, Problem};
use crate::engine::Culprit;
use crate::engine::command::Command;
use crate::identity::IncidentId;
use crate::openapi::{Api, Operation};

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
pub(super) async fn merge(State(state): State<ApiState>, Name(name): Name, body: Body) -> Result<Response, Problem> {
    let MergeBody { into, version, by } = read(body)?;
    let (incident, into) = (known(&state, &name).await?, known(&state, &into).await?);
    let command = Command::Merge { incident: incident.id, into: into.id, version };
    order(&state, by, command, [incident, into]).await
}

/// `POST /api/v1/incidents/{id}/split`: takes out of it what was merged into it or put under it.
pub(super) async fn split(State(state): State<ApiState>, Name(name): Name, body: Body) -> Result<Response, Problem> {
    let SplitBody { incident: part, version, by } = read(body)?;
    let (incident, part) = (known(&state, &name).await?, known(&state, &part).await?);
    let command = Command::Split { incident: incident.id, part: part.id, version };
    order(&state, by, command, [incident, part]).await
}

/// `GET /api/v1/unions`: values that join nothing further, or lead to a component that grows no more.
pub(super) async fn culprits(State(state): State<ApiState>) -> Response {
    Json(Culprits { culprits: state.operators.culprits().await }).into_response()
}

async fn order(state: &ApiState, by: Option<String>, command: Command, named: [Known; 2]) -> Result<Response, Problem> {
    let done = pass(state, by, command).await?;
    done.map_err(|refusal| problem(refusal, &named, "their scopes differ, so that they never meet"))
}
