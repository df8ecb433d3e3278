//! From what mutes to who is muted: marks alerts, lets rules see those that are muted no longer, and tells what was kept
//! back of their incidents, in that order.
//!
//! Pure bookkeeping over the alerts that may be affected: one alert when it changes, the targets of a source that comes
//! or goes, all that fire when a silence or window does. The cost of the last is bounded by `max_alerts`.

use super::inhibit::Roles;
use super::{AT_ONCE, Causes, SILENCES_MAX, Suppression};
use crate::engine::alert::{Alert, AlertState, Dirty};
use crate::engine::correlate::{AlertSubject, Sighting};
use crate::engine::shard::Shard;
use crate::event::{Event, Status, Timestamp};
use crate::rules::{LabelIndex, LabelSet, RuleSet};

impl LabelSet for AlertSubject<'_> {
    fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
        for (name, value) in self.alert.texts.labels() {
            each(self.names.text(*name), self.names.text(*value));
        }
    }
}

impl Suppression {
    /// Whether nothing can be muted.
    fn is_idle(&self, rules: &RuleSet) -> bool {
        let silent = self.silences.index.is_empty() && self.maintenance.open() == 0;
        silent && rules.inhibitions.is_empty() && self.causes.is_empty()
    }

    /// What mutes an alert that fires.
    fn appraise(&self, rules: &RuleSet, slot: u32, subject: &AlertSubject<'_>) -> Causes {
        let mut silences: Vec<u32> = Vec::new();
        self.silences.index.candidates(subject, |silence| {
            let matchers = self.silences.get(silence).map(|silence| &silence.matchers);
            if matchers.is_some_and(|matchers| matchers.iter().all(|matcher| matcher.matches(subject))) {
                silences.push(silence);
            }
        });
        silences.sort_unstable();
        silences.truncate(SILENCES_MAX);
        let window = self.maintenance.mutes(&rules.maintenance, subject).map(|window| window as u32);
        Causes { silences: silences.into(), inhibited: self.inhibitors.inhibited(slot), window }
    }
}

impl Shard {
    /// Whether an alert can be muted: it fires, or holds an incident open although it is stale.
    pub(super) fn fires_now(&self, slot: u32) -> bool {
        let alert = &self.alerts.slots[slot];
        alert.state == AlertState::Firing || alert.memberships.iter().any(|membership| membership.firing)
    }

    fn live_alerts(&self) -> Vec<u32> {
        self.alerts.slots.slots().map(|(slot, _)| slot).filter(|slot| self.fires_now(*slot)).collect()
    }

    /// An alert begins to fire or says something new: finds what mutes it, and whom it mutes. Its event goes on its way
    /// after this.
    pub(super) fn reappraise(&mut self, now: Timestamp, slot: u32) {
        if self.suppression.is_idle(&self.rules) {
            return;
        }
        let mut affected = Vec::new();
        self.assign_roles(slot, &mut affected);
        if let Some(muted) = self.remark(slot, true) {
            if !muted {
                // What was withheld is seen with the event at hand.
                self.alerts.slots[slot].mark.withheld = false;
            }
            self.review_groups(now, self.firing_groups(slot));
        }
        affected.retain(|other| *other != slot);
        self.settle(now, affected);
    }

    /// Finds out what an alert is to the inhibition rules; adds the alerts to which that matters.
    pub(super) fn assign_roles(&mut self, slot: u32, affected: &mut Vec<u32>) {
        let mut roles = Roles::new();
        if !self.rules.inhibitions.is_empty() && self.fires_now(slot) {
            let fires = self.alerts.slots[slot].state == AlertState::Firing;
            let subject = AlertSubject { alert: &self.alerts.slots[slot], names: &self.names };
            self.rules.inhibitions.roles(&subject, &mut self.hasher, &mut |mut role| {
                role.source &= fires;
                if role.source || role.target {
                    roles.push(role);
                }
            });
        }
        self.suppression.inhibitors.set(slot, roles, affected);
    }

    /// Finds out whether an alert is muted. Says so where that is another answer than before.
    pub(super) fn remark(&mut self, slot: u32, live: bool) -> Option<bool> {
        let causes = || self.suppression.appraise(&self.rules, slot, &self.subject(slot));
        let causes = if live { causes() } else { Causes::default() };
        let muted = !causes.is_none();
        self.note_causes(slot, causes);
        let mark = &mut self.alerts.slots[slot].mark;
        if mark.muted == muted {
            return None;
        }
        mark.muted = muted;
        mark.held_until = Timestamp::MAX;
        self.suppression.version += 1;
        self.mark_alert(slot, Dirty::Counters);
        Some(muted)
    }

    /// Keeps what mutes an alert, and counts it.
    pub(super) fn note_causes(&mut self, slot: u32, causes: Causes) {
        let old = self.suppression.causes.remove(&slot).unwrap_or_default();
        if old != causes {
            let fingerprint = self.fingerprint_of(&self.alerts.slots[slot]);
            let Suppression { silences, by_reason, .. } = &mut self.suppression;
            old.first().into_iter().for_each(|reason| by_reason[reason] -= 1);
            causes.first().into_iter().for_each(|reason| by_reason[reason] += 1);
            old.silences.iter().filter(|one| !causes.silences.contains(one)).for_each(|one| silences.end(*one));
            let begun = causes.silences.iter().filter(|one| !old.silences.contains(one));
            begun.for_each(|one| silences.begin(*one, fingerprint));
        }
        if !causes.is_none() {
            self.suppression.causes.insert(slot, causes);
        }
    }

    fn firing_groups(&self, slot: u32) -> Vec<u32> {
        let firing = self.alerts.slots[slot].memberships.iter().filter(|membership| membership.firing);
        firing.map(|membership| membership.group).collect()
    }

    /// Marks alerts anew; those that are muted no longer are seen by their rules, in the order of their events; then
    /// incidents that nobody was told of are told.
    pub(super) fn settle(&mut self, now: Timestamp, mut affected: Vec<u32>) {
        affected.sort_unstable();
        affected.dedup();
        let (mut groups, mut again) = (Vec::new(), Vec::new());
        for slot in affected {
            let Some(muted) = self.remark(slot, self.fires_now(slot)) else { continue };
            groups.extend(self.firing_groups(slot));
            let alert = &self.alerts.slots[slot];
            // One whose lease has ended meanwhile, as while the daemon was down, is not news any more.
            let fires = alert.state == AlertState::Firing && alert.until > now;
            if !muted && alert.mark.withheld && fires {
                again.push((alert.register.at, alert.fingerprint, slot));
            }
        }
        again.sort_unstable();
        again.into_iter().for_each(|(.., slot)| self.look_again(now, slot));
        groups.sort_unstable();
        groups.dedup();
        self.review_groups(now, groups);
    }

    /// Lets the rules see an alert that was kept from them, at the time of its newest word.
    pub(super) fn look_again(&mut self, now: Timestamp, slot: u32) {
        let alert = &mut self.alerts.slots[slot];
        if !std::mem::take(&mut alert.mark.withheld) {
            return;
        }
        let event = Event {
            fingerprint: alert.fingerprint,
            content: alert.content,
            severity: alert.severity,
            status: Status::Firing,
            occurred_at: Some(alert.register.at),
            ..Event::default()
        };
        self.mark_alert(slot, Dirty::Counters);
        let sighting = Sighting { now, event: &event, slot, changed: true, lapsed: false, begins: false, again: true };
        self.correlate(&sighting, false);
        if self.ends_something(slot) {
            // As after every event of it: the next one ends something again.
            self.alerts.slots[slot].epoch = 0;
        }
    }

    /// Silences have begun and ended: looks at the alerts that they mute or have muted.
    pub(super) fn silences_turned(&mut self, now: Timestamp, begun: &[u32], ended: &[u32]) {
        self.schedule_suppression();
        let mut affected: Vec<u32> = Vec::new();
        if !ended.is_empty() {
            let muted = self.suppression.causes.iter();
            let freed = muted.filter(|(_, causes)| causes.silences.iter().any(|silence| ended.contains(silence)));
            affected.extend(freed.map(|(slot, _)| *slot));
        }
        let mut index = LabelIndex::default();
        for silence in begun {
            if let Some(known) = self.suppression.silences.get(*silence) {
                index.insert(*silence, &known.matchers);
            }
        }
        if !index.is_empty() {
            for slot in self.live_alerts() {
                let mut found = false;
                index.candidates(&self.subject(slot), |_| found = true);
                affected.extend(Some(slot).filter(|_| found));
            }
        }
        self.settle(now, affected);
    }

    /// The rules are others, or the shard was restored: everything is looked at anew as soon as the time is known.
    pub(in crate::engine) fn review_suppression(&mut self) {
        self.suppression.review = true;
        self.schedule_suppression();
    }

    pub(super) fn review(&mut self, now: Timestamp) {
        if self.suppression.maintenance.deadline() == Some(AT_ONCE) {
            self.turn_windows(now);
        }
        self.suppression.inhibitors.clear();
        self.live_alerts().into_iter().for_each(|slot| self.assign_roles(slot, &mut Vec::new()));
        let affected = self.all_that_can_be_muted();
        self.settle(now, affected);
    }

    pub(super) fn all_that_can_be_muted(&self) -> Vec<u32> {
        let mut affected = self.live_alerts();
        affected.extend(self.suppression.causes.keys());
        affected
    }

    /// Opens and closes windows as of a time. Says whether others are open than before.
    pub(super) fn turn_windows(&mut self, at: Timestamp) -> bool {
        let changed = self.suppression.maintenance.advance(&self.rules.maintenance, at);
        if changed && !self.rules.maintenance.is_empty() {
            self.suppression.windows_as_of = Some((at, false));
        }
        changed
    }

    /// Ends recovery: finds out anew who is muted by what. Where the answer is another one than before the restart, as
    /// when inhibition rules have changed, the review that follows acts on it.
    pub(in crate::engine) fn finish_restore_suppression(&mut self) {
        self.suppression.silences.finish_restore();
        if let Some((as_of, _)) = self.suppression.windows_as_of {
            self.suppression.maintenance.advance(&self.rules.maintenance, as_of);
        }
        let live = self.live_alerts();
        live.iter().for_each(|slot| self.assign_roles(*slot, &mut Vec::new()));
        for slot in live {
            let causes = self.suppression.appraise(&self.rules, slot, &self.subject(slot));
            let Some(reason) = causes.first() else { continue };
            self.suppression.by_reason[reason] += 1;
            causes.silences.iter().for_each(|silence| self.suppression.silences.resume(*silence));
            self.suppression.causes.insert(slot, causes);
        }
        self.review_suppression();
    }

    /// Alertmanager's fingerprint of an alert.
    pub(super) fn fingerprint_of(&self, alert: &Alert) -> u64 {
        let text = |symbol| self.names.text(symbol);
        let mut labels: Vec<(&str, &str)> =
            alert.texts.labels().iter().map(|(name, value)| (text(*name), text(*value))).collect();
        labels.sort_unstable();
        crate::identity::alertmanager_fingerprint(labels.into_iter())
    }
}
