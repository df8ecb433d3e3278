//! Flapping and storms through the real daemon: what people are told, what can be read, and a kill in the middle.

use serde_json::{Value, json};

use crate::harness::{Daemon, PATIENCE, Receiver, eventually};

fn events(services: std::ops::Range<usize>, status: &str) -> Vec<String> {
    let event = |n: usize| {
        let labels = json!({"service": format!("s{n}"), "host": "h"});
        json!({"source": "test", "severity": "error", "status": status, "labels": labels}).to_string()
    };
    services.map(event).collect()
}

async fn change(daemon: &Daemon, status: &str) {
    daemon.push_json(&events(0..1, status)).await;
}

/// What the receiver was told, each as `action reason`.
fn told(receiver: &Receiver) -> Vec<String> {
    let word = |document: &Value, name: &str| document[name].as_str().expect(name).to_owned();
    let told = receiver.unique().into_iter().map(|arrival| arrival.document);
    told.map(|document| format!("{} {}", word(&document, "action"), word(&document, "reason"))).collect()
}

/// Shown when the test is run with `--nocapture`; the examples of docs/rules.md come from here.
fn show(what: &str, incident: &Value) {
    println!("{what}: {}", serde_json::to_string_pretty(incident).expect("JSON"));
}

fn links<'a>(incident: &'a Value, kind: &str) -> Vec<&'a str> {
    let links = incident["links"].as_array().expect("links").iter().filter(|link| link["type"] == kind);
    links.map(|link| link["target"].as_str().expect("a target")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_flaps_holds_its_incident_open_over_a_kill_and_is_told_once() {
    let receiver = Receiver::start_signed().await;
    let rule = "{ name: by-service, group_by: [service], resolve_after: 0s, update_interval: 1s, \
                flapping: { changes: 3, within: 10m, stable: 10s } }";
    let config = format!("rules: [{rule}]\nsinks: [{}]\n", receiver.sink("timeout: 5s"));
    let mut daemon = Daemon::start(&config).await;
    for round in 0..10 {
        if round == 5 {
            daemon.kill9().await;
            daemon.restart().await;
        }
        change(&daemon, "firing").await;
        change(&daemon, "resolved").await;
    }
    let id = daemon.incidents("").await[0]["id"].as_str().expect("an id").to_owned();
    let shown = daemon.incident(&id).await;
    show("flapping", &shown);
    assert_eq!((&shown["status"], &shown["alert_counts"]["firing"]), (&json!("open"), &json!(0)));
    assert_eq!((&shown["flapping"]["alerts"], &shown["flapping"]["changes"]), (&json!(1), &json!(19)));
    let reached = "resolved all_clear";
    eventually("it is stable", PATIENCE, async || {
        told(&receiver).len() == 5 && told(&receiver).last().is_some_and(|last| last == reached)
    })
    .await;
    let expected =
        ["opened condition_met", reached, "reopened recurrence", "updated gathered", reached].map(str::to_owned);
    assert_eq!(told(&receiver), expected);
    let shown = daemon.incident(&id).await;
    assert_eq!(shown.get("flapping"), None);
    let timeline = shown["timeline"].as_array().expect("a timeline").iter();
    let noted: Vec<&str> = timeline.filter_map(|entry| entry["reason"].as_str()).collect();
    assert!(noted.contains(&"flapping_started") && noted.contains(&"flapping_stopped"), "{noted:?}");
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_told_as_one_incident_over_a_kill_and_loses_none_of_its_children() {
    let receiver = Receiver::start_signed().await;
    let rule = "{ name: by-service, group_by: [service], resolve_after: 0s, update_interval: 1s, \
                storm: { opens: 5, per: 6s } }";
    let config = format!("resolve_timeout: 1h\nrules: [{rule}]\nsinks: [{}]\n", receiver.sink("timeout: 5s"));
    let mut daemon = Daemon::start(&config).await;
    daemon.push_json(&events(0..20, "firing")).await;
    daemon.kill9().await;
    daemon.restart().await;
    daemon.push_json(&events(20..40, "firing")).await;

    // As of its last delivery, like all texts of an incident; only the numbers are those of the last commit.
    eventually("it is told how many there are", PATIENCE, async || {
        let told = receiver.unique();
        told.last().is_some_and(|last| last.document["incident"]["title"] == "storm: by-service: 35 further incidents")
    })
    .await;
    let incidents = daemon.incidents("").await;
    let storm = incidents.iter().find(|incident| incident.get("storm").is_some()).expect("a storm");
    let storm = daemon.incident(storm["id"].as_str().expect("an id")).await;
    show("storm", &storm);
    assert_eq!(storm["storm"], json!({"children": 35, "open": 35, "active": true}));
    assert_eq!((incidents.len(), links(&storm, "child").len()), (41, 35));
    let child = daemon.incident(links(&storm, "child")[34]).await;
    show("child", &child);
    assert_eq!(
        (links(&child, "parent"), &child["status"]),
        (vec![storm["id"].as_str().expect("an id")], &json!("open"))
    );
    assert_eq!(child["alerts"][0]["state"], "firing");
    daemon.push_json(&events(0..40, "resolved")).await;
    eventually("all is told to be resolved", PATIENCE, async || receiver.actions("resolved") == 6).await;
    assert_eq!((receiver.actions("opened"), receiver.by_incident().len()), (6, 6), "five incidents and the storm");
    assert_eq!(daemon.incidents("status=resolved").await.len(), 41);
    let opened = "incidentd_incident_transitions_total{transition=\"opened\"}";
    assert!(daemon.is_sound().await.value(opened) >= 20.0, "children count as well");
    daemon.counts(40).await;
}
