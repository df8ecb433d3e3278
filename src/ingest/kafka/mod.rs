//! The Kafka door: each source has one thread that polls, and our own store says where it reads on.
//!
//! A record's position is stored in the same commit as its effects, so nothing is lost or counted twice over a
//! restart; what is committed to Kafka is only a hint for lag tools. When the daemon is full or the store does not
//! take commits, a source stops reading and keeps its place in the group. Partitions are assigned eagerly (`range`)
//! unless `client` asks for `cooperative-sticky` or `group.protocol: consumer`.

mod assignment;
mod config;
mod dead_letter;
mod lag;
mod records;
mod status;
mod worker;

use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tokio::sync::oneshot;

use super::intake::Intake;
use crate::metrics::Metrics;
use crate::runtime::PositionBook;
use assignment::Context;
pub use config::{KafkaSourceConfig, Start};
use dead_letter::DeadLetters;
use records::Assembler;
pub use status::KafkaStatus;
use status::Shared;
use worker::{End, Worker};

/// How long to wait before a client that broke is replaced.
const RESTART_PAUSE: Duration = Duration::from_secs(5);
/// How long closing may take beyond the grace: librdkafka leaves the group and waits for its last commit.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Why a source could not be started.
#[derive(Debug, thiserror::Error)]
pub enum KafkaStartError {
    /// librdkafka refuses the settings.
    #[error("kafka source {name}: {source}")]
    Client {
        /// Of the source.
        name: String,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// No thread could be had.
    #[error("kafka source {name}: cannot start its thread: {source}")]
    Thread {
        /// Of the source.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A source, before it is started.
#[derive(Debug)]
pub struct KafkaSource;

/// A source that runs.
#[derive(Debug)]
pub struct KafkaHandle {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<()>,
}

/// What the thread of a source owns.
struct Running {
    config: KafkaSourceConfig,
    assembler: Assembler,
    positions: Arc<PositionBook>,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
}

impl KafkaSource {
    /// Starts reading. Returns at once; brokers that are out of reach are waited for.
    ///
    /// # Errors
    /// When librdkafka refuses the settings.
    pub fn start(
        config: KafkaSourceConfig,
        intake: Arc<Intake>,
        positions: Arc<PositionBook>,
        metrics: Arc<Metrics>,
    ) -> Result<KafkaHandle, KafkaStartError> {
        let name = config.name.clone();
        let source: Arc<str> = Arc::from(name.as_str());
        let shared = Shared::new(source.clone());
        let assembler = Assembler { intake, source, format: config.format };
        let running = Running { config, assembler, positions, metrics, shared: shared.clone() };
        let refused = |source| KafkaStartError::Client { name: name.clone(), source };
        let consumer = running.consumer().map_err(refused)?;
        let dead_letters = running.dead_letters().map_err(refused)?;
        running.metrics.kafka_source_started(&name);
        tracing::info!(source = &*name, librdkafka = rdkafka::util::get_rdkafka_version().1, "reading from Kafka");
        let (ending, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name(format!("kafka-{name}"));
        let spawned = thread.spawn(move || {
            running.run(consumer, dead_letters);
            let _ = ending.send(());
        });
        spawned.map_err(|source| KafkaStartError::Thread { name, source })?;
        Ok(KafkaHandle { shared, ended })
    }
}

impl KafkaHandle {
    /// How it is.
    pub fn status(&self) -> KafkaStatus {
        self.shared.status()
    }

    /// Stops reading, waits at most `grace` until what is on its way is durable, tells Kafka, and leaves the group.
    /// Returns whether it ended; a thread that hangs in librdkafka is left behind.
    pub async fn stop(self, grace: Duration) -> bool {
        self.shared.stop(grace);
        let ended = tokio::time::timeout(grace + CLOSE_MAX, self.ended).await.is_ok();
        if !ended {
            tracing::warn!(source = self.shared.name(), "the Kafka client does not close; left behind");
        }
        ended
    }
}

impl Running {
    fn consumer(&self) -> Result<Arc<BaseConsumer<Context>>, KafkaError> {
        let limits = self.assembler.intake.settings().limits.clone();
        let source = self.assembler.source.clone();
        let context = Context::new(source, self.config.start, self.positions.clone(), self.metrics.clone());
        let consumer: BaseConsumer<Context> = self.config.consumer(&limits).create_with_context(context)?;
        let topics: Vec<&str> = self.config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        Ok(Arc::new(consumer))
    }

    fn dead_letters(&self) -> Result<Option<DeadLetters>, KafkaError> {
        let topic = self.config.dead_letter_topic.as_deref();
        topic.map(|topic| DeadLetters::new(&self.config, topic, self.metrics.clone())).transpose()
    }

    /// Works with one client after the other until told to stop.
    fn run(self, consumer: Arc<BaseConsumer<Context>>, mut dead_letters: Option<DeadLetters>) {
        let mut next = Some(consumer);
        loop {
            if let Some(consumer) = next.take() {
                match self.work(consumer, dead_letters.as_mut()) {
                    End::Stopped => break,
                    End::Fatal(error) => {
                        tracing::error!(source = self.shared.name(), %error, "the Kafka client broke, starting another");
                        self.shared.troubled(&error.to_string());
                    }
                }
            }
            if !self.rest() {
                break;
            }
            next = self.consumer().map_err(|error| self.shared.troubled(&error.to_string())).ok();
        }
        self.shared.stopped();
    }

    /// Waits before the next client. False when told to stop.
    fn rest(&self) -> bool {
        let step = Duration::from_millis(100);
        for _ in 0..RESTART_PAUSE.as_millis() / step.as_millis() {
            if self.shared.stopping() {
                return false;
            }
            std::thread::sleep(step);
        }
        true
    }

    fn work(&self, consumer: Arc<BaseConsumer<Context>>, dead_letters: Option<&mut DeadLetters>) -> End {
        let (stop_lag, lag_stopped) = mpsc::channel();
        let measured = (consumer.clone(), self.metrics.clone());
        let lag = std::thread::Builder::new().name(format!("kafka-lag-{}", self.config.name));
        let lag = lag.spawn(move || lag::run(&measured.0, &measured.1, &lag_stopped));
        let end = Worker::new(&consumer, &self.assembler, dead_letters, &self.shared).run();
        drop(stop_lag);
        if let Ok(lag) = lag {
            // The last owner closes the client, which must be this thread: callbacks run on it.
            let _ = lag.join();
        }
        drop(consumer);
        end
    }
}
