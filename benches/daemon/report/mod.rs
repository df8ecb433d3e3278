//! The table: as text on standard output, as JSON and Markdown in a folder. Of several passes it shows the median and
//! how far they lay apart.

mod machine;
mod passes;

use std::fs;
use std::path::Path;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::line::{Line, Measured, Target, ratio, thousands};
use crate::run::Bench;
use machine::Machine;
use passes::Row;

/// What is reported so far.
pub struct Report {
    machine: Machine,
    storm_events: usize,
    rows: Vec<Row>,
}

impl Report {
    /// Nothing yet.
    pub fn new(bench: &Bench) -> Self {
        Self { machine: Machine::look(), storm_events: bench.storm_events, rows: Vec::new() }
    }

    /// Adds a line: a row of its own, or another pass of a row.
    pub fn add(&mut self, line: Line) {
        match self.rows.iter_mut().find(|row| row.is_of(&line)) {
            Some(row) => row.passes.push(line),
            None => self.rows.push(Row { passes: vec![line] }),
        }
    }

    /// The table as Markdown, aligned so that it reads well on a terminal, too. Columns without any figure are left out.
    pub fn text(&self) -> String {
        let cells: Vec<Vec<String>> = self.rows.iter().map(cells).collect();
        let shown: Vec<usize> =
            (0..HEADER.len()).filter(|column| cells.iter().any(|row| !row[*column].is_empty())).collect();
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(shown.iter().map(|column| HEADER[*column]));
        for row in &cells {
            table.add_row(shown.iter().map(|column| &row[*column]));
        }
        format!("{}\n\n{table}\n", self.machine)
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            let line = row.median();
            json!({
                "line": line,
                "times_faster_than_peer": line.times_faster(),
                "times_cheaper_than_peer": line.times_cheaper(),
                "share_of_floors_rate": line.share_of_floor(),
                "times_floors_cpu": line.times_floor(),
                "spread": { "rate": row.spread(|line| line.ours.rate), "cpu": row.spread(|line| line.ours.cpu) },
                "passes": row.passes,
            })
        };
        json!({
            "machine": self.machine,
            "storm_events": self.storm_events,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// Writes `daemon.json` and `daemon.md`.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("daemon.json"), serde_json::to_string_pretty(&self.json())?)?;
        fs::write(folder.join("daemon.md"), self.text())?;
        Ok(())
    }
}

/// `s/M` stands for seconds of a core per million events, `B` for bytes per live alert.
const HEADER: [&str; 16] = [
    "#",
    "work",
    "events/s",
    "CPU s/M",
    "p50 ms",
    "p99 ms",
    "s",
    "RSS B",
    "own B",
    "× peer's rate",
    "× less CPU",
    "of floor's rate",
    "× floor's CPU",
    "other: rate, CPU",
    "target",
    "spread",
];

fn cells(row: &Row) -> Vec<String> {
    let line = row.median();
    let ours = &line.ours;
    let with = |value: Option<f64>, show: fn(f64) -> String| value.map(show).unwrap_or_default();
    vec![
        line.number.to_string(),
        line.work.clone(),
        with(ours.rate, thousands),
        with(ours.cpu, |cpu| format!("{cpu:.2}")),
        with(ours.p50_ms, |ms| format!("{ms:.1}")),
        with(ours.p99_ms, |ms| format!("{ms:.1}")),
        with(ours.seconds, |seconds| format!("{seconds:.2}")),
        with(ours.rss_bytes, |bytes| format!("{bytes:.0}")),
        with(ours.state_bytes, |bytes| format!("{bytes:.0}")),
        with(line.times_faster(), |times| format!("{times:.1}")),
        with(line.times_cheaper(), |times| format!("{times:.1}")),
        with(line.share_of_floor(), |share| format!("{:.0} %", share * 100.0)),
        with(line.times_floor(), |times| format!("{times:.1}")),
        line.other.as_ref().map(|other| beside_other(ours, other)).unwrap_or_default(),
        line.targets.iter().map(verdict).collect::<Vec<_>>().join("; "),
        spread(row),
    ]
}

/// Ours in parts of the other build's.
fn beside_other(ours: &Measured, other: &Measured) -> String {
    let both = [ratio(ours.rate, other.rate), ratio(ours.cpu, other.cpu)];
    both.map(|ratio| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))).join(", ")
}

fn verdict(target: &Target) -> String {
    let found = target.found.map(figure).unwrap_or_default();
    match target.met {
        Some(true) => format!("{}: met", target.wording),
        Some(false) => format!("{}: NOT MET ({found})", target.wording),
        None => format!("{}: not measured", target.wording),
    }
}

/// Three digits of small figures, whole large ones.
fn figure(value: f64) -> String {
    match value {
        value if value >= 1_000.0 => thousands(value),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// How far apart the passes lay, in per cent of their median: rate and CPU.
fn spread(row: &Row) -> String {
    let spreads = [row.spread(|line| line.ours.rate), row.spread(|line| line.ours.cpu)];
    let shown: Vec<String> = spreads.into_iter().flatten().map(|spread| format!("{:.0} %", spread * 100.0)).collect();
    shown.join(", ")
}

/// One line in short, while the run goes on.
pub fn short(line: &Line) -> String {
    let part = |found: &Measured| {
        let rate = found.rate.map(|rate| format!("{}/s", thousands(rate)));
        let cpu = found.cpu.map(|cpu| format!("{cpu:.2} CPU s/M"));
        let p99 = found.p99_ms.map(|p99| format!("p99 {p99:.1} ms"));
        let bytes = found.state_bytes.or(found.rss_bytes).map(|bytes| format!("{bytes:.0} B"));
        let seconds = found.seconds.map(|seconds| format!("{seconds:.2} s"));
        [rate, cpu, p99, bytes, seconds].into_iter().flatten().collect::<Vec<_>>().join(", ")
    };
    let mut out = format!("#{} {}: {}", line.number, line.work, part(&line.ours));
    for (name, found) in [("other", &line.other), ("peer", &line.peer), ("floor", &line.floor)] {
        if let Some(found) = found {
            out.push_str(&format!(" | {name}: {}", part(found)));
        }
    }
    out
}
