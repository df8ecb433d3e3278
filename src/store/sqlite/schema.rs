//! Opens connections to the database file, and brings its format up to date.
//!
//! The format's version is SQLite's `user_version`: the number of files of `migrations/` that were applied, each in a
//! transaction of its own together with its number. A file of a newer version is left untouched.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::store::StoreError;

/// Applied in order; never changed once released.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../../migrations/0001_init.sql"),
    include_str!("../../../migrations/0002_silences.sql"),
    include_str!("../../../migrations/0003_problems.sql"),
];

/// Large pages: a journal entry of a commit fits into one or two, and its sync writes few places.
pub(super) const PAGE_BYTES: u64 = 16 << 10;
/// The log's file is reused up to this size; beyond, it is cut when the log starts over.
pub(super) const LOG_BYTES_KEPT: u64 = 256 << 20;
/// The writer asks again this often while the file is locked: SQLite's own pauses of up to 100 ms would outlast the
/// last step of a checkpoint.
const WRITER_PAUSE: Duration = Duration::from_micros(250);
/// 5 s of pauses, longer than a checkpoint's last step ever takes; met only when another program locks the file.
const WRITER_TRIES: i32 = 20_000;
/// The writer waits meanwhile, so a reader in the way only postpones the checkpoint.
const CHECKPOINTER_PATIENCE: Duration = Duration::from_millis(20);
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// More than the writer and a reader have statements.
const STATEMENTS_KEPT: usize = 64;

/// The connection that writes; `dir` is for messages.
pub(super) fn open_writer(path: &Path, dir: &Path) -> Result<Connection, StoreError> {
    let mut connection =
        Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE) | OpenFlags::SQLITE_OPEN_CREATE)?;
    connection.busy_handler(Some(wait_for_lock))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Counts only for a file that is still empty.
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    refuse_newer(&connection, dir)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Io(format!("{} cannot hold a write-ahead log; is it on a network?", dir.display())));
    }
    // 32 MiB of cache: a commit never spills before it is complete.
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = OFF;
         PRAGMA cache_size = -32768;",
    )?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT as i64)?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn wait_for_lock(tries: i32) -> bool {
    std::thread::sleep(WRITER_PAUSE);
    tries < WRITER_TRIES
}

/// The connection that moves pages from the log into the file.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
    connection.busy_timeout(CHECKPOINTER_PATIENCE)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;")?;
    Ok(connection)
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.busy_timeout(READER_PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096;")?;
    Ok(connection)
}

/// A connection is used by one thread at a time, which its owner sees to.
fn flags(mode: OpenFlags) -> OpenFlags {
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn version(connection: &Connection) -> Result<u32, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn refuse_newer(connection: &Connection, dir: &Path) -> Result<(), StoreError> {
    let (found, known) = (version(connection)?, MIGRATIONS.len() as u32);
    if found > known {
        return Err(StoreError::Newer { dir: dir.display().to_string(), found, known });
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let applied = version(connection)? as usize;
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(applied) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
