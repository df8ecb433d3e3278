//! A backlog of a real Kafka broker, one protobuf event a record: how fast the daemon takes it in, beside a consumer that
//! polls the same records and does nothing with them.
//!
//! The rate is between the first commit and the last, as the daemon's own counters show them every few milliseconds, so
//! neither joining the group nor waiting for more is in it. The bare consumer is librdkafka's own queue, polled one by
//! one on one thread of this process, with the daemon's settings.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use incidentd::clock::{Clock, Stopwatch};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tempfile::TempDir;

use super::alerts::{Alert, Pen};
use crate::line::{Line, Measured, Target};
use crate::run::Bench;
use crate::server::{Server, cpu_seconds, file_sink};

const PARTITIONS: i32 = 4;
/// Of a bare consumer's rate, in per cent.
const SHARE_MIN: f64 = 55.0;
const CPU_MAX: f64 = 1.2;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// What waits in a topic.
#[derive(Clone, Copy)]
struct Backlog {
    topic: &'static str,
    records: u32,
    alerts: u32,
    services: u32,
}

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let (disk, events) = (&bench.disk, bench.storm_events as u32);
    let broker = Broker::start(disk)?;
    let storm = Backlog { topic: "storm", records: 2 * events, alerts: 1_000, services: 50 };
    let unique = Backlog { topic: "unique", records: events / 5 * 2, alerts: events / 5 * 2, services: 200 };
    let mut lines = Vec::new();
    for backlog in [storm, unique] {
        broker.fill(&backlog).await.context("filling a topic")?;
        let bare = broker.clone_config();
        let (topic, records) = (backlog.topic, backlog.records);
        let floor = tokio::task::spawn_blocking(move || consume(&bare, topic, records)).await??;
        let ours = take_in(&broker, &backlog, disk).await?;
        let share = ours.rate.zip(floor.rate).map(|(ours, bare)| (ours / bare * 100.0).round());
        lines.push(Line {
            work: format!("Kafka, protobuf, {topic} ({} % of a bare consumer)", share.unwrap_or_default()),
            targets: vec![
                Target::at_least(share, SHARE_MIN, "% of a bare consumer"),
                Target::at_most(ours.cpu, CPU_MAX, "CPU s/M"),
            ],
            ours,
            floor: Some(floor),
            ..Line::default()
        });
    }
    Ok(lines)
}

/// Starts the daemon on a backlog, and follows its counters until all is durable.
async fn take_in(broker: &Broker, backlog: &Backlog, disk: &Path) -> anyhow::Result<Measured> {
    let Backlog { topic, records, .. } = backlog;
    let source = format!(
        "sources:\n  kafka:\n    - {{ name: bench, brokers: ['{}'], topics: [{topic}], group_id: bench-{topic}, format: event-protobuf }}\n",
        broker.address
    );
    let server = Server::incidentd(disk, |dir| format!("{source}{}", file_sink(dir))).await?;
    let stopwatch = Stopwatch::start();
    let mut first: Option<(Duration, f64, f64)> = None;
    let (at, decided, cpu) = loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let decided = server.metrics().await?.sum("incidentd_events_total", "");
        let (at, cpu) = (stopwatch.elapsed(), server.cpu_seconds()?);
        if decided > 0.0 {
            let (_, begun, _) = *first.get_or_insert((at, decided, cpu));
            if decided >= f64::from(*records) {
                break (at, decided - begun, cpu);
            }
        }
        ensure!(at < PATIENCE, "{decided} of {records} records after {at:?}:\n{}", server.log());
    };
    let (began, _, cpu_before) = first.context("it came all at once; nothing to measure")?;
    server.rest().await?;
    // What it has put off, such as moving its log into the database, belongs to it; less what it costs to be idle.
    let cpu_after = server.cpu_seconds()?.max(cpu);
    let expected = [
        ("incidentd_events_total", "", *records as usize),
        ("incidentd_alerts", r#"state="firing""#, backlog.alerts as usize),
        ("incidentd_incidents", r#"status="open""#, backlog.services as usize),
        ("incidentd_kafka_lag", "", 0),
    ];
    server.balances(&expected).await?;
    Ok(Measured {
        rate: Some(decided / (at - began).as_secs_f64()),
        cpu: Some((cpu_after - cpu_before) / decided * 1e6),
        ..Measured::default()
    })
}

/// Polls all records of a topic, and does nothing with them.
fn consume(config: &ClientConfig, topic: &str, records: u32) -> anyhow::Result<Measured> {
    let mut config = config.clone();
    config
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.max.bytes", (16 << 20).to_string());
    let consumer: BaseConsumer = config.create()?;
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let (mut taken, mut began) = (0, None);
    let stopwatch = Stopwatch::start();
    while taken < records {
        match consumer.poll(Duration::from_millis(100)) {
            Some(message) => drop(message?),
            None => {
                ensure!(stopwatch.elapsed() < PATIENCE, "{taken} of {records} records");
                continue;
            }
        }
        taken += 1;
        if began.is_none() {
            began = Some((Stopwatch::start(), cpu_seconds("self")?));
        }
    }
    let (began, cpu) = began.context("no records")?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds("self")? - cpu);
    let million = f64::from(records) / 1e6;
    Ok(Measured { rate: Some(f64::from(records) / seconds), cpu: Some(cpu / million), ..Measured::default() })
}

/// A broker of this run. Ends at the latest with this process.
struct Broker {
    address: String,
    dir: TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Whatever comes of it, it ends with this process.
        let _ = script("kafka.sh").arg("kill").arg(self.dir.path()).status();
    }
}

impl Broker {
    fn start(disk: &Path) -> anyhow::Result<Self> {
        said(script("fetch.sh"))?;
        let dir = tempfile::tempdir_in(disk)?;
        let mut start = script("kafka.sh");
        start.arg("start").arg(dir.path()).arg("0").env("OWNER_PID", std::process::id().to_string());
        Ok(Self { address: said(start)?, dir })
    }

    fn clone_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    /// Makes a topic and writes its records in large batches, spread over the partitions.
    async fn fill(&self, backlog: &Backlog) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.clone_config().create()?;
        let topic = NewTopic::new(backlog.topic, PARTITIONS, TopicReplication::Fixed(1));
        for made in admin.create_topics(&[topic], &AdminOptions::new()).await? {
            made.map_err(|(topic, error)| anyhow::anyhow!("{topic}: {error}"))?;
        }
        let (config, Backlog { topic, records, alerts, services }) = (self.clone_config(), *backlog);
        tokio::task::spawn_blocking(move || produce(config, topic, records, (alerts, services))).await?
    }
}

fn produce(mut config: ClientConfig, topic: &str, records: u32, (alerts, services): (u32, u32)) -> anyhow::Result<()> {
    config.set("linger.ms", "20").set("batch.size", "1000000").set("queue.buffering.max.messages", "200000");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
    let (pen, stopwatch) = (Pen::default(), Stopwatch::start());
    for number in 0..records {
        let host = number % alerts;
        let alert = Alert { host, service: host % services, ..Alert::default() };
        let payload = pen.record(&alert, Clock::system().now());
        // An alert stays in one partition, as with a key.
        let partition = (host % PARTITIONS as u32) as i32;
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&payload);
        while let Err((error, refused)) = producer.send(record) {
            match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {}
                error => bail!(error),
            }
            std::thread::sleep(LOOK_EVERY);
            record = refused;
        }
    }
    producer.flush(PATIENCE)?;
    eprintln!("kafka: {records} records of {topic} written in {:.1?}", stopwatch.elapsed());
    Ok(())
}

fn script(name: &str) -> Command {
    Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name))
}

fn said(mut command: Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("a script of tests/servers")?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
