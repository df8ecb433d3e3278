//! The engine against a naive reference, and against itself: restarted, batched otherwise, sharded, damaged.
//!
//! Random rules, random events with few names, out of order, on a clock of whole seconds, so that everything happens at
//! once as often as it can.

mod desk;
mod laws;
mod orders;
mod practice;
mod priority;
mod reference;
mod suppression;

use std::sync::Arc;
use std::time::Duration;

use incidentd::engine::decision::{Decision, Verdict};
use incidentd::engine::incident::{IncidentDoc, IncidentStatus, Key};
use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::{Batch, Timestamp};
use incidentd::normalise::NormaliseConfig;
use incidentd::rules::{
    AbsenceConfig, Definition, DistinctConfig, FlappingConfig, ImpactConfig, Late, OnStale, OpenWhenConfig,
    RatioConfig, RuleConfig, RuleSet, ServiceConfig, SetConfig, Share, StepConfig, StormConfig, UnionConfig,
    WindowType, compile,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::scenarios::runner::Gate;
use orders::{Order, orders};
use reference::{Reference, Seen, Told};

const START: Timestamp = Timestamp::from_parts(1_800_000_000, 0);

/// Which alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    service: u8,
    host: u8,
}

impl Name {
    fn label(self, name: &str) -> String {
        if name == "service" { format!("s{}", self.service) } else { format!("h{}", self.host) }
    }
}

/// An event, on the clock of the test.
#[derive(Clone, Debug)]
pub struct Sent {
    name: Name,
    firing: bool,
    at: Timestamp,
    ends_at: Option<Timestamp>,
    id: Option<u8>,
    severity: &'static str,
}

/// An event as it is generated, relative to the time of its step.
#[derive(Clone, Debug)]
struct Draft {
    name: Name,
    firing: bool,
    lag_s: i64,
    lease_s: Option<u64>,
    id: Option<u8>,
    severity: &'static str,
}

/// Time passes, then events come in one batch, then orders, one by one.
#[derive(Clone, Debug, Default)]
struct Step {
    pause_s: u64,
    events: Vec<Draft>,
    orders: Vec<Order>,
}

impl Draft {
    fn sent_at(&self, now: Timestamp) -> Sent {
        let lag = Duration::from_secs(self.lag_s.unsigned_abs());
        let at = if self.lag_s < 0 { now.plus(lag) } else { now.minus(lag) };
        let ends_at = self.lease_s.map(|lease_s| at.plus(Duration::from_secs(lease_s)));
        Sent { name: self.name, firing: self.firing, at, ends_at, id: self.id, severity: self.severity }
    }
}

impl Sent {
    fn json(&self) -> serde_json::Value {
        let mut event = serde_json::json!({
            "labels": { "service": self.name.label("service"), "host": self.name.label("host") },
            "status": if self.firing { "firing" } else { "resolved" },
            "occurred_at": self.at.to_string(),
            "severity": self.severity,
        });
        if let Some(ends_at) = self.ends_at {
            event["ends_at"] = ends_at.to_string().into();
        }
        if let Some(id) = self.id {
            event["id"] = id.to_string().into();
        }
        event
    }
}

fn seconds(of: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(of).prop_map(Duration::from_secs)
}

fn open_when() -> impl Strategy<Value = OpenWhenConfig> {
    let count = 1u32..4;
    (select(&[0u8, 1, 2][..]), count).prop_map(|(kind, count)| OpenWhenConfig {
        alerts: (kind == 0).then_some(count),
        events: (kind == 1).then_some(count),
        distinct: (kind == 2).then(|| DistinctConfig { label: "host".to_owned(), count }),
        ..OpenWhenConfig { alerts: None, ..OpenWhenConfig::default() }
    })
}

fn rule() -> impl Strategy<Value = RuleConfig> {
    const GROUP_BY: &[&[&str]] = &[&[], &["service"], &["host", "service"]];
    let group_by = select(GROUP_BY);
    let times = (
        seconds(&[1, 5, 10, 30]),
        seconds(&[0, 0, 5, 15]),
        seconds(&[0, 5, 20]),
        seconds(&[0, 10, 60]),
        seconds(&[0, 5]),
    );
    let kinds = select(&[WindowType::Sliding, WindowType::Sliding, WindowType::Tumbling, WindowType::Session][..]);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (group_by, open_when(), times, kinds, flags).prop_map(|(group_by, open_when, times, window_type, flags)| {
        let (window, wait, resolve_after, reopen_within, update_interval) = times;
        let (hold, all, short) = flags;
        let is_short = window_type == WindowType::Session && short;
        RuleConfig {
            window_type,
            window_max: is_short.then_some(window * 2),
            group_by: group_by.iter().map(|label| (*label).to_owned()).collect(),
            matchers: if all { Vec::new() } else { vec!["host!=h0".to_owned()] },
            on_stale: if hold { OnStale::Hold } else { OnStale::Clear },
            open_when,
            window,
            wait,
            resolve_after,
            reopen_within,
            update_interval,
            ..serde_saphyr::from_str("name: r").expect("a rule")
        }
    })
}

fn rules() -> impl Strategy<Value = Vec<RuleConfig>> {
    vec(rule(), 1..4).prop_map(named)
}

fn named(mut rules: Vec<RuleConfig>) -> Vec<RuleConfig> {
    rules.iter_mut().enumerate().for_each(|(place, rule)| rule.name = format!("r{place}"));
    rules
}

/// Rules of every kind, those that the reference does not know among them.
fn rules_of_every_kind() -> impl Strategy<Value = Vec<RuleConfig>> {
    let of = |host: &str| vec![format!("host={host}")];
    let step = move |host: &str| StepConfig { matchers: of(host) };
    let kind = select(&[0u8, 0, 0, 1, 1, 2, 2, 3, 4, 5][..]);
    let rule = (rule(), kind, 1u64..30, any::<bool>(), any::<bool>());
    let rule = rule.prop_map(move |(mut rule, kind, within, late, cleared)| {
        let none = OpenWhenConfig { alerts: None, ..OpenWhenConfig::default() };
        match kind {
            1 => {
                let sequence = Some(vec![step("h0"), step("h1"), step("h2")]);
                rule.open_when = OpenWhenConfig { sequence, ..none };
            }
            2 => {
                let within = Duration::from_secs(within);
                let absence = Some(AbsenceConfig { after: of("h1"), of: of("h2"), within });
                rule.open_when = OpenWhenConfig { absence, ..none };
                (rule.window, rule.on_stale) = (Duration::from_secs(300), OnStale::Clear);
            }
            3 => {
                let share = Share::parse("50%").expect("a share");
                let ratio = Some(RatioConfig { label: "host".to_owned(), share, of: "hosts".to_owned() });
                rule.open_when = OpenWhenConfig { ratio, ..none };
                rule.group_by = vec!["service".to_owned()];
            }
            4 => {
                let distinct = Some(DistinctConfig { label: "host".to_owned(), count: 20_000 });
                rule.open_when = OpenWhenConfig { distinct, ..none };
            }
            // More than a window keeps in a plain list.
            5 => rule.open_when = OpenWhenConfig { events: Some(25), ..none },
            _ => {}
        }
        if (1..5).contains(&kind) {
            (rule.window_type, rule.window_max) = (WindowType::Sliding, None);
        }
        rule.late = if late { Late::Count } else { Late::Stale };
        rule.cleared_by = if cleared { of("h0") } else { Vec::new() };
        rule
    });
    vec(rule, 1..4).prop_map(named)
}

/// Rules of every kind, and some of them know flapping and storms.
fn rules_of_all_sorts() -> impl Strategy<Value = Vec<RuleConfig>> {
    let flapping = (2u32..4, seconds(&[5, 60]), seconds(&[5, 30]));
    let flapping = flapping.prop_map(|(changes, within, stable)| FlappingConfig { changes, within, stable });
    let storm = (1u32..4, seconds(&[1, 10, 30])).prop_map(|(opens, per)| StormConfig { opens, per });
    (rules_of_every_kind(), vec((prop::option::of(flapping), prop::option::of(storm)), 3)).prop_map(
        |(mut rules, calm)| {
            rules
                .iter_mut()
                .zip(calm)
                .for_each(|(rule, (flapping, storm))| (rule.flapping, rule.storm) = (flapping, storm));
            rules
        },
    )
}

/// The same, and some of them join by any of some labels, or end the search.
fn rules_of_all_sorts_and_unions() -> impl Strategy<Value = Vec<RuleConfig>> {
    const UNIONS: &[&[&str]] = &[&["host"], &["host", "service"], &["service", "host"]];
    let union = prop::option::weighted(0.4, (select(UNIONS), select(&[1_000u32, 1_000, 3][..])));
    (rules_of_all_sorts(), vec((union, prop::bool::weighted(0.8)), 3)).prop_map(|(mut rules, more)| {
        for (rule, (union, goes_on)) in rules.iter_mut().zip(more) {
            rule.proceed = goes_on;
            let OpenWhenConfig { alerts, events, distinct, .. } = &rule.open_when;
            let few = distinct.as_ref().is_some_and(|distinct| distinct.count <= 10_000);
            let counts = alerts.is_some() || events.is_some() || few;
            let Some((labels, max)) = union.filter(|_| counts) else { continue };
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let stop_values = vec!["h0".to_owned()];
            rule.union_by = Some(UnionConfig { labels, stop_values, max_alerts: max, value_max: max });
            (rule.group_by, rule.cleared_by) = (Vec::new(), Vec::new());
        }
        rules
    })
}

fn config() -> impl Strategy<Value = EngineConfig> {
    (seconds(&[5, 20, 60]), seconds(&[0, 5, 20]), seconds(&[10, 60])).prop_map(|(lease, lateness, horizon)| {
        EngineConfig { resolve_timeout: lease, lateness, dedup_horizon: horizon, ..EngineConfig::default() }
    })
}

fn draft(critical: u32) -> impl Strategy<Value = Draft> {
    let name = (0u8..2, 0u8..3).prop_map(|(service, host)| Name { service, host });
    let firing = prop::bool::weighted(0.7);
    let lag_s = prop_oneof![4 => Just(0i64), 2 => 0i64..12, 1 => -5i64..40];
    let lease_s = prop::option::weighted(0.3, 0u64..40);
    let id = prop::option::weighted(0.2, 0u8..6);
    let severity = prop_oneof![8 => Just("warning"), critical => Just("critical")];
    (name, firing, lag_s, lease_s, id, severity).prop_map(|(name, firing, lag_s, lease_s, id, severity)| Draft {
        name,
        firing,
        lag_s,
        lease_s,
        id,
        severity,
    })
}

/// Of nine events `critical` are graver than the others.
fn steps(critical: u32) -> impl Strategy<Value = Vec<Step>> {
    let pause_s = prop_oneof![3 => 0u64..3, 3 => select(&[5u64, 10, 15, 20][..]), 1 => 0u64..100];
    vec(
        (pause_s, vec(draft(critical), 0..5)).prop_map(|(pause_s, events)| Step {
            pause_s,
            events,
            orders: Vec::new(),
        }),
        1..25,
    )
}

/// The same, with changes and with what operators order.
fn eventful_steps() -> impl Strategy<Value = Vec<Step>> {
    (steps(1), vec(orders(), 25)).prop_map(|(mut steps, orders)| {
        steps.iter_mut().zip(orders).for_each(|(step, orders)| step.orders = orders);
        steps
    })
}

fn compiled(rules: &[RuleConfig], scope: &[String]) -> Arc<RuleSet> {
    compiled_with(rules, scope, "[]")
}

/// With services, one of which needs the other, and all that raises a priority.
fn compiled_with_services(rules: &[RuleConfig]) -> Arc<RuleSet> {
    let impact = "{services: {medium: 2}, users: {high: 30}, environments: [{match: [host=h0], impact: low}]}";
    let urgency = "{alerts: {medium: 2, high: 3}, after: {medium: 20s, high: 60s}}";
    let read = (serde_saphyr::from_str(impact).expect(impact), serde_saphyr::from_str(urgency).expect(urgency));
    let services = "[{name: s0, depends_on: [s1], impact: high, users: 20}, {name: s1, impact: low, users: 10}]";
    let asking = rules.iter().cloned().enumerate().map(|(place, mut rule)| {
        rule.incident.impact = if place % 2 == 0 { ImpactConfig::FromService } else { ImpactConfig::Low };
        rule
    });
    compiled_by(
        &asking.collect::<Vec<_>>(),
        services,
        Definition { impact: &read.0, urgency: &read.1, ..Definition::of(&[], &[]) },
    )
}

fn compiled_with(rules: &[RuleConfig], scope: &[String], services: &str) -> Arc<RuleSet> {
    compiled_by(rules, services, Definition { scope, ..Definition::of(&[], &[]) })
}

fn compiled_by(rules: &[RuleConfig], services: &str, definition: Definition<'_>) -> Arc<RuleSet> {
    let services: Vec<ServiceConfig> = serde_saphyr::from_str(services).expect("services");
    let usual = ["ops".to_owned()];
    let sinks = if definition.sinks.is_empty() { &usual[..] } else { definition.sinks };
    let sets: Vec<SetConfig> =
        serde_saphyr::from_str("[{name: hosts, label: service, members: {s0: [h0, h1, h2], s1: [h1]}}]")
            .expect("a set");
    let (set, problems) = compile(&Definition { rules, sinks, sets: &sets, services: &services, ..definition });
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    Arc::new(set)
}

/// A shard behind the real way in.
struct Rig {
    config: EngineConfig,
    shard: Shard,
    gate: Gate,
    now: Timestamp,
}

/// What a step brought about.
#[derive(Debug, Default)]
struct Brought {
    verdicts: Vec<Verdict>,
    answers: Vec<String>,
    decisions: Vec<Decision>,
    /// Documents that no decision shows.
    renewed: Vec<Arc<IncidentDoc>>,
    journal: Vec<u8>,
}

impl Rig {
    fn new(config: &EngineConfig, rules: Arc<RuleSet>, scope: &[String]) -> Self {
        let normalise = NormaliseConfig { scope: scope.to_vec(), ..NormaliseConfig::default() };
        Self {
            config: config.clone(),
            shard: Shard::new(config.clone(), rules),
            gate: Gate::new(normalise),
            now: START,
        }
    }

    fn batch(&mut self, events: &[Draft]) -> Batch {
        let events: Vec<_> = events.iter().map(|draft| draft.sent_at(self.now).json()).collect();
        let body = serde_json::to_vec(&events).expect("JSON");
        let (batch, rejects) = self.gate.take(self.now, body).expect("an array");
        assert_eq!(rejects, []);
        batch
    }

    fn step(&mut self, step: &Step) -> Brought {
        self.now = self.now.plus(Duration::from_secs(step.pause_s));
        let batch = self.batch(&step.events);
        let mut verdicts = Vec::new();
        self.shard.apply(self.now, &batch, None, &mut verdicts);
        let answers = step.orders.iter().map(|order| self.order(order)).collect();
        let changes = self.shard.take_changes();
        Brought { verdicts, answers, decisions: changes.decisions, renewed: changes.renewed, journal: changes.journal }
    }

    fn seen(&self) -> Vec<Seen> {
        let docs = self.shard.docs();
        let seen = docs.iter().map(|doc| {
            let resolved = doc.status == IncidentStatus::Resolved;
            (doc.rule.to_string(), key(&doc.key), resolved, doc.alerts.firing, doc.alerts.total)
        });
        let mut seen: Vec<Seen> = seen.collect();
        seen.sort();
        seen
    }
}

fn key(key: &Key) -> String {
    key.pairs().iter().map(|(_, value)| &**value).collect::<Vec<_>>().join(",")
}

fn told(decision: &Decision) -> Told {
    (decision.incident.rule.to_string(), key(&decision.incident.key), decision.action)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_reference_does(config in config(), rules in rules(), steps in steps(0)) {
        let mut rig = Rig::new(&config, compiled(&rules, &[]), &[]);
        let mut reference = Reference::new(config, rules);
        for (number, step) in steps.iter().enumerate() {
            let brought = rig.step(step);
            reference.advance(rig.now);
            step.events.iter().for_each(|draft| reference.event(rig.now, &draft.sent_at(rig.now)));
            prop_assert_eq!(rig.seen(), reference.seen(), "step {}", number);
            // Of incidents that end at the same instant, either may be told first.
            let mut told: Vec<Told> = brought.decisions.iter().map(told).collect();
            let mut expected = std::mem::take(&mut reference.told);
            told.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            expected.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            prop_assert_eq!(told, expected, "step {}", number);
        }
    }
}
