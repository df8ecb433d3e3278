//! Reading back a shard's hot state: a thread reads and checks what comes next while the caller takes back what was read.
//!
//! All of it within one transaction, so that it is one instant. At most [`AHEAD`] entries wait in between, of some
//! megabytes each. Bytes that do not carry their checksum, or that the caller refuses, end it with their place.

use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::reads::SqliteReads;
use super::values::{checksum, slice_place};
use crate::store::StoreError;

/// Enough that neither side waits for the other because one entry is larger than the next.
const AHEAD: usize = 4;

/// Where an entry stands, for who reads that it is damaged.
#[derive(Clone, Copy, Debug)]
enum Place {
    Slice { shard: u16, generation: u64, part: u32 },
    Entry { shard: u16, seq: i64 },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Slice { shard, generation, part } => {
                write!(f, "the snapshot of shard {shard}, generation {generation}, part {part}")
            }
            Place::Entry { shard, seq } => write!(f, "the journal of shard {shard}, entry {seq}"),
        }
    }
}

impl Place {
    fn damaged(self, detail: String) -> StoreError {
        StoreError::Damaged { what: self.to_string(), detail }
    }
}

/// Where what is read goes to.
type Way = SyncSender<(Place, Vec<u8>)>;

/// As [`crate::store::Reads::replay`] promises.
pub(super) fn replay(
    reads: &SqliteReads,
    shard: u16,
    each: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(u64, u64), StoreError> {
    let (way, read) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || reads.with(|connection| read_all(connection, shard, &way)));
        // Ends with the reader; where the caller refuses an entry, the reader ends because nobody listens.
        for (place, bytes) in read {
            each(&bytes).map_err(|detail| place.damaged(detail))?;
        }
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn read_all(connection: &mut Connection, shard: u16, way: &Way) -> Result<(u64, u64), StoreError> {
    let tx = connection.transaction()?;
    let snapshot = tx
        .query_row("SELECT generation, parts, journal_from FROM snapshots WHERE shard = ?1", [shard], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let (generation, parts, journal_from): (i64, u32, i64) = snapshot.unwrap_or_default();
    read_slices(&tx, shard, (generation as u64, parts), way)?;
    let journal_bytes = read_journal(&tx, shard, journal_from, way)?;
    Ok((generation as u64, journal_bytes))
}

fn read_slices(tx: &Transaction<'_>, shard: u16, (generation, parts): (u64, u32), way: &Way) -> Result<(), StoreError> {
    let mut statement = tx.prepare(
        "SELECT part, checksum, bytes FROM snapshot_slices WHERE shard = ?1 AND generation = ?2 ORDER BY part",
    )?;
    let mut rows = statement.query(params![shard, generation as i64])?;
    let place = |part| Place::Slice { shard, generation, part };
    let mut next = 0;
    while let Some(row) = rows.next()?.filter(|_| next < parts) {
        let part: u32 = row.get(0)?;
        pass_on(row, |bytes| checksum(shard, slice_place(generation, part), bytes), place(part), way)?;
        next += 1;
    }
    if next < parts { Err(place(next).damaged("it is missing".to_owned())) } else { Ok(()) }
}

fn read_journal(tx: &Transaction<'_>, shard: u16, journal_from: i64, way: &Way) -> Result<u64, StoreError> {
    let mut statement =
        tx.prepare("SELECT seq, checksum, bytes FROM journal WHERE seq >= ?1 AND shard = ?2 ORDER BY seq")?;
    let mut rows = statement.query(params![journal_from, shard])?;
    let mut journal_bytes = 0;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let place = Place::Entry { shard, seq };
        journal_bytes += pass_on(row, |bytes| checksum(shard, seq as u64, bytes), place, way)?;
    }
    Ok(journal_bytes)
}

/// Passes on the bytes of a row (`…, checksum, bytes`) if they carry their checksum; returns how many there are.
fn pass_on(row: &Row<'_>, checksum: impl Fn(&[u8]) -> i64, place: Place, way: &Way) -> Result<u64, StoreError> {
    let expected: i64 = row.get(1)?;
    let bytes = row.get_ref(2)?.as_blob().map_err(|error| place.damaged(error.to_string()))?;
    if checksum(bytes) != expected {
        return Err(place.damaged(format!("its {} bytes do not carry their checksum", bytes.len())));
    }
    // Nobody listens any more where an entry was refused, and that is what is told.
    way.send((place, bytes.to_vec())).map_err(|_| place.damaged("nobody takes it back".to_owned()))?;
    Ok(bytes.len() as u64)
}
