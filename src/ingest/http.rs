//! The HTTP door: our own `POST /api/v1/events` and Alertmanager's `POST /api/v2/alerts`.
//!
//! A request is answered once its effects are durable. One that finds no room waits [`PATIENCE`], then gets 429 with
//! `Retry-After`. A bad event never takes its neighbours with it: it is a `rejected` result under a 200. As in
//! Alertmanager, whose rulers cannot read results, `/api/v2/alerts` takes the good alerts and answers 400 with
//! what is wrong with the others.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};

use super::KnownSource;
use super::body::{self, BodyError};
use super::intake::{Intake, Origin};
use super::problem::Problem;
use super::promise;
use super::response::Answer;
use crate::event::{Code, Reject};
use crate::formats::{Format, Shape};
use crate::openapi::Api;

/// How long a request waits for room.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How many bad alerts a message names.
const NAMED_MAX: usize = 20;

/// The routes for events, with what they promise. Methods beside POST may be merged in (`GET /api/v2/alerts`).
pub fn api() -> Api<Arc<Intake>> {
    Api::new().post("/api/v1/events", events, promise::events()).post("/api/v2/alerts", alerts, promise::alerts())
}

/// The routes for events, ready to be merged into the listener's.
pub fn routes(intake: Arc<Intake>) -> Router {
    api().into_router().with_state(intake)
}

async fn events(State(intake): State<Arc<Intake>>, request: Request<Body>) -> Result<Response, Problem> {
    let shape = match content_type(request.headers())? {
        ContentType::Json => Shape::Many,
        ContentType::Ndjson => Shape::Lines,
    };
    let answer = push(&intake, request, "http", (Format::Event, shape)).await?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], answer.to_json()).into_response())
}

async fn alerts(State(intake): State<Arc<Intake>>, request: Request<Body>) -> Result<Response, Problem> {
    if content_type(request.headers())? != ContentType::Json {
        return Err(unsupported());
    }
    match push(&intake, request, "alertmanager", (Format::Alertmanager, Shape::Many)).await {
        Ok(answer) if answer.rejected() == 0 => Ok(StatusCode::OK.into_response()),
        Ok(answer) => Ok(alertmanager_error(&bad_alerts(&answer))),
        Err(problem) if problem.status() == StatusCode::BAD_REQUEST => Ok(alertmanager_error(problem.detail())),
        Err(problem) => Err(problem),
    }
}

async fn push(
    intake: &Intake,
    request: Request<Body>,
    label: &'static str,
    (format, shape): (Format, Shape),
) -> Result<Answer, Problem> {
    let (head, body) = request.into_parts();
    let source = head.extensions.get::<KnownSource>().map(|known| known.0.clone());
    let limits = intake.settings().limits.clone();
    let body = body::read(&head.headers, body, &limits, intake.budget()).await;
    let body = body.map_err(|error: BodyError| Problem::from(&error))?;
    let origin = Origin { label: Arc::from(label), source, format, shape };
    let taken = intake.take(&origin, body.bytes).map_err(|reject| unreadable(&reject))?;
    let submitted = intake.submit(taken, PATIENCE).await.map_err(|refused| Problem::refused(&refused))?;
    let answer = submitted.answer().await.map_err(|refused| Problem::refused(&refused));
    // The share of the memory budget was held until here: the batch keeps the bytes of the body.
    drop(body.share);
    answer
}

fn unreadable(reject: &Reject) -> Problem {
    match reject.code {
        Code::TooLarge => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, reject.code.as_str(), reject.message.clone()),
        _ => Problem::unreadable(reject),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentType {
    Json,
    Ndjson,
}

/// What the body is said to be. A charset other than UTF-8 is not JSON (RFC 8259).
fn content_type(headers: &HeaderMap) -> Result<ContentType, Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let foreign = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        name.eq_ignore_ascii_case("charset") && !value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    match essence.as_str() {
        _ if parts.any(foreign) => Err(unsupported()),
        "application/json" => Ok(ContentType::Json),
        "application/x-ndjson" => Ok(ContentType::Ndjson),
        _ => Err(unsupported()),
    }
}

fn unsupported() -> Problem {
    let detail = "the Content-Type must be application/json, or application/x-ndjson for events on lines of their own";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "E_CONTENT_TYPE", detail)
}

/// Alertmanager's form of an error: the message as a JSON string.
fn alertmanager_error(message: &str) -> Response {
    let body = serde_json::to_string(message).expect("a string is always JSON");
    let json = HeaderValue::from_static("application/json");
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, json)], body).into_response()
}

fn bad_alerts(answer: &Answer) -> String {
    let mut message = String::new();
    for reject in answer.rejects().iter().take(NAMED_MAX) {
        let separator = if message.is_empty() { "" } else { "; " };
        let _ = write!(message, "{separator}alert {}: {reject}", reject.index);
    }
    let unnamed = answer.rejected() - answer.rejects().len().min(NAMED_MAX);
    if unnamed > 0 {
        let separator = if message.is_empty() { "" } else { "; and " };
        let _ = write!(message, "{separator}{unnamed} more alerts refused");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decision::{Outcome, Reason, Verdict};

    fn of(value: &str) -> Option<ContentType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
        content_type(&headers).ok()
    }

    #[test]
    fn json_and_ndjson_are_known_by_their_content_type() {
        assert_eq!(of("application/json"), Some(ContentType::Json));
        assert_eq!(of("Application/JSON; charset=utf-8"), Some(ContentType::Json));
        assert_eq!(of("application/json;charset=\"UTF-8\""), Some(ContentType::Json));
        assert_eq!(of("application/x-ndjson"), Some(ContentType::Ndjson));
        for foreign in ["text/xml", "text/plain", "application/json; charset=latin1", "application/jsonx"] {
            assert_eq!(of(foreign), None, "{foreign}");
        }
        assert_eq!(content_type(&HeaderMap::new()).unwrap_err().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    #[test]
    fn bad_alerts_are_named_and_then_counted() {
        let rejects = (0..25).map(|index| Reject::new(index, Code::Time, "/startsAt", "RFC 3339 required")).collect();
        let full = Verdict::new(Outcome::Rejected, Reason::LimitReached);
        let message = bad_alerts(&Answer::new(vec![full], rejects));
        assert!(message.starts_with("alert 0: E_TIME /startsAt: RFC 3339 required; alert 1: "), "{message}");
        assert!(message.ends_with("alert 19: E_TIME /startsAt: RFC 3339 required; and 6 more alerts refused"));
    }

    #[test]
    fn too_many_events_are_413_and_garbage_is_400() {
        let many = Reject::new(0, Code::TooLarge, "", "more than 10000 events in one request");
        assert_eq!(unreadable(&many).status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(unreadable(&Reject::new(0, Code::Json, "", "?")).status(), StatusCode::BAD_REQUEST);
    }
}
