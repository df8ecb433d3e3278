//! Escalation: the steps of a policy by time, priority, missed acknowledgement and coming breach; major incidents.
//!
//! What an incident keeps is small and bounded: a bit for each of at most 32 steps, a few instants, the sinks that were
//! reached. When something is due next is kept beside it, so that looking at it costs nothing; it is worked out anew when
//! the incident moves, its priority turns, muting ends, or the configuration is another one. What could not be taken in
//! time (muted, out of hours, on hold, the daemon was down) is caught up by the newest step that was missed, alone.

pub(super) mod major;
mod message;
mod plan;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use crate::engine::incident::{EscalatedDoc, Escalation, MajorDoc};
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::moves::IncidentStatus;
use crate::event::Timestamp;
use crate::rules::{EscalationPolicy, StepDue};
use major::Major;

/// The policy that an incident goes by.
#[derive(Clone, Debug, PartialEq)]
struct Bound {
    name: Arc<str>,
    /// Equal while the policy stays the same.
    definition: u64,
}

/// Why nothing is taken for now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Kept {
    /// Nothing keeps it back.
    #[default]
    No,
    /// All that fires is muted; ends with that.
    Muted,
    /// The incident is a symptom and leaves it to its cause; looked at again every minute.
    ByCause,
}

/// What came of the escalation of an incident in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Record {
    /// The highest step that was taken, counted from 1.
    highest: u32,
    /// How often it escalated, by steps and by hand.
    times: u32,
    /// It was declared a major incident.
    major: bool,
}

impl Record {
    fn note(&mut self, step: Option<u32>) {
        self.highest = self.highest.max(step.unwrap_or(0));
        self.times = self.times.saturating_add(1);
    }
}

/// How far an incident's escalation has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Progress {
    policy: Option<Bound>,
    /// When the round began.
    began: Timestamp,
    /// Time on hold since then, without the present one.
    held: Duration,
    /// While it is on hold.
    held_since: Option<Timestamp>,
    /// Rounds before this one.
    round: u32,
    /// Since when all steps by time are done, and the time on hold until then; the next round is due `repeat_after` later,
    /// if there is one.
    rest: Option<(Timestamp, Duration)>,
    /// Steps that were taken or passed over, a bit each: those by time in this round, those by share since it opened or
    /// came back.
    done: u32,
    /// Those of them that were passed over for the sake of the priority, which may rise.
    passed: u32,
    /// The step taken last in this round, counted from 1.
    level: u32,
    /// What came of it in its life, whatever came back since.
    record: Record,
    /// When the next step is due that would be taken as things stand.
    next_at: Option<Timestamp>,
    /// When something must be looked at.
    wakes_at: Option<Timestamp>,
    /// Whether the configuration must be asked if it is a major incident.
    asks_major: bool,
    /// That it is muted is not kept in the journal: found anew after a restart.
    kept: Kept,
    /// The policy may be another one; after every reload and restart.
    review: bool,
    /// Sinks that a step has told, in the order in which it did: they hear of what ends it, too.
    pub(super) reached: Vec<Arc<str>>,
    /// While it is a major incident.
    major: Option<Major>,
    /// Whether the recovery was set going, which happens once.
    hooked: bool,
    /// Whether a person has said that it is none: from then on only a person declares it.
    stood_down: bool,
}

impl Progress {
    /// Bytes on the heap; the names of sinks are the configuration's.
    pub(super) fn bytes(&self) -> usize {
        self.reached.capacity() * size_of::<Arc<str>>()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let flags = [
            self.policy.is_some(),
            self.rest.is_some(),
            self.asks_major,
            self.major.is_some(),
            self.hooked,
            self.stood_down,
            self.held_since.is_some(),
            self.kept == Kept::ByCause,
        ];
        writer.byte(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        if let Some(Bound { name, definition }) = &self.policy {
            writer.text(name);
            writer.fixed(*definition);
        }
        self.major.iter().for_each(|major| major.write(writer));
        self.held_since.iter().for_each(|since| writer.time(*since));
        writer.time(self.began);
        writer.number(self.held.as_micros() as u64);
        if let Some((since, held)) = self.rest {
            writer.time(since);
            writer.number(held.as_micros() as u64);
        }
        let Record { highest, times, major } = self.record;
        let numbers = [self.round, self.done, self.passed, self.level, highest, times, u32::from(major)];
        numbers.into_iter().for_each(|number| writer.number(number.into()));
        writer.maybe_time(self.next_at);
        writer.maybe_time(self.wakes_at);
        writer.number(self.reached.len() as u64);
        self.reached.iter().for_each(|sink| writer.text(sink));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let flags = reader.byte()?;
        let [bound, rests, asks_major, is_major, hooked, stood_down, is_held, by_cause] =
            [1, 2, 4, 8, 16, 32, 64, 128].map(|flag| flags & flag != 0);
        let policy = match bound {
            true => Some(Bound { name: reader.text()?.into(), definition: reader.fixed()? }),
            false => None,
        };
        let major = if is_major { Some(Major::read(reader)?) } else { None };
        let held_since = if is_held { Some(reader.time()?) } else { None };
        let (began, held) = (reader.time()?, Duration::from_micros(reader.number()?));
        let rest = if rests { Some((reader.time()?, Duration::from_micros(reader.number()?))) } else { None };
        let mut bits = || -> Result<u32, Fault> { Ok(reader.number()? as u32) };
        let (round, done, passed, level) = (bits()?, bits()?, bits()?, bits()?);
        let record = Record { highest: bits()?, times: bits()?, major: bits()? != 0 };
        let (next_at, wakes_at) = (reader.maybe_time()?, reader.maybe_time()?);
        let reached = reader.count()?;
        let reached = (0..reached).map(|_| Ok(Arc::from(reader.text()?))).collect::<Result<_, Fault>>()?;
        Ok(Self {
            policy,
            began,
            held,
            held_since,
            round,
            rest,
            done,
            passed,
            level,
            record,
            next_at,
            wakes_at,
            asks_major,
            kept: if by_cause { Kept::ByCause } else { Kept::No },
            review: false,
            reached,
            major,
            hooked,
            stood_down,
        })
    }

    pub(super) fn doc(&self) -> Escalation {
        let policy = self.policy.as_ref().map(|policy| policy.name.clone());
        Escalation { policy, level: self.level, next_at: self.next_at }
    }

    pub(super) fn escalated_doc(&self) -> Option<EscalatedDoc> {
        let Record { highest, times, major } = self.record;
        (self.record != Record::default()).then_some(EscalatedDoc { highest, times, major })
    }

    pub(super) fn major_doc(&self) -> Option<MajorDoc> {
        self.major.as_ref().map(Major::doc)
    }

    /// Whether it is a major incident.
    pub(super) fn is_major(&self) -> bool {
        self.major.is_some()
    }

    fn is_done(&self, place: usize) -> bool {
        self.done & 1 << place != 0
    }

    /// Starts over, as the incident opens or comes back; who was reached hears on.
    fn begin(&mut self, now: Timestamp, policy: Option<Bound>) {
        *self = Self {
            policy,
            began: now,
            reached: std::mem::take(&mut self.reached),
            major: self.major.take(),
            hooked: self.hooked,
            stood_down: self.stood_down,
            record: self.record,
            ..Self::default()
        };
    }

    /// Begins the next round: the steps by time are due again.
    fn begin_round(&mut self, now: Timestamp, policy: &EscalationPolicy) {
        let shares = bits(policy, |due| matches!(due, StepDue::Share { .. }));
        self.round += 1;
        (self.began, self.held, self.rest, self.level) = (now, Duration::ZERO, None, 0);
        (self.done, self.passed) = (self.done & shares, self.passed & shares);
    }

    /// Ends the round where all steps by time are done, and takes it up again where they are not.
    fn rest(&mut self, now: Timestamp, policy: &EscalationPolicy) {
        let timed = bits(policy, |due| matches!(due, StepDue::After(_)));
        let over = self.done & timed == timed;
        self.rest = if over { self.rest.or(Some((now, self.held))) } else { None };
    }

    /// Follows a policy that is another one by now, from the level that was reached.
    fn follow(&mut self, now: Timestamp, policy: &EscalationPolicy) {
        let level = self.level.min(policy.steps.len() as u32);
        self.policy = Some(Bound { name: policy.name.clone(), definition: policy.definition });
        self.done = u32::try_from((1_u64 << level) - 1).unwrap_or(u32::MAX);
        (self.passed, self.level) = (0, level);
        self.rest(now, policy);
    }

    fn reach(&mut self, sinks: &[Arc<str>]) {
        for sink in sinks {
            if !self.reached.contains(sink) {
                self.reached.push(sink.clone());
            }
        }
    }

    /// The hold begins or ends.
    fn hold(&mut self, now: Timestamp, after: IncidentStatus) {
        match (self.held_since, after == IncidentStatus::OnHold) {
            (None, true) => self.held_since = Some(now),
            (Some(since), false) => {
                self.held += now.since(since);
                self.held_since = None;
            }
            _ => {}
        }
    }
}

/// The steps of a kind, a bit each.
fn bits(policy: &EscalationPolicy, is: impl Fn(&StepDue) -> bool) -> u32 {
    let chosen = policy.steps.iter().enumerate().filter(|(_, step)| is(&step.due));
    chosen.map(|(place, _)| 1 << place).sum()
}
