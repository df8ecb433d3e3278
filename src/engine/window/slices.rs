//! How many different items a window holds where they are too many to be counted: a sketch for each slice of time.
//!
//! A sliding window is 16 slices and the one under way, so it reaches back up to a sixteenth further than it should; a
//! tumbling one is a slice. At most 64 slices of at most 4 KiB are kept, 264 KiB a group with the union of the newest
//! window; beyond it the oldest is forgotten, and what falls there counts only itself. An event in order costs a register
//! and the reading of the histogram, and now and then the union of the slices. See `sketch` for the error.

use std::collections::VecDeque;

use super::sketch::{Sketch, Union, register};
use super::{Entry, Progress, Reach, number};
use crate::event::Timestamp;

/// Slices of a sliding window.
const WINDOW_SLICES: i64 = 16;
/// Slices kept: the window, the one under way, and as many again and more for what comes late.
const SLICES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Slice {
    /// Which one since the epoch.
    pub(super) number: i64,
    /// The earliest entry, which may open an incident.
    pub(super) first: Entry,
    pub(super) sketch: Sketch,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Slices {
    /// Of a slice, in microseconds.
    length: i64,
    /// How many slices before its last belong to a window.
    before: i64,
    /// In order of their numbers.
    slices: VecDeque<Slice>,
    /// Of the newest window.
    union: Union,
    /// Of the window that ends with another slice, the last that was asked for: while one clock runs ahead, all others
    /// are behind it.
    older: Option<(i64, Union)>,
}

impl Slices {
    pub(super) fn new(reach: Reach) -> Self {
        let (length, before) = match reach {
            Reach::Tumbling(span) => (span, 0),
            Reach::Sliding(span) | Reach::Session { span, .. } => ((span / WINDOW_SLICES).max(1), WINDOW_SLICES),
        };
        Self { length, before, slices: VecDeque::new(), union: Union::default(), older: None }
    }

    /// Adds an entry and estimates the newest window, or the one that ends with the entry's slice where that does not
    /// belong to the newest.
    pub(super) fn insert(&mut self, entry: Entry) -> (Progress, bool) {
        let number = number(entry.at, self.length);
        let before = self.newest_number();
        let place = self.slices.partition_point(|slice| slice.number < number);
        let known = self.slices.get(place).is_some_and(|slice| slice.number == number);
        if !known && place == 0 && self.slices.len() >= SLICES_MAX {
            return (Progress { have: 1, first: entry, since: entry.at }, false);
        }
        if !known {
            self.slices.insert(place, Slice { number, first: entry, sketch: Sketch::default() });
        }
        let slice = &mut self.slices[place];
        let earlier = entry.order() < slice.first.order();
        if earlier {
            slice.first = entry;
        }
        let changed = slice.sketch.add(entry.item) || earlier || !known;
        if self.slices.len() > SLICES_MAX {
            self.slices.pop_front();
        }
        let (index, rank) = register(entry.item);
        let newest = self.newest_number();
        if before != newest {
            self.unite();
        } else if self.belongs(number, newest) {
            self.union.raise(index, rank);
        }
        let of_older = self.older.as_ref().is_some_and(|(last, _)| self.belongs(number, Some(*last)));
        if let Some((_, union)) = self.older.as_mut().filter(|_| of_older) {
            union.raise(index, rank);
        }
        (self.progress(number, entry), changed)
    }

    fn progress(&mut self, number: i64, entry: Entry) -> Progress {
        let newest = self.newest_number();
        let last = newest.filter(|newest| self.belongs(number, Some(*newest))).unwrap_or(number);
        let have = if newest == Some(last) {
            self.union.estimate()
        } else if let Some((_, union)) = self.older.as_ref().filter(|(known, _)| *known == last) {
            union.estimate()
        } else {
            let union = Union::of(self.window(last).map(|slice| &slice.sketch));
            let have = union.estimate();
            self.older = Some((last, union));
            have
        };
        let first = self.window(last).next().map_or(entry, |slice| slice.first);
        let since = first.at.as_micros().div_euclid(self.length).saturating_mul(self.length);
        Progress { have, first, since: Timestamp::from_micros(since) }
    }

    fn newest_number(&self) -> Option<i64> {
        self.slices.back().map(|slice| slice.number)
    }

    fn belongs(&self, number: i64, last: Option<i64>) -> bool {
        last.is_some_and(|last| number <= last && number >= last.saturating_sub(self.before))
    }

    /// The slices of the window that ends with a slice.
    fn window(&self, last: i64) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| self.belongs(slice.number, Some(last)))
    }

    fn unite(&mut self) {
        let Some(newest) = self.newest_number() else {
            self.union = Union::default();
            return;
        };
        self.union = Union::of(self.window(newest).map(|slice| &slice.sketch));
    }

    /// Forgets slices that end before `before`; says whether there were any.
    pub(super) fn prune(&mut self, before: Timestamp) -> bool {
        self.forget(before.as_micros().saturating_sub(self.length - 1))
    }

    /// Forgets slices that begin before `before`; says whether there were any.
    pub(super) fn clear_until(&mut self, before: Timestamp) -> bool {
        self.forget(before.as_micros())
    }

    fn forget(&mut self, begun_before: i64) -> bool {
        let (kept, length) = (self.slices.len(), self.length);
        while self.slices.front().is_some_and(|slice| slice.number.saturating_mul(length) < begun_before) {
            self.slices.pop_front();
        }
        let forgotten = self.slices.len() < kept;
        if forgotten {
            self.older = None;
            self.unite();
        }
        forgotten
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        let newest = self.newest_number()?;
        Some(Timestamp::from_micros(newest.saturating_add(1).saturating_mul(self.length)))
    }

    pub(super) fn all(&self) -> &VecDeque<Slice> {
        &self.slices
    }

    /// Takes back a slice as it was written; false when it is not in order.
    pub(super) fn restore(&mut self, slice: Slice) -> bool {
        let in_order = self.newest_number().is_none_or(|newest| newest < slice.number);
        self.slices.push_back(slice);
        in_order && self.slices.len() <= SLICES_MAX
    }

    /// Ends the taking back.
    pub(super) fn finish_restore(&mut self) {
        self.unite();
    }

    pub(super) fn bytes(&self) -> usize {
        let sketches: usize = self.slices.iter().map(|slice| slice.sketch.bytes()).sum();
        self.slices.capacity() * size_of::<Slice>() + sketches + super::sketch::REGISTERS
    }
}
