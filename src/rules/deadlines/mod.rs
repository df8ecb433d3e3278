//! By when an incident must be answered and ended: calendars of working time, and targets by priority and agreement.
//!
//! All that can be wrong is found here, at load. Bounded: 100 calendars with 10,000 holidays each, 1,000 agreements;
//! more is an error. What working time a calendar has is derived from the instant asked for; no clock and no file is read
//! (a file of holidays is read by whoever reads the configuration, into [`CalendarConfig::read`]).

mod calendar;
mod config;
mod hours;
mod targets;
#[cfg(test)]
mod tests;

pub use calendar::{Calendar, Calendars, HORIZON_DAYS};
pub use config::{CalendarConfig, HOLIDAYS_FILE_BYTES_MAX, Holidays};
pub use targets::{AgreementConfig, TargetConfig, TargetTime, Targets, TargetsConfig, Terms};

use super::sets::Share;

/// What a configuration says of calendars and targets.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineConfigs<'a> {
    /// When work is done.
    pub calendars: &'a [CalendarConfig],
    /// What holds for services without an agreement.
    pub targets: &'a TargetsConfig,
    /// What differs from it by service.
    pub agreements: &'a [AgreementConfig],
    /// Shares of a target at which is warned.
    pub warn_at: &'a [Share],
    /// Whether clocks stop while all that fires is muted.
    pub pause_while_muted: bool,
}

impl DeadlineConfigs<'static> {
    /// No targets at all.
    pub const NONE: Self = Self {
        calendars: &[],
        targets: &TargetsConfig::new(),
        agreements: &[],
        warn_at: &[],
        pause_while_muted: false,
    };
}

impl DeadlineConfigs<'_> {
    /// The names that services may give: of calendars, and of agreements.
    pub(super) fn names(&self) -> (Vec<String>, Vec<String>) {
        let calendars = self.calendars.iter().map(|calendar| calendar.name.clone());
        let calendars = std::iter::once(Calendars::ALWAYS.to_owned()).chain(calendars).collect();
        (calendars, self.agreements.iter().map(|agreement| agreement.name.clone()).collect())
    }
}
