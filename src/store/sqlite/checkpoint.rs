//! Moves committed pages from the write-ahead log into the database file, away from the writer.
//!
//! A thread with a connection of its own. The writer nudges it through a channel of one place after some megabytes, so
//! it neither polls nor sleeps, and a commit never waits for a checkpoint as a whole. Under unbroken load a passive
//! checkpoint never catches up for good and the log grows; beyond [`Thresholds::restart_bytes`] the writer gives up one
//! turn ([`Turns`]) for the last pages only, and the log starts over in the same file, where overwriting syncs faster
//! than appending.
//!
//! A reader (or a backup) that stays in one transaction keeps the log from starting over: it grows until the reader
//! is done. A checkpoint that fails is logged and tried again; nothing is lost by it, the log holds everything.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;

use super::schema::{LOG_BYTES_KEPT, PAGE_BYTES};
use super::turns::{Turn, Turns};
use crate::store::StoreError;

/// At which sizes of the log something is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// So much that is not yet in the file starts a passive checkpoint.
    pub passive_bytes: u64,
    /// A log of this size is made to start over.
    pub restart_bytes: u64,
}

impl Thresholds {
    pub(super) const DEFAULT: Thresholds = Thresholds { passive_bytes: 16 << 20, restart_bytes: LOG_BYTES_KEPT };

    /// The writer estimates what it wrote, so the thread is asked four times as often as it must act.
    fn nudge_bytes(self) -> u64 {
        self.passive_bytes / 4
    }
}

/// What a pass found at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogState {
    /// Bytes in the log.
    pub log: u64,
    /// Bytes of the log that are in the file, too.
    pub moved: u64,
    /// Whether somebody was in the way of what was asked for.
    pub busy: bool,
}

impl LogState {
    fn waiting(self) -> u64 {
        self.log.saturating_sub(self.moved)
    }
}

/// The thread's handle: ends it when dropped.
#[derive(Debug)]
pub(super) struct Checkpointer {
    nudges: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    thresholds: Thresholds,
    turns: Arc<Turns>,
    written_since_nudge: u64,
}

impl Checkpointer {
    /// Starts the thread. Its first pass sees to a log that an earlier process left.
    pub(super) fn spawn(connection: Connection, thresholds: Thresholds) -> Result<Self, StoreError> {
        let (nudges, nudged) = sync_channel(1);
        let turns = Arc::new(Turns::default());
        let shared = Arc::clone(&turns);
        let thread = Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || run(&connection, thresholds, &shared, &nudged))
            .map_err(|error| StoreError::Io(format!("cannot start the checkpoint thread: {error}")))?;
        let mut checkpointer =
            Self { nudges: Some(nudges), thread: Some(thread), thresholds, turns, written_since_nudge: 0 };
        checkpointer.wrote(thresholds.nudge_bytes());
        Ok(checkpointer)
    }

    /// The writer's turn; it commits while it holds it.
    pub(super) fn turn(&self) -> Turn<'_> {
        self.turns.commit()
    }

    #[cfg(test)]
    pub(super) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// Tells of bytes that a commit has added to the log, about.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.written_since_nudge += bytes;
        if self.written_since_nudge >= self.thresholds.nudge_bytes()
            && let Some(nudges) = &self.nudges
        {
            self.written_since_nudge = 0;
            // A full channel already holds the nudge; a closed one means that the thread has panicked and said so.
            let _ = nudges.try_send(());
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.nudges = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, thresholds: Thresholds, turns: &Turns, nudged: &Receiver<()>) {
    for () in nudged {
        if let Err(error) = pass(connection, thresholds, turns) {
            tracing::warn!(%error, "the write-ahead log could not be moved into the database; it grows until that works");
        }
    }
}

/// Passes of a passive checkpoint before a restart, each of which leaves less for the one that holds the writer.
const APPROACHES_MAX: u32 = 4;

/// Moves what waits, if it is enough to bother; lets the log start over, if it is long.
pub(super) fn pass(connection: &Connection, thresholds: Thresholds, turns: &Turns) -> Result<LogState, StoreError> {
    let mut state = checkpoint(connection, "NOOP")?;
    if state.waiting() < thresholds.passive_bytes {
        return Ok(state);
    }
    state = checkpoint(connection, "PASSIVE")?;
    if state.log < thresholds.restart_bytes {
        return Ok(state);
    }
    for _ in 0..APPROACHES_MAX {
        if checkpoint(connection, "NOOP")?.waiting() < thresholds.passive_bytes / 16 {
            break;
        }
        checkpoint(connection, "PASSIVE")?;
    }
    let _turn = turns.restart();
    checkpoint(connection, "RESTART")
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<LogState, StoreError> {
    let frames = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get(0)?))
    })?;
    // -1 frames: the log does not exist yet.
    let bytes = |frames: i64| frames.max(0) as u64 * PAGE_BYTES;
    Ok(LogState { log: bytes(frames.0), moved: bytes(frames.1), busy: frames.2 })
}
