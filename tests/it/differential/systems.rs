//! The two systems side by side: configured alike, told the same, and what each of them tells.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::harness::alertmanager::Alertmanager;
use crate::harness::{Daemon, http_client};

/// A group of a trace.
pub type Group = (String, String);

/// Names of alerts.
pub type Names = BTreeSet<String>;

/// What was told of a group: which of its alerts fire, and which have ended since the last time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub firing: Names,
    pub resolved: Names,
}

/// Everything told of each group, by the step in which it was; in the order of arrival.
pub type Book = BTreeMap<(Group, usize), Vec<Told>>;

#[derive(Clone)]
struct Shared {
    http: reqwest::Client,
    /// The daemon, where incidents are asked for.
    daemon: Arc<OnceLock<String>>,
    step: Arc<AtomicUsize>,
    alertmanager: Arc<Mutex<Book>>,
    incidentd: Arc<Mutex<Book>>,
    /// The alerts that fired when an incident was told of last.
    fired: Arc<Mutex<BTreeMap<String, Names>>>,
}

pub struct Systems {
    pub daemon: Daemon,
    pub alertmanager: Alertmanager,
    shared: Shared,
    serving: JoinHandle<()>,
}

const INHIBITION: &str = "source_matchers: ['role=~\"source|both\"'], target_matchers: ['role=~\"target|both\"'], \
    equal: [trace, zone]";

impl Systems {
    pub async fn start() -> Self {
        let shared = Shared {
            http: http_client(),
            daemon: Arc::default(),
            step: Arc::default(),
            alertmanager: Arc::default(),
            incidentd: Arc::default(),
            fired: Arc::default(),
        };
        let router = axum::Router::new()
            .route("/alertmanager", axum::routing::post(alertmanager_tells))
            .route("/incidentd", axum::routing::post(incidentd_tells))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let receiver = listener.local_addr().expect("bound");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        let alertmanager = Alertmanager::start(&format!(
            "route: {{ receiver: hook, group_by: [trace, g], group_wait: 300ms, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [{{ name: hook, webhook_configs: [{{ url: 'http://{receiver}/alertmanager' }}] }}]\n\
             inhibit_rules: [{{ {INHIBITION} }}]\n"
        ))
        .await;
        let daemon = Daemon::start(&format!(
            "rules: [{{ name: by-group, group_by: [trace, g], wait: 300ms, update_interval: 1s, resolve_after: 500ms, \
             reopen_within: 0s }}]\n\
             inhibit_rules: [{{ {INHIBITION}, hold: 200ms }}]\n\
             sinks: [{{ name: hook, type: webhook, url: 'http://{receiver}/incidentd', allow_networks: [127.0.0.0/8], \
             concurrency: 32 }}]\n"
        ))
        .await;
        shared.daemon.set(daemon.url("")).expect("set once");
        Self { daemon, alertmanager, shared, serving }
    }

    /// What is told from now on belongs to this step.
    pub fn begin(&self, step: usize) {
        self.shared.step.store(step, Ordering::Release);
    }

    /// Their addresses, Alertmanager's first.
    pub fn urls(&self) -> [String; 2] {
        [self.alertmanager.url(""), self.daemon.url("")]
    }

    /// What both have told.
    pub fn books(&self) -> [Book; 2] {
        [&self.shared.alertmanager, &self.shared.incidentd].map(|book| locked(book).clone())
    }
}

impl Drop for Systems {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A notification of Alertmanager's webhook.
async fn alertmanager_tells(State(shared): State<Shared>, Json(body): Json<Value>) -> StatusCode {
    let alerts = body["alerts"].as_array().expect("alerts");
    let names = |status: &str| -> Names {
        alerts.iter().filter(|alert| alert["status"] == status).map(|alert| text(&alert["labels"]["n"])).collect()
    };
    let told = Told { firing: names("firing"), resolved: names("resolved") };
    let group = (text(&body["groupLabels"]["trace"]), text(&body["groupLabels"]["g"]));
    let step = shared.step.load(Ordering::Acquire);
    locked(&shared.alertmanager).entry((group, step)).or_default().push(told);
    StatusCode::OK
}

/// A delivery of incidentd's: the incident's alerts are asked for, as a receiver would that wants to list them.
async fn incidentd_tells(State(shared): State<Shared>, Json(body): Json<Value>) -> StatusCode {
    if body["action"] == "closed" {
        return StatusCode::NO_CONTENT;
    }
    let step = shared.step.load(Ordering::Acquire);
    let id = text(&body["incident_id"]);
    let url = format!("{}/api/v1/incidents/{id}", shared.daemon.get().expect("it runs"));
    let incident = shared.http.get(url).send().await.expect("an answer");
    let incident: Value = incident.json().await.expect("JSON");
    let alerts = incident["alerts"].as_array().expect("alerts");
    let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
    let firing: Names = firing.map(|alert| text(&alert["labels"]["n"])).collect();
    let before = locked(&shared.fired).insert(id, firing.clone()).unwrap_or_default();
    let told = Told { resolved: before.difference(&firing).cloned().collect(), firing };
    let group = (text(&incident["key"]["trace"]), text(&incident["key"]["g"]));
    locked(&shared.incidentd).entry((group, step)).or_default().push(told);
    StatusCode::NO_CONTENT
}
