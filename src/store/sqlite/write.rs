//! The statements of a commit. Everything here runs inside one transaction that the caller commits.

use std::collections::HashMap;

use rusqlite::{Transaction, params};

use super::sweep::Ledger;
use super::values::{checksum, slice_place, text_of};
use crate::delivery::Delivery;
use crate::engine::incident::{IncidentDoc, IncidentStatus};
use crate::engine::problems::ProblemStatus;
use crate::identity::IncidentId;
use crate::store::{
    Commit, DeliveryRows, JournalEntry, Settlement, ShardPosition, SilenceRow, SnapshotSlice, StoreError, TimelineEntry,
};

/// Closed problems that are kept: about 2 KiB each.
const PROBLEMS_KEPT: i64 = 10_000;

/// Writes all parts of a commit.
pub(super) fn all(tx: &Transaction<'_>, ledger: &mut Ledger, commit: &Commit) -> Result<DeliveryRows, StoreError> {
    let journal_from = ledger.next_seq;
    journal(tx, ledger, &commit.journal)?;
    for slice in &commit.slices {
        snapshot_slice(tx, ledger, slice, journal_from)?;
    }
    positions(tx, &commit.positions)?;
    incidents(tx, ledger, commit)?;
    timeline(tx, &commit.timeline)?;
    silences(tx, &commit.silences)?;
    problems(tx, commit)?;
    let rows = deliveries(tx, &commit.deliveries)?;
    for settlement in &commit.settled {
        settle(tx, settlement)?;
    }
    for (key, value) in &commit.meta {
        tx.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?.execute([key, value])?;
    }
    Ok(rows)
}

/// What a commit adds to the log, about: its bytes, and a page for every row or two.
pub(super) fn log_bytes_about(commit: &Commit) -> u64 {
    let blobs = commit.journal.iter().map(|entry| entry.bytes.len()).chain(commit.slices.iter().map(|s| s.bytes.len()));
    let rows = commit.silences.len()
        + commit.problems.len()
        + commit.incidents.len()
        + commit.timeline.len()
        + commit.deliveries.len()
        + commit.settled.len();
    let pages = 4 + rows as u64 / 2;
    blobs.map(|len| len as u64).sum::<u64>() + pages * super::schema::PAGE_BYTES
}

fn journal(tx: &Transaction<'_>, ledger: &mut Ledger, entries: &[JournalEntry]) -> Result<(), StoreError> {
    for entry in entries {
        let seq = ledger.next_seq;
        ledger.next_seq += 1;
        let checksum = checksum(entry.shard, seq as u64, &entry.bytes);
        tx.prepare_cached("INSERT INTO journal (seq, shard, checksum, bytes) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![seq, entry.shard, checksum, entry.bytes])?;
    }
    Ok(())
}

fn snapshot_slice(
    tx: &Transaction<'_>,
    ledger: &mut Ledger,
    slice: &SnapshotSlice,
    journal_from: i64,
) -> Result<(), StoreError> {
    let (shard, generation) = (slice.shard, slice.generation as i64);
    if slice.part == 0 {
        tx.prepare_cached("DELETE FROM snapshot_slices WHERE shard = ?1 AND generation = ?2")?
            .execute(params![shard, generation])?;
    }
    let checksum = checksum(shard, slice_place(slice.generation, slice.part), &slice.bytes);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO snapshot_slices (shard, generation, part, journal_from, checksum, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![shard, generation, slice.part, journal_from, checksum, slice.bytes])?;
    if slice.last {
        complete_snapshot(tx, ledger, slice)?;
    }
    Ok(())
}

/// The generation counts from now on, if every part is there and no newer one counts already.
fn complete_snapshot(tx: &Transaction<'_>, ledger: &mut Ledger, last: &SnapshotSlice) -> Result<(), StoreError> {
    let counts = tx
        .prepare_cached(
            "INSERT INTO snapshots (shard, generation, parts, journal_from)
             SELECT shard, generation, count(*), min(journal_from) FROM snapshot_slices
             WHERE shard = ?1 AND generation = ?2 GROUP BY shard, generation HAVING count(*) = ?3
             ON CONFLICT (shard) DO UPDATE
             SET generation = excluded.generation, parts = excluded.parts, journal_from = excluded.journal_from
             WHERE excluded.generation > generation",
        )?
        .execute(params![last.shard, last.generation as i64, i64::from(last.part) + 1])?;
    if counts > 0 {
        ledger.sweep_anew(tx)?;
    }
    Ok(())
}

fn positions(tx: &Transaction<'_>, positions: &[ShardPosition]) -> Result<(), StoreError> {
    for ShardPosition { shard, position: at } in positions {
        tx.prepare_cached(
            "INSERT INTO positions (shard, source, topic, partition, next_offset) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
        )?
        .execute(params![shard, &*at.source, &*at.topic, at.partition, at.next_offset])?;
    }
    Ok(())
}

/// Writes each incident once: the last document of an id is its newest.
fn incidents(tx: &Transaction<'_>, ledger: &mut Ledger, commit: &Commit) -> Result<(), StoreError> {
    let docs = &commit.incidents;
    let newest: HashMap<IncidentId, usize> = docs.iter().enumerate().map(|(at, doc)| (doc.id, at)).collect();
    for (_, doc) in docs.iter().enumerate().filter(|(at, doc)| newest[&doc.id] == *at) {
        incident(tx, ledger, doc)?;
    }
    for left in &commit.alerts {
        let alerts = serde_json::to_string(&left.alerts).expect("maps with string keys always serialise");
        let sql = "UPDATE incidents SET alerts = ?2 WHERE id = ?1";
        tx.prepare_cached(sql)?.execute(params![left.incident.to_string(), alerts])?;
    }
    Ok(())
}

/// Most writes change neither the status nor anything else that is indexed, and then touch no index.
fn incident(tx: &Transaction<'_>, ledger: &mut Ledger, doc: &IncidentDoc) -> Result<(), StoreError> {
    let id = doc.id.to_string();
    let (opened_at, updated_at) = (text_of(doc.opened_at), text_of(doc.updated_at));
    let (status, priority) = (doc.status.as_str(), doc.priority.as_str());
    let json = serde_json::to_string(doc).expect("strings, numbers and maps with string keys always serialise");
    let values = params![id, opened_at, updated_at, status, priority, doc.service.as_deref(), &*doc.rule, json];
    // Of what is told for the first time there is no row.
    let is_new = doc.version <= 1 && doc.status != IncidentStatus::Closed;
    let update = "UPDATE incidents SET updated_at = ?3, priority = ?5, service = ?6, rule = ?7, doc = ?8
                  WHERE id = ?1 AND opened_at = ?2 AND status = ?4";
    if !is_new && tx.prepare_cached(update)?.execute(values)? > 0 {
        return Ok(());
    }
    if doc.status == IncidentStatus::Closed {
        ledger.closed += 1;
    } else if doc.version > 1 {
        // Only one that was merged is open again after it was closed.
        let sql = "SELECT 1 FROM incidents WHERE id = ?1 AND status = 'closed'";
        ledger.closed -= i64::from(tx.prepare_cached(sql)?.exists([&id])?);
    }
    tx.prepare_cached(
        "INSERT INTO incidents (id, opened_at, updated_at, status, priority, service, rule, doc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO UPDATE SET opened_at = excluded.opened_at, updated_at = excluded.updated_at,
         status = excluded.status, priority = excluded.priority, service = excluded.service, rule = excluded.rule,
         doc = excluded.doc",
    )?
    .execute(values)?;
    Ok(())
}

fn timeline(tx: &Transaction<'_>, entries: &[TimelineEntry]) -> Result<(), StoreError> {
    for entry in entries {
        tx.prepare_cached(
            "INSERT INTO timeline (incident, sequence, at, by, what, reason, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            entry.incident.to_string(),
            entry.sequence as i64,
            text_of(entry.at),
            entry.by,
            entry.what.as_str(),
            &*entry.reason,
            entry.detail
        ])?;
    }
    Ok(())
}

/// Writes each silence once: the last row of an id and shard is its newest.
fn silences(tx: &Transaction<'_>, rows: &[SilenceRow]) -> Result<(), StoreError> {
    let newest: HashMap<(&str, u16), &SilenceRow> =
        rows.iter().map(|row| ((row.change.id.as_str(), row.shard), row)).collect();
    for SilenceRow { shard, change } in newest.into_values() {
        let Some(doc) = &change.doc else {
            tx.prepare_cached("DELETE FROM silences WHERE id = ?1 AND shard = ?2")?
                .execute(params![change.id, shard])?;
            continue;
        };
        let json = serde_json::to_string(doc).expect("strings and numbers always serialise");
        let (starts_at, ends_at) = (text_of(doc.starts_at), text_of(doc.ends_at));
        tx.prepare_cached(
            "INSERT OR REPLACE INTO silences (id, shard, state, starts_at, ends_at, created_by, comment, doc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            change.id,
            shard,
            doc.state,
            starts_at,
            ends_at,
            doc.created_by,
            doc.comment,
            json
        ])?;
    }
    Ok(())
}

/// Beyond [`PROBLEMS_KEPT`] the problems that were closed first go; only a commit that closes one looks.
fn problems(tx: &Transaction<'_>, commit: &Commit) -> Result<(), StoreError> {
    for doc in &commit.problems {
        let json = serde_json::to_string(doc).expect("strings, numbers and maps with string keys always serialise");
        tx.prepare_cached(
            "INSERT OR REPLACE INTO problems (id, status, opened_at, updated_at, rule, signature, recurrences, doc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            doc.id.to_string(),
            doc.status.as_str(),
            text_of(doc.opened_at),
            text_of(doc.updated_at),
            &*doc.rule,
            doc.signature,
            doc.recurrences as i64,
            json
        ])?;
    }
    if commit.problems.iter().any(|doc| doc.status == ProblemStatus::Closed) {
        tx.prepare_cached(
            "DELETE FROM problems WHERE status = 'closed' AND id NOT IN
             (SELECT id FROM problems WHERE status = 'closed' ORDER BY updated_at DESC LIMIT ?1)",
        )?
        .execute([PROBLEMS_KEPT])?;
    }
    Ok(())
}

fn deliveries(tx: &Transaction<'_>, deliveries: &[Delivery]) -> Result<DeliveryRows, StoreError> {
    let mut rows = DeliveryRows::with_capacity(deliveries.len());
    for delivery in deliveries {
        let added = tx.prepare_cached(
            "INSERT INTO deliveries (sink, incident, sequence, action, created_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            &*delivery.sink,
            delivery.incident.to_string(),
            delivery.sequence as i64,
            delivery.action.as_str(),
            text_of(delivery.created_at),
            delivery.body
        ])?;
        rows.push((added > 0).then(|| tx.last_insert_rowid()));
    }
    Ok(rows)
}

fn settle(tx: &Transaction<'_>, settlement: &Settlement) -> Result<(), StoreError> {
    match settlement {
        Settlement::Done { row } => tx.prepare_cached("DELETE FROM deliveries WHERE row = ?1")?.execute([row])?,
        Settlement::Parked { row, error } => tx
            .prepare_cached("UPDATE deliveries SET parked = 1, last_error = ?2 WHERE row = ?1")?
            .execute(params![row, error])?,
        Settlement::Retry { row } => {
            tx.prepare_cached("UPDATE deliveries SET parked = 0, attempts = 0 WHERE row = ?1")?.execute([row])?
        }
        Settlement::Failed { row, attempts, error } => tx
            .prepare_cached("UPDATE deliveries SET attempts = ?2, last_error = ?3 WHERE row = ?1")?
            .execute(params![row, attempts, error])?,
    };
    Ok(())
}
