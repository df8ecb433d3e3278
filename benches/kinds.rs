//! What each kind of rule costs: nanoseconds an event of the bare engine at 1, 1,000 and 100,000 live keys, and how many
//! times that of a plain group; the same for 10 to 10,000 rules, and for a topology of 100,000 services.
//!
//! `cargo bench --bench kinds`, with a part of a name to measure only that. One run, one thread; each figure is the
//! least of some rounds, and every round of a kind stands beside one of the plain group, so that ratios hold on a busy
//! machine.

#[path = "kinds/work.rs"]
mod work;

use std::hint::black_box;
use std::time::Duration;

use incidentd::clock::Stopwatch;
use incidentd::engine::command::Command;
use incidentd::engine::suppress::silence::SilenceDraft;
use incidentd::engine::{EngineConfig, Shard};

use work::{KINDS, Kind, Work};

const KEYS: [usize; 3] = [1, 1_000, 100_000];
/// Events of a round, at least.
const EVENTS: usize = 200_000;
const ROUNDS: usize = 5;

/// A shard under one kind of rule, and what it is given over and over.
struct Bench {
    shard: Shard,
    work: Work,
}

impl Bench {
    fn new(kind: &Kind, keys: usize) -> Self {
        let (rules, work) = (kind.rules(keys), Work::new(kind, keys));
        let bounds = EngineConfig { max_alerts: 10_000_000, max_groups: 10_000_000, ..EngineConfig::default() };
        let mut bench = Self { shard: Shard::new(bounds, rules), work };
        for number in 0..kind.silences {
            bench.silence(number);
        }
        bench.pass();
        bench
    }

    /// Adds a silence of alerts that are not there.
    fn silence(&mut self, number: usize) {
        let now = self.work.now;
        let draft = SilenceDraft {
            id: None,
            matchers: vec![format!("alertname=\"Other{number}\"")],
            starts_at: now,
            ends_at: now.plus(Duration::from_secs(86_400)),
            comment: "bench".to_owned(),
        };
        self.shard.command(now, "bench", &Command::Silence(draft)).expect("a sound silence");
    }

    /// Gives every event once, a second after the last time.
    fn pass(&mut self) {
        let now = self.work.later();
        for batch in &self.work.batches {
            let mut verdicts = Vec::with_capacity(batch.events.len());
            self.shard.apply(now, batch, None, &mut verdicts);
            black_box(verdicts);
            black_box(self.shard.take_changes());
        }
    }

    /// Nanoseconds an event.
    fn round(&mut self) -> f64 {
        let passes = EVENTS.div_ceil(self.work.events).max(1);
        let start = Stopwatch::start();
        (0..passes).for_each(|_| self.pass());
        start.elapsed().as_nanos() as f64 / (passes * self.work.events) as f64
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!("| kind | {} |", KEYS.map(|keys| format!("ns, {keys} keys | ratio")).join(" | "));
    println!("| --- |{}", " --- | --- |".repeat(KEYS.len()));
    let mut base = &KINDS[0];
    for kind in KINDS {
        base = if kind.base { kind } else { base };
        if wanted.is_empty() || wanted.iter().any(|part| kind.name.contains(part)) {
            println!("| {} | {} |", kind.name, KEYS.map(|keys| cell(kind, base, keys)).join(" | "));
        }
    }
}

/// Nanoseconds an event, and how many times those of the kind that it is compared with.
fn cell(kind: &Kind, base: &Kind, keys: usize) -> String {
    if keys > kind.keys_max {
        return "– | –".to_owned();
    }
    let (mut compared, mut bench) = (Bench::new(base, keys), Bench::new(kind, keys));
    let (mut least_compared, mut least) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        least_compared = least_compared.min(compared.round());
        least = least.min(bench.round());
    }
    format!("{least:.0} | {:.1}", least / least_compared)
}
