//! How impact and urgency come about beyond what a rule and a severity say, and which priority they make.
//!
//! Pure thresholds and matchers: what breaks is counted by whoever asks. A level that a rule fixes is not asked for here.
//! At most 100 environments of 16 matchers each, so an alert costs at most as many looks, once.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compile::Subject;
use super::matcher::{Matcher, parse_matcher};
use super::validate::Problem;
use super::{DEFAULT_MATRIX, ImpactConfig, Level, Matrix, Priority, RuleConfig};
use crate::event::duration;

const ENVIRONMENTS_MAX: usize = 100;
const MATCHERS_MAX: usize = 16;
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

/// See the module.
#[derive(Clone, Debug)]
pub struct PriorityRules {
    /// `matrix[impact][urgency]`.
    matrix: Matrix,
    services: Thresholds,
    users: Thresholds,
    environments: Vec<Environment>,
    alerts: Thresholds,
    /// In microseconds.
    after: Thresholds,
}

/// Where the impact is never higher than so.
#[derive(Clone, Debug)]
pub struct Environment {
    matchers: Vec<Matcher>,
    /// What it is at most.
    pub impact: Level,
}

/// From where on it is medium and high; never at the greatest number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Thresholds {
    high: u64,
    medium: u64,
}

impl ImpactRisesConfig {
    /// What holds where nothing is said.
    pub const DEFAULT: ImpactRisesConfig = ImpactRisesConfig { services: None, users: None, environments: Vec::new() };
}

impl UrgencyRisesConfig {
    /// What holds where nothing is said.
    pub const DEFAULT: UrgencyRisesConfig = UrgencyRisesConfig { alerts: None, after: None };
}

impl Thresholds {
    const NEVER: Thresholds = Thresholds { high: u64::MAX, medium: u64::MAX };

    fn of(config: Option<&ThresholdsConfig>) -> Self {
        let [high, medium] = config.map_or([None; 2], |config| [config.high, config.medium]);
        Self { high: high.unwrap_or(u64::MAX), medium: medium.unwrap_or(u64::MAX) }
    }

    fn level(self, count: u64) -> Level {
        match count {
            _ if count >= self.high => Level::High,
            _ if count >= self.medium => Level::Medium,
            _ => Level::Low,
        }
    }
}

impl PriorityRules {
    /// Impact × urgency.
    pub fn priority(&self, impact: Level, urgency: Level) -> Priority {
        self.matrix[impact as usize][urgency as usize]
    }

    /// What so many services concerned make the impact at least.
    pub fn impact_of_services(&self, services: u64) -> Level {
        self.services.level(services)
    }

    /// What so many users concerned make the impact at least.
    pub fn impact_of_users(&self, users: u64) -> Level {
        self.users.level(users)
    }

    /// The environment of an alert: the first whose matchers hold.
    pub fn environment(&self, subject: &impl Subject) -> Option<&Environment> {
        let holds = |environment: &&Environment| environment.matchers.iter().all(|matcher| matcher.matches(subject));
        self.environments.iter().find(holds)
    }

    /// Whether alerts need to be asked for their environment.
    pub fn has_environments(&self) -> bool {
        !self.environments.is_empty()
    }

    /// What so many firing alerts make the urgency at least.
    pub fn urgency_of_alerts(&self, firing: u64) -> Level {
        self.alerts.level(firing)
    }

    /// What so long a time makes the urgency at least.
    pub fn urgency_after(&self, open: Duration) -> Level {
        self.after.level(micros(open))
    }

    /// After how long the time raises an urgency that is this one; `None` where it does so no more.
    pub fn urgency_rises_after(&self, urgency: Level) -> Option<Duration> {
        let Thresholds { high, medium } = self.after;
        let next = match urgency {
            Level::High => return None,
            Level::Medium => high,
            Level::Low => high.min(medium),
        };
        (next != u64::MAX).then(|| Duration::from_micros(next))
    }

    pub(super) fn compile(
        matrix: Matrix,
        impact: &ImpactRisesConfig,
        urgency: &UrgencyRisesConfig,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        check_thresholds("impact.services", impact.services.as_ref(), &mut problems);
        check_thresholds("impact.users", impact.users.as_ref(), &mut problems);
        check_thresholds("urgency.alerts", urgency.alerts.as_ref(), &mut problems);
        check_after(urgency.after.as_ref(), &mut problems);
        let after = urgency.after.map(|after| {
            let [high, medium] = [after.high, after.medium].map(|after| after.map(micros));
            ThresholdsConfig { high, medium }
        });
        let compiled = Self {
            matrix,
            services: Thresholds::of(impact.services.as_ref()),
            users: Thresholds::of(impact.users.as_ref()),
            environments: environments(&impact.environments, &mut problems),
            alerts: Thresholds::of(urgency.alerts.as_ref()),
            after: Thresholds::of(after.as_ref()),
        };
        (compiled, problems)
    }
}

impl Default for PriorityRules {
    fn default() -> Self {
        let (services, users) = (Thresholds::NEVER, Thresholds::NEVER);
        let (alerts, after) = (Thresholds::NEVER, Thresholds::NEVER);
        Self { matrix: DEFAULT_MATRIX, services, users, environments: Vec::new(), alerts, after }
    }
}

/// What no rule asks for.
pub(super) fn asked_by_nobody(
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

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn check_thresholds(key: &str, config: Option<&ThresholdsConfig>, problems: &mut Vec<Problem>) {
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

fn check_after(config: Option<&AfterConfig>, problems: &mut Vec<Problem>) {
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

fn environments(configs: &[EnvironmentConfig], problems: &mut Vec<Problem>) -> Vec<Environment> {
    let root = "priority.impact.environments";
    if configs.len() > ENVIRONMENTS_MAX {
        let message = format!("at most {ENVIRONMENTS_MAX} environments, not {}", configs.len());
        problems.push(Problem::error(root, message));
        return Vec::new();
    }
    let mut environments = Vec::new();
    for (place, config) in configs.iter().enumerate() {
        let path = format!("{root}[{place}].match");
        if !(1..=MATCHERS_MAX).contains(&config.matchers.len()) {
            let message = format!("an environment has 1 to {MATCHERS_MAX} matchers, not {}", config.matchers.len());
            problems.push(Problem::error(path, message));
            continue;
        }
        let mut matchers = Vec::with_capacity(config.matchers.len());
        for (at, text) in config.matchers.iter().enumerate() {
            match parse_matcher(text) {
                Ok(matcher) => matchers.push(matcher),
                Err(wrong) => problems.push(Problem::error(format!("{path}[{at}]"), wrong)),
            }
        }
        environments.push(Environment { matchers, impact: config.impact });
    }
    environments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Definition, compile};

    fn read(impact: &str, urgency: &str) -> (PriorityRules, Vec<String>) {
        let impact = serde_saphyr::from_str(impact).expect(impact);
        let urgency = serde_saphyr::from_str(urgency).expect(urgency);
        let (rules, problems) = PriorityRules::compile(DEFAULT_MATRIX, &impact, &urgency);
        (rules, problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
    }

    #[test]
    fn thresholds_say_from_where_on() {
        let (rules, problems) = read("{services: {high: 10, medium: 3}, users: {high: 1000}}", "{alerts: {medium: 5}}");
        assert_eq!(problems, [""; 0]);
        use Level::{High, Low, Medium};
        assert_eq!([2, 3, 9, 10].map(|count| rules.impact_of_services(count)), [Low, Medium, Medium, High]);
        assert_eq!([999, 1_000].map(|count| rules.impact_of_users(count)), [Low, High]);
        assert_eq!([4, 5, u64::MAX - 1].map(|count| rules.urgency_of_alerts(count)), [Low, Medium, Medium]);
        let nothing = PriorityRules::default();
        assert_eq!(nothing.impact_of_services(1 << 40), Low);
        assert_eq!(nothing.urgency_rises_after(Low), None);
    }

    #[test]
    fn time_raises_step_by_step() {
        let (rules, problems) = read("{}", "{after: {high: 4h, medium: 1h}}");
        assert_eq!(problems, [""; 0]);
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        assert_eq!([0, 1, 3, 4].map(|open| rules.urgency_after(hours(open)) as u8), [2, 1, 1, 0]);
        let next = [Level::Low, Level::Medium, Level::High].map(|urgency| rules.urgency_rises_after(urgency));
        assert_eq!(next, [Some(hours(1)), Some(hours(4)), None]);
        let (rules, _) = read("{}", "{after: {medium: 1h}}");
        assert_eq!(rules.urgency_rises_after(Level::Medium), None);
    }

    #[test]
    fn what_is_wrong_in_thresholds_is_said() {
        let (_, problems) = read(
            "{services: {high: 2, medium: 3}, users: {}, environments: [{match: [], impact: low}, {match: ['a'], impact: low}]}",
            "{alerts: {high: 0}, after: {high: 1h, medium: 2h}}",
        );
        let expected = [
            "priority.impact.services.high: high begins at 2, before medium at 3",
            "priority.impact.users: says neither `high` nor `medium`",
            "priority.urgency.alerts.high: a threshold is 1 or more, not 0",
            "priority.urgency.after.high: high begins after 1h, before medium after 2h",
            "priority.impact.environments[0].match: an environment has 1 to 16 matchers, not 0",
            "priority.impact.environments[1].match[0]: at character 2 of the matcher: one of =, !=, =~, !~ must follow the name",
        ];
        assert_eq!(problems, expected);
        let (_, problems) = read("{}", "{after: {high: 31d, medium: 0s}}");
        let expected = [
            "priority.urgency.after.high: a time is over 0s and at most 30d, not 31d",
            "priority.urgency.after.medium: a time is over 0s and at most 30d, not 0s",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn thresholds_that_no_rule_asks_for_are_a_warning() {
        let impact = ImpactRisesConfig { services: Some(ThresholdsConfig::default()), ..Default::default() };
        let rules = |yaml: &str| -> Vec<RuleConfig> { serde_saphyr::from_str(yaml).expect(yaml) };
        let (asking, fixed) =
            (rules("[{name: a, incident: {impact: from_service}}]"), rules("[{name: a, incident: {urgency: low}}]"));
        assert_eq!(asked_by_nobody(&asking, &impact, &UrgencyRisesConfig::DEFAULT), []);
        let urgency = UrgencyRisesConfig { alerts: Some(ThresholdsConfig::default()), after: None };
        let paths = asked_by_nobody(&fixed, &impact, &urgency).into_iter().map(|problem| problem.path);
        assert_eq!(paths.collect::<Vec<_>>(), ["priority.impact", "priority.urgency"]);
        let (_, problems) = compile(&Definition { impact: &impact, ..Definition::of(&fixed, &[]) });
        assert!(problems.iter().any(|problem| problem.warning && problem.path == "priority.impact"), "{problems:?}");
    }
}
