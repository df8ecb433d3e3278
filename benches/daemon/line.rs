//! One line of the table, whoever measured it: what was found, beside a peer and a floor, and which targets that meets.

use serde::Serialize;

/// What was found of one program.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Events a second.
    pub rate: Option<f64>,
    /// CPU seconds of the server's process per million events.
    pub cpu: Option<f64>,
    /// The same of the load generator, which shares the cores.
    pub client_cpu: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Growth of resident memory per live alert.
    pub rss_bytes: Option<f64>,
    /// What the server itself says that its state takes per live alert.
    pub state_bytes: Option<f64>,
    /// Of what is done once, such as a restart.
    pub seconds: Option<f64>,
}

impl Measured {
    /// Every figure, always in the same order.
    pub fn figures(&mut self) -> [&mut Option<f64>; 8] {
        let Self { rate, cpu, client_cpu, p50_ms, p99_ms, rss_bytes, state_bytes, seconds } = self;
        [rate, cpu, client_cpu, p50_ms, p99_ms, rss_bytes, state_bytes, seconds]
    }
}

/// Which side of its limit a target is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost,
    AtLeast,
}

/// A target and whether it was reached; `None` when what it asks for was not measured.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// Such as `≤ 0.8 CPU s/M`.
    pub wording: String,
    pub bound: Bound,
    pub limit: f64,
    pub found: Option<f64>,
    pub met: Option<bool>,
}

impl Target {
    /// At most so much of something.
    pub fn at_most(found: Option<f64>, most: f64, unit: &str) -> Self {
        Self::new((Bound::AtMost, '≤'), found, most, unit)
    }

    /// At least so much of something.
    pub fn at_least(found: Option<f64>, least: f64, unit: &str) -> Self {
        Self::new((Bound::AtLeast, '≥'), found, least, unit)
    }

    fn new((bound, sign): (Bound, char), found: Option<f64>, limit: f64, unit: &str) -> Self {
        let number = if limit >= 1_000.0 { thousands(limit) } else { limit.to_string() };
        let mut target = Self { wording: format!("{sign} {number} {unit}"), bound, limit, found, met: None };
        target.judge(found);
        target
    }

    /// Judges anew, by another finding.
    pub fn judge(&mut self, found: Option<f64>) {
        self.found = found;
        self.met = found.map(|found| match self.bound {
            Bound::AtMost => found <= self.limit,
            Bound::AtLeast => found >= self.limit,
        });
    }
}

/// See the module.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    /// Which of the numbered targets in `docs/performance.md` it belongs to. Filled in by who runs the measurement.
    pub number: u8,
    /// Filled in by who runs the measurement when empty.
    pub work: String,
    pub ours: Measured,
    /// Another build of ours, on the same bytes (`BENCH_PROGRAM`).
    pub other: Option<Measured>,
    /// Debian's Alertmanager on the same bytes.
    pub peer: Option<Measured>,
    /// What does the least that the work needs: a bare receiver, a bare consumer.
    pub floor: Option<Measured>,
    pub targets: Vec<Target>,
}

impl Line {
    /// How many times the peer's rate.
    pub fn times_faster(&self) -> Option<f64> {
        ratio(self.ours.rate, self.peer.as_ref()?.rate)
    }

    /// How many times less CPU than the peer.
    pub fn times_cheaper(&self) -> Option<f64> {
        ratio(self.peer.as_ref()?.cpu, self.ours.cpu)
    }

    /// Which part of the floor's rate.
    pub fn share_of_floor(&self) -> Option<f64> {
        ratio(self.ours.rate, self.floor.as_ref()?.rate)
    }

    /// How many times the floor's CPU.
    pub fn times_floor(&self) -> Option<f64> {
        ratio(self.ours.cpu, self.floor.as_ref()?.cpu)
    }
}

/// `None` where work was too little for a figure, such as CPU below the tick of the system's account.
pub fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to?).filter(|ratio| ratio.is_finite())
}

/// A whole number with commas.
pub fn thousands(value: f64) -> String {
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
