//! What was merged into an incident: who leads where, what can still be split, and when it is forgotten.
//!
//! A part is a merged incident with its group; parts have parts of their own. An incident remembers its last
//! [`PARTS_MAX`] merges; beyond, the oldest of a union rule becomes history and can no longer be split, and where there is
//! none such, nothing more is merged into it.

use crate::engine::alert::{Dirty, OWN};
use crate::engine::command::Refusal;
use crate::engine::group::Phase;
use crate::engine::shard::Shard;
use crate::identity::IncidentId;

/// Merges into one incident that can be split again: about 1 KiB each.
pub(super) const PARTS_MAX: usize = 100;

impl Shard {
    /// Whether one more incident can be merged into the group's.
    pub(super) fn has_room_for(&self, into: u32, from: u32) -> bool {
        let parts = self.parts(into);
        self.groups.slots[from].incident.is_none()
            || parts.len() < PARTS_MAX
            || parts.iter().any(|part| self.is_union_part(*part))
    }

    fn is_union_part(&self, part: IncidentId) -> bool {
        self.incidents.get(&part).and_then(|group| self.groups.slots.get(*group)).is_some_and(|group| group.union)
    }

    /// Makes history of the oldest part of a union: it can no longer be split, and its values are the whole's own.
    pub(super) fn forget_oldest_part(&mut self, whole: u32) {
        let Some(part) = self.parts(whole).iter().copied().find(|part| self.is_union_part(*part)) else { return };
        let family = self.incidents.get(&part).map(|group| self.family(*group)).unwrap_or_default();
        self.disown(whole, |origin| family.contains(&origin));
        let heir = self.id_of(whole);
        if let Some(incident) = self.groups.slots[whole].incident.as_deref_mut() {
            incident.relations.parts.retain(|one| *one != part);
        }
        self.forget_family(part, heir);
    }

    /// The group's incident is closed: what was merged into it can no longer be split, and leads nowhere by itself.
    pub(in crate::engine) fn forget_parts(&mut self, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let (id, parts) = (incident.id, std::mem::take(&mut incident.relations.parts));
        self.unions.part(|pair| pair.0 != id && pair.1 != id);
        if !parts.is_empty() {
            for alert in self.disown(group, |_| true) {
                // Its own key does not lead here any more.
                self.alerts.slots[alert].epoch = 0;
            }
            parts.into_iter().for_each(|part| self.forget_family(part, None));
        }
    }

    /// What came through merged groups is the group's own from now on.
    fn disown(&mut self, group: u32, chosen: impl Fn(u32) -> bool) -> Vec<u32> {
        let members = self.groups.slots[group].members.clone();
        let mut disowned = Vec::new();
        for slot in members {
            let Some(membership) = self.alerts.slots[slot].membership(group) else { continue };
            if membership.origin != OWN && chosen(membership.origin) {
                membership.origin = OWN;
                disowned.push(slot);
                self.mark_alert(slot, Dirty::Whole);
            }
        }
        let values = self.unions.of_group(group).iter().copied();
        let values = values.filter(|number| chosen(self.unions.value(*number).origin));
        values.collect::<Vec<_>>().into_iter().for_each(|number| self.unions.lead(number, group, OWN));
        disowned
    }

    /// Forgets a merged incident with all that was merged into it before. An heir is kept apart from what they were.
    fn forget_family(&mut self, part: IncidentId, heir: Option<IncidentId>) {
        let Some(group) = self.incidents.remove(&part) else { return };
        self.closed_ids.insert(part);
        self.unions.group_gone(group);
        let renamed = |id: IncidentId| if id == part { heir } else { Some(id) };
        self.unions.part(|pair| match (renamed(pair.0), renamed(pair.1)) {
            (Some(one), Some(other)) if one != other => {
                *pair = (one, other);
                true
            }
            _ => false,
        });
        let Some(mut state) = self.groups.remove(group) else { return };
        self.removed_groups.push(group);
        let parts = state.incident.as_deref_mut().map(|incident| std::mem::take(&mut incident.relations.parts));
        state.release(&mut self.names);
        parts.into_iter().flatten().for_each(|part| self.forget_family(part, heir));
    }

    /// A merged group and all that were merged into it before.
    pub(super) fn family(&self, part: u32) -> Vec<u32> {
        let mut family = vec![part];
        let mut next = 0;
        while let Some(group) = family.get(next).copied() {
            next += 1;
            for part in self.parts(group) {
                if let Some(group) = self.incidents.get(part)
                    && !family.contains(group)
                {
                    family.push(*group);
                }
            }
        }
        family
    }

    pub(super) fn parts(&self, group: u32) -> &[IncidentId] {
        let incident = self.groups.slots.get(group).and_then(|state| state.incident.as_deref());
        incident.map_or(&[], |incident| &incident.relations.parts)
    }

    pub(in crate::engine) fn id_of(&self, group: u32) -> Option<IncidentId> {
        self.groups.slots[group].incident.as_deref().map(|incident| incident.id)
    }

    pub(in crate::engine) fn group_of(&self, id: IncidentId) -> Result<u32, Refusal> {
        self.incidents.get(&id).copied().ok_or(Refusal::Unknown)
    }

    /// The group that a merged one was merged into.
    fn whole_of(&self, group: u32) -> Option<u32> {
        let state = self.groups.slots.get(group).filter(|state| state.phase == Phase::Merged)?;
        self.incidents.get(&state.incident.as_deref()?.relations.merged_into?).copied()
    }

    /// The group itself, or what it was merged into in the end.
    pub(in crate::engine) fn merged_into(&self, mut group: u32) -> u32 {
        // As many steps as there are incidents: what was read back damaged might lead in a circle.
        for _ in 0..self.incidents.len() {
            match self.whole_of(group) {
                Some(whole) => group = whole,
                None => break,
            }
        }
        group
    }

    /// The group that a key leads to.
    pub(in crate::engine) fn way_into(&mut self, group: u32) -> u32 {
        let whole = self.merged_into(group);
        if whole != group {
            self.unions.note_way(whole, group);
        }
        whole
    }

    /// The innermost merged group that both came through.
    pub(super) fn common_origin(&self, one: u32, other: u32) -> u32 {
        let way =
            |from: u32| std::iter::successors(Some(from), |group| self.whole_of(*group)).take(self.incidents.len());
        let is_part = |group: &u32| self.whole_of(*group).is_some();
        way(other).filter(is_part).find(|group| way(one).any(|own| own == *group)).unwrap_or(OWN)
    }

    /// Whether an operator has split what these groups stand for.
    pub(super) fn are_apart(&self, one: u32, other: u32) -> bool {
        self.unions.apart().iter().any(|pair| self.is_pair(*pair, one, other))
    }

    pub(super) fn is_pair(&self, pair: (IncidentId, IncidentId), one: u32, other: u32) -> bool {
        let group = |id| self.incidents.get(&id).map(|group| self.merged_into(*group));
        let found = (group(pair.0), group(pair.1));
        found == (Some(one), Some(other)) || found == (Some(other), Some(one))
    }
}
