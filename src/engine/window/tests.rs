//! Windows against a naive scan of everything ever seen, and against themselves: in another order, read back.

use proptest::prelude::*;

use super::*;
use crate::engine::journal::{Reader, Writer};

fn micros(at: i64) -> Timestamp {
    Timestamp::from_micros(at)
}

fn entry(at: i64, item: u64, event: u128) -> Entry {
    Entry { at: micros(at), item, event }
}

/// The different items of the fullest window that contains an instant, by the definition of each kind.
fn naive(entries: &[(i64, u64)], reach: Reach, around: i64) -> u32 {
    let mut times: Vec<i64> = entries.iter().map(|(at, _)| *at).collect();
    times.sort_unstable();
    let run = |at: i64| match reach {
        Reach::Sliding(_) => 0,
        Reach::Tumbling(span) => at.div_euclid(span),
        Reach::Session { gap, .. } => {
            let breaks = times.windows(2).filter(|pair| pair[1] - pair[0] > gap);
            breaks.filter(|pair| pair[1] <= at).count() as i64
        }
    };
    let mut best = 0;
    for start in around - reach.span()..=around {
        let inside = entries.iter().filter(|(at, _)| (start..=start + reach.span()).contains(at));
        let mut items: Vec<u64> = inside.filter(|(at, _)| run(*at) == run(around)).map(|(_, item)| *item).collect();
        items.sort_unstable();
        items.dedup();
        best = best.max(items.len() as u32);
    }
    best
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![
        (1i64..40).prop_map(Reach::Sliding),
        (1i64..40).prop_map(Reach::Tumbling),
        (1i64..8, 1i64..40).prop_map(|(gap, more)| Reach::Session { gap, span: gap + more }),
    ]
}

/// Mostly in order, with some that are late, and repeats.
fn events(most: usize) -> impl Strategy<Value = Vec<(i64, u64)>> {
    let lag = prop_oneof![6 => Just(0i64), 2 => 0i64..6, 1 => 0i64..60];
    prop::collection::vec((0i64..3, lag, 0u64..12), 1..most).prop_map(|drafts| {
        let mut now = 0;
        let event = |(pause, lag, item): (i64, i64, u64)| {
            now += pause;
            ((now - lag).max(0), item)
        };
        drafts.into_iter().map(event).collect()
    })
}

/// Read back from the journal: whole, or as what was done since it was last written.
fn read_back(span: &mut Span, before: Option<&Span>) -> Span {
    let mut writer = Writer::default();
    let read = match before {
        Some(before) => {
            before.write(&mut writer);
            let mut read = Span::read(&mut Reader::new(&writer.bytes)).expect("what was written");
            let mut writer = Writer::default();
            if span.has_news() {
                span.write_news(&mut writer);
                Span::read_news(&mut Reader::new(&writer.bytes), Some(&mut read)).expect("what was written");
            }
            read
        }
        None => {
            span.write(&mut writer);
            Span::read(&mut Reader::new(&writer.bytes)).expect("what was written")
        }
    };
    span.forget_news();
    read
}

fn copy(span: &Span) -> Span {
    let mut writer = Writer::default();
    span.write(&mut writer);
    Span::read(&mut Reader::new(&writer.bytes)).expect("what was written")
}

fn shape(reach: Reach) -> Shape {
    Shape::Exact(reach)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_as_a_scan_over_everything_ever_seen_does(reach in reach(), events in events(60)) {
        let mut span = Span::default();
        for (seen, (at, item)) in events.iter().enumerate() {
            let progress = span.insert(shape(reach), entry(*at, *item, seen as u128));
            prop_assert_eq!(progress.have, naive(&events[..=seen], reach, *at), "event {}", seen);
        }
    }

    #[test]
    fn a_large_window_counts_as_a_scan_does(reach in reach(), events in events(400), others in 1u64..2_000) {
        let mut span = Span::default();
        let events: Vec<(i64, u64)> = events.into_iter().zip(0..).map(|((at, item), seen)| (at, (item + seen * 13) % others)).collect();
        for (seen, (at, item)) in events.iter().enumerate() {
            let progress = span.insert(shape(reach), entry(*at, *item, seen as u128));
            if seen % 16 == 15 {
                prop_assert_eq!(progress.have, naive(&events[..=seen], reach, *at), "event {}", seen);
            }
        }
    }

    #[test]
    fn the_small_and_the_large_form_say_the_same(reach in reach(), events in events(60)) {
        let (mut few, mut counted) = (Few::default(), Counted::default());
        for (seen, (at, item)) in events.iter().enumerate() {
            let entry = entry(*at, *item, seen as u128 % 7);
            prop_assert_eq!(counted.insert(entry, reach), few.insert(entry, reach), "event {}", seen);
            prop_assert!(counted.entries().eq(few.entries()));
            if seen % 11 == 0 {
                counted.prune(micros(*at - 30));
                few.prune(micros(*at - 30));
            }
        }
    }

    #[test]
    fn what_was_dropped_bridges_no_gap_to_what_comes_after_all(
        reach in reach(),
        events in events(60),
        last in (0i64..60, 0u64..12),
    ) {
        let (mut few, mut counted) = (Few::default(), Counted::default());
        for (seen, (at, item)) in events.iter().enumerate() {
            let entry = entry(*at, *item, seen as u128 % 7);
            prop_assert_eq!(counted.insert(entry, reach), few.insert(entry, reach), "event {}", seen);
        }
        let newest = events.iter().map(|(at, _)| *at).max().unwrap_or_default();
        counted.prune(micros(newest - 20));
        few.prune(micros(newest - 20));
        let late = entry(newest - last.0, last.1, 9);
        prop_assert_eq!(counted.insert(late, reach), few.insert(late, reach));
    }

    #[test]
    fn the_first_of_a_window_does_not_depend_on_the_order_of_arrival(
        reach in reach(),
        events in prop::collection::btree_set((0i64..20, 0u128..8), 2..30),
    ) {
        let place = |(item, (at, event)): (usize, &(i64, u128))| entry(*at, item as u64, *event);
        let mut entries: Vec<Entry> = events.iter().enumerate().map(place).collect();
        let last = entries.remove(entries.len() / 2);
        let end = |entries: &mut dyn Iterator<Item = &Entry>| {
            let mut span = Span::default();
            for entry in entries {
                span.insert(shape(reach), *entry);
            }
            span.insert(shape(reach), last)
        };
        prop_assert_eq!(end(&mut entries.iter()), end(&mut entries.iter().rev()));
    }

    #[test]
    fn a_window_read_back_goes_on_as_the_one_that_was_written(
        reach in reach(),
        events in events(150),
        commits in prop::collection::vec(1usize..12, 20),
    ) {
        let (mut span, mut restored) = (Span::default(), Span::default());
        let mut commits = commits.into_iter().cycle();
        let mut left = 5;
        let mut written = copy(&span);
        for (seen, (at, item)) in events.iter().enumerate() {
            let entry = entry(*at, *item, seen as u128 % 5);
            span.prune(micros(*at - 50));
            restored.prune(micros(*at - 50));
            prop_assert_eq!(span.insert(shape(reach), entry), restored.insert(shape(reach), entry));
            if seen % 37 == 36 {
                span.clear_until(shape(reach), micros(*at - 3));
                restored.clear_until(shape(reach), micros(*at - 3));
            }
            left -= 1;
            if left == 0 {
                left = commits.next().unwrap_or(1);
                prop_assert!(!span.must_be_rewritten());
                restored = read_back(&mut span, Some(&written));
                written = copy(&span);
            }
        }
    }

    #[test]
    fn keeps_a_bounded_number_of_entries_an_item(reach in reach(), times in prop::collection::vec(0i64..200, 1..400)) {
        let mut span = Span::default();
        for (event, at) in times.into_iter().enumerate() {
            span.insert(shape(reach), entry(at, 1, event as u128));
        }
        let window = match reach {
            Reach::Session { gap, .. } => gap,
            other => other.span(),
        };
        let Some(window_state) = span.0.as_deref() else { return Ok(()) };
        prop_assert!(window_state.content.len() as i64 <= 2 * (200 / window + 2));
    }
}

fn steps(order: &[(i64, u64, u128)], span: i64, steps: u8) -> Vec<u32> {
    let mut window = Span::default();
    let shape = Shape::Steps { span, steps };
    order.iter().map(|(at, mask, event)| window.insert(shape, entry(*at, *mask, *event)).have).collect()
}

/// Whether different events follow one another in the order of the steps, by trying all.
fn follows(events: &[(i64, u64, u128)], from: i64, span: i64, step: u8, steps: u8, used: u64) -> bool {
    step == steps
        || (0..events.len()).any(|place| {
            let (at, mask, _) = events[place];
            let start = if step == 0 { at } else { from >> 8 };
            let earliest = if step == 0 { at } else { from & 0xff };
            mask >> step & 1 != 0
                && used >> place & 1 == 0
                && at >= earliest
                && at - start <= span
                && follows(events, start << 8 | at, span, step + 1, steps, used | 1 << place)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sequence_is_found_where_trying_all_finds_one(
        events in prop::collection::vec((0i64..12, 1u64..8), 1..9),
        span in 1i64..10,
    ) {
        let events: Vec<(i64, u64, u128)> =
            events.into_iter().enumerate().map(|(event, (at, mask))| (at, mask, event as u128)).collect();
        let found = steps(&events, span, 3).into_iter().max().unwrap_or(0) == 3;
        prop_assert_eq!(found, follows(&events, 0, span, 0, 3, 0));
    }

    #[test]
    fn a_sequence_read_back_goes_on_as_the_one_that_was_written(
        events in prop::collection::vec((0i64..4, 0i64..9, 1u64..16), 1..200),
        commit in 1usize..9,
    ) {
        let shape = Shape::Steps { span: 8, steps: 4 };
        let (mut span, mut restored, mut now) = (Span::default(), Span::default(), 0);
        let mut written = copy(&span);
        for (seen, (pause, lag, mask)) in events.into_iter().enumerate() {
            now += pause;
            let entry = entry(now - lag, mask, seen as u128);
            prop_assert_eq!(span.insert(shape, entry), restored.insert(shape, entry));
            if seen % commit == 0 {
                restored = read_back(&mut span, Some(&written));
                written = copy(&span);
            }
        }
    }
}

#[test]
fn of_a_step_sixty_four_entries_are_remembered_and_the_oldest_is_forgotten() {
    let mut events: Vec<(i64, u64, u128)> = (0..65).map(|at| (at, 0b10, at as u128)).collect();
    events.extend([(0, 0b01, 99), (0, 0b01, 100)]);
    let have = steps(&events, 100, 2);
    assert_eq!(have[65], 2, "the second step at 1 and later is still known");
    let mut window = Span::default();
    let shape = Shape::Steps { span: 100, steps: 2 };
    for (at, mask, event) in &events {
        window.insert(shape, entry(*at, *mask, *event));
    }
    assert!(window.0.as_deref().is_some_and(|window| window.content.len() == 66));
}

#[test]
fn what_is_written_of_an_event_in_order_does_not_grow_with_the_window() {
    let (mut span, mut written) = (Span::default(), Vec::new());
    for event in 0..20_000 {
        span.prune(micros(event - 15_000));
        span.insert(shape(Reach::Sliding(10_000)), entry(event, event as u64, event as u128));
        assert!(!span.must_be_rewritten());
        let mut writer = Writer::default();
        span.write_news(&mut writer);
        span.forget_news();
        written.push(writer.bytes.len());
    }
    assert!(written.iter().all(|bytes| *bytes <= 60), "{:?}", written.iter().max());
}

#[test]
fn a_window_keeps_no_more_entries_than_its_bound() {
    let mut counted = Counted::default();
    for event in 0..ENTRIES_MAX as i64 + 10 {
        counted.insert(entry(event, event as u64, 0), Reach::Sliding(i64::MAX));
    }
    assert_eq!(counted.len(), ENTRIES_MAX);
    assert!(counted.bytes() < 32 << 20, "{} bytes", counted.bytes());
}

#[test]
fn an_estimated_window_is_about_right_and_bounded_and_forgets_what_is_past() {
    let item = |number: i64| xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes());
    for reach in [Reach::Sliding(160_000), Reach::Tumbling(160_000)] {
        let mut span = Span::default();
        let mut have = 0;
        for number in 0..480_000 {
            // Every item twice, some of them late.
            let at = number - number % 7 * 100;
            have = span.insert(Shape::Estimated(reach), entry(at, item(number / 2), number as u128)).have;
        }
        let (least, most) = (80_000.0 * (1.0 - 0.05), 80_000.0 * (1.0 + 1.0 / 16.0 + 0.05));
        assert!((least..most).contains(&f64::from(have)), "{have} of 80000 in {reach:?}");
        assert!(span.bytes() < 280 << 10, "{} bytes", span.bytes());
        let restored = read_back(&mut span, None).insert(Shape::Estimated(reach), entry(479_999, 1, 0));
        assert_eq!(span.insert(Shape::Estimated(reach), entry(479_999, 1, 0)), restored);
    }
}

#[test]
fn an_estimate_does_not_depend_on_the_order_of_arrival() {
    let item = |number: i64| xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes());
    let last = |numbers: &mut dyn Iterator<Item = i64>| {
        let mut span = Span::default();
        let shape = Shape::Estimated(Reach::Sliding(50_000));
        for number in numbers {
            span.insert(shape, entry(number, item(number), number as u128));
        }
        span.insert(shape, entry(25_000, 1, 0))
    };
    assert_eq!(last(&mut (0..40_000)), last(&mut (0..40_000).rev()));
}
