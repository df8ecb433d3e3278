//! A maintenance window across the nights in which the clocks change, through the daemon with its real doors and store;
//! only its clock is moved by hand.

use std::net::Ipv4Addr;

use incidentd::app::{App, Overrides, Source};
use incidentd::clock::Clock;
use incidentd::event::Timestamp;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, eventually, http_client};

const CONFIG: &str = "resolve_timeout: 6h\n\
    rules: [{ name: by-host, group_by: [host] }]\n\
    sinks: []\n\
    maintenance:\n\
    - { name: nightly-backup, all: true, zone: Europe/Berlin, schedule: { cron: '30 2 * * *', duration: 1h } }\n";

/// A daemon in this process, whose clock stands still until it is moved.
struct Night {
    clock: Clock,
    app: App,
    http: reqwest::Client,
    #[expect(dead_code, reason = "held until the daemon is gone")]
    directory: tempfile::TempDir,
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text.as_bytes()).expect("RFC 3339")
}

impl Night {
    async fn begins_at(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("incidentd.yaml");
        std::fs::write(&file, CONFIG).expect("a file");
        let clock = Clock::manual(at(text));
        let listen = Some((Ipv4Addr::LOCALHOST, 0).into());
        let overrides = Overrides { data_dir: Some(directory.path().join("data")), listen, insecure: false };
        let app = App::start(Source::File(file), overrides, clock.clone()).await.expect("it starts");
        Self { clock, app, http: http_client(), directory }
    }

    fn now_is(&self, text: &str) {
        self.clock.advance(at(text).since(self.clock.now()));
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address())
    }

    /// The verdict on an alert of a host, its reason, and what mutes it.
    async fn fires(&self, host: &str) -> (String, String, Option<String>) {
        let event = json!({ "source": "test", "severity": "critical", "labels": { "host": host } });
        let answer = self.http.post(self.url("/api/v1/events")).json(&event).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let result = &answer["results"][0];
        let text = |field: &str| result[field].as_str().map(str::to_owned);
        (text("verdict").expect("a verdict"), text("reason").expect("a reason"), text("muted_by"))
    }

    async fn hosts_with_an_incident(&self) -> Vec<String> {
        let answer = self.http.get(self.url("/api/v1/incidents")).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let incidents = answer["incidents"].as_array().expect("incidents").iter();
        let mut hosts: Vec<String> =
            incidents.map(|incident| incident["key"]["host"].as_str().expect("a host").to_owned()).collect();
        hosts.sort();
        hosts
    }

    /// What fires in the window is seen when that closes, without a further event.
    async fn comes_to(&self, hosts: &[&str]) {
        eventually("the incidents are these", PATIENCE, async || self.hosts_with_an_incident().await == hosts).await;
    }
}

fn opened() -> (String, String, Option<String>) {
    ("opened".to_owned(), "condition_met".to_owned(), None)
}

fn suppressed() -> (String, String, Option<String>) {
    ("suppressed".to_owned(), "maintenance".to_owned(), Some("nightly-backup".to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_night_that_has_half_past_two_twice_the_window_opens_once() {
    let night = Night::begins_at("2026-10-25T00:29:00Z").await;
    assert_eq!(night.fires("before").await, opened(), "2:29 in summer time");
    night.now_is("2026-10-25T00:30:00Z");
    assert_eq!(night.fires("within").await, suppressed(), "2:30 in summer time");
    night.now_is("2026-10-25T01:29:59Z");
    assert_eq!(night.fires("late").await, suppressed(), "2:29:59 in winter time, an hour later");
    night.now_is("2026-10-25T01:30:00Z");
    night.comes_to(&["before", "late", "within"]).await;
    assert_eq!(night.fires("again").await, opened(), "2:30 for the second time");
    night.app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_night_without_half_past_two_the_window_opens_when_the_clocks_have_changed() {
    let night = Night::begins_at("2026-03-29T00:59:00Z").await;
    assert_eq!(night.fires("before").await, opened(), "1:59 in winter time");
    night.now_is("2026-03-29T01:00:00Z");
    assert_eq!(night.fires("within").await, suppressed(), "3:00 in summer time");
    night.now_is("2026-03-29T01:59:59Z");
    assert_eq!(night.fires("late").await, suppressed());
    night.now_is("2026-03-29T02:00:00Z");
    night.comes_to(&["before", "late", "within"]).await;
    // The next night is an ordinary one.
    night.now_is("2026-03-30T00:29:59Z");
    assert_eq!(night.fires("next").await, opened(), "2:29:59 in summer time");
    night.now_is("2026-03-30T00:30:00Z");
    assert_eq!(night.fires("after").await, suppressed());
    night.app.stop().await;
}
