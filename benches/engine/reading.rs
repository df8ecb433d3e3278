//! Bytes to comparable records: decode per format, normalise, and the fingerprint that is a part of it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use incidentd::identity::{Hasher, domain};

use crate::front::Front;
use crate::{BATCH, bodies, group, normalised};

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
