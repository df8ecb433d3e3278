//! What the shards hold, written by each after its commits, summed for the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::{PARTS, Stats};
use crate::metrics::Metrics;

/// One slot a shard.
#[derive(Debug)]
pub struct StatsBoard {
    slots: Vec<Mutex<Stats>>,
    /// By rule, of all shards.
    rule_errors: Mutex<BTreeMap<Arc<str>, u64>>,
}

impl StatsBoard {
    /// A board for so many shards.
    pub fn new(shards: u16) -> Self {
        Self { slots: (0..shards).map(|_| Mutex::new(Stats::default())).collect(), rule_errors: Mutex::default() }
    }

    /// Replaces a shard's numbers; those that count since the last call are added up.
    pub fn set(&self, shard: u16, stats: Stats) {
        if let Some(mut slot) = self.slots.get(usize::from(shard)).and_then(|slot| slot.lock().ok()) {
            let dedup_overflow = slot.dedup_overflow + stats.dedup_overflow;
            let changes_overflow = slot.changes_overflow + stats.changes_overflow;
            let visits = slot.visits + stats.visits;
            *slot = Stats { dedup_overflow, changes_overflow, visits, ..stats };
        }
    }

    /// Adds up how often the condition of a rule could not be evaluated.
    pub fn rule_errors(&self, errors: &[(Arc<str>, u64)]) {
        if errors.is_empty() {
            return;
        }
        let mut sums = self.rule_errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().for_each(|(rule, errors)| *sums.entry(rule.clone()).or_default() += errors);
    }

    /// A shard's numbers.
    pub fn get(&self, shard: u16) -> Stats {
        self.slots.get(usize::from(shard)).and_then(|slot| slot.lock().ok()).map(|slot| *slot).unwrap_or_default()
    }

    /// All shards together.
    pub fn sum(&self) -> Stats {
        let mut sum = Stats::default();
        for slot in self.slots.iter().filter_map(|slot| slot.lock().ok()) {
            sum.firing += slot.firing;
            sum.resolved += slot.resolved;
            sum.stale += slot.stale;
            sum.groups += slot.groups;
            sum.bytes += slot.bytes;
            for (sum, bytes) in sum.parts.iter_mut().zip(slot.parts) {
                *sum += bytes;
            }
            // Every shard has the same windows.
            sum.maintenance_open = sum.maintenance_open.max(slot.maintenance_open);
            sum.dedup_overflow += slot.dedup_overflow;
            sum.changes_overflow += slot.changes_overflow;
            sum.visits += slot.visits;
            sum.problems += slot.problems;
            for (sum, alerts) in sum.suppressed.iter_mut().zip(slot.suppressed) {
                *sum += alerts;
            }
            // Every shard has every silence.
            for (sum, silences) in sum.silences.iter_mut().zip(slot.silences) {
                *sum = silences.max(*sum);
            }
        }
        sum
    }

    /// Sets the gauges.
    pub fn publish(&self, metrics: &Metrics) {
        let sum = self.sum();
        metrics.set_alerts("firing", sum.firing as f64);
        metrics.set_alerts("resolved", sum.resolved as f64);
        metrics.set_alerts("stale", sum.stale as f64);
        metrics.set_silences(sum.silences);
        metrics.set_problems(sum.problems);
        metrics.set_suppressed(sum.suppressed);
        metrics.set_state_bytes(PARTS.into_iter().zip(sum.parts));
        metrics.maintenance_open.set(sum.maintenance_open as f64);
        metrics.dedup_overflow.absolute(sum.dedup_overflow);
        metrics.changes_overflow.absolute(sum.changes_overflow);
        metrics.topology_visits.absolute(sum.visits);
        let errors = self.rule_errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.iter().for_each(|(rule, errors)| metrics.set_rule_errors(rule, *errors));
    }
}
