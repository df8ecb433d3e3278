//! When something is open: once, by a recurrence rule or by a cron pattern, right across clock changes.
//!
//! A window opens at a wall clock time of its zone; the duration of a recurring one is elapsed time. Occurrences that
//! overlap or touch are one opening. Everything is derived from the schedule and the instant asked for, reads no clock and
//! no file, and is bounded: see [`Schedule::at`] and `recurrence`.

mod config;
mod recurrence;
mod wall_clock;

pub use config::{OnceConfig, ScheduleConfig};

use std::time::Duration;

use jiff::civil::DateTime;

use crate::event::Timestamp;
use recurrence::Recurrence;
pub(in crate::rules) use wall_clock::Zone;

/// Occurrences that one look joins into an opening; a longer chain is looked at again when they are over.
const JOINED_MAX: usize = 64;
/// Where an occurrence that has begun is looked for first, because most schedules have few.
const NEAR: Duration = Duration::from_secs(3_600);
const MICROSECOND: Duration = Duration::from_micros(1);
/// How far and through how many occurrences clock changes are looked for.
const TWISTS_WITHIN: Duration = Duration::from_secs(366 * 86_400);
const TWISTS_OCCURRENCES_MAX: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    zone: Zone,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Once(Opening),
    Recurring {
        recurrence: Recurrence,
        /// The last instant at which it may open.
        until: Option<Timestamp>,
        duration: Duration,
    },
}

/// From, and until exclusively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// When it opens.
    pub from: Timestamp,
    /// When it closes.
    pub until: Timestamp,
}

/// What a schedule says of an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether it is open.
    pub open: bool,
    /// When to ask again: nothing changes before. `None` when it never opens again.
    pub next_change: Option<Timestamp>,
}

impl Schedule {
    /// Whether it is open at an instant, and until when nothing changes.
    ///
    /// Costs a look at the occurrences of the last hour, or of one duration where there are none, and at up to 64 that
    /// follow: some 10 µs for what people write, below 1 ms for the most hostile rule found.
    pub fn at(&self, now: Timestamp) -> State {
        match self.opening_at(now) {
            Some(opening) => State { open: true, next_change: Some(opening.until) },
            None => State { open: false, next_change: self.next_start(now) },
        }
    }

    /// The opening around an instant.
    pub fn opening_at(&self, now: Timestamp) -> Option<Opening> {
        let (recurrence, duration) = match &self.form {
            Form::Once(opening) => return (opening.from <= now && now < opening.until).then_some(*opening),
            Form::Recurring { recurrence, duration, .. } => (recurrence, *duration),
        };
        let last = |within| self.starts(recurrence, now.minus(within)).take_while(|start| *start <= now).last();
        // All last equally long, so the one that began last is the one that ends last.
        let from = last(NEAR.min(duration)).or_else(|| last(duration))?;
        (now < from.plus(duration)).then(|| self.joined(from, recurrence, duration))
    }

    /// The next openings that begin after an instant, at most `n`.
    pub fn upcoming(&self, now: Timestamp, n: usize) -> Vec<Opening> {
        let mut openings = Vec::new();
        // What has begun is over, also for those that follow without a gap.
        let mut after = self.opening_at(now).map_or(now, |opening| opening.until);
        while openings.len() < n
            && let Some(start) = self.next_start(after)
        {
            let opening = match &self.form {
                Form::Once(opening) => *opening,
                Form::Recurring { recurrence, duration, .. } => self.joined(start, recurrence, *duration),
            };
            after = opening.until;
            openings.push(opening);
        }
        openings
    }

    /// An instant on the wall clock of the schedule, such as `Sun 2026-03-29 03:00 CEST`.
    pub fn show(&self, at: Timestamp) -> String {
        self.zone.show(at)
    }

    /// The name of the zone.
    pub fn zone(&self) -> &str {
        self.zone.name()
    }

    /// Sentences on the first skipped and the first doubled opening time within a year, among 1,000 occurrences.
    pub fn twists(&self, now: Timestamp) -> Vec<String> {
        let Form::Recurring { recurrence, .. } = &self.form else { return Vec::new() };
        let Some(wall) = self.zone.wall(now) else { return Vec::new() };
        let end = self.zone.wall(now.plus(TWISTS_WITHIN)).unwrap_or(wall);
        let mut said: Vec<(bool, String)> = Vec::new();
        for wall in recurrence.from(wall).take(TWISTS_OCCURRENCES_MAX).take_while(|wall| *wall <= end) {
            let Some(twist) = self.zone.twist(wall) else { continue };
            let skipped = self.zone.instant(wall).and_then(|at| self.zone.wall(at)) != Some(wall);
            if !said.iter().any(|(known, _)| *known == skipped) {
                said.push((skipped, twist));
            }
        }
        said.into_iter().map(|(_, twist)| twist).collect()
    }

    /// Whether what recurs is open without a break over the occurrences that one look joins.
    fn never_closes(&self, from: DateTime) -> bool {
        let Form::Recurring { recurrence, duration, .. } = &self.form else { return false };
        let Some(first) = self.zone.instant(from) else { return false };
        let starts: Vec<Timestamp> = self.starts(recurrence, first).take(JOINED_MAX).collect();
        starts.len() == JOINED_MAX && starts.windows(2).all(|pair| pair[1] <= pair[0].plus(*duration))
    }

    fn next_start(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.form {
            Form::Once(opening) => Some(opening.from).filter(|from| *from > after),
            Form::Recurring { recurrence, .. } => self.starts(recurrence, after.plus(MICROSECOND)).next(),
        }
    }

    /// The opening that begins with an occurrence, with those that follow without a gap.
    fn joined(&self, from: Timestamp, recurrence: &Recurrence, duration: Duration) -> Opening {
        let mut until = from.plus(duration);
        for start in self.starts(recurrence, from.plus(MICROSECOND)).take(JOINED_MAX) {
            if start > until {
                break;
            }
            until = start.plus(duration);
        }
        Opening { from, until }
    }

    /// The instants at which it opens, from `from` on, in order.
    fn starts<'a>(&'a self, recurrence: &'a Recurrence, from: Timestamp) -> impl Iterator<Item = Timestamp> + 'a {
        let last = match &self.form {
            Form::Recurring { until: Some(until), .. } => *until,
            _ => Timestamp::MAX,
        };
        // The wall clock just before: where `from` is the end of a gap, skipped times mean `from`.
        let wall = Some(from).filter(|from| *from <= last).and_then(|from| self.zone.wall(from.minus(MICROSECOND)));
        let walls = wall.into_iter().flat_map(|wall| recurrence.from(wall));
        let instants = walls.map_while(|wall| self.zone.instant(wall));
        instants.skip_while(move |at| *at < from).take_while(move |at| *at <= last)
    }
}

#[cfg(test)]
mod tests;
