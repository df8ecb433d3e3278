//! Received bytes to events, one file per format.
//!
//! Pure: bytes and the receive time in, event records and rejects out. Texts are spans of the received bytes; only a
//! JSON string with escapes is copied, into the batch's arena. A fault inside one event rejects that event and no
//! other. A body that cannot be read at all is refused as a whole, and then nothing of it is taken.

mod alertmanager;
mod event_json;
mod event_protobuf;
mod event_schema;
mod fields;
mod intake;
mod json;
mod json_string;
mod memo;
mod outline;
mod severity_map;
mod wire;

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize};

use crate::event::{Batch, Limits, Reject, Text, Timestamp};
pub use event_schema::{AlertFields, EventFields};
use intake::Intake;
pub use memo::Memo;
pub use severity_map::SeverityMap;

/// How the bytes of a source are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Our event as JSON.
    Event,
    /// Our event as protobuf.
    EventProtobuf,
    /// The body of Alertmanager's `POST /api/v2/alerts`: an array of alerts. Not the payload that Alertmanager
    /// itself sends to webhooks.
    Alertmanager,
}

impl Format {
    /// The names of the formats that can be read.
    pub const SUPPORTED: [&'static str; 3] = ["event", "event-protobuf", "alertmanager"];
    /// Names that are known and cannot be read yet.
    const PLANNED: [&'static str; 1] = ["cloudevents"];

    /// The public name.
    pub const fn as_str(self) -> &'static str {
        Self::SUPPORTED[self as usize]
    }

    /// Reads a public name.
    ///
    /// # Errors
    /// A sentence that names the formats there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        let formats = [Self::Event, Self::EventProtobuf, Self::Alertmanager];
        if let Some(format) = formats.into_iter().find(|format| format.as_str() == name) {
            return Ok(format);
        }
        let known = Self::SUPPORTED.join(", ");
        if Self::PLANNED.contains(&name) {
            return Err(format!("format {name} is not yet supported; use one of {known}"));
        }
        let hint = crate::event::nearest(name, Self::SUPPORTED);
        let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
        Err(format!("unknown format {}, expected one of {known}{hint}", crate::event::echo(name.as_bytes())))
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What a payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One event, as in a Kafka record. Alertmanager: an array all the same.
    One,
    /// The body of a request. JSON: an object or an array, or objects on lines of their own whose first is sound;
    /// protobuf: a `PushRequest`.
    Many,
    /// NDJSON: one object per line, and a bad line spoils no other. For other formats the same as `Many`.
    Lines,
}

/// What to decode, and how.
#[derive(Clone, Debug)]
pub struct Payload {
    /// How to read it.
    pub format: Format,
    /// What it holds.
    pub shape: Shape,
    /// Where it lies in the batch's buffer.
    pub span: Range<usize>,
    /// The index of its first event; 0 for a request, counted on from record to record for Kafka.
    pub first_index: u32,
    /// The source of events that name none: a text [interned](Batch::intern) in the same batch, or empty. Without
    /// it, Alertmanager's alerts get the source `alertmanager`.
    pub source: Text,
    /// When it was received. Alertmanager: an alert whose `endsAt` is not later is resolved; for a Kafka record that
    /// is the record's own time, or else a backlog would turn into resolves.
    pub received_at: Timestamp,
}

/// What was in a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Events seen, those that were rejected included; their indices follow `first_index` without a gap.
    pub events: u32,
    /// Events that carry a severity which the [`SeverityMap`] does not know, and which count as `warning`.
    pub unknown_severities: u32,
}

/// Reads every format. Built once, shared by all threads.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    limits: Limits,
    severities: SeverityMap,
}

impl Decoder {
    /// A decoder that keeps to `limits` and reads Alertmanager's severities through `severities`.
    pub fn new(limits: Limits, severities: SeverityMap) -> Self {
        Self { limits, severities }
    }

    /// Appends the events of a payload to the batch, and the unreadable ones among them to `rejects`.
    ///
    /// # Errors
    /// When the payload cannot be read as a whole, or holds more than `limits.events`
    /// (code `E_TOO_LARGE`). Then batch and rejects are as before.
    ///
    /// # Panics
    /// When the span does not lie in the batch's buffer.
    pub fn decode(&self, payload: &Payload, batch: &mut Batch, rejects: &mut Vec<Reject>) -> Result<Decoded, Reject> {
        self.decode_with(None, payload, batch, rejects)
    }

    /// The same, but recognises repeats. The memo must [learn](Memo::learn) from the batch before the next one, and serve
    /// this decoder and one normaliser only.
    ///
    /// # Errors
    /// As `decode`.
    ///
    /// # Panics
    /// As `decode`.
    pub fn recall(
        &self,
        memo: &mut Memo,
        payload: &Payload,
        batch: &mut Batch,
        rejects: &mut Vec<Reject>,
    ) -> Result<Decoded, Reject> {
        self.decode_with(Some(memo), payload, batch, rejects)
    }

    fn decode_with(
        &self,
        memo: Option<&mut Memo>,
        payload: &Payload,
        batch: &mut Batch,
        rejects: &mut Vec<Reject>,
    ) -> Result<Decoded, Reject> {
        let buffer = batch.buffer().clone();
        let bytes = &buffer[..payload.span.end];
        let mut intake = Intake::new(payload, &self.limits, memo, batch, rejects);
        let outcome = match payload.format {
            Format::EventProtobuf => event_protobuf::decode(bytes, payload, &mut intake),
            _ if payload.span.is_empty() => Err(intake.empty()),
            Format::Event => event_json::decode(bytes, payload, &mut intake),
            Format::Alertmanager => alertmanager::decode(bytes, payload, &self.severities, &mut intake),
        };
        match outcome {
            Ok(()) => Ok(intake.decoded()),
            Err(reject) => {
                intake.roll_back();
                Err(reject)
            }
        }
    }
}
