//! From configured policies to what the engine goes by.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::check::{Check, hook_only};
use super::config::{
    EscalationPolicyConfig, EscalationStepConfig, EscalationTarget, QuietConfig, StopOn, SymptomsConfig, Unless,
};
use super::major::MajorRules;
use super::when::IncidentMatcher;
use crate::event::hint;
use crate::rules::compile::{Definition, hash};
use crate::rules::validate::{Problem, check_name};
use crate::rules::{Calendars, Priority, RuleConfig, Share, Teams};

const POLICIES_MAX: usize = 100;
/// A bit each is kept of an incident.
const STEPS_MAX: usize = 32;
const REPEAT_MAX: u32 = 100;
const REPEAT_AFTER_MIN: Duration = Duration::from_secs(60);
const AFTER_MAX: Duration = Duration::from_secs(30 * 86_400);

/// When a step is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepDue {
    /// Since the incident opened or came back.
    After(Duration),
    /// When so much of an agreed time has passed.
    Share {
        /// How much.
        share: Share,
        /// Of which.
        of: EscalationTarget,
    },
}

/// One step of a policy.
#[derive(Clone, Debug)]
pub struct EscalationStep {
    /// When.
    pub due: StepDue,
    /// The sinks that are told.
    pub notify: Arc<[Arc<str>]>,
    /// How far the incident must have come for it to be passed over.
    pub unless: Option<Unless>,
    /// All must hold.
    pub when: Box<[IncidentMatcher]>,
    /// Who is given the incident.
    pub assign: Option<Arc<str>>,
    /// Whether it declares a major incident.
    pub major: bool,
    /// The runbook of the recovery plan then.
    pub runbook: Option<Arc<str>>,
}

/// When incidents of low priority wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Quiet {
    /// They wait while this calendar is closed.
    pub calendar: Arc<str>,
    /// Those that do.
    pub priorities: Box<[Priority]>,
}

/// A policy, compiled.
#[derive(Clone, Debug)]
pub struct EscalationPolicy {
    /// Unique name.
    pub name: Arc<str>,
    /// Equal for one that did not change.
    pub definition: u64,
    /// In the order of the configuration; at most 32.
    pub steps: Box<[EscalationStep]>,
    /// How often they come again.
    pub repeat: u32,
    /// From the last step until then.
    pub repeat_after: Duration,
    /// What ends it.
    pub stop_on: StopOn,
    /// When low priorities wait.
    pub quiet: Option<Quiet>,
    /// Whether symptoms leave escalating to their cause.
    pub follows_cause: bool,
}

/// All policies, and what a major incident means.
#[derive(Debug, Default)]
pub struct Escalations {
    policies: HashMap<Arc<str>, Arc<EscalationPolicy>>,
    /// What happens when a major incident is declared.
    pub major: MajorRules,
    /// Every sink there is.
    sinks: HashSet<Box<str>>,
}

impl Escalations {
    /// The policy of that name.
    pub fn named(&self, name: &str) -> Option<&Arc<EscalationPolicy>> {
        self.policies.get(name)
    }

    /// Whether nothing escalates and nothing is declared by itself.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.major.when.is_empty()
    }

    /// Whether there is such a sink.
    pub fn has_sink(&self, name: &str) -> bool {
        self.sinks.contains(name)
    }

    pub(in crate::rules) fn compile(
        definition: &Definition<'_>,
        calendars: &Calendars,
        teams: &Teams,
    ) -> (Self, Vec<Problem>) {
        let Definition { rules, sinks, escalation_policies: policies, major_incident: major, .. } = *definition;
        let mut check = Check {
            sinks,
            hook: major.and_then(|major| major.hook.as_deref()),
            rules: rules.iter().map(|rule| rule.name.as_str()).collect(),
            calendars,
            teams,
            labels: key_labels(rules),
            problems: Vec::new(),
        };
        let mut compiled = Self {
            major: major.map(|major| MajorRules::compile(major, &mut check)).unwrap_or_default(),
            sinks: sinks.iter().map(|sink| sink.as_str().into()).collect(),
            policies: HashMap::new(),
        };
        if policies.len() > POLICIES_MAX {
            let message = format!("at most {POLICIES_MAX} escalation policies, not {}", policies.len());
            check.error("escalation_policies", message);
            return (compiled, check.problems);
        }
        for (place, config) in policies.iter().enumerate() {
            let root = format!("escalation_policies[{place}]");
            if let Some(earlier) = policies[..place].iter().position(|other| other.name == config.name) {
                let message = format!("escalation_policies[{earlier}] is named \"{}\" already", config.name);
                check.error(format!("{root}.name"), message);
            }
            let policy = compile_policy(&root, config, &mut check);
            compiled.policies.insert(policy.name.clone(), Arc::new(policy));
        }
        check_rules(rules, policies, &mut check);
        check_hook(definition, &mut check);
        (compiled, check.problems)
    }
}

/// Labels that a key can have.
fn key_labels(rules: &[RuleConfig]) -> HashSet<&str> {
    let grouped = rules.iter().flat_map(|rule| &rule.group_by);
    let joined = rules.iter().filter_map(|rule| rule.union_by.as_ref()).flat_map(|union| &union.labels);
    grouped.chain(joined).map(String::as_str).collect()
}

/// Policies that rules name, and sinks that they must not.
fn check_rules(rules: &[RuleConfig], policies: &[EscalationPolicyConfig], check: &mut Check<'_>) {
    for (place, rule) in rules.iter().enumerate() {
        if let Some(name) = &rule.escalation
            && !policies.iter().any(|policy| policy.name == *name)
        {
            let hint = hint(name, policies.iter().map(|policy| policy.name.as_str()));
            check.error(format!("rules[{place}].escalation"), format!("unknown escalation policy \"{name}\"{hint}"));
        }
    }
}

/// The hook of major incidents sets a recovery going: whoever else names it would set it going by a note or an
/// assignment.
fn check_hook(definition: &Definition<'_>, check: &mut Check<'_>) {
    let Some(hook) = check.hook else { return };
    let Definition { rules, teams, communication, .. } = *definition;
    let rules = rules.iter().enumerate();
    let rules = rules.filter_map(|(place, rule)| Some((format!("rules[{place}].notify"), rule.notify.as_deref()?)));
    let teams = teams.iter().enumerate().map(|(place, team)| (format!("teams[{place}].notify"), &*team.notify));
    let audiences = communication.audiences.iter().enumerate();
    let audiences = audiences
        .map(|(place, audience)| (format!("communication.audiences[{place}].notify"), audience.notify.as_slice()));
    let reminded = [("communication.remind".to_owned(), communication.remind.as_slice())];
    for (path, sinks) in rules.chain(teams).chain(audiences).chain(reminded) {
        if let Some(at) = sinks.iter().position(|sink| sink == hook) {
            check.error(format!("{path}[{at}]"), hook_only(hook));
        }
    }
}

fn compile_policy(root: &str, config: &EscalationPolicyConfig, check: &mut Check<'_>) -> EscalationPolicy {
    if let Err(wrong) = check_name(&config.name) {
        check.error(format!("{root}.name"), wrong);
    }
    let steps = match config.steps.len() {
        1..=STEPS_MAX => config.steps.as_slice(),
        count => {
            check.error(format!("{root}.steps"), format!("a policy has 1 to {STEPS_MAX} steps, not {count}"));
            &[]
        }
    };
    if config.repeat > REPEAT_MAX {
        check.error(format!("{root}.repeat"), format!("repeat is 0 to {REPEAT_MAX}, not {}", config.repeat));
    }
    if config.repeat > 0 && !steps.is_empty() && steps.iter().all(|step| step.share.is_some()) {
        check.error(format!("{root}.repeat"), "only steps by time (`after`) come again, and there are none");
    }
    check.between(format!("{root}.repeat_after"), config.repeat_after, REPEAT_AFTER_MIN, AFTER_MAX);
    let says = steps.iter().any(|step| step.unless.is_some());
    let default = if says { StopOn::Resolved } else { StopOn::Acknowledged };
    let compiled = steps.iter().enumerate();
    let compiled = compiled.map(|(place, step)| compile_step(&format!("{root}.steps[{place}]"), step, check)).collect();
    out_of_order(root, steps, check);
    EscalationPolicy {
        name: config.name.as_str().into(),
        definition: hash(config),
        steps: compiled,
        repeat: config.repeat,
        repeat_after: config.repeat_after,
        stop_on: config.stop_on.unwrap_or(default),
        quiet: config.quiet.as_ref().map(|quiet| compile_quiet(root, quiet, check)),
        follows_cause: config.symptoms == SymptomsConfig::FollowCause,
    }
}

fn compile_quiet(root: &str, config: &QuietConfig, check: &mut Check<'_>) -> Quiet {
    if config.priorities.is_empty() {
        check.error(format!("{root}.quiet.priorities"), "names no priority, so nothing would wait");
    }
    check.calendar(format!("{root}.quiet.calendar"), &config.calendar);
    Quiet { calendar: config.calendar.as_str().into(), priorities: config.priorities.clone().into() }
}

/// Steps are taken when they are due, whatever the order in which they stand; people read them from above.
fn out_of_order(root: &str, steps: &[EscalationStepConfig], check: &mut Check<'_>) {
    let timed = steps.iter().enumerate().filter_map(|(place, step)| Some((place, step.after?)));
    let timed: Vec<(usize, Duration)> = timed.collect();
    for pair in timed.windows(2).filter(|pair| pair[1].1 < pair[0].1) {
        let message = format!("is due before steps[{}], and taken before it", pair[0].0);
        check.warning(format!("{root}.steps[{}]", pair[1].0), message);
    }
}

fn compile_step(root: &str, config: &EscalationStepConfig, check: &mut Check<'_>) -> EscalationStep {
    let due = match (config.after, config.share, config.of) {
        (Some(after), None, None) => {
            check.between(format!("{root}.after"), after, Duration::ZERO, AFTER_MAX);
            Some(StepDue::After(after))
        }
        (None, Some(share), Some(of)) => {
            if !share.is_between_percents(1, 100) {
                check.error(format!("{root}.share"), "share is 1% to 100%");
            }
            Some(StepDue::Share { share, of })
        }
        (None, Some(_), None) => {
            check.error(root, "a share needs `of`: respond or resolve");
            None
        }
        (_, None, Some(_)) => {
            check.error(format!("{root}.of"), "`of` says of which target a `share` is; there is none");
            None
        }
        _ => {
            check.error(root, "a step has either `after` or `share`");
            None
        }
    };
    if config.notify.is_empty() && config.assign.is_none() && !config.major {
        check.error(root, "the step does nothing: say whom to `notify`, to whom to `assign`, or `major: true`");
    }
    if config.runbook.is_some() && !config.major {
        check.error(format!("{root}.runbook"), "a runbook is named where `major: true` declares a major incident");
    }
    check.runbook(format!("{root}.runbook"), config.runbook.as_deref());
    check.team(format!("{root}.assign"), config.assign.as_deref());
    EscalationStep {
        due: due.unwrap_or(StepDue::After(AFTER_MAX)),
        notify: check.notify(&format!("{root}.notify"), &config.notify),
        unless: config.unless,
        when: check.conditions(&format!("{root}.when"), &config.when),
        assign: config.assign.as_deref().map(Arc::from),
        major: config.major,
        runbook: config.runbook.as_deref().map(Arc::from),
    }
}

impl StepDue {
    /// What the step waits for, in words: `15m`, `80% of the time to resolve`.
    pub fn words(&self) -> String {
        match self {
            StepDue::After(after) => crate::event::duration::format(*after),
            StepDue::Share { share, of } if share.is_between_percents(100, 100) => {
                format!("the time to {}", of.as_str())
            }
            StepDue::Share { share, of } => format!("{share} of the time to {}", of.as_str()),
        }
    }
}
