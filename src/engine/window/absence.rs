//! Conditions that hold because something does not come: waits begin, are answered, or are missed when they are due.
//!
//! A wait is decided on the receiving clock, the greatest lateness after its end and after the event that began it was
//! received, whichever is later: so what follows counts however late it comes, and a backlog that is read after an
//! outage has the same time to bring it. While an alert is awaited on, neither a resolve nor the end of its lease
//! clears it.

use super::{Entry, Progress, Wait, Waits};
use crate::engine::alert::{AlertState, Dirty};
use crate::engine::correlate::Sighting;
use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::group::Phase;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::rules::{OpenWhen, Rule};

impl Shard {
    /// A group sees an event after which something must follow.
    pub(in crate::engine) fn await_after(&mut self, sighting: &Sighting<'_>, group: u32, rule: &Rule) -> Verdict {
        let OpenWhen::Absence { within, .. } = &rule.open_when else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let (now, slot, at) = (sighting.now, sighting.slot, sighting.at());
        let (until, event) = (at.plus(*within), self.event_identity(sighting.event));
        let verdict = |outcome, reason| Verdict { rule: Some(rule.name.clone()), ..Verdict::new(outcome, reason) };
        let state = &mut self.groups.slots[group];
        state.newest_event_at = state.newest_event_at.max(at.min(now));
        state.last_activity = now;
        state.events += 1;
        let newest = state.newest_event_at;
        self.mark_group(group, Dirty::Counters);
        let itself = rule.answers(&self.subject(slot));
        let from = if itself { Timestamp::from_micros(at.as_micros().saturating_add(1)) } else { at };
        let due = until.max(now).plus(self.config.lateness_max());
        let wait = Wait { at, event, from, until, due, slot, missed: false };
        let waits = self.groups.slots[group].span.waits_mut();
        let known = waits.find(at, event).is_some();
        if !known && waits.is_settled(&wait) {
            self.mark_group(group, Dirty::Whole);
            self.schedule_group(group);
            return verdict(Outcome::Recorded, Reason::AwaitedCame);
        }
        if !known && self.is_late(sighting, rule, newest) {
            return verdict(Outcome::Stale, Reason::Late);
        }
        let mut replaced = None;
        if !known {
            replaced = self.groups.slots[group].span.waits_mut().begin(wait);
            self.mark_group(group, Dirty::Whole);
        }
        let was_firing = self.enter(slot, group, true);
        self.clear_awaited(now, group, replaced.as_slice());
        self.schedule_group(group);
        let outcome = if known { Outcome::Duplicate } else { Outcome::Pending };
        match self.groups.slots[group].phase {
            Phase::Live => self.link(sighting, group, was_firing),
            Phase::Waiting(_) => verdict(outcome, Reason::HeldBack),
            Phase::Gathering | Phase::Resolved | Phase::Merged => verdict(outcome, Reason::Awaiting { until }),
        }
    }

    /// What a group waits for has come; says whether that ended anything.
    pub(super) fn answer(&mut self, now: Timestamp, group: u32, at: Timestamp) -> bool {
        self.mark_group(group, Dirty::Whole);
        let lateness = self.config.lateness_max();
        let state = &mut self.groups.slots[group];
        let live = state.phase == Phase::Live;
        let before = state.newest_event_at.max(at.min(now)).minus(lateness);
        let waits = state.span.waits_mut();
        let ended = waits.answer(at, live);
        waits.prune(before);
        let mut freed: Vec<u32> = ended.iter().map(|wait| wait.slot).filter(|slot| !waits.holds(*slot)).collect();
        freed.sort_unstable();
        freed.dedup();
        let any = self.free(now, group, &freed);
        // Those that fire without a wait of their own: the rule was gone when they were last seen.
        let others = live && self.groups.slots.get(group).is_some() && self.end_members(now, group, at);
        any || others
    }

    /// Alerts are no longer awaited on; says whether they fired.
    fn free(&mut self, now: Timestamp, group: u32, slots: &[u32]) -> bool {
        let mut any = false;
        for slot in slots {
            let Some(alert) = self.alerts.slots.get_mut(*slot) else { continue };
            if alert.membership(group).is_some_and(|membership| membership.firing) {
                any = true;
                self.end_member(now, *slot, group);
            }
        }
        any
    }

    /// Decides the waits that are due: nothing came in time.
    pub(in crate::engine) fn miss_waits(&mut self, now: Timestamp, group: u32) {
        while self.groups.slots.get(group).and_then(|state| state.span.waits()?.due()).is_some_and(|due| due <= now) {
            let Some(wait) = self.groups.slots[group].span.waits_mut().miss(now) else { return };
            self.mark_group(group, Dirty::Whole);
            self.missed(now, group, wait);
        }
    }

    fn missed(&mut self, now: Timestamp, group: u32, wait: Wait) {
        let state = &self.groups.slots[group];
        let rule = self.rules.rules.get(state.rule as usize).cloned();
        let is_member = self.alerts.slots.get_mut(wait.slot).is_some_and(|alert| alert.membership(group).is_some());
        let (Some(rule), true) = (rule, is_member) else {
            return self.groups.slots[group].span.waits_mut().end_of(wait.slot);
        };
        if matches!(state.phase, Phase::Gathering | Phase::Resolved) {
            // What began its waits belongs to the incident, also where it came before an earlier one was closed.
            let state = &mut self.groups.slots[group];
            let begun = state.span.waits().map_or(0, |waits| waits.waits.len() as u64);
            state.events_before = state.events_before.min(state.events.saturating_sub(begun));
            let first = Entry { at: wait.at, item: 0, event: wait.event };
            let progress = Progress { have: 1, first, since: wait.at };
            self.condition_met(now, wait.slot, group, (&rule, 1), progress);
        }
        // It may have come already, too late.
        if let Some(came) = self.groups.slots[group].span.waits().and_then(|waits| waits.came_since(wait.from)) {
            self.answer(now, group, came);
        }
    }

    /// Whether an alert is held on to because something must follow it.
    pub(in crate::engine) fn is_awaited(&self, slot: u32, group: u32) -> bool {
        self.groups.slots[group].span.waits().is_some_and(|waits| waits.holds(slot))
    }

    /// The alerts that a group awaits something after.
    pub(super) fn awaited(&self, group: u32) -> Vec<u32> {
        self.groups.slots[group].span.waits().map(Waits::alerts).unwrap_or_default()
    }

    /// Alerts may be awaited on no longer: clears those that have ended meanwhile. Says whether there were any.
    pub(super) fn clear_awaited(&mut self, now: Timestamp, group: u32, slots: &[u32]) -> bool {
        let mut any = false;
        for slot in slots {
            if self.groups.slots.get(group).is_none() || self.is_awaited(*slot, group) {
                continue;
            }
            let held = self.holds_on_stale(group);
            let Some(alert) = self.alerts.slots.get_mut(*slot) else { continue };
            let ended = alert.state == AlertState::Resolved || alert.state == AlertState::Stale && !held;
            if ended && alert.membership(group).is_some_and(|membership| membership.firing) {
                any = true;
                self.member_cleared(now, *slot, group);
                self.schedule_alert(*slot);
            }
        }
        any
    }

    /// An alert has left: nothing is awaited after it.
    pub(in crate::engine) fn wait_no_more(&mut self, slot: u32, group: u32) {
        if self.is_awaited(slot, group) {
            self.groups.slots[group].span.waits_mut().end_of(slot);
            self.mark_group(group, Dirty::Whole);
        }
    }

    /// All clear, or another rule: counting starts over, and nothing is awaited any more.
    pub(in crate::engine) fn stop_waiting(&mut self, group: u32) {
        let state = &mut self.groups.slots[group];
        if state.span.waits().is_none() {
            return state.span.start_over();
        }
        for slot in Waits::end_all(state.span.waits_mut()) {
            if self.alerts.slots.get(slot).is_some() {
                self.schedule_alert(slot);
            }
        }
    }
}
