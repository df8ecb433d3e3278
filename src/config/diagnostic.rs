//! What is wrong in a configuration file, as people and editors read it.

use std::fmt::{self, Write as _};

/// Where something stands in a file, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The beginning of a file, for what concerns the whole of it.
    pub const START: Place = Place { line: 1, column: 1 };
}

/// One problem of a configuration file: `FILE:LINE:COL: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Only unwise.
    pub warning: bool,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Diagnostic {
    pub(super) fn error(file: &str, place: Place, message: impl Into<String>) -> Self {
        let Place { line, column } = place;
        Self { file: file.to_owned(), line, column, warning: false, message: message.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning: " } else { "" };
        write!(f, "{}:{}:{}: {kind}", self.file, self.line, self.column)?;
        // Names are echoed as they are written; what steers a terminal is not.
        for char in self.message.chars() {
            if char.is_control() { write!(f, "{}", char.escape_default())? } else { f.write_char(char)? }
        }
        Ok(())
    }
}

/// A value as it may be echoed: quoted, at most 64 bytes of it.
pub(super) fn echo(text: &str) -> String {
    const BYTES_MAX: usize = 64;
    if text.len() <= BYTES_MAX {
        return format!("{text:?}");
    }
    format!("{:?}…", &text[..text.floor_char_boundary(BYTES_MAX)])
}
