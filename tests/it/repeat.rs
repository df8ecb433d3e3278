//! The hot path's promise: from its bytes to its verdict a repeat of a known alert allocates nothing; its batch does a few
//! times, however large it is.
//!
//! Allocations are counted by thread, so other tests of this binary do not disturb the count.

use std::sync::Arc;
use std::time::Duration;

use incidentd::engine::command::Command;
use incidentd::engine::decision::{Outcome, Verdict};
use incidentd::engine::suppress::silence::SilenceDraft;
use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::{Batch, Limits, Text, Timestamp};
use incidentd::formats::{Decoder, Format, Memo, Payload, SeverityMap, Shape};
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normaliser, Scratch};
use incidentd::rules::{Definition, InhibitRuleConfig, compile, default_rules};
use prost::Message;

const START: Timestamp = Timestamp::from_parts(1_700_000_000, 0);
const ALERTS: usize = 100;
/// The vectors of events and of pairs, of which the first grows twice because these events are so small, and the count of who
/// holds the received bytes.
const ALLOCATIONS_OF_A_BATCH: u64 = 5;

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
    // Maps have no order, and a repeat has that of the first.
    let sorted = |event: incidentd::proto::Event| {
        let mut labels: Vec<_> = event.labels.clone().into_iter().collect();
        labels.sort();
        let labels = labels.into_iter().map(|(name, value)| {
            let labels = [(name, value)].into();
            incidentd::proto::Event { labels, ..Default::default() }.encode_to_vec()
        });
        let rest = incidentd::proto::Event { labels: [].into(), ..event }.encode_to_vec();
        [rest, labels.flatten().collect()].concat()
    };
    let mut body = Vec::new();
    for event in (0..ALERTS).map(event).map(sorted) {
        body.push(1 << 3 | 2);
        prost::encoding::encode_varint(event.len() as u64, &mut body);
        body.extend(event);
    }
    body
}

fn decode(decoder: &Decoder, memo: &mut Memo, body: bytes::Bytes, now: Timestamp) -> Batch {
    let mut batch = Batch::new(body, now);
    let payload = Payload {
        format: Format::EventProtobuf,
        shape: Shape::Many,
        span: 0..batch.buffer().len(),
        first_index: 0,
        source: Text::default(),
        received_at: now,
    };
    decoder.recall(memo, &payload, &mut batch, &mut Vec::new()).expect("the request is readable");
    batch
}

/// The parts of the way in, and a shard behind them.
struct Way {
    shard: Shard,
    decoder: Decoder,
    memo: Memo,
    normaliser: Normaliser,
    scratch: Scratch,
    verdicts: Vec<Verdict>,
}

impl Way {
    fn new(definition: &Definition<'_>) -> Self {
        let (rules, problems) = compile(definition);
        assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
        Self {
            shard: Shard::new(EngineConfig::default(), Arc::new(rules)),
            decoder: Decoder::new(Limits::default(), SeverityMap::default()),
            memo: Memo::default(),
            normaliser: Normaliser::new(NormaliseConfig::default()),
            scratch: Scratch::default(),
            verdicts: Vec::with_capacity(3 * ALERTS),
        }
    }

    /// Allocations while a request was decoded, normalised and applied, and while its changes were taken.
    fn repeat(&mut self, second: i64) -> (u64, u64) {
        let now = START.plus(Duration::from_secs(second as u64));
        let body = bytes::Bytes::from(request(second));
        let mut rejects = Vec::new();
        let counted = allocation_counter::measure(|| {
            let mut batch = decode(&self.decoder, &mut self.memo, body, now);
            let identified_by = IdentifiedBy::ConfiguredLabels;
            self.normaliser.normalise(&mut self.scratch, &mut batch, now, identified_by, &mut rejects);
            self.memo.learn(&batch);
            self.verdicts.clear();
            self.shard.apply(now, &batch, None, &mut self.verdicts);
        });
        assert_eq!((self.verdicts.len(), rejects.len()), (ALERTS, 0));
        // The changes are written out once a commit, into one buffer, however many repeats there were.
        let changes = allocation_counter::measure(|| drop(self.shard.take_changes()));
        (counted.count_total, changes.count_total)
    }
}

#[test]
fn a_repeat_of_a_known_alert_allocates_nothing_beside_its_batch() {
    let mut way = Way::new(&Definition::of(&default_rules(), &[]));
    let mut repeat = |second| way.repeat(second);
    let first = repeat(0);
    assert!(first.0 > ALERTS as u64, "a new alert is materialised, which the count must show: {first:?}");
    // Its bytes must come twice before they are recognised.
    for second in 1..4 {
        repeat(second);
    }
    for second in 4..10 {
        let (applied, taken) = repeat(second);
        assert_eq!(applied, ALLOCATIONS_OF_A_BATCH, "allocations while repeats were decoded, normalised and applied");
        assert!(taken <= 16, "{taken} allocations for one batch of changes");
    }
}

#[test]
fn a_repeat_of_an_alert_that_is_muted_or_might_be_allocates_nothing_either() {
    let inhibit_rules: Vec<InhibitRuleConfig> = serde_saphyr::from_str(
        "[{source_matchers: [host=web-1], target_matchers: ['host=~\"web-2.\"'], equal: [service]}]",
    )
    .expect("rules");
    let mut way = Way::new(&Definition { inhibit_rules: &inhibit_rules, ..Definition::of(&default_rules(), &[]) });
    let draft = SilenceDraft {
        id: None,
        matchers: vec!["host=~\"web-3.\"".to_owned()],
        starts_at: START,
        ends_at: START.plus(Duration::from_secs(3_600)),
        comment: String::new(),
    };
    way.shard.command(START, "ann", &Command::Silence(draft)).expect("a silence");
    for second in 0..4 {
        way.repeat(second);
    }
    for second in 4..10 {
        let (applied, _) = way.repeat(second);
        assert_eq!(applied, ALLOCATIONS_OF_A_BATCH, "allocations while repeats were decoded, normalised and applied");
        let suppressed = way.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Suppressed);
        assert_eq!(suppressed.count(), 20);
    }
}
