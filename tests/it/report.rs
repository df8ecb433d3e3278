//! Reports through the real daemon: what it has stored is what the report counts, in each format.

use serde_json::{Value, json};

use crate::harness::daemon::{incidentd, text};
use crate::harness::{Daemon, PATIENCE, eventually};

fn event(service: &str, status: &str) -> String {
    let labels = json!({ "service": service, "host": "h" });
    json!({ "source": "test", "severity": "error", "status": status, "labels": labels }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_counts_what_the_store_has_over_a_restart_in_each_format() {
    let rule = "{ name: by-service, group_by: [service], resolve_after: 0s, reopen_within: 0s, update_interval: 0s }";
    let mut daemon = Daemon::start(&format!("rules: [{rule}]\n")).await;
    for status in ["firing", "resolved", "firing"] {
        daemon.push_json(&[event("shop", status), event("search", status)]).await;
    }
    daemon.kill9().await;
    daemon.restart().await;
    eventually("the report counts all", PATIENCE, async || {
        let report = daemon.json("/api/v1/report").await;
        report["all"]["incidents"] == 4
    })
    .await;
    let report = daemon.json("/api/v1/report?from=-1h&to=now").await;
    assert_eq!((&report["all"]["open"], &report["truncated"]), (&json!(2), &json!(false)), "{report}");
    assert_eq!(report["all"]["resolved"]["count"], 2, "{report}");
    assert_eq!(report["by_service"].as_array().map(Vec::len), Some(2), "{report}");
    assert_eq!(report["recurring"][0]["incidents"], 2, "{report}");
    assert_eq!(report["noisiest_rules"][0]["rule"], "by-service", "{report}");
    let before = daemon.json("/api/v1/report?to=-1h").await;
    assert_eq!(before["all"]["incidents"], 0, "{before}");
    for wrong in ["from=yesterday", "from=now&to=-1h", "until=now"] {
        assert_eq!(daemon.get(&format!("/api/v1/report?{wrong}")).await.0, 400, "{wrong}");
    }

    let url = daemon.url("");
    let printed = async |format: &str| {
        let done = incidentd(&["report", "--url", &url, "--from", "-1d", "--format", format]).await;
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        text(&done.stdout)
    };
    let found: Value = serde_json::from_str(&printed("json").await).expect("JSON");
    assert_eq!(found["all"], report["all"]);
    assert!(printed("csv").await.contains("\nall,,incidents,4\n"));
    let shown = printed("text").await;
    assert!(shown.contains("NOISIEST RULES") && shown.contains("by-service"), "{shown}");
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lifecycle_is_printed_as_a_table_and_as_a_diagram() {
    let table = incidentd(&["schema", "lifecycle"]).await;
    assert!(text(&table.stdout).starts_with("FROM"), "{}", text(&table.stdout));
    let diagram = incidentd(&["schema", "lifecycle", "--format", "mermaid"]).await;
    assert!(text(&diagram.stdout).starts_with("stateDiagram-v2\n"), "{}", text(&diagram.stdout));
}
