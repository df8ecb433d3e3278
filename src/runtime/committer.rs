//! The thread that makes things durable: one transaction for all that waits, then the answers.
//!
//! Shards and the outbox hand in parts; whatever waits when a transaction begins goes into it. Only when it is on disk
//! is the read model refreshed, and are sinks given what they deliver and producers answered. A full disk stops intake: the same commit is
//! tried again until there is room, so nothing that was applied is lost. A disk that fails otherwise is not trusted
//! again: the daemon stops without answering, and the next start finds what was durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::positions::PositionBook;
use super::read_model::ReadModel;
use crate::clock::{Clock, Stopwatch};
use crate::delivery::Delivery;
use crate::engine::command::{Done, Refusal};
use crate::engine::deadlines::{TargetCount, TargetTurn};
use crate::engine::decision::{Reason, Verdict};
use crate::engine::incident::IncidentCounts;
use crate::event::Timestamp;
use crate::metrics::Metrics;
use crate::store::{Commit, DeliveryRows, PendingDelivery, Settlement, Store, StoreError};

/// Parts that may wait: one a shard and a few settlements. More waiting outbox tasks wait for a place.
pub(super) const PARTS: usize = 256;
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Verdicts that wait for their commit.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: oneshot::Sender<Vec<Verdict>>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) received_at: Timestamp,
    pub(super) permit: Arc<OwnedSemaphorePermit>,
}

/// A command that waits for its commit.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) reply: oneshot::Sender<Result<Done, Refusal>>,
    pub(super) outcome: Result<Done, Refusal>,
}

/// One contribution to a transaction.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) commit: Commit,
    pub(super) answers: Vec<Answer>,
    pub(super) orders: Vec<Order>,
    pub(super) counts: Vec<IncidentCounts>,
    pub(super) targets: Vec<TargetCount>,
    /// Told when it is durable.
    pub(super) settled: Option<oneshot::Sender<()>>,
    /// The shard's turn, given back when it is durable.
    #[expect(dead_code, reason = "held for its drop")]
    pub(super) turn: Option<OwnedSemaphorePermit>,
}

/// Makes the ends of deliveries durable. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LedgerHandle {
    parts: mpsc::Sender<Part>,
}

impl LedgerHandle {
    pub(super) fn new(parts: mpsc::Sender<Part>) -> Self {
        Self { parts }
    }

    /// Resolves once the settlements are durable; `false` when the daemon stopped first.
    pub fn settle(&self, settled: Vec<Settlement>) -> BoxFuture<'static, bool> {
        let parts = self.parts.clone();
        Box::pin(async move {
            let (done, durable) = oneshot::channel();
            let commit = Commit { settled, ..Commit::default() };
            let part = Part { commit, settled: Some(done), ..Part::default() };
            parts.send(part).await.is_ok() && durable.await.is_ok()
        })
    }
}

/// Given the deliveries that have become durable, in the order of their rows. Must not wait.
pub type OnDeliveries = Arc<dyn Fn(Vec<PendingDelivery>) + Send + Sync>;

/// See the module.
pub(super) struct Committer {
    pub(super) store: Box<dyn Store>,
    pub(super) parts: mpsc::Receiver<Part>,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) positions: Arc<PositionBook>,
    pub(super) read_model: Arc<ReadModel>,
    pub(super) on_deliveries: OnDeliveries,
    pub(super) store_up: Arc<AtomicBool>,
    /// Set when the store cannot be trusted any more.
    pub(super) fatal: watch::Sender<Option<String>>,
    /// What was logged last to have reached its bound.
    pub(super) culprit: Option<Arc<str>>,
}

impl Committer {
    /// Runs until every sender of parts is gone, or the store fails for good.
    pub(super) fn run(mut self) {
        while let Some(first) = self.parts.blocking_recv() {
            let mut waiting = vec![first];
            while let Ok(part) = self.parts.try_recv() {
                waiting.push(part);
            }
            if let Err(error) = self.commit(waiting) {
                tracing::error!(%error, "the store failed; stopping without answering what is not durable");
                self.store_up.store(false, Ordering::Release);
                self.metrics.commit_healthy.set(0.0);
                self.fatal.send_replace(Some(error.to_string()));
                return;
            }
        }
    }

    fn commit(&mut self, mut waiting: Vec<Part>) -> Result<(), StoreError> {
        let (mut commit, mut rows) = (Commit::default(), DeliveryRows::new());
        for part in &mut waiting {
            commit.merge(std::mem::take(&mut part.commit));
        }
        if !commit.is_empty() {
            let stopwatch = Stopwatch::start();
            commit.now = self.clock.now();
            rows = self.persist(&commit)?;
            self.metrics.commit_seconds.record(stopwatch.elapsed().as_secs_f64());
        }
        self.publish(commit, &rows, waiting);
        Ok(())
    }

    /// Writes until it is written; gives up only where trying again cannot help.
    fn persist(&mut self, commit: &Commit) -> Result<DeliveryRows, StoreError> {
        let mut pause = RETRY_MIN;
        loop {
            match self.store.commit(commit) {
                Ok(rows) => {
                    if !self.store_up.swap(true, Ordering::AcqRel) {
                        self.metrics.commit_healthy.set(1.0);
                        tracing::info!("commits succeed again; intake is open");
                    }
                    return Ok(rows);
                }
                Err(StoreError::Full(detail)) => {
                    self.metrics.commit_failures.increment(1);
                    if self.store_up.swap(false, Ordering::AcqRel) {
                        self.metrics.commit_healthy.set(0.0);
                        tracing::error!(detail, "no room for a commit; intake is closed until there is");
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Everything that may be known only now that it is durable.
    fn publish(&mut self, commit: Commit, rows: &[Option<i64>], waiting: Vec<Part>) {
        self.positions.committed(&commit.positions);
        let mut counts = Vec::new();
        let mut verdicts = [0; 10];
        let mut events = 0;
        let now = self.clock.now();
        let (mut answers, mut orders) = (Vec::new(), Vec::new());
        for part in waiting {
            orders.extend(part.orders);
            counts.extend(part.counts);
            part.targets.iter().for_each(|count| self.count_target(*count));
            answers.extend(part.answers);
            if let Some(settled) = part.settled {
                // An outbox task that is gone will find the rows settled when it starts again.
                let _ = settled.send(());
            }
        }
        self.read_model.apply(&commit.incidents, &counts);
        self.offer(commit.deliveries, rows);
        for answer in &answers {
            events += answer.verdicts.len();
            answer.verdicts.iter().for_each(|verdict| verdicts[verdict.outcome as usize] += 1);
            self.metrics.decision_seconds.record(now.since(answer.received_at).as_secs_f64());
        }
        self.metrics.decided(&verdicts);
        self.count_unwanted(&answers);
        if events > 0 {
            self.metrics.commit_events.record(events as f64);
        }
        let journal: usize = commit.journal.iter().map(|entry| entry.bytes.len()).sum();
        self.metrics.journal_bytes.increment(journal as u64);
        for entry in &commit.timeline {
            self.metrics.transition(entry.what.as_str(), 1);
        }
        for Answer { reply, verdicts, permit, .. } in answers {
            // A producer that has hung up is no reason to stop; its events are durable.
            let _ = reply.send(verdicts);
            drop(permit);
        }
        for Order { reply, outcome } in orders {
            // Whoever ordered it may have hung up.
            let _ = reply.send(outcome);
        }
    }

    /// Gives the outbox what it is to deliver; what waited before this commit, it has been given or reads itself.
    fn offer(&self, deliveries: Vec<Delivery>, rows: &[Option<i64>]) {
        let pending = |(delivery, row): (Delivery, &Option<i64>)| {
            row.map(|row| PendingDelivery { row, delivery, attempts: 0, last_error: None, parked: false })
        };
        let pending: Vec<PendingDelivery> = deliveries.into_iter().zip(rows).filter_map(pending).collect();
        if !pending.is_empty() {
            (self.on_deliveries)(pending);
        }
    }

    fn count_target(&self, TargetCount { target, turn, priority }: TargetCount) {
        let (target, priority) = (target.as_str(), priority.as_str());
        match turn {
            TargetTurn::Warned => self.metrics.target_warning(target, priority, 1),
            TargetTurn::Met => self.metrics.target(target, "met", priority, 1),
            TargetTurn::Breached => self.metrics.target(target, "breached", priority, 1),
        }
    }

    /// Counts alerts that became part of no group, so that a rule which misses what it should take is seen.
    fn count_unwanted(&mut self, answers: &[Answer]) {
        let (mut no_rule, mut limited) = (0, 0);
        for verdict in answers.iter().flat_map(|answer| &answer.verdicts) {
            match (verdict.reason, &verdict.rule) {
                (Reason::NoRule, _) => no_rule += 1,
                (Reason::LabelMissing, Some(rule)) => self.metrics.label_missing(rule, 1),
                (Reason::LimitReached, _) => {
                    limited += 1;
                    self.name_culprit(verdict.hint.as_ref());
                }
                _ => {}
            }
        }
        self.metrics.no_rule.increment(no_rule);
        self.metrics.limit_reached.increment(limited);
    }

    /// Logs what has reached its bound, once until it is another one.
    fn name_culprit(&mut self, hint: Option<&Arc<str>>) {
        if let Some(hint) = hint.filter(|hint| self.culprit.as_ref() != Some(*hint)) {
            tracing::warn!(limit = %hint, "a limit is reached: alerts are not taken");
            self.culprit = Some(hint.clone());
        }
    }
}
