//! Records to one batch: payloads side by side in one buffer, decoded record by record.
//!
//! A record that cannot be read, or holds a refused event, is put aside as a dead letter; its neighbours, and the
//! good events in it, are taken all the same. Every record moves its partition's position, readable or not.

use std::sync::Arc;

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};

use super::assignment::Partition;
use super::dead_letter::DeadRecord;
use crate::event::{Batch, Code, Position, Reject, Text, Timestamp};
use crate::formats::{Format, Payload, Shape};
use crate::ingest::intake::{Counted, Intake, Settings};
use crate::ingest::memos::Tools;

/// Later than this a record's timestamp is taken for a slip: the year 9999.
const RECORD_MILLIS_MAX: i64 = 253_402_300_799_000;

/// What became of a run of records.
pub(super) struct Assembled {
    pub batch: Batch,
    pub counted: Counted,
    pub dead: Vec<DeadRecord>,
}

/// Decodes the records of one source.
pub(super) struct Assembler {
    pub intake: Arc<Intake>,
    pub source: Arc<str>,
    pub format: Format,
}

/// One record's place in the batch.
struct Slot {
    first_index: u32,
    events: u32,
}

impl Assembler {
    /// Makes a batch of records that were polled one after the other.
    pub fn assemble(&self, messages: &[(Partition, BorrowedMessage<'_>)]) -> Assembled {
        let settings = self.intake.settings();
        settings.memos.with(|tools| self.assemble_with(&settings, tools, messages))
    }

    fn assemble_with(
        &self,
        settings: &Settings,
        tools: &mut Tools,
        messages: &[(Partition, BorrowedMessage<'_>)],
    ) -> Assembled {
        let received_at = self.intake.clock().now();
        let (buffer, spans) = gather(messages, settings.limits.event_bytes.as_usize());
        let mut batch = Batch::new(buffer, received_at);
        let mut rejects = Vec::new();
        let mut slots: Vec<Slot> = Vec::with_capacity(messages.len());
        let mut unknown_severities = 0;
        for ((partition, message), span) in messages.iter().zip(spans) {
            let position = self.position(&mut batch, partition, message.offset());
            let first_index = slots.last().map_or(0, |slot| slot.first_index + slot.events);
            let decoded = self.decode((settings, &mut *tools), message, span, first_index, &mut batch, &mut rejects);
            let events = decoded.map(|decoded| {
                unknown_severities += u64::from(decoded.unknown_severities);
                decoded.events
            });
            let events = events.unwrap_or_else(|reject| {
                rejects.push(reject);
                1
            });
            let fresh = batch.events.iter_mut().rev().take_while(|event| event.index >= first_index);
            fresh.for_each(|event| (event.position, event.offset) = (position, message.offset()));
            slots.push(Slot { first_index, events });
        }
        self.intake.normalise(settings, tools, self.format, &mut batch, &mut rejects);
        let counted = self.intake.count(&self.source, &batch, rejects.len());
        self.intake.metrics().unknown_severities.increment(unknown_severities);
        let dead = bury(messages, &slots, rejects, received_at);
        Assembled { batch, counted, dead }
    }

    /// The index of a partition in the batch's positions, moved past the record.
    fn position(&self, batch: &mut Batch, (topic, partition): &Partition, offset: i64) -> u32 {
        let is_it = |known: &Position| known.partition == *partition && known.topic == *topic;
        let at = batch.positions.iter().rposition(is_it).unwrap_or_else(|| {
            let (source, topic) = (self.source.clone(), topic.clone());
            batch.positions.push(Position { source, topic, partition: *partition, next_offset: 0 });
            batch.positions.len() - 1
        });
        batch.positions[at].next_offset = offset + 1;
        at as u32
    }

    fn decode(
        &self,
        (settings, tools): (&Settings, &mut Tools),
        message: &BorrowedMessage<'_>,
        span: Span,
        first_index: u32,
        batch: &mut Batch,
        rejects: &mut Vec<Reject>,
    ) -> Result<crate::formats::Decoded, Reject> {
        let span = span.map_err(|(code, text)| Reject::new(first_index, code, "", text))?;
        let payload = Payload {
            format: self.format,
            shape: Shape::One,
            span,
            first_index,
            source: Text::default(),
            received_at: record_time(message.timestamp().to_millis()).unwrap_or(batch.received_at),
        };
        settings.decoder.recall(&mut tools.memo, &payload, batch, rejects)
    }
}

/// The record's own time, if it is one.
fn record_time(millis: Option<i64>) -> Option<Timestamp> {
    let millis = millis.filter(|millis| (1..=RECORD_MILLIS_MAX).contains(millis))?;
    Some(Timestamp::from_micros(millis * 1_000))
}

type Span = Result<std::ops::Range<usize>, (Code, String)>;

/// The payloads in one buffer, and where each lies or why it is left out.
fn gather(messages: &[(Partition, BorrowedMessage<'_>)], record_bytes_max: usize) -> (Bytes, Vec<Span>) {
    let payload = |message: &BorrowedMessage<'_>| message.payload().map_or(0, <[u8]>::len);
    let total: usize =
        messages.iter().map(|(_, message)| payload(message)).filter(|len| *len <= record_bytes_max).sum();
    let mut buffer = Vec::with_capacity(total);
    let spans = messages.iter().map(|(_, message)| match message.payload() {
        None => Err((Code::Empty, "the record has no value (a tombstone)".to_owned())),
        Some([]) => Err((Code::Empty, "the record's value is empty".to_owned())),
        Some(payload) if payload.len() > record_bytes_max => {
            Err((Code::TooLarge, format!("{}>{record_bytes_max} bytes (limits.event_bytes)", payload.len())))
        }
        Some(payload) => {
            let start = buffer.len();
            buffer.extend_from_slice(payload);
            Ok(start..buffer.len())
        }
    });
    let spans = spans.collect();
    (buffer.into(), spans)
}

/// The records with a refused event, each with the first thing wrong with it.
fn bury(
    messages: &[(Partition, BorrowedMessage<'_>)],
    slots: &[Slot],
    mut rejects: Vec<Reject>,
    failed_at: Timestamp,
) -> Vec<DeadRecord> {
    rejects.sort_by_key(|reject| reject.index);
    let mut dead: Vec<DeadRecord> = Vec::new();
    let mut last = None;
    for mut reject in rejects {
        // The last slot that begins at or before it; empty slots in between hold no events.
        let at = slots.partition_point(|slot| slot.first_index <= reject.index).saturating_sub(1);
        if last.replace(at) == Some(at) {
            continue;
        }
        let (Some(slot), Some((_, message))) = (slots.get(at), messages.get(at)) else { continue };
        reject.index -= slot.first_index.min(reject.index);
        let record: OwnedMessage = message.detach();
        dead.push(DeadRecord { record, reject, failed_at });
    }
    dead
}

impl Assembled {
    /// Takes back what belongs to partitions that are read no more: their next owner will read it again.
    pub fn keep(&mut self, keeps: impl Fn(&Position) -> bool) {
        let kept: Vec<bool> = self.batch.positions.iter().map(keeps).collect();
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let renumbered: Vec<u32> = kept
            .iter()
            .scan(0, |next, kept| {
                let at = *next;
                *next += u32::from(*kept);
                Some(at)
            })
            .collect();
        let before = self.batch.events.len();
        self.batch.events.retain(|event| kept[event.position as usize]);
        self.counted.withdraw((before - self.batch.events.len()) as u64);
        for event in &mut self.batch.events {
            event.position = renumbered[event.position as usize];
        }
        let mut kept = kept.into_iter();
        self.batch.positions.retain(|_| kept.next().unwrap_or(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_time_outside_of_reason_is_not_used() {
        assert_eq!(record_time(None), None);
        assert_eq!(record_time(Some(-1)), None);
        assert_eq!(record_time(Some(i64::MAX)), None);
        assert_eq!(record_time(Some(1_000)), Some(Timestamp::from_micros(1_000_000)));
    }
}
