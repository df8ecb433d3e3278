//! The routes as a caller meets them, over a read model made by hand and a store that answers from a list.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::delivery::Action;
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::incident::{AlertCounts, IncidentDoc, IncidentStatus};
use crate::engine::unmatched::UnmatchedReport;
use crate::event::{Severity, Timestamp};
use crate::outbox::SinkStatus;
use crate::runtime::CommandError;
use crate::store::{IncidentQuery, PendingDelivery, ShardPosition, StoreError, TimelineEntry};

pub(super) fn doc(id: u64, status: IncidentStatus) -> Arc<IncidentDoc> {
    let opened_at = Timestamp::from_micros(1_800_000_000_000_000 + id as i64);
    Arc::new(IncidentDoc {
        status,
        rule: "service-degraded".into(),
        key: [("service".into(), "checkout".into())].into_iter().collect(),
        severity: Severity::Critical,
        priority_reason: "impact high × urgency high".into(),
        service: Some("checkout".into()),
        alerts: AlertCounts { firing: 1, resolved: 0, total: 1 },
        events: 3,
        reasons: vec!["condition_met".into()],
        ..IncidentDoc::blank(IncidentId(id), opened_at)
    })
}

/// A store of incidents and nothing else.
#[derive(Default)]
struct Shelf(Mutex<Vec<Arc<IncidentDoc>>>);

impl Reads for Shelf {
    fn meta(&self, _: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    fn replay(&self, _: u16, _: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(u64, u64), StoreError> {
        Ok((0, 0))
    }
    fn positions(&self) -> Result<Vec<ShardPosition>, StoreError> {
        Ok(Vec::new())
    }
    fn incidents(&self, query: &IncidentQuery) -> Result<Vec<(Timestamp, IncidentId, String)>, StoreError> {
        let model = ReadModel::default();
        model.apply(&self.0.lock().unwrap(), &[]);
        let row = |doc: Arc<IncidentDoc>| (doc.opened_at, doc.id, serde_json::to_string(&doc).unwrap());
        Ok(model.list(query).into_iter().map(row).collect())
    }
    fn incident_alerts(&self, _: IncidentId) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    fn incident(&self, id: IncidentId) -> Result<Option<String>, StoreError> {
        let shelf = self.0.lock().unwrap();
        Ok(shelf.iter().find(|doc| doc.id == id).map(|doc| serde_json::to_string(doc).unwrap()))
    }
    fn problems(&self, _: Option<&str>, _: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    fn problem(&self, _: crate::identity::ProblemId) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    fn silences(&self) -> Result<Vec<(String, u16, String)>, StoreError> {
        Ok(Vec::new())
    }
    fn timeline_from(&self, id: IncidentId, first: u64, limit: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        Ok(self.timeline(id, 1)?.into_iter().filter(|entry| entry.sequence >= first).take(limit).collect())
    }
    fn timeline(&self, incident: IncidentId, _: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        let at = Timestamp::from_micros(1_800_000_000_000_000);
        let (by, reason) = ("rule:service-degraded".to_owned(), "condition_met".into());
        Ok(vec![TimelineEntry { incident, sequence: 1, at, by, what: Action::Opened, reason, detail: "it is".into() }])
    }
    fn pending(&self, _: &str, _: i64, _: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        Ok(Vec::new())
    }
    fn parked(&self, _: &str, _: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        Ok(Vec::new())
    }
    fn backlog(&self) -> Result<Vec<(String, u64)>, StoreError> {
        Ok(Vec::new())
    }
}

fn alert() -> AlertDoc {
    let at = Timestamp::from_micros(1_800_000_000_000_000);
    AlertDoc {
        fingerprint: "00000000000000ff".into(),
        state: "firing",
        severity: Severity::Critical,
        source: "prometheus".into(),
        summary: "slow".into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        count: 3,
        first_seen: at,
        last_seen: at,
        ends_at: None,
        cleared: false,
        muted: None,
    }
}

/// A shard that knows nothing.
fn router() -> crate::runtime::Router {
    use crate::rules::{Definition, compile, default_rules};
    use crate::runtime::{Runtime, RuntimeConfig};
    let rules = Arc::new(compile(&Definition::of(&default_rules(), &[])).0);
    let engine = crate::engine::EngineConfig::default();
    let config = RuntimeConfig { shards: 1, scope: Vec::new(), max_in_flight: 10, engine };
    let store = Box::new(crate::store::MemoryStore::new());
    let started = Runtime::start(&config, store, &rules, &Clock::system(), &Metrics::new(), Arc::new(|_| ()));
    started.unwrap().router
}

pub(super) fn state(live: &[Arc<IncidentDoc>], stored: Vec<Arc<IncidentDoc>>) -> ApiState {
    let read_model = Arc::new(ReadModel::default());
    read_model.apply(live, &[]);
    ApiState {
        read_model,
        reads: Arc::new(Shelf(Mutex::new(stored))),
        metrics: Metrics::new(),
        alerts: Arc::new(|id, _| Box::pin(async move { (id.0 == 1).then(|| (vec![alert()], 1)) })),
        ready: Arc::new(|| Err("the store does not take commits".to_owned())),
        unmatched: Arc::new(|limit| {
            Box::pin(async move { (limit < 100).then(|| UnmatchedReport::merge(Vec::new(), limit)) })
        }),
        reload: Arc::new(|| Box::pin(async { Err(vec!["rules.yaml:3:5: unknown key `grup_by`".to_owned()]) })),
        operators: Arc::new(Nobody),
        sinks: Arc::new(OneSink),
        router: router(),
        routing: Arc::new(|| Box::pin(async { Routing { receivers: vec!["ops".into()], ..Routing::default() } })),
        listings: Listings::default(),
        streams: Streams::new(tokio_util::sync::CancellationToken::new()),
        clock: Clock::system(),
        started_at: Timestamp::from_micros(1_800_000_000_000_000),
    }
}

/// Shards that know no incident and no culprit.
struct Nobody;

impl Operators for Nobody {
    fn order(&self, _: String, _: Command) -> BoxFuture<'static, Result<Done, CommandError>> {
        Box::pin(async { Err(Refusal::Unknown.into()) })
    }
    fn culprits(&self) -> BoxFuture<'static, Vec<crate::engine::Culprit>> {
        Box::pin(async { Vec::new() })
    }
}

async fn post_json(state: ApiState, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(Method::POST).uri(path).body(Body::from(body.to_owned())).unwrap();
    let response = routes(state).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status();
    (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

#[tokio::test]
async fn a_merge_that_cannot_be_says_why() {
    use IncidentStatus::{Closed, Open};
    let live = [doc(1, Open), doc(2, Open)];
    for (path, body, status, code, told) in [
        (name(1), "{}", 400, "invalid_body", "into"),
        (name(1), r#"{"into": "INC-1", "with": 1}"#, 400, "invalid_body", "with"),
        (name(1), r#"{"into": "INC-1"}"#, 404, "unknown_incident", "INC-1"),
        (name(5), &format!(r#"{{"into": "{}"}}"#, name(1)), 404, "unknown_incident", "no incident"),
        (name(1), &format!(r#"{{"into": "{}"}}"#, name(9)), 409, "illegal_transition", "closed for good"),
        (name(1), &format!(r#"{{"into": "{}"}}"#, name(2)), 409, "illegal_transition", "scopes differ"),
    ] {
        let path = format!("/api/v1/incidents/{path}/merge");
        let (found, problem) = post_json(state(&live, vec![doc(9, Closed)]), &path, body).await;
        assert_eq!((found.as_u16(), problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
    }
    let too_long = format!(r#"{{"into": "{}"}}"#, "x".repeat(3 << 20));
    let (status, problem) =
        post_json(state(&live, vec![]), &format!("/api/v1/incidents/{}/merge", name(1)), &too_long).await;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &"invalid_body".into()));
}

/// One sink with three parked deliveries.
struct OneSink;

impl Sinks for OneSink {
    fn status(&self) -> Vec<SinkStatus> {
        vec![SinkStatus {
            sink: "ops".to_owned(),
            kind: "file",
            backlog: 3,
            parked: 3,
            breaker: "closed",
            last_error: None,
            next_try: None,
        }]
    }
    fn retry(self: Arc<Self>, sink: String) -> BoxFuture<'static, Option<usize>> {
        Box::pin(async move { (sink == "ops").then_some(3) })
    }
}

#[tokio::test]
async fn parked_deliveries_are_shown_and_tried_again_by_sink() {
    let (status, sinks) = get_json(state(&[], Vec::new()), "/api/v1/sinks").await;
    assert_eq!(
        (status, &sinks["sinks"][0]["sink"], &sinks["sinks"][0]["parked"]),
        (StatusCode::OK, &json!("ops"), &json!(3))
    );
    let (status, _, body) = call(state(&[], Vec::new()), Method::POST, "/api/v1/sinks/ops/retry").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"retried":3}"#));
    for (method, path) in [(Method::POST, "/api/v1/sinks/opps/retry"), (Method::GET, "/api/v1/sinks/opps/parked")] {
        let (status, _, body) = call(state(&[], Vec::new()), method, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("no sink is named opps"), "{body}");
    }
}

async fn call(state: ApiState, method: Method, path: &str) -> (StatusCode, String, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = routes(state).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

async fn get_json(state: ApiState, path: &str) -> (StatusCode, Value) {
    let (status, _, body) = call(state, Method::GET, path).await;
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn ids(page: &Value) -> Vec<&str> {
    page["incidents"].as_array().unwrap().iter().map(|incident| incident["id"].as_str().unwrap()).collect()
}

pub(super) fn name(id: u64) -> String {
    IncidentId(id).to_string()
}

#[tokio::test]
async fn a_listing_is_newest_first_and_finds_what_only_the_store_still_has() {
    use IncidentStatus::{Closed, Open, Resolved};
    // The store lags: it still says that 2 is open.
    let state = state(&[doc(4, Open), doc(2, Resolved)], vec![doc(1, Closed), doc(2, Open), doc(3, Closed)]);
    let (status, page) = get_json(state.clone(), "/api/v1/incidents").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(ids(&page), [4, 3, 2, 1].map(name));
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(page["incidents"][0]["alerts"]["total"], 1);
    let (_, page) = get_json(state, "/api/v1/incidents?status=open&service=checkout&rule=&priority=P1").await;
    assert_eq!(ids(&page), [name(4)], "the read model wins over the store");
}

#[tokio::test]
async fn pages_neither_repeat_nor_skip() {
    use IncidentStatus::{Closed, Open};
    // The store has all of them, those that are open, too; the read model no longer has what closed long ago.
    let stored: Vec<_> = (1..=7).map(|id| doc(id, if id % 2 == 0 { Open } else { Closed })).collect();
    let live: Vec<_> = stored.iter().filter(|doc| doc.status == Open).cloned().collect();
    let state = state(&live, stored);
    let (mut seen, mut path) = (Vec::new(), "/api/v1/incidents?limit=3".to_owned());
    loop {
        let (_, page) = get_json(state.clone(), &path).await;
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/v1/incidents?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1].map(name));
}

#[tokio::test]
async fn a_bad_parameter_is_named_with_its_legal_values() {
    for (query, parameter, told) in [
        ("status=opened", "status", "open, acknowledged, in_progress, on_hold, resolved, closed"),
        ("priority=p1", "priority", "P1, P2, P3, P4, P5"),
        ("limit=0", "limit", "from 1 to 1000"),
        ("limit=many", "limit", "from 1 to 1000"),
        ("limit=-1", "limit", "from 1 to 1000"),
        ("cursor=@@", "cursor", "next_cursor"),
        ("colour=red", "colour", "known: status, priority"),
        ("rule=a&rule=b", "rule", "twice"),
    ] {
        let (status, _, body) = call(state(&[], vec![]), Method::GET, &format!("/api/v1/incidents?{query}")).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(problem["parameter"], parameter, "{query}");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{query}: {problem}");
    }
}

#[tokio::test]
async fn a_limit_beyond_the_most_is_capped() {
    let (status, _) = get_json(state(&[], vec![]), "/api/v1/incidents?limit=99999999999").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn streams_beyond_the_room_are_refused_until_one_ends() {
    let state = state(&[], vec![]);
    let open = async || {
        let request = Request::builder().uri("/api/v1/incidents/stream").body(Body::empty()).unwrap();
        routes(state.clone()).oneshot(request).await.unwrap()
    };
    let mut held = Vec::new();
    for _ in 0..256 {
        held.push(open().await);
    }
    assert!(held.iter().all(|response| response.status() == StatusCode::OK));
    let refused = open().await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    held.pop();
    assert_eq!(open().await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_single_view_has_alerts_and_timeline() {
    let (status, one) =
        get_json(state(&[doc(1, IncidentStatus::Open)], vec![]), &format!("/api/v1/incidents/{}", name(1))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(one["alerts"][0]["summary"], "slow");
    assert_eq!(one["alert_counts"]["firing"], 1);
    assert_eq!(one["timeline"][0]["what"], "opened");
}

#[tokio::test]
async fn an_incident_that_only_the_store_knows_is_shown_without_alerts() {
    let state = state(&[], vec![doc(9, IncidentStatus::Closed)]);
    let (status, one) = get_json(state, &format!("/api/v1/incidents/{}", name(9))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&one["status"], &one["alerts"]), (&"closed".into(), &Value::Array(vec![])));
}

#[tokio::test]
async fn an_unknown_incident_is_a_404_problem() {
    for id in [name(5), "INC-nonsense".to_owned(), "x".repeat(500)] {
        let (status, kind, body) = call(state(&[], vec![]), Method::GET, &format!("/api/v1/incidents/{id}")).await;
        assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "application/problem+json"));
        assert!(body.contains("unknown_incident") && body.len() < 300, "{body}");
    }
}

#[tokio::test]
async fn an_unknown_silence_is_a_problem_here_and_a_message_in_alertmanagers_api() {
    let path = "/silences/00000000-0000-0000-0000-000000000001";
    let (status, kind, body) = call(state(&[], vec![]), Method::GET, &format!("/api/v1{path}")).await;
    assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "application/problem+json"), "{body}");
    let path = path.replace("silences", "silence");
    let (status, kind, body) = call(state(&[], vec![]), Method::GET, &format!("/api/v2{path}")).await;
    assert_eq!(
        (status, kind.as_str(), body.as_str()),
        (StatusCode::NOT_FOUND, "application/json", "\"silence not found\"")
    );
    let (_, page) = get_json(state(&[], vec![]), "/api/v1/silences").await;
    assert_eq!(page, json!({"silences": []}));
}

#[tokio::test]
async fn nothing_is_silenced_while_no_commits_are_taken() {
    let path = "/api/v2/silence/00000000-0000-0000-0000-000000000001";
    let (status, _, body) = call(state(&[], vec![]), Method::DELETE, path).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("does not take commits"), "{body}");
}

#[tokio::test]
async fn clients_of_alertmanager_learn_the_version_and_the_receivers() {
    let (_, status) = get_json(state(&[], vec![]), "/api/v2/status").await;
    assert_eq!(
        (&status["cluster"]["status"], &status["uptime"]),
        (&"disabled".into(), &"2027-01-15T08:00:00.000Z".into())
    );
    assert_eq!(status["versionInfo"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(get_json(state(&[], vec![]), "/api/v2/receivers").await.1, json!([{"name": "ops"}]));
}

#[tokio::test]
async fn who_looks_at_the_root_is_told_what_there_is() {
    let (status, kind, body) = call(state(&[], vec![]), Method::GET, "/").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "text/plain; charset=utf-8"));
    for route in [
        "/api/v1/events",
        "/api/v2/alerts",
        "/api/v1/incidents/{id}",
        "/api/v2/silences",
        "/metrics",
        "/-/ready",
        "/-/reload",
    ] {
        assert!(body.contains(route), "{route}: {body}");
    }
}

#[tokio::test]
async fn health_readiness_and_metrics_follow_the_conventions() {
    let (status, _, body) = call(state(&[], vec![]), Method::GET, "/-/healthy").await;
    assert_eq!((status, body.trim()), (StatusCode::OK, "incidentd is healthy"));
    let (status, _, body) = call(state(&[], vec![]), Method::GET, "/-/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("does not take commits"), "{body}");
    let (status, kind, body) = call(state(&[], vec![]), Method::GET, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(body.contains("# TYPE incidentd_build_info gauge"), "{body}");
}

#[tokio::test]
async fn a_refused_reload_says_what_is_wrong_and_reload_takes_only_post() {
    let (status, kind, body) = call(state(&[], vec![]), Method::POST, "/-/reload").await;
    assert_eq!((status, kind.as_str()), (StatusCode::BAD_REQUEST, "application/problem+json"));
    assert!(body.contains("rules.yaml:3:5"), "{body}");
    let (status, kind, _) = call(state(&[], vec![]), Method::GET, "/-/reload").await;
    assert_eq!((status, kind.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "application/problem+json"));
}

#[tokio::test]
async fn what_no_rule_wants_is_listed_up_to_a_limit() {
    let (status, _, body) = call(state(&[], vec![]), Method::GET, "/api/v1/rules/unmatched").await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, r#"{"total":0,"unmatched":[]}"#));
    for (query, expected) in
        [("limit=99", 200), ("limit=0", 400), ("limit=1001", 400), ("limits=1", 400), ("limit=100", 503)]
    {
        let (status, kind, _) =
            call(state(&[], vec![]), Method::GET, &format!("/api/v1/rules/unmatched?{query}")).await;
        assert_eq!((status.as_u16(), kind == "application/problem+json"), (expected, expected != 200), "{query}");
    }
}
