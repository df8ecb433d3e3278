//! Logs: text on a terminal, JSON otherwise, to stderr.
//!
//! Set up once per process by `main`; a second call changes nothing. What comes from outside is written with its
//! control characters escaped, so that an event cannot forge a line of the log or steer the terminal.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `filter` is a level (`error`, `warn`, `info`, `debug`, `trace`, `off`) or directives such as
/// `info,incidentd::store=debug`.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(format: Format, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        format!("\"{}\" is no log level: {error}; use error, warn, info, debug or trace", escaped(filter))
    })?;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // An error says that logging was set up before: then it stays as it is.
    let _ = match format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Auto if !terminal => builder.json().flatten_event(true).try_init(),
        Format::Auto | Format::Text => {
            builder.with_ansi(terminal).fmt_fields(debug_fn(field).delimited(" ")).try_init()
        }
    };
    Ok(())
}

fn field(writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", escaped(&value)),
        name => write!(writer, "{name}={}", escaped(&value)),
    }
}

/// A text with its control characters, and those that turn the direction of writing, spelled out.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match steers(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out_and_letters_stay() {
        assert_eq!(escaped("Zürich ✓"), "Zürich ✓");
        assert_eq!(escaped("a\nb\x1b[31m\u{202e}\u{9b}"), "a\\nb\\u{1b}[31m\\u{202e}\\u{9b}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert!(init(Format::Text, "incidentd=loud").unwrap_err().contains("use error, warn"));
    }

    #[test]
    fn a_second_start_changes_nothing() {
        assert_eq!(init(Format::Json, "off"), Ok(()));
        assert_eq!(init(Format::Text, "off"), Ok(()));
    }
}
