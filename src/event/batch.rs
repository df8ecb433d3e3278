//! A batch of events that borrows from the bytes it came in.
//!
//! Decoders write fixed-size [`Event`] records whose texts are [`Text`] spans into the received bytes, or into the
//! arena where a JSON escape had to be undone. Nothing is copied for a repeat of a known alert; only an alert that
//! is new or changed is materialised by the engine. A batch may hold several Kafka records, appended one after
//! the other. Spans are 31 bits: a batch holds at most 2 GiB, far above the body limit.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Kind, Severity, Status, Timestamp};
use crate::identity::{EventKey, Fingerprint, Scope};

/// A span of UTF-8 in a batch. The empty text stands for an absent optional field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// Start in the buffer, or with the top bit set in the arena.
    start: u32,
    len: u32,
}

const IN_ARENA: u32 = 1 << 31;

impl Text {
    /// A span of the received bytes.
    pub fn in_buffer(start: usize, len: usize) -> Self {
        Self { start: start as u32, len: len as u32 }
    }

    /// Where it begins in the received bytes; `None` when it lies in the arena.
    pub fn start_in_buffer(self) -> Option<usize> {
        (self.start & IN_ARENA == 0).then_some(self.start as usize)
    }

    /// Whether nothing is there.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        self.len as usize
    }
}

/// A name and its value.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pair {
    /// Label or annotation name, or a link's `rel`.
    pub name: Text,
    /// Label or annotation value, or a link's `href`.
    pub value: Text,
}

/// A run of pairs in a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pairs {
    start: u32,
    len: u32,
}

impl Pairs {
    /// How many pairs.
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }
}

/// One event, decoded in place. `normalise` fills in the lower half.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event {
    /// Its place in the request, from 0.
    pub index: u32,
    /// See `contract`: producer's id.
    pub id: Text,
    /// The monitoring system.
    pub source: Text,
    /// One line for people.
    pub summary: Text,
    /// Identity given by the producer.
    pub dedup_key: Text,
    /// Identity and correlation; sorted by name once normalised.
    pub labels: Pairs,
    /// Descriptive only.
    pub annotations: Pairs,
    /// Links as `rel`, `href`.
    pub links: Pairs,
    /// What it tells of.
    pub kind: Kind,
    /// Whether the condition holds.
    pub status: Status,
    /// How bad.
    pub severity: Severity,
    /// When it happened, if the producer said so; always set once normalised.
    pub occurred_at: Option<Timestamp>,
    /// When its lease ends, if the producer said so.
    pub ends_at: Option<Timestamp>,
    /// Which of [`Batch::positions`] it came from, and where there.
    pub position: u32,
    /// The Kafka offset, 0 elsewhere.
    pub offset: i64,

    /// Its bytes came before: all that does not differ between repeats is checked, sorted and hashed already.
    pub recognised: bool,
    /// A label is missing that is configured as part of its identity.
    pub lacks_key_label: bool,
    /// `occurred_at` lay outside the sane range and was replaced by the receive time.
    pub clamped: bool,
    /// The identity of the alert.
    pub fingerprint: Fingerprint,
    /// Which shard it belongs to.
    pub scope: Scope,
    /// The producer's id within its source; `EventKey::NONE` when it gave none.
    pub key: EventKey,
    /// A hash over all that can change while the alert stays the same: severity, texts, annotations, links.
    pub content: u64,
}

/// How far a Kafka partition has been read: the next offset to read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The configured name of the Kafka source.
    pub source: std::sync::Arc<str>,
    /// The topic.
    pub topic: std::sync::Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read, one past the last of this batch.
    pub next_offset: i64,
}

/// Events that travel, are applied, committed and acknowledged together.
#[derive(Debug, Default)]
pub struct Batch {
    buffer: Bytes,
    arena: Vec<u8>,
    pairs: Vec<Pair>,
    /// The events that were readable.
    pub events: Vec<Event>,
    /// Kafka only: the positions that this batch moves to once it is committed.
    pub positions: Vec<Position>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// An event of eight labels and two annotations, so that the vectors of a batch rarely grow.
const USUAL_EVENT_BYTES: usize = 320;
const USUAL_PAIRS: usize = 10;
/// Bytes that were received may be anything, so room is made ahead for so many events only: about 6 MB.
const GUESS_MAX: usize = 16_384;

/// The first eight bytes as a number that orders as they do; it tells most names apart without looking at the rest.
fn beginning(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => (0..8).fold(0, |number, place| number << 8 | u64::from(text.get(place).copied().unwrap_or(0))),
    }
}

impl Batch {
    /// An empty batch over received bytes, with room for as many events as they usually hold.
    pub fn new(buffer: Bytes, received_at: Timestamp) -> Self {
        let guess = (buffer.len() / USUAL_EVENT_BYTES + 1).min(GUESS_MAX);
        let (pairs, events) = (Vec::with_capacity(guess * USUAL_PAIRS), Vec::with_capacity(guess));
        Self { buffer, received_at, pairs, events, ..Self::default() }
    }

    /// The received bytes.
    pub fn buffer(&self) -> &Bytes {
        &self.buffer
    }

    /// Keeps an unescaped string in the arena.
    pub fn intern(&mut self, text: &str) -> Text {
        let start = self.arena.len() as u32 | IN_ARENA;
        self.arena.extend_from_slice(text.as_bytes());
        Text { start, len: text.len() as u32 }
    }

    /// Where the next pair will go; hand it to [`Batch::pairs_since`] when the last one is in.
    pub fn mark(&self) -> usize {
        self.pairs.len()
    }

    /// Appends a pair.
    pub fn push_pair(&mut self, name: Text, value: Text) {
        self.pairs.push(Pair { name, value });
    }

    /// Appends pairs whose texts lie in the received bytes behind `base`: start and length of name and value.
    #[inline]
    pub fn push_near_pairs(&mut self, base: u32, pairs: &[[u16; 4]]) -> Pairs {
        let start = self.pairs.len() as u32;
        let text = |start: u16, len: u16| Text { start: base + u32::from(start), len: u32::from(len) };
        let whole = |&[name, name_len, value, value_len]: &[u16; 4]| Pair {
            name: text(name, name_len),
            value: text(value, value_len),
        };
        self.pairs.extend(pairs.iter().map(whole));
        Pairs { start, len: pairs.len() as u32 }
    }

    /// The pairs appended since `mark`.
    pub fn pairs_since(&self, mark: usize) -> Pairs {
        Pairs { start: mark as u32, len: (self.pairs.len() - mark) as u32 }
    }

    /// Takes back the pairs appended since `mark`.
    pub fn truncate_pairs(&mut self, mark: usize) {
        self.pairs.truncate(mark);
    }

    /// The bytes of a text.
    #[inline]
    pub fn bytes(&self, text: Text) -> &[u8] {
        let (from, start) = if text.start & IN_ARENA == 0 {
            (&self.buffer[..], text.start)
        } else {
            (&self.arena[..], text.start & !IN_ARENA)
        };
        &from[start as usize..(start + text.len) as usize]
    }

    /// A text as a string.
    pub fn text(&self, text: Text) -> &str {
        std::str::from_utf8(self.bytes(text)).expect("decoders let only UTF-8 into a batch")
    }

    /// The pairs of a run.
    pub fn pairs(&self, pairs: Pairs) -> &[Pair] {
        &self.pairs[pairs.range()]
    }

    /// The pairs of a run as strings.
    pub fn texts(&self, pairs: Pairs) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(pairs).iter().map(|pair| (self.text(pair.name), self.text(pair.value)))
    }

    /// The value of a label, `None` when it is missing (which is not the same as empty).
    pub fn label(&self, event: &Event, name: &str) -> Option<&str> {
        let pair = self.pairs(event.labels).iter().find(|pair| self.bytes(pair.name) == name.as_bytes())?;
        Some(self.text(pair.value))
    }

    /// Sorts a run of pairs by name, and by value among equal names.
    pub fn sort_pairs(&mut self, pairs: Pairs) {
        let Self { buffer, arena, pairs: all, .. } = self;
        let bytes = |text: Text| {
            let (from, start) = if text.start & IN_ARENA == 0 {
                (&buffer[..], text.start)
            } else {
                (&arena[..], text.start & !IN_ARENA)
            };
            &from[start as usize..(start + text.len) as usize]
        };
        let run = &mut all[pairs.range()];
        let key = |pair: &Pair| (bytes(pair.name), bytes(pair.value));
        let mut keyed: SmallVec<[(u64, Pair); USUAL_PAIRS]> = SmallVec::new();
        run.iter().for_each(|pair| keyed.push((beginning(bytes(pair.name)), *pair)));
        let order = |(a_begins, a): &(u64, Pair), (b_begins, b): &(u64, Pair)| {
            a_begins.cmp(b_begins).then_with(|| key(a).cmp(&key(b)))
        };
        if !keyed.is_sorted_by(|a, b| order(a, b).is_le()) {
            keyed.sort_unstable_by(order);
            run.iter_mut().zip(keyed).for_each(|(pair, (_, sorted))| *pair = sorted);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_are_sorted_by_name_and_then_by_value(
            pairs in proptest::collection::vec(("[ab\u{0}]{0,10}", "[xy]{0,2}"), 0..20),
        ) {
            let mut batch = Batch::default();
            for (name, value) in &pairs {
                let (name, value) = (batch.intern(name), batch.intern(value));
                batch.push_pair(name, value);
            }
            let run = batch.pairs_since(0);
            batch.sort_pairs(run);
            let mut expected: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
            expected.sort_unstable();
            prop_assert_eq!(batch.texts(run).collect::<Vec<_>>(), expected);
        }
    }
}
