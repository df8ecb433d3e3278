//! Malformed records in a Kafka partition: each goes to the dead-letter topic, and the partition moves on.

use incidentd::proto::Event;
use prost::Message as _;
use rdkafka::message::{Message, OwnedMessage};

use super::{good, is_unharmed, spoilt_members, with_kafka};
use crate::harness::kafka::header;
use crate::harness::{Broker, Daemon, PATIENCE, eventually};

type Poison = (Option<Vec<u8>>, String, String);

/// Records that cannot be read at all, and records whose event is refused.
fn poison() -> Vec<Poison> {
    let deep = "[".repeat(100_000);
    let records: [(Option<&[u8]>, &str); 13] = [
        (None, "E_EMPTY"),
        (Some(b""), "E_EMPTY"),
        (Some(b"\n"), "E_EMPTY"),
        (Some(b"{\"source\":\"\xff\"}"), "E_UTF8"),
        (Some(b"{\"source\":\"s\""), "E_JSON"),
        (Some(b"source: s"), "E_JSON"),
        (Some(b"{\"source\":\"s\"}{\"source\":\"s\"}"), "E_JSON"),
        (Some(deep.as_bytes()), "E_DEPTH"),
        (Some(b"null"), "E_SHAPE"),
        (Some(b"17"), "E_SHAPE"),
        (Some(b"[{\"source\":\"s\"}]"), "E_SHAPE"),
        (Some(b"{\"source\":NaN}"), "E_NUMBER"),
        (Some(b"{}"), "E_MISSING"),
    ];
    let unreadable = records.map(|(record, code)| (record.map(<[u8]>::to_vec), code.to_owned(), String::new()));
    let spoilt = spoilt_members().into_iter().map(|(members, code, place)| {
        // The limit of a record is that of an event, so what is too large for one is refused as a whole.
        (Some(format!(r#"{{"source":"test",{members}}}"#).into_bytes()), code.to_owned(), place.to_owned())
    });
    unreadable.into_iter().chain(spoilt).collect()
}

/// Produces each poison between good records of one partition, and gives the dead letters in their order.
async fn bury(daemon: &Daemon, topic: &str, poison: &[Poison], good: impl Fn(usize) -> Vec<u8>) -> Vec<OwnedMessage> {
    let (broker, producer) = (Broker::shared(), Broker::shared().producer());
    for (index, (record, ..)) in poison.iter().enumerate() {
        producer.produce(topic, 0, Some(&good(index))).await;
        producer.produce(topic, 0, record.as_deref()).await;
    }
    producer.produce(topic, 0, Some(&good(poison.len()))).await;
    let services = poison.len() + 1;
    eventually("all good records are incidents", PATIENCE, async || daemon.incidents("").await.len() == services).await;
    let mut letters = broker.read(&format!("{topic}.dead"), poison.len()).await;
    letters.sort_by_key(|letter| header(letter, "incidentd.dlq.offset").and_then(|offset| offset.parse::<i64>().ok()));
    letters
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_is_buried_with_its_code_and_its_bytes_between_good_ones() {
    let broker = Broker::shared();
    broker.create_topics(&["poison", "poison.dead"], 1).await;
    let daemon = Daemon::start(&with_kafka(broker, "poison", "event", "poison.dead")).await;
    let poison = poison();
    let letters = bury(&daemon, "poison", &poison, |index| good(&format!("s{index}")).into_bytes()).await;
    for (index, (letter, (record, code, place))) in letters.iter().zip(&poison).enumerate() {
        let header = |name: &str| header(letter, &format!("incidentd.dlq.{name}")).unwrap_or_default();
        let told = (header("topic"), header("partition"), header("offset"), header("code"));
        let expected = ("poison".to_owned(), "0".to_owned(), (2 * index + 1).to_string(), code.clone());
        let message = header("message");
        assert_eq!(told, expected, "{message}");
        assert!(message.contains(place), "{place}: {message}");
        assert!(header("group").starts_with("group-") && !header("first_failed_at").is_empty());
        assert_eq!(letter.payload(), record.as_deref(), "the bytes are the original's");
    }
    let metrics = daemon.metrics().await;
    assert_eq!(metrics.value("incidentd_events_total{verdict=\"rejected\"}"), poison.len() as f64);
    assert_eq!(metrics.sum("incidentd_dead_letters_total"), poison.len() as f64);
    is_unharmed(&daemon, poison.len() + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_of_protobuf_is_buried_between_good_ones() {
    let broker = Broker::shared();
    broker.create_topics(&["poison-protobuf", "poison-protobuf.dead"], 1).await;
    let config = with_kafka(broker, "poison-protobuf", "event-protobuf", "poison-protobuf.dead");
    let daemon = Daemon::start(&config).await;
    let plain = Event { source: "s".to_owned(), ..Event::default() }.encode_to_vec();
    let records: [(&[u8], &str); 9] = [
        (&[0x1a, 1, b'x'], "E_SCHEMA"),
        (&[0x08, 1], "E_SCHEMA"),
        (&[0x0a, 5, b'x'], "E_SCHEMA"),
        (&[0xff; 11], "E_SCHEMA"),
        (&[0x9b, 0x06, 0x9c, 0x06], "E_SCHEMA"),
        (&[0x28, 9], "E_ENUM"),
        (&[0x32, 2, 0xc3, 0x28], "E_UTF8"),
        (&[0x3a, 2, 0x0a, 0], "E_LABEL_NAME"),
        (&[0x52, 6, 0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03], "E_TIME"),
    ];
    let poison: Vec<Poison> =
        records.map(|(bytes, code)| (Some([&plain, bytes].concat()), code.to_owned(), String::new())).into();
    let good = |index: usize| crate::harness::events::event("", &format!("s{index}"), "h").encode_to_vec();
    let letters = bury(&daemon, "poison-protobuf", &poison, good).await;
    for (letter, (record, code, _)) in letters.iter().zip(&poison) {
        assert_eq!(header(letter, "incidentd.dlq.code").as_ref(), Some(code));
        assert_eq!(letter.payload(), record.as_deref());
    }
    is_unharmed(&daemon, poison.len() + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_record_of_alertmanager_is_buried_between_good_ones() {
    let broker = Broker::shared();
    broker.create_topics(&["poison-am", "poison-am.dead"], 1).await;
    let daemon = Daemon::start(&with_kafka(broker, "poison-am", "alertmanager", "poison-am.dead")).await;
    let records = [
        ("null", "E_SHAPE"),
        (r#"[{"labels":{"a":"b"}}"#, "E_JSON"),
        (r#"[{"labels":{}}]"#, "E_MISSING"),
        (r#"[{"labels":{"a":1}}]"#, "E_TYPE"),
        (r#"[{"labels":{"a":"b"},"startsAt":"now"}]"#, "E_TIME"),
    ];
    let poison: Vec<Poison> =
        records.map(|(text, code)| (Some(text.as_bytes().to_vec()), code.to_owned(), String::new())).into();
    let good = |index: usize| {
        let far = crate::harness::events::in_seconds(3_600);
        format!(r#"[{{"labels":{{"alertname":"A","service":"s{index}"}},"endsAt":"{far}"}}]"#).into_bytes()
    };
    let letters = bury(&daemon, "poison-am", &poison, good).await;
    for (letter, (record, code, _)) in letters.iter().zip(&poison) {
        assert_eq!(header(letter, "incidentd.dlq.code").as_ref(), Some(code));
        assert_eq!(letter.payload(), record.as_deref());
    }
    is_unharmed(&daemon, poison.len() + 1).await;
}
