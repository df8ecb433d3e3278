//! What survives: commits to SQLite on the disk of the target folder, slices of a snapshot, and coming back from both.

use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use incidentd::engine::SnapshotStep;
use incidentd::store::{Commit, JournalEntry, SqliteConfig, SqliteStore, Store};

use crate::alerts::Alerts;
use crate::bench::Bench;
use crate::front::{Front, rule_set};
use crate::rules::RULES;
use crate::work::Shape;
use crate::{BATCH, apply, group, normalised, shard, work};

/// The journal of so many events, as a shard hands it over.
fn journal(events: usize, known: bool) -> Vec<u8> {
    let mut bench = Bench::new(rule_set(RULES), Alerts::default());
    let numbers: Vec<usize> = (0..events).collect();
    if known {
        bench.pass(&numbers);
    }
    let batches = bench.read(&numbers);
    bench.changes(&batches).journal
}

/// One synced transaction with the journal of so many events and nothing else.
pub fn commit(criterion: &mut Criterion) {
    // Not a temporary folder: that may be in memory, where a sync costs nothing.
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a folder");
    let mut store = SqliteStore::open(folder.path(), SqliteConfig::default()).expect("a new store");
    for (name, known) in [("repeats", true), ("new alerts", false)] {
        for events in [10, 1_000, 10_000] {
            let bytes = journal(events, known);
            let name = format!("{events} {name}, {} bytes", bytes.len());
            let entry = Commit { journal: vec![JournalEntry { shard: 0, bytes }], ..Commit::default() };
            let mut committing = group(criterion, "commit", events);
            committing.sample_size(10).measurement_time(Duration::from_secs(1));
            committing.bench_function(name, |bencher| {
                bencher.iter(|| store.commit(&entry).expect("there is room"));
            });
        }
    }
}

/// One slice of a snapshot, which one commit carries: 1,024 of 100,000 alerts.
pub fn snapshot(criterion: &mut Criterion) {
    let mut bench = Bench::filled(rule_set(RULES), Alerts::default(), 100_000);
    group(criterion, "snapshot", 1).bench_function("a step of 1,024 objects", |bencher| {
        bencher.iter(|| bench.snapshot_step());
    });
}

pub fn restore(criterion: &mut Criterion) {
    const ALERTS: usize = 100_000;
    let mut front = Front::default();
    let mut full = shard(RULES);
    for body in work(Shape::Unique, ALERTS).protobuf(BATCH) {
        apply(&mut full, &normalised(&mut front, &body));
    }
    let journal = full.take_changes().journal;
    let mut slices = Vec::new();
    while slices.last().is_none_or(|last: &SnapshotStep| !last.last) {
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
