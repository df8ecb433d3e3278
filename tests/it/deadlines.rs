//! Deadlines through the running daemon: said once over a crash, counted with the commit, shown by the API.

use serde_json::Value;

use crate::harness::events::event_json;
use crate::harness::{Daemon, PATIENCE, Receiver, eventually};

const CONFIG: &str = "rules: [{ name: down, group_by: [service], on_stale: hold }]\n\
    calendars: [{ name: day, zone: UTC, hours: { mon-sun: ['00:00-24:00'] } }]\n\
    priority:\n  targets: { P1: { respond: 5s, resolve: 6s, calendar: day }, P2: { respond: 5s, resolve: 6s, calendar: day } }\n";

fn entries(incident: &Value, reason: &str) -> Vec<String> {
    let entries = incident["timeline"].as_array().expect("a timeline").iter();
    let entries = entries.filter(|entry| entry["reason"] == reason);
    entries.map(|entry| entry["detail"].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_is_pending_over_a_crash_is_said_once() {
    let receiver = Receiver::start_signed().await;
    let mut daemon = Daemon::start(&format!("{CONFIG}sinks: [{}]\n", receiver.sink("timeout: 5s"))).await;
    let answer = daemon.push_json(&[event_json("", "checkout", "h")]).await;
    let id = answer["results"][0]["incident"].as_str().expect("an incident").to_owned();
    let targets = daemon.incident(&id).await["targets"].clone();
    assert_eq!((&targets["respond"], &targets["calendar"]), (&"pending".into(), &"day".into()), "{targets}");
    daemon.kill9().await;
    daemon.restart().await;
    eventually("both targets are breached", PATIENCE, async || {
        let metrics = daemon.metrics().await;
        metrics.sum_where("incidentd_targets_total", "result=\"breached\"") == 2.0
    })
    .await;
    let incident = daemon.incident(&id).await;
    assert_eq!(entries(&incident, "target_breached").len(), 2, "{incident}");
    let warnings = entries(&incident, "target_warning");
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings[0].starts_with("50% of the 5s to respond have passed; due at "), "{warnings:?}");
    assert!(warnings[0].ends_with(" (calendar day)"), "{warnings:?}");
    assert_eq!(incident["targets"]["resolve"], "breached");
    assert_eq!(incident["targets"]["resolve_by"], targets["resolve_by"], "the same instant as before the crash");
    let metrics = daemon.is_sound().await;
    assert_eq!(metrics.sum("incidentd_target_warnings_total"), 4.0);
}
