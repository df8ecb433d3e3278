//! Union rules: which value leads to which group, which alerts share it, and which incidents are kept apart.
//!
//! Owns the values of all union rules, nothing of groups or alerts: who joins and who merges is decided in
//! `component.rs`. A value is known while an alert has it, so there are at most as many as alerts have labels that
//! join; incidents that are kept apart are bounded by [`APART_MAX`], beyond which a split is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};
use serde::Serialize;
use smallvec::SmallVec;

use crate::engine::alert::OWN;
use crate::engine::group::{Groups, RETIRED};
use crate::engine::journal::{Fault, Part, Reader, SLICE_OBJECTS, Writer};
use crate::engine::memory::interner::{Interner, Symbol};
use crate::engine::memory::slab::{SLOTS_MAX, Slab};
use crate::identity::IncidentId;

/// Pairs of incidents that are kept apart; 16 bytes each.
pub(super) const APART_MAX: usize = 1_000;

/// A value that leads nowhere at present.
const NOWHERE: u32 = u32::MAX;

const VALUE: u8 = 1;
const VALUE_GONE: u8 = 2;
const HELD: u8 = 3;
const APART: u8 = 4;

/// The value of a joining label, within a rule and a scope.
#[derive(Debug)]
pub(super) struct Value {
    pub(super) hash: u128,
    pub(super) rule: Arc<str>,
    pub(super) label: Symbol,
    pub(super) value: Symbol,
    /// The group it leads to, or [`NOWHERE`].
    group: u32,
    /// Its place in that group's list.
    place: u32,
    /// The merged group to which it led by itself, or [`OWN`].
    pub(super) origin: u32,
    /// How many alerts have it.
    pub(super) alerts: u32,
    /// It has been named in a timeline for joining no further.
    pub(super) told: bool,
    dirty: bool,
}

/// A value that has been named in a timeline for joining no further, or for leading to what grows no more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub struct Culprit {
    /// The rule.
    pub rule: Arc<str>,
    /// The label.
    pub label: String,
    /// Its value.
    pub value: String,
    /// How many alerts have it now.
    pub alerts: u32,
}

/// Numbers of values.
pub(super) type Values = SmallVec<[u32; 4]>;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Unions {
    values: Slab<Value>,
    by_hash: HashTable<u32>,
    by_group: HashMap<u32, Vec<u32>>,
    /// By alert, the values that count it.
    held: BTreeMap<u32, Values>,
    apart: Vec<(IncidentId, IncidentId)>,
    /// Values that have been told.
    culprits: BTreeSet<u32>,
    /// How the alert that is being looked at got into a group: through which merged one.
    ways: SmallVec<[(u32, u32); 2]>,
    relook: bool,
    dirty_values: Vec<u32>,
    gone_values: Vec<u32>,
    dirty_held: Vec<u32>,
    dirty_apart: bool,
}

impl Value {
    /// The group it leads to.
    pub(super) fn group(&self) -> Option<u32> {
        (self.group != NOWHERE).then_some(self.group)
    }
}

impl Unions {
    pub(super) fn value(&self, number: u32) -> &Value {
        &self.values[number]
    }

    pub(super) fn find(&self, hash: u128) -> Option<u32> {
        self.by_hash.find(hash as u64, |number| self.values[*number].hash == hash).copied()
    }

    /// The least of the values that lead to a group, with its label.
    pub(in crate::engine) fn least<'a>(&self, names: &'a Interner, group: u32) -> Option<(&'a str, &'a str)> {
        let values = self.of_group(group).iter().map(|number| &self.values[*number]);
        values.map(|value| (names.text(value.label), names.text(value.value))).min()
    }

    /// The values that lead to a group.
    pub(super) fn of_group(&self, group: u32) -> &[u32] {
        self.by_group.get(&group).map_or(&[], Vec::as_slice)
    }

    /// The values that count an alert.
    pub(super) fn held_by(&self, alert: u32) -> &[u32] {
        self.held.get(&alert).map_or(&[], SmallVec::as_slice)
    }

    /// Makes a value known that is not; it leads nowhere and counts nobody yet. `None` when there are too many.
    pub(super) fn learn(
        &mut self,
        names: &mut Interner,
        rule: &Arc<str>,
        joint: (&str, Symbol),
        hash: u128,
    ) -> Option<u32> {
        if self.values.end() >= SLOTS_MAX {
            return None;
        }
        let (label, value) = (names.intern(joint.0), names.share(joint.1));
        let (group, place, origin) = (NOWHERE, 0, OWN);
        let rule = rule.clone();
        let value = Value { hash, rule, label, value, group, place, origin, alerts: 0, told: false, dirty: false };
        let number = self.values.insert(value);
        self.index(number);
        self.mark(number);
        Some(number)
    }

    fn index(&mut self, number: u32) {
        let values = &self.values;
        let hash = values[number].hash as u64;
        self.by_hash.insert_unique(hash, number, |number| values[*number].hash as u64);
    }

    fn mark(&mut self, number: u32) {
        let value = &mut self.values[number];
        if !std::mem::replace(&mut value.dirty, true) {
            self.dirty_values.push(number);
        }
    }

    /// Lets a value lead to a group, through a merged one or not.
    pub(super) fn lead(&mut self, number: u32, group: u32, origin: u32) {
        self.take_off_list(number);
        let list = self.by_group.entry(group).or_default();
        let place = list.len() as u32;
        list.push(number);
        let value = &mut self.values[number];
        (value.group, value.place, value.origin) = (group, place, origin);
        self.mark(number);
    }

    fn take_off_list(&mut self, number: u32) {
        let Value { group, place, .. } = self.values[number];
        let Some(list) = self.by_group.get_mut(&group) else { return };
        list.swap_remove(place as usize);
        if let Some(moved) = list.get(place as usize) {
            self.values[*moved].place = place;
        }
        if list.is_empty() {
            self.by_group.remove(&group);
        }
    }

    fn unlead(&mut self, number: u32) {
        self.take_off_list(number);
        let value = &mut self.values[number];
        (value.group, value.origin) = (NOWHERE, OWN);
        self.mark(number);
    }

    pub(super) fn set_told(&mut self, number: u32) {
        self.values[number].told = true;
        self.culprits.insert(number);
        self.mark(number);
    }

    /// A group is gone; its values lead nowhere.
    pub(in crate::engine) fn group_gone(&mut self, group: u32) {
        while let Some(number) = self.of_group(group).last().copied() {
            self.unlead(number);
        }
    }

    /// After the rules changed: what led to a group whose rule is gone, or joins otherwise now, leads nowhere.
    pub(in crate::engine) fn unlead_retired(&mut self, groups: &Groups) {
        let bound = |group: u32| groups.slots.get(group).is_some_and(|group| group.rule != RETIRED);
        let stale = |value: &Value| {
            let owner = if value.origin == OWN { value.group } else { value.origin };
            value.group != NOWHERE && !(bound(owner) && groups.slots.get(value.group).is_some())
        };
        let stale = self.values.slots().filter(|(_, value)| stale(value)).map(|(number, _)| number);
        for number in stale.collect::<Vec<_>>() {
            self.unlead(number);
        }
    }

    /// Lets these values count an alert, and none other of those that `drop` picks.
    pub(super) fn hold(&mut self, names: &mut Interner, alert: u32, new: &[u32], drop: impl Fn(&Value) -> bool) {
        let held = self.held.get(&alert).cloned().unwrap_or_default();
        let left: Values =
            held.iter().copied().filter(|number| !new.contains(number) && drop(&self.values[*number])).collect();
        let added: Values = new.iter().copied().filter(|number| !held.contains(number)).collect();
        if left.is_empty() && added.is_empty() {
            return;
        }
        let mut kept: Values = held.into_iter().filter(|number| !left.contains(number)).collect();
        kept.extend_from_slice(&added);
        added.iter().for_each(|number| self.values[*number].alerts += 1);
        if kept.is_empty() {
            self.held.remove(&alert);
        } else {
            self.held.insert(alert, kept);
        }
        self.dirty_held.push(alert);
        left.into_iter().for_each(|number| self.count_down(names, number));
    }

    /// An alert is forgotten.
    pub(in crate::engine) fn release(&mut self, names: &mut Interner, alert: u32) {
        if let Some(held) = self.held.remove(&alert) {
            self.dirty_held.push(alert);
            held.into_iter().for_each(|number| self.count_down(names, number));
        }
    }

    /// One alert less has the value; with the last one it is forgotten.
    fn count_down(&mut self, names: &mut Interner, number: u32) {
        self.values[number].alerts -= 1;
        if self.values[number].alerts > 0 {
            return;
        }
        self.take_off_list(number);
        let hash = self.values[number].hash;
        if let Ok(entry) = self.by_hash.find_entry(hash as u64, |other| *other == number) {
            entry.remove();
        }
        if let Some(value) = self.values.remove(number) {
            names.release(value.label);
            names.release(value.value);
            self.culprits.remove(&number);
            self.gone_values.push(number);
        }
    }

    /// The values that have been told, at most so many.
    pub(super) fn culprits(&self, names: &Interner, limit: usize) -> Vec<Culprit> {
        let text = |symbol| names.text(symbol).to_owned();
        let told = self.culprits.iter().take(limit).map(|number| &self.values[*number]);
        told.map(|value| Culprit {
            rule: value.rule.clone(),
            label: text(value.label),
            value: text(value.value),
            alerts: value.alerts,
        })
        .collect()
    }

    pub(super) fn apart(&self) -> &[(IncidentId, IncidentId)] {
        &self.apart
    }

    pub(super) fn keep_apart(&mut self, pair: (IncidentId, IncidentId)) {
        self.apart.push(pair);
        self.dirty_apart = true;
    }

    /// Changes or drops pairs that are kept apart.
    pub(super) fn part(&mut self, keep: impl FnMut(&mut (IncidentId, IncidentId)) -> bool) {
        if !self.apart.is_empty() {
            self.apart.retain_mut(keep);
            self.dirty_apart = true;
        }
    }

    /// Remembers through which merged group the alert that is being looked at gets into a group.
    pub(super) fn note_way(&mut self, group: u32, origin: u32) {
        self.ways.push((group, origin));
    }

    /// An alert is about to be looked at; again where it is known to fire and says nothing new.
    pub(in crate::engine) fn look_at(&mut self, again: bool) {
        self.relook = again;
        self.ways.clear();
    }

    pub(super) fn is_relook(&self) -> bool {
        self.relook
    }

    /// It gets there in more than one way, so the group has it by itself.
    pub(in crate::engine) fn forget_way(&mut self, group: u32) {
        self.ways.retain(|way| way.0 != group);
    }

    /// The merged group through which the alert that is being looked at gets into a group, if any.
    pub(in crate::engine) fn way(&self, group: u32) -> Option<u32> {
        self.ways.iter().find(|way| way.0 == group).map(|way| way.1)
    }

    /// Bytes held, by estimate: the lists count once with the values and once with the alerts.
    pub(in crate::engine) fn bytes(&self) -> usize {
        let lists = self.values.len() * 4 + self.by_group.capacity() * 40 + self.held.len() * 48;
        self.values.bytes() + self.by_hash.capacity() * 5 + lists + self.apart.capacity() * 16
    }

    /// Derives the indexes and counts from what was read back.
    pub(in crate::engine) fn finish_restore(&mut self) {
        self.values.collect_free();
        self.by_hash.clear();
        self.by_group.clear();
        let known: Vec<u32> = self.values.slots().map(|(number, _)| number).collect();
        for number in known {
            self.index(number);
            if self.values[number].told {
                self.culprits.insert(number);
            }
            let group = self.values[number].group;
            if group != NOWHERE {
                let list = self.by_group.entry(group).or_default();
                self.values[number].place = list.len() as u32;
                list.push(number);
            }
        }
        for number in self.held.values().flatten() {
            if let Some(value) = self.values.get_mut(*number) {
                value.alerts += 1;
            }
        }
        // Damage that reads as numbers must not count what is not there.
        let values = &self.values;
        self.held.values_mut().for_each(|held| held.retain(|number| values.get(*number).is_some()));
    }

    fn write_value(&self, names: &Interner, number: u32, writer: &mut Writer) {
        let value = &self.values[number];
        writer.byte(Self::TAG);
        writer.byte(VALUE);
        writer.number(u64::from(number));
        writer.wide(value.hash);
        writer.text(&value.rule);
        writer.text(names.text(value.label));
        writer.text(names.text(value.value));
        for slot in [value.group, value.origin] {
            // Both "nowhere" and "by itself" are the greatest number, which becomes 0.
            writer.number(u64::from(slot.wrapping_add(1)));
        }
        writer.byte(u8::from(value.told));
    }

    fn write_held(&self, alert: u32, writer: &mut Writer) {
        let held = self.held_by(alert);
        writer.byte(Self::TAG);
        writer.byte(HELD);
        writer.number(u64::from(alert));
        writer.number(held.len() as u64);
        held.iter().for_each(|number| writer.number(u64::from(*number)));
    }

    fn write_apart(&self, writer: &mut Writer) {
        writer.byte(Self::TAG);
        writer.byte(APART);
        writer.number(self.apart.len() as u64);
        for (one, other) in &self.apart {
            writer.fixed(one.0);
            writer.fixed(other.0);
        }
    }

    fn forget_restored(&mut self, names: &mut Interner, number: u32) {
        if let Some(value) = self.values.remove(number) {
            names.release(value.label);
            names.release(value.value);
        }
    }

    fn read_value(&mut self, names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (number, hash) = (reader.slot()?, reader.wide()?);
        let rule = Arc::from(reader.text()?);
        let (label, value) = (reader.text()?, reader.text()?);
        let (group, origin) = (reader.small()?.wrapping_sub(1), reader.small()?.wrapping_sub(1));
        let told = reader.flag()?;
        self.forget_restored(names, number);
        let (label, value) = (names.intern(label), names.intern(value));
        let value = Value { hash, rule, label, value, group, place: 0, origin, alerts: 0, told, dirty: false };
        self.values.put(number, value);
        Ok(())
    }
}

impl Part for Unions {
    const TAG: u8 = 12;

    fn write_changes(&mut self, names: &Interner, writer: &mut Writer) {
        for number in self.gone_values.drain(..) {
            writer.byte(Self::TAG);
            writer.byte(VALUE_GONE);
            writer.number(u64::from(number));
        }
        for number in std::mem::take(&mut self.dirty_values) {
            let changed = self.values.get_mut(number).is_some_and(|value| std::mem::take(&mut value.dirty));
            if changed {
                self.write_value(names, number, writer);
            }
        }
        let mut held = std::mem::take(&mut self.dirty_held);
        held.sort_unstable();
        held.dedup();
        held.into_iter().for_each(|alert| self.write_held(alert, writer));
        if std::mem::take(&mut self.dirty_apart) {
            self.write_apart(writer);
        }
    }

    /// Values first, then who has them; places of the second kind come after those of the first.
    fn write_slice(&self, names: &Interner, from: u32, writer: &mut Writer) -> Option<u32> {
        const HELD_FROM: u32 = 1 << 31;
        if from < HELD_FROM {
            let to = from.saturating_add(SLICE_OBJECTS).min(self.values.end());
            let known = (from..to).filter(|number| self.values.get(*number).is_some());
            known.for_each(|number| self.write_value(names, number, writer));
            if to < self.values.end() {
                return Some(to);
            }
            if self.held.is_empty() && self.apart.is_empty() {
                return None;
            }
            return Some(HELD_FROM);
        }
        let mut alerts = self.held.range(from - HELD_FROM..).map(|(alert, _)| *alert);
        alerts.by_ref().take(SLICE_OBJECTS as usize).for_each(|alert| self.write_held(alert, writer));
        let next = alerts.next().map(|alert| alert + HELD_FROM);
        if next.is_none() {
            self.write_apart(writer);
        }
        next
    }

    fn restore(&mut self, names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match reader.byte()? {
            VALUE => self.read_value(names, reader)?,
            VALUE_GONE => {
                let number = reader.slot()?;
                self.forget_restored(names, number);
            }
            HELD => {
                let alert = reader.slot()?;
                let count = reader.count()?;
                let held = (0..count).map(|_| reader.slot()).collect::<Result<Values, Fault>>()?;
                if held.is_empty() {
                    self.held.remove(&alert)
                } else {
                    self.held.insert(alert, held)
                };
            }
            APART => {
                let count = reader.count()?;
                let mut pair = || Ok((IncidentId(reader.fixed()?), IncidentId(reader.fixed()?)));
                self.apart = (0..count).map(|_| pair()).collect::<Result<_, Fault>>()?;
            }
            tag => return Err(reader.fault(&format!("unknown record {tag} of unions"))),
        }
        Ok(())
    }
}
