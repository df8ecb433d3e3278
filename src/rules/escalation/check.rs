//! What policies and major incidents have in common when they are checked: sinks, matchers, bounds.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;

use super::config::Conditions;
use super::when::IncidentMatcher;
use crate::event::{duration, hint};
use crate::rules::validate::Problem;
use crate::rules::{Calendars, Teams};

const NOTIFY_MAX: usize = 100;
const CONDITIONS_MAX: usize = 16;
const RUNBOOK_BYTES_MAX: usize = 2_048;
const TEAM_BYTES_MAX: usize = 256;

/// What may be named, and what was found wrong.
pub(super) struct Check<'a> {
    pub(super) sinks: &'a [String],
    /// The sink that sets a recovery going, which nothing else tells.
    pub(super) hook: Option<&'a str>,
    pub(super) rules: Vec<&'a str>,
    pub(super) calendars: &'a Calendars,
    /// Where there are none, any name is taken.
    pub(super) teams: &'a Teams,
    /// Labels that the keys of incidents have.
    pub(super) labels: HashSet<&'a str>,
    pub(super) problems: Vec<Problem>,
}

impl Check<'_> {
    pub(super) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::error(path, message));
    }

    pub(super) fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::warning(path, message));
    }

    pub(super) fn between(&mut self, path: String, value: Duration, min: Duration, max: Duration) {
        if value < min || value > max {
            let key = path.rsplit('.').next().unwrap_or(&path);
            let [min, max, value] = [min, max, value].map(duration::format);
            self.error(path.clone(), format!("{key} is {min} to {max}, not {value}"));
        }
    }

    /// The sinks of a list, checked.
    pub(super) fn notify(&mut self, path: &str, names: &[String]) -> Arc<[Arc<str>]> {
        if names.len() > NOTIFY_MAX {
            self.error(path, format!("at most {NOTIFY_MAX} sinks, not {}", names.len()));
            return Arc::default();
        }
        for (place, name) in names.iter().enumerate() {
            let at = format!("{path}[{place}]");
            if !self.sinks.contains(name) {
                let hint = hint(name, self.sinks.iter().map(String::as_str));
                self.error(at, format!("unknown sink \"{name}\"{hint}"));
            } else if self.hook == Some(name) {
                self.error(at, hook_only(name));
            } else if names[..place].contains(name) {
                self.error(at, format!("the sink \"{name}\" is named twice"));
            }
        }
        names.iter().map(|name| Arc::from(name.as_str())).collect()
    }

    pub(super) fn conditions(&mut self, path: &str, conditions: &Conditions) -> Box<[IncidentMatcher]> {
        if conditions.0.len() > CONDITIONS_MAX {
            self.error(path, format!("at most {CONDITIONS_MAX} matchers, not {}", conditions.0.len()));
            return Box::default();
        }
        let mut read = Vec::new();
        for (place, text) in conditions.0.iter().enumerate() {
            // A single matcher stands where a list might.
            let at = if conditions.0.len() == 1 { path.to_owned() } else { format!("{path}[{place}]") };
            match IncidentMatcher::parse(text, &self.rules) {
                Ok(matcher) => {
                    if let Some(label) = matcher.label().filter(|label| !self.labels.contains(label)) {
                        let message = format!("no rule groups by \"{label}\", so no incident has it");
                        self.warning(at, message);
                    }
                    read.push(matcher);
                }
                Err(wrong) => self.error(at, wrong),
            }
        }
        read.into()
    }

    pub(super) fn runbook(&mut self, path: String, runbook: Option<&str>) {
        let Some(runbook) = runbook else { return };
        if runbook.trim().is_empty() || runbook.len() > RUNBOOK_BYTES_MAX {
            self.error(path, format!("a runbook is named in 1 to {RUNBOOK_BYTES_MAX} bytes, not {}", runbook.len()));
        }
    }

    pub(super) fn calendar(&mut self, path: String, name: &str) {
        if let Some(wrong) = self.calendars.unknown(name) {
            self.error(path, wrong);
        }
    }

    /// Of a team or supplier, by name.
    pub(super) fn team(&mut self, path: String, name: Option<&str>) {
        let Some(name) = name else { return };
        if name.trim().is_empty() || name.len() > TEAM_BYTES_MAX {
            self.error(path, format!("a team or supplier is named in 1 to {TEAM_BYTES_MAX} bytes, not {}", name.len()));
        } else if !self.teams.is_empty() && self.teams.named(name).is_none() {
            let hint = hint(name, self.teams.names());
            self.error(path, format!("there is no team or supplier \"{name}\"{hint}"));
        }
    }
}

/// Why a sink that sets a recovery going is told nothing else.
pub(super) fn hook_only(name: &str) -> String {
    format!("\"{name}\" is the hook of major_incident, which is told once and of nothing else; name another sink")
}
