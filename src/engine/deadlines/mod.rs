//! Agreed deadlines of an incident: to respond and to resolve, in working time, with warnings before the breach.
//!
//! Every incident has both clocks, also where nothing is agreed, so that a target that a reload brings counts from the
//! opening. When something is due next is kept beside them, so that looking at it costs nothing; it is worked out anew
//! when the incident moves, its priority turns or the configuration does. A target that no calendar reaches in ten years
//! is never due.

mod clock;
mod watch;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::engine::incident::{TargetState, Targets};
use crate::engine::journal::{Fault, Reader, Writer, read_maybe_text, write_maybe_text};
use crate::engine::moves::IncidentStatus;
use crate::event::Timestamp;
use crate::rules::{Calendar, Priority, RuleSet, Share, Terms};
use clock::{Agreed, Clock, Passed};

/// What is agreed for an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Somebody takes it.
    Respond,
    /// It is resolved.
    Resolve,
}

impl Target {
    /// In the order in which they come.
    pub const ALL: [Target; 2] = [Target::Respond, Target::Resolve];

    /// The public name, also the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Target::Respond => "respond",
            Target::Resolve => "resolve",
        }
    }
}

/// What became of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetTurn {
    /// A share of it has passed.
    Warned,
    /// In time.
    Met,
    /// It has passed unmet.
    Breached,
}

/// Something to count about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetCount {
    /// Which.
    pub target: Target,
    /// What became of it.
    pub turn: TargetTurn,
    /// The incident's priority then.
    pub priority: Priority,
}

/// What holds for an incident.
#[derive(Clone, Copy, Debug)]
struct Held<'a> {
    terms: &'a Terms,
    calendar: &'a Calendar,
    warn_at: &'a [Share],
}

impl<'a> Held<'a> {
    /// Under the agreement and in the calendar of its service, where that has any.
    fn of(rules: &'a RuleSet, priority: Priority, agreement: Option<&str>, calendar: Option<&str>) -> Self {
        let terms = rules.targets.terms(priority, agreement);
        let named = || calendar.and_then(|name| rules.calendars.named(name));
        let calendar = terms.calendar.as_ref().or_else(named).unwrap_or_else(|| rules.calendars.always());
        Self { terms, calendar, warn_at: &rules.targets.warn_at }
    }

    fn time(self, target: Target) -> Option<Duration> {
        match target {
            Target::Respond => self.terms.respond,
            Target::Resolve => self.terms.resolve,
        }
    }

    fn agreed(self, target: Target) -> Agreed<'a> {
        Agreed { time: self.time(target), calendar: self.calendar, warn_at: self.warn_at }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Deadlines {
    respond: Clock,
    resolve: Clock,
    /// Somebody has taken it: nothing more is asked of `respond`.
    taken: bool,
    /// It is over, and not as part of another incident.
    over: bool,
    /// What the clocks have gone by since they were settled last.
    calendar: Option<Arc<str>>,
    /// Whether there is a target to respond, and one to resolve.
    has: [bool; 2],
}

impl Deadlines {
    pub(super) fn write(&self, writer: &mut Writer) {
        self.respond.write(writer);
        self.resolve.write(writer);
        let flags = [self.taken, self.over, self.has[0], self.has[1]];
        writer.byte(flags.into_iter().enumerate().fold(0, |byte, (bit, flag)| byte | u8::from(flag) << bit));
        write_maybe_text(writer, self.calendar.as_deref());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (respond, resolve, flags) = (Clock::read(reader)?, Clock::read(reader)?, reader.byte()?);
        let [taken, over, first, second] = [0, 1, 2, 3].map(|bit| flags & 1 << bit != 0);
        let calendar = read_maybe_text(reader)?.map(Arc::from);
        Ok(Self { respond, resolve, taken, over, calendar, has: [first, second] })
    }

    pub(super) fn doc(&self) -> Targets {
        if self.has == [false; 2] {
            return Targets::default();
        }
        let [respond, resolve] = Target::ALL.map(|target| self.has[target as usize].then(|| self.state(target)));
        let due = |target: Target| self.clock(target).due.filter(|_| self.has[target as usize]);
        Targets {
            respond_by: due(Target::Respond),
            resolve_by: due(Target::Resolve),
            breached: [respond, resolve].contains(&Some(TargetState::Breached)),
            respond,
            resolve,
            calendar: self.calendar.clone(),
        }
    }

    /// When something is due next.
    fn next(&self) -> Option<Timestamp> {
        self.respond.next.into_iter().chain(self.resolve.next).min()
    }

    fn clock(&self, target: Target) -> &Clock {
        match target {
            Target::Respond => &self.respond,
            Target::Resolve => &self.resolve,
        }
    }

    fn clock_mut(&mut self, target: Target) -> &mut Clock {
        match target {
            Target::Respond => &mut self.respond,
            Target::Resolve => &mut self.resolve,
        }
    }

    fn is_met(&self, target: Target) -> bool {
        self.over || target == Target::Respond && self.taken
    }

    fn state(&self, target: Target) -> TargetState {
        match self.clock(target) {
            clock if clock.breached => TargetState::Breached,
            _ if self.is_met(target) => TargetState::Met,
            clock if clock.runs() => TargetState::Pending,
            _ => TargetState::Paused,
        }
    }

    /// The incident stands there now: what was spent until now, by the calendar of then, is kept, and the clocks run on or
    /// stand.
    fn settle(&mut self, now: Timestamp, rules: &RuleSet, standing: Standing, held: Held<'_>) {
        let before = self.calendar.as_deref().and_then(|name| rules.calendars.named(name));
        let before = before.map_or(held.calendar, |calendar| calendar);
        self.taken |= standing.taken;
        self.over = standing.over;
        self.respond.settle(now, before, standing.runs && !self.taken);
        self.resolve.settle(now, before, standing.runs);
        self.plan(held);
    }

    /// Works out anew what is due when, by what holds now.
    fn plan(&mut self, held: Held<'_>) {
        self.has = Target::ALL.map(|target| held.time(target).is_some());
        self.calendar = Some(held.calendar.name.clone());
        for target in Target::ALL {
            let met = self.is_met(target);
            let clock = self.clock_mut(target);
            clock.plan(held.agreed(target));
            if !met && !clock.runs() {
                clock.forget_due();
            }
        }
    }

    fn pass(&mut self, now: Timestamp, target: Target, held: Held<'_>) -> Passed {
        self.clock_mut(target).pass(now, held.agreed(target))
    }
}

/// What an incident's status means for its clocks.
#[derive(Clone, Copy, Debug)]
struct Standing {
    runs: bool,
    taken: bool,
    over: bool,
}

impl Standing {
    fn of(status: IncidentStatus, merged: bool, muted: bool) -> Self {
        use IncidentStatus::{Acknowledged, Closed, InProgress, OnHold, Open, Resolved};
        Self {
            runs: matches!(status, Open | Acknowledged | InProgress) && !muted,
            taken: matches!(status, Acknowledged | InProgress | OnHold),
            over: matches!(status, Resolved | Closed) && !merged,
        }
    }
}
