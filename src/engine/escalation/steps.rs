//! Takes the steps that are due: tells, assigns, declares. By the clock, or because a person says so.

use std::sync::Arc;

use super::major::Declaration;
use super::{Kept, message};
use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::lifecycle::Audience;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::rules::{EscalationPolicy, IncidentMatcher};

/// Why a step is taken.
#[derive(Clone, Copy, Debug)]
enum Taken<'a> {
    /// It is due; these were missed before it.
    Due(&'a [usize]),
    /// An operator says so, for this reason.
    ByHand(&'a str),
}

impl Shard {
    /// Does what is due. Whatever it does, something less is due afterwards.
    pub(in crate::engine) fn escalation_due(&mut self, now: Timestamp, group: u32) {
        let kept = match () {
            () if self.is_group_muted(group) => Kept::Muted,
            () if self.follows_cause(group) => Kept::ByCause,
            () => Kept::No,
        };
        let Some(progress) = self.progress_mut(group) else { return };
        progress.kept = kept;
        if kept == Kept::No {
            self.consider_major(now, group);
            if let Some(policy) = self.bound_policy(group) {
                self.take_due(now, group, &policy);
            }
        }
        self.escalation_plan(now, group);
    }

    /// Takes the newest of the steps that are due, begins and ends rounds.
    fn take_due(&mut self, now: Timestamp, group: u32, policy: &EscalationPolicy) {
        if self.round_due(now, group, policy).is_some_and(|due| due <= now)
            && let Some(progress) = self.progress_mut(group)
        {
            progress.begin_round(now, policy);
        }
        let (wanted, passed) = self.steps_due(now, group, policy);
        let Some(progress) = self.progress_mut(group) else { return };
        for (_, place) in wanted.iter().chain(&passed) {
            progress.done |= 1 << place;
        }
        for (_, place) in &passed {
            let on_priority = policy.steps[*place].when.iter().any(IncidentMatcher::is_on_priority);
            progress.passed |= u32::from(on_priority) << place;
        }
        // Those that are due at one instant are taken together; what was due before that was missed.
        let newest = wanted.last().map(|(due, _)| *due);
        let (missed, taken): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(due, _)| Some(*due) < newest);
        let mut missed: Vec<usize> = missed.into_iter().map(|(_, place)| place).collect();
        for (_, place) in taken {
            self.take_step(now, group, (policy, place), Taken::Due(&missed));
            missed.clear();
        }
        if let Some(progress) = self.progress_mut(group) {
            progress.rest(now, policy);
        }
    }

    /// The steps that are due, in that order: those that are taken, and those that are passed over.
    fn steps_due(&self, now: Timestamp, group: u32, policy: &EscalationPolicy) -> (Vec<Due>, Vec<Due>) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return Default::default() };
        let open = policy.steps.iter().enumerate().filter(|(place, _)| !incident.escalation.is_done(*place));
        let due = open.filter_map(|(place, step)| {
            let due = self.step_due(group, policy, step)?;
            (self.out_of_quiet(now, incident, policy, due) <= now).then_some((due, place))
        });
        let mut due: Vec<Due> = due.collect();
        due.sort_unstable();
        due.into_iter().partition(|(_, place)| self.is_wanted(group, &policy.steps[*place]))
    }

    /// Takes a step. What those would have set going that were missed is set going with it: the assignment of the newest,
    /// and a major incident.
    fn take_step(&mut self, now: Timestamp, group: u32, (policy, place): (&EscalationPolicy, usize), taken: Taken<'_>) {
        let step = &policy.steps[place];
        let missed = if let Taken::Due(missed) = taken { missed } else { &[] };
        let all = || std::iter::once(step).chain(missed.iter().rev().map(|place| &policy.steps[*place]));
        let status = self.status_of(group);
        let Some(progress) = self.progress_mut(group) else { return };
        progress.level = place as u32 + 1;
        progress.record.note(Some(progress.level));
        progress.done |= 1 << place;
        progress.reach(&step.notify);
        progress.rest(now, policy);
        let round = progress.round;
        // Whoever is told of this step sees when the next one is due.
        self.escalation_plan(now, group);
        let mut message = message::asked(policy, place, round, status);
        let (reason, audience) = match taken {
            Taken::Due(_) => (Reason::EscalationStep, Audience::Sinks(step.notify.clone())),
            Taken::ByHand(why) => {
                message = format!("step {} of {} of {}: {why}", place + 1, policy.steps.len(), policy.name);
                (Reason::ByHand, Audience::Spoken(step.notify.clone()))
            }
        };
        let by_policy = || Arc::from(format!("policy:{}", policy.name));
        let spoken = self.by.is_some();
        let before = self.by.clone();
        self.by.get_or_insert_with(by_policy);
        let major = all().find(|step| step.major).filter(|_| !self.is_major(group));
        if let Some(major) = major {
            self.set_major(now, group, &message, major.runbook.clone());
        }
        if let Some(team) = all().find_map(|step| step.assign.clone()) {
            self.give_to(now, group, &team, &message);
            message.push_str(&format!("; given to {team}"));
        }
        let detail = format!("{message}{}", message::missed(missed));
        self.message = Some(message.into());
        self.tell(now, group, (Move::Escalate, reason), &audience, detail);
        if major.is_some() {
            self.tell_major(now, group, &Declaration { told: &step.notify, spoken });
        }
        self.by = before;
    }

    /// Gives it to a team or supplier; one that is not known takes nothing, and the step goes on.
    pub(super) fn give_to(&mut self, now: Timestamp, group: u32, team: &str, why: &str) {
        let message = self.message.take();
        let _ = self.assign(now, group, team, why);
        self.message = message;
    }

    /// An operator wants the next step now: the first that is not done and whose `when` holds. Where there is none, the
    /// rule's sinks are told.
    pub(in crate::engine) fn escalate_by_hand(
        &mut self,
        now: Timestamp,
        group: u32,
        reason: &str,
    ) -> Result<(), Refusal> {
        let reason = checked("reason", reason, TEXT_BYTES_MAX, true)?.to_owned();
        let policy = self.bound_policy(group);
        let place = policy.as_deref().and_then(|policy| self.next_by_hand(now, group, policy));
        if let (Some(policy), Some(place)) = (policy, place) {
            self.take_step(now, group, (&policy, place), Taken::ByHand(&reason));
            if let Some(progress) = self.progress_mut(group) {
                progress.rest(now, &policy);
            }
            self.escalation_plan(now, group);
            return Ok(());
        }
        if let Some(progress) = self.progress_mut(group) {
            progress.record.note(None);
        }
        let sinks = self.groups.slots[group].incident.as_deref().map(|incident| incident.policy.notify.clone());
        self.message = Some(reason.as_str().into());
        let audience = Audience::Spoken(sinks.unwrap_or_default());
        self.tell(now, group, (Move::Escalate, Reason::ByHand), &audience, reason);
        Ok(())
    }

    fn next_by_hand(&mut self, now: Timestamp, group: u32, policy: &EscalationPolicy) -> Option<usize> {
        let progress = self.progress_mut(group)?;
        if progress.rest.is_some() && progress.round < policy.repeat {
            progress.begin_round(now, policy);
        }
        let done = progress.done;
        let open = (0..policy.steps.len()).filter(|place| done & 1 << place == 0);
        let open = open.filter(|place| self.when_holds(group, &policy.steps[*place]));
        // What has no time of its own as things stand comes after what has.
        open.min_by_key(|place| {
            let due = self.step_due(group, policy, &policy.steps[*place]);
            (due.unwrap_or(Timestamp::MAX), *place)
        })
    }
}

/// When a step is due, and its place.
type Due = (Timestamp, usize);
