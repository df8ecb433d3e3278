//! The hot path's promise: once its bytes are decoded, a repeat of a known alert allocates nothing.
//!
//! Allocations are counted by thread, so other tests of this binary do not disturb the count.

use std::sync::Arc;
use std::time::Duration;

use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::{Batch, Limits, Text, Timestamp};
use incidentd::formats::{Decoder, Format, Payload, SeverityMap, Shape};
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normaliser, Scratch};
use incidentd::rules::{Definition, compile, default_rules};
use prost::Message;

const START: Timestamp = Timestamp::from_parts(1_700_000_000, 0);
const ALERTS: usize = 100;

/// Repeats of the same alerts, each later than the one before.
fn request(second: i64) -> Vec<u8> {
    let event = |number: usize| incidentd::proto::Event {
        source: "prometheus".to_owned(),
        summary: "it burns".to_owned(),
        labels: [("service", "checkout".to_owned()), ("host", format!("web-{number}"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        occurred_at: Some(prost_types::Timestamp { seconds: 1_700_000_000 + second, nanos: 0 }),
        ..Default::default()
    };
    incidentd::proto::PushRequest { events: (0..ALERTS).map(event).collect() }.encode_to_vec()
}

fn decode(body: Vec<u8>, now: Timestamp) -> Batch {
    let decoder = Decoder::new(Limits::default(), SeverityMap::default());
    let mut batch = Batch::new(body.into(), now);
    let payload = Payload {
        format: Format::EventProtobuf,
        shape: Shape::Many,
        span: 0..batch.buffer().len(),
        first_index: 0,
        source: Text::default(),
        received_at: now,
    };
    decoder.decode(&payload, &mut batch, &mut Vec::new()).expect("the request is readable");
    batch
}

#[test]
fn a_repeat_of_a_known_alert_allocates_nothing_after_decode() {
    let (rules, _) = compile(&Definition::of(&default_rules(), &[]));
    let mut shard = Shard::new(EngineConfig::default(), Arc::new(rules));
    let normaliser = Normaliser::new(NormaliseConfig::default());
    let (mut scratch, mut rejects) = (Scratch::default(), Vec::new());
    let mut verdicts = Vec::with_capacity(3 * ALERTS);
    let mut repeat = |second: i64| {
        let now = START.plus(Duration::from_secs(second as u64));
        let mut batch = decode(request(second), now);
        let counted = allocation_counter::measure(|| {
            normaliser.normalise(&mut scratch, &mut batch, now, IdentifiedBy::ConfiguredLabels, &mut rejects);
            verdicts.clear();
            shard.apply(now, &batch, None, &mut verdicts);
        });
        assert_eq!((verdicts.len(), rejects.len()), (ALERTS, 0));
        // The changes are written out once a commit, into one buffer, however many repeats there were.
        let changes = allocation_counter::measure(|| drop(shard.take_changes()));
        (counted.count_total, changes.count_total)
    };
    let first = repeat(0);
    assert!(first.0 > ALERTS as u64, "a new alert is materialised, which the count must show: {first:?}");
    repeat(1);
    for second in 2..10 {
        let (applied, taken) = repeat(second);
        assert_eq!(applied, 0, "allocations while repeats were normalised and applied");
        assert!(taken <= 16, "{taken} allocations for one batch of changes");
    }
}
