//! Changes of the recent past, by service.
//!
//! A change is what an event of kind `change` tells: a deployment, a flag, a maintenance. It is remembered until it is
//! `changes.within` and the lateness old; beyond `changes.max`, or `changes.max_per_service` of one service, the oldest go
//! early and are counted. About 300 bytes each. Also keeps which catalogue the links between incidents were made by.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::services::Service;
use crate::engine::correlate::EventSubject;
use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::journal::{Fault, Part, Reader, SLICE_OBJECTS, Writer};
use crate::engine::memory::interner::Interner;
use crate::engine::memory::slab::Slab;
use crate::engine::shard::Shard;
use crate::event::{Batch, Event, Status, Timestamp};
use crate::identity::Fingerprint;
use crate::rules::{ChangesConfig, Subject, Topology};

/// Bytes of an id or `dedup_key` that a link may carry; the fingerprint stands for a longer one.
const ID_BYTES_MAX: usize = 256;
/// Characters of a summary that are kept.
const SUMMARY_CHARS_MAX: usize = 120;

/// Second byte of a record.
const CHANGE: u8 = 0;
const GONE: u8 = 1;
const CATALOGUE: u8 = 2;

/// What was changed, and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    fingerprint: Fingerprint,
    pub(super) service: Arc<str>,
    /// The producer's id of the event that began it, else its `dedup_key`, else its fingerprint.
    pub(super) target: Box<str>,
    pub(super) summary: Box<str>,
    /// By the event that fires; unknown while only its end is known.
    pub(super) began: Option<Timestamp>,
    /// By the event that resolves, or as the first one announced.
    pub(super) ended: Option<Timestamp>,
}

impl Change {
    /// When it happened, last.
    fn newest(&self) -> Timestamp {
        self.began.max(self.ended).unwrap_or_default()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Changes {
    slots: Slab<Change>,
    by_service: HashMap<Service, SmallVec<[u32; 2]>>,
    by_fingerprint: HashMap<Fingerprint, SmallVec<[u32; 2]>>,
    /// By [`Change::newest`].
    by_age: BTreeSet<(Timestamp, u32)>,
    /// Slots that the journal does not have as they are.
    dirty: Vec<u32>,
    catalogue: u64,
    catalogue_dirty: bool,
    catalogue_read: Option<u64>,
    overflow: u64,
}

impl Changes {
    /// No changes; links will be made by this catalogue.
    pub(in crate::engine) fn of(topology: &Topology) -> Self {
        let catalogue = topology.digest();
        Self { catalogue, catalogue_dirty: catalogue != 0, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Change> {
        self.slots.get(slot)
    }

    /// The changes of a service, in no order.
    pub(super) fn of_service(&self, service: &Service) -> &[u32] {
        self.by_service.get(service).map_or(&[], |slots| slots)
    }

    /// The catalogue by which incidents are linked.
    pub(super) fn catalogue(&self) -> u64 {
        self.catalogue
    }

    pub(super) fn set_catalogue(&mut self, digest: u64) {
        self.catalogue_dirty |= self.catalogue != digest;
        self.catalogue = digest;
    }

    /// Changes forgotten early since the last call.
    pub(in crate::engine) fn take_overflow(&mut self) -> u64 {
        std::mem::take(&mut self.overflow)
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        let indexes = self.by_service.capacity() * 48 + self.by_fingerprint.capacity() * 40 + self.by_age.len() * 24;
        let texts: usize =
            self.slots.slots().take(64).map(|(_, change)| change.target.len() + change.summary.len()).sum();
        self.slots.bytes() + indexes + texts / self.slots.len().clamp(1, 64) * self.slots.len()
    }

    fn insert(&mut self, topology: &Topology, change: Change) -> u32 {
        let slot = self.slots.insert(change);
        self.index(topology, slot);
        self.dirty.push(slot);
        slot
    }

    fn index(&mut self, topology: &Topology, slot: u32) {
        let change = &self.slots[slot];
        self.by_age.insert((change.newest(), slot));
        self.by_fingerprint.entry(change.fingerprint).or_default().push(slot);
        self.by_service.entry(Service::of(topology, &change.service)).or_default().push(slot);
    }

    fn remove(&mut self, topology: &Topology, slot: u32) {
        let Some(change) = self.slots.remove(slot) else { return };
        self.by_age.remove(&(change.newest(), slot));
        take_out(&mut self.by_fingerprint, &change.fingerprint, slot);
        take_out(&mut self.by_service, &Service::of(topology, &change.service), slot);
        self.dirty.push(slot);
    }

    /// Alters a change and keeps it in order by age.
    fn alter(&mut self, slot: u32, alter: impl FnOnce(&mut Change)) {
        let change = &mut self.slots[slot];
        self.by_age.remove(&(change.newest(), slot));
        alter(change);
        self.by_age.insert((change.newest(), slot));
        self.dirty.push(slot);
    }

    /// Forgets what is older than `since`.
    fn expire(&mut self, topology: &Topology, since: Timestamp) {
        while let Some((newest, slot)) = self.by_age.first().copied() {
            if newest >= since {
                break;
            }
            self.remove(topology, slot);
        }
    }

    /// Forgets the oldest of a service beyond the bound, and counts them.
    fn trim_service(&mut self, topology: &Topology, config: &ChangesConfig, service: &Service) {
        while self.of_service(service).len() > config.max_per_service as usize {
            let slots = self.of_service(service).iter().copied();
            let Some(oldest) = slots.min_by_key(|slot| (self.slots[*slot].newest(), *slot)) else { break };
            self.remove(topology, oldest);
            self.overflow += 1;
        }
    }

    /// Likewise of all.
    fn trim(&mut self, topology: &Topology, config: &ChangesConfig) {
        while self.slots.len() > config.max as usize {
            let Some((_, oldest)) = self.by_age.first().copied() else { break };
            self.remove(topology, oldest);
            self.overflow += 1;
        }
    }

    /// Finds services by their present numbers, and keeps to the present bounds.
    pub(super) fn rebind(&mut self, topology: &Topology, config: &ChangesConfig) {
        self.by_service.clear();
        let slots: Vec<u32> = self.slots.slots().map(|(slot, _)| slot).collect();
        for slot in &slots {
            let service = Service::of(topology, &self.slots[*slot].service);
            self.by_service.entry(service).or_default().push(*slot);
        }
        for service in self.by_service.keys().cloned().collect::<Vec<_>>() {
            self.trim_service(topology, config, &service);
        }
        self.trim(topology, config);
    }

    /// Ends recovery. Services are found by [`Changes::rebind`].
    pub(super) fn finish_restore(&mut self, nothing_linked: bool, digest: u64) {
        self.slots.collect_free();
        self.by_age.clear();
        self.by_fingerprint.clear();
        for (slot, change) in self.slots.slots() {
            self.by_age.insert((change.newest(), slot));
            self.by_fingerprint.entry(change.fingerprint).or_default().push(slot);
        }
        self.dirty.clear();
        // A journal without a word on it is one of a time without a catalogue.
        let known = self.catalogue_read.unwrap_or(0);
        self.catalogue = if nothing_linked { digest } else { known };
        self.catalogue_dirty = self.catalogue != known;
    }

    /// The change that an event tells more of. A `dedup_key` names a change for good; else the same labels at another
    /// time are another change, unless the event ends it.
    fn known(&self, batch: &Batch, event: &Event) -> Option<u32> {
        let at = event.occurred_at.unwrap_or_default();
        let mut slots = self.by_fingerprint.get(&event.fingerprint)?.iter().copied();
        if !batch.bytes(event.dedup_key).is_empty() {
            return slots.next();
        }
        match event.status {
            Status::Firing => slots.find(|slot| {
                let change = &self.slots[*slot];
                change.began == Some(at) || (change.began.is_none() && change.ended.is_some_and(|ended| ended >= at))
            }),
            Status::Resolved => {
                let begun = slots.filter(|slot| self.slots[*slot].began.is_none_or(|began| began <= at));
                begun.max_by_key(|slot| (self.slots[*slot].began, *slot))
            }
        }
    }
}

fn take_out<K: std::hash::Hash + Eq>(index: &mut HashMap<K, SmallVec<[u32; 2]>>, key: &K, slot: u32) {
    let Some(slots) = index.get_mut(key) else { return };
    slots.retain(|other| *other != slot);
    if slots.is_empty() {
        index.remove(key);
    }
}

impl Part for Changes {
    const TAG: u8 = 10;

    fn write_changes(&mut self, _names: &Interner, writer: &mut Writer) {
        if std::mem::take(&mut self.catalogue_dirty) {
            self.write_catalogue(writer);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty.iter().for_each(|slot| self.write_slot(*slot, writer));
    }

    fn write_slice(&self, _names: &Interner, from: u32, writer: &mut Writer) -> Option<u32> {
        if from == 0 {
            self.write_catalogue(writer);
        }
        let to = from.saturating_add(SLICE_OBJECTS).min(self.slots.end());
        (from..to).filter(|slot| self.slots.get(*slot).is_some()).for_each(|slot| self.write_slot(slot, writer));
        (to < self.slots.end()).then_some(to)
    }

    fn restore(&mut self, _names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match reader.byte()? {
            CATALOGUE => self.catalogue_read = Some(reader.fixed()?),
            GONE => {
                let slot = reader.slot()?;
                self.slots.remove(slot);
            }
            CHANGE => {
                let slot = reader.slot()?;
                let change = Change {
                    fingerprint: Fingerprint(reader.wide()?),
                    service: reader.text()?.into(),
                    target: reader.text()?.into(),
                    summary: reader.text()?.into(),
                    began: reader.maybe_time()?,
                    ended: reader.maybe_time()?,
                };
                self.slots.put(slot, change);
            }
            kind => return Err(reader.fault(&format!("unknown record {kind} of changes"))),
        }
        Ok(())
    }
}

impl Changes {
    fn write_catalogue(&self, writer: &mut Writer) {
        writer.byte(Self::TAG);
        writer.byte(CATALOGUE);
        writer.fixed(self.catalogue);
    }

    fn write_slot(&self, slot: u32, writer: &mut Writer) {
        writer.byte(Self::TAG);
        let Some(change) = self.slots.get(slot) else {
            writer.byte(GONE);
            return writer.number(u64::from(slot));
        };
        writer.byte(CHANGE);
        writer.number(u64::from(slot));
        writer.wide(change.fingerprint.0);
        [&*change.service, &change.target, &change.summary].into_iter().for_each(|text| writer.text(text));
        writer.maybe_time(change.began);
        writer.maybe_time(change.ended);
    }
}

impl Shard {
    /// Remembers a change, and links it to incidents that have opened since.
    pub(super) fn note_change(&mut self, now: Timestamp, batch: &Batch, event: &Event) -> Verdict {
        let subject = EventSubject { batch, event };
        let rules = self.rules.clone();
        let topology = &rules.topology;
        let listed = topology.service_of(&subject).map(|service| Arc::from(topology.name(service)));
        let Some(service) = listed.or_else(|| subject.label("service").map(Arc::from)) else {
            return Verdict::new(Outcome::Recorded, Reason::ServiceMissing);
        };
        let since = now.minus(rules.changes.within).minus(self.config.lateness);
        self.changes.expire(topology, since);
        let slot = match self.changes.known(batch, event) {
            Some(slot) if !self.hear_again(batch, event, slot) => {
                return Verdict::new(Outcome::Duplicate, Reason::Repeat);
            }
            Some(slot) => slot,
            None => self.changes.insert(topology, new_change(batch, event, service)),
        };
        let suspected = self.suspect(now, slot);
        let old = self.changes.get(slot).is_some_and(|change| change.newest() < since);
        self.changes.expire(topology, since);
        if let Some(change) = self.changes.get(slot) {
            let service = Service::of(topology, &change.service);
            self.changes.trim_service(topology, &rules.changes, &service);
            self.changes.trim(topology, &rules.changes);
        }
        match suspected {
            Some(incident) => Verdict::of(Outcome::Linked, Reason::ChangeSuspected, incident),
            None if old => Verdict::new(Outcome::Stale, Reason::Late),
            None => Verdict::new(Outcome::Recorded, Reason::ChangeNoted),
        }
    }

    /// A further event of a known change. Says whether it tells something new.
    fn hear_again(&mut self, batch: &Batch, event: &Event, slot: u32) -> bool {
        let Some(known) = self.changes.get(slot).cloned() else { return false };
        let at = event.occurred_at.unwrap_or_default();
        let mut next = known.clone();
        match event.status {
            Status::Firing => {
                next.began = next.began.max(Some(at));
                next.ended = next.ended.max(event.ends_at);
                if known.began.is_none() {
                    next.target = target(batch, event);
                }
                if !batch.bytes(event.summary).is_empty() && next.began == Some(at) {
                    next.summary = summary(batch, event);
                }
            }
            Status::Resolved => next.ended = next.ended.filter(|ended| *ended <= at).max(Some(at)),
        }
        let new = next != known;
        if new {
            self.changes.alter(slot, |change| *change = next);
        }
        new
    }
}

fn new_change(batch: &Batch, event: &Event, service: Arc<str>) -> Change {
    let at = event.occurred_at.unwrap_or_default();
    let (began, ended) = match event.status {
        Status::Firing => (Some(at), event.ends_at),
        Status::Resolved => (None, Some(at)),
    };
    let (target, summary) = (target(batch, event), summary(batch, event));
    Change { fingerprint: event.fingerprint, service, target, summary, began, ended }
}

fn target(batch: &Batch, event: &Event) -> Box<str> {
    let names = [event.id, event.dedup_key].into_iter().map(|name| batch.text(name));
    let mut fitting = names.filter(|name| (1..=ID_BYTES_MAX).contains(&name.len()));
    fitting.next().map_or_else(|| event.fingerprint.to_string().into(), Box::from)
}

fn summary(batch: &Batch, event: &Event) -> Box<str> {
    let text = batch.text(event.summary).trim();
    match text.char_indices().nth(SUMMARY_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}
