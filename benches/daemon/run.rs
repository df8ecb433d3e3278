//! A run of the benches: what it was asked for, which rows that means, and what is done with each finding.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::line::Line;
use crate::report::Report;

/// Events of a storm unless `BENCH_EVENTS` says otherwise.
const STORM_EVENTS: usize = 1_000_000;

/// What every measurement is given.
pub struct Bench {
    /// Below which servers keep their data. Inside the target folder, which is on a disk; a temporary folder may be in
    /// memory, where a sync costs nothing.
    pub disk: PathBuf,
    /// How large work is: a storm has so many events, and other work a set part of them.
    pub storm_events: usize,
    /// Whether another build is measured beside this one (`BENCH_PROGRAM`).
    pub other: bool,
}

impl Bench {
    /// As the environment asks for it.
    pub fn from_environment() -> anyhow::Result<Self> {
        let storm_events = number("BENCH_EVENTS", STORM_EVENTS)?.max(1_000);
        let disk = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        Ok(Self { disk, storm_events, other: std::env::var_os("BENCH_PROGRAM").is_some() })
    }
}

/// Measures the rows that are wanted, and reports after each.
pub struct Run {
    pub passes: usize,
    only: String,
    folder: PathBuf,
    report: Report,
}

impl Run {
    /// As the environment asks for it.
    pub fn new(bench: &Bench) -> anyhow::Result<Self> {
        Ok(Self {
            passes: number("BENCH_PASSES", 1)?.max(1),
            only: std::env::var("BENCH_ONLY").unwrap_or_default().to_lowercase(),
            folder: bench.disk.with_file_name("bench"),
            report: Report::new(bench),
        })
    }

    /// Measures a row, if it is wanted, and writes all that is known by then, so that a run that is broken off leaves
    /// what it has found.
    pub async fn row(
        &mut self,
        number: u8,
        name: &str,
        measuring: impl Future<Output = anyhow::Result<Vec<Line>>>,
    ) -> anyhow::Result<()> {
        if !self.wants(number, name) {
            return Ok(());
        }
        for mut line in Box::pin(measuring).await.with_context(|| format!("#{number} {name}"))? {
            line.number = number;
            if line.work.is_empty() {
                name.clone_into(&mut line.work);
            }
            eprintln!("{}", crate::report::short(&line));
            self.report.add(line);
        }
        self.report.write(&self.folder)
    }

    /// Whether a measurement outside of the table is asked for by its name.
    pub fn asks_for(&self, name: &str) -> bool {
        self.only == name
    }

    /// Prints the table, and where it is.
    pub fn finish(&self) {
        println!("{}", self.report.text());
        println!("also in {}", self.folder.display());
    }

    /// Where tables go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn wants(&self, number: u8, name: &str) -> bool {
        let name = name.to_lowercase();
        self.only.split([',', ' ']).all(|word| match word.strip_prefix('#') {
            Some(wanted) => wanted == number.to_string(),
            None => name.contains(word),
        })
    }
}

fn number(variable: &str, default: usize) -> anyhow::Result<usize> {
    match std::env::var(variable) {
        Ok(text) => text.replace(['_', ','], "").parse().with_context(|| format!("{variable} must be a number")),
        Err(_) => Ok(default),
    }
}
