//! The draft against a golden file; the timeline against the bounds.

use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::api::routes;
use crate::api::tests::{doc, name, state};
use crate::delivery::Action;
use crate::engine::incident::IncidentStatus;
use crate::store::{Commit, MemoryStore, Store};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
}

fn entry(sequence: u64, what: Action, by: &str, reason: &str, detail: &str) -> TimelineEntry {
    let (incident, at, by) = (IncidentId(1), at(sequence as i64 * 90), by.to_owned());
    TimelineEntry { incident, sequence, at, by, what, reason: reason.to_owned().into(), detail: detail.to_owned() }
}

fn document() -> Value {
    let mut document = serde_json::to_value(&*doc(1, IncidentStatus::Resolved)).unwrap();
    let more = json!({
        "title": "checkout is <b>slow</b> | [see](https://evil.example)", "reopened": 1,
        "priority_reason": "P1 because checkout is high impact and urgency is high (severity critical)", "services": ["checkout", "cart"],
        "opened_at": at(0), "acknowledged_at": at(240), "resolved_at": at(5_400), "events": 1_200,
        "alerts": {"firing": 0, "resolved": 201, "total": 201},
        "assignment": {"to": "team-payments", "by": "operator:ann", "since": at(300), "accepted_at": at(330),
            "reassigned": 2, "spent": {"acme-hosting": 600, "team-payments": 4_500}},
        "time_in": {"open": 240, "acknowledged": 60, "in_progress": 5_100},
        "targets": {"respond_by": at(900), "resolve_by": null, "breached": false, "respond": "met", "resolve": "met"},
        "escalation": {"policy": "standard", "level": 2, "next_at": null},
        "major": {"since": at(600), "by": "operator:ann", "reason": "nobody can pay", "runbook": "https://wiki.example/dr_plan"},
        "links": [{"type": "change", "target": "CHG-42", "by": "operator:ann", "reason": "deployed *just* before"},
            {"type": "runbook", "target": "https://wiki.example/checkout", "by": "", "reason": ""}],
        "resolution": "rolled back 4.2\n# and restarted",
    });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document
}

fn whole(complete: bool) -> Whole {
    let alert = json!({"state": "resolved", "severity": "critical", "source": "prometheus", "summary": "p99 | 4 s",
        "labels": {"service": "checkout", "pod": "web_1"}, "count": 6, "first_seen": at(0), "last_seen": at(5_000)});
    let entries = vec![
        entry(1, Action::Opened, "rule:service-degraded", "condition_met", "3 of 3: the opening condition holds"),
        entry(2, Action::Acknowledged, "operator:ann", "by_hand", ""),
        entry(3, Action::Updated, "operator:ann", "note_written", "the pool is exhausted\n\n- restart it?\n![x](y)"),
        entry(4, Action::Resolved, "operator:ann", "by_hand", "rolled back 4.2"),
    ];
    let timeline = Timeline { entries, complete };
    Whole { document: document().to_string(), alerts: json!([alert]).to_string(), timeline, exported_at: at(90_000) }
}

#[test]
fn a_draft_tells_what_is_known_and_leaves_room_for_the_rest() {
    let draft = draft::markdown(&whole(true)).unwrap();
    assert_eq!(draft, include_str!("post_mortem.golden"), "{draft}");
}

#[test]
fn a_draft_of_an_open_incident_of_which_little_is_known_has_every_section() {
    let document = r#"{"id": "INC-0000000000001", "status": "open", "a_later_field": 1}"#.to_owned();
    let timeline = Timeline { entries: Vec::new(), complete: true };
    let draft = draft::markdown(&Whole { document, alerts: "[]".to_owned(), timeline, exported_at: at(0) }).unwrap();
    let sections: Vec<&str> = draft.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let expected = ["Summary", "Impact", "Timeline", "Alerts", "Links", "Resolution", "Root cause", "Actions"];
    assert_eq!(sections, expected, "{draft}");
    assert!(draft.contains("Not resolved."), "{draft}");
}

#[test]
fn a_draft_says_where_its_timeline_ends_early() {
    let draft = draft::markdown(&whole(false)).unwrap();
    assert!(draft.contains("\n\nThe timeline goes on: 4 entries are what an export holds.\n"), "{draft}");
    let exported: Value = serde_json::from_str(&json(&whole(false)).unwrap()).unwrap();
    assert_eq!(
        (&exported["timeline_complete"], exported["timeline"].as_array().map(Vec::len)),
        (&json!(false), Some(4))
    );
    assert_eq!((&exported["alert_counts"]["total"], &exported["alerts"][0]["count"]), (&json!(201), &json!(6)));
}

#[test]
fn a_long_timeline_is_read_whole_up_to_its_bounds() {
    let mut store = MemoryStore::new();
    let timeline = (1..=2_500).map(|sequence| entry(sequence * 3, Action::Linked, "rule:r", "gathered", "ten bytes."));
    store.commit(&Commit { timeline: timeline.collect(), ..Commit::default() }).unwrap();
    let read = |entries, bytes| {
        let found = super::timeline(&*store.reads(), IncidentId(1), entries, bytes).unwrap();
        assert!(found.entries.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
        (found.entries.len(), found.complete)
    };
    assert_eq!(read(ENTRIES_MAX, BYTES_MAX), (2_500, true));
    assert_eq!(read(2_500, BYTES_MAX), (2_500, true));
    assert_eq!(read(2_499, BYTES_MAX), (2_499, false));
    assert_eq!(read(ENTRIES_MAX, 15_000), (1_500, false));
}

async fn export(path: &str) -> (u16, String, String) {
    let state = state(&[doc(1, IncidentStatus::Open)], vec![doc(9, IncidentStatus::Closed)]);
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = routes(state).oneshot(request).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn an_incident_is_exported_in_the_format_that_is_asked_for() {
    let path = format!("/api/v1/incidents/{}/export", name(1));
    for query in ["", "?format=markdown", "?format="] {
        let (status, kind, body) = export(&format!("{path}{query}")).await;
        assert_eq!((status, kind.as_str()), (200, "text/markdown; charset=utf-8"), "{body}");
        assert!(
            body.starts_with(&format!("# {}: incident 1\n", name(1))) && body.contains("| firing | critical"),
            "{body}"
        );
    }
    let (status, kind, body) = export(&format!("{path}?format=json")).await;
    let exported: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, kind.as_str(), &exported["id"]), (200, "application/json", &json!(name(1))));
    assert_eq!((&exported["timeline"][0]["what"], &exported["timeline_complete"]), (&json!("opened"), &json!(true)));
    let (status, _, body) = export(&format!("/api/v1/incidents/{}/export?format=json", name(9))).await;
    assert!(status == 200 && body.contains(r#""alerts":[]"#), "a closed one as well: {body}");
}

#[tokio::test]
async fn an_export_that_cannot_be_says_why() {
    let path = format!("/api/v1/incidents/{}/export", name(1));
    for (path, status, told) in [
        (format!("{path}?format=markdwn"), 400, r#"did you mean \"markdown\""#),
        (format!("{path}?colour=red"), 400, "known: format"),
        (format!("/api/v1/incidents/{}/export", name(5)), 404, "unknown_incident"),
        ("/api/v1/incidents/INC-x/export".to_owned(), 404, "unknown_incident"),
    ] {
        let (found, kind, body) = export(&path).await;
        assert_eq!((found, kind.as_str()), (status, "application/problem+json"), "{path}");
        assert!(body.contains(told), "{path}: {body}");
    }
}
