//! The daemon is killed at random moments, again and again, while events come in by gRPC and by Kafka at once.
//!
//! `load` sends and remembers, `oracle` compares what is there afterwards with what was sent: no event lost, none
//! counted twice, one incident per service, each told exactly once and in order. `INCIDENTD_KILL_CYCLES` sets how often
//! (default 50), `INCIDENTD_KILL_SEED` the moments (printed, so that a failure can be had again).

mod load;
mod oracle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use incidentd::clock::Stopwatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Broker, Daemon, Receiver, kafka, pass};
use load::Load;

const PARTITIONS: i32 = 4;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// One loop: how often, and on what.
struct Plan {
    cycles: u64,
    topic: &'static str,
    /// Further lines of the configuration.
    more: &'static str,
}

impl Plan {
    fn dead_letters(&self) -> String {
        format!("{}.dead", self.topic)
    }

    fn config(&self, broker: &Broker, receiver: &Receiver) -> String {
        format!(
            "{}resolve_timeout: 1h\n\
             rules:\n\
             - {{ name: by-service, group_by: [service], window: 1h, resolve_after: 1s, update_interval: 1s }}\n\
             sources:\n  kafka:\n  - {}\n\
             sinks:\n- {}\n",
            self.more,
            kafka::source(broker, "alerts", self.topic, "event", Some(&self.dead_letters())),
            receiver.sink("timeout: 2s, retry: { min: 50ms, max: 500ms }")
        )
    }
}

/// What the cycles took.
#[derive(Default)]
struct Figures {
    kills: u64,
    recovery: Vec<Duration>,
    /// Cycles in which events were read from Kafka before the kill.
    with_kafka: u64,
    snapshots: usize,
}

async fn cycle(daemon: &mut Daemon, moments: &mut StdRng, load: &Load, figures: &mut Figures) {
    load.next_cycle();
    pass(Duration::from_millis(moments.random_range(50..=400))).await;
    let metrics = daemon.metrics().await;
    figures.with_kafka += u64::from(metrics.value("incidentd_events_received_total{source=\"alerts\"}") > 0.0);
    if moments.random_bool(0.1) {
        let status = daemon.stop().await;
        assert!(status.success(), "asked to stop it ended with {status}");
    } else {
        daemon.kill9().await;
        figures.kills += 1;
    }
    // A second blow now and then, while it gets up.
    while moments.random_bool(0.2) {
        daemon.die_young(Duration::from_millis(moments.random_range(5..=300))).await;
        figures.kills += 1;
    }
    let recovery = Stopwatch::start();
    daemon.restart().await;
    figures.recovery.push(recovery.elapsed());
}

async fn kill_loop(plan: Plan) -> Figures {
    let seed = setting("INCIDENTD_KILL_SEED", 1);
    println!("{}: {} cycles, seed {seed}", plan.topic, plan.cycles);
    let broker = Broker::shared();
    broker.create_topics(&[plan.topic, &plan.dead_letters()], PARTITIONS).await;
    let receiver = Receiver::start_signed().await;
    let mut daemon = Daemon::start(&plan.config(broker, &receiver)).await;
    let load = Arc::new(Load::new(seed));
    let (watch, sending) = load::start(&load, &daemon.url(""), broker.producer(), plan.topic);

    let mut moments = StdRng::seed_from_u64(seed);
    let mut figures = Figures::default();
    let whole = Stopwatch::start();
    for _ in 0..plan.cycles {
        cycle(&mut daemon, &mut moments, &load, &mut figures).await;
    }
    watch.send_replace(true);
    sending.await.expect("everything was sent and answered");

    let sent = load.sent();
    let found = oracle::settled(&daemon, &sent).await;
    oracle::compare(&found, &sent);
    oracle::each_opened_once(&receiver, &found).await;
    oracle::each_buried(&load, &plan.dead_letters()).await;

    // The way out: everything resolves, and the kill comes while that is being told.
    load::resolve_all(&mut daemon, &sent).await;
    daemon.kill9().await;
    figures.kills += 1;
    daemon.restart().await;
    oracle::each_resolved_once(&receiver, &found).await;
    daemon.is_sound().await;

    // A snapshot cuts the journal, so the next start finds a shorter one.
    figures.snapshots = daemon.journals().windows(2).filter(|pair| pair[1] < pair[0]).count();
    print(&plan, &figures, whole.elapsed(), &load, &receiver);
    figures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_at_random_lose_nothing_and_double_nothing() {
    let cycles = setting("INCIDENTD_KILL_CYCLES", 50);
    let figures = kill_loop(Plan { cycles, topic: "kill-loop", more: "" }).await;
    if cycles >= 50 {
        assert!(figures.with_kafka * 4 > cycles, "Kafka flowed in only {} cycles", figures.with_kafka);
        assert!(figures.snapshots > 0, "no snapshot was met");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kills_lose_nothing_and_double_nothing_with_several_shards() {
    let cycles = setting("INCIDENTD_KILL_CYCLES", 50).div_ceil(4);
    kill_loop(Plan { cycles, topic: "kill-loop-shards", more: "scope: [service]\nshards: 3\n" }).await;
}

fn print(plan: &Plan, figures: &Figures, took: Duration, load: &Load, receiver: &Receiver) {
    let mut recovery = figures.recovery.clone();
    recovery.sort();
    let sent = load.sent();
    println!(
        "{}: {} kills in {:.0} s, {} cycles with Kafka flowing, {} snapshots; {} events by gRPC ({} sent again), {} by Kafka, \
         {} dead letters; {} alerts, {} incidents, {} deliveries ({} repeated); lost 0, doubled 0; \
         recovery median {} ms, worst {} ms",
        plan.topic,
        figures.kills,
        took.as_secs_f64(),
        figures.with_kafka,
        figures.snapshots,
        load.by_grpc(),
        load.sent_again(),
        load.by_kafka(),
        load.poison(),
        sent.values().map(BTreeMap::len).sum::<usize>(),
        sent.len(),
        receiver.unique().len(),
        receiver.arrivals().len() - receiver.unique().len(),
        recovery[recovery.len() / 2].as_millis(),
        recovery[recovery.len() - 1].as_millis(),
    );
}
