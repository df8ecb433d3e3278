//! Causes, symptoms and suspected changes through the running daemon.

use serde_json::{Value, json};

use crate::harness::events::{event_json, in_seconds};
use crate::harness::{Daemon, PATIENCE, Receiver, eventually};

const RULES: &str = "rules: [{ name: down, group_by: [service], update_interval: 1s }]\n";
const SERVICES: &str = "services:\n\
    - { name: checkout, depends_on: [payments-db], impact: high }\n\
    - { name: payments-db, depends_on: [san] }\n\
    - { name: san }\n";

/// Sends a critical alert of a service, and gives the incident that it opens.
async fn breaks(daemon: &Daemon, service: &str) -> String {
    let answer = daemon.push_json(&[event_json("", service, "h")]).await;
    assert_eq!(answer["results"][0]["verdict"], "opened", "{answer}");
    answer["results"][0]["incident"].as_str().expect("an incident").to_owned()
}

/// The links of a type, as target and reason.
fn links(incident: &Value, kind: &str) -> Vec<(String, String)> {
    let links = incident["links"].as_array().expect("links").iter().filter(|link| link["type"] == kind);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    links.map(|link| (text(&link["target"]), text(&link["reason"]))).collect()
}

/// The timeline entries of a reason, in their words.
fn entries(incident: &Value, reason: &str) -> Vec<String> {
    let entries = incident["timeline"].as_array().expect("a timeline").iter();
    let entries = entries.filter(|entry| entry["reason"] == reason);
    entries.map(|entry| entry["detail"].as_str().expect("a text").to_owned()).collect()
}

async fn reload(daemon: &Daemon) -> (u16, String) {
    daemon.post("/-/reload", "text/plain", "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cause_that_comes_later_takes_its_symptom_over_and_both_timelines_say_so() {
    let receiver = Receiver::start_signed().await;
    let mut daemon = Daemon::start(&format!("{RULES}{SERVICES}sinks: [{}]\n", receiver.sink("timeout: 5s"))).await;
    let san = breaks(&daemon, "san").await;
    let checkout = breaks(&daemon, "checkout").await;
    let (symptom, cause) = (daemon.incident(&checkout).await, daemon.incident(&san).await);
    assert_eq!(links(&symptom, "symptom_of")[0].0, san);
    assert!(links(&symptom, "symptom_of")[0].1.starts_with("checkout depends over 2 steps on san, which broke"));
    assert_eq!(links(&cause, "cause_of")[0].0, checkout);
    assert_eq!(entries(&symptom, "cause_found"), [format!("{san} (san) is the cause")]);
    assert_eq!(entries(&cause, "symptom_found"), [format!("new symptom: {checkout}")]);

    let database = breaks(&daemon, "payments-db").await;
    // Both sides are told at once, and the same after a crash.
    for _ in 0..2 {
        let (symptom, cause) = (daemon.incident(&checkout).await, daemon.incident(&database).await);
        let found = links(&symptom, "symptom_of");
        assert_eq!((found.len(), &found[0].0), (1, &database));
        assert!(found[0].1.starts_with("checkout depends on payments-db, which broke"), "{found:?}");
        assert_eq!(
            entries(&symptom, "cause_moved"),
            [format!("{database} (payments-db) is the cause, no longer {san}")]
        );
        assert_eq!(links(&cause, "cause_of")[0].0, checkout);
        assert_eq!(links(&cause, "symptom_of")[0].0, san);
        eventually("the cause that was left says so", PATIENCE, async || {
            let left = daemon.incident(&san).await;
            let kept = links(&left, "cause_of");
            entries(&left, "symptom_withdrawn") == [format!("no longer a symptom: {checkout}")]
                && kept.len() == 1
                && kept[0].0 == database
        })
        .await;
        daemon.kill9().await;
        daemon.restart().await;
    }
    let told = |action: &str| {
        let deliveries = receiver.by_incident().remove(&checkout).unwrap_or_default();
        deliveries.iter().filter(|delivery| delivery["action"] == action).count()
    };
    eventually("sinks are told of the move with the next update", PATIENCE, async || told("updated") >= 1).await;
    assert_eq!(told("opened"), 1);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_before_the_incident_is_named_as_its_suspect_and_the_impact_is_the_services() {
    let rules = RULES.replace("update_interval", "incident: { impact: from_service }, update_interval");
    let daemon = Daemon::start(&format!("{rules}{SERVICES}")).await;
    let change = |id: &str, service: &str, seconds: i64| {
        let (labels, at) = (json!({"service": service}), in_seconds(seconds));
        json!({"id": id, "source": "ci", "kind": "change", "labels": labels, "occurred_at": at, "summary": "4.2 deployed"})
            .to_string()
    };
    let answer = daemon.push_json(&[change("CHG-1", "payments-db", -240), change("CHG-2", "search", -1)]).await;
    assert_eq!(
        (&answer["results"][0]["verdict"], &answer["results"][0]["reason"]),
        (&json!("recorded"), &json!("change_noted"))
    );
    let mut daemon = daemon;
    daemon.kill9().await;
    daemon.restart().await;
    let checkout = breaks(&daemon, "checkout").await;
    let incident = daemon.incident(&checkout).await;
    let suspects = links(&incident, "change");
    assert_eq!(suspects.len(), 1, "{suspects:?}");
    assert_eq!(suspects[0].0, "CHG-1");
    let reason = &suspects[0].1;
    assert!(reason.starts_with("4.2 deployed: 4m"), "{reason}");
    assert!(reason.ends_with(" before on payments-db, which checkout depends on; suspect 1 of 1"), "{reason}");
    assert_eq!(entries(&incident, "change_suspected"), ["suspected: CHG-1"]);
    assert_eq!((&incident["impact"], &incident["priority"]), (&json!("high"), &json!("P1")));

    // One that is told late is linked then, and ranked before the other.
    let answer = daemon.push_json(&[change("CHG-3", "checkout", -300)]).await;
    let result = &answer["results"][0];
    assert_eq!((&result["verdict"], &result["incident"]), (&json!("linked"), &json!(checkout)), "{answer}");
    let targets: Vec<String> =
        links(&daemon.incident(&checkout).await, "change").into_iter().map(|link| link.0).collect();
    assert_eq!(targets, ["CHG-3", "CHG-1"]);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_services_file_is_read_anew_in_every_way_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("services.csv");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    write("name,depends_on,impact\ncheckout,payments-db; edge-lb,high\npayments-db,,\nedge-lb,,\n");
    let daemon = Daemon::start(&format!("{RULES}services_file: {}\n", file.display())).await;
    let (database, balancer) = (breaks(&daemon, "payments-db").await, breaks(&daemon, "edge-lb").await);
    let checkout = breaks(&daemon, "checkout").await;
    let cause = async || links(&daemon.incident(&checkout).await, "symptom_of").pop().map(|link| link.0);
    assert_eq!(cause().await, Some(database.clone()));

    write("name,depends_on\ncheckout,payment-db\npayments-db,\n");
    let (status, said) = reload(&daemon).await;
    assert_eq!(status, 400);
    let wrong = format!("{}:2: depends_on[0]: unknown service \\\"payment-db\\\"", file.display());
    assert!(said.contains(&wrong) && said.contains("did you mean"), "{said}");
    assert_eq!(cause().await, Some(database.clone()));

    write("name,depends_on\ncheckout,edge-lb\npayments-db,\nedge-lb,\n");
    // Nobody says a word: the file itself is noticed.
    let noticed = std::time::Duration::from_secs(10);
    eventually("the next cause is found", noticed, async || cause().await == Some(balancer.clone())).await;
    let incident = daemon.incident(&checkout).await;
    let gone = format!("checkout does not depend on payments-db any more, so {database} is not the cause");
    assert_eq!(entries(&incident, "cause_withdrawn"), [gone]);
    assert_eq!(entries(&daemon.incident(&database).await, "symptom_withdrawn").len(), 1);

    write("name\ncheckout\n");
    daemon.signal("HUP");
    eventually("no cause is left", PATIENCE, async || cause().await.is_none()).await;
    std::fs::remove_file(&file).expect("removed");
    let (status, said) = reload(&daemon).await;
    assert_eq!(status, 400);
    assert!(said.contains("services_file") || said.contains("does not exist"), "{said}");
    daemon.is_sound().await;
}
