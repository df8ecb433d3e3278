//! A real Prometheus pushes its alerts to the daemon as to an Alertmanager.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::routing::get;
use serde_json::Value;

use crate::harness::prometheus::Prometheus;
use crate::harness::{Daemon, PATIENCE, Receiver, attempt, eventually};

const RULES: &str = "groups: [{ name: test, interval: 200ms, rules: [{\n\
    alert: CheckoutDown, expr: 'checkout_up == 0', for: 0s,\n\
    labels: { severity: critical, service: checkout },\n\
    annotations: { summary: 'checkout {{ $labels.instance }} is down' } }] }]\n";

/// An exporter of one metric that can be flipped.
async fn exporter(up: &Arc<AtomicU8>) -> String {
    let up = up.clone();
    let page = get(async move || format!("# TYPE checkout_up gauge\ncheckout_up {}\n", up.load(Ordering::Relaxed)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/metrics", page)).await });
    address
}

async fn only_incident(daemon: &Daemon, status: &str) -> Value {
    attempt(&format!("there is one incident, {status}"), PATIENCE, async || {
        let incidents = daemon.incidents("").await;
        match &*incidents {
            [incident] if incident["status"] == status => Ok(incident.clone()),
            _ => Err(format!("{incidents:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_fires_opens_one_incident_which_resolves_when_it_stops() {
    let receiver = Receiver::start_signed().await;
    let config = format!(
        "rules: [{{ name: by-service, group_by: [service], resolve_after: 500ms, reopen_within: 1h }}]\nsinks: [{}]\n",
        receiver.sink("timeout: 5s")
    );
    let mut daemon = Daemon::start(&config).await;
    let up = Arc::new(AtomicU8::new(1));
    let prometheus = Prometheus::start(&exporter(&up).await, RULES, &daemon.address).await;
    crate::harness::pass(Duration::from_secs(1)).await;
    assert!(daemon.incidents("").await.is_empty(), "nothing fires yet at {}", prometheus.address);

    up.store(0, Ordering::Relaxed);
    let incident = only_incident(&daemon, "open").await;
    assert_eq!((&incident["service"], &incident["severity"]), (&"checkout".into(), &"critical".into()), "{incident}");
    let id = incident["id"].as_str().expect("an id").to_owned();
    let events = async || daemon.incident(&id).await["events"].as_u64().expect("a count");
    eventually("prometheus has sent again", PATIENCE, async || events().await >= 3).await;
    let shown = daemon.incident(&id).await;
    assert_eq!(shown["alerts"].as_array().map(Vec::len), Some(1), "a repeat is the same alert: {shown}");
    let alert = &shown["alerts"][0];
    assert_eq!((&alert["labels"]["alertname"], &alert["state"]), (&"CheckoutDown".into(), &"firing".into()));
    assert!(alert["summary"].as_str().is_some_and(|summary| summary.ends_with("is down")), "{alert}");

    // A crash in between: Prometheus sends on, and the incident is the same.
    daemon.kill9().await;
    daemon.restart().await;
    assert_eq!(only_incident(&daemon, "open").await["id"], *id);

    up.store(1, Ordering::Relaxed);
    assert_eq!(only_incident(&daemon, "resolved").await["id"], *id);
    eventually("the end was told", PATIENCE, async || receiver.actions("resolved") == 1).await;
    up.store(0, Ordering::Relaxed);
    assert_eq!(only_incident(&daemon, "open").await["id"], *id, "a recurrence reopens it");
    eventually("that was told", PATIENCE, async || receiver.actions("reopened") == 1).await;
    let actions: Vec<Value> = receiver.by_incident()[&id].iter().map(|told| told["action"].clone()).collect();
    let told = |action: &str| actions.iter().filter(|told| **told == action).count();
    assert_eq!((actions[0].as_str(), told("opened"), told("resolved")), (Some("opened"), 1, 1), "{actions:?}");
    drop(prometheus);
    daemon.is_sound().await;
}
