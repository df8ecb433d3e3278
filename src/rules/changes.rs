//! Which changes are suspected when something breaks.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;
use crate::event::duration;

/// Which changes are suspected when something breaks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChangesConfig {
    /// How long before the first event of an incident a change may lie, on event time. Default `1h`; 1s to 7d.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// Changes that a shard remembers; beyond, the oldest are forgotten early. Default 10,000; 1 to 1,000,000.
    pub max: u32,
    /// Changes of one service that a shard remembers; beyond, its oldest are forgotten early. Default 100; 1 to 1,000.
    pub max_per_service: u32,
}

const WITHIN_MIN: Duration = Duration::from_secs(1);
const WITHIN_MAX: Duration = Duration::from_secs(7 * 86_400);
const MAX: u32 = 1_000_000;
const PER_SERVICE_MAX: u32 = 1_000;

impl ChangesConfig {
    /// What holds where nothing is said.
    pub const DEFAULT: ChangesConfig =
        ChangesConfig { within: Duration::from_secs(3_600), max: 10_000, max_per_service: 100 };

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(WITHIN_MIN..=WITHIN_MAX).contains(&self.within) {
            let message = format!("changes are suspected within 1s to 7d, not {}", duration::format(self.within));
            problems.push(Problem::error("changes.within", message));
        }
        for (key, value, most) in [("max", self.max, MAX), ("max_per_service", self.max_per_service, PER_SERVICE_MAX)] {
            if !(1..=most).contains(&value) {
                problems.push(Problem::error(format!("changes.{key}"), format!("{key} is 1 to {most}, not {value}")));
            }
        }
        problems
    }
}

impl Default for ChangesConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}
