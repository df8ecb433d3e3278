//! Where a shard keeps things: numbered slots, shared texts, ids seen, and the one heap of deadlines.
//!
//! Plain containers with a bound each. Know nothing of alerts, rules or incidents.

pub(super) mod dedup;
pub(super) mod index;
pub(super) mod interner;
pub(super) mod slab;
pub(super) mod timers;
