//! What a configuration says about priority, and what is wrong with it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::duration;
use crate::rules::validate::Problem;
use crate::rules::{ImpactConfig, Level, Matrix, RuleConfig};

const AFTER_MAX: Duration = Duration::from_secs(30 * 86_400);

/// What raises the impact that services say, and what keeps it down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImpactRisesConfig {
    /// By the number of services concerned. Default: it does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ThresholdsConfig>,
    /// By the users of these services together. Default: they do not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<ThresholdsConfig>,
    /// Where the impact is never higher than so: the first whose matchers hold of an alert; up to 100. Default none.
    pub environments: Vec<EnvironmentConfig>,
}

/// What raises the urgency that the severity says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UrgencyRisesConfig {
    /// By the number of alerts that fire. Default: it does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts: Option<ThresholdsConfig>,
    /// By the time since the incident opened, while something fires. Default: it does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<AfterConfig>,
}

/// From how many on; at least one of both, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThresholdsConfig {
    /// From so many on it is high. Default: never; at least `medium`.
    pub high: Option<u64>,
    /// From so many on it is at least medium. Default: never; at least 1.
    pub medium: Option<u64>,
}

/// After how long; at least one of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AfterConfig {
    /// After so long it is high. Default: never; at least `medium`, at most `30d`.
    #[serde(with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    pub high: Option<Duration>,
    /// After so long it is at least medium. Default: never; over 0s, at most `30d`.
    #[serde(with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    pub medium: Option<Duration>,
}

/// Where things hurt less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// Matchers in Alertmanager's syntax, all of which must hold of an alert; 1 to 16.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// What the impact is at most: `high`, `medium` or `low`.
    pub impact: Level,
}

impl ImpactRisesConfig {
    /// What holds where nothing is said.
    pub const DEFAULT: ImpactRisesConfig = ImpactRisesConfig { services: None, users: None, environments: Vec::new() };
}

impl UrgencyRisesConfig {
    /// What holds where nothing is said.
    pub const DEFAULT: UrgencyRisesConfig = UrgencyRisesConfig { alerts: None, after: None };
}

/// What no rule asks for.
pub(in crate::rules) fn asked_by_nobody(
    rules: &[RuleConfig],
    impact: &ImpactRisesConfig,
    urgency: &UrgencyRisesConfig,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let from_service = |rule: &RuleConfig| rule.incident.impact == ImpactConfig::FromService;
    if *impact != ImpactRisesConfig::DEFAULT && !rules.is_empty() && !rules.iter().any(from_service) {
        let message = "no rule has `incident.impact: from_service`, so every impact is fixed by its rule";
        problems.push(Problem::warning("priority.impact", message));
    }
    let fixed = |rule: &RuleConfig| rule.incident.urgency.is_some();
    if *urgency != UrgencyRisesConfig::DEFAULT && !rules.is_empty() && rules.iter().all(fixed) {
        let message = "every rule fixes `incident.urgency`, so nothing raises it";
        problems.push(Problem::warning("priority.urgency", message));
    }
    problems
}

/// What is graver should not come after what is less so, in no row and no column.
pub(super) fn check_matrix(matrix: &Matrix, problems: &mut Vec<Problem>) {
    let cells = (0..3).flat_map(|row| (0..3).map(move |column| (row, column)));
    for (row, column) in cells {
        let less = [(row + 1, column), (row, column + 1)].into_iter().filter(|(row, column)| *row.max(column) < 3);
        let graver = less.map(|(row, column)| (row, column, matrix[row][column]));
        let worst = graver.filter(|(.., priority)| *priority < matrix[row][column]).min_by_key(|one| one.2);
        if let Some((other_row, other_column, priority)) = worst {
            let name = |row: usize, column: usize| format!("{} impact and {} urgency", LEVELS[row], LEVELS[column]);
            let (this, other) = (name(row, column), name(other_row, other_column));
            let message =
                format!("{this} make {}, and the lesser {other} {}", matrix[row][column].as_str(), priority.as_str());
            problems.push(Problem::warning(format!("priority.matrix[{row}][{column}]"), message));
        }
    }
}

const LEVELS: [&str; 3] = ["high", "medium", "low"];

pub(super) fn check_thresholds(key: &str, config: Option<&ThresholdsConfig>, problems: &mut Vec<Problem>) {
    let Some(ThresholdsConfig { high, medium }) = config.copied() else { return };
    let path = format!("priority.{key}");
    for (field, value) in [("high", high), ("medium", medium)] {
        if value == Some(0) {
            problems.push(Problem::error(format!("{path}.{field}"), "a threshold is 1 or more, not 0"));
        }
    }
    if let (Some(high), Some(medium)) = (high, medium)
        && high < medium
    {
        let message = format!("high begins at {high}, before medium at {medium}");
        problems.push(Problem::error(format!("{path}.high"), message));
    }
    if high.is_none() && medium.is_none() {
        problems.push(Problem::error(path, "says neither `high` nor `medium`"));
    }
}

pub(super) fn check_after(config: Option<&AfterConfig>, problems: &mut Vec<Problem>) {
    let Some(AfterConfig { high, medium }) = config.copied() else { return };
    for (field, value) in [("high", high), ("medium", medium)] {
        if let Some(value) = value.filter(|value| value.is_zero() || *value > AFTER_MAX) {
            let message = format!("a time is over 0s and at most 30d, not {}", duration::format(value));
            problems.push(Problem::error(format!("priority.urgency.after.{field}"), message));
        }
    }
    if let (Some(high), Some(medium)) = (high, medium)
        && high < medium
    {
        let [high, medium] = [high, medium].map(duration::format);
        let message = format!("high begins after {high}, before medium after {medium}");
        problems.push(Problem::error("priority.urgency.after.high", message));
    }
    if high.is_none() && medium.is_none() {
        problems.push(Problem::error("priority.urgency.after", "says neither `high` nor `medium`"));
    }
}
