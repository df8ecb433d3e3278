//! Every deadline of a shard in one heap.
//!
//! An alert or a group has at most one deadline that counts, the earliest; it is written beside the object
//! (`timer_at`) and as an entry here. An entry whose time is not the object's any more is void and dropped when it
//! surfaces. A deadline that only moves later (a lease extended by every repeat) is not touched until it surfaces, so
//! a repeat costs nothing here. When void entries outnumber the objects threefold, they are swept out, a few with every
//! call, so that no event waits for all of them.

use crate::event::Timestamp;

/// Whose deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) enum Owner {
    Alert(u32),
    Group(u32),
    /// What is expected next of all heartbeats.
    Heartbeats,
    /// The next time at which something begins or ends to be muted.
    Suppression,
    /// The catalogue has changed: links by it are looked at again.
    Relations,
    /// A problem is closed because nothing has recurred.
    Problems,
}

/// Below this many entries a sweep is not worth its while.
const SWEEP_MIN: usize = 1_024;
/// Entries that one step of a sweep looks at.
const SWEEP_STEP: usize = 32;
/// Children of an entry: fewer levels than with two, and four lie in one line of the cache.
const CHILDREN: usize = 4;

type Entry = (Timestamp, Owner);

/// The least first. The last entry can be taken off without any other having to move.
#[derive(Debug, Default)]
struct Heap(Vec<Entry>);

impl Heap {
    fn push(&mut self, entry: Entry) {
        let mut place = self.0.len();
        self.0.push(entry);
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.0[parent] <= entry {
                break;
            }
            self.0[place] = self.0[parent];
            place = parent;
        }
        self.0[place] = entry;
    }

    fn pop(&mut self) -> Option<Entry> {
        let last = self.0.pop()?;
        let Some(first) = self.0.first().copied() else { return Some(last) };
        let mut place = 0;
        loop {
            let children = place * CHILDREN + 1;
            let children = children..(children + CHILDREN).min(self.0.len());
            let Some(least) = children.min_by_key(|child| self.0[*child]).filter(|least| self.0[*least] < last) else {
                break;
            };
            self.0[place] = self.0[least];
            place = least;
        }
        self.0[place] = last;
        Some(first)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Timers {
    heap: Heap,
    /// Entries that a sweep has not looked at yet; they are due as ever.
    unswept: Heap,
}

impl Timers {
    /// Makes sure that the owner is called at `due` or before; `timer_at` is the owner's present entry.
    pub(in crate::engine) fn schedule(&mut self, owner: Owner, timer_at: &mut Timestamp, due: Timestamp) {
        if due < *timer_at {
            *timer_at = due;
            self.heap.push((due, owner));
        }
    }

    /// The earliest entry, void or not.
    pub(in crate::engine) fn next(&self) -> Option<Timestamp> {
        let heads = [self.heap.0.first(), self.unswept.0.first()];
        heads.into_iter().flatten().map(|(due, _)| *due).min()
    }

    /// Takes an entry that is due.
    pub(in crate::engine) fn pop(&mut self, now: Timestamp) -> Option<Entry> {
        let due = |heap: &Heap| heap.0.first().copied().filter(|(due, _)| *due <= now);
        match (due(&self.heap), due(&self.unswept)) {
            (None, None) => None,
            (Some(first), Some(other)) if other < first => self.unswept.pop(),
            (None, Some(_)) => self.unswept.pop(),
            (Some(_), _) => self.heap.pop(),
        }
    }

    /// Whether a sweep is due, or under way, in a shard of so many alerts and groups.
    pub(in crate::engine) fn is_crowded(&self, objects: usize) -> bool {
        !self.unswept.0.is_empty() || self.heap.0.len() > SWEEP_MIN.max(objects * 4)
    }

    /// Drops void entries, a few at a time; `current` tells an owner's present entry.
    pub(in crate::engine) fn sweep(&mut self, current: impl Fn(Owner) -> Option<Timestamp>) {
        if self.unswept.0.is_empty() {
            self.unswept = std::mem::take(&mut self.heap);
        }
        for _ in 0..SWEEP_STEP {
            let Some((due, owner)) = self.unswept.0.pop() else { return self.unswept = Heap::default() };
            if current(owner) == Some(due) {
                self.heap.push((due, owner));
            }
        }
    }

    pub(in crate::engine) fn clear(&mut self) {
        (self.heap, self.unswept) = (Heap::default(), Heap::default());
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        (self.heap.0.capacity() + self.unswept.0.capacity()) * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_parts(seconds, 0)
    }

    #[test]
    fn a_deadline_that_moves_later_is_left_alone_and_one_that_moves_earlier_is_not() {
        let (mut timers, mut timer_at) = (Timers::default(), Timestamp::MAX);
        for due in [20, 30, 10] {
            timers.schedule(Owner::Alert(7), &mut timer_at, at(due));
        }
        assert_eq!(timer_at, at(10));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(40)), Some((at(10), Owner::Alert(7))));
        assert_eq!(timers.pop(at(40)), Some((at(20), Owner::Alert(7))), "void, and the caller sees that");
        assert_eq!(timers.pop(at(40)), None);
    }

    #[test]
    fn a_sweep_keeps_what_is_current_and_what_is_due_meanwhile_comes_in_its_turn() {
        let (mut timers, mut timer_at) = (Timers::default(), Timestamp::MAX);
        for due in (0..5_000).rev() {
            timers.schedule(Owner::Group(1), &mut timer_at, at(due));
        }
        for group in 2..100 {
            timers.schedule(Owner::Group(group), &mut Timestamp::MAX.clone(), at(7_000 - i64::from(group)));
        }
        let current = |owner| match owner {
            Owner::Group(1) => Some(at(0)),
            Owner::Group(group) => Some(at(7_000 - i64::from(group))),
            _ => None,
        };
        assert!(timers.is_crowded(1));
        timers.sweep(current);
        assert_eq!(timers.pop(at(0)), Some((at(0), Owner::Group(1))));
        while timers.is_crowded(1) {
            timers.sweep(current);
        }
        let left: Vec<_> = std::iter::from_fn(|| timers.pop(Timestamp::MAX)).collect();
        let expected: Vec<_> =
            (2..100).rev().map(|group| (at(7_000 - i64::from(group)), Owner::Group(group))).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn entries_come_in_order_whatever_the_order_in_which_they_went_in() {
        let mut timers = Timers::default();
        let due = |number: u32| at(i64::from(number.wrapping_mul(2_654_435_761) % 97));
        (0..500).for_each(|slot| timers.schedule(Owner::Alert(slot), &mut Timestamp::MAX.clone(), due(slot)));
        let mut expected: Vec<_> = (0..500).map(|slot| (due(slot), Owner::Alert(slot))).collect();
        expected.sort_unstable();
        assert_eq!(std::iter::from_fn(|| timers.pop(Timestamp::MAX)).collect::<Vec<_>>(), expected);
    }
}
