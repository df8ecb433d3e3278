//! What a group waits for: the events after which something must follow, and when that was last seen.
//!
//! At most 64 waits a group; beyond it a new one takes the place of the newest, so that what does not come is noticed
//! later and never missed. Of what was awaited the newest 64 times are remembered, for events that come later than what
//! follows them; of waits that have ended the last 64, for events that are sent again. 7 KB at most.

use crate::event::Timestamp;

const WAITS_MAX: usize = 64;
const ANSWERS_MAX: usize = 64;
const SETTLED_MAX: usize = 64;

/// An event after which something must follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Wait {
    pub(in crate::engine) at: Timestamp,
    /// Its identity, for the id of the incident.
    pub(in crate::engine) event: u128,
    /// From when what follows may have happened: an event does not follow itself.
    pub(in crate::engine) from: Timestamp,
    /// Until when, in event time.
    pub(in crate::engine) until: Timestamp,
    /// When it is decided, on the receiving clock.
    pub(in crate::engine) due: Timestamp,
    /// Its alert.
    pub(in crate::engine) slot: u32,
    /// It was decided: nothing came in time.
    pub(in crate::engine) missed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Waits {
    /// By (time, event).
    pub(super) waits: Vec<Wait>,
    /// When what is awaited happened, oldest first.
    pub(super) answers: Vec<Timestamp>,
    /// Events whose waits have ended, by time and identity, the last one last.
    pub(super) settled: Vec<(Timestamp, u128)>,
}

impl Waits {
    /// Whether nothing is to be waited for after an event: what must follow came already, or the wait has ended.
    pub(super) fn is_settled(&mut self, wait: &Wait) -> bool {
        if self.settled.contains(&(wait.at, wait.event)) {
            return true;
        }
        let answered = self.answers.iter().any(|answer| (wait.from..=wait.until).contains(answer));
        if answered {
            self.settle(wait.at, wait.event);
        }
        answered
    }

    fn settle(&mut self, at: Timestamp, event: u128) {
        if self.settled.len() >= SETTLED_MAX {
            self.settled.remove(0);
        }
        self.settled.push((at, event));
    }

    /// When what is awaited was last seen, if at or after an instant.
    pub(super) fn came_since(&self, at: Timestamp) -> Option<Timestamp> {
        self.answers.last().copied().filter(|answer| *answer >= at)
    }

    /// The wait that an event began, if it is known.
    pub(super) fn find(&self, at: Timestamp, event: u128) -> Option<&Wait> {
        self.waits.iter().find(|wait| (wait.at, wait.event) == (at, event))
    }

    /// Waits after an event; names the alert of the wait whose place it takes.
    pub(super) fn begin(&mut self, wait: Wait) -> Option<u32> {
        let place = self.waits.partition_point(|other| (other.at, other.event) < (wait.at, wait.event));
        if self.waits.len() < WAITS_MAX {
            self.waits.insert(place, wait);
            return None;
        }
        let newest = self.waits.last_mut().filter(|_| place == WAITS_MAX)?;
        Some(std::mem::replace(newest, wait).slot)
    }

    /// The alerts that are awaited on.
    pub(super) fn alerts(&self) -> Vec<u32> {
        let mut alerts: Vec<u32> = self.waits.iter().map(|wait| wait.slot).collect();
        alerts.sort_unstable();
        alerts.dedup();
        alerts
    }

    /// What is awaited has come: ends the waits that it answers, and with `all` those that began no later than it.
    pub(super) fn answer(&mut self, at: Timestamp, all: bool) -> Vec<Wait> {
        if let Err(place) = self.answers.binary_search(&at) {
            self.answers.insert(place, at);
        }
        if self.answers.len() > ANSWERS_MAX {
            self.answers.remove(0);
        }
        let answers = |wait: &&Wait| wait.from <= at && (all || wait.missed || at <= wait.until);
        let (ended, left): (Vec<Wait>, Vec<Wait>) = self.waits.iter().partition(answers);
        self.waits = left;
        ended.iter().for_each(|wait| self.settle(wait.at, wait.event));
        ended
    }

    /// Ends the waits that began no later than an instant; says whether there were any.
    pub(super) fn end_until(&mut self, at: Timestamp) -> bool {
        let before = self.waits.len();
        self.waits.retain(|wait| wait.at > at);
        self.waits.len() < before
    }

    /// Ends the waits of an alert.
    pub(super) fn end_of(&mut self, slot: u32) {
        self.waits.retain(|wait| wait.slot != slot);
    }

    /// Ends all waits, and names their alerts.
    pub(super) fn end_all(&mut self) -> Vec<u32> {
        self.waits.drain(..).map(|wait| wait.slot).collect()
    }

    /// Whether it knows something of the past that a late event may need.
    pub(super) fn remembers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Forgets answers that no event within the lateness can need; the newest is kept.
    pub(super) fn prune(&mut self, before: Timestamp) {
        let old = self.answers.partition_point(|answer| *answer < before).min(self.answers.len().saturating_sub(1));
        self.answers.drain(..old);
    }

    /// When the next wait is decided.
    pub(in crate::engine) fn due(&self) -> Option<Timestamp> {
        self.waits.iter().filter(|wait| !wait.missed).map(|wait| wait.due).min()
    }

    /// When the last wait is decided.
    pub(in crate::engine) fn last_due(&self) -> Option<Timestamp> {
        self.waits.iter().map(|wait| wait.due).max()
    }

    /// The next wait that is due, which is then missed.
    pub(super) fn miss(&mut self, now: Timestamp) -> Option<Wait> {
        let due = self.waits.iter_mut().filter(|wait| !wait.missed && wait.due <= now);
        let wait = due.min_by_key(|wait| (wait.due, wait.at, wait.event))?;
        wait.missed = true;
        Some(*wait)
    }

    /// Whether an alert is awaited on.
    pub(in crate::engine) fn holds(&self, slot: u32) -> bool {
        self.waits.iter().any(|wait| wait.slot == slot)
    }

    pub(super) fn len(&self) -> usize {
        self.waits.len() + self.answers.len() + self.settled.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let ended = self.settled.capacity() * size_of::<(Timestamp, u128)>();
        self.waits.capacity() * size_of::<Wait>() + self.answers.capacity() * size_of::<Timestamp>() + ended
    }
}
