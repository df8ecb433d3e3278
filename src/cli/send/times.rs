//! Moves a recording into the present: its last event happens now, and, if asked, its whole span fits a given length.
//!
//! The order of events never changes: the map of old to new times is linear and never falls.

use std::time::Duration;

use super::line::{instant, wire_time};
use crate::event::Timestamp;
use crate::proto::Event;

/// From when to when a recording reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span(Option<(Timestamp, Timestamp)>);

/// The map of recorded to present times.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    last: i128,
    now: i128,
    /// New length / old length.
    ratio: (i128, i128),
}

impl Span {
    /// Takes an event's time into account.
    pub fn cover(&mut self, event: &Event) {
        let Some(at) = event.occurred_at.as_ref().map(instant) else { return };
        self.0 = Some(self.0.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    }

    /// The map that ends the recording at `now`, and squeezes it where it is longer than `within`. `None` for a
    /// recording that names no time: there is nothing to move.
    pub fn shift(self, now: Timestamp, within: Option<Duration>) -> Option<Shift> {
        let (first, last) = self.0?;
        let length = i128::from(last.as_micros()) - i128::from(first.as_micros());
        let within = within.map(|within| i128::try_from(within.as_micros()).unwrap_or(i128::MAX));
        let ratio = within.filter(|within| *within < length).map_or((1, 1), |within| (within, length));
        Some(Shift { last: last.as_micros().into(), now: now.as_micros().into(), ratio })
    }
}

impl Shift {
    /// Moves an event's times. One without a time stays without: it happens when it is received.
    pub fn apply(&self, event: &mut Event) {
        for time in [&mut event.occurred_at, &mut event.ends_at].into_iter().flatten() {
            *time = wire_time(self.moved(instant(time)));
        }
    }

    fn moved(&self, at: Timestamp) -> Timestamp {
        let (new, old) = self.ratio;
        let before = (self.last - i128::from(at.as_micros())) * new / old;
        Timestamp::from_micros((self.now - before).clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(micros: i64) -> Event {
        Event { occurred_at: Some(wire_time(Timestamp::from_micros(micros))), ..Event::default() }
    }

    fn moved(times: &[i64], now: i64, within: Option<Duration>) -> Vec<i64> {
        let mut span = Span::default();
        times.iter().for_each(|at| span.cover(&event(*at)));
        let shift = span.shift(Timestamp::from_micros(now), within).unwrap();
        let mut events: Vec<Event> = times.iter().map(|at| event(*at)).collect();
        events.iter_mut().for_each(|event| shift.apply(event));
        events.iter().map(|event| instant(&event.occurred_at.unwrap()).as_micros()).collect()
    }

    #[test]
    fn the_last_event_happens_now_and_distances_stay() {
        assert_eq!(moved(&[10, 40, 30], 1_000, None), [970, 1_000, 990]);
    }

    #[test]
    fn a_recording_is_squeezed_and_never_stretched() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(moved(&[0, 5_000_000, 10_000_000], 20_000_000, second), [19_000_000, 19_500_000, 20_000_000]);
        assert_eq!(moved(&[0, 10], 1_000, second), [990, 1_000]);
    }

    #[test]
    fn a_lease_moves_with_its_event_and_an_event_without_time_stays() {
        let mut span = Span::default();
        span.cover(&event(100));
        let shift = span.shift(Timestamp::from_micros(1_000), None).unwrap();
        let mut leased = event(100);
        leased.ends_at = Some(wire_time(Timestamp::from_micros(400)));
        shift.apply(&mut leased);
        assert_eq!(instant(&leased.ends_at.unwrap()).as_micros(), 1_300);
        let mut timeless = Event::default();
        shift.apply(&mut timeless);
        assert_eq!(timeless, Event::default());
        assert!(Span::default().shift(Timestamp::EPOCH, None).is_none());
    }

    proptest! {
        #[test]
        fn the_order_of_events_never_changes(mut times in proptest::collection::vec(any::<i32>(), 1..50), within in 0_u64..5_000) {
            times.sort_unstable();
            let times: Vec<i64> = times.into_iter().map(i64::from).collect();
            let moved = moved(&times, 0, Some(Duration::from_micros(within)));
            prop_assert!(moved.is_sorted());
            prop_assert_eq!(moved.last(), Some(&0));
        }
    }
}
