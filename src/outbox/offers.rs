//! What has just become durable, on its way from the committer to its sink's dispatcher, which so need not ask the store.
//!
//! At most [`OFFERS_MAX`] deliveries wait here; of more it is only noted that there are some, and the dispatcher reads
//! them from the store. Who offers never waits.

use std::sync::Mutex;

use tokio::sync::Notify;

use super::lock;
use crate::store::PendingDelivery;

/// As many as a dispatcher holds in memory.
const OFFERS_MAX: usize = super::dispatcher::WINDOW_ROWS_MAX;

/// What was offered since somebody took it.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// In the order of their rows.
    pub(super) deliveries: Vec<PendingDelivery>,
    /// Whether the store holds others, which are not among these.
    pub(super) more: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Offers {
    offered: Mutex<Offered>,
    come: Notify,
}

impl Offers {
    /// Offers a delivery; [`Offers::wake`] must follow.
    pub(super) fn add(&self, delivery: PendingDelivery) {
        let mut offered = lock(&self.offered);
        if offered.deliveries.len() < OFFERS_MAX && !offered.more {
            offered.deliveries.push(delivery);
        } else {
            *offered = Offered { deliveries: Vec::new(), more: true };
        }
    }

    /// Says that there is something.
    pub(super) fn wake(&self) {
        self.come.notify_one();
    }

    /// Says that the store may hold something that was not offered.
    pub(super) fn note_more(&self) {
        lock(&self.offered).more = true;
        self.wake();
    }

    pub(super) fn take(&self) -> Offered {
        std::mem::take(&mut *lock(&self.offered))
    }

    /// Resolves once there is something new.
    pub(super) async fn come(&self) {
        self.come.notified().await;
    }
}
