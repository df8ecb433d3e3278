//! `GET /api/v1/incidents/stream` and `incidents list --follow` against the real daemon.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::harness::daemon::binary;
use crate::harness::{Daemon, PATIENCE};

const CONFIG: &str =
    "rules: [{ name: by-service, group_by: [service], resolve_after: 0s, reopen_within: 1h }]\nsinks: []\n";

/// An open stream.
struct Stream {
    response: reqwest::Response,
    unread: String,
}

/// One event of it: its name, its id, its data.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    async fn open(daemon: &Daemon, query: &str, last: Option<&str>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let mut request = http.get(daemon.url(&format!("/api/v1/incidents/stream{query}")));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self { response, unread: String::new() };
        let greeting = stream.next().await.expect("where it starts");
        assert_eq!(greeting.name, "");
        stream
    }

    /// The next event; `None` where the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let field = |name: &str| {
                    let mut values = event.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    values.next().unwrap_or_default().to_owned()
                };
                let data = serde_json::from_str(&field("data")).unwrap_or_default();
                let event = Event { name: field("event"), id: field("id"), data };
                self.unread = rest.to_owned();
                if !event.id.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let more = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something comes");
            let more = more.ok().flatten()?;
            self.unread.push_str(std::str::from_utf8(&more).expect("UTF-8"));
        }
    }

    /// The next event, which must be a change: of which service, and what it has become.
    async fn change(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        assert_eq!(event.name, "incident", "{event:?}");
        let text = |name: &str| event.data[name].as_str().expect("a text").to_owned();
        (text("service"), text("status"))
    }
}

fn event(service: &str, status: &str) -> String {
    json!({"source": "test", "labels": {"service": service}, "summary": "slow", "status": status}).to_string()
}

fn was(service: &str, status: &str) -> (String, String) {
    (service.to_owned(), status.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_streamed_and_a_client_that_comes_back_misses_none() {
    let daemon = Daemon::start(CONFIG).await;
    let mut all = Stream::open(&daemon, "", None).await;
    let mut search = Stream::open(&daemon, "?service=search&status=open", None).await;
    daemon.push_json(&[event("checkout", "firing")]).await;
    let opened = all.next().await.expect("an event");
    let listed = daemon.incidents("").await;
    assert_eq!((opened.name.as_str(), &opened.data), ("incident", &listed[0]), "as in the listing");

    // A repeat changes numbers, and is no change of the document.
    daemon.push_json(&[event("checkout", "firing")]).await;
    drop(all);
    daemon.push_json(&[event("checkout", "resolved")]).await;
    daemon.push_json(&[event("search", "firing")]).await;
    let mut back = Stream::open(&daemon, "", Some(&opened.id)).await;
    assert_eq!(back.change().await, was("checkout", "resolved"));
    assert_eq!(back.change().await, was("search", "open"));
    assert_eq!(search.change().await, was("search", "open"), "nothing else is chosen");

    let (status, problem) = daemon.get("/api/v1/incidents/stream?limit=1").await;
    assert_eq!(status, 400, "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_a_client_is_told_to_list_again() {
    let mut daemon = Daemon::start(CONFIG).await;
    let mut stream = Stream::open(&daemon, "", None).await;
    daemon.push_json(&[event("checkout", "firing")]).await;
    let last = stream.next().await.expect("an event").id;
    daemon.kill9().await;
    assert!(stream.next().await.is_none(), "it ends");
    daemon.restart().await;

    let mut stream = Stream::open(&daemon, "", Some(&last)).await;
    let reset = stream.next().await.expect("an event");
    assert_eq!(reset.name, "reset");
    let number = |id: &str| id.parse::<u64>().expect("a number");
    assert!(number(&reset.id) > number(&last), "numbers rise over a restart, too");
    assert_eq!(daemon.incidents("").await.len(), 1);
    daemon.push_json(&[event("checkout", "resolved")]).await;
    assert_eq!(stream.change().await, was("checkout", "resolved"));

    // From the number of the reset on nothing was missed.
    let mut again = Stream::open(&daemon, "", Some(&reset.id)).await;
    assert_eq!(again.change().await, was("checkout", "resolved"));
    let mut invented = Stream::open(&daemon, "", Some("yesterday")).await;
    assert_eq!(invented.next().await.expect("an event").name, "reset");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_streams_and_does_not_wait_for_them() {
    let mut daemon = Daemon::start(CONFIG).await;
    let mut stream = Stream::open(&daemon, "", None).await;
    assert!(daemon.stop().await.success());
    assert!(stream.next().await.is_none(), "it ends");
    let cut: Vec<String> = daemon.log_lines().into_iter().filter(|line| line.contains("cutting connections")).collect();
    assert!(cut.is_empty(), "{cut:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_follows_prints_a_line_for_each_change_over_a_restart() {
    let mut daemon = Daemon::start(CONFIG).await;
    daemon.push_json(&[event("checkout", "firing")]).await;
    let mut command = Command::new(binary());
    command.args(["incidents", "list", "--follow", "--url", &daemon.url("")]).kill_on_drop(true);
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut until = async |wanted: &str| loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time");
        let line = line.expect("readable").expect("it goes on");
        if line.contains(wanted) {
            return line;
        }
    };
    until("checkout").await;
    daemon.push_json(&[event("search", "firing")]).await;
    let line = until("search").await;
    assert!(line.contains("  open  ") && line.contains("1/1"), "{line}");

    daemon.kill9().await;
    daemon.restart().await;
    until("ID").await;
    daemon.push_json(&[event("search", "resolved")]).await;
    let line = until("resolved").await;
    assert!(line.contains("search"), "{line}");
}
