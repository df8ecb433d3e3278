//! Flapping: an alert that keeps changing holds its incident open, with a count, instead of opening and resolving it.
//!
//! A change is what the producer says: resolved after firing, firing after resolved. The first firing is none, nor is a
//! lease that lapses. How fast alerts change is a question of event time, so that a backlog is judged as it happened;
//! when it is over is a deadline, on the receiving clock. Each rule judges by its own settings, which its incidents keep
//! (`Policy::flapping`). Opening is never held back, and what makes the incident critical is told at once.
//!
//! Memory: of an alert that has changed, the last [`FlappingMemory::changes`] times (at most 64) and 48 bytes; nothing
//! where no rule asks.

use std::time::Duration;

use super::alert::Dirty;
use super::group::{Phase, Turn};
use super::journal::{Fault, Reader, Writer};
use super::shard::Shard;
use crate::event::Timestamp;
use crate::rules::{FlappingConfig, FlappingMemory};

/// When an alert has changed between firing and resolved of late.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Turns(Option<Box<Recent>>);

#[derive(Clone, Debug, PartialEq)]
struct Recent {
    /// On event time, ascending: only what is newer than the last word changes an alert.
    times: Vec<Timestamp>,
    /// When the newest was received.
    received: Timestamp,
}

/// What an incident knows of its alerts that flap, beside how many there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flapping {
    /// Changes that were counted, those that made them flap among them.
    pub(super) changes: u64,
    pub(super) since: Timestamp,
}

impl Turns {
    /// Notes a change. Of an alert that flaps in an incident whose rule is gone, as many are kept as there are.
    fn note(&mut self, at: Timestamp, now: Timestamp, memory: FlappingMemory) {
        let kept = self.0.as_ref().map_or(0, |recent| recent.times.len());
        let most = memory.changes.max(kept);
        if most == 0 {
            return;
        }
        let recent = self.0.get_or_insert_with(|| Box::new(Recent { times: Vec::new(), received: now }));
        recent.received = now;
        let over = (recent.times.len() + 1).saturating_sub(most);
        recent.times.drain(..over);
        recent.times.push(at);
    }

    /// How many changes there were within the span that ends with the newest, where the alert flaps by these settings.
    fn flaps(&self, now: Timestamp, flapping: &FlappingConfig) -> Option<u64> {
        let recent = self.0.as_deref()?;
        let newest = *recent.times.last()?;
        let within = recent.times.iter().filter(|at| newest.since(**at) <= flapping.within).count();
        let holds = within >= flapping.changes as usize && recent.received.plus(flapping.stable) > now;
        holds.then_some(within as u64)
    }

    /// When the alert has been stable for so long.
    fn stable_at(&self, stable: Duration) -> Timestamp {
        self.0.as_deref().map_or(Timestamp::EPOCH, |recent| recent.received.plus(stable))
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_deref().map_or(0, |recent| size_of::<Recent>() + recent.times.capacity() * size_of::<Timestamp>())
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let Some(recent) = self.0.as_deref() else { return writer.number(0) };
        writer.number(recent.times.len() as u64);
        let mut before = Timestamp::EPOCH;
        for at in &recent.times {
            // Differences take three bytes or four, times eight or nine.
            writer.signed(at.as_micros().wrapping_sub(before.as_micros()));
            before = *at;
        }
        writer.time(recent.received);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let count = reader.count()?;
        if count == 0 {
            return Ok(Self::default());
        }
        let mut before = 0_i64;
        let mut next = || -> Result<Timestamp, Fault> {
            before = before.wrapping_add(reader.signed()?);
            Ok(Timestamp::from_micros(before))
        };
        let times = (0..count).map(|_| next()).collect::<Result<_, Fault>>()?;
        Ok(Self(Some(Box::new(Recent { times, received: reader.time()? }))))
    }
}

impl Flapping {
    pub(super) fn write(flapping: Option<Self>, writer: &mut Writer) {
        writer.byte(u8::from(flapping.is_some()));
        if let Some(Self { changes, since }) = flapping {
            writer.number(changes);
            writer.time(since);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Fault> {
        Ok(if reader.flag()? { Some(Self { changes: reader.tally()?, since: reader.time()? }) } else { None })
    }
}

/// The settings that an incident keeps.
pub(super) fn write_flapping(writer: &mut Writer, flapping: Option<FlappingConfig>) {
    writer.byte(u8::from(flapping.is_some()));
    if let Some(FlappingConfig { changes, within, stable }) = flapping {
        writer.number(u64::from(changes));
        [within, stable].into_iter().for_each(|span| writer.number(span.as_millis() as u64));
    }
}

pub(super) fn read_flapping(reader: &mut Reader<'_>) -> Result<Option<FlappingConfig>, Fault> {
    if !reader.flag()? {
        return Ok(None);
    }
    let changes = reader.small()?;
    let (within, stable) = (Duration::from_millis(reader.number()?), Duration::from_millis(reader.number()?));
    Ok(Some(FlappingConfig { changes, within, stable }))
}

impl Shard {
    /// The producer says that an alert has ended or fires again; called before its groups are told. Its time is that of
    /// the alert's last word.
    pub(super) fn turned(&mut self, now: Timestamp, slot: u32) {
        let memory = self.rules.flapping;
        let alert = &mut self.alerts.slots[slot];
        alert.turns.note(alert.register.at, now, memory);
        if alert.turns.0.is_none() {
            return;
        }
        for place in 0..self.alerts.slots[slot].memberships.len() {
            let membership = self.alerts.slots[slot].memberships[place];
            if membership.flapping {
                let incident = self.groups.slots[membership.group].incident.as_deref_mut();
                if let Some(flapping) = incident.and_then(|incident| incident.flapping.as_mut()) {
                    flapping.changes += 1;
                }
                self.mark_group(membership.group, Dirty::Whole);
            } else if membership.linked {
                self.judge(now, slot, membership.group);
            }
        }
    }

    /// Finds out whether a linked alert of a live incident flaps.
    pub(super) fn judge(&mut self, now: Timestamp, slot: u32, group: u32) {
        let state = &mut self.groups.slots[group];
        let Some(incident) = state.incident.as_deref_mut().filter(|_| state.phase == Phase::Live) else { return };
        let Some(settings) = incident.policy.flapping else { return };
        let alert = &mut self.alerts.slots[slot];
        let Some(changes) = alert.turns.flaps(now, &settings) else { return };
        let Some(membership) = alert.membership(group).filter(|one| one.linked && !one.flapping) else { return };
        membership.flapping = true;
        state.flapping += 1;
        incident.flapping.get_or_insert(Flapping { changes: 0, since: now }).changes += changes;
        incident.clear_since = None;
        let (first, severity) = (state.flapping == 1, incident.severity);
        self.mark_alert(slot, Dirty::Whole);
        self.mark_group(group, Dirty::Whole);
        self.schedule_alert(slot);
        if first {
            let within = crate::event::duration::format(settings.within);
            self.note(now, group, Turn::FlappingStarted, format!("held open; {changes} changes within {within}"));
            self.gather(now, group, severity);
        }
    }

    /// The same for all alerts of an incident that has opened or come back.
    pub(super) fn judge_members(&mut self, now: Timestamp, group: u32) {
        let asks = |incident: &super::group::Incident| incident.policy.flapping.is_some();
        if !self.groups.slots[group].incident.as_deref().is_some_and(asks) {
            return;
        }
        let mut members = self.groups.slots[group].members.clone();
        // The first that flaps is the one that is told; members are in another order after a restart.
        members.sort_unstable();
        members.into_iter().for_each(|slot| self.judge(now, slot, group));
    }

    /// When the alert has been stable for long enough in the first of the incidents in which it flaps. At once where a
    /// reload took the settings away.
    pub(super) fn stable_at(&self, slot: u32) -> Option<Timestamp> {
        let alert = &self.alerts.slots[slot];
        let flapping = alert.memberships.iter().filter(|membership| membership.flapping);
        flapping.map(|membership| alert.turns.stable_at(self.stable(membership.group))).min()
    }

    fn stable(&self, group: u32) -> Duration {
        let incident = self.groups.slots[group].incident.as_deref();
        incident.and_then(|incident| incident.policy.flapping).map_or(Duration::ZERO, |settings| settings.stable)
    }

    /// The alert has been stable for long enough in some incidents.
    pub(super) fn calm(&mut self, now: Timestamp, slot: u32) {
        let groups: super::group::Targets = self.alerts.slots[slot]
            .memberships
            .iter()
            .filter(|membership| membership.flapping)
            .map(|membership| membership.group)
            .filter(|group| self.alerts.slots[slot].turns.stable_at(self.stable(*group)) <= now)
            .collect();
        for group in groups {
            self.stop_flapping(now, slot, group);
        }
        if self.alerts.slots.get(slot).is_some() {
            self.schedule_alert(slot);
        }
    }

    /// The alert holds its incident open no longer; with the last one, people are told, and the time to all clear begins
    /// if nothing fires.
    pub(super) fn stop_flapping(&mut self, now: Timestamp, slot: u32, group: u32) {
        let Some(membership) = self.alerts.slots[slot].membership(group) else { return };
        if !std::mem::take(&mut membership.flapping) {
            return;
        }
        self.mark_alert(slot, Dirty::Whole);
        self.mark_group(group, Dirty::Whole);
        let state = &mut self.groups.slots[group];
        state.flapping -= 1;
        let Some(incident) = state.incident.as_deref_mut().filter(|_| state.flapping == 0) else { return };
        let changes = incident.flapping.take().map_or(0, |flapping| flapping.changes);
        if state.phase == Phase::Live {
            self.note(now, group, Turn::FlappingStopped, format!("held open no longer; {changes} changes in all"));
            self.let_go(now, group);
        }
    }

    /// The incident is resolved, by a person where alerts of it still flap.
    pub(super) fn forget_flapping(&mut self, group: u32) {
        if self.groups.slots[group].flapping == 0 {
            return;
        }
        for place in 0..self.groups.slots[group].members.len() {
            let slot = self.groups.slots[group].members[place];
            let membership = self.alerts.slots[slot].membership(group);
            if membership.is_some_and(|membership| std::mem::take(&mut membership.flapping)) {
                self.mark_alert(slot, Dirty::Whole);
                self.schedule_alert(slot);
            }
        }
        self.groups.slots[group].flapping = 0;
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            incident.flapping = None;
        }
    }

    /// How long an alert that has ended is remembered at least, so that its changes can be counted.
    pub(super) fn turns_kept_for(&self, slot: u32) -> Duration {
        let changed = self.alerts.slots[slot].turns.0.is_some();
        if changed { self.rules.flapping.within } else { Duration::ZERO }
    }
}
