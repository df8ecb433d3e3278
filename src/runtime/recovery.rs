//! From what is on disk to shards that go on where they stopped.
//!
//! Each shard is its newest complete snapshot and the journal after it. The layout (scope labels and number of shards)
//! is noted in the store, because it decides which shard holds what; a directory of another layout is refused.

use std::sync::Arc;

use super::RuntimeConfig;
use crate::engine::Shard;
use crate::rules::RuleSet;
use crate::store::{Commit, Reads, ShardPosition, Store, StoreError};

const LAYOUT: &str = "layout";

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another layout.
    #[error(
        "the data directory was written with {found}, the configuration says {wanted}; \
         restore the old scope and shards, or start with another data_dir"
    )]
    Layout {
        /// What is in the store.
        found: String,
        /// What is configured.
        wanted: String,
    },
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(String),
}

/// A shard as it was.
pub(super) struct RecoveredShard {
    pub(super) shard: Shard,
    pub(super) generation: u64,
    pub(super) journal_bytes: u64,
}

/// Everything as it was.
pub(super) struct Recovered {
    pub(super) shards: Vec<RecoveredShard>,
    pub(super) positions: Vec<ShardPosition>,
}

fn layout(config: &RuntimeConfig) -> String {
    let scope =
        if config.scope.is_empty() { "no scope".to_owned() } else { format!("scope {}", config.scope.join(", ")) };
    format!("{scope} in {} shards", config.shards)
}

pub(super) fn recover(
    config: &RuntimeConfig,
    reads: &dyn Reads,
    rules: &Arc<RuleSet>,
) -> Result<Recovered, RecoveryError> {
    let wanted = layout(config);
    if let Some(found) = reads.meta(LAYOUT)?.filter(|found| *found != wanted) {
        return Err(RecoveryError::Layout { found, wanted });
    }
    let positions = reads.positions()?;
    let mut shards = Vec::new();
    for index in 0..config.shards {
        let mut shard = Shard::new(config.engine.clone(), rules.clone());
        shard.take_place(index, config.shards);
        let (generation, journal_bytes) = reads.replay(index, &mut |entry| shard.restore(entry))?;
        let report = shard.finish_restore().total();
        for stored in positions.iter().filter(|stored| stored.shard == index) {
            shard.set_position(&stored.position);
        }
        let stats = shard.stats();
        tracing::info!(
            shard = index,
            alerts = stats.firing + stats.resolved + stats.stale,
            groups = stats.groups,
            windows_dropped = report.dropped,
            incidents_without_rule = report.retired,
            journal_bytes,
            "recovered"
        );
        shards.push(RecoveredShard { shard, generation, journal_bytes });
    }
    Ok(Recovered { shards, positions })
}

pub(super) fn note_layout(config: &RuntimeConfig, store: &mut dyn Store) -> Result<(), StoreError> {
    store.commit(&Commit { meta: vec![(LAYOUT.to_owned(), layout(config))], ..Commit::default() }).map(drop)
}
