//! The pure parts, each by itself: what one event costs on its way, in batches of 512 unless the name says otherwise;
//! and the store's part of it.
//!
//! `cargo bench --bench engine`, with a part's name to measure only that.

#[path = "../curves/alerts.rs"]
mod alerts;
mod applying;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../curves/bench.rs"]
mod bench;
#[path = "../daemon/front.rs"]
mod front;
mod matching;
mod reading;
#[path = "../daemon/rules.rs"]
mod rules;
mod surviving;
#[path = "../daemon/work.rs"]
mod work;

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use incidentd::clock::Clock;
use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::Batch;
use incidentd::formats::Format;

use front::{Front, rule_set};
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

criterion_group!(
    benches,
    reading::decode_and_normalise,
    reading::recognise,
    reading::fingerprint,
    applying::apply_repeats,
    applying::apply_new,
    applying::take_changes,
    matching::match_rules,
    matching::update_windows,
    surviving::commit,
    surviving::snapshot,
    surviving::restore
);
criterion_main!(benches);
