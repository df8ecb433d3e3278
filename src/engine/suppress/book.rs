//! The silences a shard remembers: when each begins, ends and is forgotten, what it has muted, and how it is kept.
//!
//! At most [`UNEXPIRED_MAX`] that are in force or to come, which the command refuses to exceed, and [`EXPIRED_MAX`] that
//! are over, of which the oldest are forgotten. About 1 KiB each with its last alerts, at most 26 KiB and what its
//! regular expressions compile to. Knows nothing of alerts but their fingerprints.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::silence::{SilenceChange, SilenceDoc, SilenceId, SilenceState};
use crate::engine::journal::{Fault, Reader, SLICE_OBJECTS, Writer};
use crate::engine::memory::slab::Slab;
use crate::event::Timestamp;
use crate::rules::{LabelIndex, LabelMatcher};

/// Silences in force or to come.
pub(super) const UNEXPIRED_MAX: usize = 10_000;
/// Silences that are over and remembered.
const EXPIRED_MAX: usize = 10_000;
/// How long a silence is remembered after its end, as in Alertmanager.
const RETENTION: Duration = Duration::from_secs(5 * 86_400);
/// Alerts that a silence names as the last it has muted.
const LAST_MUTED: usize = 100;

/// How much of a silence is not written yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Unwritten {
    #[default]
    Nothing,
    /// What only its row shows.
    Row,
    /// What it has muted.
    Tally,
    Whole,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) id: SilenceId,
    /// The id as text, for verdicts.
    pub(super) name: Arc<str>,
    pub(super) matchers: Vec<LabelMatcher>,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) created_by: String,
    pub(super) comment: String,
    pub(super) state: SilenceState,
    tally: Tally,
    /// Alerts that it mutes now.
    muting: u64,
    unwritten: Unwritten,
}

/// What a silence has muted in all.
#[derive(Debug, Default)]
struct Tally {
    alerts: u64,
    events: u64,
    /// Alertmanager's fingerprints, newest last.
    last: VecDeque<u64>,
}

impl Silence {
    pub(super) fn new(id: SilenceId, matchers: Vec<LabelMatcher>) -> Self {
        Self {
            id,
            name: id.to_string().into(),
            matchers,
            starts_at: Timestamp::EPOCH,
            ends_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            created_by: String::new(),
            comment: String::new(),
            state: SilenceState::Pending,
            tally: Tally::default(),
            muting: 0,
            unwritten: Unwritten::Nothing,
        }
    }

    /// Where it stands at a time.
    pub(super) fn state_at(&self, now: Timestamp) -> SilenceState {
        match now {
            _ if self.ends_at <= now => SilenceState::Expired,
            _ if self.starts_at <= now => SilenceState::Active,
            _ => SilenceState::Pending,
        }
    }

    pub(super) fn doc(&self, state: SilenceState, with_alerts: bool) -> SilenceDoc {
        let last = self.tally.last.iter().rev().filter(|_| with_alerts);
        SilenceDoc {
            id: self.name.to_string(),
            matchers: self.matchers.iter().map(LabelMatcher::to_string).collect(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            updated_at: self.updated_at,
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
            state: state.as_str(),
            muting: self.muting,
            muted_alerts: self.tally.alerts,
            muted_events: self.tally.events,
            last_muted: last.map(|fingerprint| format!("{fingerprint:016x}")).collect(),
        }
    }

    fn bytes(&self) -> usize {
        // A compiled matcher, by guess.
        let matchers = self.matchers.capacity() * 200;
        size_of::<Self>() + self.created_by.len() + self.comment.len() + matchers + self.tally.last.capacity() * 8
    }
}

/// All silences.
#[derive(Debug, Default)]
pub(super) struct Silences {
    slots: Slab<Silence>,
    by_id: HashMap<SilenceId, u32>,
    /// Those in force.
    pub(super) index: LabelIndex,
    /// When those that are not over begin or end.
    turns: BTreeSet<(Timestamp, u32)>,
    /// When those that are over have ended.
    expired: BTreeSet<(Timestamp, u32)>,
    /// How many by state.
    pub(super) by_state: [u64; 3],
    unwritten: Vec<u32>,
    forgotten: Vec<(u32, SilenceId)>,
    changes: Vec<SilenceChange>,
}

impl Silences {
    pub(super) fn find(&self, id: SilenceId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Silence> {
        self.slots.get(slot)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Silence)> {
        self.slots.slots()
    }

    /// Those in force or to come.
    pub(super) fn unexpired(&self) -> usize {
        self.slots.len() - self.expired.len()
    }

    /// When one begins, ends or is forgotten next.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let turn = self.turns.first().map(|(at, _)| *at);
        let forget = self.expired.first().map(|(at, _)| at.plus(RETENTION));
        turn.into_iter().chain(forget).min()
    }

    pub(super) fn insert(&mut self, silence: Silence) -> u32 {
        let id = silence.id;
        let slot = self.slots.insert(silence);
        self.by_id.insert(id, slot);
        self.enter(slot);
        slot
    }

    /// Lets go of a silence's place in the indexes, changes it, and files it anew.
    pub(super) fn change(&mut self, slot: u32, change: impl FnOnce(&mut Silence)) {
        self.quit(slot);
        if let Some(silence) = self.slots.get_mut(slot) {
            change(silence);
        }
        self.enter(slot);
    }

    fn enter(&mut self, slot: u32) {
        let Some(silence) = self.slots.get(slot) else { return };
        self.by_state[silence.state as usize] += 1;
        match silence.state {
            SilenceState::Pending => drop(self.turns.insert((silence.starts_at, slot))),
            SilenceState::Active => {
                self.turns.insert((silence.ends_at, slot));
                self.index.insert(slot, &silence.matchers);
            }
            SilenceState::Expired => drop(self.expired.insert((silence.ends_at, slot))),
        }
        self.mark(slot, Unwritten::Whole);
    }

    fn quit(&mut self, slot: u32) {
        let Some(silence) = self.slots.get(slot) else { return };
        self.by_state[silence.state as usize] -= 1;
        match silence.state {
            SilenceState::Pending => drop(self.turns.remove(&(silence.starts_at, slot))),
            SilenceState::Active => {
                self.turns.remove(&(silence.ends_at, slot));
                self.index.remove(slot);
            }
            SilenceState::Expired => drop(self.expired.remove(&(silence.ends_at, slot))),
        }
    }

    /// The places of those that begin and of those that end at the earliest time that is due.
    pub(super) fn turn(&mut self, now: Timestamp) -> (Vec<u32>, Vec<u32>) {
        let (mut begun, mut ended) = (Vec::new(), Vec::new());
        let Some((due, _)) = self.turns.first().copied().filter(|(due, _)| *due <= now) else { return (begun, ended) };
        while let Some((_, slot)) = self.turns.first().copied().filter(|(at, _)| *at <= due) {
            self.change(slot, |silence| silence.state = silence.state_at(due));
            match self.slots[slot].state {
                SilenceState::Expired => ended.push(slot),
                _ => begun.push(slot),
            }
        }
        (begun, ended)
    }

    /// Forgets those that ended long ago, and the oldest where there are too many.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while let Some((at, slot)) = self.expired.first().copied() {
            if at.plus(RETENTION) > now && self.expired.len() <= EXPIRED_MAX {
                return;
            }
            self.quit(slot);
            if let Some(silence) = self.slots.remove(slot) {
                self.by_id.remove(&silence.id);
                self.forgotten.push((slot, silence.id));
            }
        }
    }

    /// A silence begins to mute an alert.
    pub(super) fn begin(&mut self, slot: u32, fingerprint: u64) {
        let Some(silence) = self.slots.get_mut(slot) else { return };
        silence.muting += 1;
        silence.tally.alerts += 1;
        if silence.tally.last.len() >= LAST_MUTED {
            silence.tally.last.pop_front();
        }
        silence.tally.last.push_back(fingerprint);
        self.mark(slot, Unwritten::Tally);
    }

    /// The same, found out anew after a restart.
    pub(super) fn resume(&mut self, slot: u32) {
        if let Some(silence) = self.slots.get_mut(slot) {
            silence.muting += 1;
        }
    }

    /// A silence no longer mutes an alert.
    pub(super) fn end(&mut self, slot: u32) {
        if let Some(silence) = self.slots.get_mut(slot) {
            silence.muting = silence.muting.saturating_sub(1);
            self.mark(slot, Unwritten::Row);
        }
    }

    /// A silence has muted an event.
    pub(super) fn count(&mut self, slot: u32) {
        if let Some(silence) = self.slots.get_mut(slot) {
            silence.tally.events += 1;
            self.mark(slot, Unwritten::Tally);
        }
    }

    fn mark(&mut self, slot: u32, unwritten: Unwritten) {
        let silence = &mut self.slots[slot];
        if silence.unwritten == Unwritten::Nothing {
            self.unwritten.push(slot);
        }
        silence.unwritten = silence.unwritten.max(unwritten);
    }

    /// What has changed for people since the last call; [`Silences::write_changes`] goes before it.
    pub(super) fn take_changes(&mut self) -> Vec<SilenceChange> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn bytes(&self) -> usize {
        let sampled: usize = self.slots.slots().take(256).map(|(_, silence)| silence.bytes()).sum();
        sampled / self.slots.len().clamp(1, 256) * self.slots.len()
    }
}

/// What a record holds.
const WHOLE: u8 = 0;
const TALLY: u8 = 1;
const GONE: u8 = 2;

impl Silences {
    /// Appends what changed, each record begun by `tag`.
    pub(super) fn write_changes(&mut self, tag: u8, writer: &mut Writer) {
        for (slot, id) in self.forgotten.drain(..) {
            [tag, GONE].into_iter().for_each(|byte| writer.byte(byte));
            writer.number(u64::from(slot));
            self.changes.push(SilenceChange { id: id.to_string(), doc: None });
        }
        for slot in self.unwritten.drain(..) {
            let Some(silence) = self.slots.get_mut(slot) else { continue };
            match std::mem::take(&mut silence.unwritten) {
                // The place of one that is gone was taken again.
                Unwritten::Nothing => continue,
                Unwritten::Row => {}
                Unwritten::Tally => write_tally_record(tag, writer, slot, silence),
                Unwritten::Whole => write_silence(tag, writer, slot, silence),
            }
            let doc = Some(silence.doc(silence.state, false));
            self.changes.push(SilenceChange { id: silence.name.to_string(), doc });
        }
    }

    /// Appends the silences from a place on, and says where to go on.
    pub(super) fn write_slice(&self, tag: u8, from: u32, writer: &mut Writer) -> Option<u32> {
        let to = from.saturating_add(SLICE_OBJECTS).min(self.slots.end());
        for slot in from..to {
            if let Some(silence) = self.slots.get(slot) {
                write_silence(tag, writer, slot, silence);
            }
        }
        (to < self.slots.end()).then_some(to)
    }

    /// Takes back a record whose tag and kind were read.
    pub(super) fn restore(&mut self, kind: u8, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let slot = reader.slot()?;
        match kind {
            WHOLE => {
                let silence = read_silence(reader)?;
                self.slots.remove(slot);
                self.slots.put(slot, silence);
            }
            TALLY => {
                let tally = read_tally(reader)?;
                if let Some(silence) = self.slots.get_mut(slot) {
                    silence.tally = tally;
                }
            }
            GONE => drop(self.slots.remove(slot)),
            _ => return Err(reader.fault("unknown record of a silence")),
        }
        Ok(())
    }

    /// Files what was restored.
    pub(super) fn finish_restore(&mut self) {
        self.slots.collect_free();
        let found: Vec<(u32, SilenceId)> = self.slots.slots().map(|(slot, silence)| (slot, silence.id)).collect();
        for (slot, id) in found {
            self.by_id.insert(id, slot);
            self.enter(slot);
            self.slots[slot].unwritten = Unwritten::Nothing;
        }
        self.unwritten.clear();
    }
}

fn write_silence(tag: u8, writer: &mut Writer, slot: u32, silence: &Silence) {
    [tag, WHOLE].into_iter().for_each(|byte| writer.byte(byte));
    writer.number(u64::from(slot));
    writer.wide(silence.id.0);
    writer.byte(silence.state as u8);
    [silence.starts_at, silence.ends_at, silence.updated_at].into_iter().for_each(|at| writer.time(at));
    [&silence.created_by, &silence.comment].into_iter().for_each(|text| writer.text(text));
    writer.number(silence.matchers.len() as u64);
    silence.matchers.iter().for_each(|matcher| writer.text(&matcher.to_string()));
    write_tally(writer, &silence.tally);
}

fn read_silence(reader: &mut Reader<'_>) -> Result<Silence, Fault> {
    let (id, state) = (SilenceId(reader.wide()?), reader.byte()?);
    let state = SilenceState::ALL.into_iter().find(|known| *known as u8 == state);
    let state = state.ok_or_else(|| reader.fault("unknown state of a silence"))?;
    let (starts_at, ends_at, updated_at) = (reader.time()?, reader.time()?, reader.time()?);
    let (created_by, comment) = (reader.text()?.to_owned(), reader.text()?.to_owned());
    let mut matchers = Vec::new();
    for _ in 0..reader.count()? {
        let text = reader.text()?;
        matchers.push(LabelMatcher::parse(text).map_err(|wrong| reader.fault(&wrong))?);
    }
    let tally = read_tally(reader)?;
    let silence = Silence::new(id, matchers);
    Ok(Silence { starts_at, ends_at, updated_at, created_by, comment, state, tally, ..silence })
}

fn write_tally_record(tag: u8, writer: &mut Writer, slot: u32, silence: &Silence) {
    [tag, TALLY].into_iter().for_each(|byte| writer.byte(byte));
    writer.number(u64::from(slot));
    write_tally(writer, &silence.tally);
}

fn write_tally(writer: &mut Writer, Tally { alerts, events, last }: &Tally) {
    [*alerts, *events, last.len() as u64].into_iter().for_each(|number| writer.number(number));
    last.iter().for_each(|fingerprint| writer.fixed(*fingerprint));
}

fn read_tally(reader: &mut Reader<'_>) -> Result<Tally, Fault> {
    let (alerts, events) = (reader.tally()?, reader.tally()?);
    let last = (0..reader.count()?).map(|_| reader.fixed()).collect::<Result<_, Fault>>()?;
    Ok(Tally { alerts, events, last })
}
