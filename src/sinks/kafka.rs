//! The `kafka` sink: produces each delivery to a topic and waits for the broker's report.
//!
//! The key is the incident's id, so a partition holds an incident in order; the header `delivery_id` lets a consumer
//! drop repeats. The producer is idempotent with `acks=all`; settings that would weaken that are refused. librdkafka
//! retries on its own until `message.timeout.ms`; after that the outcome is unknown and the outbox takes over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Problem, Sink, SinkError, Ticket};
use crate::delivery::Delivery;

/// Settings of a `kafka` sink.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// Where to produce.
    pub topic: String,
    /// Further librdkafka settings. Those that would break a promise are refused.
    #[serde(default, deserialize_with = "settings", serialize_with = "redacted_values")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub client: BTreeMap<String, String>,
}

/// What we promise, in librdkafka's words.
const FIXED: [(&str, &str); 4] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // Shorter than the outbox waits, so that it is the report that says what became of a message.
    ("message.timeout.ms", "30000"),
    // A lone message is not made to wait for company.
    ("linger.ms", "0"),
];
/// Other names of the same, and what would change order, encoding or acknowledgement.
const REFUSED: [&str; 12] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "request.required.acks",
    "delivery.timeout.ms",
    "transactional.id",
    "retries",
    "message.send.max.retries",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "delivery.report.only.error",
    "enable.gapless.guarantee",
    "queue.buffering.max.ms",
];
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Numbers and switches may be written without quotes.
fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let text = |(key, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) => Ok((key, text)),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Ok((key, value.to_string())),
        _ => Err(serde::de::Error::custom(format_args!("{key} must be a text, a number or a switch"))),
    };
    values.into_iter().map(text).collect()
}

fn redacted_values<S: Serializer>(client: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(client.keys().map(|name| (name, "(hidden)")))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("client", &self.client.keys())
            .finish()
    }
}

impl Config {
    /// What would keep it from working.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: String, message: String| problems.push((path, message));
        if self.brokers.is_empty() || self.brokers.iter().any(|broker| broker.trim().is_empty()) {
            problem("brokers".to_owned(), "at least one host:port".to_owned());
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.topic.is_empty() || self.topic.len() > 249 || !self.topic.chars().all(legal) {
            problem("topic".to_owned(), "1 to 249 letters, digits, dots, - and _".to_owned());
        }
        for (key, value) in &self.client {
            let path = format!("client[\"{key}\"]");
            if REFUSED.contains(&key.as_str()) || FIXED.iter().any(|(fixed, _)| fixed == key) {
                problem(path, "E_UNSAFE_OVERRIDE: set by incidentd itself, so that its promises hold".to_owned());
            } else if ClientConfig::new().set(key, value).create_native_config().is_err() {
                problem(path, "librdkafka, as built here, knows no such setting or no such value".to_owned());
            }
        }
        problems
    }

    fn producer(&self) -> Result<FutureProducer, String> {
        let mut client = ClientConfig::new();
        for (key, value) in &self.client {
            client.set(key, value);
        }
        for (key, value) in FIXED {
            client.set(key, value);
        }
        client.set("bootstrap.servers", self.brokers.join(","));
        client.create().map_err(|error| error.to_string())
    }
}

/// Produces deliveries to a topic.
pub struct Kafka {
    config: Config,
    producer: Mutex<FutureProducer>,
}

impl Kafka {
    /// Starts the client; connects in the background.
    ///
    /// # Errors
    /// When a setting is refused by us or by librdkafka.
    pub fn new(config: &Config) -> Result<Self, String> {
        if let Some((path, message)) = config.problems().into_iter().next() {
            return Err(format!("{path}: {message}"));
        }
        Ok(Self { config: config.clone(), producer: Mutex::new(config.producer()?) })
    }

    /// A producer that has met a fatal error (its idempotence broke) takes nothing any more and is replaced.
    fn working_producer(&self) -> Result<FutureProducer, SinkError> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if producer.client().fatal_error().is_some() {
            *producer = self.config.producer().map_err(SinkError::Misconfigured)?;
        }
        Ok(producer.clone())
    }

    async fn produce(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let (key, id) = (delivery.incident.to_string(), delivery.id());
        let headers = OwnedHeaders::new().insert(Header { key: "delivery_id", value: Some(&id) });
        let record = FutureRecord::to(&self.config.topic).key(&key).payload(&delivery.body).headers(headers);
        let producer = self.working_producer()?;
        producer.send(record, QUEUE_WAIT_MAX).await.map(|_| ()).map_err(|(error, _)| classify(&error))
    }
}

impl Sink for Kafka {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Option<Ticket>, SinkError>> {
        Box::pin(async move { self.produce(delivery).await.map(|()| None) })
    }
}

fn classify(error: &KafkaError) -> SinkError {
    use RDKafkaErrorCode as Code;
    let text = error.to_string();
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => SinkError::Throttled { retry_after: None, detail: text },
        Some(Code::MessageSizeTooLarge | Code::InvalidMessage | Code::InvalidRecord) => SinkError::Rejected(text),
        Some(
            Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed,
        ) => SinkError::Misconfigured(text),
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve) => SinkError::Unreachable(text),
        _ => SinkError::Unknown(text),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Headers;
    use rdkafka::mocking::MockCluster;
    use rdkafka::{Message, Offset, TopicPartitionList};

    use super::super::conformance;
    use super::*;

    const PARTITIONS: i32 = 2;
    const DEADLINE: Duration = Duration::from_secs(20);

    fn config(brokers: &str) -> Config {
        Config { brokers: vec![brokers.to_owned()], topic: "incidents".to_owned(), client: BTreeMap::new() }
    }

    /// Reads the topic from its beginning.
    struct Topic {
        consumer: BaseConsumer,
        records: Vec<(String, String, Vec<u8>)>,
    }

    impl Topic {
        fn new(brokers: &str) -> Self {
            let mut client = ClientConfig::new();
            let consumer = client.set("bootstrap.servers", brokers).set("group.id", "test");
            let consumer: BaseConsumer = consumer.create().expect("a consumer");
            let mut assignment = TopicPartitionList::new();
            for partition in 0..PARTITIONS {
                assignment.add_partition_offset("incidents", partition, Offset::Beginning).expect("a partition");
            }
            consumer.assign(&assignment).expect("assigned");
            Self { consumer, records: Vec::new() }
        }

        /// Key, header and payload of every record so far.
        fn read(&mut self) -> &[(String, String, Vec<u8>)] {
            let high = |partition| self.consumer.fetch_watermarks("incidents", partition, DEADLINE).expect("an end").1;
            let written: i64 = (0..PARTITIONS).map(high).sum();
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("set").to_vec()).expect("UTF-8");
            while (self.records.len() as i64) < written {
                // Other events than records end a poll early.
                let Some(record) = self.consumer.poll(DEADLINE) else { continue };
                let record = record.expect("a record");
                let header = record.headers().expect("headers").get(0);
                assert_eq!(header.key, "delivery_id");
                let payload = record.payload().expect("a payload").to_vec();
                self.records.push((text(record.key()), text(header.value), payload));
            }
            &self.records
        }
    }

    #[tokio::test]
    async fn conforms_to_the_contract_of_sinks_and_keys_by_incident() {
        let cluster = MockCluster::new(1).expect("a cluster");
        cluster.create_topic("incidents", PARTITIONS, 1).expect("a topic");
        let sink = Kafka::new(&config(&cluster.bootstrap_servers())).expect("a sink");
        let topic = Mutex::new(Topic::new(&cluster.bootstrap_servers()));
        let read = || topic.lock().expect("no panic").read().to_vec();
        conformance::check(&sink, async || read().into_iter().map(|record| record.2).collect()).await;
        for (key, id, _) in read() {
            assert!(key.starts_with("INC-") && id.starts_with(&key), "{key} {id}");
        }
    }

    #[test]
    fn settings_that_would_break_a_promise_are_refused() {
        let mut config = config("127.0.0.1:9092");
        let entries = [("acks", "1"), ("enable.idempotence", "false"), ("no.such", "1"), ("retries", "0")];
        config.client = entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(config.problems().len(), 4, "{:?}", config.problems());
        config.client = [("compression.type".to_owned(), "zstd".to_owned())].into();
        assert!(config.problems().is_empty(), "{:?}", config.problems());
        assert!(!format!("{config:?}").contains("zstd"), "a setting may be a password");
    }
}
