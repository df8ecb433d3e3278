//! Heartbeats through the real daemon: missed, found again, over a crash and on several shards.

use serde_json::{Value, json};

use crate::harness::{Daemon, PATIENCE, Receiver, attempt, eventually};

fn config(heartbeats: &str, receiver: &Receiver) -> String {
    let rule = "{ name: silent, match: ['alertname=\"Heartbeat\"'], group_by: [heartbeat, host], resolve_after: 0s, \
                update_interval: 0s, incident: { title: '{{ summary }}' } }";
    format!("rules: [{rule}]\nheartbeats: [{heartbeats}]\nsinks: [{}]\n", receiver.sink("timeout: 5s"))
}

async fn beat(daemon: &Daemon, labels: Value) -> (String, Value) {
    let event = json!({"source": "cron", "kind": "heartbeat", "labels": labels}).to_string();
    let answer = daemon.push_json(&[event]).await;
    let result = &answer["results"][0];
    (result["reason"].as_str().expect("a reason").to_owned(), result["incident"].clone())
}

/// The only incident, once it is in this state.
async fn incident(daemon: &Daemon, status: &str, firing: u64) -> Value {
    attempt("the incident is there", PATIENCE, async || {
        let incidents = daemon.incidents("").await;
        let [found] = incidents.as_slice() else { return Err(format!("{incidents:?}")) };
        let there = found["status"] == status && found["alerts"]["firing"] == firing;
        if there { Ok(found.clone()) } else { Err(found.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_come_is_an_incident_until_it_comes_again() {
    let receiver = Receiver::start_signed().await;
    let heartbeats = "{ name: backup, match: ['job=\"backup\"'], by: [host], every: 1s, grace: 1s, after_start: 1s, \
                      expect: [{ host: db-1 }], labels: { service: storage } }";
    let mut daemon = Daemon::start(&config(heartbeats, &receiver)).await;
    let opened = incident(&daemon, "open", 1).await;
    assert_eq!(opened["key"], json!({"heartbeat": "backup", "host": "db-1"}));
    eventually("it is told", PATIENCE, async || receiver.actions("opened") == 1).await;

    // A crash in between: the alert is held without a lease and told once.
    eventually("it is missing", PATIENCE, async || daemon.incidents("").await[0]["severity"] == "error").await;
    daemon.kill9().await;
    daemon.restart().await;
    let id = opened["id"].as_str().expect("an id").to_owned();
    let shown = daemon.json(&format!("/api/v1/incidents/{id}")).await;
    let alert = &shown["alerts"][0];
    let labels = json!({"alertname": "Heartbeat", "heartbeat": "backup", "heartbeat_state": "missing", "host": "db-1",
                        "service": "storage"});
    assert_eq!((&alert["labels"], &alert["source"], alert["ends_at"].is_null()), (&labels, &json!("incidentd"), true));
    assert!(alert["summary"].as_str().unwrap().starts_with("backup (host=db-1) is missing: never heard"), "{alert}");

    let (reason, named) = beat(&daemon, json!({"job": "backup", "host": "db-1"})).await;
    assert_eq!((reason.as_str(), named.as_str()), ("heartbeat_recovered", Some(&*id)));
    assert_eq!(beat(&daemon, json!({"job": "other", "host": "db-1"})).await.0, "no_heartbeat");
    let resolved = daemon.json(&format!("/api/v1/incidents/{id}")).await;
    assert_eq!((&resolved["status"], &resolved["alerts"][0]["state"]), (&json!("resolved"), &json!("resolved")));
    eventually("that is told, too", PATIENCE, async || receiver.actions("resolved") == 1).await;
    assert_eq!(receiver.actions("opened"), 1);
    // What the daemon says to itself is neither received nor answered.
    let metrics = daemon.is_sound().await;
    assert_eq!(metrics.value("incidentd_events_total{verdict=\"opened\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_shard_expects_what_comes_to_it() {
    let clusters = ["eu", "us", "ap", "sa", "af"];
    let known: Vec<String> = clusters.iter().map(|cluster| format!("{{ host: a, cluster: {cluster} }}")).collect();
    let config = format!(
        "scope: [cluster]\nshards: 4\nrules: [{{ name: silent, group_by: [cluster] }}]\nheartbeats: [{{ name: beat, by: [cluster, \
         host], every: 2s, grace: 0s, after_start: 0s, expect: [{}] }}]\n",
        known.join(", ")
    );
    let daemon = Daemon::start(&config).await;
    // One shard that expected what goes to another one would never hear of it; one that is not told would expect nothing.
    eventually("each is missed once", PATIENCE, async || daemon.incidents("").await.len() == clusters.len()).await;
    for cluster in clusters {
        let (reason, named) = beat(&daemon, json!({"host": "a", "cluster": cluster})).await;
        assert_eq!((reason.as_str(), named.is_string()), ("heartbeat_recovered", true), "{cluster}");
    }
    daemon.is_sound().await;
}
