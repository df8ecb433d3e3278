//! A recording of a real machine's events, moved into the present, read from Kafka: once in peace, once with two kills
//! on the way. Both must end alike, with every event accounted for and every delivery told once.
//!
//! `INCIDENTD_TRIAL_RECORDING` names a JSONL file with the labels `node`, `component` and `event`; without it a similar
//! one is made up. Run with `--nocapture` to see the funnel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use incidentd::event::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::harness::exposition::Exposition;
use crate::harness::{Broker, Daemon, PATIENCE, Receiver, attempt, events, eventually, kafka};

/// The recording is squeezed into so much time before now, which lies within one window of the rules.
const SPAN: Duration = Duration::from_secs(120);

/// Errors by node; warnings by component and kind once three nodes have them; the rest is only recorded.
const RULES: &str = "resolve_timeout: 1h\nrules:\n\
    - { name: node-fails, match: ['severity=~\"critical|error\"'], group_by: [node], window: 1h,\n\
    \x20   update_interval: 1s }\n\
    - { name: many-nodes-warn, match: ['severity=\"warning\"'], group_by: [component, event], window: 1h,\n\
    \x20   update_interval: 1s, open_when: { distinct: { label: node, count: 3 } } }\n";

/// What a rule makes of a group: how many events and alerts its incident has.
type Incidents = BTreeMap<(String, String), (u64, u64)>;

/// What a group has gathered.
#[derive(Default)]
struct Group {
    events: u64,
    nodes: BTreeSet<String>,
    alerts: BTreeSet<String>,
}

/// The recording that the environment names, or one made up.
pub fn recording() -> Vec<Value> {
    let Ok(path) = std::env::var("INCIDENTD_TRIAL_RECORDING") else { return made_up() };
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect()
}

/// Some years of a machine of 300 nodes: few nodes make most of the noise, and errors come in bursts.
fn made_up() -> Vec<Value> {
    let mut chance = StdRng::seed_from_u64(2_003);
    let kinds = [
        ("error", "switch_module", "error"),
        ("warning", "gige", "temperature"),
        ("warning", "node", "temperature"),
        ("info", "node", "status"),
        ("warning", "switch_module", "fan"),
        ("error", "clusterfilesystem", "not_served"),
    ];
    let (mut seconds, mut node) = (1_060_000_000_i64, 0);
    let mut event = |number: usize| {
        seconds += if chance.random_bool(0.5) { chance.random_range(0..3) } else { chance.random_range(0..80_000) };
        if chance.random_bool(0.7) {
            node = chance.random_range(0_u32..300).min(chance.random_range(0..300));
        }
        let (severity, component, kind) = kinds.choose(&mut chance).expect("some");
        let labels = json!({"node": format!("n{node}"), "component": component, "event": kind});
        let at = Timestamp::from_micros(seconds * 1_000_000).to_string();
        json!({"id": format!("r{number}"), "source": "trial", "severity": severity, "occurred_at": at, "labels": labels})
    };
    (0..2_000).map(&mut event).collect()
}

/// When an event of the recording happened.
pub fn happened_at(event: &Value) -> Timestamp {
    let text = event["occurred_at"].as_str().expect("a time");
    Timestamp::parse_rfc3339(text.as_bytes()).expect("RFC 3339")
}

fn micros(event: &Value) -> i64 {
    happened_at(event).as_micros()
}

/// Moves the last event to now and squeezes the rest; the order stays.
fn into_the_present(recording: &mut [Value]) {
    let (first, last) = (micros(&recording[0]), recording.iter().map(micros).max().expect("events"));
    let now = events::now().as_micros();
    let squeeze = SPAN.as_micros() as f64 / (last - first).max(1) as f64;
    for event in recording {
        let before = ((last - micros(event)) as f64 * squeeze.min(1.0)) as i64;
        event["occurred_at"] = Timestamp::from_micros(now - before).to_string().into();
    }
}

/// What the rules say about a recording, reckoned in the plainest way.
fn as_the_rules_say(recording: &[Value]) -> Incidents {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for event in recording {
        let label = |name: &str| event["labels"][name].as_str().expect("a label").to_owned();
        let (rule, key) = match event["severity"].as_str() {
            Some("critical" | "error") => ("node-fails", json!({"node": label("node")})),
            Some("warning") => ("many-nodes-warn", json!({"component": label("component"), "event": label("event")})),
            _ => continue,
        };
        let group = groups.entry((rule.to_owned(), key.to_string())).or_default();
        group.events += 1;
        group.nodes.insert(label("node"));
        group.alerts.insert(event["labels"].to_string());
    }
    groups.retain(|(rule, _), group| rule == "node-fails" || group.nodes.len() >= 3);
    groups.into_iter().map(|(key, group)| (key, (group.events, group.alerts.len() as u64))).collect()
}

/// Incidents by id, with how many alerts they have.
type Ids = BTreeMap<String, u64>;

/// The incidents of a daemon in the same terms, and by id.
async fn found(daemon: &Daemon) -> (Incidents, Ids) {
    let (mut incidents, mut ids) = (Incidents::new(), Ids::new());
    for incident in daemon.incidents("").await {
        let text = |field: &str| incident[field].as_str().expect("a text").to_owned();
        let counts =
            (incident["events"].as_u64().expect("events"), incident["alerts"]["total"].as_u64().expect("alerts"));
        let twin = incidents.insert((text("rule"), incident["key"].to_string()), counts);
        assert_eq!(twin, None, "two incidents of one group: {incident}");
        ids.insert(text("id"), counts.1);
    }
    (incidents, ids)
}

async fn daemon(broker: &Broker, topic: &str, receiver: &Receiver) -> Daemon {
    let source = kafka::source(broker, "trial", topic, "event", None);
    let sink = receiver.sink("timeout: 2s, retry: { min: 50ms, max: 500ms }");
    Daemon::start(&format!("{RULES}sources: {{ kafka: [{source}] }}\nsinks: [{sink}]\n")).await
}

/// Waits until the daemon is where the topic ends, and the end of the topic is told.
async fn is_read(daemon: &Daemon, broker: &Broker, topic: &str, events: usize) {
    attempt("the topic is read", PATIENCE, async || {
        let committed = broker.committed(&format!("group-trial-{topic}"), topic, 1).await;
        if committed == events as i64 { Ok(()) } else { Err(format!("{committed} of {events}")) }
    })
    .await;
    daemon.is_sound().await;
}

/// Every incident was told once as opened, first, and the newest that was told of it is the newest there is.
async fn is_told(daemon: &Daemon, receiver: &Receiver, ids: &Ids) {
    let newest =
        |deliveries: &Vec<Value>| deliveries.last().and_then(|last| last["incident"]["alerts"]["total"].as_u64());
    attempt("everything is told", PATIENCE, async || {
        let told: Ids =
            receiver.by_incident().iter().filter_map(|(id, told)| Some((id.clone(), newest(told)?))).collect();
        let waiting = daemon.metrics().await.sum("incidentd_delivery_backlog");
        if told == *ids && waiting == 0.0 {
            Ok(())
        } else {
            Err(format!("{waiting} wait, told are {told:?}, not {ids:?}"))
        }
    })
    .await;
    for (id, deliveries) in receiver.by_incident() {
        let opened = deliveries.iter().filter(|delivery| delivery["action"] == "opened").count();
        assert_eq!((opened, &deliveries[0]["action"]), (1, &Value::from("opened")), "{id}");
    }
}

fn print_funnel(metrics: &Exposition, incidents: &Incidents, receiver: &Receiver) {
    let rule = |name: &str| incidents.keys().filter(|(rule, _)| rule == name).count();
    println!("recording: events {}", metrics.sum("incidentd_events_received_total"));
    println!("recording: alerts {}", metrics.sum("incidentd_alerts"));
    println!(
        "recording: incidents {} (node-fails {}, many-nodes-warn {})",
        incidents.len(),
        rule("node-fails"),
        rule("many-nodes-warn")
    );
    println!("recording: deliveries {} ({} opened)", receiver.unique().len(), receiver.actions("opened"));
    let verdicts = metrics.verdicts().into_iter().filter(|(_, count)| *count > 0);
    println!("recording: verdicts {:?}", verdicts.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_becomes_the_incidents_that_the_rules_say_with_and_without_kills() {
    let mut recording = recording();
    into_the_present(&mut recording);
    let lines: Vec<String> = recording.iter().map(Value::to_string).collect();
    let expected = as_the_rules_say(&recording);
    let broker = Broker::shared();
    broker.create_topics(&["trial-peace", "trial-kills"], 1).await;

    let receiver = Receiver::start_signed().await;
    let peaceful = daemon(broker, "trial-peace", &receiver).await;
    broker.producer().produce_all("trial-peace", 0, &lines).await;
    is_read(&peaceful, broker, "trial-peace", lines.len()).await;
    let metrics = peaceful.metrics().await;
    assert_eq!(metrics.sum("incidentd_events_total"), lines.len() as f64, "every event is accounted for");
    let (incidents, ids) = found(&peaceful).await;
    assert_eq!(incidents, expected);
    is_told(&peaceful, &receiver, &ids).await;
    print_funnel(&metrics, &incidents, &receiver);
    drop(peaceful);

    let receiver = Receiver::start_signed().await;
    let mut killed = daemon(broker, "trial-kills", &receiver).await;
    for (round, lines) in lines.chunks(lines.len().div_ceil(3)).enumerate() {
        broker.producer().produce_all("trial-kills", 0, lines).await;
        if round < 2 {
            let flowing = async || killed.metrics().await.sum("incidentd_events_received_total") > 0.0;
            eventually("events flow", PATIENCE, flowing).await;
            killed.kill9().await;
            killed.restart().await;
        }
    }
    is_read(&killed, broker, "trial-kills", lines.len()).await;
    let (incidents, same_ids) = found(&killed).await;
    assert_eq!(incidents, expected, "with kills");
    assert_eq!(same_ids, ids, "an incident is named alike, whatever happened on the way");
    is_told(&killed, &receiver, &ids).await;
    let repeated = receiver.arrivals().len() - receiver.unique().len();
    println!("recording: with two kills the same, {repeated} deliveries repeated under their ids");
}
