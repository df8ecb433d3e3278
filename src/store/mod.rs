//! What survives: one atomic, durable commit at a time.
//!
//! [`Store`] is the writing side, owned by one thread; [`Reads`] is the reading side, shared, and sees only what is
//! committed. Two kinds of state go into one transaction: rows for what people read (incidents, timeline, deliveries,
//! positions), and for the engine's hot state one journal entry per shard and commit plus slices of a snapshot that
//! let the journal be cut. Nothing here knows what a journal entry says.
//!
//! When a commit fails nothing of it is there, and the same commit may be tried again.

#[cfg(test)]
mod conformance;
mod lock;
mod memory;
mod sqlite;

pub use lock::DataDirLock;
pub use memory::MemoryStore;
pub use sqlite::{SqliteConfig, SqliteStore};

use std::borrow::Cow;
use std::sync::Arc;

use crate::delivery::{Action, Delivery};
use crate::engine::incident::{AlertDoc, IncidentDoc};
use crate::engine::problems::ProblemDoc;
use crate::engine::suppress::silence::SilenceChange;
use crate::event::{Position, Timestamp};
use crate::identity::{IncidentId, ProblemId};

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the data directory.
    #[error("{dir} is in use by process {holder}; stop it, or give this one another --data-dir")]
    InUse {
        /// The directory.
        dir: String,
        /// The holder's process id, or "unknown".
        holder: String,
    },
    /// Written by a newer version.
    #[error(
        "{dir} was written by a newer incidentd (format {found}, this one knows {known}); upgrade, or use another --data-dir"
    )]
    Newer {
        /// The directory.
        dir: String,
        /// What it says.
        found: u32,
        /// What this version reads.
        known: u32,
    },
    /// No room on the disk; the commit may be tried again once there is.
    #[error("the disk is full: {0}")]
    Full(String),
    /// Damaged: bytes that do not carry their checksum.
    #[error("damaged data in {what}: {detail}")]
    Damaged {
        /// Which part.
        what: String,
        /// What was found.
        detail: String,
    },
    /// The operating system or SQLite failed.
    #[error("{0}")]
    Io(String),
}

impl StoreError {
    /// Whether the same commit may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, StoreError::Full(_) | StoreError::Io(_))
    }
}

/// One shard's hot state change of one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalEntry {
    /// The shard.
    pub shard: u16,
    /// Encoded by the engine; opaque here.
    pub bytes: Vec<u8>,
}

/// One slice of a shard's snapshot. Slices of one generation are written over many commits; the generation counts
/// once its last slice is committed and no part is missing. Replay = all slices of the newest complete generation, then
/// every journal entry of the shard from the commit that wrote the generation's first slice on (entries are absolute,
/// so replaying those that a slice already holds does no harm). A part 0 starts its generation anew: what an earlier
/// process left of it is dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotSlice {
    /// The shard.
    pub shard: u16,
    /// Rises with every snapshot of the shard.
    pub generation: u64,
    /// From 0.
    pub part: u32,
    /// Whether this completes the generation: older generations and the journal before it may go.
    pub last: bool,
    /// Encoded by the engine; opaque here.
    pub bytes: Vec<u8>,
}

/// What a shard has applied of a Kafka partition.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardPosition {
    /// The shard.
    pub shard: u16,
    /// The partition and the next offset.
    pub position: Position,
}

/// One entry of an incident's timeline.
#[derive(Clone, Debug, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct TimelineEntry {
    /// The incident.
    #[serde(skip)]
    pub incident: IncidentId,
    /// The number of the decision within the incident.
    #[serde(skip)]
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who or what: `rule:<name>` or `operator:<name>`.
    pub by: String,
    /// What happened.
    pub what: Action,
    /// Why, machine-readable.
    pub reason: Cow<'static, str>,
    /// A sentence for people.
    pub detail: String,
}

/// The alerts that an incident leaves behind when it is closed.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentAlerts {
    /// The incident; its row is in the same commit or an earlier one.
    pub incident: IncidentId,
    /// Its alerts as they last were.
    pub alerts: Vec<AlertDoc>,
}

/// A silence as one shard has it, for people. The engine restores it from the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct SilenceRow {
    /// The shard.
    pub shard: u16,
    /// How it is now, or that it is forgotten.
    pub change: SilenceChange,
}

/// The end of a delivery's life, or its next try.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    /// Confirmed by the sink, or folded into a newer one: the row goes.
    Done {
        /// The row.
        row: i64,
    },
    /// Given up for now: visible, and retryable by hand.
    Parked {
        /// The row.
        row: i64,
        /// Why.
        error: String,
    },
    /// Taken up again by hand: no longer parked, its tries are counted from 0, its last error stays visible. Its row
    /// stays, too, so who reads on from a higher row must look back.
    Retry {
        /// The row.
        row: i64,
    },
    /// Failed so far: keeps attempts and the last error, so that they survive a restart.
    Failed {
        /// The row.
        row: i64,
        /// Tries so far.
        attempts: u32,
        /// The last error.
        error: String,
    },
}

/// A delivery that waits in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingDelivery {
    /// Its row; rises in the order of commits.
    pub row: i64,
    /// What to deliver.
    pub delivery: Delivery,
    /// Tries so far.
    pub attempts: u32,
    /// The last error, if it was tried.
    pub last_error: Option<String>,
    /// Given up for now.
    pub parked: bool,
}

/// One transaction. Rows that are there already (a timeline entry, a waiting delivery) stay as they are, so that work
/// redone after a crash changes nothing.
#[derive(Debug, Default)]
pub struct Commit {
    /// The receiving clock, for the age of closed incidents; the store reads no clock. By default nothing ages.
    pub now: Timestamp,
    /// Hot state, at most one entry per shard.
    pub journal: Vec<JournalEntry>,
    /// Snapshot slices.
    pub slices: Vec<SnapshotSlice>,
    /// Kafka positions per shard.
    pub positions: Vec<ShardPosition>,
    /// Incidents as they now are; the newest of one id wins.
    pub incidents: Vec<Arc<IncidentDoc>>,
    /// The alerts of incidents that are closed.
    pub alerts: Vec<IncidentAlerts>,
    /// New timeline entries.
    pub timeline: Vec<TimelineEntry>,
    /// Silences that changed; the newest of one id and shard wins.
    pub silences: Vec<SilenceRow>,
    /// Problems that changed; the newest of one id wins.
    pub problems: Vec<Arc<ProblemDoc>>,
    /// New deliveries.
    pub deliveries: Vec<Delivery>,
    /// Deliveries that ended or failed.
    pub settled: Vec<Settlement>,
    /// Key-value pairs about the data directory itself.
    pub meta: Vec<(String, String)>,
}

impl Commit {
    /// Whether there is nothing to make durable.
    pub fn is_empty(&self) -> bool {
        self.journal.is_empty()
            && self.slices.is_empty()
            && self.positions.is_empty()
            && self.incidents.is_empty()
            && self.alerts.is_empty()
            && self.timeline.is_empty()
            && self.silences.is_empty()
            && self.problems.is_empty()
            && self.deliveries.is_empty()
            && self.settled.is_empty()
            && self.meta.is_empty()
    }

    /// Adds another part; parts of one shard must be merged in the order in which the shard made them.
    pub fn merge(&mut self, other: Commit) {
        self.now = self.now.max(other.now);
        self.journal.extend(other.journal);
        self.slices.extend(other.slices);
        self.positions.extend(other.positions);
        self.incidents.extend(other.incidents);
        self.alerts.extend(other.alerts);
        self.timeline.extend(other.timeline);
        self.silences.extend(other.silences);
        self.problems.extend(other.problems);
        self.deliveries.extend(other.deliveries);
        self.settled.extend(other.settled);
        self.meta.extend(other.meta);
    }
}

/// What a list of incidents is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IncidentQuery {
    /// Only this status (public name).
    pub status: Option<String>,
    /// Only this priority (public name).
    pub priority: Option<String>,
    /// Only this service.
    pub service: Option<String>,
    /// Only this rule.
    pub rule: Option<String>,
    /// Only incidents that come after this one: opened earlier, or at the same time with a smaller id.
    pub after: Option<(Timestamp, IncidentId)>,
    /// Only incidents that come before this one: opened later, or at the same time with a greater id.
    pub before: Option<(Timestamp, IncidentId)>,
    /// At most so many.
    pub limit: usize,
}

/// The row of each delivery of a commit, in their order.
pub type DeliveryRows = Vec<Option<i64>>;

/// The writing side. One thread owns it.
///
/// `commit` is atomic and durable when it returns `Ok`: after a crash either all of it is there or nothing. It
/// blocks for the time of a disk sync. After `Err` nothing of it is there and the same commit may be tried again.
/// A commit with several journal entries of one shard keeps their order.
pub trait Store: Send {
    /// Makes one transaction durable. Says in which row each of its deliveries now waits; `None` where it was there already.
    ///
    /// # Errors
    /// See the contract above.
    fn commit(&mut self, commit: &Commit) -> Result<DeliveryRows, StoreError>;

    /// The reading side.
    fn reads(&self) -> Arc<dyn Reads>;
}

/// The reading side. Sees only what is committed; may be called from many threads; blocks for the time of a query.
pub trait Reads: Send + Sync {
    /// A value about the data directory.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn meta(&self, key: &str) -> Result<Option<String>, StoreError>;

    /// Hands a shard's snapshot slices, then its journal entries, in order, to `each`. Returns the generation of the
    /// snapshot (0 when there is none) and the journal's size in bytes. A torn or damaged entry is an error.
    ///
    /// # Errors
    /// When the store cannot be read or is damaged.
    fn replay(&self, shard: u16, each: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(u64, u64), StoreError>;

    /// Every shard's positions.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn positions(&self) -> Result<Vec<ShardPosition>, StoreError>;

    /// Incidents, newest first (`opened_at`, then id), as their JSON documents with their `(opened_at, id)`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn incidents(&self, query: &IncidentQuery) -> Result<Vec<(Timestamp, IncidentId, String)>, StoreError>;

    /// One incident's JSON document.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn incident(&self, id: IncidentId) -> Result<Option<String>, StoreError>;

    /// The alerts that a closed incident left behind, as a JSON array.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn incident_alerts(&self, id: IncidentId) -> Result<Option<String>, StoreError>;

    /// An incident's timeline, oldest first, the newest `limit` entries.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn timeline(&self, id: IncidentId, limit: usize) -> Result<Vec<TimelineEntry>, StoreError>;

    /// An incident's timeline from a sequence number on, oldest first, the first `limit` entries of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn timeline_from(&self, id: IncidentId, first: u64, limit: usize) -> Result<Vec<TimelineEntry>, StoreError>;

    /// Every silence of every shard as its JSON document, by id and shard.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn silences(&self) -> Result<Vec<(String, u16, String)>, StoreError>;

    /// Problems of a status (public name), or all, as their JSON documents, the one that was raised last first; at most
    /// so many.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn problems(&self, status: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError>;

    /// One problem's JSON document.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn problem(&self, id: ProblemId) -> Result<Option<String>, StoreError>;

    /// A sink's waiting deliveries that are not parked, oldest first, with a row above `after_row`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn pending(&self, sink: &str, after_row: i64, limit: usize) -> Result<Vec<PendingDelivery>, StoreError>;

    /// A sink's parked deliveries, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn parked(&self, sink: &str, limit: usize) -> Result<Vec<PendingDelivery>, StoreError>;

    /// How many deliveries wait, by sink, parked ones included.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn backlog(&self) -> Result<Vec<(String, u64)>, StoreError>;
}
