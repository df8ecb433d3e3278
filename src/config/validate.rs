//! What the types of a configuration cannot say: bounds, names that must exist, values that contradict each other.

use std::time::Duration;

use super::{Config, kafka};
use crate::event::{ByteSize, duration};
use crate::rules::{self, Definition, Problem, RuleConfig, check_name};
use crate::sinks::SinkConfig;

/// Shards at most; a guess far above the cores of a machine.
pub(super) const SHARDS_MAX: u32 = 256;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const LABELS_MAX: usize = 64;
const SINKS_MAX: usize = 1_000;
const SOURCES_MAX: usize = 1_000;
/// A batch addresses its bytes with 31 bits.
const DECOMPRESSED_MAX: ByteSize = ByteSize(1 << 30);

/// All problems. `sinks` are the names in the file, those of sinks that could not be read among them.
pub(super) fn check(config: &Config, sinks: &[String]) -> Vec<Problem> {
    let mut names: Vec<String> = config.sinks.iter().map(|sink| sink.name.clone()).collect();
    names.extend(sinks.iter().filter(|sink| !config.sinks.iter().any(|known| known.name == **sink)).cloned());
    let mut problems = check_rules(config, &names);
    times(config, &mut problems);
    identity(config, &mut problems);
    bounds(config, &mut problems);
    check_sinks(&config.sinks, &mut problems);
    problems.extend(kafka::check(config));
    problems
}

fn check_rules(config: &Config, sinks: &[String]) -> Vec<Problem> {
    let mut scope: Vec<String> = config.scope.iter().filter(|label| !label.is_empty()).cloned().collect();
    scope.sort();
    scope.dedup();
    if !scope.is_empty() && config.rules == rules::default_rules() {
        let message =
            "the default rules would join alerts across scopes; configure rules that group by the scope's labels";
        return vec![Problem::error("scope", message)];
    }
    let problems = rules::compile(&Definition { scope: &scope, ..config.definition(sinks) }).1;
    match &config.listed {
        Some(listed) => problems.into_iter().map(|problem| listed.place(problem)).collect(),
        None => problems,
    }
}

fn times(config: &Config, problems: &mut Vec<Problem>) {
    let zero = Duration::ZERO;
    for (path, value, min, max) in [
        ("resolve_timeout", config.resolve_timeout, SECOND, DAY),
        ("event_time.max_age", config.event_time.max_age, SECOND, 365 * DAY),
        ("event_time.max_ahead", config.event_time.max_ahead, zero, DAY),
        ("lateness", config.lateness, zero, DAY),
        ("dedup.horizon", config.dedup.horizon, zero, 7 * DAY),
        ("shutdown_grace", config.shutdown_grace, zero, HOUR),
    ] {
        between(path, value, min, max, problems);
    }
    if config.lateness > config.event_time.max_age {
        let (late, old) = (duration::format(config.lateness), duration::format(config.event_time.max_age));
        let message = format!("lateness ({late}) exceeds event_time.max_age ({old}), beyond which times are replaced");
        problems.push(Problem::error("lateness", message));
    }
    source_lateness(config, problems);
    let short = |rule: &RuleConfig| rule.window < config.lateness && rule.open_when.absence.is_none();
    for (place, rule) in config.rules.iter().enumerate().filter(|(_, rule)| short(rule)) {
        let (late, window) = (duration::format(config.lateness), duration::format(rule.window));
        let message =
            format!("the window ({window}) is shorter than lateness ({late}), so it may be over before an event comes");
        problems.push(Problem::warning(format!("rules[{place}].window"), message));
    }
    if config.rules.is_empty() {
        problems.push(Problem::warning("rules", "without a rule no event becomes an incident"));
    }
}

fn source_lateness(config: &Config, problems: &mut Vec<Problem>) {
    if config.source_lateness.len() > SOURCES_MAX {
        let message = format!("at most {SOURCES_MAX} sources, not {}", config.source_lateness.len());
        problems.push(Problem::error("source_lateness", message));
    }
    let by_source = config.source_lateness.iter();
    let by_source = by_source.map(|(source, lateness)| (format!("source_lateness[\"{source}\"]"), *lateness));
    let kafka = config.sources.kafka.iter().enumerate();
    let by_kafka =
        kafka.filter_map(|(place, source)| Some((format!("sources.kafka[{place}].lateness"), source.lateness?)));
    for (path, lateness) in by_source.chain(by_kafka).filter(|(_, lateness)| *lateness > config.event_time.max_age) {
        let (late, old) = (duration::format(lateness), duration::format(config.event_time.max_age));
        let message = format!("{late} exceeds event_time.max_age ({old}), beyond which times are replaced");
        problems.push(Problem::error(path, message));
    }
}

fn between(path: &str, value: Duration, min: Duration, max: Duration, problems: &mut Vec<Problem>) {
    if value < min || value > max {
        let name = path.rsplit('.').next().unwrap_or(path);
        let [min, max, value] = [min, max, value].map(duration::format);
        problems.push(Problem::error(path, format!("{name} is {min} to {max}, not {value}")));
    }
}

fn identity(config: &Config, problems: &mut Vec<Problem>) {
    labels("scope", &config.scope, problems);
    if let Some(names) = &config.fingerprint_labels {
        labels("fingerprint_labels", names, problems);
        if names.is_empty() {
            let message =
                "no label identifies an alert, so all alerts of a source would be one; leave it out for all labels";
            problems.push(Problem::error("fingerprint_labels", message));
        }
    }
    if let Some(shards) = config.shards {
        if !(1..=SHARDS_MAX).contains(&shards) {
            problems.push(Problem::error("shards", format!("shards is 1 to {SHARDS_MAX}, not {shards}")));
        } else if shards > 1 && config.scope.is_empty() {
            let message = "several shards need `scope`: without it all events may meet, which takes one shard";
            problems.push(Problem::error("shards", message));
        }
    }
}

fn labels(path: &str, names: &[String], problems: &mut Vec<Problem>) {
    if names.len() > LABELS_MAX {
        return problems.push(Problem::error(path, format!("at most {LABELS_MAX} labels, not {}", names.len())));
    }
    for (place, name) in names.iter().enumerate() {
        if name.is_empty() {
            problems.push(Problem::error(format!("{path}[{place}]"), "a label's name is not empty"));
        } else if names[..place].contains(name) {
            problems.push(Problem::error(format!("{path}[{place}]"), format!("the label \"{name}\" is named twice")));
        }
    }
}

fn bounds(config: &Config, problems: &mut Vec<Problem>) {
    let limits = &config.limits;
    for (path, value, max) in [
        ("dedup.max_ids", config.dedup.max_ids, 100_000_000),
        ("max_alerts", config.max_alerts, 16_000_000),
        ("max_groups", config.max_groups, 16_000_000),
        ("limits.events", limits.events, 1_000_000),
        ("limits.labels", limits.labels, 1_024),
        ("limits.label_name_bytes", limits.label_name_bytes, 65_535),
        ("limits.json_depth", limits.json_depth, 128),
    ] {
        if !(1..=max).contains(&value) {
            let name = path.rsplit('.').next().unwrap_or(path);
            problems.push(Problem::error(path, format!("{name} is 1 to {max}, not {value}")));
        }
    }
    for (path, value, max) in [
        ("limits.body_bytes", limits.body_bytes, limits.decompressed_bytes.min(DECOMPRESSED_MAX)),
        ("limits.decompressed_bytes", limits.decompressed_bytes, DECOMPRESSED_MAX),
        ("limits.event_bytes", limits.event_bytes, limits.decompressed_bytes.min(DECOMPRESSED_MAX)),
        ("limits.label_value_bytes", limits.label_value_bytes, ByteSize(1 << 20)),
    ] {
        if value.0 == 0 || value > max {
            let name = path.rsplit('.').next().unwrap_or(path);
            problems.push(Problem::error(path, format!("{name} is 1B to {max}, not {value}")));
        }
    }
}

fn check_sinks(sinks: &[SinkConfig], problems: &mut Vec<Problem>) {
    if sinks.is_empty() {
        problems.push(Problem::warning("sinks", "without a sink nobody is told of incidents"));
    }
    if sinks.len() > SINKS_MAX {
        return problems.push(Problem::error("sinks", format!("at most {SINKS_MAX} sinks, not {}", sinks.len())));
    }
    for (place, sink) in sinks.iter().enumerate() {
        let root = format!("sinks[{place}]");
        if let Err(wrong) = check_name(&sink.name) {
            problems.push(Problem::error(format!("{root}.name"), wrong));
        } else if sinks[..place].iter().any(|earlier| earlier.name == sink.name) {
            let message = format!("another sink is named \"{}\" already", sink.name);
            problems.push(Problem::error(format!("{root}.name"), message));
        }
        for (path, message) in sink.problems().into_iter().filter(|(path, _)| path != "name") {
            let message = if message.starts_with("E_") { message } else { format!("{path}: {message}") };
            problems.push(Problem::error(format!("{root}.{path}"), message));
        }
    }
}
