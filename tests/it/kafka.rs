//! The daemon against a real Kafka broker: formats, dead letters, positions, crashes on both sides, rebalances, and
//! the sink.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use prost::Message as _;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::Message;
use serde_json::Value;

use crate::harness::events::{event, event_json, in_seconds};
use crate::harness::kafka::{header, records, source, steadily};
use crate::harness::{Broker, Daemon, PATIENCE, attempt, eventually};

const RULES: &str = "resolve_timeout: 1h\n\
    rules: [{ name: by-service, group_by: [service], window: 1h, update_interval: 1s }]\n";

fn config(sources: &[String]) -> String {
    format!("{RULES}sources: {{ kafka: [{}] }}\n", sources.join(", "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_every_format_become_incidents() {
    let broker = Broker::shared();
    broker.create_topics(&["in-event", "in-protobuf", "in-alertmanager"], 2).await;
    let sources = [
        source(broker, "json", "in-event", "event", None),
        source(broker, "protobuf", "in-protobuf", "event-protobuf", None),
        source(broker, "alertmanager", "in-alertmanager", "alertmanager", None),
    ];
    let daemon = Daemon::start(&config(&sources)).await;
    let producer = broker.producer();
    producer.produce("in-event", 0, Some(event_json("1", "json", "h").as_bytes())).await;
    producer.produce("in-protobuf", 1, Some(&event("2", "protobuf", "h").encode_to_vec())).await;
    let alert = |service: &str| {
        format!(r#"{{"labels":{{"alertname":"A","service":"{service}"}},"endsAt":"{}"}}"#, in_seconds(3_600))
    };
    let array = format!("[{},{}]", alert("array-1"), alert("array-2"));
    producer.produce("in-alertmanager", 0, Some(array.as_bytes())).await;
    attempt("there are four incidents", PATIENCE, async || {
        let incidents = daemon.incidents("").await;
        if incidents.len() == 4 { Ok(()) } else { Err(format!("{incidents:?} {:#?}", daemon.log_lines())) }
    })
    .await;
    let metrics = daemon.is_sound().await;
    for (name, events) in [("json", 1.0), ("protobuf", 1.0), ("alertmanager", 2.0)] {
        let series = format!("incidentd_events_received_total{{source=\"{name}\"}}");
        assert_eq!(metrics.value(&series), events, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_not_passed_before_the_dead_letter_is_written_even_if_the_daemon_dies() {
    let broker = Broker::shared();
    broker.create_topics(&["dead-late"], 1).await;
    let sources = [source(broker, "alerts", "dead-late", "event", Some("dead-late.dead"))];
    let mut daemon = Daemon::start(&config(&sources)).await;
    let producer = broker.producer();
    producer.produce("dead-late", 0, Some(event_json("1", "before", "h").as_bytes())).await;
    eventually("the first is taken", PATIENCE, async || daemon.counted().await == 1).await;
    producer.produce("dead-late", 0, Some(b"poison")).await;
    producer.produce("dead-late", 0, Some(event_json("2", "after", "h").as_bytes())).await;
    let stuck = |line: &String| line.contains("dead letter") || line.contains("dead-late.dead");
    eventually("it says that the letter cannot be written", PATIENCE, async || daemon.log_lines().iter().any(stuck))
        .await;
    assert_eq!(daemon.counted().await, 1, "nothing behind the poison is taken");
    assert_eq!(daemon.get("/-/ready").await.0, 200, "the other doors stay open");
    daemon.kill9().await;
    broker.create_topics(&["dead-late.dead"], 1).await;
    daemon.restart().await;
    daemon.counts(2).await;
    let letters = broker.read("dead-late.dead", 1).await;
    assert_eq!(
        (letters[0].payload(), header(&letters[0], "incidentd.dlq.offset")),
        (Some(&b"poison"[..]), Some("1".into()))
    );
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_a_kill_reads_nothing_twice_and_the_group_offset_follows() {
    let broker = Broker::shared();
    broker.create_topics(&["positions"], 3).await;
    let mut daemon = Daemon::start(&config(&[source(broker, "alerts", "positions", "event", None)])).await;
    let producer = broker.producer();
    for partition in 0..3 {
        producer.produce_all("positions", partition, &records(500)).await;
    }
    daemon.counts(1_500).await;
    for round in 1..=3 {
        daemon.kill9().await;
        producer.produce_all("positions", 1, &records(100)).await;
        daemon.restart().await;
        daemon.counts(1_500 + round * 100).await;
        let received = daemon.is_sound().await.value("incidentd_events_received_total{source=\"alerts\"}");
        assert_eq!(received, 100.0, "only what is new was read in round {round}");
    }
    attempt("the group's offsets are where the store is", PATIENCE, async || {
        let committed = broker.committed("group-alerts-positions", "positions", 3).await;
        if committed == 1_800 { Ok(()) } else { Err(format!("{committed}")) }
    })
    .await;
    eventually("there is no lag", PATIENCE, async || {
        let metrics = daemon.metrics().await;
        let idle = "incidentd_kafka_lag{topic=\"positions\",partition=\"2\"} 0";
        metrics.text.contains(idle) && metrics.sum("incidentd_kafka_lag") == 0.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_crashes_under_load_loses_and_doubles_nothing() {
    let broker = Broker::start("kafka-crash").expect("a broker");
    broker.create_topics(&["crash", "told"], 2).await;
    let sink = format!("{{ name: stream, type: kafka, brokers: ['{}'], topic: told }}", broker.address);
    let source = source(&broker, "alerts", "crash", "event", None);
    let daemon = Daemon::start(&format!("{}sinks: [{sink}]\n", config(&[source]))).await;
    let (stop, producing) = steadily(broker.producer(), "crash");
    eventually("events flow", PATIENCE, async || daemon.counted().await > 200).await;
    for round in 0..2 {
        let pushed = async {
            // While the broker is away, the other doors are as open as ever.
            let service = format!("aside-{round}");
            daemon.push_json(&[event_json(&service, &service, "h")]).await;
        };
        tokio::join!(broker.crash_and_restart(), pushed);
        let before = daemon.counted().await;
        eventually("events flow again", PATIENCE, async || daemon.counted().await > before + 200).await;
    }
    stop.store(true, Ordering::Relaxed);
    let produced = producing.await.expect("all was produced");
    daemon.counts(produced + 2).await;
    daemon.is_sound().await;
    let told = told_incidents(&broker, "told", daemon.incidents("").await.len()).await;
    assert!(told.values().all(|deliveries| deliveries[0]["action"] == "opened"), "{told:#?}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_joins_and_leaves_costs_and_doubles_no_event() {
    let broker = Broker::shared();
    broker.create_topics(&["rebalance"], 2).await;
    let daemon = Daemon::start(&config(&[source(broker, "alerts", "rebalance", "event", None)])).await;
    let (stop, producing) = steadily(broker.producer(), "rebalance");
    eventually("events flow", PATIENCE, async || daemon.counted().await > 200).await;
    for _ in 0..2 {
        let guest = broker.consumer("group-alerts-rebalance");
        guest.subscribe(&["rebalance"]).expect("subscribed");
        // It takes a partition over, reads some of it, and even says so.
        for _ in 0..20 {
            let record =
                tokio::time::timeout(PATIENCE, guest.recv()).await.expect("a record in time").expect("a record");
            StreamConsumer::commit_message(&guest, &record, rdkafka::consumer::CommitMode::Sync).expect("committed");
        }
        guest.unsubscribe();
        drop(guest);
        let before = daemon.counted().await;
        eventually("events flow again", PATIENCE, async || daemon.counted().await > before + 200).await;
    }
    stop.store(true, Ordering::Relaxed);
    let produced = producing.await.expect("all was produced");
    daemon.counts(produced).await;
    let metrics = daemon.is_sound().await;
    assert!(metrics.sum_where("incidentd_kafka_rebalances_total", "kind=\"revoked\"") >= 2.0, "{}", metrics.text);
}

/// The deliveries of so many incidents from a topic, each id once, in their order.
async fn told_incidents(broker: &Broker, topic: &str, incidents: usize) -> BTreeMap<String, Vec<Value>> {
    attempt("every incident was told", PATIENCE, async || {
        let count = broker.end(topic).await as usize;
        let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for record in broker.read(topic, count).await {
            let document: Value = serde_json::from_slice(record.payload().expect("a body")).expect("JSON");
            let incident = document["incident_id"].as_str().expect("an id").to_owned();
            assert_eq!(record.key(), Some(incident.as_bytes()), "the key is the incident");
            assert_eq!(header(&record, "delivery_id").as_deref(), document["delivery_id"].as_str());
            let deliveries = told.entry(incident).or_default();
            let number = |document: &Value| document["sequence"].as_u64();
            match deliveries.last() {
                Some(last) if number(last) == number(&document) => assert_eq!(*last, document, "a repeat differs"),
                Some(last) if number(last) > number(&document) => {
                    assert!(deliveries.contains(&document), "out of order: {document}");
                }
                _ => deliveries.push(document),
            }
        }
        if told.len() == incidents { Ok(told) } else { Err(format!("{} of {incidents}", told.len())) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kafka_sink_tells_each_incident_in_order_under_its_key() {
    let broker = Broker::shared();
    broker.create_topics(&["out"], 4).await;
    let sink = format!("{{ name: stream, type: kafka, brokers: ['{}'], topic: out }}", broker.address);
    let mut daemon = Daemon::start(&format!("{RULES}sinks: [{sink}]\n")).await;
    for round in 0..3 {
        let events: Vec<String> =
            (0..20).map(|n| event_json(&format!("{round}-{n}"), &format!("s{n}"), &format!("h{round}"))).collect();
        daemon.push_json(&events).await;
        daemon.kill9().await;
        daemon.restart().await;
    }
    let mut told = told_incidents(broker, "out", 20).await;
    let all = |told: &BTreeMap<String, Vec<Value>>| {
        told.values().all(|deliveries| deliveries.last().is_some_and(|last| last["incident"]["alerts"]["total"] == 3))
    };
    attempt("each third alert was told", PATIENCE, async || {
        told = told_incidents(broker, "out", 20).await;
        if all(&told) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    for deliveries in told.values() {
        let opened = deliveries.iter().filter(|delivery| delivery["action"] == "opened").count();
        assert_eq!((opened, &deliveries[0]["action"]), (1, &Value::from("opened")));
    }
    daemon.is_sound().await;
}
