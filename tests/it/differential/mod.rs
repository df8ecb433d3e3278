//! Held against a real Alertmanager: the same requests to its API, and the same alerts, silences and inhibitions.
//!
//! Hundreds of generated traces run in both at once, each with a label of its own, in steps on a common grid, which leave
//! both the time to tell what there is to tell. After each step both must show the same alerts as active and as
//! suppressed; in the end, what was told of every group in every step must be the same, but for the differences that
//! `compare` names and `docs/alertmanager.md` gives the reasons for. `INCIDENTD_DIFFERENTIAL_SEED` sets the traces,
//! `INCIDENTD_DIFFERENTIAL_TRACES` how many (default 240).
//!
//! Both systems go by timers of their own, so what they tell in which step is a matter of time: what ends by itself has to
//! do so in the step after the one in which it began, and a notification must not slip into the next one. On a machine
//! too busy for that, the traces in which it did are run again, with longer steps; a difference is one that is there
//! each time. All that differed is printed.

mod api;
mod compare;
mod models;
mod systems;
mod traces;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use incidentd::event::Timestamp;
use serde_json::{Value, json};

use crate::harness::events::now;
use crate::harness::{http_client, pass};
use systems::Systems;
use traces::{Op, STEPS, Step, Trace};

/// How long a step lasts at least: Alertmanager looks at a group once a second.
const STEP: Duration = Duration::from_millis(2_500);
/// How far into its last step reaches what ends by itself, in each run of the traces that are left from the one before.
const EARLY: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(6), Duration::from_secs(18)];
/// How much longer a step may last on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(15);

/// One run of traces through both.
struct Run {
    systems: Systems,
    http: reqwest::Client,
    traces: Vec<Trace>,
    early: Duration,
    /// Since when each alert fires, by trace and place.
    since: BTreeMap<(usize, usize), Timestamp>,
    /// The silence of each trace, in both.
    silences: BTreeMap<usize, [String; 2]>,
    /// Traces in which something ended by itself before its step had come, for the machine was busy.
    spoilt: BTreeSet<usize>,
    /// By trace.
    faults: BTreeMap<usize, Vec<String>>,
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
                let ends_at = now.plus(if silence.short { STEP + self.early } else { Duration::from_secs(3_600) });
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
                let since = self.since.entry((trace.number, *place)).or_insert(now);
                let mut say = |starts_at: Timestamp, ends_at: Timestamp| {
                    alerts.push(json!({
                        "labels": trace.labels(*place), "startsAt": starts_at, "endsAt": ends_at,
                        "annotations": {"text": if *op == Op::Restate { "another" } else { "one" }},
                    }));
                };
                let lasting = now.plus(Duration::from_secs(3_600));
                let before = std::mem::replace(since, if op.begins() { now } else { *since });
                match op {
                    Op::Fire | Op::Repeat | Op::Restate => say(*since, lasting),
                    Op::Lapse => say(now, now.plus(STEP + self.early)),
                    Op::Resolve | Op::Stray => say(*since, now),
                    Op::Flap => {
                        say(before, now);
                        say(now, lasting);
                    }
                }
            }
        }
        alerts
    }

    /// Waits until both have told what there is to tell.
    async fn settles(&self, story: &compare::Story, number: usize, patience: Duration) -> bool {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        let settled = async {
            while !story.is_told(&self.traces, &self.systems.books(), number) {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(patience, settled).await.is_ok()
    }

    /// Sets apart the traces in which the end of a step came after what was to end by itself in the next one.
    fn spoil(&mut self, number: usize, lasted: Duration) {
        if lasted + Duration::from_millis(100) > STEP + self.early {
            let ending = self.traces.iter().filter(|trace| trace.ends_by_itself(number));
            self.spoilt.extend(ending.map(|trace| trace.number));
        }
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
                    let fault = format!("after step {number} {who} shows {found:?} for {expected:?} in {trace}");
                    self.faults.entry(trace.number).or_default().push(fault);
                }
            }
        }
    }
}

impl Run {
    async fn new(traces: Vec<Trace>, early: Duration) -> Self {
        Self {
            systems: Systems::start().await,
            http: http_client(),
            traces,
            early,
            since: BTreeMap::new(),
            silences: BTreeMap::new(),
            spoilt: BTreeSet::new(),
            faults: BTreeMap::new(),
        }
    }

    /// Adds what was found to the findings. Returns the traces that were spoilt or that differ, with what differs.
    async fn play(mut self, findings: &mut compare::Findings) -> Vec<(Trace, Vec<String>)> {
        let story = compare::Story::of(&self.traces);
        let mut patience = LATE_MAX;
        for number in 0..STEPS {
            let begun = now();
            self.step(number).await;
            pass(self.length(number)).await;
            if !self.settles(&story, number, patience).await {
                // One that never settles differs; it need not be waited for again.
                patience = Duration::ZERO;
            }
            self.agree(number).await;
            self.spoil(number, now().since(begun));
        }
        let Self { systems, traces, spoilt, mut faults, .. } = self;
        let books = systems.books();
        let mut again = Vec::new();
        for trace in traces {
            let mut found = story.compare(&trace, &books);
            found.faults.extend(faults.remove(&trace.number).unwrap_or_default());
            if spoilt.contains(&trace.number) {
                again.push((trace, Vec::new()));
            } else if found.faults.is_empty() {
                findings.add(found);
            } else {
                again.push((trace, found.faults));
            }
        }
        systems.daemon.is_sound().await;
        again
    }

    /// How long a step lasts at least: until what ends by itself in it has ended.
    fn length(&self, number: usize) -> Duration {
        let ends =
            number.checked_sub(1).is_some_and(|before| self.traces.iter().any(|trace| trace.ends_by_itself(before)));
        if ends { STEP.max(self.early + Duration::from_millis(500)) } else { STEP }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanager_tells_the_same_of_the_same_traces() {
    let seed = setting("INCIDENTD_DIFFERENTIAL_SEED", 1);
    let count = setting("INCIDENTD_DIFFERENTIAL_TRACES", 240) as usize;
    println!("{count} traces, INCIDENTD_DIFFERENTIAL_SEED={seed}");
    let mut again: Vec<_> = (0..count).map(|number| (Trace::generate(seed, number), Vec::new())).collect();
    let mut findings = compare::Findings::default();
    for early in EARLY {
        if !again.is_empty() {
            let traces = again.into_iter().map(|(trace, _)| trace).collect();
            again = Run::new(traces, early).await.play(&mut findings).await;
            let differ = again.iter().filter(|(_, faults)| !faults.is_empty()).count();
            println!("{differ} traces differ, {} were spoilt by a busy machine", again.len() - differ);
            again.iter().flat_map(|(_, faults)| faults).take(10).for_each(|fault| println!("{fault}"));
        }
    }
    println!("{findings}");
    let faults: Vec<_> = again.iter().flat_map(|(_, faults)| faults).take(10).map(String::as_str).collect();
    assert!(faults.is_empty(), "seed {seed}: differences without a reason each time:\n{}", faults.join("\n"));
    assert!(again.is_empty(), "{} of {count} traces were spoilt each time: too busy a machine", again.len());
}

/// A run meets a few hundred traces; this looks at enough of them that the names cover whatever a run may draw.
#[test]
fn where_the_models_differ_a_difference_has_a_name() {
    let nameless: Vec<_> = (0..4_000).filter_map(|number| compare::nameless(&Trace::generate(0, number))).collect();
    let shown = nameless.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(nameless.is_empty(), "{} traces with differences without a reason:\n{shown}", nameless.len());
}
