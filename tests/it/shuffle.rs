//! Any order of arrival within the lateness allowed gives the same incidents.
//!
//! An incident is compared by its rule, its key and the alerts that it gathered. Its id is that of the event which
//! opened it, and where one event is enough that is the first to arrive: nobody waits for a name.
//!
//! One thing is decided by arrival on purpose: a resolve that overtakes its firing event wins, so that nobody is called
//! for what is over. Resolves are therefore kept further than the lateness behind what they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::Timestamp;
use incidentd::identity::IncidentId;
use incidentd::normalise::NormaliseConfig;
use incidentd::rules::{Definition, RuleConfig, RuleSet, compile};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::recording;
use crate::scenarios::runner::Gate;

const START: Timestamp = Timestamp::from_parts(1_800_000_000, 0);
const LATENESS: Duration = Duration::from_secs(120);
/// Long enough for every incident to be resolved and closed.
const AFTERWARDS: Duration = Duration::from_secs(90 * 86_400);

/// An event and when it arrives.
type Arrival = (Timestamp, Value);

/// Rule, key and the labels of the alerts, of every incident; and how many events were too late.
type Outcome = (Vec<(String, String, Vec<String>)>, usize);

fn rule_set(rules: &str) -> Arc<RuleSet> {
    let rules: Vec<RuleConfig> = serde_saphyr::from_str(rules).expect("rules");
    let (set, problems) = compile(&Definition::of(&rules, &["ops".to_owned()]));
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    Arc::new(set)
}

/// Lets the events arrive, each in a batch of its own, and everything run to its end.
fn run(rules: &Arc<RuleSet>, arrivals: &[Arrival]) -> Outcome {
    let config = EngineConfig { lateness: LATENESS, ..EngineConfig::default() };
    let (mut shard, mut gate) = (Shard::new(config, rules.clone()), Gate::new(NormaliseConfig::default()));
    let mut late = 0;
    let mut ended: BTreeMap<IncidentId, (String, String, Vec<String>)> = BTreeMap::new();
    let mut collect = |shard: &mut Shard| {
        for decision in shard.take_changes().decisions {
            let mut alerts: Vec<String> = decision.alerts.iter().map(|alert| format!("{:?}", alert.labels)).collect();
            alerts.sort();
            let doc = &decision.incident;
            ended.insert(doc.id, (doc.rule.to_string(), format!("{:?}", doc.key), alerts));
        }
    };
    for (now, event) in arrivals {
        // As a daemon does: every deadline in its time.
        while let Some(due) = shard.next_deadline().filter(|due| due < now) {
            shard.advance(due);
        }
        let (batch, rejects) = gate.take(*now, serde_json::to_vec(&[event]).expect("JSON")).expect("an array");
        assert_eq!(rejects, []);
        let mut verdicts = Vec::new();
        shard.apply(*now, &batch, None, &mut verdicts);
        late += verdicts.iter().filter(|verdict| verdict.reason.code() == "late").count();
        collect(&mut shard);
    }
    let last = arrivals.iter().map(|(at, _)| *at).max().unwrap_or(START);
    shard.advance(last.plus(AFTERWARDS));
    collect(&mut shard);
    let mut outcome: Vec<_> = ended.into_values().collect();
    outcome.sort();
    (outcome, late)
}

/// Each event comes up to the lateness after it happened.
fn delayed(events: &[(Timestamp, Value)], mut delay: impl FnMut(usize) -> Duration) -> Vec<Arrival> {
    let places = events.iter().enumerate();
    let mut arrivals: Vec<Arrival> =
        places.map(|(place, (at, event))| (at.plus(delay(place)), event.clone())).collect();
    arrivals.sort_by_key(|(arrives, _)| *arrives);
    arrivals
}

/// Errors by node; warnings by component and kind once three nodes have them within an hour.
const RECORDING_RULES: &str = "\
    - { name: node-fails, match: ['severity=~\"critical|error\"'], group_by: [node], window: 1h }\n\
    - { name: many-nodes-warn, match: ['severity=\"warning\"'], group_by: [component, event], window: 1h,\n\
    \x20   open_when: { distinct: { label: node, count: 3 } } }\n";

#[test]
fn a_recording_shuffled_within_the_lateness_becomes_the_same_incidents() {
    let rules = rule_set(RECORDING_RULES);
    let mut events: Vec<(Timestamp, Value)> =
        recording::recording().into_iter().map(|event| (recording::happened_at(&event), event)).collect();
    events.sort_by_key(|(at, _)| *at);
    let (expected, _) = run(&rules, &delayed(&events, |_| Duration::ZERO));
    assert!(expected.len() > 20, "{} incidents", expected.len());
    println!("shuffle: {} events, {} incidents in order", events.len(), expected.len());
    for seed in 0..10 {
        let mut chance = StdRng::seed_from_u64(seed);
        let arrivals =
            delayed(&events, |_| Duration::from_micros(chance.random_range(0..=LATENESS.as_micros() as u64)));
        let moved = arrivals.windows(2).filter(|pair| micros(&pair[0].1) > micros(&pair[1].1)).count();
        let (incidents, late) = run(&rules, &arrivals);
        println!("shuffle: seed {seed}, {moved} events overtaken, {} incidents, {late} late", incidents.len());
        assert_eq!(late, 0, "seed {seed}");
        let differ = incidents.iter().zip(&expected).find(|(one, other)| one != other);
        assert!(
            incidents == expected,
            "seed {seed}: {} incidents, not {}: {differ:?}",
            incidents.len(),
            expected.len()
        );
    }
}

fn micros(event: &Value) -> i64 {
    recording::happened_at(event).as_micros()
}

/// One rule of each way to open an incident, over the same events.
const RULES: &[&str] = &[
    "{ name: any, group_by: [service] }",
    "{ name: three-alerts, group_by: [service], window: 1m, open_when: { alerts: 3 } }",
    "{ name: four-events, group_by: [service], window: 1m, open_when: { events: 4 } }",
    "{ name: two-hosts, window: 30s, open_when: { distinct: { label: host, count: 2 } } }",
];

/// When it happens, of which alert, and how late it comes in two runs.
#[derive(Clone, Debug)]
struct Draft {
    at_s: u64,
    service: u8,
    host: u8,
    severity: &'static str,
    delays_s: [u64; 2],
}

fn draft() -> impl Strategy<Value = Draft> {
    let severity = select(&["critical", "warning"][..]);
    let delay = || 0..=LATENESS.as_secs();
    (0u64..900, 0u8..2, 0u8..4, severity, [delay(), delay()])
        .prop_map(|(at_s, service, host, severity, delays_s)| Draft { at_s, service, host, severity, delays_s })
}

impl Draft {
    fn event(&self) -> (Timestamp, Value) {
        let at = START.plus(Duration::from_secs(self.at_s));
        let lease = at.plus(Duration::from_secs(86_400));
        let labels = json!({ "service": format!("s{}", self.service), "host": format!("h{}", self.host) });
        let (occurred_at, ends_at) = (at.to_string(), lease.to_string());
        (at, json!({ "labels": labels, "severity": self.severity, "occurred_at": occurred_at, "ends_at": ends_at }))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_arrival_within_the_lateness_gives_the_same_incidents(drafts in vec(draft(), 1..40)) {
        let rules = rule_set(&format!("[{}]", RULES.join(", ")));
        let events: Vec<(Timestamp, Value)> = drafts.iter().map(Draft::event).collect();
        let in_run = |run: usize| delayed(&events, |place| Duration::from_secs(drafts[place].delays_s[run]));
        let (one, other) = (run(&rules, &in_run(0)), run(&rules, &in_run(1)));
        prop_assert_eq!(one.1, 0, "nothing is late within the bound");
        prop_assert_eq!(one, other);
    }
}
