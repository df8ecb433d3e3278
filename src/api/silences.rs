//! `GET /api/v1/silences` and `GET /api/v1/silences/{id}`: silences with what they have muted, which Alertmanager's API
//! does not tell. They are made and ended by `/api/v2/silences`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::alertmanager::merged;
use super::problem::echo;
use super::{ApiState, Problem};
use crate::engine::suppress::silence::SilenceDoc;

/// `GET /api/v1/silences`: newest first.
pub(super) async fn list(State(state): State<ApiState>) -> Result<Response, Problem> {
    Ok(Json(json!({ "silences": all(&state).await? })).into_response())
}

/// `GET /api/v1/silences/{id}`.
pub(super) async fn show(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, Problem> {
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
