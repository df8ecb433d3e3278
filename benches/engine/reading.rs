//! Bytes to comparable records: decode per format, normalise, and the fingerprint that is a part of it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use incidentd::identity::{Hasher, domain};

use crate::front::Front;
use crate::work::Shape;
use crate::{BATCH, bodies, group, normalised, work};

pub fn decode_and_normalise(criterion: &mut Criterion) {
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
pub fn recognise(criterion: &mut Criterion) {
    for (name, alerts) in [("1,000 alerts", 1_000), ("10,000 alerts", 10_000), ("100,000 alerts", 100_000)] {
        let mut front = Front::default();
        let bodies = work(Shape::Unique, alerts).protobuf(BATCH);
        let mut pass = || bodies.iter().for_each(|body| drop(black_box(normalised(&mut front, body))));
        (0..3).for_each(|_| pass());
        group(criterion, "recognise", alerts).bench_function(name, |bencher| bencher.iter(&mut pass));
    }
}

pub fn fingerprint(criterion: &mut Criterion) {
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
