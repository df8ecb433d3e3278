//! One bad event spoils no other, and what makes no sense to a person is still kept as it came.

use incidentd::event::{Batch, Code, Severity, Status};
use incidentd::formats::{Decoder, Format, Payload, Shape};
use incidentd::normalise::NormaliseConfig;
use incidentd::proto;
use prost::Message;

use super::{payload, received_at, take, take_with};

#[test]
fn one_bad_event_of_five_hundred_is_rejected_alone() {
    let good = |i: usize| format!(r#"{{"source":"s","labels":{{"host":"h{i}"}}}}"#);
    let events: Vec<String> =
        (0..500).map(|i| if i == 137 { r#"{"source":"s","lables":{"a":[{}]}}"#.into() } else { good(i) }).collect();
    for (shape, body) in [(Shape::Many, format!("[{}]", events.join(","))), (Shape::Lines, events.join("\n"))] {
        let outcome = take(Format::Event, shape, body.as_bytes());
        assert_eq!(outcome.decoded.map(|decoded| decoded.events), Ok(500));
        assert_eq!(outcome.batch.events.len(), 499);
        assert_eq!(outcome.rejects.len(), 1);
        assert_eq!((outcome.rejects[0].index, outcome.rejects[0].code), (137, Code::UnknownField));
        assert!(outcome.batch.events.iter().map(|event| event.index).eq((0..500).filter(|i| *i != 137)));
    }
}

#[test]
fn a_broken_protobuf_event_is_rejected_alone_and_a_broken_request_is_refused() {
    let event = proto::Event { source: "s".into(), ..proto::Event::default() }.encode_to_vec();
    let framed = |event: &[u8]| [&[0x0a, event.len() as u8], event].concat();
    let request = [framed(&event), framed(&[0x0a, 9, b'x']), framed(&event)].concat();
    let outcome = take(Format::EventProtobuf, Shape::Many, &request);
    assert_eq!(outcome.batch.events.len(), 2);
    assert_eq!((outcome.rejects[0].index, outcome.rejects[0].code), (1, Code::Schema));

    let outcome = take(Format::EventProtobuf, Shape::Many, &[framed(&event), vec![0x0a, 9, b'x']].concat());
    assert_eq!(outcome.decoded.map_err(|reject| reject.code), Err(Code::Schema));
    assert!(outcome.batch.events.is_empty() && outcome.rejects.is_empty());

    let outcome = take(Format::EventProtobuf, Shape::Many, &[]);
    assert_eq!(outcome.decoded.map(|decoded| decoded.events), Ok(0), "an empty request is one of no events");
}

#[test]
fn after_a_syntax_error_nothing_of_the_body_is_taken() {
    for body in [r#"[{"source":"s"},{"lables":1},{"source":"s"},]"#, r#"[{"source":"s"}"#, r#"[{"source":"s"}]]"#] {
        let outcome = take(Format::Event, Shape::Many, body.as_bytes());
        assert_eq!(outcome.decoded.map_err(|reject| reject.code), Err(Code::Json), "{body}");
        assert!(outcome.batch.events.is_empty() && outcome.rejects.is_empty(), "{body}");
    }
}

#[test]
fn bad_lines_are_rejected_alone() {
    let body =
        b"{\"source\":\"a\"}\r\n\n  \nnot json\n{\"source\":\"\xff\"}\n[]\n{\"source\":\"b\"} x\n{\"source\":\"c\"}";
    let outcome = take(Format::Event, Shape::Lines, body);
    let sources: Vec<_> =
        outcome.batch.events.iter().map(|event| (event.index, outcome.batch.text(event.source))).collect();
    assert_eq!(sources, [(0, "a"), (5, "c")]);
    let rejects: Vec<_> = outcome.rejects.iter().map(|reject| (reject.index, reject.code)).collect();
    assert_eq!(rejects, [(1, Code::Json), (2, Code::Utf8), (3, Code::Shape), (4, Code::Json)]);
    assert!(outcome.rejects[0].message.starts_with("4:1 expected a value"), "{}", outcome.rejects[0].message);
    assert!(outcome.rejects[1].message.starts_with("at byte 40"), "{}", outcome.rejects[1].message);
}

#[test]
fn lines_are_recognised_without_being_announced() {
    let outcome = take(Format::Event, Shape::Many, b"{\"source\":\"a\"}\n{\"source\":\"b\"}\nnot json\n");
    assert_eq!(outcome.decoded.map(|decoded| decoded.events), Ok(3));
    assert_eq!((outcome.batch.events.len(), outcome.rejects.len()), (2, 1));
}

#[test]
fn an_empty_array_holds_no_events() {
    for format in [Format::Event, Format::Alertmanager] {
        assert_eq!(take(format, Shape::Many, b" [ ] ").decoded.map(|decoded| decoded.events), Ok(0));
    }
}

#[test]
fn odd_texts_are_kept_as_they_came() {
    let values =
        ["a\0b", "a\r\nb: c", "\u{1b}[31mred", "\u{202e}rtl", "<script>alert(1)</script>", "{{ 7*7 }}", "%s${jndi:x}"];
    for value in values {
        let event = serde_json::json!({
            "source": "s",
            "summary": value,
            "labels": {"a": value},
            "links": [{"rel": "x", "href": "javascript:alert(1)"}],
        });
        let outcome = take(Format::Event, Shape::One, event.to_string().as_bytes());
        let [event] = &outcome.batch.events[..] else { panic!("{value:?} is taken") };
        assert_eq!(outcome.batch.text(event.summary), value);
        assert_eq!(outcome.batch.label(event, "a"), Some(value));
        assert_eq!(outcome.batch.texts(event.links).next(), Some(("x", "javascript:alert(1)")));
    }
}

#[test]
fn names_that_look_alike_are_different_labels() {
    // Latin and Cyrillic; one character and two that compose it.
    let labels = ["\"a\":\"1\",\"\u{430}\":\"2\"", "\"\u{e9}\":\"1\",\"e\u{301}\":\"2\""];
    for labels in labels {
        let outcome = take(Format::Event, Shape::One, format!(r#"{{"source":"s","labels":{{{labels}}}}}"#).as_bytes());
        assert_eq!(outcome.batch.events[0].labels.len(), 2, "{labels}");
    }
}

#[test]
fn a_label_named_like_a_field_stays_a_label() {
    let body = br#"{"source":"s","severity":"critical","labels":{"severity":"info","source":"x","id":"y"}}"#;
    let outcome = take(Format::Event, Shape::One, body);
    let event = &outcome.batch.events[0];
    assert_eq!((event.severity, outcome.batch.text(event.source)), (Severity::Critical, "s"));
    assert_eq!(outcome.batch.label(event, "severity"), Some("info"));
}

#[test]
fn ten_years_off_is_taken_at_the_receive_time() {
    for time in ["2016-01-31T12:00:00Z", "2036-01-31T12:00:00Z"] {
        let body = format!(r#"{{"source":"s","occurred_at":"{time}","ends_at":"{}"}}"#, time.replace("T12", "T13"));
        let outcome = take(Format::Event, Shape::One, body.as_bytes());
        let event = &outcome.batch.events[0];
        assert!(event.clamped);
        assert_eq!((outcome.normalised.clamped, event.occurred_at), (1, Some(received_at())));
        let lease = event.ends_at.map(|ends_at| ends_at.to_string());
        let expected = time.starts_with("2036").then(|| "2026-01-31T13:00:00Z".to_owned());
        assert_eq!(lease, expected, "ahead: the lease keeps its length; behind: it is the default one");
    }
}

#[test]
fn alerts_are_resolved_by_their_end_and_repeats_happen_at_their_start() {
    let alert = |ends_at: &str| {
        let body = format!(r#"[{{"labels":{{"a":"b"}},"startsAt":"2026-01-31T11:00:00Z","endsAt":"{ends_at}"}}]"#);
        let outcome = take(Format::Alertmanager, Shape::Many, body.as_bytes());
        let event = outcome.batch.events[0];
        let text = |time: Option<incidentd::event::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        (event.status, text(event.occurred_at), text(event.ends_at))
    };
    let start = "2026-01-31T11:00:00Z".to_owned();
    let lease = "2026-01-31T12:04:00Z".to_owned();
    assert_eq!(alert(&lease), (Status::Firing, start.clone(), lease));
    assert_eq!(alert("0001-01-01T00:00:00Z"), (Status::Firing, start, String::new()));
    let end = "2026-01-31T12:00:00Z".to_owned();
    assert_eq!(alert(&end), (Status::Resolved, end, String::new()), "an end that is now is in the past");
}

#[test]
fn kafka_records_share_a_batch_and_the_listener_knows_the_source() {
    let records = [r#"{"id":"1"}"#, r#"{"id":"#, r#"{"id":"3","source":"own"}"#, ""];
    let mut batch = Batch::new(records.concat().into(), received_at());
    let source = batch.intern("shipper");
    let decoder = Decoder::default();
    let (mut rejects, mut start, mut refused) = (Vec::new(), 0, Vec::new());
    for (index, record) in records.iter().enumerate() {
        let span = start..start + record.len();
        let payload = Payload { first_index: index as u32, source, ..payload(Format::Event, Shape::One, span) };
        refused.extend(decoder.decode(&payload, &mut batch, &mut rejects).err());
        start += record.len();
    }
    let taken: Vec<_> = batch.events.iter().map(|e| (e.index, batch.text(e.id), batch.text(e.source))).collect();
    assert_eq!(taken, [(0, "1", "shipper"), (2, "3", "own")]);
    let refused: Vec<_> = refused.iter().map(|reject| (reject.index, reject.code, &reject.message[..4])).collect();
    assert_eq!(refused, [(1, Code::Json, "1:7 "), (3, Code::Empty, "ther")]);
}

#[test]
fn a_configured_key_label_that_is_missing_is_said_and_never_merges_alerts() {
    let config = |labels: &[&str]| NormaliseConfig {
        fingerprint_labels: Some(labels.iter().map(|label| (*label).to_owned()).collect()),
        scope: vec!["cluster".into()],
        ..NormaliseConfig::default()
    };
    let body = br#"[{"source":"s","labels":{"host":"a","cpu":"1"}},{"source":"s","labels":{"host":"a","cpu":"2"}},
        {"source":"s","labels":{"x":"1"}},{"source":"s","labels":{"x":"2","cluster":""}}]"#;
    let outcome = take_with(config(&["zone", "host"]), Format::Event, Shape::Many, body);
    assert_eq!(outcome.normalised.key_label_missing, 4);
    let events = &outcome.batch.events;
    assert_eq!(events[0].fingerprint, events[1].fingerprint, "host alone tells them apart");
    assert_ne!(events[0].content, events[1].content, "another label is a change");
    assert_ne!(events[2].fingerprint, events[3].fingerprint, "without any configured label, all labels count");
    assert_eq!(events[0].scope, events[2].scope);
    assert_ne!(events[2].scope, events[3].scope, "a missing label is not an empty one");
    assert!(outcome.normalised.first_missing.is_some());
    let outcome = take_with(config(&["host"]), Format::Alertmanager, Shape::Many, br#"[{"labels":{"x":"1"}}]"#);
    assert_eq!(outcome.normalised.key_label_missing, 0, "alertmanager identifies by all labels");
}

#[test]
fn the_same_event_has_the_same_identity_in_every_format_and_order() {
    let event = proto::Event {
        id: "1".into(),
        source: "s".into(),
        labels: [("b".to_owned(), "2".to_owned()), ("a".into(), "1".into())].into(),
        ..proto::Event::default()
    };
    let outcomes = [
        take(Format::EventProtobuf, Shape::One, &event.encode_to_vec()),
        take(Format::Event, Shape::One, br#"{"id":"1","source":"s","labels":{"b":"2","a":"1"}}"#),
        take(Format::Event, Shape::One, br#"{"labels":{"a":"\u0031","b":"2"},"source":"s","id":"1"}"#),
    ];
    let identity = |outcome: &super::Outcome| {
        let event = outcome.batch.events[0];
        (event.fingerprint, event.key, event.scope, event.content)
    };
    assert_eq!(identity(&outcomes[0]), identity(&outcomes[1]));
    assert_eq!(identity(&outcomes[1]), identity(&outcomes[2]));
}
