//! What scenarios configure beside rules, services and what mutes: under `with`, alike for a scenario and a reload.

use incidentd::rules::{Definition, ImpactRisesConfig, RuleConfig, TeamConfig, UrgencyRisesConfig};
use serde::Deserialize;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// Sinks beside the usual one; rules that name none tell the usual one and these.
    sinks: Vec<String>,
    teams: Vec<TeamConfig>,
    priority: Priority,
}

/// What raises priorities.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Priority {
    impact: ImpactRisesConfig,
    urgency: UrgencyRisesConfig,
}

impl Parts {
    /// The names of all sinks.
    pub fn sinks(&self, usual: &str) -> Vec<String> {
        std::iter::once(usual.to_owned()).chain(self.sinks.iter().cloned()).collect()
    }

    /// The definition of these rules with all of this.
    pub fn define<'a>(&'a self, rules: &'a [RuleConfig], sinks: &'a [String]) -> Definition<'a> {
        let Priority { impact, urgency } = &self.priority;
        Definition { teams: &self.teams, impact, urgency, ..Definition::of(rules, sinks) }
    }
}
