//! Heartbeats: signs of life that are expected, and what their absence means.
//!
//! Owns the configuration and its compiled form; the engine keeps who was heard when. All that can be wrong is found here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compile::{Subject, hash};
use super::matcher::{Matcher, parse_matcher};
use super::validate::{Problem, check_name};
use crate::event::{Kind, Severity, duration};
use crate::identity::{Hasher, Scope, domain};

/// Heartbeats that can be configured. Every sign of life is held against each of its kind.
const HEARTBEATS_MAX: usize = 1_000;
const MATCHERS_MAX: usize = 64;
const BY_MAX: usize = 16;
const LABELS_MAX: usize = 16;
/// Expectations of one heartbeat, and of a shard in all.
pub const KEYS_MAX: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Labels that the alert of a heartbeat has of its own.
const OWN_LABELS: [&str; 3] = ["alertname", "heartbeat", "heartbeat_state"];

/// Signs of life that are expected; what does not come is an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Unique name; the label `heartbeat` of the alert.
    pub name: String,
    /// Matchers in Alertmanager's syntax; all must hold. At most 64. Default: every sign of life.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
    /// Which events are signs of life: `heartbeat` (default), `alert` (a firing one, such as Prometheus' Watchdog).
    #[serde(default = "defaults::kinds")]
    pub kinds: Vec<SignOfLife>,
    /// Labels whose values tell who is alive; one expectation each. At most 16. Default: one expectation in all.
    #[serde(default)]
    pub by: Vec<String>,
    /// A sign of life is late when it does not come within this time of the last one; 1s to 1y.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub every: Duration,
    /// It is missing when it does not come within this further time. Default `5m`; at most `1y`. `0s`: never only late.
    #[serde(default = "defaults::grace", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub grace: Duration,
    /// After a start of the daemon nothing is late or missing before this time. Default: `grace`; at most `1y`.
    #[serde(default, with = "optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub after_start: Option<Duration>,
    /// Known ones, expected from the start even if they were never heard: for each the values of the labels in `by`.
    #[serde(default)]
    pub expect: Vec<BTreeMap<String, String>>,
    /// Severity of the alert while a sign of life is missing; while it is late at most `warning`. Default `error`.
    #[serde(default = "defaults::severity")]
    pub severity: Severity,
    /// Further labels of the alert, such as `service` or `team`. At most 16.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// One that is missing for this time and is not in `expect` is forgotten. Default `24h`; 1s to 1y.
    #[serde(default = "defaults::forget_after", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub forget_after: Duration,
    /// Expectations at most; signs of life of further ones are recorded with the reason `limit_reached`. Default 10,000;
    /// at most 100,000.
    #[serde(default = "defaults::max_keys")]
    pub max_keys: u32,
}

/// What may be a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SignOfLife {
    /// An event of kind `heartbeat`.
    Heartbeat,
    /// A firing event of kind `alert`, counted from its receipt.
    Alert,
}

/// One that is expected from the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The values of the labels in `by`, in its order.
    pub values: Vec<Arc<str>>,
    /// Where its signs of life go.
    pub scope: Scope,
}

/// A heartbeat, compiled.
#[derive(Debug)]
pub struct Heartbeat {
    /// Unique name.
    pub name: Arc<str>,
    /// A hash of the whole definition.
    pub definition: u64,
    matchers: Vec<Matcher>,
    kinds: Vec<SignOfLife>,
    /// Labels whose values tell who is alive.
    pub by: Vec<Arc<str>>,
    /// Late after this time.
    pub every: Duration,
    /// Missing after this further time.
    pub grace: Duration,
    /// Nothing is late before this time after a start.
    pub after_start: Duration,
    /// Forgotten when missing for so long.
    pub forget_after: Duration,
    /// Expected from the start.
    pub expect: Vec<Expected>,
    /// While it is missing.
    pub severity: Severity,
    /// Further labels of the alert.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Expectations at most.
    pub max_keys: usize,
}

impl Heartbeat {
    /// Whether this is a sign of life that it waits for.
    pub fn takes(&self, subject: &impl Subject) -> bool {
        self.takes_kind(subject.kind()) && self.matchers.iter().all(|matcher| matcher.matches(subject))
    }

    /// Whether events of this kind are signs of life.
    pub fn takes_kind(&self, kind: Kind) -> bool {
        match kind {
            Kind::Heartbeat => self.kinds.contains(&SignOfLife::Heartbeat),
            Kind::Alert => self.kinds.contains(&SignOfLife::Alert),
            Kind::Change => false,
        }
    }

    pub(super) fn compile(heartbeats: &[HeartbeatConfig], scope: &[String]) -> (Vec<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        if heartbeats.len() > HEARTBEATS_MAX {
            let message = format!("at most {HEARTBEATS_MAX} heartbeats, not {}", heartbeats.len());
            return (Vec::new(), vec![Problem::error("heartbeats", message)]);
        }
        let mut compiled = Vec::new();
        for (place, config) in heartbeats.iter().enumerate() {
            let mut check = Check { root: format!("heartbeats[{place}]"), problems: Vec::new() };
            if let Some(earlier) = heartbeats[..place].iter().position(|earlier| earlier.name == config.name) {
                check.error("name", format!("heartbeats[{earlier}] is named \"{}\" already", config.name));
            }
            let matchers = check.all(config, scope);
            if check.problems.is_empty() {
                compiled.push(Self::of(config, matchers, scope));
            }
            problems.extend(check.problems);
        }
        (compiled, problems)
    }

    fn of(config: &HeartbeatConfig, matchers: Vec<Matcher>, scope: &[String]) -> Self {
        let expected = |entry: &BTreeMap<String, String>| Expected {
            values: config.by.iter().filter_map(|label| Some(entry.get(label)?.as_str().into())).collect(),
            scope: scope_of(entry, scope),
        };
        let mut expect: Vec<Expected> = config.expect.iter().map(expected).collect();
        if config.by.is_empty() {
            expect = vec![Expected { values: Vec::new(), scope: Scope::default() }];
        }
        Self {
            name: config.name.as_str().into(),
            definition: hash(config),
            matchers,
            kinds: config.kinds.clone(),
            by: config.by.iter().map(|label| label.as_str().into()).collect(),
            every: config.every,
            grace: config.grace,
            after_start: config.after_start.unwrap_or(config.grace),
            forget_after: config.forget_after,
            expect,
            severity: config.severity,
            labels: config.labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
            max_keys: config.max_keys as usize,
        }
    }
}

/// As the way in computes it for an event with these labels.
fn scope_of(labels: &BTreeMap<String, String>, scope: &[String]) -> Scope {
    if scope.is_empty() {
        return Scope::default();
    }
    let mut names: Vec<&String> = scope.iter().collect();
    names.sort();
    names.dedup();
    let mut hasher = Hasher::default();
    hasher.reset(domain::SCOPE);
    for (name, value) in names.into_iter().filter_map(|name| Some((name, labels.get(name)?))) {
        hasher.part(name.as_bytes()).part(value.as_bytes());
    }
    Scope(hasher.finish64())
}

struct Check {
    root: String,
    problems: Vec<Problem>,
}

impl Check {
    fn error(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::error(format!("{}.{field}", self.root), message));
    }

    fn all(&mut self, config: &HeartbeatConfig, scope: &[String]) -> Vec<Matcher> {
        if let Err(wrong) = check_name(&config.name) {
            self.error("name", wrong);
        }
        if config.kinds.is_empty() {
            self.error("kinds", "name what is a sign of life: heartbeat, alert or both");
        }
        self.by(&config.by, scope);
        self.times(config);
        self.expect(config);
        self.labels(config);
        if config.max_keys == 0 || config.max_keys as usize > KEYS_MAX {
            self.error("max_keys", format!("max_keys is 1 to {KEYS_MAX}, not {}", config.max_keys));
        }
        self.matchers(&config.matchers)
    }

    fn matchers(&mut self, matchers: &[String]) -> Vec<Matcher> {
        if matchers.len() > MATCHERS_MAX {
            self.error("match", format!("a heartbeat has at most {MATCHERS_MAX} matchers, not {}", matchers.len()));
            return Vec::new();
        }
        let mut read = Vec::new();
        for (place, text) in matchers.iter().enumerate() {
            match parse_matcher(text) {
                Ok(matcher) => read.push(matcher),
                Err(wrong) => self.error(&format!("match[{place}]"), wrong),
            }
        }
        read
    }

    fn by(&mut self, by: &[String], scope: &[String]) {
        if by.len() > BY_MAX {
            return self.error("by", format!("at most {BY_MAX} labels tell who is alive, not {}", by.len()));
        }
        for (place, label) in by.iter().enumerate() {
            let field = format!("by[{place}]");
            if label.is_empty() {
                self.error(&field, "a label's name is not empty");
            } else if by[..place].contains(label) {
                self.error(&field, format!("the label \"{label}\" is named twice"));
            } else if OWN_LABELS.contains(&label.as_str()) {
                self.error(&field, format!("the alert has a label \"{label}\" of its own"));
            }
        }
        let missing: Vec<&str> = scope.iter().filter(|label| !by.contains(label)).map(String::as_str).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            self.error(
                "by",
                format!("what goes to different shards is expected apart: add the scope's labels, here {missing}"),
            );
        }
    }

    fn times(&mut self, config: &HeartbeatConfig) {
        let zero = Duration::ZERO;
        for (field, value, min) in [
            ("every", Some(config.every), SECOND),
            ("grace", Some(config.grace), zero),
            ("after_start", config.after_start, zero),
            ("forget_after", Some(config.forget_after), SECOND),
        ] {
            let Some(value) = value.filter(|value| *value < min || *value > YEAR) else { continue };
            let [min, max, value] = [min, YEAR, value].map(duration::format);
            self.error(field, format!("{field} is {min} to {max}, not {value}"));
        }
    }

    fn expect(&mut self, config: &HeartbeatConfig) {
        let most = config.max_keys as usize;
        if config.expect.len() > most {
            return self
                .error("expect", format!("at most {most} are expected (max_keys), not {}", config.expect.len()));
        }
        if config.by.is_empty() && !config.expect.is_empty() {
            return self.error("expect", "without `by` there is one expectation, and it holds from the start");
        }
        let mut first = hashbrown::HashMap::new();
        for (place, entry) in config.expect.iter().enumerate() {
            let field = format!("expect[{place}]");
            let named: Vec<&str> = entry.keys().map(String::as_str).collect();
            if entry.len() != config.by.len() || !config.by.iter().all(|label| entry.contains_key(label)) {
                let (by, named) = (config.by.join(", "), named.join(", "));
                self.error(&field, format!("an entry has a value for each label of `by` ({by}), here {named}"));
            } else if let Some(earlier) = first.insert(entry, place) {
                self.error(&field, format!("is the same as expect[{earlier}]"));
            }
        }
    }

    fn labels(&mut self, config: &HeartbeatConfig) {
        if config.labels.len() > LABELS_MAX {
            self.error("labels", format!("at most {LABELS_MAX} labels, not {}", config.labels.len()));
        }
        for name in config.labels.keys() {
            let field = format!("labels.{name}");
            if name.is_empty() {
                self.error("labels", "a label's name is not empty");
            } else if OWN_LABELS.contains(&name.as_str()) || config.by.contains(name) {
                self.error(&field, format!("the alert has a label \"{name}\" of its own"));
            }
        }
    }
}

mod defaults {
    use std::time::Duration;

    use super::SignOfLife;
    use crate::event::Severity;

    pub(super) fn kinds() -> Vec<SignOfLife> {
        vec![SignOfLife::Heartbeat]
    }
    pub(super) fn grace() -> Duration {
        Duration::from_secs(300)
    }
    pub(super) fn severity() -> Severity {
        Severity::Error
    }
    pub(super) fn forget_after() -> Duration {
        Duration::from_secs(86_400)
    }
    pub(super) fn max_keys() -> u32 {
        10_000
    }
}

/// A duration that may be left out.
mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Given(#[serde(with = "crate::event::duration")] Duration);

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => crate::event::duration::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Given>::deserialize(deserializer)?.map(|given| given.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(yaml: &str, scope: &[&str]) -> (Vec<Heartbeat>, Vec<String>) {
        let configs: Vec<HeartbeatConfig> = serde_saphyr::from_str(yaml).expect(yaml);
        let scope: Vec<String> = scope.iter().map(|label| (*label).to_owned()).collect();
        let (compiled, problems) = Heartbeat::compile(&configs, &scope);
        (compiled, problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
    }

    #[test]
    fn every_mistake_is_said_at_its_place() {
        let yaml = "[{name: Bad, every: 0s, grace: 9y, kinds: [], by: [a, a, heartbeat, ''], match: ['x'], \
                     max_keys: 0, labels: {alertname: x, a: y}, forget_after: 0s, after_start: 2y}, \
                     {name: b, every: 1m, by: [host], expect: [{hots: x}, {host: x}, {host: x}]}, \
                     {name: b, every: 1m, expect: [{}]}, {name: c, every: 1m, by: [host], max_keys: 1, \
                     expect: [{host: a}, {host: b}]}]";
        let (compiled, problems) = compile(yaml, &[]);
        assert!(compiled.is_empty());
        let expected = [
            "heartbeats[0].name: a name has up to",
            "heartbeats[0].kinds: name what is a sign of life",
            "heartbeats[0].by[1]: the label \"a\" is named twice",
            "heartbeats[0].by[2]: the alert has a label \"heartbeat\" of its own",
            "heartbeats[0].by[3]: a label's name is not empty",
            "heartbeats[0].every: every is 1s to 1y, not 0s",
            "heartbeats[0].grace: grace is 0s to 1y, not",
            "heartbeats[0].after_start: after_start is 0s to 1y, not",
            "heartbeats[0].forget_after: forget_after is 1s to 1y, not 0s",
            "heartbeats[0].labels.a: the alert has a label \"a\" of its own",
            "heartbeats[0].labels.alertname: the alert has a label \"alertname\" of its own",
            "heartbeats[0].max_keys: max_keys is 1 to 100000, not 0",
            "heartbeats[0].match[0]: ",
            "heartbeats[1].expect[0]: an entry has a value for each label of `by` (host), here hots",
            "heartbeats[1].expect[2]: is the same as expect[1]",
            "heartbeats[2].name: heartbeats[1] is named \"b\" already",
            "heartbeats[2].expect: without `by` there is one expectation",
            "heartbeats[3].expect: at most 1 are expected (max_keys), not 2",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}\n{expected}");
        }
    }

    #[test]
    fn the_scope_decides_who_is_expected_where() {
        let (_, problems) = compile("[{name: a, every: 1m, by: [host]}]", &["cluster"]);
        assert_eq!(
            problems,
            ["heartbeats[0].by: what goes to different shards is expected apart: add the scope's labels, here cluster"]
        );
        let yaml = "[{name: a, every: 1m, by: [host, cluster], expect: [{cluster: x, host: a}, {cluster: y, host: a}, \
                     {cluster: x, host: b}]}]";
        let (compiled, problems) = compile(yaml, &["cluster"]);
        assert_eq!(problems, [""; 0]);
        let scopes: Vec<Scope> = compiled[0].expect.iter().map(|expected| expected.scope).collect();
        assert!(scopes[0] == scopes[2] && scopes[0] != scopes[1], "{scopes:?}");
        assert_eq!(compiled[0].expect[0].values, ["a".into(), "x".into()]);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let (compiled, _) = compile("[{name: a, every: 1h}]", &[]);
        let heartbeat = &compiled[0];
        assert_eq!((heartbeat.grace, heartbeat.after_start), (Duration::from_secs(300), Duration::from_secs(300)));
        assert!(heartbeat.takes_kind(Kind::Heartbeat) && !heartbeat.takes_kind(Kind::Alert));
        assert_eq!((heartbeat.expect.len(), heartbeat.max_keys), (1, 10_000));
    }
}
