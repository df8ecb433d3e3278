//! What is said of an incident: at once, gathered, or only in the timeline; and who is told.
//!
//! Every decision takes the next sequence number here. What is gathered is a handful of numbers, so nothing grows.

use std::borrow::Cow;
use std::sync::Arc;

use crate::delivery::Action;
use crate::engine::alert::Dirty;
use crate::engine::decision::{Decision, Reason};
use crate::engine::group::{INCIDENT_ALERTS_KEPT, Incident, REASONS_MAX, Turn};
use crate::engine::moves::{Actor, Move};
use crate::engine::shard::Shard;
use crate::event::{Severity, Timestamp};
use crate::rules::{Level, Priority};

/// Who is meant to be told.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) enum Audience {
    /// The rule's sinks; and those that an escalation has reached and those of the assignee, where the incident is taken, ends or comes back.
    Rule,
    /// The same, and these.
    Also(Arc<[Arc<str>]>),
    /// Nobody now: the timeline has it, sinks hear of it with what else is gathered.
    Later,
    /// These and nobody else, unless all that fires is muted.
    Sinks(Arc<[Arc<str>]>),
    /// These and nobody else, whatever is muted: the word of a person.
    Spoken(Arc<[Arc<str>]>),
}

impl Audience {
    /// Whether the rule's sinks are among them.
    fn is_by_rule(&self) -> bool {
        matches!(self, Audience::Rule | Audience::Also(_))
    }
}

impl Shard {
    /// Takes the next sequence number and waits for what else belongs to the same delivery.
    pub(in crate::engine) fn gather(&mut self, now: Timestamp, group: u32, severity: Severity) {
        if self.gather_more(now, group, severity) {
            self.schedule_group(group);
        }
    }

    /// The same for an alert that is linked, which by itself brings nothing nearer: where others are gathered already
    /// and it leaves the incident as urgent as it was, no deadline need be looked for. A reminder that was held back
    /// because all that fired was muted may be due now.
    pub(in crate::engine) fn gather_alert(&mut self, now: Timestamp, group: u32, severity: Severity) {
        let before = self.gathering_at(group);
        let gathered = self.gather_more(now, group, severity);
        let same = before.is_some() && before == self.gathering_at(group) && self.talks_next(group).is_none();
        if gathered && (!same || self.rules.targets.pause_while_muted) {
            self.schedule_group(group);
        }
    }

    /// How urgent an incident is that gathers something.
    fn gathering_at(&self, group: u32) -> Option<Level> {
        let incident = self.groups.slots[group].incident.as_deref()?;
        incident.gathered.due.map(|_| incident.priority_of.assessed().urgency)
    }

    /// Says whether it is gathered, and not told with something else already.
    fn gather_more(&mut self, now: Timestamp, group: u32, severity: Severity) -> bool {
        let rose = self.raise(now, group, severity);
        let told = self.tell_rise(now, group, rose);
        self.raise_storm(now, group);
        if told {
            return false;
        }
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return false };
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        let due = now.plus(incident.policy.update_interval);
        let due = *incident.gathered.due.get_or_insert(due);
        self.mark_group(group, Dirty::Counters);
        self.deadlines_muted(now, group);
        if due <= now {
            self.flush(now, group);
        }
        true
    }

    /// An incident is as grave as the gravest of its alerts has been since it opened; its priority follows. Says what it
    /// was before, where it has risen: whoever asks tells of it.
    pub(in crate::engine) fn raise(&mut self, now: Timestamp, group: u32, severity: Severity) -> Option<Priority> {
        let incident = self.groups.slots[group].incident.as_deref_mut()?;
        if severity > incident.severity {
            incident.severity = severity;
            self.mark_group(group, Dirty::Whole);
        }
        self.assess_again(now, group)
    }

    /// Tells what was gathered, under the newest sequence number.
    pub(in crate::engine) fn flush(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if incident.gathered.due.is_none() {
            return;
        }
        let gathered = std::mem::take(&mut incident.gathered);
        let step = if gathered.linked > 0 { Move::Link } else { Move::Update };
        match incident.relations.untold.take_news() {
            Some(symptoms) => {
                let news = [symptoms, gathered.news()].into_iter().filter(|news| !news.is_empty());
                let detail = news.collect::<Vec<_>>().join("; ");
                self.push_decision(now, group, step, Reason::SymptomFound, detail);
            }
            None => self.push_decision(now, group, step, Reason::Gathered, gathered.news()),
        }
    }

    /// Records in the timeline what has begun or ended. Sinks are told of it with what is gathered: the caller goes on
    /// with [`Shard::gather`] or what tells at once, which takes the next number.
    pub(in crate::engine) fn note(&mut self, now: Timestamp, group: u32, turn: Turn, detail: String) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let reason = match turn {
            Turn::FlappingStarted => Reason::FlappingStarted,
            Turn::FlappingStopped => Reason::FlappingStopped,
            Turn::StormEnded => Reason::StormEnded,
        };
        incident.gathered.turn = Some(turn);
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        incident.give_reason(Action::Updated, reason);
        self.push_decision(now, group, Move::Update, reason, detail);
    }

    /// Moves the incident by the table, takes the next sequence number and tells at once; what was gathered goes along.
    pub(in crate::engine) fn emit(&mut self, now: Timestamp, group: u32, step: Move, reason: Reason, detail: String) {
        self.tell(now, group, (step, reason), &Audience::Rule, detail);
    }

    /// The same, to an audience of its own.
    pub(in crate::engine) fn tell(
        &mut self,
        now: Timestamp,
        group: u32,
        (step, reason): (Move, Reason),
        audience: &Audience,
        mut detail: String,
    ) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if audience.is_by_rule() {
            let news = std::mem::take(&mut incident.gathered).news();
            let symptoms = incident.relations.untold.take_news().unwrap_or_default();
            for news in [symptoms, news].into_iter().filter(|news| !news.is_empty()) {
                detail = if detail.is_empty() { news } else { format!("{detail}; {news}") };
            }
        }
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        let before = incident.status;
        let by = if self.by.is_some() { Actor::Person } else { Actor::Engine };
        // What a person orders has consequences that are the engine's.
        let legal = before.row(step, by).or_else(|| before.row(step, Actor::Engine)).is_some();
        debug_assert!(legal, "{before:?} has no row for {step:?} by {by:?}");
        let after = before.after(step).unwrap_or(before);
        incident.status = after;
        let action = step.action(before);
        incident.give_reason(action, reason);
        if before != after {
            self.follow(now, group, before, after);
        }
        self.mark_group(group, Dirty::Whole);
        self.decide(now, group, (step, action, reason), audience, detail);
        if before != after {
            self.tell_further(now, group, before, after);
        }
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            // What is still gathered follows under a number of its own, or the timeline would take it for this entry.
            incident.sequence += u64::from(incident.gathered.due.is_some());
        }
        self.schedule_group(group);
    }

    fn push_decision(&mut self, now: Timestamp, group: u32, step: Move, reason: Reason, detail: String) {
        // What has begun or ended is told with what is gathered.
        let told_later = matches!(reason, Reason::FlappingStarted | Reason::FlappingStopped | Reason::StormEnded);
        let audience = if told_later { Audience::Later } else { Audience::Rule };
        let action = step.action(self.status_of(group));
        self.decide(now, group, (step, action, reason), &audience, detail);
    }

    /// Records a decision under the present sequence number, and decides who is told, here and nowhere else.
    pub(in crate::engine) fn decide(
        &mut self,
        now: Timestamp,
        group: u32,
        (step, action, reason): (Move, Action, Reason),
        audience: &Audience,
        mut detail: String,
    ) {
        let notify = self.addressed(group, action, audience);
        // A resolve always passes, where its incident was told of. What a person says is said.
        let spoken = matches!(audience, Audience::Spoken(_));
        let muted = !notify.is_empty() && !spoken && self.keeps_back(group, action);
        if muted {
            detail.push_str("; nobody is told: all that fires is muted");
        }
        let notify = if muted { Arc::default() } else { notify };
        let by_rule = audience.is_by_rule() && !notify.is_empty();
        let told_as = if by_rule { self.told_as(group, action) } else { action };
        self.groups.slots[group].renewed = false;
        let state = &self.groups.slots[group];
        let Some(incident) = state.incident.as_deref() else { return };
        let sequence = incident.sequence;
        let incident = Arc::new(self.doc(state, incident));
        let alerts = match action {
            Action::Closed => self.incident_alerts(incident.id, INCIDENT_ALERTS_KEPT).unwrap_or_default().0,
            _ => Vec::new(),
        };
        self.mark_group(group, Dirty::Whole);
        let (by, message) = (self.by.clone(), self.message.take());
        self.decisions.push(Decision {
            step,
            action,
            told_as,
            reason,
            sequence,
            at: now,
            detail,
            message,
            incident,
            alerts,
            by,
            notify,
        });
    }

    /// The sinks of an audience. Of a part of a storm, the storm is told.
    fn addressed(&self, group: u32, action: Action, audience: &Audience) -> Arc<[Arc<str>]> {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return Arc::default() };
        match audience {
            Audience::Later => Arc::default(),
            Audience::Sinks(sinks) | Audience::Spoken(sinks) => sinks.clone(),
            _ if incident.relations.mutes(action) => Arc::default(),
            Audience::Rule | Audience::Also(_) => {
                let ends =
                    matches!(action, Action::Acknowledged | Action::Resolved | Action::Reopened | Action::Closed);
                let (rule, reached) = (&incident.policy.notify, &incident.escalation.reached);
                let assignee = self.assignee_sinks(group);
                let also: &[Arc<str>] = if let Audience::Also(also) = audience { also } else { &[] };
                let mut others: Vec<Arc<str>> = Vec::new();
                for sink in reached.iter().chain(assignee.iter()).filter(|_| ends).chain(also) {
                    if !rule.contains(sink) && !others.contains(sink) {
                        others.push(sink.clone());
                    }
                }
                if others.is_empty() { rule.clone() } else { rule.iter().cloned().chain(others).collect() }
            }
        }
    }
}

impl Incident {
    /// Why it opened stays. Of the rest the oldest goes that is an update or a link, else the oldest.
    pub(in crate::engine) fn give_reason(&mut self, action: Action, reason: Reason) {
        if self.reasons.len() >= REASONS_MAX {
            let minor = |reason: &Cow<'_, str>| {
                [Action::Updated, Action::Linked].iter().any(|of| reason.starts_with(of.as_str()))
            };
            let place = self.reasons.iter().skip(1).position(minor).unwrap_or(0);
            self.reasons.remove(place + 1);
        }
        if self.reasons.is_empty() {
            // Most incidents have one, or are over soon.
            self.reasons.reserve_exact(1);
        }
        self.reasons.push(match (action, reason) {
            (Action::Opened, Reason::ConditionMet { .. }) => Cow::Borrowed("opened: condition_met"),
            _ => Cow::Owned([action.as_str(), ": ", reason.code()].concat()),
        });
    }
}
