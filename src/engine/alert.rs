//! An alert as the shard remembers it, and the table of all of them.
//!
//! About 200 bytes an alert beside its interned texts and 8 bytes a label; `docs/performance.md` has the measured
//! figure. Bounded by `max_alerts`. A resolved alert is kept for a while, so that what comes late is recognised.

use smallvec::SmallVec;

use super::flapping::Turns;
use super::memory::index::Index;
use super::memory::interner::{Interner, Symbol, Symbols};
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
    /// Labels, then annotations, then links: in one piece, for the memory.
    pairs: Box<[(Symbol, Symbol)]>,
    annotations_from: u32,
    links_from: u32,
    pub(super) source: Option<Symbol>,
    pub(super) summary: Option<Symbol>,
}

impl Texts {
    /// Materialises what an event says.
    pub(super) fn intern(names: &mut Interner, batch: &Batch, event: &Event) -> Self {
        let runs = [event.labels, event.annotations, event.links].map(|run| batch.pairs(run));
        let pairs = runs.iter().flat_map(|run| run.iter()).flat_map(|pair| [pair.name, pair.value]);
        let single = [event.source, event.summary];
        let texts = pairs.chain(single.into_iter().filter(|text| !text.is_empty()));
        let mut symbols = Symbols::new();
        names.intern_all(texts.map(|text| batch.bytes(text)), &mut symbols);
        let count: usize = runs.iter().map(|run| run.len()).sum();
        let (pairs, rest) = symbols.split_at(count * 2);
        let pairs = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let mut rest = rest.iter().copied();
        let [source, summary] = single.map(|text| if text.is_empty() { None } else { rest.next() });
        Self::new(pairs, [runs[0].len(), runs[1].len()], source, summary)
    }

    /// Of pairs of which so many are labels and so many annotations.
    pub(super) fn new(
        pairs: Vec<(Symbol, Symbol)>,
        [labels, annotations]: [usize; 2],
        source: Option<Symbol>,
        summary: Option<Symbol>,
    ) -> Self {
        let (annotations_from, links_from) = (labels as u32, (labels + annotations) as u32);
        Self { pairs: pairs.into(), annotations_from, links_from, source, summary }
    }

    pub(super) fn labels(&self) -> &[(Symbol, Symbol)] {
        &self.pairs[..self.annotations_from as usize]
    }

    pub(super) fn annotations(&self) -> &[(Symbol, Symbol)] {
        &self.pairs[self.annotations_from as usize..self.links_from as usize]
    }

    pub(super) fn links(&self) -> &[(Symbol, Symbol)] {
        &self.pairs[self.links_from as usize..]
    }

    /// Gives the texts back.
    pub(super) fn release(self, names: &mut Interner) {
        for (name, value) in self.pairs {
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

    /// A label: the symbols of its name and value.
    pub(super) fn pair(&self, names: &Interner, name: &str) -> Option<(Symbol, Symbol)> {
        self.labels().iter().copied().find(|(label, _)| names.has(*label, name))
    }

    /// The value of a label as a symbol.
    pub(super) fn value(&self, names: &Interner, name: &str) -> Option<Symbol> {
        self.pair(names, name).map(|(_, value)| value)
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.pairs)
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
    /// Bytes on the heap that are counted for it.
    pub(super) counted: u32,
}

impl Alert {
    pub(super) fn membership(&mut self, group: u32) -> Option<&mut Membership> {
        self.memberships.iter_mut().find(|membership| membership.group == group)
    }

    /// Bytes on the heap beside the shared texts.
    fn heap_bytes(&self) -> usize {
        let spilled = if self.memberships.spilled() { self.memberships.capacity() } else { 0 };
        self.texts.bytes() + spilled * size_of::<Membership>() + self.turns.bytes()
    }
}

/// All alerts of a shard.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    pub(super) slots: Slab<Alert>,
    by_fingerprint: Index,
    pub(super) by_state: [u64; 3],
    /// Bytes on the heap beside the slots, as of the last commit.
    heap: usize,
}

/// What the index goes by.
fn hash_of(fingerprint: Fingerprint) -> u32 {
    fingerprint.0 as u32
}

impl Alerts {
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<u32> {
        self.by_fingerprint.find(hash_of(fingerprint), |slot| self.slots[slot].fingerprint == fingerprint)
    }

    /// The same, where it was found in this slot a moment ago.
    pub(super) fn find_at(&self, slot: Option<u32>, fingerprint: Fingerprint) -> Option<u32> {
        let alert = slot.and_then(|slot| self.slots.get(slot));
        if alert.is_some_and(|alert| alert.fingerprint == fingerprint) { slot } else { self.find(fingerprint) }
    }

    pub(super) fn insert(&mut self, alert: Alert) -> u32 {
        self.by_state[alert.state as usize] += 1;
        let fingerprint = alert.fingerprint;
        let slot = self.slots.insert(alert);
        self.by_fingerprint.insert(hash_of(fingerprint), slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Alert> {
        let alert = self.slots.remove(slot)?;
        self.by_fingerprint.remove(hash_of(alert.fingerprint), slot);
        self.by_state[alert.state as usize] -= 1;
        self.heap -= alert.counted as usize;
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
        (self.by_state, self.heap) = ([0; 3], 0);
        self.by_fingerprint.clear();
        for slot in 0..self.slots.end() {
            let Some(alert) = self.slots.get_mut(slot) else { continue };
            alert.counted = 0;
            self.by_state[alert.state as usize] += 1;
            self.by_fingerprint.insert(hash_of(alert.fingerprint), slot);
            self.count(slot);
        }
    }

    /// An alert may hold more or less than before.
    pub(super) fn count(&mut self, slot: u32) {
        let Some(alert) = self.slots.get_mut(slot) else { return };
        let now = alert.heap_bytes();
        let before = std::mem::replace(&mut alert.counted, now as u32);
        self.heap = self.heap + now - before as usize;
    }

    /// Bytes held, as of the last commit.
    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes() + self.by_fingerprint.bytes() + self.heap
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
