//! What a server must have done in the end: exactly what was sent, no event more or less. An error here is the only
//! way in which a measurement fails.

use std::time::Duration;

use anyhow::ensure;
use incidentd::clock::Stopwatch;

use super::Server;
use crate::work::Work;

/// How long the gauges may take to show what was sent.
const BALANCED_WITHIN: Duration = Duration::from_secs(20);

/// The books of our daemon; returns the bytes of its state. Gauges follow by the second, so it may take some.
pub async fn check_ours(server: &Server, work: &Work) -> anyhow::Result<f64> {
    let stopwatch = Stopwatch::start();
    loop {
        match balanced(server, work).await {
            Err(_) if stopwatch.elapsed() < BALANCED_WITHIN => tokio::time::sleep(Duration::from_millis(200)).await,
            result => return result,
        }
    }
}

async fn balanced(server: &Server, work: &Work) -> anyhow::Result<f64> {
    let metrics = server.metrics().await?;
    for (what, found, expected) in [
        ("received", metrics.sum("incidentd_events_received_total", ""), work.events),
        ("decided", metrics.sum("incidentd_events_total", ""), work.events),
        ("rejected", metrics.sum("incidentd_events_total", r#"verdict="rejected""#), 0),
        ("in flight", metrics.sum("incidentd_events_in_flight", ""), 0),
        ("broken laws", metrics.sum("incidentd_invariant_violations_total", ""), 0),
        ("firing alerts", metrics.sum("incidentd_alerts", r#"state="firing""#), work.alerts),
        ("alerts", metrics.sum("incidentd_alerts", ""), work.alerts),
        ("open incidents", metrics.sum("incidentd_incidents", r#"status="open""#), work.services),
        ("incidents", metrics.sum("incidentd_incidents", ""), work.services),
        ("openings told", server.told("opened") as f64, work.services),
    ] {
        ensure!(found == expected as f64, "{what}: {found}, expected {expected}");
    }
    Ok(metrics.sum("incidentd_state_bytes", ""))
}

/// Whether Alertmanager has received all and knows every alert.
pub async fn check_alertmanager(server: &Server, work: &Work) -> anyhow::Result<()> {
    let metrics = server.metrics().await?;
    for (what, found, expected) in [
        ("received", metrics.sum("alertmanager_alerts_received_total", r#"version="v2""#), work.events),
        ("alerts", metrics.sum("alertmanager_alerts", ""), work.alerts),
    ] {
        ensure!(found == expected as f64, "Alertmanager, {what}: {found}, expected {expected}");
    }
    Ok(())
}
