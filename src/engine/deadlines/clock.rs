//! The clock of one target: how much working time was spent, what was said of it, and when something is due next.
//!
//! A clock runs or stands. It keeps what was spent while it stood, whatever calendar it went by then; everything else
//! follows from that and from what is agreed now, so that another priority, calendar or target only asks for a new
//! [`Clock::plan`]. A fixed number of bytes.

use std::time::Duration;

use smallvec::SmallVec;

use crate::engine::journal::{Fault, Reader, Writer};
use crate::event::Timestamp;
use crate::rules::{Calendar, Share};

/// What a clock is held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed<'a> {
    /// Working time; nothing is due without.
    pub(super) time: Option<Duration>,
    pub(super) calendar: &'a Calendar,
    /// In order.
    pub(super) warn_at: &'a [Share],
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clock {
    /// Working time up to when it last began to run.
    spent: Duration,
    /// Since when it runs; it stands without.
    since: Option<Timestamp>,
    /// The newest share that was warned at.
    warned: Option<Share>,
    pub(super) breached: bool,
    /// By when it must be met; what it was when it was met or breached.
    pub(super) due: Option<Timestamp>,
    /// When there is something to say next.
    pub(super) next: Option<Timestamp>,
}

/// What has passed, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Passed {
    pub(super) shares: SmallVec<[Share; 8]>,
    pub(super) breached: bool,
}

impl Clock {
    /// Adds what was spent until now by the calendar that it went by, and runs on or stands.
    pub(super) fn settle(&mut self, now: Timestamp, calendar: &Calendar, runs: bool) {
        if let Some(since) = self.since {
            self.spent += calendar.working(since, now);
        }
        self.since = runs.then_some(now);
    }

    pub(super) fn runs(&self) -> bool {
        self.since.is_some()
    }

    /// Works out anew what is due when. A breach stands as it was told.
    pub(super) fn plan(&mut self, agreed: Agreed<'_>) {
        let next = self.agreed_next(agreed);
        self.next = next;
        if !self.breached && self.since.is_some() {
            self.due = agreed.time.and_then(|time| self.reaches(time, agreed.calendar));
        }
    }

    /// It stands and nothing is expected of it for now.
    pub(super) fn forget_due(&mut self) {
        if !self.breached {
            self.due = None;
        }
    }

    /// Takes what has passed by now.
    pub(super) fn pass(&mut self, now: Timestamp, agreed: Agreed<'_>) -> Passed {
        let mut passed = Passed::default();
        while self.next.is_some_and(|next| next <= now) {
            match self.next_share(agreed.warn_at) {
                Some(share) => {
                    self.warned = Some(share);
                    passed.shares.push(share);
                }
                None => (self.breached, passed.breached) = (true, true),
            }
            self.next = self.agreed_next(agreed);
        }
        passed
    }

    /// When so much of what is agreed will have been spent.
    pub(super) fn share_at(&self, share: Share, agreed: Agreed<'_>) -> Option<Timestamp> {
        self.reaches(share.of_time(agreed.time?), agreed.calendar)
    }

    fn agreed_next(&self, agreed: Agreed<'_>) -> Option<Timestamp> {
        let time = agreed.time.filter(|_| !self.breached)?;
        let share = self.next_share(agreed.warn_at);
        self.reaches(share.map_or(time, |share| share.of_time(time)), agreed.calendar)
    }

    fn next_share(&self, warn_at: &[Share]) -> Option<Share> {
        warn_at.iter().copied().find(|share| self.warned.is_none_or(|warned| *share > warned))
    }

    /// When so much will have been spent in all; where it has been, when it began to run.
    fn reaches(&self, time: Duration, calendar: &Calendar) -> Option<Timestamp> {
        calendar.add(self.since?, time.saturating_sub(self.spent))
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.number(self.spent.as_micros() as u64);
        writer.number(self.warned.map_or(0, |share| u64::from(share.millionths())));
        writer.byte(u8::from(self.breached));
        [self.since, self.due, self.next].into_iter().for_each(|at| writer.maybe_time(at));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self {
            spent: Duration::from_micros(reader.tally()?),
            warned: Share::from_millionths(reader.small()?),
            breached: reader.flag()?,
            since: reader.maybe_time()?,
            due: reader.maybe_time()?,
            next: reader.maybe_time()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(hours: u32) -> Timestamp {
        Timestamp::from_parts(1_800_000_000, 0).plus(hours * HOUR)
    }

    fn agreed<'a>(hours: u32, calendar: &'a Calendar, warn_at: &'a [Share]) -> Agreed<'a> {
        Agreed { time: Some(hours * HOUR), calendar, warn_at }
    }

    #[test]
    fn a_clock_warns_at_each_share_once_and_breaches_once() {
        let (always, shares) = (Calendar::always(), [Share::HALF, Share::MOST]);
        let four = agreed(4, &always, &shares);
        let mut clock = Clock::default();
        clock.settle(at(0), &always, true);
        clock.plan(four);
        assert_eq!((clock.due, clock.next), (Some(at(4)), Some(at(2))));
        assert_eq!(clock.pass(at(1), four), Passed::default());
        assert_eq!(clock.pass(at(2), four).shares[..], [Share::HALF]);
        assert_eq!(clock.pass(at(2), four), Passed::default());
        // Late: everything that passed meanwhile, in order.
        let passed = clock.pass(at(9), four);
        assert_eq!((&passed.shares[..], passed.breached), (&[Share::MOST][..], true));
        assert_eq!((clock.next, clock.due), (None, Some(at(4))));
        clock.settle(at(10), &always, true);
        clock.plan(four);
        assert_eq!((clock.next, clock.due), (None, Some(at(4))), "a breach stands as it was told");
    }

    #[test]
    fn what_was_spent_is_kept_while_the_clock_stands_and_when_the_target_changes() {
        let (always, shares) = (Calendar::always(), []);
        let mut clock = Clock::default();
        clock.settle(at(0), &always, true);
        clock.settle(at(1), &always, false);
        clock.plan(agreed(4, &always, &shares));
        clock.forget_due();
        assert_eq!((clock.due, clock.next), (None, None), "it stands");
        clock.settle(at(11), &always, true);
        clock.plan(agreed(4, &always, &shares));
        assert_eq!(clock.due, Some(at(14)), "ten hours do not count");
        clock.settle(at(13), &always, true);
        clock.plan(agreed(8, &always, &shares));
        assert_eq!(clock.due, Some(at(18)));
        clock.plan(agreed(2, &always, &shares));
        assert!(clock.pass(at(13), agreed(2, &always, &shares)).breached, "at once");
    }

    #[test]
    fn without_a_target_nothing_is_due() {
        let always = Calendar::always();
        let mut clock = Clock::default();
        clock.settle(at(0), &always, true);
        clock.plan(Agreed { time: None, calendar: &always, warn_at: &[Share::HALF] });
        assert_eq!((clock.due, clock.next), (None, None));
        let mut writer = Writer::default();
        clock.settle(at(3), &always, true);
        clock.plan(agreed(4, &always, &[Share::MOST]));
        clock.pass(at(4), agreed(8, &always, &[Share::HALF]));
        clock.write(&mut writer);
        assert_eq!(Clock::read(&mut Reader::new(&writer.bytes)), Ok(clock));
    }
}
