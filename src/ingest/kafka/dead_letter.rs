//! Records that could not be taken, written to the dead-letter topic before their position is passed.
//!
//! A letter is the original key, value, timestamp and headers, with headers of ours that say where it was and what
//! is wrong with it. Delivery is at least once; topic, partition and offset identify a letter. While the topic does
//! not take letters their source stands still and tries on with growing pauses: nothing is ever skipped. A letter
//! that the topic refuses for its size goes without its value, which stays readable at its origin.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, ProducerContext, ThreadedProducer};

use super::config::KafkaSourceConfig;
use crate::clock::Stopwatch;
use crate::event::{Reject, Timestamp};
use crate::metrics::Metrics;

const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Of the sentence in the header.
const MESSAGE_BYTES_MAX: usize = 1 << 10;
/// Of a key that travels without its value.
const KEY_BYTES_MAX: usize = 1 << 10;

const NEW: u8 = 0;
const SENT: u8 = 1;
const WRITTEN: u8 = 2;
const FAILED: u8 = 3;
const TOO_LARGE: u8 = 4;

/// A record that could not be taken.
pub(super) struct DeadRecord {
    pub record: OwnedMessage,
    /// The first thing wrong with it.
    pub reject: Reject,
    pub failed_at: Timestamp,
}

struct Letter {
    dead: DeadRecord,
    state: Arc<AtomicU8>,
    without_value: bool,
}

/// The letters of one batch, on their way.
pub(super) struct Delivery {
    letters: Vec<Letter>,
    /// Since when it rests after a failure.
    resting: Option<Stopwatch>,
    /// How long it rests; grows with every failure.
    pause: Duration,
}

/// Writes the letters of one source.
pub(super) struct DeadLetters {
    producer: ThreadedProducer<Context>,
    source: Arc<str>,
    topic: String,
    group: String,
    metrics: Arc<Metrics>,
    failing: bool,
}

struct Context {
    source: Arc<str>,
}

impl ClientContext for Context {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        super::assignment::log(&self.source, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(source = &*self.source, %error, reason, "dead-letter producer");
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<AtomicU8>;

    fn delivery(&self, result: &DeliveryResult<'_>, state: Arc<AtomicU8>) {
        state.store(outcome(result.as_ref().err().map(|(error, _)| error)), Ordering::Release);
    }
}

fn outcome(error: Option<&KafkaError>) -> u8 {
    match error.map(KafkaError::rdkafka_error_code) {
        None => WRITTEN,
        Some(Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)) => TOO_LARGE,
        Some(_) => FAILED,
    }
}

impl Delivery {
    pub fn new(dead: Vec<DeadRecord>) -> Self {
        let letter = |dead| Letter { dead, state: Arc::new(AtomicU8::new(NEW)), without_value: false };
        Self { letters: dead.into_iter().map(letter).collect(), resting: None, pause: Duration::ZERO }
    }
}

impl DeadLetters {
    pub fn new(config: &KafkaSourceConfig, topic: &str, metrics: Arc<Metrics>) -> KafkaResult<Self> {
        let source: Arc<str> = Arc::from(config.name.as_str());
        let producer = config.producer().create_with_context(Context { source: source.clone() })?;
        let (topic, group) = (topic.to_owned(), config.group_id.clone());
        Ok(Self { producer, source, topic, group, metrics, failing: false })
    }

    /// Sends what is to be sent. True once every letter is written.
    pub fn advance(&mut self, delivery: &mut Delivery) -> bool {
        if let Some(since) = delivery.resting {
            if since.elapsed() < delivery.pause {
                return false;
            }
            delivery.resting = None;
            for letter in &delivery.letters {
                let _ = letter.state.compare_exchange(FAILED, NEW, Ordering::AcqRel, Ordering::Acquire);
            }
        }
        let (mut failed, mut open) = (false, false);
        for letter in &mut delivery.letters {
            let mut state = letter.state.load(Ordering::Acquire);
            if state == TOO_LARGE {
                // Once without its value a letter cannot be too large; if it is, that is a failure like any other.
                state = if std::mem::replace(&mut letter.without_value, true) { FAILED } else { NEW };
                letter.state.store(state, Ordering::Release);
            }
            if state == NEW {
                state = self.send(letter);
            }
            failed |= state == FAILED;
            open |= state != WRITTEN;
        }
        if failed {
            self.rest(delivery);
        } else if !open {
            self.done(delivery);
        }
        !open
    }

    fn rest(&mut self, delivery: &mut Delivery) {
        delivery.pause = (delivery.pause * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        delivery.resting = Some(Stopwatch::start());
        if !std::mem::replace(&mut self.failing, true) {
            let message = "the dead-letter topic takes no records; the source stands still until it does";
            tracing::error!(source = &*self.source, topic = self.topic, message);
        }
    }

    fn done(&mut self, delivery: &Delivery) {
        self.metrics.dead_letters(&self.source, delivery.letters.len() as u64);
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!(source = &*self.source, topic = self.topic, "the dead-letter topic takes records again");
        }
    }

    /// Hands a letter to the producer; its new state.
    fn send(&self, letter: &Letter) -> u8 {
        let record = &letter.dead.record;
        letter.state.store(SENT, Ordering::Release);
        let headers = self.headers(letter);
        let mut out = BaseRecord::with_opaque_to(&self.topic, letter.state.clone()).headers(headers);
        if let Some(key) = record.key().filter(|key| !letter.without_value || key.len() <= KEY_BYTES_MAX) {
            out = out.key(key);
        }
        if let Some(payload) = record.payload().filter(|_| !letter.without_value) {
            out = out.payload(payload);
        }
        if let Some(millis) = record.timestamp().to_millis().filter(|millis| *millis >= 0) {
            out = out.timestamp(millis);
        }
        let Err((error, _)) = self.producer.send(out) else { return SENT };
        let state = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => NEW,
            _ => outcome(Some(&error)),
        };
        letter.state.store(state, Ordering::Release);
        state
    }

    fn headers(&self, letter: &Letter) -> OwnedHeaders {
        let DeadRecord { record, reject, failed_at } = &letter.dead;
        let original = record.headers().filter(|_| !letter.without_value).cloned().unwrap_or_default();
        let mut sentence = reject.to_string();
        sentence.truncate(sentence.floor_char_boundary(MESSAGE_BYTES_MAX));
        let mut ours = vec![
            ("incidentd.dlq.topic", record.topic().to_owned()),
            ("incidentd.dlq.partition", record.partition().to_string()),
            ("incidentd.dlq.offset", record.offset().to_string()),
            ("incidentd.dlq.group", self.group.clone()),
            ("incidentd.dlq.code", reject.code.as_str().to_owned()),
            ("incidentd.dlq.message", sentence),
            ("incidentd.dlq.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("incidentd.dlq.first_failed_at", failed_at.to_string()),
        ];
        if let Some(millis) = record.timestamp().to_millis() {
            ours.push(("incidentd.dlq.timestamp", millis.to_string()));
        }
        if letter.without_value {
            let bytes = record.payload().map_or(0, <[u8]>::len);
            ours.push(("incidentd.dlq.value_omitted_bytes", bytes.to_string()));
        }
        ours.iter().fold(original, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Headers;
    use rdkafka::mocking::MockCluster;
    use rdkafka::{ClientConfig, Timestamp as RecordTime};

    use super::*;
    use crate::event::Code;

    fn dead(payload: &[u8]) -> DeadRecord {
        let original = OwnedHeaders::new().insert(Header { key: "trace", value: Some("abc") });
        let record = OwnedMessage::new(
            Some(payload.to_vec()),
            Some(b"key".to_vec()),
            "alerts".to_owned(),
            RecordTime::CreateTime(1_700_000_000_000),
            2,
            41,
            Some(original),
        );
        let reject = Reject::new(0, Code::Json, "", "line 1 column 1: expected a value");
        DeadRecord { record, reject, failed_at: Timestamp::EPOCH }
    }

    fn read_one(brokers: &str) -> OwnedMessage {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", "reader").set("auto.offset.reset", "earliest");
        let reader: BaseConsumer = config.create().unwrap();
        reader.subscribe(&["dead"]).unwrap();
        let waited = Stopwatch::start();
        while waited.elapsed() < Duration::from_secs(30) {
            if let Some(Ok(message)) = reader.poll(Duration::from_millis(100)) {
                return message.detach();
            }
        }
        panic!("no letter came");
    }

    #[test]
    fn a_letter_is_the_record_with_headers_that_say_where_it_was_and_why() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("dead", 1, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let config = KafkaSourceConfig {
            name: "alerts".to_owned(),
            brokers: vec![brokers.clone()],
            topics: vec!["alerts".to_owned()],
            group_id: "incidentd".to_owned(),
            format: crate::formats::Format::Event,
            dead_letter_topic: Some("dead".to_owned()),
            start: Default::default(),
            lateness: None,
            client: Default::default(),
        };
        let mut writer = DeadLetters::new(&config, "dead", Metrics::new()).unwrap();
        let mut delivery = Delivery::new(vec![dead(b"not json")]);
        let waited = Stopwatch::start();
        while !writer.advance(&mut delivery) {
            assert!(waited.elapsed() < Duration::from_secs(30), "the letter is never acknowledged");
            std::thread::yield_now();
        }
        let letter = read_one(&brokers);
        assert_eq!(letter.payload(), Some(&b"not json"[..]));
        assert_eq!(letter.key(), Some(&b"key"[..]));
        assert_eq!(letter.timestamp(), RecordTime::CreateTime(1_700_000_000_000));
        let headers = letter.headers().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers: Vec<_> = headers.iter().map(|header| (header.key, text(header.value.unwrap()))).collect();
        for expected in [
            ("trace", "abc"),
            ("incidentd.dlq.topic", "alerts"),
            ("incidentd.dlq.partition", "2"),
            ("incidentd.dlq.offset", "41"),
            ("incidentd.dlq.group", "incidentd"),
            ("incidentd.dlq.code", "E_JSON"),
            ("incidentd.dlq.timestamp", "1700000000000"),
            ("incidentd.dlq.first_failed_at", "1970-01-01T00:00:00Z"),
        ] {
            assert!(headers.contains(&(expected.0, expected.1.to_owned())), "{expected:?} in {headers:?}");
        }
    }
}
