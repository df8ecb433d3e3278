//! The hot state as bytes: what a commit changed, what a snapshot holds, and the way back.
//!
//! A journal entry lists the changed objects with their absolute values, so that replaying an entry that is already
//! contained in a snapshot slice does no harm: the last record of an object wins. Alerts carry their memberships; the
//! members of a group, its counts, all indexes and all timers are derived from them at the end of recovery. Texts are
//! written out, those of alerts once an entry (`texts.rs`). The first byte of every entry is the version of the format.

mod codec;
mod records;
mod reload;
mod texts;

use std::sync::Arc;

use super::alert::Dirty;
use super::group::RETIRED;
use super::heartbeat::Heartbeats;
use super::memory::interner::Interner;
use super::problems::Past;
use super::relate::changes::Changes as RecentChanges;
use super::relate::storm::Storms;
use super::relate::union::Unions;
use super::shard::{Changes, Shard, SnapshotStep};
use super::suppress::Suppression;
use super::window::Span;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::rules::{Rule, RuleSet};
pub(super) use codec::{Fault, Reader, Writer};
use records::{
    ALERT, ALERT_COUNTERS, ALERT_GONE, CLOSED, GROUP, GROUP_COUNTERS, GROUP_GONE, SEEN, WINDOW, read_alert,
    read_alert_counters, read_group, read_group_counters, write_alert, write_alert_counters, write_closed, write_group,
    write_group_counters, write_ids, write_window,
};
pub(super) use records::{read_maybe_text, write_maybe_text};
pub use reload::{ReloadReport, RuleReport};

/// Version of the format; entries of another one are refused.
const FORMAT: u8 = 5;
/// What the counters of an alert or a group take, about; most changes are nothing more.
pub(super) const COUNTERS_BYTES: usize = 48;
/// Room is made ahead for so much of each object at most.
const OBJECT_BYTES_MAX: usize = 2_048;
/// Objects in one slice of a snapshot: about 0.3 MB, 1 ms.
pub(super) const SLICE_OBJECTS: u32 = 1_024;

/// Bytes after which a slice with windows ends.
const SLICE_BYTES: usize = 1 << 20;

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum SnapshotCursor {
    Groups(u32),
    Alerts(u32),
    Seen(u64),
    Closed,
    /// Which of the parts, and from where.
    Parts(u8, u32),
}

/// A part of the shard that keeps itself in the journal under a tag of its own. Records are absolute: replaying one that
/// is already contained does no harm, the last of an object wins. A text is kept by users of its own in the interner.
pub(super) trait Part {
    /// The first byte of every record; tells the parts apart.
    const TAG: u8;

    /// Appends the records of what changed since the last call, each begun by [`Part::TAG`].
    fn write_changes(&mut self, names: &Interner, writer: &mut Writer);

    /// Appends the records of about [`SLICE_OBJECTS`] objects from a place on, and says where to go on, if anywhere.
    fn write_slice(&self, names: &Interner, from: u32, writer: &mut Writer) -> Option<u32>;

    /// Takes back one record, whose tag has been read.
    fn restore(&mut self, names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault>;
}

impl Shard {
    /// Hands out what must be made durable since the last call.
    pub fn take_changes(&mut self) -> Changes {
        let objects = self.dirty_alerts.len() + self.dirty_groups.len();
        // About as long as the last one was for as many, so that it need not move while it grows.
        let mut writer = Writer { bytes: Vec::with_capacity(1 + objects * self.journal_bytes), ..Writer::default() };
        writer.byte(FORMAT);
        for (tag, gone) in [(ALERT_GONE, &mut self.removed_alerts), (GROUP_GONE, &mut self.removed_groups)] {
            for slot in gone.drain(..) {
                writer.byte(tag);
                writer.number(u64::from(slot));
            }
        }
        for slot in self.dirty_groups.drain(..) {
            let Some(group) = self.groups.slots.get_mut(slot) else { continue };
            match std::mem::take(&mut group.dirty) {
                Dirty::Clean => {}
                Dirty::Counters if !group.span.must_be_rewritten() => {
                    write_group_counters(&mut writer, slot, group);
                    write_window(&mut writer, slot, &group.span);
                }
                Dirty::Counters | Dirty::Whole => write_group(&mut writer, &self.names, slot, group),
            }
            group.span.forget_news();
            self.groups.count(slot);
        }
        for slot in self.dirty_alerts.drain(..) {
            let Some(alert) = self.alerts.slots.get_mut(slot) else { continue };
            match std::mem::take(&mut alert.dirty) {
                Dirty::Clean => {}
                Dirty::Counters => write_alert_counters(&mut writer, slot, alert),
                Dirty::Whole => {
                    write_alert(&mut writer, &self.names, slot, alert);
                    self.alerts.count(slot);
                }
            }
        }
        write_ids(&mut writer, self.seen.take_fresh());
        write_closed(&mut writer, self.closed_ids.take_fresh());
        self.suppression.write_changes(&self.names, &mut writer);
        self.changes.write_changes(&self.names, &mut writer);
        self.storms.write_changes(&self.names, &mut writer);
        self.unions.write_changes(&self.names, &mut writer);
        self.heartbeats.write_changes(&self.names, &mut writer);
        self.past.write_changes(&self.names, &mut writer);
        let mut touched = std::mem::take(&mut self.touched_groups);
        // A slot is in the list twice where one group went and another came.
        touched.retain(|slot| {
            let group = self.groups.slots.get_mut(*slot);
            group.is_some_and(|group| std::mem::take(&mut group.touched))
        });
        let counts = touched.iter().filter_map(|group| self.counts(*group)).collect();
        touched.clear();
        self.touched_groups = touched;
        let each = writer.bytes.len().checked_div(objects).unwrap_or(COUNTERS_BYTES) + 1;
        self.journal_bytes = each.clamp(COUNTERS_BYTES, OBJECT_BYTES_MAX);
        let journal = if writer.bytes.len() > 1 { writer.bytes } else { Vec::new() };
        let decisions = std::mem::take(&mut self.decisions);
        let renewed = self.take_renewed();
        let positions = std::mem::take(&mut self.moved_positions);
        let rule_errors = self.rule_errors.drain().collect();
        let silences = self.suppression.take_silences();
        let targets = std::mem::take(&mut self.target_counts);
        let problems = self.past.take_problems();
        Changes { journal, decisions, renewed, targets, counts, silences, problems, positions, rule_errors }
    }

    /// The next slice of a snapshot; begins a new one where none is under way.
    pub fn snapshot_step(&mut self) -> SnapshotStep {
        let mut writer = Writer::default();
        writer.byte(FORMAT);
        let cursor = self.snapshot.unwrap_or(SnapshotCursor::Groups(0));
        self.snapshot = match cursor {
            SnapshotCursor::Groups(from) => {
                let end = from.saturating_add(SLICE_OBJECTS).min(self.groups.slots.end());
                let mut to = from;
                // Windows can be large.
                while to < end && writer.bytes.len() < SLICE_BYTES {
                    if let Some(group) = self.groups.slots.get(to) {
                        write_group(&mut writer, &self.names, to, group);
                    }
                    to += 1;
                }
                Some(if to < self.groups.slots.end() { SnapshotCursor::Groups(to) } else { SnapshotCursor::Alerts(0) })
            }
            SnapshotCursor::Alerts(from) => {
                let to = from.saturating_add(SLICE_OBJECTS).min(self.alerts.slots.end());
                for slot in from..to {
                    if let Some(alert) = self.alerts.slots.get(slot) {
                        write_alert(&mut writer, &self.names, slot, alert);
                    }
                }
                Some(if to < self.alerts.slots.end() { SnapshotCursor::Alerts(to) } else { SnapshotCursor::Seen(0) })
            }
            SnapshotCursor::Seen(from) => {
                let (ids, next) = self.seen.slice(from, SLICE_OBJECTS as usize * 8);
                write_ids(&mut writer, ids);
                Some(if next < self.seen.end() { SnapshotCursor::Seen(next) } else { SnapshotCursor::Closed })
            }
            SnapshotCursor::Closed => {
                write_closed(&mut writer, self.closed_ids.all());
                Some(SnapshotCursor::Parts(0, 0))
            }
            SnapshotCursor::Parts(part, from) => {
                let (names, writer) = (&self.names, &mut writer);
                let next = match part {
                    0 => self.suppression.write_slice(names, from, writer),
                    1 => self.changes.write_slice(names, from, writer),
                    2 => self.storms.write_slice(names, from, writer),
                    3 => self.unions.write_slice(names, from, writer),
                    4 => self.heartbeats.write_slice(names, from, writer),
                    _ => self.past.write_slice(names, from, writer),
                };
                match next {
                    Some(from) => Some(SnapshotCursor::Parts(part, from)),
                    None if part < 5 => Some(SnapshotCursor::Parts(part + 1, 0)),
                    None => None,
                }
            }
        };
        SnapshotStep { bytes: writer.bytes, last: self.snapshot.is_none() }
    }

    /// Takes back a snapshot slice or a journal entry, in the order in which they were made.
    ///
    /// # Errors
    /// Where and why the bytes cannot be read. The shard must then not be used.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(bytes);
        let format = reader.byte()?;
        if format != FORMAT {
            return Err(format!("format {format}, this version reads {FORMAT}"));
        }
        while !reader.is_empty() {
            match reader.byte()? {
                ALERT => self.restore_alert(&mut reader)?,
                ALERT_COUNTERS => {
                    let slot = reader.slot()?;
                    read_alert_counters(&mut reader, self.alerts.slots.get_mut(slot))?;
                }
                ALERT_GONE => {
                    let slot = reader.slot()?;
                    if let Some(alert) = self.alerts.slots.remove(slot) {
                        alert.texts.release(&mut self.names);
                    }
                }
                GROUP => self.restore_group(&mut reader)?,
                GROUP_COUNTERS => {
                    let slot = reader.slot()?;
                    read_group_counters(&mut reader, self.groups.slots.get_mut(slot))?;
                }
                GROUP_GONE => {
                    let slot = reader.slot()?;
                    self.remove_restored_group(slot);
                }
                WINDOW => {
                    let slot = reader.slot()?;
                    Span::read_news(&mut reader, self.groups.slots.get_mut(slot).map(|group| &mut group.span))?;
                }
                SEEN => {
                    for _ in 0..reader.count()? {
                        let (key, at) = (reader.wide()?, reader.time()?);
                        self.seen.restore(key, at);
                    }
                }
                CLOSED => {
                    for _ in 0..reader.count()? {
                        self.closed_ids.insert(IncidentId(reader.fixed()?));
                    }
                }
                Suppression::TAG => self.suppression.restore(&mut self.names, &mut reader)?,
                RecentChanges::TAG => self.changes.restore(&mut self.names, &mut reader)?,
                Storms::TAG => self.storms.restore(&mut self.names, &mut reader)?,
                Unions::TAG => self.unions.restore(&mut self.names, &mut reader)?,
                Past::TAG => self.past.restore(&mut self.names, &mut reader)?,
                Heartbeats::TAG => self.heartbeats.restore(&mut self.names, &mut reader)?,
                tag => return Err(reader.fault(&format!("unknown record {tag}"))),
            }
        }
        Ok(())
    }

    fn restore_alert(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (slot, alert) = read_alert(reader, &mut self.names)?;
        if let Some(old) = self.alerts.slots.remove(slot) {
            old.texts.release(&mut self.names);
        }
        self.alerts.slots.put(slot, alert);
        Ok(())
    }

    fn restore_group(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let (slot, group) = read_group(reader, &mut self.names)?;
        self.remove_restored_group(slot);
        self.groups.slots.put(slot, group);
        Ok(())
    }

    fn remove_restored_group(&mut self, slot: u32) {
        if let Some(group) = self.groups.slots.remove(slot) {
            group.release(&mut self.names);
        }
    }

    /// Ends recovery: binds groups to the present rules and derives members, counts, indexes and timers.
    pub fn finish_restore(&mut self) -> ReloadReport {
        self.alerts.finish_restore();
        self.seen.finish_restore(self.config.dedup_max_ids);
        self.closed_ids.forget_fresh();
        let alerts: Vec<u32> = self.alerts.slots.slots().map(|(slot, _)| slot).collect();
        for slot in &alerts {
            let alert = &mut self.alerts.slots[*slot];
            let groups = &mut self.groups.slots;
            alert.memberships.retain(|membership| {
                let Some(group) = groups.get_mut(membership.group) else { return false };
                if group.members.last() == Some(slot) {
                    return false;
                }
                membership.place = group.members.len() as u32;
                group.members.push(*slot);
                group.firing += u32::from(membership.firing);
                group.flapping += u32::from(membership.flapping);
                group.let_go += u32::from(membership.let_go.is_some());
                true
            });
        }
        let groups: Vec<u32> = self.groups.slots.slots().map(|(slot, _)| slot).collect();
        for slot in &groups {
            if let Some(incident) = self.groups.slots[*slot].incident.as_deref() {
                self.incidents.insert(incident.id, *slot);
            }
        }
        self.count_children();
        self.groups.finish_restore();
        self.unions.finish_restore();
        self.heartbeats.finish_restore(&self.rules);
        self.past.finish_restore();
        self.suppression.maintenance.forget();
        let report = self.rebind();
        self.replan_deadlines();
        self.timers.clear();
        (self.heartbeats_at, self.suppression_at, self.problems_at) = (Timestamp::MAX, Timestamp::MAX, Timestamp::MAX);
        self.schedule_problems();
        self.finish_restore_suppression();
        self.schedule_heartbeats();
        self.schedule_suppression();
        self.finish_relations();
        for slot in alerts.iter().copied().filter(|slot| self.alerts.slots.get(*slot).is_some()).collect::<Vec<_>>() {
            self.alerts.slots[slot].timer_at = Timestamp::MAX;
            self.schedule_alert(slot);
        }
        for slot in groups.iter().copied().filter(|slot| self.groups.slots.get(*slot).is_some()).collect::<Vec<_>>() {
            self.groups.slots[slot].timer_at = Timestamp::MAX;
            self.schedule_group(slot);
        }
        report
    }

    /// Takes a new rule set. Windows of rules that correlate as before are untouched; other windows are dropped;
    /// incidents stay, and follow the new rule of the same name where its `group_by` is the same, also when that comes
    /// back after it was gone.
    pub fn reload(&mut self, rules: Arc<RuleSet>, config: super::EngineConfig) -> ReloadReport {
        let remembered = |shard: &Self| (shard.config.retention(), shard.rules.flapping.within);
        let before = remembered(self);
        let seen = self.agreed();
        // Who is muted changes with what mutes; a look at every alert takes 0.1 s for a million.
        let windows = !self.rules.maintenance.is_empty() || !rules.maintenance.is_empty();
        let mutes_otherwise = windows || !self.rules.inhibitions.are_alike(&rules.inhibitions);
        self.rules = rules;
        self.config = config;
        self.heartbeats.bind(&self.rules);
        self.schedule_heartbeats();
        if mutes_otherwise {
            self.suppression.maintenance.forget();
            self.schedule_suppression();
        }
        let report = self.rebind();
        self.rebind_services();
        self.replan_deadlines();
        if mutes_otherwise {
            self.review_suppression();
        }
        self.renew_agreed(&seen);
        let after = remembered(self);
        if after.0 < before.0 || after.1 < before.1 {
            let alerts: Vec<u32> = self.alerts.slots.slots().map(|(slot, _)| slot).collect();
            alerts.into_iter().for_each(|slot| self.schedule_alert(slot));
        }
        report
    }

    fn rebind(&mut self) -> ReloadReport {
        self.epoch += 1;
        let mut report = ReloadReport::default();
        let slots: Vec<u32> = self.groups.slots.slots().map(|(slot, _)| slot).collect();
        let places: hashbrown::HashMap<Arc<str>, u32> =
            self.rules.rules.iter().enumerate().map(|(place, rule)| (rule.name.clone(), place as u32)).collect();
        for slot in slots {
            let Some(group) = self.groups.slots.get(slot) else { continue };
            let place = places.get(&group.rule_name).copied();
            let rule = place.map(|place| self.rules.rules[place as usize].clone());
            let same_key = rule.as_ref().is_some_and(|rule| self.groups_alike(group, rule));
            let same = same_key && rule.as_ref().is_some_and(|rule| rule.correlation == group.correlation);
            // What an operator has let go stays so when the rule is changed.
            let has_incident = group.incident.is_some();
            let stays = has_incident || group.let_go > 0;
            // A rule that comes back finds its incident again, so that no second one opens beside it.
            let reachable = group.rule != RETIRED || self.groups.find(group.key_hash).is_none();
            match (place, rule) {
                (Some(place), Some(rule)) if reachable && (same || (same_key && stays)) => {
                    let line = report.of(&rule.name);
                    *if same { &mut line.kept } else { &mut line.migrated } += 1;
                    self.bind(slot, place, &rule);
                }
                _ if has_incident => {
                    report.of(&self.groups.slots[slot].rule_name).retired += 1;
                    if self.groups.slots[slot].rule != RETIRED {
                        self.stop_waiting(slot);
                        self.groups.unindex(slot);
                        self.groups.slots[slot].rule = RETIRED;
                        self.mark_group(slot, Dirty::Whole);
                    }
                    // What is due may have moved, as by another cadence.
                    self.schedule_group(slot);
                }
                _ => {
                    report.of(&self.groups.slots[slot].rule_name).dropped += 1;
                    self.expire(slot);
                }
            }
        }
        self.review_escalations();
        self.keep_storms();
        self.unions.unlead_retired(&self.groups);
        report
    }

    /// Lets a group follow a rule of the present set.
    fn bind(&mut self, slot: u32, place: u32, rule: &Rule) {
        let group = &mut self.groups.slots[slot];
        let retired = std::mem::replace(&mut group.rule, place) == RETIRED;
        let other = std::mem::replace(&mut group.correlation, rule.correlation) != rule.correlation;
        if other {
            group.span = Span::default();
        }
        let policy = super::lifecycle::policy(rule);
        let incident = group.incident.as_deref_mut().filter(|incident| incident.policy != policy);
        let changed = incident.map(|incident| incident.policy = policy).is_some();
        if retired {
            let key_hash = group.key_hash;
            self.groups.index(slot, key_hash);
        }
        if retired || other || changed {
            self.mark_group(slot, Dirty::Whole);
        }
        if changed || other {
            // Stale alerts may no longer be held on to.
            let members = self.groups.slots[slot].members.clone();
            members.into_iter().for_each(|alert| self.schedule_alert(alert));
        }
        self.schedule_group(slot);
    }
}
