//! What is sent: the same alerts as our protobuf and as Alertmanager's JSON, prebuilt, so that sending costs little.
//!
//! An event has 8 labels and 2 annotations: 328 bytes as protobuf, 410 as JSON. In a *storm* a few alerts repeat, each
//! event a little later than the one before; as from Prometheus, a repeat in JSON keeps its start and extends its end.
//! In *unique* work every event is an alert of its own.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use incidentd::event::Timestamp;

/// Alerts of a storm.
pub const STORM_ALERTS: usize = 1_000;
const STORM_SERVICES: usize = 50;
/// Unique work has so many times fewer events than a storm.
const UNIQUE_SHARE: usize = 5;
const UNIQUE_SERVICES: usize = 200;
/// Between an event and the next.
const SPACING: Duration = Duration::from_micros(10);
/// From an event to the end of its lease, in JSON.
const LEASE: Duration = Duration::from_secs(900);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Repeats of 1,000 alerts.
    Storm,
    /// No two events of one alert.
    Unique,
}

/// The events of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub events: usize,
    /// Different alerts among them.
    pub alerts: usize,
    /// Incidents that the rules must open.
    pub services: usize,
    /// When the first event happens.
    pub start: Timestamp,
}

impl Work {
    /// Work of a shape that begins a while before `now`, scaled by the events of a storm.
    pub fn new(shape: Shape, storm_events: usize, now: Timestamp) -> Self {
        let events = match shape {
            Shape::Storm => storm_events,
            Shape::Unique => (storm_events / UNIQUE_SHARE).max(1),
        };
        let (alerts, services) = match shape {
            Shape::Storm => (STORM_ALERTS, STORM_SERVICES),
            Shape::Unique => (events, UNIQUE_SERVICES),
        };
        let alerts = alerts.min(events);
        let span = Duration::from_secs(10) + SPACING * events as u32;
        Self { events, alerts, services: services.min(alerts), start: now.minus(span) }
    }

    /// `PushRequest` messages of `batch` events each.
    pub fn protobuf(&self, batch: usize) -> Vec<Bytes> {
        self.protobuf_from(0, batch)
    }

    /// The same, of alerts whose numbers begin with `first`.
    pub fn protobuf_from(&self, first: usize, batch: usize) -> Vec<Bytes> {
        let alerts: Vec<Vec<u8>> = (first..first + self.alerts).map(|number| self.protobuf_alert(number)).collect();
        let message = |events: Range<usize>| {
            let mut out = Vec::with_capacity(events.len() * 340);
            for event in events {
                let mut body = alerts[event % self.alerts].clone();
                field(&mut body, 10, &protobuf_time(self.time(event)));
                field(&mut out, 1, &body);
            }
            out.into()
        };
        self.batches(batch).map(message).collect()
    }

    /// Bodies of `POST /api/v2/alerts` of `batch` alerts each.
    pub fn alertmanager(&self, batch: usize) -> Vec<Bytes> {
        let alerts: Vec<String> = (0..self.alerts).map(|number| self.alertmanager_alert(number)).collect();
        let body = |events: Range<usize>| {
            let mut out = String::with_capacity(events.len() * 420 + 2);
            for event in events {
                out.push(if out.is_empty() { '[' } else { ',' });
                out.push_str(&alerts[event % self.alerts]);
                write!(out, r#""endsAt":"{}"}}"#, self.time(event).plus(LEASE)).expect("a String takes everything");
            }
            out.push(']');
            out.into()
        };
        self.batches(batch).map(body).collect()
    }

    fn batches(&self, batch: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let events = self.events;
        (0..events).step_by(batch).map(move |start| start..(start + batch).min(events))
    }

    fn time(&self, event: usize) -> Timestamp {
        self.start.plus(SPACING * event as u32)
    }

    /// Sorted by name, as Prometheus sends them.
    fn labels(&self, number: usize) -> [(&'static str, String); 8] {
        [
            ("alertname", "HighRequestLatency".to_owned()),
            ("cluster", "prod-eu-1".to_owned()),
            ("env", "production".to_owned()),
            ("host", format!("node-{number:07}.eu.example.org")),
            ("job", "node-exporter".to_owned()),
            ("namespace", "payments".to_owned()),
            ("service", format!("service-{:04}", number % self.services)),
            ("severity", "critical".to_owned()),
        ]
    }

    fn annotations(number: usize) -> [(&'static str, String); 2] {
        [
            ("runbook", "https://runbooks.example.org/latency".to_owned()),
            ("summary", format!("p99 latency of node-{number:07} above 500 ms")),
        ]
    }

    /// All of an event but its time. Maps of protobuf have no order, so the labels are not sorted.
    fn protobuf_alert(&self, number: usize) -> Vec<u8> {
        const CRITICAL: u8 = 1;
        let mut out = Vec::with_capacity(340);
        field(&mut out, 2, b"prometheus");
        out.extend_from_slice(&[5 << 3, CRITICAL]);
        let mut labels = self.labels(number);
        labels.rotate_left(5);
        labels.swap(1, 6);
        for (name, value) in &labels {
            field(&mut out, 7, &entry(name, value));
        }
        for (name, value) in &Self::annotations(number) {
            field(&mut out, 8, &entry(name, value));
        }
        out
    }

    /// All of an alert up to its end.
    fn alertmanager_alert(&self, number: usize) -> String {
        let object = |pairs: &[(&str, String)]| {
            let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
            pairs.join(",")
        };
        let (labels, annotations) = (object(&self.labels(number)), object(&Self::annotations(number)));
        let start = self.start;
        format!(r#"{{"labels":{{{labels}}},"annotations":{{{annotations}}},"startsAt":"{start}","#)
    }
}

fn entry(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 4);
    field(&mut out, 1, name.as_bytes());
    field(&mut out, 2, value.as_bytes());
    out
}

fn protobuf_time(at: Timestamp) -> Vec<u8> {
    let micros = at.as_micros();
    let mut out = vec![1 << 3];
    varint(&mut out, micros.div_euclid(1_000_000) as u64);
    out.push(2 << 3);
    varint(&mut out, micros.rem_euclid(1_000_000) as u64 * 1_000);
    out
}

/// A length-delimited field.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
