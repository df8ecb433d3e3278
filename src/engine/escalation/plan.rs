//! When what is due: starts, pauses and ends an incident's policy, and says when to look again.

use std::sync::Arc;
use std::time::Duration;

use super::{Bound, Kept, Progress};
use crate::engine::alert::Dirty;
use crate::engine::deadlines::Target;
use crate::engine::group::{Incident, Phase, RETIRED};
use crate::engine::moves::IncidentStatus;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::rules::{
    EscalationPolicy, EscalationStep, EscalationTarget, IncidentFacts, Quiet, ServiceDetails, Share, StepDue, StopOn,
    Unless,
};

/// How often a symptom asks whether its cause is still open.
const CAUSE_ASKED_EVERY: Duration = Duration::from_secs(60);

impl Shard {
    /// The incident goes from one status to another: the policy starts, pauses and stops.
    pub(in crate::engine) fn escalation_follow(
        &mut self,
        now: Timestamp,
        group: u32,
        _before: IncidentStatus,
        after: IncidentStatus,
    ) {
        if after == IncidentStatus::Open {
            self.begin_policy(now, group);
        } else if let Some(progress) = self.progress_mut(group) {
            progress.hold(now, after);
        }
        // Whoever moves an incident schedules its group.
        self.find_next_step(now, group);
    }

    /// The policy starts: the incident opens, comes back, or is told by itself from now on.
    pub(in crate::engine) fn escalation_begin(&mut self, now: Timestamp, group: u32) {
        self.begin_policy(now, group);
        self.escalation_plan(now, group);
    }

    fn begin_policy(&mut self, now: Timestamp, group: u32) {
        let policy = self.wanted_policy(group);
        let policy = policy.map(|policy| Bound { name: policy.name.clone(), definition: policy.definition });
        let Some(progress) = self.progress_mut(group) else { return };
        progress.begin(now, policy);
        self.ask_major(group);
    }

    /// The priority or the service is another one: steps that were passed over for the sake of the priority are looked at
    /// again, and so is whether it is a major incident.
    pub(in crate::engine) fn escalation_turned(&mut self, now: Timestamp, group: u32) {
        if !self.status_of(group).is_live() {
            return;
        }
        self.ask_major(group);
        if let Some(policy) = self.bound_policy(group) {
            let passed = self.groups.slots[group].incident.as_deref().map_or(0, |incident| incident.escalation.passed);
            let holds = |place: &usize| passed & 1 << place != 0 && self.when_holds(group, &policy.steps[*place]);
            let again: u32 = (0..policy.steps.len()).filter(holds).map(|place| 1 << place).sum();
            if let Some(progress) = self.progress_mut(group).filter(|_| again != 0) {
                progress.done &= !again;
                progress.passed &= !again;
                progress.rest(now, &policy);
            }
        }
        self.escalation_plan(now, group);
    }

    /// All that fires may have begun or ceased to be muted.
    pub(in crate::engine) fn escalation_muted(&mut self, now: Timestamp, group: u32) {
        if let Some(progress) = self.progress_mut(group) {
            progress.kept = Kept::No;
        }
        self.escalation_plan(now, group);
    }

    /// Members have come or gone: it may not be muted any more.
    pub(in crate::engine) fn escalation_joined(&mut self, group: u32) {
        let kept = |progress: &&mut Progress| progress.kept == Kept::Muted;
        if let Some(progress) = self.progress_mut(group).filter(kept) {
            (progress.kept, progress.review) = (Kept::No, true);
            self.schedule_group(group);
        }
    }

    /// The rules may be others, or the shard was restored: policies are bound anew as soon as the time is known.
    pub(in crate::engine) fn review_escalations(&mut self) {
        let rules = self.rules.clone();
        let slots: Vec<u32> = self.groups.slots.slots().map(|(slot, _)| slot).collect();
        for group in slots {
            let Some(progress) = self.progress_mut(group) else { continue };
            progress.reached.retain(|sink| rules.escalation.has_sink(sink));
            progress.review = progress.policy.is_some() || !rules.escalation.is_empty();
            if progress.review {
                self.schedule_group(group);
            }
        }
    }

    pub(in crate::engine) fn escalation_next(&self, group: u32) -> Option<Timestamp> {
        let incident = self.groups.slots[group].incident.as_deref().filter(|incident| incident.status.is_live())?;
        let progress = &incident.escalation;
        if progress.review { Some(Timestamp::EPOCH) } else { progress.wakes_at }
    }

    pub(super) fn progress_mut(&mut self, group: u32) -> Option<&mut Progress> {
        Some(&mut self.groups.slots.get_mut(group)?.incident.as_deref_mut()?.escalation)
    }

    /// Whether the policy may be another one; looked at by itself, before what has become due meanwhile and in its turn.
    pub(in crate::engine) fn escalation_asks(&self, group: u32) -> bool {
        self.groups.slots[group].incident.as_deref().is_some_and(|incident| incident.escalation.review)
    }

    /// Binds an incident to the policy that is configured for it now.
    pub(in crate::engine) fn escalation_rebind(&mut self, now: Timestamp, group: u32) {
        let wanted = self.wanted_policy(group);
        let on_hold = self.status_of(group) == IncidentStatus::OnHold;
        let Some(progress) = self.progress_mut(group) else { return };
        progress.review = false;
        match (&progress.policy, wanted) {
            (Some(bound), Some(policy)) if (&bound.name, bound.definition) == (&policy.name, policy.definition) => {
                if progress.wakes_at.is_some_and(|wakes_at| wakes_at <= now) {
                    // What has become due meanwhile is planned anew in its turn, after whatever came before it.
                    return self.schedule_group(group);
                }
            }
            (Some(_), Some(policy)) => progress.follow(now, &policy),
            (None, Some(policy)) => {
                let bound = Bound { name: policy.name.clone(), definition: policy.definition };
                let asks_major = progress.asks_major;
                progress.begin(now, Some(bound));
                (progress.asks_major, progress.held_since) = (asks_major, on_hold.then_some(now));
            }
            (_, None) => {
                progress.policy = None;
                progress.level = 0;
            }
        }
        self.renew(group);
        self.escalation_plan(now, group);
    }

    /// The policy of the incident's rule, else of its service. What is part of another incident has none; an incident whose
    /// rule is gone keeps its own.
    fn wanted_policy(&self, group: u32) -> Option<Arc<EscalationPolicy>> {
        let state = self.groups.slots.get(group)?;
        let incident = state.incident.as_deref()?;
        if incident.relations.parent.is_some() {
            return None;
        }
        if state.rule == RETIRED {
            return self.bound_policy(group);
        }
        let rule = self.rules.rules.get(state.rule as usize)?;
        let name = rule.escalation.clone().or_else(|| self.service_policy(incident))?;
        self.rules.escalation.named(&name).cloned()
    }

    /// The policy that the service catalogue gives.
    fn service_policy(&self, incident: &Incident) -> Option<Arc<str>> {
        self.details_of(incident)?.escalation.cloned()
    }

    /// What the service catalogue says of the incident's service.
    pub(super) fn details_of(&self, incident: &Incident) -> Option<ServiceDetails<'_>> {
        let topology = &self.rules.topology;
        Some(topology.details(topology.find(incident.service.as_deref()?)?))
    }

    /// The policy that the incident goes by, as it is configured now.
    pub(super) fn bound_policy(&self, group: u32) -> Option<Arc<EscalationPolicy>> {
        let incident = self.groups.slots.get(group)?.incident.as_deref()?;
        self.rules.escalation.named(&incident.escalation.policy.as_ref()?.name).cloned()
    }

    /// Works out when the next step is due, and when to look, and schedules that.
    pub(super) fn escalation_plan(&mut self, now: Timestamp, group: u32) {
        self.find_next_step(now, group);
        self.schedule_group(group);
    }

    fn find_next_step(&mut self, now: Timestamp, group: u32) {
        let (next_at, wakes_at) = self.escalation_times(now, group);
        let Some(progress) = self.progress_mut(group) else { return };
        if (progress.next_at, progress.wakes_at) != (next_at, wakes_at) {
            let seen = std::mem::replace(&mut progress.next_at, next_at);
            progress.wakes_at = wakes_at;
            self.mark_group(group, Dirty::Whole);
            if seen != next_at {
                self.renew(group);
            }
        }
    }

    fn escalation_times(&self, now: Timestamp, group: u32) -> (Option<Timestamp>, Option<Timestamp>) {
        let state = &self.groups.slots[group];
        let Some(incident) = state.incident.as_deref().filter(|incident| incident.status.is_live()) else {
            return (None, None);
        };
        let progress = &incident.escalation;
        match progress.kept {
            Kept::Muted => return (None, None),
            Kept::ByCause => {
                let asks = progress.wakes_at.filter(|asks| *asks > now);
                return (None, asks.or(Some(now.plus(CAUSE_ASKED_EVERY))));
            }
            Kept::No => {}
        }
        let asked = progress.asks_major.then_some(now);
        let Some(policy) = self.bound_policy(group) else { return (None, asked) };
        let (mut next, mut wakes) = (None, asked);
        let mut note = |at: Timestamp, counts: bool| {
            wakes = wakes.into_iter().chain(Some(at)).min();
            next = next.into_iter().chain(counts.then_some(at)).min();
        };
        if let Some(at) = self.round_due(now, group, &policy) {
            note(at, true);
        }
        for (place, step) in policy.steps.iter().enumerate().filter(|(place, _)| !progress.is_done(*place)) {
            if let Some(due) = self.step_due(group, &policy, step) {
                let waits_for = self.out_of_quiet(now, incident, &policy, due);
                note(waits_for, self.is_wanted(group, &policy.steps[place]));
            }
        }
        (next, wakes)
    }

    /// When the next round is due.
    pub(super) fn round_due(&self, now: Timestamp, group: u32, policy: &EscalationPolicy) -> Option<Timestamp> {
        let incident = self.groups.slots[group].incident.as_deref()?;
        let progress = &incident.escalation;
        let (since, held) =
            progress.rest.filter(|_| progress.round < policy.repeat && progress.held_since.is_none())?;
        let at = since.plus(progress.held.saturating_sub(held)).plus(policy.repeat_after);
        (!is_stopped(policy.stop_on, incident.status)).then(|| self.out_of_quiet(now, incident, policy, at))
    }

    /// When a step is due, if its time runs.
    pub(super) fn step_due(&self, group: u32, policy: &EscalationPolicy, step: &EscalationStep) -> Option<Timestamp> {
        let incident = self.groups.slots[group].incident.as_deref()?;
        let progress = &incident.escalation;
        let stopped = is_stopped(policy.stop_on, incident.status);
        if progress.held_since.is_some() {
            return None;
        }
        match step.due {
            StepDue::After(_) if stopped => None,
            StepDue::After(after) => Some(progress.began.plus(progress.held).plus(after)),
            // What is agreed for the end is not met by taking it.
            StepDue::Share { of: EscalationTarget::Respond, .. } if stopped => None,
            StepDue::Share { share, of } => self.share_due(group, of, share),
        }
    }

    /// When so much of an agreed time has passed; none where its clock stands, it is met or there is none.
    fn share_due(&self, group: u32, of: EscalationTarget, share: Share) -> Option<Timestamp> {
        let target = match of {
            EscalationTarget::Respond => Target::Respond,
            EscalationTarget::Resolve => Target::Resolve,
        };
        self.target_share_at(group, target, share)
    }

    /// When a step that is due then may be taken: at once, or when the calendar of the quiet hours opens.
    pub(super) fn out_of_quiet(
        &self,
        now: Timestamp,
        incident: &Incident,
        policy: &EscalationPolicy,
        due: Timestamp,
    ) -> Timestamp {
        let quiet = policy.quiet.as_ref().filter(|quiet| quiet.priorities.contains(&incident.priority));
        quiet.map_or(due, |quiet| self.opens_at(quiet, due.max(now)))
    }

    /// When the calendar is open from then on; one that never opens keeps nothing back.
    fn opens_at(&self, quiet: &Quiet, at: Timestamp) -> Timestamp {
        self.rules.calendars.named(&quiet.calendar).and_then(|calendar| calendar.next_open(at)).unwrap_or(at)
    }

    /// Whether a step would be taken as things stand.
    pub(super) fn is_wanted(&self, group: u32, step: &EscalationStep) -> bool {
        let status = self.status_of(group);
        !step.unless.is_some_and(|unless| is_past(unless, status)) && self.when_holds(group, step)
    }

    pub(super) fn when_holds(&self, group: u32, step: &EscalationStep) -> bool {
        step.when.is_empty() || self.with_facts(group, |facts| step.when.iter().all(|matcher| matcher.holds(facts)))
    }

    /// Asks something about the incident as matchers see it.
    pub(super) fn with_facts(&self, group: u32, ask: impl FnOnce(&IncidentFacts<'_>) -> bool) -> bool {
        let state = &self.groups.slots[group];
        let Some(incident) = state.incident.as_deref() else { return false };
        let key = self.key_of(state, incident);
        ask(&IncidentFacts {
            priority: incident.priority,
            severity: incident.severity,
            service: incident.service.as_deref(),
            status: incident.status.as_str(),
            rule: &state.rule_name,
            key: key.pairs(),
        })
    }

    /// Whether it is a symptom that leaves escalating to its cause, which is open.
    pub(super) fn follows_cause(&self, group: u32) -> bool {
        let follows = self.bound_policy(group).is_some_and(|policy| policy.follows_cause);
        let incident = self.groups.slots[group].incident.as_deref().filter(|_| follows);
        let cause = incident.and_then(|incident| incident.relations.cause.as_ref());
        let cause = cause.and_then(|cause| self.incidents.get(&cause.id));
        cause.is_some_and(|cause| self.groups.slots[*cause].phase == Phase::Live)
    }
}

/// Whether an incident that stands so has nothing more to fear from steps by time.
fn is_stopped(stop_on: StopOn, status: IncidentStatus) -> bool {
    match stop_on {
        StopOn::Acknowledged => status != IncidentStatus::Open,
        StopOn::InProgress => status == IncidentStatus::InProgress,
        StopOn::Resolved => !status.is_live(),
    }
}

/// Whether the incident has come so far.
fn is_past(unless: Unless, status: IncidentStatus) -> bool {
    match unless {
        Unless::Acknowledged => status != IncidentStatus::Open,
        Unless::InProgress => matches!(status, IncidentStatus::InProgress),
    }
}
