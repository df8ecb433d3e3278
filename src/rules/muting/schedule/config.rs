//! What a configuration says of a schedule, and everything that can be wrong with it.

use std::time::Duration;

use jiff::civil::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::recurrence::{Recurrence, reference};
use super::wall_clock::{Given, Zone, read_time};
use super::{Form, Opening, Schedule};
use crate::event::{Timestamp, duration};
use crate::rules::Problem;

const DURATION_MIN: Duration = Duration::from_secs(60);
const DURATION_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Exactly one of `once`, `rrule` and `cron`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// One time, from and until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<OnceConfig>,
    /// A recurrence rule as in calendars (RFC 5545), such as `FREQ=MONTHLY;BYDAY=2SU`; with `start` and `duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rrule: Option<String>,
    /// A cron pattern of five fields, such as `0 2 * * SUN`; with `duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// From when `rrule` counts, and the time of day where the rule says none: local time, such as `2026-01-11T02:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// How long what recurs stays open, in elapsed time. 1m to 7d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Length>,
}

/// One time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnceConfig {
    /// Local time, such as `2026-12-01T22:00`, or with `Z` or an offset.
    pub from: String,
    /// Likewise, at most 7d later.
    pub until: String,
}

/// A duration with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Length(
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub Duration,
);

/// Collects what is wrong, at paths below the window's.
struct Check<'a> {
    root: &'a str,
    zone: Option<Zone>,
    problems: Vec<Problem>,
}

impl Schedule {
    /// Checks and compiles. `root` is the path of the window, of which `zone` and `schedule` are keys.
    pub(in crate::rules) fn compile(
        root: &str,
        zone: Option<&str>,
        config: &ScheduleConfig,
    ) -> (Option<Self>, Vec<Problem>) {
        let mut check = Check { root, zone: None, problems: Vec::new() };
        let known = zone.map(Zone::named).transpose().map_err(|wrong| check.error("zone", wrong));
        let Ok(known) = known else { return (None, check.problems) };
        check.zone = known;
        let form = check.form(config);
        let schedule = form.map(|form| Schedule { zone: check.zone.clone().unwrap_or(Zone::UTC), form });
        let schedule = schedule.filter(|schedule| check.recurs(schedule, config));
        (schedule, check.problems)
    }
}

impl Check<'_> {
    fn error(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::error(format!("{}.{field}", self.root), message));
    }

    fn warning(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::warning(format!("{}.{field}", self.root), message));
    }

    fn form(&mut self, config: &ScheduleConfig) -> Option<Form> {
        let form = match (&config.once, &config.rrule, &config.cron) {
            (Some(once), None, None) => {
                self.only_with("rrule", "start", config.start.is_some());
                self.only_with("rrule and cron", "duration", config.duration.is_some());
                self.once(once).map(Form::Once)
            }
            (None, Some(rule), None) => {
                let start = self.start(config.start.as_deref());
                let duration = self.duration(config.duration);
                self.rule(rule, start?, duration?)
            }
            (None, None, Some(pattern)) => {
                self.only_with("rrule", "start", config.start.is_some());
                let duration = self.duration(config.duration);
                self.needs_zone("schedule.cron", "a cron pattern");
                let recurrence = Recurrence::cron(pattern).map_err(|wrong| self.error("schedule.cron", wrong)).ok();
                Some(Form::Recurring { recurrence: recurrence?, until: None, duration: duration? })
            }
            (once, rrule, cron) => {
                let none = once.is_none() && rrule.is_none() && cron.is_none();
                let count = if none { "none" } else { "several" };
                self.error("schedule", format!("exactly one of once, rrule and cron says when, not {count}"));
                None
            }
        };
        form.filter(|_| self.problems.iter().all(|problem| problem.warning))
    }

    fn only_with(&mut self, with: &str, field: &str, given: bool) {
        if given {
            self.error(&format!("schedule.{field}"), format!("{field} goes with {with} only"));
        }
    }

    fn needs_zone(&mut self, field: &str, what: &str) {
        if self.zone.is_none() {
            self.error(field, format!("{what} is in local time: say in which `zone`, such as Europe/Berlin or UTC"));
        }
    }

    fn once(&mut self, once: &OnceConfig) -> Option<Opening> {
        let from = self.instant("schedule.once.from", &once.from);
        let until = self.instant("schedule.once.until", &once.until);
        let (from, until) = (from?, until?);
        if until <= from {
            self.error("schedule.once.until", format!("the end ({until}) is not after the beginning ({from})"));
        } else if let Some(wrong) = wrong_duration(until.since(from)) {
            self.error("schedule.once.until", wrong);
        }
        Some(Opening { from, until })
    }

    fn instant(&mut self, field: &str, text: &str) -> Option<Timestamp> {
        match read_time(text) {
            Ok(Given::Instant(at)) => Some(at),
            Ok(Given::Local(wall)) => {
                self.needs_zone(field, "a time without an offset");
                let zone = self.zone.clone()?;
                if let Some(twist) = zone.twist(wall) {
                    self.warning(field, twist);
                }
                zone.instant(wall)
            }
            Err(wrong) => {
                self.error(field, wrong);
                None
            }
        }
    }

    fn start(&mut self, start: Option<&str>) -> Option<DateTime> {
        let Some(text) = start else {
            self.error("schedule", "rrule needs `start`, from when it counts, such as 2026-01-11T02:00");
            return None;
        };
        self.needs_zone("schedule.start", "the start");
        match read_time(text) {
            Ok(Given::Local(start)) if start.second() == 0 => return Some(start),
            Ok(Given::Local(_)) => self.error("schedule.start", "what recurs begins on a whole minute"),
            Ok(Given::Instant(_)) => {
                self.error("schedule.start", "the start of what recurs is a local time in `zone`, without an offset");
            }
            Err(wrong) => self.error("schedule.start", wrong),
        }
        None
    }

    fn duration(&mut self, given: Option<Length>) -> Option<Duration> {
        match given.map(|given| (given.0, wrong_duration(given.0))) {
            Some((duration, None)) => return Some(duration),
            Some((_, Some(wrong))) => self.error("schedule.duration", wrong),
            None => self.error("schedule", "what recurs needs a `duration`, such as 3h"),
        }
        None
    }

    fn rule(&mut self, text: &str, start: DateTime, duration: Duration) -> Option<Form> {
        let (recurrence, until) =
            Recurrence::rule(text, start).map_err(|wrong| self.error("schedule.rrule", wrong)).ok()?;
        let until = match until {
            Some(Given::Instant(at)) => Some(at),
            Some(Given::Local(wall)) => self.zone.as_ref().and_then(|zone| zone.instant(wall)),
            None => None,
        };
        Some(Form::Recurring { recurrence, until, duration })
    }

    /// Whether it occurs at all; and what is unwise about when.
    fn recurs(&mut self, schedule: &Schedule, config: &ScheduleConfig) -> bool {
        let Form::Recurring { recurrence, .. } = &schedule.form else { return true };
        let field = if config.cron.is_some() { "schedule.cron" } else { "schedule.rrule" };
        let start = config.start.as_deref().and_then(|start| read_time(start).ok());
        let start = start.and_then(|start| if let Given::Local(start) = start { Some(start) } else { None });
        let from = start.unwrap_or_else(reference);
        let first = recurrence.from(from).next().filter(|first| {
            schedule.zone.instant(*first).is_some_and(|at| schedule.starts(recurrence, at).next().is_some())
        });
        let Some(first) = first else {
            self.error(field, "never occurs");
            return false;
        };
        if start.is_some_and(|start| start != first) {
            let (start, first) = (from.strftime("%a %Y-%m-%d %H:%M"), first.strftime("%a %Y-%m-%d %H:%M"));
            self.warning("schedule.start", format!("{start} is no occurrence of the rule; the first is {first}"));
        }
        if schedule.never_closes(from) {
            let joined = super::JOINED_MAX;
            self.warning("schedule.duration", format!("never closes: {joined} occurrences follow without a gap"));
        }
        true
    }
}

fn wrong_duration(given: Duration) -> Option<String> {
    let [min, max, shown] = [DURATION_MIN, DURATION_MAX, given].map(duration::format);
    (given < DURATION_MIN || given > DURATION_MAX).then(|| format!("a window is open for {min} to {max}, not {shown}"))
}
