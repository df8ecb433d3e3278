//! Deliveries: the durable form of a decision that leaves the house.
//!
//! A delivery is rendered once, in the commit that makes its decision durable, and kept as bytes, so that every
//! retry is byte-identical. Its id is a function of incident, sequence and sink, stable over retries and restarts.

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::event::Timestamp;
use crate::identity::IncidentId;

/// What happened to an incident, as sinks are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was opened.
    Opened,
    /// Something about it changed: severity, title, an alert's state.
    Updated,
    /// Further alerts were linked to it.
    Linked,
    /// A level was told.
    Escalated,
    /// Somebody took it.
    Acknowledged,
    /// All clear, or a person said so.
    Resolved,
    /// It came back within its window.
    Reopened,
    /// It is final.
    Closed,
}

impl Action {
    /// Every action, in the order of its byte in the store.
    pub const ALL: [Action; 8] = [
        Action::Opened,
        Action::Updated,
        Action::Linked,
        Action::Escalated,
        Action::Acknowledged,
        Action::Resolved,
        Action::Reopened,
        Action::Closed,
    ];

    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Opened => "opened",
            Action::Updated => "updated",
            Action::Linked => "linked",
            Action::Escalated => "escalated",
            Action::Acknowledged => "acknowledged",
            Action::Resolved => "resolved",
            Action::Reopened => "reopened",
            Action::Closed => "closed",
        }
    }

    /// Reads the public name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// Whether several of these in a row fold into the newest while a sink is behind.
    pub const fn folds(self) -> bool {
        matches!(self, Action::Updated | Action::Linked)
    }
}

/// One message for one sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The configured name of the sink.
    pub sink: Arc<str>,
    /// The incident it tells of.
    pub incident: IncidentId,
    /// The number of the decision within the incident; rises, with gaps where decisions were folded.
    pub sequence: u64,
    /// What happened.
    pub action: Action,
    /// The document, rendered: one JSON object, no line break.
    pub body: Vec<u8>,
    /// When the decision was taken.
    pub created_at: Timestamp,
}

impl Delivery {
    /// The id that a receiver can use to drop repeats: `INC-…-<sequence>-<sink>`. Never contains a dot.
    pub fn id(&self) -> String {
        delivery_id(self.incident, self.sequence, &self.sink)
    }

    /// Whether it may go away where a newer one of its incident waits: it tells how the incident stands and nothing
    /// more. A message is told.
    pub fn folds(&self) -> bool {
        #[derive(Deserialize)]
        struct Said {
            message: Option<IgnoredAny>,
        }
        self.action.folds() && serde_json::from_slice(&self.body).map_or(true, |said: Said| said.message.is_none())
    }
}

/// See [`Delivery::id`].
pub fn delivery_id(incident: IncidentId, sequence: u64, sink: &str) -> String {
    format!("{incident}-{sequence}-{sink}")
}

/// What the bodies of a decision's deliveries say (contract, section 6), after the id of each.
#[derive(Serialize)]
pub struct Document<'a, I: Serialize> {
    /// The incident.
    pub incident_id: IncidentId,
    /// The number of the decision within the incident.
    pub sequence: u64,
    /// What happened.
    pub action: Action,
    /// Why, machine-readable.
    pub reason: &'a str,
    /// When the decision was taken.
    pub occurred_at: Timestamp,
    /// What is told beside the incident: a status update, what an escalation asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
    /// The incident as it then was.
    pub incident: &'a I,
}

impl<I: Serialize> Document<'_, I> {
    /// The document as JSON, once for all sinks.
    pub fn render(&self) -> Rendered {
        Rendered(printable(self))
    }
}

/// See [`Document::render`].
#[derive(Debug)]
pub struct Rendered(String);

impl Rendered {
    /// The body of one delivery: one line of JSON that begins with its id.
    pub fn body(&self, delivery_id: &str) -> Vec<u8> {
        let (id, rest) = (printable(delivery_id), self.0.strip_prefix('{').unwrap_or(&self.0));
        [r#"{"delivery_id":"#, &*id, ",", rest].concat().into_bytes()
    }
}

/// As JSON. Characters that turn the direction of writing are escaped, so that the line can be printed.
fn printable(value: &(impl Serialize + ?Sized)) -> String {
    let json = serde_json::to_string(value).expect("strings, numbers and maps with string keys always serialise");
    if json.is_ascii() || !json.contains(turns_writing) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 32);
    for char in json.chars() {
        // Outside of strings JSON is ASCII, so this only ever meets the inside of one.
        match turns_writing(char) {
            true => safe.push_str(&format!("\\u{:04x}", u32::from(char))),
            false => safe.push(char),
        }
    }
    safe
}

fn turns_writing(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_before_the_incident_and_keeps_its_delivery_from_folding() {
        let body = |message| {
            let document = Document {
                incident_id: IncidentId(1),
                sequence: 4,
                action: Action::Updated,
                reason: "status_update",
                occurred_at: Timestamp::EPOCH,
                message,
                incident: &serde_json::json!({"status": "open"}),
            };
            String::from_utf8(document.render().body("INC-0000000000001-4-page")).expect("UTF-8")
        };
        let golden = concat!(
            r#"{"delivery_id":"INC-0000000000001-4-page","incident_id":"INC-0000000000001","sequence":4,"#,
            r#""action":"updated","reason":"status_update","occurred_at":"1970-01-01T00:00:00Z","#,
            r#""message":"we work on it\nnext: 12:00","incident":{"status":"open"}}"#
        );
        assert_eq!(body(Some("we work on it\nnext: 12:00")), golden);
        assert_eq!(body(None), golden.replace(r#""message":"we work on it\nnext: 12:00","#, ""));
        for (message, folds) in [(Some("we work on it"), false), (None, true)] {
            let delivery = Delivery {
                sink: "page".into(),
                incident: IncidentId(1),
                sequence: 4,
                action: Action::Updated,
                body: body(message).into_bytes(),
                created_at: Timestamp::EPOCH,
            };
            assert_eq!(delivery.folds(), folds);
        }
    }

    #[test]
    fn a_document_says_the_same_without_characters_that_turn_the_direction_of_writing() {
        let document = Document {
            incident_id: IncidentId(1),
            sequence: 1,
            action: Action::Opened,
            reason: "a\u{202e}b",
            occurred_at: Timestamp::EPOCH,
            message: None,
            incident: &(),
        };
        let rendered = String::from_utf8(document.render().body("INC-1-1-ops")).expect("UTF-8");
        assert!(rendered.contains("a\\u202eb") && !rendered.contains('\u{202e}'), "{rendered}");
        let value: serde_json::Value = serde_json::from_str(&rendered).expect("JSON");
        assert_eq!(value["reason"], "a\u{202e}b");
    }
}
