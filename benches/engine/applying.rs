//! Repeats of 1,000 to 5,000,000 live alerts, new alerts, new incidents, and taking the changes of each.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, SamplingMode};
use incidentd::event::Batch;

use crate::alerts::Alerts;
use crate::bench::{Bench, EVENTS};
use crate::front::{Front, rule_set};
use crate::rules::RULES;
use crate::work::{Shape, Work};
use crate::{BATCH, apply, bodies, group, normalised, shard, work};

/// Repeats of ever others of so many alerts: at 5,000,000 none of what they touch is still in a cache.
pub fn apply_repeats(criterion: &mut Criterion) {
    for alerts in [1_000, 100_000, 5_000_000] {
        let mut repeating = group(criterion, "apply repeats", EVENTS);
        repeating.warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200));
        repeating.sample_size(10).sampling_mode(SamplingMode::Flat);
        // Made when it is asked for: 5,000,000 alerts take 15 seconds and 3 GB.
        let mut made = None;
        repeating.bench_function(format!("of {alerts} alerts, changes taken"), |bencher| {
            let bench = made.get_or_insert_with(|| Bench::filled(rule_set(RULES), Alerts::default(), alerts));
            bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.apply_repeats()).sum());
        });
    }
}

pub fn apply_new(criterion: &mut Criterion) {
    const ALERTS: usize = 20_480;
    let mut front = Front::default();
    let of = |front: &mut Front, work: Work| -> Vec<Batch> {
        work.protobuf(BATCH).iter().map(|body| normalised(front, body)).collect()
    };
    let alerts = of(&mut front, work(Shape::Unique, ALERTS));
    let incidents = of(&mut front, Work { services: ALERTS, ..work(Shape::Unique, ALERTS) });
    let mut applying = group(criterion, "apply new", ALERTS);
    for (name, batches) in [("alerts", &alerts), ("incidents", &incidents)] {
        applying.bench_function(format!("{name}, changes taken"), |bencher| {
            bencher.iter_batched(
                || shard(RULES),
                |mut shard| {
                    for batch in batches {
                        apply(&mut shard, batch);
                        black_box(shard.take_changes());
                    }
                    shard
                },
                BatchSize::PerIteration,
            );
        });
    }
}

pub fn take_changes(criterion: &mut Criterion) {
    let mut front = Front::default();
    let batch = normalised(&mut front, &bodies()[0].1);
    let mut taking = group(criterion, "take_changes", BATCH);
    for (name, known) in [("repeated alerts", true), ("new alerts", false)] {
        taking.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    let mut shard = shard(RULES);
                    apply(&mut shard, &batch);
                    if known {
                        black_box(shard.take_changes());
                        apply(&mut shard, &batch);
                    }
                    shard
                },
                |mut shard| {
                    black_box(shard.take_changes());
                    shard
                },
                BatchSize::LargeInput,
            );
        });
    }
}
