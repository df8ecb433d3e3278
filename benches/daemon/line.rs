//! One line of the table, whoever measured it: what was found, beside a peer and a floor, and which targets that meets.

use serde::Serialize;

/// What was found of one program.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Events a second.
    pub rate: Option<f64>,
    /// CPU seconds of the server's process per million events.
    pub cpu: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Growth of resident memory per live alert.
    pub rss_bytes: Option<f64>,
    /// What the server itself says that its state takes per live alert.
    pub state_bytes: Option<f64>,
    /// Of what is done once, such as a restart.
    pub seconds: Option<f64>,
}

/// A target and whether it was reached; `None` when what it asks for was not measured.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// Such as `≤ 0.8 CPU s/M`.
    pub wording: String,
    pub met: Option<bool>,
}

impl Target {
    /// At most so much of something.
    pub fn at_most(found: Option<f64>, most: f64, unit: &str) -> Self {
        Self { wording: format!("≤ {most} {unit}"), met: found.map(|found| found <= most) }
    }

    /// At least so much of something.
    pub fn at_least(found: Option<f64>, least: f64, unit: &str) -> Self {
        Self { wording: format!("≥ {least} {unit}"), met: found.map(|found| found >= least) }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    /// Which of the numbered targets in `docs/performance.md` it belongs to.
    pub number: u8,
    pub work: String,
    pub ours: Measured,
    /// Debian's Alertmanager on the same bytes.
    pub peer: Option<Measured>,
    /// What does the least that the work needs: a bare receiver, a bare consumer.
    pub floor: Option<Measured>,
    pub targets: Vec<Target>,
}
