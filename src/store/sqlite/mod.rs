//! The embedded store: one SQLite file in the data directory, one writer, and no pause longer than a disk sync.
//!
//! A commit is one transaction of the writer's connection, synced before it returns. A thread with a connection of its
//! own moves the write-ahead log into the file ([`checkpoint`]); readers share a few read-only connections ([`reads`]).
//! What a finished snapshot or the retention has made useless goes away a few rows per commit ([`sweep`]). What lies
//! where, and what happens on a full or damaged disk, is in `docs/storage.md`.

mod checkpoint;
mod reads;
mod replay;
mod schema;
mod sweep;
#[cfg(test)]
mod tests;
mod turns;
mod values;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::checkpoint::{Checkpointer, Thresholds};
use self::reads::SqliteReads;
use self::sweep::Ledger;
use super::{Commit, DataDirLock, DeliveryRows, Reads, Store, StoreError};

const DATABASE: &str = "incidentd.db";

/// How long closed incidents stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SqliteConfig {
    /// Closed incidents and their timelines are deleted after this time. Default `90d`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub retention: Duration,
    /// Beyond so many closed incidents the oldest go earlier. Default 1,000,000; a guess of 3 GiB.
    pub max_closed_incidents: u64,
}

impl Default for SqliteConfig {
    fn default() -> Self {
        Self { retention: Duration::from_secs(90 * 86_400), max_closed_incidents: 1_000_000 }
    }
}

/// The embedded store. Dropping it ends its thread and gives the data directory free; its [`Reads`] may live on.
#[derive(Debug)]
pub struct SqliteStore {
    // Dropped in this order: the writer closes after the checkpointer, and the directory is free last of all.
    checkpointer: Checkpointer,
    writer: Connection,
    reads: Arc<SqliteReads>,
    ledger: Ledger,
    config: SqliteConfig,
    _lock: DataDirLock,
}

impl SqliteStore {
    /// Opens the store of a data directory; creates both where they are missing.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process holds the directory, [`StoreError::Newer`] when a newer version wrote
    /// it, [`StoreError::Damaged`] when the file is no database, else [`StoreError::Full`] or [`StoreError::Io`].
    pub fn open(dir: &Path, config: SqliteConfig) -> Result<Self, StoreError> {
        let lock = DataDirLock::acquire(dir)?;
        let path = dir.join(DATABASE);
        let mut writer = schema::open_writer(&path, dir)?;
        let ledger = Ledger::open(&mut writer)?;
        let checkpointer = Checkpointer::spawn(schema::open_checkpointer(&path)?, Thresholds::DEFAULT)?;
        let reads = Arc::new(SqliteReads::new(path));
        Ok(Self { checkpointer, writer, reads, ledger, config, _lock: lock })
    }
}

impl SqliteStore {
    /// What the transaction changes in the ledger counts only once the transaction does.
    fn transact(&mut self, commit: &Commit) -> Result<(Ledger, DeliveryRows), StoreError> {
        let _turn = self.checkpointer.turn();
        let mut ledger = self.ledger;
        let transaction = self.writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let rows = write::all(&transaction, &mut ledger, commit)?;
        sweep::garbage(&transaction, &mut ledger, commit, &self.config)?;
        transaction.commit()?;
        Ok((ledger, rows))
    }
}

impl Store for SqliteStore {
    fn commit(&mut self, commit: &Commit) -> Result<DeliveryRows, StoreError> {
        if commit.is_empty() {
            return Ok(DeliveryRows::new());
        }
        let (ledger, rows) = self.transact(commit)?;
        self.ledger = ledger;
        self.checkpointer.wrote(write::log_bytes_about(commit));
        Ok(rows)
    }

    fn reads(&self) -> Arc<dyn Reads> {
        Arc::clone(&self.reads) as Arc<dyn Reads>
    }
}
