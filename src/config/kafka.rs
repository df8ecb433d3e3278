//! What is wrong in Kafka sources and sinks: names, loops, and client settings that would break a promise.

use super::Config;
use crate::ingest::kafka::KafkaSourceConfig;
use crate::rules::{Problem, check_name};
use crate::sinks;

const EXACT: &str = "each record counts once, wherever the daemon was stopped";
const SOURCES_MAX: usize = 100;
const SOURCE_TOPICS_MAX: usize = 1_000;
const BROKERS_MAX: usize = 100;

/// All problems of Kafka sources and sinks.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let sources = &config.sources.kafka;
    if sources.len() > SOURCES_MAX {
        let message = format!("at most {SOURCES_MAX} Kafka sources, not {}", sources.len());
        return vec![Problem::error("sources.kafka", message)];
    }
    for (place, source) in sources.iter().enumerate() {
        let root = format!("sources.kafka[{place}]");
        check_source(&root, source, &mut problems);
        check_against(&root, source, &sources[..place], &mut problems);
    }
    for (place, sink) in config.sinks.iter().enumerate() {
        let sinks::Kind::Kafka(sink) = &sink.kind else { continue };
        let root = format!("sinks[{place}]");
        let consumed = |source: &&KafkaSourceConfig| {
            source.topics.contains(&sink.topic) && share_broker(&source.brokers, &sink.brokers)
        };
        if let Some(source) = sources.iter().find(consumed) {
            let message =
                format!("E_LOOP: the source \"{}\" consumes this topic, so incidents would become events", source.name);
            problems.push(Problem::error(format!("{root}.topic"), message));
        }
    }
    problems
}

fn check_source(root: &str, source: &KafkaSourceConfig, problems: &mut Vec<Problem>) {
    let mut error = |field: &str, message: String| problems.push(Problem::error(format!("{root}.{field}"), message));
    if let Err(wrong) = check_name(&source.name) {
        error("name", wrong);
    }
    if source.group_id.is_empty() {
        error("group_id", "a consumer group has a name".to_owned());
    }
    brokers(root, &source.brokers, problems);
    let own = source.problems().into_iter().filter(|(path, _)| path.starts_with("client"));
    problems.extend(own.map(|(path, message)| Problem::error(format!("{root}.{path}"), message)));
    let mut error = |field: &str, message: String| problems.push(Problem::error(format!("{root}.{field}"), message));
    if source.topics.is_empty() || source.topics.len() > SOURCE_TOPICS_MAX {
        return error("topics", format!("a source has 1 to {SOURCE_TOPICS_MAX} topics, not {}", source.topics.len()));
    }
    for (place, topic) in source.topics.iter().enumerate() {
        if source.topics[..place].contains(topic) {
            error(&format!("topics[{place}]"), format!("the topic \"{topic}\" is named twice"));
        }
    }
    if source.dead_letter_topic.as_ref().is_some_and(|dead| source.topics.contains(dead)) {
        error(
            "dead_letter_topic",
            "E_LOOP: the source consumes this topic, so dead letters would come back".to_owned(),
        );
    }
    for (place, name) in source.topics.iter().enumerate() {
        topic(&format!("{root}.topics[{place}]"), name, problems);
    }
    if let Some(dead) = &source.dead_letter_topic {
        topic(&format!("{root}.dead_letter_topic"), dead, problems);
    }
}

fn check_against(root: &str, source: &KafkaSourceConfig, others: &[KafkaSourceConfig], problems: &mut Vec<Problem>) {
    if others.iter().any(|other| other.name == source.name) {
        let message = format!("another source is named \"{}\" already", source.name);
        problems.push(Problem::error(format!("{root}.name"), message));
    }
    let neighbours = others.iter().filter(|other| share_broker(&other.brokers, &source.brokers));
    for other in neighbours {
        let shared = source.topics.iter().position(|topic| other.topics.contains(topic));
        if let Some(place) = shared.filter(|_| other.group_id == source.group_id) {
            let message = format!(
                "E_UNSAFE_OVERRIDE: the source \"{}\" consumes this topic in the same group; that breaks the promise that {EXACT}",
                other.name
            );
            problems.push(Problem::error(format!("{root}.topics[{place}]"), message));
        }
        if dead_letters_reach(source, other) {
            let message =
                format!("E_LOOP: the source \"{}\" consumes this topic, so dead letters would come back", other.name);
            problems.push(Problem::error(format!("{root}.dead_letter_topic"), message));
        }
        if dead_letters_reach(other, source) {
            let message =
                format!("E_LOOP: the source \"{}\" sends its dead letters to one of these topics", other.name);
            problems.push(Problem::error(format!("{root}.topics"), message));
        }
    }
}

fn dead_letters_reach(from: &KafkaSourceConfig, to: &KafkaSourceConfig) -> bool {
    from.dead_letter_topic.as_ref().is_some_and(|topic| to.topics.contains(topic))
}

fn share_broker(a: &[String], b: &[String]) -> bool {
    a.iter().any(|broker| b.contains(broker))
}

fn brokers(root: &str, brokers: &[String], problems: &mut Vec<Problem>) {
    if brokers.is_empty() || brokers.len() > BROKERS_MAX {
        let message = format!("1 to {BROKERS_MAX} brokers are needed, as host:port, not {}", brokers.len());
        return problems.push(Problem::error(format!("{root}.brokers"), message));
    }
    for (place, broker) in brokers.iter().enumerate() {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) || broker.contains([',', ' ', '/']) {
            let message = format!("a broker is written host:port, not \"{broker}\"");
            problems.push(Problem::error(format!("{root}.brokers[{place}]"), message));
        }
    }
}

fn topic(path: &str, topic: &str, problems: &mut Vec<Problem>) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.bytes().all(plain) {
        let message = format!("a topic has up to 249 letters, digits, '.', '_' and '-', so it cannot be {topic:?}");
        problems.push(Problem::error(path, message));
    }
}
