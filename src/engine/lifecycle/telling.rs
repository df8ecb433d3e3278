//! What is said of an incident: at once, gathered, or only in the timeline; and who is told.
//!
//! Every decision takes the next sequence number here. What is gathered is a handful of numbers, so nothing grows.

use std::sync::Arc;

use crate::delivery::Action;
use crate::engine::alert::Dirty;
use crate::engine::decision::{Decision, Reason};
use crate::engine::group::{INCIDENT_ALERTS_KEPT, Incident, REASONS_MAX, Turn};
use crate::engine::shard::Shard;
use crate::event::{Severity, Timestamp};
use crate::rules::Level;

impl Shard {
    /// Takes the next sequence number and waits for what else belongs to the same delivery.
    pub(in crate::engine) fn gather(&mut self, now: Timestamp, group: u32, severity: Severity) {
        self.raise(group, severity);
        self.raise_storm(now, group);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        let due = now.plus(incident.policy.update_interval);
        let due = *incident.gathered.due.get_or_insert(due);
        self.mark_group(group, Dirty::Counters);
        if due <= now {
            self.flush(now, group);
        }
        self.schedule_group(group);
    }

    /// An incident is as grave as the gravest of its alerts has been since it opened.
    pub(in crate::engine) fn raise(&mut self, group: u32, severity: Severity) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if severity > incident.severity {
            incident.severity = severity;
            incident.urgency = incident.fixed_urgency.unwrap_or_else(|| Level::of_severity(severity));
            let priority = self.rules.priority(incident.impact, incident.urgency);
            incident.priority = incident.priority.min(priority);
            self.mark_group(group, Dirty::Whole);
        }
    }

    /// Tells what was gathered, under the newest sequence number.
    pub(in crate::engine) fn flush(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if incident.gathered.due.is_none() {
            return;
        }
        let gathered = std::mem::take(&mut incident.gathered);
        let action = if gathered.linked > 0 { Action::Linked } else { Action::Updated };
        match incident.relations.untold.take_news() {
            Some(symptoms) => {
                let news = [symptoms, gathered.news()].into_iter().filter(|news| !news.is_empty());
                let detail = news.collect::<Vec<_>>().join("; ");
                self.push_decision(now, group, action, Reason::SymptomFound, detail);
            }
            None => self.push_decision(now, group, action, Reason::Gathered, gathered.news()),
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
        self.push_decision(now, group, Action::Updated, reason, detail);
    }

    /// Moves the incident by the table, takes the next sequence number and tells at once; what was gathered goes along.
    pub(in crate::engine) fn emit(
        &mut self,
        now: Timestamp,
        group: u32,
        action: Action,
        reason: Reason,
        mut detail: String,
    ) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let news = std::mem::take(&mut incident.gathered).news();
        let symptoms = incident.relations.untold.take_news().unwrap_or_default();
        for news in [symptoms, news].into_iter().filter(|news| !news.is_empty()) {
            detail = format!("{detail}; {news}");
        }
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        if action != Action::Opened {
            let next = match reason {
                Reason::Merged | Reason::Split => incident.status.after_merge(action),
                _ => incident.status.after(action),
            };
            incident.status = next.unwrap_or(incident.status);
        }
        incident.give_reason(action, reason);
        self.mark_group(group, Dirty::Whole);
        self.push_decision(now, group, action, reason, detail);
        self.schedule_group(group);
    }

    pub(in crate::engine) fn push_decision(
        &mut self,
        now: Timestamp,
        group: u32,
        action: Action,
        reason: Reason,
        detail: String,
    ) {
        // What has begun or ended is told with what is gathered.
        let told_later = matches!(reason, Reason::FlappingStarted | Reason::FlappingStopped | Reason::StormEnded);
        self.decide(now, group, (action, reason), told_later, detail);
    }

    /// The same; with `told_later` sinks hear of it with another decision only.
    pub(in crate::engine) fn decide(
        &mut self,
        now: Timestamp,
        group: u32,
        (action, reason): (Action, Reason),
        told_later: bool,
        mut detail: String,
    ) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        // Who is told is decided here and nowhere else. A resolve always passes, where its incident was told of. Of a
        // part of a storm, the storm is told.
        let elsewhere = told_later || incident.relations.mutes(action);
        let notify = if elsewhere { Arc::default() } else { incident.policy.notify.clone() };
        let muted = !notify.is_empty() && self.keeps_back(group, action);
        if muted {
            detail.push_str("; nobody is told: all that fires is muted");
        }
        let notify = if muted { Arc::default() } else { notify };
        let told_as = if notify.is_empty() { action } else { self.told_as(group, action) };
        let state = &self.groups.slots[group];
        let Some(incident) = state.incident.as_deref() else { return };
        let sequence = incident.sequence;
        let incident = Arc::new(self.doc(state, incident));
        let alerts = match action {
            Action::Closed => self.incident_alerts(incident.id, INCIDENT_ALERTS_KEPT).unwrap_or_default().0,
            _ => Vec::new(),
        };
        self.mark_group(group, Dirty::Whole);
        let by = self.by.clone();
        self.decisions.push(Decision {
            action,
            told_as,
            reason,
            sequence,
            at: now,
            detail,
            incident,
            alerts,
            by,
            notify,
        });
    }
}

impl Incident {
    fn give_reason(&mut self, action: Action, reason: Reason) {
        if self.reasons.len() >= REASONS_MAX {
            self.reasons.remove(0);
        }
        self.reasons.push(format!("{}: {}", action.as_str(), reason.code()));
    }
}
