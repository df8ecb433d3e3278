//! Inhibition rules: while one alert fires, others are muted.
//!
//! Alertmanager's meaning: matchers and `equal` take a missing label for an empty one, and an alert that matches both
//! sides of a rule is muted only by alerts that match its source side alone. Compiled rules are found through an index
//! on each side. What can be wrong is found here; rules that provably mute each other are refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::duration;
use crate::identity::{Hasher, domain};
use crate::rules::labels::{LabelIndex, LabelMatcher, LabelSet, label_or_field};
use crate::rules::validate::{Problem, check_name};

/// While an alert that the source matchers match fires, those that the target matchers match are muted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InhibitRuleConfig {
    /// Unique; shown where the rule mutes something. Default: its place, such as `inhibit_rules[2]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What mutes: matchers in Alertmanager's syntax, all of which must hold. 1 to 64.
    pub source_matchers: Vec<String>,
    /// What is muted. 1 to 64.
    pub target_matchers: Vec<String>,
    /// Labels that must be equal on both; a missing one is an empty one. Default `[]`; at most 16.
    #[serde(default)]
    pub equal: Vec<String>,
    /// A target that begins to fire is withheld this long, in case its source comes after it. Default `0s`, at most `1h`.
    #[serde(default, with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub hold: Duration,
}

/// Inhibition rules; a guess far above any configuration seen. An alert takes an entry of 48 bytes a rule it matches.
const RULES_MAX: usize = 1_000;
const MATCHERS_MAX: usize = 64;
const EQUAL_MAX: usize = 16;
const HOLD_MAX: Duration = Duration::from_secs(3_600);

/// An inhibition rule, compiled.
#[derive(Debug)]
pub struct Inhibition {
    /// As configured, else its place.
    pub name: Arc<str>,
    /// A target that begins to fire is withheld this long.
    pub hold: Duration,
    source: Vec<LabelMatcher>,
    target: Vec<LabelMatcher>,
    equal: Vec<Arc<str>>,
}

/// Inhibition rules, compiled and indexed.
#[derive(Debug, Default)]
pub struct Inhibitions {
    /// As configured, to see that nothing has changed.
    configs: Vec<InhibitRuleConfig>,
    rules: Vec<Inhibition>,
    sources: LabelIndex,
    targets: LabelIndex,
}

/// What an alert is to an inhibition rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// The rule's place.
    pub rule: u32,
    /// Hash of the values of its `equal` labels.
    pub key: u128,
    /// It mutes.
    pub source: bool,
    /// It is muted.
    pub target: bool,
}

impl Inhibitions {
    /// Checks and compiles; rules with errors are left out.
    pub(in crate::rules) fn compile(configs: &[InhibitRuleConfig], scope: &[String]) -> (Self, Vec<Problem>) {
        let mut check = Check::default();
        if configs.len() > RULES_MAX {
            check.error("", "inhibit_rules", format!("at most {RULES_MAX} inhibition rules, not {}", configs.len()));
            return (Self::default(), check.problems);
        }
        let mut compiled = Self { configs: configs.to_vec(), ..Self::default() };
        let mut read: Vec<(usize, Sides)> = Vec::new();
        for (place, config) in configs.iter().enumerate() {
            let Some((name, sides)) = check.rule(place, config, scope) else { continue };
            check.circles(place, &sides, &read);
            read.push((place, sides.clone()));
            let index = compiled.rules.len() as u32;
            compiled.sources.insert(index, &sides.source);
            compiled.targets.insert(index, &sides.target);
            let Sides { source, target, equal } = sides;
            let equal = equal.iter().map(|label| label.as_str().into()).collect();
            compiled.rules.push(Inhibition { name, hold: config.hold, source, target, equal });
        }
        (compiled, check.problems)
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether they mute the same as others.
    pub fn are_alike(&self, other: &Self) -> bool {
        self.configs == other.configs
    }

    /// A rule by its place.
    pub fn get(&self, rule: u32) -> Option<&Inhibition> {
        self.rules.get(rule as usize)
    }

    /// What an alert is to each rule that it concerns, in the order of the rules. Costs a look-up a label, and the
    /// matchers of the rules that want one of its values.
    pub fn roles(&self, subject: &impl LabelSet, hasher: &mut Hasher, each: &mut dyn FnMut(Role)) {
        let mut concerned: smallvec::SmallVec<[(u32, bool); 8]> = smallvec::SmallVec::new();
        let holds = |matchers: &[LabelMatcher]| matchers.iter().all(|matcher| matcher.matches(subject));
        self.sources.candidates(subject, |rule| {
            if holds(&self.rules[rule as usize].source) {
                concerned.push((rule, true));
            }
        });
        self.targets.candidates(subject, |rule| {
            if holds(&self.rules[rule as usize].target) {
                concerned.push((rule, false));
            }
        });
        concerned.sort_unstable();
        for roles in concerned.chunk_by(|(one, _), (other, _)| one == other) {
            let rule = roles[0].0;
            let has = |side: bool| roles.iter().any(|(_, source)| *source == side);
            hasher.reset(domain::GROUP);
            for label in &self.rules[rule as usize].equal {
                hasher.part(label_or_field(subject, label).as_bytes());
            }
            each(Role { rule, key: hasher.finish128(), source: has(true), target: has(false) });
        }
    }
}

/// The two sides of a rule, read.
#[derive(Clone, Debug)]
struct Sides {
    source: Vec<LabelMatcher>,
    target: Vec<LabelMatcher>,
    equal: BTreeSet<String>,
}

#[derive(Default)]
struct Check {
    names: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Check {
    fn error(&mut self, root: &str, field: &str, message: impl Into<String>) {
        let dot = if root.is_empty() || field.is_empty() { "" } else { "." };
        self.problems.push(Problem::error(format!("{root}{dot}{field}"), message));
    }

    fn rule(&mut self, place: usize, config: &InhibitRuleConfig, scope: &[String]) -> Option<(Arc<str>, Sides)> {
        let (root, before) = (format!("inhibit_rules[{place}]"), self.problems.len());
        let name = self.name(&root, config);
        let source = self.matchers(&root, "source_matchers", &config.source_matchers);
        let target = self.matchers(&root, "target_matchers", &config.target_matchers);
        self.equal(&root, config, scope);
        if config.hold > HOLD_MAX {
            let (max, hold) = (duration::format(HOLD_MAX), duration::format(config.hold));
            self.error(&root, "hold", format!("hold is at most {max}, not {hold}"));
        }
        let sides = Sides { source, target, equal: config.equal.iter().cloned().collect() };
        let errors = self.problems.len() > before;
        if !errors && implies(&sides.source, &sides.target) && implies(&sides.target, &sides.source) {
            // An alert that matches both sides is not muted by another one that does.
            self.error(&root, "target_matchers", "mutes nothing: every source is a target of the same rule, and back");
        }
        Some((name, sides)).filter(|_| self.problems.len() == before)
    }

    fn name(&mut self, root: &str, config: &InhibitRuleConfig) -> Arc<str> {
        let Some(name) = &config.name else { return root.into() };
        if let Err(wrong) = check_name(name) {
            self.error(root, "name", wrong);
        } else if !self.names.insert(name.clone()) {
            self.error(root, "name", format!("another inhibition rule is named \"{name}\" already"));
        }
        name.as_str().into()
    }

    fn matchers(&mut self, root: &str, field: &str, texts: &[String]) -> Vec<LabelMatcher> {
        if texts.is_empty() || texts.len() > MATCHERS_MAX {
            let count = texts.len();
            self.error(root, field, format!("a side has 1 to {MATCHERS_MAX} matchers, not {count}"));
            return Vec::new();
        }
        let mut read = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            match LabelMatcher::parse(text) {
                Ok(matcher) => read.push(matcher),
                Err(wrong) => self.error(root, &format!("{field}[{place}]"), wrong),
            }
        }
        if read.len() == texts.len() && !overlap(&read, &read) {
            let path = format!("{root}.{field}");
            self.problems.push(Problem::warning(path, "no alert matches all of these"));
        }
        read
    }

    fn equal(&mut self, root: &str, config: &InhibitRuleConfig, scope: &[String]) {
        if config.equal.len() > EQUAL_MAX {
            return self.error(root, "equal", format!("at most {EQUAL_MAX} labels, not {}", config.equal.len()));
        }
        for (place, label) in config.equal.iter().enumerate() {
            let field = format!("equal[{place}]");
            if label.is_empty() {
                self.error(root, &field, "a label's name is not empty");
            } else if config.equal[..place].contains(label) {
                self.error(root, &field, format!("the label \"{label}\" is named twice"));
            }
        }
        let missing: Vec<&str> = scope.iter().filter(|l| !config.equal.contains(l)).map(String::as_str).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            let message = "would mute across scopes, which never meet: add the scope's labels to `equal`, here";
            self.error(root, "equal", format!("{message} {missing}"));
        }
    }

    /// Rules by which two alerts can mute each other, so that nobody hears of either.
    fn circles(&mut self, place: usize, sides: &Sides, earlier: &[(usize, Sides)]) {
        let root = format!("inhibit_rules[{place}]");
        let certain = earlier.iter().find(|(_, other)| answers(other, sides) || answers(sides, other));
        if let Some((other, _)) = certain {
            let message =
                format!("mutes in a circle with inhibit_rules[{other}]: what one mutes, mutes it by the other");
            return self.error(&root, "", message);
        }
        let possible = |other: &Sides| overlap(&sides.source, &other.target) && overlap(&sides.target, &other.source);
        if let Some((other, _)) = earlier.iter().find(|(_, other)| possible(other)) {
            let message = format!(
                "may mute in a circle with inhibit_rules[{other}]: an alert can match both as source of \
                                   one and target of the other; tell them apart by a label"
            );
            self.problems.push(Problem::warning(root, message));
        }
    }
}

/// Whether every pair that one rule mutes by is one that the other mutes by, the other way round.
fn answers(one: &Sides, other: &Sides) -> bool {
    implies(&one.source, &other.target) && implies(&one.target, &other.source) && other.equal.is_subset(&one.equal)
}

/// Whether what matches `one` matches `other`, as far as the texts show: the same matchers and perhaps more.
fn implies(one: &[LabelMatcher], other: &[LabelMatcher]) -> bool {
    let known: BTreeSet<String> = one.iter().map(LabelMatcher::to_string).collect();
    other.iter().all(|matcher| known.contains(&matcher.to_string()))
}

/// Whether an alert could match both, as far as the values show that are asked for.
fn overlap(one: &[LabelMatcher], other: &[LabelMatcher]) -> bool {
    let all = || one.iter().chain(other);
    let possible = |matcher: &LabelMatcher| {
        let Some(values) = matcher.wanted() else { return true };
        let same = || all().filter(|other| other.name() == matcher.name());
        values.iter().any(|value| same().all(|other| other.holds(value)))
    };
    all().all(possible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::labels::tests::alert;

    fn compiled(yaml: &str, scope: &[&str]) -> (Inhibitions, Vec<String>) {
        let configs: Vec<InhibitRuleConfig> = serde_saphyr::from_str(yaml).expect(yaml);
        let scope: Vec<String> = scope.iter().map(|label| (*label).to_owned()).collect();
        let (set, problems) = Inhibitions::compile(&configs, &scope);
        let shown = |problem: Problem| {
            format!("{}: {}{}", problem.path, if problem.warning { "warning: " } else { "" }, problem.message)
        };
        (set, problems.into_iter().map(shown).collect())
    }

    #[track_caller]
    fn says(yaml: &str, expected: &[&str]) {
        let (_, problems) = compiled(yaml, &[]);
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
    }

    #[test]
    fn a_thousand_rules_may_be_and_of_one_more_none_is_taken() {
        let rules = |count: usize| {
            let rule = |n| format!("{{ source_matchers: ['a=\"{n}\"'], target_matchers: ['b=\"{n}\"', 'a=\"x\"'] }}");
            compiled(&format!("[{}]", (0..count).map(rule).collect::<Vec<_>>().join(", ")), &[])
        };
        let (set, problems) = rules(RULES_MAX);
        assert!(set.get(999).is_some() && problems.is_empty(), "{problems:?}");
        let (set, problems) = rules(RULES_MAX + 1);
        assert!(set.get(0).is_none());
        assert_eq!(problems, ["inhibit_rules: at most 1000 inhibition rules, not 1001"]);
    }

    fn roles(set: &Inhibitions, labels: &[(&str, &str)]) -> Vec<(u32, u128, bool, bool)> {
        let mut found = Vec::new();
        set.roles(&alert(labels), &mut Hasher::default(), &mut |role| {
            found.push((role.rule, role.key, role.source, role.target));
        });
        found
    }

    #[test]
    fn an_alert_is_source_target_or_both_under_the_key_of_its_equal_labels() {
        let (set, problems) = compiled(
            "[{source_matchers: [a=b], target_matchers: [c=d], equal: [x]}, {source_matchers: [a=b], target_matchers: [e=f]}]",
            &[],
        );
        assert!(problems.iter().all(|problem| problem.contains("warning")), "{problems:?}");
        let both = roles(&set, &[("a", "b"), ("c", "d"), ("x", "1")]);
        assert_eq!(
            both.iter().map(|role| (role.0, role.2, role.3)).collect::<Vec<_>>(),
            [(0, true, true), (1, true, false)]
        );
        let key = |labels: &[(&str, &str)]| roles(&set, labels)[0].1;
        assert_eq!(key(&[("a", "b")]), key(&[("c", "d"), ("x", "")]), "a missing label is an empty one");
        assert_ne!(key(&[("a", "b"), ("x", "1")]), key(&[("a", "b"), ("x", "2")]));
        assert_eq!(roles(&set, &[("a", "c")]), []);
    }

    #[test]
    fn every_problem_is_said_at_its_place() {
        says(
            "[{name: Bad, source_matchers: [], target_matchers: [a, b=c], equal: ['', d, d], hold: 2h}]",
            &[
                "inhibit_rules[0].name: a name has up to 63",
                "inhibit_rules[0].source_matchers: a side has 1 to 64 matchers, not 0",
                "inhibit_rules[0].target_matchers[0]: at character 2 of the matcher",
                "inhibit_rules[0].equal[0]: a label's name is not empty",
                "inhibit_rules[0].equal[2]: the label \"d\" is named twice",
                "inhibit_rules[0].hold: hold is at most 1h, not 2h",
            ],
        );
        says(
            "[{name: a, source_matchers: [a=b], target_matchers: [c=d]}, {name: a, source_matchers: [a=c, a=d], target_matchers: [e=f]}]",
            &["inhibit_rules[1].name: another", "inhibit_rules[1].source_matchers: warning: no alert matches"],
        );
        let (_, problems) = compiled("[{source_matchers: [a=b], target_matchers: [a=c], equal: [z]}]", &["cluster"]);
        assert!(problems[0].starts_with("inhibit_rules[0].equal: would mute across scopes"), "{problems:?}");
    }

    #[test]
    fn rules_that_mute_each_other_for_certain_are_refused() {
        let circle = "inhibit_rules[1]: mutes in a circle with inhibit_rules[0]";
        says(
            "[{source_matchers: [a=b], target_matchers: [a=c]}, {source_matchers: [a=c], target_matchers: [a=b]}]",
            &[circle],
        );
        // The first is narrower: whatever it mutes by, the second answers.
        says(
            "[{source_matchers: [a=b, x=y], target_matchers: [a=c], equal: [e]}, {source_matchers: [a=c], target_matchers: [a=b]}]",
            &[circle],
        );
        says(
            "[{source_matchers: [a=b], target_matchers: [c=d]}, {source_matchers: [c=d], target_matchers: [a=b], equal: [e]}]",
            &[circle],
        );
        says(
            "[{source_matchers: [a=b, c=d], target_matchers: [c=\"d\", a=b]}]",
            &["inhibit_rules[0].target_matchers: mutes nothing"],
        );
    }

    #[test]
    fn rules_that_may_mute_each_other_are_warned_of_unless_a_value_tells_them_apart() {
        let warning = "inhibit_rules[1]: warning: may mute in a circle with inhibit_rules[0]";
        says(
            "[{source_matchers: [severity=critical], target_matchers: [severity=warning]}, \
              {source_matchers: [alertname=NodeDown], target_matchers: [alertname=PodDown]}]",
            &[warning],
        );
        for apart in [
            // A chain.
            "[{source_matchers: [a=b], target_matchers: [a=c]}, {source_matchers: [a=c], target_matchers: [a=d]}]",
            "[{source_matchers: ['s=~\"c|e\"'], target_matchers: [s=w]}, {source_matchers: [s=c], target_matchers: ['s=~\"w|i\"']}]",
            "[{source_matchers: [s=c, n!=x], target_matchers: [s=w]}, {source_matchers: [s=w], target_matchers: [s=c, n=x]}]",
        ] {
            says(apart, &[]);
        }
    }
}
