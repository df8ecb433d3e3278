//! Tickets that a receiver names and problems that recur, through the real daemon.

use std::time::Duration;

use incidentd::clock::Clock;
use serde_json::{Value, json};

use crate::harness::receiver::Manner;
use crate::harness::{Daemon, PATIENCE, Receiver, eventually};

const RULES: &str =
    "rules: [{ name: by-service, group_by: [service], window: 1h, update_interval: 1s, resolve_after: 0s,
  reopen_within: 0s }]
problems: { recurrences: 2, within: 1h }
";

/// One a second, from a minute ago on.
fn alert(number: u64, status: &str) -> String {
    let at = Clock::system().now().minus(Duration::from_secs(60 - number)).to_string();
    json!({ "source": "test", "labels": { "service": "db" }, "status": status, "severity": "critical", "occurred_at": at }).to_string()
}

async fn read(daemon: &Daemon, path: &str) -> Value {
    let (status, body) = daemon.get(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

fn links(incident: &Value, kind: &str) -> Vec<Value> {
    let links = incident["links"].as_array().expect("links").iter();
    links.filter(|link| link["type"] == kind).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_a_receiver_names_is_linked_once_and_survives_a_crash() {
    let receiver = Receiver::start_signed().await;
    receiver.behave(Manner::NameTickets);
    let mut daemon = Daemon::start(&format!("{RULES}sinks: [{}]\n", receiver.sink("timeout: 5s"))).await;
    daemon.push_json(&[alert(0, "firing")]).await;
    let listed = async |daemon: &Daemon| read(daemon, "/api/v1/incidents").await["incidents"][0].clone();
    eventually("the ticket is linked", PATIENCE, async || !links(&listed(&daemon).await, "external_ticket").is_empty())
        .await;
    eventually("nothing waits", PATIENCE, async || {
        daemon.metrics().await.value("incidentd_delivery_backlog{sink=\"hook\"}") == 0.0
    })
    .await;
    daemon.kill9().await;
    daemon.restart().await;
    let incident = listed(&daemon).await;
    let id = incident["id"].as_str().expect("an id");
    let reason = format!("T-{id}, named in the sink's answer");
    let url = format!("https://tickets.example.org/{id}");
    let expected = json!({ "type": "external_ticket", "target": url, "by": "sink:hook", "reason": reason });
    // The update that tells of the link was answered with the same ticket.
    assert_eq!(links(&incident, "external_ticket"), [expected]);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_recurs_is_a_problem_that_is_read_and_closed_over_http_and_outlives_a_crash() {
    let mut daemon = Daemon::start(&format!("{RULES}sinks: []\n")).await;
    for number in 0..3 {
        daemon.push_json(&[alert(2 * number, "firing"), alert(2 * number + 1, "resolved")]).await;
    }
    daemon.kill9().await;
    daemon.restart().await;
    let listed = read(&daemon, "/api/v1/problems?status=open").await;
    let problem = &listed["problems"][0];
    assert_eq!((&problem["recurrences"], &problem["rule"]), (&json!(3), &json!("by-service")), "{listed}");
    let path = format!("/api/v1/problems/{}", problem["id"].as_str().expect("an id"));
    assert_eq!(read(&daemon, &path).await, *problem);
    eventually("the gauge shows it", PATIENCE, async || {
        daemon.metrics().await.value("incidentd_problems{status=\"open\"}") == 1.0
    })
    .await;
    let newest = read(&daemon, "/api/v1/incidents").await["incidents"][0].clone();
    assert_eq!(links(&newest, "problem")[0]["target"], problem["id"]);
    assert_eq!(links(&newest, "same_as_before").len(), 2, "{newest}");

    let close = format!("{path}/close");
    let order = |resolution: &str| json!({ "resolution": resolution, "by": "ann" }).to_string();
    assert_eq!(daemon.post(&close, "application/json", order(" ")).await.0, 400);
    let (status, body) = daemon.post(&close, "application/json", order("a bigger pool")).await;
    let closed: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &closed["status"], &closed["closed_by"]), (200, &json!("closed"), &json!("operator:ann")));
    assert_eq!(daemon.post(&close, "application/json", order("again")).await.0, 409);
    assert_eq!(read(&daemon, "/api/v1/problems?status=closed").await["problems"][0], closed);
    assert_eq!(daemon.get("/api/v1/problems?status=resolved").await.0, 400);
    assert_eq!(daemon.get("/api/v1/problems?state=open").await.0, 400);
    assert_eq!(daemon.get("/api/v1/problems/PRB-0000000000000").await.0, 404);
    daemon.is_sound().await;
}
