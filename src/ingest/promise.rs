//! What the HTTP doors promise, for the API's document.
//!
//! Verdicts are written by hand for speed (`response`); [`PushAnswer`] is their shape, and a test there reads every kind of
//! answer with it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::event::Code;
use crate::formats::{AlertFields, EventFields};
use crate::openapi::{Failure, Operation};

/// What became of the events of a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), expect(dead_code, reason = "its schema is used, and a test reads it"))]
pub(super) struct PushAnswer {
    /// Events that were taken.
    pub(super) accepted: u64,
    /// Events that were refused; the others are taken all the same.
    pub(super) rejected: u64,
    /// One per event, in order.
    pub(super) results: Vec<PushResult>,
}

/// What became of one event.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "its schema is used, and a test reads it")]
pub(super) struct PushResult {
    /// Its place in the request, from 0.
    pub(super) index: u64,
    /// What was decided.
    pub(super) verdict: VerdictName,
    /// Why, machine-readable.
    reason: String,
    /// The incident concerned.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    /// The rule concerned.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// The silence, inhibition rule or maintenance window that mutes it.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    muted_by: Option<String>,
    /// Of a rejected event: the kind of fault.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Of a rejected event: where, as a JSON pointer into it; empty for the whole.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// In words.
    #[schemars(with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What can be decided of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Verdict")]
pub(super) enum VerdictName {
    /// It opened (or reopened) an incident.
    Opened,
    /// Its alert was linked to an open incident.
    Linked,
    /// It changed what is known of its alert.
    Updated,
    /// It ended its alert.
    Resolved,
    /// It repeats what is known.
    Duplicate,
    /// It is muted.
    Suppressed,
    /// A rule wants it and still waits.
    Pending,
    /// Valid, and no rule wants it.
    Recorded,
    /// Older than what is known.
    Stale,
    /// Refused, with a code and a field.
    Rejected,
}

/// One event, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used; decoders read events in place")]
enum Events {
    /// One.
    One(Box<EventFields>),
    /// At most `limits.events` (10,000 by default).
    Many(Vec<EventFields>),
}

/// How a body is compressed.
#[derive(JsonSchema)]
#[schemars(rename = "ContentEncoding", rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

const UNREADABLE: &[&str] = &[
    Code::Empty.as_str(),
    Code::Utf8.as_str(),
    Code::Json.as_str(),
    Code::Depth.as_str(),
    Code::DupKey.as_str(),
    Code::Shape.as_str(),
    Code::Schema.as_str(),
    "E_BODY",
    "E_CODEC",
];

/// Ways in which a body can fail to be taken.
const NOT_TAKEN: [Failure; 5] = [
    Failure::new(408, &["E_TIMEOUT"], "the body took longer than 30 s to arrive"),
    Failure::new(
        413,
        &["E_TOO_LARGE", "E_INFLATED"],
        "larger than `limits.body_bytes` (10 MiB), `limits.decompressed_bytes` (64 MiB) or `limits.events` (10,000)",
    ),
    Failure::new(415, &["E_CONTENT_TYPE", "E_CONTENT_ENCODING"], "another media type, charset or compression"),
    Failure::new(429, &["E_OVERLOADED"], "too much in flight for 2 s; it was not taken, try again"),
    Failure::new(
        503,
        &["E_STORE_DOWN", "E_STOPPING"],
        "the disk is full, or the daemon stops; it may have been taken or not, try again",
    ),
];

const ENCODING: &str = "gzip, zstd or identity; by default the body is taken as it is";

/// `POST /api/v1/events`.
pub(super) fn events() -> Operation {
    Operation::new("pushEvents", "events", "events as JSON, an array of them, or NDJSON")
        .describe(
            "Answers when the effects are on disk. A bad event never takes its neighbours with it: it is `rejected` in a \
             200, with a code and a field. Beyond its limits an event is rejected: 1 MiB, 64 labels, 64 annotations, 128 \
             bytes a label name, 4 KiB a label value, 64 KiB an annotation, 32 levels of JSON (`limits` in the \
             configuration). Events with an `id` count once within `dedup.horizon`, so that a request without an answer \
             can be sent again.",
        )
        .header::<Encoding>("Content-Encoding", ENCODING)
        .body::<Events>()
        .body_as::<String>("application/x-ndjson")
        .answer::<PushAnswer>(200, "what became of every event")
        .fails(&[Failure::new(400, UNREADABLE, "nothing in the body can be read")])
        .fails(&NOT_TAKEN)
}

/// `POST /api/v2/alerts`.
pub(super) fn alerts() -> Operation {
    Operation::new("pushAlerts", "alertmanager", "alerts as Prometheus sends them to an Alertmanager")
        .describe("Takes the good alerts, also where it answers 400 with what is wrong with the others.")
        .header::<Encoding>("Content-Encoding", ENCODING)
        .body::<Vec<AlertFields>>()
        .empty(200, "all are taken, and on disk")
        .answer::<String>(400, "nothing can be read, or some alerts are bad; what is wrong")
        .fails(&NOT_TAKEN)
}
