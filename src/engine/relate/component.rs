//! Which component of a union rule an alert belongs to, and which components become one through it.
//!
//! A value leads to one group. An alert goes where its values lead; where they lead to several, those are merged, so
//! that the order of arrival does not matter. Guards: a value that too many alerts share leads nowhere further, a
//! component neither grows over its bound by merging nor learns values once it is full, and what an operator has split
//! stays apart. Where a guard holds, the alert stays where it is, else goes to the largest component.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;
use smallvec::SmallVec;

use super::merge::Cause;
use super::union::{Culprit, Values};
use crate::engine::alert::{Membership, OWN};
use crate::engine::decision::Reason;
use crate::engine::group::{Group, Phase, Targets};
use crate::engine::incident::Key;
use crate::engine::memory::interner::Symbol;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::{IncidentId, domain};
use crate::rules::{Rule, Union};

/// Values that an incident of a union shows as its key.
const KEY_VALUES_MAX: usize = 5;
/// Characters of a value in a timeline; the rest is cut.
const SHOWN_CHARS_MAX: usize = 100;

/// How groups go before each other: live incidents, then resolved ones, then none; the older first, then the larger.
type Rank = (u8, Timestamp, IncidentId, Reverse<usize>, u128);

/// A group that values of an alert lead to, with the first that does.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    group: u32,
    value: Option<u32>,
}

impl Shard {
    /// Values of union rules that have been named in a timeline for joining no further, at most so many.
    pub fn culprits(&self, limit: usize) -> Vec<Culprit> {
        self.unions.culprits(&self.names, limit)
    }

    /// Whether a group follows a rule of its name by the same labels in the same manner.
    pub(in crate::engine) fn groups_alike(&self, group: &Group, rule: &Rule) -> bool {
        let names = group.key.iter().map(|(name, _)| self.names.text(*name));
        if group.storm.is_some() {
            // The group of a storm is one of the scope.
            return names.eq(self.rules.scope.iter().map(|label| &**label));
        }
        let labels = rule.union.as_ref().map_or(&rule.group_by, |union| &union.labels);
        group.union == rule.union.is_some() && names.eq(labels.iter().map(|label| &**label))
    }

    /// The values by which an alert may be joined to others: of the labels it has, those that are no stop values.
    pub(in crate::engine) fn union_values<'a>(&'a self, union: &'a Union, slot: u32) -> Vec<(&'a str, &'a str)> {
        let texts = &self.alerts.slots[slot].texts;
        let values = union.labels.iter().filter_map(|label| Some((&**label, texts.label(&self.names, label)?)));
        values.filter(|(_, value)| !union.stops(value)).collect()
    }

    /// What an incident of a union shows as its key: of each label the value that most alerts have, where it is not
    /// that of one among several; the most common ones.
    pub(in crate::engine) fn union_key(&self, group: u32) -> Key {
        let alone = self.groups.slots[group].members.len() <= 1;
        let values = self.unions.of_group(group).iter().map(|number| self.unions.value(*number));
        let mut values: Vec<_> = values
            .filter(|value| alone || value.alerts > 1)
            .map(|value| (Reverse(value.alerts), self.names.text(value.label), self.names.text(value.value)))
            .collect();
        values.sort_unstable();
        let mut key: BTreeMap<&str, &str> = BTreeMap::new();
        for (_, label, value) in values {
            if key.len() >= KEY_VALUES_MAX {
                break;
            }
            key.entry(label).or_insert(value);
        }
        key.into_iter().map(|(label, value)| (label.into(), value.into())).collect()
    }

    /// The group that a union rule puts the alert into; groups that it connects become one.
    pub(in crate::engine) fn union_group(&mut self, now: Timestamp, slot: u32, place: u32) -> Result<u32, Reason> {
        let rule = self.rules.rules[place as usize].clone();
        let Some(union) = rule.union.clone() else { return Err(Reason::NoRule) };
        let texts = &self.alerts.slots[slot].texts;
        if !union.labels.iter().any(|label| texts.value(&self.names, label).is_some()) {
            return Err(Reason::LabelMissing);
        }
        let of_rule = |number: &u32| self.unions.value(*number).rule == rule.name;
        let before: HashSet<u32> = self.unions.held_by(slot).iter().copied().filter(of_rule).collect();
        let values = self.hold_values(slot, &rule, &union);
        let same = before == values.iter().copied().collect();
        let unchanged = same || before.is_empty();
        let present = if unchanged { self.present(slot, place) } else { None };
        if let (true, true, Some(present)) = (same, self.unions.is_relook(), present) {
            // After a restart or a reload its rules are looked for anew. It says nothing new, so nothing comes of it.
            return Ok(present);
        }
        let candidates = self.candidates(now, present, &values, &union);
        let group = match (candidates.as_slice(), present) {
            ([], Some(present)) => present,
            ([], None) => match unchanged.then(|| self.former(slot, place)).flatten() {
                Some(former) => former,
                None => self.found(now, slot, place)?,
            },
            _ => self.unite(now, slot, present, candidates, &union),
        };
        self.settle_component(now, group, &values, &union);
        Ok(group)
    }

    /// Lets the alert's values count it; returns them.
    fn hold_values(&mut self, slot: u32, rule: &Rule, union: &Union) -> Values {
        let texts = &self.alerts.slots[slot].texts;
        let joints = union.labels.iter().filter_map(|label| Some((label.clone(), texts.value(&self.names, label)?)));
        let joints = joints.filter(|(_, value)| !union.stops(self.names.text(*value)));
        let joints: SmallVec<[(Arc<str>, Symbol); 4]> = joints.collect();
        let mut values = Values::new();
        for (label, value) in joints {
            let hash = self.value_hash(slot, rule, union, &label, value);
            let known = self.unions.find(hash);
            let known = known.or_else(|| self.unions.learn(&mut self.names, &rule.name, (&label, value), hash));
            values.extend(known);
        }
        self.unions.hold(&mut self.names, slot, &values, |value| value.rule == rule.name);
        values
    }

    /// The identity of a value within its rule and scope; a missing label of the scope is not an empty one.
    fn value_hash(&mut self, slot: u32, rule: &Rule, union: &Union, label: &str, value: Symbol) -> u128 {
        let texts = &self.alerts.slots[slot].texts;
        // 0xff occurs in no UTF-8 text: neither a label of a key nor a value can be taken for it.
        self.hasher.reset(domain::GROUP).part(rule.name.as_bytes()).part(b"\xffvalue");
        for name in &union.scope {
            self.hasher.part(texts.label(&self.names, name).map_or(&b"\xff"[..], str::as_bytes));
        }
        self.hasher.part(label.as_bytes()).part(self.names.text(value).as_bytes()).finish128()
    }

    /// The rules of these places are all that want the alert: values of other rules no longer count it.
    pub(in crate::engine) fn let_go_of_values(&mut self, slot: u32, found: &[u32]) {
        if self.unions.held_by(slot).is_empty() {
            return;
        }
        let rules = &self.rules.rules;
        let unwanted = |name: &Arc<str>| !found.iter().any(|place| rules[*place as usize].name == *name);
        self.unions.hold(&mut self.names, slot, &[], |value| unwanted(&value.rule));
    }

    /// The component of the rule in which the alert fires at present.
    fn present(&self, slot: u32, place: u32) -> Option<u32> {
        let firing = self.alerts.slots[slot].memberships.iter().filter(|membership| membership.firing);
        firing.filter(|membership| self.is_of_rule(membership, place)).map(|membership| membership.group).next()
    }

    /// A component of the rule in which the alert has fired.
    fn former(&self, slot: u32, place: u32) -> Option<u32> {
        let memberships = self.alerts.slots[slot].memberships.iter();
        memberships.filter(|membership| self.is_of_rule(membership, place)).map(|membership| membership.group).max()
    }

    fn is_of_rule(&self, membership: &Membership, place: u32) -> bool {
        let group = if membership.origin == OWN { membership.group } else { membership.origin };
        self.groups.slots.get(group).is_some_and(|group| group.union && group.rule == place)
    }

    /// Where the values lead, each group once, `present` first.
    fn candidates(&mut self, now: Timestamp, present: Option<u32>, values: &[u32], union: &Union) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        for number in values {
            if self.joins(now, *number, union)
                && let Some(group) = self.unions.value(*number).group()
                && !found.iter().any(|candidate| candidate.group == group)
            {
                found.push(Candidate { group, value: Some(*number) });
            }
        }
        match present {
            Some(group) if !found.is_empty() && !found.iter().any(|candidate| candidate.group == group) => {
                found.insert(0, Candidate { group, value: None });
            }
            _ => {}
        }
        found
    }

    /// Whether a value joins: not while more alerts share it than may. The incident is told once.
    fn joins(&mut self, now: Timestamp, number: u32, union: &Union) -> bool {
        let value = self.unions.value(number);
        if value.alerts <= union.value_max {
            return true;
        }
        if let Some(group) = value.group() {
            let told = format!(
                "a value joins no more; {} is shared by more than {} alerts",
                self.shown(number),
                union.value_max
            );
            self.tell_limit(now, group, number, told);
        }
        false
    }

    /// `label=value`, cut where it is long.
    fn shown(&self, number: u32) -> String {
        let value = self.unions.value(number);
        let (label, text) = (self.names.text(value.label), self.names.text(value.value));
        match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{label}={}…", &text[..end]),
            None => format!("{label}={text}"),
        }
    }

    /// Names a culprit in the timeline of the group's live incident, once for each value.
    fn tell_limit(&mut self, now: Timestamp, group: u32, number: u32, detail: String) {
        if self.groups.slots[group].phase == Phase::Live && !self.unions.value(number).told {
            self.unions.set_told(number);
            self.emit(now, group, Move::Update, Reason::UnionLimit, detail);
        }
    }

    /// A component of its own.
    fn found(&mut self, now: Timestamp, slot: u32, place: u32) -> Result<u32, Reason> {
        if self.groups.slots.len() >= self.config.max_groups {
            return Err(Reason::LimitReached);
        }
        let rule = self.rules.rules[place as usize].clone();
        let labels = rule.union.iter().flat_map(|union| &union.labels);
        let key = labels.map(|label| (self.names.intern(label), None)).collect();
        let fingerprint = self.alerts.slots[slot].fingerprint.0.to_le_bytes();
        // The alert that founded a component may have left it since.
        for round in 0_u64.. {
            self.hasher.reset(domain::GROUP).part(rule.name.as_bytes()).part(b"\xffcomponent");
            let key_hash = self.hasher.part(&fingerprint).part(&round.to_le_bytes()).finish128();
            if self.groups.find(key_hash).is_none() {
                return Ok(self.new_group(now, place, key_hash, key));
            }
        }
        unreachable!("a bounded table does not hold every key")
    }

    fn rank(&self, group: u32) -> Rank {
        let state = &self.groups.slots[group];
        let phase = match state.phase {
            Phase::Live => 0,
            Phase::Resolved | Phase::Merged => 1,
            Phase::Waiting(_) => 2,
            Phase::Gathering => 3,
        };
        let incident = state.incident.as_deref();
        let (opened_at, id) = incident.map_or((Timestamp::MAX, IncidentId(u64::MAX)), |one| (one.opened_at, one.id));
        (phase, opened_at, id, Reverse(state.members.len()), state.key_hash)
    }

    /// Merges what the alert connects as far as the guards allow, and says where the alert belongs.
    fn unite(
        &mut self,
        now: Timestamp,
        slot: u32,
        present: Option<u32>,
        mut candidates: Vec<Candidate>,
        union: &Union,
    ) -> u32 {
        let size = |shard: &Self, group: u32| shard.groups.slots[group].members.len();
        let newcomer = usize::from(!candidates.iter().any(|one| self.is_member(slot, one.group)));
        let all: usize = candidates.iter().map(|one| size(self, one.group)).sum();
        let free = all + newcomer <= union.max_alerts && self.unions.apart().is_empty();
        candidates.sort_by_cached_key(|one| {
            let rank = self.rank(one.group);
            if free {
                (false, Reverse(0), rank)
            } else {
                (Some(one.group) != present, Reverse(size(self, one.group)), rank)
            }
        });
        let mut base = candidates[0];
        for other in &candidates[1..] {
            // A merge may have opened an incident or brought one back, and so changed who goes before whom.
            let (into, from) =
                if self.rank(other.group) < self.rank(base.group) { (*other, base) } else { (base, *other) };
            let value = from.value.or(into.value);
            let grown = size(self, base.group) + size(self, other.group) + newcomer;
            if self.are_apart(into.group, from.group) {
                continue;
            }
            if grown > union.max_alerts || !self.has_room_for(into.group, from.group) {
                if let Some(number) = value {
                    let (shown, bound) = (self.shown(number), union.max_alerts);
                    let other = self.named(other.group);
                    let told = format!("not joined with {other}; by {shown}, as together they exceed {bound} alerts");
                    self.tell_limit(now, base.group, number, told);
                }
                continue;
            }
            let value = value.map(|number| self.shown(number)).unwrap_or_default();
            self.fuse(now, into.group, from.group, &Cause { value, alert: Some(slot) });
            base = into;
        }
        base.group
    }

    fn named(&self, group: u32) -> String {
        let incident = self.groups.slots[group].incident.as_deref();
        incident.map_or_else(|| "another component".to_owned(), |incident| incident.id.to_string())
    }

    fn is_member(&self, slot: u32, group: u32) -> bool {
        self.alerts.slots[slot].memberships.iter().any(|membership| membership.group == group)
    }

    /// Whether a value of the alert leads to the group.
    pub(super) fn is_led_to(&self, slot: u32, group: u32) -> bool {
        self.unions.held_by(slot).iter().any(|number| self.unions.value(*number).group() == Some(group))
    }

    /// The alert is to belong to the group: notes through which merged one, and lets new values lead there.
    fn settle_component(&mut self, now: Timestamp, group: u32, values: &[u32], union: &Union) {
        let leading = values.iter().copied().filter(|number| self.unions.value(*number).group() == Some(group));
        let leading: Values = leading.filter(|number| self.unions.value(*number).alerts <= union.value_max).collect();
        let origins = leading.iter().map(|number| self.unions.value(*number).origin);
        let origin = origins.reduce(|one, other| self.common_origin(one, other)).unwrap_or(OWN);
        if origin != OWN {
            self.unions.note_way(group, origin);
        }
        let new: Values =
            values.iter().copied().filter(|number| self.unions.value(*number).group().is_none()).collect();
        if self.groups.slots[group].members.len() < union.max_alerts {
            new.into_iter().for_each(|number| self.unions.lead(number, group, origin));
        } else if let (Some(number), false) = (leading.first(), new.is_empty()) {
            let (shown, bound) = (self.shown(*number), union.max_alerts);
            let told = format!("nothing new leads to it; {shown} leads to {bound} alerts already");
            self.tell_limit(now, group, *number, told);
        }
    }

    /// Where targets have been merged while further rules were asked, what they were merged into; in the order in which
    /// a repeat meets them.
    pub(in crate::engine) fn follow_merges(&mut self, targets: &mut Targets) {
        let mut settled = Targets::new();
        for group in targets.iter().map(|group| self.merged_into(*group)) {
            if !settled.contains(&group) {
                settled.push(group);
            }
        }
        settled.sort_unstable_by_key(|group| (self.groups.slots[*group].rule, *group));
        *targets = settled;
    }
}
