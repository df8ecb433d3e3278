//! Why an event was refused: a code for programs, a place, and a sentence for people.
//!
//! A reject is data, not an error: it is counted, answered and, from Kafka, written to the dead-letter topic. It
//! never echoes more than 64 bytes of what came in; [`echo`] and [`pointer`] see to that.

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

/// Bytes of input that a message or a field may repeat.
const ECHO_BYTES_MAX: usize = 64;

/// A piece of input for a message: in quotes, cut to 64 bytes, with everything invisible escaped.
pub fn echo(input: &[u8]) -> String {
    let (shown, cut) = shorten(input);
    format!("{shown:?}{}", if cut { "…" } else { "" })
}

/// A JSON pointer to the place that `parts` name, each cut to 64 bytes, with everything invisible escaped.
pub fn pointer(parts: &[&[u8]]) -> String {
    let mut pointer = String::new();
    for part in parts {
        pointer.push('/');
        for c in shorten(part).0.chars() {
            match c {
                '~' => pointer.push_str("~0"),
                '/' => pointer.push_str("~1"),
                '"' | '\'' | '\\' => pointer.push(c),
                _ => pointer.extend(c.escape_debug()),
            }
        }
    }
    pointer
}

/// What may be shown of `input`, and whether that is not all.
fn shorten(input: &[u8]) -> (std::borrow::Cow<'_, str>, bool) {
    if input.len() <= ECHO_BYTES_MAX {
        return (String::from_utf8_lossy(input), false);
    }
    let is_boundary = |at: &usize| input[*at] & 0xc0 != 0x80;
    let end = (0..=ECHO_BYTES_MAX).rev().find(is_boundary).unwrap_or(0);
    (String::from_utf8_lossy(&input[..end]), true)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_short_and_shows_what_is_invisible() {
        assert_eq!(echo(b"plain 'text'"), "\"plain 'text'\"");
        assert_eq!(echo("a\0\r\n\x1b[31m\u{202e}".as_bytes()), "\"a\\0\\r\\n\\u{1b}[31m\\u{202e}\"");
        let long = echo("é".repeat(1_000).as_bytes());
        assert_eq!(long, format!("\"{}\"…", "é".repeat(32)));
        assert_eq!(echo(&[0x80; 100]), "\"\"…", "no character begins in there");
    }

    #[test]
    fn a_pointer_escapes_what_separates_and_what_is_invisible() {
        assert_eq!(pointer(&[b"labels", b"a/b~c\n"]), "/labels/a~1b~0c\\n");
        assert_eq!(pointer(&[]), "");
    }
}
