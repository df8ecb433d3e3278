//! Which maintenance windows are open.
//!
//! Derived from the configured windows and a time, so nothing of it is in the journal but that time. Memory: 24 bytes a
//! window. An alert that begins to fire or changes costs the matchers of each window that is open.

use super::AT_ONCE;
use crate::event::Timestamp;
use crate::rules::{MaintenanceWindow, Subject};

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Maintenance {
    /// Places of the windows that are open, ascending.
    open: Vec<usize>,
    /// When each window must be looked at again.
    due: Vec<Timestamp>,
    /// The earliest of them.
    next: Timestamp,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self { open: Vec::new(), due: Vec::new(), next: Timestamp::MAX }
    }
}

impl Maintenance {
    /// The windows are others, or the shard is: what is open is not known before the next [`Maintenance::advance`].
    pub(in crate::engine) fn forget(&mut self) {
        *self = Self { next: AT_ONCE, ..Self::default() };
    }

    /// When the next window opens or closes.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        (self.next < Timestamp::MAX).then_some(self.next)
    }

    /// How many windows are open.
    pub(in crate::engine) fn open(&self) -> usize {
        self.open.len()
    }

    /// Looks at the windows that are due. Says whether others are open than before.
    pub(super) fn advance(&mut self, windows: &[MaintenanceWindow], now: Timestamp) -> bool {
        if now < self.next {
            return false;
        }
        let forgotten = self.next == AT_ONCE;
        self.due.resize(windows.len(), AT_ONCE);
        let before = std::mem::take(&mut self.open);
        for (place, (window, due)) in windows.iter().zip(&mut self.due).enumerate() {
            let open = if *due <= now {
                let state = window.schedule.at(now);
                *due = state.next_change.unwrap_or(Timestamp::MAX);
                state.open
            } else {
                before.binary_search(&place).is_ok()
            };
            if open {
                self.open.push(place);
            }
        }
        self.next = self.due.iter().copied().min().unwrap_or(Timestamp::MAX);
        forgotten || self.open != before
    }

    /// The first open window that names an alert.
    pub(super) fn mutes(&self, windows: &[MaintenanceWindow], subject: &impl Subject) -> Option<usize> {
        self.open.iter().copied().find(|place| windows.get(*place).is_some_and(|window| window.names(subject)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Definition, MaintenanceConfig, compile};

    fn windows(yaml: &str) -> Vec<MaintenanceWindow> {
        let maintenance: Vec<MaintenanceConfig> = serde_saphyr::from_str(yaml).expect(yaml);
        let (set, problems) = compile(&Definition { maintenance: &maintenance, ..Definition::of(&[], &[]) });
        assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
        set.maintenance
    }

    fn at(time: &str) -> Timestamp {
        Timestamp::parse_rfc3339(format!("2026-03-01T{time}:00Z").as_bytes()).expect(time)
    }

    #[test]
    fn only_windows_that_are_due_are_looked_at_and_only_a_change_is_told() {
        let windows = windows(
            "- { name: always, all: true, zone: UTC, schedule: { cron: '* * * * *', duration: 2m } }\n\
             - { name: noon, all: true, zone: UTC, schedule: { cron: '0 12 * * *', duration: 1h } }\n\
             - { name: gone, all: true, schedule: { once: { from: 2026-02-01T12:00Z, until: 2026-02-01T13:00Z } } }\n",
        );
        let mut maintenance = Maintenance::default();
        assert_eq!(maintenance.deadline(), None);
        maintenance.forget();
        assert_eq!(maintenance.deadline(), Some(AT_ONCE));
        // A chain without an end is looked at again every 64 occurrences or so, and that is no change.
        for (now, changed, open, deadline) in [
            ("10:59", true, &[0][..], "12:00"),
            ("11:30", false, &[0], "12:00"),
            ("12:00", true, &[0, 1], "12:05"),
            ("12:05", false, &[0, 1], "13:00"),
            ("13:00", true, &[0], "13:11"),
        ] {
            assert_eq!(maintenance.advance(&windows, at(now)), changed, "{now}");
            assert_eq!(maintenance.open, open, "{now}");
            assert_eq!(maintenance.deadline(), Some(at(deadline)), "{now}");
        }
        maintenance.forget();
        assert!(maintenance.advance(&[], at("14:00")), "what windows that are gone have muted must be let go");
        assert_eq!((maintenance.deadline(), maintenance.open()), (None, 0));
    }
}
