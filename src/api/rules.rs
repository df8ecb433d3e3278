//! What the rules do: which alerts none of them wants.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{ApiState, Problem};

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnmatchedQuery {
    limit: Option<usize>,
}

/// `GET /api/v1/rules/unmatched`: sources and labels of alerts that no rule wants, the most frequent first.
pub(super) async fn unmatched(
    State(state): State<ApiState>,
    query: Result<Query<UnmatchedQuery>, QueryRejection>,
) -> Response {
    let Query(UnmatchedQuery { limit }) = match query {
        Ok(query) => query,
        Err(wrong) => return Problem::new(StatusCode::BAD_REQUEST, "invalid_query", wrong.body_text()).into_response(),
    };
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let message = format!("limit is 1 to {LIMIT_MAX}");
        return Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", message).into_response();
    }
    match (state.unmatched)(limit).await {
        Some(report) => Json(report).into_response(),
        None => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "E_STOPPING", "the daemon is stopping".to_owned())
            .into_response(),
    }
}
