//! The kinds of rules, each with the configuration that makes one and the events that keep it busy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use incidentd::clock::Clock;
use incidentd::config::Config;
use incidentd::event::{Batch, Limits, Text, Timestamp};
use incidentd::formats::{Decoder, Format, Payload, SeverityMap, Shape};
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normaliser, Scratch};
use incidentd::rules::RuleSet;
use serde_json::{Value, json};

const BATCH: usize = 512;

/// A kind of rule.
pub struct Kind {
    pub name: &'static str,
    /// The configuration for so many keys.
    config: fn(usize) -> String,
    /// The events of one key, given in each pass in turn.
    events: fn(usize) -> Vec<Value>,
    /// Beyond it there would not be enough memory.
    pub keys_max: usize,
    /// Those after it are compared with it.
    pub base: bool,
    /// Silences that mute none of the alerts.
    pub silences: usize,
}

/// A firing event of the key's host.
fn firing(key: usize) -> Value {
    json!({ "source": "bench", "severity": "critical", "labels": {
        "alertname": "HighLatency", "cluster": "eu-1", "env": "production", "host": format!("node-{key:07}"),
        "job": "node-exporter", "namespace": "payments", "service": format!("service-{key:07}"), "severity": "critical",
    }})
}

fn with(mut event: Value, label: &str, value: &str) -> Value {
    event["labels"][label] = value.into();
    event
}

fn of(mut event: Value, field: &str, value: &str) -> Value {
    event[field] = value.into();
    event
}

fn one(key: usize) -> Vec<Value> {
    vec![firing(key)]
}

/// Of an alert that keeps changing.
fn changing(key: usize) -> Vec<Value> {
    vec![firing(key), of(firing(key), "status", "resolved")]
}

/// Rules with the matcher and the key of the plain group.
fn rule(more: &str) -> String {
    format!("rules: [{{ name: r, match: ['severity=critical'], group_by: [service], {more} }}]")
}

/// Rules of which three match, and a catalogue if asked for.
fn rules(count: usize, services: usize) -> String {
    let mut text = String::from("rules:\n");
    for number in 0..count {
        let matcher = if number < 3 { "severity=critical".to_owned() } else { format!("service=other-{number}") };
        text.push_str(&format!("- {{ name: r{number}, match: ['{matcher}'], group_by: [service, host] }}\n"));
    }
    if services > 0 {
        text.push_str("services_file: services.csv\n");
    }
    text
}

/// Each needs five others.
fn catalogue(services: usize) -> String {
    let mut csv = String::from("name,depends_on\n");
    for number in 0..services {
        let needs: Vec<String> = (1..=5).map(|step| format!("service-{:07}", (number + step * 7) % services)).collect();
        csv.push_str(&format!("service-{number:07},{}\n", needs.join(";")));
    }
    csv
}

const SERVICES: usize = 100_000;
const ALL: usize = usize::MAX;

const fn kind(name: &'static str, config: fn(usize) -> String, events: fn(usize) -> Vec<Value>) -> Kind {
    Kind { name, config, events, keys_max: ALL, base: false, silences: 0 }
}

pub const KINDS: &[Kind] = &[
    Kind { base: true, ..kind("group", |_| rule(""), one) },
    kind("threshold: alerts", |_| rule("open_when: { alerts: 3 }"), one),
    kind("threshold: events", |_| rule("open_when: { events: 10000 }"), one),
    kind(
        "threshold: distinct",
        |_| rule("open_when: { distinct: { label: host, count: 100 } }"),
        |key| (0..4).map(|host| with(firing(key), "host", &format!("node-{host}"))).collect(),
    ),
    Kind {
        keys_max: 1_000,
        ..kind(
            "threshold: distinct, estimated",
            |_| rule("open_when: { distinct: { label: host, count: 20000 } }"),
            |key| (0..4).map(|host| with(firing(key), "host", &format!("node-{host}"))).collect(),
        )
    },
    kind(
        "threshold: ratio",
        |_| {
            let members: Vec<String> = (0..1_000).map(|host| format!("node-{host:07}")).collect();
            let rule = rule("open_when: { ratio: { label: host, share: 50%, of: s } }");
            let rule = rule.replace("[service]", "[cluster, service]");
            format!("sets: [{{ name: s, label: cluster, members: {{ eu-1: [{}] }} }}]\n{rule}", members.join(", "))
        },
        |key| vec![with(firing(key), "host", &format!("node-{:07}", key % 1_000))],
    ),
    kind("window: tumbling", |_| rule("window_type: tumbling, open_when: { alerts: 3 }"), one),
    kind("window: session", |_| rule("window_type: session, open_when: { alerts: 3 }"), one),
    kind(
        "sequence",
        |_| rule("open_when: { sequence: [{ match: ['alertname=HighLatency'] }, { match: ['alertname=Never'] }] }"),
        one,
    ),
    kind("when", |_| rule("when: 'labels.env == \"production\" && severity in [\"critical\", \"error\"]'"), one),
    kind(
        "heartbeat",
        |keys| format!("heartbeats: [{{ name: h, by: [host], every: 1h, max_keys: {} }}]", keys.clamp(1, 100_000)),
        |key| vec![of(firing(key), "kind", "heartbeat")],
    ),
    kind(
        "change",
        |_| format!("changes: {{ max: 1000000 }}\n{}", rule("")),
        |key| vec![of(of(firing(key), "kind", "change"), "dedup_key", &format!("chg-{key}"))],
    ),
    kind("union", |_| rule("").replace("group_by: [service]", "union_by: { labels: [service, host] }"), one),
    Kind {
        silences: 1_000,
        ..kind(
            "1,000 silences of others, 10 inhibition rules",
            |_| {
                let rules: Vec<String> = (0..10)
            .map(|n| format!("{{ source_matchers: ['alertname=Down{n}'], target_matchers: ['severity=critical'], equal: [cluster] }}"))
            .collect();
                format!("inhibit_rules: [{}]\n{}", rules.join(", "), rule(""))
            },
            one,
        )
    },
    Kind { base: true, ..kind("group, resolving and coming back", |_| rule("resolve_after: 0s"), changing) },
    kind(
        "absence",
        |_| {
            rule("open_when: { absence: { after: ['alertname=HighLatency'], of: ['alertname=Done'], within: 1h } }")
                .replace("open_when", "resolve_after: 1h, open_when")
        },
        |key| vec![firing(key), with(firing(key), "alertname", "Done")],
    ),
    kind(
        "clear pair",
        |_| rule("cleared_by: ['alertname=Up']"),
        |key| vec![firing(key), with(firing(key), "alertname", "Up")],
    ),
    kind("flapping", |_| rule("resolve_after: 0s, flapping: { changes: 5, within: 10m, stable: 10m }"), changing),
    kind("storm", |_| rule("resolve_after: 0s, storm: { opens: 100, per: 1m }"), changing),
    Kind { base: true, ..kind("10 rules of which 3 match", |_| rules(10, 0), one) },
    kind("1,000 rules of which 3 match", |_| rules(1_000, 0), one),
    kind("10,000 rules of which 3 match", |_| rules(10_000, 0), one),
    kind("topology of 100,000 services, 500,000 edges", |_| rules(10, SERVICES), one),
];

impl Kind {
    pub fn rules(&self, keys: usize) -> Arc<RuleSet> {
        let text = (self.config)(keys);
        let directory = tempfile::tempdir().expect("a directory");
        let (file, listed) = (directory.path().join("rules.yaml"), directory.path().join("services.csv"));
        let text = text.replace("services.csv", &listed.display().to_string());
        std::fs::write(&listed, catalogue(SERVICES)).expect("a file");
        std::fs::write(&file, text).expect("a file");
        let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems:?}")).config;
        Arc::new(config.rule_set().0)
    }
}

/// Batches that are given over and over, each time a second later.
pub struct Work {
    pub batches: Vec<Batch>,
    pub events: usize,
    pub now: Timestamp,
}

impl Work {
    pub fn new(kind: &Kind, keys: usize) -> Self {
        let now = Clock::system().now();
        let events: Vec<Value> = (0..keys).flat_map(kind.events).collect();
        let decoder = Decoder::new(Limits::default(), SeverityMap::default());
        let normaliser = Normaliser::new(NormaliseConfig::default());
        let mut scratch = Scratch::default();
        let mut batch = |events: &[Value]| {
            let body = Bytes::from(serde_json::to_vec(events).expect("JSON"));
            let (span, mut rejects) = (0..body.len(), Vec::new());
            let mut batch = Batch::new(body, now);
            let payload = Payload {
                format: Format::Event,
                shape: Shape::Many,
                span,
                first_index: 0,
                source: Text::default(),
                received_at: now,
            };
            decoder.decode(&payload, &mut batch, &mut rejects).expect("readable");
            normaliser.normalise(&mut scratch, &mut batch, now, IdentifiedBy::ConfiguredLabels, &mut rejects);
            assert!(rejects.is_empty(), "{rejects:?}");
            batch
        };
        let batches = events.chunks(BATCH).map(&mut batch).collect();
        Self { batches, events: events.len(), now }
    }

    /// Moves every event a second on; they happen in the order in which they stand.
    pub fn later(&mut self) -> Timestamp {
        self.now = self.now.plus(Duration::from_secs(1));
        let mut at = self.now.minus(Duration::from_millis(500));
        for event in self.batches.iter_mut().flat_map(|batch| &mut batch.events) {
            at = at.plus(Duration::from_micros(1));
            event.occurred_at = Some(at);
        }
        self.now
    }
}
