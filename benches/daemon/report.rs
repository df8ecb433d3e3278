//! The table: as text on standard output, as JSON and Markdown in a folder.

use std::fs;
use std::path::Path;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::rows::{Findings, Goal, Measured, Row};

/// `AM` stands for Alertmanager, `s/M` for seconds of a core per million events, `B` for bytes per live alert: as the
/// growth of resident memory (RSS), and as the server itself counts its state.
const HEADER: [&str; 12] = [
    "work",
    "events/s",
    "CPU s/M",
    "p50 ms",
    "p99 ms",
    "RSS B",
    "state B",
    "AM events/s",
    "AM CPU s/M",
    "AM p99 ms",
    "AM RSS B",
    "floor",
];

/// What is reported so far.
#[derive(Default)]
pub struct Report {
    lines: Vec<(Row, Findings)>,
}

impl Report {
    /// Adds a row.
    pub fn add(&mut self, row: Row, findings: Findings) {
        self.lines.push((row, findings));
    }

    /// The table as Markdown, aligned so that it reads well on a terminal, too.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(HEADER);
        for (row, findings) in &self.lines {
            table.add_row(cells(row, findings));
        }
        table.to_string()
    }

    fn json(&self) -> Value {
        let row = |(row, findings): &(Row, Findings)| {
            let goals: Vec<Value> =
                row.goals.iter().map(|goal| json!({ "goal": wording(*goal), "met": goal.met(findings) })).collect();
            json!({
                "work": row.name,
                "batch": row.batch,
                "ours": findings.ours,
                "alertmanager": findings.alertmanager,
                "times_cheaper": findings.times_cheaper(),
                "goals": goals,
            })
        };
        Value::Array(self.lines.iter().map(row).collect())
    }

    /// Writes `daemon.json` and `daemon.md`.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("daemon.json"), serde_json::to_string_pretty(&self.json())?)?;
        fs::write(folder.join("daemon.md"), self.text())?;
        Ok(())
    }
}

/// One row in short, while the run goes on.
pub fn line(row: &Row, findings: &Findings) -> String {
    let Measured { events_per_second, cpu_seconds_per_million: cpu, .. } = findings.ours;
    let cheaper = findings.times_cheaper().map(|times| format!(", {times:.1} times cheaper")).unwrap_or_default();
    format!("{}: {} events/s, {cpu:.2} CPU s per million{cheaper}", row.name, thousands(events_per_second))
}

fn cells(row: &Row, findings: &Findings) -> Vec<String> {
    let Findings { ours, alertmanager } = findings;
    let maybe = |value: Option<f64>, digits: usize| value.map(|value| format!("{value:.digits$}")).unwrap_or_default();
    let peer = alertmanager.as_ref();
    vec![
        row.name.to_owned(),
        thousands(ours.events_per_second),
        format!("{:.2}", ours.cpu_seconds_per_million),
        maybe(ours.p50_ms, 1),
        maybe(ours.p99_ms, 1),
        maybe(ours.rss_bytes_per_alert, 0),
        maybe(ours.state_bytes_per_alert, 0),
        peer.map(|peer| thousands(peer.events_per_second)).unwrap_or_default(),
        maybe(peer.map(|peer| peer.cpu_seconds_per_million), 1),
        maybe(peer.and_then(|peer| peer.p99_ms), 1),
        maybe(peer.and_then(|peer| peer.rss_bytes_per_alert), 0),
        row.goals.iter().map(|goal| verdict(*goal, findings)).collect::<Vec<_>>().join("; "),
    ]
}

fn wording(goal: Goal) -> String {
    match goal {
        Goal::CpuSeconds(most) => format!("≤ {most} CPU s/M"),
        Goal::TimesCheaper(least) => format!("≥ {least} times cheaper"),
        Goal::Bytes(most) => format!("≤ {most} B"),
    }
}

fn verdict(goal: Goal, findings: &Findings) -> String {
    let times = match goal {
        Goal::TimesCheaper(_) => findings.times_cheaper().map(|times| format!(" ({times:.1})")),
        Goal::CpuSeconds(_) | Goal::Bytes(_) => None,
    };
    let met = match goal.met(findings) {
        Some(true) => "met",
        Some(false) => "NOT MET",
        None => "not measured",
    };
    format!("{}: {met}{}", wording(goal), times.unwrap_or_default())
}

/// A whole number with commas.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
