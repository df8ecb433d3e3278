//! Errors over HTTP: `application/problem+json` (RFC 9457) with a machine-readable `code`.
//!
//! `detail` says what is wrong and what would be right. Nothing of the request is echoed at length.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::openapi::{self, Failure};

/// Values of a request are echoed up to this many characters.
const ECHO_CHARS_MAX: usize = 64;

/// It failed on our side.
pub(super) const INTERNAL: Failure = Failure::new(500, &["internal"], "it failed on our side; the log says why");
/// No incident has this id.
pub(super) const UNKNOWN_INCIDENT: Failure = Failure::new(404, &["unknown_incident"], "there is no such incident");
/// Nothing else has this name.
pub(super) const NOT_FOUND: Failure = Failure::new(404, &["not_found"], "there is no such thing");
/// A query that cannot be used.
pub(super) const BAD_QUERY: Failure = Failure::new(
    400,
    &["invalid_query", "invalid_parameter"],
    "a parameter is unknown, given twice or has no such value",
);
/// The daemon stops.
pub(super) const STOPPING: Failure = Failure::new(503, &["E_STOPPING"], "the daemon stops");

/// A `{name}` of the path. One that is no UTF-8 names nothing, and is not found.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(read.map_or_else(|_| char::REPLACEMENT_CHARACTER.to_string(), |Path(name)| name)))
    }
}

/// An answer that says what went wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    more: Map<String, Value>,
}

impl Problem {
    /// A problem with a status, a code for programs and a sentence for people.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), more: Map::new() }
    }

    /// A query parameter that cannot be used.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail).with("parameter", json!(echo(name)))
    }

    /// Something that failed on our side. `cause` goes to the log, not to the caller.
    pub fn internal(what: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "{what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", what)
    }

    /// Adds a member.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }
}

/// A value of a request, short enough to be shown.
pub fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The answer to a known path with the wrong method. The router adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "the path does not take this method; see Allow")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, detail, more } = self;
        let body = openapi::Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: &detail,
            pointer: "",
            event_index: None,
            more: &more,
        };
        let json = HeaderValue::from_static(openapi::PROBLEM_JSON);
        (status, [(header::CONTENT_TYPE, json)], json!(body).to_string()).into_response()
    }
}
