//! The pure parts, each by itself: what one event costs on its way, in batches of 512 unless the name says otherwise.
//!
//! `cargo bench --bench engine`, with a part's name to measure only that.

#[path = "daemon/front.rs"]
mod front;
#[path = "daemon/rules.rs"]
mod rules;
#[path = "daemon/work.rs"]
mod work;

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use incidentd::clock::Clock;
use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::{Batch, Event, Kind, Severity, Status};
use incidentd::formats::Format;
use incidentd::identity::{Hasher, domain};
use incidentd::rules::Subject;

use front::{Front, rule_set};
use rules::RULES;
use work::{Shape, Work};

const BATCH: usize = 512;

fn work(shape: Shape, events: usize) -> Work {
    // Unique work has a fifth of a storm's events.
    let storm_events = if shape == Shape::Unique { events * 5 } else { events };
    Work::new(shape, storm_events, Clock::system().now())
}

/// One body of each format, of the same events.
fn bodies() -> [(Format, Bytes); 3] {
    let work = work(Shape::Storm, BATCH);
    let alertmanager = work.alertmanager(BATCH).remove(0);
    let json = std::str::from_utf8(&alertmanager).expect("JSON is UTF-8");
    let json = json.replace(r#""startsAt":"#, r#""source":"prometheus","occurred_at":"#).replace("endsAt", "ends_at");
    [
        (Format::EventProtobuf, work.protobuf(BATCH).remove(0)),
        (Format::Event, json.into()),
        (Format::Alertmanager, alertmanager),
    ]
}

fn normalised(front: &mut Front, body: &Bytes) -> Batch {
    let mut batch = front.decode(body, Format::EventProtobuf);
    front.normalise(&mut batch, Format::EventProtobuf);
    batch
}

fn shard(rules: usize) -> Shard {
    Shard::new(EngineConfig { max_alerts: 10_000_000, ..EngineConfig::default() }, rule_set(rules))
}

fn apply(shard: &mut Shard, batch: &Batch) {
    let mut verdicts = Vec::with_capacity(batch.events.len());
    shard.apply(batch.received_at, batch, None, &mut verdicts);
    black_box(verdicts);
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, events: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(events as u64));
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(20);
    group
}

fn decode_and_normalise(criterion: &mut Criterion) {
    let mut front = Front::default();
    let mut decoding = group(criterion, "decode", BATCH);
    for (format, body) in bodies() {
        decoding.bench_function(format.as_str(), |bencher| bencher.iter(|| front.decode(&body, format)));
    }
    decoding.finish();
    let mut normalising = group(criterion, "normalise", BATCH);
    for (format, body) in bodies() {
        normalising.bench_function(format.as_str(), |bencher| {
            bencher.iter_batched(
                || Front::default().decode(&body, format),
                |mut batch| {
                    front.normalise(&mut batch, format);
                    batch
                },
                BatchSize::LargeInput,
            );
        });
    }
}

/// Decode and normalise what came before, as far as the memo holds it; and what it has no use of.
fn recognise(criterion: &mut Criterion) {
    for (name, alerts) in [("1,000 alerts", 1_000), ("10,000 alerts", 10_000), ("100,000 alerts", 100_000)] {
        let mut front = Front::default();
        let bodies = work(Shape::Unique, alerts).protobuf(BATCH);
        let mut pass = || bodies.iter().for_each(|body| drop(black_box(normalised(&mut front, body))));
        (0..3).for_each(|_| pass());
        group(criterion, "recognise", alerts).bench_function(name, |bencher| bencher.iter(&mut pass));
    }
}

fn fingerprint(criterion: &mut Criterion) {
    let mut front = Front::default();
    let batch = normalised(&mut front, &bodies()[0].1);
    let mut hasher = Hasher::default();
    group(criterion, "fingerprint", BATCH).bench_function("8 sorted labels", |bencher| {
        bencher.iter(|| {
            for event in &batch.events {
                hasher.reset(domain::LABELS).part(batch.bytes(event.source));
                for pair in batch.pairs(event.labels) {
                    hasher.part(batch.bytes(pair.name)).part(batch.bytes(pair.value));
                }
                black_box(hasher.finish128());
            }
        });
    });
}

fn apply_repeats(criterion: &mut Criterion) {
    let mut front = Front::default();
    for alerts in [1_000, 100_000] {
        let bodies = work(Shape::Unique, alerts).protobuf(BATCH);
        let batches: Vec<Batch> = bodies.iter().map(|body| normalised(&mut front, body)).collect();
        let mut shard = shard(RULES);
        batches.iter().for_each(|batch| apply(&mut shard, batch));
        let mut repeating = group(criterion, "apply repeats", alerts);
        repeating.bench_function(format!("of {alerts} alerts, changes taken"), |bencher| {
            bencher.iter(|| {
                for batch in &batches {
                    apply(&mut shard, batch);
                    black_box(shard.take_changes());
                }
            });
        });
    }
}

fn apply_new(criterion: &mut Criterion) {
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

fn take_changes(criterion: &mut Criterion) {
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

struct Seen<'a> {
    batch: &'a Batch,
    event: &'a Event,
}

impl Subject for Seen<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.batch.label(self.event, name)
    }
    fn source(&self) -> &str {
        self.batch.text(self.event.source)
    }
    fn summary(&self) -> &str {
        self.batch.text(self.event.summary)
    }
    fn severity(&self) -> Severity {
        self.event.severity
    }
    fn status(&self) -> Status {
        self.event.status
    }
    fn kind(&self) -> Kind {
        self.event.kind
    }
}

fn match_rules(criterion: &mut Criterion) {
    let mut front = Front::default();
    let batch = normalised(&mut front, &bodies()[0].1);
    let mut matching = group(criterion, "match rules", BATCH);
    for rules in [10, 10_000] {
        let (set, mut found) = (rule_set(rules), Vec::new());
        matching.bench_function(rules.to_string(), |bencher| {
            bencher.iter(|| {
                for event in &batch.events {
                    set.matching(&Seen { batch: &batch, event }, &mut found);
                    black_box(&found);
                }
            });
        });
    }
}

fn restore(criterion: &mut Criterion) {
    const ALERTS: usize = 100_000;
    let mut front = Front::default();
    let mut full = shard(RULES);
    for body in work(Shape::Unique, ALERTS).protobuf(BATCH) {
        apply(&mut full, &normalised(&mut front, &body));
    }
    let journal = full.take_changes().journal;
    let mut slices = Vec::new();
    while slices.last().is_none_or(|last: &incidentd::engine::SnapshotStep| !last.last) {
        slices.push(full.snapshot_step());
    }
    let slices: Vec<&[u8]> = slices.iter().map(|slice| &*slice.bytes).collect();
    let mut restoring = group(criterion, "restore 100,000 alerts", ALERTS);
    for (name, entries) in [("journal", &[&*journal][..]), ("snapshot", &slices)] {
        restoring.bench_function(name, |bencher| {
            bencher.iter_batched(
                || shard(RULES),
                |mut shard| {
                    entries.iter().for_each(|entry| shard.restore(entry).expect("what was written can be read"));
                    shard.finish_restore();
                    shard
                },
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(
    benches,
    decode_and_normalise,
    recognise,
    fingerprint,
    apply_repeats,
    apply_new,
    take_changes,
    match_rules,
    restore
);
criterion_main!(benches);
