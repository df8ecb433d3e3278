//! What scenarios configure beside rules, services and what mutes: under `with`, alike for a scenario and a reload.

use incidentd::rules::{Definition, ProblemsConfig, RuleConfig};
use serde::Deserialize;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// Sinks beside the usual one; rules that name none tell the usual one and these.
    sinks: Vec<String>,
    problems: Option<ProblemsConfig>,
}

impl Parts {
    /// The names of all sinks.
    pub fn sinks(&self, usual: &str) -> Vec<String> {
        std::iter::once(usual.to_owned()).chain(self.sinks.iter().cloned()).collect()
    }

    /// The definition of these rules with all of this.
    pub fn define<'a>(&'a self, rules: &'a [RuleConfig], sinks: &'a [String]) -> Definition<'a> {
        Definition { problems: self.problems.as_ref(), ..Definition::of(rules, sinks) }
    }
}
