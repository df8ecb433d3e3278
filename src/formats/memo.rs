//! What became of events that came before, by their bytes: a repeat is recognised, and neither read nor checked again.
//!
//! Owned by whoever decodes, for as long as the settings of decoder and normaliser are the same ones. An event is
//! remembered when its bytes (without `id`, `status` and times, see [`Outline`]) come for the second time and it was
//! accepted; it is recognised only when every kept byte is the same, so no two events can be taken for one another, whatever
//! a hash says. What is looked at first is what followed the last recognised event before, as senders repeat in the same order.
//!
//! Bounded: see the constants. What finds no room is read as always; when that is most of what is worth keeping, all is
//! forgotten and learnt anew. While nearly nothing is recognised, most events are not even looked up.

use crate::event::{Batch, Event, Kind, Pairs, Severity, Text};
use crate::identity::{Fingerprint, Scope};

use super::outline::{Fit, Outline};

/// Events remembered: 1.75 MiB, and 256 KiB to find them.
const EVENTS_MAX: usize = 16_384;
/// Bytes of these events.
const BYTES_MAX: usize = 6 << 20;
/// Pairs of these events, of 8 bytes each: 1.25 MiB.
const PAIRS_MAX: usize = 160 << 10;
/// An event with more bytes or pairs is not remembered.
const EVENT_BYTES_MAX: usize = 4_096;
const EVENT_PAIRS_MAX: usize = 64;
/// Twice as many as there can be events.
const INDEX_SLOTS: usize = EVENTS_MAX * 2;
/// How far from its place an event may stand in the index. Crafted events that crowd a place are not remembered.
const PROBES_MAX: usize = 32;
/// Events of which it is known that their bytes came once, four to a place: 128 KiB.
const SEEN_PLACES: usize = 8_192;
const SEEN_WAYS: usize = 4;
/// Events of one batch that can be learnt from: 384 KiB.
const UNKNOWN_MAX: usize = 16_384;
/// Default sources that are told apart; with another one nothing is recognised.
const SOURCES_MAX: usize = 64;
/// So many events may be looked up in vain (each alert must come twice before it is recognised), then so many are not
/// looked up; and a look in vain costs a seventh of what a recognised event saves.
const TRIAL: u32 = 4 * EVENTS_MAX as u32;
const REST: u32 = 8 * TRIAL;
const WORTH: u32 = 7;
/// How sure it must be of what comes next before it looks there first.
const SURE: u8 = 4;
const SUREST: u8 = 12;

/// See the module.
#[derive(Clone, Debug)]
pub struct Memo {
    known: Vec<Known>,
    bytes: Vec<u8>,
    pairs: Vec<NearPair>,
    /// The upper half of a hash and the number of its event plus one; 0 is free.
    index: Vec<u64>,
    /// Parts of hashes of events that came once.
    seen: Vec<[u32; SEEN_WAYS]>,
    /// Which of a place is overwritten next.
    oldest: usize,
    sources: Vec<Box<str>>,
    /// Which of these the payload at hand has; `None` when there are too many.
    source: Option<u8>,
    /// Events of the batch at hand that were not recognised.
    unknown: Vec<Unknown>,
    /// The event recognised last.
    last: usize,
    sureness: u8,
    credit: u32,
    resting: u32,
    /// Events recognised and turned away since this was last looked at.
    recognised: u32,
    turned_away: u32,
}

/// A name and a value by start and length: among the kept bytes, and relative to their event.
type NearPair = [u16; 4];

/// A text among the kept bytes.
#[derive(Clone, Copy, Debug, Default)]
struct NearText {
    start: u16,
    len: u16,
    run: u8,
}

/// A run of pairs whose texts lie in one run of bytes.
#[derive(Clone, Copy, Debug, Default)]
struct NearPairs {
    len: u8,
    run: u8,
}

/// A remembered event.
#[derive(Clone, Copy, Debug)]
struct Known {
    hash: u64,
    bytes_at: u32,
    bytes_len: u16,
    pairs_at: u32,
    /// Which event came after it the last time.
    next: u32,
    outline: Outline,
    origin: u8,
    kind: Kind,
    severity: Severity,
    lacks_key_label: bool,
    source: NearText,
    summary: NearText,
    dedup_key: NearText,
    labels: NearPairs,
    annotations: NearPairs,
    links: NearPairs,
    fingerprint: Fingerprint,
    scope: Scope,
    content: u64,
}

/// An event of the batch at hand that was looked up in vain.
#[derive(Clone, Copy, Debug)]
struct Unknown {
    index: u32,
    start: u32,
    len: u32,
    origin: u8,
    hash: u64,
}

/// A recognised event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    known: usize,
    /// Where what is not remembered lies.
    pub fit: Fit,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            bytes: Vec::new(),
            pairs: Vec::new(),
            index: Vec::new(),
            seen: Vec::new(),
            oldest: 0,
            sources: Vec::new(),
            source: None,
            unknown: Vec::new(),
            last: 0,
            sureness: SURE,
            credit: TRIAL,
            resting: 0,
            recognised: 0,
            turned_away: 0,
        }
    }
}

impl Memo {
    /// Learns from the batch that was decoded with it, once it is normalised: what is in it was accepted.
    pub fn learn(&mut self, batch: &Batch) {
        let mut unknown = std::mem::take(&mut self.unknown);
        let mut events = batch.events.iter();
        for one in unknown.drain(..) {
            // Both are in the order of the request, and rejects are in one of them only.
            while let Some(event) = events.as_slice().first().filter(|event| event.index <= one.index) {
                events.next();
                if event.index == one.index && self.came_before(one.hash) {
                    self.remember(&one, event, batch);
                }
            }
        }
        self.unknown = unknown;
    }

    /// Says what the events of the next payload have as source if they name none.
    pub(super) fn begin(&mut self, source: &str) {
        let is_same = |at: u8| self.sources.get(usize::from(at)).is_some_and(|known| **known == *source);
        if self.source.is_some_and(is_same) {
            return;
        }
        let at = self.sources.iter().position(|known| **known == *source);
        let at = at.or_else(|| {
            (self.sources.len() < SOURCES_MAX).then(|| {
                self.sources.push(source.into());
                self.sources.len() - 1
            })
        });
        self.source = at.map(|at| at as u8);
    }

    /// How many events of the batch at hand were not recognised.
    pub(super) fn unknown(&self) -> usize {
        self.unknown.len()
    }

    /// Leaves out of the batch at hand what was looked up after there were so many.
    pub(super) fn take_back(&mut self, unknown: usize) {
        self.unknown.truncate(unknown);
    }

    /// Recognises an event whose bytes begin at `start`, or makes a note of it.
    pub(super) fn find(&mut self, event: &[u8], start: usize, index: u32) -> Option<Found> {
        let origin = self.source?;
        if self.resting > 0 {
            self.rest();
            return None;
        }
        if self.sureness >= SURE {
            let next = self.known.get(self.last).map_or(0, |last| last.next as usize);
            if let Some(fit) = self.fit(next, origin, event) {
                self.recognise(next, true);
                return Some(Found { known: next, fit });
            }
            self.sureness -= 1;
        }
        let (_, _, hash) = Outline::of(event)?;
        let hash = hash ^ u64::from(origin);
        if let Some((known, fit)) = self.look_up(hash, origin, event) {
            self.recognise(known, false);
            return Some(Found { known, fit });
        }
        if self.unknown.len() < UNKNOWN_MAX {
            self.unknown.push(Unknown { index, start: start as u32, len: event.len() as u32, origin, hash });
        }
        self.credit -= 1;
        if self.credit == 0 {
            self.resting = REST;
        }
        None
    }

    /// Writes down what is known of an event that begins at `base`.
    #[inline]
    pub(super) fn fill(&self, found: &Found, base: usize, event: &mut Event, batch: &mut Batch) {
        let known = &self.known[found.known];
        let shifts = found.fit.shifts.map(|shift| base as u32 + shift);
        let text = |near: NearText| {
            let start = shifts[usize::from(near.run)] + u32::from(near.start);
            Text::in_buffer(start as usize, usize::from(near.len))
        };
        let mut at = known.pairs_at as usize;
        let mut pairs = |near: NearPairs| {
            let those = &self.pairs[at..at + usize::from(near.len)];
            at += those.len();
            batch.push_near_pairs(shifts[usize::from(near.run)], those)
        };
        *event = Event {
            index: event.index,
            source: text(known.source),
            summary: text(known.summary),
            dedup_key: text(known.dedup_key),
            labels: pairs(known.labels),
            annotations: pairs(known.annotations),
            links: pairs(known.links),
            kind: known.kind,
            severity: known.severity,
            recognised: true,
            lacks_key_label: known.lacks_key_label,
            fingerprint: known.fingerprint,
            scope: known.scope,
            content: known.content,
            ..Event::default()
        };
    }

    fn rest(&mut self) {
        self.resting -= 1;
        if self.resting == 0 {
            self.credit = TRIAL;
        }
    }

    fn fit(&self, known: usize, origin: u8, event: &[u8]) -> Option<Fit> {
        let known = self.known.get(known).filter(|known| known.origin == origin)?;
        known.outline.fit(&self.bytes[known.bytes_at as usize..][..usize::from(known.bytes_len)], event)
    }

    fn recognise(&mut self, known: usize, foreseen: bool) {
        self.credit = (self.credit + WORTH).min(TRIAL);
        self.recognised = self.recognised.saturating_add(1);
        let last = &mut self.known[self.last];
        if foreseen || last.next as usize == known {
            self.sureness = (self.sureness + 1).min(SUREST);
        } else {
            last.next = known as u32;
        }
        self.last = known;
    }

    fn look_up(&self, hash: u64, origin: u8, event: &[u8]) -> Option<(usize, Fit)> {
        self.at(hash).find_map(|known| Some((known, self.fit(known, origin, event)?)))
    }

    /// The events of a hash.
    fn at(&self, hash: u64) -> impl Iterator<Item = usize> {
        let probes = PROBES_MAX.min(self.index.len());
        let slots = (0..probes).map(move |step| self.index[slot(hash, step)]);
        let taken = slots.take_while(|slot| *slot != 0);
        let same = taken.filter(move |slot| slot >> 32 == hash >> 32).map(|slot| slot as u32 as usize - 1);
        same.filter(move |known| self.known[*known].hash == hash)
    }

    /// Whether these bytes came before, as far as that is known; from now on they have.
    fn came_before(&mut self, hash: u64) -> bool {
        if self.seen.is_empty() {
            self.seen.resize(SEEN_PLACES, [0; SEEN_WAYS]);
        }
        let mark = (hash >> 32) as u32 | 1;
        let place = &mut self.seen[hash as usize % SEEN_PLACES];
        if place.contains(&mark) {
            return true;
        }
        self.oldest = (self.oldest + 1) % SEEN_WAYS;
        place[self.oldest] = mark;
        false
    }

    /// Remembers an event that was accepted, unless its form is unusual.
    fn remember(&mut self, one: &Unknown, event: &Event, batch: &Batch) -> Option<()> {
        let start = one.start as usize;
        let bytes = batch.buffer().get(start..start + one.len as usize)?;
        let (outline, fit, _) = Outline::of(bytes)?;
        let free = self.room_for(one.hash, bytes.len(), event)?;
        let near = Near { outline: &outline, fit: &fit, start };
        let (bytes_at, pairs_at) = (self.bytes.len(), self.pairs.len());
        let mut known = Known {
            hash: one.hash,
            bytes_at: bytes_at as u32,
            bytes_len: 0,
            pairs_at: pairs_at as u32,
            next: self.known.len() as u32 + 1,
            outline,
            origin: one.origin,
            kind: event.kind,
            severity: event.severity,
            lacks_key_label: event.lacks_key_label,
            // What lies elsewhere than in the event is the source of events that name none.
            source: near.text(event.source).unwrap_or_default(),
            summary: near.text(event.summary)?,
            dedup_key: near.text(event.dedup_key)?,
            labels: NearPairs::default(),
            annotations: NearPairs::default(),
            links: NearPairs::default(),
            fingerprint: event.fingerprint,
            scope: event.scope,
            content: event.content,
        };
        let all = [event.labels, event.annotations, event.links];
        let [labels, annotations, links] = all.map(|pairs| near.pairs(batch, pairs, &mut self.pairs));
        let (Some(labels), Some(annotations), Some(links)) = (labels, annotations, links) else {
            self.pairs.truncate(pairs_at);
            return None;
        };
        (known.labels, known.annotations, known.links) = (labels, annotations, links);
        outline.runs(&fit, bytes).for_each(|run| self.bytes.extend_from_slice(run));
        known.bytes_len = (self.bytes.len() - bytes_at) as u16;
        self.index[free] = known.hash >> 32 << 32 | (self.known.len() as u64 + 1);
        self.known.push(known);
        Some(())
    }

    /// The slot for an event that may be remembered.
    fn room_for(&mut self, hash: u64, bytes: usize, event: &Event) -> Option<usize> {
        let pairs = event.labels.len() + event.annotations.len() + event.links.len();
        if bytes > EVENT_BYTES_MAX || pairs > EVENT_PAIRS_MAX || self.at(hash).next().is_some() {
            return None;
        }
        if !self.has_room(bytes, pairs) {
            return None;
        }
        if self.index.is_empty() {
            self.index.resize(INDEX_SLOTS, 0);
            // All at once: memory that is not used yet costs nothing, and growing would copy what is there.
            self.known.reserve_exact(EVENTS_MAX);
            self.bytes.reserve_exact(BYTES_MAX);
            self.pairs.reserve_exact(PAIRS_MAX);
        }
        (0..PROBES_MAX).map(|step| slot(hash, step)).find(|slot| self.index[*slot] == 0)
    }

    /// Whether there is room for one more event; when most find none, all is forgotten.
    fn has_room(&mut self, bytes: usize, pairs: usize) -> bool {
        let full = self.known.len() == EVENTS_MAX
            || self.bytes.len() + bytes > BYTES_MAX
            || self.pairs.len() + pairs > PAIRS_MAX;
        if !full {
            return true;
        }
        self.turned_away += 1;
        if self.turned_away as usize >= EVENTS_MAX / 2 {
            if self.recognised < self.turned_away / 4 {
                self.forget();
            }
            (self.turned_away, self.recognised) = (0, 0);
        }
        false
    }

    fn forget(&mut self) {
        self.known.clear();
        self.bytes.clear();
        self.pairs.clear();
        self.index.fill(0);
        self.last = 0;
    }
}

fn slot(hash: u64, step: usize) -> usize {
    (hash as usize).wrapping_add(step) % INDEX_SLOTS
}

/// Turns places in a batch into places among the kept bytes of one event.
struct Near<'a> {
    outline: &'a Outline,
    fit: &'a Fit,
    start: usize,
}

impl Near<'_> {
    fn text(&self, text: Text) -> Option<NearText> {
        if text.is_empty() {
            return Some(NearText::default());
        }
        let start = text.start_in_buffer()?.checked_sub(self.start)?;
        let (run, start) = self.outline.locate(self.fit, start, text.len())?;
        Some(NearText { start, len: text.len() as u16, run })
    }

    fn pairs(&self, batch: &Batch, pairs: Pairs, out: &mut Vec<NearPair>) -> Option<NearPairs> {
        let mut run = None;
        for pair in batch.pairs(pairs) {
            let (name, value) = (self.text(pair.name)?, self.text(pair.value)?);
            for text in [name, value].iter().filter(|text| text.len > 0) {
                if *run.get_or_insert(text.run) != text.run {
                    return None;
                }
            }
            out.push([name.start, name.len, value.start, value.len]);
        }
        Some(NearPairs { len: pairs.len() as u8, run: run.unwrap_or(0) })
    }
}
