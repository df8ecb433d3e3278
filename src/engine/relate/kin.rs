//! Incidents that have to do with each other because their keys share a value: `related`, on both sides.
//!
//! Only where `topology.related_by` names labels. An incident that opens looks, for each of them, at the newest
//! [`LOOKED_AT_MAX`] open incidents with its value, and is related to at most [`RELATED_MAX`] of other rules; one that
//! has been related [`SHOWN_MAX`] times is not offered any more. Nothing of it costs an event. Derived from the groups:
//! not in the journal, made anew after a restart and a reload.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use super::Told;
use crate::engine::alert::Dirty;
use crate::engine::decision::Reason;
use crate::engine::incident::IncidentLink;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::{Hasher, domain};

/// Incidents that one is related to as it opens.
const RELATED_MAX: usize = 10;
/// Links of this type that an incident has at most.
const SHOWN_MAX: usize = 20;
const LOOKED_AT_MAX: usize = 100;

const RELATED: &str = "related";
/// Who sets these links.
pub(in crate::engine) const KIN: &str = "correlation";

/// The groups of open incidents by the values of their keys, in the order in which they opened.
#[derive(Debug, Default)]
pub(in crate::engine) struct Kin {
    by_value: HashMap<u64, BTreeSet<(Timestamp, u32)>>,
}

impl Kin {
    pub(in crate::engine) fn bytes(&self) -> usize {
        let groups: usize = self.by_value.values().take(256).map(BTreeSet::len).sum();
        let average = groups / self.by_value.len().clamp(1, 256);
        self.by_value.len() * (64 + average * 32)
    }
}

impl Shard {
    /// The values of a group's key that relate its incident, each with a hash; none of a storm, whose children have them.
    fn kin_values(&self, group: u32) -> Vec<(u64, String)> {
        let labels = self.rules.topology.related_by();
        let Some(state) = self.groups.slots.get(group).filter(|state| !labels.is_empty() && state.storm.is_none())
        else {
            return Vec::new();
        };
        let mut hasher = Hasher::default();
        let named = |label: &String| {
            let (_, value) = state.key.iter().find(|(name, _)| self.names.text(*name) == *label)?;
            let value = self.names.text((*value)?);
            let hash = hasher.reset(domain::CONTENT).part(label.as_bytes()).part(value.as_bytes()).finish64();
            Some((hash, format!("{label}={value}")))
        };
        labels.iter().filter_map(named).collect()
    }

    /// An open incident can be found by its values.
    pub(super) fn note_kin(&mut self, group: u32) {
        let Some(opened) = self.incident_in(group).map(|incident| incident.relations.opened) else { return };
        for (value, _) in self.kin_values(group) {
            self.kin.by_value.entry(value).or_default().insert((opened, group));
        }
    }

    /// It is over.
    pub(super) fn forget_kin(&mut self, group: u32) {
        let Some(opened) = self.incident_in(group).map(|incident| incident.relations.opened) else { return };
        for (value, _) in self.kin_values(group) {
            let Some(groups) = self.kin.by_value.get_mut(&value) else { continue };
            groups.remove(&(opened, group));
            if groups.is_empty() {
                self.kin.by_value.remove(&value);
            }
        }
    }

    /// Links an incident that opens or comes back, on both sides. Gives the groups of the others.
    pub(super) fn find_kin(&mut self, group: u32) -> Vec<u32> {
        let mut found: Vec<(u32, String)> = Vec::new();
        for (value, shown) in self.kin_values(group) {
            let others = self.kin.by_value.get(&value).into_iter().flatten().rev();
            for (_, other) in others.take(LOOKED_AT_MAX) {
                let known = found.iter().any(|(known, _)| known == other);
                if found.len() < RELATED_MAX && !known && self.are_kin(group, *other) {
                    found.push((*other, shown.clone()));
                }
            }
        }
        self.note_kin(group);
        found
            .into_iter()
            .filter(|(other, shown)| self.relate_to(group, *other, shown))
            .map(|(other, _)| other)
            .collect()
    }

    fn are_kin(&self, group: u32, other: u32) -> bool {
        let (Some(one), Some(two)) = (self.incident_in(group), self.incident_in(other)) else { return false };
        let (first, second) = (&one.relations, &two.relations);
        let apart = first.opened.since(second.opened).max(second.opened.since(first.opened));
        let is_cause = first.cause.as_ref().is_some_and(|cause| cause.id == two.id);
        let target = two.id.to_string();
        let linked = one.links.iter().any(|link| link.kind == RELATED && link.target == target);
        let open = self.is_live(other);
        let other_rule = self.groups.slots[group].rule_name != self.groups.slots[other].rule_name;
        open && other_rule && !is_cause && !linked && apart <= self.rules.topology.within()
    }

    /// Sets the link on both sides, where both have room for it.
    fn relate_to(&mut self, group: u32, other: u32, shown: &str) -> bool {
        let (Some(one), Some(two)) = (self.incident_in(group), self.incident_in(other)) else { return false };
        let has_room = |links: &[IncidentLink]| links.iter().filter(|link| link.by == KIN).count() < SHOWN_MAX;
        if !has_room(&one.links) || !has_room(&two.links) {
            return false;
        }
        let ids = [(group, two.id), (other, one.id)];
        let between = super::in_words(
            one.relations.opened.since(two.relations.opened).max(two.relations.opened.since(one.relations.opened)),
        );
        for (side, target) in ids {
            let Some(incident) = self.groups.slots[side].incident.as_deref_mut() else { continue };
            super::put_link(incident, RELATED, KIN, target, format!("{shown}, opened within {between} of each other"));
            self.mark_group(side, Dirty::Whole);
        }
        true
    }

    /// Tells both sides; sinks know of it with the opening, those of the others with what is gathered.
    pub(super) fn tell_kin(&mut self, now: Timestamp, group: u32, kin: &[u32]) {
        let Some(own) = self.id_of(group).filter(|_| !kin.is_empty()) else { return };
        let named = kin.iter().filter_map(|other| self.id_of(*other)).map(|id| id.to_string());
        let detail = format!("related {}", named.collect::<Vec<_>>().join(", "));
        self.announce(now, group, Reason::LinkAdded, detail, Told::Before);
        for other in kin {
            self.announce(now, *other, Reason::LinkAdded, format!("related {own}"), Told::Later);
        }
    }
}
