//! What a running daemon tells of its rules: what none of them wants, conditions that fail, what a reload did.

use serde_json::{Value, json};

use crate::harness::daemon::{incidentd, text};
use crate::harness::{Daemon, PATIENCE, eventually};

fn alert(host: &str, free: &str) -> String {
    let labels = json!({"alertname": "DiskFull", "host": host, "free": free});
    json!({"source": "prometheus", "labels": labels}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_rule_wants_is_listed_by_source_and_label() {
    let daemon = Daemon::start("rules: [{ name: few, match: ['alertname=\"Other\"'] }]\n").await;
    let (status, _) = daemon.get("/api/v1/rules/unmatched?limit=0").await;
    assert_eq!(status, 400);
    let hosts: Vec<String> = (0..20).map(|host| alert(&format!("web-{host}"), "1")).collect();
    daemon.push_json(&hosts).await;
    let report = daemon.json("/api/v1/rules/unmatched?limit=3").await;
    assert_eq!(report["total"], 20);
    let lines = report["unmatched"].as_array().expect("a list");
    assert_eq!(lines[0], json!({"source": "prometheus", "label": null, "value": null, "count": 20, "error": 0}));
    let labels: Vec<&Value> = lines[1..].iter().map(|line| &line["label"]).collect();
    assert!(labels.contains(&&json!("alertname")) && labels.contains(&&json!("free")), "{report}");

    let shown = incidentd(&["rules", "unmatched", "--url", &daemon.url("")]).await;
    let shown = text(&shown.stdout);
    assert!(shown.contains("DiskFull") && shown.ends_with("20 sightings of alerts that no rule wants\n"), "{shown}");
    let json = incidentd(&["rules", "unmatched", "--json", "--limit", "3", "--url", &daemon.url("")]).await;
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).expect("JSON"), report);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_cannot_be_evaluated_is_counted_by_rule() {
    let daemon = Daemon::start("rules: [{ name: full, when: 'double(labels.free) < 5.0' }]\n").await;
    let answer = daemon.push_json(&[alert("a", "none"), alert("b", "9"), alert("c", "4")]).await;
    let reasons: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|result| &result["reason"]).collect();
    assert_eq!(reasons, ["rule_error", "no_rule", "condition_met"]);
    assert_eq!(answer["results"][0]["rule"], "full");
    eventually("it is counted", PATIENCE, async || {
        daemon.metrics().await.text.contains("incidentd_rule_errors_total{rule=\"full\"} 1")
    })
    .await;
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_says_rule_by_rule_what_it_did() {
    let rules = |window: &str| {
        format!(
            "rules: [{{ name: pairs, match: ['free=\"1\"'], open_when: {{ alerts: 2 }} }}, {{ name: edited, match: \
             ['free=\"2\"'], open_when: {{ alerts: 2 }}, window: {window} }}]\n"
        )
    };
    let daemon = Daemon::start(&rules("5m")).await;
    daemon.push_json(&[alert("a", "1"), alert("a", "2")]).await;
    daemon.write_config(&rules("6m"));
    let request = daemon.http().post(daemon.url("/-/reload")).header("accept", "application/json");
    let said: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let line =
        |rule, kept, dropped| json!({"rule": rule, "kept": kept, "migrated": 0, "dropped": dropped, "retired": 0});
    let windows = json!([line("edited", 0, 1), line("pairs", 1, 0)]);
    assert_eq!(said, json!({"rules": 2, "windows": windows, "restart_needed": [], "not_started": []}));
    let (status, said) = daemon.post("/-/reload", "text/plain", "").await;
    let sentence = "2 rules in force; windows kept 1, dropped 0, incidents that follow a changed rule 0, that run on \
                    without their rule 0\n";
    assert_eq!((status, said.as_str()), (200, sentence));
    let logged = daemon.log_lines();
    assert!(
        logged.iter().any(|line| line.contains("windows of a rule") && line.contains("\"rule\":\"edited\"")),
        "{logged:?}"
    );
    daemon.is_sound().await;
}
