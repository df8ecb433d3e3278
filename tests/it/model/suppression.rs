//! Who is muted, against asking every silence and every inhibition rule about every alert that fires.
//!
//! Few names and values, so that silences overlap, sources share their keys with targets and labels are missing as often
//! as they can be. A shard that is restored in the middle must go on as the one that was not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use incidentd::delivery::Action;
use incidentd::engine::command::{Command, Done};
use incidentd::engine::decision::{Decision, Verdict};
use incidentd::engine::suppress::silence::{SilenceDraft, SilenceId};
use incidentd::engine::suppress::view::{AlertView, AlertViewState};
use incidentd::engine::{EngineConfig, Shard};
use incidentd::event::Timestamp;
use incidentd::identity::IncidentId;
use incidentd::normalise::NormaliseConfig;
use incidentd::rules::{Definition, InhibitRuleConfig, RuleConfig, RuleSet, compile};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::START;
use crate::scenarios::runner::Gate;

/// `name="values"`, `name!="values"` or, with several values, `=~` and `!~`.
#[derive(Clone, Debug)]
struct Match {
    name: &'static str,
    negative: bool,
    values: Vec<&'static str>,
}

impl Match {
    fn text(&self) -> String {
        let operator = match (self.negative, self.values.len()) {
            (false, 1) => "=",
            (true, 1) => "!=",
            (false, _) => "=~",
            (true, _) => "!~",
        };
        format!("{}{operator}\"{}\"", self.name, self.values.join("|"))
    }

    fn holds(&self, alert: &AlertView) -> bool {
        self.values.contains(&value(alert, self.name)) != self.negative
    }
}

/// A label, else the field of that name, else nothing.
fn value<'a>(alert: &'a AlertView, name: &str) -> &'a str {
    let field = if name == "severity" { alert.severity.as_str() } else { "" };
    alert.labels.get(name).map_or(field, String::as_str)
}

#[derive(Clone, Debug)]
struct Inhibit {
    source: Vec<Match>,
    target: Vec<Match>,
    equal: Vec<&'static str>,
    hold_s: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Fire { labels: BTreeMap<&'static str, &'static str>, severity: &'static str, lease_s: Option<u64> },
    Resolve(Index),
    Silence { matchers: Vec<Match>, from_s: u64, for_s: u64, replaces: Option<Index> },
    Expire(Index),
    Pause(u64),
    Reload(Vec<Inhibit>),
}

fn matcher() -> impl Strategy<Value = Match> {
    let some = (select(&["a", "b"][..]), vec(select(&["x", "y", ""][..]), 1..3));
    let level = (Just("severity"), vec(select(&["critical", "warning", "page"][..]), 1..3));
    (prop_oneof![3 => some, 1 => level], prop::bool::weighted(0.3)).prop_map(|((name, mut values), negative)| {
        values.sort_unstable();
        values.dedup();
        Match { name, negative, values }
    })
}

fn inhibit_rules() -> impl Strategy<Value = Vec<Inhibit>> {
    let side = || vec(matcher(), 1..3);
    const EQUAL: &[&[&str]] = &[&[], &["a"], &["b", "c"]];
    let equal = select(EQUAL);
    let rule = (side(), side(), equal, prop_oneof![3 => Just(0u64), 1 => Just(3)]);
    let rule =
        rule.prop_map(|(source, target, equal, hold_s)| Inhibit { source, target, equal: equal.to_vec(), hold_s });
    vec(rule, 0..4)
}

fn op() -> impl Strategy<Value = Op> {
    let label = || select(&["x", "y", ""][..]);
    let labels = proptest::collection::btree_map(select(&["a", "b", "c"][..]), label(), 0..4);
    let labels = (labels, prop::option::weighted(0.2, Just("page"))).prop_map(|(mut labels, level)| {
        labels.extend(level.map(|level| ("severity", level)));
        labels
    });
    let severity = select(&["critical", "warning"][..]);
    let fire = (labels, severity, prop::option::weighted(0.4, 1u64..20));
    let silence = (vec(matcher(), 1..3), 0u64..5, 1u64..15, prop::option::weighted(0.3, any::<Index>()));
    prop_oneof![
        8 => fire.prop_map(|(labels, severity, lease_s)| Op::Fire { labels, severity, lease_s }),
        3 => any::<Index>().prop_map(Op::Resolve),
        3 => silence.prop_map(|(matchers, from_s, for_s, replaces)| Op::Silence { matchers, from_s, for_s, replaces }),
        1 => any::<Index>().prop_map(Op::Expire),
        4 => (0u64..6).prop_map(Op::Pause),
        1 => inhibit_rules().prop_map(Op::Reload),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // At equal times firing wins.
    let later = |op: Op| if matches!(op, Op::Resolve(_)) { vec![Op::Pause(1), op] } else { vec![op] };
    vec(op(), 1..40).prop_map(move |ops| ops.into_iter().flat_map(later).collect())
}

/// A silence as the test remembers it.
#[derive(Clone, Debug)]
struct Known {
    id: SilenceId,
    matchers: Vec<Match>,
    starts_at: Timestamp,
    ends_at: Timestamp,
}

fn rules(inhibit: &[Inhibit]) -> Arc<RuleSet> {
    let rules: Vec<RuleConfig> = serde_saphyr::from_str(
        "[{name: one, group_by: [a], missing_label: own_group, update_interval: 0s, resolve_after: 2s, reopen_within: 5s},\
          {name: two, open_when: {alerts: 2}, wait: 2s, window: 1m, on_stale: hold}]",
    )
    .expect("rules");
    let texts = |side: &[Match]| side.iter().map(Match::text).collect();
    let inhibit: Vec<InhibitRuleConfig> = inhibit
        .iter()
        .map(|rule| InhibitRuleConfig {
            name: None,
            source_matchers: texts(&rule.source),
            target_matchers: texts(&rule.target),
            equal: rule.equal.iter().map(|label| (*label).to_owned()).collect(),
            hold: Duration::from_secs(rule.hold_s),
        })
        .collect();
    let sinks = ["ops".to_owned()];
    Arc::new(compile(&Definition { inhibit_rules: &inhibit, ..Definition::of(&rules, &sinks) }).0)
}

/// Only rules that a configuration could have: of others, compiling says that they mute in circles.
fn sound(inhibit: Vec<Inhibit>) -> Vec<Inhibit> {
    let mut kept: Vec<Inhibit> = Vec::new();
    for rule in inhibit {
        kept.push(rule);
        if rules(&kept).inhibitions.get(kept.len() as u32 - 1).is_none() {
            kept.pop();
        }
    }
    kept
}

struct Rig {
    shard: Shard,
    gate: Gate,
    now: Timestamp,
    inhibit: Vec<Inhibit>,
    silences: Vec<Known>,
    journal: Vec<Vec<u8>>,
}

impl Rig {
    fn new(inhibit: Vec<Inhibit>) -> Self {
        let shard = Shard::new(EngineConfig::default(), rules(&inhibit));
        let gate =
            Gate::new(NormaliseConfig { fingerprint_labels: Some(vec!["a".into(), "c".into()]), ..Default::default() });
        Self { shard, gate, now: START, inhibit, silences: Vec::new(), journal: Vec::new() }
    }

    fn restored(&self) -> Self {
        let mut rig = Self::new(self.inhibit.clone());
        self.journal.iter().for_each(|entry| rig.shard.restore(entry).expect("what the shard wrote"));
        rig.shard.finish_restore();
        rig.shard.advance(self.now);
        Self { now: self.now, silences: self.silences.clone(), journal: self.journal.clone(), ..rig }
    }

    fn send(&mut self, event: serde_json::Value) -> Vec<Verdict> {
        let body = serde_json::to_vec(&[event]).expect("JSON");
        let (batch, _) = self.gate.take(self.now, body).expect("an array");
        let mut verdicts = Vec::new();
        self.shard.apply(self.now, &batch, None, &mut verdicts);
        verdicts
    }

    fn chosen(&self, index: &Index) -> Option<&Known> {
        (!self.silences.is_empty()).then(|| &self.silences[index.index(self.silences.len())])
    }

    fn step(&mut self, op: &Op) -> (Vec<Verdict>, Vec<Decision>) {
        let verdicts = match op {
            Op::Fire { labels, severity, lease_s } => {
                let mut event = serde_json::json!({ "labels": labels, "severity": severity });
                if let Some(lease_s) = lease_s {
                    event["ends_at"] = self.now.plus(Duration::from_secs(*lease_s)).to_string().into();
                }
                self.send(event)
            }
            Op::Resolve(index) => {
                self.shard.advance(self.now);
                let mut firing = self.shard.alerts(self.now);
                firing.sort_by(|one, other| one.fingerprint.cmp(&other.fingerprint));
                match firing.is_empty() {
                    true => Vec::new(),
                    false => {
                        let labels = firing[index.index(firing.len())].labels.clone();
                        self.send(serde_json::json!({ "labels": labels, "status": "resolved" }))
                    }
                }
            }
            Op::Silence { matchers, from_s, for_s, replaces } => {
                self.silence(matchers, *from_s, *for_s, replaces.as_ref());
                Vec::new()
            }
            Op::Expire(index) => {
                if let Some(known) = self.chosen(index).cloned() {
                    self.shard.command(self.now, "ann", &Command::Expire(known.id)).expect("it is known");
                    self.end(known.id);
                }
                Vec::new()
            }
            Op::Pause(seconds) => {
                self.now = self.now.plus(Duration::from_secs(*seconds));
                self.shard.advance(self.now);
                Vec::new()
            }
            Op::Reload(inhibit) => {
                self.inhibit = sound(inhibit.clone());
                self.shard.reload(rules(&self.inhibit), EngineConfig::default());
                self.shard.advance(self.now);
                Vec::new()
            }
        };
        let changes = self.shard.take_changes();
        self.journal.extend(Some(changes.journal).filter(|entry| !entry.is_empty()));
        (verdicts, changes.decisions)
    }

    fn silence(&mut self, matchers: &[Match], from_s: u64, for_s: u64, replaces: Option<&Index>) {
        let replaced = replaces.and_then(|index| self.chosen(index)).map(|known| known.id);
        let starts_at = self.now.plus(Duration::from_secs(from_s));
        let draft = SilenceDraft {
            id: replaced,
            matchers: matchers.iter().map(Match::text).collect(),
            starts_at,
            ends_at: starts_at.plus(Duration::from_secs(for_s)),
            comment: String::new(),
        };
        // What would mute everything is refused.
        let Ok(Done::Silence(doc)) = self.shard.command(self.now, "ann", &Command::Silence(draft)) else { return };
        let id: SilenceId = doc.id.parse().expect("a UUID");
        replaced.into_iter().filter(|old| *old != id).for_each(|old| self.end(old));
        self.silences.retain(|known| known.id != id);
        self.silences.push(Known { id, matchers: matchers.to_vec(), starts_at: doc.starts_at, ends_at: doc.ends_at });
    }

    fn end(&mut self, id: SilenceId) {
        let now = self.now;
        let ended = self.silences.iter_mut().filter(|known| known.id == id);
        ended.for_each(|known| known.ends_at = known.ends_at.min(now));
    }

    /// Asks everything about everything.
    fn check(&self) -> Result<(), TestCaseError> {
        let firing = self.shard.alerts(self.now);
        let mut muting: BTreeMap<String, u64> = BTreeMap::new();
        for alert in &firing {
            let in_force = |known: &&Known| known.starts_at <= self.now && self.now < known.ends_at;
            let matching = self.silences.iter().filter(in_force).filter(|known| all(&known.matchers, alert));
            let mut silenced_by: Vec<String> = matching.map(|known| known.id.to_string()).collect();
            silenced_by.iter().for_each(|id| *muting.entry(id.clone()).or_default() += 1);
            let mut found = alert.silenced_by.clone();
            silenced_by.sort();
            found.sort();
            prop_assert_eq!(&found, &silenced_by, "{:?}", alert);
            let mut inhibited_by = self.inhibitors(alert, &firing);
            let mut found = alert.inhibited_by.clone();
            inhibited_by.sort();
            found.sort();
            prop_assert_eq!(&found, &inhibited_by, "{:?}", alert);
            let muted = !silenced_by.is_empty() || !inhibited_by.is_empty();
            prop_assert_eq!(alert.state == AlertViewState::Suppressed, muted, "{:?}", alert);
        }
        for doc in self.shard.silences(self.now) {
            // Stale alerts that hold an incident open count as well.
            prop_assert!(doc.muting >= muting.get(&doc.id).copied().unwrap_or_default(), "{:?}", doc);
        }
        Ok(())
    }

    fn inhibitors(&self, target: &AlertView, firing: &[AlertView]) -> Vec<String> {
        let mut found = Vec::new();
        for rule in self.inhibit.iter().filter(|rule| all(&rule.target, target)) {
            let both = all(&rule.source, target);
            let sources = firing.iter().filter(|source| all(&rule.source, source));
            let sources = sources.filter(|source| !(both && all(&rule.target, source)));
            let equal =
                |source: &&AlertView| rule.equal.iter().all(|label| value(source, label) == value(target, label));
            found.extend(sources.filter(equal).map(|source| source.fingerprint.clone()));
        }
        found.sort();
        found.dedup();
        found
    }
}

fn all(matchers: &[Match], alert: &AlertView) -> bool {
    matchers.iter().all(|matcher| matcher.holds(alert))
}

/// Whether an incident is held open by an alert that nobody repeats: who is shown does not say whether that is muted, and it
/// counts for who is told.
fn holds_stale(rig: &Rig, incident: IncidentId) -> bool {
    let held = rig.shard.incident_alerts(incident, usize::MAX);
    held.is_some_and(|(alerts, _)| alerts.iter().any(|alert| alert.state == "stale" && !alert.cleared))
}

/// Of each incident in which something fires, whether all of that is muted.
fn hushed(rig: &Rig) -> BTreeMap<IncidentId, bool> {
    let mut hushed = BTreeMap::new();
    for alert in rig.shard.alerts(rig.now) {
        for incident in alert.incidents {
            *hushed.entry(incident).or_insert(true) &= alert.state == AlertViewState::Suppressed;
        }
    }
    hushed
}

/// What people see of the alerts, in an order of their own.
fn shown(rig: &Rig) -> Vec<String> {
    let mut shown: Vec<String> = rig.shard.alerts(rig.now).iter().map(|alert| format!("{alert:?}")).collect();
    shown.extend(rig.shard.silences(rig.now).iter().map(|silence| format!("{silence:?}")));
    shown.sort();
    shown
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_is_muted_is_what_asking_everything_about_everything_says(
        inhibit in inhibit_rules(), ops in ops(),
    ) {
        let mut rig = Rig::new(sound(inhibit));
        for op in &ops {
            rig.step(op);
            rig.check()?;
        }
    }

    #[test]
    fn a_restored_shard_mutes_and_tells_as_the_one_that_crashed(
        inhibit in inhibit_rules(), ops in ops(), crash_at in any::<Index>(),
    ) {
        let mut rig = Rig::new(sound(inhibit));
        let crash_at = crash_at.index(ops.len());
        ops[..crash_at].iter().for_each(|op| drop(rig.step(op)));
        // What is due at once, as an opening that is held back no longer, is done by the next who asks.
        rig.shard.advance(rig.now);
        let mut restored = rig.restored();
        prop_assert_eq!(shown(&restored), shown(&rig));
        for op in &ops[crash_at..] {
            let (expected, brought) = (rig.step(op), restored.step(op));
            prop_assert_eq!(format!("{brought:#?}"), format!("{expected:#?}"), "{:?}", op);
            prop_assert_eq!(shown(&restored), shown(&rig), "{:?}", op);
        }
    }

    #[test]
    fn sinks_are_told_of_an_incident_only_while_something_fires_in_it_that_is_not_muted(
        inhibit in inhibit_rules(), ops in ops(),
    ) {
        let mut rig = Rig::new(sound(inhibit));
        let mut told = std::collections::BTreeSet::new();
        for op in &ops {
            let before = hushed(&rig);
            let (_, decisions) = rig.step(op);
            let after = hushed(&rig);
            // Where no time passes, nothing ceases to be muted and begins again.
            let brief = !matches!(op, Op::Pause(1..));
            for decision in decisions.iter().filter(|decision| !decision.notify.is_empty()) {
                let first = told.insert(decision.incident.id);
                prop_assert_eq!(first, decision.told_as == Action::Opened, "{:?}", decision);
                let passes = matches!(decision.action, Action::Resolved | Action::Closed);
                let (before, after) = (before.get(&decision.incident.id), after.get(&decision.incident.id));
                let muted = before == Some(&true) && after == Some(&true) && !holds_stale(&rig, decision.incident.id);
                prop_assert!(passes || !brief || !muted, "{:?} brought {:?}", op, decision);
            }
        }
    }
}
