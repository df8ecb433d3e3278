//! Inhibition rules: while one alert fires, others are muted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;

/// While an alert that the source matchers match fires, those that the target matchers match are muted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InhibitRuleConfig {
    /// What mutes.
    pub source_matchers: Vec<String>,
    /// What is muted.
    pub target_matchers: Vec<String>,
    /// Labels that must be equal on both.
    #[serde(default)]
    pub equal: Vec<String>,
}

/// Inhibition rules, compiled.
#[derive(Debug, Default)]
pub struct Inhibitions {}

impl Inhibitions {
    pub(super) fn compile(_rules: &[InhibitRuleConfig]) -> (Self, Vec<Problem>) {
        (Self::default(), Vec::new())
    }
}
