//! JSON Schemas, for editors.

use std::collections::BTreeMap;

use schemars::{JsonSchema, schema_for};

use super::Config;
use crate::event::{Kind, Severity, Status};

/// Of a configuration file.
pub(super) fn config_schema() -> serde_json::Value {
    schema_for!(Config).to_value()
}

/// The JSON Schema of our event (`POST /api/v1/events`).
pub fn event_schema() -> serde_json::Value {
    schema_for!(EventFields).to_value()
}

/// One message from a monitoring system.
#[derive(JsonSchema)]
#[schemars(title = "incidentd event", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used; decoders read events in place")]
struct EventFields {
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
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used; decoders read events in place")]
struct LinkFields {
    /// What it leads to.
    rel: String,
    /// Where.
    href: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_schema_has_every_field_of_the_contract() {
        let schema = event_schema();
        let fields = schema["properties"].as_object().expect("properties");
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected = [
            "annotations",
            "dedup_key",
            "ends_at",
            "id",
            "kind",
            "labels",
            "links",
            "occurred_at",
            "severity",
            "source",
            "status",
            "summary",
        ];
        assert_eq!(names, expected);
    }
}
