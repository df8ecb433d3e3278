//! 10,000 rules of which three match, against ten of which three match: the bare engine with decode, on one thread. The
//! floor is the cost under ten rules; rounds of both alternate, and the ratio is the median of theirs.

use std::fmt::Write;

use anyhow::ensure;
use bytes::Bytes;
use incidentd::clock::Clock;
use incidentd::engine::decision::Verdict;
use incidentd::engine::{EngineConfig, Shard};
use incidentd::formats::Format;

use super::engine::thread_cpu_seconds;
use crate::front::{Front, compiled};
use crate::line::{Line, Measured, Target};
use crate::run::Bench;
use crate::work::{Shape, Work};

const FEW: usize = 10;
const MANY: usize = 10_000;
const MATCHING: [&str; 3] = ["cluster", "namespace", "env"];
const BATCH: usize = 512;
const ROUNDS: usize = 5;
/// Events are so many times fewer than those of a storm.
const SHARE: usize = 5;

/// Repeats of 1,000 alerts.
pub async fn storm(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    measure(&Work::new(Shape::Storm, bench.storm_events / SHARE, Clock::system().now()))
}

/// Different alerts only.
pub async fn unique(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    measure(&Work::new(Shape::Unique, bench.storm_events, Clock::system().now()))
}

fn measure(work: &Work) -> anyhow::Result<Vec<Line>> {
    let bodies = work.protobuf(BATCH);
    let (mut many, mut few, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (of_few, of_many) = (seconds(&bodies, FEW, work)?, seconds(&bodies, MANY, work)?);
        ratios.push(of_many / of_few);
        few.push(of_few);
        many.push(of_many);
    }
    let found = |seconds: Vec<f64>| {
        let per_event = median(seconds) / work.events as f64;
        Measured { rate: Some(1.0 / per_event), cpu: Some(per_event * 1e6), ..Measured::default() }
    };
    let targets = vec![Target::at_most(Some(median(ratios)), 1.2, "× the cost under 10 rules")];
    Ok(vec![Line { ours: found(many), floor: Some(found(few)), targets, ..Line::default() }])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn seconds(bodies: &[Bytes], rules: usize, work: &Work) -> anyhow::Result<f64> {
    let config = EngineConfig { max_alerts: 10_000_000, ..EngineConfig::default() };
    let mut shard = Shard::new(config, compiled(&rules_yaml(rules)));
    let mut front = Front::default();
    let mut verdicts: Vec<Verdict> = Vec::new();
    let before = thread_cpu_seconds()?;
    for body in bodies {
        let mut batch = front.decode(body, Format::EventProtobuf);
        front.normalise(&mut batch, Format::EventProtobuf);
        verdicts.clear();
        shard.apply(batch.received_at, &batch, None, &mut verdicts);
        std::hint::black_box((&verdicts, shard.take_changes()));
    }
    let seconds = thread_cpu_seconds()? - before;
    let (stats, groups) = (shard.stats(), work.services * MATCHING.len());
    ensure!(stats.firing == work.alerts as u64, "{} alerts, {} were sent", stats.firing, work.alerts);
    ensure!(stats.groups == groups as u64, "{} incidents, {groups} expected", stats.groups);
    Ok(seconds)
}

/// So many rules; the last three take every event and group it by the service and another label.
fn rules_yaml(count: usize) -> String {
    let mut yaml = String::from("rules:\n");
    for number in MATCHING.len()..count {
        write!(yaml, "  - name: other-{number:05}\n    match: ['service=\"other-{number:05}\"', 'env!=\"dev\"']\n")
            .expect("a String takes everything");
        yaml.push_str("    group_by: [cluster, service]\n");
    }
    for label in MATCHING {
        write!(yaml, "  - name: by-{label}\n    match: ['severity=critical']\n    group_by: [{label}, service]\n")
            .expect("a String takes everything");
    }
    yaml
}
