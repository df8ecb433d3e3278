//! From configured rules to a set that matches fast.
//!
//! Owns what the engine reads of a rule. All that can be wrong is found here, by [`compile`]; a compiled rule never
//! fails. Rules with problems are left out of the set, so a set is only for use when none of its problems is an error.

use std::sync::Arc;
use std::time::Duration;

use super::changes::ChangesConfig;
use super::heartbeat::{Heartbeat, HeartbeatConfig};
use super::index::Index;
use super::inhibition::{InhibitRuleConfig, Inhibitions};
use super::maintenance::{MaintenanceConfig, MaintenanceWindow};
use super::matcher::Matcher;
use super::title::{Title, Titles};
use super::topology::{ServiceConfig, Topology};
use super::validate::{self, Problem};
use super::{DEFAULT_MATRIX, ImpactConfig, Level, Matrix, MissingLabel, OnStale, OpenWhenConfig, Priority, RuleConfig};
use crate::event::{Kind, Severity, Status};
use crate::identity::{Hasher, domain};

/// What a matcher looks at.
pub trait Subject {
    /// A label's value, `None` when it is missing.
    fn label(&self, name: &str) -> Option<&str>;
    /// The monitoring system.
    fn source(&self) -> &str;
    /// One line for people.
    fn summary(&self) -> &str;
    /// How bad.
    fn severity(&self) -> Severity;
    /// Whether the condition holds.
    fn status(&self) -> Status;
    /// What it tells of.
    fn kind(&self) -> Kind;
}

/// What opens an incident.
#[derive(Clone, Debug, PartialEq)]
pub enum OpenWhen {
    /// So many different alerts.
    Alerts(u32),
    /// So many firing events.
    Events(u32),
    /// So many different values of a label.
    Distinct {
        /// The label.
        label: Arc<str>,
        /// How many values.
        count: u32,
    },
}

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique name.
    pub name: Arc<str>,
    /// A hash of the whole definition, defaults and sinks filled in: equal for a rule that did not change.
    pub definition: u64,
    /// A hash of what decides which alerts meet and when they open: `match`, `group_by`, `window`, `open_when`, `wait`
    /// and `missing_label`. While it stays equal, windows survive a reload.
    pub correlation: u64,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// Labels whose values make the group key.
    pub group_by: Vec<Arc<str>>,
    /// The span of event time in which `open_when` must hold.
    pub window: Duration,
    /// What opens an incident.
    pub open_when: OpenWhen,
    /// Holds the opening back.
    pub wait: Duration,
    /// All clear for this long resolves.
    pub resolve_after: Duration,
    /// A recurrence within this time reopens.
    pub reopen_within: Duration,
    /// Gathers `linked` and `updated`.
    pub update_interval: Duration,
    /// What a lapsed lease means.
    pub on_stale: OnStale,
    /// What becomes of an alert that lacks a `group_by` label.
    pub missing_label: MissingLabel,
    /// The sinks that are told, resolved: every configured sink where the rule names none.
    pub notify: Arc<[Arc<str>]>,
    /// Title template; the default title where `None`.
    pub title: Option<Title>,
    /// Fixed urgency; else from the severity.
    pub urgency: Option<Level>,
    /// How much it hurts.
    pub impact: Level,
}

/// All rules, indexed.
#[derive(Debug)]
pub struct RuleSet {
    /// In the order of the configuration.
    pub rules: Vec<Arc<Rule>>,
    /// `matrix[impact][urgency]`.
    pub matrix: Matrix,
    index: Index,
    /// What depends on what.
    pub topology: Topology,
    /// Which changes are suspected.
    pub changes: ChangesConfig,
    /// What mutes what.
    pub inhibitions: Inhibitions,
    /// Planned times in which something is muted.
    pub maintenance: Vec<MaintenanceWindow>,
    /// What is expected.
    pub heartbeats: Vec<Heartbeat>,
}

/// All that a configuration says about correlation.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    /// Correlation rules.
    pub rules: &'a [RuleConfig],
    /// The names of all configured sinks.
    pub sinks: &'a [String],
    /// Impact × urgency.
    pub matrix: Matrix,
    /// The scope labels.
    pub scope: &'a [String],
    /// The service catalogue.
    pub services: &'a [ServiceConfig],
    /// Which changes are suspected.
    pub changes: &'a ChangesConfig,
    /// What mutes what.
    pub inhibit_rules: &'a [InhibitRuleConfig],
    /// Planned times in which something is muted.
    pub maintenance: &'a [MaintenanceConfig],
    /// What is expected.
    pub heartbeats: &'a [HeartbeatConfig],
}

impl<'a> Definition<'a> {
    /// Rules that tell these sinks, and nothing else.
    pub fn of(rules: &'a [RuleConfig], sinks: &'a [String]) -> Self {
        const CHANGES: &ChangesConfig = &ChangesConfig {};
        Self {
            rules,
            sinks,
            matrix: DEFAULT_MATRIX,
            scope: &[],
            services: &[],
            changes: CHANGES,
            inhibit_rules: &[],
            maintenance: &[],
            heartbeats: &[],
        }
    }
}

impl Rule {
    /// Whether all matchers hold.
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(subject))
    }

    /// How fast an incident of this severity must be answered: as configured, else critical → high, error → medium,
    /// the rest → low.
    pub fn urgency(&self, severity: Severity) -> Level {
        self.urgency.unwrap_or_else(|| Level::of_severity(severity))
    }
}

impl RuleSet {
    /// Indexes compiled rules.
    pub fn new(rules: Vec<Arc<Rule>>, matrix: Matrix) -> Self {
        let index = Index::new(&rules);
        Self {
            rules,
            matrix,
            index,
            topology: Topology::default(),
            changes: ChangesConfig::default(),
            inhibitions: Inhibitions::default(),
            maintenance: Vec::new(),
            heartbeats: Vec::new(),
        }
    }

    /// Replaces `found` by the places of the rules that match, ascending. Costs one look-up per indexed field, and the
    /// matchers of the rules that share its value.
    pub fn matching(&self, subject: &impl Subject, found: &mut Vec<u32>) {
        found.clear();
        self.index.candidates(subject, |place| {
            if self.rules[place as usize].matches(subject) {
                found.push(place);
            }
        });
        found.sort_unstable();
    }

    /// Impact × urgency.
    pub fn priority(&self, impact: Level, urgency: Level) -> Priority {
        self.matrix[impact as usize][urgency as usize]
    }

    /// The rule of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| *rule.name == *name)
    }
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::new(Vec::new(), DEFAULT_MATRIX)
    }
}

/// Checks and compiles a definition.
///
/// Paths of problems are relative to the configuration, such as `rules[2].match[0]`.
pub fn compile(definition: &Definition<'_>) -> (RuleSet, Vec<Problem>) {
    let Definition { rules, sinks, matrix, scope, .. } = *definition;
    let mut problems = validate::check_set(rules);
    let mut titles = Titles::new();
    let mut accepted = Vec::new();
    for (place, config) in rules.iter().enumerate() {
        let (matchers, found) = validate::check_rule(place, config, sinks, scope, &mut titles);
        let errors = found.iter().any(|problem| !problem.warning);
        problems.extend(found);
        if !errors {
            accepted.push((place, config, matchers));
        }
    }
    problems.extend(validate::same_twice(&accepted));
    let title = titles.finish();
    let compiled = accepted.into_iter().filter_map(|(_, config, matchers)| {
        let mut rule = compile_rule(config, sinks, matchers)?;
        rule.title = config.incident.title.is_some().then(|| title(&rule.name));
        Some(Arc::new(rule))
    });
    let mut set = RuleSet::new(compiled.collect(), matrix);
    let (topology, wrong) = Topology::compile(definition.services);
    set.topology = topology;
    problems.extend(wrong);
    set.changes = definition.changes.clone();
    let (inhibitions, wrong) = Inhibitions::compile(definition.inhibit_rules, definition.scope);
    set.inhibitions = inhibitions;
    problems.extend(wrong);
    let (maintenance, wrong) = MaintenanceWindow::compile(definition.maintenance);
    set.maintenance = maintenance;
    problems.extend(wrong);
    let (heartbeats, wrong) = Heartbeat::compile(definition.heartbeats);
    set.heartbeats = heartbeats;
    problems.extend(wrong);
    problems.sort_by_key(|problem| problem.warning);
    (set, problems)
}

fn compile_rule(config: &RuleConfig, sinks: &[String], matchers: Vec<Matcher>) -> Option<Rule> {
    let mut notify = config.notify.clone().unwrap_or_else(|| sinks.to_vec());
    notify.sort();
    notify.dedup();
    Some(Rule {
        name: config.name.as_str().into(),
        definition: hash(&RuleConfig { notify: Some(notify.clone()), ..config.clone() }),
        correlation: hash(&(
            (&config.matchers, &config.group_by, &config.open_when),
            [config.window.as_micros(), config.wait.as_micros()],
            config.missing_label,
        )),
        matchers,
        group_by: config.group_by.iter().map(|label| label.as_str().into()).collect(),
        window: config.window,
        open_when: open_when(&config.open_when)?,
        wait: config.wait,
        resolve_after: config.resolve_after,
        reopen_within: config.reopen_within,
        update_interval: config.update_interval,
        on_stale: config.on_stale,
        missing_label: config.missing_label,
        notify: notify.iter().map(|sink| sink.as_str().into()).collect(),
        title: None,
        urgency: config.incident.urgency,
        impact: match config.incident.impact {
            ImpactConfig::High => Level::High,
            ImpactConfig::Medium => Level::Medium,
            ImpactConfig::Low => Level::Low,
            ImpactConfig::FromService => return None,
        },
    })
}

fn open_when(config: &OpenWhenConfig) -> Option<OpenWhen> {
    match (config.alerts, config.events, &config.distinct) {
        (Some(count), None, None) => Some(OpenWhen::Alerts(count)),
        (None, Some(count), None) => Some(OpenWhen::Events(count)),
        (None, None, Some(distinct)) => {
            Some(OpenWhen::Distinct { label: distinct.label.as_str().into(), count: distinct.count })
        }
        _ => None,
    }
}

/// Of the JSON, whose order of fields is that of the types; defaults are filled in by then.
fn hash(definition: &impl serde::Serialize) -> u64 {
    let json = serde_json::to_vec(definition).expect("plain data with text keys becomes JSON");
    Hasher::default().reset(domain::RULE).part(&json).finish64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> RuleConfig {
        serde_saphyr::from_str(yaml).expect(yaml)
    }

    fn rule(yaml: &str, sinks: &[&str]) -> Arc<Rule> {
        let sinks: Vec<String> = sinks.iter().map(|sink| (*sink).to_owned()).collect();
        let (set, problems) = compile(&Definition::of(&[config(yaml)], &sinks));
        assert_eq!(problems, []);
        set.rules[0].clone()
    }

    #[test]
    fn spelling_out_the_defaults_is_no_change() {
        let short = rule("name: a", &["x", "y"]);
        let long = rule(
            "{name: a, match: [], mode: active, group_by: [], window: 300s, open_when: {alerts: 1}, wait: 0s, \
             resolve_after: 5m, reopen_within: 60m, update_interval: 10s, on_stale: clear, missing_label: skip, \
             notify: [y, x], incident: {impact: medium}}",
            &["x", "y"],
        );
        assert_eq!(short.definition, long.definition);
        assert_ne!(short.definition, rule("name: a", &["x"]).definition, "another sink is told");
    }

    #[test]
    fn only_what_correlates_changes_the_correlation_hash() {
        let before = rule("{name: a, group_by: [service]}", &["x"]);
        for (change, same) in [
            ("{name: a, group_by: [service], incident: {title: t}}", true),
            ("{name: a, group_by: [service], resolve_after: 1h, on_stale: hold, notify: [x]}", true),
            ("{name: a, group_by: [host]}", false),
            ("{name: a, group_by: [service], window: 6m}", false),
            ("{name: a, group_by: [service], wait: 1s}", false),
            ("{name: a, group_by: [service], open_when: {events: 1}}", false),
            ("{name: a, group_by: [service], missing_label: own_group}", false),
            ("{name: a, group_by: [service], match: ['a=b']}", false),
        ] {
            assert_eq!(rule(change, &["x"]).correlation == before.correlation, same, "{change}");
        }
    }

    #[test]
    fn impact_and_urgency_make_the_priority() {
        let rule = rule("{name: a, incident: {impact: high}}", &["x"]);
        let set = RuleSet::default();
        let priority = |severity| set.priority(rule.impact, rule.urgency(severity)).as_str();
        assert_eq!([Severity::Critical, Severity::Error, Severity::Info].map(priority), ["P1", "P2", "P3"]);
    }
}
