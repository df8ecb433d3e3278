//! The names of incidents that are closed, so that none is given twice.
//!
//! Bounded; beyond it the oldest are forgotten, and could be given again to the very same opening event.

use std::collections::VecDeque;

use hashbrown::HashSet;

use crate::identity::IncidentId;

/// Ids of closed incidents that are remembered; about 50 bytes each.
const CLOSED_IDS_MAX: usize = 100_000;

/// Ids of closed incidents, oldest first.
#[derive(Debug, Default)]
pub(in crate::engine) struct ClosedIds {
    known: HashSet<IncidentId>,
    order: VecDeque<IncidentId>,
    /// Ids at the back that the journal does not have yet.
    fresh: usize,
}

impl ClosedIds {
    pub(in crate::engine) fn insert(&mut self, id: IncidentId) {
        if !self.known.insert(id) {
            return;
        }
        if self.order.len() >= CLOSED_IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(id);
        self.fresh = (self.fresh + 1).min(self.order.len());
    }

    pub(in crate::engine) fn contains(&self, id: IncidentId) -> bool {
        self.known.contains(&id)
    }

    /// Bytes held.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.known.allocation_size() + self.order.capacity() * size_of::<IncidentId>()
    }

    pub(in crate::engine) fn take_fresh(&mut self) -> impl ExactSizeIterator<Item = IncidentId> + '_ {
        let from = self.order.len() - std::mem::take(&mut self.fresh);
        self.order.range(from..).copied()
    }

    /// What was restored is in the journal already.
    pub(in crate::engine) fn forget_fresh(&mut self) {
        self.fresh = 0;
    }

    pub(in crate::engine) fn all(&self) -> impl ExactSizeIterator<Item = IncidentId> + '_ {
        self.order.iter().copied()
    }
}
