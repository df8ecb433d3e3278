//! Running it: batches to shards, decisions to commits, commits to acknowledgements.
//!
//! [`Router`] is the one door for events; it bounds what is in flight. Each shard's task owns its windows and changes
//! them alone. The committer merges what all shards have ready into one transaction, and only when that is durable
//! are the verdicts handed back. [`Runtime::start`] recovers all of it from the store.

mod committer;
pub mod feed;
mod positions;
pub mod read_model;
mod recovery;
mod router;
mod shard_task;
mod stats;

pub use committer::{LedgerHandle, OnDeliveries};
pub use positions::PositionBook;
pub use read_model::ReadModel;
pub use recovery::RecoveryError;
pub use router::{CommandError, Receipt, Refused, Router};
pub use stats::StatsBoard;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::engine::EngineConfig;
use crate::metrics::Metrics;
use crate::rules::RuleSet;
use crate::store::{Reads, Store};
use committer::Committer;
use router::ShardDoor;
use shard_task::ShardTask;

/// How the engine is run.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Shards; 1 unless a scope is configured.
    pub shards: u16,
    /// The labels that decide the shard.
    pub scope: Vec<String>,
    /// Events between the door and their commit. Default 262,144, about 100 MB of batches; beyond it producers wait, then
    /// are refused.
    pub max_in_flight: u32,
    /// Bounds and times of the engine.
    pub engine: EngineConfig,
}

/// The running engine, recovered and open for events.
pub struct Runtime {
    /// The door for events.
    pub router: Router,
    /// What people may see.
    pub read_model: Arc<ReadModel>,
    /// How far Kafka partitions are durably applied.
    pub positions: Arc<PositionBook>,
    /// Makes the ends of deliveries durable.
    pub ledger: LedgerHandle,
    /// The committed side of the store.
    pub reads: Arc<dyn Reads>,
    /// What the shards hold.
    pub stats: Arc<StatsBoard>,
    /// Whether commits succeed.
    pub store_up: Arc<AtomicBool>,
    /// Set when the store has failed for good and the daemon must stop.
    pub fatal: watch::Receiver<Option<String>>,
    stop: CancellationToken,
    shards: Vec<tokio::task::JoinHandle<()>>,
    committer: std::thread::JoinHandle<()>,
}

/// A runtime whose shards have ended; deliveries can still be settled.
#[derive(Debug)]
pub struct Drained {
    committer: std::thread::JoinHandle<()>,
}

impl Runtime {
    /// Recovers every shard from the store and opens for events. Blocks for the time of recovery.
    ///
    /// # Errors
    /// When the store cannot be read, or was written with another layout of shards.
    pub fn start(
        config: &RuntimeConfig,
        store: Box<dyn Store>,
        rules: &Arc<RuleSet>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
        on_deliveries: OnDeliveries,
    ) -> Result<Self, RecoveryError> {
        let reads = store.reads();
        let recovered = recovery::recover(config, &*reads, rules)?;
        let mut store = store;
        recovery::note_layout(config, &mut *store)?;
        let positions = Arc::new(PositionBook::new(usize::from(config.shards), recovered.positions));
        let read_model = Arc::new(ReadModel::starting_at(clock.now()));
        let stats = Arc::new(StatsBoard::new(config.shards));
        let store_up = Arc::new(AtomicBool::new(true));
        let (fatal_sender, fatal) = watch::channel(None);
        let stop = CancellationToken::new();
        let (parts, parts_inbox) = mpsc::channel(committer::PARTS);
        let mut doors = Vec::new();
        let mut tasks = Vec::new();
        for (index, one) in recovered.shards.into_iter().enumerate() {
            read_model.apply(&one.shard.docs(), &[]);
            let (inbox_sender, inbox) = mpsc::channel(router::INBOX_PARTS);
            let (looks_sender, looks) = mpsc::channel(router::LOOKS);
            doors.push(ShardDoor { inbox: inbox_sender, looks: looks_sender });
            tasks.push(ShardTask {
                index: index as u16,
                shard: one.shard,
                inbox,
                looks,
                committer: parts.clone(),
                turn: Arc::new(Semaphore::new(1)),
                clock: clock.clone(),
                stats: stats.clone(),
                generation: one.generation,
                journal_bytes: one.journal_bytes,
                answers: Vec::new(),
                orders: Vec::new(),
                behind: false,
                owes: false,
                tired: false,
                snapshotting: false,
                slices: 0,
                stop: stop.clone(),
            });
        }
        let committer = Committer {
            store,
            parts: parts_inbox,
            clock: clock.clone(),
            metrics: metrics.clone(),
            positions: positions.clone(),
            read_model: read_model.clone(),
            on_deliveries,
            store_up: store_up.clone(),
            fatal: fatal_sender,
            culprit: None,
        };
        let committer = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| RecoveryError::Thread(error.to_string()))?;
        let shards = tasks.into_iter().map(|task| tokio::spawn(task.run())).collect();
        let router = Router::new(doors, config.max_in_flight, store_up.clone());
        let ledger = LedgerHandle::new(parts);
        Ok(Self { router, read_model, positions, ledger, reads, stats, store_up, fatal, stop, shards, committer })
    }

    /// Takes no more events, and waits until what was submitted is durable. Deliveries can be settled until
    /// [`Drained::finish`].
    pub async fn drain(self) -> Drained {
        let Self { stop, shards, committer, .. } = self;
        stop.cancel();
        for shard in shards {
            if let Err(error) = shard.await {
                tracing::error!(%error, "a shard ended in a panic");
            }
        }
        Drained { committer }
    }
}

impl Drained {
    /// Ends the committer, and with it the store. Every [`LedgerHandle`] must be gone or go soon.
    pub async fn finish(self) {
        let ended = tokio::task::spawn_blocking(move || self.committer.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::error!("the committer ended in a panic");
        }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}
