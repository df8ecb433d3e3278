//! Properties that hold for every input: round trips against serde_json and prost, and no panic on any bytes.

use std::collections::BTreeMap;

use incidentd::event::{Batch, Event, Pairs, Timestamp};
use incidentd::formats::{Format, Shape};
use incidentd::proto;
use proptest::prelude::*;
use prost::Message;

use super::take;

type Texts = BTreeMap<String, String>;

// By number in the schema.
const KINDS: [&str; 4] = ["alert", "alert", "change", "heartbeat"];
const STATUSES: [&str; 3] = ["firing", "firing", "resolved"];
const SEVERITIES: [&str; 5] = ["warning", "critical", "error", "warning", "info"];

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9 ]{0,40}", "\\PC{0,20}", any::<String>().prop_map(|text| text.chars().take(30).collect())]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_]{1,20}", "[^\\p{Cc}]{1,10}"].prop_filter("reserved", |name| name != "__proto__")
}

fn texts() -> impl Strategy<Value = Texts> {
    prop::collection::btree_map(name(), text(), 0..12)
}

/// Within a day before the receive time, to the microsecond.
fn time() -> impl Strategy<Value = Option<prost_types::Timestamp>> {
    prop::option::of(
        (0..86_000_i64, 0..1_000_000_i32).prop_map(|(age, micros)| prost_types::Timestamp {
            seconds: 1_769_860_800 - 1 - age,
            nanos: micros * 1_000,
        }),
    )
}

fn links() -> impl Strategy<Value = Vec<proto::Link>> {
    let href = text().prop_map(|text| format!("https://{text}"));
    prop::collection::vec((text(), href).prop_map(|(rel, href)| proto::Link { rel, href }), 0..3)
}

fn event() -> impl Strategy<Value = proto::Event> {
    let texts = (text(), "[a-z]{1,10}", text(), texts(), texts(), text());
    (texts, 0..4_i32, 0..3_i32, 0..5_i32, time(), links()).prop_map(
        |((id, source, summary, labels, annotations, dedup_key), kind, status, severity, occurred_at, links)| {
            proto::Event {
                id,
                source,
                kind,
                status,
                severity,
                summary,
                labels: labels.into_iter().collect(),
                annotations: annotations.into_iter().collect(),
                dedup_key,
                occurred_at,
                ends_at: None,
                links,
            }
        },
    )
}

fn time_of(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_parts(time.seconds, time.nanos)
}

fn sorted(batch: &Batch, pairs: Pairs) -> Vec<(String, String)> {
    batch.texts(pairs).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn assert_same(batch: &Batch, event: &Event, expected: &proto::Event) {
    assert_eq!(batch.text(event.id), expected.id);
    assert_eq!(batch.text(event.source), expected.source);
    assert_eq!(batch.text(event.summary), expected.summary);
    assert_eq!(batch.text(event.dedup_key), expected.dedup_key);
    let labels: BTreeMap<_, _> = expected.labels.clone().into_iter().collect();
    assert_eq!(sorted(batch, event.labels), labels.into_iter().collect::<Vec<_>>());
    let annotations: BTreeMap<_, _> = expected.annotations.clone().into_iter().collect();
    assert_eq!(sorted(batch, event.annotations), annotations.into_iter().collect::<Vec<_>>());
    let links: Vec<_> = expected.links.iter().map(|link| (link.rel.clone(), link.href.clone())).collect();
    assert_eq!(sorted(batch, event.links), links);
    assert_eq!(event.kind.as_str(), KINDS[expected.kind as usize]);
    assert_eq!(event.status.as_str(), STATUSES[expected.status as usize]);
    assert_eq!(event.severity.as_str(), SEVERITIES[expected.severity as usize]);
    if let Some(time) = &expected.occurred_at {
        assert_eq!(event.occurred_at, Some(time_of(time)));
    }
}

fn as_json(event: &proto::Event) -> serde_json::Value {
    let mut json = serde_json::json!({
        "id": event.id,
        "source": event.source,
        "kind": KINDS[event.kind as usize],
        "status": STATUSES[event.status as usize],
        "severity": SEVERITIES[event.severity as usize],
        "summary": event.summary,
        "labels": event.labels,
        "annotations": event.annotations,
        "dedup_key": event.dedup_key,
        "occurred_at": event.occurred_at.as_ref().map(|time| time_of(time).to_string()),
        "ends_at": null,
    });
    json["links"] = event.links.iter().map(|link| serde_json::json!({"rel": link.rel, "href": link.href})).collect();
    json
}

/// A field that our schema does not have, of any wire type but groups.
fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        any::<u64>().prop_map(|value| (0_u32, encoded(|out| prost::encoding::encode_varint(value, out)))),
        any::<[u8; 8]>().prop_map(|bytes| (1, bytes.to_vec())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| (2, [vec![bytes.len() as u8], bytes].concat())),
        any::<[u8; 4]>().prop_map(|bytes| (5, bytes.to_vec())),
    ];
    (13..536_870_911_u32, payload).prop_map(|(number, (wire_type, payload))| {
        let tag = encoded(|out| prost::encoding::encode_varint(u64::from(number << 3 | wire_type), out));
        [tag, payload].concat()
    })
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// The fields of a message, each with its tag, in another order.
fn shuffled(event: &proto::Event, seed: usize) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let single = |change: &dyn Fn(&mut proto::Event)| {
        let mut part = proto::Event::default();
        change(&mut part);
        part.encode_to_vec()
    };
    let rest = proto::Event { labels: [].into(), annotations: [].into(), links: vec![], ..event.clone() };
    parts.push(rest.encode_to_vec());
    for (name, value) in &event.labels {
        parts.push(single(&|part| part.labels = [(name.clone(), value.clone())].into()));
    }
    for (name, value) in &event.annotations {
        parts.push(single(&|part| part.annotations = [(name.clone(), value.clone())].into()));
    }
    let len = parts.len();
    for at in 0..len {
        parts.swap(at, (at * 7 + seed) % len);
    }
    for link in &event.links {
        parts.insert((seed + link.href.len()) % parts.len(), single(&|part| part.links = vec![link.clone()]));
    }
    parts.concat()
}

proptest! {
    #[test]
    fn json_of_serde_json_reads_back(events in prop::collection::vec(event(), 0..4), pretty: bool) {
        let documents: Vec<_> = events.iter().map(as_json).collect();
        let body = if pretty { serde_json::to_vec_pretty(&documents) } else { serde_json::to_vec(&documents) };
        let outcome = take(Format::Event, Shape::Many, &body.expect("JSON"));
        prop_assert_eq!(&outcome.rejects, &[]);
        prop_assert_eq!(outcome.batch.events.len(), events.len());
        for (event, expected) in outcome.batch.events.iter().zip(&events) {
            assert_same(&outcome.batch, event, expected);
        }
    }

    #[test]
    fn the_walker_agrees_with_prost(events in prop::collection::vec(event(), 0..4), unknown in unknown_field()) {
        let mut body = unknown.clone();
        for event in &events {
            let event = [&unknown, &event.encode_to_vec()[..], &unknown].concat();
            body.push(0x0a);
            prost::encoding::encode_varint(event.len() as u64, &mut body);
            body.extend(event);
        }
        let decoded = proto::PushRequest::decode(&body[..]).expect("prost reads it").events;
        let outcome = take(Format::EventProtobuf, Shape::Many, &body);
        prop_assert_eq!(&outcome.rejects, &[]);
        prop_assert_eq!(outcome.batch.events.len(), decoded.len());
        for (event, expected) in outcome.batch.events.iter().zip(&decoded) {
            assert_same(&outcome.batch, event, expected);
        }
    }

    #[test]
    fn entries_of_maps_may_come_in_turns(event in event(), seed in 0..100_usize) {
        let body = shuffled(&event, seed);
        let expected = proto::Event::decode(&body[..]).expect("prost reads it");
        let outcome = take(Format::EventProtobuf, Shape::One, &body);
        prop_assert_eq!(&outcome.rejects, &[]);
        assert_same(&outcome.batch, &outcome.batch.events[0], &expected);
    }

    #[test]
    fn no_mutation_panics_or_makes_text_that_is_not_utf8(
        event in event(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let alert = serde_json::json!([{"labels": event.labels, "annotations": event.annotations,
            "startsAt": "2026-01-31T11:00:00Z", "endsAt": "2026-01-31T12:05:00Z", "generatorURL": "http://x/&"}]);
        let framed = proto::PushRequest { events: vec![event.clone()] };
        for (format, body) in [
            (Format::Event, as_json(&event).to_string().into_bytes()),
            (Format::Alertmanager, alert.to_string().into_bytes()),
            (Format::EventProtobuf, event.encode_to_vec()),
            (Format::EventProtobuf, framed.encode_to_vec()),
        ] {
            let mut body = body;
            for (at, byte) in edits.iter().filter(|_| !body.is_empty()).collect::<Vec<_>>() {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            if cut.index(3) == 0 {
                body.truncate(cut.index(body.len() + 1));
            }
            for shape in [Shape::One, Shape::Many, Shape::Lines] {
                super::render(&take(format, shape, &body));
            }
        }
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\",:a0\\\\ \\n]{0,60}") {
        for format in [Format::Event, Format::EventProtobuf, Format::Alertmanager] {
            for shape in [Shape::One, Shape::Many, Shape::Lines] {
                super::render(&take(format, shape, &body));
                super::render(&take(format, shape, json.as_bytes()));
            }
        }
    }
}
