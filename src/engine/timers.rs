//! Every deadline of a shard in one heap.
//!
//! An alert or a group has at most one deadline that counts, the earliest; it is written beside the object
//! (`timer_at`) and as an entry here. An entry whose time is not the object's any more is void and dropped when it
//! surfaces. A deadline that only moves later (a lease extended by every repeat) is not touched until it surfaces, so
//! a repeat costs nothing here. At most about two entries an object.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::Timestamp;

/// Whose deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Alert(u32),
    Group(u32),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, Owner)>>,
}

impl Timers {
    /// Makes sure that the owner is called at `due` or before; `timer_at` is the owner's present entry.
    pub(super) fn schedule(&mut self, owner: Owner, timer_at: &mut Timestamp, due: Timestamp) {
        if due < *timer_at {
            *timer_at = due;
            self.heap.push(Reverse((due, owner)));
        }
    }

    /// The earliest entry, void or not.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes an entry that is due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Owner)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
    }

    pub(super) fn bytes(&self) -> usize {
        self.heap.capacity() * size_of::<(Timestamp, Owner)>()
    }
}
