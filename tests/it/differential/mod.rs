//! Held against a real Alertmanager: the same requests to its API, and the same alerts, silences and inhibitions.
//!
//! Hundreds of generated traces run in both at once, each with a label of its own, in steps on a common grid, which leave
//! both the time to tell what there is to tell. After each step both must show the same alerts as active and as
//! suppressed; in the end, what was told of every group in every step must be the same, but for the differences that
//! `compare` names and `docs/alertmanager.md` gives the reasons for. `INCIDENTD_DIFFERENTIAL_SEED` sets the traces
//! (printed), `INCIDENTD_DIFFERENTIAL_TRACES` how many (default 240).

mod api;
mod compare;
mod systems;
mod traces;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use incidentd::event::Timestamp;
use serde_json::{Value, json};

use crate::harness::events::now;
use crate::harness::http_client;
use systems::Systems;
use traces::{Op, STEPS, Step, Trace};

/// Alertmanager looks at a group once a second.
const STEP: Duration = Duration::from_millis(2_500);
/// How far into its last step reaches what ends by itself.
const EARLY: Duration = Duration::from_millis(300);

/// Runs the traces in both.
struct Run {
    systems: Systems,
    http: reqwest::Client,
    traces: Vec<Trace>,
    /// Since when each alert fires, by trace and place.
    since: BTreeMap<(usize, usize), Timestamp>,
    /// The silence of each trace, in both.
    silences: BTreeMap<usize, [String; 2]>,
    faults: Vec<String>,
}

impl Run {
    async fn post(&self, path: &str, body: &Value) -> [Value; 2] {
        let [theirs, ours] = self.systems.urls();
        let ask = async |url: String| {
            let response = self.http.post(format!("{url}{path}")).json(body).send().await.expect("an answer");
            let (status, answer) = (response.status(), response.text().await.expect("a text"));
            assert!(status.is_success(), "{url}{path} {body}: {answer}");
            serde_json::from_str(&answer).unwrap_or_default()
        };
        tokio::join!(ask(theirs), ask(ours)).into()
    }

    async fn step(&mut self, number: usize) {
        self.systems.begin(number);
        let silencing = self.traces.iter().map(|trace| self.silence(trace, number));
        for (trace, ids) in join_all(silencing).await.into_iter().flatten() {
            self.silences.insert(trace, ids);
        }
        let alerts = self.alerts(number, now());
        if !alerts.is_empty() {
            self.post("/api/v2/alerts", &json!(alerts)).await;
        }
    }

    /// Makes or ends the silence of a trace, where that is its step.
    async fn silence(&self, trace: &Trace, number: usize) -> Option<(usize, [String; 2])> {
        match &trace.steps[number] {
            Step::Silence(silence) => {
                let now = now();
                let ends_at = now.plus(if silence.short { STEP + EARLY } else { Duration::from_secs(3_600) });
                let made = self.post("/api/v2/silences", &silence.body(trace, now, ends_at)).await;
                Some((trace.number, made.map(|made| made["silenceID"].as_str().expect("an id").to_owned())))
            }
            Step::Expire => {
                let urls = self.systems.urls().into_iter().zip(&self.silences[&trace.number]);
                let ends = urls.map(|(url, id)| self.http.delete(format!("{url}/api/v2/silence/{id}")).send());
                for ended in join_all(ends).await {
                    assert!(ended.expect("an answer").status().is_success(), "{trace}");
                }
                None
            }
            Step::Quiet | Step::Alerts(_) => None,
        }
    }

    /// What all traces have to say of their alerts in a step.
    fn alerts(&mut self, number: usize, now: Timestamp) -> Vec<Value> {
        let mut alerts = Vec::new();
        for trace in &self.traces {
            let Step::Alerts(ops) = &trace.steps[number] else { continue };
            for (place, op) in ops {
                let begins = matches!(op, Op::Fire | Op::Lapse | Op::Stray);
                let since = self.since.entry((trace.number, *place)).or_insert(now);
                *since = if begins { now } else { *since };
                let ends_at = match op {
                    Op::Fire | Op::Repeat | Op::Restate => now.plus(Duration::from_secs(3_600)),
                    Op::Lapse => now.plus(STEP + EARLY),
                    Op::Resolve | Op::Stray => now,
                };
                alerts.push(json!({
                    "labels": trace.labels(*place), "startsAt": *since, "endsAt": ends_at,
                    "annotations": {"text": if *op == Op::Restate { "another" } else { "one" }},
                }));
            }
        }
        alerts
    }

    /// Both must show what fires and what is muted as the traces have it.
    async fn agree(&mut self, number: usize) {
        for (who, url) in ["alertmanager", "incidentd"].into_iter().zip(self.systems.urls()) {
            let shown = self.http.get(format!("{url}/api/v2/alerts")).send().await.expect("an answer");
            let shown: Vec<Value> = shown.json().await.expect("JSON");
            let shown = compare::states(&shown);
            for trace in &self.traces {
                let expected = compare::expected(&trace.states[number]);
                let found = shown.get(&trace.label()).cloned().unwrap_or_default();
                if found != expected {
                    self.faults.push(format!("after step {number} {who} shows {found:?} for {expected:?} in {trace}"));
                }
            }
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanager_tells_the_same_of_the_same_traces() {
    let seed = setting("INCIDENTD_DIFFERENTIAL_SEED", rand::random::<u32>().into());
    let count = setting("INCIDENTD_DIFFERENTIAL_TRACES", 240) as usize;
    println!("{count} traces, INCIDENTD_DIFFERENTIAL_SEED={seed}");
    let traces = (0..count).map(|number| Trace::generate(seed, number)).collect();
    let (since, silences, faults) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut run = Run { systems: Systems::start().await, http: http_client(), traces, since, silences, faults };
    let mut grid = tokio::time::interval(STEP);
    grid.tick().await;
    for number in 0..STEPS {
        run.step(number).await;
        grid.tick().await;
        run.agree(number).await;
    }
    let Run { systems, traces, mut faults, .. } = run;
    let found = compare::compare(&traces, &systems.books());
    println!("{found}");
    faults.extend(found.faults);
    let shown: Vec<&String> = faults.iter().take(10).collect();
    assert!(
        faults.is_empty(),
        "seed {seed}: {} differences without a reason:\n{}",
        faults.len(),
        shown.iter().map(|fault| fault.as_str()).collect::<Vec<_>>().join("\n")
    );
    systems.daemon.is_sound().await;
}
