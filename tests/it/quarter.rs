//! Three months of a real machine, moved into the present, through the daemon with its real doors and store: only its
//! clock is moved by hand, and somebody takes each incident after a while. What comes of it is reported.
//!
//! `INCIDENTD_TRIAL_RECORDING` names a JSONL file with the labels `node`, `component` and `event`; without it a similar
//! one is made up. Run with `--nocapture` to see the report.

use std::net::Ipv4Addr;
use std::time::Duration;

use incidentd::app::{App, Overrides, Source};
use incidentd::clock::Clock;
use incidentd::event::Timestamp;
use serde_json::{Value, json};

use crate::harness::daemon::{incidentd, text};
use crate::harness::http_client;
use crate::recording::recording;

/// Closed incidents are kept for 90 days.
const SPAN: Duration = Duration::from_secs(85 * 86_400);
/// After how long somebody takes what has opened, by day and by night in Los Alamos, where the nights are longer.
const TAKEN_AFTER: [Duration; 2] = [Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];
const DAY_BEGINS_UTC: i64 = 14;
/// After an event the clock stops so long later, unless the next one comes before.
const STOPS_S: [u64; 12] = [60, 300, 720, 900, 1_800, 3_600, 3_900, 4_200, 5_400, 7_200, 10_800, 14_400];

const CONFIG: &str = "resolve_timeout: 1h
rules:
- { name: node-fails, match: ['severity=\"error\"'], group_by: [node], reopen_within: 2h, update_interval: 1m,
    incident: { impact: from_service } }
- { name: many-nodes-warn, match: ['severity=\"warning\"'], group_by: [component, event], window: 1h, reopen_within: 2h,
    open_when: { distinct: { label: node, count: 3 } }, incident: { impact: from_service } }
services:
- { name: interconnect, match: ['component=~\"switch_module|gige\"'], impact: high, users: 400, owner: network,
    suppliers: [quadrics], runbook: 'https://wiki.example.org/interconnect', escalation: standard }
- { name: file-system, match: ['component=\"clusterfilesystem\"'], impact: high, users: 400, owner: storage,
    depends_on: [interconnect], escalation: standard }
- { name: hardware, match: ['component=\"unix.hw\"'], impact: medium, owner: operations, calendar: office }
- { name: compute, match: ['component=~\".+\"'], impact: low, owner: operations, calendar: office, depends_on: [interconnect] }
calendars: [{ name: office, zone: America/Denver, hours: { mon-fri: ['08:00-17:00'] } }]
priority:
  targets:
    P1: { respond: 15m, resolve: 4h, calendar: always }
    P2: { respond: 10m, resolve: 2h, calendar: always }
    P3: { respond: 1h, resolve: 8h }
    P4: { respond: 4h, resolve: 18h }
escalation_policies:
- { name: standard, steps: [{ after: 10m, notify: [log], unless: acknowledged }, { share: 80%, of: resolve, notify: [log] }] }
problems: { recurrences: 3, within: 7d }
sinks: [{ name: log, type: file, path: told.jsonl }]
";

struct Quarter {
    clock: Clock,
    app: App,
    http: reqwest::Client,
    directory: tempfile::TempDir,
}

impl Quarter {
    async fn begins_at(start: Timestamp) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("incidentd.yaml");
        let told = directory.path().join("told.jsonl").display().to_string();
        std::fs::write(&file, CONFIG.replace("told.jsonl", &told)).expect("a file");
        let clock = Clock::manual(start);
        let listen = Some((Ipv4Addr::LOCALHOST, 0).into());
        let overrides = Overrides { data_dir: Some(directory.path().join("data")), listen, insecure: false };
        let app = App::start(Source::File(file), overrides, clock.clone()).await.expect("it starts");
        Self { clock, app, http: http_client(), directory }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address())
    }

    /// Moves the clock on, and lets what is due be done: a sign of life that nothing expects does nothing else.
    async fn now_is(&self, at: Timestamp) {
        self.clock.advance(at.since(self.clock.now()));
        self.push(&json!({ "source": "clock", "kind": "heartbeat", "labels": { "tick": "tock" } })).await;
    }

    async fn push(&self, event: &Value) {
        let answer = self.http.post(self.url("/api/v1/events")).json(event).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["rejected"], 0, "{answer}");
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(self.url(path)).send().await.expect("an answer").json().await.expect("JSON")
    }

    /// Somebody takes what has been open for long enough.
    async fn take_what_waits(&self) {
        let now = self.clock.now();
        let open = self.get("/api/v1/incidents?status=open&limit=1000").await;
        for incident in open["incidents"].as_array().expect("incidents") {
            let opened = incident["opened_at"].as_str().and_then(|at| Timestamp::parse_rfc3339(at.as_bytes()));
            let by_night = |at: Timestamp| at.as_micros().div_euclid(3_600_000_000).rem_euclid(24) < DAY_BEGINS_UTC;
            if opened.is_none_or(|at| now.since(at) < TAKEN_AFTER[usize::from(by_night(at))]) {
                continue;
            }
            let path = format!("/api/v1/incidents/{}/acknowledge", incident["id"].as_str().expect("an id"));
            let done =
                self.http.post(self.url(&path)).json(&json!({ "by": "oncall" })).send().await.expect("an answer");
            assert_eq!(done.status(), 200);
        }
    }
}

/// The last three months of the recording, each event at its time.
fn quarter() -> Vec<(Timestamp, Value)> {
    let at = |event: &Value| {
        let text = event["occurred_at"].as_str().expect("a time");
        Timestamp::parse_rfc3339(text.as_bytes()).expect("RFC 3339")
    };
    let mut events: Vec<(Timestamp, Value)> = recording().into_iter().map(|event| (at(&event), event)).collect();
    events.sort_by_key(|(at, _)| *at);
    let last = events.last().expect("events").0;
    events.retain(|(at, _)| last.since(*at) < SPAN);
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarter_of_a_real_machine_adds_up_in_the_report() {
    let events = quarter();
    let (first, last) = (events[0].0, events[events.len() - 1].0);
    let quarter = Quarter::begins_at(Clock::system().now().minus(last.since(first))).await;
    let start = quarter.clock.now();
    for (number, (at, event)) in events.iter().enumerate() {
        let moved = |at: Timestamp| start.plus(at.since(first));
        quarter.now_is(moved(*at)).await;
        let mut event = event.clone();
        event["occurred_at"] = json!(moved(*at).to_string());
        quarter.push(&event).await;
        let next = events.get(number + 1).map_or(Timestamp::MAX, |(next, _)| moved(*next));
        for stop in STOPS_S.map(|stop| moved(*at).plus(Duration::from_secs(stop))) {
            if stop < next {
                quarter.now_is(stop).await;
                quarter.take_what_waits().await;
            }
        }
    }
    let listed = quarter.get("/api/v1/incidents?limit=1000").await;
    let listed = listed["incidents"].as_array().expect("incidents").len();
    let report = quarter.get("/api/v1/report?from=-90d").await;
    assert_eq!(report["all"]["incidents"], listed, "{report}");
    assert_eq!(report["all"]["resolved"]["count"], listed, "four hours after the last event all is over: {report}");
    let by = |name: &str| report[name].as_array().expect("slices").iter().map(|slice| &slice["incidents"]);
    let sum = |name: &str| by(name).map(|count| count.as_u64().expect("a count")).sum::<u64>();
    assert_eq!((sum("by_priority"), sum("by_service")), (listed as u64, listed as u64), "{report}");
    let printed = incidentd(&["report", "--url", &quarter.url(""), "--from", "-90d"]).await;
    println!("{} events\n{}", events.len(), text(&printed.stdout));
    let problems = quarter.get("/api/v1/problems").await;
    println!("{} problem candidates", problems["problems"].as_array().expect("problems").len());
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let Quarter { app, directory, .. } = quarter;
    app.stop().await;
    drop(directory);
}
