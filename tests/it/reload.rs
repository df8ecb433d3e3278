//! A changed configuration, taken over by a running daemon.

use std::sync::atomic::Ordering;

use serde_json::Value;

use crate::harness::events::event_json;
use crate::harness::kafka::{source, steadily};
use crate::harness::{Broker, Daemon, PATIENCE, Receiver, eventually};

/// A rule that waits for three alerts of a service.
const THREE: &str =
    "{ name: three, match: ['host!=\"single\"'], group_by: [service], window: 1h, open_when: { alerts: 3 } }";
/// One that does not wait.
const SINGLE: &str = "{ name: single, match: ['host=\"single\"'], group_by: [service], window: 1h }";

fn config(rules: &[&str], receiver: &Receiver) -> String {
    format!("resolve_timeout: 1h\nrules: [{}]\nsinks: [{}]\n", rules.join(", "), receiver.sink("timeout: 5s"))
}

async fn verdict(daemon: &Daemon, id: &str, service: &str, host: &str) -> String {
    let answer = daemon.push_json(&[event_json(id, service, host)]).await;
    answer["results"][0]["verdict"].as_str().expect("a verdict").to_owned()
}

async fn accepted(daemon: &Daemon) -> f64 {
    daemon.metrics().await.value("incidentd_config_last_reload_successful")
}

async fn reloads(daemon: &Daemon) -> usize {
    daemon.log_lines().iter().filter(|line| line.contains("configuration reloaded")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_reload_keeps_the_windows_of_unchanged_rules() {
    let receiver = Receiver::start_signed().await;
    let daemon = Daemon::start(&config(&[THREE], &receiver)).await;
    assert_eq!(verdict(&daemon, "1", "a", "h1").await, "pending");

    daemon.write_config(&config(&[THREE, SINGLE], &receiver));
    let (status, said) = daemon.post("/-/reload", "text/plain", "").await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(verdict(&daemon, "2", "b", "single").await, "opened", "the new rule is in force");
    assert_eq!(verdict(&daemon, "3", "a", "h2").await, "pending");

    let before = reloads(&daemon).await;
    daemon.signal("HUP");
    eventually("the signal was followed", PATIENCE, async || reloads(&daemon).await > before).await;
    assert_eq!(verdict(&daemon, "4", "a", "h3").await, "opened", "the two before are still known");

    // A changed file is noticed by itself, and an open incident lives on.
    daemon.write_config(&config(&[SINGLE, THREE], &receiver).replace("timeout: 5s", "timeout: 4s"));
    let before = reloads(&daemon).await;
    eventually("the change was noticed", std::time::Duration::from_secs(10), async || reloads(&daemon).await > before)
        .await;
    assert_eq!(verdict(&daemon, "5", "a", "h4").await, "linked");
    eventually("both are told once", PATIENCE, async || receiver.actions("opened") == 2).await;
    assert_eq!(daemon.incidents("").await.len(), 2);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_file_changes_nothing_and_is_said() {
    let receiver = Receiver::start_signed().await;
    let good = config(&[THREE], &receiver);
    let daemon = Daemon::start(&good).await;
    assert_eq!(accepted(&daemon).await, 1.0);
    assert_eq!(verdict(&daemon, "1", "a", "h1").await, "pending");
    for (bad, told) in [
        (good.replace("group_by", "grup_by"), "did you mean"),
        (good.replace("window: 1h", "window: 1"), "unit"),
        (good.replace("name: hook", "name: hook, type: webhook"), "type"),
        (String::new(), "empty"),
        ("rules: [".to_owned(), "2:1"),
    ] {
        daemon.write_config(&bad);
        let (status, said) = daemon.post("/-/reload", "text/plain", "").await;
        assert_eq!(status, 400, "{said}");
        let problem: Value = serde_json::from_str(&said).expect("JSON");
        let problems = problem["problems"].to_string();
        assert!(problems.contains(told) || told == "2:1", "{told}: {problems}");
        assert_eq!(accepted(&daemon).await, 0.0);
    }
    assert_eq!(verdict(&daemon, "2", "a", "h2").await, "pending");
    daemon.write_config(&good);
    eventually("the good one is back", PATIENCE, async || accepted(&daemon).await == 1.0).await;
    assert_eq!(verdict(&daemon, "3", "a", "h3").await, "opened", "no alert was forgotten meanwhile");
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_added_is_told_and_one_that_is_removed_is_not() {
    let (first, second) = (Receiver::start_signed().await, Receiver::start().await);
    let daemon = Daemon::start(&config(&[SINGLE], &first)).await;
    daemon.push_json(&[event_json("1", "a", "single")]).await;
    eventually("the first is told", PATIENCE, async || first.actions("opened") == 1).await;
    let sink = second.sink("timeout: 5s").replace("name: hook", "name: other");
    daemon.write_config(&format!("resolve_timeout: 1h\nrules: [{SINGLE}]\nsinks: [{sink}]\n"));
    assert_eq!(daemon.post("/-/reload", "text/plain", "").await.0, 200);
    daemon.push_json(&[event_json("2", "b", "single")]).await;
    eventually("the second is told", PATIENCE, async || second.actions("opened") == 1).await;
    assert_eq!(first.requests(), 1);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_cost_no_event_and_no_delivery() {
    let (broker, receiver) = (Broker::shared(), Receiver::start_signed().await);
    broker.create_topics(&["reloads"], 2).await;
    let plain = "{ name: all, group_by: [service], window: 1h }";
    // Each changes a rule that nothing matches, the pace of the sink, or the Kafka source.
    let first = format!(
        "{}sources: {{ kafka: [{}] }}\n",
        config(&[plain], &receiver),
        source(broker, "alerts", "reloads", "event", None)
    );
    let others = [
        config(&[plain, "{ name: idle, match: ['severity=\"info\"'], group_by: [rack] }"], &receiver)
            + &first[first.find("sources:").expect("it has")..],
        first.replace("timeout: 5s", "timeout: 4s"),
        first.replace("heartbeat.interval.ms: '500'", "heartbeat.interval.ms: '400'"),
    ];
    let daemon = Daemon::start(&first).await;
    let (stop, producing) = steadily(broker.producer(), "reloads");
    for round in 0..12 {
        for n in 0..10 {
            daemon.push_json(&[event_json(&format!("{round}-{n}"), &format!("pushed-{round}"), "h")]).await;
        }
        daemon.write_config(if round % 2 == 0 { &others[round / 2 % 3] } else { &first });
        let (status, said) = daemon.post("/-/reload", "text/plain", "").await;
        assert_eq!(status, 200, "{said}");
    }
    stop.store(true, Ordering::Relaxed);
    let produced = producing.await.expect("all was produced");
    daemon.counts(produced + 120).await;
    let incidents = daemon.incidents("").await.len();
    eventually("every incident is told", PATIENCE, async || receiver.by_incident().len() == incidents).await;
    assert_eq!(receiver.actions("opened"), incidents);
    daemon.is_sound().await;
}
