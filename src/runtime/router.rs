//! The one door for events: bounds what is in flight, splits batches over shards, gathers the verdicts.
//! (interface; being implemented)

use std::time::Duration;

use crate::engine::decision::Verdict;
use crate::event::Batch;

/// Why a batch was not taken. Nothing of it has been applied, or its outcome is not known to be durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is in flight; try again after this time.
    #[error("too many events in flight, try again in {} s", retry_after.as_secs_f64())]
    Overloaded {
        /// When.
        retry_after: Duration,
    },
    /// The store does not take commits at present (a full disk); try again later.
    #[error("the store does not take commits at present")]
    StoreDown,
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

/// The door. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {}

/// The promise of one verdict per event of a batch, kept once their effects are durable.
#[derive(Debug)]
pub struct Receipt {}

impl Router {
    /// Hands a batch to its shards; waits for room at most `patience`.
    ///
    /// # Errors
    /// When there was no room in that time, or the daemon stops.
    pub async fn submit(&self, _batch: Batch, _patience: Duration) -> Result<Receipt, Refused> {
        Err(Refused::Stopping)
    }

    /// Hands a batch to its shards if there is room now; else gives it back.
    ///
    /// # Errors
    /// The batch, and why it was not taken.
    pub fn try_submit(&self, batch: Batch) -> Result<Receipt, (Batch, Refused)> {
        Err((batch, Refused::Stopping))
    }
}

impl Receipt {
    /// Waits until the batch's effects are durable. One verdict per event of `batch.events`, in order.
    ///
    /// # Errors
    /// When the daemon stopped first: nothing is known to be durable, and the producer must send again.
    pub async fn verdicts(self) -> Result<Vec<Verdict>, Refused> {
        Err(Refused::Stopping)
    }

    /// The verdicts if they are there already; for threads that must not wait.
    pub fn try_verdicts(&mut self) -> Option<Result<Vec<Verdict>, Refused>> {
        None
    }
}
