//! Malformed requests over HTTP.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{daemon, good, is_unharmed, spoilt_members};
use crate::harness::{Daemon, PATIENCE, eventually};

const EVENTS: &str = "/api/v1/events";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_is_answered_with_code_and_field_between_good_ones() {
    let daemon = daemon().await;
    let spoilt = spoilt_members();
    for (index, (members, code, field)) in spoilt.iter().enumerate() {
        let (before, after) = (good(&format!("b{index}")), good(&format!("a{index}")));
        let bad = format!(r#"{{"source":"test",{members}}}"#);
        let (kind, body) = match index % 2 {
            0 => (JSON, format!("[{before},{bad},{after}]")),
            _ => (NDJSON, format!("{before}\n{bad}\n{after}\n")),
        };
        let (status, answer) = daemon.post(EVENTS, kind, body).await;
        let shown = &members[..members.len().min(60)];
        assert_eq!(status, 200, "{shown}: {answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&2.into(), &1.into()), "{shown}: {answer}");
        let result = &answer["results"][1];
        assert_eq!(result["verdict"], "rejected", "{shown}");
        assert_eq!((&result["code"], &result["index"]), (&(*code).into(), &1.into()), "{shown}: {result}");
        assert_eq!(result["field"].as_str().unwrap_or_default(), *field, "{shown}: {result}");
        assert!(result["message"].as_str().is_some_and(|message| (1..500).contains(&message.len())), "{result}");
        for neighbour in [0, 2] {
            assert_eq!(answer["results"][neighbour]["verdict"], "opened", "{shown}: {answer}");
        }
    }
    is_unharmed(&daemon, 2 * spoilt.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_cannot_be_read_is_400_with_a_code_and_the_next_one_is_taken() {
    let daemon = daemon().await;
    let deep = "[".repeat(100_000);
    let bodies: [(&str, &[u8], &str); 14] = [
        (JSON, b"", "E_EMPTY"),
        (JSON, b" \r\n ", "E_EMPTY"),
        (JSON, b"null", "E_SHAPE"),
        (JSON, b"17", "E_SHAPE"),
        (JSON, b"\"text\"", "E_SHAPE"),
        (JSON, b"NaN", "E_NUMBER"),
        (JSON, b"{\"source\":\"s\"", "E_JSON"),
        (JSON, b"[{\"source\":\"s\"}", "E_JSON"),
        (JSON, b"[{\"source\":\"s\"}]]", "E_JSON"),
        (JSON, b"source: s", "E_JSON"),
        (JSON, b"\x1f\x8b\x08\x00", "E_UTF8"),
        (JSON, b"\xff\xfe[\x00", "E_UTF8"),
        (JSON, deep.as_bytes(), "E_DEPTH"),
        (JSON, b"<script>", "E_JSON"),
    ];
    for (index, (kind, body, code)) in bodies.iter().enumerate() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let (status, answer) = daemon.post(EVENTS, kind, body.to_vec()).await;
        assert_eq!(status, 400, "{shown}: {answer}");
        let problem: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!((&problem["code"], &problem["status"]), (&(*code).into(), &400.into()), "{shown}: {answer}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer}");
        daemon.push_json(&[good(&format!("after-{index}"))]).await;
    }
    is_unharmed(&daemon, bodies.len()).await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("compressed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_encodings_and_types_are_answered_by_their_status() {
    let daemon = daemon().await;
    let one = format!("[{}]", good("one")).into_bytes();
    let many = format!("[{}]", vec![good("many"); 1_001].join(",")).into_bytes();
    let bomb = vec![b' '; 64 << 20];
    let zstd_bomb = zstd::encode_all(&*bomb, 1).expect("compressed");
    type Case<'a> = (&'a str, Option<&'a str>, &'a str, Vec<u8>, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("too many events", None, JSON, many, 413, "E_TOO_LARGE"),
        ("too large", None, JSON, vec![b' '; (2 << 20) + 1], 413, "E_TOO_LARGE"),
        ("a gzip bomb", Some("gzip"), JSON, gzip(&bomb), 413, "E_INFLATED"),
        ("a zstd bomb", Some("zstd"), JSON, zstd_bomb, 413, "E_INFLATED"),
        ("no gzip at all", Some("gzip"), JSON, one.clone(), 400, "E_CODEC"),
        ("gzip cut short", Some("gzip"), JSON, gzip(&one)[..20].to_vec(), 400, "E_CODEC"),
        ("no zstd at all", Some("zstd"), JSON, one.clone(), 400, "E_CODEC"),
        ("an unknown encoding", Some("br"), JSON, one.clone(), 415, "E_CONTENT_ENCODING"),
        ("stacked encodings", Some("gzip, gzip"), JSON, gzip(&gzip(&one)), 415, "E_CONTENT_ENCODING"),
        ("XML", None, "text/xml", b"<a/>".to_vec(), 415, "E_CONTENT_TYPE"),
        ("no type", None, "", one.clone(), 415, "E_CONTENT_TYPE"),
        ("another charset", None, "application/json; charset=utf-16", one.clone(), 415, "E_CONTENT_TYPE"),
    ];
    for (what, encoding, kind, body, status, code) in cases {
        let mut request = daemon.http().post(daemon.url(EVENTS)).body(body);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        let response = request.send().await.expect("an answer");
        let kind = response.headers().get("content-type").cloned();
        let (told, answer) = (response.status().as_u16(), response.text().await.expect("a text"));
        assert_eq!(told, status, "{what}: {answer}");
        assert_eq!(kind.expect("a type"), "application/problem+json", "{what}");
        let problem: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(problem["code"], code, "{what}: {answer}");
    }
    let response =
        daemon.http().post(daemon.url(EVENTS)).header("content-type", JSON).header("content-encoding", "gzip");
    let response = response.body(gzip(&one)).send().await.expect("an answer");
    assert_eq!(response.status(), 200, "what is well compressed is taken");
    assert_eq!(daemon.post(EVENTS, JSON, "[]").await.0, 200, "nothing is nothing bad");
    assert_eq!(daemon.get("/api/v1/nothing").await.0, 404);
    assert_eq!(daemon.get(EVENTS).await.0, 405);
    is_unharmed(&daemon, 1).await;
}

/// The status of what a connection answers to these bytes; 0 where it is closed without a word.
async fn status_of(daemon: &Daemon, bytes: &[u8]) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(&daemon.address).await.expect("connected");
    // It may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it answers or closes");
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_proper_http_ends_its_connection_only() {
    let daemon = daemon().await;
    let head = format!("POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n");
    let headers: String = (0..10_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = "a".repeat(1 << 20);
    let cases: Vec<(&str, String, &[u16])> = vec![
        ("a body shorter than its length", format!("{head}Content-Length: 500\r\n\r\n[{}]", good("short")), &[400, 0]),
        ("a length that is none", format!("{head}Content-Length: ten\r\n\r\n[]"), &[400]),
        ("two lengths", format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]"), &[400]),
        ("broken chunks", format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n"), &[400, 0]),
        ("ten thousand headers", format!("{head}{headers}\r\n"), &[431]),
        ("an endless URL", format!("POST /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), &[414, 431, 400]),
        ("a NUL in the path", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &[400]),
        ("no HTTP", "hello\r\n\r\n".to_owned(), &[400, 0]),
        ("TLS", "\u{16}\u{3}\u{1}\0\u{5}hello".to_owned(), &[400, 0]),
    ];
    for (what, bytes, legal) in cases {
        let status = status_of(&daemon, bytes.as_bytes()).await;
        assert!(legal.contains(&status), "{what}: {status}");
    }
    daemon.push_json(&[good("after")]).await;
    is_unharmed(&daemon, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_but_legal_content_is_kept_as_it_is_and_never_obeyed() {
    let daemon = daemon().await;
    let odd = [
        "{{ 7*7 }}",
        "${jndi:ldap://x}",
        "%s%n",
        "<script>alert(1)</script>",
        "a\u{0}b\r\n\u{1b}[31m\u{202e}",
        "'; --",
    ];
    let events = odd.map(|value| {
        serde_json::json!({"source": "test", "severity": "critical", "summary": value, "labels": {"service": value}})
            .to_string()
    });
    daemon.push_json(&events).await;
    let incidents = daemon.incidents("").await;
    let mut services: Vec<&str> = incidents.iter().map(|incident| incident["service"].as_str().expect("one")).collect();
    services.sort_unstable();
    let mut expected = odd;
    expected.sort_unstable();
    assert_eq!(services, expected);
    let steers = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!daemon.log_lines().iter().any(|line| line.contains(steers)), "{:?}", daemon.log_lines());
    eventually("all are printed", PATIENCE, async || daemon.printed_lines().len() >= odd.len()).await;
    for line in daemon.printed_lines() {
        assert!(!line.contains(char::is_control), "{line:?}");
        serde_json::from_str::<Value>(&line).expect("a document a line");
    }
    is_unharmed(&daemon, odd.len()).await;
}
