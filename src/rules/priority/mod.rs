//! How impact and urgency come about beyond what a rule and a severity say, and which priority they make.
//!
//! Pure thresholds and matchers: what breaks is counted by whoever asks. A level that a rule fixes is not asked for here.
//! At most 100 environments of 16 matchers each, so an alert costs at most as many looks, once.

mod config;

pub(super) use config::asked_by_nobody;
pub use config::{AfterConfig, EnvironmentConfig, ImpactRisesConfig, ThresholdsConfig, UrgencyRisesConfig};

use std::time::Duration;

use self::config::{check_after, check_matrix, check_thresholds};
use super::compile::Subject;
use super::matcher::{Matcher, parse_matcher};
use super::validate::Problem;
use super::{DEFAULT_MATRIX, Level, Matrix, Priority};

const ENVIRONMENTS_MAX: usize = 100;
const MATCHERS_MAX: usize = 16;

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

    /// After how long the time alone makes it this urgent.
    pub fn urgency_rises_to_after(&self, urgency: Level) -> Option<Duration> {
        let Thresholds { high, medium } = self.after;
        let reached = match urgency {
            Level::High => high,
            Level::Medium => medium,
            Level::Low => return None,
        };
        (reached != u64::MAX).then(|| Duration::from_micros(reached))
    }

    pub(super) fn compile(
        matrix: Matrix,
        impact: &ImpactRisesConfig,
        urgency: &UrgencyRisesConfig,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        check_matrix(&matrix, &mut problems);
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

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
    use crate::rules::{Definition, RuleConfig, compile};

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
    fn a_matrix_in_which_what_is_graver_comes_later_is_a_warning() {
        let warned = |matrix: Matrix| -> Vec<String> {
            let (_, problems) =
                PriorityRules::compile(matrix, &ImpactRisesConfig::DEFAULT, &UrgencyRisesConfig::DEFAULT);
            assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
            problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
        };
        use Priority::{P1, P2, P3, P4, P5};
        assert_eq!(warned(DEFAULT_MATRIX), [""; 0]);
        assert_eq!(warned([[P1; 3]; 3]), [""; 0]);
        let expected = [
            "priority.matrix[0][0]: high impact and high urgency make P5, and the lesser medium impact and high urgency P2",
            "priority.matrix[1][0]: medium impact and high urgency make P2, and the lesser low impact and high urgency P1",
        ];
        assert_eq!(warned([[P5, P2, P3], [P2, P3, P4], [P1, P4, P5]]), expected);
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
