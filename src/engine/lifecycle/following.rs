//! What follows a change of an incident, whoever made it: clocks, escalation, cadence, memory.
//!
//! Called before the decision is told, so that its document has all of it. Nothing here tells by itself; what is due at
//! once is told by the timer.

use super::sooner;
use crate::engine::moves::IncidentStatus;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    /// The incident goes from one status to another.
    pub(in crate::engine) fn follow(
        &mut self,
        now: Timestamp,
        group: u32,
        before: IncidentStatus,
        after: IncidentStatus,
    ) {
        self.work_follow(now, group, before, after);
        self.assess_follow(now, group, before, after);
        self.assignment_follow(now, group, before, after);
        self.deadlines_follow(now, group, before, after);
        self.escalation_follow(now, group, before, after);
        self.talks_follow(now, group, before, after);
        self.problems_follow(now, group, before, after);
    }

    /// It has gone there, and that was told: what else is said of it.
    pub(in crate::engine) fn tell_further(
        &mut self,
        now: Timestamp,
        group: u32,
        before: IncidentStatus,
        after: IncidentStatus,
    ) {
        if before == IncidentStatus::New {
            self.tell_owner(now, group);
        }
        self.tell_of_move(now, group, before, after);
    }

    /// The incident's priority, its service, or what is configured for them is another one.
    pub(in crate::engine) fn priority_turned(&mut self, now: Timestamp, group: u32) {
        self.deadlines_turned(now, group);
        self.escalation_turned(now, group);
        self.talks_turned(now, group);
        self.schedule_group(group);
    }

    /// All that fires in the group may have begun or ceased to be muted.
    pub(in crate::engine) fn muting_turned(&mut self, now: Timestamp, group: u32) {
        self.deadlines_muted(now, group);
        self.escalation_muted(now, group);
        self.schedule_group(group);
    }

    /// What comes next of all this.
    pub(in crate::engine) fn next_following(&self, group: u32) -> Option<Timestamp> {
        let next = sooner(self.deadlines_next(group), self.escalation_next(group));
        sooner(next, sooner(self.talks_next(group), self.assess_next(group)))
    }

    /// Does what of all this was due at `turn`.
    pub(in crate::engine) fn following_due(&mut self, now: Timestamp, turn: Timestamp, group: u32) {
        let due = |next: Option<Timestamp>| next.is_some_and(|next| next <= turn);
        if due(self.assess_next(group)) {
            self.assess_due(now, group);
        }
        if due(self.deadlines_next(group)) {
            self.deadlines_due(now, group);
        }
        if due(self.escalation_next(group)) {
            self.escalation_due(now, group);
        }
        if due(self.talks_next(group)) {
            self.talks_due(now, group);
        }
    }
}
