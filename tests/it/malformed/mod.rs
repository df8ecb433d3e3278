//! Malformed input at each of the three doors of a real daemon: every piece gets its clear answer, its neighbours are
//! taken, and the daemon stays as it was.

mod grpc;
mod http;
mod kafka;

use crate::harness::{Broker, Daemon};

/// Small limits, so that what is too large for them is still cheap to make.
const LIMITS: &str = "limits: { body_bytes: 2MiB, decompressed_bytes: 8MiB, events: 1000 }\n\
    log: { level: info }\n";

/// Members of a JSON event that spoil it, with the code and the place of the answer. `source` is given beside them.
fn spoilt_members() -> Vec<(String, &'static str, &'static str)> {
    let labels = |count: usize| (0..count).map(|n| format!(r#""l{n}":"v""#)).collect::<Vec<_>>().join(",");
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let mut spoilt: Vec<(String, &str, &str)> = [
        (r#""severity":3"#, "E_TYPE", "/severity"),
        (r#""severity":"catastrophic""#, "E_ENUM", "/severity"),
        (r#""kind":"Alert""#, "E_ENUM", "/kind"),
        (r#""status":"gone""#, "E_ENUM", "/status"),
        (r#""summary":1e999"#, "E_NUMBER", "/summary"),
        (r#""summary":18446744073709551616"#, "E_NUMBER", "/summary"),
        (r#""occurred_at":"yesterday""#, "E_TIME", "/occurred_at"),
        (r#""occurred_at":"2026-02-30T12:00:00Z""#, "E_TIME", "/occurred_at"),
        (r#""occurred_at":"2026-01-31T12:00:00""#, "E_TIME", "/occurred_at"),
        (r#""occurred_at":"2026-01-31T24:00:00Z""#, "E_TIME", "/occurred_at"),
        (r#""occurred_at":"2026-01-31T12:00:00Z","ends_at":"2026-01-31T11:00:00Z""#, "E_TIME_ORDER", "/ends_at"),
        (r#""labels":{"a":"1","a":"2"}"#, "E_DUP_KEY", "/labels/a"),
        (r#""labels":{"a":1}"#, "E_TYPE", "/labels/a"),
        (r#""labels":["a"]"#, "E_TYPE", "/labels"),
        (r#""labels":{"":"x"}"#, "E_LABEL_NAME", "/labels/"),
        (r#""labels":{"__proto__":"x"}"#, "E_LABEL_NAME", "/labels/__proto__"),
        (r#""lables":{}"#, "E_UNKNOWN_FIELD", "/lables"),
        (r#""links":[{"rel":"graph"}]"#, "E_MISSING", "/links/0/href"),
        (r#""summary":"\ud800""#, "E_UTF8", "/summary"),
    ]
    .map(|(members, code, place)| (members.to_owned(), code, place))
    .into();
    spoilt.extend([
        (format!(r#""labels":{{{}}}"#, labels(10_000)), "E_LABELS", "/labels"),
        (format!(r#""labels":{{"a":"{}"}}"#, "v".repeat(64 << 10)), "E_LABELS", "/labels/a"),
        (format!(r#""summary":"{}""#, "s".repeat((1 << 20) + 1)), "E_TOO_LARGE", ""),
        (format!(r#""labels":{deep}"#), "E_DEPTH", ""),
    ]);
    spoilt
}

/// A good event of a service of its own.
fn good(service: &str) -> String {
    format!(r#"{{"source":"test","severity":"critical","labels":{{"service":"{service}"}}}}"#)
}

async fn daemon() -> Daemon {
    Daemon::start(LIMITS).await
}

/// The daemon still answers, is whole, and holds an incident for each service that was told of.
async fn is_unharmed(daemon: &Daemon, services: usize) {
    assert_eq!(daemon.get("/-/healthy").await.0, 200);
    assert_eq!(daemon.get("/-/ready").await.0, 200);
    daemon.is_sound().await;
    assert_eq!(daemon.incidents("").await.len(), services);
}

fn with_kafka(broker: &Broker, topic: &str, format: &str, dead_letters: &str) -> String {
    let source = crate::harness::kafka::source(broker, "alerts", topic, format, Some(dead_letters));
    format!("{LIMITS}sources: {{ kafka: [{source}] }}\n")
}
