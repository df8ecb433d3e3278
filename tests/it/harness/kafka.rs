//! A real Kafka broker, and what the tests do with it. One is shared by all tests; each test has topics of its own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::servers::{fetched, run, script, server_folder};
use super::{PATIENCE, pass};

static SHARED: LazyLock<Result<Broker, String>> = LazyLock::new(|| Broker::start("kafka"));

/// A broker. Ends at the latest with the test process.
#[derive(Debug)]
pub struct Broker {
    /// Where it is reached.
    pub address: String,
    folder: PathBuf,
}

impl Broker {
    /// The one that all tests share.
    pub fn shared() -> &'static Broker {
        match &*SHARED {
            Ok(broker) => broker,
            Err(error) => panic!("there is no Kafka broker: {error}"),
        }
    }

    /// One of a test's own, which may be killed.
    pub fn start(name: &str) -> Result<Self, String> {
        fetched();
        let folder = server_folder(name);
        let mut command = kafka_sh("start", &folder);
        command.arg("0");
        Ok(Self { address: run(command)?, folder })
    }

    /// Kills it and starts it again on the same data and port.
    pub async fn crash_and_restart(&self) {
        let (kill, restart) = (kafka_sh("kill", &self.folder), kafka_sh("restart", &self.folder));
        let restarted = tokio::task::spawn_blocking(move || run(kill).and_then(|_| run(restart))).await;
        restarted.expect("no panic").expect("the broker starts again");
    }

    /// Ends it.
    pub async fn stop(&self) {
        let stop = kafka_sh("stop", &self.folder);
        tokio::task::spawn_blocking(move || run(stop)).await.expect("no panic").expect("the broker stops");
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    /// Makes topics with so many partitions.
    pub async fn create_topics(&self, names: &[&str], partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let topics: Vec<NewTopic<'_>> =
            names.iter().map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1))).collect();
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for made in admin.create_topics(&topics, &options).await.expect("topics are made") {
            made.expect("a topic is made");
        }
    }

    /// A producer that loses and doubles nothing.
    pub fn producer(&self) -> Producer {
        let producer = self.client().set("enable.idempotence", "true").set("message.max.bytes", "8000000").create();
        Producer { inner: producer.expect("a producer") }
    }

    /// A member of a group.
    pub fn consumer(&self, group: &str) -> StreamConsumer {
        let mut config = self.client();
        config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        config.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "500");
        config.create().expect("a consumer")
    }

    /// So many records of a topic from its beginning, in the order of the partitions' offsets.
    pub async fn read(&self, topic: &str, count: usize) -> Vec<OwnedMessage> {
        let consumer = self.consumer(&format!("reader-{topic}"));
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        let mut places = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            places.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
        }
        consumer.assign(&places).expect("assigned");
        let mut records = Vec::new();
        while records.len() < count {
            let record = tokio::time::timeout(PATIENCE, consumer.recv()).await;
            let record = record.unwrap_or_else(|_| panic!("{} of {count} records in {topic}", records.len()));
            records.push(record.expect("a record").detach());
        }
        records
    }

    /// Where a topic's partitions end, all together: the number of records where none was ever removed.
    pub async fn end(&self, topic: &str) -> i64 {
        let (config, topic) = (self.client(), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let metadata = consumer.fetch_metadata(Some(&topic), PATIENCE).expect("metadata");
            let partitions = metadata.topics()[0].partitions().iter();
            partitions
                .map(|partition| consumer.fetch_watermarks(&topic, partition.id(), PATIENCE).expect("marks").1)
                .sum()
        });
        asked.await.expect("no panic")
    }

    /// The offsets that a group has committed of a topic, all together.
    pub async fn committed(&self, group: &str, topic: &str, partitions: i32) -> i64 {
        let (mut config, topic) = (self.client(), topic.to_owned());
        config.set("group.id", group);
        let asked = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer");
            let mut places = TopicPartitionList::new();
            places.add_partition_range(&topic, 0, partitions - 1);
            let committed = consumer.committed_offsets(places, PATIENCE).expect("offsets");
            committed.elements().iter().filter_map(|element| element.offset().to_raw()).filter(|at| *at > 0).sum()
        });
        asked.await.expect("no panic")
    }
}

/// Writes records, and waits until the broker has them.
#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer,
}

impl Producer {
    /// One record.
    pub async fn produce(&self, topic: &str, partition: i32, payload: Option<&[u8]>) -> i64 {
        let mut record = FutureRecord::<(), [u8]>::to(topic).partition(partition);
        record.payload = payload;
        let sent = self.inner.send(record, PATIENCE).await;
        sent.map_err(|(error, _)| error).expect("the broker has it").offset
    }

    /// Many records, in order.
    pub async fn produce_all(&self, topic: &str, partition: i32, payloads: &[String]) {
        let mut reports = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let mut record = FutureRecord::<(), str>::to(topic).partition(partition).payload(payload);
            // Refused only while the producer's queue is full; then it is given back.
            while let Err((_, refused)) = self.inner.send_result(record).map(|report| reports.push(report)) {
                pass(Duration::from_millis(5)).await;
                record = refused;
            }
        }
        for report in reports {
            report.await.expect("a report").map_err(|(error, _)| error).expect("the broker has it");
        }
    }
}

/// JSON events of some services in turns, without ids: only positions keep them from being counted twice.
pub fn records(count: usize) -> Vec<String> {
    let record = |n: usize| {
        format!(r#"{{"source":"test","severity":"error","labels":{{"service":"s{}","host":"h{}"}}}}"#, n % 5, n % 7)
    };
    (0..count).map(record).collect()
}

/// Produces records steadily to a topic of two partitions until told to stop, and gives how many.
pub fn steadily(producer: Producer, topic: &'static str) -> (Arc<AtomicBool>, tokio::task::JoinHandle<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = stop.clone();
    let producing = tokio::spawn(async move {
        let mut produced = 0;
        while !stopping.load(Ordering::Relaxed) {
            producer.produce_all(topic, (produced / 50 % 2) as i32, &records(50)).await;
            produced += 50;
            pass(Duration::from_millis(5)).await;
        }
        produced
    });
    (stop, producing)
}

/// A header of a record, as text.
pub fn header(record: &OwnedMessage, name: &str) -> Option<String> {
    let header = record.headers()?.iter().find(|header| header.key == name)?;
    Some(String::from_utf8_lossy(header.value?).into_owned())
}

/// A source of the configuration, in one line of YAML flow. Sessions are short, so that a killed member is missed soon.
pub fn source(broker: &Broker, name: &str, topic: &str, format: &str, dead_letters: Option<&str>) -> String {
    let dead_letters = dead_letters.map(|topic| format!("dead_letter_topic: {topic}, ")).unwrap_or_default();
    let client = format!("{{ session.timeout.ms: '6000', heartbeat.interval.ms: '500', group.instance.id: '{name}' }}");
    format!(
        "{{ name: {name}, brokers: ['{}'], topics: [{topic}], group_id: group-{name}-{topic}, format: {format}, {dead_letters}client: {client} }}",
        broker.address
    )
}

fn kafka_sh(command: &str, folder: &std::path::Path) -> Command {
    let mut script = Command::new(script("kafka.sh"));
    script.arg(command).arg(folder).env("OWNER_PID", std::process::id().to_string());
    script
}
