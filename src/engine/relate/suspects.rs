//! Which changes an incident may have been caused by.
//!
//! A change is suspected when it began or ended at most `changes.within` before the incident's first event and not after
//! its opening, on its service or on one that this depends on. Ranked by the steps to that service, then what happened
//! before the first event before what happened after it, then by the time between; the first [`SUSPECTS_MAX`] are linked.

use std::ops::ControlFlow;
use std::time::Duration;

use super::changes::Change;
use super::services::Service;
use super::{Relations, Told, in_words};
use crate::engine::alert::Dirty;
use crate::engine::decision::Reason;
use crate::engine::group::Incident;
use crate::engine::incident::IncidentLink;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::rules::{Direction, VISITS_MAX};

/// Changes that an incident is linked to.
const SUSPECTS_MAX: usize = 5;
/// Live incidents that a change which comes late is linked to, those of the nearest services.
const INCIDENTS_MAX: usize = 1_000;

const CHANGE: &str = "change";
/// Who sets these links.
const CHANGES: &str = "changes";

/// A change that an incident may have been caused by.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Suspect {
    rank: Rank,
    target: Box<str>,
    /// Why, without its place among the others.
    reason: String,
}

/// The least is the most suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    distance: u8,
    /// Whether it happened after the first event.
    after: bool,
    between: Duration,
    /// Whether this is the end of the change.
    end: bool,
}

impl Suspect {
    pub(super) fn bytes(&self) -> usize {
        self.target.len() + self.reason.capacity()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let Rank { distance, after, between, end } = self.rank;
        writer.byte(distance);
        writer.byte(u8::from(after) | u8::from(end) << 1);
        writer.number(between.as_micros() as u64);
        writer.text(&self.target);
        writer.text(&self.reason);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (distance, flags) = (reader.byte()?, reader.byte()?);
        let between = Duration::from_micros(reader.number()?);
        let rank = Rank { distance, after: flags & 1 != 0, between, end: flags & 2 != 0 };
        Ok(Self { rank, target: reader.text()?.into(), reason: reader.text()?.to_owned() })
    }
}

/// How suspect a change is to an incident, if it is at all; of its begin and its end the more suspect counts.
fn rank(change: &Change, distance: u8, relations: &Relations, within: Duration) -> Option<Rank> {
    let earliest = relations.first_event.minus(within);
    let rank = |at: Timestamp, end: bool| {
        let (before, after) = (relations.first_event.since(at), at.since(relations.first_event));
        let inside = earliest <= at && at <= relations.opened;
        inside.then_some(Rank { distance, after: !after.is_zero(), between: before.max(after), end })
    };
    let moments = change.began.map(|at| (at, false)).into_iter().chain(change.ended.map(|at| (at, true)));
    moments.filter_map(|(at, end)| rank(at, end)).min()
}

impl Shard {
    /// Looks for changes that the group's incident may have been caused by, and links them in place of those linked
    /// before. Says whether there are others now, or another order.
    pub(super) fn find_suspects(&mut self, group: u32) -> bool {
        let found = if self.changes.is_empty() { Vec::new() } else { self.most_suspect(group) };
        let suspects = found.into_iter().filter_map(|(rank, slot)| self.suspicion(group, rank, slot)).collect();
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return false };
        if incident.relations.suspects == suspects {
            return false;
        }
        incident.relations.suspects = suspects;
        link_suspects(incident);
        self.mark_group(group, Dirty::Whole);
        true
    }

    fn most_suspect(&mut self, group: u32) -> Vec<(Rank, u32)> {
        let (Some(service), Some(incident)) = (self.service(group), self.incident_in(group)) else { return Vec::new() };
        let (rules, relations) = (self.rules.clone(), &incident.relations);
        let mut found = Vec::new();
        let mut look = |service: &Service, distance| {
            let slots = self.changes.of_service(service).iter();
            found.extend(slots.filter_map(|slot| {
                let change = self.changes.get(*slot)?;
                Some((rank(change, distance, relations, rules.changes.within)?, *slot))
            }));
            found.len()
        };
        let mut enough_at = if look(&service, 0) >= SUSPECTS_MAX { Some(0) } else { None };
        let mut visits = 0;
        if let Service::Listed(service) = service {
            let walked = rules.topology.walk(Direction::Needs, service, VISITS_MAX, |service, distance| {
                if enough_at.is_some_and(|enough| enough < distance) {
                    return ControlFlow::Break(());
                }
                if look(&Service::Listed(service), distance) >= SUSPECTS_MAX {
                    enough_at = Some(distance);
                }
                ControlFlow::Continue(())
            });
            visits = walked.visits;
        }
        self.live.visits += visits as u64;
        let target = |slot: u32| self.changes.get(slot).map(|change| &change.target);
        found.sort_by(|(one, slot), (other, other_slot)| (one, target(*slot)).cmp(&(other, target(*other_slot))));
        let mut named = hashbrown::HashSet::new();
        found.retain(|(_, slot)| named.len() < SUSPECTS_MAX && named.insert(target(*slot)));
        found
    }

    fn suspicion(&self, group: u32, rank: Rank, slot: u32) -> Option<Suspect> {
        let change = self.changes.get(slot)?;
        let (own, other) = (self.service_name(group), &change.service);
        let place = match rank.distance {
            0 => format!("on {other} itself"),
            1 => format!("on {other}, which {own} depends on"),
            steps => format!("on {other}, on which {own} depends over {steps} steps"),
        };
        let when = match in_words(rank.between) {
            _ if rank.between.as_secs() == 0 => "as it broke".to_owned(),
            time if rank.after => format!("{time} after it broke"),
            time => format!("{time} before"),
        };
        let what = if change.summary.is_empty() { "changed" } else { &change.summary };
        let end = if rank.end { "ended " } else { "" };
        Some(Suspect { rank, target: change.target.clone(), reason: format!("{what}: {end}{when} {place}") })
    }

    /// Tells which changes are suspected.
    pub(super) fn tell_suspects(&mut self, now: Timestamp, group: u32, told: Told) {
        let Some(incident) = self.incident_in(group) else { return };
        let targets: Vec<&str> = incident.relations.suspects.iter().map(|suspect| &*suspect.target).collect();
        // Where an incident comes back after so long that nothing is suspected any more, its links say so.
        if targets.is_empty() {
            return;
        }
        let detail = format!("suspected: {}", targets.join(", "));
        self.announce(now, group, Reason::ChangeSuspected, detail, told);
    }

    /// A change that has come in, or has ended, may have caused incidents that are live. Names the nearest of them.
    pub(super) fn suspect(&mut self, now: Timestamp, slot: u32) -> Option<IncidentId> {
        let service = Service::of(&self.rules.topology, &self.changes.get(slot)?.service);
        let mut near: Vec<(u32, u8)> = self.live.of(&service).map(|group| (group, 0)).collect();
        if let Service::Listed(service) = service {
            near.extend(self.live_dependants(service));
        }
        let mut first = None;
        let mut linked = 0;
        for (group, distance) in near {
            if linked >= INCIDENTS_MAX {
                break;
            }
            if self.add_suspect(group, distance, slot) {
                linked += 1;
                first = first.or_else(|| self.incident_in(group).map(|incident| incident.id));
                self.tell_suspects(now, group, Told::Later);
            }
        }
        first
    }

    /// Ranks a change among the suspects of an incident. Says whether it is one that was not known.
    fn add_suspect(&mut self, group: u32, distance: u8, slot: u32) -> bool {
        if !self.is_live(group) {
            return false;
        }
        let (Some(change), Some(incident)) = (self.changes.get(slot), self.incident_in(group)) else { return false };
        let rank = rank(change, distance, &incident.relations, self.rules.changes.within);
        let Some(suspect) = rank.and_then(|rank| self.suspicion(group, rank, slot)) else { return false };
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return false };
        let before = incident.relations.suspects.clone();
        let suspects = &mut incident.relations.suspects;
        suspects.retain(|other| other.target != suspect.target);
        suspects.push(suspect);
        suspects.sort_by(|one, other| (one.rank, &one.target).cmp(&(other.rank, &other.target)));
        suspects.truncate(SUSPECTS_MAX);
        if *suspects == before {
            return false;
        }
        link_suspects(incident);
        self.mark_group(group, Dirty::Whole);
        true
    }
}

/// Links the suspects in their order, in place of those linked before. Links of the same kind that others have set stay.
fn link_suspects(incident: &mut Incident) {
    incident.links.retain(|link| link.kind != CHANGE || link.by != CHANGES);
    let suspects = &incident.relations.suspects;
    for (place, suspect) in suspects.iter().enumerate() {
        let reason = format!("{}; suspect {} of {}", suspect.reason, place + 1, suspects.len());
        let target = suspect.target.to_string();
        incident.links.push(IncidentLink { kind: CHANGE.to_owned(), target, by: CHANGES.to_owned(), reason });
    }
}
