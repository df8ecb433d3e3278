//! Writing for people: colour where there is a terminal, plain text elsewhere, a closed pipe is no error.
//!
//! Values that come from events go through [`escaped`] before they are shown.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

pub use crate::telemetry::escaped;

/// How a stream may be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint {
    /// Somebody looks at it: symbols, progress, a width.
    pub terminal: bool,
    colour: bool,
}

/// The colours in use, by their ANSI code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Stands out.
    Bold = 1,
    /// Stands back.
    Dim = 2,
    /// Hurts.
    Red = 31,
    /// Is well.
    Green = 32,
    /// Needs a look.
    Yellow = 33,
    /// Is a name.
    Cyan = 36,
}

impl Paint {
    /// For standard output. `NO_COLOR` (not empty) and `TERM=dumb` switch colour off.
    pub fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { terminal, colour: terminal && !dumb && !set("NO_COLOR") }
    }

    /// No colour, no symbols.
    pub const fn plain() -> Self {
        Self { terminal: false, colour: false }
    }

    /// The text in a tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", tone as u8) } else { text.to_owned() }
    }

    /// A priority in the tone that it deserves.
    pub fn priority(self, name: &str) -> String {
        match name {
            "P1" => self.tone(Tone::Red, name),
            "P2" => self.tone(Tone::Yellow, name),
            _ => name.to_owned(),
        }
    }
}

/// Writes to standard output. A reader that has gone (`| head`) ends the process quietly.
pub fn say(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

/// A table without lines: header, rows, two blanks between columns. Columns in `right` hold numbers.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec()).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A table as text, without blanks at the ends of lines.
pub fn table_text(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    table(header, rows, right).trim_fmt()
}

/// How long ago, in the largest unit that fits.
pub fn ago(since: Duration) -> String {
    format!("{} ago", span(since))
}

/// A length of time in its largest unit.
pub fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// A number with its thousands set apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The text cut to so many characters, with `…` where something is missing.
pub fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_read_well() {
        assert_eq!([0, 999, 1_000, 20_031, 1_234_567].map(thousands), ["0", "999", "1,000", "20,031", "1,234,567"]);
        let spans = [0, 59, 60, 3_599, 3_600, 172_799, 172_800].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
    }

    #[test]
    fn a_cut_text_keeps_to_its_width() {
        assert_eq!(cut("größer", 6), "größer");
        assert_eq!(cut("größer als", 6), "größe…");
    }

    #[test]
    fn a_table_lines_up_and_ends_without_blanks() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "200".to_owned()]];
        assert_eq!(table_text(&["N", "COUNT"], rows, &[1]), "N    COUNT\na        1\nbcd    200");
    }

    #[test]
    fn plain_text_has_no_colour() {
        assert_eq!(Paint::plain().tone(Tone::Red, "P1"), "P1");
    }
}
