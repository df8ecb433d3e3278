//! The life of an incident: open, link, update, resolve, reopen, close.
//!
//! Every step moves by the table in `IncidentStatus::after`, takes the next sequence number, and ends in a [`Decision`]
//! with its reason, at once or gathered for `update_interval`.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashSet;

use super::alert::{AlertState, Dirty};
use super::correlate::Sighting;
use super::decision::{Decision, Outcome, Reason, Verdict};
use super::group::{Gathered, INCIDENT_ALERTS_KEPT, Incident, Opening, Phase, Policy, REASONS_MAX, RETIRED, Turn};
use super::incident::{IncidentLink, IncidentStatus};
use super::memory::timers::Owner;
use super::relate::Relations;
use super::shard::Shard;
use super::suppress::Hush;
use crate::delivery::Action;
use crate::event::{Severity, Timestamp};
use crate::identity::{IncidentId, domain};
use crate::rules::{Level, OnStale, Rule, TitleContext};

/// Links an incident takes over from the alert that opens it.
const LINKS_MAX: usize = 16;
/// Ids of closed incidents that are remembered, so that none is given twice; about 50 bytes each.
const CLOSED_IDS_MAX: usize = 100_000;

/// Ids of closed incidents, oldest first.
#[derive(Debug, Default)]
pub(super) struct ClosedIds {
    known: HashSet<IncidentId>,
    order: VecDeque<IncidentId>,
    /// Ids at the back that the journal does not have yet.
    fresh: usize,
}

impl ClosedIds {
    pub(super) fn insert(&mut self, id: IncidentId) {
        if !self.known.insert(id) {
            return;
        }
        if self.order.len() >= CLOSED_IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(id);
        self.fresh = (self.fresh + 1).min(self.order.len());
    }

    pub(super) fn take_fresh(&mut self) -> impl ExactSizeIterator<Item = IncidentId> + '_ {
        let from = self.order.len() - std::mem::take(&mut self.fresh);
        self.order.range(from..).copied()
    }

    /// What was restored is in the journal already.
    pub(super) fn forget_fresh(&mut self) {
        self.fresh = 0;
    }

    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = IncidentId> + '_ {
        self.order.iter().copied()
    }
}

impl Shard {
    /// Opens the group's incident: it links what fires, and what was seen within the window of the condition.
    pub(super) fn open(&mut self, now: Timestamp, group: u32, opening: Opening, reason: Reason) -> Verdict {
        let Opening { event, since, slot } = opening;
        let Some(rule) = self.rules.rules.get(self.groups.slots[group].rule as usize).cloned() else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let id = self.incident_id(&rule, group, event);
        let first_event = self.first_event(group, since);
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
        let traced = self.trace(group, first_event);
        let have = self.groups.slots[group].members.len();
        let mut detail = format!("{reason}; {have} {}", if have == 1 { "alert" } else { "alerts" });
        detail.push_str(self.join_storm(now, group, storm));
        self.emit(now, group, Action::Opened, reason, detail);
        self.judge_members(now, group);
        self.relate(now, group, traced);
        Verdict::of(Outcome::Opened, reason, id)
    }

    pub(super) fn incident_id(&mut self, rule: &Rule, group: u32, event: u128) -> IncidentId {
        let state = &self.groups.slots[group];
        // The name of a union's group depends on which alert came first.
        let key = if state.union { 0 } else { state.key_hash };
        // The same event can open the same group's incident again once all memory of it is gone, such as an alert
        // that Prometheus repeats with its old start time after a long silence: it then takes the next free name.
        for round in 0_u64.. {
            let hasher = self.hasher.reset(domain::INCIDENT).part(rule.name.as_bytes()).part(&key.to_le_bytes());
            let id = IncidentId(hasher.part(&event.to_le_bytes()).part(&round.to_le_bytes()).finish64());
            if !self.incidents.contains_key(&id) && !self.closed_ids.known.contains(&id) {
                return id;
            }
        }
        unreachable!("a bounded set does not hold every id")
    }

    pub(super) fn new_incident(&self, now: Timestamp, id: IncidentId, rule: &Rule, group: u32, slot: u32) -> Incident {
        let severity = self.gravest(group).max(self.alerts.slots[slot].severity);
        let urgency = rule.urgency(severity);
        let listed = self.listed_service(slot);
        let service = listed
            .map(|service| Arc::from(self.rules.topology.name(service)))
            .or_else(|| self.key_value(group, "service"))
            .or_else(|| self.alerts.slots[slot].texts.label(&self.names, "service").map(Arc::from));
        let said = listed.filter(|_| rule.impact_from_service).and_then(|service| self.rules.topology.impact(service));
        let impact = said.unwrap_or(rule.impact);
        Incident {
            id,
            status: IncidentStatus::Open,
            version: 0,
            sequence: 0,
            title: self.title(rule, group, slot),
            severity,
            impact,
            fixed_urgency: rule.urgency,
            urgency,
            priority: self.rules.priority(impact, urgency),
            service,
            opened_at: now,
            acknowledged_at: None,
            resolved_at: None,
            updated_at: now,
            total: 0,
            clear_since: None,
            gathered: Gathered::default(),
            reasons: Vec::new(),
            links: self.links(slot),
            policy: policy(rule),
            relations: Relations::default(),
            flapping: None,
            hush: Hush::default(),
        }
    }

    pub(super) fn gravest(&self, group: u32) -> Severity {
        let members = self.groups.slots[group].members.iter();
        members.map(|slot| self.alerts.slots[*slot].severity).max().unwrap_or_default()
    }

    fn key_value(&self, group: u32, name: &str) -> Option<Arc<str>> {
        let key = self.groups.slots[group].key.iter();
        let (_, value) = key.copied().find(|(label, _)| self.names.text(*label) == name)?;
        Some(Arc::from(self.names.text(value?)))
    }

    fn title(&self, rule: &Rule, group: u32, slot: u32) -> String {
        let (alert, names) = (&self.alerts.slots[slot], &self.names);
        let pairs =
            |pairs: &[(super::memory::interner::Symbol, super::memory::interner::Symbol)]| -> Vec<(&str, &str)> {
                pairs.iter().map(|(name, value)| (names.text(*name), names.text(*value))).collect()
            };
        let key: Vec<(&str, &str)> = match &rule.union {
            Some(union) => self.union_values(union, slot),
            None => {
                let key = self.groups.slots[group].key.iter();
                key.map(|(name, value)| (names.text(*name), value.map_or("", |value| names.text(value)))).collect()
            }
        };
        let context = TitleContext {
            labels: &pairs(&alert.texts.labels),
            annotations: &pairs(&alert.texts.annotations),
            key: &key,
            severity: alert.severity,
            source: alert.texts.source.map_or("", |source| names.text(source)),
            summary: alert.texts.summary.map_or("", |summary| names.text(summary)),
            rule: &rule.name,
        };
        // A template that cannot be rendered for this alert must never cost the incident.
        rule.title.as_ref().and_then(|title| title.render(context)).unwrap_or_else(|| {
            let key: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if key.is_empty() { rule.name.to_string() } else { format!("{}: {}", rule.name, key.join(", ")) }
        })
    }

    fn links(&self, slot: u32) -> Vec<IncidentLink> {
        let texts = &self.alerts.slots[slot].texts;
        let runbook = texts.annotations.iter().filter(|(name, _)| self.names.text(*name) == "runbook_url");
        let link = |kind: &str, target| IncidentLink {
            kind: kind.to_owned(),
            target: self.names.text(target).to_owned(),
            by: "event".to_owned(),
            reason: "given by the alert that opened the incident".to_owned(),
        };
        let given = texts.links.iter().map(|(rel, href)| link(self.names.text(*rel), *href));
        given.chain(runbook.map(|(_, href)| link("runbook", *href))).take(LINKS_MAX).collect()
    }

    /// Links every member that is not linked yet.
    pub(super) fn link_members(&mut self, group: u32) -> u32 {
        let mut linked = 0;
        for place in 0..self.groups.slots[group].members.len() {
            let slot = self.groups.slots[group].members[place];
            let Some(membership) = self.alerts.slots[slot].membership(group) else { continue };
            if !std::mem::replace(&mut membership.linked, true) {
                linked += 1;
                self.mark_alert(slot, Dirty::Whole);
            }
        }
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            incident.total += u64::from(linked);
        }
        linked
    }

    /// A member of a live incident fires: links it if it is new to the incident.
    pub(super) fn link(&mut self, sighting: &Sighting<'_>, group: u32, was_firing: bool) -> Verdict {
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
        incident.clear_since = incident.clear_since.filter(|_| !fires);
        incident.total += u64::from(!known);
        incident.gathered.linked += u32::from(!known);
        incident.gathered.changed += u32::from(known);
        self.mark_alert(slot, Dirty::Whole);
        self.gather(now, group, severity);
        if flapping && graver && severity == Severity::Critical {
            self.flush(now, group);
        }
        if !known {
            self.judge(now, slot, group);
        }
        Verdict::of(outcome, reason, id)
    }

    /// Takes the next sequence number and waits for what else belongs to the same delivery.
    pub(super) fn gather(&mut self, now: Timestamp, group: u32, severity: Severity) {
        self.raise(group, severity);
        self.raise_storm(now, group);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        let due = now.plus(incident.policy.update_interval);
        let due = *incident.gathered.due.get_or_insert(due);
        self.mark_group(group, Dirty::Counters);
        if due <= now {
            self.flush(now, group);
        }
        self.schedule_group(group);
    }

    /// An incident is as grave as the gravest of its alerts has been since it opened.
    pub(super) fn raise(&mut self, group: u32, severity: Severity) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if severity > incident.severity {
            incident.severity = severity;
            incident.urgency = incident.fixed_urgency.unwrap_or_else(|| Level::of_severity(severity));
            let priority = self.rules.priority(incident.impact, incident.urgency);
            incident.priority = incident.priority.min(priority);
            self.mark_group(group, Dirty::Whole);
        }
    }

    /// Tells what was gathered, under the newest sequence number.
    pub(super) fn flush(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if incident.gathered.due.is_none() {
            return;
        }
        let gathered = std::mem::take(&mut incident.gathered);
        let action = if gathered.linked > 0 { Action::Linked } else { Action::Updated };
        match incident.relations.untold.take_news() {
            Some(symptoms) => {
                let news = [symptoms, gathered.news()].into_iter().filter(|news| !news.is_empty());
                let detail = news.collect::<Vec<_>>().join("; ");
                self.push_decision(now, group, action, Reason::SymptomFound, detail);
            }
            None => self.push_decision(now, group, action, Reason::Gathered, gathered.news()),
        }
    }

    /// A linked member has cleared; with the last one, the time to all clear begins.
    pub(super) fn live_member_cleared(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.gathered.cleared += 1;
        self.let_go(now, group);
    }

    /// Something that held a live incident open does so no longer; with the last of it, the time to all clear begins.
    pub(super) fn let_go(&mut self, now: Timestamp, group: u32) {
        let clear = self.groups.slots[group].is_clear();
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let severity = incident.severity;
        if clear {
            incident.clear_since = Some(now);
        }
        if clear && incident.policy.resolve_after.is_zero() {
            self.resolve(now, group);
        } else {
            self.gather(now, group, severity);
        }
    }

    /// Records in the timeline what has begun or ended. Sinks are told of it with what is gathered: the caller goes on
    /// with [`Shard::gather`] or what tells at once, which takes the next number.
    pub(super) fn note(&mut self, now: Timestamp, group: u32, turn: Turn, detail: String) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let reason = match turn {
            Turn::FlappingStarted => Reason::FlappingStarted,
            Turn::FlappingStopped => Reason::FlappingStopped,
            Turn::StormEnded => Reason::StormEnded,
        };
        incident.gathered.turn = Some(turn);
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        incident.give_reason(Action::Updated, reason);
        self.push_decision(now, group, Action::Updated, reason, detail);
    }

    pub(super) fn holds_on_stale(&self, group: u32) -> bool {
        let state = &self.groups.slots[group];
        let hold = |incident: &Incident| incident.policy.on_stale == OnStale::Hold;
        state.phase == Phase::Live && state.incident.as_deref().is_some_and(hold)
    }

    /// Whatever is due in a group at `now`.
    pub(super) fn group_due(&mut self, now: Timestamp, group: u32) {
        self.miss_waits(now, group);
        let Some(state) = self.groups.slots.get(group) else { return };
        match state.phase {
            Phase::Waiting(until) if until <= now => return self.wait_over(now, group),
            Phase::Gathering if self.expires_at(group) <= now => return self.expire(group),
            Phase::Live | Phase::Resolved => self.incident_due(now, group),
            _ => {}
        }
        if self.groups.slots.get(group).is_some() {
            self.schedule_group(group);
        }
    }

    fn incident_due(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let policy = &incident.policy;
        let clear = incident.clear_since.is_some_and(|since| since.plus(policy.resolve_after) <= now);
        let over = incident.resolved_at.is_some_and(|at| at.plus(policy.reopen_within) <= now);
        let storm = self.groups.slots[group].storm.as_deref();
        match incident.status {
            _ if storm.is_some_and(|storm| storm.is_due(now)) => self.storm_over(now, group),
            IncidentStatus::Resolved if over => self.close(now, group),
            status if status.is_live() && clear => self.resolve(now, group),
            _ if incident.gathered.due.is_some_and(|due| due <= now) => self.flush(now, group),
            _ => {}
        }
    }

    /// The opening was held back long enough.
    pub(super) fn wait_over(&mut self, now: Timestamp, group: u32) {
        if self.park(group) {
            return;
        }
        let state = &mut self.groups.slots[group];
        let opening = state.opening.take();
        state.phase = Phase::Gathering;
        let firing = state.members.iter().copied();
        let awaited = state.span.waits();
        let firing = firing.filter(|slot| {
            self.alerts.slots[*slot].state == AlertState::Firing || awaited.is_some_and(|waits| waits.holds(*slot))
        });
        // The alert that met the condition names the incident; where it has cleared, the oldest that fires does.
        let met_by = opening.map(|opening| opening.slot);
        let chosen = firing.min_by_key(|slot| {
            let alert = &self.alerts.slots[*slot];
            (Some(*slot) != met_by, alert.first_seen, alert.fingerprint)
        });
        let Some(rule) = self.rules.rules.get(state.rule as usize).cloned() else { return self.expire(group) };
        let (Some(opening), Some(slot)) = (opening, chosen) else {
            // Everything cleared while the rule waited: nobody needs to be told.
            state.span.start_over();
            state.events_before = state.events;
            self.mark_group(group, Dirty::Whole);
            return self.schedule_group(group);
        };
        let need = self.need(&rule, group);
        self.open(now, group, Opening { slot, ..opening }, super::window::met(&rule, need, need));
    }

    /// When a window without an incident goes away, unless something happens before. An event whose clock runs ahead
    /// counts until its time, too, is past.
    fn expires_at(&self, group: u32) -> Timestamp {
        let state = &self.groups.slots[group];
        let window = self.rules.rules.get(state.rule as usize).map(|rule| rule.window).unwrap_or_default();
        let newest = state.span.newest().unwrap_or(state.last_activity);
        let over = state.last_activity.max(newest).plus(window).plus(self.config.lateness_max());
        if !state.span.remembers() && state.span.waits().is_none() {
            return over;
        }
        let decided = state.span.waits().and_then(super::window::Waits::last_due).unwrap_or(over);
        over.max(decided).max(state.last_activity.plus(self.config.retention()))
    }

    /// Drops a window without an incident.
    pub(super) fn expire(&mut self, group: u32) {
        self.dismiss(group, |_, _| false);
        self.unions.group_gone(group);
        if let Some(state) = self.groups.remove(group) {
            state.release(&mut self.names);
            self.removed_groups.push(group);
        }
    }

    /// The group's next deadline.
    pub(super) fn group_deadline(&self, group: u32) -> Option<Timestamp> {
        let expires_at = self.expires_at(group);
        let state = &self.groups.slots[group];
        let incident = state.incident.as_deref();
        let gathered = incident.and_then(|incident| incident.gathered.due);
        let next = match (state.phase, incident) {
            (Phase::Gathering, _) => Some(expires_at),
            (Phase::Waiting(until), _) => Some(until),
            (Phase::Live, Some(incident)) => {
                incident.clear_since.map(|since| since.plus(incident.policy.resolve_after))
            }
            (Phase::Resolved, Some(incident)) => incident.resolved_at.map(|at| at.plus(incident.policy.reopen_within)),
            _ => None,
        };
        let storm = state.storm.as_deref().and_then(|storm| storm.until);
        let decided = state.span.waits().and_then(super::window::Waits::due);
        next.into_iter().chain(gathered).chain(storm).chain(decided).min()
    }

    /// Schedules the group's next deadline.
    pub(super) fn schedule_group(&mut self, group: u32) {
        if let Some(due) = self.group_deadline(group) {
            self.timers.schedule(Owner::Group(group), &mut self.groups.slots[group].timer_at, due);
        }
    }

    fn resolve(&mut self, now: Timestamp, group: u32) {
        let state = &mut self.groups.slots[group];
        let Some(incident) = state.incident.as_deref_mut() else { return };
        incident.resolved_at = Some(now);
        incident.clear_since = None;
        let closes = incident.policy.reopen_within.is_zero();
        state.phase = Phase::Resolved;
        self.stop_waiting(group);
        self.delist(group);
        let detail = "all alerts have cleared".to_owned();
        self.forget_flapping(group);
        self.emit(now, group, Action::Resolved, Reason::AllClear, detail);
        self.child_resolved(now, group);
        if closes {
            self.close(now, group);
        } else {
            self.schedule_group(group);
        }
    }

    /// The condition holds again within `reopen_within`; `since` is when its window began.
    pub(super) fn reopen(&mut self, now: Timestamp, group: u32, since: Timestamp) -> Verdict {
        let first_event = self.first_event(group, since);
        self.dismiss(group, |membership, alert| membership.linked || membership.firing || alert.last_seen >= since);
        let storm = self.storm_again(now, group);
        let state = &mut self.groups.slots[group];
        let Some(incident) = state.incident.as_deref_mut() else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let id = incident.id;
        incident.resolved_at = None;
        state.phase = Phase::Live;
        state.span.start_over();
        let linked = self.link_members(group);
        self.raise(group, self.gravest(group));
        let firing = self.groups.slots[group].firing;
        let mut detail = format!("came back: {firing} {}", if firing == 1 { "alert fires" } else { "alerts fire" });
        if linked > 0 {
            detail.push_str(&format!(", {linked} of them new"));
        }
        detail.push_str(self.join_storm(now, group, storm));
        let traced = self.trace(group, first_event);
        self.emit(now, group, Action::Reopened, Reason::Recurrence, detail);
        self.judge_members(now, group);
        self.relate(now, group, traced);
        Verdict::of(Outcome::Opened, Reason::Recurrence, id)
    }

    fn close(&mut self, now: Timestamp, group: u32) {
        self.emit(now, group, Action::Closed, Reason::ReopenWindowPassed, "final".to_owned());
        self.unrelate(now, group);
        self.forget_parts(group);
        let state = &mut self.groups.slots[group];
        state.phase = Phase::Gathering;
        state.events_before = state.events;
        if let Some(incident) = state.incident.take() {
            self.incidents.remove(&incident.id);
            self.closed_ids.insert(incident.id);
        }
        for place in 0..self.groups.slots[group].members.len() {
            let slot = self.groups.slots[group].members[place];
            if let Some(membership) = self.alerts.slots[slot].membership(group) {
                membership.linked = false;
            }
            self.mark_alert(slot, Dirty::Whole);
        }
        self.dismiss(group, |membership, _| membership.firing);
        self.mark_group(group, Dirty::Whole);
        let state = &self.groups.slots[group];
        if state.members.is_empty() && !state.span.remembers() || state.rule == RETIRED {
            self.expire(group);
        } else {
            self.schedule_group(group);
        }
    }

    /// Moves the incident by the table, takes the next sequence number and tells at once; what was gathered goes along.
    pub(super) fn emit(&mut self, now: Timestamp, group: u32, action: Action, reason: Reason, mut detail: String) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let news = std::mem::take(&mut incident.gathered).news();
        let symptoms = incident.relations.untold.take_news().unwrap_or_default();
        for news in [symptoms, news].into_iter().filter(|news| !news.is_empty()) {
            detail = format!("{detail}; {news}");
        }
        incident.sequence += 1;
        incident.version += 1;
        incident.updated_at = now;
        if action != Action::Opened {
            let next = match reason {
                Reason::Merged | Reason::Split => incident.status.after_merge(action),
                _ => incident.status.after(action),
            };
            incident.status = next.unwrap_or(incident.status);
        }
        incident.give_reason(action, reason);
        self.mark_group(group, Dirty::Whole);
        self.push_decision(now, group, action, reason, detail);
        self.schedule_group(group);
    }

    pub(super) fn push_decision(&mut self, now: Timestamp, group: u32, action: Action, reason: Reason, detail: String) {
        // What has begun or ended is told with what is gathered.
        let told_later = matches!(reason, Reason::FlappingStarted | Reason::FlappingStopped | Reason::StormEnded);
        self.decide(now, group, (action, reason), told_later, detail);
    }

    /// The same; with `told_later` sinks hear of it with another decision only.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        group: u32,
        (action, reason): (Action, Reason),
        told_later: bool,
        mut detail: String,
    ) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        // Who is told is decided here and nowhere else. A resolve always passes, where its incident was told of. Of a
        // part of a storm, the storm is told.
        let elsewhere = told_later || incident.relations.mutes(action);
        let notify = if elsewhere { Arc::default() } else { incident.policy.notify.clone() };
        let muted = !notify.is_empty() && self.keeps_back(group, action);
        if muted {
            detail.push_str("; nobody is told: all that fires is muted");
        }
        let notify = if muted { Arc::default() } else { notify };
        let told_as = if notify.is_empty() { action } else { self.told_as(group, action) };
        let state = &self.groups.slots[group];
        let Some(incident) = state.incident.as_deref() else { return };
        let sequence = incident.sequence;
        let incident = Arc::new(self.doc(state, incident));
        let alerts = match action {
            Action::Closed => self.incident_alerts(incident.id, INCIDENT_ALERTS_KEPT).unwrap_or_default().0,
            _ => Vec::new(),
        };
        self.mark_group(group, Dirty::Whole);
        let by = self.by.clone();
        self.decisions.push(Decision {
            action,
            told_as,
            reason,
            sequence,
            at: now,
            detail,
            incident,
            alerts,
            by,
            notify,
        });
    }
}

impl Incident {
    fn give_reason(&mut self, action: Action, reason: Reason) {
        if self.reasons.len() >= REASONS_MAX {
            self.reasons.remove(0);
        }
        self.reasons.push(format!("{}: {}", action.as_str(), reason.code()));
    }
}

pub(super) fn policy(rule: &Rule) -> Policy {
    Policy {
        resolve_after: rule.resolve_after,
        reopen_within: rule.reopen_within,
        update_interval: rule.update_interval,
        on_stale: rule.on_stale,
        flapping: rule.flapping,
        notify: rule.notify.clone(),
    }
}
