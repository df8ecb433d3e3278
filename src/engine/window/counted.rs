//! Entries of a large window, counted as they come: the different items of the newest window are always known.
//!
//! An event in order costs a look-up and a push, and every entry leaves the newest window once. A late one costs what
//! came after it, and as long a time at the far end of the window. An entry that others of its item make redundant is
//! marked and swept out when such outnumber the others, so that of an item about two entries a window are kept; beyond
//! [`ENTRIES_MAX`] the oldest are forgotten. 100 to 200 bytes an
//! entry.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::{ENTRIES_MAX, Entry, Progress, Reach, apart};
use crate::event::Timestamp;

/// No other entry of the item before.
const NONE: u64 = u64::MAX;
/// Redundant entries below which a sweep is not worth its while.
const SWEEP_MIN: usize = 16;

#[derive(Debug)]
struct Slot {
    entry: Entry,
    /// The position of the entry of the same item before.
    previous: u64,
    /// Redundant: it bridges gaps as ever and counts nothing.
    redundant: bool,
}

/// What is known of an item.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// The position of its newest entry.
    last: u64,
    /// Its entries in the newest window.
    inside: u32,
}

/// Entries sorted by (time, event, item). Positions count from the first entry ever; `base` is that of the first slot.
#[derive(Debug, Default)]
pub(super) struct Counted {
    slots: VecDeque<Slot>,
    base: u64,
    tracks: HashMap<u64, Track>,
    /// Where the newest window begins.
    start: u64,
    /// Different items in it.
    distinct: u32,
    redundant: usize,
}

impl Counted {
    /// Of entries in order.
    pub(super) fn build(entries: &[Entry], reach: Reach) -> Self {
        let mut counted = Self::default();
        for entry in entries {
            counted.push(*entry);
        }
        counted.find_newest_window(reach);
        counted
    }

    fn push(&mut self, entry: Entry) -> u64 {
        let position = self.end();
        let track = self.tracks.entry(entry.item).or_insert(Track { last: NONE, inside: 0 });
        let previous = std::mem::replace(&mut track.last, position);
        self.slots.push_back(Slot { entry, previous, redundant: false });
        position
    }

    fn find_newest_window(&mut self, reach: Reach) {
        let Some(newest) = self.end().checked_sub(1).filter(|newest| *newest >= self.base) else { return };
        self.start = newest;
        self.enter(newest);
        self.extend(reach);
    }

    /// See `Few::insert`.
    pub(super) fn insert(&mut self, entry: Entry, reach: Reach) -> (Progress, bool) {
        let in_order = self.slots.back().is_none_or(|newest| newest.entry.order() < entry.order());
        let kept = if in_order { self.append(entry, reach) } else { self.insert_late(entry, reach) };
        while self.len() > ENTRIES_MAX {
            self.pop_front();
        }
        let progress = if in_order { self.newest_window(reach) } else { self.around(entry, reach) };
        if self.redundant > SWEEP_MIN.max(self.len()) {
            let entries: Vec<Entry> = self.entries().copied().collect();
            *self = Self::build(&entries, reach);
        }
        (progress, kept)
    }

    fn append(&mut self, entry: Entry, reach: Reach) -> bool {
        let before = self.slots.back().map_or(entry.at, |slot| slot.entry.at);
        if let Some(last) = self.tracks.get(&entry.item).map(|track| track.last)
            && let Some(earlier) = self.previous(last)
            && reach.makes_redundant(self.slot(earlier).entry.at, entry.at)
        {
            self.drop_redundant(last);
            self.tracks.entry(entry.item).and_modify(|track| track.last = earlier);
        }
        let position = self.push(entry);
        if reach.connects(before, entry.at) {
            while apart(self.slot(self.start).entry.at, entry.at) > reach.span() {
                self.leave(self.start);
                self.start += 1;
            }
        } else {
            while self.start < position {
                self.leave(self.start);
                self.start += 1;
            }
        }
        self.enter(position);
        true
    }

    fn newest_window(&mut self, reach: Reach) -> Progress {
        while self.slot(self.start).redundant {
            self.start += 1;
        }
        let first = self.slot(self.start).entry;
        let end = self.slot(self.end() - 1).entry.at;
        Progress { have: self.distinct, first, since: reach.since(end, first.at) }
    }

    fn insert_late(&mut self, entry: Entry, reach: Reach) -> bool {
        let place = self.slots.partition_point(|slot| slot.entry.order() < entry.order());
        let same = self.slots.range(place..).take_while(|slot| slot.entry.order() == entry.order());
        if same.into_iter().any(|slot| !slot.redundant) {
            return false;
        }
        let position = self.base + place as u64;
        let (mut later, mut after) = (None, None);
        let mut before = self.tracks.get(&entry.item).map(|track| track.last);
        while let Some(newer) = before.filter(|found| *found >= position) {
            (later, after) = (after, Some(newer));
            before = self.previous(newer);
        }
        let at = |position: u64| self.slot(position).entry.at;
        if let (Some(before), Some(after)) = (before, after)
            && reach.makes_redundant(at(before), at(after))
        {
            return false;
        }
        let earlier = before.and_then(|before| self.previous(before));
        let drop_after = after.filter(|_| later.is_some_and(|later| reach.makes_redundant(entry.at, at(later))));
        let drop_before =
            before.filter(|_| earlier.is_some_and(|earlier| reach.makes_redundant(at(earlier), entry.at)));
        drop_after.into_iter().chain(drop_before).for_each(|position| self.drop_redundant(position));
        let previous = if drop_before.is_some() { earlier } else { before };
        let next = if drop_after.is_some() { later } else { after };
        self.insert_at(place, entry, previous);
        match next {
            // Everything from the place on has moved by one.
            Some(next) => self.slot_mut(next + 1).previous = position,
            None => self.tracks.entry(entry.item).or_insert(Track { last: NONE, inside: 0 }).last = position,
        }
        if position <= self.start {
            self.start += 1;
            self.extend(reach);
        } else {
            self.enter(position);
        }
        true
    }

    /// Puts an entry between others, whose positions move.
    fn insert_at(&mut self, place: usize, entry: Entry, previous: Option<u64>) {
        let position = self.base + place as u64;
        self.slots.insert(place, Slot { entry, previous: previous.unwrap_or(NONE), redundant: false });
        for (moved, slot) in self.slots.range_mut(place + 1..).enumerate() {
            if slot.previous != NONE && slot.previous >= position {
                slot.previous += 1;
            }
            let old = position + moved as u64;
            if !slot.redundant
                && let Some(track) = self.tracks.get_mut(&slot.entry.item)
                && track.last == old
            {
                track.last = old + 1;
            }
        }
    }

    /// Takes older entries into the newest window, as far as they belong to it.
    fn extend(&mut self, reach: Reach) {
        let end = self.slot(self.end() - 1).entry.at;
        while self.start > self.base {
            let (earlier, later) = (self.slot(self.start - 1).entry.at, self.slot(self.start).entry.at);
            if apart(earlier, end) > reach.span() || !reach.connects(earlier, later) {
                break;
            }
            self.start -= 1;
            self.enter(self.start);
        }
    }

    /// The fullest window that contains an entry which is not the newest. It goes from the newest window backwards; of
    /// equally full ones the earliest is chosen.
    fn around(&self, entry: Entry, reach: Reach) -> Progress {
        let (mut begin, mut end) = ((self.start - self.base) as usize, self.slots.len());
        let mut tally = Tally { tracks: Some(&self.tracks), moved: HashMap::new(), distinct: self.distinct };
        let mut best: Option<(u32, usize, Timestamp)> = None;
        while let Some(newest) = end.checked_sub(1).map(|last| self.slots[last].entry.at) {
            let until = newest.max(entry.at);
            while let Some(before) = begin.checked_sub(1) {
                let earlier = self.slots[before].entry.at;
                let later = if begin < end { self.slots[begin].entry.at } else { earlier };
                if apart(earlier, until) > reach.span() || !reach.connects(earlier, later) {
                    break;
                }
                begin = before;
                tally.add(&self.slots[begin]);
            }
            while begin < end && apart(self.slots[begin].entry.at, until) > reach.span() {
                tally.remove(&self.slots[begin]);
                begin += 1;
            }
            if apart(entry.at, until) <= reach.span() && best.is_none_or(|(have, ..)| tally.distinct >= have) {
                best = Some((tally.distinct, begin, until));
            }
            if newest <= entry.at {
                break;
            }
            while end > 0 && self.slots[end - 1].entry.at == newest {
                end -= 1;
                if end >= begin {
                    tally.remove(&self.slots[end]);
                }
            }
            begin = begin.min(end);
            if end > 0 && !reach.connects(self.slots[end - 1].entry.at, newest) {
                // The runs so far do not contain the entry.
                tally = Tally { tracks: None, moved: HashMap::new(), distinct: 0 };
                (best, begin) = (None, end);
            }
        }
        let (have, begin, until) = best.unwrap_or((0, 0, entry.at));
        let first = self.slots.range(begin..).find(|slot| !slot.redundant).map_or(entry, |slot| slot.entry);
        Progress { have, first, since: reach.since(until, first.at) }
    }

    /// Drops entries older than `before`; says whether there were any.
    pub(super) fn prune(&mut self, before: Timestamp) -> bool {
        let mut pruned = false;
        while self.slots.front().is_some_and(|slot| slot.entry.at < before) {
            pruned = true;
            self.pop_front();
        }
        pruned
    }

    /// Drops the oldest entry, and the redundant ones behind it: without what made them so, they would bridge gaps to what
    /// comes later than all.
    fn pop_front(&mut self) {
        self.pop_oldest();
        while self.slots.front().is_some_and(|slot| slot.redundant) {
            self.pop_oldest();
        }
    }

    fn pop_oldest(&mut self) {
        if self.start == self.base {
            self.leave(self.base);
            self.start += 1;
        }
        let Some(slot) = self.slots.pop_front() else { return };
        if slot.redundant {
            self.redundant -= 1;
        } else if self.tracks.get(&slot.entry.item).is_some_and(|track| track.last == self.base) {
            self.tracks.remove(&slot.entry.item);
        }
        self.base += 1;
    }

    fn drop_redundant(&mut self, position: u64) {
        if position >= self.start {
            self.leave(position);
        }
        self.slot_mut(position).redundant = true;
        self.redundant += 1;
    }

    fn enter(&mut self, position: u64) {
        let Slot { entry, redundant, .. } = *self.slot(position);
        if let Some(track) = self.tracks.get_mut(&entry.item).filter(|_| !redundant) {
            track.inside += 1;
            self.distinct += u32::from(track.inside == 1);
        }
    }

    fn leave(&mut self, position: u64) {
        let Some(Slot { entry, redundant, .. }) = self.slots.get((position - self.base) as usize) else { return };
        if let Some(track) = self.tracks.get_mut(&entry.item).filter(|_| !redundant) {
            track.inside -= 1;
            self.distinct -= u32::from(track.inside == 0);
        }
    }

    fn slot(&self, position: u64) -> &Slot {
        &self.slots[(position - self.base) as usize]
    }

    fn slot_mut(&mut self, position: u64) -> &mut Slot {
        &mut self.slots[(position - self.base) as usize]
    }

    /// The entry of the same item before, if it is still there.
    fn previous(&self, position: u64) -> Option<u64> {
        Some(self.slot(position).previous).filter(|previous| *previous != NONE && *previous >= self.base)
    }

    fn end(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Those that count, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter(|slot| !slot.redundant).map(|slot| &slot.entry)
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.slots.back().map(|slot| slot.entry.at)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.redundant
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>() + self.tracks.capacity() * (size_of::<(u64, Track)>() + 1)
    }
}

/// The different items of a window that is not the newest, by how it differs from that one.
struct Tally<'a> {
    /// `None` where nothing is taken over.
    tracks: Option<&'a HashMap<u64, Track>>,
    moved: HashMap<u64, i64>,
    distinct: u32,
}

impl Tally<'_> {
    fn shift(&mut self, item: u64, by: i64) {
        let known = self.tracks.and_then(|tracks| tracks.get(&item)).map_or(0, |track| i64::from(track.inside));
        let moved = self.moved.entry(item).or_insert(0);
        let before = known + *moved;
        *moved += by;
        match (before, before + by) {
            (0, 1) => self.distinct += 1,
            (1, 0) => self.distinct -= 1,
            _ => {}
        }
    }

    fn add(&mut self, slot: &Slot) {
        if !slot.redundant {
            self.shift(slot.entry.item, 1);
        }
    }

    fn remove(&mut self, slot: &Slot) {
        if !slot.redundant {
            self.shift(slot.entry.item, -1);
        }
    }
}
