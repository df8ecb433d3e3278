//! One line of JSON to one event of the wire.
//!
//! Says what is wrong in the words of the event's fields. Limits and required fields are left to the server, which
//! answers with a verdict; here is refused only what cannot be put on the wire as it was meant.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::event::{Kind, Severity, Status, Timestamp};
use crate::proto;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    source: Option<String>,
    kind: Option<Kind>,
    status: Option<Status>,
    severity: Option<Severity>,
    summary: Option<String>,
    labels: Option<Unique>,
    annotations: Option<Unique>,
    dedup_key: Option<String>,
    occurred_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    links: Option<Vec<Link>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    rel: Option<String>,
    href: String,
}

/// A map of strings in which a name that comes twice is an error.
#[derive(Default)]
struct Unique(HashMap<String, String>);

/// Reads one event.
///
/// # Errors
/// What is wrong, in one sentence, with the column.
pub fn parse(line: &[u8]) -> Result<proto::Event, String> {
    // serde would take an array for a struct, field by field.
    match line.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'[') => return Err("a line holds one event, not an array".to_owned()),
        _ => return Err("a line holds one event as a JSON object".to_owned()),
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| said(&error))?;
    Ok(proto::Event {
        id: line.id.unwrap_or_default(),
        source: line.source.unwrap_or_default(),
        kind: line.kind.map_or(proto::Kind::Unspecified, kind).into(),
        status: line.status.map_or(proto::Status::Unspecified, status).into(),
        severity: line.severity.map_or(proto::Severity::Unspecified, severity).into(),
        summary: line.summary.unwrap_or_default(),
        labels: line.labels.unwrap_or_default().0,
        annotations: line.annotations.unwrap_or_default().0,
        dedup_key: line.dedup_key.unwrap_or_default(),
        occurred_at: line.occurred_at.map(wire_time),
        ends_at: line.ends_at.map(wire_time),
        links: line.links.unwrap_or_default().into_iter().map(link).collect(),
    })
}

fn said(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", ", column ")
}

const fn kind(kind: Kind) -> proto::Kind {
    match kind {
        Kind::Alert => proto::Kind::Alert,
        Kind::Change => proto::Kind::Change,
        Kind::Heartbeat => proto::Kind::Heartbeat,
    }
}

const fn status(status: Status) -> proto::Status {
    match status {
        Status::Firing => proto::Status::Firing,
        Status::Resolved => proto::Status::Resolved,
    }
}

const fn severity(severity: Severity) -> proto::Severity {
    match severity {
        Severity::Critical => proto::Severity::Critical,
        Severity::Error => proto::Severity::Error,
        Severity::Warning => proto::Severity::Warning,
        Severity::Info => proto::Severity::Info,
    }
}

fn link(link: Link) -> proto::Link {
    proto::Link { rel: link.rel.unwrap_or_default(), href: link.href }
}

/// An instant as protobuf writes it.
pub fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, micros) = (at.as_micros().div_euclid(1_000_000), at.as_micros().rem_euclid(1_000_000));
    prost_types::Timestamp { seconds, nanos: micros as i32 * 1_000 }
}

/// The inverse of [`wire_time`].
pub fn instant(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_parts(time.seconds, time.nanos)
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings to strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut pairs = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if pairs.insert(name.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("the name \"{name}\" comes twice")));
                    }
                }
                Ok(Unique(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_event_keeps_every_field() {
        let event = parse(
            br#"{"id":"e1","source":"prometheus","kind":"change","status":"resolved","severity":"critical",
                "summary":"s","labels":{"a":"b"},"annotations":{"c":"d"},"dedup_key":"k",
                "occurred_at":"2026-11-22T03:04:05.000006Z","ends_at":"1969-12-31T23:59:59.5Z",
                "links":[{"rel":"graph","href":"https://example.org"}]}"#,
        )
        .unwrap();
        assert_eq!((event.kind(), event.status(), event.severity()), {
            (proto::Kind::Change, proto::Status::Resolved, proto::Severity::Critical)
        });
        assert_eq!(event.labels["a"], "b");
        assert_eq!(event.occurred_at.unwrap().nanos, 6_000);
        assert_eq!(event.ends_at.unwrap(), prost_types::Timestamp { seconds: -1, nanos: 500_000_000 });
        assert_eq!(event.links[0].rel, "graph");
    }

    #[test]
    fn what_is_absent_or_null_is_left_to_the_server() {
        let event = parse(br#" {"source":"x","ends_at":null} "#).unwrap();
        assert_eq!(event, proto::Event { source: "x".to_owned(), ..proto::Event::default() });
    }

    #[test]
    fn a_bad_line_says_what_would_be_right() {
        for (line, told) in [
            (r#"{"sorce":"x"}"#, "unknown field `sorce`, expected one of `id`, `source`"),
            (r#"{"severity":"fatal"}"#, "unknown variant `fatal`, expected one of `info`, `warning`"),
            (r#"{"occurred_at":"yesterday"}"#, "RFC 3339 with a zone required"),
            (r#"{"labels":{"a":"1","a":"2"}}"#, "the name \"a\" comes twice"),
            (r#"{"labels":{"a":1}}"#, "invalid type: integer `1`, expected a string"),
            (r#"{"id":"a","id":"b"}"#, "duplicate field `id`"),
            (r#"{"id":"a"} {}"#, "trailing characters, column 12"),
            (r#"[{"id":"a"}]"#, "one event, not an array"),
            ("hello", "one event as a JSON object"),
        ] {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
