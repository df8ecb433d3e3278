//! From an alert to its groups: which rules want it, which windows it joins, what each of them says.

use std::sync::Arc;

use smallvec::SmallVec;

use super::alert::{Alert, Dirty, Membership, OWN};
use super::decision::{Outcome, Reason, Verdict};
use super::group::{Group, Opening, Phase, RETIRED, Targets};
use super::memory::interner::{Interner, Symbol};
use super::shard::Shard;
use super::window::{Progress, met, waiting};
use crate::event::{Batch, Event, Kind, Severity, Status, Timestamp};
use crate::identity::domain;
use crate::rules::{Facts, MissingLabel, OpenWhen, Rule, Subject};

/// An event by which an alert fires, on its way through the groups.
pub(super) struct Sighting<'a> {
    pub(super) now: Timestamp,
    pub(super) event: &'a Event,
    /// The alert.
    pub(super) slot: u32,
    /// It says something new of a known alert.
    pub(super) changed: bool,
    /// It repeats an alert that had ended or gone stale, with a lease that is over: it counts, and does not fire anew.
    pub(super) lapsed: bool,
    /// By it the alert begins to fire.
    pub(super) begins: bool,
    /// It was withheld before, and is not late for that.
    pub(super) again: bool,
}

impl Sighting<'_> {
    pub(super) fn at(&self) -> Timestamp {
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

/// What matchers see of an event that is no alert.
pub(super) struct EventSubject<'a> {
    pub(super) batch: &'a Batch,
    pub(super) event: &'a Event,
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
pub(super) fn better(one: Verdict, other: Verdict) -> Verdict {
    const fn rank(verdict: &Verdict) -> u8 {
        match (verdict.outcome, verdict.reason) {
            (Outcome::Opened, _) => 0,
            (Outcome::Linked, _) => 1,
            (Outcome::Updated | Outcome::Resolved, _) => 2,
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
    /// What ends groups is wanted by their rules.
    pub(super) fn correlate(&mut self, sighting: &Sighting<'_>, ends: bool) -> Verdict {
        let &Sighting { now, slot, .. } = sighting;
        let mut found = std::mem::take(&mut self.found_rules);
        self.rules.matching(&AlertSubject { alert: &self.alerts.slots[slot], names: &self.names }, &mut found);
        let mut best = Verdict::new(Outcome::Recorded, Reason::NoRule);
        if let Some(rule) = self.ask_conditions(slot, &mut found) {
            best = Verdict { rule: Some(rule), ..Verdict::new(Outcome::Recorded, Reason::RuleError) };
        }
        let mut targets = Targets::new();
        self.unions.look_at(!sighting.changed);
        let mut epoch = self.epoch;
        for rule in &found {
            match self.takes(slot, *rule).and_then(|()| self.group_for(now, slot, *rule)) {
                Ok(group) => {
                    if targets.contains(&group) {
                        self.unions.forget_way(group);
                    } else {
                        targets.push(group);
                    }
                    if self.rules.rules[*rule as usize].ends_search {
                        break;
                    }
                }
                Err(reason) => {
                    if reason == Reason::LimitReached {
                        // There may be room when the alert is repeated.
                        epoch = 0;
                    }
                    best = better(best, self.refused(slot, *rule, reason));
                }
            }
        }
        self.let_go_of_values(slot, &found);
        self.found_rules = found;
        if self.alerts.slots[slot].memberships.is_empty()
            && let [group] = &mut targets[..]
        {
            // As with nearly every new alert; what follows comes to the same then.
            *group = self.merged_into(*group);
        } else {
            let known = self.groups_of(slot, |_| true);
            targets.extend(known.into_iter().filter(|group| self.groups.slots[*group].rule == RETIRED));
            self.follow_merges(&mut targets);
            self.leave_others(now, slot, &targets);
        }
        for group in targets {
            best = better(best, self.observe(sighting, group));
            if !self.alerts.slots[slot].membership(group).is_some_and(|membership| membership.firing) {
                // A newer event may be taken where this one was not, and what was let go looks anew with every repeat, as
                // it does after a restart.
                epoch = 0;
            }
        }
        self.alerts.slots[slot].epoch = epoch;
        let unwanted = best.reason == Reason::NoRule && !ends;
        self.alerts.slots[slot].unwanted = unwanted;
        if unwanted {
            self.note_unmatched(slot, 1);
        }
        best
    }

    /// Leaves out the rules whose `when` does not hold. An error of one means that it does not; the first rule that had
    /// one is told.
    fn ask_conditions(&mut self, slot: u32, found: &mut Vec<u32>) -> Option<Arc<str>> {
        if !found.iter().any(|rule| self.rules.rules[*rule as usize].when.is_some()) {
            return None;
        }
        let (texts, names) = (&self.alerts.slots[slot].texts, &self.names);
        let pairs = |pairs: &'_ [(Symbol, Symbol)]| {
            pairs.iter().map(|(name, value)| (names.text(*name), names.text(*value))).collect::<SmallVec<[_; 16]>>()
        };
        let text = |symbol: Option<Symbol>| symbol.map_or("", |symbol| names.text(symbol));
        let (labels, annotations) = (pairs(texts.labels()), pairs(texts.annotations()));
        let (source, summary) = (text(texts.source), text(texts.summary));
        let severity = self.alerts.slots[slot].severity;
        let facts = Facts::new(labels.into_iter(), annotations.into_iter(), severity, source, summary);
        let mut wrong = None;
        found.retain(|rule| {
            let rule = &self.rules.rules[*rule as usize];
            let held = rule.when.as_ref().map_or(Ok(true), |when| when.holds(&facts));
            if held.is_err() {
                *self.rule_errors.entry(rule.name.clone()).or_default() += 1;
                wrong.get_or_insert_with(|| rule.name.clone());
            }
            held.unwrap_or(false)
        });
        wrong
    }

    /// A repeat that says nothing new: the groups are known.
    pub(super) fn repeat(&mut self, sighting: &Sighting<'_>) -> Verdict {
        let alert = &self.alerts.slots[sighting.slot];
        if let [membership] = alert.memberships[..]
            && !alert.unwanted
            && let Some(verdict) = self.count_repeat(sighting, membership)
        {
            return verdict;
        }
        let mut best = Verdict::new(Outcome::Duplicate, Reason::Repeat);
        if self.alerts.slots[sighting.slot].unwanted {
            self.repeat_unmatched(sighting.slot);
        }
        // Of those that it is in without firing, its rules have let go.
        for group in self.groups_of(sighting.slot, |membership| membership.firing || membership.let_go.is_some()) {
            best = better(best, self.observe(sighting, group));
        }
        best
    }

    /// A repeat that finds an open incident as it was, which most do: what [`Shard::observe`] comes to then, in one go.
    fn count_repeat(&mut self, sighting: &Sighting<'_>, membership: Membership) -> Option<Verdict> {
        let Membership { group: slot, firing, linked, let_go, .. } = membership;
        if !firing || !linked || let_go.is_some() || sighting.changed || self.rules.awaits {
            return None;
        }
        let group = self.groups.slots.get_mut(slot)?;
        let incident = group.incident.as_deref()?;
        if group.phase != Phase::Live || incident.hush.is_kept_back() || sighting.at() <= group.span.cleared_at() {
            return None;
        }
        let id = incident.id;
        group.newest_event_at = group.newest_event_at.max(sighting.at().min(sighting.now));
        group.last_activity = sighting.now;
        group.events += 1;
        let [dirty, touched] = group.mark(Dirty::Counters);
        self.dirty_groups.extend(dirty.then_some(slot));
        self.touched_groups.extend(touched.then_some(slot));
        Some(Verdict::of(Outcome::Duplicate, Reason::Repeat, id))
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
    pub(super) fn group_for(&mut self, now: Timestamp, slot: u32, rule_place: u32) -> Result<u32, Reason> {
        let rule = &self.rules.rules[rule_place as usize];
        if rule.union.is_some() {
            return self.union_group(now, slot, rule_place);
        }
        let texts = &self.alerts.slots[slot].texts;
        let pair = |name: &Arc<str>| texts.pair(&self.names, name);
        let found: SmallVec<[Option<(Symbol, Symbol)>; 4]> = rule.group_by.iter().map(pair).collect();
        let values: SmallVec<[Option<Symbol>; 4]> = found.iter().map(|found| Some(found.as_ref()?.1)).collect();
        if rule.missing_label == MissingLabel::Skip && values.contains(&None) {
            return Err(Reason::LabelMissing);
        }
        if let Some(group) = self.groups.recall(rule_place, &values) {
            return Ok(self.way_into(group));
        }
        let rule = rule.clone();
        let key_hash = self.key_hash(&rule, &values);
        if let Some(group) = self.groups.find(key_hash) {
            self.groups.note(rule_place, &values, group);
            return Ok(self.way_into(group));
        }
        if self.groups.slots.len() >= self.config.max_groups {
            return Err(Reason::LimitReached);
        }
        let names = &mut self.names;
        let key = rule.group_by.iter().zip(found).map(|(name, found)| match found {
            Some((label, value)) => (names.share(label), Some(names.share(value))),
            None => (names.intern(name), None),
        });
        let key = key.collect();
        Ok(self.new_group(now, rule_place, key_hash, key))
    }

    /// An empty group of a rule.
    pub(super) fn new_group(
        &mut self,
        now: Timestamp,
        rule_place: u32,
        key_hash: u128,
        key: Box<[(Symbol, Option<Symbol>)]>,
    ) -> u32 {
        let rule = &self.rules.rules[rule_place as usize];
        let slot = self.groups.insert(Group::new(now, (rule_place, rule), key_hash, key));
        self.mark_group(slot, Dirty::Whole);
        slot
    }

    /// Whether the rule of a group with a key of its own puts the alert into that group.
    pub(super) fn has_key_of(&mut self, slot: u32, group: u32) -> bool {
        let state = &self.groups.slots[group];
        let (place, wanted) = (state.rule, state.key_hash);
        let Some(rule) = self.rules.rules.get(place as usize).cloned() else { return false };
        let texts = &self.alerts.slots[slot].texts;
        let values: SmallVec<[Option<Symbol>; 4]> =
            rule.group_by.iter().map(|name| texts.value(&self.names, name)).collect();
        let taken = rule.missing_label != MissingLabel::Skip || !values.contains(&None);
        taken && self.key_hash(&rule, &values) == wanted
    }

    /// Whether the rule of a group matches the alert.
    pub(super) fn is_matched(&self, slot: u32, group: u32) -> bool {
        let rule = self.rules.rules.get(self.groups.slots[group].rule as usize);
        rule.is_some_and(|rule| rule.matches(&AlertSubject { alert: &self.alerts.slots[slot], names: &self.names }))
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
                self.let_go_no_more(slot, group);
                self.stop_flapping(now, slot, group);
                self.member_cleared(now, slot, group);
            } else if self.groups.slots[group].rule != RETIRED {
                self.leave(slot, group);
            }
        }
    }

    /// Ends a membership.
    pub(super) fn leave(&mut self, slot: u32, group: u32) {
        self.let_go_no_more(slot, group);
        let memberships = &mut self.alerts.slots[slot].memberships;
        let Some(place) = memberships.iter().position(|membership| membership.group == group) else { return };
        let membership = memberships.swap_remove(place);
        self.mark_alert(slot, Dirty::Whole);
        self.schedule_alert(slot);
        if membership.firing {
            self.groups.slots[group].firing -= 1;
            self.member_hushed(slot, group);
        }
        self.groups.slots[group].flapping -= u32::from(membership.flapping);
        self.drop_member(group, membership.place);
        self.wait_no_more(slot, group);
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

    /// Makes the alert a firing member of the group. Says whether it was one already, or need not become one: to an open
    /// incident that lets go of stale alerts, one whose lease is over on arrival brings nothing back.
    fn join(&mut self, sighting: &Sighting<'_>, group: u32) -> bool {
        let counts = sighting.lapsed && self.groups.slots[group].phase == Phase::Live && !self.holds_on_stale(group);
        self.enter(sighting.slot, group, !counts)
    }

    /// Makes the alert a member of the group, firing or only counted. Says whether there is nothing new about it.
    pub(super) fn enter(&mut self, slot: u32, group: u32, fires: bool) -> bool {
        let place = self.groups.slots[group].members.len() as u32;
        let alert = &mut self.alerts.slots[slot];
        let was_firing = match alert.membership(group) {
            Some(_) if !fires => true,
            Some(membership) => std::mem::replace(&mut membership.firing, true),
            None => {
                let origin = self.unions.way(group).unwrap_or(OWN);
                let new =
                    Membership { group, place, firing: fires, linked: false, flapping: false, let_go: None, origin };
                alert.memberships.push(new);
                self.groups.slots[group].members.push(slot);
                self.mark_alert(slot, Dirty::Whole);
                !fires
            }
        };
        if !was_firing {
            self.groups.slots[group].firing += 1;
            self.member_joined(group);
            self.mark_alert(slot, Dirty::Whole);
        }
        was_firing
    }

    /// An alert as matchers see it.
    pub(super) fn subject(&self, slot: u32) -> AlertSubject<'_> {
        AlertSubject { alert: &self.alerts.slots[slot], names: &self.names }
    }

    /// Lets a group see a firing event of an alert.
    pub(super) fn observe(&mut self, sighting: &Sighting<'_>, group: u32) -> Verdict {
        if sighting.at() <= self.groups.slots[group].span.cleared_at() {
            let rule = Some(self.groups.slots[group].rule_name.clone());
            return Verdict { rule, ..Verdict::new(Outcome::Stale, Reason::Cleared) };
        }
        if let Some(verdict) = self.still_let_go(sighting, group) {
            return verdict;
        }
        if self.rules.awaits
            && let Some(rule) = self.rules.rules.get(self.groups.slots[group].rule as usize).cloned()
            && matches!(rule.open_when, OpenWhen::Absence { .. })
        {
            return self.await_after(sighting, group, &rule);
        }
        let was_firing = self.join(sighting, group);
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
        let need = self.need(&rule, group);
        if need > 1 && !sighting.again && self.is_late(sighting, &rule, newest) {
            return verdict(Outcome::Stale, Reason::Late);
        }
        let progress = self.count(sighting, group, &rule, need);
        let have = progress.have;
        if have >= need {
            return self.condition_met(sighting.now, sighting.slot, group, (&rule, need), progress);
        }
        self.schedule_group(group);
        // Only where events are counted does a repeat bring the rule nearer to its condition.
        let repeats = was_firing && !matches!(rule.open_when, OpenWhen::Events(_) | OpenWhen::Sequence(_));
        verdict(if repeats { Outcome::Duplicate } else { Outcome::Pending }, waiting(&rule, have, need))
    }

    /// The rule's condition, which asks for so many, holds: opens, brings back, or holds the opening back.
    pub(super) fn condition_met(
        &mut self,
        now: Timestamp,
        slot: u32,
        group: u32,
        (rule, need): (&Rule, u32),
        progress: Progress,
    ) -> Verdict {
        let Progress { have, first, since } = progress;
        if self.groups.slots[group].phase == Phase::Resolved {
            return self.reopen(now, group, since);
        }
        let opening = Opening { event: first.event, since, slot };
        if rule.wait.is_zero() {
            return self.open(now, group, opening, met(rule, have, need));
        }
        let verdict = Verdict { rule: Some(rule.name.clone()), ..Verdict::new(Outcome::Pending, Reason::HeldBack) };
        let state = &mut self.groups.slots[group];
        state.phase = Phase::Waiting(now.plus(rule.wait));
        state.opening = Some(opening);
        self.mark_group(group, Dirty::Whole);
        self.schedule_group(group);
        verdict
    }

    /// A member no longer holds its group back from all clear.
    pub(super) fn member_cleared(&mut self, now: Timestamp, slot: u32, group: u32) {
        let Some(membership) = self.alerts.slots[slot].membership(group) else { return };
        if !std::mem::replace(&mut membership.firing, false) {
            return;
        }
        let flapping = membership.flapping;
        self.mark_alert(slot, Dirty::Whole);
        let state = &mut self.groups.slots[group];
        state.firing -= 1;
        self.member_hushed(slot, group);
        self.mark_group(group, Dirty::Whole);
        // Of an alert that flaps, changes are counted and not told.
        if self.groups.slots[group].phase == Phase::Live && !flapping {
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
