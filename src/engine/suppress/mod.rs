//! Who is muted, decided in one place for opening, notifying, escalating and deadlines.
//!
//! Silences come by command, inhibition and maintenance windows from the configuration. A muted alert is remembered and
//! kept from its rules; when that ends and it still fires, they see it. A resolve always passes. What mutes an alert is
//! found when it begins to fire or changes, and when what mutes does; every alert carries the result as a mark, so a
//! repeat of one that is not muted costs a comparison. Memory: the mark, and about 60 bytes a muted alert.

mod announce;
mod book;
mod inhibit;
pub(super) mod maintenance;
mod settle;
pub mod silence;
#[cfg(test)]
mod tests;
pub mod view;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use smallvec::SmallVec;

pub(super) use announce::Hush;

use self::book::Silences;
use self::inhibit::Inhibitors;
use self::maintenance::Maintenance;
use self::silence::SilenceChange;
use super::alert::Dirty;
use super::correlate::Sighting;
use super::decision::{Outcome, Reason, Verdict};
use super::group::Phase;
use super::incident::MutedDoc;
use super::journal::{Fault, Part, Reader, Writer};
use super::memory::interner::Interner;
use super::shard::Shard;
use crate::event::Timestamp;

/// Silences that an alert counts for; the first of those that match it.
const SILENCES_MAX: usize = 16;
/// Earlier than every instant: due at once.
const AT_ONCE: Timestamp = Timestamp::from_micros(i64::MIN);

/// After a long stop, windows are stepped through no further back than this.
const STEPS_MAX: Duration = Duration::from_secs(86_400);

/// What an alert carries of all this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    /// Something mutes it.
    pub(super) muted: bool,
    /// An event of it was kept from its rules.
    pub(super) withheld: bool,
    /// Until when an inhibition rule keeps it from its rules in case its source comes; else [`Timestamp::MAX`].
    pub(super) held_until: Timestamp,
}

impl Default for Mark {
    fn default() -> Self {
        Self { muted: false, withheld: false, held_until: Timestamp::MAX }
    }
}

impl Mark {
    fn is_held(&self) -> bool {
        self.held_until < Timestamp::MAX
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let flags = [self.muted, self.withheld, self.is_held()];
        writer.byte(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        if self.is_held() {
            writer.time(self.held_until);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let flags = reader.byte()?;
        let held_until = if flags & 4 != 0 { reader.time()? } else { Timestamp::MAX };
        Ok(Self { muted: flags & 1 != 0, withheld: flags & 2 != 0, held_until })
    }
}

/// What mutes an alert.
#[derive(Clone, Debug, Default, PartialEq)]
struct Causes {
    /// Places of silences, ascending, at most [`SILENCES_MAX`].
    silences: SmallVec<[u32; 2]>,
    /// The place of an inhibition rule.
    inhibited: Option<u32>,
    /// The place of an open maintenance window.
    window: Option<u32>,
}

impl Causes {
    fn is_none(&self) -> bool {
        self.silences.is_empty() && self.inhibited.is_none() && self.window.is_none()
    }

    /// The one that is named, as its place in [`REASONS`].
    fn first(&self) -> Option<usize> {
        [!self.silences.is_empty(), self.inhibited.is_some(), self.window.is_some()].iter().position(|there| *there)
    }
}

/// Why an alert is muted, in the order in which it is named.
const REASONS: [Reason; 3] = [Reason::Silenced, Reason::Inhibited, Reason::Maintenance];

/// What is muted at present, and by what.
#[derive(Debug, Default)]
pub(super) struct Suppression {
    silences: Silences,
    inhibitors: Inhibitors,
    pub(super) maintenance: Maintenance,
    /// The time as of which windows are open, and whether the journal has it.
    windows_as_of: Option<(Timestamp, bool)>,
    /// Of muted alerts, by place.
    causes: HashMap<u32, Causes>,
    /// Muted alerts by the reason that is named.
    by_reason: [u64; 3],
    /// What mutes may be other than what was: everything is to be looked at anew.
    review: bool,
    /// Rises whenever an alert begins or ceases to be muted.
    version: u64,
}

impl Suppression {
    /// When something begins or ends to be muted next.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let review = self.review.then_some(AT_ONCE);
        review.into_iter().chain(self.silences.deadline()).chain(self.maintenance.deadline()).min()
    }

    /// Silences that have changed for people since the last call; follows [`Part::write_changes`].
    pub(super) fn take_silences(&mut self) -> Vec<SilenceChange> {
        self.silences.take_changes()
    }

    /// Silences by state: pending, active, expired.
    pub(super) fn silences_by_state(&self) -> [u64; 3] {
        self.silences.by_state
    }

    /// Muted alerts by reason: silenced, inhibited, maintenance.
    pub(super) fn alerts_by_reason(&self) -> [u64; 3] {
        self.by_reason
    }

    /// Bytes held, by estimate.
    pub(super) fn bytes(&self) -> usize {
        let causes = self.causes.capacity() * (size_of::<(u32, Causes)>() + 1);
        causes + self.silences.bytes() + self.inhibitors.bytes()
    }
}

impl Part for Suppression {
    const TAG: u8 = 9;

    fn write_changes(&mut self, _names: &Interner, writer: &mut Writer) {
        self.silences.write_changes(Self::TAG, writer);
        if let Some((as_of, written @ false)) = &mut self.windows_as_of {
            write_windows(writer, *as_of);
            *written = true;
        }
    }

    fn write_slice(&self, _names: &Interner, from: u32, writer: &mut Writer) -> Option<u32> {
        if let (0, Some((as_of, _))) = (from, self.windows_as_of) {
            write_windows(writer, as_of);
        }
        self.silences.write_slice(Self::TAG, from, writer)
    }

    fn restore(&mut self, _names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match reader.byte()? {
            WINDOWS => self.windows_as_of = Some((reader.time()?, true)),
            kind => self.silences.restore(kind, reader)?,
        }
        Ok(())
    }
}

/// The kind of the record that says as of when windows are open; the others are those of silences.
const WINDOWS: u8 = 3;

fn write_windows(writer: &mut Writer, as_of: Timestamp) {
    [Suppression::TAG, WINDOWS].into_iter().for_each(|byte| writer.byte(byte));
    writer.time(as_of);
}

impl Shard {
    /// The verdict on a firing alert that is kept from its rules: they see it when that ends.
    pub(super) fn withheld(&mut self, sighting: &Sighting<'_>) -> Option<Verdict> {
        let &Sighting { now, slot, changed, begins, .. } = sighting;
        if begins || changed {
            self.reappraise(now, slot);
            if begins {
                self.hold(now, slot);
            }
        }
        let mark = self.alerts.slots[slot].mark;
        if !mark.muted && !mark.is_held() {
            return None;
        }
        if !mark.withheld {
            self.alerts.slots[slot].mark.withheld = true;
            self.mark_alert(slot, Dirty::Counters);
        }
        let (outcome, reason, muted_by) = if mark.muted { self.muted(slot) } else { self.held(slot, begins) };
        Some(Verdict { incident: self.incident_of(slot), muted_by, ..Verdict::new(outcome, reason) })
    }

    /// Counts an event of a muted alert, and names what mutes it.
    fn muted(&mut self, slot: u32) -> (Outcome, Reason, Option<Arc<str>>) {
        let Some(causes) = self.suppression.causes.get(&slot) else {
            return (Outcome::Suppressed, REASONS[0], None);
        };
        causes.silences.iter().for_each(|silence| self.suppression.silences.count(*silence));
        let (reason, name) = self.first_cause(causes);
        (Outcome::Suppressed, reason, name)
    }

    /// What mutes an alert, for people.
    pub(super) fn muted_doc(&self, slot: u32) -> Option<MutedDoc> {
        let (reason, by) = self.first_cause(self.suppression.causes.get(&slot)?);
        Some(MutedDoc { reason: reason.code(), by: by? })
    }

    /// Of what mutes an alert, what is named.
    fn first_cause(&self, causes: &Causes) -> (Reason, Option<Arc<str>>) {
        let place = causes.first().unwrap_or_default();
        let name = match place {
            0 => causes
                .silences
                .first()
                .and_then(|silence| self.suppression.silences.get(*silence))
                .map(|s| s.name.clone()),
            1 => causes.inhibited.and_then(|rule| self.rules.inhibitions.get(rule)).map(|rule| rule.name.clone()),
            _ => causes.window.and_then(|window| self.window_name(window)),
        };
        (REASONS[place], name)
    }

    /// Names the inhibition rule whose source is waited for.
    fn held(&self, slot: u32, begins: bool) -> (Outcome, Reason, Option<Arc<str>>) {
        let name = self.holding_rule(slot).map(|rule| rule.name.clone());
        (if begins { Outcome::Pending } else { Outcome::Duplicate }, Reason::AwaitsInhibition, name)
    }

    /// Begins to hold an alert that may be muted soon; not one that is part of an open incident already, which it would
    /// not open.
    fn hold(&mut self, now: Timestamp, slot: u32) {
        let mark = self.alerts.slots[slot].mark;
        let Some(hold) = self.holding_rule(slot).map(|rule| rule.hold) else { return };
        let mut memberships = self.alerts.slots[slot].memberships.iter();
        let open = memberships.any(|one| one.linked && self.groups.slots[one.group].phase == Phase::Live);
        if mark.muted || mark.is_held() || open {
            return;
        }
        self.alerts.slots[slot].mark.held_until = now.plus(hold);
        self.mark_alert(slot, Dirty::Counters);
        self.schedule_alert(slot);
    }

    /// The rule that holds an alert longest, of those it is a target of.
    fn holding_rule(&self, slot: u32) -> Option<&crate::rules::Inhibition> {
        let targets = self.suppression.inhibitors.roles(slot).iter().filter(|role| role.target);
        let rules = targets.filter_map(|role| self.rules.inhibitions.get(role.rule));
        // Of several that hold as long, the first.
        rules.filter(|rule| !rule.hold.is_zero()).rev().max_by_key(|rule| rule.hold)
    }

    /// No source has come while the alert was held: its rules see it.
    pub(super) fn hold_over(&mut self, now: Timestamp, slot: u32) {
        self.alerts.slots[slot].mark.held_until = Timestamp::MAX;
        self.mark_alert(slot, Dirty::Counters);
        self.schedule_alert(slot);
        self.look_again(now, slot);
    }

    /// An alert has ended or gone stale, and its groups know: it mutes nothing any more, and nothing is kept for it.
    pub(super) fn suppression_cleared(&mut self, now: Timestamp, slot: u32) {
        let alert = &mut self.alerts.slots[slot];
        if alert.mark == Mark::default() && self.suppression.inhibitors.roles(slot).is_empty() {
            return;
        }
        (alert.mark.withheld, alert.mark.held_until) = (false, Timestamp::MAX);
        self.mark_alert(slot, Dirty::Counters);
        let mut affected = Vec::new();
        self.assign_roles(slot, &mut affected);
        self.remark(slot, self.fires_now(slot));
        self.settle(now, affected);
    }

    /// An alert is about to be forgotten.
    pub(super) fn suppression_forgotten(&mut self, slot: u32) {
        if self.suppression.causes.contains_key(&slot) {
            self.note_causes(slot, Causes::default());
        }
        self.suppression.inhibitors.set(slot, SmallVec::new(), &mut Vec::new());
    }

    /// Something begins or ends to be muted.
    pub(super) fn suppression_due(&mut self, now: Timestamp) {
        if std::mem::take(&mut self.suppression.review) {
            // Silences and windows turn at their own time, among the other deadlines.
            return self.review(now);
        }
        let Some(due) = self.suppression.deadline().filter(|due| *due <= now) else { return };
        let at = if due == AT_ONCE { now } else { due.max(now.minus(STEPS_MAX)) };
        if self.suppression.maintenance.deadline().is_some_and(|window| window <= due) && self.turn_windows(at) {
            let affected = self.all_that_can_be_muted();
            self.settle(now, affected);
        }
        if self.suppression.silences.deadline().is_some_and(|silence| silence <= due) {
            let (begun, ended) = self.suppression.silences.turn(due);
            self.silences_turned(now, &begun, &ended);
            self.suppression.silences.forget(due);
        }
    }

    /// The name of a maintenance window.
    fn window_name(&self, window: u32) -> Option<Arc<str>> {
        self.rules.maintenance.get(window as usize).map(|window| window.name.clone())
    }
}
