//! What a second shard gives where correlating is what costs: `scope: [cluster]`, half of the alerts in each of two
//! clusters.
//!
//! First the bare engine: the same decoded batches through one shard on one thread, and through two shards, each owned by
//! a thread of its own. Rounds of one and of two take turns, and the ratio is the median of theirs; it is taken of the
//! time on a core (which no other program on the machine lengthens, and a shared cache or allocator does) and of the
//! clock. Then, for honesty, the whole daemon over gRPC, where decoding takes its part of the cores either way.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use anyhow::ensure;
use incidentd::clock::{Clock, Stopwatch};
use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::{Batch, Timestamp};
use incidentd::formats::Format;

use super::alerts::{Alert, BATCH, Pen};
use super::schedule::{Bodies, Storm};
use crate::front::{Front, rule_set};
use crate::line::{Line, Measured, Target};
use crate::rows::engine::thread_cpu_seconds;
use crate::rules::RULES;
use crate::server::{Server, file_sink};

/// Alerts of a cluster, and its services.
const ALERTS: u32 = 50 * BATCH as u32;
const SERVICES: u32 = 100;
/// Passes over them: the first makes them, the others repeat them.
const PASSES: usize = 6;
const ROUNDS: usize = 5;
const RATIO_MIN: f64 = 1.8;
/// Clusters of the daemon's work, so that both shards get about half.
const CLUSTERS: u32 = 64;
const DAEMON_ALERTS: u32 = 200 * BATCH as u32;
const DAEMON_REPEATS: usize = 9;

pub async fn measure(disk: &Path) -> anyhow::Result<Vec<Line>> {
    let mut lines = tokio::task::spawn_blocking(bare).await??;
    for (work, passes) in [("new alerts", 0), ("repeats", DAEMON_REPEATS)] {
        let one = through(1, passes, disk).await?;
        let two = through(2, passes, disk).await?;
        let ratio = two.rate.zip(one.rate).map_or(0.0, |(two, one)| two / one);
        lines.push(Line {
            work: format!("gRPC, {work}, 2 shards against 1 (floor): {ratio:.2} times"),
            ours: two,
            floor: Some(one),
            ..Line::default()
        });
    }
    Ok(lines)
}

/// What one thread did.
#[derive(Clone, Copy, Default)]
struct Spent {
    events: usize,
    on_core: f64,
    by_clock: f64,
}

/// Of the first pass and of the others.
type Passes = [Spent; 2];

fn bare() -> anyhow::Result<Vec<Line>> {
    let halves = [prepare(0), prepare(1)];
    let whole: Vec<Vec<&Batch>> = (0..PASSES)
        .map(|pass| halves[0][pass].iter().zip(&halves[1][pass]).flat_map(|(a, b)| [a, b]).collect())
        .collect();
    let split =
        halves.each_ref().map(|half| half.iter().map(|pass| pass.iter().collect()).collect::<Vec<Vec<&Batch>>>());
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let alone = on_threads(&[&whole])?;
        let beside = on_threads(&[&split[0], &split[1]])?;
        rounds.push((alone, beside));
    }
    let lines = ["new alerts", "repeats"].into_iter().enumerate().map(|(kind, work)| {
        let rate = |spent: &[Passes], time: fn(&Spent) -> f64| {
            let events: usize = spent.iter().map(|passes| passes[kind].events).sum();
            events as f64 / spent.iter().map(|passes| time(&passes[kind])).fold(0.0, f64::max)
        };
        let on_core: fn(&Spent) -> f64 = |spent| spent.on_core;
        let by_clock: fn(&Spent) -> f64 = |spent| spent.by_clock;
        let ratio = |time: fn(&Spent) -> f64| {
            median(rounds.iter().map(|(one, two)| rate(two, time) / rate(one, time)).collect())
        };
        let of = |rates: Vec<f64>| Measured { rate: Some(median(rates)), ..Measured::default() };
        let (core, clock) = (ratio(on_core), ratio(by_clock));
        Line {
            work: format!(
                "engine, {work}, 2 shards against 1 (floor): {core:.2} times on the cores, {clock:.2} by the clock"
            ),
            ours: of(rounds.iter().map(|(_, two)| rate(two, on_core)).collect()),
            floor: Some(of(rounds.iter().map(|(one, _)| rate(one, on_core)).collect())),
            targets: vec![Target::at_least(Some((core * 100.0).round() / 100.0), RATIO_MIN, "times")],
            ..Line::default()
        }
    });
    Ok(lines.collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The decoded batches of a cluster, pass by pass, each a second later than the one before.
fn prepare(cluster: u32) -> Vec<Vec<Batch>> {
    let (pen, mut front) = (Pen::default(), Front::default());
    let start = Clock::system().now().minus(Duration::from_secs(PASSES as u64 + 10));
    let mut pass = |number: usize| -> Vec<Batch> {
        let at = start.plus(Duration::from_secs(number as u64));
        let decoded = (0..ALERTS).step_by(BATCH).map(|first| {
            let body = pen.request((first..first + BATCH as u32).map(|host| alert(cluster, host)), at);
            let mut batch = front.decode(&body, Format::EventProtobuf);
            front.normalise(&mut batch, Format::EventProtobuf);
            batch.received_at = at;
            batch
        });
        decoded.collect()
    };
    (0..PASSES).map(&mut pass).collect()
}

fn alert(cluster: u32, host: u32) -> Alert {
    Alert { cluster, host, service: host % SERVICES, ..Alert::default() }
}

/// Each thread takes its passes through a shard of its own; all begin together.
fn on_threads(work: &[&Vec<Vec<&Batch>>]) -> anyhow::Result<Vec<Passes>> {
    let barrier = &Barrier::new(work.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = work.iter().map(|passes| scope.spawn(move || correlate(passes, barrier))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a shard broke off"))?).collect()
    })
}

fn correlate(passes: &[Vec<&Batch>], barrier: &Barrier) -> anyhow::Result<Passes> {
    let mut shard = Shard::new(EngineConfig { max_alerts: 10_000_000, ..EngineConfig::default() }, rule_set(RULES));
    let mut verdicts = Vec::new();
    let mut spent = Passes::default();
    for (number, pass) in passes.iter().enumerate() {
        if number <= 1 {
            barrier.wait();
        }
        let (stopwatch, before) = (Stopwatch::start(), thread_cpu_seconds()?);
        let of = &mut spent[number.min(1)];
        for batch in pass {
            verdicts.clear();
            shard.apply(batch.received_at, batch, None, &mut verdicts);
            of.events += verdicts.len();
            std::hint::black_box(shard.take_changes());
        }
        of.on_core += thread_cpu_seconds()? - before;
        of.by_clock += stopwatch.elapsed().as_secs_f64();
    }
    let alerts: usize = passes.first().map_or(0, |pass| pass.iter().map(|batch| batch.events.len()).sum());
    let firing = shard.stats().firing;
    ensure!(firing == alerts as u64, "{firing} alerts fire, {alerts} were given");
    Ok(spent)
}

/// The daemon with so many shards: either alerts it does not know, or so many repeats of each.
async fn through(shards: u32, repeats: usize, disk: &Path) -> anyhow::Result<Measured> {
    let config = |dir: &Path| format!("scope: [cluster]\nshards: {shards}\n{}", file_sink(dir));
    let server = Server::incidentd(disk, config).await?;
    if repeats > 0 {
        Storm::start(server.address, None, passes(1)).finish().await?;
    }
    server.rest().await?;
    let (cpu, stopwatch) = (server.cpu_seconds()?, Stopwatch::start());
    let events = Storm::start(server.address, None, passes(repeats.max(1))).finish().await?;
    let seconds = stopwatch.elapsed().as_secs_f64();
    server.rest().await?;
    let cpu = server.cpu_seconds()? - cpu;
    let incidents = (CLUSTERS * SERVICES).min(DAEMON_ALERTS);
    let expected = [
        ("incidentd_alerts", r#"state="firing""#, DAEMON_ALERTS as usize),
        ("incidentd_incidents", r#"status="open""#, incidents as usize),
    ];
    server.balances(&expected).await?;
    let million = events as f64 / 1e6;
    Ok(Measured { rate: Some(events as f64 / seconds), cpu: Some(cpu / million), ..Measured::default() })
}

fn passes(count: usize) -> Bodies {
    let pen = Pen::default();
    let start: Timestamp = Clock::system().now().minus(Duration::from_secs(60));
    let firsts = (0..count).flat_map(|pass| (0..DAEMON_ALERTS).step_by(BATCH).map(move |first| (pass, first)));
    Box::new(firsts.map(move |(pass, first)| {
        // A host is in one cluster and has one service of it.
        let alert = |host: u32| Alert {
            cluster: host % CLUSTERS,
            service: host / CLUSTERS % SERVICES,
            host,
            ..Alert::default()
        };
        let hosts = first..first + BATCH as u32;
        pen.request(hosts.map(alert), start.plus(Duration::from_secs(pass as u64)))
    }))
}
