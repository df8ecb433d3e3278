//! Sends events by gRPC and by Kafka until told to stop, and remembers every one.
//!
//! By gRPC, events have ids, and what was not answered is sent again on the next connection. By Kafka they have none:
//! there the stored position alone keeps them from being counted twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use incidentd::proto::event_service_client::EventServiceClient;
use incidentd::proto::{Outcome, PushRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use super::PARTITIONS;
use crate::harness::events::{event, request, resolved};
use crate::harness::kafka::Producer;
use crate::harness::{Daemon, pass};

/// How many events were sent, by service and host.
pub type Sent = BTreeMap<String, BTreeMap<String, u64>>;

/// New services with each cycle, so that incidents open all along.
const SERVICES: u64 = 4;
const HOSTS: u64 = 10;
const BATCH: usize = 50;
/// Some events carry a new text, so that the journal grows long enough for snapshots.
const LONG: f64 = 0.5;
const TEXT_WORDS: usize = 500;
/// Some records cannot be read, so that dead letters are written while the daemon dies.
const POISON: f64 = 0.005;
const UNANSWERED_MAX: usize = 8;
const GRPC_PACE: Duration = Duration::from_millis(4);
const KAFKA_PACE: Duration = Duration::from_millis(5);

/// What is sent, and what was.
pub struct Load {
    cycle: AtomicU64,
    by_grpc: AtomicU64,
    by_kafka: AtomicU64,
    sent_again: AtomicU64,
    poison: AtomicU64,
    seed: u64,
    sent: Mutex<Sent>,
}

impl Load {
    pub fn new(seed: u64) -> Self {
        let (cycle, by_grpc, by_kafka, sent_again, poison) = Default::default();
        Self { cycle, by_grpc, by_kafka, sent_again, poison, seed, sent: Mutex::default() }
    }

    pub fn next_cycle(&self) {
        self.cycle.fetch_add(1, Ordering::Relaxed);
    }

    pub fn sent(&self) -> Sent {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn by_grpc(&self) -> u64 {
        self.by_grpc.load(Ordering::Relaxed)
    }

    pub fn by_kafka(&self) -> u64 {
        self.by_kafka.load(Ordering::Relaxed)
    }

    pub fn sent_again(&self) -> u64 {
        self.sent_again.load(Ordering::Relaxed)
    }

    /// Records sent that cannot be read.
    pub fn poison(&self) -> u64 {
        self.poison.load(Ordering::Relaxed)
    }

    /// A service, mostly one that is new in this cycle, and a host; remembered as sent.
    fn pick(&self, chance: &mut StdRng) -> (String, String) {
        let newest = (self.cycle.load(Ordering::Relaxed) + 1) * SERVICES;
        let oldest = if chance.random_bool(0.7) { newest - SERVICES } else { 0 };
        let service = chance.random_range(oldest..newest);
        let (service, host) = (format!("s{service}"), format!("h{}", chance.random_range(0..HOSTS)));
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent.entry(service.clone()).or_default().entry(host.clone()).or_default() += 1;
        (service, host)
    }

    fn batch(&self, chance: &mut StdRng) -> PushRequest {
        let events = (0..BATCH).map(|_| {
            let (service, host) = self.pick(chance);
            let number = self.by_grpc.fetch_add(1, Ordering::Relaxed);
            let mut event = event(&format!("g{number}"), &service, &host);
            if chance.random_bool(LONG) {
                event.annotations.insert("text".to_owned(), format!("{number:08} ").repeat(TEXT_WORDS));
            }
            event
        });
        request(events.collect())
    }

    fn record(&self, chance: &mut StdRng) -> String {
        if chance.random_bool(POISON) {
            return format!("poison {}", self.poison.fetch_add(1, Ordering::Relaxed));
        }
        let (service, host) = self.pick(chance);
        self.by_kafka.fetch_add(1, Ordering::Relaxed);
        format!(r#"{{"source":"test","severity":"error","labels":{{"service":"{service}","host":"{host}"}}}}"#)
    }
}

/// Starts both; they end when told to, once everything was answered.
pub fn start(
    load: &Arc<Load>,
    url: &str,
    producer: Producer,
    topic: &'static str,
) -> (watch::Sender<bool>, JoinHandle<()>) {
    let (stop, stopping) = watch::channel(false);
    let by_grpc = tokio::spawn(push(load.clone(), url.to_owned(), stopping.clone()));
    let by_kafka = tokio::spawn(produce(load.clone(), producer, topic, stopping));
    let both = tokio::spawn(async move {
        by_grpc.await.expect("the gRPC load ended well");
        by_kafka.await.expect("the Kafka load ended well");
    });
    (stop, both)
}

async fn produce(load: Arc<Load>, producer: Producer, topic: &str, stopping: watch::Receiver<bool>) {
    let mut chance = StdRng::seed_from_u64(load.seed ^ 0x6b);
    for partition in (0..PARTITIONS).cycle() {
        if *stopping.borrow() {
            return;
        }
        let records: Vec<String> = (0..BATCH).map(|_| load.record(&mut chance)).collect();
        producer.produce_all(topic, partition, &records).await;
        pass(KAFKA_PACE).await;
    }
}

async fn push(load: Arc<Load>, url: String, stopping: watch::Receiver<bool>) {
    let mut chance = StdRng::seed_from_u64(load.seed ^ 0x67);
    let mut unanswered = VecDeque::new();
    while !(*stopping.borrow() && unanswered.is_empty()) {
        stream(&load, &url, &stopping, &mut unanswered, &mut chance).await;
        pass(Duration::from_millis(5)).await;
    }
}

/// One connection, until it breaks or all is said.
async fn stream(
    load: &Load,
    url: &str,
    stopping: &watch::Receiver<bool>,
    unanswered: &mut VecDeque<PushRequest>,
    chance: &mut StdRng,
) {
    let Ok(channel) = Endpoint::from_shared(url.to_owned()).expect("a URL").connect().await else { return };
    let (requests, stream) = mpsc::channel(2 * UNANSWERED_MAX);
    let opened = EventServiceClient::new(channel).push_stream(ReceiverStream::new(stream)).await;
    let Ok(answers) = opened else { return };
    let mut answers = answers.into_inner();
    load.sent_again.fetch_add((unanswered.len() * BATCH) as u64, Ordering::Relaxed);
    for request in unanswered.iter() {
        requests.try_send(request.clone()).expect("room for all that is unanswered");
    }
    let mut pace = tokio::time::interval(GRPC_PACE);
    while !(*stopping.borrow() && unanswered.is_empty()) {
        tokio::select! {
            answer = answers.message() => {
                let Ok(Some(answer)) = answer else { return };
                let asked = unanswered.pop_front().expect("an answer has a request");
                assert_eq!(answer.verdicts.len(), asked.events.len());
                assert!(answer.verdicts.iter().all(|verdict| verdict.verdict() != Outcome::Rejected));
            }
            _ = pace.tick(), if unanswered.len() < UNANSWERED_MAX && !*stopping.borrow() => {
                let request = load.batch(chance);
                unanswered.push_back(request.clone());
                if requests.try_send(request).is_err() {
                    return;
                }
            }
        }
    }
}

/// Ends every alert that was ever sent.
pub async fn resolve_all(daemon: &mut Daemon, sent: &Sent) {
    let alerts = sent.iter().flat_map(|(service, hosts)| hosts.keys().map(move |host| (service, host)));
    let events: Vec<_> =
        alerts.map(|(service, host)| resolved(&format!("r-{service}-{host}"), service, host)).collect();
    let mut client = daemon.grpc().await;
    for events in events.chunks(500) {
        client.push(request(events.to_vec())).await.expect("an answer");
    }
}
