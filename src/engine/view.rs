//! What the outside sees of an incident: the document, its numbers, its alerts.
//!
//! Only reads, but for the note of what is seen otherwise without a decision: the clock, muting or a reload has moved
//! what is due. A document is built when a decision is taken and shared from then on, or once as changes are handed out;
//! lists of alerts are cut to a limit by whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::alert::AlertState;
use super::group::{Group, Incident, Phase};
use super::incident::{AlertCounts, AlertDoc, FlappingDoc, IncidentCounts, IncidentDoc, Key, Signature, Targets};
use super::memory::interner::Symbol;
use super::priority::explained;
use super::relate::storm::StormState;
use super::shard::Shard;
use crate::event::Timestamp;
use crate::identity::{IncidentId, alertmanager_fingerprint};

/// The targets of an incident, and when stakeholders are to hear next.
type Agreed = (Targets, Option<Timestamp>);

impl Shard {
    pub(super) fn doc(&self, state: &Group, incident: &Incident) -> IncidentDoc {
        IncidentDoc {
            id: incident.id,
            status: incident.status,
            version: incident.version,
            title: incident.title.clone(),
            rule: state.rule_name.clone(),
            key: self.key_of(state, incident),
            severity: incident.severity,
            impact: incident.impact,
            urgency: incident.urgency,
            priority: incident.priority,
            priority_reason: explained(incident),
            service: incident.service.clone(),
            assignee: incident.assignment.assignee(),
            opened_at: incident.opened_at,
            acknowledged_at: incident.acknowledged_at,
            resolved_at: incident.resolved_at,
            updated_at: incident.updated_at,
            alerts: alert_counts(state, incident),
            events: state.events - state.events_before,
            links: incident.links.clone(),
            targets: incident.deadlines.doc(),
            escalation: incident.escalation.doc(),
            escalated: incident.escalation.escalated_doc(),
            time_in: incident.work.time_in(incident.status, incident.updated_at),
            reopened: incident.work.reopened,
            signature: Signature(incident.relations.signature),
            hold: incident.work.hold_doc(),
            major: incident.escalation.major_doc(),
            assignment: incident.assignment.doc(incident.updated_at),
            resolution: incident.work.resolution.clone(),
            next_update_due: self.next_update_due(incident),
            services: incident.priority_of.services(),
            service_binding: incident.service_of.doc(),
            reasons: incident.reasons.clone(),
            flapping: flapping(state, incident),
            storm: state.storm.as_deref().map(StormState::doc),
        }
    }

    /// The labels of an incident's group.
    pub(super) fn key_of(&self, state: &Group, incident: &Incident) -> Key {
        if state.union
            && let Some(group) = self.incidents.get(&incident.id)
        {
            return self.union_key(*group);
        }
        // Most texts are held by the rule and the incident already.
        let names = self.rules.rules.get(state.rule as usize).map_or(&[][..], |rule| &rule.group_by);
        let shared = |text: &str, held: Option<&Arc<str>>| match held {
            Some(held) if **held == *text => held.clone(),
            _ => Arc::from(text),
        };
        let mut key = Key::with_capacity(state.key.len());
        for (place, (name, value)) in state.key.iter().enumerate() {
            let Some(value) = value else { continue };
            let (name, value) = (self.names.text(*name), self.names.text(*value));
            key.insert(shared(name, names.get(place)), shared(value, incident.service.as_ref()));
        }
        key
    }

    /// The present numbers of a group's incident.
    pub(super) fn counts(&self, group: u32) -> Option<IncidentCounts> {
        let state = self.groups.slots.get(group).filter(|state| state.phase != Phase::Merged)?;
        let incident = state.incident.as_deref()?;
        Some(IncidentCounts {
            id: incident.id,
            alerts: alert_counts(state, incident),
            events: state.events - state.events_before,
            flapping: flapping(state, incident),
            storm: state.storm.as_deref().map(StormState::doc),
        })
    }

    /// What is seen of a group's incident is another without a decision. The next decision about it shows that, too; else
    /// it is handed out by itself.
    pub(super) fn renew(&mut self, group: u32) {
        if !std::mem::replace(&mut self.groups.slots[group].renewed, true) {
            self.renewed_groups.push(group);
        }
    }

    /// By when what is due of every incident, as far as that is seen.
    pub(super) fn agreed(&self) -> Vec<(u32, Agreed)> {
        let groups = self.groups.slots.slots();
        groups.filter_map(|(group, state)| Some((group, self.agreed_of(state.incident.as_deref()?)))).collect()
    }

    fn agreed_of(&self, incident: &Incident) -> Agreed {
        (incident.deadlines.doc(), self.next_update_due(incident))
    }

    /// A reload has moved what it moves of that.
    pub(super) fn renew_agreed(&mut self, seen: &[(u32, Agreed)]) {
        for (group, seen) in seen {
            let incident = self.groups.slots.get(*group).and_then(|state| state.incident.as_deref());
            if incident.is_some_and(|incident| self.agreed_of(incident) != *seen) {
                self.renew(*group);
            }
        }
    }

    /// The documents that no decision shows.
    pub(super) fn take_renewed(&mut self) -> Vec<Arc<IncidentDoc>> {
        let mut docs = Vec::new();
        for group in std::mem::take(&mut self.renewed_groups) {
            let Some(state) = self.groups.slots.get_mut(group) else { continue };
            let renewed = std::mem::take(&mut state.renewed) && state.phase != Phase::Merged;
            let state = &self.groups.slots[group];
            docs.extend(
                state.incident.as_deref().filter(|_| renewed).map(|incident| Arc::new(self.doc(state, incident))),
            );
        }
        docs
    }

    /// Every incident that is not closed, as it is now.
    pub fn docs(&self) -> Vec<Arc<IncidentDoc>> {
        let live = self.groups.slots.slots().filter(|(_, state)| state.phase != Phase::Merged);
        live.filter_map(|(_, state)| Some(Arc::new(self.doc(state, state.incident.as_deref()?)))).collect()
    }

    /// The alerts of an incident that is not closed: at most `limit`, firing ones first, then the oldest, and how many
    /// there are in all.
    pub fn incident_alerts(&self, id: IncidentId, limit: usize) -> Option<(Vec<AlertDoc>, u64)> {
        let group = *self.incidents.get(&id)?;
        let state = self.groups.slots.get(group)?;
        let total = state.incident.as_deref()?.total;
        let linked =
            |slot: &u32| self.alerts.slots[*slot].memberships.iter().any(|one| one.group == group && one.linked);
        let mut chosen: Vec<u32> = state.members.iter().copied().filter(linked).collect();
        let rank = |slot: &u32| {
            let alert = &self.alerts.slots[*slot];
            (alert.state != AlertState::Firing, alert.first_seen, alert.fingerprint)
        };
        // Of many alerts only those that are shown are sorted.
        if limit < chosen.len() {
            chosen.select_nth_unstable_by_key(limit, rank);
            chosen.truncate(limit);
        }
        chosen.sort_unstable_by_key(rank);
        Some((chosen.into_iter().map(|slot| self.alert_doc(slot, group)).collect(), total))
    }

    fn alert_doc(&self, slot: u32, group: u32) -> AlertDoc {
        let (alert, names) = (&self.alerts.slots[slot], &self.names);
        let fires = alert.state == AlertState::Firing;
        let holds = alert.memberships.iter().any(|one| one.group == group && one.firing);
        let pairs = |pairs: &[(Symbol, Symbol)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| (names.text(*name).to_owned(), names.text(*value).to_owned())).collect()
        };
        let text = |symbol: Option<_>| symbol.map_or(String::new(), |symbol| names.text(symbol).to_owned());
        let labels = pairs(alert.texts.labels());
        let sorted = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        AlertDoc {
            fingerprint: format!("{:016x}", alertmanager_fingerprint(sorted)),
            state: alert.state.as_str(),
            severity: alert.severity,
            source: text(alert.texts.source),
            summary: text(alert.texts.summary),
            labels,
            annotations: pairs(alert.texts.annotations()),
            count: alert.count,
            first_seen: alert.first_seen,
            last_seen: alert.last_seen,
            ends_at: (fires && alert.until < Timestamp::MAX).then_some(alert.until),
            cleared: fires && !holds,
            muted: self.muted_doc(slot).filter(|_| fires),
        }
    }
}

fn alert_counts(state: &Group, incident: &Incident) -> AlertCounts {
    // While it is resolved, a member that fires again is not the incident's until the condition holds again.
    let firing = if state.phase == Phase::Live { u64::from(state.firing).min(incident.total) } else { 0 };
    AlertCounts { firing, resolved: incident.total - firing, total: incident.total }
}

fn flapping(state: &Group, incident: &Incident) -> Option<FlappingDoc> {
    let flapping = incident.flapping?;
    Some(FlappingDoc { alerts: state.flapping, changes: flapping.changes, since: flapping.since })
}
