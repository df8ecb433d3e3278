//! What people need to know when an alert is not taken: the label that is missing, or what takes up the room.
//!
//! Only reads. Where a bound is reached, a thousand of what is there are looked at, and again after some thousands of
//! refusals: so a refusal costs next to nothing, and who causes them is named without counting everything.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::decision::{Outcome, Reason, Verdict};
use super::group::Group;
use super::memory::interner::Symbol;
use super::shard::Shard;
use crate::rules::{MissingLabel, OpenWhen, Rule};

/// Alerts or groups that are looked at.
const SAMPLE: u32 = 1_024;
/// Refusals for which what was found is believed.
const BELIEVED: u32 = 4_096;

/// A culprit, and for how many refusals it is still believed.
#[derive(Debug, Default)]
struct Found {
    text: Option<Arc<str>>,
    left: u32,
}

/// Who takes up the room, of alerts and of groups.
#[derive(Debug, Default)]
pub(super) struct Culprits {
    alerts: Found,
    groups: Found,
}

impl Shard {
    /// The verdict on an alert that a rule does not take.
    pub(super) fn refused(&mut self, slot: u32, place: u32, reason: Reason) -> Verdict {
        let rule = self.rules.rules[place as usize].clone();
        let hint = match reason {
            Reason::LabelMissing => self.missing_label(slot, &rule),
            Reason::LimitReached => Some(self.crowded_groups()),
            _ => None,
        };
        Verdict { rule: Some(rule.name.clone()), hint, ..Verdict::new(Outcome::Recorded, reason) }
    }

    /// The label that the alert lacks.
    fn missing_label(&self, slot: u32, rule: &Rule) -> Option<Arc<str>> {
        let texts = &self.alerts.slots[slot].texts;
        let missing = |label: &&Arc<str>| texts.value(&self.names, label).is_none();
        if let Some(union) = &rule.union {
            return Some(format!("none of {}", union.labels.join(", ")).into());
        }
        let keys = rule.group_by.iter().filter(|_| rule.missing_label == MissingLabel::Skip);
        let counted = match &rule.open_when {
            OpenWhen::Distinct { label, .. } | OpenWhen::Ratio { label, .. } => Some(label),
            _ => None,
        };
        counted.into_iter().chain(keys).find(missing).cloned()
    }

    /// Says of `max_groups` which rule has the most groups, and by which of its labels.
    fn crowded_groups(&mut self) -> Arc<str> {
        let found = &mut self.culprits.groups;
        if let Some(text) = found.text.clone().filter(|_| found.left > 0) {
            found.left -= 1;
            return text;
        }
        let sample = sampled(self.groups.slots.end()).filter_map(|slot| self.groups.slots.get(slot));
        let mut by_rule: HashMap<&Arc<str>, Vec<&Group>> = HashMap::new();
        for group in sample {
            by_rule.entry(&group.rule_name).or_default().push(group);
        }
        let most = by_rule.into_iter().max_by_key(|(name, groups)| (groups.len(), *name));
        let text: Arc<str> = match most {
            None => "max_groups".into(),
            Some((rule, groups)) => {
                let pairs = groups.iter().flat_map(|group| group.key.iter().copied());
                match self.widest(pairs.filter_map(|(name, value)| Some((name, value?)))) {
                    Some(label) => {
                        format!("max_groups; most groups are of the rule {rule}, by the label {label}").into()
                    }
                    None => format!("max_groups; most groups are of the rule {rule}").into(),
                }
            }
        };
        self.culprits.groups = Found { text: Some(text.clone()), left: BELIEVED };
        text
    }

    /// Says of `max_alerts` which label has the most values.
    pub(super) fn crowded_alerts(&mut self) -> Arc<str> {
        let found = &mut self.culprits.alerts;
        if let Some(text) = found.text.clone().filter(|_| found.left > 0) {
            found.left -= 1;
            return text;
        }
        let sample = sampled(self.alerts.slots.end()).filter_map(|slot| self.alerts.slots.get(slot));
        let text: Arc<str> = match self.widest(sample.flat_map(|alert| alert.texts.labels().iter().copied())) {
            Some(label) => format!("max_alerts; the label with the most values is {label}").into(),
            None => "max_alerts".into(),
        };
        self.culprits.alerts = Found { text: Some(text.clone()), left: BELIEVED };
        text
    }

    /// The label with the most values; of several, the first by name.
    fn widest(&self, pairs: impl Iterator<Item = (Symbol, Symbol)>) -> Option<&str> {
        let mut values: HashMap<Symbol, HashSet<Symbol>> = HashMap::new();
        for (name, value) in pairs {
            values.entry(name).or_default().insert(value);
        }
        let counted = values.into_iter().map(|(name, values)| (values.len(), self.names.text(name)));
        counted.min_by_key(|(count, name)| (std::cmp::Reverse(*count), *name)).map(|(_, name)| name)
    }
}

/// Places spread over all.
fn sampled(end: u32) -> impl Iterator<Item = u32> {
    (0..end).step_by((end / SAMPLE).max(1) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::EngineConfig;
    use crate::engine::decision::{Reason, Verdict};
    use crate::engine::shard::Shard;
    use crate::event::{Batch, Event, Timestamp};
    use crate::identity::Fingerprint;
    use crate::rules::{Definition, RuleConfig, compile};

    fn shard(rules: &str, config: EngineConfig) -> Shard {
        let rules: Vec<RuleConfig> = serde_saphyr::from_str(rules).expect("rules");
        Shard::new(config, compile(&Definition::of(&rules, &["ops".to_owned()])).0.into())
    }

    /// An alert with these labels.
    fn fire(shard: &mut Shard, number: u32, labels: &[(&str, &str)]) -> Verdict {
        let now = Timestamp::from_parts(1_800_000_000, 0);
        let mut batch = Batch::new(bytes::Bytes::new(), now);
        let mark = batch.mark();
        for (name, value) in labels {
            let (name, value) = (batch.intern(name), batch.intern(value));
            batch.push_pair(name, value);
        }
        let (labels, fingerprint) = (batch.pairs_since(mark), Fingerprint(u128::from(number) + 1));
        batch.events.push(Event { labels, fingerprint, occurred_at: Some(now), ..Event::default() });
        let mut verdicts = Vec::new();
        shard.apply(now, &batch, None, &mut verdicts);
        verdicts.remove(0)
    }

    fn hint(verdict: &Verdict, reason: Reason) -> (&str, &str) {
        assert_eq!(verdict.reason, reason);
        (verdict.rule.as_deref().unwrap_or_default(), verdict.hint.as_deref().unwrap_or_default())
    }

    #[test]
    fn at_max_groups_the_rule_and_the_label_that_have_taken_the_room_are_named() {
        let config = EngineConfig { max_groups: 3_000, ..EngineConfig::default() };
        let rules = "[{ name: by-service, match: ['service=~\".+\"'], group_by: [service] },
            { name: by-pod, match: ['pod=~\".+\"'], group_by: [cluster, pod] }]";
        let mut shard = shard(rules, config);
        for n in 0..3_000 {
            let pod = n.to_string();
            let cluster = if n % 2 == 0 { "a" } else { "b" };
            fire(&mut shard, n, &[("cluster", cluster), ("pod", &pod)]);
        }
        // Whoever comes too late is told who was there before.
        let refused = fire(&mut shard, 9_999, &[("service", "checkout")]);
        let told = hint(&refused, Reason::LimitReached);
        assert_eq!(told, ("by-service", "max_groups; most groups are of the rule by-pod, by the label pod"));
    }

    #[test]
    fn at_max_alerts_the_label_that_makes_alerts_many_is_named() {
        let mut shard = shard("[{ name: one }]", EngineConfig { max_alerts: 50, ..EngineConfig::default() });
        for n in 0..50 {
            fire(&mut shard, n, &[("alertname", "Slow"), ("request", &n.to_string())]);
        }
        let refused = fire(&mut shard, 50, &[("alertname", "Slow"), ("request", "50")]);
        assert_eq!(hint(&refused, Reason::LimitReached).1, "max_alerts; the label with the most values is request");
    }

    #[test]
    fn the_label_that_an_alert_lacks_is_named() {
        let rules = [
            ("[{ name: r, group_by: [service, host] }]", "host"),
            (
                "[{ name: r, missing_label: own_group, group_by: [host], open_when: { distinct: { label: zone, count: 2 } } }]",
                "zone",
            ),
            ("[{ name: r, union_by: { labels: [host, zone] } }]", "none of host, zone"),
        ];
        for (rule, label) in rules {
            let verdict = fire(&mut shard(rule, EngineConfig::default()), 1, &[("service", "a")]);
            assert_eq!(hint(&verdict, Reason::LabelMissing), ("r", label));
        }
    }
}
