//! From an alert to its groups: which rules want it, which windows it joins, what each of them says.

use smallvec::SmallVec;

use super::alert::{Alert, Dirty, Membership};
use super::decision::{Outcome, Reason, Verdict};
use super::group::{Group, Phase, RETIRED, Targets};
use super::shard::Shard;
use super::window::{Entry, Span};
use crate::event::{Batch, Event, Kind, Severity, Status, Timestamp};
use crate::identity::domain;
use crate::rules::{MissingLabel, OpenWhen, Rule, Subject};

/// What the matchers of a rule see of an event.
struct EventSubject<'a> {
    batch: &'a Batch,
    event: &'a Event,
}

impl Subject for EventSubject<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.batch.label(self.event, name)
    }
    fn source(&self) -> &str {
        self.batch.text(self.event.source)
    }
    fn summary(&self) -> &str {
        self.batch.text(self.event.summary)
    }
    fn severity(&self) -> Severity {
        self.event.severity
    }
    fn status(&self) -> Status {
        self.event.status
    }
    fn kind(&self) -> Kind {
        self.event.kind
    }
}

/// The verdict that tells more: an opened incident more than a linked one, a waiting rule more than none.
fn better(one: Verdict, other: Verdict) -> Verdict {
    const fn rank(verdict: &Verdict) -> u8 {
        match (verdict.outcome, verdict.reason) {
            (Outcome::Opened, _) => 0,
            (Outcome::Linked, _) => 1,
            (Outcome::Updated, _) => 2,
            (Outcome::Duplicate, _) if verdict.incident.is_some() => 3,
            (Outcome::Pending, _) => 4,
            (Outcome::Duplicate, _) => 5,
            (Outcome::Stale, _) => 6,
            (_, Reason::NoRule) => 8,
            _ => 7,
        }
    }
    if rank(&other) < rank(&one) { other } else { one }
}

impl Shard {
    /// Finds the rules that want the alert, joins their groups and lets each of them see the event.
    pub(super) fn correlate(&mut self, now: Timestamp, batch: &Batch, event: &Event, slot: u32) -> Verdict {
        let mut found = std::mem::take(&mut self.found_rules);
        self.rules.matching(&EventSubject { batch, event }, &mut found);
        let mut best = Verdict::new(Outcome::Recorded, Reason::NoRule);
        let mut targets = Targets::new();
        for rule in &found {
            match self.group_for(now, batch, event, *rule) {
                Ok(group) => targets.push(group),
                Err(reason) => {
                    let rule = Some(self.rules.rules[*rule as usize].name.clone());
                    best = better(best, Verdict { rule, ..Verdict::new(Outcome::Recorded, reason) });
                }
            }
        }
        self.found_rules = found;
        self.leave_others(now, slot, &targets);
        for group in targets {
            best = better(best, self.observe(now, event, slot, group));
        }
        self.alerts.slots[slot].epoch = self.epoch;
        best
    }

    /// A repeat that says nothing new: only counts, and windows that count events, can change.
    pub(super) fn repeat(&mut self, now: Timestamp, event: &Event, slot: u32) -> Verdict {
        let mut best = Verdict::new(Outcome::Duplicate, Reason::Repeat);
        for place in 0..self.alerts.slots[slot].memberships.len() {
            let membership = self.alerts.slots[slot].memberships[place];
            let group = &mut self.groups.slots[membership.group];
            if group.phase == Phase::Live && membership.firing {
                group.events += 1;
                group.last_activity = now;
                best.incident = best.incident.or(group.incident.as_ref().map(|incident| incident.id));
                self.mark_group(membership.group, Dirty::Counters);
            } else {
                best = better(best, self.observe(now, event, slot, membership.group));
            }
        }
        best
    }

    /// The group that a rule puts the event into, made if it is not there.
    fn group_for(&mut self, now: Timestamp, batch: &Batch, event: &Event, rule_place: u32) -> Result<u32, Reason> {
        let rule = self.rules.rules[rule_place as usize].clone();
        let mut values: SmallVec<[Option<&str>; 4]> = SmallVec::new();
        for name in &rule.group_by {
            let value = batch.label(event, name);
            if value.is_none() && rule.missing_label == MissingLabel::Skip {
                return Err(Reason::LabelMissing);
            }
            values.push(value);
        }
        let key_hash = self.key_hash(&rule, &values);
        if let Some(group) = self.groups.find(key_hash) {
            return Ok(group);
        }
        if self.groups.slots.len() >= self.config.max_groups {
            return Err(Reason::LimitReached);
        }
        let names = &mut self.names;
        let key = rule.group_by.iter().zip(&values);
        let key = key.map(|(name, value)| (names.intern(name), value.map(|value| names.intern(value)))).collect();
        let slot = self.groups.insert(Group {
            rule: rule_place,
            rule_name: rule.name.clone(),
            correlation: rule.correlation,
            key_hash,
            key,
            phase: Phase::Gathering,
            span: Span::default(),
            opening: None,
            members: Vec::new(),
            firing: 0,
            events: 0,
            last_activity: now,
            newest_event_at: Timestamp::from_micros(i64::MIN),
            timer_at: Timestamp::MAX,
            incident: None,
            dirty: Dirty::Clean,
            touched: false,
        });
        self.mark_group(slot, Dirty::Whole);
        Ok(slot)
    }

    /// The identity of a rule's group; a missing label is not an empty one.
    pub(super) fn key_hash(&mut self, rule: &Rule, values: &[Option<&str>]) -> u128 {
        self.hasher.reset(domain::GROUP).part(rule.name.as_bytes());
        for (name, value) in rule.group_by.iter().zip(values) {
            // 0xff occurs in no UTF-8 text, so it cannot be taken for a value.
            self.hasher.part(name.as_bytes()).part(value.map_or(b"\xff", str::as_bytes));
        }
        self.hasher.finish128()
    }

    /// Leaves the groups whose rules no longer match. An incident keeps its alert, counted as cleared.
    fn leave_others(&mut self, now: Timestamp, slot: u32, targets: &Targets) {
        let mut place = 0;
        while place < self.alerts.slots[slot].memberships.len() {
            let membership = self.alerts.slots[slot].memberships[place];
            let group = &self.groups.slots[membership.group];
            if targets.contains(&membership.group) || group.rule == RETIRED {
                place += 1;
            } else if membership.linked {
                self.member_cleared(now, slot, membership.group);
                place += 1;
            } else {
                self.leave(slot, membership.group);
            }
        }
    }

    /// Ends a membership.
    pub(super) fn leave(&mut self, slot: u32, group: u32) {
        let memberships = &mut self.alerts.slots[slot].memberships;
        let Some(place) = memberships.iter().position(|membership| membership.group == group) else { return };
        let membership = memberships.swap_remove(place);
        self.mark_alert(slot, Dirty::Whole);
        if membership.firing {
            self.groups.slots[group].firing -= 1;
        }
        self.drop_member(group, membership.place);
    }

    /// Takes an alert out of a group's list of members; the last one takes its place.
    pub(super) fn drop_member(&mut self, group: u32, place: u32) {
        let members = &mut self.groups.slots[group].members;
        members.swap_remove(place as usize);
        if let Some(moved) = members.get(place as usize).copied()
            && let Some(membership) = self.alerts.slots[moved].membership(group)
        {
            membership.place = place;
        }
    }

    /// Makes the alert a firing member of the group. Says whether it was one already.
    fn join(&mut self, slot: u32, group: u32) -> bool {
        let place = self.groups.slots[group].members.len() as u32;
        let alert = &mut self.alerts.slots[slot];
        let was_firing = match alert.membership(group) {
            Some(membership) => std::mem::replace(&mut membership.firing, true),
            None => {
                alert.memberships.push(Membership { group, place, firing: true, linked: false });
                self.groups.slots[group].members.push(slot);
                false
            }
        };
        if !was_firing {
            self.groups.slots[group].firing += 1;
            self.mark_alert(slot, Dirty::Whole);
        }
        was_firing
    }

    /// Lets a group see a firing event of an alert.
    pub(super) fn observe(&mut self, now: Timestamp, event: &Event, slot: u32, group: u32) -> Verdict {
        let was_firing = self.join(slot, group);
        let state = &mut self.groups.slots[group];
        state.events += 1;
        state.last_activity = now;
        let phase = state.phase;
        let rule = self.rules.rules.get(state.rule as usize).cloned();
        self.mark_group(group, Dirty::Counters);
        match (phase, rule) {
            (Phase::Live, _) => self.link(now, slot, group, was_firing),
            (_, None) => Verdict::new(Outcome::Recorded, Reason::NoRule),
            (Phase::Waiting(_), Some(rule)) => {
                self.note_time(event, group);
                let outcome = if was_firing { Outcome::Duplicate } else { Outcome::Pending };
                Verdict { rule: Some(rule.name.clone()), ..Verdict::new(outcome, Reason::HeldBack) }
            }
            (Phase::Gathering | Phase::Resolved, Some(rule)) => self.count(now, event, slot, group, &rule),
        }
    }

    fn note_time(&mut self, event: &Event, group: u32) {
        let state = &mut self.groups.slots[group];
        state.newest_event_at = state.newest_event_at.max(event.occurred_at.unwrap_or_default());
    }

    /// Counts an event towards the rule's condition, and acts when it holds.
    fn count(&mut self, now: Timestamp, event: &Event, slot: u32, group: u32, rule: &Rule) -> Verdict {
        let at = event.occurred_at.unwrap_or_default();
        let entry = Entry { at, item: self.item(event, slot, group, rule), event: self.event_identity(event) };
        let state = &mut self.groups.slots[group];
        let need = need(rule);
        let (have, first) = if need == 1 {
            (1, entry)
        } else {
            if at.plus(self.config.lateness) < state.newest_event_at {
                return Verdict { rule: Some(rule.name.clone()), ..Verdict::new(Outcome::Stale, Reason::Late) };
            }
            let before = state.span.entries().len();
            let progress = state.span.insert(entry, rule.window);
            let newest = state.newest_event_at.max(at);
            state.span.prune(newest.minus(rule.window).minus(self.config.lateness));
            if state.span.entries().len() != before {
                self.mark_group(group, Dirty::Whole);
            }
            (progress.have, progress.first)
        };
        self.note_time(event, group);
        if have < need {
            self.schedule_group(group);
            return self.pending(slot, rule, have, need);
        }
        let opening = (first.event, first.at, slot);
        let state = &mut self.groups.slots[group];
        if state.phase == Phase::Resolved {
            return self.reopen(now, group);
        }
        if rule.wait.is_zero() {
            return self.open(now, group, opening, Reason::ConditionMet { have, need });
        }
        state.phase = Phase::Waiting(now.plus(rule.wait));
        state.opening = Some(opening);
        self.mark_group(group, Dirty::Whole);
        self.schedule_group(group);
        Verdict { rule: Some(rule.name.clone()), ..Verdict::new(Outcome::Pending, Reason::HeldBack) }
    }

    /// What is counted once: the alert, the event, or the value of a label.
    fn item(&mut self, event: &Event, slot: u32, group: u32, rule: &Rule) -> u64 {
        match &rule.open_when {
            OpenWhen::Alerts(_) => event.fingerprint.0 as u64,
            OpenWhen::Events(_) => self.groups.slots[group].events,
            OpenWhen::Distinct { label, .. } => {
                // A missing label is a value of its own, told apart from the empty one by a byte no text has.
                let value = self.alerts.slots[slot].texts.label(&self.names, label).map_or(&b"\xff"[..], str::as_bytes);
                self.hasher.reset(domain::CONTENT).part(value).finish64()
            }
        }
    }

    /// What the id of an incident opened by this event is made of: its source and id, else fingerprint and time.
    fn event_identity(&mut self, event: &Event) -> u128 {
        if event.key.0 != 0 {
            return event.key.0;
        }
        let at = event.occurred_at.unwrap_or_default().as_micros();
        let hasher = self.hasher.reset(domain::EVENT);
        hasher.part(&event.fingerprint.0.to_le_bytes()).part(&at.to_le_bytes()).finish128()
    }

    fn pending(&self, slot: u32, rule: &Rule, have: u32, need: u32) -> Verdict {
        // Only where events are counted does a repeat bring the rule nearer to its condition.
        let counts_repeats = matches!(rule.open_when, OpenWhen::Events(_));
        let known = self.alerts.slots[slot].count > 1 && self.alerts.slots[slot].epoch == self.epoch;
        let outcome = if known && !counts_repeats { Outcome::Duplicate } else { Outcome::Pending };
        Verdict { rule: Some(rule.name.clone()), ..Verdict::new(outcome, Reason::Waiting { have, need }) }
    }

    /// A member no longer holds its group back from all clear.
    pub(super) fn member_cleared(&mut self, now: Timestamp, slot: u32, group: u32) {
        let Some(membership) = self.alerts.slots[slot].membership(group) else { return };
        if !std::mem::replace(&mut membership.firing, false) {
            return;
        }
        self.mark_alert(slot, Dirty::Whole);
        let state = &mut self.groups.slots[group];
        state.firing -= 1;
        self.mark_group(group, Dirty::Whole);
        if self.groups.slots[group].phase == Phase::Live {
            self.live_member_cleared(now, group);
        }
    }

    /// Ends the memberships of all members but those to keep.
    pub(super) fn dismiss(&mut self, group: u32, keep: impl Fn(&Membership, &Alert) -> bool) {
        let mut place = 0;
        while let Some(slot) = self.groups.slots[group].members.get(place).copied() {
            let alert = &self.alerts.slots[slot];
            let membership = alert.memberships.iter().find(|membership| membership.group == group);
            if membership.is_some_and(|membership| keep(membership, alert)) {
                place += 1;
            } else {
                // The next repeat must look for its rules anew.
                self.alerts.slots[slot].epoch = 0;
                self.leave(slot, group);
            }
        }
    }
}

/// How many the rule asks for.
pub(super) const fn need(rule: &Rule) -> u32 {
    match &rule.open_when {
        OpenWhen::Alerts(need) | OpenWhen::Events(need) | OpenWhen::Distinct { count: need, .. } => *need,
    }
}
