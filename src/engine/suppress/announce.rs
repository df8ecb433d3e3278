//! Of which incidents nobody is told, because all that fires in them is muted, and what is told when that ends.
//!
//! The timeline records everything; sinks hear of it once something fires that is not muted, in one delivery that shows
//! the incident as it then is. Nothing grows here: what is kept back is a number.

use crate::delivery::Action;
use crate::engine::alert::{AlertState, Dirty};
use crate::engine::decision::Reason;
use crate::engine::group::Phase;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// Until when an opening is held back whose alerts are all muted.
const PARKED: Timestamp = Timestamp::MAX;

/// What an incident knows of being muted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::engine) struct Hush {
    /// Decisions that nobody was told of.
    kept_back: u32,
    /// Whether the alert that cleared last was muted.
    last_was_muted: bool,
    /// All was found muted as of this version of what is muted, among so many members; not kept in the journal.
    all_muted: Option<(u64, usize)>,
}

impl Hush {
    /// Whether there is something that nobody was told of.
    pub(in crate::engine) fn is_kept_back(&self) -> bool {
        self.kept_back > 0
    }

    pub(in crate::engine) fn write(&self, writer: &mut Writer) {
        writer.number(u64::from(self.kept_back));
        writer.byte(u8::from(self.last_was_muted));
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self { kept_back: reader.small()?, last_was_muted: reader.flag()?, all_muted: None })
    }
}

impl Shard {
    /// Whether nobody is to be told of this group's incident, because all that fires in it is muted, or was when it
    /// cleared. Looks at the members only after something began or ceased to be muted, or they became others.
    pub(in crate::engine) fn is_group_muted(&mut self, group: u32) -> bool {
        let state = &self.groups.slots[group];
        let hush = state.incident.as_deref().map(|incident| incident.hush).unwrap_or_default();
        if state.firing == 0 {
            return hush.last_was_muted;
        }
        if self.suppression.causes.len() < state.firing as usize {
            return false;
        }
        let as_of = (self.suppression.version, state.members.len());
        if hush.all_muted == Some(as_of) {
            return true;
        }
        let muted = state.members.iter().all(|slot| {
            let alert = &self.alerts.slots[*slot];
            alert.mark.muted || !alert.memberships.iter().any(|one| one.group == group && one.firing)
        });
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            incident.hush.all_muted = muted.then_some(as_of);
        }
        muted
    }

    /// What [`Shard::is_group_muted`] has found out, as far as that still holds.
    pub(in crate::engine) fn is_known_muted(&self, group: u32) -> bool {
        let state = &self.groups.slots[group];
        let hush = state.incident.as_deref().map(|incident| incident.hush).unwrap_or_default();
        match state.firing {
            0 => hush.last_was_muted,
            _ => hush.all_muted == Some((self.suppression.version, state.members.len())),
        }
    }

    /// Whether sinks are not told of a decision; a resolve passes where they know the incident.
    pub(in crate::engine) fn keeps_back(&mut self, group: u32, action: Action) -> bool {
        let told = self.groups.slots[group].incident.as_deref().is_some_and(|incident| incident.relations.told);
        let kept = match action {
            Action::Resolved | Action::Closed => !told,
            _ => self.is_group_muted(group),
        };
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            incident.hush.kept_back = if kept { incident.hush.kept_back.saturating_add(1) } else { 0 };
        }
        kept
    }

    /// What sinks are told that has happened: an incident that they do not know has opened.
    pub(in crate::engine) fn told_as(&mut self, group: u32, action: Action) -> Action {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return action };
        let known = std::mem::replace(&mut incident.relations.told, true);
        if known || matches!(action, Action::Resolved | Action::Closed) { action } else { Action::Opened }
    }

    /// A member has cleared, its count taken back already.
    pub(in crate::engine) fn member_hushed(&mut self, slot: u32, group: u32) {
        let muted = self.alerts.slots[slot].mark.muted;
        if muted && self.alerts.slots[slot].state != AlertState::Firing && !self.fires_now(slot) {
            // The last incident that held on to it has let go: there is nothing left to mute.
            self.remark(slot, false);
        }
        let state = &mut self.groups.slots[group];
        if state.firing > 0 {
            return;
        }
        if let Some(incident) = state.incident.as_deref_mut() {
            incident.hush.last_was_muted = muted;
        }
        self.escalation_joined(group);
        self.release_parked(group);
    }

    /// A member has begun to fire: an opening that was held back because all others are muted may go on.
    pub(in crate::engine) fn member_joined(&mut self, group: u32) {
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            incident.hush.all_muted = None;
        }
        self.escalation_joined(group);
        self.release_parked(group);
    }

    /// Holds an opening back for as long as all that fires is muted.
    pub(in crate::engine) fn park(&mut self, group: u32) -> bool {
        let park = self.groups.slots[group].firing > 0 && self.is_group_muted(group);
        if park {
            self.groups.slots[group].phase = Phase::Waiting(PARKED);
            self.mark_group(group, Dirty::Whole);
        }
        park
    }

    /// Lets an opening that was held back so go on; whether there is anything to open is seen then.
    fn release_parked(&mut self, group: u32) {
        if self.groups.slots[group].phase == Phase::Waiting(PARKED) {
            self.groups.slots[group].phase = Phase::Waiting(super::AT_ONCE);
            self.mark_group(group, Dirty::Whole);
            self.schedule_group(group);
        }
    }

    /// Alerts of these groups began or ceased to be muted: opens what was held back, tells what was kept back.
    pub(super) fn review_groups(&mut self, now: Timestamp, groups: Vec<u32>) {
        for group in groups {
            if self.groups.slots.get(group).is_some_and(|state| state.incident.is_some()) {
                self.muting_turned(now, group);
            }
            let Some(state) = self.groups.slots.get(group) else { continue };
            let (phase, firing) = (state.phase, state.firing);
            let kept_back = state.incident.as_deref().map_or(0, |incident| incident.hush.kept_back);
            let due = phase == Phase::Waiting(PARKED) || (phase == Phase::Live && kept_back > 0 && firing > 0);
            if !due || self.is_group_muted(group) {
                continue;
            }
            if phase == Phase::Live {
                self.tell_kept_back(now, group, kept_back);
            } else {
                self.groups.slots[group].phase = Phase::Waiting(now);
                self.wait_over(now, group);
            }
        }
    }
    /// A live incident has gained members. If sinks do not know it, because all that fired in it was muted, they hear of
    /// it at once where that is so no longer, as they would of an opening.
    pub(in crate::engine) fn tell_unknown(&mut self, now: Timestamp, group: u32) {
        let Some(state) = self.groups.slots.get(group) else { return };
        let Some(incident) = state.incident.as_deref() else { return };
        let (relations, kept_back) = (&incident.relations, incident.hush.kept_back);
        let unknown = kept_back > 0 && !relations.told && !relations.mutes(Action::Updated);
        let due = unknown && state.phase == Phase::Live && state.firing > 0 && !incident.policy.notify.is_empty();
        if due && !self.is_group_muted(group) {
            self.muting_turned(now, group);
            self.tell_kept_back(now, group, kept_back);
        }
    }

    fn tell_kept_back(&mut self, now: Timestamp, group: u32, kept_back: u32) {
        let changes = if kept_back == 1 { "change was" } else { "changes were" };
        let detail = format!("no longer muted; {kept_back} {changes} kept back");
        self.emit(now, group, Move::Update, Reason::SuppressionEnded, detail);
    }
}
