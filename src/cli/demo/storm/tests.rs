//! The night, played through the engine itself on a clock moved by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::delivery::Action;
use crate::engine::decision::{Outcome, Verdict};
use crate::engine::{EngineConfig, Shard};
use crate::event::{self, Batch, Text};
use crate::identity::{EventKey, Fingerprint, Hasher, domain};

fn shard() -> Shard {
    let loaded = Config::parse("rules.yaml", include_str!("../rules.yaml"), &|_| None).unwrap();
    Shard::new(EngineConfig::default(), Arc::new(loaded.config.rule_set().0))
}

/// What decoding and normalising do to an event of the wire, as far as the engine sees it.
fn batch(sent: &Sent, began: Timestamp) -> Option<Batch> {
    let wire = sent.event(began);
    if wire.source.is_empty() || wire.ends_at.is_some() {
        return None;
    }
    let mut batch = Batch::new(bytes::Bytes::new(), began.plus(sent.at));
    let (source, summary, id) = (batch.intern(&wire.source), batch.intern(&wire.summary), batch.intern(&wire.id));
    let mut pairs = |pairs: &HashMap<String, String>| {
        let mark = batch.mark();
        for (name, value) in pairs.iter().collect::<BTreeMap<_, _>>() {
            let (name, value): (Text, Text) = (batch.intern(name), batch.intern(value));
            batch.push_pair(name, value);
        }
        batch.pairs_since(mark)
    };
    let (labels, annotations) = (pairs(&wire.labels), pairs(&wire.annotations));
    let mut hasher = Hasher::default();
    hasher.reset(domain::LABELS).part(wire.source.as_bytes());
    for (name, value) in batch.texts(labels) {
        hasher.part(name.as_bytes()).part(value.as_bytes());
    }
    let fingerprint = Fingerprint(hasher.finish128());
    let key = EventKey(hasher.reset(domain::EVENT).part(wire.source.as_bytes()).part(wire.id.as_bytes()).finish128());
    let content = hasher.reset(domain::CONTENT).part(wire.summary.as_bytes()).finish64();
    batch.events.push(event::Event {
        id,
        source,
        summary,
        labels,
        annotations,
        kind: [event::Kind::Alert, event::Kind::Change, event::Kind::Heartbeat][wire.kind as usize - 1],
        status: [event::Status::Firing, event::Status::Resolved][wire.status as usize - 1],
        severity: event::Severity::from_byte(4 - wire.severity as u8).unwrap(),
        occurred_at: Some(began.plus(sent.happened)),
        fingerprint,
        key,
        content,
        ..event::Event::default()
    });
    Some(batch)
}

#[test]
fn the_same_night_is_played_every_time() {
    assert_eq!(Storm::night(), Storm::night());
}

#[test]
fn a_night_is_about_twenty_thousand_events_of_nine_hundred_alerts() {
    let storm = Storm::night();
    assert!((19_000..22_000).contains(&storm.events.len()), "{}", storm.events.len());
    assert!((850..950).contains(&storm.alerts()), "{}", storm.alerts());
    assert!(storm.length() < Duration::from_secs(16), "{:?}", storm.length());
    assert!(storm.events.is_sorted_by_key(|sent| sent.at));
}

#[test]
fn the_night_becomes_seven_incidents_that_tell_the_story() {
    let (storm, mut shard) = (Storm::night(), shard());
    let began = Timestamp::parse_rfc3339(b"2026-11-22T02:58:00Z").unwrap();
    let mut verdicts: Vec<Verdict> = Vec::new();
    for sent in &storm.events {
        if let Some(batch) = batch(sent, began) {
            shard.apply(began.plus(sent.at), &batch, None, &mut verdicts);
        }
    }
    shard.advance(began.plus(storm.length() + Duration::from_secs(4)));
    let mut told: BTreeMap<String, Vec<Action>> = BTreeMap::new();
    for decision in shard.take_changes().decisions {
        if !decision.action.folds() {
            let title = format!("{} {}", decision.incident.priority.as_str(), decision.incident.title);
            told.entry(title).or_default().push(decision.action);
        }
    }
    use Action::{Opened, Reopened, Resolved};
    let expected = [
        ("P1 Core switch core-sw-r12 fails: hosts unreachable", vec![Opened, Resolved]),
        ("P1 checkout is slow for customers", vec![Opened, Resolved, Reopened, Resolved]),
        ("P2 Database orders: replicas fall behind", vec![Opened, Resolved]),
        ("P2 payments is slow for customers", vec![Opened, Resolved]),
        ("P2 search is slow for customers", vec![Opened, Resolved]),
        ("P4 Certificate of shop.example.org expires in 6 days", vec![Opened]),
        ("P4 Disk errors come and go on db-07", vec![Opened, Resolved]),
    ];
    assert_eq!(told, expected.into_iter().map(|(title, actions)| (title.to_owned(), actions)).collect());
    for outcome in Outcome::ALL {
        let count = verdicts.iter().filter(|verdict| verdict.outcome == outcome).count();
        let expected = !matches!(outcome, Outcome::Suppressed | Outcome::Rejected);
        assert_eq!(count > 0, expected, "{count} {outcome:?}");
    }
}

#[test]
fn the_clock_of_the_night_begins_before_three() {
    assert_eq!(clock(Duration::from_millis(900)), "02:58");
    assert_eq!(clock(Duration::from_secs(14)), "03:12");
}
