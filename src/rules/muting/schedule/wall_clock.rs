//! Wall clocks: time zones by name, local times, and the instants that they mean where the clock changes.
//!
//! Zones come from the database compiled into the program, never from a file of the machine, so that every machine
//! opens a window at the same instant. Pure. A local time that a change of the clock skips means the first instant after
//! the change; one that comes twice means the first time.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::event::Timestamp;

/// Years that a time in a configuration may have; a guess far beyond what anybody plans.
const YEARS: std::ops::RangeInclusive<i16> = 1970..=2200;

/// Abbreviations that people write for a zone, and a place whose clock they may mean.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("EST5EDT", "America/New_York"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("CST6CDT", "America/Chicago"),
    ("MST", "America/Denver"),
    ("MDT", "America/Denver"),
    ("MST7MDT", "America/Denver"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("PST8PDT", "America/Los_Angeles"),
    ("HST", "Pacific/Honolulu"),
    ("GMT", "UTC\" or \"Europe/London"),
    ("BST", "Europe/London"),
    ("WET", "Europe/Lisbon"),
    ("CET", "Europe/Berlin"),
    ("CEST", "Europe/Berlin"),
    ("MET", "Europe/Berlin"),
    ("EET", "Europe/Athens"),
    ("EEST", "Europe/Athens"),
    ("MSK", "Europe/Moscow"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("AEST", "Australia/Sydney"),
    ("AEDT", "Australia/Sydney"),
    ("NZST", "Pacific/Auckland"),
];

/// A place's clock.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rules) struct Zone(TimeZone);

/// A time as a configuration gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Given {
    /// On the wall clock of the zone.
    Local(DateTime),
    /// With an offset.
    Instant(Timestamp),
}

impl Zone {
    /// UTC.
    pub(super) const UTC: Zone = Zone(TimeZone::UTC);

    /// The zone of that name.
    ///
    /// # Errors
    /// What is wrong with the name, and which one may be meant.
    pub(in crate::rules) fn named(name: &str) -> Result<Self, String> {
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self::UTC);
        }
        if let Some((_, place)) = ABBREVIATIONS.iter().find(|(short, _)| name.eq_ignore_ascii_case(short)) {
            let what = "is an abbreviation, which says neither where nor whether the clock changes";
            return Err(format!("\"{name}\" {what}; name a place, such as \"{place}\""));
        }
        let database = TimeZoneDatabase::bundled();
        match database.get(name) {
            Ok(zone) if name.contains('/') => Ok(Self(zone)),
            _ => {
                let known: Vec<_> = database.available().map(|known| known.to_string()).collect();
                let places = || known.iter().map(String::as_str).filter(|known| known.contains('/'));
                let city = |known: &&str| known.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(name));
                let hint = places().find(city).map(|near| format!(", did you mean \"{near}\"?"));
                let hint = hint.unwrap_or_else(|| crate::event::hint(name, places()));
                Err(format!("unknown time zone \"{name}\": an IANA name such as Europe/Berlin, or UTC{hint}"))
            }
        }
    }

    /// The name, as the database spells it.
    pub(super) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The instant that a local time means.
    pub(in crate::rules) fn instant(&self, wall: DateTime) -> Option<Timestamp> {
        let found = self.0.to_ambiguous_timestamp(wall);
        let at = match found.offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok()?,
            AmbiguousOffset::Gap { before, .. } => {
                // By the clock as it was this is at or after the change: the last change until then is the one.
                let after = before.to_timestamp(wall).ok()?.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
                self.0.preceding(after).next()?.timestamp()
            }
        };
        Some(Timestamp::from_micros(at.as_microsecond()))
    }

    /// What the wall clock shows.
    pub(in crate::rules) fn wall(&self, at: Timestamp) -> Option<DateTime> {
        Some(self.0.to_datetime(jiff::Timestamp::from_microsecond(at.as_micros()).ok()?))
    }

    /// What is special about a local time: skipped, or there twice.
    pub(super) fn twist(&self, wall: DateTime) -> Option<String> {
        let at = self.instant(wall)?;
        let shown = wall.strftime("%H:%M on %Y-%m-%d");
        let name = self.name();
        match self.0.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { .. } => None,
            AmbiguousOffset::Gap { .. } => Some(format!(
                "{shown} does not exist in {name}, where the clock goes forward: {} is meant ({at})",
                self.wall(at)?.strftime("%H:%M"),
            )),
            AmbiguousOffset::Fold { .. } => {
                Some(format!("{shown} comes twice in {name}, where the clock goes back: the first is meant ({at})"))
            }
        }
    }

    /// An instant for people, such as `Sun 2026-03-29 03:00 CEST`.
    pub(super) fn show(&self, at: Timestamp) -> String {
        jiff::Timestamp::from_microsecond(at.as_micros()).map_or_else(
            |_| at.to_string(),
            |instant| instant.to_zoned(self.0.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string(),
        )
    }
}

/// Reads `2026-12-01T22:00`, with seconds or without, and `Z` or an offset where it is no local time.
///
/// # Errors
/// How a time is written.
pub(super) fn read_time(text: &str) -> Result<Given, String> {
    let wrong = || {
        format!(
            "a time is written 2026-12-01T22:00, or 2026-12-01T22:00Z or with an offset such as +01:00, not \"{text}\""
        )
    };
    let (date, clock) = text.trim().split_once(['T', 't', ' ']).ok_or_else(wrong)?;
    let (clock, offset) = clock.split_at(clock.find(['Z', 'z', '+', '-']).unwrap_or(clock.len()));
    let seconds = match clock.len() {
        5 => ":00",
        8 => "",
        _ => return Err(wrong()),
    };
    let offset_or_utc = if offset.is_empty() { "Z" } else { offset };
    let whole = format!("{date}T{clock}{seconds}{offset_or_utc}");
    let instant = Timestamp::parse_rfc3339(whole.as_bytes()).ok_or_else(wrong)?;
    let local = Zone::UTC.wall(instant).ok_or_else(wrong)?;
    if !YEARS.contains(&local.year()) {
        return Err(format!("a time is in the years {} to {}, not \"{text}\"", YEARS.start(), YEARS.end()));
    }
    Ok(if offset.is_empty() { Given::Local(local) } else { Given::Instant(instant) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(zone: &str, local: &str) -> String {
        let zone = Zone::named(zone).expect(zone);
        let Ok(Given::Local(wall)) = read_time(local) else { panic!("{local}") };
        zone.instant(wall).expect(local).to_string()
    }

    #[test]
    fn a_local_time_that_is_skipped_means_the_first_instant_after_the_change() {
        for (zone, local, expected) in [
            ("Europe/Berlin", "2026-03-29T01:59", "2026-03-29T00:59:00Z"),
            ("Europe/Berlin", "2026-03-29T02:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T02:59:59", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T03:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T03:30", "2026-03-29T01:30:00Z"),
            ("America/New_York", "2026-03-08T02:15", "2026-03-08T07:00:00Z"),
            // Half an hour, and a day that never was.
            ("Australia/Lord_Howe", "2026-10-04T02:10", "2026-10-03T15:30:00Z"),
            ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(instant(zone, local), expected, "{local} in {zone}");
        }
    }

    #[test]
    fn a_local_time_that_comes_twice_means_the_first() {
        for (zone, local, expected) in [
            ("Europe/Berlin", "2026-10-25T01:59", "2026-10-24T23:59:00Z"),
            ("Europe/Berlin", "2026-10-25T02:00", "2026-10-25T00:00:00Z"),
            ("Europe/Berlin", "2026-10-25T02:59", "2026-10-25T00:59:00Z"),
            ("Europe/Berlin", "2026-10-25T03:00", "2026-10-25T02:00:00Z"),
            ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30:00Z"),
            ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45:00Z"),
            ("Asia/Kolkata", "2026-10-25T02:30", "2026-10-24T21:00:00Z"),
            ("UTC", "2026-10-25T02:30", "2026-10-25T02:30:00Z"),
        ] {
            assert_eq!(instant(zone, local), expected, "{local} in {zone}");
        }
    }

    #[test]
    fn a_zone_that_is_not_known_or_not_clear_is_refused_with_the_one_that_may_be_meant() {
        for (name, message) in [
            (
                "Europe/Berln",
                "unknown time zone \"Europe/Berln\": an IANA name such as Europe/Berlin, or UTC, did you mean \"Europe/Berlin\"?",
            ),
            ("berlin", "did you mean \"Europe/Berlin\"?"),
            ("New_York", "did you mean \"America/New_York\"?"),
            ("America/New York", "did you mean \"America/New_York\"?"),
            ("EST", "name a place, such as \"America/New_York\""),
            ("cet", "name a place, such as \"Europe/Berlin\""),
            ("GMT", "name a place, such as \"UTC\" or \"Europe/London\""),
            ("Japan", "unknown time zone \"Japan\": an IANA name such as Europe/Berlin, or UTC"),
            ("", "unknown time zone \"\""),
            ("../../etc/passwd", "unknown time zone"),
        ] {
            let wrong = Zone::named(name).expect_err(name);
            assert!(wrong.contains(message), "{name}: {wrong}");
        }
        assert_eq!(Zone::named("europe/berlin").expect("any case").name(), "Europe/Berlin");
        assert_eq!(Zone::named("UTC").expect("UTC").name(), "UTC");
    }

    #[test]
    fn a_time_has_minutes_and_at_will_seconds_and_an_offset() {
        let local = |text: &str| Given::Local(text.parse().expect(text));
        let instant = |seconds| Given::Instant(Timestamp::from_parts(seconds, 0));
        assert_eq!(read_time("2026-12-01T22:00"), Ok(local("2026-12-01T22:00:00")));
        assert_eq!(read_time("2026-12-01 22:00:30"), Ok(local("2026-12-01T22:00:30")));
        assert_eq!(read_time("2027-01-15T08:00Z"), Ok(instant(1_800_000_000)));
        assert_eq!(read_time("2027-01-15T09:00:00+01:00"), Ok(instant(1_800_000_000)));
        assert_eq!(read_time("2027-01-15T03:00-05:00"), Ok(instant(1_800_000_000)));
        for text in [
            "",
            "2026-12-01",
            "22:00",
            "2026-12-01T22",
            "2026-02-30T22:00",
            "2026-12-01T24:00",
            "tomorrow",
            "2026-12-01T22:00 CET",
            "2026-12-01T22:00+1",
            "2026-12-01T2:00",
            "1969-12-31T22:00",
            "9999-12-31T22:00",
        ] {
            assert!(read_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_special_about_a_time_is_said() {
        let zone = Zone::named("Europe/Berlin").expect("a zone");
        let twist = |local: &str| zone.twist(local.parse().expect(local)).unwrap_or_default();
        assert_eq!(
            twist("2026-03-29T02:30"),
            "02:30 on 2026-03-29 does not exist in Europe/Berlin, where the clock goes forward: 03:00 is meant \
             (2026-03-29T01:00:00Z)"
        );
        assert_eq!(
            twist("2026-10-25T02:30"),
            "02:30 on 2026-10-25 comes twice in Europe/Berlin, where the clock goes back: the first is meant \
             (2026-10-25T00:30:00Z)"
        );
        assert_eq!(twist("2026-10-26T02:30"), "");
    }
}
