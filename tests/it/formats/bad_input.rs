//! The catalogue of bad input: every entry is answered with its code, its place and no more than 64 bytes of echo.

use std::fmt::Write;

use incidentd::event::{Code, Limits};
use incidentd::formats::{Format, Shape};
use incidentd::normalise::NormaliseConfig;
use incidentd::proto;
use prost::Message;

use super::{small_limits, take, take_with};

/// The code and the place of the only fault in an input, whether it refuses the payload or rejects the event.
fn fault(format: Format, shape: Shape, input: &[u8]) -> String {
    let outcome = take(format, shape, input);
    assert!(outcome.batch.events.is_empty(), "nothing is taken of {}", String::from_utf8_lossy(input));
    let reject = match outcome.decoded {
        Err(reject) => reject,
        Ok(_) => outcome.rejects.into_iter().next().expect("a reject"),
    };
    assert!(!reject.message.is_empty() && reject.message.len() < 400, "{reject}");
    assert!(!reject.to_string().contains(char::is_control), "{reject}");
    format!("{} {}", reject.code.as_str(), reject.field).trim_end().to_owned()
}

fn json_fault(members: &str) -> String {
    fault(Format::Event, Shape::One, format!(r#"{{"source":"s",{members}}}"#).as_bytes())
}

#[test]
fn a_bad_record_is_named_by_code() {
    let deep = "[".repeat(100_000);
    let deep_value = format!(r#"{{"source":"s","labels":{{"a":{}"#, r#"{"a":"#.repeat(100_000));
    let cases: [(&[u8], &str); 20] = [
        (b"", "E_EMPTY"),
        (b" \n", "E_EMPTY"),
        (b"{\"source\":\"\xff\"}", "E_UTF8"),
        (b"{\"source\":\"s\"", "E_JSON"),
        (b"{\"source\":\"s", "E_JSON"),
        (b"{\"source\":\"s\"}x", "E_JSON"),
        (b"{\"source\":\"s\"}{\"source\":\"s\"}", "E_JSON"),
        (b"source: s", "E_JSON"),
        (deep.as_bytes(), "E_DEPTH"),
        (deep_value.as_bytes(), "E_DEPTH"),
        (b"[{\"source\":\"s\"}]", "E_SHAPE"),
        (b"null", "E_SHAPE"),
        (b"17", "E_SHAPE"),
        (b"\"text\"", "E_SHAPE"),
        (b"{}", "E_MISSING /source"),
        (b"{\"source\":null}", "E_MISSING /source"),
        (b"{\"source\":\"\"}", "E_MISSING /source"),
        (b"{\"source\":NaN}", "E_NUMBER"),
        (b"{\"source\":-Infinity}", "E_NUMBER"),
        (b"{\"source\":\"a\x00b\"}", "E_JSON"),
    ];
    for (input, expected) in cases {
        assert_eq!(fault(Format::Event, Shape::One, input), expected, "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn a_bad_field_is_named_by_code_and_place() {
    let cases = [
        (r#""severity":3"#, "E_TYPE /severity"),
        (r#""severity":1e999"#, "E_NUMBER /severity"),
        (r#""id":18446744073709551616"#, "E_NUMBER /id"),
        (r#""id":-9223372036854775809"#, "E_NUMBER /id"),
        (r#""id":18446744073709551615"#, "E_TYPE /id"),
        (r#""severity":"catastrophic""#, "E_ENUM /severity"),
        (r#""kind":"Alert""#, "E_ENUM /kind"),
        (r#""status":"""#, "E_ENUM /status"),
        (r#""labels":["a"]"#, "E_TYPE /labels"),
        (r#""labels":{"a":1}"#, "E_TYPE /labels/a"),
        (r#""labels":{"a":null}"#, "E_TYPE /labels/a"),
        (r#""labels":{"a":{"b":[1,2,{}]}}"#, "E_TYPE /labels/a"),
        (r#""annotations":{"a/b":true}"#, "E_TYPE /annotations/a~1b"),
        (r#""labels":{"a":"1","severity":"x","a":"2"}"#, "E_DUP_KEY /labels/a"),
        (r#""labels":{"severity":"x","severity":"x"}"#, "E_DUP_KEY /labels/severity"),
        (r#""labels":{"severity":"x","\u0073everity":"y"}"#, "E_DUP_KEY /labels/severity"),
        (r#""severity":"info","severity":"info""#, "E_DUP_KEY /severity"),
        (r#""links":[{"href":"a","href":"b"}]"#, "E_DUP_KEY /links/0/href"),
        (r#""links":[{"href":"a"},{"rel":"b"}]"#, "E_MISSING /links/1/href"),
        (r#""links":[{"href":"a","hreff":"b"}]"#, "E_UNKNOWN_FIELD /links/0/hreff"),
        (r#""links":["a"]"#, "E_TYPE /links/0"),
        (r#""links":{}"#, "E_TYPE /links"),
        (r#""lables":{}"#, "E_UNKNOWN_FIELD /lables"),
        (r#""x\ny":{}"#, r"E_UNKNOWN_FIELD /x\ny"),
        (r#""summary":"\ud800""#, "E_UTF8 /summary"),
        (r#""labels":{"":"x"}"#, "E_LABEL_NAME /labels/"),
        (r#""labels":{"__proto__":"x"}"#, "E_LABEL_NAME /labels/__proto__"),
        (r#""labels":{"a\u0000":"x"}"#, r"E_LABEL_NAME /labels/a\0"),
        (r#""labels":{"a\u0085é":"x"}"#, r"E_LABEL_NAME /labels/a\u{85}é"),
        (r#""annotations":{"\t":"x"}"#, r"E_LABEL_NAME /annotations/\t"),
        (r#""occurred_at":"2026-01-31T12:00:00Z","ends_at":"2026-01-31T11:59:59Z""#, "E_TIME_ORDER /ends_at"),
    ];
    for (members, expected) in cases {
        assert_eq!(json_fault(members), expected, "{members}");
    }
}

#[test]
fn a_time_that_is_no_rfc_3339_is_refused_and_a_leap_second_is_not() {
    for time in ["yesterday", "2026-01-31T12:00:00", "2026-01-31T24:00:00Z", "2026-02-30T12:00:00Z", "1769860800"] {
        assert_eq!(json_fault(&format!(r#""occurred_at":"{time}""#)), "E_TIME /occurred_at", "{time}");
    }
    let outcome = take(Format::Event, Shape::One, br#"{"source":"s","occurred_at":"2026-01-31T11:59:60Z"}"#);
    let time = outcome.batch.events[0].occurred_at.expect("normalised").to_string();
    assert_eq!(time, "2026-01-31T11:59:59.999999Z");
}

#[test]
fn messages_name_the_place_and_the_remedy() {
    let message = |input: &str| {
        let outcome = take(Format::Event, Shape::One, input.as_bytes());
        outcome.decoded.err().or(outcome.rejects.into_iter().next()).expect("a fault").to_string()
    };
    for (input, expected) in [
        (r#"{"source":"s","lables":{}}"#, r#"E_UNKNOWN_FIELD /lables: no such field "lables"; did you mean labels?"#),
        (r#"{"source":"s","severity":3}"#, "E_TYPE /severity: expected a string, not a number"),
        (
            r#"{"source":"s","severity":"bad"}"#,
            r#"E_ENUM /severity: one of critical, error, warning, info required, not "bad""#,
        ),
        ("{\n  \"source\": \"é\" 1}", r#"E_JSON: 2:17 expected "," or "}", found "1""#),
        (r#"{"source":"s""#, r#"E_JSON: 1:14 expected "," or "}", found the end"#),
    ] {
        assert_eq!(message(input), expected);
    }
}

#[test]
fn a_record_of_one_byte_too_many_is_too_large() {
    let record = |bytes: usize| {
        let rest = r#"{"source":"s","summary":""}"#.len();
        format!(r#"{{"source":"s","summary":"{}"}}"#, "x".repeat(bytes - rest)).into_bytes()
    };
    let limits = Limits { label_value_bytes: incidentd::event::ByteSize(1 << 20), ..Limits::default() };
    let config = NormaliseConfig { limits, ..NormaliseConfig::default() };
    let outcome = take_with(config.clone(), Format::Event, Shape::One, &record(1 << 20));
    assert_eq!(outcome.batch.events.len(), 1);
    let outcome = take_with(config.clone(), Format::Event, Shape::One, &record((1 << 20) + 1));
    let reject = outcome.decoded.expect_err("too large");
    assert_eq!((reject.code, &reject.message[..15]), (Code::TooLarge, "1048577>1048576"));

    let mut request = b"[".to_vec();
    request.extend(record((1 << 20) + 1));
    request.extend(b",");
    request.extend(record(1 << 20));
    request.extend(b"]");
    let outcome = take_with(config, Format::Event, Shape::Many, &request);
    assert_eq!(outcome.batch.events.len(), 1, "only the large one is rejected");
    assert_eq!(outcome.rejects[0].code, Code::TooLarge);
}

#[test]
fn limits_of_labels_are_kept() {
    let many = |name: &str, count: usize| {
        let mut text = String::new();
        (0..count).for_each(|i| write!(text, r#"{}"l{i}":"v""#, if i > 0 { "," } else { "" }).expect("a string"));
        format!(r#""{name}":{{{text}}}"#)
    };
    assert_eq!(json_fault(&many("labels", 10_000)), "E_LABELS /labels");
    assert_eq!(json_fault(&many("annotations", 65)), "E_LABELS /annotations");
    let value = "v".repeat(64 << 10);
    assert_eq!(json_fault(&format!(r#""labels":{{"a":"{value}"}}"#)), "E_LABELS /labels/a");
    let name = "n".repeat(1 << 10);
    assert_eq!(json_fault(&format!(r#""labels":{{"{name}":"v"}}"#)), format!("E_LABELS /labels/{}", &name[..64]));
    assert_eq!(json_fault(&format!(r#""source":null,"id":"{value}""#)), "E_DUP_KEY /source");
    assert_eq!(json_fault(&format!(r#""id":"{value}""#)), "E_TOO_LARGE /id");
    let fits = format!(r#"{{"source":"s",{}}}"#, many("labels", 64));
    assert_eq!(take(Format::Event, Shape::One, fits.as_bytes()).batch.events.len(), 1);
}

#[test]
fn more_events_than_allowed_refuse_the_request_and_take_nothing() {
    let config = NormaliseConfig { limits: small_limits(), ..NormaliseConfig::default() };
    let event = r#"{"source":"s"}"#;
    let protobuf = |count| {
        let event = proto::Event { source: "s".into(), ..proto::Event::default() };
        proto::PushRequest { events: vec![event; count] }.encode_to_vec()
    };
    for (format, shape, three, four) in [
        (
            Format::Event,
            Shape::Many,
            format!("[{event},{event},{event}]"),
            format!("[{event},{event},{event},{event}]"),
        ),
        (Format::Event, Shape::Lines, [event; 3].join("\n"), [event; 4].join("\n")),
    ] {
        assert_eq!(take_with(config.clone(), format, shape, three.as_bytes()).batch.events.len(), 3);
        let outcome = take_with(config.clone(), format, shape, four.as_bytes());
        assert_eq!(outcome.decoded.expect_err("too many").code, Code::TooLarge);
        assert!(outcome.batch.events.is_empty());
    }
    assert_eq!(take_with(config.clone(), Format::EventProtobuf, Shape::Many, &protobuf(3)).batch.events.len(), 3);
    let outcome = take_with(config, Format::EventProtobuf, Shape::Many, &protobuf(4));
    assert_eq!(outcome.decoded.expect_err("too many").code, Code::TooLarge);
}

#[test]
fn bytes_that_are_no_protobuf_of_ours_are_named_by_field() {
    let valid = proto::Event { source: "s".into(), ..proto::Event::default() }.encode_to_vec();
    let with = |bytes: &[u8]| [&valid, bytes].concat();
    let cases: [(Vec<u8>, &str, &str); 14] = [
        (vec![], "E_EMPTY", ""),
        (with(&[0x1a, 1, b'x']), "E_SCHEMA", "field 3 wire type 2"),
        (with(&[0x08, 1]), "E_SCHEMA", "field 1 wire type 0"),
        (with(&[0x0a, 5, b'x']), "E_SCHEMA", "field 1 wire type 2: a length beyond"),
        (with(&[0xff; 11]), "E_SCHEMA", "not a protobuf message"),
        (with(&[0x18, 0xff]), "E_SCHEMA", "field 3 wire type 0: a varint"),
        (with(&[0x9b, 0x06, 0x9c, 0x06]), "E_SCHEMA", "field 99 wire type 3: groups"),
        (with(&[0x28, 9]), "E_ENUM /severity", "not 9"),
        (with(&[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), "E_ENUM /severity", "not -1"),
        (with(&[0x32, 2, 0xc3, 0x28]), "E_UTF8 /summary", "at byte 0"),
        (with(&[0x3a, 6, 0x0a, 1, b'a', 0x12, 1, 0xff]), "E_UTF8 /labels/a", "at byte 0"),
        (with(&[0x3a, 2, 0x08, 1]), "E_SCHEMA /labels", "field 1 wire type 0"),
        (with(&[0x62, 3, 0x12, 1, b'h', 0x62, 0]), "E_MISSING /links/1/href", "an address"),
        (with(&[0x52, 6, 0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03]), "E_TIME /occurred_at", "1000000000 ns"),
    ];
    for (input, expected, message) in cases {
        assert_eq!(fault(Format::EventProtobuf, Shape::One, &input), expected, "{input:x?}");
        let outcome = take(Format::EventProtobuf, Shape::One, &input);
        let reject = outcome.decoded.err().or(outcome.rejects.into_iter().next()).expect("a fault");
        assert!(reject.message.contains(message), "{reject}");
    }
}

#[test]
fn a_bad_alert_is_named_by_code_and_place() {
    let cases = [
        ("{}", "E_SHAPE"),
        (r#"{"version":"4","alerts":[]}"#, "E_SHAPE"),
        ("null", "E_SHAPE"),
        (r#"[{"labels":{"a":"b"}}"#, "E_JSON"),
        ("[{}]", "E_MISSING /labels"),
        (r#"[{"labels":null}]"#, "E_MISSING /labels"),
        (r#"[{"labels":{"a":""}}]"#, "E_MISSING /labels"),
        (r#"[7]"#, "E_SHAPE"),
        (r#"[{"labels":{"a":1}}]"#, "E_TYPE /labels/a"),
        (r#"[{"labels":{"a":"b"},"labels":{"a":"b"}}]"#, "E_DUP_KEY /labels"),
        (r#"[{"labels":{"a":"b","a":"c"}}]"#, "E_DUP_KEY /labels/a"),
        (r#"[{"labels":{"a":"b"},"startsAt":"now"}]"#, "E_TIME /startsAt"),
        (r#"[{"labels":{"a":"b"},"generatorURL":1}]"#, "E_TYPE /generatorURL"),
        (
            r#"[{"labels":{"a":"b"},"startsAt":"2026-01-31T12:00:00Z","endsAt":"2026-01-31T11:00:00Z"}]"#,
            "E_TIME_ORDER /endsAt",
        ),
        (r#"[{"labels":{"a":"b"},"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}]"#, "E_DEPTH"),
    ];
    for (input, expected) in cases {
        assert_eq!(fault(Format::Alertmanager, Shape::Many, input.as_bytes()), expected, "{input}");
    }
}
