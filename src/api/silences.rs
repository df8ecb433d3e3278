//! `GET /api/v1/silences` and `GET /api/v1/silences/{id}`: silences with what they have muted, which Alertmanager's API
//! does not tell. They are made and ended by `/api/v2/silences`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::alertmanager::merged;
use super::problem::{NOT_FOUND, Name, STOPPING, echo};
use super::{ApiState, Problem};
use crate::engine::suppress::silence::{SilenceDoc, SilenceId};
use crate::openapi::{Api, Operation};

/// All of them.
#[derive(Serialize, JsonSchema)]
struct Silences {
    /// Newest first.
    silences: Vec<SilenceDoc>,
}

/// The routes.
pub(super) fn api() -> Api<ApiState> {
    let list_is = Operation::new("listSilences", "silences", "silences, with what they have muted")
        .answer::<Silences>(200, "all that are known")
        .fails(&[STOPPING]);
    let show_is = Operation::new("getSilence", "silences", "one of them")
        .path::<SilenceId>("id", "the silence")
        .answer::<SilenceDoc>(200, "the silence")
        .fails(&[NOT_FOUND, STOPPING]);
    Api::new().get("/api/v1/silences", list, list_is).get("/api/v1/silences/{id}", show, show_is)
}

/// `GET /api/v1/silences`: newest first.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Problem> {
    Ok(Json(Silences { silences: all(&state).await? }).into_response())
}

/// `GET /api/v1/silences/{id}`.
pub(super) async fn show(State(state): State<ApiState>, Name(id): Name) -> Result<Response, Problem> {
    let wanted = id.to_ascii_lowercase();
    let found = all(&state).await?.into_iter().find(|silence| silence.id == wanted);
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "not_found", format!("no silence {}", echo(&id)));
    Ok(Json(found.ok_or_else(unknown)?).into_response())
}

async fn all(state: &ApiState) -> Result<Vec<SilenceDoc>, Problem> {
    merged(state)
        .await
        .map_err(|refused| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "E_STOPPING", refused.to_string()))
}
