//! Events as the tests send them.

use incidentd::clock::Clock;
use incidentd::event::Timestamp;
use incidentd::proto::{Event, PushRequest, Severity, Status};

/// A critical event of a service; its only other label is what tells its alerts apart.
pub fn event(id: &str, service: &str, host: &str) -> Event {
    let labels = [("service", service), ("host", host)];
    Event {
        id: id.to_owned(),
        source: "test".to_owned(),
        severity: Severity::Critical as i32,
        summary: format!("{service} fails on {host}"),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Event::default()
    }
}

/// The same condition, ended.
pub fn resolved(id: &str, service: &str, host: &str) -> Event {
    Event { status: Status::Resolved as i32, ..event(id, service, host) }
}

pub fn request(events: Vec<Event>) -> PushRequest {
    PushRequest { events }
}

/// The same as JSON.
pub fn event_json(id: &str, service: &str, host: &str) -> String {
    let labels = serde_json::json!({"service": service, "host": host});
    serde_json::json!({"id": id, "source": "test", "severity": "critical", "labels": labels}).to_string()
}

/// The present instant.
pub fn now() -> Timestamp {
    Clock::system().now()
}

/// An instant some seconds from now, in RFC 3339.
pub fn in_seconds(seconds: i64) -> String {
    Timestamp::from_micros(now().as_micros() + seconds * 1_000_000).to_string()
}
