//! How an incident begins: what it is called, what it takes over from the alert that opens it, what is linked to it.
//!
//! A title that cannot be rendered costs a title, never the incident.

use std::fmt::Write;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::alert::Dirty;
use crate::engine::correlate::Sighting;
use crate::engine::deadlines::Deadlines;
use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::desk::assignment::Assignment;
use crate::engine::desk::talks::Talks;
use crate::engine::desk::work::Work;
use crate::engine::escalation::Progress;
use crate::engine::group::{Gathered, Incident, Opening, Phase};
use crate::engine::incident::{IncidentLink, IncidentStatus};
use crate::engine::memory::interner::Symbol;
use crate::engine::moves::Move;
use crate::engine::priority::{Assessment, Binding, Levels};
use crate::engine::relate::Relations;
use crate::engine::shard::Shard;
use crate::engine::suppress::Hush;
use crate::event::{Severity, Timestamp};
use crate::identity::{IncidentId, domain};
use crate::rules::{Rule, Title, TitleContext};

/// Links an incident takes over from the alert that opens it.
const LINKS_MAX: usize = 16;
/// Room for a title without a template, and for what the timeline says of an opening; most need no more.
const TITLE_BYTES: usize = 96;
const OPENING_BYTES: usize = 64;

impl Shard {
    /// Opens the group's incident: it links what fires, and what was seen within the window of the condition.
    pub(in crate::engine) fn open(&mut self, now: Timestamp, group: u32, opening: Opening, reason: Reason) -> Verdict {
        let Opening { event, since, slot } = opening;
        let Some(rule) = self.rules.rules.get(self.groups.slots[group].rule as usize).cloned() else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let id = self.incident_id(&rule, group, event);
        let first_event = self.first_event(group, since);
        self.take_back(group);
        self.dismiss(group, |membership, alert| membership.firing || alert.last_seen >= since);
        let storm = self.storm_of(now, group, event, slot);
        let incident = self.new_incident(now, id, &rule, group, slot);
        self.incidents.insert(id, group);
        let state = &mut self.groups.slots[group];
        state.incident = Some(Box::new(incident));
        state.phase = Phase::Live;
        state.opening = None;
        state.span.start_over();
        self.link_members(group);
        self.assess_opening(now, group);
        let traced = self.trace(group, first_event);
        let have = self.groups.slots[group].members.len();
        let mut detail = opening_words(reason, have);
        detail.push_str(&self.recall(now, group));
        detail.push_str(self.join_storm(now, group, storm));
        self.emit(now, group, Move::Open, reason, detail);
        self.judge_members(now, group);
        self.relate(now, group, traced);
        self.note_recurrence(now, group);
        Verdict::of(Outcome::Opened, reason, id)
    }

    pub(in crate::engine) fn incident_id(&mut self, rule: &Rule, group: u32, event: u128) -> IncidentId {
        let state = &self.groups.slots[group];
        // The name of a union's group depends on which alert came first.
        let key = if state.union { 0 } else { state.key_hash };
        // The same event can open the same group's incident again once all memory of it is gone, such as an alert
        // that Prometheus repeats with its old start time after a long silence: it then takes the next free name.
        for round in 0_u64.. {
            let hasher = self.hasher.reset(domain::INCIDENT).part(rule.name.as_bytes()).part(&key.to_le_bytes());
            let id = IncidentId(hasher.part(&event.to_le_bytes()).part(&round.to_le_bytes()).finish64());
            if !self.incidents.contains_key(&id) && !self.closed_ids.contains(id) {
                return id;
            }
        }
        unreachable!("a bounded set does not hold every id")
    }

    pub(in crate::engine) fn new_incident(
        &self,
        now: Timestamp,
        id: IncidentId,
        rule: &Rule,
        group: u32,
        slot: u32,
    ) -> Incident {
        let severity = self.gravest(group).max(self.alerts.slots[slot].severity);
        let urgency = rule.urgency(severity);
        let listed = self.listed_service(slot);
        let service = listed
            .map(|service| Arc::from(self.rules.topology.name(service)))
            .or_else(|| self.key_value(group, "service"))
            .or_else(|| self.alerts.slots[slot].texts.label(&self.names, "service").map(Arc::from));
        let said = listed.filter(|_| rule.impact_from_service).and_then(|service| self.rules.topology.impact(service));
        let impact = said.unwrap_or(rule.impact);
        let priority = self.rules.priority(impact, urgency);
        Incident {
            id,
            status: IncidentStatus::New,
            version: 0,
            sequence: 0,
            title: self.title(rule, group, slot),
            severity,
            impact,
            fixed_urgency: rule.urgency,
            urgency,
            priority,
            service,
            opened_at: now,
            acknowledged_at: None,
            resolved_at: None,
            updated_at: now,
            total: 0,
            clear_since: None,
            gathered: Gathered::default(),
            reasons: Vec::new(),
            links: self.links(slot).into_iter().chain(self.catalogue_links(listed)).collect(),
            policy: super::policy(rule),
            relations: Relations::default(),
            flapping: None,
            hush: Hush::default(),
            work: Work::default(),
            assignment: Assignment::default(),
            talks: Talks::default(),
            deadlines: Deadlines::default(),
            escalation: Progress::default(),
            priority_of: Assessment::new(rule, Levels { impact, urgency, priority }),
            service_of: Binding::new(listed.map(|service| self.rules.topology.binding(service))),
        }
    }

    pub(in crate::engine) fn gravest(&self, group: u32) -> Severity {
        let members = self.groups.slots[group].members.iter();
        members.map(|slot| self.alerts.slots[*slot].severity).max().unwrap_or_default()
    }

    fn key_value(&self, group: u32, name: &str) -> Option<Arc<str>> {
        let key = self.groups.slots[group].key.iter();
        let (_, value) = key.copied().find(|(label, _)| self.names.text(*label) == name)?;
        Some(Arc::from(self.names.text(value?)))
    }

    fn title(&self, rule: &Rule, group: u32, slot: u32) -> Arc<str> {
        let names = &self.names;
        let key: SmallVec<[(&str, &str); 4]> = match &rule.union {
            Some(union) => self.union_values(union, slot).into(),
            None => {
                let key = self.groups.slots[group].key.iter();
                key.map(|(name, value)| (names.text(*name), value.map_or("", |value| names.text(value)))).collect()
            }
        };
        // A template that cannot be rendered for this alert must never cost the incident.
        if let Some(title) = rule.title.as_ref().and_then(|title| self.rendered(title, rule, &key, slot)) {
            return title.into();
        }
        let mut title = String::with_capacity(TITLE_BYTES);
        title.push_str(&rule.name);
        for (place, (name, value)) in key.iter().enumerate() {
            [if place == 0 { ": " } else { ", " }, name, "=", value].into_iter().for_each(|part| title.push_str(part));
        }
        title.into()
    }

    fn rendered(&self, title: &Title, rule: &Rule, key: &[(&str, &str)], slot: u32) -> Option<String> {
        let (alert, names) = (&self.alerts.slots[slot], &self.names);
        let pairs = |pairs: &[(Symbol, Symbol)]| -> Vec<(&str, &str)> {
            pairs.iter().map(|(name, value)| (names.text(*name), names.text(*value))).collect()
        };
        title.render(TitleContext {
            labels: &pairs(alert.texts.labels()),
            annotations: &pairs(alert.texts.annotations()),
            key,
            severity: alert.severity,
            source: alert.texts.source.map_or("", |source| names.text(source)),
            summary: alert.texts.summary.map_or("", |summary| names.text(summary)),
            rule: &rule.name,
        })
    }

    fn links(&self, slot: u32) -> Vec<IncidentLink> {
        let texts = &self.alerts.slots[slot].texts;
        let runbook = texts.annotations().iter().filter(|(name, _)| self.names.text(*name) == "runbook_url");
        let link = |kind: &str, target| IncidentLink {
            kind: kind.to_owned(),
            target: self.names.text(target).to_owned(),
            by: "event".to_owned(),
            reason: "given by the alert that opened the incident".to_owned(),
        };
        let given = texts.links().iter().map(|(rel, href)| link(self.names.text(*rel), *href));
        given.chain(runbook.map(|(_, href)| link("runbook", *href))).take(LINKS_MAX).collect()
    }

    /// Links to the entry of the service catalogue, and to what it says is to be done.
    fn catalogue_links(&self, listed: Option<u32>) -> Vec<IncidentLink> {
        let Some(service) = listed else { return Vec::new() };
        let link = |kind: &str, target: &str, reason: &str| IncidentLink {
            kind: kind.to_owned(),
            target: target.to_owned(),
            by: "catalogue".to_owned(),
            reason: reason.to_owned(),
        };
        let name = self.rules.topology.name(service);
        let entry = [
            link("service", name, "the service of the alert that opened the incident"),
            link("configuration_item", name, "its matchers hold of the alert that opened the incident"),
        ];
        let runbook = self.runbook_of(service).map(|runbook| link("runbook", runbook, "given for the service"));
        entry.into_iter().chain(runbook).collect()
    }

    /// What to do when a service of the catalogue breaks.
    fn runbook_of(&self, service: u32) -> Option<&str> {
        self.rules.topology.details(service).runbook.map(|runbook| &**runbook)
    }

    /// Links every member that is not linked yet.
    pub(in crate::engine) fn link_members(&mut self, group: u32) -> u32 {
        let mut linked = 0;
        for place in 0..self.groups.slots[group].members.len() {
            let slot = self.groups.slots[group].members[place];
            let Some(membership) = self.alerts.slots[slot].membership(group) else { continue };
            if !std::mem::replace(&mut membership.linked, true) {
                linked += 1;
                self.mark_alert(slot, Dirty::Whole);
                self.concern(group, slot);
            }
        }
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            incident.total += u64::from(linked);
        }
        linked
    }

    /// A member of a live incident fires: links it if it is new to the incident, and tells sinks of an incident that they
    /// have not heard of because of what mutes all others.
    pub(in crate::engine) fn link(&mut self, sighting: &Sighting<'_>, group: u32, was_firing: bool) -> Verdict {
        let verdict = self.take_in(sighting, group, was_firing);
        self.tell_unknown(sighting.now, group);
        verdict
    }

    fn take_in(&mut self, sighting: &Sighting<'_>, group: u32, was_firing: bool) -> Verdict {
        let &Sighting { now, slot, changed, .. } = sighting;
        let alert = &mut self.alerts.slots[slot];
        let severity = alert.severity;
        let Some(membership) = alert.membership(group) else { return Verdict::new(Outcome::Recorded, Reason::NoRule) };
        let known = std::mem::replace(&mut membership.linked, true);
        let (fires, flapping) = (membership.firing, membership.flapping);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let graver = severity > incident.severity;
        let (outcome, reason) = match (known, was_firing) {
            (false, _) => (Outcome::Linked, Reason::IncidentOpen),
            (true, false) if flapping && !graver => {
                return Verdict::of(Outcome::Updated, Reason::Flapping, incident.id);
            }
            (true, false) => (Outcome::Updated, Reason::AlertReturned),
            // What sinks are told is as before: Prometheus alerts whose texts hold values change with every evaluation.
            (true, true) if changed && !graver => {
                return Verdict::of(Outcome::Updated, Reason::AlertChanged, incident.id);
            }
            (true, true) if changed => (Outcome::Updated, Reason::AlertChanged),
            (true, true) => return Verdict::of(Outcome::Duplicate, Reason::Repeat, incident.id),
        };
        let id = incident.id;
        if !known {
            self.concern(group, slot);
        }
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        incident.clear_since = incident.clear_since.filter(|_| !fires);
        incident.total += u64::from(!known);
        incident.gathered.linked += u32::from(!known);
        incident.gathered.changed += u32::from(known);
        self.mark_alert(slot, Dirty::Whole);
        self.gather_alert(now, group, severity);
        if flapping && graver && severity == Severity::Critical {
            self.flush(now, group);
        }
        if !known {
            self.judge(now, slot, group);
        }
        Verdict::of(outcome, reason, id)
    }
}

/// What the timeline says of an opening: why, and with how many alerts.
fn opening_words(reason: Reason, alerts: usize) -> String {
    let mut words = String::with_capacity(OPENING_BYTES);
    match reason {
        // Nearly all begin so: said without the formatting machinery, which costs as much as the rest of an opening.
        Reason::ConditionMet { have: have @ 0..=9, need: need @ 0..=9 } => {
            words.push(char::from(b'0' + have as u8));
            words.push_str(" of ");
            words.push(char::from(b'0' + need as u8));
            words.push_str(": the opening condition holds");
        }
        _ => write!(words, "{reason}").expect("a String takes everything"),
    }
    words.push_str("; ");
    match alerts {
        1 => words.push('1'),
        _ => words.push_str(&alerts.to_string()),
    }
    words.push_str(if alerts == 1 { " alert" } else { " alerts" });
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_told_in_the_words_of_its_reason() {
        for (have, need, alerts) in [(1, 1, 1), (3, 3, 2), (9, 9, 9), (10, 9, 10), (9, 12, 0), (1_000, 50, 1_234)] {
            let reason = Reason::ConditionMet { have, need };
            let alerts_are = if alerts == 1 { "alert" } else { "alerts" };
            assert_eq!(opening_words(reason, alerts), format!("{reason}; {alerts} {alerts_are}"));
        }
        assert_eq!(opening_words(Reason::AwaitedMissing, 1), format!("{}; 1 alert", Reason::AwaitedMissing));
    }
}
