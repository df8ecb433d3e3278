//! Every route with its body, over shards that write down what is ordered.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Request};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::api::tests::{doc, name, state};
use crate::api::{ApiState, Operators, routes};
use crate::engine::Culprit;
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::desk::Order;
use crate::engine::incident::IncidentStatus;
use crate::identity::IncidentId;
use crate::rules::{Level, Priority};
use crate::runtime::{CommandError, Refused};

/// Shards that answer everything alike, and remember what they were asked.
struct Desk {
    asked: Mutex<Vec<(String, Command)>>,
    answer: Result<Done, CommandError>,
}

impl Desk {
    fn answering(answer: Result<Done, CommandError>) -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), answer })
    }

    fn willing() -> Arc<Self> {
        Self::answering(Ok(Done::Incident(doc(1, IncidentStatus::Acknowledged))))
    }

    fn asked(&self) -> Vec<(String, Command)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Operators for Desk {
    fn order(&self, by: String, command: Command) -> BoxFuture<'static, Result<Done, CommandError>> {
        self.asked.lock().unwrap().push((by, command));
        let answer = self.answer.clone();
        Box::pin(async { answer })
    }
    fn culprits(&self) -> BoxFuture<'static, Vec<Culprit>> {
        Box::pin(async { Vec::new() })
    }
}

/// One open incident, 1, and one that only the store knows, 9.
fn with(desk: &Arc<Desk>, status: IncidentStatus) -> ApiState {
    let operators = desk.clone();
    ApiState { operators, ..state(&[doc(1, status)], vec![doc(9, IncidentStatus::Closed)]) }
}

async fn send(state: ApiState, method: Method, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let response = routes(state).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

fn path(id: u64, what: &str) -> String {
    format!("/api/v1/incidents/{}/{what}", name(id))
}

fn orders() -> Vec<(&'static str, &'static str, Order)> {
    let reason = || "why".to_owned();
    vec![
        ("acknowledge", "", Order::Acknowledge),
        ("start", " ", Order::Start),
        ("hold", r#"{"reason": "why"}"#, Order::Hold { reason: reason() }),
        ("resume", "{}", Order::Resume),
        ("resolve", "", Order::Resolve { force: false, resolution: String::new() }),
        ("resolve", r#"{"force": true, "resolution": "why"}"#, Order::Resolve { force: true, resolution: reason() }),
        ("close", r#"{"resolution": "why"}"#, Order::Close { resolution: reason() }),
        ("reopen", r#"{"reason": "why"}"#, Order::Reopen { reason: reason() }),
        ("assign", r#"{"team": "net"}"#, Order::Assign { to: "net".to_owned(), reason: String::new() }),
        ("assign", r#"{"team": "net", "reason": "why"}"#, Order::Assign { to: "net".to_owned(), reason: reason() }),
        ("accept", "", Order::Accept),
        ("notes", r#"{"text": "why"}"#, Order::Note { text: reason(), audience: "internal".to_owned() }),
        (
            "notes",
            r#"{"text": "why", "audience": "public"}"#,
            Order::Note { text: reason(), audience: "public".to_owned() },
        ),
        (
            "links",
            r#"{"type": "change", "target": "CHG-42"}"#,
            Order::Link { kind: "change".to_owned(), target: "CHG-42".to_owned(), reason: String::new() },
        ),
        (
            "unlink",
            r#"{"type": "change", "target": "CHG-42"}"#,
            Order::Unlink { kind: "change".to_owned(), target: "CHG-42".to_owned() },
        ),
        ("escalate", r#"{"reason": "why"}"#, Order::Escalate { reason: reason() }),
        ("major", r#"{"reason": "why"}"#, Order::DeclareMajor { reason: reason() }),
        ("stand-down", r#"{"reason": "why"}"#, Order::StandDown { reason: reason() }),
        (
            "priority",
            r#"{"impact": "high", "urgency": null, "reason": "why"}"#,
            Order::Reprioritise { impact: Some(Level::High), urgency: None, priority: None, reason: reason() },
        ),
        (
            "priority",
            r#"{"priority": "P1", "reason": "why"}"#,
            Order::Reprioritise { impact: None, urgency: None, priority: Some(Priority::P1), reason: reason() },
        ),
    ]
}

#[tokio::test]
async fn every_route_orders_what_its_name_and_body_say() {
    let desk = Desk::willing();
    for (what, body, order) in orders() {
        let (status, answer) = send(with(&desk, IncidentStatus::Open), Method::POST, &path(1, what), body).await;
        assert_eq!((status, &answer["status"]), (200, &json!("acknowledged")), "{what}: {answer}");
        let expected = Command::Operate { incident: IncidentId(1), version: None, order };
        assert_eq!(desk.asked(), [("api".to_owned(), expected)], "{what}");
    }
}

#[tokio::test]
async fn every_body_takes_a_version_and_a_name() {
    let desk = Desk::willing();
    for (what, body, _) in orders() {
        let mut body: Value = serde_json::from_str(body).unwrap_or_else(|_| json!({}));
        (body["version"], body["by"]) = (json!(7), json!(format!(" ann{}", "x".repeat(100))));
        let (status, answer) =
            send(with(&desk, IncidentStatus::Open), Method::POST, &path(1, what), &body.to_string()).await;
        assert_eq!(status, 200, "{what}: {answer}");
        let asked = desk.asked();
        let Command::Operate { version, .. } = &asked[0].1 else { panic!("{asked:?}") };
        assert_eq!((*version, asked[0].0.as_str()), (Some(7), format!("ann{}", "x".repeat(61)).as_str()), "{what}");
    }
}

#[tokio::test]
async fn a_link_is_taken_off_by_delete_as_well() {
    let desk = Desk::willing();
    let body = r#"{"type": "change", "target": "CHG-42"}"#;
    let (status, _) = send(with(&desk, IncidentStatus::Open), Method::DELETE, &path(1, "links"), body).await;
    let order = Order::Unlink { kind: "change".to_owned(), target: "CHG-42".to_owned() };
    let expected = Command::Operate { incident: IncidentId(1), version: None, order };
    assert_eq!((status, desk.asked()), (200, vec![("api".to_owned(), expected)]));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_names_the_member_that_was_meant_and_orders_nothing() {
    let desk = Desk::willing();
    let long = format!(r#"{{"priority": "{}", "reason": "r"}}"#, "x".repeat(10_000));
    for (what, body, told) in [
        ("hold", "", "\"reason\" is missing: Why, in words; not empty, at most 10 KiB"),
        ("hold", r#"{"reason": 1}"#, r#""reason" is a text, not a number"#),
        ("hold", r#"{"reason": null}"#, r#""reason" is a text, not null"#),
        ("hold", r#"{"reason": "a", "reason": "b"}"#, r#""reason" is given twice"#),
        ("resolve", r#"{"force": "yes"}"#, r#""force" is true or false, not a text"#),
        ("notes", r#"{"txt": "a"}"#, r#"unknown member "txt", did you mean "text"?; known: "#),
        ("assign", r#"{"team": "a", "colour": 1}"#, r#"unknown member "colour"; known: "#),
        ("acknowledge", r#"{"vresion": 1}"#, r#"did you mean "version"?"#),
        ("acknowledge", r#"{"version": -1}"#, r#""version" is a whole number from 0, not a number below 0"#),
        ("acknowledge", r#"{"version": 1.5}"#, r#""version" is a whole number from 0, not another number"#),
        ("acknowledge", r#"{"version": "1"}"#, r#""version" is a whole number from 0, not a text"#),
        ("priority", r#"{"impact": "huge", "reason": "r"}"#, r#""impact" is one of high, medium, low, not "huge""#),
        ("priority", r#"{"impact": "hihg", "reason": "r"}"#, r#"not "hihg", did you mean "high"?"#),
        ("priority", r#"{"priority": 1, "reason": "r"}"#, r#""priority" is one of P1, P2, P3, P4, P5, not a number"#),
        ("priority", long.as_str(), "not \"xxx"),
        ("links", "[]", r#"a JSON object is asked for, such as {"by": "ann"}, not a list"#),
        ("links", r#""a""#, "not a text"),
        ("links", "{", "the body breaks off at line 1 column 1"),
        ("links", "{type: change}", "the body is not JSON at line 1 column 2"),
    ] {
        let (status, problem) = send(with(&desk, IncidentStatus::Open), Method::POST, &path(1, what), body).await;
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_body")), "{what} {body}");
        assert!(detail.contains(told) && detail.len() < 300, "{what} {body}: {detail}");
        assert_eq!(desk.asked(), []);
    }
}

#[tokio::test]
async fn an_unknown_incident_is_told_before_anything_is_ordered() {
    let desk = Desk::willing();
    for name in [name(5), "INC-nonsense".to_owned()] {
        let path = format!("/api/v1/incidents/{name}/acknowledge");
        let (status, problem) = send(with(&desk, IncidentStatus::Open), Method::POST, &path, "").await;
        assert_eq!((status, &problem["code"]), (404, &json!("unknown_incident")));
        assert_eq!(desk.asked(), []);
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_the_matter() {
    use IncidentStatus::{OnHold, Open, Resolved};
    let legal = |status: IncidentStatus| {
        let moves = status.orders().map(|row| row.step.as_str()).filter(|name| *name != "update");
        json!(moves.collect::<Vec<_>>())
    };
    for (refusal, id, at, status, code, member, value) in [
        (Refusal::Version { current: 8 }, 1, Open, 409, "version_conflict", "current", json!(8)),
        (Refusal::Illegal("no".to_owned()), 1, Open, 409, "illegal_transition", "legal", legal(Open)),
        (Refusal::Illegal("no".to_owned()), 1, Resolved, 409, "illegal_transition", "legal", legal(Resolved)),
        (Refusal::Invalid("empty".to_owned()), 1, Open, 400, "invalid_command", "detail", json!("empty")),
        (Refusal::Limit("100 links".to_owned()), 1, Open, 409, "limit_reached", "detail", json!("100 links")),
        (Refusal::Unknown, 9, OnHold, 409, "illegal_transition", "legal", json!([])),
        (
            Refusal::Unknown,
            9,
            OnHold,
            409,
            "illegal_transition",
            "detail",
            json!(format!("{} is closed for good", name(9))),
        ),
    ] {
        let desk = Desk::answering(Err(refusal.into()));
        let (found, problem) = send(with(&desk, at), Method::POST, &path(id, "acknowledge"), "").await;
        assert_eq!((found, &problem["code"], &problem[member]), (status, &json!(code), &value), "{problem}");
        assert_eq!(problem.get("firing"), None);
    }
}

#[tokio::test]
async fn a_resolve_that_is_refused_because_alerts_fire_names_them() {
    let desk = Desk::answering(Err(Refusal::Illegal("1 alert fires".to_owned()).into()));
    let (status, problem) = send(with(&desk, IncidentStatus::OnHold), Method::POST, &path(1, "resolve"), "").await;
    let fires = json!([{"fingerprint": "00000000000000ff", "severity": "critical", "summary": "slow", "labels": {}}]);
    assert_eq!((status, &problem["firing"]), (409, &fires), "{problem}");
    // From where it cannot be resolved at all, that is the reason.
    let (_, problem) = send(with(&desk, IncidentStatus::Resolved), Method::POST, &path(1, "resolve"), "").await;
    assert_eq!(problem.get("firing"), None, "{problem}");
}

#[tokio::test]
async fn an_order_that_may_have_been_carried_out_or_not_is_a_503() {
    let desk = Desk::answering(Err(Refused::Stopping.into()));
    let (status, problem) = send(with(&desk, IncidentStatus::Open), Method::POST, &path(1, "acknowledge"), "").await;
    assert_eq!((status, &problem["code"]), (503, &json!("E_STOPPING")), "{problem}");
}
