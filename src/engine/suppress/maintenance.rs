//! Which maintenance windows are open, and what happens to the alerts that they name.
//!
//! Derived from the configured windows and the time alone, so nothing of it is in the journal but a mark on each alert that
//! was kept from the rules. Memory: 24 bytes a window. While none is open, an alert costs one comparison; while some are,
//! the matchers of each.

use crate::engine::alert::{AlertState, Dirty};
use crate::engine::correlate::{AlertSubject, Sighting};
use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::shard::Shard;
use crate::event::{Event, Status, Timestamp};
use crate::identity::{EventKey, domain};
use crate::rules::{MaintenanceWindow, Subject};

/// Earlier than every instant: due at once.
const AT_ONCE: Timestamp = Timestamp::from_micros(i64::MIN);

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

impl Shard {
    /// The open window that names an alert.
    fn window_on(&self, slot: u32) -> Option<usize> {
        let subject = AlertSubject { alert: &self.alerts.slots[slot], names: &self.names };
        self.suppression.maintenance.mutes(&self.rules.maintenance, &subject)
    }

    /// Keeps an alert that an open window names from the rules, and remembers to let them see it afterwards.
    pub(super) fn withheld_by_maintenance(&mut self, slot: u32) -> Option<Verdict> {
        if self.suppression.maintenance.open.is_empty() {
            return None;
        }
        let window = self.window_on(slot)?;
        let alert = &mut self.alerts.slots[slot];
        // What it says may have changed by then, so its rules are looked for anew.
        alert.epoch = 0;
        if !std::mem::replace(&mut alert.withheld, true) {
            self.mark_alert(slot, Dirty::Whole);
        }
        let rule = Some(self.rules.maintenance[window].name.clone());
        let verdict = Verdict::new(Outcome::Suppressed, Reason::Maintenance);
        Some(Verdict { incident: self.incident_of(slot), rule, ..verdict })
    }

    /// Windows open or close: what was kept from the rules, still fires and is muted no longer, is seen by them now.
    pub(super) fn maintenance_due(&mut self, now: Timestamp) {
        if !self.suppression.maintenance.advance(&self.rules.maintenance, now) {
            return;
        }
        let fires = |alert: &crate::engine::alert::Alert| {
            alert.withheld && alert.state == AlertState::Firing && alert.until > now
        };
        let slots = self.alerts.slots.slots().filter(|(_, alert)| fires(alert)).map(|(slot, _)| slot);
        let mut slots: Vec<u32> = slots.collect();
        // The same order whatever slots a restart has given them.
        slots.sort_unstable_by_key(|slot| {
            let alert = &self.alerts.slots[*slot];
            (alert.first_seen, alert.fingerprint)
        });
        for slot in slots {
            self.see_again(now, slot);
        }
    }

    /// Lets the rules see a known alert as if it had fired just now, unless it is muted still.
    fn see_again(&mut self, now: Timestamp, slot: u32) {
        let alert = &self.alerts.slots[slot];
        // Named after its newest word and not after the clock, so that a replay names the incident alike.
        let hasher = self.hasher.reset(domain::EVENT).part(&alert.fingerprint.0.to_le_bytes());
        let key = hasher.part(&alert.register.at.as_micros().to_le_bytes()).finish128();
        let event = Event {
            fingerprint: alert.fingerprint,
            content: alert.content,
            severity: alert.severity,
            status: Status::Firing,
            occurred_at: Some(now),
            key: EventKey(key),
            ..Event::default()
        };
        self.consider(&Sighting { now, event: &event, slot, changed: true }, true);
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
