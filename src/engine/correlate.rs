//! From an alert to its groups: which rules want it, which windows it joins, what each of them says.

use smallvec::SmallVec;

use super::alert::{Alert, Dirty, Membership};
use super::decision::{Outcome, Reason, Verdict};
use super::group::{Group, Opening, Phase, RETIRED, Targets};
use super::memory::interner::{Interner, Symbol};
use super::shard::Shard;
use super::window::{Entry, Progress, Span};
use crate::event::{Event, Kind, Severity, Status, Timestamp};
use crate::identity::domain;
use crate::rules::{MissingLabel, OpenWhen, Rule, Subject};

/// An event by which an alert fires, on its way through the groups.
pub(super) struct Sighting<'a> {
    pub(super) now: Timestamp,
    pub(super) event: &'a Event,
    /// The alert.
    pub(super) slot: u32,
    /// It says something new of a known alert.
    pub(super) changed: bool,
}

impl Sighting<'_> {
    fn at(&self) -> Timestamp {
        self.event.occurred_at.unwrap_or_default()
    }
}

/// What the matchers of a rule see of an alert: its last word, not what a late event said.
pub(super) struct AlertSubject<'a> {
    pub(super) alert: &'a Alert,
    pub(super) names: &'a Interner,
}

impl Subject for AlertSubject<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.alert.texts.label(self.names, name)
    }
    fn source(&self) -> &str {
        self.alert.texts.source.map_or("", |source| self.names.text(source))
    }
    fn summary(&self) -> &str {
        self.alert.texts.summary.map_or("", |summary| self.names.text(summary))
    }
    fn severity(&self) -> Severity {
        self.alert.severity
    }
    fn status(&self) -> Status {
        Status::Firing
    }
    fn kind(&self) -> Kind {
        Kind::Alert
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
            (Outcome::Duplicate, Reason::Repeat) => 8,
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
    pub(super) fn correlate(&mut self, sighting: &Sighting<'_>) -> Verdict {
        let &Sighting { now, slot, .. } = sighting;
        if std::mem::take(&mut self.alerts.slots[slot].withheld) {
            self.mark_alert(slot, Dirty::Whole);
        }
        let mut found = std::mem::take(&mut self.found_rules);
        self.rules.matching(&AlertSubject { alert: &self.alerts.slots[slot], names: &self.names }, &mut found);
        let mut best = Verdict::new(Outcome::Recorded, Reason::NoRule);
        let mut targets = Targets::new();
        let mut epoch = self.epoch;
        for rule in &found {
            match self.group_for(now, slot, *rule) {
                Ok(group) => targets.push(group),
                Err(reason) => {
                    if reason == Reason::LimitReached {
                        // There may be room when the alert is repeated.
                        epoch = 0;
                    }
                    let rule = Some(self.rules.rules[*rule as usize].name.clone());
                    best = better(best, Verdict { rule, ..Verdict::new(Outcome::Recorded, reason) });
                }
            }
        }
        self.found_rules = found;
        targets.extend(
            self.groups_of(slot, |_| true).into_iter().filter(|group| self.groups.slots[*group].rule == RETIRED),
        );
        self.leave_others(now, slot, &targets);
        for group in targets {
            best = better(best, self.observe(sighting, group));
        }
        self.alerts.slots[slot].epoch = epoch;
        best
    }

    /// A repeat that says nothing new: the groups are known.
    pub(super) fn repeat(&mut self, sighting: &Sighting<'_>) -> Verdict {
        let mut best = Verdict::new(Outcome::Duplicate, Reason::Repeat);
        // Of those that it is in without firing, its rules have let go.
        for group in self.groups_of(sighting.slot, |membership| membership.firing) {
            best = better(best, self.observe(sighting, group));
        }
        best
    }

    /// The groups that an alert belongs to, in the order of the rules; of removed rules, those whose incident is live.
    fn groups_of(&self, slot: u32, chosen: impl Fn(&Membership) -> bool) -> Targets {
        let place = |group: &u32| (self.groups.slots[*group].rule, *group);
        let takes = |group: &u32| {
            let state = &self.groups.slots[*group];
            state.rule != RETIRED || state.phase == Phase::Live
        };
        let memberships = self.alerts.slots[slot].memberships.iter().filter(|membership| chosen(membership));
        let groups = memberships.map(|membership| membership.group);
        let mut groups: Targets = groups.filter(takes).collect();
        groups.sort_unstable_by_key(place);
        groups
    }

    /// The group that a rule puts the alert into, made if it is not there.
    fn group_for(&mut self, now: Timestamp, slot: u32, rule_place: u32) -> Result<u32, Reason> {
        let rule = self.rules.rules[rule_place as usize].clone();
        let texts = &self.alerts.slots[slot].texts;
        let values = rule.group_by.iter().map(|name| texts.value(&self.names, name));
        let values: SmallVec<[Option<Symbol>; 4]> = values.collect();
        if rule.missing_label == MissingLabel::Skip && values.contains(&None) {
            return Err(Reason::LabelMissing);
        }
        let key_hash = self.key_hash(&rule, &values);
        if let Some(group) = self.groups.find(key_hash) {
            return Ok(group);
        }
        if self.groups.slots.len() >= self.config.max_groups {
            return Err(Reason::LimitReached);
        }
        let names = &mut self.names;
        let key = rule.group_by.iter().zip(values);
        let key = key.map(|(name, value)| (names.intern(name), value.map(|value| names.share(value)))).collect();
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
            events_before: 0,
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
    fn key_hash(&mut self, rule: &Rule, values: &[Option<Symbol>]) -> u128 {
        self.hasher.reset(domain::GROUP).part(rule.name.as_bytes());
        for (name, value) in rule.group_by.iter().zip(values) {
            // 0xff occurs in no UTF-8 text, so it cannot be taken for a value.
            let value = value.map_or(&b"\xff"[..], |value| self.names.text(value).as_bytes());
            self.hasher.part(name.as_bytes()).part(value);
        }
        self.hasher.finish128()
    }

    /// Leaves the groups whose rules no longer match. An incident keeps its alert, counted as cleared.
    fn leave_others(&mut self, now: Timestamp, slot: u32, targets: &Targets) {
        let others = self.alerts.slots[slot].memberships.iter().filter(|one| !targets.contains(&one.group));
        let others: SmallVec<[Membership; 4]> = others.copied().collect();
        for Membership { group, linked, .. } in others {
            if linked {
                self.member_cleared(now, slot, group);
            } else if self.groups.slots[group].rule != RETIRED {
                self.leave(slot, group);
            }
        }
    }

    /// Ends a membership.
    pub(super) fn leave(&mut self, slot: u32, group: u32) {
        let memberships = &mut self.alerts.slots[slot].memberships;
        let Some(place) = memberships.iter().position(|membership| membership.group == group) else { return };
        let membership = memberships.swap_remove(place);
        self.mark_alert(slot, Dirty::Whole);
        self.schedule_alert(slot);
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
    pub(super) fn observe(&mut self, sighting: &Sighting<'_>, group: u32) -> Verdict {
        let was_firing = self.join(sighting.slot, group);
        let state = &mut self.groups.slots[group];
        // A clock that runs ahead must not make those late that are on time.
        state.newest_event_at = state.newest_event_at.max(sighting.at().min(sighting.now));
        state.last_activity = sighting.now;
        state.events += 1;
        let (phase, newest) = (state.phase, state.newest_event_at);
        self.mark_group(group, Dirty::Counters);
        if phase == Phase::Live {
            return self.link(sighting, group, was_firing);
        }
        let Some(rule) = self.rules.rules.get(self.groups.slots[group].rule as usize).cloned() else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let verdict = |outcome, reason| Verdict { rule: Some(rule.name.clone()), ..Verdict::new(outcome, reason) };
        if let Phase::Waiting(_) = phase {
            let outcome = if was_firing { Outcome::Duplicate } else { Outcome::Pending };
            return verdict(outcome, Reason::HeldBack);
        }
        let lapsed = self.alerts.slots[sighting.slot].until <= sighting.now;
        if phase == Phase::Resolved && lapsed && sighting.at() < newest {
            // News of the past: what is over does not bring back an incident that is over.
            return verdict(Outcome::Stale, Reason::OlderThanKnown);
        }
        let need = need(&rule);
        if need > 1 && sighting.at().plus(self.config.lateness) < newest {
            return verdict(Outcome::Stale, Reason::Late);
        }
        let progress = self.count(sighting, group, &rule);
        let have = progress.have;
        if have >= need {
            return self.condition_met(sighting, group, progress);
        }
        self.schedule_group(group);
        // Only where events are counted does a repeat bring the rule nearer to its condition.
        let repeats = was_firing && !matches!(rule.open_when, OpenWhen::Events(_));
        verdict(if repeats { Outcome::Duplicate } else { Outcome::Pending }, Reason::Waiting { have, need })
    }

    /// Counts an event towards the rule's condition.
    fn count(&mut self, sighting: &Sighting<'_>, group: u32, rule: &Rule) -> Progress {
        let item = self.item(sighting, group, rule);
        let entry = Entry { at: sighting.at(), item, event: self.event_identity(sighting.event) };
        if need(rule) == 1 {
            return Progress { have: 1, first: entry, since: entry.at.minus(rule.window), kept: false };
        }
        let state = &mut self.groups.slots[group];
        let progress = state.span.insert(entry, rule.window);
        let pruned = state.span.prune(state.newest_event_at.minus(rule.window).minus(self.config.lateness));
        if progress.kept || pruned {
            self.mark_group(group, Dirty::Whole);
        }
        progress
    }

    /// The rule's condition holds: opens, brings back, or holds the opening back.
    fn condition_met(&mut self, sighting: &Sighting<'_>, group: u32, progress: Progress) -> Verdict {
        let now = sighting.now;
        let Progress { have, first, since, .. } = progress;
        if self.groups.slots[group].phase == Phase::Resolved {
            return self.reopen(now, group, since);
        }
        let Some(rule) = self.rules.rules.get(self.groups.slots[group].rule as usize) else {
            return Verdict::new(Outcome::Recorded, Reason::NoRule);
        };
        let opening = Opening { event: first.event, since, slot: sighting.slot };
        let need = need(rule);
        if rule.wait.is_zero() {
            return self.open(now, group, opening, Reason::ConditionMet { have, need });
        }
        let verdict = Verdict { rule: Some(rule.name.clone()), ..Verdict::new(Outcome::Pending, Reason::HeldBack) };
        let state = &mut self.groups.slots[group];
        state.phase = Phase::Waiting(now.plus(rule.wait));
        state.opening = Some(opening);
        self.mark_group(group, Dirty::Whole);
        self.schedule_group(group);
        verdict
    }

    /// What is counted once: the alert, the event, or the value of a label.
    fn item(&mut self, sighting: &Sighting<'_>, group: u32, rule: &Rule) -> u64 {
        match &rule.open_when {
            OpenWhen::Alerts(_) => sighting.event.fingerprint.0 as u64,
            OpenWhen::Events(_) => self.groups.slots[group].events,
            OpenWhen::Distinct { label, .. } => {
                let texts = &self.alerts.slots[sighting.slot].texts;
                // A missing label is a value of its own, told apart from the empty one by a byte no text has.
                let value = texts.label(&self.names, label).map_or(&b"\xff"[..], str::as_bytes);
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
