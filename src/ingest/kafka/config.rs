//! What can be configured about a Kafka source, and what of it is refused because it would break a promise.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::{Deserialize, Serialize};

use crate::event::Limits;
use crate::formats::Format;

/// What librdkafka may hold of records that were fetched and not yet read: 32 MiB a source.
const QUEUED_KBYTES_MAX: u64 = 32_768;
/// How soon to look again whether there is room for more. librdkafka's own second leaves us with nothing to read for most of
/// it, since what it may hold is read in a tenth.
const FETCH_BACKOFF_MS: &str = "20";
/// Records of one fetch over all partitions.
const FETCH_BYTES_MAX: u64 = 16 << 20;
/// How long the group waits for a member that died without a word, which is how long a daemon that was killed waits for
/// its own partitions. Heartbeats have a thread of their own, so a busy daemon is not taken for a dead one.
const SESSION_MS: &str = "10000";
/// Settings of `client` that the dead-letter producer takes over: how to reach and to convince the brokers.
const CONNECTION: [&str; 9] =
    ["security.", "sasl.", "ssl.", "enable.ssl.", "socket.", "broker.", "reconnect.", "client.dns", "metadata."];

/// One Kafka source.
#[derive(Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSourceConfig {
    /// The name of the source in metrics, logs and stored positions. Renaming it starts afresh.
    pub name: String,
    /// Brokers to ask for the cluster, as `host:port`.
    pub brokers: Vec<String>,
    /// Topics to read.
    pub topics: Vec<String>,
    /// The consumer group. Default `incidentd`.
    #[serde(default = "default_group_id")]
    pub group_id: String,
    /// How to read a record: `event` (default), `event-protobuf` or `alertmanager`.
    #[serde(default = "default_format")]
    pub format: Format,
    /// Where records go that cannot be read or hold a refused event. Without it they are counted, logged (the first
    /// ten a minute) and passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
    /// Where to start reading a partition of which nothing was ever read: `earliest` (default) or `latest`.
    #[serde(default)]
    pub start: Start,
    /// How late events of this source may come and still be correlated as if in order, where their own `source` has no
    /// `source_lateness`. Default: as `lateness` says; at most `event_time.max_age`.
    #[serde(default, with = "crate::event::duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub lateness: Option<Duration>,
    /// Further librdkafka settings; those that would break a promise are refused.
    #[serde(default)]
    pub client: BTreeMap<String, String>,
}

/// Where to start reading a partition of which nothing was ever read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the oldest record there is.
    #[default]
    Earliest,
    /// At what is written from now on.
    Latest,
}

fn default_group_id() -> String {
    "incidentd".to_owned()
}

fn default_format() -> Format {
    Format::Event
}

/// Values under `client` may be secrets and are never shown.
impl std::fmt::Debug for KafkaSourceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, brokers, topics, group_id, format, dead_letter_topic, start, lateness, client } = self;
        f.debug_struct("KafkaSourceConfig")
            .field("name", name)
            .field("brokers", brokers)
            .field("topics", topics)
            .field("group_id", group_id)
            .field("format", format)
            .field("dead_letter_topic", dead_letter_topic)
            .field("start", start)
            .field("lateness", lateness)
            .field("client", &client.keys())
            .finish()
    }
}

impl KafkaSourceConfig {
    /// What is wrong with it, as (field, sentence). Empty when it can be started.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut problem = |field: &str, message: String| problems.push((field.to_owned(), message));
        for (field, empty) in [
            ("name", self.name.is_empty()),
            ("brokers", self.brokers.is_empty() || self.brokers.iter().any(String::is_empty)),
            ("topics", self.topics.is_empty() || self.topics.iter().any(String::is_empty)),
            ("group_id", self.group_id.is_empty()),
        ] {
            if empty {
                problem(field, format!("{field} must not be empty"));
            }
        }
        if let Some(pattern) = self.topics.iter().find(|topic| topic.starts_with('^')) {
            problem("topics", format!("\"{pattern}\" is a pattern; name the topics one by one"));
        }
        if let Some(topic) = self.dead_letter_topic.as_ref().filter(|topic| self.topics.contains(topic)) {
            let message =
                format!("E_LOOP: \"{topic}\" is read by the same source; dead letters would come back for ever");
            problem("dead_letter_topic", message);
        }
        for (key, value) in &self.client {
            if let Some(promise) = broken_promise(key, value) {
                problem(&format!("client[\"{key}\"]"), format!("E_UNSAFE_OVERRIDE: {promise}"));
            }
        }
        problems
    }

    /// The settings of the consumer.
    pub(super) fn consumer(&self, limits: &Limits) -> ClientConfig {
        let mut config = self.connection();
        config
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", QUEUED_KBYTES_MAX.to_string())
            .set("fetch.queue.backoff.ms", FETCH_BACKOFF_MS)
            .set("fetch.max.bytes", FETCH_BYTES_MAX.to_string())
            .set("fetch.message.max.bytes", limits.event_bytes.0.clamp(64 << 10, FETCH_BYTES_MAX).to_string());
        // Eager assignment: librdkafka has open faults around lost assignments with the cooperative kind. Who wants
        // that, or the consumer protocol of newer brokers, asks for it under `client`.
        if self.client.get("group.protocol").is_none_or(|protocol| protocol != "consumer") {
            config.set("partition.assignment.strategy", "range").set("session.timeout.ms", SESSION_MS);
        }
        for (key, value) in &self.client {
            config.set(key, value);
        }
        config
    }

    /// The settings of the dead-letter producer: nothing is lost or doubled by a retry.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.connection();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "30000")
            .set("message.max.bytes", "100000000")
            .set("linger.ms", "5");
        for (key, value) in &self.client {
            if CONNECTION.iter().any(|prefix| key.starts_with(prefix)) {
                config.set(key, value);
            }
        }
        config
    }

    fn connection(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", format!("incidentd-{}", self.name))
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }
}

/// Which promise a setting would break.
fn broken_promise(key: &str, value: &str) -> Option<&'static str> {
    let is = |wanted: &str| value.trim().eq_ignore_ascii_case(wanted);
    match key {
        "enable.auto.commit" | "auto.commit.interval.ms" => {
            Some("an offset is committed only when the effects of its record are durable")
        }
        "enable.auto.offset.store" => Some("an offset is stored only when the effects of its record are durable"),
        "auto.offset.reset" => Some("records are never passed over silently; use start: earliest or latest"),
        "group.id" => Some("the group is named by group_id"),
        "bootstrap.servers" | "metadata.broker.list" => Some("the brokers are named by brokers"),
        "isolation.level" if !is("read_committed") => {
            Some("records of aborted transactions are never taken for events")
        }
        "check.crcs" if !is("true") && !is("1") => Some("a corrupt record is never taken for an event"),
        "enable.idempotence" | "acks" | "request.required.acks" => {
            Some("a dead letter is written by all replicas before its record is passed")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(client: &[(&str, &str)]) -> KafkaSourceConfig {
        KafkaSourceConfig {
            name: "alerts".into(),
            brokers: vec!["127.0.0.1:9092".into()],
            topics: vec!["alerts".into()],
            group_id: "incidentd".into(),
            format: Format::Event,
            dead_letter_topic: Some("alerts.dead-letter".into()),
            start: Start::Earliest,
            lateness: None,
            client: client.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn settings_that_break_a_promise_are_refused_and_name_it() {
        for (key, value) in [
            ("enable.auto.commit", "true"),
            ("enable.auto.offset.store", "true"),
            ("auto.offset.reset", "latest"),
            ("group.id", "other"),
            ("bootstrap.servers", "other:9092"),
            ("isolation.level", "read_uncommitted"),
            ("check.crcs", "false"),
            ("acks", "0"),
        ] {
            let problems = config(&[(key, value)]).problems();
            assert_eq!(problems.len(), 1, "{key}");
            assert_eq!(problems[0].0, format!("client[\"{key}\"]"));
            assert!(problems[0].1.starts_with("E_UNSAFE_OVERRIDE"), "{}", problems[0].1);
        }
        let harmless =
            [("security.protocol", "ssl"), ("fetch.wait.max.ms", "100"), ("isolation.level", "read_committed")];
        assert!(config(&harmless).problems().is_empty());
    }

    #[test]
    fn a_loop_through_the_dead_letter_topic_is_refused() {
        let looping = KafkaSourceConfig { dead_letter_topic: Some("alerts".into()), ..config(&[]) };
        assert!(looping.problems()[0].1.starts_with("E_LOOP"));
    }

    #[test]
    fn the_dead_letter_producer_takes_over_only_how_to_connect() {
        let config = config(&[("security.protocol", "sasl_ssl"), ("fetch.wait.max.ms", "100")]);
        let producer = config.producer();
        assert_eq!(producer.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(producer.get("fetch.wait.max.ms"), None);
        assert_eq!(config.consumer(&Limits::default()).get("fetch.wait.max.ms"), Some("100"));
    }
}
