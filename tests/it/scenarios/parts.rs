//! What scenarios configure beside rules, services and what mutes: under `with`, alike for a scenario and a reload.

use incidentd::rules::{
    AgreementConfig, CalendarConfig, DeadlineConfigs, Definition, RuleConfig, Share, TargetsConfig,
};
use serde::Deserialize;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// Sinks beside the usual one; rules that name none tell the usual one and these.
    sinks: Vec<String>,
    calendars: Vec<CalendarConfig>,
    agreements: Vec<AgreementConfig>,
    priority: Priorities,
}

/// The part of the priorities that is about deadlines.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Priorities {
    targets: TargetsConfig,
    warn_at: Vec<Share>,
    pause_while_muted: bool,
}

impl Parts {
    /// The names of all sinks.
    pub fn sinks(&self, usual: &str) -> Vec<String> {
        std::iter::once(usual.to_owned()).chain(self.sinks.iter().cloned()).collect()
    }

    /// The definition of these rules with all of this.
    pub fn define<'a>(&'a self, rules: &'a [RuleConfig], sinks: &'a [String]) -> Definition<'a> {
        let Priorities { targets, warn_at, pause_while_muted } = &self.priority;
        let deadlines = DeadlineConfigs {
            calendars: &self.calendars,
            targets,
            agreements: &self.agreements,
            warn_at,
            pause_while_muted: *pause_while_muted,
        };
        Definition { deadlines, ..Definition::of(rules, sinks) }
    }
}
