//! Links that people set and take off, on both sides where the other side is an incident.
//!
//! At most `BY_HAND_MAX` an incident, those of sinks' tickets among them; a further one is refused. What the engine has
//! set goes with what it was set for, but for `related`, which a person may take off.

use std::sync::Arc;

use crate::engine::alert::Dirty;
use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::checked;
use crate::engine::group::Incident;
use crate::engine::incident::{IncidentLink, IncidentStatus};
use crate::engine::relate::{KIN, Told};
use crate::engine::shard::Shard;
use crate::event::{Timestamp, hint};
use crate::identity::{IncidentId, ProblemId};

/// Links of an incident that people and sinks have set.
const BY_HAND_MAX: usize = 200;
/// Of a target: the longest URL that receivers agree on.
const TARGET_BYTES_MAX: usize = 2 << 10;
/// Of a link's reason, which is in every document of the incident.
const REASON_BYTES_MAX: usize = 1 << 10;

/// What a link says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// An entry of the service catalogue that is concerned.
    ConfigurationItem,
    /// A service that is concerned.
    Service,
    /// A change that has to do with it.
    Change,
    /// The incident that it is a part of.
    Parent,
    /// An incident that is a part of it.
    Child,
    /// The incident that says the same.
    DuplicateOf,
    /// An incident that says the same.
    DuplicatedBy,
    /// The incident that it comes of.
    CausedBy,
    /// An incident that comes of it.
    CauseOf,
    /// An incident that has to do with it.
    Related,
    /// The problem behind it.
    Problem,
    /// Its ticket in another system.
    ExternalTicket,
    /// What to do.
    Runbook,
}

/// Types that only incidentd and events set.
const ENGINES_OWN: [&str; 4] = ["merged_into", "merged_from", "same_as_before", "generator"];

impl LinkKind {
    /// Every type that a person can set.
    pub const ALL: [LinkKind; 13] = [
        LinkKind::ConfigurationItem,
        LinkKind::Service,
        LinkKind::Change,
        LinkKind::Parent,
        LinkKind::Child,
        LinkKind::DuplicateOf,
        LinkKind::DuplicatedBy,
        LinkKind::CausedBy,
        LinkKind::CauseOf,
        LinkKind::Related,
        LinkKind::Problem,
        LinkKind::ExternalTicket,
        LinkKind::Runbook,
    ];

    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            LinkKind::ConfigurationItem => "configuration_item",
            LinkKind::Service => "service",
            LinkKind::Change => "change",
            LinkKind::Parent => "parent",
            LinkKind::Child => "child",
            LinkKind::DuplicateOf => "duplicate_of",
            LinkKind::DuplicatedBy => "duplicated_by",
            LinkKind::CausedBy => "caused_by",
            LinkKind::CauseOf => "cause_of",
            LinkKind::Related => "related",
            LinkKind::Problem => "problem",
            LinkKind::ExternalTicket => "external_ticket",
            LinkKind::Runbook => "runbook",
        }
    }

    /// What stands on the other side, where that is an incident.
    pub const fn inverse(self) -> Option<LinkKind> {
        match self {
            LinkKind::Parent => Some(LinkKind::Child),
            LinkKind::Child => Some(LinkKind::Parent),
            LinkKind::DuplicateOf => Some(LinkKind::DuplicatedBy),
            LinkKind::DuplicatedBy => Some(LinkKind::DuplicateOf),
            LinkKind::CausedBy => Some(LinkKind::CauseOf),
            LinkKind::CauseOf => Some(LinkKind::CausedBy),
            LinkKind::Related => Some(LinkKind::Related),
            _ => None,
        }
    }

    /// Reads the public name. What comes of a cause is shown as `symptom_of`, so that name does as well.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        let name = name.trim();
        if name == "symptom_of" {
            return Ok(LinkKind::CausedBy);
        }
        let known = || Self::ALL.into_iter().map(LinkKind::as_str);
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            let legal = known().collect::<Vec<_>>().join(", ");
            Refusal::Invalid(match ENGINES_OWN.contains(&name) {
                true => format!("links of the type \"{name}\" are set by incidentd alone; legal are {legal}"),
                false => match hint(name, known()) {
                    none if none.is_empty() => format!("no type of link is named \"{shown}\"; legal are {legal}"),
                    near => format!("no type of link is named \"{shown}\"{near}"),
                },
            })
        })
    }
}

/// What is on the other side of a link.
enum Other {
    /// An incident that is not closed, by its group.
    Known(u32),
    /// An incident that is closed for good, and cannot say so any more.
    Closed,
}

impl Shard {
    pub(in crate::engine) fn link_by_hand(
        &mut self,
        now: Timestamp,
        group: u32,
        (kind, target): (&str, &str),
        reason: &str,
    ) -> Result<(), Refusal> {
        let kind = LinkKind::parse(kind)?;
        let target = checked("target", target, TARGET_BYTES_MAX, true)?;
        let reason = checked("reason", reason, REASON_BYTES_MAX, false)?;
        self.check_linkable(group)?;
        match (kind, target.parse::<ProblemId>()) {
            (LinkKind::Problem, Ok(problem)) => self.link_problem(now, group, problem, reason),
            _ if kind.inverse().is_some() => self.link_incident(now, group, (kind, target), reason),
            _ => self.link_target(now, group, (kind, target), reason),
        }
    }

    pub(in crate::engine) fn unlink_by_hand(
        &mut self,
        now: Timestamp,
        group: u32,
        (kind, target): (&str, &str),
    ) -> Result<(), Refusal> {
        let kind = LinkKind::parse(kind)?;
        let target = checked("target", target, TARGET_BYTES_MAX, true)?;
        self.check_linkable(group)?;
        let id = target.parse::<IncidentId>().ok().filter(|_| kind.inverse().is_some());
        let target = id.map_or_else(|| target.to_owned(), |id| id.to_string());
        if let (LinkKind::CausedBy | LinkKind::CauseOf, Some(id)) = (kind, id) {
            return self.unlink_cause(now, group, kind, id);
        }
        self.check_loose(group, kind, &target)?;
        self.take_off(now, group, (kind, &target));
        let own = self.id_of(group).map(|id| id.to_string()).unwrap_or_default();
        let other = id.and_then(|id| self.incidents.get(&id).copied());
        if let (Some(other), Some(inverse)) = (other, kind.inverse()) {
            self.take_off(now, other, (inverse, &own));
        }
        if let (LinkKind::Problem, Ok(problem)) = (kind, target.parse::<ProblemId>()) {
            self.leave_problem(now, group, problem);
        }
        Ok(())
    }

    /// A sink has named its ticket for an incident; where that was merged, what goes on has the ticket as well.
    pub(in crate::engine) fn note_ticket(
        &mut self,
        now: Timestamp,
        id: IncidentId,
        (ticket, url): (&str, Option<&str>),
    ) -> Result<(), Refusal> {
        let group = self.group_of(id)?;
        let group = self.merged_into(group);
        let ticket = checked("ticket", ticket, REASON_BYTES_MAX / 2, true)?;
        let target = checked("ticket", url.unwrap_or(ticket), TARGET_BYTES_MAX, true)?;
        self.check_linkable(group)?;
        let reason = format!("{ticket}, named in the sink's answer");
        self.link_target(now, group, (LinkKind::ExternalTicket, target), &reason)
    }

    /// What is closed, or was merged, is linked no more.
    fn check_linkable(&self, group: u32) -> Result<(), Refusal> {
        let incident = self.groups.slots.get(group).and_then(|state| state.incident.as_deref());
        let incident = incident.ok_or(Refusal::Unknown)?;
        match incident.relations.merged_into {
            Some(whole) => Err(Refusal::Illegal(format!("{} is merged into {whole}; link that one", incident.id))),
            None if incident.status == IncidentStatus::Closed => {
                Err(Refusal::Illegal(format!("{} is closed", incident.id)))
            }
            None => Ok(()),
        }
    }

    fn check_room(&self, group: u32) -> Result<(), Refusal> {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return Err(Refusal::Unknown) };
        let by_hand = incident.links.iter().filter(|link| is_by_hand(link)).count();
        if by_hand < BY_HAND_MAX {
            return Ok(());
        }
        Err(Refusal::Limit(format!("{} has {BY_HAND_MAX} links, which is all it can have; take some off", incident.id)))
    }

    fn other_side(&self, id: IncidentId) -> Result<Other, Refusal> {
        match self.incidents.get(&id) {
            Some(other) => self.check_linkable(*other).map(|()| Other::Known(*other)),
            None if self.closed_ids.contains(id) => Ok(Other::Closed),
            None => Err(Refusal::Invalid(format!("no incident {id} is known here"))),
        }
    }

    fn link_incident(
        &mut self,
        now: Timestamp,
        group: u32,
        (kind, target): (LinkKind, &str),
        reason: &str,
    ) -> Result<(), Refusal> {
        let wrong = |why: String| Refusal::Invalid(format!("{} links to an incident: {why}", kind.as_str()));
        let id: IncidentId = target.parse().map_err(wrong)?;
        let Some(own) = self.id_of(group).filter(|own| *own != id) else {
            return Err(Refusal::Invalid(format!("{id} cannot be linked to itself")));
        };
        let other = self.other_side(id)?;
        match (kind, &other) {
            (LinkKind::CausedBy, Other::Known(cause)) => return self.link_cause(now, *cause, group, reason),
            (LinkKind::CauseOf, Other::Known(symptom)) => return self.link_cause(now, group, *symptom, reason),
            (LinkKind::CausedBy | LinkKind::CauseOf, Other::Closed) => {
                return Err(Refusal::Illegal(format!("{id} is closed; causes and symptoms are open")));
            }
            _ if self.has_link(group, kind, &id.to_string()) => return Ok(()),
            (LinkKind::Parent, _) => self.check_parent(own, id)?,
            (LinkKind::Child, _) => self.check_parent(id, own)?,
            _ => self.check_not_inverse(group, kind, id)?,
        }
        self.check_room(group)?;
        let Other::Known(other) = other else {
            let told = "it is closed, so that its side does not say so";
            let detail = if reason.is_empty() { told.to_owned() } else { format!("{reason}; {told}") };
            self.put_on(now, group, (kind, &id.to_string()), (reason, &detail));
            return Ok(());
        };
        self.check_room(other)?;
        self.put_on(now, group, (kind, &id.to_string()), (reason, reason));
        let inverse = kind.inverse().unwrap_or(kind);
        self.put_on(now, other, (inverse, &own.to_string()), (reason, reason));
        Ok(())
    }

    pub(in crate::engine) fn link_target(
        &mut self,
        now: Timestamp,
        group: u32,
        (kind, target): (LinkKind, &str),
        reason: &str,
    ) -> Result<(), Refusal> {
        if self.has_link(group, kind, target) {
            return Ok(());
        }
        self.check_room(group)?;
        self.put_on(now, group, (kind, target), (reason, reason));
        Ok(())
    }

    fn has_link(&self, group: u32, kind: LinkKind, target: &str) -> bool {
        let incident = self.groups.slots[group].incident.as_deref();
        incident.is_some_and(|incident| incident.links.iter().any(|link| is(link, kind, target)))
    }

    /// Sets a link on one side, and says so in its timeline.
    fn put_on(&mut self, now: Timestamp, group: u32, (kind, target): (LinkKind, &str), (reason, detail): (&str, &str)) {
        let by = self.by.as_deref().unwrap_or_default().to_owned();
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let (kind, target) = (kind.as_str().to_owned(), target.to_owned());
        let colon = if detail.is_empty() { "" } else { ": " };
        let detail = format!("{kind} {target}{colon}{detail}");
        incident.links.push(IncidentLink { kind, target, by, reason: reason.to_owned() });
        self.mark_group(group, Dirty::Whole);
        self.announce(now, group, Reason::LinkAdded, detail, Told::Later);
    }

    /// Takes a link off one side, and says so in its timeline.
    fn take_off(&mut self, now: Timestamp, group: u32, (kind, target): (LinkKind, &str)) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let before = incident.links.len();
        incident.links.retain(|link| !is(link, kind, target) || !is_loose(link));
        if incident.links.len() < before {
            self.mark_group(group, Dirty::Whole);
            self.announce(now, group, Reason::LinkRemoved, format!("{} {target}", kind.as_str()), Told::Later);
        }
    }

    /// Whether there is such a link that may be taken off.
    fn check_loose(&self, group: u32, kind: LinkKind, target: &str) -> Result<(), Refusal> {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return Err(Refusal::Unknown) };
        let found: Vec<&IncidentLink> = incident.links.iter().filter(|link| is(link, kind, target)).collect();
        match found.first() {
            _ if found.iter().any(|link| is_loose(link)) => Ok(()),
            Some(link) => Err(Refusal::Illegal(format!(
                "the link {} {target} is set by \"{}\", and goes with what it was set for",
                link.kind, link.by
            ))),
            None => Err(no_such(incident, kind, target)),
        }
    }

    /// An incident has one parent, and is none of its own ancestors.
    fn check_parent(&self, child: IncidentId, parent: IncidentId) -> Result<(), Refusal> {
        if let Some(other) = self.parents_of(child).first() {
            return Err(Refusal::Illegal(format!("{child} has the parent {other} already; take that link off first")));
        }
        let mut above = vec![parent];
        let mut next = 0;
        while let Some(one) = above.get(next).copied() {
            next += 1;
            if one == child {
                return Err(Refusal::Illegal(format!("{child} would be its own ancestor")));
            }
            let further = self.parents_of(one).into_iter().filter(|further| !above.contains(further));
            let further: Vec<IncidentId> = further.collect();
            above.extend(further);
        }
        Ok(())
    }

    fn parents_of(&self, id: IncidentId) -> Vec<IncidentId> {
        let group = self.incidents.get(&id).and_then(|group| self.groups.slots.get(*group));
        let incident = group.and_then(|state| state.incident.as_deref());
        let links = incident.map_or(&[][..], |incident| &incident.links);
        let parents = links.iter().filter(|link| link.kind == LinkKind::Parent.as_str());
        parents.filter_map(|link| link.target.parse().ok()).collect()
    }

    /// Two incidents are not each other's duplicates.
    fn check_not_inverse(&self, group: u32, kind: LinkKind, id: IncidentId) -> Result<(), Refusal> {
        let inverse = kind.inverse().filter(|inverse| *inverse != kind);
        match inverse.filter(|inverse| self.has_link(group, *inverse, &id.to_string())) {
            Some(inverse) => Err(Refusal::Illegal(format!("it is linked as {} {id} already", inverse.as_str()))),
            None => Ok(()),
        }
    }

    fn link_cause(&mut self, now: Timestamp, cause: u32, symptom: u32, reason: &str) -> Result<(), Refusal> {
        if self.attach_symptom(now, cause, symptom, reason) {
            return Ok(());
        }
        let named = |group: u32| self.id_of(group).map(|id| id.to_string()).unwrap_or_default();
        let dead = [cause, symptom].into_iter().find(|group| !self.status_of(*group).is_live());
        Err(Refusal::Illegal(match dead {
            Some(dead) => {
                let status = self.status_of(dead).as_str();
                format!("{} is {status}; causes and symptoms are open", named(dead))
            }
            None => format!("{} comes of {}, which would thereby come of itself", named(cause), named(symptom)),
        }))
    }

    fn unlink_cause(&mut self, now: Timestamp, group: u32, kind: LinkKind, id: IncidentId) -> Result<(), Refusal> {
        let by: Arc<str> = self.operator().into();
        let other = self.incidents.get(&id).copied();
        let done = match (kind, other) {
            (LinkKind::CausedBy, Some(cause)) => self.detach_symptom(now, &by, cause, group),
            (_, Some(symptom)) => self.detach_symptom(now, &by, group, symptom),
            (LinkKind::CausedBy, None) => self.forget_cause(now, &by, group, id),
            (_, None) => self.forget_symptom(now, group, id),
        };
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return Err(Refusal::Unknown) };
        if done { Ok(()) } else { Err(no_such(incident, kind, &id.to_string())) }
    }
}

fn no_such(incident: &Incident, kind: LinkKind, target: &str) -> Refusal {
    let shown: String = target.chars().take(64).collect();
    Refusal::Invalid(format!("{} has no link {} {shown}", incident.id, kind.as_str()))
}

fn is(link: &IncidentLink, kind: LinkKind, target: &str) -> bool {
    link.kind == kind.as_str() && link.target == target
}

/// Set by a person or for a sink's ticket.
fn is_by_hand(link: &IncidentLink) -> bool {
    ["operator:", "sink:"].iter().any(|by| link.by.starts_with(by))
}

/// Whether a person may take it off.
fn is_loose(link: &IncidentLink) -> bool {
    is_by_hand(link) || link.by == KIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_link_reads_back_and_its_inverse_is_its_own() {
        for kind in LinkKind::ALL {
            assert_eq!(LinkKind::parse(kind.as_str()), Ok(kind));
            assert!(kind.inverse().is_none_or(|inverse| inverse.inverse() == Some(kind)), "{kind:?}");
        }
    }

    #[test]
    fn an_unknown_type_is_refused_with_the_one_that_was_meant() {
        let said = |name: &str| LinkKind::parse(name).unwrap_err().to_string();
        assert_eq!(said("dupliate_of"), "no type of link is named \"dupliate_of\", did you mean \"duplicate_of\"?");
        assert!(said("merged_into").starts_with("links of the type \"merged_into\" are set by incidentd alone"));
        assert!(said("zzz").contains("legal are configuration_item, service, "));
    }
}
