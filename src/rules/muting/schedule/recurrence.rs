//! When something recurs on the wall clock: cron patterns and recurrence rules (RFC 5545).
//!
//! Both are evaluated on a clock that never changes; `wall_clock` says afterwards which instants are meant, by one rule
//! for both. Pure. A look-up begins near the time asked for, so its cost does not grow with the age of a rule, and looks
//! through 100,000 periods (cron: until the year 5000) at most: a rule that does not occur within them never does.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::SignedDuration;
use jiff::civil::{DateTime, Time, date};
use jiff::tz::TimeZone;
use rrule::{Frequency, RRule, RRuleSet, Tz, Unvalidated};

use super::wall_clock::{Given, read_time};
use crate::event::hint;

/// Bytes of a pattern or rule; a guess far above any seen.
const TEXT_BYTES_MAX: usize = 512;
/// Occurrences that `COUNT` may ask for. They are listed when the rule is read: 16 bytes each.
const COUNT_MAX: u32 = 1_000;
const PARTS: &[&str] = &[
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "BYSETPOS",
    "BYMONTH",
    "BYMONTHDAY",
    "BYYEARDAY",
    "BYWEEKNO",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "WKST",
];
const WEEKDAYS: &[&str] = &["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

/// When something begins, on the wall clock.
#[derive(Debug)]
pub(super) enum Recurrence {
    /// A cron pattern.
    Cron(Box<Cron>),
    /// A rule that goes on.
    Rule(Box<Rule>),
    /// A rule with `COUNT`.
    Listed(Box<[DateTime]>),
}

/// A recurrence rule without an end.
#[derive(Debug)]
pub(super) struct Rule {
    rule: RRule,
    frequency: Frequency,
    interval: i64,
    start: DateTime,
}

impl Recurrence {
    /// Reads a cron pattern of five fields.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn cron(text: &str) -> Result<Self, String> {
        check_text(text)?;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|wrong| {
            let wrong = wrong.to_string();
            let wrong = wrong.trim_end_matches('.');
            format!("\"{text}\" is no cron pattern of minute, hour, day of month, month, day of week: {wrong}")
        })?;
        Ok(Recurrence::Cron(Box::new(cron)))
    }

    /// Reads a recurrence rule that counts from `start`, and its `UNTIL`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn rule(text: &str, start: DateTime) -> Result<(Self, Option<Given>), String> {
        check_text(text)?;
        let upper = text.trim().to_ascii_uppercase();
        let parts = split(upper.strip_prefix("RRULE:").unwrap_or(&upper))?;
        let value = |name: &str| parts.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let frequency = frequency(value("FREQ"))?;
        check_days(frequency, value("BYDAY"), value("BYWEEKNO"))?;
        let interval = number("INTERVAL", value("INTERVAL").unwrap_or("1"), 10_000)?;
        check_phase(frequency, interval, &parts)?;
        let count = value("COUNT").map(|count| number("COUNT", count, COUNT_MAX)).transpose()?;
        let until = value("UNTIL").map(until).transpose()?;
        if count.is_some() && until.is_some() {
            return Err("a rule ends by COUNT or by UNTIL, not both".to_owned());
        }
        let kept = parts.iter().filter(|(key, _)| !matches!(*key, "COUNT" | "UNTIL"));
        let kept: Vec<String> = kept.map(|(key, value)| format!("{key}={value}")).collect();
        let wrong = |wrong: rrule::RRuleError| format!("\"{text}\" is no recurrence rule: {wrong}");
        let rule = kept.join(";").parse::<RRule<Unvalidated>>().map_err(wrong)?;
        // What the rule leaves out is filled in from the start here, so that it can begin anywhere later.
        let rule = rule.validate(to_chrono(start).ok_or("start is out of range")?).map_err(wrong)?;
        let rule = Recurrence::Rule(Box::new(Rule { rule, frequency, interval: interval.into(), start }));
        Ok(match count {
            Some(count) => (Recurrence::Listed(rule.from(start).take(count as usize).collect()), None),
            None => (rule, until),
        })
    }

    /// Every occurrence that is not before `from`, in order.
    pub(super) fn from(&self, from: DateTime) -> Box<dyn Iterator<Item = DateTime> + '_> {
        match self {
            Recurrence::Cron(cron) => Box::new(occurrences(cron, from).skip_while(move |at| *at < from)),
            Recurrence::Rule(rule) => Box::new(rule.from(from).skip_while(move |at| *at < from)),
            Recurrence::Listed(all) => Box::new(all[all.partition_point(|at| *at < from)..].iter().copied()),
        }
    }
}

fn occurrences(cron: &Cron, from: DateTime) -> impl Iterator<Item = DateTime> + '_ {
    let mut last = None;
    std::iter::from_fn(move || {
        let after = last.unwrap_or(from).to_zoned(TimeZone::UTC).ok()?;
        let found = cron.find_next_occurrence(&after, last.is_none()).ok()?.datetime();
        last = Some(found);
        last
    })
}

impl Rule {
    fn from(&self, from: DateTime) -> impl Iterator<Item = DateTime> + use<> {
        let begin = self.begin(from).unwrap_or(self.start);
        let start = self.start;
        let found = to_chrono(begin).map(|begin| RRuleSet::new(begin).rrule(self.rule.clone()).limit().into_iter());
        found.into_iter().flatten().map_while(|at| from_seconds(at.timestamp())).skip_while(move |at| *at < start)
    }

    /// Where to begin so that nothing from `from` on is missed: a whole number of intervals after the start, at least
    /// one before `from`. Months and years begin at their first day, which every month has.
    fn begin(&self, from: DateTime) -> Option<DateTime> {
        if from <= self.start {
            return None;
        }
        let months = |at: DateTime| i64::from(at.year()) * 12 + i64::from(at.month()) - 1;
        let intervals = |passed: i64| (passed / self.interval - 1) * self.interval;
        let seconds = from.duration_since(self.start).as_secs();
        let unit = match self.frequency {
            Frequency::Yearly | Frequency::Monthly => {
                let unit = if self.frequency == Frequency::Yearly { 12 } else { 1 };
                let steps = intervals((months(from) - months(self.start)) / unit);
                let first = months(self.start) + steps * unit;
                let month = if self.frequency == Frequency::Yearly { 0 } else { first.rem_euclid(12) };
                let year = i16::try_from(first.div_euclid(12)).ok()?;
                return (steps > 0).then(|| date(year, month as i8 + 1, 1).to_datetime(Time::midnight()));
            }
            Frequency::Weekly => 7 * 86_400,
            Frequency::Daily => 86_400,
            Frequency::Hourly => 3_600,
            Frequency::Minutely | Frequency::Secondly => 60,
        };
        let steps = intervals(seconds / unit);
        (steps > 0).then(|| self.start.checked_add(SignedDuration::from_secs(steps * unit)).ok()).flatten()
    }
}

fn to_chrono(at: DateTime) -> Option<chrono::DateTime<Tz>> {
    let seconds = at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(chrono::DateTime::from_timestamp(seconds, 0)?.with_timezone(&Tz::UTC))
}

fn from_seconds(seconds: i64) -> Option<DateTime> {
    Some(TimeZone::UTC.to_datetime(jiff::Timestamp::from_second(seconds).ok()?))
}

fn check_text(text: &str) -> Result<(), String> {
    match text {
        _ if text.len() > TEXT_BYTES_MAX => Err(format!("at most {TEXT_BYTES_MAX} characters")),
        _ if !text.is_ascii() => Err(format!("only ASCII, not \"{text}\"")),
        _ => Ok(()),
    }
}

fn split(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut parts: Vec<(&str, &str)> = Vec::new();
    for part in text.trim_end_matches(';').split(';') {
        let (key, value) = part.split_once('=').ok_or_else(|| {
            format!("a rule is made of parts such as FREQ=WEEKLY;BYDAY=SU, so it cannot have \"{part}\"")
        })?;
        match key {
            "BYSECOND" => return Err("a window begins on a whole minute, so BYSECOND is not possible".to_owned()),
            "DTSTART" => return Err("the start goes beside the rule, as `start`".to_owned()),
            _ if !PARTS.contains(&key) => {
                return Err(format!("unknown part \"{key}\" of the rule{}", hint(key, PARTS.iter().copied())));
            }
            _ if parts.iter().any(|(known, _)| *known == key) => return Err(format!("the rule has {key} twice")),
            _ => parts.push((key, value)),
        }
    }
    Ok(parts)
}

fn frequency(value: Option<&str>) -> Result<Frequency, String> {
    const KNOWN: [&str; 6] = ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"];
    match value {
        Some("YEARLY") => Ok(Frequency::Yearly),
        Some("MONTHLY") => Ok(Frequency::Monthly),
        Some("WEEKLY") => Ok(Frequency::Weekly),
        Some("DAILY") => Ok(Frequency::Daily),
        Some("HOURLY") => Ok(Frequency::Hourly),
        Some("MINUTELY") => Ok(Frequency::Minutely),
        Some("SECONDLY") => Err("windows are at least a minute apart, so FREQ=SECONDLY is not possible".to_owned()),
        Some(other) => Err(format!("FREQ is one of {}, not {other}{}", KNOWN.join(", "), hint(other, KNOWN))),
        None => Err("a rule needs a FREQ, such as FREQ=WEEKLY;BYDAY=SU".to_owned()),
    }
}

/// `BYDAY` counts weekdays within months and years only, and not beside `BYWEEKNO`.
fn check_days(frequency: Frequency, days: Option<&str>, weeks: Option<&str>) -> Result<(), String> {
    for day in days.into_iter().flat_map(|days| days.split(',')) {
        let (count, name) = day.split_at(day.len().saturating_sub(2));
        let digits = count.trim_start_matches(['+', '-']);
        let counts = digits.len() <= 2 && digits.bytes().all(|byte| byte.is_ascii_digit()) && count.len() <= 3;
        if !WEEKDAYS.contains(&name) || !counts || (!count.is_empty() && digits.parse().unwrap_or(0) == 0) {
            return Err(format!("BYDAY has days such as SU, 2SU (the second) or -1SU (the last), not \"{day}\""));
        }
        let countable = matches!(frequency, Frequency::Yearly | Frequency::Monthly) && weeks.is_none();
        if !count.is_empty() && !countable {
            return Err(format!(
                "\"{day}\" counts days of a month or a year: only with FREQ=MONTHLY or YEARLY, without BYWEEKNO"
            ));
        }
    }
    Ok(())
}

/// Within days the `rrule` crate (0.14) loses count of the intervals where it passes over hours or days that are left out.
fn check_phase(frequency: Frequency, interval: u32, parts: &[(&str, &str)]) -> Result<(), String> {
    let filtered = parts.iter().find(|(key, _)| key.starts_with("BY"));
    match filtered {
        Some((key, _)) if frequency > Frequency::Daily && interval > 1 => Err(format!(
            "INTERVAL above 1 and {key} do not go together below FREQ=DAILY; write FREQ=DAILY with BYHOUR and BYMINUTE"
        )),
        _ => Ok(()),
    }
}

fn number(name: &str, text: &str, max: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("{name} is 1 to {max}, not {text}"))
}

/// `20261231T220000Z`, `20261231T220000` on the wall clock, or `20261231`, which includes the whole day.
fn until(text: &str) -> Result<Given, String> {
    let wrong = || format!("UNTIL is written 20261231, 20261231T220000 or 20261231T220000Z, not {text}");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let (date, time) = digits.split_at_checked(8).ok_or_else(wrong)?;
    let (time, zone) = match (time, text.strip_prefix(&format!("{date}T{time}")).unwrap_or(text)) {
        ("", _) if text == date => ("235959", ""),
        (time, zone @ ("" | "Z")) if time.len() == 6 => (time, zone),
        _ => return Err(wrong()),
    };
    let (year, day) = date.split_at(4);
    let written = format!("{year}-{}-{}T{}:{}:{}{zone}", &day[..2], &day[2..], &time[..2], &time[2..4], &time[4..]);
    read_time(&written).map_err(|_| wrong())
}

/// The first of January 2026, from where patterns without a start are tried out when they are read.
pub(super) fn reference() -> DateTime {
    date(2026, 1, 1).to_datetime(Time::midnight())
}
