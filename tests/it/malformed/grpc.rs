//! Malformed requests over gRPC, written by hand, for no honest client makes them.

use std::io::Write;
use std::time::Duration;

use incidentd::proto::{Event, Link, PushRequest, PushResponse};
use prost::Message;

use super::{daemon, is_unharmed};
use crate::harness::Daemon;
use crate::harness::events::event;

const PUSH: &str = "/incidentd.v1.EventService/Push";

/// HTTP/2 by hand: gRPC's frames without gRPC's client.
fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().http2_prior_knowledge().no_proxy().tls_certs_only([]);
    builder.timeout(Duration::from_secs(20)).build().expect("a client")
}

/// A length-prefixed message.
fn framed(message: &[u8], compressed: bool) -> Vec<u8> {
    let mut frame = vec![u8::from(compressed)];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// The HTTP status, gRPC's status where it came without a message, and the message.
struct Answer {
    http: u16,
    grpc: Option<u32>,
    said: String,
    body: Vec<u8>,
}

async fn call(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = client().post(daemon.url(path)).header("te", "trailers").body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let grpc = header("grpc-status").and_then(|status| status.parse().ok());
    let (http, said) = (response.status().as_u16(), header("grpc-message").unwrap_or_default());
    Answer { http, grpc, said, body: response.bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default() }
}

/// An event's bytes as one of a request.
fn listed(event: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(event.len() as u64, &mut bytes);
    bytes.extend(event);
    bytes
}

fn good(service: &str) -> Event {
    event("", service, "h")
}

/// Bytes of events that are spoilt, with the code and the place of the answer.
fn spoilt() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let plain = Event { source: "test".to_owned(), ..Event::default() };
    let raw = |bytes: &[u8]| [&plain.encode_to_vec(), bytes].concat();
    let changed = |change: &dyn Fn(&mut Event)| {
        let mut event = plain.clone();
        change(&mut event);
        event.encode_to_vec()
    };
    let labelled =
        |name: &str, value: &str| changed(&|event| drop(event.labels.insert(name.to_owned(), value.to_owned())));
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    vec![
        ("a wrong wire type", raw(&[0x08, 1]), "E_SCHEMA", ""),
        ("an endless varint", raw(&[0xff; 11]), "E_SCHEMA", ""),
        ("a varint cut short", raw(&[0x18, 0xff]), "E_SCHEMA", ""),
        ("a group", raw(&[0x9b, 0x06, 0x9c, 0x06]), "E_SCHEMA", ""),
        ("a length beyond the end", raw(&[0x0a, 5, b'x']), "E_SCHEMA", ""),
        ("no source", changed(&|event| event.source.clear()), "E_MISSING", "/source"),
        ("an unknown severity", changed(&|event| event.severity = 9), "E_ENUM", "/severity"),
        ("a negative severity", changed(&|event| event.severity = -1), "E_ENUM", "/severity"),
        ("an unknown kind", changed(&|event| event.kind = 77), "E_ENUM", "/kind"),
        ("an unknown status", changed(&|event| event.status = 42), "E_ENUM", "/status"),
        ("a summary that is no UTF-8", raw(&[0x32, 2, 0xc3, 0x28]), "E_UTF8", "/summary"),
        ("a label that is no UTF-8", raw(&[0x3a, 6, 0x0a, 1, b'a', 0x12, 1, 0xff]), "E_UTF8", "/labels/a"),
        ("an empty label name", labelled("", "x"), "E_LABEL_NAME", "/labels/"),
        ("a label name of JavaScript", labelled("__proto__", "x"), "E_LABEL_NAME", "/labels/__proto__"),
        ("a label name with NUL", labelled("a\0", "x"), "E_LABEL_NAME", r"/labels/a\0"),
        ("a label twice", raw(&[0x3a, 3, 0x0a, 1, b'a', 0x3a, 3, 0x0a, 1, b'a']), "E_DUP_KEY", "/labels/a"),
        ("a long label value", labelled("a", &"v".repeat(64 << 10)), "E_LABELS", "/labels/a"),
        (
            "ten thousand labels",
            changed(&|event| event.labels.extend((0..10_000).map(|n| (format!("l{n}"), String::new())))),
            "E_LABELS",
            "/labels",
        ),
        (
            "a nanosecond too many",
            changed(&|event| event.occurred_at = time(0, 1_000_000_000)),
            "E_TIME",
            "/occurred_at",
        ),
        ("the year 292278994", changed(&|event| event.occurred_at = time(i64::MAX, 0)), "E_TIME", "/occurred_at"),
        (
            "an end before the beginning",
            changed(&|event| (event.occurred_at, event.ends_at) = (time(1_700_000_000, 0), time(1_600_000_000, 0))),
            "E_TIME_ORDER",
            "/ends_at",
        ),
        ("a link to nowhere", changed(&|event| event.links.push(Link::default())), "E_MISSING", "/links/0/href"),
        ("a summary beyond bounds", changed(&|event| event.summary = "s".repeat((1 << 20) + 1)), "E_TOO_LARGE", ""),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_is_answered_with_code_and_field_between_good_ones() {
    let daemon = daemon().await;
    let spoilt = spoilt();
    for (index, (what, bytes, code, field)) in spoilt.iter().enumerate() {
        let (before, after) = (good(&format!("b{index}")), good(&format!("a{index}")));
        let request = [listed(&before.encode_to_vec()), listed(bytes), listed(&after.encode_to_vec())].concat();
        let answer = call(&daemon, PUSH, &[("content-type", "application/grpc")], framed(&request, false)).await;
        assert_eq!((answer.http, answer.grpc), (200, None), "{what}: {}", answer.said);
        let response = PushResponse::decode(&answer.body[5..]).expect("a response");
        let [first, bad, last] = &*response.verdicts else { panic!("{what}: {response:?}") };
        assert_eq!((&*bad.code, &*bad.field), (*code, *field), "{what}: {bad:?}");
        assert!(!bad.message.is_empty() && bad.message.len() < 500, "{what}: {bad:?}");
        assert_eq!(bad.verdict().as_str_name(), "OUTCOME_REJECTED", "{what}");
        for neighbour in [first, last] {
            assert_eq!(neighbour.verdict().as_str_name(), "OUTCOME_OPENED", "{what}: {neighbour:?}");
        }
    }
    is_unharmed(&daemon, 2 * spoilt.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_cannot_be_read_is_refused_by_its_status_and_the_next_one_is_taken() {
    const INVALID: u32 = 3;
    const EXHAUSTED: u32 = 8;
    const UNIMPLEMENTED: u32 = 12;
    const INTERNAL: u32 = 13;
    let daemon = daemon().await;
    let grpc = ("content-type", "application/grpc");
    let one = PushRequest { events: vec![good("one")] }.encode_to_vec();
    let many = PushRequest { events: vec![good("many"); 1_001] }.encode_to_vec();
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 64 << 20]).and_then(|()| encoder.finish()).expect("compressed")
    };
    let gzip = ("grpc-encoding", "gzip");
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>, &'a [u32], &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("an event cut short", vec![grpc], framed(&one[..one.len() - 1], false), &[INVALID], "E_SCHEMA"),
        ("an endless varint", vec![grpc], framed(&[0xff; 11], false), &[INVALID], "E_SCHEMA"),
        ("a group", vec![grpc], framed(&[0x0b, 0x0c], false), &[INVALID], "E_SCHEMA"),
        ("another message", vec![grpc], framed(&[0x08, 1], false), &[INVALID], "E_SCHEMA"),
        ("a request of text", vec![grpc], framed(b"{\"source\":\"s\"}", false), &[INVALID], "E_SCHEMA"),
        ("too many events", vec![grpc], framed(&many, false), &[EXHAUSTED], "1000"),
        ("too many bytes", vec![grpc], framed(&vec![0x32; (2 << 20) + 1], false), &[EXHAUSTED], ""),
        ("a bomb", vec![grpc, gzip], framed(&bomb, true), &[EXHAUSTED], ""),
        ("no gzip at all", vec![grpc, gzip], framed(&one, true), &[INTERNAL, INVALID], ""),
        ("a flag without an encoding", vec![grpc], framed(&one, true), &[INTERNAL, INVALID, UNIMPLEMENTED], ""),
        ("an unknown encoding", vec![grpc, ("grpc-encoding", "snappy")], framed(&one, true), &[UNIMPLEMENTED], ""),
        (
            "an unknown flag",
            vec![grpc],
            [vec![7], framed(&one, false)[1..].to_vec()].concat(),
            &[INTERNAL, INVALID],
            "",
        ),
        ("a frame cut short", vec![grpc], framed(&one, false)[..12].to_vec(), &[INTERNAL, INVALID], ""),
        ("no frame", vec![grpc], Vec::new(), &[INTERNAL, INVALID, UNIMPLEMENTED], ""),
    ];
    for (index, (what, headers, body, statuses, said)) in cases.iter().enumerate() {
        let answer = call(&daemon, PUSH, headers, body.clone()).await;
        let status = answer.grpc.unwrap_or_else(|| panic!("{what}: {} {:?}", answer.http, answer.body));
        assert!(statuses.contains(&status), "{what}: {status} {}", answer.said);
        assert!(answer.said.contains(said), "{what}: {}", answer.said);
        let next = PushRequest { events: vec![good(&format!("after-{index}"))] };
        let verdicts = daemon.grpc().await.push(next).await.expect("an answer").into_inner().verdicts;
        assert_eq!(verdicts[0].verdict().as_str_name(), "OUTCOME_OPENED", "after {what}");
    }
    let answer = call(&daemon, PUSH, &[("content-type", "text/plain")], framed(&one, false)).await;
    assert_eq!(answer.http, 415, "what is no gRPC");
    let answer = call(&daemon, "/incidentd.v1.EventService/Pull", &[grpc], framed(&one, false)).await;
    assert_eq!(answer.grpc, Some(UNIMPLEMENTED), "an unknown method");
    is_unharmed(&daemon, cases.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_in_a_stream_leaves_the_stream_as_it_is() {
    let daemon = daemon().await;
    let nameless = Event { source: String::new(), ..good("nameless") };
    let requests = (0..20).map(move |number| PushRequest {
        events: vec![good(&format!("s{number}")), if number % 2 == 0 { nameless.clone() } else { good("t") }],
    });
    let answers = daemon.grpc().await.push_stream(tokio_stream::iter(requests)).await;
    let mut answers = answers.expect("a stream").into_inner();
    for number in 0..20 {
        let verdicts = answers.message().await.expect("an answer").expect("a message").verdicts;
        assert_eq!(verdicts[0].verdict().as_str_name(), "OUTCOME_OPENED");
        assert_eq!(verdicts[1].code, if number % 2 == 0 { "E_MISSING" } else { "" });
    }
    is_unharmed(&daemon, 21).await;
}
