//! Entries of a window in a plain list, counted by looking at all of them: for windows of a few.

use smallvec::SmallVec;

use super::{Entry, Progress, Reach, apart};
use crate::event::Timestamp;

/// Entries sorted by (time, event, item).
#[derive(Debug, Default)]
pub(super) struct Few {
    entries: SmallVec<[Entry; 2]>,
}

impl Few {
    /// Of entries in order.
    pub(super) fn of(entries: Vec<Entry>) -> Self {
        Self { entries: SmallVec::from_vec(entries) }
    }

    /// Adds an entry and counts the different items of the fullest window that contains it: it looks at the window that
    /// ends with the entry and at those that end with a later one; a window that ends earlier holds no more than the
    /// first of them.
    pub(super) fn insert(&mut self, entry: Entry, reach: Reach) -> (Progress, bool) {
        let kept = self.keep(entry, reach);
        let mut end = self.entries.partition_point(|other| other.at <= entry.at);
        let mut best = self.ending(end, entry.at, reach);
        while let Some(next) = self.entries.get(end) {
            let before = end.checked_sub(1).map_or(next.at, |before| self.entries[before].at);
            if apart(entry.at, next.at) > reach.span() || !reach.connects(before, next.at) {
                break;
            }
            let at = next.at;
            end = self.entries.partition_point(|other| other.at <= at);
            let progress = self.ending(end, at, reach);
            if progress.have > best.have {
                best = progress;
            }
        }
        (best, kept)
    }

    /// The window that ends at `at`, before the place `end`.
    fn ending(&self, end: usize, at: Timestamp, reach: Reach) -> Progress {
        let mut begin = end.saturating_sub(1);
        while let Some(before) = begin.checked_sub(1) {
            let (earlier, later) = (self.entries[before].at, self.entries[begin].at);
            if apart(earlier, at) > reach.span() || !reach.connects(earlier, later) {
                break;
            }
            begin = before;
        }
        let inside = &self.entries[begin..end];
        let new = |(place, entry): &(usize, &Entry)| !inside[..*place].iter().any(|other| other.item == entry.item);
        let have = inside.iter().enumerate().filter(new).count() as u32;
        let first = self.entries[begin];
        Progress { have, first, since: reach.since(at, first.at) }
    }

    /// Inserts unless others of its item make the entry redundant, and drops what it makes redundant.
    fn keep(&mut self, entry: Entry, reach: Reach) -> bool {
        let place = self.entries.partition_point(|other| other.order() < entry.order());
        if self.entries.get(place).is_some_and(|other| other.order() == entry.order()) {
            return false;
        }
        let same = |other: &Entry| other.item == entry.item;
        let before = self.entries[..place].iter().rposition(same);
        let after = self.entries[place..].iter().position(same).map(|at| at + place);
        if let (Some(before), Some(after)) = (before, after)
            && reach.makes_redundant(self.entries[before].at, self.entries[after].at)
        {
            return false;
        }
        let later = after.and_then(|at| self.entries[at + 1..].iter().position(same).map(|other| other + at + 1));
        let earlier = before.and_then(|at| self.entries[..at].iter().rposition(same));
        let drop_after =
            after.filter(|_| later.is_some_and(|later| reach.makes_redundant(entry.at, self.entries[later].at)));
        let drop_before =
            before.filter(|_| earlier.is_some_and(|earlier| reach.makes_redundant(self.entries[earlier].at, entry.at)));
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
        let old = self.entries.partition_point(|entry| entry.at < before);
        self.entries.drain(..old);
        old > 0
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.entries.last().map(|entry| entry.at)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        if self.entries.spilled() { self.entries.capacity() * size_of::<Entry>() } else { 0 }
    }
}
