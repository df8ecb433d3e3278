//! Union rules through the real daemon: two incidents become one, come apart, stay apart, and become one again.

use serde_json::{Value, json};

use crate::harness::daemon::{incidentd, text};
use crate::harness::{Daemon, PATIENCE, Receiver, eventually};

fn config(receiver: &Receiver) -> String {
    format!(
        "resolve_timeout: 1h\n\
         rules: [{{ name: same-trouble, union_by: {{ labels: [host, ip], value_max: 3 }}, update_interval: 0s }}]\n\
         sinks: [{}]\n",
        receiver.sink("timeout: 5s")
    )
}

/// An alert with these labels; tells which incident it is in.
async fn fires(daemon: &Daemon, labels: Value, summary: &str) -> String {
    let event = json!({ "source": "test", "severity": "critical", "labels": labels, "summary": summary });
    let answer = daemon.push_json(&[event.to_string()]).await;
    answer["results"][0]["incident"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Orders something; the status and the answer.
async fn order(daemon: &Daemon, id: &str, what: &str, body: Value) -> (u16, Value) {
    let path = format!("/api/v1/incidents/{id}/{what}");
    let (status, answer) = daemon.post(&path, "application/json", body.to_string()).await;
    (status, serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}")))
}

fn link<'a>(incident: &'a Value, kind: &str) -> Option<&'a Value> {
    incident["links"].as_array().expect("links").iter().find(|link| link["type"] == kind)
}

/// The last entry of the timeline: who, what, why.
fn last(incident: &Value) -> [&str; 3] {
    let entry = incident["timeline"].as_array().and_then(|timeline| timeline.last()).expect("an entry");
    ["by", "what", "reason"].map(|field| entry[field].as_str().expect("a text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_incidents_merge_split_stay_apart_and_merge_again() {
    let receiver = Receiver::start_signed().await;
    let mut daemon = Daemon::start(&config(&receiver)).await;
    let older = fires(&daemon, json!({"host": "web-1"}), "disk").await;
    let newer = fires(&daemon, json!({"ip": "10.0.0.9"}), "ping").await;
    assert_ne!(older, newer);

    let bridge = json!({"host": "web-1", "ip": "10.0.0.9"});
    assert_eq!(fires(&daemon, bridge.clone(), "link").await, older);
    let (one, other) = (daemon.incident(&older).await, daemon.incident(&newer).await);
    assert_eq!((&one["status"], &one["alert_counts"]["firing"]), (&"open".into(), &3.into()), "{one}");
    assert_eq!(one["key"], json!({"host": "web-1", "ip": "10.0.0.9"}));
    assert_eq!(other["status"], "closed", "{other}");
    assert_eq!(link(&other, "merged_into").expect("a link")["target"], *older);
    assert_eq!(link(&other, "merged_into").expect("a link")["reason"], "by ip=10.0.0.9");
    assert_eq!(link(&one, "merged_from").expect("a link")["target"], *newer);
    assert_eq!(last(&other), ["rule:same-trouble", "closed", "merged"]);
    assert_eq!(other["alerts"].as_array().expect("a list").len(), 1, "as it was when it ended");

    // What is merged is remembered over a crash.
    daemon.kill9().await;
    daemon.restart().await;
    let (status, split) = order(&daemon, &older, "split", json!({"incident": newer, "by": "ada"})).await;
    assert_eq!((status, &split["id"]), (200, &older.as_str().into()), "{split}");
    let other = daemon.incident(&newer).await;
    assert_eq!((&other["status"], &other["alert_counts"]["firing"]), (&"open".into(), &1.into()), "{other}");
    assert_eq!(other["alerts"].as_array().expect("a list").len(), 1);
    assert_eq!(last(&other), ["operator:ada", "reopened", "split"]);
    assert!(link(&other, "merged_into").is_none() && link(&split, "merged_from").is_none());

    // Neither a repeat nor news of it merges them again, before a restart and after it.
    assert_eq!(fires(&daemon, bridge.clone(), "link").await, older);
    daemon.kill9().await;
    daemon.restart().await;
    assert_eq!(fires(&daemon, bridge.clone(), "link is still down").await, older);
    assert_eq!(daemon.incident(&newer).await["status"], "open");

    let (status, merged) = order(&daemon, &newer, "merge", json!({"into": older})).await;
    assert_eq!((status, &merged["status"]), (200, &"closed".into()), "{merged}");
    let one = daemon.incident(&older).await;
    assert_eq!(one["alert_counts"]["firing"], 3, "{one}");
    assert_eq!(last(&one), ["operator:api", "linked", "merged"]);
    assert_eq!(fires(&daemon, json!({"ip": "10.0.0.9", "port": "80"}), "http").await, older);

    eventually("the sink is told all of it", PATIENCE, async || {
        let told = receiver.by_incident();
        told.get(&newer).is_some_and(|told| told.len() == 4) && told.get(&older).is_some_and(|told| told.len() >= 5)
    })
    .await;
    let told = receiver.by_incident();
    let actions: Vec<&str> = told[&newer].iter().filter_map(|document| document["action"].as_str()).collect();
    assert_eq!(actions, ["opened", "closed", "reopened", "closed"]);
    let reasons: Vec<&str> = told[&older].iter().filter_map(|document| document["reason"].as_str()).collect();
    assert!(["merged", "split"].iter().all(|reason| reasons.contains(reason)), "{reasons:?}");
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_ordered_is_refused_with_what_can() {
    let receiver = Receiver::start().await;
    let daemon = Daemon::start(&config(&receiver)).await;
    let one = fires(&daemon, json!({"host": "web-1"}), "disk").await;
    let other = fires(&daemon, json!({"ip": "10.0.0.9"}), "ping").await;
    for (id, what, body, status, code) in [
        (&one, "merge", json!({"into": "INC-0000000000000"}), 404, "unknown_incident"),
        (&one, "merge", json!({"into": one}), 400, "invalid_command"),
        (&one, "merge", json!({"onto": other}), 400, "invalid_body"),
        (&one, "merge", json!({"into": other, "version": 7}), 409, "version_conflict"),
        (&one, "split", json!({"incident": other}), 409, "illegal_transition"),
    ] {
        let (found, problem) = order(&daemon, id, what, body).await;
        assert_eq!((found, &problem["code"]), (status, &code.into()), "{problem}");
        match code {
            "version_conflict" => assert_eq!(problem["current"], 1),
            "illegal_transition" => assert!(problem["legal"].as_array().is_some_and(|legal| !legal.is_empty())),
            _ => {}
        }
    }
    let (status, _) = order(&daemon, &one, "merge", json!({"into": other, "version": 1})).await;
    assert_eq!(status, 200);
    let (status, problem) = order(&daemon, &one, "merge", json!({"into": other})).await;
    assert_eq!((status, &problem["legal"]), (409, &json!([])), "{problem}");
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_merges_and_splits_and_a_value_that_joins_no_more_is_listed() {
    let receiver = Receiver::start().await;
    let daemon = Daemon::start(&config(&receiver)).await;
    let url = daemon.url("");
    let one = fires(&daemon, json!({"host": "web-1"}), "disk").await;
    let other = fires(&daemon, json!({"ip": "10.0.0.9"}), "ping").await;
    let run = async |arguments: &[&str]| {
        let output = incidentd(&[&["incidents"], arguments, &["--url", &url]].concat()).await;
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = run(&["merge", &other, "--into", &one, "--by", "ada"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{other}: merged into {one}; closed, version 2")), "{said}");
    let (code, said) = run(&["split", &one, "--part", &other, "--json"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON")["id"], *one);
    let (code, said) = run(&["split", &one, "--part", &other]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no part of"), "{said}");
    assert_eq!(run(&["merge", "INC-0000000000000", "--into", &one]).await.0, Some(1));

    assert_eq!(daemon.json("/api/v1/unions").await, json!({"culprits": []}));
    for port in ["80", "443"] {
        assert_eq!(fires(&daemon, json!({"ip": "10.0.0.9", "port": port}), "http").await, other);
    }
    assert_ne!(fires(&daemon, json!({"ip": "10.0.0.9", "port": "22"}), "ssh").await, other);
    let culprit = json!({"rule": "same-trouble", "label": "ip", "value": "10.0.0.9", "alerts": 4});
    assert_eq!(daemon.json("/api/v1/unions").await, json!({ "culprits": [culprit] }));
    assert_eq!(last(&daemon.incident(&other).await), ["rule:same-trouble", "updated", "union_limit"]);
    daemon.is_sound().await;
}
