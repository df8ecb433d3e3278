//! Sinks that fail, hang and lose answers, seen from the receiver's side.

use std::time::Duration;

use crate::harness::events::event_json;
use crate::harness::receiver::Manner;
use crate::harness::{Daemon, PATIENCE, Receiver, attempt, eventually};

const RULES: &str = "rules: [{ name: by-service, group_by: [service], window: 1h, update_interval: 1s }]\n";
const EAGER: &str = "timeout: 1s, retry: { min: 50ms, max: 300ms }";

async fn daemon(receiver: &Receiver) -> Daemon {
    Daemon::start(&format!("{RULES}sinks: [{}]\n", receiver.sink(EAGER))).await
}

async fn open(daemon: &Daemon, services: std::ops::Range<usize>) {
    let events: Vec<String> = services.map(|n| event_json(&format!("{n}"), &format!("s{n}"), "h")).collect();
    daemon.push_json(&events).await;
}

async fn backlog(daemon: &Daemon) -> f64 {
    daemon.metrics().await.value("incidentd_delivery_backlog{sink=\"hook\"}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_down_costs_no_delivery_even_over_a_restart() {
    let receiver = Receiver::start_signed().await;
    receiver.behave(Manner::Refuse(503));
    let mut daemon = daemon(&receiver).await;
    open(&daemon, 0..30).await;
    eventually("the backlog shows", PATIENCE, async || backlog(&daemon).await == 30.0).await;
    eventually("the breaker is open", PATIENCE, async || {
        daemon.metrics().await.value("incidentd_sink_breaker_open{sink=\"hook\"}") == 1.0
    })
    .await;
    assert_eq!(daemon.get("/-/ready").await.0, 200, "events are still taken");
    daemon.kill9().await;
    daemon.restart().await;
    eventually("the backlog is still there", PATIENCE, async || backlog(&daemon).await == 30.0).await;
    assert!(receiver.arrivals().is_empty());
    receiver.behave(Manner::Accept);
    eventually("everything is told", PATIENCE, async || receiver.actions("opened") == 30).await;
    eventually("nothing waits", PATIENCE, async || backlog(&daemon).await == 0.0).await;
    assert_eq!(receiver.arrivals().len(), 30, "nothing was told twice");
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_leads_to_an_identical_delivery_under_the_same_id() {
    let receiver = Receiver::start_signed().await;
    receiver.behave(Manner::LoseReplies(3));
    let daemon = daemon(&receiver).await;
    open(&daemon, 0..20).await;
    let delivered = "incidentd_deliveries_total{sink=\"hook\",result=\"delivered\"}";
    eventually("all are confirmed", PATIENCE, async || daemon.metrics().await.value(delivered) == 20.0).await;
    let (arrivals, unique) = (receiver.arrivals().len(), receiver.unique().len());
    assert!(arrivals > unique && unique == 20, "{arrivals} requests, {unique} deliveries");
    receiver.by_incident();
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_hangs_delays_neither_events_nor_another_sink() {
    let (hanging, quick) = (Receiver::start().await, Receiver::start_signed().await);
    hanging.behave(Manner::Hang);
    let other = hanging.sink(EAGER).replace("name: hook", "name: stuck");
    let daemon = Daemon::start(&format!("{RULES}sinks: [{other}, {}]\n", quick.sink(EAGER))).await;
    open(&daemon, 0..50).await;
    eventually("the other sink is told", Duration::from_secs(10), async || quick.actions("opened") == 50).await;
    let stuck = "incidentd_delivery_backlog{sink=\"stuck\"}";
    eventually("the backlog shows", PATIENCE, async || daemon.metrics().await.value(stuck) == 50.0).await;
    hanging.behave(Manner::Accept);
    eventually("both are told", PATIENCE, async || hanging.actions("opened") == 50).await;
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_alerts_is_gathered_into_few_deliveries() {
    let receiver = Receiver::start_signed().await;
    let daemon = daemon(&receiver).await;
    for round in 0..20 {
        let events: Vec<String> =
            (0..50).map(|n| event_json(&format!("{round}-{n}"), "storm", &format!("h{round}-{n}"))).collect();
        daemon.push_json(&events).await;
    }
    attempt("the last alert is told", PATIENCE, async || {
        let told = receiver.unique();
        let alerts = told.last().map(|last| last.document["incident"]["alerts"]["total"].clone());
        if alerts == Some(1_000.into()) { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
    assert!(receiver.unique().len() <= 20, "{} deliveries for 1,000 alerts", receiver.unique().len());
    assert_eq!(receiver.by_incident().len(), 1);
    daemon.is_sound().await;
}
