//! The body of every error: `application/problem+json` (RFC 9457) with a machine-readable `code`.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong (RFC 9457).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Problem<'a> {
    /// Always `about:blank`: the `code` names the kind.
    pub r#type: &'static str,
    /// The status in words.
    pub title: &'a str,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// The kind, for programs.
    pub code: &'a str,
    /// What is wrong and what would be right, for people.
    pub detail: &'a str,
    /// Where in the body, as a JSON pointer.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub pointer: &'a str,
    /// Which event of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_index: Option<u32>,
    /// Of some codes: `parameter` (the name), `current` (the incident's version), `legal` (the moves that are),
    /// `problems` (diagnostics of a configuration).
    #[serde(flatten)]
    pub more: &'a Map<String, Value>,
}

/// A way in which an operation can fail.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// The codes that come with it.
    pub codes: &'static [&'static str],
    /// When.
    pub when: &'static str,
}

impl Failure {
    /// A status, the codes that come with it, and when.
    pub const fn new(status: u16, codes: &'static [&'static str], when: &'static str) -> Self {
        Self { status, codes, when }
    }
}
