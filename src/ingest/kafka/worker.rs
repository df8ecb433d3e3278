//! The loop of one source, on its own thread: poll, assemble, bury the dead, hand over, note what is durable.
//!
//! At most [`IN_FLIGHT_MAX`] batches are with the router; one more may be held while the router is full or the
//! dead-letter topic does not answer. A short stall just does not poll; a long one pauses the partitions (which
//! throws the prefetched records away) and polls on, so that the group keeps us as a member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionListElem};

use super::assignment::{Assignment, Context, InFlight, Partition, list};
use super::dead_letter::{DeadLetters, DeadRecord, Delivery};
use super::records::{Assembled, Assembler};
use super::status::Shared;
use crate::clock::Stopwatch;
use crate::event::{Batch, Position};
use crate::ingest::sampler::Sampler;
use crate::runtime::Refused;

/// Records of one batch.
const RECORDS_MAX: usize = 4_096;
/// Bytes of one batch: four of the largest fetches of a partition.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Batches with the router.
const IN_FLIGHT_MAX: usize = 8;
/// How long a poll waits for the first record when nothing is on its way, and when something is.
const IDLE_POLL: Duration = Duration::from_millis(100);
const BUSY_POLL: Duration = Duration::from_millis(10);
/// From here on a stall is a long one.
const SHORT_STALL_MAX: Duration = Duration::from_secs(1);
const STALLED_SLEEP: Duration = Duration::from_millis(1);
const STALLED_POLL: Duration = Duration::from_millis(20);
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait for a broker to say how far a partition reaches.
const BOUNDS_MAX: Duration = Duration::from_secs(2);
/// How often to ask again when it did not.
const RANGE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How the loop ended.
pub(super) enum End {
    /// It was told to.
    Stopped,
    /// librdkafka cannot go on with this client; another one may.
    Fatal(KafkaError),
}

/// A batch that could not be handed over yet.
struct Held {
    assembled: Assembled,
    letters: Option<Delivery>,
    generation: u64,
}

/// A record, and the generation in which it was polled.
type Polled<'c> = (u64, BorrowedMessage<'c>);

/// See the module.
pub(super) struct Worker<'c> {
    consumer: &'c BaseConsumer<Context>,
    assembler: &'c Assembler,
    dead_letters: Option<&'c mut DeadLetters>,
    shared: &'c Shared,
    sampler: Sampler,
    held: Option<Held>,
    /// Records that came although their partition was paused.
    strays: Vec<Polled<'c>>,
    stalled: Option<Stopwatch>,
    committed: Stopwatch,
    /// Some partition is out of range; looked into from time to time until the broker answers.
    out_of_range: Option<Option<Stopwatch>>,
    fatal: Option<KafkaError>,
}

impl<'c> Worker<'c> {
    pub fn new(
        consumer: &'c BaseConsumer<Context>,
        assembler: &'c Assembler,
        dead_letters: Option<&'c mut DeadLetters>,
        shared: &'c Shared,
    ) -> Self {
        Self {
            consumer,
            assembler,
            dead_letters,
            shared,
            sampler: Sampler::default(),
            held: None,
            strays: Vec::new(),
            stalled: None,
            committed: Stopwatch::start(),
            out_of_range: None,
            fatal: None,
        }
    }

    /// Works until told to stop, then waits for what is on its way and commits.
    pub fn run(mut self) -> End {
        while !self.shared.stopping() {
            if let Some(error) = self.fatal.take() {
                return End::Fatal(error);
            }
            self.reap();
            self.look_into_range();
            self.hold_anchors();
            let free = self.hand_over() && self.assignment().in_flight.len() < IN_FLIGHT_MAX;
            if free {
                self.resume();
                self.gather();
            } else {
                self.stall();
            }
        }
        self.finish();
        End::Stopped
    }

    fn assignment(&self) -> std::sync::MutexGuard<'c, Assignment> {
        self.consumer.context().assignment()
    }

    /// Notes what is durable, and tells Kafka now and then.
    fn reap(&mut self) {
        let broken = {
            let mut assignment = self.assignment();
            assignment.reap();
            self.shared.set_partitions(assignment.partitions.len());
            assignment.broken.take()
        };
        match broken {
            // Nothing can be handed over any more; `stop` comes soon.
            Some(Refused::Stopping) | None => {}
            Some(refused) => self.rewind(&refused),
        }
        if self.committed.elapsed() >= COMMIT_INTERVAL {
            self.committed = Stopwatch::start();
            self.consumer.context().commit(self.consumer);
        }
    }

    /// A batch had no effect: reads everything again from where the store is.
    fn rewind(&mut self, refused: &Refused) {
        tracing::warn!(source = self.shared.name(), reason = %refused, "reading again from the stored positions");
        let places = {
            let mut assignment = self.assignment();
            assignment.in_flight.clear();
            let context = self.consumer.context();
            let partitions = assignment.partitions.keys().cloned();
            partitions.map(|partition| (partition.clone(), context.stored(&partition))).collect()
        };
        self.held = None;
        self.reassign(places);
    }

    fn reassign(&mut self, places: Vec<(Partition, Option<i64>)>) {
        if let Err(error) = self.consumer.context().reassign(self.consumer, places) {
            tracing::error!(source = self.shared.name(), %error, "cannot read on from another place, starting anew");
            self.fatal = Some(error);
        }
    }

    /// Stores the places where reading started, so that a restart finds them.
    fn hold_anchors(&mut self) {
        if self.held.is_some() {
            return;
        }
        let (anchors, generation) = {
            let mut assignment = self.assignment();
            (std::mem::take(&mut assignment.anchors), assignment.generation)
        };
        if anchors.is_empty() {
            return;
        }
        let intake = &self.assembler.intake;
        let mut batch = Batch::new(Bytes::new(), intake.clock().now());
        batch.positions = anchors;
        let counted = intake.count(&self.assembler.source, &batch, 0);
        let assembled = Assembled { batch, counted, dead: Vec::new() };
        self.held = Some(Held { assembled, letters: None, generation });
    }

    /// Hands the held batch over. True when none is held any more.
    fn hand_over(&mut self) -> bool {
        self.disown();
        let Some(mut held) = self.held.take() else { return true };
        if let (Some(letters), Some(writer)) = (&mut held.letters, &mut self.dead_letters)
            && !writer.advance(letters)
        {
            self.shared.stalled("dead letters are not written yet");
            self.held = Some(held);
            return false;
        }
        held.letters = None;
        let positions = held.assembled.batch.positions.clone();
        match self.assembler.intake.router().try_submit(std::mem::take(&mut held.assembled.batch)) {
            Ok(receipt) => {
                let counted = held.assembled.counted.handed_over();
                self.assignment().in_flight.push_back(InFlight { receipt, positions, counted });
                true
            }
            Err((batch, refused)) => {
                self.shared.stalled(&refused.to_string());
                held.assembled.batch = batch;
                self.held = Some(held);
                false
            }
        }
    }

    /// Takes back what is held of partitions that were revoked since.
    fn disown(&mut self) {
        let Some(held) = &mut self.held else { return };
        let assignment = self.consumer.context().assignment();
        if assignment.generation == held.generation {
            return;
        }
        let generation = held.generation;
        held.assembled.keep(|position: &Position| {
            let known = assignment.partitions.get(&(position.topic.clone(), position.partition));
            known.is_some_and(|known| known.since <= generation)
        });
        held.generation = assignment.generation;
        if held.assembled.batch.positions.is_empty() {
            self.held = None;
        }
    }

    /// Polls what is there, at most one batch, and holds it.
    fn gather(&mut self) {
        let mut polled = std::mem::take(&mut self.strays);
        let mut wait = if !polled.is_empty() {
            Duration::ZERO
        } else if self.assignment().in_flight.is_empty() {
            IDLE_POLL
        } else {
            BUSY_POLL
        };
        let mut bytes = 0;
        while polled.len() < RECORDS_MAX && bytes < BATCH_BYTES_MAX {
            // A poll that serves a rebalance gives nothing; so does an empty queue.
            let Some(outcome) = self.poll(wait) else { break };
            bytes += outcome.1.payload_len();
            polled.push(outcome);
            wait = Duration::ZERO;
        }
        let records = self.admit(polled);
        if records.is_empty() {
            return;
        }
        let generation = self.assignment().generation;
        let mut assembled = self.assembler.assemble(&records);
        let dead = std::mem::take(&mut assembled.dead);
        let letters = self.bury(dead);
        self.held = Some(Held { assembled, letters, generation });
        self.hand_over();
    }

    /// One record; errors are dealt with here.
    fn poll(&mut self, wait: Duration) -> Option<Polled<'c>> {
        match self.consumer.poll(wait)? {
            Ok(message) => {
                self.shared.healthy();
                Some((self.assignment().generation, message))
            }
            Err(error) => {
                self.meet(error);
                None
            }
        }
    }

    fn meet(&mut self, error: KafkaError) {
        match (&error, error.rdkafka_error_code()) {
            (KafkaError::PartitionEOF(_), _) => {}
            (KafkaError::MessageConsumptionFatal(_), _) => self.fatal = Some(error),
            (_, Some(RDKafkaErrorCode::AutoOffsetReset)) => self.out_of_range = Some(None),
            (_, Some(RDKafkaErrorCode::PollExceeded)) => {
                let message = "polls came too late (max.poll.interval.ms); the group took our partitions away";
                tracing::error!(source = self.shared.name(), message);
            }
            _ => self.shared.troubled(&error.to_string()),
        }
    }

    /// The records whose partition is still ours as it was when they were polled, each once.
    fn admit(&mut self, polled: Vec<Polled<'c>>) -> Vec<(Partition, BorrowedMessage<'c>)> {
        let mut assignment = self.assignment();
        let mut records = Vec::with_capacity(polled.len());
        let mut topic: Arc<str> = Arc::from("");
        for (generation, message) in polled {
            if &*topic != message.topic() {
                topic = Arc::from(message.topic());
            }
            let partition = (topic.clone(), message.partition());
            let Some(known) = assignment.partitions.get_mut(&partition) else { continue };
            if known.since > generation || known.next.is_some_and(|next| message.offset() < next) {
                continue;
            }
            known.next = Some(message.offset() + 1);
            records.push((partition, message));
        }
        records
    }

    /// Puts dead records on their way; without a topic for them, says a few.
    fn bury(&mut self, dead: Vec<DeadRecord>) -> Option<Delivery> {
        if dead.is_empty() {
            return None;
        }
        if self.dead_letters.is_some() {
            return Some(Delivery::new(dead));
        }
        for DeadRecord { record, reject, failed_at } in dead.iter().filter(|dead| self.sampler.admit(dead.failed_at)) {
            let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
            let source = self.shared.name();
            tracing::warn!(source, topic, partition, offset, %reject, at = %failed_at, "a record was refused");
        }
        None
    }

    fn stall(&mut self) {
        let since = *self.stalled.get_or_insert_with(Stopwatch::start);
        if since.elapsed() < SHORT_STALL_MAX {
            std::thread::sleep(STALLED_SLEEP);
            return;
        }
        self.pause();
        if let Some(stray) = self.poll(STALLED_POLL) {
            self.strays.push(stray);
        }
    }

    fn pause(&mut self) {
        let mut assignment = self.assignment();
        if assignment.paused {
            return;
        }
        assignment.paused = true;
        let places = list(assignment.partitions.keys().map(|partition| (partition.clone(), Offset::Invalid)));
        drop(assignment);
        tracing::info!(source = self.shared.name(), "intake paused");
        if let Err(error) = self.consumer.pause(&places) {
            tracing::debug!(source = self.shared.name(), %error, "cannot pause");
        }
    }

    fn resume(&mut self) {
        if self.stalled.take().is_none() {
            return;
        }
        self.shared.flowing();
        let mut assignment = self.assignment();
        if !std::mem::replace(&mut assignment.paused, false) {
            return;
        }
        let places = list(assignment.partitions.keys().map(|partition| (partition.clone(), Offset::Invalid)));
        drop(assignment);
        tracing::info!(source = self.shared.name(), "intake resumed");
        if let Err(error) = self.consumer.resume(&places) {
            self.fatal = Some(error);
        }
    }

    /// Finds out which partitions no longer have the record that comes next, and reads on from what they have.
    fn look_into_range(&mut self) {
        let Some(last) = &self.out_of_range else { return };
        if last.is_some_and(|last| last.elapsed() < RANGE_CHECK_INTERVAL) {
            return;
        }
        let assigned: Vec<_> = {
            let assignment = self.assignment();
            assignment.partitions.iter().map(|(partition, known)| (partition.clone(), known.next)).collect()
        };
        let (Some(lows), Some(highs)) =
            (self.bounds(&assigned, Offset::Beginning), self.bounds(&assigned, Offset::End))
        else {
            self.out_of_range = Some(Some(Stopwatch::start()));
            return;
        };
        let places = assigned.into_iter().map(|(partition, next)| {
            let bounds = lows.get(&partition).zip(highs.get(&partition));
            let next = next.zip(bounds).map(|(next, (low, high))| self.within(&partition, next, *low, *high)).or(next);
            (partition, next)
        });
        let places = places.collect();
        self.out_of_range = None;
        self.reassign(places);
    }

    /// Where each partition begins or ends, in one question to each broker.
    fn bounds(&self, assigned: &[(Partition, Option<i64>)], which: Offset) -> Option<BTreeMap<Partition, i64>> {
        let question = list(assigned.iter().map(|(partition, _)| (partition.clone(), which)));
        let answer = self.consumer.offsets_for_times(question, BOUNDS_MAX).ok()?;
        let bound = |element: &TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) => Some(((Arc::from(element.topic()), element.partition()), offset)),
            _ => None,
        };
        answer.elements().iter().map(bound).collect()
    }

    /// The offset to read on from, and a loud word if it is not the one that comes next.
    fn within(&self, (topic, partition): &Partition, next: i64, low: i64, high: i64) -> i64 {
        if (low..=high).contains(&next) {
            return next;
        }
        let (source, topic) = (self.shared.name(), &**topic);
        if next < low {
            let lost = low - next;
            tracing::error!(
                source,
                topic,
                partition,
                from = next,
                to = low,
                lost,
                "records were deleted before they were read"
            );
            self.assembler.intake.metrics().kafka_gap(source, lost as u64);
        } else {
            let message = "the partition ends before our position, as if it was created anew; records below the position \
                           count as applied: rename the source to read them";
            tracing::error!(source, topic, partition, position = next, low, high, message);
        }
        low
    }

    /// Waits for what is on its way as long as the grace allows, then tells Kafka.
    fn finish(&mut self) {
        self.held = None;
        self.strays.clear();
        let waited = Stopwatch::start();
        loop {
            let open = {
                let mut assignment = self.assignment();
                assignment.reap();
                assignment.in_flight.len()
            };
            if open == 0 || waited.elapsed() >= self.shared.grace() {
                break;
            }
            std::thread::sleep(STALLED_SLEEP);
        }
        self.consumer.context().commit(self.consumer);
        // What is still open is read again after the next start; the close must not wait for it.
        self.assignment().in_flight.clear();
    }
}
