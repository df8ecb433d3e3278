//! What must be there after the kills, and what is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::message::Message;
use serde_json::Value;

use super::load::{Load, Sent};
use crate::harness::{Broker, Daemon, PATIENCE, Receiver, attempt, eventually};

/// How long a backlog may take to be worked off.
const DRAIN: Duration = Duration::from_secs(120);

/// All incidents with their alerts.
pub struct Found {
    incidents: Vec<Value>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Waits until as many events are counted as were sent, then takes everything down.
pub async fn settled(daemon: &Daemon, sent: &Sent) -> Found {
    let all: u64 = sent.values().flat_map(BTreeMap::values).sum();
    attempt("all events are counted", DRAIN, async || {
        let counted: u64 = daemon.incidents("").await.iter().filter_map(|incident| incident["events"].as_u64()).sum();
        if counted >= all { Ok(()) } else { Err(format!("{counted} of {all}")) }
    })
    .await;
    daemon.is_sound().await;
    let mut incidents = Vec::new();
    for incident in daemon.incidents("").await {
        incidents.push(daemon.incident(text(&incident, "id")).await);
    }
    Found { incidents }
}

/// One incident a service, every alert in exactly one of them, every event counted exactly once.
pub fn compare(found: &Found, sent: &Sent) {
    let (mut lost, mut doubled) = (Vec::new(), Vec::new());
    let mut alerts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut services: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for incident in &found.incidents {
        let service = services.entry(text(&incident["key"], "service")).or_default();
        service.0 += 1;
        service.1 += incident["events"].as_u64().expect("a count");
        for alert in incident["alerts"].as_array().expect("alerts") {
            *alerts.entry((text(&alert["labels"], "service"), text(&alert["labels"], "host"))).or_default() += 1;
        }
    }
    let mut judge = |what: String, is: u64, should: u64| match is.cmp(&should) {
        std::cmp::Ordering::Less => lost.push(format!("{what}: {is} of {should}")),
        std::cmp::Ordering::Greater => doubled.push(format!("{what}: {is}, not {should}")),
        std::cmp::Ordering::Equal => {}
    };
    for (service, hosts) in sent {
        let (incidents, events) = services.get(&**service).copied().unwrap_or_default();
        judge(format!("incidents of {service}"), incidents, 1);
        judge(format!("events of {service}"), events, hosts.values().sum());
        for host in hosts.keys() {
            judge(
                format!("alert {service}/{host}"),
                alerts.get(&(&**service, &**host)).copied().unwrap_or_default(),
                1,
            );
        }
    }
    assert!(
        lost.is_empty() && doubled.is_empty(),
        "lost {}: {lost:#?}\ndoubled {}: {doubled:#?}",
        lost.len(),
        doubled.len()
    );
    assert_eq!(services.len(), sent.len(), "an incident of a service that never was");
}

/// Every record that cannot be read is in the dead-letter topic, at least once.
pub async fn each_buried(load: &Load, topic: &str) {
    let broker = Broker::shared();
    attempt("every dead letter is written", DRAIN, async || {
        let count = broker.end(topic).await as usize;
        let letters = broker.read(topic, count).await;
        let buried: BTreeSet<&[u8]> = letters.iter().filter_map(|letter| letter.payload()).collect();
        let missing = (0..load.poison()).filter(|n| !buried.contains(format!("poison {n}").as_bytes())).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} are missing", load.poison())) }
    })
    .await;
}

/// Every incident was told as opened, first and once; no decision has two numbers.
pub async fn each_opened_once(receiver: &Receiver, found: &Found) {
    eventually("every opening was told", PATIENCE, async || receiver.actions("opened") >= found.incidents.len()).await;
    let told = receiver.by_incident();
    for incident in &found.incidents {
        let id = text(incident, "id");
        let deliveries = told.get(id).unwrap_or_else(|| panic!("{id} was never told"));
        assert_eq!(deliveries[0]["action"], "opened", "{id}");
        let opened = deliveries.iter().filter(|delivery| delivery["action"] == "opened").count();
        assert_eq!(opened, 1, "{id}");
        let timeline = incident["timeline"].as_array().expect("a timeline");
        let opened = timeline.iter().filter(|entry| entry["what"] == "opened").count();
        assert_eq!(opened, 1, "{timeline:#?}");
    }
    let known: BTreeSet<&str> = found.incidents.iter().map(|incident| text(incident, "id")).collect();
    assert!(told.keys().all(|id| known.contains(&**id)), "an incident was told that is not there");
}

/// Every incident was told as resolved, last and once.
pub async fn each_resolved_once(receiver: &Receiver, found: &Found) {
    let incidents = found.incidents.len();
    attempt("every end was told", DRAIN, async || {
        let told = receiver.actions("resolved");
        if told >= incidents { Ok(()) } else { Err(format!("{told} of {incidents}")) }
    })
    .await;
    for (id, deliveries) in receiver.by_incident() {
        let resolved = deliveries.iter().filter(|delivery| delivery["action"] == "resolved").count();
        assert_eq!(resolved, 1, "{id}");
        assert_eq!(deliveries[deliveries.len() - 1]["action"], "resolved", "{id}");
    }
}
