//! What a configuration says of a calendar, and everything that can be wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calendar::Hours;
use super::hours::week;
use crate::rules::muting::schedule::Zone;
use crate::rules::{Problem, check_name};

/// Holidays of one calendar, those of its file among them.
const HOLIDAYS_MAX: usize = 10_000;
/// Beyond it a file of holidays is refused: 10,000 lines with names of a hundred bytes.
pub const HOLIDAYS_FILE_BYTES_MAX: u64 = 1 << 20;
/// Years that a date in a configuration may have, as for other times.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2200;

/// When work is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CalendarConfig {
    /// Unique name; not `always`, which is the calendar that never closes.
    pub name: String,
    /// The time zone of `hours` and `holidays`, by its IANA name, such as `Europe/Berlin`, or `UTC`. Required.
    pub zone: String,
    /// Opening hours by day or range of days: `mon-fri: ['09:00-12:00', '13:00-17:30']`. Times on the clock of `zone`, up
    /// to `24:00`; at most 12 spans a day. Days that are not named are closed. At least one day is open.
    pub hours: BTreeMap<String, Vec<String>>,
    /// Days on which nobody works, such as `2026-12-25`. At most 10,000, those of the file among them. Default: none.
    #[serde(default)]
    pub holidays: Vec<String>,
    /// A file with more: a date in each line, and behind it a name at will; `#` begins a comment. Read again with every
    /// reload. At most 1 MiB. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holidays_file: Option<PathBuf>,
    /// What the file holds.
    #[serde(skip)]
    #[schemars(skip)]
    pub read: Option<Arc<Holidays>>,
}

/// Days on which nobody works, as a file lists them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holidays(Vec<Date>);

impl Holidays {
    /// Reads a date, and a name at will, in each line.
    ///
    /// # Errors
    /// The first line that is none, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut days = Vec::new();
        for (line, text) in (1..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
            let Some(first) = text.split('#').next().and_then(|text| text.split_whitespace().next()) else { continue };
            days.push(date(first).map_err(|wrong| format!("line {line}: {wrong}"))?);
        }
        Ok(Self(days))
    }
}

/// Reads a calendar's hours; none where something is wrong with them.
pub(super) fn compile(root: &str, config: &CalendarConfig) -> (Option<Hours>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut error = |field: &str, message: String| problems.push(Problem::error(format!("{root}.{field}"), message));
    if let Err(wrong) = check_name(&config.name) {
        error("name", wrong);
    }
    let zone = Zone::named(&config.zone).map_err(|wrong| error("zone", wrong)).ok();
    let holidays = holidays(config, &mut error);
    let (week, found) = week(&format!("{root}.hours"), &config.hours);
    problems.extend(found);
    let right = problems.is_empty();
    let hours = zone.map(|zone| Hours { zone, week, holidays });
    (hours.filter(|_| right), problems)
}

fn holidays(config: &CalendarConfig, error: &mut impl FnMut(&str, String)) -> Vec<Date> {
    let listed = config.read.as_ref().map_or(0, |read| read.0.len());
    let given = config.holidays.len() + listed;
    if given > HOLIDAYS_MAX {
        error("holidays", format!("a calendar has at most {HOLIDAYS_MAX} holidays, not {given}"));
        return Vec::new();
    }
    let mut days: Vec<Date> = config.read.iter().flat_map(|read| read.0.iter().copied()).collect();
    for (place, text) in config.holidays.iter().enumerate() {
        match date(text) {
            Ok(day) => days.push(day),
            Err(wrong) => error(&format!("holidays[{place}]"), wrong),
        }
    }
    days.sort_unstable();
    days.dedup();
    days
}

fn date(text: &str) -> Result<Date, String> {
    let digits = |at: &(usize, u8)| if matches!(at.0, 4 | 7) { at.1 == b'-' } else { at.1.is_ascii_digit() };
    let right = text.len() == 10 && text.bytes().enumerate().all(|at| digits(&at));
    let day = right.then(|| text.parse::<Date>().ok()).flatten();
    let day = day.ok_or_else(|| format!("a holiday is a date such as 2026-12-25, not \"{text}\""))?;
    if !YEARS.contains(&day.year()) {
        return Err(format!("a holiday is in the years {} to {}, not \"{text}\"", YEARS.start(), YEARS.end()));
    }
    Ok(day)
}
