//! Storms: beyond so many openings of a rule within a time, further incidents become children of one.
//!
//! A storm protects people, so it runs on the receiving clock. The storm's incident is a real one, in a group of its own
//! for the rule and the values of the scope labels, so that it does not matter how scopes are spread over shards. Its
//! children are real incidents as well: they are recorded, linked, resolved and closed as ever; only sinks are told of
//! the storm instead. The group knows the number of children and until when the storm goes on. It may exceed
//! `max_groups`, since there is one a rule and scope at most; of its children 100 are linked and further ones counted.

use std::sync::Arc;

pub(in crate::engine) use super::openings::Storms;
use crate::engine::alert::Dirty;
use crate::engine::command::{Done, Refusal};
use crate::engine::decision::Reason;
use crate::engine::group::{Group, Phase, Turn};
use crate::engine::incident::{IncidentLink, StormDoc};
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::memory::interner::Symbol;
use crate::engine::moves::Move;
use crate::engine::priority::{Binding, Levels};
use crate::engine::shard::Shard;
use crate::event::{Severity, Timestamp, duration};
use crate::identity::{IncidentId, domain};
use crate::rules::{Rule, StormConfig};

/// Children that are linked; further ones are only counted.
const LINKED_CHILDREN_MAX: usize = 100;
/// Who sets these links.
const STORM: &str = "storm";

/// What the group of a storm knows beside its incident.
#[derive(Debug, Default)]
pub(in crate::engine) struct StormState {
    /// Children in all; those taken out again are none.
    children: u64,
    /// Those that are open, which holds the storm open. Derived from them after a restart.
    open: u32,
    /// Until then further incidents become children.
    pub(in crate::engine) until: Option<Timestamp>,
}

impl StormState {
    /// Whether nothing of it holds its incident open.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.open == 0 && self.until.is_none()
    }

    pub(in crate::engine) fn is_due(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub(in crate::engine) fn doc(&self) -> StormDoc {
        StormDoc { children: self.children, open: self.open, active: self.until.is_some() }
    }

    pub(in crate::engine) fn write(storm: Option<&Self>, writer: &mut Writer) {
        writer.byte(u8::from(storm.is_some()));
        if let Some(Self { children, until, .. }) = storm {
            writer.number(*children);
            writer.maybe_time(*until);
        }
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Option<Box<Self>>, Fault> {
        if !reader.flag()? {
            return Ok(None);
        }
        Ok(Some(Box::new(Self { children: reader.tally()?, open: 0, until: reader.maybe_time()? })))
    }
}

impl Shard {
    /// Counts an opening of the group's rule, and finds the group of the storm that the incident becomes part of; made
    /// here where the storm begins, and told by [`Shard::join_storm`]. `event` is what the incident is named after.
    pub(in crate::engine) fn storm_of(&mut self, now: Timestamp, group: u32, event: u128, slot: u32) -> Option<u32> {
        self.count_opening(now, group, (event, slot), true)
    }

    /// The same; a storm that the incident would not join does not begin by it, since nobody would tell of it.
    fn count_opening(&mut self, now: Timestamp, group: u32, named: (u128, u32), joins: bool) -> Option<u32> {
        let place = self.groups.slots[group].rule;
        let rule = self.rules.rules.get(place as usize)?.clone();
        let settings = rule.storm?;
        let key = self.scope_of(group);
        let key_hash = self.storm_hash(&rule, &key);
        let too_many = self.storms.count(key_hash, &rule.name, now, settings);
        let found = self.groups.find(key_hash);
        let goes_on =
            found.and_then(|storm| self.groups.slots[storm].storm.as_deref()?.until).filter(|until| *until > now);
        let until = too_many.map(|until| until.plus(settings.per)).max(goes_on)?;
        let storm = match found {
            None if !joins => return None,
            found => found.unwrap_or_else(|| self.begin_storm(now, (place, &rule), key_hash, &key, named)),
        };
        if let Some(state) = self.groups.slots[storm].storm.as_deref_mut() {
            state.until = Some(until);
        }
        self.mark_group(storm, Dirty::Whole);
        self.schedule_group(storm);
        Some(storm)
    }

    /// The same for an incident that comes back. It stays with the storm that it was part of as long as that is open.
    pub(in crate::engine) fn storm_again(&mut self, now: Timestamp, group: u32) -> Option<u32> {
        let incident = self.groups.slots[group].incident.as_deref()?;
        let (id, relations) = (incident.id, incident.relations.clone());
        // Not the first member: they are in another order after a restart.
        let slot = *self.groups.slots[group].members.iter().min()?;
        let parent = relations.parent.and_then(|parent| self.incidents.get(&parent).copied());
        let parent = parent.filter(|parent| self.groups.slots[*parent].phase == Phase::Live);
        let joins = parent.is_none() && !relations.released;
        let storm = self.count_opening(now, group, (u128::from(id.0), slot), joins);
        parent.or(storm).filter(|_| !relations.released)
    }

    /// The values of the scope labels in a group's key.
    fn scope_of(&self, group: u32) -> Vec<(Arc<str>, Option<Symbol>)> {
        let key = &self.groups.slots[group].key;
        let value = |label: &Arc<str>| key.iter().find(|(name, _)| self.names.text(*name) == &**label)?.1;
        self.rules.scope.iter().map(|label| (label.clone(), value(label))).collect()
    }

    /// The identity of the storm's group. No other group's hash has as few parts, or an even number of them.
    fn storm_hash(&mut self, rule: &Rule, key: &[(Arc<str>, Option<Symbol>)]) -> u128 {
        self.hasher.reset(domain::GROUP).part(rule.name.as_bytes()).part(b"storm");
        for (name, value) in key {
            let value = value.map_or(&b"\xff"[..], |value| self.names.text(value).as_bytes());
            self.hasher.part(name.as_bytes()).part(value);
        }
        self.hasher.finish128()
    }

    /// Makes the storm's group and incident, which is told once its first child is known.
    fn begin_storm(
        &mut self,
        now: Timestamp,
        (place, rule): (u32, &Rule),
        key_hash: u128,
        key: &[(Arc<str>, Option<Symbol>)],
        (event, slot): (u128, u32),
    ) -> u32 {
        let names = &mut self.names;
        let key = key.iter().map(|(name, value)| (names.intern(name), value.map(|value| names.share(value)))).collect();
        let mut group = Group::new(now, (place, rule), key_hash, key);
        group.storm = Some(Box::default());
        // It has no alerts of its own that values could lead to.
        group.union = false;
        group.phase = Phase::Live;
        let storm = self.groups.insert(group);
        let id = self.incident_id(rule, storm, event);
        let mut incident = self.new_incident(now, id, rule, storm, slot);
        incident.service = None;
        incident.service_of = Binding::default();
        incident.priority_of.of_children = true;
        incident.links.clear();
        self.incidents.insert(id, storm);
        self.groups.slots[storm].incident = Some(Box::new(incident));
        storm
    }

    /// Makes an incident that opens or comes back a child of the storm; one that comes back to none is told again. Gives
    /// what its timeline is to say of that.
    pub(in crate::engine) fn join_storm(&mut self, now: Timestamp, group: u32, storm: Option<u32>) -> &'static str {
        let storm = storm.and_then(|storm| Some((storm, self.groups.slots[storm].incident.as_deref()?.id)));
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return "" };
        let known = storm.is_some() && incident.relations.parent == storm.map(|(_, id)| id);
        if !known && incident.relations.parent.take().is_some() {
            incident.links.retain(|link| link.by != STORM || link.kind != "parent");
        }
        let Some((storm, id)) = storm else { return "" };
        let child = incident.id;
        incident.relations.holds = true;
        if !known {
            incident.relations.parent = Some(id);
            incident.links.push(link("parent", id.to_string()));
        }
        self.add_child(storm, (!known).then_some(child));
        self.tell_of_child(now, group, storm);
        "; part of a storm, which is told instead"
    }

    /// A child opens, or one that is known comes back.
    fn add_child(&mut self, storm: u32, new: Option<IncidentId>) {
        let Some(state) = self.groups.slots[storm].storm.as_deref_mut() else { return };
        state.open += 1;
        state.children += u64::from(new.is_some());
        let Some(incident) = self.groups.slots[storm].incident.as_deref_mut() else { return };
        incident.clear_since = None;
        incident.gathered.children += 1;
        if let Some(child) = new.filter(|_| incident.links.len() < LINKED_CHILDREN_MAX) {
            incident.links.push(link("child", child.to_string()));
        }
        self.retitle(storm);
        self.mark_group(storm, Dirty::Whole);
    }

    /// The storm opens, comes back, or has one child more.
    fn tell_of_child(&mut self, now: Timestamp, group: u32, storm: u32) {
        let rises = self.rise(group, storm);
        if !self.status_of(storm).is_live() {
            // It is told with what comes now.
            self.assess_again(now, storm);
        }
        let state = &mut self.groups.slots[storm];
        let Some(incident) = state.incident.as_deref_mut() else { return };
        let severity = incident.severity;
        if incident.version == 0 {
            incident.gathered = Default::default();
            let settings = self.rules.rules.get(self.groups.slots[storm].rule as usize).and_then(|rule| rule.storm);
            let StormConfig { opens, per } = settings.unwrap_or_default();
            let mut detail =
                format!("beyond {opens} incidents within {}: further ones are children", duration::format(per));
            detail.push_str(&self.recall(now, storm));
            self.emit(now, storm, Move::Open, Reason::StormBegan, detail);
            self.note_recurrence(now, storm);
        } else if state.phase == Phase::Resolved {
            self.storm_goes_on(now, storm, Reason::Recurrence, "came back".to_owned());
        } else {
            self.gather(now, storm, severity);
            self.tell_critical(now, storm, rises);
        }
    }

    /// The storm's incident is not over after all.
    pub(in crate::engine) fn storm_goes_on(&mut self, now: Timestamp, storm: u32, reason: Reason, detail: String) {
        let state = &mut self.groups.slots[storm];
        let Some(incident) = state.incident.as_deref_mut() else { return };
        incident.resolved_at = None;
        state.phase = Phase::Live;
        self.emit(now, storm, Move::Reopen, reason, detail);
        self.schedule_group(storm);
    }

    /// The children of a storm that are open, by their ids.
    pub(in crate::engine) fn open_children(&self, storm: u32) -> Vec<u32> {
        let state = &self.groups.slots[storm];
        let (Some(_), Some(id)) = (&state.storm, self.id_of(storm)) else { return Vec::new() };
        let of = |group: &crate::engine::group::Group| {
            let child = group.incident.as_deref()?;
            (child.relations.parent == Some(id) && child.relations.holds).then_some(child.id)
        };
        let mut children: Vec<_> =
            self.groups.slots.slots().filter_map(|(slot, group)| Some((of(group)?, slot))).collect();
        children.sort_unstable();
        children.into_iter().map(|(_, slot)| slot).collect()
    }

    /// An operator says that the storm is over: further incidents are told by themselves, unless it begins anew.
    pub(in crate::engine) fn end_storm(&mut self, storm: u32) {
        // It may be gone: with its last child it resolves by itself, and closes where nothing may come back.
        if let Some(state) = self.groups.slots.get_mut(storm).and_then(|group| group.storm.as_deref_mut()) {
            state.until = None;
            self.mark_group(storm, Dirty::Whole);
        }
    }

    fn retitle(&mut self, storm: u32) {
        let state = &mut self.groups.slots[storm];
        let (Some(storm), Some(incident)) = (state.storm.as_deref(), state.incident.as_deref_mut()) else { return };
        let (name, children) = (&state.rule_name, storm.children);
        let title = format!("storm: {name}: {children} further incident{}", if children == 1 { "" } else { "s" });
        incident.title = title.into();
    }

    /// Makes the storm as grave as its child; says whether it becomes critical by that.
    fn rise(&mut self, child: u32, storm: u32) -> bool {
        let Some(child) = self.groups.slots[child].incident.as_deref() else { return false };
        let (severity, impact, urgency) = (child.severity, child.impact, child.urgency);
        let levels = Levels { impact, urgency, priority: child.priority };
        let Some(incident) = self.groups.slots[storm].incident.as_deref_mut() else { return false };
        let rises = severity > incident.severity;
        if rises || levels.priority < incident.priority_of.assessed().priority {
            incident.severity = severity.max(incident.severity);
            incident.priority_of.feed(levels);
            self.mark_group(storm, Dirty::Whole);
        }
        rises && severity == Severity::Critical
    }

    /// The first that is critical never waits for what is gathered.
    fn tell_critical(&mut self, now: Timestamp, storm: u32, rises: bool) {
        if rises {
            self.flush(now, storm);
        }
    }

    /// An incident may have become graver: its storm follows.
    pub(in crate::engine) fn raise_storm(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let Some(parent) = incident.relations.parent.filter(|_| incident.relations.holds) else { return };
        let Some(storm) = self.incidents.get(&parent).copied() else { return };
        let known = self.groups.slots[storm].incident.as_deref();
        let known = known.map(|storm| (storm.severity, storm.priority_of.assessed().priority));
        if known.is_some_and(|(severity, priority)| incident.severity > severity || incident.priority < priority) {
            let rises = self.rise(group, storm);
            let Some(incident) = self.groups.slots[storm].incident.as_deref_mut() else { return };
            incident.gathered.children_changed += 1;
            let severity = incident.severity;
            self.gather(now, storm, severity);
            self.tell_critical(now, storm, rises);
        }
    }

    /// A child is resolved, or gone: with the last one, and the end of the storm, the time to all clear begins.
    pub(in crate::engine) fn child_resolved(&mut self, now: Timestamp, group: u32) {
        if let Some(storm) = self.let_go_of(group) {
            if let Some(incident) = self.groups.slots[storm].incident.as_deref_mut() {
                incident.gathered.children_resolved += 1;
            }
            self.let_go(now, storm);
        }
    }

    /// A child holds its storm open no longer. The storm's group, where that is open.
    fn let_go_of(&mut self, child: u32) -> Option<u32> {
        let relations = &mut self.groups.slots[child].incident.as_deref_mut()?.relations;
        if !std::mem::take(&mut relations.holds) {
            return None;
        }
        let storm = *self.incidents.get(&relations.parent?)?;
        self.mark_group(child, Dirty::Whole);
        let state = self.groups.slots[storm].storm.as_deref_mut()?;
        state.open = state.open.saturating_sub(1);
        self.mark_group(storm, Dirty::Whole);
        (self.groups.slots[storm].phase == Phase::Live).then_some(storm)
    }

    /// The rule has opened no more incidents than it may for so long: further ones are told by themselves again.
    pub(in crate::engine) fn storm_over(&mut self, now: Timestamp, storm: u32) {
        let Some(state) = self.groups.slots[storm].storm.as_deref_mut() else { return };
        state.until = None;
        let (children, open) = (state.children, state.open);
        self.mark_group(storm, Dirty::Whole);
        if self.groups.slots[storm].phase == Phase::Live {
            let detail = format!("further incidents are told again; {children} in all, {open} open");
            self.note(now, storm, Turn::StormEnded, detail);
            self.let_go(now, storm);
        }
    }

    /// Takes a child out of its storm and keeps it apart; if it is open, sinks are told of it from now on.
    pub(in crate::engine) fn release_child(
        &mut self,
        now: Timestamp,
        by: &str,
        storm: u32,
        child: u32,
    ) -> Result<Done, Refusal> {
        let (Some(whole), Some(part)) = (
            self.groups.slots.get(storm).and_then(|storm| storm.incident.as_deref()),
            self.groups.slots.get(child).and_then(|child| child.incident.as_deref()),
        ) else {
            return Err(Refusal::Unknown);
        };
        let (whole, part) = ((whole.id, whole.severity), part.id);
        if self.groups.slots[child].incident.as_deref().and_then(|child| child.relations.parent) != Some(whole.0) {
            return Err(Refusal::Illegal(format!("{} is no part of {}", part, whole.0)));
        }
        let held = self.let_go_of(child);
        if let Some(incident) = self.groups.slots[child].incident.as_deref_mut() {
            incident.relations.parent = None;
            incident.relations.released = true;
            incident.links.retain(|link| link.by != STORM || link.kind != "parent");
        }
        self.mark_group(child, Dirty::Whole);
        self.forget_child(storm, part.to_string());
        if held.is_some() {
            self.let_go(now, storm);
        } else if self.groups.slots[storm].phase == Phase::Live {
            self.gather(now, storm, whole.1);
        }
        if self.groups.slots[child].phase == Phase::Live {
            self.escalation_begin(now, child);
            self.emit(now, child, Move::Update, Reason::Released, format!("taken out of {} by {by}", whole.0));
        }
        let state = &self.groups.slots[child];
        let doc = state.incident.as_deref().map(|incident| Arc::new(self.doc(state, incident)));
        doc.map(Done::Incident).ok_or(Refusal::Unknown)
    }

    /// A merged incident lives again, by itself: it is no part of the storm any more that it was a child of.
    pub(super) fn leave_storm(&mut self, now: Timestamp, child: u32) {
        let Some(incident) = self.groups.slots[child].incident.as_deref_mut() else { return };
        let Some(parent) = incident.relations.parent.take() else { return };
        let id = incident.id.to_string();
        incident.links.retain(|link| link.by != STORM || link.kind != "parent");
        self.mark_group(child, Dirty::Whole);
        let Some(storm) = self.incidents.get(&parent).copied() else { return };
        self.forget_child(storm, id);
        if self.groups.slots[storm].phase == Phase::Live {
            let severity = self.gravest(storm);
            self.gather(now, storm, severity);
        }
    }

    fn forget_child(&mut self, storm: u32, child: String) {
        let state = &mut self.groups.slots[storm];
        if let Some(storm) = state.storm.as_deref_mut() {
            storm.children = storm.children.saturating_sub(1);
        }
        if let Some(incident) = state.incident.as_deref_mut() {
            incident.links.retain(|link| link.by != STORM || link.kind != "child" || link.target != child);
            incident.gathered.children_released += 1;
        }
        self.retitle(storm);
        self.mark_group(storm, Dirty::Whole);
        self.renew(storm);
    }

    /// Counts the children that hold their storms open, at the end of recovery.
    pub(in crate::engine) fn count_children(&mut self) {
        let incidents = self.groups.slots.slots().filter_map(|(_, group)| group.incident.as_deref());
        let holding = incidents.filter(|incident| incident.relations.holds);
        let parents: Vec<_> = holding.filter_map(|incident| incident.relations.parent).collect();
        for parent in parents {
            let Some(storm) = self.incidents.get(&parent).and_then(|slot| self.groups.slots.get_mut(*slot)) else {
                continue;
            };
            if let Some(state) = storm.storm.as_deref_mut() {
                state.open += 1;
            }
        }
    }

    /// Forgets the openings of rules that have no storm any more. What is a child stays one.
    pub(in crate::engine) fn keep_storms(&mut self) {
        let rules = self.rules.clone();
        self.storms.keep(|name| rules.named(name).is_some_and(|rule| rule.storm.is_some()));
    }
}

fn link(kind: &str, target: String) -> IncidentLink {
    let (by, reason) = (STORM.to_owned(), "opened beyond what the rule's storm allows".to_owned());
    IncidentLink { kind: kind.to_owned(), target, by, reason }
}
