//! Why a delivery did not arrive: whose fault it is, and whether another try may help.
//!
//! Sinks classify, the outbox decides. Texts are fit for a log line: one line, no secret, no URL with credentials.

use std::time::Duration;

/// The outcome of a try that was not confirmed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SinkError {
    /// Nobody was reached; the receiver has nothing. Retried.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// It may have arrived: a timeout, a reset. Retried with the same id.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The receiver asks for patience. The whole sink pauses, then it is retried.
    #[error("throttled: {detail}")]
    Throttled {
        /// How long to wait at least, where the receiver says so.
        retry_after: Option<Duration>,
        /// What it said.
        detail: String,
    },
    /// The receiver will never take this delivery. Parked, visibly; later ones go on.
    #[error("rejected: {0}")]
    Rejected(String),
    /// Address, credentials or permission are wrong: an operator is needed. Retried slowly, visibly.
    #[error("misconfigured: {0}")]
    Misconfigured(String),
    /// The receiver failed. Retried.
    #[error("the receiver failed: {detail}")]
    Server {
        /// How long to wait at least, where the receiver says so.
        retry_after: Option<Duration>,
        /// What it said.
        detail: String,
    },
}

impl SinkError {
    /// Whether no further try can help.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, SinkError::Rejected(_))
    }

    /// Whether it says that the sink as a whole does not work, rather than this delivery.
    pub const fn blames_sink(&self) -> bool {
        matches!(
            self,
            SinkError::Unreachable(_) | SinkError::Unknown(_) | SinkError::Misconfigured(_) | SinkError::Server { .. }
        )
    }

    /// How long the receiver asks to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            SinkError::Throttled { retry_after, .. } | SinkError::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Foreign bytes as one printable line: invalid UTF-8 replaced, control characters and those that turn the direction of
/// writing escaped, ends trimmed.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).trim().chars() {
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_receiver_never_reach_the_log() {
        assert_eq!(printable(b" no\r\n\x1b[31mway\xff\n"), "no\\r\\n\\u{1b}[31mway\u{fffd}");
        assert_eq!(printable("Zürich \u{202e}\u{9b}".as_bytes()), "Zürich \\u{202e}\\u{9b}");
    }
}
