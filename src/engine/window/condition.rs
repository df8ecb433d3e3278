//! What a rule's condition makes of an alert: whether it takes it, what it counts, how many it asks for, what is late.

use std::time::Duration;

use super::{Entry, Progress, Shape};
use crate::engine::correlate::Sighting;
use crate::engine::decision::Reason;
use crate::engine::shard::Shard;
use crate::event::{Event, Timestamp};
use crate::identity::{Hasher, domain};
use crate::rules::{Late, Matcher, MemberSet, OpenWhen, Rule, Subject, WindowType};

/// Whether all matchers hold.
fn all(matchers: &[Matcher], subject: &impl Subject) -> bool {
    matchers.iter().all(|matcher| matcher.matches(subject))
}

/// The steps that an alert can be, a bit each.
fn steps_of(steps: &[Box<[Matcher]>], subject: &impl Subject) -> u64 {
    let matching = steps.iter().enumerate().filter(|(_, matchers)| all(matchers, subject));
    matching.fold(0, |mask, (step, _)| mask | 1 << step)
}

impl Shard {
    /// Whether a matching rule takes an alert, or why not: what its condition cannot count is not part of its groups.
    pub(in crate::engine) fn takes(&mut self, slot: u32, place: u32) -> Result<(), Reason> {
        let mut hasher = std::mem::take(&mut self.hasher);
        let judged = self.weigh(slot, place, &mut hasher);
        self.hasher = hasher;
        judged
    }

    fn weigh(&self, slot: u32, place: u32, hasher: &mut Hasher) -> Result<(), Reason> {
        let Some(rule) = self.rules.rules.get(place as usize) else { return Ok(()) };
        let subject = self.subject(slot);
        if rule.clears(&subject) {
            return Err(Reason::NothingToEnd);
        }
        match &rule.open_when {
            OpenWhen::Alerts(_) | OpenWhen::Events(_) => Ok(()),
            OpenWhen::Distinct { label, .. } => subject.label(label).map(|_| ()).ok_or(Reason::LabelMissing),
            OpenWhen::Ratio { label, set, .. } => {
                let value = subject.label(label).ok_or(Reason::LabelMissing)?;
                let key = subject.label(&set.label).filter(|key| set.size(key).is_some()).ok_or(Reason::UnknownKey)?;
                let is_member = set.has(key, MemberSet::item(hasher, value));
                is_member.then_some(()).ok_or(Reason::NotMember)
            }
            OpenWhen::Sequence(steps) if steps_of(steps, &subject) > 0 => Ok(()),
            OpenWhen::Absence { after, .. } if all(after, &subject) => Ok(()),
            OpenWhen::Absence { .. } if rule.answers(&subject) => Err(Reason::NothingToEnd),
            OpenWhen::Sequence(_) | OpenWhen::Absence { .. } => Err(Reason::NoStep),
        }
    }

    /// How many the rule asks for in a group.
    pub(in crate::engine) fn need(&self, rule: &Rule, group: u32) -> u32 {
        match &rule.open_when {
            OpenWhen::Ratio { share, set, .. } => {
                let key = self.groups.slots[group].key.iter();
                let value = key.copied().find(|(name, _)| self.names.text(*name) == &*set.label);
                let value = value.and_then(|(_, value)| value);
                let size = value.and_then(|value| set.size(self.names.text(value)));
                size.map_or(u32::MAX, |size| share.of(size))
            }
            open_when => open_when.need().unwrap_or(u32::MAX),
        }
    }

    /// How late an event may come: as its source is configured, else the way it came, else as all.
    fn lateness_of(&self, sighting: &Sighting<'_>) -> Duration {
        let config = &self.config;
        if config.source_lateness.is_empty() {
            return config.lateness;
        }
        let source = self.alerts.slots[sighting.slot].texts.source.map_or("", |source| self.names.text(source));
        let by_way = || self.late_by.get(sighting.event.position as usize).copied().flatten();
        config.source_lateness.of(source).or_else(by_way).unwrap_or(config.lateness)
    }

    /// Whether an event comes too late to count.
    pub(in crate::engine) fn is_late(&self, sighting: &Sighting<'_>, rule: &Rule, newest: Timestamp) -> bool {
        let late = sighting.at().plus(self.lateness_of(sighting)) < newest;
        late && (rule.late == Late::Stale || sighting.at() < self.remembered_since(rule, newest))
    }

    /// From when on a window is remembered.
    fn remembered_since(&self, rule: &Rule, newest: Timestamp) -> Timestamp {
        let span = if rule.window_type == WindowType::Session { rule.window_max } else { rule.window };
        newest.minus(span).minus(self.config.lateness_max())
    }

    /// Counts an event towards a condition that asks for so many.
    pub(in crate::engine) fn count(&mut self, sighting: &Sighting<'_>, group: u32, rule: &Rule, need: u32) -> Progress {
        let (at, event) = (sighting.at(), self.event_identity(sighting.event));
        if need == 1 {
            return Progress { have: 1, first: Entry { at, item: 0, event }, since: at.minus(rule.window) };
        }
        let entry = Entry { at, item: self.item(sighting, group, rule), event };
        let since = self.remembered_since(rule, self.groups.slots[group].newest_event_at);
        let span = &mut self.groups.slots[group].span;
        // Before the event is added: what a restart has not forgotten yet must not matter to it.
        // What was withheld may meet with more of it that is older still.
        if !sighting.again {
            span.prune(since);
        }
        span.insert(Shape::of(rule), entry)
    }

    /// What is counted once: the alert, the event, or the value of a label. Of a sequence, the steps that it can be.
    fn item(&mut self, sighting: &Sighting<'_>, group: u32, rule: &Rule) -> u64 {
        match &rule.open_when {
            OpenWhen::Alerts(_) | OpenWhen::Absence { .. } => sighting.event.fingerprint.0 as u64,
            OpenWhen::Events(_) => self.groups.slots[group].events,
            OpenWhen::Distinct { label, .. } | OpenWhen::Ratio { label, .. } => {
                let texts = &self.alerts.slots[sighting.slot].texts;
                MemberSet::item(&mut self.hasher, texts.label(&self.names, label).unwrap_or_default())
            }
            OpenWhen::Sequence(steps) => steps_of(steps, &self.subject(sighting.slot)),
        }
    }

    /// What the id of an incident opened by this event is made of: its source and id, else fingerprint and time.
    pub(super) fn event_identity(&mut self, event: &Event) -> u128 {
        if event.key.0 != 0 {
            return event.key.0;
        }
        let at = event.occurred_at.unwrap_or_default().as_micros();
        let hasher = self.hasher.reset(domain::EVENT);
        hasher.part(&event.fingerprint.0.to_le_bytes()).part(&at.to_le_bytes()).finish128()
    }
}

/// Why a rule waits.
pub(in crate::engine) fn waiting(rule: &Rule, have: u32, need: u32) -> Reason {
    if rule.open_when.is_estimate() { Reason::WaitingEstimated { have, need } } else { Reason::Waiting { have, need } }
}

/// Why an incident opens.
pub(in crate::engine) fn met(rule: &Rule, have: u32, need: u32) -> Reason {
    match &rule.open_when {
        OpenWhen::Absence { .. } => Reason::AwaitedMissing,
        open_when if open_when.is_estimate() => Reason::ConditionMetEstimated { have, need },
        _ => Reason::ConditionMet { have, need },
    }
}
