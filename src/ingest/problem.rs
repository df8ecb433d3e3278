//! What went wrong with an HTTP request, as `application/problem+json` (RFC 9457).
//!
//! Pure: builds a response, logs nothing. `detail` never echoes more of the request than a reject does (64 bytes).

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::event::Reject;
use crate::openapi;
use crate::runtime::Refused;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static(openapi::PROBLEM_JSON);

/// One error answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    /// The machine-readable kind, such as `E_TOO_LARGE`.
    code: &'static str,
    /// What is wrong and what would be right.
    detail: String,
    /// Where in the body, as a JSON pointer.
    pointer: String,
    /// Which event of the body.
    event_index: Option<u32>,
    /// When to try again.
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with a status, a code and a sentence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { status, code, detail, pointer: String::new(), event_index: None, retry_after: None }
    }

    /// A body of which nothing could be read.
    pub fn unreadable(reject: &Reject) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, reject.code.as_str(), reject.message.clone());
        Self { pointer: reject.field.clone(), event_index: Some(reject.index), ..problem }
    }

    /// A request that was readable and not taken: 429 when there is too much, 503 when the daemon cannot at all.
    pub fn refused(refused: &Refused) -> Self {
        let (status, code, retry_after) = match refused {
            Refused::Overloaded { retry_after } => (StatusCode::TOO_MANY_REQUESTS, "E_OVERLOADED", *retry_after),
            Refused::StoreDown => (StatusCode::SERVICE_UNAVAILABLE, "E_STORE_DOWN", Duration::from_secs(5)),
            Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "E_STOPPING", Duration::from_secs(1)),
        };
        Self::new(status, code, refused.to_string()).retry_after(retry_after)
    }

    /// Says when to try again.
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// The body of the answer.
    fn to_json(&self) -> String {
        let wire = openapi::Problem {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            pointer: &self.pointer,
            event_index: self.event_index,
            more: &serde_json::Map::new(),
        };
        serde_json::to_string(&wire).expect("a struct of strings and numbers is always JSON")
    }

    /// What is wrong and what would be right.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
        if let Some(after) = self.retry_after {
            // Whole seconds, rounded up: a client that obeys never comes too early.
            let seconds = after.as_millis().div_ceil(1_000).max(1) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Code;

    #[test]
    fn an_unreadable_body_is_400_and_says_where() {
        let problem = Problem::unreadable(&Reject::new(0, Code::Json, "", "line 1 column 3: expected a value"));
        assert_eq!(
            problem.to_json(),
            r#"{"type":"about:blank","title":"Bad Request","status":400,"code":"E_JSON","detail":"line 1 column 3: expected a value","event_index":0}"#
        );
    }

    #[test]
    fn an_overload_says_when_to_come_again_in_whole_seconds() {
        let refused = Refused::Overloaded { retry_after: Duration::from_millis(1_200) };
        let response = Problem::refused(&refused).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
