//! The store that forgets: the same contract in memory, for tests, replay and the simulator.
//!
//! All handles share one state, so [`MemoryStore::reopen`] stands for a restart on the same data. Every commit holds
//! one lock from end to end and cannot fail, which makes it atomic. Keeps closed incidents for ever: whoever runs it
//! for long should not.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Commit, DeliveryRows, IncidentQuery, PendingDelivery, Reads, Settlement, ShardPosition, SilenceRow, SnapshotSlice,
    Store, StoreError, TimelineEntry,
};
use crate::delivery::Delivery;
use crate::engine::incident::{AlertDoc, IncidentDoc};
use crate::engine::problems::ProblemDoc;
use crate::engine::suppress::silence::SilenceDoc;
use crate::event::Timestamp;
use crate::identity::{IncidentId, ProblemId};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Arc<Shared>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another handle on the same data, as after a restart.
    pub fn reopen(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, commit: &Commit) -> Result<DeliveryRows, StoreError> {
        Ok(self.state.lock().apply(commit))
    }

    fn reads(&self) -> Arc<dyn Reads> {
        Arc::clone(&self.state) as Arc<dyn Reads>
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Sequence numbers given out so far.
    journal_written: u64,
    journal: BTreeMap<u16, BTreeMap<u64, Vec<u8>>>,
    snapshots: BTreeMap<u16, Snapshots>,
    positions: BTreeMap<(u16, Arc<str>, Arc<str>, i32), ShardPosition>,
    incidents: BTreeMap<IncidentId, Arc<IncidentDoc>>,
    alerts: BTreeMap<IncidentId, Vec<AlertDoc>>,
    timeline: BTreeMap<(IncidentId, u64), TimelineEntry>,
    silences: BTreeMap<(String, u16), SilenceDoc>,
    problems: BTreeMap<ProblemId, Arc<ProblemDoc>>,
    rows_written: i64,
    deliveries: BTreeMap<i64, PendingDelivery>,
    /// The keys of `deliveries`, each of which is there once.
    waiting: HashSet<DeliveryKey>,
    meta: BTreeMap<String, String>,
}

type DeliveryKey = (Arc<str>, IncidentId, u64);

fn key(delivery: &Delivery) -> DeliveryKey {
    (Arc::clone(&delivery.sink), delivery.incident, delivery.sequence)
}

/// A shard's newest complete snapshot, and those being written.
#[derive(Debug, Default)]
struct Snapshots {
    complete: Option<(u64, Vec<Vec<u8>>)>,
    writing: BTreeMap<u64, Writing>,
}

#[derive(Debug)]
struct Writing {
    /// Entries up to this one are held by the snapshot.
    journal_before: u64,
    parts: BTreeMap<u32, Vec<u8>>,
}

impl Shared {
    /// A panic while the lock was held leaves state that is still consistent for its tests.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, commit: &Commit) -> DeliveryRows {
        let journal_before = self.journal_written;
        for entry in &commit.journal {
            self.journal_written += 1;
            self.journal.entry(entry.shard).or_default().insert(self.journal_written, entry.bytes.clone());
        }
        commit.slices.iter().for_each(|slice| self.add_slice(slice, journal_before));
        for position in &commit.positions {
            let ShardPosition { shard, position: at } = position;
            let key = (*shard, Arc::clone(&at.source), Arc::clone(&at.topic), at.partition);
            self.positions.insert(key, position.clone());
        }
        self.incidents.extend(commit.incidents.iter().map(|doc| (doc.id, Arc::clone(doc))));
        self.alerts.extend(commit.alerts.iter().map(|left| (left.incident, left.alerts.clone())));
        for entry in &commit.timeline {
            self.timeline.entry((entry.incident, entry.sequence)).or_insert_with(|| entry.clone());
        }
        for SilenceRow { shard, change } in &commit.silences {
            let key = (change.id.clone(), *shard);
            match &change.doc {
                Some(doc) => drop(self.silences.insert(key, doc.clone())),
                None => drop(self.silences.remove(&key)),
            }
        }
        self.problems.extend(commit.problems.iter().map(|doc| (doc.id, Arc::clone(doc))));
        let rows = commit.deliveries.iter().map(|delivery| self.add_delivery(delivery)).collect();
        commit.settled.iter().for_each(|settlement| self.settle(settlement));
        self.meta.extend(commit.meta.iter().cloned());
        rows
    }

    fn add_slice(&mut self, slice: &SnapshotSlice, journal_before: u64) {
        let shard = self.snapshots.entry(slice.shard).or_default();
        if slice.part == 0 {
            shard.writing.remove(&slice.generation);
        }
        let begun = || Writing { journal_before, parts: BTreeMap::new() };
        let writing = shard.writing.entry(slice.generation).or_insert_with(begun);
        writing.parts.insert(slice.part, slice.bytes.clone());
        if !slice.last || writing.parts.len() != slice.part as usize + 1 {
            return;
        }
        let Writing { journal_before, parts } = shard.writing.remove(&slice.generation).expect("just written to");
        if shard.complete.as_ref().is_none_or(|(generation, _)| *generation < slice.generation) {
            shard.complete = Some((slice.generation, parts.into_values().collect()));
            shard.writing.retain(|generation, _| *generation > slice.generation);
            if let Some(journal) = self.journal.get_mut(&slice.shard) {
                *journal = journal.split_off(&(journal_before + 1));
            }
        }
    }

    fn add_delivery(&mut self, new: &Delivery) -> Option<i64> {
        if !self.waiting.insert(key(new)) {
            return None;
        }
        self.rows_written += 1;
        let row = self.rows_written;
        let waiting = PendingDelivery { row, delivery: new.clone(), attempts: 0, last_error: None, parked: false };
        self.deliveries.insert(row, waiting);
        Some(row)
    }

    fn settle(&mut self, settlement: &Settlement) {
        let (Settlement::Done { row }
        | Settlement::Parked { row, .. }
        | Settlement::Retry { row }
        | Settlement::Failed { row, .. }) = settlement;
        let Some(delivery) = self.deliveries.get_mut(row) else { return };
        match settlement {
            Settlement::Done { .. } => {
                self.waiting.remove(&key(&delivery.delivery));
                self.deliveries.remove(row);
            }
            Settlement::Parked { error, .. } => {
                delivery.parked = true;
                delivery.last_error = Some(error.clone());
            }
            Settlement::Retry { .. } => {
                delivery.parked = false;
                delivery.attempts = 0;
            }
            Settlement::Failed { attempts, error, .. } => {
                delivery.attempts = *attempts;
                delivery.last_error = Some(error.clone());
            }
        }
    }

    fn deliveries(&self, sink: &str, parked: bool, after_row: i64, limit: usize) -> Vec<PendingDelivery> {
        let wanted = |row: &&PendingDelivery| &*row.delivery.sink == sink && row.parked == parked;
        self.deliveries
            .range(after_row.saturating_add(1)..)
            .map(|(_, row)| row)
            .filter(wanted)
            .take(limit)
            .cloned()
            .collect()
    }
}

fn json(doc: &IncidentDoc) -> String {
    serde_json::to_string(doc).expect("strings, numbers and maps with string keys always serialise")
}

fn problem_json(doc: &ProblemDoc) -> String {
    serde_json::to_string(doc).expect("strings, numbers and maps with string keys always serialise")
}

fn is_wanted(doc: &IncidentDoc, query: &IncidentQuery) -> bool {
    let is = |asked: &Option<String>, value: Option<&str>| asked.is_none() || asked.as_deref() == value;
    is(&query.status, Some(doc.status.as_str()))
        && is(&query.priority, Some(doc.priority.as_str()))
        && is(&query.service, doc.service.as_deref())
        && is(&query.rule, Some(&doc.rule))
        && query.after.is_none_or(|after| (doc.opened_at, doc.id) < after)
        && query.before.is_none_or(|before| (doc.opened_at, doc.id) > before)
}

impl Reads for Shared {
    fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.lock().meta.get(key).cloned())
    }

    fn replay(&self, shard: u16, each: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(u64, u64), StoreError> {
        let state = self.lock();
        let mut hand = |bytes: &[u8]| {
            each(bytes).map_err(|detail| StoreError::Damaged { what: format!("the state of shard {shard}"), detail })
        };
        let complete = state.snapshots.get(&shard).and_then(|snapshots| snapshots.complete.as_ref());
        for slice in complete.map_or(&[][..], |(_, parts)| parts) {
            hand(slice)?;
        }
        let mut journal_bytes = 0;
        for entry in state.journal.get(&shard).into_iter().flat_map(BTreeMap::values) {
            hand(entry)?;
            journal_bytes += entry.len() as u64;
        }
        Ok((complete.map_or(0, |(generation, _)| *generation), journal_bytes))
    }

    fn positions(&self) -> Result<Vec<ShardPosition>, StoreError> {
        Ok(self.lock().positions.values().cloned().collect())
    }

    fn incidents(&self, query: &IncidentQuery) -> Result<Vec<(Timestamp, IncidentId, String)>, StoreError> {
        let mut wanted: Vec<_> =
            self.lock().incidents.values().filter(|doc| is_wanted(doc, query)).map(Arc::clone).collect();
        wanted.sort_unstable_by_key(|doc| std::cmp::Reverse((doc.opened_at, doc.id)));
        Ok(wanted.iter().take(query.limit).map(|doc| (doc.opened_at, doc.id, json(doc))).collect())
    }

    fn incident(&self, id: IncidentId) -> Result<Option<String>, StoreError> {
        Ok(self.lock().incidents.get(&id).map(|doc| json(doc)))
    }

    fn incident_alerts(&self, id: IncidentId) -> Result<Option<String>, StoreError> {
        let state = self.lock();
        let alerts = state.alerts.get(&id).map(serde_json::to_string);
        Ok(alerts.map(|alerts| alerts.expect("strings, numbers and maps with string keys always serialise")))
    }

    fn timeline(&self, id: IncidentId, limit: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        let state = self.lock();
        let newest = state.timeline.range((id, 0)..=(id, u64::MAX)).rev().take(limit);
        let mut entries: Vec<_> = newest.map(|(_, entry)| entry.clone()).collect();
        entries.reverse();
        Ok(entries)
    }

    fn timeline_from(&self, id: IncidentId, first: u64, limit: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        let state = self.lock();
        let entries = state.timeline.range((id, first)..=(id, u64::MAX)).take(limit);
        Ok(entries.map(|(_, entry)| entry.clone()).collect())
    }

    fn silences(&self) -> Result<Vec<(String, u16, String)>, StoreError> {
        let state = self.lock();
        let json = |doc| serde_json::to_string(doc).expect("strings and numbers always serialise");
        Ok(state.silences.iter().map(|((id, shard), doc)| (id.clone(), *shard, json(doc))).collect())
    }

    fn problems(&self, status: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let state = self.lock();
        let mut wanted: Vec<&Arc<ProblemDoc>> = state.problems.values().collect();
        wanted.retain(|doc| status.is_none_or(|status| doc.status.as_str() == status));
        wanted.sort_unstable_by_key(|doc| std::cmp::Reverse((doc.opened_at, doc.id)));
        Ok(wanted.into_iter().take(limit).map(|doc| problem_json(doc)).collect())
    }

    fn problem(&self, id: ProblemId) -> Result<Option<String>, StoreError> {
        Ok(self.lock().problems.get(&id).map(|doc| problem_json(doc)))
    }

    fn pending(&self, sink: &str, after_row: i64, limit: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        Ok(self.lock().deliveries(sink, false, after_row, limit))
    }

    fn parked(&self, sink: &str, limit: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        Ok(self.lock().deliveries(sink, true, 0, limit))
    }

    fn backlog(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for row in self.lock().deliveries.values() {
            *counts.entry(row.delivery.sink.to_string()).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::conformance;

    #[test]
    fn the_memory_store_keeps_the_contract() {
        let data = MemoryStore::new();
        conformance(&mut || Box::new(data.reopen()));
    }
}
