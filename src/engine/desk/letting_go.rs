//! Alerts that still fire when an operator resolves their incident by force: they are let go.
//!
//! They hold nothing open any more and are shown as cleared. Their repeats bring nothing back, however long they go on,
//! not after a restart either: each membership remembers, in the journal, how grave its alert was then. What is news
//! counts as ever: the alert ends, or its lease lapses, and it fires again; it gets graver; another alert of the group
//! meets the condition. Whatever brings the group's incident back, or opens the next one, counts them again. A few bits
//! a membership; their group is kept for as long as one of them fires.

use crate::engine::alert::{AlertState, Dirty, Membership};
use crate::engine::correlate::Sighting;
use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::group::Phase;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    /// Lets go of what fires in a group. Says how many that were.
    pub(super) fn let_go_of_alerts(&mut self, group: u32) -> usize {
        let mut members = self.groups.slots[group].members.clone();
        members.retain(|slot| self.fires_in(*slot, group));
        // Members are in another order after a restart.
        members.sort_unstable();
        for slot in &members {
            let alert = &mut self.alerts.slots[*slot];
            let (severity, fires) = (alert.severity, alert.state == AlertState::Firing);
            let Some(membership) = alert.membership(group) else { continue };
            membership.firing = false;
            membership.let_go = Some(severity).filter(|_| fires);
            let state = &mut self.groups.slots[group];
            state.firing -= 1;
            state.let_go += u32::from(fires);
            // Its repeats look for its rules anew, as they do after a restart.
            self.alerts.slots[*slot].epoch = 0;
            self.member_hushed(*slot, group);
            self.mark_alert(*slot, Dirty::Whole);
            self.schedule_alert(*slot);
        }
        self.mark_group(group, Dirty::Whole);
        members.len()
    }

    /// What a group has let go counts again.
    pub(in crate::engine) fn take_back(&mut self, group: u32) {
        if self.groups.slots[group].let_go == 0 {
            return;
        }
        for slot in self.groups.slots[group].members.clone() {
            let is_let_go = |membership: &mut Membership| membership.let_go.is_some();
            if self.alerts.slots[slot].membership(group).is_some_and(is_let_go) {
                self.let_go_no_more(slot, group);
                self.enter(slot, group, true);
            }
        }
    }

    /// An alert has ended, or is counted again.
    pub(in crate::engine) fn let_go_no_more(&mut self, slot: u32, group: u32) {
        let Some(membership) = self.alerts.slots[slot].membership(group) else { return };
        if membership.let_go.take().is_none() {
            return;
        }
        self.mark_alert(slot, Dirty::Whole);
        self.groups.slots[group].let_go -= 1;
        if self.groups.slots[group].phase == Phase::Gathering {
            self.schedule_group(group);
        }
    }

    /// What a group has let go and was not seen after `at` has ended: its next event is news.
    pub(in crate::engine) fn end_let_go(&mut self, group: u32, at: Timestamp) {
        if self.groups.slots[group].let_go == 0 {
            return;
        }
        for slot in self.groups.slots[group].members.clone() {
            let alert = &mut self.alerts.slots[slot];
            if alert.last_seen <= at && alert.membership(group).is_some_and(|membership| membership.let_go.is_some()) {
                alert.epoch = 0;
                self.let_go_no_more(slot, group);
            }
        }
    }

    /// The verdict on an event that brings nothing back, because its alert is let go and it says nothing new.
    pub(in crate::engine) fn still_let_go(&mut self, sighting: &Sighting<'_>, group: u32) -> Option<Verdict> {
        let alert = &mut self.alerts.slots[sighting.slot];
        let severity = alert.severity;
        let was = alert.membership(group)?.let_go?;
        if sighting.begins || severity > was {
            self.let_go_no_more(sighting.slot, group);
            return None;
        }
        let state = &self.groups.slots[group];
        let incident = state.incident.as_deref().map(|incident| incident.id);
        let rule = Some(state.rule_name.clone());
        Some(Verdict { incident, rule, ..Verdict::new(Outcome::Duplicate, Reason::ByHand) })
    }
}
