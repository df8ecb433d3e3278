//! Schedules on the nights on which clocks change, against tables and against a reading that walks minute by minute.

use proptest::prelude::*;

use super::recurrence::Recurrence;
use super::*;
use crate::rules::Problem;

fn compile(zone: Option<&str>, yaml: &str) -> (Option<Schedule>, Vec<Problem>) {
    let config: ScheduleConfig = serde_saphyr::from_str(yaml).expect(yaml);
    Schedule::compile("m", zone, &config)
}

fn schedule(zone: &str, yaml: &str) -> Schedule {
    let (schedule, problems) = compile(Some(zone), yaml);
    assert!(problems.iter().all(|problem| problem.warning), "{yaml}: {problems:?}");
    schedule.expect(yaml)
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text.as_bytes()).expect(text)
}

fn openings(schedule: &Schedule, now: &str, n: usize) -> Vec<String> {
    let shown = |opening: Opening| format!("{} {}", opening.from, opening.until);
    schedule.upcoming(at(now), n).into_iter().map(shown).collect()
}

#[test]
fn what_recurs_keeps_its_local_time_and_lasts_as_long_across_a_change_of_the_clock() {
    for (zone, yaml, now, expected) in [
        // Berlin goes forward at 2026-03-29T02:00 and back at 2026-10-25T03:00.
        (
            "Europe/Berlin",
            "{cron: '30 1 * * SUN', duration: 3h}",
            "2026-03-20T00:00:00Z",
            ["2026-03-22T00:30:00Z 2026-03-22T03:30:00Z", "2026-03-29T00:30:00Z 2026-03-29T03:30:00Z"],
        ),
        (
            "Europe/Berlin",
            "{cron: '30 2 * * *', duration: 1h}",
            "2026-03-28T12:00:00Z",
            ["2026-03-29T01:00:00Z 2026-03-29T02:00:00Z", "2026-03-30T00:30:00Z 2026-03-30T01:30:00Z"],
        ),
        (
            "Europe/Berlin",
            "{cron: '30 2 * * *', duration: 1h}",
            "2026-10-24T12:00:00Z",
            ["2026-10-25T00:30:00Z 2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z 2026-10-26T02:30:00Z"],
        ),
        (
            "Europe/Berlin",
            "{rrule: 'FREQ=MONTHLY;BYDAY=-1SU', start: 2026-01-25T02:30, duration: 1h}",
            "2026-10-01T00:00:00Z",
            ["2026-10-25T00:30:00Z 2026-10-25T01:30:00Z", "2026-11-29T01:30:00Z 2026-11-29T02:30:00Z"],
        ),
        // New York goes back at 2026-11-01T02:00.
        (
            "America/New_York",
            "{rrule: 'FREQ=WEEKLY;BYDAY=SU', start: 2026-01-04T01:30, duration: 2h}",
            "2026-10-26T00:00:00Z",
            ["2026-11-01T05:30:00Z 2026-11-01T07:30:00Z", "2026-11-08T06:30:00Z 2026-11-08T08:30:00Z"],
        ),
        // Lord Howe moves by half an hour: back at 2026-04-05T02:00, forward at 2026-10-04T02:00.
        (
            "Australia/Lord_Howe",
            "{cron: '45 1 * * *', duration: 30m}",
            "2026-04-04T00:00:00Z",
            ["2026-04-04T14:45:00Z 2026-04-04T15:15:00Z", "2026-04-05T15:15:00Z 2026-04-05T15:45:00Z"],
        ),
        (
            "Australia/Lord_Howe",
            "{cron: '15 2 * * *', duration: 30m}",
            "2026-10-03T00:00:00Z",
            ["2026-10-03T15:30:00Z 2026-10-03T16:00:00Z", "2026-10-04T15:15:00Z 2026-10-04T15:45:00Z"],
        ),
        (
            "Asia/Kolkata",
            "{cron: '30 2 * * *', duration: 1h}",
            "2026-10-24T12:00:00Z",
            ["2026-10-24T21:00:00Z 2026-10-24T22:00:00Z", "2026-10-25T21:00:00Z 2026-10-25T22:00:00Z"],
        ),
    ] {
        assert_eq!(openings(&schedule(zone, yaml), now, 2), expected, "{yaml} in {zone}");
    }
}

#[test]
fn calendars_have_leap_days_short_months_and_year_ends() {
    for (yaml, now, expected) in [
        (
            "{rrule: 'FREQ=YEARLY', start: 2024-02-29T12:00, duration: 1h}",
            "2026-01-01T00:00:00Z",
            ["2028-02-29T12:00:00Z 2028-02-29T13:00:00Z", "2032-02-29T12:00:00Z 2032-02-29T13:00:00Z"],
        ),
        (
            "{cron: '0 12 29 2 *', duration: 1h}",
            "2026-01-01T00:00:00Z",
            ["2028-02-29T12:00:00Z 2028-02-29T13:00:00Z", "2032-02-29T12:00:00Z 2032-02-29T13:00:00Z"],
        ),
        (
            "{rrule: 'FREQ=MONTHLY', start: 2026-01-31T23:00, duration: 2h}",
            "2026-02-01T12:00:00Z",
            ["2026-03-31T23:00:00Z 2026-04-01T01:00:00Z", "2026-05-31T23:00:00Z 2026-06-01T01:00:00Z"],
        ),
        (
            "{rrule: 'FREQ=MONTHLY;BYMONTHDAY=-1', start: 2026-01-31T23:00, duration: 2h}",
            "2026-02-01T12:00:00Z",
            ["2026-02-28T23:00:00Z 2026-03-01T01:00:00Z", "2026-03-31T23:00:00Z 2026-04-01T01:00:00Z"],
        ),
        (
            "{cron: '0 23 L * *', duration: 2h}",
            "2026-12-01T00:00:00Z",
            ["2026-12-31T23:00:00Z 2027-01-01T01:00:00Z", "2027-01-31T23:00:00Z 2027-02-01T01:00:00Z"],
        ),
        (
            "{rrule: 'FREQ=WEEKLY;INTERVAL=2;BYDAY=TH', start: 2026-12-03T22:00, duration: 4h}",
            "2026-12-30T00:00:00Z",
            ["2026-12-31T22:00:00Z 2027-01-01T02:00:00Z", "2027-01-14T22:00:00Z 2027-01-15T02:00:00Z"],
        ),
        (
            "{rrule: 'FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1', start: 2026-01-01T20:00, duration: 1h}",
            "2026-12-01T00:00:00Z",
            ["2026-12-31T20:00:00Z 2026-12-31T21:00:00Z", "2027-01-29T20:00:00Z 2027-01-29T21:00:00Z"],
        ),
        // A rule that is sixty years old costs no more than a new one.
        (
            "{rrule: 'FREQ=MINUTELY;INTERVAL=90', start: 1970-01-01T00:00, duration: 1m}",
            "2030-01-01T00:00:00Z",
            ["2030-01-01T01:30:00Z 2030-01-01T01:31:00Z", "2030-01-01T03:00:00Z 2030-01-01T03:01:00Z"],
        ),
    ] {
        assert_eq!(openings(&schedule("UTC", yaml), now, 2), expected, "{yaml}");
    }
}

#[test]
fn a_rule_ends_with_its_count_or_its_until() {
    for (yaml, expected) in [
        (
            "{rrule: 'FREQ=DAILY;COUNT=2', start: 2026-03-28T12:00, duration: 1h}",
            &["2026-03-28T11:00:00Z 2026-03-28T12:00:00Z", "2026-03-29T10:00:00Z 2026-03-29T11:00:00Z"][..],
        ),
        (
            "{rrule: 'FREQ=DAILY;UNTIL=20260329T100000Z', start: 2026-03-28T12:00, duration: 1h}",
            &["2026-03-28T11:00:00Z 2026-03-28T12:00:00Z", "2026-03-29T10:00:00Z 2026-03-29T11:00:00Z"],
        ),
        (
            "{rrule: 'FREQ=DAILY;UNTIL=20260329T115959', start: 2026-03-28T12:00, duration: 1h}",
            &["2026-03-28T11:00:00Z 2026-03-28T12:00:00Z"],
        ),
        (
            "{rrule: 'FREQ=DAILY;UNTIL=20260328', start: 2026-03-28T12:00, duration: 1h}",
            &["2026-03-28T11:00:00Z 2026-03-28T12:00:00Z"],
        ),
    ] {
        let schedule = schedule("Europe/Berlin", yaml);
        assert_eq!(openings(&schedule, "2026-03-01T00:00:00Z", 9), expected, "{yaml}");
        assert_eq!(schedule.at(at("2026-03-29T11:00:00Z")), State::default(), "{yaml}");
        assert_eq!(schedule.at(at("9999-12-30T00:00:00Z")), State::default(), "{yaml}");
    }
}

#[test]
fn one_time_is_open_from_its_beginning_until_just_before_its_end() {
    for (zone, yaml) in [
        (Some("Europe/Berlin"), "{once: {from: 2026-12-01T22:00, until: 2026-12-02T02:00}}"),
        (None, "{once: {from: 2026-12-01T21:00Z, until: 2026-12-02T02:00+01:00}}"),
    ] {
        let (schedule, problems) = compile(zone, yaml);
        assert_eq!(problems, []);
        let schedule = schedule.expect(yaml);
        for (now, open, next) in [
            ("2026-12-01T20:59:59.999999Z", false, Some("2026-12-01T21:00:00Z")),
            ("2026-12-01T21:00:00Z", true, Some("2026-12-02T01:00:00Z")),
            ("2026-12-02T00:59:59.999999Z", true, Some("2026-12-02T01:00:00Z")),
            ("2026-12-02T01:00:00Z", false, None),
        ] {
            assert_eq!(schedule.at(at(now)), State { open, next_change: next.map(at) }, "{now}");
        }
    }
}

#[test]
fn the_end_of_one_time_is_by_the_wall_clock() {
    let night = schedule("Europe/Berlin", "{once: {from: 2026-03-28T22:00, until: 2026-03-29T06:00}}");
    assert_eq!(openings(&night, "2026-03-01T00:00:00Z", 2), ["2026-03-28T21:00:00Z 2026-03-29T04:00:00Z"]);
    let long_night = schedule("Europe/Berlin", "{once: {from: 2026-10-24T22:00, until: 2026-10-25T06:00}}");
    assert_eq!(openings(&long_night, "2026-10-01T00:00:00Z", 2), ["2026-10-24T20:00:00Z 2026-10-25T05:00:00Z"]);
}

#[test]
fn occurrences_that_overlap_or_touch_are_one_opening() {
    let touching = schedule("UTC", "{cron: '0 1-3 * * *', duration: 1h}");
    assert_eq!(openings(&touching, "2026-01-01T00:00:00Z", 1), ["2026-01-01T01:00:00Z 2026-01-01T04:00:00Z"]);
    let overlapping = schedule("UTC", "{cron: '0,30 1 * * *', duration: 45m}");
    assert_eq!(openings(&overlapping, "2026-01-01T00:00:00Z", 1), ["2026-01-01T01:00:00Z 2026-01-01T02:15:00Z"]);
    assert_eq!(
        overlapping.at(at("2026-01-01T01:10:00Z")),
        State { open: true, next_change: Some(at("2026-01-01T02:15:00Z")) }
    );
    let always = schedule("UTC", "{cron: '* * * * *', duration: 2m}");
    let state = always.at(at("2026-01-01T00:00:30Z"));
    assert_eq!(state, State { open: true, next_change: Some(at("2026-01-01T01:06:00Z")) }, "a look joins 64");
}

#[test]
fn everything_that_can_be_wrong_is_said_at_its_place() {
    let zone = Some("Europe/Berlin");
    for (zone, yaml, expected) in [
        (zone, "{}", "m.schedule: exactly one of once, rrule and cron says when, not none"),
        (
            zone,
            "{cron: '0 2 * * *', rrule: 'FREQ=DAILY', duration: 1h}",
            "m.schedule: exactly one of once, rrule and cron says when, not several",
        ),
        (zone, "{cron: '0 2 * * *'}", "m.schedule: what recurs needs a `duration`, such as 3h"),
        (zone, "{cron: '0 2 * * *', duration: 59s}", "m.schedule.duration: a window is open for 1m to 7d, not 59s"),
        (zone, "{cron: '0 2 * * *', duration: 7d1m}", "m.schedule.duration: a window is open for 1m to 7d, not 7d1m"),
        (
            zone,
            "{cron: '0 2 * * *', duration: 1h, start: 2026-01-01T02:00}",
            "m.schedule.start: start goes with rrule only",
        ),
        (
            None,
            "{cron: '0 2 * * *', duration: 1h}",
            "m.schedule.cron: a cron pattern is in local time: say in which `zone`, such as Europe/Berlin or UTC",
        ),
        (zone, "{cron: '0 0 30 2 *', duration: 1h}", "m.schedule.cron: never occurs"),
        (zone, "{cron: '0 2 * * * *', duration: 1h}", "m.schedule.cron: \"0 2 * * * *\" is no cron pattern of"),
        (zone, "{cron: '61 2 * * *', duration: 1h}", "m.schedule.cron: \"61 2 * * *\" is no cron pattern of"),
        (zone, "{cron: '@reboot', duration: 1h}", "m.schedule.cron: \"@reboot\" is no cron pattern of"),
        (zone, "{rrule: 'FREQ=DAILY', duration: 1h}", "m.schedule: rrule needs `start`"),
        (
            zone,
            "{rrule: 'FREQ=DAILY', start: 2026-01-01T02:00Z, duration: 1h}",
            "m.schedule.start: the start of what recurs is a local time in `zone`, without an offset",
        ),
        (
            zone,
            "{once: {from: 2026-01-01T02:00, until: 2026-01-01T02:00}}",
            "m.schedule.once.until: the end (2026-01-01T01:00:00Z) is not after the beginning (2026-01-01T01:00:00Z)",
        ),
        (
            zone,
            "{once: {from: 2026-01-01T02:00, until: 2026-01-09T02:00}}",
            "m.schedule.once.until: a window is open for 1m to 7d, not 8d",
        ),
        (
            None,
            "{once: {from: 2026-01-01T02:00, until: 2026-01-01T03:00Z}}",
            "m.schedule.once.from: a time without an offset is in local time",
        ),
        (
            Some("EST"),
            "{}",
            "m.zone: \"EST\" is an abbreviation, which says neither where nor whether the clock changes",
        ),
    ] {
        let (schedule, problems) = compile(zone, yaml);
        let shown: Vec<String> = problems.iter().map(|wrong| format!("{}: {}", wrong.path, wrong.message)).collect();
        assert!(shown.len() == 1 && shown[0].starts_with(expected), "{yaml}: {shown:?}");
        assert!(schedule.is_none() && !problems[0].warning, "{yaml}");
    }
}

#[test]
fn a_rule_that_is_hostile_or_not_rfc_5545_is_refused() {
    for (rule, expected) in [
        ("", "a rule is made of parts such as FREQ=WEEKLY;BYDAY=SU"),
        ("FREQ=SECONDLY", "windows are at least a minute apart, so FREQ=SECONDLY is not possible"),
        ("FREQ=DAILY;BYSECOND=0,1,2", "a window begins on a whole minute, so BYSECOND is not possible"),
        ("FREQ=WEEKLEY", "FREQ is one of YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY, not WEEKLEY, did you mean"),
        ("INTERVAL=2", "a rule needs a FREQ"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL is 1 to 10000, not 0"),
        ("FREQ=DAILY;COUNT=1000000", "COUNT is 1 to 1000, not 1000000"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "a rule ends by COUNT or by UNTIL, not both"),
        ("FREQ=DAILY;UNTIL=2027", "UNTIL is written 20261231, 20261231T220000 or 20261231T220000Z, not 2027"),
        ("FREQ=DAILY;UNTIL=20250101", "never occurs"),
        ("FREQ=DAILY;BYHOURS=2", "unknown part \"BYHOURS\" of the rule, did you mean \"BYHOUR\"?"),
        ("FREQ=DAILY;FREQ=DAILY", "the rule has FREQ twice"),
        ("DTSTART=20260101T000000Z;FREQ=DAILY", "the start goes beside the rule, as `start`"),
        ("FREQ=WEEKLY;BYDAY=2SU", "\"2SU\" counts days of a month or a year"),
        ("FREQ=MONTHLY;BYDAY=SUN", "BYDAY has days such as SU, 2SU (the second) or -1SU (the last), not \"SUN\""),
        ("FREQ=MONTHLY;BYDAY=xxSU", "BYDAY has days such as SU"),
        ("FREQ=MONTHLY;BYDAY=0SU", "BYDAY has days such as SU"),
        ("FREQ=MONTHLY;BYDAY=ü", "only ASCII"),
        ("FREQ=WEEKLY;BYMONTHDAY=3", "is no recurrence rule: "),
        ("FREQ=DAILY;BYHOUR=25", "is no recurrence rule: "),
        ("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30", "never occurs"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "never occurs"),
        ("FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30", "never occurs"),
        ("FREQ=HOURLY;INTERVAL=7;BYDAY=SU", "INTERVAL above 1 and BYDAY do not go together below FREQ=DAILY"),
        ("FREQ=YEARLY;BYWEEKNO=53;BYYEARDAY=100", "never occurs"),
        (&"FREQ=DAILY;".repeat(100), "at most 512 characters"),
    ] {
        let yaml = format!("{{rrule: '{rule}', start: 2026-01-01T02:00, duration: 1h}}");
        let (_, problems) = compile(Some("Europe/Berlin"), &yaml);
        let shown: Vec<&str> = problems.iter().map(|wrong| wrong.message.as_str()).collect();
        assert!(shown.len() == 1 && shown[0].contains(expected), "{rule}: {shown:?}");
        assert_eq!((problems[0].path.as_str(), problems[0].warning), ("m.schedule.rrule", false), "{rule}");
    }
}

#[test]
fn what_is_only_unwise_is_a_warning() {
    for (yaml, path, message) in [
        (
            "{once: {from: 2026-03-29T02:30, until: 2026-03-29T05:00}}",
            "m.schedule.once.from",
            "02:30 on 2026-03-29 does not exist in Europe/Berlin, where the clock goes forward: 03:00 is meant \
             (2026-03-29T01:00:00Z)",
        ),
        (
            "{rrule: 'FREQ=MONTHLY;BYDAY=2SU', start: 2026-01-10T02:00, duration: 3h}",
            "m.schedule.start",
            "Sat 2026-01-10 02:00 is no occurrence of the rule; the first is Sun 2026-01-11 02:00",
        ),
        (
            "{cron: '*/10 * * * *', duration: 10m}",
            "m.schedule.duration",
            "never closes: 64 occurrences follow without a gap",
        ),
    ] {
        let (schedule, problems) = compile(Some("Europe/Berlin"), yaml);
        assert_eq!(problems, [Problem::warning(path, message)], "{yaml}");
        assert!(schedule.is_some());
    }
}

#[test]
fn openings_that_a_clock_change_moves_are_told_within_a_year() {
    let now = at("2026-01-01T00:00:00Z");
    let daily = schedule("Europe/Berlin", "{cron: '30 2 * * *', duration: 1h}");
    let said = daily.twists(now);
    assert!(said[0].starts_with("02:30 on 2026-03-29 does not exist in Europe/Berlin"), "{said:?}");
    assert!(said[1].starts_with("02:30 on 2026-10-25 comes twice in Europe/Berlin"), "{said:?}");
    assert_eq!(said.len(), 2);
    assert_eq!(schedule("Europe/Berlin", "{cron: '30 3 * * *', duration: 1h}").twists(now), [""; 0]);
    assert_eq!(schedule("UTC", "{cron: '30 2 * * *', duration: 1h}").twists(now), [""; 0]);
    assert_eq!(daily.show(at("2026-03-29T01:00:00Z")), "Sun 2026-03-29 03:00 CEST");
}

/// The instant at which a wall clock first shows a time or, where it skips it, a later one: found by walking.
fn walked(zone: &Zone, wall: DateTime) -> Timestamp {
    let naive = Zone::UTC.instant(wall).expect("in range");
    let minutes = (0..).map(|minute| naive.minus(DAY).plus(Duration::from_secs(minute * 60)));
    let mut shown = minutes.map(|at| (at, zone.wall(at).expect("in range")));
    shown.find(|(_, shown)| *shown >= wall).expect("a later time").0
}

const DAY: Duration = Duration::from_secs(86_400);
const NIGHTS: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Asia/Kolkata", "2026-02-28T18:30:00Z"),
    ("UTC", "2028-02-29T00:00:00Z"),
    ("Pacific/Auckland", "2026-12-31T11:00:00Z"),
];

/// Minute (of a quarter of an hour), hours, days of the week from Sunday.
type Pattern = (u8, std::collections::BTreeSet<i8>, std::collections::BTreeSet<i8>);

fn pattern() -> impl Strategy<Value = Pattern> {
    let hours = proptest::collection::btree_set(0_i8..5, 1..4);
    let days = proptest::collection::btree_set(0_i8..7, 1..8);
    ((0_u8..4), hours, days)
}

fn list(numbers: &std::collections::BTreeSet<i8>, name: impl Fn(i8) -> String) -> String {
    numbers.iter().map(|number| name(*number)).collect::<Vec<_>>().join(",")
}

/// All openings around an instant, by looking at every quarter of an hour of three weeks.
fn expected(zone: &Zone, (minute, hours, days): &Pattern, duration: Duration, around: Timestamp) -> Vec<Opening> {
    let first = zone.wall(around.minus(10 * DAY)).expect("in range").date().to_datetime(jiff::civil::Time::midnight());
    let mut openings: Vec<Opening> = Vec::new();
    for quarter in 0..20 * 96_i64 {
        let wall = first.saturating_add(jiff::SignedDuration::from_mins(quarter * 15));
        let day = wall.weekday().to_sunday_zero_offset();
        if wall.minute() != *minute as i8 * 15 || !hours.contains(&wall.hour()) || !days.contains(&day) {
            continue;
        }
        let from = walked(zone, wall);
        match openings.last_mut() {
            Some(last) if from <= last.until => last.until = last.until.max(from.plus(duration)),
            _ => openings.push(Opening { from, until: from.plus(duration) }),
        }
    }
    openings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cron patterns and weekly rules alike.
    #[test]
    fn it_is_open_when_walking_minute_by_minute_says_so(
        night in proptest::sample::select(NIGHTS),
        pattern in pattern(),
        minutes in 1_u64..2_000,
        by_rule in any::<bool>(),
        offsets in proptest::collection::vec(-4_320_i64..4_320, 1..12),
    ) {
        let (zone_name, night) = night;
        let night = at(night);
        let zone = Zone::named(zone_name).expect(zone_name);
        let (minute, hours, days) = &pattern;
        let minute = minute * 15;
        let names = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];
        let yaml = if by_rule {
            let days = list(days, |day| names[day as usize].to_owned());
            let hours = list(hours, |hour| hour.to_string());
            format!("{{rrule: 'FREQ=WEEKLY;BYDAY={days};BYHOUR={hours};BYMINUTE={minute}', start: 2024-01-03T00:00, duration: {minutes}m}}")
        } else {
            let (days, hours) = (list(days, |day| day.to_string()), list(hours, |hour| hour.to_string()));
            format!("{{cron: '{minute} {hours} * * {days}', duration: {minutes}m}}")
        };
        let schedule = schedule(zone_name, &yaml);
        let openings = expected(&zone, &pattern, Duration::from_secs(minutes * 60), night);
        for offset in offsets {
            let now = Timestamp::from_micros(night.as_micros() + offset * 60_000_000);
            let around = openings.iter().find(|opening| opening.from <= now && now < opening.until);
            let next = openings.iter().find(|opening| opening.from > now).map(|opening| opening.from);
            let state = schedule.at(now);
            prop_assert_eq!(state.open, around.is_some(), "{} in {} at {}", &yaml, zone_name, now);
            let until = state.next_change.expect("it goes on");
            match around {
                // A look joins 64 occurrences: a longer chain is asked about again before its end.
                Some(opening) if Some(opening) == openings.last() => prop_assert!(until > now),
                Some(opening) => prop_assert!(until > now && until <= opening.until, "{} at {}", &yaml, now),
                None => prop_assert_eq!(Some(until), next, "{} at {}", &yaml, now),
            }
            if let Some(opening) = around.filter(|opening| opening.until.since(opening.from) < 3 * DAY) {
                prop_assert_eq!(until, opening.until, "{} at {}", &yaml, now);
            }
        }
    }

    /// A look that begins near the time asked for sees what one from the beginning sees.
    #[test]
    fn a_rule_is_the_same_wherever_a_look_begins(
        frequency in proptest::sample::select(&["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"][..]),
        interval in 1_u32..40,
        parts in proptest::sample::subsequence(vec![
            "BYMONTH=1,2,6,12", "BYMONTHDAY=1,15,-1,31", "BYDAY=MO,SU", "BYHOUR=0,2,23", "BYMINUTE=0,30", "WKST=SU",
            "BYWEEKNO=1,20,53", "BYYEARDAY=1,100,-1", "BYSETPOS=-1,1",
        ], 0..4),
        start in 0_i64..1_000_000,
        later in 0_i64..3_000_000,
    ) {
        let rule = format!("FREQ={frequency};INTERVAL={interval};{}", parts.join(";"));
        let epoch = jiff::civil::date(2024, 1, 1).to_datetime(jiff::civil::Time::midnight());
        let start = epoch.saturating_add(jiff::SignedDuration::from_mins(start));
        let factor = if frequency == "MINUTELY" { 50 } else { 1 };
        let from = start.saturating_add(jiff::SignedDuration::from_mins(later / factor));
        let Ok((rule, _)) = Recurrence::rule(&rule, start) else { return Ok(()) };
        let near: Vec<DateTime> = rule.from(from).take(3).collect();
        let far: Vec<DateTime> = rule.from(start).skip_while(|at| *at < from).take(3).collect();
        prop_assert_eq!(near, far);
    }

    #[test]
    fn no_text_makes_it_panic_or_run_for_long(
        head in proptest::sample::select(&["FREQ=YEARLY", "FREQ=MONTHLY", "FREQ=DAILY", "FREQ=MINUTELY", ""][..]),
        rest in "(;(BYDAY|BYMONTH|BYMONTHDAY|BYYEARDAY|BYWEEKNO|BYSETPOS|INTERVAL|UNTIL|BYHOUR)=[+-]?[0-9]{1,4}(SU|MO|,-?1)?){0,3}",
        cron in "[0-9*/,L#WSUN -]{0,16}",
        fields in proptest::collection::vec("[*]|[0-9]{1,2}(-[0-9]{1,2})?|[*]/[0-9]{1,2}|L|5#5|15W", 5),
    ) {
        let start = super::recurrence::reference();
        if let Ok((rule, _)) = Recurrence::rule(&format!("{head}{rest}"), start) {
            prop_assert!(rule.from(start).take(3).count() <= 3);
        }
        for pattern in [cron, fields.join(" ")] {
            if let Ok(cron) = Recurrence::cron(&pattern) {
                prop_assert!(cron.from(start).take(3).count() <= 3);
            }
        }
    }
}
