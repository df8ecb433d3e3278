//! Alerts with as many labels as asked for, as `PushRequest` messages. The same alert is always the same bytes, but for
//! the time.

use std::time::Duration;

use bytes::Bytes;
use incidentd::event::Timestamp;
use prost::Message;

/// Events of a request.
pub const BATCH: usize = 512;
/// Between an event and the next.
const SPACING: Duration = Duration::from_micros(1);

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// An event as a producer writes it that keeps its labels in order, which prost's maps do not.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(string, tag = "2")]
    source: String,
    #[prost(int32, tag = "5")]
    severity: i32,
    #[prost(message, repeated, tag = "7")]
    labels: Vec<Pair>,
    #[prost(message, repeated, tag = "8")]
    annotations: Vec<Pair>,
    #[prost(message, optional, tag = "10")]
    occurred_at: Option<prost_types::Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    events: Vec<Event>,
}

fn pair(name: &str, value: impl Into<String>) -> Pair {
    Pair { name: name.to_owned(), value: value.into() }
}

/// What alerts look like.
#[derive(Clone, Copy, Debug)]
pub struct Alerts {
    /// Labels of each, at least 2.
    pub labels: usize,
    /// So many services share them.
    pub services: usize,
    /// Between an event and the next.
    pub spacing: Duration,
}

impl Default for Alerts {
    fn default() -> Self {
        Self { labels: 8, services: 200, spacing: SPACING }
    }
}

impl Alerts {
    /// Requests with one event of each alert that is named, the first at `start`.
    pub fn requests(&self, numbers: &[usize], start: Timestamp) -> Vec<Bytes> {
        let mut at = start;
        let mut event = |number: &usize| {
            let event = self.event(*number, at);
            at = at.plus(self.spacing);
            event
        };
        let requests = numbers.chunks(BATCH).map(|chunk| Request { events: chunk.iter().map(&mut event).collect() });
        requests.map(|request| request.encode_to_vec().into()).collect()
    }

    fn event(&self, number: usize, at: Timestamp) -> Event {
        const CRITICAL: i32 = 1;
        let micros = at.as_micros();
        let (seconds, nanos) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) as i32 * 1_000);
        Event {
            source: "prometheus".to_owned(),
            severity: CRITICAL,
            labels: self.labels(number),
            annotations: vec![
                pair("runbook", "https://runbooks.example.org/latency"),
                pair("summary", format!("p99 latency of node-{number:07} above 500 ms")),
            ],
            occurred_at: Some(prost_types::Timestamp { seconds, nanos }),
        }
    }

    /// Not sorted, as from a producer that keeps them in a hash table. The first two are what the rules ask for.
    fn labels(&self, number: usize) -> Vec<Pair> {
        let mut labels = vec![
            pair("service", format!("service-{:07}", number % self.services)),
            pair("cluster", "prod-eu-1"),
            pair("host", format!("node-{number:07}.eu.example.org")),
            pair("severity", "critical"),
            pair("alertname", "HighRequestLatency"),
            pair("env", "production"),
            pair("job", "node-exporter"),
            pair("namespace", "payments"),
        ];
        let more = (labels.len()..self.labels).map(|place| pair(&format!("tag_{place:02}"), format!("value-{place}")));
        labels.extend(more);
        labels.truncate(self.labels);
        labels
    }
}
