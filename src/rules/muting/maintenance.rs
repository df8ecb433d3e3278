//! Maintenance windows: planned times in which what they name is muted.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schedule::{Schedule, ScheduleConfig};
use crate::rules::compile::Subject;
use crate::rules::matcher::{Matcher, parse_matcher};
use crate::rules::validate::{Problem, check_name, never_holds};

/// Windows at most. Those that are open are asked one after the other about every alert that fires; a guess far above any
/// plan seen.
const WINDOWS_MAX: usize = 1_000;
const MATCHERS_MAX: usize = 64;
const SERVICES_MAX: usize = 1_000;

/// A planned time in which what it names is muted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Unique name, which the verdicts of muted events give. Required.
    pub name: String,
    /// Matchers in Alertmanager's syntax; all must hold. At most 64. Default: none.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
    /// The label `service` must be one of these. At most 1,000. Default: none. Beside `match` both must hold.
    #[serde(default)]
    pub services: Vec<String>,
    /// Mutes every alert; instead of `match` and `services`. Default `false`.
    #[serde(default)]
    pub all: bool,
    /// The time zone of local times, by its IANA name, such as `Europe/Berlin`. Required where a time has no offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// When. Required.
    pub schedule: ScheduleConfig,
}

/// A maintenance window, compiled.
#[derive(Debug)]
pub struct MaintenanceWindow {
    /// Unique name.
    pub name: Arc<str>,
    /// All must hold.
    matchers: Vec<Matcher>,
    /// One of them must be the alert's, if there are any.
    services: HashSet<Box<str>>,
    /// When it is open.
    pub schedule: Schedule,
}

impl MaintenanceWindow {
    /// Whether the window is about an alert.
    pub fn names(&self, subject: &impl Subject) -> bool {
        let service = || subject.label("service").is_some_and(|service| self.services.contains(service));
        (self.services.is_empty() || service()) && self.matchers.iter().all(|matcher| matcher.matches(subject))
    }

    pub(in crate::rules) fn compile(windows: &[MaintenanceConfig]) -> (Vec<Self>, Vec<Problem>) {
        if windows.len() > WINDOWS_MAX {
            let message = format!("at most {WINDOWS_MAX} maintenance windows, not {}", windows.len());
            return (Vec::new(), vec![Problem::error("maintenance", message)]);
        }
        let mut problems = Vec::new();
        let mut first = HashMap::new();
        let mut compiled = Vec::new();
        for (place, config) in windows.iter().enumerate() {
            let root = format!("maintenance[{place}]");
            let earlier = *first.entry(config.name.as_str()).or_insert(place);
            if earlier != place {
                let message = format!("maintenance[{earlier}] is named \"{}\" already", config.name);
                problems.push(Problem::error(format!("{root}.name"), message));
            }
            let (window, found) = Self::compile_one(&root, config);
            let right = found.iter().all(|problem| problem.warning);
            problems.extend(found);
            compiled.extend(window.filter(|_| right));
        }
        (compiled, problems)
    }

    fn compile_one(root: &str, config: &MaintenanceConfig) -> (Option<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        if let Err(wrong) = check_name(&config.name) {
            problems.push(Problem::error(format!("{root}.name"), wrong));
        }
        problems.extend(check_aim(root, config));
        let matchers = matchers(root, config, &mut problems);
        let (schedule, found) = Schedule::compile(root, config.zone.as_deref(), &config.schedule);
        problems.extend(found);
        let services = config.services.iter().map(|service| service.as_str().into()).collect();
        let window = schedule.map(|schedule| Self { name: config.name.as_str().into(), matchers, services, schedule });
        (window, problems)
    }
}

/// A slip must not mute everything, so that is asked for by a key of its own.
fn check_aim(root: &str, config: &MaintenanceConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut error = |field: &str, message: String| problems.push(Problem::error(format!("{root}{field}"), message));
    let aimed = !config.matchers.is_empty() || !config.services.is_empty();
    if !aimed && !config.all {
        error("", "would mute every alert: say which by `match` or `services`, or `all: true`".to_owned());
    } else if aimed && config.all {
        error(
            ".all",
            "mutes every alert, so `match` and `services` would say nothing; leave them or this out".to_owned(),
        );
    }
    if config.services.len() > SERVICES_MAX {
        error(".services", format!("at most {SERVICES_MAX} services, not {}", config.services.len()));
    }
    for (place, service) in config.services.iter().enumerate().take(SERVICES_MAX) {
        if service.is_empty() {
            error(&format!(".services[{place}]"), "a service's name is not empty".to_owned());
        } else if config.services[..place].contains(service) {
            error(&format!(".services[{place}]"), format!("the service \"{service}\" is named twice"));
        }
    }
    problems
}

fn matchers(root: &str, config: &MaintenanceConfig, problems: &mut Vec<Problem>) -> Vec<Matcher> {
    if config.matchers.len() > MATCHERS_MAX {
        let message = format!("a window has at most {MATCHERS_MAX} matchers, not {}", config.matchers.len());
        problems.push(Problem::error(format!("{root}.match"), message));
        return Vec::new();
    }
    let mut read = Vec::new();
    for (place, text) in config.matchers.iter().enumerate() {
        match parse_matcher(text) {
            Ok(matcher) => read.push((place, matcher)),
            Err(wrong) => problems.push(Problem::error(format!("{root}.match[{place}]"), wrong)),
        }
    }
    for (position, (place, matcher)) in read.iter().enumerate() {
        let first = !read[..position].iter().any(|(_, earlier)| earlier.field == matcher.field);
        if let Some(why) = first.then(|| never_holds(&matcher.field, &read)).flatten() {
            problems.push(Problem::warning(format!("{root}.match[{place}]"), why));
        }
    }
    read.into_iter().map(|(_, matcher)| matcher).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Definition, compile};

    #[test]
    fn a_thousand_windows_are_enough_and_a_slip_mutes_nothing() {
        let window = |n: usize| -> MaintenanceConfig {
            let schedule = "{cron: '0 2 * * *', duration: 1h}";
            let yaml = format!("{{name: w{n}, services: [a], zone: UTC, schedule: {schedule}}}");
            serde_saphyr::from_str(&yaml).expect("a window")
        };
        let compiled = |windows: &[MaintenanceConfig]| {
            let (set, problems) = compile(&Definition { maintenance: windows, ..Definition::of(&[], &[]) });
            let said: Vec<String> = problems.iter().map(|wrong| format!("{}: {}", wrong.path, wrong.message)).collect();
            (set.maintenance.len(), said)
        };
        let many: Vec<MaintenanceConfig> = (0..=WINDOWS_MAX).map(window).collect();
        assert_eq!(compiled(&many[1..]), (WINDOWS_MAX, vec![]));
        assert_eq!(compiled(&many), (0, vec!["maintenance: at most 1000 maintenance windows, not 1001".to_owned()]));
        let everything = MaintenanceConfig { services: vec![], ..window(0) };
        let wrong = "maintenance[0]: would mute every alert: say which by `match` or `services`, or `all: true`";
        assert_eq!(compiled(std::slice::from_ref(&everything)), (0, vec![wrong.to_owned()]));
        assert_eq!(compiled(&[MaintenanceConfig { all: true, ..everything }]), (1, vec![]));
        let matchers = vec!["a=b".to_owned(); MATCHERS_MAX + 1];
        let wrong = "maintenance[0].match: a window has at most 64 matchers, not 65";
        assert_eq!(compiled(&[MaintenanceConfig { matchers, ..window(0) }]), (0, vec![wrong.to_owned()]));
    }
}
