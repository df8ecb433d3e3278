//! What counts towards a rule's opening condition: entries on event time, within any span as long as the window.
//!
//! Exact and independent of the order of arrival within the lateness allowed. Memory is bounded by the condition
//! itself: as soon as `need` different items lie within one window the condition holds and the span is emptied, so
//! no window of event time ever holds more than `need` different items; and of one item, an entry between two others
//! that lie within one window of each other can never matter (any window that holds it holds one of them), so at
//! most about two entries an item and window are kept. Entries older than window + lateness are dropped.

use std::time::Duration;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::event::Timestamp;

/// One thing that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it happened.
    pub(super) at: Timestamp,
    /// What is counted once: an alert, a label's value, or an event.
    pub(super) item: u64,
    /// The identity of the event, for the id of the incident that it may open.
    pub(super) event: u128,
}

/// Entries sorted by (time, event, item): what opened an incident must not depend on the order of arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span {
    entries: SmallVec<[Entry; 1]>,
}

/// How far the condition is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Progress {
    /// Different items in the fullest window around the entry.
    pub(super) have: u32,
    /// The earliest entry of that window.
    pub(super) first: Entry,
    /// When that window begins.
    pub(super) since: Timestamp,
    /// Whether the entry was kept; else others make it redundant.
    pub(super) kept: bool,
}

impl Entry {
    fn order(&self) -> (Timestamp, u128, u64) {
        (self.at, self.event, self.item)
    }
}

impl Span {
    /// Adds an entry and says how many different items the fullest window that contains it holds.
    ///
    /// It looks at the window that ends with the entry and at those that end with a later one; a window that ends
    /// earlier holds no more than the first of them.
    pub(super) fn insert(&mut self, entry: Entry, window: Duration) -> Progress {
        let kept = self.keep(entry, window);
        let mut start = self.entries.partition_point(|other| other.at < entry.at.minus(window));
        let mut end = self.entries.partition_point(|other| other.at <= entry.at);
        let mut counts: HashMap<u64, u32> = HashMap::new();
        self.entries[start..end].iter().for_each(|other| *counts.entry(other.item).or_default() += 1);
        let (first, since) = (self.entries[start], entry.at.minus(window));
        let mut best = Progress { have: counts.len() as u32, first, since, kept };
        while let Some(newest) = self.entries.get(end).filter(|newest| newest.at <= entry.at.plus(window)) {
            *counts.entry(newest.item).or_default() += 1;
            let since = newest.at.minus(window);
            while self.entries[start].at < since {
                let oldest = self.entries[start].item;
                if let Some(count) = counts.get_mut(&oldest) {
                    *count -= 1;
                    if *count == 0 {
                        counts.remove(&oldest);
                    }
                }
                start += 1;
            }
            if counts.len() as u32 > best.have {
                best = Progress { have: counts.len() as u32, first: self.entries[start], since, kept };
            }
            end += 1;
        }
        best
    }

    /// Inserts unless another window-mate makes the entry redundant, and drops what it makes redundant.
    fn keep(&mut self, entry: Entry, window: Duration) -> bool {
        let key = Entry::order;
        let place = self.entries.partition_point(|other| key(other) < key(&entry));
        let before = self.entries[..place].iter().rposition(|other| other.item == entry.item);
        let after = self.entries[place..].iter().position(|other| other.item == entry.item).map(|at| at + place);
        if let (Some(before), Some(after)) = (before, after)
            && self.entries[after].at.since(self.entries[before].at) <= window
        {
            return false;
        }
        if self.entries.get(place).is_some_and(|other| key(other) == key(&entry)) {
            return false;
        }
        let redundant = |middle: Option<usize>, outer: Option<usize>| {
            let outer = self.entries[outer?].at;
            let span = outer.max(entry.at).since(outer.min(entry.at));
            middle.filter(|_| span <= window)
        };
        let later = after.and_then(|at| {
            self.entries[at + 1..].iter().position(|other| other.item == entry.item).map(|place| place + at + 1)
        });
        let earlier = before.and_then(|at| self.entries[..at].iter().rposition(|other| other.item == entry.item));
        let (drop_after, drop_before) = (redundant(after, later), redundant(before, earlier));
        if let Some(at) = drop_after {
            self.entries.remove(at);
        }
        self.entries.insert(place, entry);
        if let Some(at) = drop_before {
            self.entries.remove(at);
        }
        true
    }

    /// Drops entries older than `before`; says whether there were any.
    pub(super) fn prune(&mut self, before: Timestamp) -> bool {
        let keep = self.entries.partition_point(|entry| entry.at < before);
        if keep > 0 {
            self.entries.drain(..keep);
        }
        keep > 0
    }

    /// Starts over.
    pub(super) fn clear(&mut self) {
        self.entries = SmallVec::new();
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Takes back an entry as it was written; false when it is not in order.
    pub(super) fn restore(&mut self, entry: Entry) -> bool {
        let in_order = self.entries.last().is_none_or(|last| last.order() < entry.order());
        self.entries.push(entry);
        in_order
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(entries: &[(u8, u8)], window: u8, around: u8) -> u32 {
        let mut best = 0;
        for start in around.saturating_sub(window)..=around {
            let end = start.saturating_add(window);
            let mut items: Vec<u8> =
                entries.iter().filter(|(at, _)| (start..=end).contains(at)).map(|(_, item)| *item).collect();
            items.sort_unstable();
            items.dedup();
            best = best.max(items.len() as u32);
        }
        best
    }

    proptest! {
        #[test]
        fn counts_as_a_scan_over_everything_ever_seen_does(
            events in prop::collection::vec((0u8..60, 0u8..6), 1..40),
            window in 1u8..30,
        ) {
            let mut span = Span::default();
            for (seen, (at, item)) in events.iter().enumerate() {
                let entry = Entry { at: Timestamp::from_micros(i64::from(*at)), item: u64::from(*item), event: 0 };
                let progress = span.insert(entry, Duration::from_micros(u64::from(window)));
                prop_assert_eq!(progress.have, naive(&events[..=seen], window, *at));
            }
        }

        #[test]
        fn the_first_of_a_window_does_not_depend_on_the_order_of_arrival(
            events in prop::collection::btree_set((0u8..20, 0u8..8), 2..8),
        ) {
            let window = Duration::from_micros(20);
            let last_first = |events: Vec<&(u8, u8)>| {
                let mut span = Span::default();
                let place = |(item, (at, event)): (usize, &(u8, u8))| {
                    let at = Timestamp::from_micros(i64::from(*at));
                    Entry { at, item: item as u64, event: u128::from(*event) }
                };
                let entries = events.into_iter().enumerate().map(place);
                entries.map(|entry| span.insert(entry, window)).last().map(|last| (last.have, last.first.event))
            };
            let forward = last_first(events.iter().collect());
            prop_assert_eq!(forward, last_first(events.iter().rev().collect()));
        }

        #[test]
        fn keeps_a_bounded_number_of_entries_an_item(times in prop::collection::vec(0i64..100, 1..200)) {
            let mut span = Span::default();
            for at in times {
                span.insert(Entry { at: Timestamp::from_micros(at), item: 1, event: 0 }, Duration::from_micros(25));
            }
            prop_assert!(span.entries().len() <= 2 * (100 / 25 + 1));
        }
    }
}
