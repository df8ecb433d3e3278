//! Instants as the engine counts them: whole microseconds since the Unix epoch, UTC.
//!
//! Owns parsing (RFC 3339) and printing. Reads no clock: `now` is always handed in. Every instant RFC 3339
//! can name (years 0000 to 9999) fits; arithmetic saturates instead of overflowing.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in microseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, schemars::JsonSchema)]
#[schemars(with = "String", inline, extend("format" = "date-time"))]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// Later than every instant that can be parsed.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The instant so many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The instant so many seconds and nanoseconds after the epoch, cut to microseconds.
    pub const fn from_parts(seconds: i64, nanos: i32) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND).saturating_add(nanos as i64 / 1_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The instant without what is below a second, for texts: a person needs no microseconds.
    pub const fn to_the_second(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(MICROS_PER_SECOND)))
    }

    /// Seconds since the epoch, with fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / MICROS_PER_SECOND as f64
    }

    /// This much later.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This much earlier.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time since `earlier`, zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// Reads what people say of an instant: RFC 3339, `now`, or how long before now, such as `-7d`.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse_or_before(text: &str, now: Timestamp) -> Result<Self, String> {
        let wrong = || {
            format!("a time such as 2026-01-31T18:00:00Z, or one before now such as -7d, is asked for, not \"{text}\"")
        };
        match (text.trim(), text.trim().strip_prefix('-')) {
            ("now", _) => Ok(now),
            (_, Some(before)) => super::duration::parse(before).map(|before| now.minus(before)),
            (text, None) => Self::parse_rfc3339(text.as_bytes()).ok_or_else(wrong),
        }
    }

    /// Reads an RFC 3339 date-time with an offset. A leap second (`:60`) becomes the last microsecond before it.
    ///
    /// Returns `None` for everything else: no zone, hour 24, 30 February, words.
    /// The days-from-civil step is Howard Hinnant's `days_from_civil` (public domain, "chrono-compatible
    /// low-level date algorithms").
    pub fn parse_rfc3339(text: &[u8]) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        if date[4] != b'-' || date[7] != b'-' {
            return None;
        }
        let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..])?);
        let (clock, rest) = rest.split_at_checked(9)?;
        if !matches!(clock[0], b'T' | b't' | b' ') || clock[3] != b':' || clock[6] != b':' {
            return None;
        }
        let (hour, minute, second) = (digits(&clock[1..3])?, digits(&clock[4..6])?, digits(&clock[7..])?);
        let (micros, rest) = fraction(rest)?;
        let offset_seconds = offset(rest)?;
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (second, micros) = if second == 60 { (59, 999_999) } else { (second, micros) };
        let days = days_from_civil(year, month, day);
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset_seconds;
        Some(Self(seconds * MICROS_PER_SECOND + micros))
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    let mut value = 0;
    for byte in text {
        value = value * 10 + i64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(value)
}

/// The microseconds of an optional `.digits`, and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let (written, rest) = rest.split_at(len);
    let padded = written.iter().copied().chain(std::iter::repeat(b'0')).take(6);
    let micros = padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
    Some((micros, rest))
}

fn offset(rest: &[u8]) -> Option<i64> {
    match rest {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 5 && zone[2] == b':' => {
            let (hours, minutes) = (digits(&zone[..2])?, digits(&zone[3..])?);
            let seconds = (hours <= 23 && minutes <= 59).then_some(hours * 3_600 + minutes * 60)?;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) if self.0 < 0 => f.write_str("0000-01-01T00:00:00Z"),
            Err(_) => f.write_str("9999-12-31T23:59:59Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(text.as_bytes())
            .ok_or_else(|| serde::de::Error::custom("RFC 3339 with a zone required, such as 2026-01-31T12:00:00Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<i64> {
        Timestamp::parse_rfc3339(text.as_bytes()).map(Timestamp::as_micros)
    }

    #[test]
    fn agrees_with_jiff_on_what_both_read() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-22T15:19:40.123456Z",
            "2024-02-29T23:59:59+14:00",
            "2003-08-06T09:52:50-07:30",
            "0001-01-01T00:00:00Z",
            "9998-12-30T23:59:59.5Z",
            "1969-12-31T23:59:59.999999Z",
        ] {
            let expected = text.parse::<jiff::Timestamp>().expect(text).as_microsecond();
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_rfc_3339_does_not_allow() {
        for text in [
            "yesterday",
            "",
            "2026-11-22",
            "2026-11-22T15:19:40",
            "2026-02-30T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T15:19:40.Z",
            "2026-11-22T15:19:40+0100",
            "2026-11-22T15:19:40Zjunk",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_instant_to_the_second_is_never_a_later_one() {
        for (text, cut) in [
            ("2026-11-22T15:19:40.999999Z", "2026-11-22T15:19:40Z"),
            ("2026-11-22T15:19:40Z", "2026-11-22T15:19:40Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z"),
        ] {
            let at = Timestamp::parse_rfc3339(text.as_bytes()).expect(text);
            assert_eq!(at.to_the_second().to_string(), cut);
        }
    }

    #[test]
    fn a_leap_second_is_the_last_microsecond_before_it() {
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2016-12-31T23:59:59.999999Z"));
    }
}
