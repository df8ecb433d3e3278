//! Working time against the clock on the wall, and what is said of what is wrong.

use std::time::Duration;

use jiff::civil::DateTime;
use proptest::prelude::*;

use super::*;
use crate::event::{Timestamp, duration};
use crate::rules::muting::schedule::Zone;
use crate::rules::{Definition, Priority, RuleSet, compile};

const MINUTE: Duration = Duration::from_secs(60);

fn calendar(yaml: &str) -> Calendar {
    let configs: Vec<CalendarConfig> = serde_saphyr::from_str(yaml).expect(yaml);
    let (calendars, problems) = Calendars::compile(&configs);
    assert_eq!(problems, [], "{yaml}");
    drop(calendars.named(&configs[0].name).expect(yaml).clone());
    let (hours, _) = config::compile("", &configs[0]);
    Calendar::new(&configs[0].name, hours.expect(yaml))
}

fn office() -> Calendar {
    calendar(
        "[{name: office, zone: Europe/Berlin, hours: {mon-fri: ['09:00-12:00', '13:00-17:30']}, holidays: [2026-12-25]}]",
    )
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text.as_bytes()).expect(text)
}

#[test]
fn working_time_passes_in_opening_hours_only() {
    let office = office();
    for (from, working, until) in [
        // Friday afternoon, over the weekend.
        ("2026-11-20T16:00:00+01:00", "2h", "2026-11-23T09:30:00+01:00"),
        // Up to the very end of the day, and not to the next morning.
        ("2026-11-20T16:00:00+01:00", "1h30m", "2026-11-20T17:30:00+01:00"),
        // Over lunch, and from within it.
        ("2026-11-20T11:30:00+01:00", "1h", "2026-11-20T13:30:00+01:00"),
        ("2026-11-20T12:30:00+01:00", "1h", "2026-11-20T14:00:00+01:00"),
        // Friday the 25th is a holiday.
        ("2026-12-24T17:00:00+01:00", "1h", "2026-12-28T09:30:00+01:00"),
        // Two hours of the morning after the clock went forward, or back, are two hours.
        ("2026-03-27T17:30:00+01:00", "2h", "2026-03-30T11:00:00+02:00"),
        ("2026-10-23T17:30:00+02:00", "2h", "2026-10-26T11:00:00+01:00"),
        ("2026-11-21T03:00:00Z", "0s", "2026-11-21T03:00:00Z"),
    ] {
        let (from, until, working) = (at(from), at(until), duration::parse(working).expect(working));
        assert_eq!(office.add(from, working), Some(until), "{from}");
        assert_eq!(office.working(from, until), working, "{from}");
    }
}

#[test]
fn a_night_in_which_the_clock_changes_has_an_hour_less_or_more() {
    let night = calendar("[{name: night, zone: Europe/Berlin, hours: {sat: ['22:00-24:00'], sun: ['00:00-06:00']}}]");
    let week = |from, to| duration::format(night.working(at(from), at(to)));
    assert_eq!(week("2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z"), "7h", "forward");
    assert_eq!(week("2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z"), "9h", "back");
    assert_eq!(week("2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z"), "8h");
}

#[test]
fn it_is_known_when_work_begins_again() {
    let office = office();
    let next = |text| office.next_open(at(text)).map(|next| next.to_string());
    assert_eq!(next("2026-11-20T17:30:00+01:00").as_deref(), Some("2026-11-23T08:00:00Z"));
    assert_eq!(next("2026-11-20T17:29:59+01:00").as_deref(), Some("2026-11-20T16:29:59Z"));
    assert!(office.is_open(at("2026-11-20T09:00:00+01:00")) && !office.is_open(at("2026-11-20T12:00:00+01:00")));
    let skipped = calendar("[{name: a, zone: Europe/Berlin, hours: {sun: ['02:00-03:00']}}]");
    let next = skipped.next_open(at("2026-03-28T12:00:00Z"));
    assert_eq!(next, Some(at("2026-04-05T00:00:00Z")), "the hour that was not there is not open");
}

#[test]
fn five_business_days_go_round_a_hundred_holidays_and_no_look_goes_beyond_ten_years() {
    let days: Vec<String> = (0..100)
        .map(|day| at("2026-11-23T12:00:00Z").plus(day * 1_440 * MINUTE))
        .map(|at| at.to_string()[..10].to_owned())
        .collect();
    let hours = "{mon-fri: ['09:00-17:00']}";
    let calendar = calendar(&format!("[{{name: a, zone: UTC, hours: {hours}, holidays: [{}]}}]", days.join(", ")));
    let due = calendar.add(at("2026-11-22T00:00:00Z"), 40 * 60 * MINUTE);
    assert_eq!(due, Some(at("2027-03-09T17:00:00Z")), "the last holiday is Tuesday, 2 March");
    assert_eq!(calendar.add(at("2026-11-22T00:00:00Z"), 60_000 * 60 * MINUTE), None);
    let days = calendar.working(at("2026-11-22T00:00:00Z"), Timestamp::MAX).as_secs() / 3_600 / 8;
    assert_eq!(days, 10 * 261 - 72, "of ten years");
    assert_eq!(calendar.next_open(Timestamp::MAX), None);
    assert_eq!(Calendar::always().add(at("2026-11-22T00:00:00Z"), MINUTE), Some(at("2026-11-22T00:01:00Z")));
}

/// What the clock on the wall says, minute by minute.
fn naive(zone: &str, week: &[(usize, usize)], from: Timestamp, minutes: u64) -> Duration {
    let zone = Zone::named(zone).expect(zone);
    let open = |at: Timestamp| {
        let wall: DateTime = zone.wall(at).expect("in range");
        let (begin, end) = week[wall.weekday().to_monday_zero_offset() as usize];
        (begin..end).contains(&(wall.hour() as usize))
    };
    (0..minutes).filter(|minute| open(from.plus(*minute as u32 * MINUTE))).count() as u32 * MINUTE
}

proptest! {
    #[test]
    fn working_time_is_what_the_wall_clock_shows(
        (zone, change) in proptest::sample::select(&[
            ("Europe/Berlin", "2026-03-29T01:00:00Z"), ("Europe/Berlin", "2026-10-25T01:00:00Z"),
            ("America/New_York", "2026-03-08T07:00:00Z"), ("America/New_York", "2026-11-01T06:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"), ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
            ("America/Havana", "2026-03-08T05:00:00Z"), ("America/Havana", "2026-11-01T05:00:00Z"),
            ("Pacific/Apia", "2011-12-30T10:00:00Z"), ("Asia/Kathmandu", "2026-03-29T01:00:00Z"),
        ][..]),
        week in proptest::collection::vec((0_usize..25, 0_usize..25), 7),
        before in 0_u32..4_320,
        minutes in 0_u64..8_640,
    ) {
        let week: Vec<(usize, usize)> = week.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        prop_assume!(week.iter().any(|(begin, end)| begin < end));
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].into_iter().zip(&week);
        let spans = days.filter(|(_, (begin, end))| begin < end);
        let hours: Vec<String> =
            spans.map(|(day, (begin, end))| format!("{day}: ['{begin:02}:00-{end:02}:00']")).collect();
        let yaml = format!("[{{name: a, zone: {zone}, hours: {{{}}}}}]", hours.join(", "));
        let calendar = calendar(&yaml);
        let from = at(change).minus(before * MINUTE);
        let to = from.plus(minutes as u32 * MINUTE);
        prop_assert_eq!(calendar.working(from, to), naive(zone, &week, from, minutes), "{} from {} to {}", yaml, from, to);
    }

    #[test]
    fn what_is_added_is_what_passes_and_more_is_later(
        zone in proptest::sample::select(&["Europe/Berlin", "America/St_Johns", "Pacific/Apia", "America/Asuncion"][..]),
        year in proptest::sample::select(&[2010_i64, 2011, 2026][..]),
        begin in 0_u32..1_439,
        length in 1_u32..1_440,
        from in 0_i64..525_600,
        seconds in 1_u64..2_000_000,
        more in 1_u64..100_000,
    ) {
        let end = (begin + length).min(1_440);
        let shown = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        let span = format!("{}-{}", shown(begin), shown(end));
        let hours = format!("{{mon-wed: ['{span}'], fri: ['00:00-00:30', '23:30-24:00'], sun: ['00:00-24:00']}}");
        let calendar = calendar(&format!("[{{name: a, zone: {zone}, hours: {hours}, holidays: ['{year}-07-14']}}]"));
        let from = at(&format!("{year}-01-01T00:00:00Z")).plus(from as u32 * MINUTE);
        let working = Duration::from_secs(seconds);
        let due = calendar.add(from, working).expect("within ten years");
        prop_assert_eq!(calendar.working(from, due), working);
        prop_assert!(calendar.working(from, due.minus(Duration::from_micros(1))) < working, "the first such instant");
        let later = calendar.add(from, working + Duration::from_secs(more)).expect("within ten years");
        prop_assert!(later > due);
        let between = from.plus(due.since(from) / 3);
        prop_assert_eq!(calendar.working(from, between) + calendar.working(between, due), working, "it adds up");
        let open = calendar.next_open(from).expect("it opens");
        prop_assert!(open >= from && calendar.is_open(open) && calendar.working(from, open).is_zero());
    }
}

fn compiled(calendars: &str, targets: &str, agreements: &str, warn_at: &str) -> (RuleSet, Vec<String>) {
    let calendars: Vec<CalendarConfig> = serde_saphyr::from_str(calendars).expect(calendars);
    let targets: TargetsConfig = serde_saphyr::from_str(targets).expect(targets);
    let agreements: Vec<AgreementConfig> = serde_saphyr::from_str(agreements).expect(agreements);
    let warn_at: Vec<Share> = serde_saphyr::from_str(warn_at).expect(warn_at);
    let deadlines = DeadlineConfigs {
        calendars: &calendars,
        targets: &targets,
        agreements: &agreements,
        warn_at: &warn_at,
        pause_while_muted: false,
    };
    let (set, problems) = compile(&Definition { deadlines, ..Definition::of(&[], &[]) });
    let shown = |problem: crate::rules::Problem| {
        format!("{}: {}{}", problem.path, if problem.warning { "warning: " } else { "" }, problem.message)
    };
    (set, problems.into_iter().map(shown).collect())
}

const OFFICE: &str = "[{name: office, zone: UTC, hours: {mon-fri: ['09:00-17:00']}}]";

#[test]
fn what_is_wrong_with_a_calendar_is_said_with_its_path() {
    let calendars = "[{name: Office, zone: Berlin, hours: {mon-fry: [], monday: []}, holidays: [2026-2-3, 1850-01-01]}, \
                     {name: always, zone: UTC, hours: {mon-sun: []}}, \
                     {name: a, zone: UTC, hours: {mon-fri: ['9-17', '09:00-09:00', '22:00-06:00'], fri: ['08:00-24:01']}}, \
                     {name: a, zone: UTC, hours: {sat-mon: ['10:00-12:00', '09:00-11:00']}}]";
    let days = "days are mon, tue, wed, thu, fri, sat and sun, or a range such as mon-fri, not";
    let expected = [
        "calendars[0].name: a name has up to 63 of a-z, 0-9 and -, not first -, so it cannot be \"Office\"".to_owned(),
        "calendars[0].zone: unknown time zone \"Berlin\": an IANA name such as Europe/Berlin, or UTC, did you mean \"Europe/Berlin\"?".to_owned(),
        "calendars[0].holidays[0]: a holiday is a date such as 2026-12-25, not \"2026-2-3\"".to_owned(),
        "calendars[0].holidays[1]: a holiday is in the years 1970 to 2200, not \"1850-01-01\"".to_owned(),
        format!("calendars[0].hours[\"mon-fry\"]: {days} \"mon-fry\", did you mean \"fri\"?"),
        format!("calendars[0].hours[\"monday\"]: {days} \"monday\", did you mean \"mon\"?"),
        "calendars[1].name: \"always\" is the calendar that never closes, which is there already".to_owned(),
        "calendars[1].hours: never opens: say when, such as `mon-fri: ['09:00-17:30']`, or `mon-sun: ['00:00-24:00']`".to_owned(),
        "calendars[2].hours[\"fri\"][0]: a span is written 09:00-17:30, up to 24:00, not \"08:00-24:01\"".to_owned(),
        "calendars[2].hours[\"mon-fri\"][0]: a span is written 09:00-17:30, up to 24:00, not \"9-17\"".to_owned(),
        "calendars[2].hours[\"mon-fri\"][1]: \"09:00-09:00\" is over as it begins; a whole day is 00:00-24:00".to_owned(),
        "calendars[2].hours[\"mon-fri\"][2]: \"22:00-06:00\" ends before it begins; over midnight write 22:00-24:00, and 00:00-06:00 for the day after".to_owned(),
        "calendars[2].hours[\"mon-fri\"]: fri is named by \"fri\" already".to_owned(),
        "calendars[3].name: calendars[2] is named \"a\" already".to_owned(),
        "calendars[3].hours[\"sat-mon\"][0]: \"10:00-12:00\" overlaps another span of the day".to_owned(),
    ];
    assert_eq!(compiled(calendars, "{}", "[]", "[]").1, expected);
    let never = "[{name: a, zone: UTC, hours: {}}]";
    assert!(compiled(never, "{}", "[]", "[]").1[0].contains("never opens"), "no day at all");
}

#[test]
fn what_is_wrong_with_targets_is_said_with_its_path() {
    let targets = "{P1: {respond: 0s, resolve: 2h, calendar: offfice}, P2: {respond: 3h, resolve: 1h}, \
                   P3: {resolve: 2y}, P4: {respond: 1h, calendar: office}, P5: {}}";
    let agreements = "[{name: gold, targets: {P2: {respond: 30m}, P4: {resolve: 30m}}}, {name: gold, targets: {}}]";
    let expected = [
        "priority.warn_at[0]: a warning comes at 1% to 99% of a target, not at 0.5%",
        "priority.warn_at[2]: shares rise, and 80% does not after 80%",
        "priority.warn_at[3]: a warning comes at 1% to 99% of a target, not at 100%",
        "priority.targets.P1.calendar: unknown calendar \"offfice\", did you mean \"office\"?",
        "priority.targets.P1.respond: a target is 1s to 1y, not 0s",
        "priority.targets.P2.resolve: resolve (1h) is shorter than respond (3h)",
        "priority.targets.P3.resolve: a target is 1s to 1y, not 2y",
        "agreements[0].targets.P4.resolve: resolve (30m) is shorter than respond (1h)",
        "agreements[1].name: agreements[0] is named \"gold\" already",
    ];
    let (_, problems) = compiled(OFFICE, targets, agreements, "[0.5%, 80%, 80%, 100%]");
    let (warnings, errors): (Vec<_>, Vec<_>) = problems.into_iter().partition(|text| text.contains(": warning: "));
    assert_eq!(errors, expected);
    assert_eq!(
        warnings,
        [
            "priority.targets.P5: warning: says neither `respond` nor `resolve`, so nothing is watched",
            "priority.targets.P1.resolve: warning: P1 takes longer (2h) than P2 (1h)",
            "agreements[1].targets: warning: says nothing that differs from priority.targets",
        ]
    );
}

#[test]
fn days_of_a_target_on_a_calendar_with_opening_hours_are_asked_about() {
    let said = |targets: &str| compiled(OFFICE, targets, "[]", "[]").1;
    assert_eq!(
        said("{P4: {resolve: 5d, calendar: office}}"),
        [
            "priority.targets.P4.resolve: warning: 5d are 120h of working time, of which the calendar office has 40h a week; write hours"
        ]
    );
    assert_eq!(said("{P4: {resolve: 120h, calendar: office}, P5: {resolve: 5d}}"), [""; 0]);
    let hour = "[{name: office, zone: UTC, hours: {mon: ['09:00-10:00']}}]";
    let (_, said) = compiled(hour, "{P4: {resolve: 1000h, calendar: office}}", "[]", "[]");
    assert_eq!(
        said,
        [
            "priority.targets.P4.resolve: 41d16h are 1000h of working time, which the calendar office (1h a week) has not in ten years"
        ]
    );
}

#[test]
fn an_agreement_says_what_differs() {
    let targets = "{P1: {respond: 15m, resolve: 4h}, P4: {respond: 8h, resolve: 40h, calendar: office}}";
    let agreements = "[{name: gold, targets: {P1: {resolve: 1h}, P4: {calendar: always}, P3: {resolve: 2h}}}]";
    let (set, problems) = compiled(OFFICE, targets, agreements, "[50%, 80%]");
    assert_eq!(problems, [""; 0]);
    let shown = |priority, agreement| {
        let terms = set.targets.terms(priority, agreement);
        let times = [terms.respond, terms.resolve].map(|time| time.map_or("-".to_owned(), duration::format_hours));
        format!("{} {}", times.join(" "), terms.calendar.as_ref().map_or("-", |calendar| &calendar.name))
    };
    for (priority, agreement, expected) in [
        (Priority::P1, None, "15m 4h -"),
        (Priority::P1, Some("gold"), "15m 1h -"),
        (Priority::P1, Some("unknown"), "15m 4h -"),
        (Priority::P3, Some("gold"), "- 2h -"),
        (Priority::P4, None, "8h 40h office"),
        (Priority::P4, Some("gold"), "8h 40h always"),
        (Priority::P5, Some("gold"), "- - -"),
    ] {
        assert_eq!(shown(priority, agreement), expected, "{priority:?} {agreement:?}");
    }
    assert_eq!(set.targets.warn_at.iter().map(ToString::to_string).collect::<Vec<_>>(), ["50%", "80%"]);
}

#[test]
fn a_file_of_holidays_has_a_date_in_each_line() {
    let read = |text| Holidays::parse(text);
    let same = read("2026-12-25\n2027-01-01\n");
    assert!(same.is_ok());
    assert_eq!(read("\u{feff}# ours\n\n2026-12-25 Christmas Day\r\n  2027-01-01\tNew Year # again\n"), same);
    assert_eq!(
        read("2026-12-25\n\nChristmas")
            .map_err(|wrong| wrong.contains("line 3: a holiday is a date such as 2026-12-25, not \"Christmas\"")),
        Err(true)
    );
}
