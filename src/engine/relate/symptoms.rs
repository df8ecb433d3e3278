//! Links between symptoms and their cause: set, moved to a nearer cause, taken off.
//!
//! An incident has at most one cause. A cause shows the first [`SHOWN_MAX`] of its symptoms and counts the rest; many
//! that come one after the other are told together, once in `update_interval`.

use super::{Told, put_link};
use crate::engine::alert::Dirty;
use crate::engine::decision::Reason;
use crate::engine::group::Incident;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::rules::VISITS_MAX;

/// Symptoms that a cause links to; the last link tells how many more there are.
const SHOWN_MAX: usize = 100;
/// Incidents named in one sentence of the timeline; the rest is counted.
const NAMED_MAX: usize = 10;

const SYMPTOM_OF: &str = "symptom_of";
const CAUSE_OF: &str = "cause_of";
/// Who sets these links.
const TOPOLOGY: &str = "topology";
/// Who sets what an event brings.
const GIVEN: &str = "event";

/// The incident that another one is a symptom of.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Cause {
    pub(in crate::engine) id: IncidentId,
    /// Steps between the services.
    distance: u8,
    /// By an operator's word: neither moved nor withdrawn by the catalogue.
    set_by_hand: bool,
}

impl Cause {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.fixed(self.id.0);
        writer.byte(self.distance);
        writer.byte(u8::from(self.set_by_hand));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self { id: IncidentId(reader.fixed()?), distance: reader.byte()?, set_by_hand: reader.flag()? })
    }
}

/// A live incident that is a cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) group: u32,
    pub(super) distance: u8,
    pub(super) set_by_hand: bool,
}

/// A symptom's turn from no cause, or another one, to this.
#[derive(Debug)]
pub(super) struct Turn {
    to: u32,
    from: Option<IncidentId>,
}

/// Symptoms that the cause's timeline does not have yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct Untold {
    named: Vec<IncidentId>,
    count: u32,
}

impl Untold {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.number(u64::from(self.count));
        writer.number(self.named.len() as u64);
        self.named.iter().for_each(|id| writer.fixed(id.0));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (count, named) = (reader.small()?, reader.count()?);
        let named = (0..named).map(|_| Ok(IncidentId(reader.fixed()?))).collect::<Result<_, Fault>>()?;
        Ok(Self { named, count })
    }

    fn add(&mut self, ids: &[IncidentId]) {
        self.named.extend(ids.iter().take(NAMED_MAX.saturating_sub(self.named.len())));
        self.count = self.count.saturating_add(ids.len() as u32);
    }

    /// A sentence for the timeline, if there is something to tell.
    pub(in crate::engine) fn take_news(&mut self) -> Option<String> {
        let Self { named, count } = std::mem::take(self);
        (count > 0).then(|| format!("new symptoms: {}", listed(&named, count)))
    }
}

/// `A, B and 3 more`.
fn listed(named: &[IncidentId], count: u32) -> String {
    let names: Vec<String> = named.iter().take(NAMED_MAX).map(IncidentId::to_string).collect();
    match (count as usize).saturating_sub(names.len()) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

impl Shard {
    /// Makes an incident a symptom of another, on its own side only. Says nothing where that is known.
    pub(super) fn set_cause(&mut self, symptom: u32, found: Found) -> Option<Turn> {
        let id = self.incident_in(found.group)?.id;
        let reason = self.sentence(symptom, found);
        let incident = self.groups.slots[symptom].incident.as_deref_mut()?;
        let Found { group: to, distance, set_by_hand } = found;
        let before = incident.relations.cause.replace(Cause { id, distance, set_by_hand });
        let from = before.map(|cause| cause.id);
        drop_links(incident, SYMPTOM_OF, None);
        let by = self.by.as_deref().filter(|_| set_by_hand).unwrap_or(TOPOLOGY);
        put_link(incident, SYMPTOM_OF, by, id, reason);
        self.mark_group(symptom, Dirty::Whole);
        (from != Some(id)).then_some(Turn { to, from })
    }

    /// How an incident comes to be a symptom of another.
    fn sentence(&self, symptom: u32, found: Found) -> String {
        let (own, other) = (self.service_name(symptom), self.service_name(found.group));
        let depends = match (found.set_by_hand, found.distance) {
            (true, _) => "an operator says that this comes of".to_owned(),
            (_, 0 | 1) => format!("{own} depends on"),
            (_, steps) => format!("{own} depends over {steps} steps on"),
        };
        let opened = |group| self.incident_in(group).map(|incident| incident.relations.opened).unwrap_or_default();
        let (mine, its) = (opened(symptom), opened(found.group));
        let seconds = |time: std::time::Duration| time.as_secs() > 0;
        let when = match (mine.since(its), its.since(mine)) {
            (earlier, _) if seconds(earlier) => format!("{} before", super::in_words(earlier)),
            (_, later) if seconds(later) => format!("{} after", super::in_words(later)),
            _ => "at the same time".to_owned(),
        };
        format!("{depends} {other}, which broke {when}")
    }

    /// Tells both sides, and the side that was left.
    pub(super) fn tell_turn(&mut self, now: Timestamp, symptom: u32, turn: Turn, told: Told) {
        self.tell_symptom(now, symptom, &turn, told);
        let Some(id) = self.incident_in(symptom).map(|incident| incident.id) else { return };
        if let Some(left) = turn.from.and_then(|from| self.incidents.get(&from).copied()) {
            self.symptoms_leave(now, left, &[id]);
        }
        self.symptoms_join(now, turn.to, &[symptom]);
    }

    fn tell_symptom(&mut self, now: Timestamp, symptom: u32, turn: &Turn, told: Told) {
        let Some(cause) = self.incident_in(turn.to).map(|incident| incident.id) else { return };
        let name = self.service_name(turn.to);
        let (reason, detail) = match turn.from {
            None => (Reason::CauseFound, format!("{cause} ({name}) is the cause")),
            Some(from) => (Reason::CauseMoved, format!("{cause} ({name}) is the cause, no longer {from}")),
        };
        self.announce(now, symptom, reason, detail, told);
    }

    /// A cause has these symptoms from now on, given by their groups, and is as grave as what they concern.
    fn symptoms_join(&mut self, now: Timestamp, cause: u32, symptoms: &[u32]) {
        self.take_symptoms(now, cause, symptoms);
        self.concern_cause(now, cause, symptoms);
    }

    fn take_symptoms(&mut self, now: Timestamp, cause: u32, symptoms: &[u32]) {
        let mut joined = Vec::with_capacity(symptoms.len());
        for symptom in symptoms {
            let Some(incident) = self.incident_in(*symptom) else { continue };
            let id = incident.id;
            let link = incident.links.iter().find(|link| is_ours(link, SYMPTOM_OF));
            let (by, reason) = link.map_or((TOPOLOGY, ""), |link| (&link.by, &link.reason));
            joined.push((id, by.to_owned(), reason.to_owned()));
        }
        let Some(incident) = self.groups.slots[cause].incident.as_deref_mut() else { return };
        let mut shown = incident.links.iter().filter(|link| is_ours(link, CAUSE_OF)).count();
        let ids: Vec<IncidentId> = joined.iter().map(|(id, ..)| *id).collect();
        for (id, by, reason) in joined {
            incident.relations.symptoms += 1;
            if shown < SHOWN_MAX {
                // The sentence is told from the symptom's side.
                put_link(incident, CAUSE_OF, &by, id, reason);
                shown += 1;
            }
        }
        count_unshown(incident);
        self.mark_group(cause, Dirty::Whole);
        let Some(incident) = self.groups.slots[cause].incident.as_deref_mut() else { return };
        let waits = incident.gathered.due.is_some() && !incident.policy.update_interval.is_zero();
        if waits {
            incident.relations.untold.add(&ids);
            return self.await_update(now, cause);
        }
        let what = if ids.len() == 1 { "new symptom" } else { "new symptoms" };
        let detail = format!("{what}: {}", listed(&ids, ids.len() as u32));
        self.announce(now, cause, Reason::SymptomFound, detail, Told::Later);
    }

    /// A cause no longer has these symptoms.
    pub(super) fn symptoms_leave(&mut self, now: Timestamp, cause: u32, symptoms: &[IncidentId]) {
        let Some(incident) = self.groups.slots[cause].incident.as_deref_mut() else { return };
        for id in symptoms {
            incident.relations.symptoms = incident.relations.symptoms.saturating_sub(1);
            drop_links(incident, CAUSE_OF, Some(*id));
        }
        count_unshown(incident);
        self.mark_group(cause, Dirty::Whole);
        let what = if symptoms.len() == 1 { "no longer a symptom" } else { "no longer symptoms" };
        let detail = format!("{what}: {}", listed(symptoms, symptoms.len() as u32));
        self.announce(now, cause, Reason::SymptomWithdrawn, detail, Told::Later);
    }

    /// A new incident takes those of its dependants as symptoms that have no nearer cause.
    pub(super) fn adopt_symptoms(&mut self, now: Timestamp, cause: u32) {
        let Some(service) = self.listed(cause) else { return };
        let mut adopted = Vec::new();
        let mut left = Vec::new();
        let visits = self.live.visits;
        for (symptom, distance) in self.live_dependants(service) {
            if !self.is_nearer(symptom, distance) || !self.may_cause(cause, symptom) {
                continue;
            }
            let found = Found { group: cause, distance, set_by_hand: false };
            // Since its cause was over, nobody has asked whether something else is broken nearer by. One opening asks for
            // as many as that costs no more than its own walks; the others take the one that opens.
            let asks = self.has_outlived_its_cause(symptom) && self.live.visits - visits < VISITS_MAX as u64 * 3;
            let nearest = if asks { self.find_cause(symptom) } else { None };
            if let Some(nearer) = nearest.filter(|nearest| nearest.distance < distance) {
                let turn = self.set_cause(symptom, nearer);
                turn.into_iter().for_each(|turn| self.tell_turn(now, symptom, turn, Told::Later));
                continue;
            }
            let Some(turn) = self.set_cause(symptom, found) else { continue };
            self.tell_symptom(now, symptom, &turn, Told::Later);
            let id = self.incident_in(symptom).map(|incident| incident.id);
            left.extend(turn.from.and_then(|from| self.incidents.get(&from).copied()).zip(id));
            adopted.push(symptom);
        }
        self.all_leave(now, left);
        if !adopted.is_empty() {
            self.symptoms_join(now, cause, &adopted);
        }
    }

    fn is_alive(&self, id: IncidentId) -> bool {
        self.incidents.get(&id).is_some_and(|group| self.is_live(*group))
    }

    /// Whether it has a cause that is over.
    fn has_outlived_its_cause(&self, symptom: u32) -> bool {
        let cause = self.incident_in(symptom).and_then(|incident| incident.relations.cause.as_ref());
        cause.is_some_and(|cause| !self.is_alive(cause.id))
    }

    /// Each cause is told once of all that it loses.
    fn all_leave(&mut self, now: Timestamp, mut left: Vec<(u32, IncidentId)>) {
        left.sort_by_key(|(cause, _)| *cause);
        for lost in left.chunk_by(|one, other| one.0 == other.0) {
            let ids: Vec<IncidentId> = lost.iter().map(|(_, id)| *id).collect();
            self.symptoms_leave(now, lost[0].0, &ids);
        }
    }

    /// Whether a cause at this distance is better than the one that an incident has.
    pub(super) fn is_nearer(&self, symptom: u32, distance: u8) -> bool {
        let Some(incident) = self.incident_in(symptom) else { return false };
        let Some(cause) = &incident.relations.cause else { return true };
        !cause.set_by_hand && (!self.is_alive(cause.id) || distance < cause.distance)
    }

    /// The catalogue has changed: takes off the links that it no longer gives, and finds what it gives now.
    pub(in crate::engine) fn relink(&mut self, now: Timestamp) {
        self.changes.set_catalogue(self.rules.topology.digest());
        let groups: Vec<u32> = self.groups.slots.slots().map(|(slot, _)| slot).collect();
        let groups: Vec<u32> = groups.into_iter().filter(|group| self.incident_in(*group).is_some()).collect();
        let mut left = Vec::new();
        for group in &groups {
            left.extend(self.withdraw_cause(now, *group));
        }
        self.all_leave(now, left);
        for group in groups.into_iter().filter(|group| self.is_live(*group)).collect::<Vec<_>>() {
            let found = self.find_cause(group).filter(|found| self.is_nearer(group, found.distance));
            if let Some(turn) = found.and_then(|found| self.set_cause(group, found)) {
                self.tell_turn(now, group, turn, Told::Later);
            }
        }
    }

    /// Takes off a link that the catalogue no longer gives. Names the cause and the symptom that it has lost.
    fn withdraw_cause(&mut self, now: Timestamp, symptom: u32) -> Option<(u32, IncidentId)> {
        let cause = self.incident_in(symptom)?.relations.cause.clone().filter(|cause| !cause.set_by_hand)?;
        // Of a cause that is closed the service is not known any more; the link is a record of what was.
        let group = *self.incidents.get(&cause.id)?;
        let steps = match (self.listed(symptom), self.listed(group)) {
            (Some(from), Some(to)) => self.steps(from, to),
            _ => None,
        };
        if let Some(distance) = steps {
            let incident = self.groups.slots[symptom].incident.as_deref_mut()?;
            if distance != cause.distance {
                incident.relations.cause = Some(Cause { distance, ..cause });
                self.mark_group(symptom, Dirty::Whole);
            }
            return None;
        }
        let (own, other) = (self.service_name(symptom), self.service_name(group));
        let detail = format!("{own} does not depend on {other} any more, so {} is not the cause", cause.id);
        self.drop_cause(now, symptom, detail).map(|id| (group, id))
    }

    /// An operator takes off the link to a cause that is closed.
    pub(in crate::engine) fn forget_cause(
        &mut self,
        now: Timestamp,
        by: &str,
        symptom: u32,
        cause: IncidentId,
    ) -> bool {
        let own = self.incident_in(symptom).and_then(|incident| incident.relations.cause.as_ref());
        let is_cause = own.is_some_and(|own| own.id == cause);
        is_cause && self.drop_cause(now, symptom, format!("{by} says that {cause} is not the cause")).is_some()
    }

    /// An operator takes off the link to a symptom that is closed.
    pub(in crate::engine) fn forget_symptom(&mut self, now: Timestamp, cause: u32, symptom: IncidentId) -> bool {
        let target = symptom.to_string();
        let links = self.incident_in(cause).map_or(&[][..], |incident| &incident.links);
        let is_symptom = links.iter().any(|link| is_ours(link, CAUSE_OF) && link.target == target);
        if is_symptom {
            self.symptoms_leave(now, cause, &[symptom]);
        }
        is_symptom
    }

    fn drop_cause(&mut self, now: Timestamp, symptom: u32, detail: String) -> Option<IncidentId> {
        let incident = self.groups.slots[symptom].incident.as_deref_mut()?;
        incident.relations.cause = None;
        drop_links(incident, SYMPTOM_OF, None);
        let id = incident.id;
        self.announce(now, symptom, Reason::CauseWithdrawn, detail, Told::Later);
        Some(id)
    }

    /// Takes a symptom out of its cause by an operator's word, and keeps the two apart. Says whether it was its symptom.
    pub(in crate::engine) fn detach_symptom(&mut self, now: Timestamp, by: &str, cause: u32, symptom: u32) -> bool {
        let (Some(one), Some(other)) = (self.incident_in(cause), self.incident_in(symptom)) else { return false };
        let (id, own) = (one.id, other.relations.cause.as_ref());
        if own.is_none_or(|cause| cause.id != id) {
            return false;
        }
        if let Some(incident) = self.groups.slots[symptom].incident.as_deref_mut() {
            incident.relations.keep_apart(id);
        }
        let detail = format!("{by} says that {id} is not the cause");
        if let Some(symptom) = self.drop_cause(now, symptom, detail) {
            self.symptoms_leave(now, cause, &[symptom]);
        }
        true
    }

    /// Makes an incident a symptom of another by an operator's word, whatever the catalogue says. Says whether that is
    /// possible: both are live and not the same, and the cause is no symptom of it.
    pub(in crate::engine) fn attach_symptom(&mut self, now: Timestamp, cause: u32, symptom: u32, reason: &str) -> bool {
        let (Some(one), Some(other)) = (self.incident_in(cause), self.incident_in(symptom)) else { return false };
        if cause == symptom || !self.is_live(cause) || !self.is_live(symptom) || self.leads_to(cause, other) {
            return false;
        }
        let id = one.id;
        if let Some(incident) = self.groups.slots[symptom].incident.as_deref_mut() {
            incident.relations.apart.retain(|apart| *apart != id);
        }
        let turn = self.set_cause(symptom, Found { group: cause, distance: 0, set_by_hand: true });
        let incident = self.groups.slots[symptom].incident.as_deref_mut().filter(|_| !reason.is_empty());
        let link = incident.and_then(|incident| incident.links.iter_mut().find(|link| is_ours(link, SYMPTOM_OF)));
        link.into_iter().for_each(|link| reason.clone_into(&mut link.reason));
        if let Some(turn) = turn {
            self.tell_turn(now, symptom, turn, Told::Later);
        }
        true
    }
}

/// Set by the catalogue or by a person, and not by whoever sent the event.
fn is_ours(link: &crate::engine::incident::IncidentLink, kind: &str) -> bool {
    link.kind == kind && link.by != GIVEN
}

/// Takes off our links of a kind: those to one incident, or all.
fn drop_links(incident: &mut Incident, kind: &str, target: Option<IncidentId>) {
    let target = target.map(|target| target.to_string());
    incident.links.retain(|link| !is_ours(link, kind) || target.as_ref().is_some_and(|target| *target != link.target));
}

/// Says behind the last symptom that is shown how many more there are.
fn count_unshown(incident: &mut Incident) {
    const SUFFIX: &str = " more symptoms";
    let mut shown: Vec<_> = incident.links.iter_mut().filter(|link| is_ours(link, CAUSE_OF)).collect();
    let more = (incident.relations.symptoms as usize).saturating_sub(shown.len());
    for link in &mut shown {
        if link.reason.ends_with(SUFFIX)
            && let Some(end) = link.reason.rfind("; and ")
        {
            link.reason.truncate(end);
        }
    }
    if let Some(last) = shown.last_mut().filter(|_| more > 0) {
        last.reason.push_str(&format!("; and {more}{SUFFIX}"));
    }
}
