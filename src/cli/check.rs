//! `incidentd check`: is this configuration right? One line per problem, for people and editors.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::config::Config;

const VALID: u8 = 0;
const INVALID: u8 = 2;

/// Checks configuration files and prints `FILE:LINE:COL: message` per problem on standard output. Answers the exit
/// code: 0 when all may be used, 2 when one may not; warnings count with `strict`.
pub fn check(files: &[PathBuf], strict: bool) -> u8 {
    let mut out = io::stdout().lock();
    files.iter().map(|file| check_file(file, strict, &mut out)).max().unwrap_or(VALID)
}

/// A reader that has gone away changes nothing about the answer.
fn check_file(file: &Path, strict: bool, out: &mut dyn Write) -> u8 {
    let (problems, valid) = match Config::load(file) {
        Ok(loaded) => (loaded.warnings, true),
        Err(problems) => (problems, false),
    };
    for problem in &problems {
        let _ = writeln!(out, "{problem}");
    }
    if problems.is_empty() {
        let _ = writeln!(out, "{}: valid", file.display());
    }
    if valid && (problems.is_empty() || !strict) { VALID } else { INVALID }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, strict: bool) -> (u8, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, text).expect("written");
        let mut out = Vec::new();
        let code = check_file(&file, strict, &mut out);
        let out = String::from_utf8(out).expect("text");
        (code, out.replace(&file.display().to_string(), "FILE"))
    }

    #[test]
    fn errors_are_2_and_warnings_only_when_strict() {
        let unwise = "FILE:1:1: warning: without a rule no event becomes an incident\n".to_owned();
        assert_eq!(checked("rules: []", false), (0, unwise.clone()));
        assert_eq!(checked("rules: []", true), (2, unwise));
        assert_eq!(checked("lsten: x", false).0, 2);
        assert_eq!(checked("listen: 127.0.0.1:1", true), (0, "FILE: valid\n".to_owned()));
        let two = "FILE:1:1: unknown field `lsten`, did you mean `listen`?\nFILE:2:7: expected a list, not 1\n";
        assert_eq!(checked("lsten: x\nsinks: 1", false), (2, two.replace("2:7", "2:8")));
    }
}
