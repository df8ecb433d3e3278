//! A calendar: when work is done, and how much working time lies between two instants.
//!
//! Opening hours are times on the wall clock of a zone; working time is what elapses while they last, so that a night in
//! which the clock changes has an hour less or more. A look walks over the days concerned and no further than
//! [`HORIZON_DAYS`]: beyond, nothing is counted and nothing is found. A day costs under a microsecond.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Date, Time};

use super::config::{self, CalendarConfig};
use crate::event::{Timestamp, hint};
use crate::rules::Problem;
use crate::rules::muting::schedule::Zone;

/// How far a look goes: ten years, as the longest duration that can be written.
pub const HORIZON_DAYS: usize = 3_653;
const CALENDARS_MAX: usize = 100;

/// Minutes of a day at which work begins and ends; the end may be 24:00.
pub(super) type Span = (u16, u16);
/// Spans of each day from Monday, in order, apart from one another.
pub(super) type Week = [Vec<Span>; 7];

/// See the module.
#[derive(Debug)]
pub struct Calendar {
    /// Unique name.
    pub name: Arc<str>,
    /// Always open without.
    hours: Option<Hours>,
}

#[derive(Debug)]
pub(super) struct Hours {
    pub(super) zone: Zone,
    pub(super) week: Week,
    /// Closed days, in order.
    pub(super) holidays: Vec<Date>,
}

impl Hours {
    /// When work is done from the day on that holds `at`: begin and end, in order; some may be over by then.
    fn from(&self, at: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let first = self.zone.wall(at).map(jiff::civil::DateTime::date);
        let days = std::iter::successors(first, |day| day.tomorrow().ok()).take(HORIZON_DAYS);
        days.filter(|day| self.holidays.binary_search(day).is_err()).flat_map(move |day| {
            let spans = &self.week[day.weekday().to_monday_zero_offset() as usize];
            spans.iter().filter_map(move |(begin, end)| Some((self.instant(day, *begin)?, self.instant(day, *end)?)))
        })
    }

    fn instant(&self, day: Date, minute: u16) -> Option<Timestamp> {
        let (day, minute) = if minute < 1_440 { (day, minute) } else { (day.tomorrow().ok()?, 0) };
        let time = Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()?;
        self.zone.instant(day.to_datetime(time))
    }
}

impl Calendar {
    pub(super) fn new(name: &str, hours: Hours) -> Self {
        Self { name: name.into(), hours: Some(hours) }
    }

    /// The calendar that never closes.
    pub fn always() -> Self {
        Self { name: Calendars::ALWAYS.into(), hours: None }
    }

    /// Whether it never closes.
    pub fn is_always(&self) -> bool {
        self.hours.is_none()
    }

    /// Working time between two instants; none where the second is not the later.
    pub fn working(&self, from: Timestamp, to: Timestamp) -> Duration {
        let Some(hours) = &self.hours else { return to.since(from) };
        let spans = hours.from(from).take_while(|(begin, _)| *begin < to);
        spans.map(|(begin, end)| end.min(to).since(begin.max(from))).sum()
    }

    /// The first instant at which so much working time has passed, if within the horizon.
    pub fn add(&self, from: Timestamp, working: Duration) -> Option<Timestamp> {
        let Some(hours) = &self.hours else { return Some(from.plus(working)) };
        if working.is_zero() {
            return Some(from);
        }
        let mut left = working;
        for (begin, end) in hours.from(from) {
            let begin = begin.max(from);
            let open = end.since(begin);
            if left <= open {
                return Some(begin.plus(left));
            }
            left -= open;
        }
        None
    }

    /// Whether work is done at an instant.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.next_open(at) == Some(at)
    }

    /// The instant itself while work is done, else when it begins again, if within the horizon.
    pub fn next_open(&self, at: Timestamp) -> Option<Timestamp> {
        let Some(hours) = &self.hours else { return Some(at) };
        // Both ends of a span that a change of the clock skips are the same instant.
        hours.from(at).find(|(begin, end)| *end > at && begin < end).map(|(begin, _)| begin.max(at))
    }

    /// Working time of a week without holidays and changes of the clock.
    pub fn week(&self) -> Duration {
        let Some(hours) = &self.hours else { return Duration::from_secs(7 * 86_400) };
        let minutes: u64 = hours.week.iter().flatten().map(|(begin, end)| u64::from(end - begin)).sum();
        Duration::from_secs(minutes * 60)
    }
}

/// All calendars, by name; `always` among them.
#[derive(Debug)]
pub struct Calendars {
    named: BTreeMap<Arc<str>, Arc<Calendar>>,
    always: Arc<Calendar>,
}

impl Default for Calendars {
    fn default() -> Self {
        let always = Arc::new(Calendar::always());
        Self { named: BTreeMap::from([(always.name.clone(), always.clone())]), always }
    }
}

impl Calendars {
    /// The name of the calendar that never closes, which holds where none is named.
    pub const ALWAYS: &str = "always";

    pub(in crate::rules) fn compile(configs: &[CalendarConfig]) -> (Self, Vec<Problem>) {
        let (mut calendars, mut problems) = (Self::default(), Vec::new());
        if configs.len() > CALENDARS_MAX {
            let message = format!("at most {CALENDARS_MAX} calendars, not {}", configs.len());
            return (calendars, vec![Problem::error("calendars", message)]);
        }
        for (place, config) in configs.iter().enumerate() {
            let root = format!("calendars[{place}]");
            if config.name == Self::ALWAYS {
                let message = "\"always\" is the calendar that never closes, which is there already";
                problems.push(Problem::error(format!("{root}.name"), message));
            } else if let Some(earlier) = configs[..place].iter().position(|other| other.name == config.name) {
                let message = format!("calendars[{earlier}] is named \"{}\" already", config.name);
                problems.push(Problem::error(format!("{root}.name"), message));
            }
            let (hours, found) = config::compile(&root, config);
            problems.extend(found);
            // One with something wrong is known all the same, so that those who name it are not told that it is not.
            let hours = hours.map(|hours| Arc::new(Calendar::new(&config.name, hours)));
            let calendar = hours.unwrap_or_else(|| calendars.always.clone());
            calendars.named.entry(config.name.as_str().into()).or_insert(calendar);
        }
        (calendars, problems)
    }

    /// The calendar that never closes.
    pub fn always(&self) -> &Arc<Calendar> {
        &self.always
    }

    /// The calendar of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Calendar>> {
        self.named.get(name)
    }

    /// What is wrong with a name, if anything.
    pub fn unknown(&self, name: &str) -> Option<String> {
        let known = || self.named.keys().map(|known| &**known);
        (!self.named.contains_key(name)).then(|| format!("unknown calendar \"{name}\"{}", hint(name, known())))
    }
}
