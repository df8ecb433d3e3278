//! Merging incidents, and splitting them again.
//!
//! A merged incident is closed and keeps its group, without members, for as long as the incident that goes on is not
//! closed: what its key leads to goes there, and it can be split out again with what came through it (`parts.rs`).

use std::sync::Arc;

use hashbrown::HashSet;

use crate::engine::alert::{Dirty, OWN};
use crate::engine::command::{Done, Refusal};
use crate::engine::decision::Reason;
use crate::engine::group::{Incident, Phase};
use crate::engine::incident::IncidentLink;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::engine::window::{Entry, Progress, Shape};
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::rules::OpenWhen;

use super::parts::PARTS_MAX;
use super::union::APART_MAX;

const MERGED_INTO: &str = "merged_into";
const MERGED_FROM: &str = "merged_from";

/// Why two groups become one.
#[derive(Debug, Default)]
pub(super) struct Cause {
    /// The value that leads to both, as `label=value`; empty where an operator ordered it.
    pub(super) value: String,
    /// The alert that has it.
    pub(super) alert: Option<u32>,
}

impl Cause {
    fn words(&self) -> String {
        if self.value.is_empty() { "by hand".to_owned() } else { format!("by {}", self.value) }
    }
}

/// What moved from one group to another.
#[derive(Debug, Default)]
struct Moved {
    alerts: Vec<u32>,
    /// Those among them that are linked.
    linked: u64,
    /// Those among these that the other incident had as well.
    shared: u64,
}

impl Shard {
    /// Merges an incident into another one.
    pub(in crate::engine) fn merge(
        &mut self,
        now: Timestamp,
        version: Option<u64>,
        incident: IncidentId,
        into: IncidentId,
    ) -> Result<Done, Refusal> {
        let (from, whole) = (self.group_of(incident)?, self.group_of(into)?);
        if from == whole {
            return Err(Refusal::Invalid(format!("{incident} cannot be merged into itself")));
        }
        self.check_version(from, version)?;
        self.check_live(from)?;
        self.check_live(whole)?;
        if [from, whole].iter().any(|group| self.groups.slots[*group].storm.is_some()) {
            return Err(Refusal::Illegal(
                "the incident of a storm is not merged; split its children from it".to_owned(),
            ));
        }
        if !self.has_room_for(whole, from) {
            return Err(Refusal::Limit(format!(
                "{PARTS_MAX} incidents are merged into {into}, which is all it can hold"
            )));
        }
        let lifted: HashSet<_> =
            self.unions.apart().iter().copied().filter(|pair| self.is_pair(*pair, whole, from)).collect();
        self.unions.part(|pair| !lifted.contains(pair));
        self.fuse(now, whole, from, &Cause::default());
        self.as_decided(incident)
    }

    /// Takes a part out of an incident again, and keeps it apart.
    pub(in crate::engine) fn split(
        &mut self,
        now: Timestamp,
        version: Option<u64>,
        incident: IncidentId,
        part: IncidentId,
    ) -> Result<Done, Refusal> {
        let whole = self.group_of(incident)?;
        self.check_version(whole, version)?;
        self.check_live(whole)?;
        let parts = self.parts(whole).to_vec();
        // What comes out, by how it came in: first what was merged, then a child of a storm, then a symptom.
        match self.parent_of(part) {
            _ if parts.contains(&part) => self.split_part(now, whole, self.group_of(part)?)?,
            Some(parent) if parent == incident => {
                let by = self.operator();
                self.release_child(now, &by, whole, self.group_of(part)?)?;
                return self.as_it_is(incident);
            }
            _ if self.is_symptom(part, incident) => {
                let by = self.operator();
                self.detach_symptom(now, &by, whole, self.group_of(part)?);
                return self.as_it_is(incident);
            }
            _ => {
                let known: Vec<String> = parts.iter().map(ToString::to_string).collect();
                let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                let message = format!("{part} is no part of {incident} that could be split; there is {known}");
                return Err(Refusal::Illegal(message));
            }
        }
        self.as_decided(incident)
    }

    /// Makes one group of two. `from` gives up its members, values and counts, and goes; where it has an incident, that is
    /// closed and stays as a part of the one of `into`.
    pub(super) fn fuse(&mut self, now: Timestamp, into: u32, from: u32, cause: &Cause) {
        let phase = self.groups.slots[from].phase;
        let met = self.join_spans(into, from);
        let ended = self.end_merged(now, into, from, cause);
        self.forget_flapping(from);
        let moved = self.move_members(into, from, ended.is_some());
        let values: Vec<(u32, u32)> =
            self.unions.of_group(from).iter().map(|number| (*number, self.unions.value(*number).origin)).collect();
        for (number, origin) in values {
            let origin = if origin == OWN && ended.is_some() { from } else { origin };
            self.unions.lead(number, into, origin);
        }
        self.add_counts(into, from);
        let opening = self.groups.slots[from].opening.take();
        match ended {
            Some(incident) => self.add_part(now, into, from, &incident, &moved, cause),
            None => {
                self.unions.group_gone(from);
                if let Some(state) = self.groups.remove(from) {
                    state.release(&mut self.names);
                    self.removed_groups.push(from);
                }
            }
        }
        match (self.groups.slots[into].phase, phase) {
            (Phase::Live, _) => {
                self.take_back(into);
                self.link_moved(now, into);
            }
            (Phase::Resolved, Phase::Waiting(_)) => {
                drop(opening.map(|opening| self.reopen(now, into, opening.since)));
            }
            (Phase::Waiting(until), Phase::Waiting(other)) => {
                let state = &mut self.groups.slots[into];
                state.phase = Phase::Waiting(until.min(other));
                state.opening = [state.opening, opening].into_iter().flatten().min_by_key(|one| (one.since, one.event));
            }
            _ => {
                let rule = self.rules.rules.get(self.groups.slots[into].rule as usize).cloned();
                if let (Some(progress), Some(alert), Some(rule)) = (met, cause.alert, rule) {
                    let need = self.need(&rule, into);
                    self.condition_met(now, alert, into, (&rule, need), progress);
                }
            }
        }
        self.member_joined(into);
        self.judge_members(now, into);
        self.tell_unknown(now, into);
        self.mark_group(into, Dirty::Whole);
        self.schedule_group(into);
        moved.alerts.into_iter().for_each(|alert| self.schedule_alert(alert));
    }

    /// Closes the incident that ends, as one that is merged. Returns it as it was.
    fn end_merged(&mut self, now: Timestamp, into: u32, from: u32, cause: &Cause) -> Option<Incident> {
        let target = self.groups.slots[into].incident.as_deref()?.id;
        self.tell_of_merge(now, from, target);
        let link = self.merge_link(from, MERGED_INTO, target, cause);
        let incident = self.groups.slots[from].incident.as_deref_mut()?;
        incident.links.push(link);
        incident.relations.merged_into = Some(target);
        let was = incident.clone();
        self.emit(now, from, Move::Merge, Reason::Merged, format!("merged into {target}; {}", cause.words()));
        self.unrelate(now, from);
        let state = &mut self.groups.slots[from];
        state.phase = Phase::Merged;
        state.span.start_over();
        if let Some(incident) = state.incident.as_deref_mut() {
            incident.clear_since = None;
        }
        self.mark_group(from, Dirty::Whole);
        Some(was)
    }

    fn merge_link(&self, group: u32, kind: &str, target: IncidentId, cause: &Cause) -> IncidentLink {
        let rule = || format!("rule:{}", self.groups.slots[group].rule_name);
        let by = self.by.as_deref().map_or_else(rule, str::to_owned);
        IncidentLink { kind: kind.to_owned(), target: target.to_string(), by, reason: cause.words() }
    }

    /// Takes the merged incident over as a part.
    fn add_part(&mut self, now: Timestamp, into: u32, from: u32, ended: &Incident, moved: &Moved, cause: &Cause) {
        if self.parts(into).len() >= PARTS_MAX {
            self.forget_oldest_part(into);
        }
        let link = self.merge_link(into, MERGED_FROM, ended.id, cause);
        // Alerts that the merged incident counts and nobody remembers any more.
        let forgotten = ended.total.saturating_sub(moved.linked);
        if let Some(incident) = self.groups.slots[from].incident.as_deref_mut() {
            incident.total = forgotten;
        }
        let state = &mut self.groups.slots[into];
        let firing = state.firing > 0;
        let Some(incident) = state.incident.as_deref_mut() else { return };
        incident.total += forgotten + moved.linked - moved.shared;
        incident.relations.parts.push(ended.id);
        incident.links.push(link);
        let links = incident.links.iter().filter(|link| link.kind == MERGED_FROM).count();
        if links > PARTS_MAX
            && let Some(oldest) = incident.links.iter().position(|link| link.kind == MERGED_FROM)
        {
            incident.links.remove(oldest);
        }
        if firing {
            incident.clear_since = None;
        }
        let step = if incident.status.is_live() { Move::Link } else { Move::Update };
        self.concern_as(into, &ended.priority_of);
        self.take_over_major(into, ended);
        self.raise(now, into, ended.severity);
        let count = moved.alerts.len();
        let alerts = if count == 1 { "alert" } else { "alerts" };
        let detail = format!("{} is merged into it; {count} {alerts}, {}", ended.id, cause.words());
        self.emit(now, into, step, Reason::Merged, detail);
    }

    /// Links what a live incident has gained by members of a group that had none.
    fn link_moved(&mut self, now: Timestamp, group: u32) {
        let linked = self.link_members(group);
        let severity = self.gravest(group);
        let firing = self.groups.slots[group].firing > 0;
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if firing {
            incident.clear_since = None;
        }
        if linked > 0 {
            incident.gathered.linked += linked;
            self.gather(now, group, severity);
        }
    }

    /// Moves all members, and marks them as come through `from` where that stays as a part.
    fn move_members(&mut self, into: u32, from: u32, stays: bool) -> Moved {
        let members = std::mem::take(&mut self.groups.slots[from].members);
        (self.groups.slots[from].firing, self.groups.slots[from].let_go) = (0, 0);
        let mut moved = Moved { alerts: members, ..Moved::default() };
        for slot in &moved.alerts {
            let alert = &mut self.alerts.slots[*slot];
            let Some(at) = alert.memberships.iter().position(|one| one.group == from) else { continue };
            let mut membership = alert.memberships[at];
            moved.linked += u64::from(membership.linked);
            let state = &mut self.groups.slots[into];
            if let Some(known) = alert.membership(into) {
                let fires = membership.firing && !known.firing;
                moved.shared += u64::from(membership.linked && known.linked);
                (known.firing, known.linked) = (known.firing | membership.firing, known.linked | membership.linked);
                let was_let_go = known.let_go.is_some();
                known.let_go = known.let_go.or(membership.let_go).filter(|_| !known.firing);
                state.let_go = state.let_go + u32::from(known.let_go.is_some()) - u32::from(was_let_go);
                state.firing += u32::from(fires);
                alert.memberships.remove(at);
            } else {
                membership.group = into;
                membership.place = state.members.len() as u32;
                membership.origin = if stays && membership.origin == OWN { from } else { membership.origin };
                state.members.push(*slot);
                state.firing += u32::from(membership.firing);
                state.let_go += u32::from(membership.let_go.is_some());
                alert.memberships[at] = membership;
            }
            self.mark_alert(*slot, Dirty::Whole);
        }
        moved
    }

    fn add_counts(&mut self, into: u32, from: u32) {
        let state = &self.groups.slots[from];
        let (events, before) = (state.events, state.events_before);
        let (activity, newest) = (state.last_activity, state.newest_event_at);
        let state = &mut self.groups.slots[into];
        state.events += events;
        state.events_before += before;
        state.last_activity = state.last_activity.max(activity);
        state.newest_event_at = state.newest_event_at.max(newest);
    }

    /// What counted towards the condition of one now counts towards that of the other. Says whether it holds thereby.
    fn join_spans(&mut self, into: u32, from: u32) -> Option<Progress> {
        let rule = self.rules.rules.get(self.groups.slots[into].rule as usize)?.clone();
        let state = &self.groups.slots[into];
        let need = self.need(&rule, into);
        if need == 1 || !matches!(state.phase, Phase::Gathering | Phase::Resolved) {
            return None;
        }
        // Events are counted by their numbers, which must differ.
        let offset = if matches!(rule.open_when, OpenWhen::Events(_)) { state.events } else { 0 };
        let entries = self.groups.slots[from].span.entries();
        let shape = Shape::of(&rule);
        let span = &mut self.groups.slots[into].span;
        let renumbered = entries.into_iter().map(|entry| Entry { item: entry.item.wrapping_add(offset), ..entry });
        let reached = renumbered.map(|entry| span.insert(shape, entry));
        reached.max_by_key(|progress| progress.have).filter(|progress| progress.have >= need)
    }

    /// Gives a part its members, values and counts back, and opens its incident again.
    fn split_part(&mut self, now: Timestamp, whole: u32, part: u32) -> Result<(), Refusal> {
        let family = self.family(part);
        // Values join only what a union rule makes, here or in what was merged into it before.
        let union = |group: &u32| self.groups.slots.get(*group).is_some_and(|group| group.union);
        let keeps_apart = family.iter().any(union);
        if keeps_apart && self.unions.apart().len() >= APART_MAX {
            return Err(Refusal::Limit(format!(
                "{APART_MAX} pairs of incidents are kept apart, which is all there can be"
            )));
        }
        self.forget_flapping(whole);
        let moved = self.move_members_back(whole, part, &family);
        let values = self.unions.of_group(whole).iter().map(|number| (*number, self.unions.value(*number).origin));
        let values: Vec<(u32, u32)> = values.filter(|(_, origin)| family.contains(origin)).collect();
        for (number, origin) in values {
            self.unions.lead(number, part, if origin == part { OWN } else { origin });
        }
        let (whole_id, part_id) = (self.id_of(whole), self.id_of(part));
        if let (true, Some(one), Some(other)) = (keeps_apart, whole_id, part_id) {
            self.unions.keep_apart((one, other));
        }
        let (events, before) = (self.groups.slots[part].events, self.groups.slots[part].events_before);
        let shared = self.rejoin(whole, part);
        let severity = self.gravest(part);
        let total = self.reopen_part(now, part, moved.linked, shared);
        self.leave_storm(now, part);
        let state = &mut self.groups.slots[whole];
        state.events_before = state.events_before.saturating_sub(before);
        state.events = state.events.saturating_sub(events).max(state.events_before);
        let left = state.members.len() as u64;
        let idle = state.firing == 0;
        if let Some(incident) = state.incident.as_deref_mut() {
            incident.total = incident.total.saturating_sub(total).max(left);
            incident.relations.parts.retain(|one| Some(*one) != part_id);
            drop_link(incident, MERGED_FROM, part_id);
            incident.clear_since = incident.clear_since.or(idle.then_some(now));
        }
        self.raise(now, part, severity);
        let count = moved.alerts.len();
        let alerts = if count == 1 { "alert" } else { "alerts" };
        let named = |id: Option<IncidentId>| id.map(|id| id.to_string()).unwrap_or_default();
        let detail = format!("split from {}; {count} {alerts}", named(whole_id));
        self.emit(now, part, Move::Split, Reason::Split, detail);
        let detail = format!("{} is split from it; {count} {alerts}", named(part_id));
        self.emit(now, whole, Move::Update, Reason::Split, detail);
        let first_event = self.groups.slots[part].incident.as_deref().map(|part| part.relations.first_event);
        let traced = self.trace(part, first_event.unwrap_or(now));
        self.relate(now, part, traced);
        // By further rules an alert may belong to both; its next repeat finds out. A stale one that the whole holds on to
        // may be cleared in the part.
        for group in [whole, part] {
            for alert in self.groups.slots[group].members.clone() {
                self.alerts.slots[alert].epoch = 0;
                self.schedule_alert(alert);
            }
        }
        Ok(())
    }

    /// What stays with the whole, and belongs to the part by another rule, belongs to both again.
    fn rejoin(&mut self, whole: u32, part: u32) -> u64 {
        let other_rule = self.groups.slots[whole].rule_name != self.groups.slots[part].rule_name;
        let members = if other_rule { self.groups.slots[whole].members.clone() } else { Vec::new() };
        self.unions.look_at(false);
        let mut joined = 0;
        for slot in members {
            let firing = self.alerts.slots[slot].membership(whole).is_some_and(|membership| membership.firing);
            if !firing || !self.is_matched(slot, part) || !(self.is_led_to(slot, part) || self.has_key_of(slot, part)) {
                continue;
            }
            self.enter(slot, part, true);
            if let Some(membership) = self.alerts.slots[slot].membership(part) {
                membership.linked = true;
                joined += 1;
            }
        }
        joined
    }

    /// The incident of a part lives again, with so many linked alerts, and such as it shares with the whole. Returns how
    /// many the whole counts no longer.
    fn reopen_part(&mut self, now: Timestamp, part: u32, linked: u64, shared: u64) -> u64 {
        let state = &mut self.groups.slots[part];
        state.phase = Phase::Live;
        state.last_activity = now;
        let idle = state.firing == 0;
        let Some(incident) = state.incident.as_deref_mut() else { return 0 };
        let left = incident.total + linked;
        incident.total = left + shared;
        incident.resolved_at = None;
        incident.clear_since = idle.then_some(now);
        let whole = incident.relations.merged_into.take();
        drop_link(incident, MERGED_INTO, whole);
        left
    }

    fn move_members_back(&mut self, whole: u32, part: u32, family: &[u32]) -> Moved {
        let mut moved = Moved::default();
        let members = self.groups.slots[whole].members.clone();
        for slot in members {
            let place = self.groups.slots[part].members.len() as u32;
            let Some(membership) = self.alerts.slots[slot].membership(whole) else { continue };
            if !family.contains(&membership.origin) {
                continue;
            }
            let left = membership.place;
            membership.group = part;
            membership.place = place;
            membership.origin = if membership.origin == part { OWN } else { membership.origin };
            let (firing, linked) = (membership.firing, membership.linked);
            self.drop_member(whole, left);
            self.groups.slots[whole].firing -= u32::from(firing);
            let state = &mut self.groups.slots[part];
            state.members.push(slot);
            state.firing += u32::from(firing);
            moved.linked += u64::from(linked);
            moved.alerts.push(slot);
            self.mark_alert(slot, Dirty::Whole);
        }
        moved
    }

    pub(in crate::engine) fn check_version(&self, group: u32, version: Option<u64>) -> Result<(), Refusal> {
        let current = self.groups.slots[group].incident.as_deref().map_or(0, |incident| incident.version);
        if version.is_none_or(|version| version == current) { Ok(()) } else { Err(Refusal::Version { current }) }
    }

    fn check_live(&self, group: u32) -> Result<(), Refusal> {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return Err(Refusal::Unknown) };
        let id = incident.id;
        match incident.relations.merged_into {
            _ if incident.status.is_live() => Ok(()),
            Some(whole) => Err(Refusal::Illegal(format!("{id} is merged into {whole}"))),
            None => Err(Refusal::Illegal(format!("{id} is {}, not open any more", incident.status.as_str()))),
        }
    }

    fn parent_of(&self, id: IncidentId) -> Option<IncidentId> {
        let group = self.groups.slots.get(*self.incidents.get(&id)?)?;
        group.incident.as_deref()?.relations.parent
    }

    /// The name of whoever ordered what is under way.
    pub(in crate::engine) fn operator(&self) -> String {
        let by = self.by.as_deref().unwrap_or_default();
        by.strip_prefix("operator:").unwrap_or(by).to_owned()
    }

    fn is_symptom(&self, id: IncidentId, of: IncidentId) -> bool {
        let group = self.incidents.get(&id).and_then(|group| self.groups.slots.get(*group));
        let cause = group.and_then(|group| group.incident.as_deref()?.relations.cause.as_ref());
        cause.is_some_and(|cause| cause.id == of)
    }

    /// The incident as it is, or was when it was closed.
    pub(in crate::engine) fn as_it_is(&self, id: IncidentId) -> Result<Done, Refusal> {
        let Ok(group) = self.group_of(id) else { return self.as_decided(id) };
        let state = &self.groups.slots[group];
        let incident = state.incident.as_deref().ok_or(Refusal::Unknown)?;
        Ok(Done::Incident(Arc::new(self.doc(state, incident))))
    }

    /// The incident as the last decision on it has it.
    fn as_decided(&self, id: IncidentId) -> Result<Done, Refusal> {
        let decision = self.decisions.iter().rev().find(|decision| decision.incident.id == id);
        decision.map(|decision| Done::Incident(decision.incident.clone())).ok_or(Refusal::Unknown)
    }
}

fn drop_link(incident: &mut Incident, kind: &str, target: Option<IncidentId>) {
    let target = target.map(|target| target.to_string()).unwrap_or_default();
    incident.links.retain(|link| link.kind != kind || link.target != target);
}
