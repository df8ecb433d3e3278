//! Priority: impact × urgency, where both came from, and how it rises when more breaks.
//!
//! It rises by itself, which is told at once, and never falls by itself. What an alert concerns is looked at when it is
//! linked and never again, so a repeat costs nothing here. What is counted and where that ends: `concerned.rs`.

mod assessment;
mod by_hand;
mod concerned;
mod explain;

use std::sync::Arc;
use std::time::Duration;

use assessment::Facts;
pub(super) use assessment::{Assessment, Levels};
use concerned::Sign;
pub(super) use explain::explained;

use crate::engine::alert::Dirty;
use crate::engine::correlate::AlertSubject;
use crate::engine::decision::Reason;
use crate::engine::group::Phase;
use crate::engine::journal::{Fault, Reader, Writer, read_maybe_text, write_maybe_text};
use crate::engine::moves::{IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::domain;
use crate::rules::{Level, Priority};

/// The entry of the service catalogue that matched when the incident opened, as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Binding {
    entry: Option<Arc<str>>,
}

impl Binding {
    pub(super) fn new(entry: Option<String>) -> Self {
        Self { entry: entry.map(Arc::from) }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        write_maybe_text(writer, self.entry.as_deref());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self { entry: read_maybe_text(reader)?.map(Arc::from) })
    }

    pub(super) fn doc(&self) -> Option<Arc<str>> {
        self.entry.clone()
    }
}

impl Shard {
    /// An alert was linked: notes which service it concerns, and where.
    pub(super) fn concern(&mut self, group: u32, slot: u32) {
        let subject = AlertSubject { alert: &self.alerts.slots[slot], names: &self.names };
        let (topology, priorities) = (&self.rules.topology, &self.rules.priorities);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let listed = topology.service_of(&subject);
        let label = || subject.alert.texts.label(&self.names, "service");
        let own = incident.service.as_deref();
        let name = listed.map(|service| topology.name(service)).or_else(label).or(own);
        // What belongs to no service by itself belongs to the incident's.
        let bound = || own.filter(|own| incident.service_of.entry.is_some() && name == Some(own));
        let known = listed.or_else(|| topology.find(bound()?)).map(|service| topology.details(service));
        let sign = Sign {
            service: name.map(|name| (name, self.hasher.reset(domain::CONTENT).part(name.as_bytes()).finish64())),
            own: incident.service.as_ref().filter(|own| name == Some(&***own)),
            said: known.and_then(|known| known.impact),
            users: known.and_then(|known| known.users),
            ceiling: priorities.environment(&subject).map_or(Level::High, |environment| environment.impact),
        };
        if incident.priority_of.concerned.add(&sign) {
            incident.priority_of.grew = true;
            self.mark_group(group, Dirty::Whole);
        }
    }

    /// Whatever one incident concerns, another one does as well: as its cause, or because it goes on as that one. Says
    /// whether that is news.
    pub(super) fn concern_as(&mut self, group: u32, other: &Assessment) -> bool {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return false };
        let news = incident.priority_of.concerned.absorb(&other.concerned);
        if news {
            incident.priority_of.grew = true;
            self.mark_group(group, Dirty::Whole);
            self.renew(group);
        }
        news
    }

    /// These incidents, given by their groups, are symptoms of that cause: it is as grave as what they concern.
    pub(super) fn concern_cause(&mut self, now: Timestamp, cause: u32, symptoms: &[u32]) {
        let mut news = false;
        for symptom in symptoms {
            let Some(incident) = self.groups.slots[*symptom].incident.as_deref() else { continue };
            let concerned = incident.priority_of.clone();
            news |= self.concern_as(cause, &concerned);
        }
        if news && self.groups.slots[cause].phase == Phase::Live {
            let rose = self.assess_again(now, cause);
            self.tell_rise(now, cause, rose);
        }
    }

    /// An incident is about to be told for the first time: its alerts are linked.
    pub(super) fn assess_opening(&mut self, now: Timestamp, group: u32) {
        let facts = self.facts(now, group);
        let rules = self.rules.clone();
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.priority_of.begin(&rules.priorities, &facts);
        let Levels { impact, urgency, priority } = incident.priority_of.assessed;
        (incident.impact, incident.urgency, incident.priority) = (impact, urgency, priority);
    }

    /// Something was linked, became graver, cleared or related: the priority rises where that makes it graver. Says what
    /// it was before.
    pub(super) fn assess_again(&mut self, now: Timestamp, group: u32) -> Option<Priority> {
        let facts = self.facts(now, group);
        let rules = self.rules.clone();
        let incident = self.groups.slots[group].incident.as_deref_mut()?;
        let was = (incident.priority_of.assessed, incident.priority_of.hand.clone());
        incident.priority_of.assess(&rules.priorities, &facts);
        let levels = incident.priority_of.effective(&rules.priorities);
        let (grew, before) = (std::mem::take(&mut incident.priority_of.grew), incident.priority);
        // By another matrix after a reload it might be lower.
        let priority = levels.priority.min(before);
        let same = (incident.impact, incident.urgency, before) == (levels.impact, levels.urgency, priority)
            && was == (incident.priority_of.assessed, incident.priority_of.hand.clone());
        (incident.impact, incident.urgency, incident.priority) = (levels.impact, levels.urgency, priority);
        if !same {
            self.mark_group(group, Dirty::Whole);
        }
        if grew {
            self.tell_cause(now, group);
        }
        if priority >= before {
            return None;
        }
        self.priority_turned(now, group);
        Some(before)
    }

    /// A symptom concerns more than before; so does its cause.
    fn tell_cause(&mut self, now: Timestamp, group: u32) {
        let incident = self.groups.slots[group].incident.as_deref();
        let cause = incident.and_then(|incident| incident.relations.cause.as_ref()).map(|cause| cause.id);
        if let Some(cause) = cause.and_then(|cause| self.incidents.get(&cause).copied()) {
            self.concern_cause(now, cause, &[group]);
        }
    }

    /// Tells at once that the priority has risen, where it has. Says whether it did.
    pub(super) fn tell_rise(&mut self, now: Timestamp, group: u32, before: Option<Priority>) -> bool {
        let incident = self.groups.slots[group].incident.as_deref();
        let (Some(incident), Some(before)) = (incident.filter(|incident| incident.status.is_live()), before) else {
            return false;
        };
        let detail = format!("{}; it was {}", explained(incident), before.as_str());
        self.emit(now, group, Move::Update, Reason::PriorityRaised, detail);
        true
    }

    /// The incident opens, comes back, or is over.
    pub(super) fn assess_follow(&mut self, now: Timestamp, group: u32, before: IncidentStatus, after: IncidentStatus) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if before.is_live() != after.is_live() {
            incident.priority_of.since = after.is_live().then_some(now);
        }
    }

    /// When the time alone raises the urgency, while something fires.
    pub(super) fn assess_next(&self, group: u32) -> Option<Timestamp> {
        let incident = self.groups.slots[group].incident.as_deref()?;
        let fires = incident.status.is_live() && incident.clear_since.is_none();
        incident.priority_of.next(&self.rules.priorities).filter(|_| fires)
    }

    pub(super) fn assess_due(&mut self, now: Timestamp, group: u32) {
        let rose = self.assess_again(now, group);
        // An urgency that rises need not raise the priority.
        self.renew(group);
        self.tell_rise(now, group, rose);
        self.raise_storm(now, group);
    }

    fn facts(&self, now: Timestamp, group: u32) -> Facts {
        let state = &self.groups.slots[group];
        let firing = if state.phase == Phase::Live { u64::from(state.firing) } else { 0 };
        let Some(incident) = state.incident.as_deref() else {
            return Facts { severity: Default::default(), firing, open: Duration::ZERO };
        };
        let since = incident.priority_of.since.filter(|_| incident.clear_since.is_none());
        let open = since.map_or(Duration::ZERO, |since| now.since(since));
        Facts { severity: incident.severity, firing: firing.min(incident.total), open }
    }
}
