//! What the configuration says of major incidents, and what it compiles to.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::config::Conditions;
use super::when::IncidentMatcher;
use crate::event::hint;

const UPDATES_EVERY_MIN: Duration = Duration::from_secs(60);
const UPDATES_EVERY_MAX: Duration = Duration::from_secs(7 * 86_400);

/// What happens when an incident is declared a major one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MajorIncidentConfig {
    /// Declares it where all of these hold: a matcher or a list of them, as in a step's `when`. Default: only steps and
    /// people do.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub when: Conditions,
    /// The sinks that are told; at most 100. Default: none.
    #[serde(default)]
    pub crisis_cell: Vec<String>,
    /// The team or supplier that is given the incident. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign: Option<String>,
    /// The runbook of the recovery plan; up to 2048 bytes. Default: that of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// The sink that sets the recovery going: told once in the life of an incident, and of nothing else. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// How often stakeholders are to hear. 1m to 7d. Default: as the priority says.
    #[serde(default, with = "crate::event::duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub updates_every: Option<Duration>,
}

/// The same, compiled.
#[derive(Clone, Debug, Default)]
pub struct MajorRules {
    /// All must hold; none where only steps and people declare.
    pub when: Box<[IncidentMatcher]>,
    /// The same as it is written.
    pub said: Arc<str>,
    /// Who is told.
    pub crisis_cell: Arc<[Arc<str>]>,
    /// Who is given it.
    pub assign: Option<Arc<str>>,
    /// The runbook of the recovery plan.
    pub runbook: Option<Arc<str>>,
    /// Told once.
    pub hook: Option<Arc<str>>,
    /// How often stakeholders are to hear.
    pub updates_every: Option<Duration>,
}

impl MajorRules {
    pub(super) fn compile(config: &MajorIncidentConfig, check: &mut Check<'_>) -> Self {
        let root = "major_incident";
        if let Some(hook) = &config.hook
            && !check.sinks.contains(hook)
        {
            let hint = hint(hook, check.sinks.iter().map(String::as_str));
            check.error(format!("{root}.hook"), format!("unknown sink \"{hook}\"{hint}"));
        }
        if let Some(every) = config.updates_every {
            check.between(format!("{root}.updates_every"), every, UPDATES_EVERY_MIN, UPDATES_EVERY_MAX);
        }
        check.runbook(format!("{root}.runbook"), config.runbook.as_deref());
        check.team(format!("{root}.assign"), config.assign.as_deref());
        Self {
            said: config.when.0.join(", ").into(),
            when: check.conditions(&format!("{root}.when"), &config.when),
            crisis_cell: check.notify(&format!("{root}.crisis_cell"), &config.crisis_cell),
            assign: config.assign.as_deref().map(Arc::from),
            runbook: config.runbook.as_deref().map(Arc::from),
            hook: config.hook.as_deref().map(Arc::from),
            updates_every: config.updates_every,
        }
    }
}
