//! What scenarios say of the documents of incidents: values by their path, `targets.respond_by: +15m`.
//!
//! Times are told from the start of the scenario. A value that is not there is null.

use std::collections::BTreeMap;

use incidentd::engine::decision::Reason;
use incidentd::engine::incident::IncidentDoc;
use incidentd::event::{Timestamp, duration};
use serde_json::Value;

/// A document with its times told from the start.
pub fn shown(doc: &IncidentDoc, start: Timestamp) -> Value {
    relative(serde_json::to_value(doc).expect("a document is JSON"), start)
}

fn relative(value: Value, start: Timestamp) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name, relative(value, start))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|value| relative(value, start)).collect()),
        Value::String(text) => match Timestamp::parse_rfc3339(text.as_bytes()) {
            Some(at) if at < start => Value::String(format!("-{}", duration::format(start.since(at)))),
            Some(at) => Value::String(format!("+{}", duration::format(at.since(start)))),
            None => Value::String(text),
        },
        value => value,
    }
}

/// The first value that is another one than expected.
pub fn mismatch(expected: &BTreeMap<usize, BTreeMap<String, Value>>, found: &BTreeMap<usize, Value>) -> Option<String> {
    for (number, values) in expected {
        let Some(doc) = found.get(number) else { return Some(format!("there is no incident #{number} any more")) };
        for (path, expected) in values {
            let found = path.split('.').try_fold(doc, |value, name| match name.parse::<usize>() {
                Ok(place) if value.is_array() => value.get(place),
                _ => value.get(name),
            });
            let found = found.unwrap_or(&Value::Null);
            if found != expected {
                return Some(format!("#{number} has {path} = {found}, not {expected}"));
            }
        }
    }
    None
}

/// Reasons of operators and policies: their decisions are shown with the whole detail.
pub fn spoken(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::ByHand
            | Reason::Started
            | Reason::OnHold
            | Reason::Resumed
            | Reason::Assigned
            | Reason::Accepted
            | Reason::NoteWritten
            | Reason::StatusUpdate
            | Reason::UpdateDue
            | Reason::LinkAdded
            | Reason::LinkRemoved
            | Reason::EscalationStep
            | Reason::MajorDeclared
            | Reason::MajorEnded
            | Reason::TargetWarning
            | Reason::TargetBreached
            | Reason::PriorityRaised
            | Reason::PrioritySet
            | Reason::SeenBefore
            | Reason::ProblemFound
    )
}
