//! The bare engine on one thread: batches that are decoded and normalised beforehand are applied and their changes
//! taken; no door, no store, no clock. CPU time of the thread, the median of some rounds.

use std::collections::VecDeque;
use std::fs;

use anyhow::{Context, ensure};
use bytes::Bytes;
use incidentd::clock::Clock;
use incidentd::engine::decision::Verdict;
use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::{Batch, Timestamp};
use incidentd::formats::Format;

use crate::front::{Front, rule_set};
use crate::line::{Line, Measured, Target};
use crate::rules::RULES;
use crate::run::Bench;
use crate::work::{Shape, Work};

const BATCH: usize = 512;
/// Batches that are prepared together: few, so that they are still in the cache as they are in a daemon.
const PREPARED: usize = 8;
const ROUNDS: usize = 3;
/// Events are so many times fewer than those of a storm where each is a new alert, or a new incident.
const SHARE_OF_ALERTS: usize = 2;
const SHARE_OF_INCIDENTS: usize = 5;

/// Repeats of 1,000 alerts, which are known before.
pub async fn repeats(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let work = Work::new(Shape::Storm, bench.storm_events, Clock::system().now());
    let known = Work { events: work.alerts, start: before(&work), ..work };
    measure(&work, Some(&known), 8e6)
}

/// New alerts that join 200 open incidents.
pub async fn new_alerts(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let events = bench.storm_events / SHARE_OF_ALERTS;
    let work = Work { events, alerts: events, ..Work::new(Shape::Unique, events, Clock::system().now()) };
    measure(&work, None, 1.5e6)
}

/// New alerts each of which opens an incident.
pub async fn new_incidents(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let events = bench.storm_events / SHARE_OF_INCIDENTS;
    let work =
        Work { events, alerts: events, services: events, ..Work::new(Shape::Unique, events, Clock::system().now()) };
    measure(&work, None, 0.4e6)
}

/// When what is known before happens.
fn before(work: &Work) -> Timestamp {
    work.start.minus(std::time::Duration::from_secs(1))
}

fn measure(work: &Work, known: Option<&Work>, least: f64) -> anyhow::Result<Vec<Line>> {
    let mut seconds = Vec::new();
    let bodies = work.protobuf(BATCH);
    for _ in 0..ROUNDS {
        let mut shard = shard();
        if let Some(known) = known {
            apply(&mut shard, &known.protobuf(BATCH))?;
        }
        seconds.push(apply(&mut shard, &bodies)?);
        let stats = shard.stats();
        ensure!(stats.firing == work.alerts as u64, "{} alerts, {} were sent", stats.firing, work.alerts);
        ensure!(stats.groups == work.services as u64, "{} incidents for {}", stats.groups, work.services);
    }
    seconds.sort_by(f64::total_cmp);
    let per_event = seconds[ROUNDS / 2] / work.events as f64;
    let ours = Measured { rate: Some(1.0 / per_event), cpu: Some(per_event * 1e6), ..Measured::default() };
    let targets = vec![Target::at_least(ours.rate, least, "/s")];
    Ok(vec![Line { ours, targets, ..Line::default() }])
}

fn shard() -> Shard {
    Shard::new(EngineConfig { max_alerts: 10_000_000, ..EngineConfig::default() }, rule_set(RULES))
}

/// Applies bodies and takes the changes; the CPU seconds of that alone.
fn apply(shard: &mut Shard, bodies: &[Bytes]) -> anyhow::Result<f64> {
    let mut front = Front::default();
    let (mut verdicts, mut seconds): (Vec<Verdict>, f64) = (Vec::new(), 0.0);
    for bodies in bodies.chunks(PREPARED) {
        let mut prepared: VecDeque<Batch> = bodies.iter().map(|body| normalised(&mut front, body)).collect();
        let before = thread_cpu_seconds()?;
        while let Some(batch) = prepared.pop_front() {
            verdicts.clear();
            shard.apply(batch.received_at, &batch, None, &mut verdicts);
            std::hint::black_box((&verdicts, shard.take_changes()));
        }
        seconds += thread_cpu_seconds()? - before;
    }
    Ok(seconds)
}

fn normalised(front: &mut Front, body: &Bytes) -> Batch {
    let mut batch = front.decode(body, Format::EventProtobuf);
    front.normalise(&mut batch, Format::EventProtobuf);
    batch
}

/// Time that this thread was on a core, in seconds.
pub fn thread_cpu_seconds() -> anyhow::Result<f64> {
    // The scheduler brings its account up to date when somebody lets others go first.
    std::thread::yield_now();
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = schedstat.split_whitespace().next().context("a schedstat line")?.parse()?;
    Ok(nanos / 1e9)
}
