//! Removes what is no longer needed, a few rows per commit, so that no commit pauses for it.
//!
//! Journal entries and slices that a newer complete snapshot has replaced, and closed incidents that are past the
//! retention. Each commit may remove [`ROWS_FREE`] rows and twice what it brings, so garbage shrinks under every load.
//! What a stopped process had not removed yet is found again at the next start.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::SqliteConfig;
use super::values::{limit_of, text_of};
use crate::event::Timestamp;
use crate::store::{Commit, StoreError};

/// Rows that every commit may remove, whatever it brings; slices are large, so fewer of them.
const ROWS_FREE: usize = 64;
const SLICES_FREE: usize = 2;

fn budget(free: usize, brought: usize) -> i64 {
    limit_of(free + 2 * brought)
}

/// What the writer knows by heart of what is in the file. A commit works on a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ledger {
    /// The sequence of the next journal entry; never given out twice, however much was removed.
    pub next_seq: i64,
    /// How many closed incidents there are.
    pub closed: i64,
    /// The journal is looked through from here on; `None` when it holds no garbage.
    journal_sweep: Option<i64>,
    /// Whether there may be slices of older generations.
    slices_sweep: bool,
}

impl Ledger {
    /// Takes stock of the file, and drops the snapshots that an earlier process left unfinished: nobody goes on
    /// with them.
    pub(super) fn open(connection: &mut Connection) -> Result<Self, StoreError> {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(
            "DELETE FROM snapshot_slices WHERE generation >
             coalesce((SELECT s.generation FROM snapshots s WHERE s.shard = snapshot_slices.shard), -1)",
            [],
        )?;
        let number = |sql: &str| tx.query_row(sql, [], |row| row.get::<_, i64>(0));
        let next_seq = number(
            "SELECT max(coalesce((SELECT max(seq) + 1 FROM journal), 1),
                        coalesce((SELECT max(journal_from) FROM snapshot_slices), 1),
                        coalesce((SELECT max(journal_from) FROM snapshots), 1))",
        )?;
        let closed = number("SELECT count(*) FROM incidents WHERE status = 'closed'")?;
        let mut ledger = Self { next_seq, closed, journal_sweep: None, slices_sweep: true };
        ledger.sweep_anew(&tx)?;
        tx.commit()?;
        Ok(ledger)
    }

    /// A snapshot has become complete, or nobody knows: look through everything.
    pub(super) fn sweep_anew(&mut self, tx: &Transaction<'_>) -> Result<(), StoreError> {
        self.journal_sweep = tx.prepare_cached("SELECT min(seq) FROM journal")?.query_row([], |row| row.get(0))?;
        self.slices_sweep = true;
        Ok(())
    }
}

/// Removes this commit's share of the garbage.
pub(super) fn garbage(
    tx: &Transaction<'_>,
    ledger: &mut Ledger,
    commit: &Commit,
    config: &SqliteConfig,
) -> Result<(), StoreError> {
    journal(tx, ledger, budget(ROWS_FREE, commit.journal.len()))?;
    slices(tx, ledger, budget(SLICES_FREE, commit.slices.len()))?;
    let brought = commit.incidents.len() + commit.timeline.len();
    closed_incidents(tx, ledger, commit.now.minus(config.retention), config, budget(ROWS_FREE, brought))
}

/// Looks at the next `window` sequence numbers; entries of shards whose snapshot is older stay.
fn journal(tx: &Transaction<'_>, ledger: &mut Ledger, window: i64) -> Result<(), StoreError> {
    let Some(from) = ledger.journal_sweep else { return Ok(()) };
    tx.prepare_cached(
        "DELETE FROM journal WHERE seq >= ?1 AND seq < ?2
         AND seq < (SELECT s.journal_from FROM snapshots s WHERE s.shard = journal.shard)",
    )?
    .execute([from, from + window])?;
    let end: Option<i64> =
        tx.prepare_cached("SELECT max(journal_from) FROM snapshots")?.query_row([], |row| row.get(0))?;
    ledger.journal_sweep = end.is_some_and(|end| from + window < end).then_some(from + window);
    Ok(())
}

fn slices(tx: &Transaction<'_>, ledger: &mut Ledger, limit: i64) -> Result<(), StoreError> {
    if !ledger.slices_sweep {
        return Ok(());
    }
    let removed = tx
        .prepare_cached(
            "DELETE FROM snapshot_slices WHERE rowid IN (
             SELECT slice.rowid FROM snapshots s CROSS JOIN snapshot_slices slice
             ON slice.shard = s.shard AND slice.generation < s.generation LIMIT ?1)",
        )?
        .execute([limit])?;
    ledger.slices_sweep = removed as i64 == limit;
    Ok(())
}

/// Removes the longest closed incidents, each after its timeline, while they are past the retention or too many.
fn closed_incidents(
    tx: &Transaction<'_>,
    ledger: &mut Ledger,
    cutoff: Timestamp,
    config: &SqliteConfig,
    mut rows: i64,
) -> Result<(), StoreError> {
    let closed_max = i64::try_from(config.max_closed_incidents).unwrap_or(i64::MAX);
    let cutoff = text_of(cutoff);
    while rows > 0 {
        let due = |(_, closed_at): &(String, String)| *closed_at < cutoff || ledger.closed > closed_max;
        let Some((id, _)) = oldest_closed(tx)?.filter(due) else { break };
        rows -= remove_timeline(tx, &id, rows)?;
        if rows > 0 {
            tx.prepare_cached("DELETE FROM incidents WHERE id = ?1")?.execute([&id])?;
            ledger.closed -= 1;
            rows -= 1;
        }
    }
    Ok(())
}

/// A closed incident does not change any more, so its last change is its closing.
fn oldest_closed(tx: &Transaction<'_>) -> Result<Option<(String, String)>, StoreError> {
    let sql = "SELECT id, updated_at FROM incidents WHERE status = 'closed' ORDER BY updated_at LIMIT 1";
    Ok(tx.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn remove_timeline(tx: &Transaction<'_>, id: &str, limit: i64) -> Result<i64, StoreError> {
    let sql = "DELETE FROM timeline WHERE incident = ?1
               AND sequence IN (SELECT sequence FROM timeline WHERE incident = ?1 ORDER BY sequence LIMIT ?2)";
    Ok(tx.prepare_cached(sql)?.execute(params![id, limit])? as i64)
}
