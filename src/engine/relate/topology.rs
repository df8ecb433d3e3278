//! Who depends on whom among live incidents: the nearest cause of one, and those that one is the cause of.
//!
//! Only reads. A search visits at most [`VISITS_MAX`] services in each direction and looks at as many incidents; what
//! lies beyond is not linked. Where nothing else in the catalogue is broken, nothing is walked.

use std::ops::ControlFlow;

use super::services::Service;
use super::symptoms::Found;
use crate::engine::group::Incident;
use crate::engine::shard::Shard;
use crate::rules::{Direction, VISITS_MAX};

/// Incidents that one search looks at; those of nearer services first.
const INCIDENTS_MAX: usize = 10_000;
/// Causes of causes that are followed, to see whether a link would close a ring.
const CHAIN_MAX: usize = 1_000;

impl Shard {
    /// The nearest live incident of what the group's service depends on; of several, the one that broke first.
    pub(super) fn find_cause(&mut self, group: u32) -> Option<Found> {
        let service = self.listed(group)?;
        let others = self.live.others_listed(service);
        if others == 0 {
            return None;
        }
        let (rules, mut met, mut looks) = (self.rules.clone(), 0, INCIDENTS_MAX);
        let mut best: Option<Found> = None;
        let walked = rules.topology.walk(Direction::Needs, service, VISITS_MAX, |service, distance| {
            if best.is_some_and(|best| best.distance < distance) {
                return ControlFlow::Break(());
            }
            let mut broken = false;
            for cause in self.live.of(&Service::Listed(service)) {
                broken = true;
                looks -= 1;
                let earlier = best.is_none_or(|best| self.opening(cause) < self.opening(best.group));
                if earlier && self.may_cause(cause, group) {
                    best = Some(Found { group: cause, distance, set_by_hand: false });
                }
                if looks == 0 {
                    return ControlFlow::Break(());
                }
            }
            met += usize::from(broken);
            if met == others { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.live.visits += walked.visits as u64;
        best
    }

    /// Live incidents of services that depend on this one, nearest first.
    ///
    /// Where fewer services are broken than depend on it directly, each of them is asked what it depends on, as those of
    /// a hub are more than can be visited; else dependants are visited, and if those are too many the others are asked.
    pub(super) fn live_dependants(&mut self, service: u32) -> Vec<(u32, u8)> {
        let others = self.live.others_listed(service);
        if others == 0 {
            return Vec::new();
        }
        let mut services = Vec::new();
        let direct = self.rules.topology.neighbours(Direction::NeededBy, service).len();
        if others < direct || self.visit_dependants(service, others, &mut services) {
            self.ask_others(service, &mut services);
        }
        services.sort_by_key(|(service, distance)| (*distance, *service));
        let mut dependants = Vec::new();
        for (service, distance) in services {
            let groups = self.live.of(&Service::Listed(service)).map(|group| (group, distance));
            dependants.extend(groups.take(INCIDENTS_MAX - dependants.len()));
        }
        dependants
    }

    /// Says whether there are more dependants than may be visited.
    fn visit_dependants(&mut self, service: u32, others: usize, found: &mut Vec<(u32, u8)>) -> bool {
        let rules = self.rules.clone();
        let walked = rules.topology.walk(Direction::NeededBy, service, VISITS_MAX, |dependant, distance| {
            if self.live.of(&Service::Listed(dependant)).next().is_some() {
                found.push((dependant, distance));
            }
            if found.len() == others { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.live.visits += walked.visits as u64;
        walked.cut
    }

    fn ask_others(&mut self, service: u32, found: &mut Vec<(u32, u8)>) {
        let rules = self.rules.clone();
        let known: hashbrown::HashSet<u32> = found.iter().map(|(service, _)| *service).collect();
        let mut visits_left = VISITS_MAX;
        for other in self.live.others(service).into_iter().filter(|other| !known.contains(other)) {
            let mut distance = None;
            let walked = rules.topology.walk(Direction::Needs, other, visits_left, |needed, steps| {
                if needed == service {
                    distance = Some(steps);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            found.extend(distance.map(|distance| (other, distance)));
            visits_left -= walked.visits;
            if visits_left == 0 {
                break;
            }
        }
        self.live.visits += (VISITS_MAX - visits_left) as u64;
    }

    /// How many steps a service of the catalogue is away from what it depends on.
    pub(super) fn steps(&mut self, from: u32, to: u32) -> Option<u8> {
        let mut distance = None;
        let walked = self.rules.topology.walk(Direction::Needs, from, VISITS_MAX, |needed, steps| {
            if needed == to {
                distance = Some(steps);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        self.live.visits += walked.visits as u64;
        distance
    }

    /// Whether one live incident may be the cause of another, as far as time, operators and other links allow.
    pub(super) fn may_cause(&self, cause: u32, symptom: u32) -> bool {
        let (Some(one), Some(other)) = (self.incident_in(cause), self.incident_in(symptom)) else { return false };
        let (first, last) = (one.relations.opened, other.relations.opened);
        let apart = first.since(last).max(last.since(first));
        let both = cause != symptom && self.is_live(cause) && self.is_live(symptom);
        both && apart <= self.rules.topology.within()
            && !other.relations.apart.contains(&one.id)
            && !self.leads_to(cause, other)
    }

    /// Whether an incident's cause, or the cause of that, … is the other one. Where services depend on each other, the
    /// one that broke first stays the cause.
    pub(super) fn leads_to(&self, group: u32, other: &Incident) -> bool {
        let mut at = group;
        for _ in 0..CHAIN_MAX {
            let cause = self.incident_in(at).and_then(|incident| incident.relations.cause.as_ref());
            match cause.map(|cause| cause.id) {
                None => return false,
                Some(id) if id == other.id => return true,
                Some(id) => match self.incidents.get(&id) {
                    Some(group) => at = *group,
                    None => return false,
                },
            }
        }
        true
    }

    /// Orders incidents by when they broke.
    fn opening(&self, group: u32) -> (crate::event::Timestamp, Option<crate::identity::IncidentId>) {
        let incident = self.incident_in(group);
        let opened = incident.map_or(crate::event::Timestamp::MAX, |incident| incident.relations.opened);
        (opened, incident.map(|incident| incident.id))
    }
}
