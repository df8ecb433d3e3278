//! How incidents relate to each other and to changes: by topology, by change, as parts of a storm, merged.
//!
//! Called when an incident opens, comes back, resolves or closes; each relation is a file of its own. What is found
//! stands in the incident's links and in a timeline entry at once; sinks hear of it with the opening, or gathered with
//! what else is new for `update_interval`.

pub(super) mod changes;
mod component;
pub(super) mod kin;
pub(super) mod merge;
mod openings;
mod parts;
pub(super) mod services;
pub(super) mod storm;
pub(super) mod suspects;
pub(super) mod symptoms;
#[cfg(test)]
mod tests;
pub(super) mod topology;
pub(super) mod union;

use std::time::Duration;

use super::alert::Dirty;
use super::correlate::AlertSubject;
use super::decision::{Reason, Verdict};
use super::group::{Incident, Phase};
use super::incident::IncidentLink;
use super::journal::{Fault, Reader, Writer};
use super::lifecycle::Audience;
use super::moves::Move;
use super::shard::Shard;
use crate::delivery::Action;
use crate::event::{Batch, Event, Timestamp, duration};
use crate::identity::IncidentId;
pub(super) use kin::KIN;
use services::Service;
use suspects::Suspect;
use symptoms::{Cause, Untold};

/// Incidents that one is kept apart from by hand; beyond, the oldest is forgotten.
const APART_MAX: usize = 100;

/// What an incident knows of its relations, beside its links.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Relations {
    /// The incident that this one is a part of, as in a storm. Sinks are told of that one instead.
    pub(super) parent: Option<IncidentId>,
    /// Whether it holds its parent open: it is open itself.
    pub(super) holds: bool,
    /// Whether any sink was told of it.
    pub(super) told: bool,
    /// Whether an operator has taken it out of a storm: it becomes part of none any more.
    pub(super) released: bool,
    /// The incident that this one was merged into.
    pub(super) merged_into: Option<IncidentId>,
    /// Incidents that were merged into this one and can be split from it, in the order of the merges.
    pub(super) parts: Vec<IncidentId>,
    /// When it opened or came back last, on event time.
    pub(super) opened: Timestamp,
    /// The first event of that.
    pub(super) first_event: Timestamp,
    /// The incident that this one is a symptom of.
    pub(super) cause: Option<Cause>,
    /// How many incidents were found to be symptoms of this one.
    pub(super) symptoms: u32,
    /// Symptoms that the timeline does not have yet.
    pub(super) untold: Untold,
    /// Never its cause, by an operator's word.
    pub(super) apart: Vec<IncidentId>,
    /// Changes that may have caused it, the most suspect first.
    pub(super) suspects: Vec<Suspect>,
    /// What it has in common with the same incident at another time; see `problems`.
    pub(super) signature: u64,
}

fn read_ids(reader: &mut Reader<'_>) -> Result<Vec<IncidentId>, Fault> {
    let count = reader.count()?;
    (0..count).map(|_| Ok(IncidentId(reader.fixed()?))).collect()
}

impl Relations {
    pub(super) fn write(&self, writer: &mut Writer) {
        let others = [self.parent, self.merged_into];
        let flags =
            [others[0].is_some(), others[1].is_some(), self.holds, self.told, self.released, self.cause.is_some()];
        writer.byte(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        others.into_iter().flatten().for_each(|other| writer.fixed(other.0));
        writer.time(self.opened);
        writer.time(self.first_event);
        self.cause.iter().for_each(|cause| cause.write(writer));
        writer.number(u64::from(self.symptoms));
        self.untold.write(writer);
        for ids in [&self.parts, &self.apart] {
            writer.number(ids.len() as u64);
            ids.iter().for_each(|id| writer.fixed(id.0));
        }
        writer.number(self.suspects.len() as u64);
        self.suspects.iter().for_each(|suspect| suspect.write(writer));
        writer.fixed(self.signature);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let flags = reader.byte()?;
        let [has_parent, is_merged, holds, told, released, has_cause] =
            [1, 2, 4, 8, 16, 32].map(|flag| flags & flag != 0);
        let parent = if has_parent { Some(IncidentId(reader.fixed()?)) } else { None };
        let merged_into = if is_merged { Some(IncidentId(reader.fixed()?)) } else { None };
        let (opened, first_event) = (reader.time()?, reader.time()?);
        let cause = if has_cause { Some(Cause::read(reader)?) } else { None };
        let (symptoms, untold) = (reader.small()?, Untold::read(reader)?);
        let (parts, apart) = (read_ids(reader)?, read_ids(reader)?);
        let suspects = reader.count()?;
        let suspects = (0..suspects).map(|_| Suspect::read(reader)).collect::<Result<_, Fault>>()?;
        let signature = reader.fixed()?;
        Ok(Self {
            parent,
            holds,
            told,
            released,
            merged_into,
            parts,
            opened,
            first_event,
            cause,
            symptoms,
            untold,
            apart,
            suspects,
            signature,
        })
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        let ids = (self.parts.capacity() + self.apart.capacity()) * size_of::<IncidentId>();
        ids + self.suspects.capacity() * size_of::<Suspect>() + self.suspects.iter().map(Suspect::bytes).sum::<usize>()
    }

    /// Whether sinks are told of the parent instead. Where they know the incident, its end is never kept from them.
    pub(super) fn mutes(&self, action: Action) -> bool {
        self.parent.is_some() && !(self.told && matches!(action, Action::Resolved | Action::Closed))
    }

    /// Keeps another incident from being the cause of this one.
    pub(super) fn keep_apart(&mut self, other: IncidentId) {
        if !self.apart.contains(&other) {
            if self.apart.len() >= APART_MAX {
                self.apart.remove(0);
            }
            self.apart.push(other);
        }
    }
}

/// What was found out about an incident before it is told that it opened or came back.
#[derive(Debug, Default)]
pub(super) struct Traced {
    cause: Option<symptoms::Turn>,
    suspects: bool,
    /// The groups of those that it is related to.
    kin: Vec<u32>,
}

impl Shard {
    /// An incident is about to be told: finds its cause and the changes that are suspected, so that they are told with it.
    pub(super) fn trace(&mut self, group: u32, first_event: Timestamp) -> Traced {
        let opened = self.groups.slots[group].newest_event_at;
        // An event whose clock runs ahead has happened by now.
        let first_event = first_event.min(opened);
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            (incident.relations.opened, incident.relations.first_event) = (opened, first_event);
        }
        if let Some(service) = self.service(group) {
            self.live.insert(service, group);
        }
        let found = self.find_cause(group).filter(|found| self.is_nearer(group, found.distance));
        let cause = found.and_then(|found| self.set_cause(group, found));
        let suspects = self.find_suspects(group);
        Traced { cause, suspects, kin: self.find_kin(group) }
    }

    /// An incident has opened or come back: tells what was found about it, and finds what belongs to it.
    pub(super) fn relate(&mut self, now: Timestamp, group: u32, traced: Traced) {
        if let Some(turn) = traced.cause {
            self.tell_turn(now, group, turn, Told::Before);
        }
        if traced.suspects {
            self.tell_suspects(now, group, Told::Before);
        }
        self.tell_kin(now, group, &traced.kin);
        self.adopt_symptoms(now, group);
    }

    /// An incident is resolved: it is no cause for what opens from now on.
    pub(super) fn delist(&mut self, group: u32) {
        self.forget_kin(group);
        if let Some(service) = self.service(group) {
            self.live.remove(&service, group);
        }
    }

    /// An incident is closed and about to be forgotten.
    pub(super) fn unrelate(&mut self, now: Timestamp, group: u32) {
        self.child_resolved(now, group);
        self.delist(group);
    }

    /// An event of kind `change`.
    pub(super) fn change(&mut self, now: Timestamp, batch: &Batch, event: &Event) -> Verdict {
        self.note_change(now, batch, event)
    }

    /// The first of the events that have met a rule's condition in a window that began at `since`. Asked before the
    /// window is cleared.
    pub(super) fn first_event(&self, group: u32, since: Timestamp) -> Timestamp {
        let state = &self.groups.slots[group];
        let counted = state.span.entries().iter().map(|entry| entry.at).find(|at| *at >= since);
        // A condition of one event counts nothing: its window ends with that event.
        let window = || self.rules.rules.get(state.rule as usize).map(|rule| rule.window).unwrap_or_default();
        counted.unwrap_or_else(|| since.plus(window()))
    }

    /// The service of the catalogue that an alert belongs to.
    pub(super) fn listed_service(&self, slot: u32) -> Option<u32> {
        self.rules.topology.service_of(&AlertSubject { alert: &self.alerts.slots[slot], names: &self.names })
    }

    /// The service of a group's incident.
    fn service(&self, group: u32) -> Option<Service> {
        let name = self.incident_in(group)?.service.as_ref()?;
        Some(Service::of(&self.rules.topology, name))
    }

    /// The number of that service in the catalogue.
    fn listed(&self, group: u32) -> Option<u32> {
        self.rules.topology.find(self.incident_in(group)?.service.as_deref()?)
    }

    fn service_name(&self, group: u32) -> &str {
        self.incident_in(group).and_then(|incident| incident.service.as_deref()).unwrap_or_default()
    }

    fn incident_in(&self, group: u32) -> Option<&Incident> {
        self.groups.slots.get(group)?.incident.as_deref()
    }

    fn is_live(&self, group: u32) -> bool {
        self.groups.slots.get(group).is_some_and(|state| state.phase == Phase::Live)
    }

    /// Puts news of an incident's relations into its timeline. Sinks that have not been told before hear of it with the
    /// next gathered update, or at once where nothing is gathered.
    pub(super) fn announce(&mut self, now: Timestamp, group: u32, reason: Reason, detail: String, told: Told) {
        if self.groups.slots[group].phase == Phase::Merged {
            // It is closed. What it was a cause of is another one's by now, whose timeline says so.
            return;
        }
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        incident.give_reason(Action::Updated, reason);
        let loud = told == Told::Later && incident.policy.update_interval.is_zero();
        if told == Told::Later && !loud {
            incident.gathered.related += 1;
        }
        let audience = if loud { Audience::Rule } else { Audience::Later };
        self.decide(now, group, (Move::Update, Action::Updated, reason), &audience, detail);
        if told == Told::Later && !loud {
            self.await_update(now, group);
        }
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        // What is gathered follows under a number of its own.
        incident.sequence += u64::from(incident.gathered.due.is_some());
    }

    /// Makes sure that a gathered update follows.
    fn await_update(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.gathered.due.get_or_insert(now.plus(incident.policy.update_interval));
        self.mark_group(group, Dirty::Whole);
        self.schedule_group(group);
    }

    /// Ends recovery: derives which services are live, and looks at links again if the catalogue is another one by now.
    pub(super) fn finish_relations(&mut self) {
        self.relations_at = Timestamp::MAX;
        self.changes.finish_restore(self.incidents.is_empty(), self.rules.topology.digest());
        self.rebind_services();
    }

    /// The catalogue may have changed: numbers services anew, and has links by it looked at again if it has.
    pub(super) fn rebind_services(&mut self) {
        self.live.clear();
        self.kin = kin::Kin::default();
        let slots: Vec<u32> = self.groups.slots.slots().map(|(slot, _)| slot).collect();
        for group in slots.into_iter().filter(|group| self.is_live(*group)).collect::<Vec<_>>() {
            if let Some(service) = self.service(group) {
                self.live.insert(service, group);
            }
            self.note_kin(group);
        }
        self.changes.rebind(&self.rules.topology, &self.rules.changes);
        if self.changes.catalogue() != self.rules.topology.digest() {
            // Decisions need the time, which a reload does not know.
            self.timers.schedule(super::memory::timers::Owner::Relations, &mut self.relations_at, Timestamp::EPOCH);
        }
    }
}

/// Whether sinks know of what is announced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Told {
    /// With the opening.
    Before,
    /// With the next update.
    Later,
}

pub(super) fn put_link(incident: &mut Incident, kind: &str, by: &str, target: IncidentId, reason: String) {
    let target = target.to_string();
    incident.links.push(IncidentLink { kind: kind.to_owned(), target, by: by.to_owned(), reason });
}

/// A time for people: exact to the second, from an hour on to the minute.
pub(super) fn in_words(time: Duration) -> String {
    let unit = if time < Duration::from_secs(3_600) { 1 } else { 60 };
    duration::format(Duration::from_secs(time.as_secs() / unit * unit))
}
