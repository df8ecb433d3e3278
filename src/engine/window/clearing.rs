//! Events that end what a group holds: those of `cleared_by`, and what an absence waits for.
//!
//! Like a resolve they are never muted and never too late. A group is made for an event that finds none, so that what
//! it ends opens nothing when it comes later; beyond `max_groups` it is not remembered. Such an event costs a look at
//! the members of its group where one of them fires.

use super::Shape;
use crate::engine::alert::Dirty;
use crate::engine::correlate::{Sighting, better};
use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::group::Phase;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::rules::Rule;

impl Shard {
    /// Ends what a firing event ends; `None` where no rule goes by it.
    pub(in crate::engine) fn end_groups(&mut self, sighting: &Sighting<'_>) -> Option<Verdict> {
        let mut found = std::mem::take(&mut self.found_rules);
        self.rules.ending(&self.subject(sighting.slot), &mut found);
        let mut best: Option<Verdict> = None;
        for place in &found {
            let Some(rule) = self.rules.rules.get(*place as usize).cloned() else { continue };
            let verdict = match self.group_for(sighting.now, sighting.slot, *place) {
                Ok(group) => self.end_by(sighting, group, &rule),
                Err(reason) => self.refused(sighting.slot, *place, reason),
            };
            best = Some(match best {
                Some(other) => better(other, verdict),
                None => verdict,
            });
        }
        self.found_rules = found;
        best
    }

    /// Whether a rule goes by it to end what its group holds.
    pub(in crate::engine) fn ends_something(&mut self, slot: u32) -> bool {
        let mut found = std::mem::take(&mut self.found_rules);
        self.rules.ending(&self.subject(slot), &mut found);
        let ends = !found.is_empty();
        self.found_rules = found;
        ends
    }

    fn end_by(&mut self, sighting: &Sighting<'_>, group: u32, rule: &Rule) -> Verdict {
        let (now, at) = (sighting.now, sighting.at());
        let state = &mut self.groups.slots[group];
        state.last_activity = now;
        let live = state.phase == Phase::Live;
        let incident = state.incident.as_deref().filter(|_| live).map(|incident| incident.id);
        self.mark_group(group, Dirty::Counters);
        let subject = self.subject(sighting.slot);
        let (clears, answers) = (rule.clears(&subject), rule.answers(&subject));
        let mut reason = Reason::NothingToEnd;
        if answers && self.answer(now, group, at) {
            reason = Reason::AwaitedCame;
        }
        if clears && self.groups.slots.get(group).is_some() {
            let awaited = self.awaited(group);
            self.groups.slots[group].span.clear_until(Shape::of(rule), at);
            let cleared = self.clear_awaited(now, group, &awaited);
            if self.groups.slots.get(group).is_some() && self.end_members(now, group, at) || cleared {
                reason = Reason::Clears;
            }
        }
        if self.groups.slots.get(group).is_some() {
            self.schedule_group(group);
        }
        let outcome = if reason == Reason::NothingToEnd { Outcome::Recorded } else { Outcome::Resolved };
        let incident = incident.filter(|_| outcome == Outcome::Resolved);
        Verdict { incident, rule: Some(rule.name.clone()), ..Verdict::new(outcome, reason) }
    }

    /// Ends the memberships of alerts that fire, were not seen after `at` and are not awaited on; says whether there were
    /// any. Linked ones stay with the incident, cleared.
    pub(super) fn end_members(&mut self, now: Timestamp, group: u32, at: Timestamp) -> bool {
        self.end_let_go(group, at);
        if self.groups.slots[group].firing == 0 {
            return false;
        }
        let mut ended: Vec<u32> = self.groups.slots[group].members.clone();
        ended.retain(|slot| {
            let alert = &mut self.alerts.slots[*slot];
            let fires = alert.last_seen <= at && alert.membership(group).is_some_and(|membership| membership.firing);
            fires && !self.groups.slots[group].span.waits().is_some_and(|waits| waits.holds(*slot))
        });
        // Members are in another order after a restart.
        ended.sort_unstable();
        for slot in &ended {
            self.end_member(now, *slot, group);
        }
        !ended.is_empty()
    }

    pub(super) fn end_member(&mut self, now: Timestamp, slot: u32, group: u32) {
        let alert = &mut self.alerts.slots[slot];
        // The next event of it must look for its groups anew.
        alert.epoch = 0;
        if alert.membership(group).is_some_and(|membership| membership.linked) {
            self.member_cleared(now, slot, group);
            self.schedule_alert(slot);
        } else {
            self.leave(slot, group);
        }
    }
}
