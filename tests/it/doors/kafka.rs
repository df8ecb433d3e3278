//! A Kafka source against librdkafka's mock cluster.

use std::sync::Arc;
use std::time::Duration;

use incidentd::formats::Format;
use incidentd::ingest::kafka::{KafkaHandle, KafkaSource, KafkaSourceConfig, Start};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::world::{PATIENCE, World, until};

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Cluster {
    fn start() -> Self {
        let mock = MockCluster::new(1).unwrap();
        for topic in ["alerts", "dead"] {
            mock.create_topic(topic, 2, 1).unwrap();
        }
        let producer = ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
        Self { mock, producer }
    }

    fn produce(&self, partition: i32, records: &[&str]) {
        for record in records {
            let record = BaseRecord::<(), str>::to("alerts").partition(partition).payload(record);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    fn source(&self, world: &World, start: Start, dead_letter_topic: Option<&str>) -> KafkaHandle {
        let config = KafkaSourceConfig {
            name: "alerts".to_owned(),
            brokers: vec![self.mock.bootstrap_servers()],
            topics: vec!["alerts".to_owned()],
            group_id: "incidentd".to_owned(),
            format: Format::Event,
            dead_letter_topic: dead_letter_topic.map(str::to_owned),
            start,
            lateness: None,
            client: [("session.timeout.ms".to_owned(), "6000".to_owned())].into(),
        };
        assert!(config.problems().is_empty());
        let positions = world.runtime.positions.clone();
        KafkaSource::start(config, world.intake.clone(), positions, world.metrics.clone()).unwrap()
    }
}

fn event(number: usize) -> String {
    format!(r#"{{"source":"test","labels":{{"service":"s{number}"}}}}"#)
}

async fn position(world: &World, partition: i32, offset: i64) {
    let (source, topic): (Arc<str>, Arc<str>) = (Arc::from("alerts"), Arc::from("alerts"));
    let reached = || world.runtime.positions.next_offset(&source, &topic, partition) == Some(offset);
    until(&format!("partition {partition} is applied up to {offset}"), reached).await;
    until("all that was read is answered", || world.metrics.conservation().2 == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_reads_on_exactly_where_the_store_is() {
    let world = World::start();
    let cluster = Cluster::start();
    let events: Vec<String> = (0..500).map(event).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    cluster.produce(0, &events);
    cluster.produce(1, &events[..100]);
    let source = cluster.source(&world, Start::Earliest, None);
    position(&world, 0, 500).await;
    position(&world, 1, 100).await;
    until("all partitions show", || source.status().partitions == 2).await;
    assert!(source.stop(Duration::from_secs(5)).await);
    assert_eq!(world.at_rest().await, 600);

    cluster.produce(1, &events[..50]);
    let source = cluster.source(&world, Start::Earliest, None);
    position(&world, 1, 150).await;
    assert!(source.stop(Duration::from_secs(5)).await);
    assert_eq!(world.at_rest().await, 650, "no record was read twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_record_is_buried_before_its_position_is_passed() {
    let world = World::start();
    let cluster = Cluster::start();
    let (first, last) = (event(1), event(2));
    cluster.produce(0, &[&first, "not json", "", &last]);
    let source = cluster.source(&world, Start::Earliest, Some("dead"));
    position(&world, 0, 4).await;
    assert_eq!(world.at_rest().await, 4);
    let brokers = cluster.mock.bootstrap_servers();
    let codes = tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        config.set("group.id", "reader").set("auto.offset.reset", "earliest");
        let reader: BaseConsumer = config.create().unwrap();
        reader.subscribe(&["dead"]).unwrap();
        let mut codes = Vec::new();
        while codes.len() < 2 {
            let Some(Ok(letter)) = reader.poll(Duration::from_millis(100)) else { continue };
            let headers = letter.headers().unwrap();
            let value = |name: &str| {
                let header = headers.iter().find(|header| header.key == name).unwrap();
                String::from_utf8(header.value.unwrap().to_vec()).unwrap()
            };
            codes.push((value("incidentd.dlq.offset"), value("incidentd.dlq.code")));
        }
        codes
    });
    let mut codes = tokio::time::timeout(PATIENCE, codes).await.unwrap().unwrap();
    codes.sort();
    let expected = [("1", "E_JSON"), ("2", "E_EMPTY")].map(|(offset, code)| (offset.to_owned(), code.to_owned()));
    assert_eq!(codes, expected);
    assert!(source.stop(Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latest_starts_at_the_end_and_stores_that_place() {
    let world = World::start();
    let cluster = Cluster::start();
    let old = event(1);
    cluster.produce(0, &[&old, &old]);
    let source = cluster.source(&world, Start::Latest, None);
    position(&world, 0, 2).await;
    assert!(source.stop(Duration::from_secs(5)).await);
    cluster.produce(0, &[&old]);
    let source = cluster.source(&world, Start::Latest, None);
    position(&world, 0, 3).await;
    assert!(source.stop(Duration::from_secs(5)).await);
    assert_eq!(world.at_rest().await, 1, "what was there before the first start is not read, what came since is");
}
