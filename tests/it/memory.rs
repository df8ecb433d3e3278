//! What the shard says that it holds is what it has asked of the allocator: for alerts, windows and incidents.
//!
//! Allocations are counted by thread, so other tests of this binary do not disturb the count.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use incidentd::engine::{EngineConfig, PARTS, Shard};
use incidentd::event::{Batch, Event, Severity, Timestamp};
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normaliser, Scratch};
use incidentd::rules::{Definition, RuleConfig, compile};

const START: Timestamp = Timestamp::from_parts(1_700_000_000, 0);
const ALERTS: usize = 10_000;
/// What malloc is asked for and what is counted may differ by so much, in per cent of the first.
const APART_MAX: f64 = 10.0;

/// Alerts of 8 labels and 2 annotations, of so many services.
fn batch(services: usize, round: usize) -> Batch {
    let now = START.plus(Duration::from_secs(round as u64));
    let mut batch = Batch::new(Bytes::new(), now);
    for number in 0..ALERTS {
        let mark = batch.mark();
        for (name, value) in [
            ("alertname", "HighLatency".to_owned()),
            ("cluster", "eu-1".to_owned()),
            ("env", "prod".to_owned()),
            ("host", format!("web-{number:06}")),
            ("job", "node".to_owned()),
            ("region", "eu-central-1".to_owned()),
            ("service", format!("service-{:05}", number % services)),
            ("team", format!("team-{:02}", number % 20)),
        ] {
            let (name, value) = (batch.intern(name), batch.intern(&value));
            batch.push_pair(name, value);
        }
        let labels = batch.pairs_since(mark);
        let mark = batch.mark();
        for (name, value) in [("description", "it takes too long"), ("dashboard", "https://example.com/latency")] {
            let (name, value) = (batch.intern(name), batch.intern(value));
            batch.push_pair(name, value);
        }
        let annotations = batch.pairs_since(mark);
        let (source, summary) = (batch.intern("prometheus"), batch.intern(&format!("web-{number:06} is slow")));
        let event = Event { labels, annotations, source, summary, severity: Severity::Error, ..Event::default() };
        batch.events.push(event);
    }
    let (normaliser, mut rejects) = (Normaliser::new(NormaliseConfig::default()), Vec::new());
    normaliser.normalise(&mut Scratch::default(), &mut batch, now, IdentifiedBy::ConfiguredLabels, &mut rejects);
    assert!(rejects.is_empty(), "{rejects:?}");
    batch
}

/// What a shard holds after these alerts, by its own count and by the allocator's.
struct Counted {
    shard: Shard,
    empty: [u64; PARTS.len()],
    asked: u64,
}

impl Counted {
    fn of(rule: &str, services: usize, rounds: usize) -> Self {
        let rule: RuleConfig = serde_saphyr::from_str(rule).expect("a rule");
        let (rules, problems) = compile(&Definition::of(&[rule], &[]));
        assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
        let mut shard = Shard::new(EngineConfig::default(), Arc::new(rules));
        let empty = shard.stats().parts;
        let batches: Vec<Batch> = (0..rounds).map(|round| batch(services, round)).collect();
        let asked = allocation_counter::measure(|| {
            for batch in &batches {
                shard.apply(batch.received_at, batch, None, &mut Vec::new());
                drop(shard.take_changes());
            }
        });
        Self { shard, empty, asked: asked.bytes_current as u64 }
    }

    fn part(&mut self, name: &str) -> u64 {
        let place = PARTS.iter().position(|part| *part == name).expect("a part");
        self.shard.stats().parts[place] - self.empty[place]
    }

    /// The sum of the parts is near what was asked for.
    fn is_near(&mut self) -> u64 {
        let counted = self.shard.stats().bytes - self.empty.iter().sum::<u64>();
        let apart = (counted as f64 - self.asked as f64) / self.asked as f64 * 100.0;
        assert!(apart.abs() <= APART_MAX, "{counted} bytes counted, {} asked for: {apart:.1} %", self.asked);
        counted
    }
}

#[test]
fn a_live_alert_takes_what_is_counted_and_less_than_promised() {
    let mut counted = Counted::of("{name: all, group_by: [service]}", 20, 1);
    let each = counted.is_near() / ALERTS as u64;
    assert!(each <= 500, "{each} bytes an alert");
    assert!(counted.part("alerts") > counted.part("texts"));
}

#[test]
fn an_incident_takes_what_is_counted() {
    let mut counted = Counted::of("{name: all, group_by: [service]}", ALERTS, 1);
    counted.is_near();
    let each = (counted.part("incidents") + counted.part("groups") + counted.part("relations")) / ALERTS as u64;
    assert!(each <= 3_000, "{each} bytes an incident and its group");
}

#[test]
fn a_window_takes_what_is_counted() {
    let mut counted = Counted::of("{name: all, group_by: [service], open_when: {events: 10000}, window: 1h}", 100, 10);
    counted.is_near();
    let each = counted.part("windows") / (10 * ALERTS as u64);
    assert!((40..=400).contains(&each), "{each} bytes an entry");
}
