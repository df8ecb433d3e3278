//! An alert as the shard remembers it, and the table of all of them.
//!
//! About 200 bytes an alert beside its interned texts and 8 bytes a label; `docs/performance.md` has the measured
//! figure. Bounded by `max_alerts`. A resolved alert is kept for a while, so that what comes late is recognised.

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::flapping::Turns;
use super::memory::interner::{Interner, Symbol};
use super::memory::slab::Slab;
use super::suppress::Mark;
use crate::event::{Batch, Event, Severity, Status, Timestamp};
use crate::identity::Fingerprint;

/// Whether the condition holds, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum AlertState {
    /// It has ended, or was never seen to fire.
    Resolved,
    /// It holds.
    Firing,
    /// Its lease lapsed.
    Stale,
}

impl AlertState {
    pub(super) const ALL: [AlertState; 3] = [AlertState::Resolved, AlertState::Firing, AlertState::Stale];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            AlertState::Resolved => "resolved",
            AlertState::Firing => "firing",
            AlertState::Stale => "stale",
        }
    }
}

/// That an alert belongs to a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Membership {
    pub(super) group: u32,
    /// Its place in the group's list of members.
    pub(super) place: u32,
    /// Whether it holds the group back from all clear.
    pub(super) firing: bool,
    /// Whether it is linked to the group's incident.
    pub(super) linked: bool,
    /// Whether it flaps by the rule, which holds the incident open. Only while it is linked to a live one.
    pub(super) flapping: bool,
    /// An operator has resolved the incident although it fired: how grave it was then. See `desk/letting_go.rs`.
    pub(super) let_go: Option<Severity>,
    /// The merged group through which it belongs to this one, or [`OWN`].
    pub(super) origin: u32,
}

/// The origin of what belongs to a group by itself.
pub(super) const OWN: u32 = u32::MAX;

/// The last word on the alert: the greatest (event time, firing before resolved, event id) wins, whatever the order of
/// arrival. Where all of it is equal, as in repeats that keep their time and have no id, the last to arrive wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Register {
    pub(super) at: Timestamp,
    pub(super) status: Status,
    pub(super) event: u64,
}

impl Register {
    pub(super) fn of(event: &Event) -> Self {
        let at = event.occurred_at.unwrap_or_default();
        Self { at, status: event.status, event: event.key.0 as u64 }
    }
}

/// How much of an alert the journal lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dirty {
    #[default]
    Clean,
    /// Counts and times.
    Counters,
    /// Everything.
    Whole,
}

/// What an alert says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Texts {
    pub(super) labels: Box<[(Symbol, Symbol)]>,
    pub(super) annotations: Box<[(Symbol, Symbol)]>,
    pub(super) links: Box<[(Symbol, Symbol)]>,
    pub(super) source: Option<Symbol>,
    pub(super) summary: Option<Symbol>,
}

impl Texts {
    /// Materialises what an event says.
    pub(super) fn intern(names: &mut Interner, batch: &Batch, event: &Event) -> Self {
        let mut pairs = |pairs| -> Box<[(Symbol, Symbol)]> {
            batch.texts(pairs).map(|(name, value)| (names.intern(name), names.intern(value))).collect()
        };
        let (labels, annotations, links) = (pairs(event.labels), pairs(event.annotations), pairs(event.links));
        let mut text = |text: crate::event::Text| (!text.is_empty()).then(|| names.intern(batch.text(text)));
        Self { labels, annotations, links, source: text(event.source), summary: text(event.summary) }
    }

    /// Gives the texts back.
    pub(super) fn release(self, names: &mut Interner) {
        for (name, value) in self.labels.into_iter().chain(self.annotations).chain(self.links) {
            names.release(name);
            names.release(value);
        }
        for text in [self.source, self.summary].into_iter().flatten() {
            names.release(text);
        }
    }

    pub(super) fn label<'a>(&self, names: &'a Interner, name: &str) -> Option<&'a str> {
        Some(names.text(self.value(names, name)?))
    }

    /// The value of a label as a symbol.
    pub(super) fn value(&self, names: &Interner, name: &str) -> Option<Symbol> {
        let (_, value) = self.labels.iter().find(|(label, _)| names.text(*label) == name)?;
        Some(*value)
    }

    pub(super) fn bytes(&self) -> usize {
        (self.labels.len() + self.annotations.len() + self.links.len()) * size_of::<(Symbol, Symbol)>()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Alert {
    pub(super) fingerprint: Fingerprint,
    pub(super) register: Register,
    /// A hash of what it says, to see a change without comparing.
    pub(super) content: u64,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
    /// While firing: when the lease ends. Else: when it cleared, on the receiving clock.
    pub(super) until: Timestamp,
    /// Its entry in the timers.
    pub(super) timer_at: Timestamp,
    pub(super) count: u64,
    pub(super) texts: Texts,
    pub(super) memberships: SmallVec<[Membership; 1]>,
    pub(super) turns: Turns,
    /// The rule set that its memberships follow; another one means that they must be found anew.
    pub(super) epoch: u32,
    /// No rule wanted it when its rules were looked for last.
    pub(super) unwanted: bool,
    pub(super) state: AlertState,
    pub(super) severity: Severity,
    /// What keeps it from its rules.
    pub(super) mark: Mark,
    pub(super) dirty: Dirty,
}

impl Alert {
    pub(super) fn membership(&mut self, group: u32) -> Option<&mut Membership> {
        self.memberships.iter_mut().find(|membership| membership.group == group)
    }
}

/// All alerts of a shard.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    pub(super) slots: Slab<Alert>,
    by_fingerprint: HashTable<u32>,
    pub(super) by_state: [u64; 3],
}

impl Alerts {
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<u32> {
        let found =
            self.by_fingerprint.find(fingerprint.0 as u64, |slot| self.slots[*slot].fingerprint == fingerprint)?;
        Some(*found)
    }

    pub(super) fn insert(&mut self, alert: Alert) -> u32 {
        self.by_state[alert.state as usize] += 1;
        let fingerprint = alert.fingerprint;
        let slot = self.slots.insert(alert);
        self.index(slot, fingerprint);
        slot
    }

    fn index(&mut self, slot: u32, fingerprint: Fingerprint) {
        let slots = &self.slots;
        self.by_fingerprint.insert_unique(fingerprint.0 as u64, slot, |slot| slots[*slot].fingerprint.0 as u64);
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Alert> {
        let fingerprint = self.slots.get(slot)?.fingerprint;
        if let Ok(entry) = self.by_fingerprint.find_entry(fingerprint.0 as u64, |other| *other == slot) {
            entry.remove();
        }
        let alert = self.slots.remove(slot)?;
        self.by_state[alert.state as usize] -= 1;
        Some(alert)
    }

    pub(super) fn set_state(&mut self, slot: u32, state: AlertState) {
        let alert = &mut self.slots[slot];
        self.by_state[alert.state as usize] -= 1;
        self.by_state[state as usize] += 1;
        alert.state = state;
    }

    /// Indexes what recovery has put into slots.
    pub(super) fn finish_restore(&mut self) {
        self.slots.collect_free();
        self.by_state = [0; 3];
        self.by_fingerprint.clear();
        let found: Vec<_> = self.slots.slots().map(|(slot, alert)| (slot, alert.fingerprint, alert.state)).collect();
        for (slot, fingerprint, state) in found {
            self.by_state[state as usize] += 1;
            self.index(slot, fingerprint);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let heap = |alert: &Alert| {
            alert.texts.bytes() + if alert.memberships.spilled() { alert.memberships.capacity() * 16 } else { 0 }
        };
        let sampled: usize = self.slots.slots().take(256).map(|(_, alert)| heap(alert)).sum();
        let average = sampled / self.slots.len().clamp(1, 256);
        self.slots.bytes() + self.by_fingerprint.capacity() * 5 + average * self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::EventKey;

    fn register(seconds: i64, status: Status, key: u128) -> Register {
        let occurred_at = Some(Timestamp::from_parts(seconds, 0));
        Register::of(&Event { occurred_at, status, key: EventKey(key), ..Event::default() })
    }

    #[test]
    fn the_later_word_wins_then_firing_then_the_id() {
        let rising = [
            register(1, Status::Firing, 9),
            register(2, Status::Resolved, 9),
            register(2, Status::Firing, 0),
            register(2, Status::Firing, 1),
            register(3, Status::Resolved, 0),
        ];
        assert!(rising.is_sorted_by(|one, other| one < other));
    }
}
