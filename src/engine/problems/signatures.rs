//! What is remembered of incidents by their signature: the last ones and how they ended, and when the newest opened.
//!
//! At most [`SIGNATURES_MAX`]; beyond it the one that nothing has happened to for longest is forgotten. About 2 KiB each
//! where the texts are long, so 20 MB a shard.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

use crate::engine::journal::{Fault, Reader, SLICE_OBJECTS, Writer};
use crate::engine::memory::slab::Slab;
use crate::event::Timestamp;
use crate::identity::IncidentId;

const SIGNATURES_MAX: usize = 10_000;
/// Incidents that are remembered of one signature.
const ENDED_MAX: usize = 5;
/// Of how one ended; the rest is cut.
const HOW_BYTES_MAX: usize = 256;

/// An incident that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) id: IncidentId,
    pub(super) opened: Timestamp,
    pub(super) ended: Timestamp,
    /// In the words of whoever ended it.
    pub(super) how: Box<str>,
    pub(super) by: Box<str>,
}

/// What is remembered of a signature.
#[derive(Debug, Default)]
pub(super) struct Known {
    signature: u64,
    /// Rises with everything that happens to any of them.
    used: u64,
    /// Oldest first.
    pub(super) ended: VecDeque<Ended>,
    /// When the newest opened, for problems; oldest first.
    pub(super) opened: VecDeque<(IncidentId, Timestamp)>,
    dirty: bool,
}

impl Known {
    /// An incident has ended, perhaps not for the first time.
    pub(super) fn remember(&mut self, ended: Ended) {
        self.ended.retain(|known| known.id != ended.id);
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { how: cut(&ended.how).into(), ..ended });
    }

    fn write(&self, writer: &mut Writer) {
        writer.fixed(self.signature);
        writer.number(self.used);
        writer.number(self.ended.len() as u64);
        for Ended { id, opened, ended, how, by } in &self.ended {
            writer.fixed(id.0);
            writer.time(*opened);
            writer.time(*ended);
            writer.text(how);
            writer.text(by);
        }
        writer.number(self.opened.len() as u64);
        for (id, at) in &self.opened {
            writer.fixed(id.0);
            writer.time(*at);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (signature, used) = (reader.fixed()?, reader.tally()?);
        let count = reader.count()?;
        let mut ended = || {
            let (id, opened, ended) = (IncidentId(reader.fixed()?), reader.time()?, reader.time()?);
            Ok(Ended { id, opened, ended, how: reader.text()?.into(), by: reader.text()?.into() })
        };
        let ended = (0..count).map(|_| ended()).collect::<Result<_, Fault>>()?;
        let count = reader.count()?;
        let mut opened = || Ok((IncidentId(reader.fixed()?), reader.time()?));
        let opened = (0..count).map(|_| opened()).collect::<Result<_, Fault>>()?;
        Ok(Self { signature, used, ended, opened, dirty: false })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    slots: Slab<Known>,
    by_signature: HashMap<u64, u32>,
    /// By the time of their last use.
    order: BTreeMap<u64, u32>,
    used: u64,
    dirty: Vec<u32>,
    gone: Vec<u32>,
}

const KNOWN: u8 = 0;
const GONE: u8 = 1;

impl Signatures {
    pub(super) fn find(&self, signature: u64) -> Option<&Known> {
        self.by_signature.get(&signature).and_then(|slot| self.slots.get(*slot))
    }

    /// Changes what is remembered of a signature, which becomes the one that was used last.
    pub(super) fn change<T>(&mut self, signature: u64, change: impl FnOnce(&mut Known) -> T) -> T {
        let slot = self.by_signature.get(&signature).copied().unwrap_or_else(|| self.learn(signature));
        self.used += 1;
        let known = &mut self.slots[slot];
        self.order.remove(&known.used);
        known.used = self.used;
        self.order.insert(self.used, slot);
        if !std::mem::replace(&mut known.dirty, true) {
            self.dirty.push(slot);
        }
        change(known)
    }

    fn learn(&mut self, signature: u64) -> u32 {
        if self.slots.len() >= SIGNATURES_MAX
            && let Some((_, slot)) = self.order.pop_first()
            && let Some(oldest) = self.slots.remove(slot)
        {
            self.by_signature.remove(&oldest.signature);
            self.gone.push(slot);
        }
        let slot = self.slots.insert(Known { signature, ..Known::default() });
        self.by_signature.insert(signature, slot);
        slot
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes() + self.slots.len() * 500
    }

    pub(super) fn write_changes(&mut self, tag: u8, writer: &mut Writer) {
        for slot in self.gone.drain(..) {
            [tag, GONE].into_iter().for_each(|byte| writer.byte(byte));
            writer.number(u64::from(slot));
        }
        for slot in self.dirty.drain(..) {
            if let Some(known) = self.slots.get_mut(slot).filter(|known| known.dirty) {
                known.dirty = false;
                [tag, KNOWN].into_iter().for_each(|byte| writer.byte(byte));
                writer.number(u64::from(slot));
                known.write(writer);
            }
        }
    }

    pub(super) fn write_slice(&self, tag: u8, from: u32, writer: &mut Writer) -> Option<u32> {
        let to = from.saturating_add(SLICE_OBJECTS).min(self.slots.end());
        for slot in from..to {
            if let Some(known) = self.slots.get(slot) {
                [tag, KNOWN].into_iter().for_each(|byte| writer.byte(byte));
                writer.number(u64::from(slot));
                known.write(writer);
            }
        }
        (to < self.slots.end()).then_some(to)
    }

    /// Takes back a record whose tag and kind were read; says whether it is one of these.
    pub(super) fn restore(&mut self, kind: u8, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        match kind {
            KNOWN => {
                let slot = reader.slot()?;
                let known = Known::read(reader)?;
                self.slots.remove(slot);
                self.slots.put(slot, known);
            }
            GONE => {
                let slot = reader.slot()?;
                self.slots.remove(slot);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Derives the indexes from what was read back.
    pub(super) fn finish_restore(&mut self) {
        self.slots.collect_free();
        self.by_signature = self.slots.slots().map(|(slot, known)| (known.signature, slot)).collect();
        self.order = self.slots.slots().map(|(slot, known)| (known.used, slot)).collect();
        self.used = self.order.last_key_value().map_or(0, |(used, _)| *used);
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > HOW_BYTES_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(id: u64, how: &str) -> Ended {
        let at = Timestamp::from_micros(id as i64);
        Ended { id: IncidentId(id), opened: at, ended: at, how: how.into(), by: "rule:r".into() }
    }

    #[test]
    fn the_signature_that_was_not_used_for_longest_is_forgotten() {
        let mut signatures = Signatures::default();
        for signature in 0..SIGNATURES_MAX as u64 {
            signatures.change(signature, |known| known.remember(ended(signature, "")));
        }
        signatures.change(0, |_| ());
        signatures.change(u64::MAX, |_| ());
        assert!(signatures.find(0).is_some() && signatures.find(u64::MAX).is_some());
        assert!(signatures.find(1).is_none());
        let (mut writer, mut copy) = (Writer::default(), Signatures::default());
        let mut from = Some(0);
        while let Some(at) = from {
            from = signatures.write_slice(0, at, &mut writer);
        }
        let mut reader = Reader::new(&writer.bytes);
        while !reader.is_empty() {
            reader.byte().unwrap();
            let kind = reader.byte().unwrap();
            assert_eq!(copy.restore(kind, &mut reader), Ok(true));
        }
        copy.finish_restore();
        assert_eq!(copy.order.keys().collect::<Vec<_>>(), signatures.order.keys().collect::<Vec<_>>());
    }

    #[test]
    fn the_last_five_incidents_are_remembered_once_each_with_a_text_that_is_cut() {
        let mut known = Known::default();
        (0..7).for_each(|id| known.remember(ended(id, &"ü".repeat(300))));
        known.remember(ended(4, "again"));
        assert_eq!(known.ended.iter().map(|ended| ended.id.0).collect::<Vec<_>>(), [2, 3, 5, 6, 4]);
        assert_eq!(known.ended[0].how.chars().count(), 129);
    }
}
