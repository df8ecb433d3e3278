//! The way of an event on one thread, from bytes to changes, and the time of each part.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use incidentd::clock::{Clock, Stopwatch};
use incidentd::engine::decision::Verdict;
use incidentd::engine::{Changes, EngineConfig, Shard, SnapshotStep};
use incidentd::event::{Batch, Timestamp};
use incidentd::formats::Format;
use incidentd::rules::RuleSet;

use crate::alerts::{Alerts, BATCH};
use crate::front::Front;

/// Rounds of a measurement.
pub const ROUNDS: usize = 4;
/// Events of a round of repeats.
pub const EVENTS: usize = 65_536;
/// A step that visits every alert before it comes to one again; far enough that neighbours in memory are not next.
const STRIDE: usize = 1_000_003;

/// Nanoseconds an event.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub decode: f64,
    pub normalise: f64,
    /// Apply, and take the changes.
    pub apply: f64,
    pub whole: f64,
}

/// What requests have cost, each by itself: a request is over before another process has its turn, so that the median
/// is of those that were not disturbed.
#[derive(Debug, Default)]
pub struct Costs(Vec<Cost>);

impl Costs {
    pub fn median(&self) -> Cost {
        let median = |part: fn(&Cost) -> f64| {
            let mut all: Vec<f64> = self.0.iter().map(part).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        Cost {
            decode: median(|cost| cost.decode),
            normalise: median(|cost| cost.normalise),
            apply: median(|cost| cost.apply),
            whole: median(|cost| cost.whole),
        }
    }
}

/// A front half and a shard, and a time that moves with what is sent.
pub struct Bench {
    front: Front,
    shard: Shard,
    verdicts: Vec<Verdict>,
    alerts: Alerts,
    known: usize,
    /// Repeats so far.
    sent: usize,
    now: Timestamp,
}

impl Bench {
    pub fn new(rules: Arc<RuleSet>, alerts: Alerts) -> Self {
        let config = EngineConfig {
            max_alerts: 10_000_000,
            // Time moves faster here than leases would last.
            resolve_timeout: Duration::from_secs(86_400),
            lateness: Duration::ZERO,
            ..EngineConfig::default()
        };
        let shard = Shard::new(config, rules);
        let (front, now) = (Front::default(), Clock::system().now());
        Self { front, shard, verdicts: Vec::with_capacity(BATCH), alerts, known: 0, sent: 0, now }
    }

    /// The same, with so many live alerts.
    pub fn filled(rules: Arc<RuleSet>, alerts: Alerts, count: usize) -> Self {
        let mut bench = Self::new(rules, alerts);
        bench.fill(count);
        bench
    }

    /// Makes so many more alerts known; of many, in steps, so that not all bytes are in memory at once.
    pub fn fill(&mut self, count: usize) -> Costs {
        let numbers: Vec<usize> = (self.known..self.known + count).collect();
        self.known += count;
        Costs(numbers.chunks(EVENTS).flat_map(|numbers| self.pass(numbers).0).collect())
    }

    /// What a repeat costs of any of the known alerts.
    pub fn repeats(&mut self) -> Cost {
        let mut round = |_| {
            let numbers = self.others();
            self.pass(&numbers).0
        };
        Costs((0..ROUNDS).flat_map(&mut round).collect()).median()
    }

    /// How long it takes to apply a round of repeats that were read before.
    pub fn apply_repeats(&mut self) -> Duration {
        let numbers = self.others();
        let batches = self.read(&numbers);
        self.apply(&batches)
    }

    /// The alerts of the next round, which are others than those of the last one as long as there are.
    fn others(&mut self) -> Vec<usize> {
        let first = self.sent;
        self.sent += EVENTS;
        (first..self.sent).map(|event| event * STRIDE % self.known).collect()
    }

    /// What a new alert costs beside the known ones, of which there are at most twice as many afterwards.
    pub fn new_alerts(&mut self) -> Cost {
        self.fill(self.known.min(100_000)).median()
    }

    /// Reads requests; they are applied later.
    pub fn read(&mut self, numbers: &[usize]) -> Vec<Batch> {
        let requests = self.alerts.requests(numbers, self.now);
        self.now = self.now.plus(self.alerts.spacing * numbers.len() as u32);
        let batch = |body| {
            let mut batch = self.front.decode(body, Format::EventProtobuf);
            batch.received_at = self.now;
            self.front.normalise(&mut batch, Format::EventProtobuf);
            batch
        };
        requests.iter().map(batch).collect()
    }

    /// Applies batches and takes their changes.
    pub fn apply(&mut self, batches: &[Batch]) -> Duration {
        let watch = Stopwatch::start();
        for batch in batches {
            self.verdicts.clear();
            self.shard.apply(batch.received_at, batch, None, &mut self.verdicts);
            black_box(self.shard.take_changes());
        }
        watch.elapsed()
    }

    /// Applies batches and hands out what they change.
    pub fn changes(&mut self, batches: &[Batch]) -> Changes {
        for batch in batches {
            self.verdicts.clear();
            self.shard.apply(batch.received_at, batch, None, &mut self.verdicts);
        }
        self.shard.take_changes()
    }

    /// The next slice of a snapshot.
    pub fn snapshot_step(&mut self) -> SnapshotStep {
        self.shard.snapshot_step()
    }

    /// Sends one event of each alert that is named.
    pub fn pass(&mut self, numbers: &[usize]) -> Costs {
        let mut costs = Costs::default();
        for body in self.alerts.requests(numbers, self.now) {
            let watch = Stopwatch::start();
            let mut batch = self.front.decode(&body, Format::EventProtobuf);
            let decode = watch.elapsed();
            let events = batch.events.len();
            self.now = self.now.plus(self.alerts.spacing * events as u32);
            batch.received_at = self.now;
            let watch = Stopwatch::start();
            self.front.normalise(&mut batch, Format::EventProtobuf);
            let normalise = watch.elapsed();
            let apply = self.apply(&[batch]);
            let [decode, normalise, apply] =
                [decode, normalise, apply].map(|time| time.as_nanos() as f64 / events as f64);
            costs.0.push(Cost { decode, normalise, apply, whole: decode + normalise + apply });
        }
        costs
    }
}
