//! What the scenarios cannot show of unions: any order of arrival, any course of commands and restarts, the bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::engine::command::{Command, Refusal};
use crate::engine::decision::Verdict;
use crate::engine::incident::IncidentStatus;
use crate::engine::tests::{at, rules, shard};
use crate::engine::{EngineConfig, Shard};
use crate::event::{Batch, Event, Severity, Status};
use crate::identity::{Fingerprint, IncidentId};
use crate::rules::{Definition, RuleSet, compile};

/// Which value each label has; none where it is missing.
type Labels = [Option<u8>; 3];

const NAMES: [&str; 3] = ["host", "service", "ip"];

/// One event of the alert with this number.
fn send(shard: &mut Shard, seconds: i64, alert: u32, labels: Labels, status: Status) -> Verdict {
    let mut batch = Batch::new(bytes::Bytes::new(), at(seconds));
    let mark = batch.mark();
    for (name, value) in NAMES.iter().zip(labels) {
        if let Some(value) = value {
            let (name, value) = (batch.intern(name), batch.intern(&format!("v{value}")));
            batch.push_pair(name, value);
        }
    }
    let content = labels.iter().fold(1_u64, |hash, value| hash * 300 + value.map_or(0, |value| u64::from(value) + 1));
    let event = Event {
        source: batch.intern("test"),
        labels: batch.pairs_since(mark),
        status,
        severity: Severity::Warning,
        occurred_at: Some(at(seconds)),
        fingerprint: Fingerprint(u128::from(alert)),
        content,
        ..Event::default()
    };
    batch.events.push(event);
    let mut verdicts = Vec::new();
    shard.apply(at(seconds), &batch, None, &mut verdicts);
    verdicts.remove(0)
}

fn fires(shard: &mut Shard, seconds: i64, alert: u32, labels: Labels) -> Option<IncidentId> {
    send(shard, seconds, alert, labels, Status::Firing).incident
}

/// Which alerts are together, whether or not there is an incident.
fn partition(shard: &Shard) -> BTreeSet<Vec<u128>> {
    let groups = shard.groups.slots.slots().filter(|(_, group)| !group.members.is_empty());
    let members = groups.map(|(_, group)| {
        let mut members: Vec<u128> = group.members.iter().map(|slot| shard.alerts.slots[*slot].fingerprint.0).collect();
        members.sort_unstable();
        members
    });
    members.collect()
}

/// The components of a graph of alerts, found by asking every pair until nothing changes.
fn components(alerts: &[Labels]) -> BTreeSet<Vec<u128>> {
    let mut of: Vec<usize> = (0..alerts.len()).collect();
    let share = |one: &Labels, other: &Labels| one.iter().zip(other).any(|(a, b)| a.is_some() && a == b);
    for _ in 0..alerts.len() {
        for one in 0..alerts.len() {
            for other in 0..alerts.len() {
                if share(&alerts[one], &alerts[other]) {
                    (of[one], of[other]) = (of[one].min(of[other]), of[one].min(of[other]));
                }
            }
        }
    }
    let mut found: BTreeMap<usize, Vec<u128>> = BTreeMap::new();
    for (alert, component) in of.into_iter().enumerate().filter(|(alert, _)| alerts[*alert] != [None; 3]) {
        found.entry(component).or_default().push(alert as u128);
    }
    found.into_values().collect()
}

fn labels() -> impl Strategy<Value = Labels> {
    let value = || prop::option::weighted(0.4, 0u8..6);
    (value(), value(), value()).prop_map(|(host, service, ip)| [host, service, ip])
}

/// What happens to a shard, one thing a second.
#[derive(Clone, Debug)]
enum Happens {
    Fires(u32, Labels),
    Resolves(u32),
    Pause(i64),
    Merge(Index, Index),
    Split(Index, Index),
    Reload,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => (0u32..12, labels()).prop_map(|(alert, labels)| Happens::Fires(alert, labels)),
        2 => (0u32..12).prop_map(Happens::Resolves),
        1 => (0i64..400).prop_map(Happens::Pause),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, into)| Happens::Merge(from, into)),
        3 => (any::<Index>(), any::<Index>()).prop_map(|(whole, part)| Happens::Split(whole, part)),
        1 => Just(Happens::Reload),
    ]
}

/// A course of things, and everything that was written on the way.
struct Course {
    shard: Shard,
    rules: [Arc<RuleSet>; 2],
    reloads: usize,
    seconds: i64,
    known: Vec<IncidentId>,
    labels: BTreeMap<u32, Labels>,
}

impl Course {
    fn step(&mut self, happens: &Happens) -> (String, Vec<u8>) {
        self.seconds += 1;
        let seconds = self.seconds;
        let pick = |index: &Index, known: &[IncidentId]| known[index.index(known.len())];
        let mut said = match happens {
            Happens::Fires(alert, labels) => {
                // Most alerts keep their labels.
                let kept = if alert % 4 == 0 { *labels } else { *self.labels.entry(*alert).or_insert(*labels) };
                self.labels.insert(*alert, kept);
                format!("{:?}", send(&mut self.shard, seconds, *alert, kept, Status::Firing))
            }
            Happens::Resolves(alert) => {
                let labels = self.labels.get(alert).copied().unwrap_or_default();
                format!("{:?}", send(&mut self.shard, seconds, *alert, labels, Status::Resolved))
            }
            Happens::Pause(pause) => {
                self.seconds += pause;
                self.shard.advance(at(self.seconds));
                String::new()
            }
            Happens::Merge(..) | Happens::Split(..) if self.known.is_empty() => String::new(),
            Happens::Merge(from, into) => {
                let (incident, into) = (pick(from, &self.known), pick(into, &self.known));
                let command = Command::Merge { incident, into, version: None };
                format!("{:?}", self.shard.command(at(seconds), "me", &command))
            }
            Happens::Split(whole, part) => {
                let incident = pick(whole, &self.known);
                let parts = self.shard.incidents.get(&incident).and_then(|group| {
                    let incident = self.shard.groups.slots[*group].incident.as_deref()?;
                    Some(incident.relations.parts.clone()).filter(|parts| !parts.is_empty())
                });
                let part = pick(part, &parts.unwrap_or_else(|| self.known.clone()));
                let command = Command::Split { incident, part, version: None };
                format!("{:?}", self.shard.command(at(seconds), "me", &command))
            }
            Happens::Reload => {
                self.reloads += 1;
                let rules = self.rules[self.reloads % 2].clone();
                format!("{:?}", self.shard.reload(rules, EngineConfig::default()))
            }
        };
        let changes = self.shard.take_changes();
        for decision in &changes.decisions {
            if !self.known.contains(&decision.incident.id) {
                self.known.push(decision.incident.id);
            }
        }
        said.push_str(&format!("\n{:#?}\n{:?}", changes.decisions, changes.counts));
        (said, changes.journal)
    }

    fn restored<'a>(&self, entries: impl IntoIterator<Item = &'a Vec<u8>>) -> Self {
        let rules = self.rules[self.reloads % 2].clone();
        let mut shard = Shard::new(EngineConfig::default(), rules);
        for entry in entries.into_iter().filter(|entry| !entry.is_empty()) {
            shard.restore(entry).expect("what the shard wrote");
        }
        shard.finish_restore();
        Self {
            shard,
            rules: self.rules.clone(),
            reloads: self.reloads,
            seconds: self.seconds,
            known: self.known.clone(),
            labels: self.labels.clone(),
        }
    }
}

const COURSE: &str = "[{ name: u, union_by: { labels: [host, service, ip], max_alerts: 6, value_max: 4 }, LIMITS }, \
                      { name: h, match: ['host!=v1'], group_by: [host], LIMITS }]";
const LIMITS: [&str; 3] = [
    "update_interval: 0s, resolve_after: 2s, reopen_within: 10s",
    "update_interval: 5s, resolve_after: 20s, reopen_within: 0s, open_when: { alerts: 2 }, wait: 3s",
    "update_interval: 5s, resolve_after: 0s, reopen_within: 60s, open_when: { events: 4 }, window: 100s",
];

fn course(limits: usize) -> Course {
    let before = COURSE.replace("LIMITS", LIMITS[limits]);
    let after = before.replace("max_alerts: 6", "max_alerts: 9, stop_values: [v2]");
    let rules = [rules(&before), rules(&after)];
    let shard = Shard::new(EngineConfig::default(), rules[0].clone());
    Course { shard, rules, reloads: 0, seconds: 0, known: Vec::new(), labels: BTreeMap::new() }
}

/// What holds of a shard at any time.
fn check(shard: &Shard) -> Result<(), TestCaseError> {
    for doc in shard.docs() {
        prop_assert!(doc.status != IncidentStatus::Closed);
        let (listed, total) = shard.incident_alerts(doc.id, usize::MAX).expect("it is not closed");
        prop_assert_eq!((listed.len() as u64, total), (doc.alerts.total, doc.alerts.total), "{:?}", doc);
        prop_assert!(doc.alerts.firing <= doc.alerts.total);
    }
    for (slot, alert) in shard.alerts.slots.slots() {
        for membership in &alert.memberships {
            let group = shard.groups.slots.get(membership.group).expect("a member's group is there");
            prop_assert_eq!(group.members[membership.place as usize], slot);
            let origin =
                membership.origin == crate::engine::alert::OWN || shard.groups.slots.get(membership.origin).is_some();
            prop_assert!(origin, "what an alert came through is there");
        }
    }
    for (_, group) in shard.groups.slots.slots() {
        let firing = |slot: &&u32| {
            shard.alerts.slots[**slot].memberships.iter().any(|one| {
                one.firing && shard.groups.slots.get(one.group).is_some_and(|other| std::ptr::eq(other, group))
            })
        };
        prop_assert_eq!(group.members.iter().filter(firing).count() as u32, group.firing);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_arrival_gives_the_components_of_the_graph(
        (alerts, orders) in vec(labels(), 1..24).prop_flat_map(|alerts| {
            let order = Just((0..alerts.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(alerts), vec(order, 2))
        }),
        opening in prop::sample::select(&["", "open_when: { alerts: 3 },", "wait: 5s,", "open_when: { events: 2 },"][..]),
    ) {
        let expected = components(&alerts);
        for order in orders {
            let mut shard = shard(&format!("[{{ name: u, {opening} union_by: {{ labels: [host, service, ip] }} }}]"));
            for (second, alert) in order.iter().enumerate() {
                fires(&mut shard, second as i64, *alert as u32, alerts[*alert]);
            }
            prop_assert_eq!(partition(&shard), expected.clone(), "{:?}", order);
            check(&shard)?;
        }
    }

    #[test]
    fn whatever_is_merged_and_split_a_restored_shard_goes_on_as_the_original(
        steps in vec(happens(), 1..60),
        crash_at in any::<Index>(),
        limits in 0usize..3,
        (from_snapshot, begin_at) in (any::<bool>(), any::<Index>()),
    ) {
        let mut original = course(limits);
        let crash_at = crash_at.index(steps.len());
        let begin_at = begin_at.index(crash_at + 1);
        let (mut entries, mut slices, mut done) = (Vec::new(), Vec::new(), false);
        for (number, step) in steps[..=crash_at].iter().enumerate() {
            entries.push(original.step(step).1);
            check(&original.shard)?;
            // A slice a step, as a snapshot is written in passing.
            if from_snapshot && number >= begin_at && !done {
                let slice = original.shard.snapshot_step();
                slices.push(slice.bytes);
                done = slice.last;
            }
        }
        // One that is not under way for long enough is written to its end at rest.
        while from_snapshot && !done {
            let slice = original.shard.snapshot_step();
            slices.push(slice.bytes);
            done = slice.last;
        }
        let journal = if from_snapshot { &entries[begin_at + 1..] } else { &entries[..] };
        let mut restored = original.restored(slices.iter().chain(journal));
        check(&restored.shard)?;
        for (number, step) in steps.iter().enumerate().skip(crash_at + 1) {
            let (expected, _) = original.step(step);
            prop_assert_eq!(restored.step(step).0, expected, "step {} after {}", number, crash_at);
            check(&restored.shard)?;
        }
        // Whatever happened, what is over leaves nothing behind.
        for shard in [&mut original.shard, &mut restored.shard] {
            while let Some(deadline) = shard.next_deadline() {
                shard.advance(deadline);
            }
            prop_assert_eq!((shard.docs().len(), shard.groups.slots.len(), shard.names.len()), (0, 0, 0));
            prop_assert_eq!(shard.unions.apart().len(), 0);
        }
    }
}

#[test]
fn of_more_than_a_hundred_merges_the_last_hundred_can_be_split() {
    let mut shard = shard("[{ name: u, union_by: { labels: [host, service], max_alerts: 9999 } }]");
    let survivor = fires(&mut shard, 0, 0, [Some(200), None, None]).expect("it opens");
    let parts: Vec<IncidentId> = (0..101)
        .map(|n| {
            let part =
                fires(&mut shard, 2 + i64::from(n), 1_000 + u32::from(n), [None, Some(n), None]).expect("it opens");
            let bridge = fires(&mut shard, 2 + i64::from(n), 2_000 + u32::from(n), [Some(200), Some(n), None]);
            assert_eq!(bridge, Some(survivor));
            part
        })
        .collect();
    let mut split = |part| shard.command(at(200), "me", &Command::Split { incident: survivor, part, version: None });
    assert!(matches!(split(parts[0]), Err(Refusal::Illegal(_))), "it is history");
    for part in &parts[1..] {
        assert!(split(*part).is_ok(), "{part}");
    }
    assert!(matches!(split(parts[1]), Err(Refusal::Illegal(_))), "it is out already");
    let survivor = shard.docs().into_iter().find(|doc| doc.id == survivor).expect("it is open");
    assert_eq!(survivor.links.iter().filter(|link| link.kind == "merged_from").count(), 0);
    assert_eq!(survivor.alerts.total, 1 + 101 + 1, "its own, the bridges, and what is history");
}

#[test]
fn alerts_of_different_scopes_never_meet() {
    let configs: Vec<crate::rules::RuleConfig> =
        serde_saphyr::from_str("[{ name: u, union_by: { labels: [host] } }]").expect("a rule");
    let scope = ["service".to_owned()];
    let (rules, problems) = compile(&Definition { scope: &scope, ..Definition::of(&configs, &[]) });
    assert_eq!(problems, []);
    let mut shard = Shard::new(EngineConfig::default(), Arc::new(rules));
    let scopes = [Some(1), Some(2), None, Some(1), None];
    let ids = [0, 1, 2, 3, 4].map(|n| fires(&mut shard, 0, n, [Some(7), scopes[n as usize], None]));
    assert_eq!((ids[0], ids[2]), (ids[3], ids[4]));
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

#[test]
fn beyond_a_hundred_merges_by_hand_nothing_more_is_merged() {
    let mut shard = shard("[{ name: h, group_by: [host] }]");
    let ids: Vec<IncidentId> =
        (0..102).filter_map(|n| fires(&mut shard, 0, u32::from(n), [Some(n), None, None])).collect();
    let mut merge =
        |from: usize| shard.command(at(1), "me", &Command::Merge { incident: ids[from], into: ids[0], version: None });
    assert!((1..=100).all(|from| merge(from).is_ok()));
    assert!(matches!(merge(101), Err(Refusal::Limit(_))));
}

#[test]
fn a_command_is_for_the_version_that_it_names() {
    let mut shard = shard("[{ name: h, group_by: [host] }]");
    let [one, other] = [0, 1].map(|n| fires(&mut shard, 0, u32::from(n), [Some(n), None, None]).expect("it opens"));
    let merge = |version| Command::Merge { incident: one, into: other, version: Some(version) };
    assert_eq!(shard.command(at(1), "me", &merge(7)), Err(Refusal::Version { current: 1 }));
    assert!(shard.command(at(1), "me", &merge(1)).is_ok());
    let decisions = shard.take_changes().decisions;
    let by: Vec<Option<&str>> = decisions.iter().map(|decision| decision.by.as_deref()).collect();
    assert_eq!(by, [None, None, Some("operator:me"), Some("operator:me")]);
}

#[test]
fn beyond_a_thousand_pairs_kept_apart_a_split_is_refused_and_the_incident_stays_whole() {
    let mut shard = shard("[{ name: u, union_by: { labels: [host] } }]");
    let ids: Vec<IncidentId> =
        (0..46).filter_map(|n| fires(&mut shard, 0, u32::from(n), [Some(n), None, None])).collect();
    let pairs = (0..46).flat_map(|into| (0..into).map(move |from| (from, into)));
    let mut split = Vec::new();
    for (from, into) in pairs {
        let (incident, into) = (ids[from], ids[into]);
        assert!(shard.command(at(1), "me", &Command::Merge { incident, into, version: None }).is_ok());
        let order = Command::Split { incident: into, part: incident, version: None };
        let done = shard.command(at(1), "me", &order);
        if let Err(refusal) = done {
            assert!(matches!(&refusal, Refusal::Limit(said) if said.contains("1000 pairs")), "{refusal:?}");
            break;
        }
        split.push((into, incident));
    }
    assert_eq!(split.len(), 1_000);
    assert_eq!(shard.docs().len(), 45, "what could not be split is one incident still");
}
