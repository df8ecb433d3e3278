//! What the rules do: which alerts none of them wants.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::{BAD_QUERY, STOPPING};
use super::{ApiState, Problem};
use crate::engine::unmatched::UnmatchedReport;
use crate::openapi::{Api, Operation};

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1_000;

/// How many are asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnmatchedQuery {
    /// At most so many; default 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

/// The route.
pub(super) fn api() -> Api<ApiState> {
    let unmatched_is = Operation::new("listUnmatched", "rules", "which alerts no rule wants, by source and label")
        .query::<UnmatchedQuery>()
        .answer::<UnmatchedReport>(200, "the most frequent first")
        .fails(&[BAD_QUERY, STOPPING]);
    Api::new().get("/api/v1/rules/unmatched", unmatched, unmatched_is)
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
