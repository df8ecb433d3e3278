//! The life of an incident: open, link, update, resolve, reopen, close.
//!
//! Every step moves by the table of `moves.rs`, takes the next sequence number, and ends in a [`Decision`]
//! with its reason, at once or gathered for `update_interval`.

mod closed;
mod following;
mod opening;
mod telling;

use crate::engine::alert::{Alert, AlertState, Dirty};
use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::desk::Given;
use crate::engine::group::{Incident, Opening, Phase, Policy, RETIRED};
use crate::engine::incident::IncidentStatus;
use crate::engine::memory::timers::Owner;
use crate::engine::moves::{Guard, Move};
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::rules::{OnStale, Rule};

pub(in crate::engine) use closed::ClosedIds;
pub(in crate::engine) use telling::Audience;

impl Shard {
    /// A linked member has cleared; with the last one, the time to all clear begins.
    pub(in crate::engine) fn live_member_cleared(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.gathered.cleared += 1;
        self.let_go(now, group);
    }

    /// Something that held a live incident open does so no longer; with the last of it, the time to all clear begins.
    pub(in crate::engine) fn let_go(&mut self, now: Timestamp, group: u32) {
        let clear = self.groups.slots[group].is_clear();
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let severity = incident.severity;
        if clear {
            incident.clear_since = Some(now);
        }
        if clear && incident.policy.resolve_after.is_zero() {
            self.resolve(now, group);
        } else {
            self.gather(now, group, severity);
        }
    }

    pub(in crate::engine) fn holds_on_stale(&self, group: u32) -> bool {
        let state = &self.groups.slots[group];
        let hold = |incident: &Incident| incident.policy.on_stale == OnStale::Hold;
        state.phase == Phase::Live && state.incident.as_deref().is_some_and(hold)
    }

    /// What is due in a group at `due`, which may be long past by `now`: of the rest, what was due first comes first.
    pub(in crate::engine) fn group_due(&mut self, now: Timestamp, due: Timestamp, group: u32) {
        self.miss_waits(now, group);
        let Some(state) = self.groups.slots.get(group) else { return };
        match state.phase {
            Phase::Waiting(until) if until <= now => return self.wait_over(now, group),
            Phase::Gathering if self.expires_at(group) <= now => return self.expire(group),
            Phase::Live | Phase::Resolved => self.incident_due(now, due, group),
            _ => {}
        }
        if self.groups.slots.get(group).is_some() {
            self.schedule_group(group);
        }
    }

    fn incident_due(&mut self, now: Timestamp, due: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let holds = |guard| self.holds(now, group, guard, Given::default());
        let (clear, over) = (holds(Guard::AllClear), holds(Guard::ReopenWindowPassed));
        let storm = self.groups.slots[group].storm.as_deref();
        // Its end takes along what is gathered, so it may come before its turn; a target that has passed before is told first.
        let ended = incident.clear_since.filter(|_| clear).map(|since| since.plus(incident.policy.resolve_after));
        let deadline = self.deadlines_next(group);
        match incident.status {
            // Due at once, and nothing else with it.
            status if status.is_live() && self.escalation_asks(group) => self.escalation_rebind(now, group),
            _ if storm.is_some_and(|storm| storm.is_due(now)) => self.storm_over(now, group),
            // What has passed before it ends is said before.
            _ if deadline.is_some_and(|deadline| deadline <= ended.map_or(due, |ended| ended.max(due))) => {
                self.deadlines_due(now, group)
            }
            IncidentStatus::Resolved if over => self.close(now, group, Reason::ReopenWindowPassed, "final".to_owned()),
            status if status.is_live() && clear => self.resolve(now, group),
            _ if incident.gathered.due.is_some_and(|flush| flush <= due) => self.flush(now, group),
            _ => self.following_due(now, due, group),
        }
    }

    /// The opening was held back long enough.
    pub(in crate::engine) fn wait_over(&mut self, now: Timestamp, group: u32) {
        if self.park(group) {
            return;
        }
        let state = &mut self.groups.slots[group];
        let opening = state.opening.take();
        state.phase = Phase::Gathering;
        let firing = state.members.iter().copied();
        let awaited = state.span.waits();
        let is_let_go = |alert: &Alert| alert.memberships.iter().any(|one| one.group == group && one.let_go.is_some());
        let firing = firing.filter(|slot| {
            let alert = &self.alerts.slots[*slot];
            let fires = alert.state == AlertState::Firing && !is_let_go(alert);
            fires || awaited.is_some_and(|waits| waits.holds(*slot))
        });
        // The alert that met the condition names the incident; where it has cleared, the oldest that fires does.
        let met_by = opening.map(|opening| opening.slot);
        let chosen = firing.min_by_key(|slot| {
            let alert = &self.alerts.slots[*slot];
            (Some(*slot) != met_by, alert.first_seen, alert.fingerprint)
        });
        let Some(rule) = self.rules.rules.get(state.rule as usize).cloned() else { return self.expire(group) };
        let (Some(opening), Some(slot)) = (opening, chosen) else {
            // Everything cleared while the rule waited: nobody needs to be told.
            state.span.start_over();
            state.events_before = state.events;
            self.mark_group(group, Dirty::Whole);
            return self.schedule_group(group);
        };
        let need = self.need(&rule, group);
        self.open(now, group, Opening { slot, ..opening }, super::window::met(&rule, need, need));
    }

    /// When a window without an incident goes away, unless something happens before. An event whose clock runs ahead
    /// counts until its time, too, is past.
    fn expires_at(&self, group: u32) -> Timestamp {
        let state = &self.groups.slots[group];
        if state.let_go > 0 {
            return Timestamp::MAX;
        }
        let window = self.rules.rules.get(state.rule as usize).map(|rule| rule.window).unwrap_or_default();
        let newest = state.span.newest().unwrap_or(state.last_activity);
        let over = state.last_activity.max(newest).plus(window).plus(self.config.lateness_max());
        if !state.span.remembers() && state.span.waits().is_none() {
            return over;
        }
        let decided = state.span.waits().and_then(super::window::Waits::last_due).unwrap_or(over);
        over.max(decided).max(state.last_activity.plus(self.config.retention()))
    }

    /// Drops a window without an incident.
    pub(in crate::engine) fn expire(&mut self, group: u32) {
        self.dismiss(group, |_, _| false);
        self.unions.group_gone(group);
        if let Some(state) = self.groups.remove(group) {
            state.release(&mut self.names);
            self.removed_groups.push(group);
        }
    }

    /// The group's next deadline.
    pub(in crate::engine) fn group_deadline(&self, group: u32) -> Option<Timestamp> {
        let state = &self.groups.slots[group];
        let incident = state.incident.as_deref();
        let gathered = incident.and_then(|incident| incident.gathered.due);
        let next = match (state.phase, incident) {
            (Phase::Gathering, _) => Some(self.expires_at(group)).filter(|at| *at < Timestamp::MAX),
            (Phase::Waiting(until), _) => Some(until),
            (Phase::Live, Some(incident)) => {
                incident.clear_since.map(|since| since.plus(incident.policy.resolve_after))
            }
            (Phase::Resolved, Some(incident)) => incident.resolved_at.map(|at| at.plus(incident.policy.reopen_within)),
            _ => None,
        };
        let storm = state.storm.as_deref().and_then(|storm| storm.until);
        let decided = state.span.waits().and_then(super::window::Waits::due);
        let following = if incident.is_some() { self.next_following(group) } else { None };
        [gathered, storm, decided, following].into_iter().fold(next, sooner)
    }

    /// Schedules the group's next deadline.
    pub(in crate::engine) fn schedule_group(&mut self, group: u32) {
        if let Some(due) = self.group_deadline(group) {
            self.timers.schedule(Owner::Group(group), &mut self.groups.slots[group].timer_at, due);
        }
    }

    fn resolve(&mut self, now: Timestamp, group: u32) {
        self.end(now, group, Reason::AllClear, "all alerts have cleared".to_owned());
    }

    /// The incident is over, whoever says so.
    pub(in crate::engine) fn end(&mut self, now: Timestamp, group: u32, reason: Reason, detail: String) {
        let state = &mut self.groups.slots[group];
        let Some(incident) = state.incident.as_deref_mut() else { return };
        incident.resolved_at = Some(now);
        incident.clear_since = None;
        let closes = incident.policy.reopen_within.is_zero();
        state.phase = Phase::Resolved;
        self.stop_waiting(group);
        self.delist(group);
        self.forget_flapping(group);
        self.emit(now, group, Move::Resolve, reason, detail);
        self.child_resolved(now, group);
        if closes {
            self.close(now, group, Reason::ReopenWindowPassed, "final".to_owned());
        } else {
            self.schedule_group(group);
        }
    }

    /// The condition holds again within `reopen_within`; `since` is when its window began.
    pub(in crate::engine) fn reopen(&mut self, now: Timestamp, group: u32, since: Timestamp) -> Verdict {
        let first_event = self.first_event(group, since);
        self.bring_back(now, group, (since, first_event), Reason::Recurrence, "came back".to_owned())
    }

    /// The incident is not over after all, whoever says so; what fires counts again.
    pub(in crate::engine) fn bring_back(
        &mut self,
        now: Timestamp,
        group: u32,
        (since, first_event): (Timestamp, Timestamp),
        reason: Reason,
        why: String,
    ) -> Verdict {
        self.take_back(group);
        self.dismiss(group, |membership, alert| membership.linked || membership.firing || alert.last_seen >= since);
        let storm = self.storm_again(now, group);
        let state = &mut self.groups.slots[group];
        let Some(incident) = state.incident.as_deref_mut() else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let id = incident.id;
        incident.resolved_at = None;
        state.phase = Phase::Live;
        state.span.start_over();
        let linked = self.link_members(group);
        self.raise(now, group, self.gravest(group));
        let firing = self.groups.slots[group].firing;
        let mut detail = format!("{why}: {firing} {}", if firing == 1 { "alert fires" } else { "alerts fire" });
        if linked > 0 {
            detail.push_str(&format!(", {linked} of them new"));
        }
        detail.push_str(self.join_storm(now, group, storm));
        let traced = self.trace(group, first_event);
        self.emit(now, group, Move::Reopen, reason, detail);
        self.judge_members(now, group);
        self.relate(now, group, traced);
        Verdict::of(Outcome::Opened, reason, id)
    }

    /// The incident is final.
    pub(in crate::engine) fn close(&mut self, now: Timestamp, group: u32, reason: Reason, detail: String) {
        self.emit(now, group, Move::Close, reason, detail);
        self.unrelate(now, group);
        self.forget_parts(group);
        let state = &mut self.groups.slots[group];
        state.phase = Phase::Gathering;
        state.events_before = state.events;
        if let Some(incident) = state.incident.take() {
            self.incidents.remove(&incident.id);
            self.closed_ids.insert(incident.id);
        }
        for place in 0..self.groups.slots[group].members.len() {
            let slot = self.groups.slots[group].members[place];
            if let Some(membership) = self.alerts.slots[slot].membership(group) {
                membership.linked = false;
            }
            self.mark_alert(slot, Dirty::Whole);
        }
        self.dismiss(group, |membership, _| membership.firing || membership.let_go.is_some());
        self.mark_group(group, Dirty::Whole);
        let state = &self.groups.slots[group];
        if state.members.is_empty() && !state.span.remembers() || state.rule == RETIRED {
            self.expire(group);
        } else {
            self.schedule_group(group);
        }
    }
}

/// Of two deadlines the one that comes first.
fn sooner(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

pub(in crate::engine) fn policy(rule: &Rule) -> Policy {
    Policy {
        resolve_after: rule.resolve_after,
        reopen_within: rule.reopen_within,
        update_interval: rule.update_interval,
        on_stale: rule.on_stale,
        flapping: rule.flapping,
        notify: rule.notify.clone(),
    }
}
