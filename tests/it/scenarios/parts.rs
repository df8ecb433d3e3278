//! What scenarios configure beside rules, services and what mutes: under `with`, alike for a scenario and a reload.

use incidentd::rules::{CommunicationConfig, Definition, RuleConfig, TeamConfig};
use serde::Deserialize;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// Sinks beside the usual one; rules that name none tell the usual one and these.
    sinks: Vec<String>,
    /// Who can be given an incident.
    teams: Vec<TeamConfig>,
    /// Who is told by status updates, and how often.
    communication: CommunicationConfig,
}

impl Parts {
    /// The names of all sinks.
    pub fn sinks(&self, usual: &str) -> Vec<String> {
        std::iter::once(usual.to_owned()).chain(self.sinks.iter().cloned()).collect()
    }

    /// The definition of these rules with all of this.
    pub fn define<'a>(&'a self, rules: &'a [RuleConfig], sinks: &'a [String]) -> Definition<'a> {
        Definition { teams: &self.teams, communication: &self.communication, ..Definition::of(rules, sinks) }
    }
}
