//! What holds of a whole service desk: deadlines, escalation, major incidents, communication, problems and catalogue,
//! configured at random beside random rules, with pauses of up to days.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use incidentd::engine::EngineConfig;
use incidentd::engine::decision::{Decision, Reason};
use incidentd::engine::desk::Order as Desk;
use incidentd::engine::moves::Move;
use incidentd::engine::suppress::view::AlertViewState;
use incidentd::identity::IncidentId;
use incidentd::rules::{Definition, ImpactConfig, Level, Priority, RuleConfig, RuleSet};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::desk::{Watch, desk_order};
use super::orders::Order;
use super::{Brought, Rig, Step, compiled_by, config, eventful_steps, rules_of_all_sorts_and_unions};
use crate::scenarios::parts::Parts;
use crate::scenarios::seen::Seen;

/// Rules, and what is configured beside them.
#[derive(Clone, Debug)]
struct Setup {
    rules: Vec<RuleConfig>,
    parts: String,
    services: String,
}

impl Setup {
    fn compiled(&self) -> Arc<RuleSet> {
        let parts: Parts = serde_saphyr::from_str(&self.parts).expect(&self.parts);
        let sinks = parts.sinks("ops");
        let definition = parts.define(&self.rules, &sinks);
        compiled_by(&self.rules, &self.services, Definition { sinks: &sinks, ..definition })
    }
}

const CALENDARS: &str =
    "calendars: [{ name: office, zone: Europe/Berlin, hours: { mon-fri: ['09:00-09:20', '10:00-12:00'] } }]
teams: [{ name: web, notify: [web] }, { name: acme, kind: supplier, notify: [duty, web] }]
";

fn priority() -> impl Strategy<Value = String> {
    let targets = select(
        &[
            "targets: { P1: { respond: 1m, resolve: 10m }, P3: { respond: 5m, resolve: 1h }, P4: { respond: 10m, resolve: 2h } }",
            "targets: { P2: { respond: 1m, resolve: 1h }, P4: { respond: 20m, resolve: 1h, calendar: office }, P5: { resolve: 1m } }",
            "targets: {}",
        ][..],
    );
    let warn_at = select(&["[]", "[50%]", "[10%, 50%, 80%]"][..]);
    let rises = select(
        &[
            "",
            "urgency: { alerts: { medium: 2, high: 3 }, after: { medium: 2m, high: 30m } }\n  impact: { services: { medium: 2 }, users: { high: 30 } }\n",
        ][..],
    );
    (targets, warn_at, any::<bool>(), rises).prop_map(|(targets, warn_at, pause, rises)| {
        format!("priority:\n  {targets}\n  warn_at: {warn_at}\n  pause_while_muted: {pause}\n  {rises}\n")
    })
}

fn policies() -> impl Strategy<Value = String> {
    let step = select(
        &[
            "{ after: 0s, notify: [duty], when: 'priority=~\"P1|P2\"' }",
            "{ after: 1m, notify: [duty], unless: acknowledged }",
            "{ after: 5m, notify: [boss], assign: acme }",
            "{ after: 30m, notify: [cell], major: true, runbook: 'https://wiki/plan' }",
            "{ share: 50%, of: resolve, notify: [boss] }",
            "{ share: 80%, of: respond, notify: [duty] }",
            "{ share: 100%, of: resolve, notify: [cell], when: 'priority!=\"P5\"', major: true }",
        ][..],
    );
    let repeat = select(&["", "repeat: 2, repeat_after: 10m, ", "repeat: 1, repeat_after: 1m, "][..]);
    let stop_on = select(&["acknowledged", "in_progress", "resolved"][..]);
    let quiet = select(&["", "quiet: { calendar: office, priorities: [P3, P4, P5] }, "][..]);
    let symptoms = select(&["", "symptoms: follow_cause, "][..]);
    let policy =
        (vec(step, 1..5), repeat, stop_on, quiet, symptoms).prop_map(|(steps, repeat, stop_on, quiet, symptoms)| {
            format!(
                "{repeat}{quiet}{symptoms}stop_on: {stop_on}, steps: [{{ after: 0s, notify: [ops] }}, {}]",
                steps.join(", ")
            )
        });
    (policy.clone(), policy).prop_map(|(one, other)| {
        format!("escalation_policies:\n  - {{ name: standard, {one} }}\n  - {{ name: other, {other} }}\n")
    })
}

fn parts() -> impl Strategy<Value = String> {
    let major = select(
        &[
            "",
            "major_incident: { when: ['priority=~\"P1|P2|P3\"'], crisis_cell: [cell], assign: web, hook: hook, updates_every: 5m }\n",
            "major_incident: { hook: hook }\n",
        ][..],
    );
    let talks = select(
        &[
            "",
            "communication: { audiences: [{ name: public, notify: [board], on: [opened, resolved] }, { name: staff, notify: [web, ops] }], cadence: { P1: 1m, P3: 10m, P4: 30m }, remind: [duty] }\n",
            "communication: { audiences: [{ name: public, notify: [ops], on: [opened] }], cadence: { P2: 5m, P4: 1h } }\n",
            "communication: { audiences: [{ name: public, notify: [board], on: [resolved] }] }\n",
        ][..],
    );
    let problems =
        select(&["", "problems: { recurrences: 2, within: 1h }\n", "problems: { recurrences: 3, within: 7d }\n"][..]);
    (priority(), policies(), major, talks, problems).prop_map(|(priority, policies, major, talks, problems)| {
        // Where nothing is said of it, it is a sink like any other.
        let hook = if major.is_empty() { "" } else { "hook, " };
        format!("sinks: [{hook}duty, boss, cell, board, web]\n{CALENDARS}{priority}{policies}{major}{talks}{problems}")
    })
}

fn setup() -> impl Strategy<Value = Setup> {
    let services = select(
        &[
            "[]",
            "[{ name: s0, depends_on: [s1], impact: high, users: 20, owner: web, escalation: standard }, { name: s1, impact: low, users: 10, calendar: office }]",
            "[{ name: s0, owner: acme, escalation: other, calendar: office }, { name: s1, impact: high, owner: web, depends_on: [s0] }]",
        ][..],
    );
    let bound = select(&[None, Some("standard"), Some("other")][..]);
    (rules_of_all_sorts_and_unions(), vec((bound, 0u8..3), 3), parts(), services).prop_map(
        |(mut rules, bound, parts, services)| {
            for (rule, (policy, impact)) in rules.iter_mut().zip(bound) {
                rule.escalation = policy.map(str::to_owned);
                rule.incident.impact =
                    [ImpactConfig::FromService, ImpactConfig::Low, ImpactConfig::High][usize::from(impact)];
            }
            Setup { rules, parts, services: services.to_owned() }
        },
    )
}

/// Leases that outlast the pauses, as often as not.
fn patient_config() -> impl Strategy<Value = EngineConfig> {
    (config(), select(&[20u64, 600, 86_400][..]))
        .prop_map(|(config, lease)| EngineConfig { resolve_timeout: std::time::Duration::from_secs(lease), ..config })
}

fn practised_order() -> impl Strategy<Value = Desk> {
    let reason = || "so".to_owned();
    prop_oneof![
        6 => desk_order(),
        3 => Just(Desk::Escalate { reason: reason() }),
        2 => Just(Desk::DeclareMajor { reason: reason() }),
        2 => Just(Desk::StandDown { reason: reason() }),
        3 => select(&["web", "acme", "nobody"][..]).prop_map(move |to| Desk::Assign { to: to.to_owned(), reason: String::new() }),
        2 => Just(Desk::Accept),
        3 => select(&["public", "staff", "internal"][..])
            .prop_map(|audience| Desk::Note { text: "words".to_owned(), audience: audience.to_owned() }),
        2 => (prop::option::of(0u8..3), 0usize..5).prop_map(move |(urgency, priority)| {
            let urgency = urgency.and_then(Level::from_byte);
            let priority = urgency.is_none().then(|| Priority::ALL[priority]);
            Desk::Reprioritise { impact: None, urgency, priority, reason: "so".to_owned() }
        }),
    ]
}

/// Steps with pauses from seconds to days, and with whatever can be ordered of an incident.
fn long_steps() -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![2 => Just(0u64), 3 => select(&[30u64, 60, 120, 300, 600][..]), 2 => 60u64..7_200, 1 => 3_600u64..200_000];
    let ordered = prop_oneof![1 => Just(Vec::new()), 1 => vec((any::<Index>(), practised_order()), 1..4)];
    (eventful_steps(), vec((pause, ordered), 25)).prop_map(|(mut steps, more)| {
        for (step, (pause, ordered)) in steps.iter_mut().zip(more) {
            step.pause_s += pause;
            step.orders.extend(ordered.into_iter().map(|(incident, order)| Order::Operate(incident, order)));
        }
        steps
    })
}

fn rig(config: &EngineConfig, setup: &Setup) -> Rig {
    Rig::new(config, setup.compiled(), &[])
}

/// A shard made of what another one wrote, in its place.
fn restored<'a>(of: &Rig, setup: &Setup, parts: impl Iterator<Item = &'a Vec<u8>>) -> Rig {
    let mut rig = rig(&of.config, setup);
    rig.now = of.now;
    for part in parts.filter(|part| !part.is_empty()) {
        rig.shard.restore(part).expect("what the shard wrote");
    }
    rig.shard.finish_restore();
    rig
}

fn shown(brought: &Brought) -> String {
    format!("{:#?}\n{:#?}\n{:#?}", brought.verdicts, brought.answers, brought.decisions)
}

/// What is due at once is done by the next who asks.
fn settled(rig: &mut Rig) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for _ in 0..100 {
        rig.shard.advance(rig.now);
        let changes = rig.shard.take_changes();
        if changes.decisions.is_empty() {
            break;
        }
        decisions.extend(changes.decisions);
    }
    decisions
}

/// The same, seen from outside.
fn settled_seen(rig: &mut Rig, seen: &mut Seen) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for _ in 0..100 {
        rig.shard.advance(rig.now);
        let changes = rig.shard.take_changes();
        seen.take(&changes.decisions, &changes.renewed);
        if changes.decisions.is_empty() {
            break;
        }
        decisions.extend(changes.decisions);
    }
    decisions
}

/// Incidents of which all that fires is muted; nothing of what fires of them was not.
fn hushed(rig: &Rig) -> BTreeSet<IncidentId> {
    let (mut muted, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for alert in rig.shard.alerts(rig.now) {
        match alert.state {
            AlertViewState::Suppressed => muted.extend(alert.incidents.iter().copied()),
            _ => heard.extend(alert.incidents.iter().copied()),
        }
    }
    &muted - &heard
}

/// What may be said once: of an incident, or of one of its rounds.
#[derive(Default)]
struct Once {
    /// How often each incident has begun or come back.
    begun: BTreeMap<IncidentId, u32>,
    said: BTreeSet<(IncidentId, String)>,
}

impl Once {
    fn see(&mut self, decision: &Decision) -> Result<(), TestCaseError> {
        let id = decision.incident.id;
        let begun = self.begun.entry(id).or_default();
        *begun += u32::from(matches!(decision.step, Move::Open | Move::Reopen | Move::Split));
        let begun = *begun;
        let mut once = |what: String| self.said.insert((id, what));
        let first = match decision.reason {
            Reason::EscalationStep => {
                let step = decision.detail.split(':').next().unwrap_or_default().to_owned();
                once(format!("{step} of beginning {begun}"))
            }
            Reason::TargetWarning | Reason::TargetBreached => {
                let share = decision.detail.split(' ').next().filter(|_| decision.reason == Reason::TargetWarning);
                let target = if decision.detail.contains("to respond have passed") { "respond" } else { "resolve" };
                once(format!("{} of {target}", share.unwrap_or("all")))
            }
            _ => true,
        };
        prop_assert!(first, "{:?}", decision);
        let hook = decision.notify.iter().any(|sink| &**sink == "hook");
        prop_assert!(!hook || self.said.insert((id, "hook".to_owned())), "{:?}", decision);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn a_practised_shard_restored_from_its_journal_goes_on_as_the_one_that_crashed(
        (config, before, after) in (patient_config(), setup(), setup()),
        steps in long_steps(),
        (reload_at, crash_at) in (any::<Index>(), any::<Index>()),
    ) {
        let (reload_at, crash_at) = (reload_at.index(steps.len() + 1), crash_at.index(steps.len()));
        let mut whole = rig(&config, &before);
        let (mut journal, mut other) = (Vec::new(), None::<Rig>);
        for (number, step) in steps.iter().enumerate() {
            if number == reload_at {
                whole.shard.reload(after.compiled(), config.clone());
                other.iter_mut().for_each(|other| drop(other.shard.reload(after.compiled(), config.clone())));
            }
            let brought = whole.step(step);
            if let Some(other) = &mut other {
                prop_assert_eq!(shown(&other.step(step)), shown(&brought), "step {} after {}", number, crash_at);
            }
            journal.push(brought.journal);
            if number == crash_at {
                let setup = if number >= reload_at { &after } else { &before };
                other = Some(restored(&whole, setup, journal.iter()));
            }
        }
    }

    #[test]
    fn a_practised_shard_restored_from_a_snapshot_taken_in_passing_goes_on_as_the_original(
        (config, setup) in (patient_config(), setup()),
        steps in long_steps(),
        begin_at in any::<Index>(),
    ) {
        let begin_at = begin_at.index(steps.len());
        let mut whole = rig(&config, &setup);
        let (mut parts, mut last, mut other) = (Vec::new(), false, None::<Rig>);
        for (number, step) in steps.iter().enumerate() {
            let brought = whole.step(step);
            if let Some(other) = &mut other {
                prop_assert_eq!(shown(&other.step(step)), shown(&brought), "step {}", number);
            }
            if number > begin_at {
                parts.push((true, brought.journal));
            }
            if number >= begin_at && !last {
                let slice = whole.shard.snapshot_step();
                last = slice.last;
                parts.push((false, slice.bytes));
                if last {
                    // First the slices, then what was written meanwhile.
                    parts.sort_by_key(|(journal, _)| *journal);
                    other = Some(restored(&whole, &setup, parts.iter().map(|(_, bytes)| bytes)));
                }
            }
        }
    }

    #[test]
    fn how_events_are_batched_does_not_matter_to_a_practised_shard(
        (config, setup) in (patient_config(), setup()),
        steps in long_steps(),
        size in 1usize..3,
    ) {
        let setup = Setup { services: "[]".to_owned(), ..setup };
        let (mut whole, mut split) = (rig(&config, &setup), rig(&config, &setup));
        for (number, step) in steps.iter().enumerate() {
            // What is due at once is due for both before anything is ordered.
            let parts = [
                Step { pause_s: step.pause_s, events: step.events.clone(), ..Step::default() },
                Step { orders: step.orders.clone(), ..Step::default() },
            ];
            let mut expected = whole.step(&parts[0]);
            expected.decisions.extend(settled(&mut whole));
            let mut brought = split.step(&Step { pause_s: step.pause_s, ..Step::default() });
            for events in step.events.chunks(size) {
                let part = split.step(&Step { events: events.to_vec(), ..Step::default() });
                brought.verdicts.extend(part.verdicts);
                brought.decisions.extend(part.decisions);
            }
            brought.decisions.extend(settled(&mut split));
            prop_assert_eq!(shown(&brought), shown(&expected), "step {}", number);
            prop_assert_eq!(shown(&split.step(&parts[1])), shown(&whole.step(&parts[1])), "orders of step {}", number);
        }
    }

    #[test]
    fn practised_incidents_move_by_the_table_and_nothing_is_written_where_nothing_happens(
        (config, setup) in (patient_config(), setup()),
        steps in long_steps(),
    ) {
        let mut rig = rig(&config, &setup);
        let (mut watch, mut once, same) = (Watch::default(), Once::default(), setup.compiled());
        let mut seen = Seen::default();
        for step in &steps {
            let brought = rig.step(step);
            seen.take(&brought.decisions, &brought.renewed);
            let mut decisions = brought.decisions;
            decisions.extend(settled_seen(&mut rig, &mut seen));
            prop_assert_eq!(seen.check(&rig.shard.docs()), Ok(()));
            watch.see(&decisions)?;
            decisions.iter().try_for_each(|decision| once.see(decision))?;
            let docs = rig.shard.docs();
            rig.shard.advance(rig.now);
            let nothing = rig.shard.take_changes();
            prop_assert!(nothing.journal.is_empty() && nothing.decisions.is_empty(), "{:#?}", nothing.decisions);
            rig.shard.reload(same.clone(), config.clone());
            let nothing = rig.shard.take_changes();
            prop_assert!(nothing.journal.is_empty() && nothing.decisions.is_empty(), "reload: {:#?}", nothing.decisions);
            rig.shard.advance(rig.now);
            let nothing = rig.shard.take_changes();
            prop_assert!(nothing.decisions.is_empty(), "after a reload: {:#?}", nothing.decisions);
            prop_assert_eq!(rig.shard.docs(), docs);
        }
    }

    #[test]
    fn nobody_but_a_persons_word_is_told_while_all_that_fires_is_muted(
        (config, setup) in (patient_config(), setup()),
        steps in long_steps(),
    ) {
        let mut rig = rig(&config, &setup);
        for step in &steps {
            rig.step(step);
            settled(&mut rig);
            // Time alone unmutes nothing before it is asked again, and no silence begins.
            let before = hushed(&rig);
            for pause_s in [1, 60, 600] {
                let brought = rig.step(&Step { pause_s, ..Step::default() });
                let after = hushed(&rig);
                for decision in brought.decisions.iter().filter(|decision| !decision.notify.is_empty()) {
                    let doc = &decision.incident;
                    let muted = before.contains(&doc.id) && after.contains(&doc.id);
                    prop_assert!(!muted || !doc.status.is_live(), "{:?}", decision);
                }
            }
        }
    }
}

/// Fewer than usual: each case is a long one.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(32)
}
