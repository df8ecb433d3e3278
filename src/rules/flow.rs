//! What protects people from what comes too often: alerts that keep changing, incidents by the hundred, and the same
//! incident again and again.
//!
//! All are off where nobody asks for them. The compiled form is the configured one.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;
use super::{Rule, RuleConfig};
use crate::event::duration;

const CHANGES_MIN: u32 = 2;
/// Bounds what is remembered of every alert: 8 bytes a change.
const CHANGES_MAX: u32 = 64;
/// Bounds what is remembered of a rule's openings: 8 bytes each.
const OPENS_MAX: u32 = 10_000;
const SPAN_MAX: Duration = Duration::from_secs(24 * 3_600);

/// When an alert flaps: it then holds its incident open, with a count, instead of resolving and reopening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlappingConfig {
    /// So many changes between firing and resolved, by what the producer says. Default 5; 2 to 64.
    pub changes: u32,
    /// Within this span of event time. Default `10m`, at most `24h`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// It has stopped when nothing has changed for this long on the daemon's clock. Default `10m`, at most `24h`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub stable: Duration,
}

impl Default for FlappingConfig {
    fn default() -> Self {
        Self { changes: 5, within: Duration::from_secs(600), stable: Duration::from_secs(600) }
    }
}

/// When incidents come so fast that further ones become parts of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StormConfig {
    /// Incidents that the rule may open or reopen within `per`; further ones become children. Default 100; 1 to 10,000.
    pub opens: u32,
    /// On the daemon's clock. Default `1m`, at most `24h`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub per: Duration,
}

impl Default for StormConfig {
    fn default() -> Self {
        Self { opens: 100, per: Duration::from_secs(60) }
    }
}

/// What the shard must remember of every alert, so that any rule can judge whether it flaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlappingMemory {
    /// How many changes: the greatest `changes` of any rule; 0 where no rule asks.
    pub changes: usize,
    /// How long: the greatest `within` of any rule.
    pub within: Duration,
}

impl FlappingMemory {
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a Rule>) -> Self {
        rules.filter_map(|rule| rule.flapping).fold(Self::default(), |memory, flapping| Self {
            changes: memory.changes.max(flapping.changes as usize),
            within: memory.within.max(flapping.within),
        })
    }
}

/// What is wrong with the `flapping` and `storm` of a rule: the field and a sentence each.
pub(super) fn problems(config: &RuleConfig) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let mut count = |field: &'static str, value: u32, min: u32, max: u32| {
        if !(min..=max).contains(&value) {
            problems.push((field, format!("a count of {min} to {max}, not {value}")));
        }
    };
    if let Some(flapping) = &config.flapping {
        count("flapping.changes", flapping.changes, CHANGES_MIN, CHANGES_MAX);
    }
    if let Some(storm) = &config.storm {
        count("storm.opens", storm.opens, 1, OPENS_MAX);
    }
    let spans = [
        ("flapping.within", config.flapping.map(|flapping| flapping.within)),
        ("flapping.stable", config.flapping.map(|flapping| flapping.stable)),
        ("storm.per", config.storm.map(|storm| storm.per)),
    ];
    for (field, span) in spans {
        let Some(span) = span else { continue };
        if span.is_zero() || span > SPAN_MAX {
            problems.push((field, format!("longer than 0s, at most 24h, not {}", duration::format(span))));
        }
    }
    problems
}

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
const RECUR_WITHIN_MIN: Duration = Duration::from_secs(60);
const RECUR_WITHIN_MAX: Duration = Duration::from_secs(90 * 86_400);

impl ProblemsConfig {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(RECURRENCES_MIN..=RECURRENCES_MAX).contains(&self.recurrences) {
            let message = format!("recurrences is {RECURRENCES_MIN} to {RECURRENCES_MAX}, not {}", self.recurrences);
            problems.push(Problem::error("problems.recurrences", message));
        }
        if !(RECUR_WITHIN_MIN..=RECUR_WITHIN_MAX).contains(&self.within) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_mapping_asks_for_the_defaults_and_no_mapping_for_nothing() {
        let config = |yaml: &str| -> RuleConfig { serde_saphyr::from_str(yaml).expect(yaml) };
        let plain = config("name: a");
        assert_eq!((plain.flapping, plain.storm), (None, None));
        let asked = config("{name: a, flapping: {}, storm: {}}");
        assert_eq!(asked.flapping, Some(FlappingConfig::default()));
        assert_eq!(asked.storm, Some(StormConfig::default()));
        let partly = config("{name: a, flapping: {changes: 3}, storm: {per: 5s}}");
        assert_eq!(partly.flapping.map(|flapping| (flapping.changes, flapping.within.as_secs())), Some((3, 600)));
        assert_eq!(partly.storm.map(|storm| (storm.opens, storm.per.as_secs())), Some((100, 5)));
    }

    #[test]
    fn what_is_out_of_bounds_is_said_with_its_field() {
        let yaml = "{name: a, flapping: {changes: 1, within: 0s, stable: 2d}, storm: {opens: 10001, per: 25h}}";
        let config: RuleConfig = serde_saphyr::from_str(yaml).expect(yaml);
        let said: Vec<String> =
            problems(&config).into_iter().map(|(field, wrong)| format!("{field}: {wrong}")).collect();
        let expected = [
            "flapping.changes: a count of 2 to 64, not 1",
            "storm.opens: a count of 1 to 10000, not 10001",
            "flapping.within: longer than 0s, at most 24h, not 0s",
            "flapping.stable: longer than 0s, at most 24h, not 2d",
            "storm.per: longer than 0s, at most 24h, not 1d1h",
        ];
        assert_eq!(said, expected);
    }
}
