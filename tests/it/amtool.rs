//! Debian's `amtool`, our own `silences` commands and a receiver, around one running daemon.

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::alertmanager::amtool;
use crate::harness::daemon::{incidentd, text};
use crate::harness::events::in_seconds;
use crate::harness::{Daemon, PATIENCE, Receiver, attempt, eventually};

const RULES: &str = "rules: [{ name: by-service, group_by: [service], update_interval: 100ms, resolve_after: 0s, \
    reopen_within: 0s }]\n";

async fn daemon(receiver: &Receiver) -> Daemon {
    Daemon::start(&format!("{RULES}sinks: [{}]\n", receiver.sink("timeout: 5s"))).await
}

/// Alerts as Prometheus sends them; each is one of a service, with a name.
async fn fire(daemon: &Daemon, alerts: &[(&str, &str)]) {
    let alert = |(service, name): &(&str, &str)| {
        json!({"labels": {"alertname": name, "service": service, "severity": "page"},
               "annotations": {"summary": format!("{service} is slow")}, "generatorURL": "http://prometheus/graph"})
    };
    let body: Vec<Value> = alerts.iter().map(alert).collect();
    let (status, said) = daemon.post("/api/v2/alerts", "application/json", json!(body).to_string()).await;
    assert_eq!((status, said.as_str()), (200, ""));
}

/// What a command printed; it must not fail.
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// What `amtool` printed as JSON.
fn listed(daemon: &Daemon, arguments: &[&str]) -> Vec<Value> {
    let output = amtool(&daemon.address, &[&["--output=json"], arguments].concat());
    serde_json::from_str(&said(&output)).expect("JSON")
}

/// The services that the receiver was told of, and how.
fn told(receiver: &Receiver) -> Vec<String> {
    let one = |document: &Value| {
        let (action, service) = (&document["action"], &document["incident"]["key"]["service"]);
        format!("{} {}", action.as_str().expect("an action"), service.as_str().expect("a service"))
    };
    receiver.unique().iter().map(|arrival| one(&arrival.document)).collect()
}

async fn is_told(receiver: &Receiver, what: &str) {
    let heard = async || told(receiver).iter().any(|told| told == what);
    eventually(&format!("the receiver is told: {what}"), PATIENCE, heard).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_of_amtool_mutes_deliveries_until_it_is_expired() {
    let receiver = Receiver::start_signed().await;
    let mut daemon = daemon(&receiver).await;
    let added = amtool(
        &daemon.address,
        &[
            "silence",
            "add",
            "service=checkout",
            "severity=~pa.e",
            "--author=ann",
            "--comment=a deploy",
            "--duration=1h",
        ],
    );
    let id = said(&added);
    fire(&daemon, &[("checkout", "Slow"), ("checkout", "Slower"), ("search", "Slow")]).await;
    is_told(&receiver, "opened search").await;

    let silenced = listed(&daemon, &["alert", "query", "--silenced"]);
    let names: Vec<&Value> = silenced.iter().map(|alert| &alert["labels"]["alertname"]).collect();
    assert_eq!(names.len(), 2, "{silenced:#?}");
    assert!(silenced.iter().all(|alert| alert["status"]["silencedBy"] == json!([id])), "{silenced:#?}");
    assert!(silenced.iter().all(|alert| alert["status"]["state"] == "suppressed"), "{silenced:#?}");
    let active = listed(&daemon, &["alert", "query", "--active"]);
    assert_eq!(active.len(), 1);
    assert_eq!(
        (&active[0]["labels"]["service"], &active[0]["receivers"]),
        (&json!("search"), &json!([{"name": "hook"}]))
    );

    // Repeats are muted as well, over a crash; what was muted is counted.
    daemon.kill9().await;
    daemon.restart().await;
    fire(&daemon, &[("checkout", "Slow"), ("billing", "Slow")]).await;
    is_told(&receiver, "opened billing").await;
    assert_eq!(told(&receiver), ["opened search", "opened billing"]);
    let own = daemon.json(&format!("/api/v1/silences/{id}")).await;
    assert_eq!(
        (&own["muting"], &own["muted_alerts"], &own["muted_events"]),
        (&json!(2), &json!(2), &json!(3)),
        "{own}"
    );

    let update = ["silence", "update", "--duration=3h", "--comment=longer", &id];
    let updated = listed(&daemon, &update);
    assert_eq!((&updated[0]["id"], updated.len()), (&json!(id), 1), "the matchers stay, and so does the silence");
    let silences = listed(&daemon, &["silence", "query", "service=checkout"]);
    assert_eq!((&silences[0]["id"], &silences[0]["comment"], silences.len()), (&json!(id), &json!("longer"), 1));
    assert_eq!(silences[0]["createdBy"], "ann");
    assert!(listed(&daemon, &["silence", "query", "service=search"]).is_empty());

    assert_eq!(said(&amtool(&daemon.address, &["silence", "expire", &id])), "");
    is_told(&receiver, "opened checkout").await;
    assert!(listed(&daemon, &["silence", "query"]).is_empty());
    assert_eq!(listed(&daemon, &["silence", "query", "--expired"])[0]["status"]["state"], "expired");
    assert!(!amtool(&daemon.address, &["silence", "expire", "00000000-0000-0000-0000-000000000000"]).status.success());
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_finds_alerts_by_matchers_and_reads_the_rest_of_the_api() {
    let receiver = Receiver::start_signed().await;
    let daemon = daemon(&receiver).await;
    fire(&daemon, &[("checkout", "Slow"), ("checkout", "Down"), ("search", "Slow")]).await;
    let own = r#"{"source": "nagios", "severity": "error", "summary": "disk is full", "labels": {"host": "db-1"}}"#;
    daemon.push_json(&[own.to_owned()]).await;
    for (matchers, count) in [
        (&["Slow"][..], 2),
        (&["service=checkout"], 2),
        (&["alertname=~S.*", "service!=search"], 1),
        (&["service="], 1),
        (&["source=nagios"], 1),
        (&["severity=error"], 1),
        (&["severity=page"], 3),
        (&["host!~.+"], 3),
    ] {
        assert_eq!(listed(&daemon, &[&["alert", "query"], matchers].concat()).len(), count, "{matchers:?}");
    }
    let table = said(&amtool(&daemon.address, &["alert", "query"]));
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains("checkout is slow") && table.contains("disk is full"), "{table}");
    assert_eq!(listed(&daemon, &["alert", "query", "--receiver=hook"]).len(), 3, "no rule takes the disk");
    let refused = amtool(&daemon.address, &["alert", "query", "--receiver=("]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("receiver"), "{}", text(&refused.stderr));

    assert!(said(&amtool(&daemon.address, &["config", "show"])).contains("- name: hook"));
    assert!(said(&amtool(&daemon.address, &["config", "routes"])).contains("receiver: hook"));
    assert!(said(&amtool(&daemon.address, &["cluster", "show"])).contains("disabled"));
    assert_eq!(said(&amtool(&daemon.address, &["alert", "add", "Added", "service=added"])), "");
    is_told(&receiver, "opened added").await;
}

/// What our own command printed; it must not fail.
async fn silences(daemon: &Daemon, arguments: &[&str]) -> String {
    said(&incidentd(&[&["silences"], arguments, &["--url", &daemon.url("")]].concat()).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_commands_add_list_show_and_expire_silences() {
    let receiver = Receiver::start_signed().await;
    let sink = receiver.sink("timeout: 5s");
    // Two shards: a silence is one for people all the same.
    let daemon = Daemon::start(&format!("scope: [service]\nshards: 2\n{RULES}sinks: [{sink}]\n")).await;
    fire(&daemon, &[("checkout", "Slow"), ("search", "Slow")]).await;
    is_told(&receiver, "opened checkout").await;
    let add = ["add", r#"service="checkout""#, "--duration", "2h", "--comment", "a deploy", "--author", "ann"];
    let id = silences(&daemon, &add).await;
    let (from, until) = (in_seconds(3_600), in_seconds(7_200));
    let later = ["add", "service=~s.*", "--from", &from, "--until", &until, "--comment", "c"];
    let later = silences(&daemon, &later).await;

    let table = silences(&daemon, &["list"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    let row = |id: &str| *lines.iter().find(|line| line.starts_with(id)).expect("a row");
    assert!(row(&id).contains("active") && row(&id).contains(r#"service="checkout""#), "{table}");
    assert!(row(&id).contains("ann") && row(&id).contains("a deploy") && row(&id).contains("ends in"), "{table}");
    assert!(row(&later).contains("pending") && row(&later).contains("starts in"), "{table}");

    attempt("the alert that fires already is muted", Duration::from_secs(5), async || {
        let sheet = silences(&daemon, &["show", &id]).await;
        if sheet.contains("mutes now  1 alert") { Ok(()) } else { Err(sheet) }
    })
    .await;
    let document: Value = serde_json::from_str(&silences(&daemon, &["show", &id, "--json"]).await).expect("JSON");
    assert_eq!((&document["id"], &document["state"]), (&json!(id), &json!("active")));

    assert_eq!(silences(&daemon, &["expire", &id, &later]).await, "");
    assert_eq!(silences(&daemon, &["list"]).await, "no silences");
    assert_eq!(silences(&daemon, &["list", "--expired"]).await.lines().count(), 3);

    for (arguments, exit, word) in [
        (&["expire", "00000000-0000-0000-0000-000000000000"][..], 1, "no silence"),
        (&["show", "nonsense"], 1, "no silence"),
        (&["expire", "nonsense"], 1, "uuid"),
        (&["add", "a=~(", "--duration", "1h", "--comment", "c"], 1, "regular expression"),
        (&["add", "a=b", "--until", "2020-01-01T00:00:00Z", "--comment", "c"], 1, "start time must be before end time"),
        (&["add", "a", "--duration", "1h", "--comment", "c"], 2, "must follow the name"),
    ] {
        let output = incidentd(&[&["silences"], arguments, &["--url", &daemon.url("")]].concat()).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {error}");
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
    daemon.is_sound().await;
}
