//! Instructions of the hot path, counted by callgrind through gungraun: they hardly depend on the machine or on what else
//! runs there. Each function is given one request of 512 events, so an event costs a 512th of what is reported.
//!
//! `make counts` builds this with optimisation, runs it and writes what an event costs into docs/performance.md;
//! `tests/it/instructions.rs` holds the figures that stand there.

// The macros of gungraun make modules and functions for which nobody can write documentation.
#![allow(missing_docs, reason = "what gungraun's macros make has none")]

#[path = "daemon/front.rs"]
mod front;
#[path = "daemon/rules.rs"]
mod rules;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "daemon/work.rs"]
mod work;

use std::hint::black_box;

use bytes::Bytes;
use gungraun::Callgrind;
use gungraun::prelude::*;
use incidentd::clock::Clock;
use incidentd::engine::decision::Verdict;
use incidentd::engine::{Changes, EngineConfig, Shard};
use incidentd::event::Batch;
use incidentd::formats::Format;

use front::{Front, rule_set};
use rules::RULES;
use work::{Shape, Work};

/// Events of a request, as many as alerts.
const EVENTS: usize = 512;
/// Requests that come before the one that is counted: the first makes the alerts known, the second leaves every table
/// and buffer as large as it will be.
const BEFORE: usize = 2;

/// A door's front half and a shard, and the request that comes next.
struct Way {
    front: Front,
    shard: Shard,
    verdicts: Vec<Verdict>,
    format: Format,
    body: Bytes,
}

impl Way {
    /// After some requests of the same alerts, or of others.
    fn new(format: Format, same: bool) -> Self {
        let work = Work::new(Shape::Storm, EVENTS * (BEFORE + 1), Clock::system().now());
        let work = Work { alerts: if same { EVENTS } else { work.events }, ..work };
        let mut bodies = match format {
            Format::Alertmanager => work.alertmanager(EVENTS),
            Format::Event | Format::EventProtobuf => work.protobuf(EVENTS),
        };
        let body = bodies.pop().expect("there are several");
        let mut way = Self {
            front: Front::default(),
            shard: Shard::new(EngineConfig::default(), rule_set(RULES)),
            verdicts: Vec::with_capacity(EVENTS),
            format,
            body,
        };
        for body in bodies {
            let last = std::mem::replace(&mut way.body, body);
            black_box(way.run());
            way.body = last;
        }
        way
    }

    fn decode(&self) -> Batch {
        self.front.decode(&self.body, self.format)
    }

    fn normalise(&mut self, batch: &mut Batch) {
        self.front.normalise(batch, self.format);
    }

    fn apply(&mut self, batch: &Batch) {
        self.verdicts.clear();
        self.shard.apply(batch.received_at, batch, None, &mut self.verdicts);
    }

    fn run(&mut self) -> (Batch, Changes) {
        let mut batch = self.decode();
        self.normalise(&mut batch);
        self.apply(&batch);
        (batch, self.shard.take_changes())
    }
}

fn known(format: Format) -> Way {
    Way::new(format, true)
}

fn unknown(format: Format) -> Way {
    Way::new(format, false)
}

fn decoded(format: Format) -> (Way, Batch) {
    let way = known(format);
    let batch = way.decode();
    (way, batch)
}

fn normalised(format: Format) -> (Way, Batch) {
    let (mut way, mut batch) = decoded(format);
    way.normalise(&mut batch);
    (way, batch)
}

fn applied(format: Format) -> (Way, Batch) {
    let (mut way, batch) = normalised(format);
    way.apply(&batch);
    (way, batch)
}

#[library_benchmark]
#[bench::protobuf(args = (Format::EventProtobuf), setup = known)]
#[bench::json(args = (Format::Alertmanager), setup = known)]
fn repeat(mut way: Way) -> (Way, (Batch, Changes)) {
    let out = black_box(way.run());
    (way, out)
}

#[library_benchmark]
#[bench::protobuf(args = (Format::EventProtobuf), setup = unknown)]
#[bench::json(args = (Format::Alertmanager), setup = unknown)]
fn new_alert(mut way: Way) -> (Way, (Batch, Changes)) {
    let out = black_box(way.run());
    (way, out)
}

#[library_benchmark]
#[bench::protobuf(args = (Format::EventProtobuf), setup = known)]
#[bench::json(args = (Format::Alertmanager), setup = known)]
fn decode(way: Way) -> (Way, Batch) {
    let batch = black_box(way.decode());
    (way, batch)
}

#[library_benchmark]
#[bench::protobuf(args = (Format::EventProtobuf), setup = decoded)]
#[bench::json(args = (Format::Alertmanager), setup = decoded)]
fn normalise((mut way, mut batch): (Way, Batch)) -> (Way, Batch) {
    way.normalise(&mut batch);
    (way, black_box(batch))
}

#[library_benchmark]
#[bench::protobuf(args = (Format::EventProtobuf), setup = normalised)]
#[bench::json(args = (Format::Alertmanager), setup = normalised)]
fn apply((mut way, batch): (Way, Batch)) -> (Way, Batch) {
    way.apply(&batch);
    (black_box(way), batch)
}

#[library_benchmark]
#[bench::protobuf(args = (Format::EventProtobuf), setup = applied)]
#[bench::json(args = (Format::Alertmanager), setup = applied)]
fn take_changes((mut way, batch): (Way, Batch)) -> (Way, Batch, Changes) {
    let changes = black_box(way.shard.take_changes());
    (way, batch, changes)
}

library_benchmark_group!(name = hot_path, benchmarks = [repeat, decode, normalise, apply, take_changes, new_alert]);

// Only instructions are held, so no caches are simulated, which would take twice the time.
main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]));
    library_benchmark_groups = hot_path
);
