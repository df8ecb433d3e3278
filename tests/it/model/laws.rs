//! What holds of any shard, whatever the rules: it survives restarts unchanged, does not care for batches or shards,
//! keeps its counts and its order, and takes damage for damage.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use incidentd::delivery::Action;
use incidentd::engine::decision::{Decision, Verdict};
use incidentd::engine::desk::links::LinkKind;
use incidentd::engine::incident::{IncidentDoc, IncidentLink, IncidentStatus};
use incidentd::engine::suppress::view::AlertViewState;
use incidentd::engine::{EngineConfig, Shard};
use incidentd::identity::IncidentId;
use incidentd::rules::RuleConfig;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{
    Brought, Draft, Name, Rig, Step, compiled, compiled_with_services, config, eventful_steps,
    rules_of_all_sorts as rules, rules_of_all_sorts_and_unions as all_rules, steps,
};

/// A run with a reload in the middle, every entry of the journal kept.
struct History {
    rig: Rig,
    journal: Vec<Vec<u8>>,
    reload_at: usize,
    after: Vec<RuleConfig>,
}

impl History {
    fn step(&mut self, number: usize, step: &Step) -> Brought {
        if number == self.reload_at {
            let config = self.rig.config.clone();
            self.rig.shard.reload(compiled_with_services(&self.after), config);
        }
        let brought = self.rig.step(step);
        self.journal.push(brought.journal.clone());
        brought
    }

    /// Whether the incidents of a rule have keys that no two of them share.
    fn has_key(&self, before: &[RuleConfig], rule: &str) -> bool {
        [before, &self.after].iter().all(|rules| rules.iter().all(|one| one.name != rule || one.union_by.is_none()))
    }

    /// A shard made of slices and entries, in the place of the one that crashed.
    fn restored<'a>(&self, before: &[RuleConfig], at: usize, parts: impl Iterator<Item = &'a Vec<u8>>) -> Rig {
        let rules = if at >= self.reload_at { &self.after } else { before };
        let mut rig = Rig::new(&self.rig.config, compiled_with_services(rules), &[]);
        rig.now = self.rig.now;
        for part in parts.filter(|part| !part.is_empty()) {
            rig.shard.restore(part).expect("what the shard wrote");
        }
        rig.shard.finish_restore();
        rig
    }
}

/// Everything but the bytes.
fn shown(brought: &Brought) -> String {
    format!("{:#?}\n{:#?}\n{:#?}", brought.verdicts, brought.answers, brought.decisions)
}

fn numbers(shard: &mut Shard) -> [u64; 4] {
    let stats = shard.stats();
    [stats.firing, stats.resolved, stats.stale, stats.groups]
}

/// The decisions of each incident, in order.
fn by_incident(decisions: &[Decision]) -> BTreeMap<IncidentId, Vec<String>> {
    let mut found: BTreeMap<IncidentId, Vec<String>> = BTreeMap::new();
    for decision in decisions {
        found.entry(decision.incident.id).or_default().push(format!("{decision:?}"));
    }
    found
}

fn scoped(mut rules: Vec<RuleConfig>) -> Vec<RuleConfig> {
    for rule in &mut rules {
        if !rule.group_by.iter().any(|label| label == "service") {
            rule.group_by.push("service".to_owned());
        }
    }
    rules
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shard_restored_from_its_journal_goes_on_as_the_one_that_crashed(
        (config, before, after) in (config(), all_rules(), all_rules()),
        steps in eventful_steps(),
        (reload_at, crash_at) in (any::<Index>(), any::<Index>()),
    ) {
        let rig = Rig::new(&config, compiled_with_services(&before), &[]);
        let reload_at = reload_at.index(steps.len() + 1);
        let mut history = History { rig, journal: Vec::new(), reload_at, after };
        let crash_at = crash_at.index(steps.len());
        for (number, step) in steps[..=crash_at].iter().enumerate() {
            history.step(number, step);
        }
        let mut restored = history.restored(&before, crash_at, history.journal.iter());
        prop_assert_eq!(numbers(&mut restored.shard), numbers(&mut history.rig.shard));
        for (number, step) in steps.iter().enumerate().skip(crash_at + 1) {
            if number == reload_at {
                restored.shard.reload(compiled_with_services(&history.after), config.clone());
            }
            let brought = history.step(number, step);
            prop_assert_eq!(shown(&restored.step(step)), shown(&brought), "step {} after {}", number, crash_at);
            prop_assert_eq!(numbers(&mut restored.shard), numbers(&mut history.rig.shard));
        }
    }

    #[test]
    fn a_shard_restored_from_a_snapshot_taken_in_passing_goes_on_as_the_original(
        (config, before, after) in (config(), all_rules(), all_rules()),
        steps in eventful_steps(),
        (reload_at, begin_at, crash_later) in (any::<Index>(), any::<Index>(), any::<Index>()),
    ) {
        let rig = Rig::new(&config, compiled_with_services(&before), &[]);
        let reload_at = reload_at.index(steps.len() + 1);
        let mut history = History { rig, journal: Vec::new(), reload_at, after };
        let begin_at = begin_at.index(steps.len());
        let (mut slices, mut done_at) = (Vec::new(), None);
        for (number, step) in steps.iter().enumerate() {
            history.step(number, step);
            if number >= begin_at && done_at.is_none() {
                let slice = history.rig.shard.snapshot_step();
                slices.push(slice.bytes);
                done_at = slice.last.then_some(number);
            }
            let Some(done_at) = done_at else { continue };
            if number == done_at + crash_later.index(steps.len() - done_at) {
                let parts = slices.iter().chain(&history.journal[begin_at + 1..]);
                let mut restored = history.restored(&before, number, parts);
                prop_assert_eq!(numbers(&mut restored.shard), numbers(&mut history.rig.shard));
                for (number, step) in steps.iter().enumerate().skip(number + 1) {
                    if number == reload_at {
                        restored.shard.reload(compiled_with_services(&history.after), config.clone());
                    }
                    let brought = history.step(number, step);
                    prop_assert_eq!(shown(&restored.step(step)), shown(&brought), "step {}", number);
                }
                break;
            }
        }
    }

    #[test]
    fn how_events_are_batched_does_not_matter(config in config(), rules in rules(), steps in steps(1), size in 1usize..3) {
        let mut whole = Rig::new(&config, compiled(&rules, &[]), &[]);
        let mut split = Rig::new(&config, compiled(&rules, &[]), &[]);
        for step in &steps {
            let expected = whole.step(step);
            let pause = Step { pause_s: step.pause_s, ..Step::default() };
            let mut brought = split.step(&pause);
            for events in step.events.chunks(size) {
                let part = split.step(&Step { events: events.to_vec(), ..Step::default() });
                brought.verdicts.extend(part.verdicts);
                brought.decisions.extend(part.decisions);
            }
            prop_assert_eq!(shown(&brought), shown(&expected));
        }
    }

    #[test]
    fn incidents_move_by_the_table_in_rising_order_and_counts_add_up(
        (config, before, after) in (config(), all_rules(), all_rules()),
        steps in eventful_steps(),
        reload_at in any::<Index>(),
    ) {
        let rig = Rig::new(&config, compiled_with_services(&before), &[]);
        let mut history = History { rig, journal: Vec::new(), reload_at: reload_at.index(steps.len()), after };
        let mut known: BTreeMap<IncidentId, (IncidentStatus, u64)> = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            for decision in history.step(number, step).decisions {
                let doc = &decision.incident;
                prop_assert_eq!(doc.alerts.firing + doc.alerts.resolved, doc.alerts.total);
                prop_assert!(doc.events >= doc.alerts.total.min(1));
                match known.get(&doc.id) {
                    None => prop_assert_eq!(decision.action, Action::Opened),
                    Some((status, sequence)) => {
                        prop_assert_eq!(status.after(decision.step), Some(doc.status), "{:?}", decision);
                        prop_assert_eq!(decision.step.action(*status), decision.action, "{:?}", decision);
                        prop_assert!(decision.sequence > *sequence, "{:?}", decision);
                    }
                }
                known.insert(doc.id, (doc.status, decision.sequence));
            }
            let docs = history.rig.shard.docs();
            // What a union shows as its key is no key.
            let ruled = |doc: &IncidentDoc| history.has_key(&before, &doc.rule);
            let own = docs.iter().filter(|doc| doc.status.is_live() && doc.storm.is_none() && ruled(doc));
            let live: Vec<_> = own.map(|doc| (&doc.rule, &doc.key)).collect();
            prop_assert_eq!(live.len(), live.iter().collect::<BTreeSet<_>>().len(), "two live incidents of one key");
            let open = known.iter().filter(|(_, (status, _))| *status != IncidentStatus::Closed);
            prop_assert_eq!(open.count(), docs.len());
            for doc in docs {
                let listed = history.rig.shard.incident_alerts(doc.id, usize::MAX).expect("it is not closed");
                prop_assert_eq!((listed.0.len() as u64, listed.1), (doc.alerts.total, doc.alerts.total));
            }
            let nothing = history.rig.shard.take_changes();
            prop_assert!(nothing.journal.is_empty() && nothing.decisions.is_empty() && nothing.counts.is_empty());
        }
    }

    #[test]
    fn sinks_hear_of_every_incident_that_is_open_and_not_muted_and_of_the_end_of_what_they_heard_of(
        (config, before, after) in (config(), all_rules(), all_rules()),
        steps in eventful_steps(),
        reload_at in any::<Index>(),
    ) {
        let rig = Rig::new(&config, compiled_with_services(&before), &[]);
        let mut history = History { rig, journal: Vec::new(), reload_at: reload_at.index(steps.len()), after };
        let mut told: BTreeSet<IncidentId> = BTreeSet::new();
        for (number, step) in steps.iter().enumerate() {
            let mut decisions = history.step(number, step).decisions;
            // What is due at once is done by the next who asks.
            history.rig.shard.advance(history.rig.now);
            decisions.extend(history.rig.shard.take_changes().decisions);
            for decision in decisions {
                let (doc, ends) = (&decision.incident, !decision.incident.status.is_live());
                if decision.notify.is_empty() {
                    let silent = ends && told.contains(&doc.id) && decision.action != Action::Updated;
                    prop_assert!(!silent, "{:?}", decision);
                } else {
                    prop_assert_eq!(told.insert(doc.id), decision.told_as == Action::Opened, "{:?}", decision);
                }
            }
            let docs = history.rig.shard.docs();
            for alert in history.rig.shard.alerts(history.rig.now) {
                let of = docs.iter().filter(|doc| doc.status.is_live() && alert.incidents.contains(&doc.id));
                let muted = alert.state == AlertViewState::Suppressed;
                for doc in of.filter(|doc| doc.alerts.firing > 0 && !muted) {
                    // Of a part of a storm the storm is told.
                    let parent = doc.links.iter().find(|link| link.kind == "parent" && link.by == "storm").map(|link| &link.target);
                    let heard = parent.map_or(told.contains(&doc.id), |parent| {
                        docs.iter().any(|doc| doc.status.is_live() && doc.id.to_string() == *parent)
                    });
                    prop_assert!(heard, "{:?} of {:?} at step {}", alert, doc, number);
                }
            }
        }
    }

    #[test]
    fn what_people_link_is_linked_on_both_sides_and_nothing_is_its_own_ancestor(
        (config, rules) in (config(), all_rules()),
        steps in eventful_steps(),
    ) {
        let mut rig = Rig::new(&config, compiled_with_services(&rules), &[]);
        for step in &steps {
            rig.step(step);
            let docs = rig.shard.docs();
            for doc in &docs {
                for link in doc.links.iter().filter(|link| link.by.starts_with("operator:")) {
                    let kind = if link.kind == "cause_of" { Ok(LinkKind::CauseOf) } else { LinkKind::parse(&link.kind) };
                    let Some(inverse) = kind.ok().and_then(LinkKind::inverse) else { continue };
                    let Some(other) = docs.iter().find(|doc| doc.id.to_string() == link.target) else { continue };
                    let names: &[&str] = if inverse == LinkKind::CausedBy { &["symptom_of"] } else { &[inverse.as_str()] };
                    let own = doc.id.to_string();
                    let back = |back: &IncidentLink| names.contains(&back.kind.as_str()) && back.target == own;
                    prop_assert!(other.links.iter().any(back), "{:?} of {} in {:?}", link, doc.id, other);
                }
            }
            let parent = |id: &str| {
                let doc = docs.iter().find(|doc| doc.id.to_string() == id)?;
                Some(doc.links.iter().find(|link| link.kind == "parent" && link.by != "storm")?.target.clone())
            };
            for doc in &docs {
                let above = std::iter::successors(parent(&doc.id.to_string()), |id| parent(id));
                prop_assert!(above.take(docs.len() + 1).count() <= docs.len(), "{:?}", doc);
            }
        }
    }

    #[test]
    fn shards_that_part_by_scope_do_together_what_one_does_alone(
        config in config(), rules in rules(), steps in steps(1),
    ) {
        let scope = ["service".to_owned()];
        let rules = compiled(&scoped(rules), &scope);
        let mut one = Rig::new(&config, rules.clone(), &scope);
        let mut two = [Rig::new(&config, rules.clone(), &scope), Rig::new(&config, rules, &scope)];
        for step in &steps {
            let expected = one.step(step);
            let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
            let mut decisions = Vec::new();
            for (place, rig) in two.iter_mut().enumerate() {
                rig.now = one.now;
                let batch = rig.batch(&step.events);
                let mine = |at: &u32| batch.events[*at as usize].scope.0 % 2 == place as u64;
                let part: Vec<u32> = (0..batch.events.len() as u32).filter(mine).collect();
                let mut found = Vec::new();
                rig.shard.apply(rig.now, &batch, Some(&part), &mut found);
                verdicts.extend(part.into_iter().zip(found));
                decisions.extend(rig.shard.take_changes().decisions);
            }
            prop_assert_eq!(verdicts.into_values().collect::<Vec<_>>(), expected.verdicts);
            prop_assert_eq!(by_incident(&decisions), by_incident(&expected.decisions));
        }
    }

    #[test]
    fn a_damaged_entry_is_an_error_or_a_shard_and_never_a_panic(
        (config, rules) in (config(), all_rules()),
        steps in eventful_steps(),
        (entry, place, bit, cut) in (any::<Index>(), any::<Index>(), 0u8..8, any::<bool>()),
    ) {
        let mut rig = Rig::new(&config, compiled_with_services(&rules), &[]);
        let mut entries: Vec<Vec<u8>> = steps.iter().map(|step| rig.step(step).journal).collect();
        while { let step = rig.shard.snapshot_step(); entries.push(step.bytes); !step.last } {}
        entries.retain(|entry| !entry.is_empty());
        let entry = entry.index(entries.len());
        let place = place.index(entries[entry].len());
        if cut { entries[entry].truncate(place) } else { entries[entry][place] ^= 1 << bit }
        let mut damaged = Rig::new(&config, compiled_with_services(&rules), &[]);
        damaged.now = rig.now;
        if entries.iter().all(|entry| damaged.shard.restore(entry).is_ok()) {
            damaged.shard.finish_restore();
            steps.iter().for_each(|step| drop(damaged.step(step)));
            damaged.shard.docs();
        }
    }

    #[test]
    fn what_ends_alerts_leaves_the_same_in_whatever_order_it_comes(events in shuffled(), last in 0i64..20) {
        let rules = "[{name: r0, group_by: [service], match: ['host!=h0'], cleared_by: ['host=h0'], \
                     resolve_after: 0s, reopen_within: 0s}]";
        let firing = |events: &[Draft]| {
            let mut rig = patient(rules);
            for event in events.iter().chain([&fires(0, 1, last)]) {
                rig.step(&Step { events: vec![event.clone()], ..Step::default() });
            }
            rig.seen().into_iter().map(|(_, key, _, firing, _)| (key, firing)).collect::<Vec<_>>()
        };
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| -event.lag_s);
        prop_assert_eq!(firing(&events), firing(&sorted));
    }

    #[test]
    fn what_does_not_follow_is_told_alike_in_whatever_order_events_come(events in shuffled()) {
        let rules = "[{name: r0, group_by: [service], resolve_after: 0s, \
                     open_when: {absence: {after: ['host=h1'], of: ['host=h2'], within: 7s}}}]";
        let told = |events: &[Draft]| {
            let mut rig = patient(rules);
            let early = events.iter().map(|event| rig.step(&Step { events: vec![event.clone()], ..Step::default() }));
            assert!(early.map(|brought| brought.decisions.len()).sum::<usize>() == 0);
            let later = rig.step(&Step { pause_s: 200, ..Step::default() });
            by_incident(&later.decisions)
        };
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| -event.lag_s);
        prop_assert_eq!(told(&events), told(&sorted));
    }
}

/// Firing events of a few alerts over twenty seconds, in any order.
fn shuffled() -> impl Strategy<Value = Vec<Draft>> {
    let event = (0u8..2, 0u8..3, 0i64..20).prop_map(|(service, host, lag_s)| fires(service, host, lag_s));
    proptest::collection::vec(event, 1..12)
}

fn fires(service: u8, host: u8, lag_s: i64) -> Draft {
    Draft { name: Name { service, host }, firing: true, lag_s, lease_s: Some(3_600), id: None, severity: "warning" }
}

/// A shard for which nothing is late.
fn patient(rules: &str) -> Rig {
    let rules: Vec<RuleConfig> = serde_saphyr::from_str(rules).expect(rules);
    let config = EngineConfig { lateness: Duration::from_secs(60), ..EngineConfig::default() };
    Rig::new(&config, compiled(&rules, &[]), &[])
}
