//! The commands beside the daemon, as people and scripts call them.

use std::process::Output;

use serde_json::Value;

use crate::harness::Daemon;
use crate::harness::daemon::{incidentd, text};
use crate::harness::events::event_json;

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_the_place_of_a_problem_and_exits_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.yaml").display().to_string();
    std::fs::write(&file, "listen: 127.0.0.1:1\nrules:\n- name: a\n  grup_by: [service]\n").expect("written");
    let refused = incidentd(&["check", &file]).await;
    assert_eq!(code(&refused), Some(2));
    let said = text(&refused.stdout);
    assert!(said.starts_with(&format!("{file}:4:3: ")) && said.contains("group_by"), "{said}");
    std::fs::write(&file, "rules: []\n").expect("written");
    assert_eq!(code(&incidentd(&["check", &file]).await), Some(0));
    assert_eq!(code(&incidentd(&["check", "--strict", &file]).await), Some(2));
    let shipped = crate::harness::root().join("deploy/incidentd.yaml").display().to_string();
    let valid = incidentd(&["check", "--strict", &shipped]).await;
    assert_eq!(code(&valid), Some(0), "{}", text(&valid.stdout));
    assert_eq!(code(&incidentd(&["check", "/nowhere/at-all.yaml"]).await), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_pushes_a_recording_and_says_what_became_of_it() {
    let daemon = Daemon::start("log: { level: info }\n").await;
    let url = daemon.url("");
    let file = daemon.folder().join("events.jsonl");
    let line = |n: usize| {
        let event = event_json(&n.to_string(), &format!("s{n}"), "h");
        event.replacen('{', r#"{"occurred_at":"2003-01-01T00:00:00Z","#, 1)
    };
    let lines: Vec<String> = (0..20).map(line).collect();
    std::fs::write(&file, lines.join("\n")).expect("written");
    let path = file.display().to_string();
    let sent = incidentd(&["send", "--url", &url, "--shift-times", "--json", &path]).await;
    assert_eq!(code(&sent), Some(0), "{}", text(&sent.stderr));
    let summary: Value = serde_json::from_str(&text(&sent.stdout)).expect("JSON");
    assert_eq!(summary["verdicts"]["opened"], 20, "{summary}");
    assert_eq!(daemon.incidents("").await.len(), 20);
    let again = incidentd(&["send", "--url", &url, "--shift-times", "--json", &path]).await;
    let summary: Value = serde_json::from_str(&text(&again.stdout)).expect("JSON");
    assert_eq!((code(&again), &summary["verdicts"]["duplicate"]), (Some(0), &20.into()), "{summary}");

    std::fs::write(&file, format!("{}\n{{broken\n{{\"severity\":\"info\"}}\n", lines[0])).expect("written");
    assert_eq!(code(&incidentd(&["send", "--url", &url, &path]).await), Some(1));
    let refused = incidentd(&["send", "--url", "http://127.0.0.1:1", "--retry-for", "100ms", &path]).await;
    assert_eq!(code(&refused), Some(1), "{}", text(&refused.stderr));
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incidents_are_listed_and_shown_for_people_and_programs() {
    let daemon = Daemon::start("log: { level: info }\n").await;
    let url = daemon.url("");
    daemon.push_json(&[event_json("1", "checkout", "h1"), event_json("2", "payments", "h1")]).await;
    let listed = incidentd(&["incidents", "list", "--url", &url, "--json"]).await;
    let page: Value = serde_json::from_str(&text(&listed.stdout)).expect("JSON");
    let ids: Vec<&str> =
        page["incidents"].as_array().expect("a list").iter().filter_map(|i| i["id"].as_str()).collect();
    assert_eq!((code(&listed), ids.len()), (Some(0), 2));
    let table = incidentd(&["incidents", "list", "--url", &url, "--service", "checkout"]).await;
    let table = text(&table.stdout);
    assert!(table.contains("checkout") && !table.contains("payments") && !table.contains('\u{1b}'), "{table}");
    let shown = incidentd(&["incidents", "show", "--url", &url, ids[0]]).await;
    assert!(code(&shown) == Some(0) && text(&shown.stdout).contains(ids[0]), "{}", text(&shown.stdout));
    let shown = incidentd(&["incidents", "show", "--url", &url, "--json", ids[1]]).await;
    let incident: Value = serde_json::from_str(&text(&shown.stdout)).expect("JSON");
    assert_eq!((&incident["id"], incident["alerts"].as_array().map(Vec::len)), (&ids[1].into(), Some(1)));
    let unknown = incidentd(&["incidents", "show", "--url", &url, "INC-0000000000000"]).await;
    assert_eq!(code(&unknown), Some(1), "{}", text(&unknown.stderr));
    let nobody = incidentd(&["incidents", "list", "--url", "http://127.0.0.1:1"]).await;
    assert_eq!(code(&nobody), Some(1));
    assert!(text(&nobody.stderr).lines().count() <= 2, "{}", text(&nobody.stderr));
    assert_eq!(code(&incidentd(&["incidents", "list", "--url", &url, "--status", "broken"]).await), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemas_and_completions_are_printed() {
    for of in ["config", "event"] {
        let printed = incidentd(&["schema", of]).await;
        let schema: Value = serde_json::from_str(&text(&printed.stdout)).expect("JSON");
        assert!(code(&printed) == Some(0) && schema["properties"].is_object(), "{of}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let printed = incidentd(&["completions", shell]).await;
        assert!(code(&printed) == Some(0) && text(&printed.stdout).contains("incidents"), "{shell}");
    }
    assert_eq!(code(&incidentd(&["schema", "weather"]).await), Some(2));
    assert_eq!(code(&incidentd(&["fly"]).await), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_invalid_keeps_the_daemon_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.yaml").display().to_string();
    std::fs::write(&file, "lsten: 127.0.0.1:1\n").expect("written");
    let refused = incidentd(&["run", "--config", &file]).await;
    let said = text(&refused.stderr);
    assert!(code(&refused) == Some(2) && said.contains(":1:1: ") && said.contains("listen"), "{said}");
    let daemon = Daemon::start("log: { level: info }\n").await;
    let data = folder.path().join("data").display().to_string();
    let taken = incidentd(&["run", "--data-dir", &data, "--listen", &daemon.address]).await;
    assert!(code(&taken) == Some(1) && text(&taken.stderr).contains("another process"), "{}", text(&taken.stderr));
}
