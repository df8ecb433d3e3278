//! `union_by`: alerts that share the value of any of some labels belong together.
//!
//! Owns what the configuration says of it and its compiled form; who leads where is the engine's
//! (`engine/relate/union.rs`).

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;
use super::{MissingLabel, RuleConfig};

const LABELS_MAX: usize = 16;
const STOP_VALUES_MAX: usize = 1_000;
const ALERTS_MAX: u32 = 100_000;

/// Instead of `group_by`: which labels join alerts, and what keeps components from growing without end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnionConfig {
    /// Alerts with the same value of any of these labels belong together. 1 to 16 labels.
    pub labels: Vec<String>,
    /// Values that join nothing, of any of the labels. Default `["", unknown, localhost]`; at most 1,000.
    #[serde(default = "stop_values")]
    pub stop_values: Vec<String>,
    /// Alerts of a component; it grows beyond neither by merging nor by values it does not know. Default 1,000; 2 to
    /// 100,000.
    #[serde(default = "max_alerts")]
    pub max_alerts: u32,
    /// Alerts that may share a value; while more do, it joins nothing further. Default 200; 2 to 100,000.
    #[serde(default = "value_max")]
    pub value_max: u32,
}

fn stop_values() -> Vec<String> {
    ["", "unknown", "localhost"].map(str::to_owned).to_vec()
}

fn max_alerts() -> u32 {
    1_000
}

fn value_max() -> u32 {
    200
}

/// The same, compiled.
#[derive(Clone, Debug)]
pub struct Union {
    /// The labels, in the order of the configuration.
    pub labels: Vec<Arc<str>>,
    /// The labels of the scope: only alerts that agree on all of them meet.
    pub scope: Vec<Arc<str>>,
    stop_values: Vec<String>,
    /// Alerts of a component.
    pub max_alerts: usize,
    /// Alerts that may share a value.
    pub value_max: u32,
}

impl Union {
    pub(super) fn compile(config: &UnionConfig, scope: &[String]) -> Self {
        let shared = |labels: &[String]| labels.iter().map(|label| label.as_str().into()).collect();
        let mut stop_values = config.stop_values.clone();
        stop_values.sort();
        Self {
            labels: shared(&config.labels),
            scope: shared(scope),
            stop_values,
            max_alerts: config.max_alerts as usize,
            value_max: config.value_max,
        }
    }

    /// Whether a value joins nothing.
    pub fn stops(&self, value: &str) -> bool {
        self.stop_values.binary_search_by(|stop| stop.as_str().cmp(value)).is_ok()
    }
}

/// What is wrong with the `union_by` of a rule, whose path is `root`.
pub(super) fn check(root: &str, config: &RuleConfig) -> Vec<Problem> {
    let Some(union) = &config.union_by else { return Vec::new() };
    let mut problems = Vec::new();
    let mut error = |field: &str, message: String| problems.push(Problem::error(format!("{root}.{field}"), message));
    if !config.group_by.is_empty() {
        error("group_by", "a rule has group_by or union_by, not both".to_owned());
    }
    if config.missing_label == MissingLabel::OwnGroup {
        error("missing_label", "with union_by a missing label joins nothing; leave missing_label out".to_owned());
    }
    let open_when = &config.open_when;
    let estimated = open_when.distinct.as_ref().is_some_and(|distinct| distinct.count > super::condition::COUNT_MAX);
    if open_when.sequence.is_some() || open_when.absence.is_some() || open_when.ratio.is_some() || estimated {
        let message =
            "with union_by, whose groups become one, only alerts, events and distinct up to 10000 can be counted";
        error("open_when", message.to_owned());
    }
    if !config.cleared_by.is_empty() {
        error("cleared_by", "what clears goes by group_by; with union_by leave cleared_by out".to_owned());
    }
    if !(1..=LABELS_MAX).contains(&union.labels.len()) {
        error("union_by.labels", format!("1 to {LABELS_MAX} labels join alerts, not {}", union.labels.len()));
    }
    for (place, label) in union.labels.iter().enumerate().take(LABELS_MAX) {
        let field = format!("union_by.labels[{place}]");
        if label.is_empty() {
            error(&field, "a label's name is not empty".to_owned());
        } else if union.labels[..place].contains(label) {
            error(&field, format!("the label \"{label}\" is named twice"));
        }
    }
    if union.stop_values.len() > STOP_VALUES_MAX {
        let count = union.stop_values.len();
        error("union_by.stop_values", format!("at most {STOP_VALUES_MAX} stop values, not {count}"));
    }
    for (field, value) in [("max_alerts", union.max_alerts), ("value_max", union.value_max)] {
        if !(2..=ALERTS_MAX).contains(&value) {
            error(&format!("union_by.{field}"), format!("{field} is 2 to {ALERTS_MAX}, not {value}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Definition, compile};

    fn compiled(yaml: &str) -> (Vec<u64>, Vec<String>) {
        let rules: Vec<RuleConfig> = serde_saphyr::from_str(yaml).expect(yaml);
        let (set, problems) = compile(&Definition::of(&rules, &[]));
        let problems = problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message));
        (set.rules.iter().map(|rule| rule.correlation).collect(), problems.collect())
    }

    #[test]
    fn every_problem_is_reported_with_its_path() {
        let (_, problems) = compiled(
            "[{name: a, group_by: [x], missing_label: own_group, union_by: {labels: [b, b, ''], max_alerts: 1, \
             value_max: 0}}, {name: b, union_by: {labels: []}}]",
        );
        let expected = [
            "rules[0].group_by: a rule has group_by or union_by, not both",
            "rules[0].missing_label: with union_by a missing label joins nothing; leave missing_label out",
            "rules[0].union_by.labels[1]: the label \"b\" is named twice",
            "rules[0].union_by.labels[2]: a label's name is not empty",
            "rules[0].union_by.max_alerts: max_alerts is 2 to 100000, not 1",
            "rules[0].union_by.value_max: value_max is 2 to 100000, not 0",
            "rules[1].union_by.labels: 1 to 16 labels join alerts, not 0",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn whatever_union_by_says_decides_which_alerts_meet() {
        let (found, problems) = compiled(
            "[{name: a}, {name: b, union_by: {labels: [x]}}, {name: c, union_by: {labels: [x], value_max: 9}}, \
             {name: d, union_by: {labels: [x], stop_values: ['', unknown, localhost], max_alerts: 1000}}]",
        );
        assert_eq!(problems.len(), 2, "alike but for their limits: {problems:?}");
        assert!(found[0] != found[1] && found[1] != found[2]);
        assert_eq!(found[1], found[3], "spelling out the defaults is no change");
    }

    #[test]
    fn stop_values_are_whole_values() {
        let (labels, value_max) = (vec!["host".to_owned()], 2);
        let config = UnionConfig { labels, stop_values: stop_values(), max_alerts: 2, value_max };
        let union = Union::compile(&config, &[]);
        let stopped = ["", "unknown", "localhost", "local", "Unknown"].map(|value| union.stops(value));
        assert_eq!(stopped, [true, true, true, false, false]);
    }
}
