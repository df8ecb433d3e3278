//! What can be wrong in configured rules, found when they are loaded so that matching never fails.
//!
//! Every problem carries its path in the configuration and says what would be right; all of them are reported.

use std::time::Duration;

use super::matcher::{Field, Matcher, parse_matcher};
use super::title::Titles;
use super::{ImpactConfig, Mode, RuleConfig};
use crate::event::hint;
use crate::event::{Status, duration};

/// What is wrong in a configured rule, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// A path in the configuration, such as `rules[2].group_by[0]`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Only unwise.
    pub warning: bool,
}

impl Problem {
    /// An error.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), warning: false }
    }

    /// Only unwise.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), warning: true }
    }
}

const NAME_BYTES_MAX: usize = 63;
const COUNT_MAX: u32 = 10_000;
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3_600);
const WAIT_MAX: Duration = Duration::from_secs(24 * 3_600);
const RESOLVE_AFTER_MAX: Duration = Duration::from_secs(7 * 86_400);
const REOPEN_WITHIN_MAX: Duration = Duration::from_secs(30 * 86_400);
const UPDATE_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// Bounds the work per candidate rule; a guess far above any rule seen.
const MATCHERS_MAX: usize = 64;
const GROUP_BY_MAX: usize = 16;
const NOTIFY_MAX: usize = 100;

/// Whether a rule or sink may be called so; else what it may be called.
///
/// # Errors
/// A sentence that says what a name looks like.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let valid = name.as_bytes().first().is_some_and(|first| plain(*first))
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
        && name.len() <= NAME_BYTES_MAX;
    let wrong =
        || format!("a name has up to {NAME_BYTES_MAX} of a-z, 0-9 and -, not first -, so it cannot be {name:?}");
    if valid { Ok(()) } else { Err(wrong()) }
}

/// Problems between rules: names used twice.
pub(super) fn check_set(rules: &[RuleConfig]) -> Vec<Problem> {
    let mut first = hashbrown::HashMap::new();
    let mut problems = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        let earlier = *first.entry(rule.name.as_str()).or_insert(place);
        if earlier != place {
            let message = format!("rules[{earlier}] is named \"{}\" already", rule.name);
            problems.push(Problem::error(format!("rules[{place}].name"), message));
        }
    }
    problems
}

/// Problems of one rule, and its matchers that could be read.
pub(super) fn check_rule(
    place: usize,
    config: &RuleConfig,
    sinks: &[String],
    scope: &[String],
    titles: &mut Titles,
) -> (Vec<Matcher>, Vec<Problem>) {
    let mut check = Check { root: format!("rules[{place}]"), problems: Vec::new() };
    if let Err(wrong) = check_name(&config.name) {
        check.error("name", wrong);
    }
    check.unsupported(config);
    let matchers = check.matchers(config);
    check.group_by(config, scope);
    check.open_when(config);
    check.times(config);
    check.notify(config, sinks);
    if let Some(title) = &config.incident.title
        && let Err(wrong) = titles.add(&config.name, title, &config.group_by)
    {
        check.error("incident.title", wrong);
    }
    (matchers, check.problems)
}

/// Rules that do the same twice: identical matchers and `group_by`.
pub(super) fn same_twice(rules: &[(usize, &RuleConfig, Vec<Matcher>)]) -> Vec<Problem> {
    let mut first = hashbrown::HashMap::new();
    let mut problems = Vec::new();
    for (place, config, matchers) in rules {
        let mut wanted: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
        wanted.sort();
        let mut group_by = config.group_by.clone();
        group_by.sort();
        let earlier: usize = *first.entry((wanted, group_by)).or_insert(*place);
        if earlier != *place {
            let message = format!("takes the same alerts into the same groups as rules[{earlier}]");
            problems.push(Problem::warning(format!("rules[{place}]"), message));
        }
    }
    problems
}

struct Check {
    root: String,
    problems: Vec<Problem>,
}

impl Check {
    fn error(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::error(format!("{}.{field}", self.root), message));
    }

    fn warning(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::warning(format!("{}.{field}", self.root), message));
    }

    fn unsupported(&mut self, config: &RuleConfig) {
        if config.mode == Mode::Shadow {
            self.error("mode", "shadow rules are not yet supported; leave the rule out, or make it active");
        }
        if config.storm.is_some() {
            self.error("storm", "storm is not yet supported; leave it out");
        }
        if config.incident.impact == ImpactConfig::FromService {
            self.error("incident.impact", "from_service is not yet supported; say high, medium or low");
        }
    }

    fn matchers(&mut self, config: &RuleConfig) -> Vec<Matcher> {
        if config.matchers.len() > MATCHERS_MAX {
            self.error("match", format!("a rule has at most {MATCHERS_MAX} matchers, not {}", config.matchers.len()));
            return Vec::new();
        }
        let mut read = Vec::new();
        for (place, text) in config.matchers.iter().enumerate() {
            match parse_matcher(text) {
                Ok(matcher) => read.push((place, matcher)),
                Err(wrong) => self.error(&format!("match[{place}]"), wrong),
            }
        }
        for (position, (place, matcher)) in read.iter().enumerate() {
            let first = !read[..position].iter().any(|(_, earlier)| earlier.field == matcher.field);
            if let Some(why) = first.then(|| never_holds(&matcher.field, &read)).flatten() {
                self.warning(&format!("match[{place}]"), why);
            }
        }
        read.into_iter().map(|(_, matcher)| matcher).collect()
    }

    fn group_by(&mut self, config: &RuleConfig, scope: &[String]) {
        if config.group_by.len() > GROUP_BY_MAX {
            return self
                .error("group_by", format!("at most {GROUP_BY_MAX} labels make a key, not {}", config.group_by.len()));
        }
        for (place, label) in config.group_by.iter().enumerate() {
            let field = format!("group_by[{place}]");
            if label.is_empty() {
                self.error(&field, "a label's name is not empty");
            } else if config.group_by[..place].contains(label) {
                self.error(&field, format!("the label \"{label}\" is named twice"));
            } else if let Some(bare) = label.strip_prefix("labels.") {
                self.warning(&field, format!("group_by names labels, so write \"{bare}\" for the label of that name"));
            } else if !matches!(Field::parse(label), Field::Label(_) | Field::Severity) {
                self.warning(&field, format!("group_by names labels; this is not the event's {label}"));
            }
        }
        let missing: Vec<&str> = scope.iter().filter(|l| !config.group_by.contains(l)).map(String::as_str).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            self.error(
                "group_by",
                format!("would join alerts across scopes, which never meet: add the scope's labels, here {missing}"),
            );
        }
    }

    fn open_when(&mut self, config: &RuleConfig) {
        let open_when = &config.open_when;
        let distinct = open_when.distinct.as_ref();
        let counts = [
            ("open_when.alerts", open_when.alerts),
            ("open_when.events", open_when.events),
            ("open_when.distinct.count", distinct.map(|distinct| distinct.count)),
        ];
        let named: Vec<(&str, u32)> = counts.iter().filter_map(|(field, count)| Some((*field, (*count)?))).collect();
        if named.len() != 1 {
            let count = if named.is_empty() { "none" } else { "several" };
            self.error(
                "open_when",
                format!("exactly one of alerts, events and distinct opens an incident, not {count}"),
            );
        }
        for (field, count) in named {
            if !(1..=COUNT_MAX).contains(&count) {
                self.error(field, format!("a count is 1 to {COUNT_MAX}, not {count}"));
            }
        }
        if distinct.is_some_and(|distinct| distinct.label.is_empty()) {
            self.error("open_when.distinct.label", "a label's name is not empty");
        }
    }

    fn times(&mut self, config: &RuleConfig) {
        if config.window.is_zero() {
            self.error("window", "a window is longer than 0s, at most 24h");
        }
        for (field, value, max) in [
            ("window", config.window, WINDOW_MAX),
            ("wait", config.wait, WAIT_MAX),
            ("resolve_after", config.resolve_after, RESOLVE_AFTER_MAX),
            ("reopen_within", config.reopen_within, REOPEN_WITHIN_MAX),
            ("update_interval", config.update_interval, UPDATE_INTERVAL_MAX),
        ] {
            if value > max {
                let (max, value) = (in_largest_unit(max), duration::format(value));
                self.error(field, format!("{field} is at most {max}, not {value}"));
            }
        }
    }

    fn notify(&mut self, config: &RuleConfig, sinks: &[String]) {
        let Some(notify) = &config.notify else { return };
        if notify.is_empty() {
            self.warning("notify", "nobody is told of these incidents; leave notify out to tell every sink");
        }
        if notify.len() > NOTIFY_MAX {
            return self.error("notify", format!("at most {NOTIFY_MAX} sinks, not {}", notify.len()));
        }
        for (place, name) in notify.iter().enumerate() {
            if !sinks.contains(name) {
                let hint = hint(name, sinks.iter().map(String::as_str));
                self.error(&format!("notify[{place}]"), format!("unknown sink \"{name}\"{hint}"));
            } else if notify[..place].contains(name) {
                self.error(&format!("notify[{place}]"), format!("the sink \"{name}\" is named twice"));
            }
        }
    }
}

/// `24h` rather than `1d`, as the documentation writes it.
fn in_largest_unit(max: Duration) -> String {
    if max == WINDOW_MAX { "24h".to_owned() } else { duration::format(max) }
}

/// Why no alert that could open an incident passes the matchers on this field, if so.
pub(super) fn never_holds(field: &Field, matchers: &[(usize, Matcher)]) -> Option<String> {
    let on_field: Vec<&Matcher> = matchers.iter().map(|(_, m)| m).filter(|m| m.field == *field).collect();
    let candidates = match field {
        Field::Status => vec![Status::Firing.as_str()],
        _ => match field.values() {
            Some(all) => all.to_vec(),
            None => on_field.iter().find_map(|matcher| matcher.wanted())?,
        },
    };
    if candidates.iter().any(|value| on_field.iter().all(|matcher| matcher.matches_value(Some(value)))) {
        return None;
    }
    let shown: Vec<String> = on_field.iter().map(|matcher| matcher.to_string()).collect();
    let why = if *field == Field::Status { ": only firing alerts open incidents" } else { "" };
    Some(format!("can never hold: {}{why}", shown.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Definition, compile};

    fn problems(rules: &str, scope: &[&str]) -> Vec<String> {
        let rules: Vec<RuleConfig> = serde_saphyr::from_str(rules).expect(rules);
        let scope: Vec<String> = scope.iter().map(|label| (*label).to_owned()).collect();
        let sinks = ["ops".to_owned(), "pager".to_owned()];
        let shown = |problem: Problem| {
            format!("{}: {}{}", problem.path, if problem.warning { "warning: " } else { "" }, problem.message)
        };
        compile(&Definition { scope: &scope, ..Definition::of(&rules, &sinks) }).1.into_iter().map(shown).collect()
    }

    #[test]
    fn every_problem_of_a_rule_is_reported_with_its_path() {
        let rules = "[{name: Bad_Name, match: ['a=\"b', 'severity=crit'], group_by: [a, a, ''], window: 0s, \
                     open_when: {alerts: 0, events: 2}, wait: 25h, notify: [opps, ops, ops], mode: shadow, \
                     storm: {opens: 1}, incident: {title: '{{ x }}', impact: from_service}}]";
        let found = problems(rules, &[]);
        let expected = [
            "rules[0].name: a name has up to 63 of a-z, 0-9 and -, not first -, so it cannot be \"Bad_Name\"",
            "rules[0].mode: shadow rules are not yet supported; leave the rule out, or make it active",
            "rules[0].storm: storm is not yet supported; leave it out",
            "rules[0].incident.impact: from_service is not yet supported; say high, medium or low",
            "rules[0].match[0]: at character 3 of the matcher: the quote is not closed",
            "rules[0].match[1]: severity is one of critical, error, warning, info, not \"crit\", did you mean \"critical\"?",
            "rules[0].group_by[1]: the label \"a\" is named twice",
            "rules[0].group_by[2]: a label's name is not empty",
            "rules[0].open_when: exactly one of alerts, events and distinct opens an incident, not several",
            "rules[0].open_when.alerts: a count is 1 to 10000, not 0",
            "rules[0].window: a window is longer than 0s, at most 24h",
            "rules[0].wait: wait is at most 24h, not 1d1h",
            "rules[0].notify[0]: unknown sink \"opps\", did you mean \"ops\"?",
            "rules[0].notify[2]: the sink \"ops\" is named twice",
            "rules[0].incident.title: unknown variable \"x\" (there are labels, annotations, key, severity, source, summary, rule)",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_only_unwise_is_a_warning() {
        for (rules, message) in [
            (
                "[{name: a, match: ['status=resolved']}]",
                "rules[0].match[0]: warning: can never hold: status=\"resolved\": only",
            ),
            ("[{name: a, match: ['b=c', 'b=d']}]", "rules[0].match[0]: warning: can never hold: b=\"c\" and b=\"d\""),
            ("[{name: a, match: ['b=c', 'b!=c']}]", "rules[0].match[0]: warning: can never hold"),
            ("[{name: a, match: ['severity=~\"crit\"']}]", "rules[0].match[0]: warning: can never hold"),
            ("[{name: a, notify: []}]", "rules[0].notify: warning: nobody is told"),
            ("[{name: a, group_by: [source]}]", "rules[0].group_by[0]: warning: group_by names labels"),
            (
                "[{name: a, match: [b=c, d=e]}, {name: b, match: [d=\"e\", 'b=c']}]",
                "rules[1]: warning: takes the same alerts",
            ),
        ] {
            let found = problems(rules, &[]);
            assert!(found.len() == 1 && found[0].starts_with(message), "{rules}: {found:?}");
        }
    }

    #[test]
    fn honest_rules_have_no_problem() {
        let rules = "[{name: a, match: ['severity=~\"critical|error\"', 'env!=\"dev\"'], group_by: [service], window: 24h}, \
                     {name: b, match: ['env!=dev', 'env!~\"test|ci\"', 'status=firing'], open_when: {distinct: {label: host, count: 3}}}]";
        assert_eq!(problems(rules, &[]), [""; 0]);
    }

    #[test]
    fn a_rule_that_joins_across_scopes_is_refused() {
        let found = problems("[{name: a, group_by: [service]}, {name: b, group_by: [cluster, service]}]", &["cluster"]);
        let wrong = "rules[0].group_by: would join alerts across scopes, which never meet: add the scope's labels, here cluster";
        assert_eq!(found, [wrong]);
    }

    #[test]
    fn a_name_used_twice_is_refused() {
        let found = problems("[{name: a}, {name: a, group_by: [b]}, {name: a, group_by: [c]}]", &[]);
        assert_eq!(
            found,
            ["rules[1].name: rules[0] is named \"a\" already", "rules[2].name: rules[0] is named \"a\" already"]
        );
    }
}
