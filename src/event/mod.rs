//! What an event is: the words every other module speaks, and the batch they travel in.
//!
//! Pure data. Knows no wire format, no rule, no clock. Limits that bound an event live here, so that decoders,
//! `check` and the documentation name the same figures.

mod batch;
pub mod duration;
mod nearest;
mod reject;
mod time;

pub use batch::{Batch, Event, Pair, Pairs, Position, Text};
pub use nearest::{hint, nearest};
pub use reject::{Code, Reject, echo, pointer};
pub use time::Timestamp;

use serde::{Deserialize, Serialize};

/// What an event tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A condition that holds or has ended.
    #[default]
    Alert,
    /// Something was changed: a deployment, a flag, a maintenance.
    Change,
    /// A sign of life.
    Heartbeat,
}

/// Whether the condition holds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The condition has ended.
    Resolved,
    /// The condition holds. Ordered after `Resolved`: at equal times firing wins.
    #[default]
    Firing,
}

/// How bad the producer says it is, ordered from mild to grave.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Needs a look in working hours.
    #[default]
    Warning,
    /// Something is broken.
    Error,
    /// Users suffer.
    Critical,
}

macro_rules! names {
    ($type:ident: $($variant:ident = $name:literal),+) => {
        impl $type {
            /// Every value by its public name.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The public name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Reads the public name.
            pub fn parse(name: &[u8]) -> Option<Self> {
                $(if name == $name.as_bytes() { return Some(Self::$variant); })+
                None
            }

            /// The inverse of `as u8`, for the journal.
            pub fn from_byte(byte: u8) -> Option<Self> {
                $(if byte == Self::$variant as u8 { return Some(Self::$variant); })+
                None
            }
        }
    };
}

names!(Kind: Alert = "alert", Change = "change", Heartbeat = "heartbeat");
names!(Status: Firing = "firing", Resolved = "resolved");
names!(Severity: Critical = "critical", Error = "error", Warning = "warning", Info = "info");

/// Bounds of one event and of one request. Beyond them an event is rejected, a body refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request body as sent. Default 10 MiB; beyond: 413.
    pub body_bytes: ByteSize,
    /// Bytes of a request body after decompression. Default 64 MiB; beyond: 413.
    pub decompressed_bytes: ByteSize,
    /// Bytes of one event as sent. Default 1 MiB; beyond: rejected with `E_TOO_LARGE`.
    pub event_bytes: ByteSize,
    /// Events in one request. Default 10,000; beyond: 413, gRPC `RESOURCE_EXHAUSTED`.
    pub events: u32,
    /// Labels of one event, and likewise annotations. Default 64; beyond: rejected with `E_LABELS`.
    pub labels: u32,
    /// Bytes of a label name. Default 128; beyond: rejected with `E_LABELS`.
    pub label_name_bytes: u32,
    /// Bytes of a label value. Default 4 KiB; beyond: rejected with `E_LABELS`. Annotations may be 16 times as long.
    pub label_value_bytes: ByteSize,
    /// Nesting of JSON. Default 32; beyond: rejected with `E_DEPTH`.
    pub json_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: ByteSize(10 << 20),
            decompressed_bytes: ByteSize(64 << 20),
            event_bytes: ByteSize(1 << 20),
            events: 10_000,
            labels: 64,
            label_name_bytes: 128,
            label_value_bytes: ByteSize(4 << 10),
            json_depth: 32,
        }
    }
}

/// A size in bytes, written with a binary or decimal unit: `4KiB`, `10MB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, schemars::JsonSchema)]
#[schemars(with = "String")]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl ByteSize {
    /// The size as an index bound.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a size needs a number and a unit, such as 512KiB or 10GB, not \"{text}\"");
        let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
        let number: u64 = text[..text.len() - unit.len()].trim_end().parse().map_err(|_| wrong())?;
        number.checked_mul(*factor).map(ByteSize).ok_or_else(|| format!("\"{text}\" is more than 16 EiB"))
    }
}

impl std::fmt::Display for ByteSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exact = UNITS[..4].iter().rev().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
