//! Alerts written fast: one template, of which a copy gets its numbers and its time in place, so that a probe may send a
//! million different alerts a second and leave the cores to the daemon.
//!
//! The labels and annotations are those of the other rows: 8 and 2, about 330 bytes as protobuf.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use incidentd::event::Timestamp;
use incidentd::proto;
use prost::Message;

/// Events of one request.
pub const BATCH: usize = 512;

const HOST: &str = "@@@@@@@@";
const SERVICE: &str = "%%%%%%";
const CLUSTER: &str = "&&";
/// From an alert to the end of its lease, in JSON.
const LEASE: Duration = Duration::from_secs(3_600);
/// What a varint of five bytes can hold at least; the nanoseconds of every event are at or above it.
const NANOS_MIN: u64 = 1 << 28;
/// Field 4 (status), field 5 (severity: critical), field 10 (time: its seconds, its nanoseconds).
const TAIL: [u8; 18] = [4 << 3, 1, 5 << 3, 1, 10 << 3 | 2, 12, 1 << 3, 0, 0, 0, 0, 0, 2 << 3, 0, 0, 0, 0, 0];
const STATUS_FROM_END: usize = 17;
const SECONDS_FROM_END: usize = 11;
const NANOS_FROM_END: usize = 5;

/// Which alert, and what is said of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alert {
    pub cluster: u32,
    pub service: u32,
    pub host: u32,
    pub resolved: bool,
}

/// See the module.
pub struct Pen {
    /// An event as an element of a request: key, length, message.
    template: Vec<u8>,
    /// Of the key and length in it.
    head: usize,
    hosts: Vec<usize>,
    services: Vec<usize>,
    clusters: Vec<usize>,
}

impl Default for Pen {
    fn default() -> Self {
        let mut event = proto::Event { source: "prometheus".to_owned(), ..proto::Event::default() }.encode_to_vec();
        // One map entry a message: messages that follow each other merge, and so the order of the labels is ours.
        for (name, value) in [
            ("namespace", "payments"),
            ("severity", "critical"),
            ("service", &format!("service-{SERVICE}")),
            ("alertname", "HighRequestLatency"),
            ("cluster", &format!("prod-eu-{CLUSTER}")),
            ("env", "production"),
            ("host", &format!("node-{HOST}.eu.example.org")),
            ("job", "node-exporter"),
        ] {
            let labels = HashMap::from([(name.to_owned(), value.to_owned())]);
            event.extend(proto::Event { labels, ..proto::Event::default() }.encode_to_vec());
        }
        for (name, value) in [
            ("runbook", "https://runbooks.example.org/latency"),
            ("summary", &format!("p99 latency of node-{HOST} above 500 ms")),
        ] {
            let annotations = HashMap::from([(name.to_owned(), value.to_owned())]);
            event.extend(proto::Event { annotations, ..proto::Event::default() }.encode_to_vec());
        }
        event.extend(TAIL);
        let mut template = vec![1 << 3 | 2];
        varint(&mut template, event.len() as u64);
        let head = template.len();
        template.extend(event);
        let places = |marker: &str| memchr::memmem::find_iter(&template, marker.as_bytes()).collect();
        let (hosts, services, clusters) = (places(HOST), places(SERVICE), places(CLUSTER));
        Self { template, head, hosts, services, clusters }
    }
}

impl Pen {
    /// Adds an event to a request.
    pub fn write(&self, out: &mut Vec<u8>, alert: &Alert, at: Timestamp) {
        let start = out.len();
        out.extend_from_slice(&self.template);
        let event = &mut out[start..];
        self.hosts.iter().for_each(|&place| digits(&mut event[place..place + HOST.len()], alert.host));
        self.services.iter().for_each(|&place| digits(&mut event[place..place + SERVICE.len()], alert.service));
        self.clusters.iter().for_each(|&place| digits(&mut event[place..place + CLUSTER.len()], alert.cluster));
        let end = event.len();
        event[end - STATUS_FROM_END] = 1 + u8::from(alert.resolved);
        let micros = at.as_micros() as u64;
        five_bytes(&mut event[end - SECONDS_FROM_END..], micros / 1_000_000);
        // Early in a second a time moves ahead by up to 0.27 s, so that it always takes as many bytes.
        five_bytes(&mut event[end - NANOS_FROM_END..], (micros % 1_000_000 * 1_000).max(NANOS_MIN));
    }

    /// A `PushRequest`.
    pub fn request(&self, alerts: impl Iterator<Item = Alert>, at: Timestamp) -> Bytes {
        let mut out = Vec::with_capacity(BATCH * self.template.len());
        alerts.for_each(|alert| self.write(&mut out, &alert, at));
        out.into()
    }

    /// A single event, as a record of Kafka has it.
    pub fn record(&self, alert: &Alert, at: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.template.len());
        self.write(&mut out, alert, at);
        out.split_off(self.head)
    }

    /// A firing alert in Alertmanager's JSON.
    pub fn json(alert: &Alert, at: Timestamp) -> String {
        let Alert { cluster, service, host, .. } = alert;
        let ends_at = at.plus(LEASE);
        format!(
            concat!(
                r#"{{"labels":{{"alertname":"HighRequestLatency","cluster":"prod-eu-{:02}","env":"production","#,
                r#""host":"node-{:08}.eu.example.org","job":"node-exporter","namespace":"payments","#,
                r#""service":"service-{:06}","severity":"critical"}},"#,
                r#""annotations":{{"runbook":"https://runbooks.example.org/latency","#,
                r#""summary":"p99 latency of node-{:08} above 500 ms"}},"startsAt":"{}","endsAt":"{}"}}"#,
            ),
            cluster, host, service, host, at, ends_at
        )
    }

    /// That alert as an HTTP request, to either server.
    pub fn post(address: SocketAddr, alert: &Alert, at: Timestamp) -> Vec<u8> {
        Self::post_body(address, &format!("[{}]", Self::json(alert, at)))
    }

    /// A request with alerts in Alertmanager's JSON.
    pub fn post_body(address: SocketAddr, body: &str) -> Vec<u8> {
        let (path, length) = ("/api/v2/alerts", body.len());
        let kind = "Content-Type: application/json";
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}").into()
    }
}

/// A number in so many digits; what does not fit is left out.
fn digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A number from 2^28 to 2^35 as a varint.
fn five_bytes(place: &mut [u8], number: u64) {
    for (at, byte) in place[..5].iter_mut().enumerate() {
        *byte = (number >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 };
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
