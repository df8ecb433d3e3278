//! When incidents that keep recurring raise a problem.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;
use crate::event::duration;

/// When incidents that keep recurring raise a problem.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProblemsConfig {
    /// So many incidents of one rule and key raise one. Default 3; 2 to 50.
    pub recurrences: u32,
    /// When they open within this time. Default `7d`; 1m to 90d. An open problem is closed by itself after four times as
    /// long without another one.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub within: Duration,
}

const RECURRENCES_MIN: u32 = 2;
const RECURRENCES_MAX: u32 = 50;
const WITHIN_MIN: Duration = Duration::from_secs(60);
const WITHIN_MAX: Duration = Duration::from_secs(90 * 86_400);

impl ProblemsConfig {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(RECURRENCES_MIN..=RECURRENCES_MAX).contains(&self.recurrences) {
            let message = format!("recurrences is {RECURRENCES_MIN} to {RECURRENCES_MAX}, not {}", self.recurrences);
            problems.push(Problem::error("problems.recurrences", message));
        }
        if !(WITHIN_MIN..=WITHIN_MAX).contains(&self.within) {
            let message = format!("what recurs does so within 1m to 90d, not {}", duration::format(self.within));
            problems.push(Problem::error("problems.within", message));
        }
        problems
    }
}

impl Default for ProblemsConfig {
    fn default() -> Self {
        Self { recurrences: 3, within: Duration::from_secs(7 * 86_400) }
    }
}
