//! `incidentd check`: is this configuration right? One line per problem, for people and editors.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::{Config, Diagnostic, Loaded};
use crate::event::{Timestamp, duration};
use crate::rules::{MaintenanceWindow, Opening, Problem};

const VALID: u8 = 0;
const INVALID: u8 = 2;

/// Openings of a maintenance window that are shown.
const OPENINGS_SHOWN: usize = 3;

/// Checks configuration files and prints `FILE:LINE:COL: message` per problem on standard output; with `explain` also when
/// maintenance windows open next. Answers the exit code: 0 when all may be used, 2 when one may not; warnings count with
/// `strict`.
pub fn check(files: &[PathBuf], strict: bool, explain: bool) -> u8 {
    let (mut out, now) = (io::stdout().lock(), Clock::system().now());
    let check_one = |file: &PathBuf| {
        let (code, windows) = check_file(file, strict, now, &mut out);
        for window in windows.iter().filter(|_| explain) {
            let _ = out.write_all(explained(window, now).as_bytes());
        }
        code
    };
    files.iter().map(check_one).max().unwrap_or(VALID)
}

/// The exit code, and the maintenance windows of a valid file. A reader that has gone away changes nothing about the
/// answer.
fn check_file(file: &Path, strict: bool, now: Timestamp, out: &mut dyn Write) -> (u8, Vec<MaintenanceWindow>) {
    let (problems, valid, windows) = match Config::load(file) {
        Ok(loaded) => {
            let windows = loaded.config.rule_set().0.maintenance;
            (with_time(file, loaded, &windows, now), true, windows)
        }
        Err(problems) => (problems, false, Vec::new()),
    };
    for problem in &problems {
        let _ = writeln!(out, "{problem}");
    }
    if problems.is_empty() {
        let _ = writeln!(out, "{}: valid", file.display());
    }
    (if valid && (problems.is_empty() || !strict) { VALID } else { INVALID }, windows)
}

/// The warnings of a valid file, and those that only the time of the check shows.
fn with_time(file: &Path, loaded: Loaded, windows: &[MaintenanceWindow], now: Timestamp) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (place, MaintenanceWindow { schedule, .. }) in windows.iter().enumerate() {
        let state = schedule.at(now);
        if !state.open && state.next_change.is_none() {
            found.push(Problem::warning(format!("maintenance[{place}].schedule"), "is over: it never opens again"));
        }
        let twists = schedule.twists(now).into_iter();
        found.extend(twists.map(|twist| Problem::warning(format!("maintenance[{place}].schedule"), twist)));
    }
    let mut problems = loaded.warnings;
    problems.extend(Config::locate(file, found));
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// When a window is open, in its own time and in UTC.
fn explained(window: &MaintenanceWindow, now: Timestamp) -> String {
    let schedule = &window.schedule;
    let line = |what: &str, Opening { from, until }: Opening| {
        let [shown_from, shown_until] = [from, until].map(|at| schedule.show(at));
        let length = duration::format(until.since(from));
        format!("  {what} {shown_from} to {shown_until}, {length} ({from} to {until})\n")
    };
    let mut text = format!("maintenance window {} in {}:\n", window.name, schedule.zone());
    let open = schedule.opening_at(now);
    let upcoming = schedule.upcoming(now, OPENINGS_SHOWN);
    if open.is_none() && upcoming.is_empty() {
        text.push_str("  is over: it never opens again\n");
    }
    text.extend(open.map(|opening| line("open now,", opening)));
    text.extend(upcoming.into_iter().map(|opening| line("opens", opening)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, strict: bool) -> (u8, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, text).expect("written");
        let mut out = Vec::new();
        let now = Timestamp::parse_rfc3339(b"2026-03-01T12:00:00Z").expect("a time");
        let (code, windows) = check_file(&file, strict, now, &mut out);
        windows.iter().for_each(|window| out.extend(explained(window, now).into_bytes()));
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
    #[test]
    fn maintenance_windows_are_shown_in_their_own_time_and_in_utc() {
        let text = "maintenance:\n- name: nightly\n  all: true\n  zone: Europe/Berlin\n  schedule:\n    \
                    { cron: '30 2 * * SUN', duration: 90m }\n- name: now\n  all: true\n  schedule:\n    \
                    { once: { from: 2026-03-01T11:00Z, until: 2026-03-01T13:00Z } }\n";
        let expected = "\
            FILE:5:3: warning: 02:30 on 2026-03-29 does not exist in Europe/Berlin, where the clock goes forward: 03:00 is meant (2026-03-29T01:00:00Z)\n\
            FILE:5:3: warning: 02:30 on 2026-10-25 comes twice in Europe/Berlin, where the clock goes back: the first is meant (2026-10-25T00:30:00Z)\n\
            maintenance window nightly in Europe/Berlin:\n\
            \x20 opens Sun 2026-03-08 02:30 CET to Sun 2026-03-08 04:00 CET, 1h30m (2026-03-08T01:30:00Z to 2026-03-08T03:00:00Z)\n\
            \x20 opens Sun 2026-03-15 02:30 CET to Sun 2026-03-15 04:00 CET, 1h30m (2026-03-15T01:30:00Z to 2026-03-15T03:00:00Z)\n\
            \x20 opens Sun 2026-03-22 02:30 CET to Sun 2026-03-22 04:00 CET, 1h30m (2026-03-22T01:30:00Z to 2026-03-22T03:00:00Z)\n\
            maintenance window now in UTC:\n\
            \x20 open now, Sun 2026-03-01 11:00 UTC to Sun 2026-03-01 13:00 UTC, 2h (2026-03-01T11:00:00Z to 2026-03-01T13:00:00Z)\n";
        assert_eq!(checked(text, false), (0, expected.to_owned()));
        let over = text.replace("2026-03-01T1", "2026-02-01T1");
        assert!(checked(&over, true).1.contains("FILE:9:3: warning: is over: it never opens again\n"));
        assert_eq!(checked(&over, true).0, 2);
    }
}
