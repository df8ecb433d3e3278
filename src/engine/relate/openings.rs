//! When incidents of a rule have opened of late, by rule and scope: what a storm is told by.
//!
//! Of each rule and scope at most `opens` times (10,000), 8 bytes each. What no longer matters is swept out when there
//! is much of it, so that scopes that come and go leave nothing behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::engine::journal::{Fault, Part, Reader, SLICE_OBJECTS, Writer};
use crate::engine::memory::interner::Interner;
use crate::engine::memory::slab::Slab;
use crate::event::Timestamp;
use crate::rules::StormConfig;

/// From so many rules and scopes on, times that no longer matter are looked for; then whenever they have doubled.
const SWEEP_MIN: usize = 1_024;

/// When incidents of one rule and scope have opened of late.
#[derive(Debug)]
struct Openings {
    key: u128,
    rule: Arc<str>,
    /// Ascending, at most `opens`.
    times: VecDeque<Timestamp>,
    /// How many were counted ever; tells what of the times the journal has.
    counted: u64,
    /// Times at the back that the journal lacks.
    fresh: usize,
    /// `per` when the newest was counted: when all of them are older, they do not matter.
    per: Duration,
}

/// When incidents have opened of late, by rule and scope.
#[derive(Debug, Default)]
pub(in crate::engine) struct Storms {
    openings: Slab<Openings>,
    by_key: HashMap<u128, u32>,
    dirty: Vec<u32>,
    gone: Vec<u128>,
    sweep_at: usize,
}

const OPENINGS: u8 = 0;
const GONE: u8 = 1;

impl Storms {
    /// Counts an opening. Where that is one too many, says until when there are too many, unless more follow.
    pub(in crate::engine) fn count(
        &mut self,
        key: u128,
        rule: &Arc<str>,
        now: Timestamp,
        storm: StormConfig,
    ) -> Option<Timestamp> {
        self.sweep(now);
        let slot = self.by_key.get(&key).copied().unwrap_or_else(|| {
            let (rule, times) = (rule.clone(), VecDeque::new());
            let slot = self.openings.insert(Openings { key, rule, times, counted: 0, fresh: 0, per: storm.per });
            self.by_key.insert(key, slot);
            slot
        });
        let known = &mut self.openings[slot];
        if known.fresh == 0 {
            self.dirty.push(slot);
        }
        let mut oldest = None;
        while known.times.len() >= storm.opens as usize {
            oldest = known.times.pop_front();
        }
        known.times.push_back(now);
        known.counted += 1;
        known.fresh = (known.fresh + 1).min(known.times.len());
        known.per = storm.per;
        oldest.map(|oldest| oldest.plus(storm.per)).filter(|until| *until > now)
    }

    #[cfg(test)]
    pub(in crate::engine) fn len(&self) -> usize {
        self.openings.len()
    }

    /// Drops what no longer matters, once there is enough of it to be worth looking.
    fn sweep(&mut self, now: Timestamp) {
        if self.openings.len() < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.drop_unless(|known| known.times.back().is_some_and(|newest| newest.plus(known.per) > now));
        self.sweep_at = self.openings.len() * 2;
    }

    /// Forgets the openings of rules that have no storm any more.
    pub(super) fn keep(&mut self, has_storm: impl Fn(&str) -> bool) {
        self.drop_unless(|known| has_storm(&known.rule));
    }

    fn drop_unless(&mut self, matters: impl Fn(&Openings) -> bool) {
        let idle = self.openings.slots().filter(|(_, known)| !matters(known));
        for slot in idle.map(|(slot, _)| slot).collect::<Vec<_>>() {
            if let Some(known) = self.openings.remove(slot) {
                self.by_key.remove(&known.key);
                self.gone.push(known.key);
            }
        }
    }

    fn write(writer: &mut Writer, known: &Openings, newest: usize) {
        writer.byte(Self::TAG);
        writer.byte(OPENINGS);
        writer.wide(known.key);
        writer.text(&known.rule);
        writer.number(known.per.as_millis() as u64);
        writer.number(known.counted);
        writer.number(known.times.len() as u64);
        writer.number(newest as u64);
        known.times.range(known.times.len() - newest..).for_each(|at| writer.time(*at));
    }

    fn restore_openings(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (key, rule) = (reader.wide()?, Arc::from(reader.text()?));
        let per = Duration::from_millis(reader.number()?);
        let (counted, len, newest) = (reader.tally()?, reader.tally()?, reader.count()?);
        let slot = self.by_key.get(&key).copied().unwrap_or_else(|| {
            let slot = self.openings.insert(Openings { key, rule, times: [].into(), counted: 0, fresh: 0, per });
            self.by_key.insert(key, slot);
            slot
        });
        let known = &mut self.openings[slot];
        let new = counted.saturating_sub(known.counted);
        for place in 0..newest as u64 {
            let at = reader.time()?;
            // A slice of a snapshot may hold already what an entry brings.
            if place + new >= newest as u64 {
                known.times.push_back(at);
            }
        }
        while known.times.len() as u64 > len {
            known.times.pop_front();
        }
        (known.counted, known.per) = (known.counted.max(counted), per);
        Ok(())
    }
}

impl Part for Storms {
    const TAG: u8 = 11;

    fn write_changes(&mut self, _names: &Interner, writer: &mut Writer) {
        for key in self.gone.drain(..) {
            writer.byte(Self::TAG);
            writer.byte(GONE);
            writer.wide(key);
        }
        for slot in self.dirty.drain(..) {
            let Some(known) = self.openings.get_mut(slot).filter(|known| known.fresh > 0) else { continue };
            let newest = std::mem::take(&mut known.fresh);
            Self::write(writer, known, newest);
        }
    }

    fn write_slice(&self, _names: &Interner, from: u32, writer: &mut Writer) -> Option<u32> {
        let mut written = 0;
        for slot in from..self.openings.end() {
            if written >= SLICE_OBJECTS as usize {
                return Some(slot);
            }
            if let Some(known) = self.openings.get(slot) {
                Self::write(writer, known, known.times.len());
                written += known.times.len();
            }
        }
        None
    }

    fn restore(&mut self, _names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match reader.byte()? {
            OPENINGS => self.restore_openings(reader),
            GONE => {
                if let Some(slot) = self.by_key.remove(&reader.wide()?) {
                    self.openings.remove(slot);
                }
                Ok(())
            }
            _ => Err(reader.fault("unknown record of storms")),
        }
    }
}
