//! Producer ids seen within the dedup horizon: each counts once.
//!
//! Bounded by `max_ids`; beyond it the oldest are forgotten early and counted, never an error. About 50 bytes an id.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashSet;

use crate::event::Timestamp;
use crate::identity::EventKey;

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct SeenIds {
    known: HashSet<u128>,
    /// Oldest first, with the time of receipt.
    order: VecDeque<(u128, Timestamp)>,
    /// How many were ever taken off the front; makes a place in `order` stable for snapshots.
    dropped: u64,
    /// Entries at the back that the journal does not have yet.
    fresh: usize,
    overflow: u64,
}

impl SeenIds {
    /// Notes an id; false when it was seen before.
    pub(in crate::engine) fn insert(
        &mut self,
        key: EventKey,
        now: Timestamp,
        horizon: Duration,
        max_ids: usize,
    ) -> bool {
        self.expire(now, horizon);
        if self.known.contains(&key.0) {
            return false;
        }
        while self.order.len() >= max_ids.max(1) {
            self.drop_oldest();
            self.overflow += 1;
        }
        self.known.insert(key.0);
        self.order.push_back((key.0, now));
        self.fresh += 1;
        true
    }

    fn expire(&mut self, now: Timestamp, horizon: Duration) {
        let before = now.minus(horizon);
        while self.order.front().is_some_and(|(_, at)| *at < before) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((key, _)) = self.order.pop_front() {
            self.known.remove(&key);
            self.dropped += 1;
            self.fresh = self.fresh.min(self.order.len());
        }
    }

    /// Takes back an id from the journal; [`SeenIds::finish_restore`] must follow.
    pub(in crate::engine) fn restore(&mut self, key: u128, at: Timestamp) {
        self.order.push_back((key, at));
    }

    /// Puts restored ids in the order of their receipt. Of one id that was forgotten and came again, the last counts.
    pub(in crate::engine) fn finish_restore(&mut self, max_ids: usize) {
        let mut restored = Vec::from(std::mem::take(&mut self.order));
        restored.sort_by_key(|(_, at)| *at);
        for (key, at) in restored.into_iter().rev().filter(|(key, _)| self.known.insert(*key)) {
            self.order.push_front((key, at));
        }
        while self.order.len() > max_ids.max(1) {
            self.drop_oldest();
        }
        (self.fresh, self.dropped) = (0, 0);
    }

    /// The ids that the journal does not have yet; it has them from now on.
    pub(in crate::engine) fn take_fresh(&mut self) -> impl ExactSizeIterator<Item = (u128, Timestamp)> + '_ {
        let from = self.order.len() - std::mem::take(&mut self.fresh);
        self.order.range(from..).copied()
    }

    /// At most `limit` ids from a stable place on, for a snapshot, and the place after them.
    pub(in crate::engine) fn slice(
        &self,
        place: u64,
        limit: usize,
    ) -> (impl ExactSizeIterator<Item = (u128, Timestamp)> + '_, u64) {
        let from = (place.max(self.dropped) - self.dropped) as usize;
        let from = from.min(self.order.len());
        let to = (from + limit).min(self.order.len());
        (self.order.range(from..to).copied(), self.dropped + to as u64)
    }

    /// One past the stable place of the newest id.
    pub(in crate::engine) fn end(&self) -> u64 {
        self.dropped + self.order.len() as u64
    }

    /// How many ids were forgotten early since the last call.
    pub(in crate::engine) fn take_overflow(&mut self) -> u64 {
        std::mem::take(&mut self.overflow)
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        self.known.capacity() * 17 + self.order.capacity() * size_of::<(u128, Timestamp)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: Duration = Duration::from_secs(10);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_parts(seconds, 0)
    }

    #[test]
    fn an_id_counts_once_within_the_horizon_and_again_after_it() {
        let mut seen = SeenIds::default();
        assert!(seen.insert(EventKey(1), at(0), HORIZON, 100));
        assert!(!seen.insert(EventKey(1), at(10), HORIZON, 100));
        assert!(seen.insert(EventKey(2), at(11), HORIZON, 100));
        assert!(seen.insert(EventKey(1), at(12), HORIZON, 100));
    }

    #[test]
    fn an_id_is_forgotten_after_the_horizon_even_when_nothing_else_came() {
        let mut seen = SeenIds::default();
        assert!(seen.insert(EventKey(1), at(0), HORIZON, 100));
        assert!(seen.insert(EventKey(1), at(11), HORIZON, 100));
    }

    #[test]
    fn an_id_that_came_again_is_restored_with_its_last_time() {
        let mut seen = SeenIds::default();
        for (key, at) in [(1, at(0)), (2, at(1)), (1, at(11)), (2, at(1))] {
            seen.restore(key, at);
        }
        seen.finish_restore(100);
        assert!(!seen.insert(EventKey(1), at(20), HORIZON, 100), "seen at 11");
        assert!(seen.insert(EventKey(2), at(20), HORIZON, 100), "seen at 1");
    }

    #[test]
    fn what_was_forgotten_early_stays_forgotten_after_a_restart() {
        let mut seen = SeenIds::default();
        for key in 1..=4 {
            seen.restore(key, at(0));
        }
        seen.finish_restore(3);
        assert!(seen.insert(EventKey(1), at(1), HORIZON, 3));
        assert!(!seen.insert(EventKey(4), at(1), HORIZON, 3));
    }

    #[test]
    fn beyond_its_bound_the_oldest_is_forgotten_and_counted() {
        let mut seen = SeenIds::default();
        for key in 1..=4 {
            seen.insert(EventKey(key), at(0), HORIZON, 3);
        }
        assert_eq!(seen.take_overflow(), 1);
        assert!(seen.insert(EventKey(1), at(1), HORIZON, 3), "1 was forgotten");
        assert!(!seen.insert(EventKey(4), at(1), HORIZON, 3));
        assert_eq!(seen.take_fresh().count(), 3);
        assert_eq!(seen.take_fresh().count(), 0);
    }
}
