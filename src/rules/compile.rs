//! From configured rules to a set that matches fast.
//!
//! Owns what the engine reads of a rule. All that can be wrong is found here, by [`compile`]; a compiled rule never
//! fails. Rules with problems are left out of the set, so a set is only for use when none of its problems is an error.

use std::sync::Arc;
use std::time::Duration;

use super::changes::ChangesConfig;
use super::communication::{Communication, CommunicationConfig};
use super::condition::{self, Late, OpenWhen, WindowType};
use super::deadlines::{Calendars, DeadlineConfigs, Targets};
use super::escalation::{EscalationPolicyConfig, Escalations, MajorIncidentConfig};
use super::expression::{Expression, Expressions};
use super::flow::{FlappingConfig, FlappingMemory, ProblemsConfig, StormConfig};
use super::heartbeat::{Heartbeat, HeartbeatConfig};
use super::index::Index;
use super::matcher::Matcher;
use super::muting::inhibition::{InhibitRuleConfig, Inhibitions};
use super::muting::maintenance::{MaintenanceConfig, MaintenanceWindow};
use super::priority::{self, ImpactRisesConfig, PriorityRules, UrgencyRisesConfig};
use super::routing;
use super::sets::{SetConfig, Sets};
use super::title::{Title, Titles};
use super::topology::{Catalogue, KnownNames, ServiceConfig, TeamConfig, Teams, Topology, TopologyConfig};
use super::union::Union;
use super::validate::{self, Problem, WINDOW_MAX};
use super::{DEFAULT_MATRIX, ImpactConfig, Level, Matrix, MissingLabel, Mode, OnStale, Priority, RuleConfig};
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

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique name.
    pub name: Arc<str>,
    /// A hash of the whole definition, defaults and sinks filled in: equal for a rule that did not change.
    pub definition: u64,
    /// A hash of what decides which alerts meet, when they open and what ends them: `match`, `when`, `group_by` or
    /// `union_by`, `window` and its type and maximum, `open_when` with the set it names, `wait`, `cleared_by`, `late` and `missing_label`. While
    /// it stays equal, windows survive a reload.
    pub correlation: u64,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// Must hold as well; asked where the matchers hold.
    pub when: Option<Arc<Expression>>,
    /// Rules further down do not take what this one takes.
    pub ends_search: bool,
    /// Labels whose values make the group key.
    pub group_by: Vec<Arc<str>>,
    /// Instead of them: labels of which any one joins.
    pub union: Option<Arc<Union>>,
    /// The span of event time in which `open_when` must hold.
    pub window: Duration,
    /// What a window is.
    pub window_type: WindowType,
    /// The longest session.
    pub window_max: Duration,
    /// What opens an incident.
    pub open_when: OpenWhen,
    /// Whether an event that comes too late may count.
    pub late: Late,
    /// What ends the group's older alerts, where all hold; nothing when empty.
    pub cleared_by: Box<[Matcher]>,
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
    /// The sinks that are told, resolved: every configured sink but the hook of major incidents where the rule names none.
    pub notify: Arc<[Arc<str>]>,
    /// Title template; the default title where `None`.
    pub title: Option<Title>,
    /// Fixed urgency; else from the severity.
    pub urgency: Option<Level>,
    /// How much it hurts; where [`Rule::impact_from_service`], what holds if the service is unknown.
    pub impact: Level,
    /// Whether the service says how much it hurts.
    pub impact_from_service: bool,
    /// When an alert flaps.
    pub flapping: Option<FlappingConfig>,
    /// When further incidents become children of one.
    pub storm: Option<StormConfig>,
    /// Who is told when nobody answers.
    pub escalation: Option<Arc<str>>,
}

/// All rules, indexed.
#[derive(Debug)]
pub struct RuleSet {
    /// In the order of the configuration.
    pub rules: Vec<Arc<Rule>>,
    /// What impact and urgency come from, and which priority they make.
    pub priorities: PriorityRules,
    /// Who can be given an incident.
    pub teams: Teams,
    index: Index,
    /// The scope labels.
    pub scope: Vec<Arc<str>>,
    /// What must be remembered of every alert.
    pub flapping: FlappingMemory,
    /// Finds the rules whose groups an alert may end.
    ending: Index,
    /// Whether a rule waits for what may not come.
    pub awaits: bool,
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
    /// When work is done.
    pub calendars: Calendars,
    /// By when an incident must be answered and ended.
    pub targets: Targets,
    /// Who is told by status updates, and how often.
    pub communication: Communication,
    /// When what recurs is a problem.
    pub problems: Option<ProblemsConfig>,
    /// Who is told when nobody answers.
    pub escalation: Escalations,
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
    /// What raises the impact.
    pub impact: &'a ImpactRisesConfig,
    /// What raises the urgency.
    pub urgency: &'a UrgencyRisesConfig,
    /// Who can be given an incident.
    pub teams: &'a [TeamConfig],
    /// What else services may name.
    pub known: KnownNames<'a>,
    /// The service catalogue.
    pub services: &'a [ServiceConfig],
    /// The part of it that stands in a file of its own.
    pub listed_services: &'a [ServiceConfig],
    /// The line of each of them; empty where they are not known.
    pub listed_lines: &'a [u32],
    /// Whether that file could not be read, so that services are named that are not known.
    pub services_missing: bool,
    /// How far dependencies are followed.
    pub topology: &'a TopologyConfig,
    /// Which changes are suspected.
    pub changes: &'a ChangesConfig,
    /// What mutes what.
    pub inhibit_rules: &'a [InhibitRuleConfig],
    /// Planned times in which something is muted.
    pub maintenance: &'a [MaintenanceConfig],
    /// What is expected.
    pub heartbeats: &'a [HeartbeatConfig],
    /// Known sets, for shares.
    pub sets: &'a [SetConfig],
    /// Calendars and targets.
    pub deadlines: DeadlineConfigs<'a>,
    /// Who is told by status updates, and how often.
    pub communication: &'a CommunicationConfig,
    /// When what recurs is a problem; never where nothing is said.
    pub problems: Option<&'a ProblemsConfig>,
    /// Who is told when nobody answers.
    pub escalation_policies: &'a [EscalationPolicyConfig],
    /// What happens when a major incident is declared.
    pub major_incident: Option<&'a MajorIncidentConfig>,
}

/// What holds where nothing is said.
static NO_TOPOLOGY: TopologyConfig = TopologyConfig::DEFAULT;

impl<'a> Definition<'a> {
    /// Rules that tell these sinks, and nothing else.
    pub fn of(rules: &'a [RuleConfig], sinks: &'a [String]) -> Self {
        static IMPACT: ImpactRisesConfig = ImpactRisesConfig::DEFAULT;
        static COMMUNICATION: CommunicationConfig = CommunicationConfig::DEFAULT;
        Self {
            rules,
            sinks,
            matrix: DEFAULT_MATRIX,
            scope: &[],
            impact: &IMPACT,
            urgency: &UrgencyRisesConfig::DEFAULT,
            teams: &[],
            known: KnownNames::default(),
            services: &[],
            listed_services: &[],
            listed_lines: &[],
            services_missing: false,
            topology: &NO_TOPOLOGY,
            changes: &ChangesConfig::DEFAULT,
            inhibit_rules: &[],
            maintenance: &[],
            heartbeats: &[],
            sets: &[],
            deadlines: DeadlineConfigs::NONE,
            communication: &COMMUNICATION,
            problems: None,
            escalation_policies: &[],
            major_incident: None,
        }
    }

    /// The sinks that a rule tells which names none: all but the one that sets a recovery going.
    fn told_by_default(&self) -> Vec<String> {
        let hook = self.major_incident.and_then(|major| major.hook.as_deref());
        self.sinks.iter().filter(|sink| Some(sink.as_str()) != hook).cloned().collect()
    }
}

impl Rule {
    /// Whether all matchers hold.
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(subject))
    }

    /// Whether an alert ends the older alerts of its group.
    pub fn clears(&self, subject: &impl Subject) -> bool {
        !self.cleared_by.is_empty() && self.cleared_by.iter().all(|matcher| matcher.matches(subject))
    }

    /// Whether an alert is what the rule waits for.
    pub fn answers(&self, subject: &impl Subject) -> bool {
        let OpenWhen::Absence { of, .. } = &self.open_when else { return false };
        of.iter().all(|matcher| matcher.matches(subject)) && self.matches(subject)
    }

    /// Matchers, all of which hold for an alert that ends something.
    fn ending(&self) -> impl Iterator<Item = Vec<&Matcher>> {
        let cleared_by = (!self.cleared_by.is_empty()).then(|| self.cleared_by.iter().collect());
        let awaited = match &self.open_when {
            OpenWhen::Absence { of, .. } => Some(self.matchers.iter().chain(of).collect()),
            _ => None,
        };
        cleared_by.into_iter().chain(awaited)
    }

    /// How fast an incident of this severity must be answered: as configured, else critical → high, error → medium,
    /// the rest → low.
    pub fn urgency(&self, severity: Severity) -> Level {
        self.urgency.unwrap_or_else(|| Level::of_severity(severity))
    }
}

impl RuleSet {
    /// Indexes compiled rules.
    pub fn new(rules: Vec<Arc<Rule>>) -> Self {
        let index = Index::new(&rules);
        let flapping = FlappingMemory::of(rules.iter().map(|rule| &**rule));
        let place = |place: usize| u32::try_from(place).expect("a configuration of 10 MiB holds fewer rules");
        let lists = rules.iter().enumerate();
        let lists = lists.flat_map(|(at, rule)| rule.ending().map(move |matchers| (place(at), matchers)));
        let ending = Index::of(&lists.collect::<Vec<_>>());
        let awaits = rules.iter().any(|rule| matches!(rule.open_when, OpenWhen::Absence { .. }));
        Self {
            rules,
            priorities: PriorityRules::default(),
            teams: Teams::default(),
            index,
            scope: Vec::new(),
            flapping,
            ending,
            awaits,
            topology: Topology::default(),
            changes: ChangesConfig::default(),
            inhibitions: Inhibitions::default(),
            maintenance: Vec::new(),
            heartbeats: Vec::new(),
            calendars: Calendars::default(),
            targets: Targets::default(),
            communication: Communication::default(),
            problems: None,
            escalation: Escalations::default(),
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

    /// Replaces `found` by the places of the rules of whose groups an alert ends something, ascending. Costs nothing
    /// where no rule has `cleared_by` or an absence, else as [`RuleSet::matching`].
    pub fn ending(&self, subject: &impl Subject, found: &mut Vec<u32>) {
        found.clear();
        self.ending.candidates(subject, |place| {
            let rule = &self.rules[place as usize];
            if rule.clears(subject) || rule.answers(subject) {
                found.push(place);
            }
        });
        found.sort_unstable();
        found.dedup();
    }

    /// Impact × urgency.
    pub fn priority(&self, impact: Level, urgency: Level) -> Priority {
        self.priorities.priority(impact, urgency)
    }

    /// The rule of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| *rule.name == *name)
    }
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// Checks and compiles a definition.
///
/// Paths of problems are relative to the configuration, such as `rules[2].match[0]`.
pub fn compile(definition: &Definition<'_>) -> (RuleSet, Vec<Problem>) {
    let Definition { rules, sinks, scope, .. } = *definition;
    let (sets, mut problems) = Sets::compile(definition.sets);
    problems.extend(validate::check_set(rules));
    let mut titles = Titles::new();
    let (mut conditions, wrong) = conditions(rules);
    problems.extend(wrong);
    let mut accepted = Vec::new();
    for (place, config) in rules.iter().enumerate() {
        let (matchers, mut found) = validate::check_rule(place, config, sinks, scope, &mut titles);
        condition::check_set(&format!("rules[{place}]"), config, &sets, &mut found);
        let errors = found.iter().any(|problem| !problem.warning);
        problems.extend(found);
        if !errors {
            accepted.push((place, config, matchers));
        }
    }
    problems.extend(validate::same_twice(&accepted));
    problems.extend(routing::unreachable(&accepted));
    let title = titles.finish();
    let told = definition.told_by_default();
    let compiled = accepted.into_iter().filter_map(|(place, config, matchers)| {
        let mut rule = compile_rule(config, (&told, scope), &sets, matchers)?;
        rule.when = conditions.remove(&place);
        if rule.when.is_none() && config.when.is_some() {
            return None;
        }
        rule.title = config.incident.title.is_some().then(|| title(&rule.name));
        Some(Arc::new(rule))
    });
    let mut set = RuleSet::new(compiled.collect());
    set.scope = scope.iter().map(|label| label.as_str().into()).collect();
    problems.extend(catalogue(definition, &mut set));
    let Definition { impact, urgency, .. } = *definition;
    let (priorities, wrong) = PriorityRules::compile(definition.matrix, impact, urgency);
    set.priorities = priorities;
    set.problems = definition.problems.copied();
    problems.extend(definition.problems.into_iter().flat_map(ProblemsConfig::problems));
    problems.extend(wrong);
    problems.extend(priority::asked_by_nobody(rules, impact, urgency));
    problems.extend(impact_of_nothing(definition));
    set.changes = definition.changes.clone();
    problems.extend(set.changes.problems());
    let (inhibitions, wrong) = Inhibitions::compile(definition.inhibit_rules, definition.scope);
    set.inhibitions = inhibitions;
    problems.extend(wrong);
    let (maintenance, wrong) = MaintenanceWindow::compile(definition.maintenance);
    set.maintenance = maintenance;
    problems.extend(wrong);
    let (heartbeats, wrong) = Heartbeat::compile(definition.heartbeats, scope);
    set.heartbeats = heartbeats;
    problems.extend(wrong);
    let (calendars, wrong) = Calendars::compile(definition.deadlines.calendars);
    problems.extend(wrong);
    let (targets, wrong) = Targets::compile(definition.deadlines, &calendars);
    problems.extend(wrong);
    (set.calendars, set.targets) = (calendars, targets);
    let (communication, wrong) = Communication::compile(definition.communication, sinks);
    set.communication = communication;
    problems.extend(wrong);
    let (escalation, wrong) = Escalations::compile(definition, &set.calendars, &set.teams);
    set.escalation = escalation;
    problems.extend(wrong);
    problems.sort_by_key(|problem| problem.warning);
    (set, problems)
}

/// Teams and services.
fn catalogue(definition: &Definition<'_>, set: &mut RuleSet) -> Vec<Problem> {
    let (teams, mut problems) = Teams::compile(definition.teams, definition.sinks);
    let policies: Vec<String> = definition.escalation_policies.iter().map(|policy| policy.name.clone()).collect();
    let (calendars, agreements) = definition.deadlines.names();
    let known = KnownNames {
        escalation_policies: definition.known.escalation_policies.or(Some(&policies)),
        calendars: Some(&calendars),
        agreements: Some(&agreements),
    };
    let (topology, wrong) = Topology::compile(&Catalogue {
        services: definition.services,
        listed: definition.listed_services,
        lines: definition.listed_lines,
        missing: definition.services_missing,
        config: definition.topology,
        teams: &teams,
        known,
    });
    problems.extend(wrong);
    set.topology = topology;
    set.teams = teams;
    problems
}

/// Rules that ask a catalogue without services.
fn impact_of_nothing(definition: &Definition<'_>) -> Vec<Problem> {
    let Definition { rules, services, listed_services, services_missing, .. } = *definition;
    if services_missing || !services.is_empty() || !listed_services.is_empty() {
        return Vec::new();
    }
    let asking = rules.iter().enumerate().filter(|(_, rule)| rule.incident.impact == ImpactConfig::FromService);
    let problem = |(place, _)| {
        let path = format!("rules[{place}].incident.impact");
        Problem::warning(path, "there are no services, so the impact is always medium; configure services")
    };
    asking.map(problem).collect()
}

/// The conditions that could be read, by the places of their rules.
fn conditions(rules: &[RuleConfig]) -> (hashbrown::HashMap<usize, Arc<Expression>>, Vec<Problem>) {
    let (mut conditions, mut problems) = (hashbrown::HashMap::new(), Vec::new());
    let given = rules.iter().enumerate().filter_map(|(place, rule)| Some((place, rule.when.as_deref()?)));
    let mut compiler = None;
    for (place, text) in given {
        match compiler.get_or_insert_with(Expressions::new).compile(text) {
            Ok(expression) => drop(conditions.insert(place, Arc::new(expression))),
            Err(wrong) => problems.push(Problem::error(format!("rules[{place}].when"), wrong)),
        }
    }
    (conditions, problems)
}

fn compile_rule(
    config: &RuleConfig,
    (sinks, scope): (&[String], &[String]),
    sets: &Sets,
    matchers: Vec<Matcher>,
) -> Option<Rule> {
    let open_when = OpenWhen::compile(&config.open_when, sets)?;
    let window_max = config.window_max.unwrap_or(WINDOW_MAX);
    let set = if let OpenWhen::Ratio { set, .. } = &open_when { set.hash } else { 0 };
    let mut notify = config.notify.clone().unwrap_or_else(|| sinks.to_vec());
    notify.sort();
    notify.dedup();
    Some(Rule {
        name: config.name.as_str().into(),
        definition: hash(&(
            RuleConfig { notify: Some(notify.clone()), window_max: Some(window_max), ..config.clone() },
            set,
        )),
        correlation: hash(&(
            (&config.matchers, &config.when, &config.group_by, &config.union_by, &config.open_when, set),
            [config.window.as_micros(), config.wait.as_micros(), window_max.as_micros()],
            (config.missing_label, config.window_type, config.late, &config.cleared_by),
        )),
        matchers,
        when: None,
        ends_search: !config.proceed && config.mode == Mode::Active,
        group_by: config.group_by.iter().map(|label| label.as_str().into()).collect(),
        union: config.union_by.as_ref().map(|union| Arc::new(Union::compile(union, scope))),
        window: config.window,
        window_type: config.window_type,
        window_max,
        open_when,
        late: config.late,
        cleared_by: condition::matchers(&config.cleared_by)?,
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
            ImpactConfig::Low => Level::Low,
            ImpactConfig::Medium | ImpactConfig::FromService => Level::Medium,
        },
        impact_from_service: config.incident.impact == ImpactConfig::FromService,
        flapping: config.flapping,
        storm: config.storm,
        escalation: config.escalation.as_deref().map(Arc::from),
    })
}

/// Of the JSON, whose order of fields is that of the types; defaults are filled in by then.
pub(super) fn hash(definition: &impl serde::Serialize) -> u64 {
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
        assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
        set.rules[0].clone()
    }

    #[test]
    fn spelling_out_the_defaults_is_no_change() {
        let short = rule("name: a", &["x", "y"]);
        let long = rule(
            "{name: a, match: [], mode: active, group_by: [], window: 300s, open_when: {alerts: 1}, wait: 0s, \
             continue: true, resolve_after: 5m, reopen_within: 60m, update_interval: 10s, on_stale: clear, missing_label: skip, \
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
            ("{name: a, union_by: {labels: [service]}}", false),
            ("{name: a, group_by: [service], window: 6m}", false),
            ("{name: a, group_by: [service], wait: 1s}", false),
            ("{name: a, group_by: [service], open_when: {events: 1}}", false),
            ("{name: a, group_by: [service], window_type: tumbling}", false),
            ("{name: a, group_by: [service], late: count}", false),
            ("{name: a, group_by: [service], cleared_by: ['a=up']}", false),
            ("{name: a, group_by: [service], missing_label: own_group}", false),
            ("{name: a, group_by: [service], match: ['a=b']}", false),
            ("{name: a, group_by: [service], when: 'has(labels.a)'}", false),
            ("{name: a, group_by: [service], continue: false}", true),
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
