//! What an event looks like as JSON, ours and Alertmanager's, for editors and the API's document.
//!
//! Decoders read events in place and never build these; the tests below hold the two together.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::event::{Kind, Severity, Status};

/// One message from a monitoring system.
#[derive(JsonSchema)]
#[schemars(title = "incidentd event", rename = "Event", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used; decoders read events in place")]
pub struct EventFields {
    /// The producer's id of this message; repeats inside the dedup horizon count once.
    id: Option<String>,
    /// The monitoring system that saw it, e.g. `prometheus`. Required unless the listener knows it.
    source: Option<String>,
    /// What it tells. Default `alert`.
    kind: Option<Kind>,
    /// Default `firing`.
    status: Option<Status>,
    /// Default `warning`.
    severity: Option<Severity>,
    /// One line for people. Never used as identity.
    summary: Option<String>,
    /// Identity and correlation: service, host, cluster …
    labels: Option<BTreeMap<String, String>>,
    /// Descriptive only.
    annotations: Option<BTreeMap<String, String>>,
    /// Identity given by the producer; else a fingerprint over `source` and the configured labels.
    dedup_key: Option<String>,
    /// When it happened, RFC 3339; receive time if absent.
    #[schemars(extend("format" = "date-time"))]
    occurred_at: Option<String>,
    /// A firing event lapses here unless repeated, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    ends_at: Option<String>,
    /// Graph, runbook, generator.
    links: Option<Vec<LinkFields>>,
}

/// A link of an event.
#[derive(JsonSchema)]
#[schemars(rename = "EventLink", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used; decoders read events in place")]
pub struct LinkFields {
    /// What it leads to.
    rel: String,
    /// Where.
    href: String,
}

/// An alert as Prometheus sends it to an Alertmanager. Members that are not known are passed over.
#[derive(JsonSchema)]
#[schemars(rename = "PostableAlert", rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used; decoders read events in place")]
pub struct AlertFields {
    /// Its identity; `alertname` is its name, `severity` sets the severity.
    labels: BTreeMap<String, String>,
    /// Descriptive only.
    annotations: Option<BTreeMap<String, String>>,
    /// When it began, RFC 3339; receive time if absent.
    #[schemars(extend("format" = "date-time"))]
    starts_at: Option<String>,
    /// Fires until then, RFC 3339; one that is not in the future resolves it.
    #[schemars(extend("format" = "date-time"))]
    ends_at: Option<String>,
    /// Becomes a link.
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}
