//! Every deadline of a shard in one heap.
//!
//! An alert or a group has at most one deadline that counts, the earliest; it is written beside the object
//! (`timer_at`) and as an entry here. An entry whose time is not the object's any more is void and dropped when it
//! surfaces. A deadline that only moves later (a lease extended by every repeat) is not touched until it surfaces, so
//! a repeat costs nothing here. When void entries outnumber the objects threefold, they are swept out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, Owner)>>,
}

impl Timers {
    /// Makes sure that the owner is called at `due` or before; `timer_at` is the owner's present entry.
    pub(in crate::engine) fn schedule(&mut self, owner: Owner, timer_at: &mut Timestamp, due: Timestamp) {
        if due < *timer_at {
            *timer_at = due;
            self.heap.push(Reverse((due, owner)));
        }
    }

    /// The earliest entry, void or not.
    pub(in crate::engine) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes an entry that is due.
    pub(in crate::engine) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Owner)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Whether a sweep is due in a shard of so many alerts and groups.
    pub(in crate::engine) fn crowded(&self, objects: usize) -> bool {
        self.heap.len() > SWEEP_MIN.max(objects * 4)
    }

    /// Drops void entries; `current` tells an owner's present entry.
    pub(in crate::engine) fn sweep(&mut self, current: impl Fn(Owner) -> Option<Timestamp>) {
        self.heap.retain(|Reverse((due, owner))| current(*owner) == Some(*due));
    }

    pub(in crate::engine) fn clear(&mut self) {
        self.heap.clear();
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<(Timestamp, Owner)>()
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
    fn a_sweep_keeps_what_is_current() {
        let (mut timers, mut timer_at) = (Timers::default(), Timestamp::MAX);
        for due in (0..5_000).rev() {
            timers.schedule(Owner::Group(1), &mut timer_at, at(due));
        }
        assert!(timers.crowded(1));
        timers.sweep(|_| Some(timer_at));
        assert!(!timers.crowded(1));
        assert_eq!(timers.next(), Some(at(0)));
    }
}
