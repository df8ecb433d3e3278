//! What the shard does with the deadlines of an incident: settles them when it moves, and says what has passed.
//!
//! A warning or a breach is an entry of the timeline and is told to the rule's sinks; of several that have passed
//! together, as while the daemon was down, sinks hear of the newest of each target.

use super::{Held, Standing, Target, TargetCount, TargetTurn};
use crate::engine::alert::Dirty;
use crate::engine::decision::Reason;
use crate::engine::group::Incident;
use crate::engine::lifecycle::Audience;
use crate::engine::moves::{IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::{Timestamp, duration};
use crate::rules::{RuleSet, Share};

impl Shard {
    /// The incident goes from one status to another: clocks start, pause and stop.
    pub(in crate::engine) fn deadlines_follow(
        &mut self,
        now: Timestamp,
        group: u32,
        _before: IncidentStatus,
        after: IncidentStatus,
    ) {
        let was_taken = self.groups.slots[group].incident.as_deref().is_some_and(|incident| incident.deadlines.taken);
        self.settle_deadlines(now, group, after);
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let (deadlines, priority) = (&incident.deadlines, incident.priority);
        // Only what cannot be undone counts as met: what is resolved may come back.
        let ends = after == IncidentStatus::Closed && deadlines.over;
        let answered = deadlines.taken != was_taken || ends && !deadlines.taken;
        for (target, met) in [(Target::Respond, answered), (Target::Resolve, ends)] {
            if met && deadlines.has[target as usize] && !deadlines.clock(target).breached {
                self.target_counts.push(TargetCount { target, turn: TargetTurn::Met, priority });
            }
        }
    }

    /// The priority or the service is another one: what is due moves.
    pub(in crate::engine) fn deadlines_turned(&mut self, now: Timestamp, group: u32) {
        self.settle_deadlines(now, group, self.status_of(group));
    }

    /// All that fires may have begun or ceased to be muted.
    pub(in crate::engine) fn deadlines_muted(&mut self, now: Timestamp, group: u32) {
        if !self.rules.targets.pause_while_muted {
            return;
        }
        let (status, muted) = (self.status_of(group), self.is_group_muted(group));
        let runs = Standing::of(status, false, muted).runs;
        let incident = self.groups.slots[group].incident.as_deref();
        if incident.is_some_and(|incident| incident.deadlines.resolve.runs() != runs) {
            self.settle_deadlines(now, group, status);
            self.renew(group);
        }
    }

    pub(in crate::engine) fn deadlines_next(&self, group: u32) -> Option<Timestamp> {
        self.groups.slots[group].incident.as_deref()?.deadlines.next()
    }

    /// When so much of a target will have been spent, or an instant before now where it has been; none while its clock
    /// stands, where the target is met, and where none is agreed.
    pub(in crate::engine) fn target_share_at(&self, group: u32, target: Target, share: Share) -> Option<Timestamp> {
        let incident = self.groups.slots.get(group)?.incident.as_deref()?;
        let deadlines = &incident.deadlines;
        let met = deadlines.is_met(target);
        deadlines.clock(target).share_at(share, held(&self.rules, incident).agreed(target)).filter(|_| !met)
    }

    /// Says what has passed.
    pub(in crate::engine) fn deadlines_due(&mut self, now: Timestamp, group: u32) {
        let rules = self.rules.clone();
        for target in Target::ALL {
            let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
            let (held, priority) = (held(&rules, incident), incident.priority);
            let passed = incident.deadlines.pass(now, target, held);
            let words = Words { target, held, due: incident.deadlines.clock(target).due };
            let mut said = Vec::new();
            for share in passed.shares {
                said.push((Reason::TargetWarning, TargetTurn::Warned, words.warning(share)));
            }
            if passed.breached {
                said.push((Reason::TargetBreached, TargetTurn::Breached, words.breach()));
            }
            let newest = said.len().saturating_sub(1);
            for (place, (reason, turn, detail)) in said.into_iter().enumerate() {
                self.target_counts.push(TargetCount { target, turn, priority });
                let audience = if place == newest { Audience::Rule } else { Audience::Later };
                self.tell(now, group, (Move::Update, reason), &audience, detail);
            }
        }
    }

    /// The configuration is another one: works out anew what is due, by what was spent and since when the clocks run.
    pub(in crate::engine) fn replan_deadlines(&mut self) {
        let rules = self.rules.clone();
        let slots: Vec<u32> = self.groups.slots.slots().map(|(slot, _)| slot).collect();
        for group in slots {
            let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { continue };
            let before = incident.deadlines.clone();
            incident.deadlines.plan(held(&rules, incident));
            if incident.deadlines != before {
                self.mark_group(group, Dirty::Whole);
                self.schedule_group(group);
            }
        }
    }

    fn settle_deadlines(&mut self, now: Timestamp, group: u32, status: IncidentStatus) {
        let rules = self.rules.clone();
        let muted = rules.targets.pause_while_muted && self.is_group_muted(group);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let merged = incident.relations.merged_into.is_some();
        let held = held(&rules, incident);
        incident.deadlines.settle(now, &rules, Standing::of(status, merged, muted), held);
        self.mark_group(group, Dirty::Whole);
    }
}

/// What holds for an incident.
fn held<'a>(rules: &'a RuleSet, incident: &Incident) -> Held<'a> {
    let (agreement, calendar) = bound(rules, incident);
    Held::of(rules, incident.priority, agreement, calendar)
}

/// The agreement and the calendar of the incident's service.
fn bound<'a>(rules: &'a RuleSet, incident: &Incident) -> (Option<&'a str>, Option<&'a str>) {
    let listed = incident.service.as_deref().and_then(|service| rules.topology.find(service));
    let details = listed.map(|service| rules.topology.details(service));
    details
        .map_or((None, None), |details| (details.agreement.map(|name| &**name), details.calendar.map(|name| &**name)))
}

/// How warnings and breaches are said.
#[derive(Clone, Copy, Debug)]
struct Words<'a> {
    target: Target,
    held: Held<'a>,
    due: Option<Timestamp>,
}

impl Words<'_> {
    fn warning(self, share: Share) -> String {
        format!("{share} of {} have passed; due at {}", self.what(), self.when())
    }

    fn breach(self) -> String {
        format!("{} have passed; it was due at {}", self.what(), self.when())
    }

    fn what(self) -> String {
        let time = self.held.time(self.target).map(duration::format_hours).unwrap_or_default();
        format!("the {time} to {}", self.target.as_str())
    }

    fn when(self) -> String {
        let due = self.due.map(|due| due.to_the_second().to_string()).unwrap_or_default();
        let calendar = self.held.calendar;
        if calendar.is_always() { due } else { format!("{due} (calendar {})", calendar.name) }
    }
}
