//! The decisions: events and `now` go in, verdicts and decisions come out.
//!
//! Pure and single-threaded: no clock, no I/O, no lock, no randomness that could be seen. [`Shard`] is the only door;
//! the branching is in `shard.rs`, the stages around it compute and return. It never fails and never waits.

mod alert;
pub mod command;
mod correlate;
pub mod deadlines;
pub mod decision;
pub mod desk;
mod escalation;
mod flapping;
mod footprint;
mod group;
mod heartbeat;
mod hint;
pub mod incident;
mod journal;
mod lifecycle;
mod memory;
pub mod moves;
mod priority;
pub mod problems;
mod relate;
mod shard;
pub mod suppress;
#[cfg(test)]
mod tests;
pub mod unmatched;
mod view;
mod window;

pub use footprint::PARTS;
pub use journal::{ReloadReport, RuleReport};
pub use relate::union::Culprit;
pub use shard::{Changes, Shard, SnapshotStep, Stats};

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds and times of the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EngineConfig {
    /// The lease of a firing event that names no end. Default `5m`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub resolve_timeout: Duration,
    /// How late an event may come and still be correlated as if in order. Default `2m`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub lateness: Duration,
    /// Sources whose events may come later, or less late.
    #[serde(skip)]
    #[schemars(skip)]
    pub source_lateness: SourceLateness,
    /// How long a producer's id is remembered. Default `1h`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub dedup_horizon: Duration,
    /// How many producer ids a shard remembers at most; beyond it the oldest are forgotten early. Default 1,000,000.
    pub dedup_max_ids: usize,
    /// Alerts a shard holds at most; events of further ones are rejected with `E_CAPACITY`. Default 1,000,000.
    pub max_alerts: usize,
    /// Groups a shard holds at most; beyond it events are recorded with the reason `limit_reached`. Default 1,000,000.
    pub max_groups: usize,
}

/// How late events may come where that differs from the others: by the event's source, else by the Kafka source that
/// brought it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceLateness {
    by_source: BTreeMap<String, Duration>,
    by_kafka: BTreeMap<String, Duration>,
    greatest: Duration,
}

impl SourceLateness {
    /// By the names of sources, and of Kafka sources.
    pub fn new(by_source: BTreeMap<String, Duration>, by_kafka: BTreeMap<String, Duration>) -> Self {
        let greatest = by_source.values().chain(by_kafka.values()).max().copied().unwrap_or_default();
        Self { by_source, by_kafka, greatest }
    }

    fn is_empty(&self) -> bool {
        self.by_source.is_empty() && self.by_kafka.is_empty()
    }

    fn of(&self, source: &str) -> Option<Duration> {
        self.by_source.get(source).copied()
    }

    fn of_kafka(&self, source: &str) -> Option<Duration> {
        self.by_kafka.get(source).copied()
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            resolve_timeout: Duration::from_secs(300),
            lateness: Duration::from_secs(120),
            source_lateness: SourceLateness::default(),
            dedup_horizon: Duration::from_secs(3_600),
            dedup_max_ids: 1_000_000,
            max_alerts: 1_000_000,
            max_groups: 1_000_000,
        }
    }
}

impl EngineConfig {
    /// How long a resolved or stale alert is kept, so that what comes late is recognised.
    pub fn retention(&self) -> Duration {
        self.resolve_timeout.max(self.lateness_max())
    }

    /// The greatest lateness of any source.
    pub fn lateness_max(&self) -> Duration {
        self.lateness.max(self.source_lateness.greatest)
    }
}
