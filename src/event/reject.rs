//! Why an event was refused: a code for programs, a place, and a sentence for people.
//!
//! A reject is data, not an error: it is counted, answered and, from Kafka, written to the dead-letter topic. It
//! never echoes more than 64 bytes of what came in.

use std::fmt;

/// The machine-readable kind of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No bytes, or a Kafka tombstone.
    Empty,
    /// The bytes are no UTF-8.
    Utf8,
    /// No JSON.
    Json,
    /// Nested too deep.
    Depth,
    /// The same key twice in one object.
    DupKey,
    /// Larger than a limit allows.
    TooLarge,
    /// A required field is missing.
    Missing,
    /// A field has the wrong type.
    Type,
    /// A field has a value that is not in its list.
    Enum,
    /// A number that cannot be represented.
    Number,
    /// A time that is no RFC 3339.
    Time,
    /// `ends_at` lies before `occurred_at`.
    TimeOrder,
    /// Too many, too long or duplicate labels.
    Labels,
    /// A label name that cannot be used.
    LabelName,
    /// A field that the format does not know.
    UnknownField,
    /// A body of the wrong shape, such as a bare number.
    Shape,
    /// Bytes that are no message of ours.
    Schema,
    /// New alerts beyond the configured maximum of live alerts.
    Capacity,
}

impl Code {
    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::Empty => "E_EMPTY",
            Code::Utf8 => "E_UTF8",
            Code::Json => "E_JSON",
            Code::Depth => "E_DEPTH",
            Code::DupKey => "E_DUP_KEY",
            Code::TooLarge => "E_TOO_LARGE",
            Code::Missing => "E_MISSING",
            Code::Type => "E_TYPE",
            Code::Enum => "E_ENUM",
            Code::Number => "E_NUMBER",
            Code::Time => "E_TIME",
            Code::TimeOrder => "E_TIME_ORDER",
            Code::Labels => "E_LABELS",
            Code::LabelName => "E_LABEL_NAME",
            Code::UnknownField => "E_UNKNOWN_FIELD",
            Code::Shape => "E_SHAPE",
            Code::Schema => "E_SCHEMA",
            Code::Capacity => "E_CAPACITY",
        }
    }
}

/// One refused event of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    /// Its place in the request, from 0.
    pub index: u32,
    /// What kind of fault.
    pub code: Code,
    /// Where, as a JSON pointer such as `/labels/service`; empty for the whole event.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Reject {
    /// A reject of the event at `index`.
    pub fn new(index: u32, code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { index, code, field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.as_str();
        if self.field.is_empty() {
            write!(f, "{code}: {}", self.message)
        } else {
            write!(f, "{code} {}: {}", self.field, self.message)
        }
    }
}
