//! Which partitions this consumer reads, from where, and what of them is on its way.
//!
//! librdkafka calls [`Context::rebalance`] on the polling thread. Positions come from our own store, never from the
//! group's committed offsets, which are only a hint for lag tools. A revoked partition is drained inside the
//! callback for at most [`DRAIN_MAX`], so that the next owner starts where we stopped; of a lost one nothing is
//! written any more. Safety does not depend on either: the engine skips records that it has applied.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

use super::config::Start;
use crate::clock::Stopwatch;
use crate::event::Position;
use crate::metrics::Metrics;
use crate::runtime::{PositionBook, Receipt, Refused};

/// How long a rebalance waits for what is on its way. Well below the session timeout.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long a rebalance waits for a broker to say where a partition ends.
const WATERMARK_MAX: Duration = Duration::from_secs(2);

/// A topic and a partition.
pub(super) type Partition = (Arc<str>, i32);

/// A partition that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Assigned {
    /// The offset that comes next; `None` until the first record when it is the beginning or the end.
    pub next: Option<i64>,
    /// The generation in which it was assigned; what was polled before does not count any more.
    pub since: u64,
}

/// A batch that the router has.
pub(super) struct InFlight {
    pub receipt: Receipt,
    pub positions: Vec<Position>,
    /// Counts its events as in flight until it is dropped.
    #[expect(dead_code, reason = "held for its drop")]
    pub counted: crate::ingest::intake::InFlight,
}

/// What the loop and the callback share; both run on the polling thread.
#[derive(Default)]
pub(super) struct Assignment {
    pub partitions: BTreeMap<Partition, Assigned>,
    /// Counts rebalances.
    pub generation: u64,
    /// In the order of submission.
    pub in_flight: VecDeque<InFlight>,
    /// Durable and not yet told to Kafka.
    pub committable: BTreeMap<Partition, i64>,
    /// Starting points that were looked up and are to be stored, so that a restart finds them.
    pub anchors: Vec<Position>,
    /// Whether intake is paused, so that new partitions are paused too.
    pub paused: bool,
    /// A batch came back without effects: everything is to be read again from the stored positions.
    pub broken: Option<Refused>,
}

/// See the module.
pub(super) struct Context {
    source: Arc<str>,
    start: Start,
    positions: Arc<PositionBook>,
    metrics: Arc<Metrics>,
    assignment: Mutex<Assignment>,
    commits_fail: AtomicBool,
}

impl Assignment {
    /// Takes note of batches that have become durable.
    pub fn reap(&mut self) {
        while let Some(first) = self.in_flight.front_mut() {
            let Some(outcome) = first.receipt.try_verdicts() else { return };
            let Some(done) = self.in_flight.pop_front() else { return };
            match outcome {
                Ok(_) => {
                    for position in done.positions {
                        self.committable.insert((position.topic, position.partition), position.next_offset);
                    }
                }
                Err(refused) => self.broken = Some(refused),
            }
        }
    }

    /// Forgets what is on its way of a partition, so that nothing of it is committed.
    fn forget(&mut self, partition: &Partition) {
        for batch in &mut self.in_flight {
            batch.positions.retain(|position| (&position.topic, position.partition) != (&partition.0, partition.1));
        }
        self.anchors.retain(|position| (&position.topic, position.partition) != (&partition.0, partition.1));
        self.committable.remove(partition);
        self.partitions.remove(partition);
    }
}

impl Context {
    pub fn new(source: Arc<str>, start: Start, positions: Arc<PositionBook>, metrics: Arc<Metrics>) -> Self {
        let (assignment, commits_fail) = (Mutex::default(), AtomicBool::new(false));
        Self { source, start, positions, metrics, assignment, commits_fail }
    }

    /// The shared state. Never held while polling.
    pub fn assignment(&self) -> MutexGuard<'_, Assignment> {
        self.assignment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset from which the store wants a partition read.
    pub fn stored(&self, (topic, partition): &Partition) -> Option<i64> {
        self.positions.next_offset(&self.source, topic, *partition)
    }

    /// Tells Kafka how far we are, for lag tools. Asynchronous, and only logged when it fails.
    pub fn commit(&self, consumer: &BaseConsumer<Self>) {
        let committable = std::mem::take(&mut self.assignment().committable);
        if committable.is_empty() {
            return;
        }
        let offsets = committable.into_iter().map(|(partition, next)| (partition, Offset::Offset(next)));
        if let Err(error) = consumer.commit(&list(offsets), CommitMode::Async) {
            self.commit_callback(Err(error), &TopicPartitionList::new());
        }
    }

    /// Reads on from other offsets: `None` leaves the place to the configured start.
    pub fn reassign(&self, consumer: &BaseConsumer<Self>, places: Vec<(Partition, Option<i64>)>) -> KafkaResult<()> {
        let (places, paused) = self.note(places);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                consumer.incremental_unassign(&places)?;
                consumer.incremental_assign(&places)?;
            }
            _ => consumer.assign(&places)?,
        }
        if paused && places.count() > 0 { consumer.pause(&places) } else { Ok(()) }
    }

    /// Where to start reading a partition: the offset, unless it is a logical one, and whether it must be stored.
    fn place(&self, consumer: &BaseConsumer<Self>, partition: &Partition, within: Duration) -> (Option<i64>, bool) {
        if let Some(stored) = self.stored(partition) {
            return (Some(stored), false);
        }
        if self.begin(partition) == Offset::Beginning || within.is_zero() {
            return (None, false);
        }
        match consumer.fetch_watermarks(&partition.0, partition.1, within.min(WATERMARK_MAX)) {
            Ok((_, high)) if high >= 0 => (Some(high), true),
            _ => (None, false),
        }
    }

    /// The configured start. A partition that was added to a topic we read is read from its beginning: nothing of
    /// it was ever seen.
    fn begin(&self, (topic, partition): &Partition) -> Offset {
        let seen = || (0..=*partition).any(|sibling| self.stored(&(topic.clone(), sibling)).is_some());
        if self.start == Start::Earliest || seen() { Offset::Beginning } else { Offset::End }
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, new: &TopicPartitionList) -> KafkaResult<()> {
        self.metrics.rebalance(&self.source, "assigned");
        let looked = Stopwatch::start();
        let mut places = Vec::new();
        let mut anchors = Vec::new();
        for partition in partitions(new) {
            let (next, anchor) = self.place(consumer, &partition, DRAIN_MAX.saturating_sub(looked.elapsed()));
            if let Some(next_offset) = next.filter(|_| anchor) {
                let (source, topic) = (self.source.clone(), partition.0.clone());
                anchors.push(Position { source, topic, partition: partition.1, next_offset });
            }
            places.push((partition, next));
        }
        {
            let mut assignment = self.assignment();
            // A crash may have come between our commit and the one to Kafka; an idle partition would lag for ever.
            let stored = places.iter().filter_map(|(partition, _)| Some((partition.clone(), self.stored(partition)?)));
            assignment.committable.extend(stored);
            assignment.anchors.extend(anchors);
        }
        tracing::info!(source = &*self.source, partitions = places.len(), "partitions assigned");
        let (places, paused) = self.note(places);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&places)?,
            _ => consumer.assign(&places)?,
        }
        if paused && places.count() > 0 { consumer.pause(&places) } else { Ok(()) }
    }

    /// Starts a generation in which these partitions are read from these places.
    fn note(&self, places: Vec<(Partition, Option<i64>)>) -> (TopicPartitionList, bool) {
        let mut assignment = self.assignment();
        assignment.generation += 1;
        let since = assignment.generation;
        for (partition, next) in &places {
            assignment.partitions.insert(partition.clone(), Assigned { next: *next, since });
        }
        let offset =
            |partition: &Partition, next: Option<i64>| next.map_or_else(|| self.begin(partition), Offset::Offset);
        let places = places.into_iter().map(|(partition, next)| {
            let offset = offset(&partition, next);
            (partition, offset)
        });
        (list(places), assignment.paused)
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, old: &TopicPartitionList) -> KafkaResult<()> {
        let lost = consumer.assignment_lost();
        self.metrics.rebalance(&self.source, if lost { "lost" } else { "revoked" });
        let gone = partitions(old);
        if lost {
            let message =
                "assignment lost: the group went on without us; polls were too late or the broker out of reach";
            tracing::warn!(source = &*self.source, partitions = gone.len(), message);
        } else {
            tracing::info!(source = &*self.source, partitions = gone.len(), "partitions revoked");
            self.drain();
            self.commit(consumer);
        }
        let mut assignment = self.assignment();
        assignment.generation += 1;
        for partition in &gone {
            assignment.forget(partition);
            self.metrics.set_kafka_lag(&partition.0, partition.1, 0.0);
        }
        drop(assignment);
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(old),
            _ => consumer.unassign(),
        }
    }

    /// Waits for what is on its way, within bounds.
    fn drain(&self) {
        let waited = Stopwatch::start();
        loop {
            let mut assignment = self.assignment();
            assignment.reap();
            if assignment.in_flight.is_empty() {
                return;
            }
            drop(assignment);
            if waited.elapsed() >= DRAIN_MAX {
                tracing::warn!(source = &*self.source, "gave partitions back before all their records were durable");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        log(&self.source, level, facility, message);
    }

    fn error(&self, _: KafkaError, _: &str) {
        // The loop gets the same error from `poll` and handles it there.
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let outcome = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            _ => self.revoked(consumer, list),
        };
        if let Err(error) = outcome {
            tracing::error!(source = &*self.source, %error, "the assignment could not be changed");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        let failed = result.is_err();
        if self.commits_fail.swap(failed, Ordering::AcqRel) == failed {
            return;
        }
        match result {
            Ok(()) => tracing::info!(source = &*self.source, "offsets are committed to Kafka again"),
            Err(error) => {
                let message = "offsets cannot be committed to Kafka; lag tools are misled, nothing is lost";
                tracing::warn!(source = &*self.source, %error, message);
            }
        }
    }
}

/// Passes librdkafka's own log on, one level milder: what matters comes as an error as well.
pub(super) fn log(source: &str, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
    use rdkafka::config::RDKafkaLogLevel as Level;
    match level {
        Level::Emerg | Level::Alert | Level::Critical => tracing::warn!(source, facility, message, "librdkafka"),
        Level::Error | Level::Warning => tracing::info!(source, facility, message, "librdkafka"),
        Level::Notice | Level::Info | Level::Debug => tracing::debug!(source, facility, message, "librdkafka"),
    }
}

/// A librdkafka list of partitions with offsets.
pub(super) fn list(places: impl Iterator<Item = (Partition, Offset)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        list.add_partition_offset(&topic, partition, offset).expect("Beginning, End and offsets from 0 can be set");
    }
    list
}

fn partitions(list: &TopicPartitionList) -> Vec<Partition> {
    let mut topic: Arc<str> = Arc::from("");
    let name = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        if &*topic != element.topic() {
            topic = Arc::from(element.topic());
        }
        (topic.clone(), element.partition())
    };
    list.elements().iter().map(name).collect()
}
