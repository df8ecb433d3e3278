//! The bare engine in this process: decode, normalise, apply, take the changes; no I/O, one thread.

use std::fs;

use anyhow::{Context, ensure};
use bytes::Bytes;
use incidentd::engine::decision::Verdict;
use incidentd::engine::{EngineConfig, Shard};
use incidentd::formats::Format;

use crate::front::{Front, rule_set};

/// What the bare engine did.
pub struct Outcome {
    pub cpu_seconds: f64,
    pub alerts: u64,
    pub incidents: u64,
    pub state_bytes: u64,
}

/// Runs bodies through a shard of its own.
pub fn run(bodies: &[Bytes], format: Format, rules: usize) -> anyhow::Result<Outcome> {
    let mut front = Front::default();
    let mut shard = Shard::new(EngineConfig { max_alerts: 10_000_000, ..EngineConfig::default() }, rule_set(rules));
    let (mut verdicts, mut seen): (Vec<Verdict>, usize) = (Vec::new(), 0);
    let before = thread_cpu_seconds()?;
    for body in bodies {
        let mut batch = front.decode(body, format);
        front.normalise(&mut batch, format);
        verdicts.clear();
        shard.apply(batch.received_at, &batch, None, &mut verdicts);
        seen += verdicts.len();
        std::hint::black_box(shard.take_changes());
    }
    let cpu_seconds = thread_cpu_seconds()? - before;
    let stats = shard.stats();
    ensure!(seen > 0, "no verdicts");
    Ok(Outcome { cpu_seconds, alerts: stats.firing, incidents: stats.groups, state_bytes: stats.bytes })
}

/// Time that this thread was on a core, in seconds.
fn thread_cpu_seconds() -> anyhow::Result<f64> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = schedstat.split_whitespace().next().context("a schedstat line")?.parse()?;
    Ok(nanos / 1e9)
}
