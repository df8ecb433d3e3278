//! The table of expectations: who was heard when, what is due next, and how it is kept in the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::engine::alert::Dirty;
use crate::engine::journal::{Fault, Part, Reader, SLICE_OBJECTS, Writer};
use crate::engine::memory::interner::{Interner, Symbol};
use crate::engine::memory::slab::Slab;
use crate::event::{Kind, Timestamp};
use crate::identity::{Hasher, domain};
use crate::rules::{HEARTBEAT_KEYS_MAX as KEYS_MAX, Heartbeat, RuleSet};

/// The heartbeat of an expectation whose heartbeat is no longer configured.
const RETIRED: u32 = u32::MAX;

const WHOLE: u8 = 0;
const HEARD: u8 = 1;
const GONE: u8 = 2;

/// Where an expectation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    OnTime,
    Late,
    Missing,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::OnTime, Stage::Late, Stage::Missing];

    pub(super) const fn as_str(self) -> &'static str {
        ["on_time", "late", "missing"][self as usize]
    }
}

/// What still has to be seen to, once it is known what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsettled {
    /// Time has passed in which nobody listened.
    Start,
    /// The configuration is another one.
    Reload,
}

#[derive(Debug)]
pub(super) struct Expectation {
    /// Its place in the configuration, or [`RETIRED`].
    pub(super) heartbeat: u32,
    pub(super) name: Arc<str>,
    /// Of the configuration that it follows.
    pub(super) definition: u64,
    pub(super) key_hash: u128,
    /// `by` labels and their values.
    pub(super) by: Box<[(Symbol, Symbol)]>,
    /// When the newest sign of life happened; before the first one, since when it is expected.
    pub(super) heard: Timestamp,
    pub(super) seen: bool,
    pub(super) stage: Stage,
    /// Since when it is missing.
    pub(super) since: Timestamp,
    /// The time of the last event that was raised; the next one must be newer.
    pub(super) said: Timestamp,
    /// It is in `expect`, so it is never forgotten.
    pub(super) expected: bool,
    /// Neither late nor missing before; set anew at every start.
    pub(super) not_before: Timestamp,
    pub(super) timer_at: Timestamp,
    pub(super) dirty: Dirty,
}

impl Expectation {
    /// When its stage changes next, if nothing is heard.
    pub(super) fn deadline(&self, heartbeat: &Heartbeat) -> Option<Timestamp> {
        match self.stage {
            Stage::OnTime => Some(self.heard.plus(heartbeat.every).max(self.not_before)),
            Stage::Late => Some(self.missing_at(heartbeat).max(self.not_before)),
            Stage::Missing if self.expected => None,
            Stage::Missing => Some(self.since.plus(heartbeat.forget_after)),
        }
    }

    pub(super) fn missing_at(&self, heartbeat: &Heartbeat) -> Timestamp {
        self.heard.plus(heartbeat.every).plus(heartbeat.grace)
    }

    fn release(self, names: &mut Interner) {
        for (name, value) in self.by {
            names.release(name);
            names.release(value);
        }
    }
}

/// How many expectations a heartbeat has.
#[derive(Debug, Default)]
struct Tally {
    keys: usize,
    /// Found when there are too many: the label with the most values.
    culprit: Option<Arc<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Heartbeats {
    pub(super) slots: Slab<Expectation>,
    pub(super) by_key: HashMap<u128, u32>,
    pub(super) due: BTreeSet<(Timestamp, u32)>,
    tallies: Vec<Tally>,
    /// Alerts may be signs of life.
    pub(super) hears_alerts: bool,
    pub(super) unsettled: Option<Unsettled>,
    dirty: Vec<u32>,
    gone: Vec<u32>,
}

impl Heartbeats {
    pub(in crate::engine) fn new(rules: &RuleSet) -> Self {
        let mut heartbeats = Self::default();
        heartbeats.finish_restore(rules);
        heartbeats
    }

    /// When the next one is late or missing; at once where something has to be seen to.
    pub(in crate::engine) fn deadline(&self) -> Option<Timestamp> {
        match self.unsettled {
            Some(_) => Some(Timestamp::default()),
            None => self.due.first().map(|(due, _)| *due),
        }
    }

    pub(in crate::engine) fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// Follows another configuration; what that means for each is settled when it is known what time it is.
    pub(in crate::engine) fn bind(&mut self, rules: &RuleSet) {
        let places: HashMap<&str, u32> = rules.heartbeats.iter().map(|one| &*one.name).zip(0..).collect();
        self.tallies.clear();
        self.tallies.resize_with(rules.heartbeats.len(), Tally::default);
        for slot in 0..self.slots.end() {
            let Some(expectation) = self.slots.get_mut(slot) else { continue };
            expectation.heartbeat = places.get(&*expectation.name).copied().unwrap_or(RETIRED);
            if let Some(tally) = self.tallies.get_mut(expectation.heartbeat as usize) {
                tally.keys += 1;
            }
        }
        self.hears_alerts = rules.heartbeats.iter().any(|heartbeat| heartbeat.takes_kind(Kind::Alert));
        if self.slots.len() > 0 || !rules.heartbeats.is_empty() {
            self.unsettled.get_or_insert(Unsettled::Reload);
        }
    }

    /// Indexes what recovery has put into slots.
    pub(in crate::engine) fn finish_restore(&mut self, rules: &RuleSet) {
        self.slots.collect_free();
        self.by_key = self.slots.slots().map(|(slot, expectation)| (expectation.key_hash, slot)).collect();
        self.due.clear();
        for slot in 0..self.slots.end() {
            if let Some(expectation) = self.slots.get_mut(slot) {
                expectation.timer_at = Timestamp::MAX;
            }
        }
        self.bind(rules);
        self.unsettled = self.unsettled.map(|_| Unsettled::Start);
    }

    pub(super) fn schedule(&mut self, slot: u32, heartbeat: &Heartbeat) {
        let expectation = &mut self.slots[slot];
        let Some(due) = expectation.deadline(heartbeat).filter(|due| *due < expectation.timer_at) else { return };
        self.due.remove(&(expectation.timer_at, slot));
        expectation.timer_at = due;
        self.due.insert((due, slot));
    }

    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, u32)> {
        let (due, slot) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, slot));
        self.slots[slot].timer_at = Timestamp::MAX;
        Some((due, slot))
    }

    pub(super) fn mark(&mut self, slot: u32, dirty: Dirty) {
        let expectation = &mut self.slots[slot];
        if expectation.dirty == Dirty::Clean {
            self.dirty.push(slot);
        }
        expectation.dirty = expectation.dirty.max(dirty);
    }

    pub(super) fn insert(&mut self, expectation: Expectation) -> u32 {
        let (place, key_hash) = (expectation.heartbeat as usize, expectation.key_hash);
        let slot = self.slots.insert(expectation);
        self.by_key.insert(key_hash, slot);
        if let Some(tally) = self.tallies.get_mut(place) {
            tally.keys += 1;
        }
        self.mark(slot, Dirty::Whole);
        slot
    }

    pub(super) fn remove(&mut self, slot: u32, names: &mut Interner) {
        let Some(expectation) = self.slots.remove(slot) else { return };
        self.by_key.remove(&expectation.key_hash);
        self.due.remove(&(expectation.timer_at, slot));
        if let Some(tally) = self.tallies.get_mut(expectation.heartbeat as usize) {
            tally.keys -= 1;
            tally.culprit = None;
        }
        expectation.release(names);
        self.gone.push(slot);
    }

    /// Whether the heartbeat in this place may expect one more.
    pub(super) fn has_room(&self, place: u32, heartbeat: &Heartbeat) -> bool {
        let keys = self.tallies.get(place as usize).map_or(0, |tally| tally.keys);
        keys < heartbeat.max_keys && self.slots.len() < KEYS_MAX
    }

    /// Says which heartbeat has too many keys, and by which label: that with the most values. Looked for once.
    pub(super) fn culprit(&mut self, place: u32, heartbeat: &Heartbeat, names: &Interner) -> Arc<str> {
        let slots = &self.slots;
        let Some(tally) = self.tallies.get_mut(place as usize) else { return heartbeat.name.clone() };
        let find = || {
            let mine = || slots.slots().filter(|(_, one)| one.heartbeat == place).map(|(_, one)| &one.by);
            let values =
                |label: usize| mine().filter_map(|by| by.get(label)).map(|(_, value)| *value).collect::<HashSet<_>>();
            let labels = mine().next().map_or(0, |by| by.len());
            let most = (0..labels).max_by_key(|label| values(*label).len());
            let label = most.and_then(|label| mine().next()?.get(label)).map(|(name, _)| names.text(*name));
            let label = label.map_or_else(String::new, |label| format!("; the label with the most values is {label}"));
            format!("max_keys{label}").into()
        };
        tally.culprit.get_or_insert_with(find).clone()
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        self.slots.bytes() + self.by_key.capacity() * 21 + self.due.len() * 24
    }
}

pub(super) fn key_hash<'a>(hasher: &mut Hasher, name: &str, values: impl Iterator<Item = &'a str>) -> u128 {
    hasher.reset(domain::HEARTBEAT).part(name.as_bytes());
    for value in values {
        hasher.part(value.as_bytes());
    }
    hasher.finish128()
}

impl Part for Heartbeats {
    const TAG: u8 = 13;

    fn write_changes(&mut self, names: &Interner, writer: &mut Writer) {
        for slot in self.gone.drain(..) {
            writer.byte(Self::TAG);
            writer.byte(GONE);
            writer.number(u64::from(slot));
        }
        for slot in self.dirty.drain(..) {
            let Some(expectation) = self.slots.get_mut(slot) else { continue };
            match std::mem::take(&mut expectation.dirty) {
                Dirty::Clean => {}
                Dirty::Counters => {
                    writer.byte(Self::TAG);
                    writer.byte(HEARD);
                    writer.number(u64::from(slot));
                    writer.time(expectation.heard);
                }
                Dirty::Whole => expectation.write(slot, names, writer),
            }
        }
    }

    fn write_slice(&self, names: &Interner, from: u32, writer: &mut Writer) -> Option<u32> {
        let to = from.saturating_add(SLICE_OBJECTS).min(self.slots.end());
        for slot in from..to {
            if let Some(expectation) = self.slots.get(slot) {
                expectation.write(slot, names, writer);
            }
        }
        (to < self.slots.end()).then_some(to)
    }

    fn restore(&mut self, names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (kind, slot) = (reader.byte()?, reader.slot()?);
        match kind {
            WHOLE => {
                let expectation = Expectation::read(names, reader)?;
                if let Some(old) = self.slots.remove(slot) {
                    old.release(names);
                }
                self.slots.put(slot, expectation);
            }
            HEARD => {
                let heard = reader.time()?;
                if let Some(expectation) = self.slots.get_mut(slot) {
                    expectation.heard = heard;
                }
            }
            GONE => {
                if let Some(old) = self.slots.remove(slot) {
                    old.release(names);
                }
            }
            kind => return Err(reader.fault(&format!("unknown record {kind} of a heartbeat"))),
        }
        Ok(())
    }
}

impl Expectation {
    fn write(&self, slot: u32, names: &Interner, writer: &mut Writer) {
        writer.byte(Heartbeats::TAG);
        writer.byte(WHOLE);
        writer.number(u64::from(slot));
        writer.text(&self.name);
        writer.fixed(self.definition);
        writer.wide(self.key_hash);
        writer.number(self.by.len() as u64);
        for (name, value) in &self.by {
            writer.text(names.text(*name));
            writer.text(names.text(*value));
        }
        writer.byte(self.stage as u8);
        writer.byte(u8::from(self.seen));
        [self.heard, self.since, self.said].into_iter().for_each(|time| writer.time(time));
    }

    fn read(names: &mut Interner, reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let name = reader.text()?.into();
        let (definition, key_hash) = (reader.fixed()?, reader.wide()?);
        let by = (0..reader.count()?)
            .map(|_| Ok((names.intern(reader.text()?), names.intern(reader.text()?))))
            .collect::<Result<Box<[_]>, Fault>>()?;
        let stage = usize::from(reader.byte()?);
        Ok(Self {
            heartbeat: RETIRED,
            name,
            definition,
            key_hash,
            by,
            stage: *Stage::ALL.get(stage).ok_or_else(|| reader.fault("unknown stage of a heartbeat"))?,
            seen: reader.flag()?,
            heard: reader.time()?,
            since: reader.time()?,
            said: reader.time()?,
            expected: false,
            not_before: Timestamp::default(),
            timer_at: Timestamp::MAX,
            dirty: Dirty::Clean,
        })
    }
}
