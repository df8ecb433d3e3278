//! A runtime on a store in memory, and the doors in front of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use incidentd::api::{Listener, with_fallbacks};
use incidentd::clock::Clock;
use incidentd::engine::EngineConfig;
use incidentd::event::{ByteSize, Limits};
use incidentd::formats::{Decoder, SeverityMap};
use incidentd::ingest::{Intake, Memos, Settings, grpc, http};
use incidentd::metrics::Metrics;
use incidentd::normalise::{NormaliseConfig, Normaliser};
use incidentd::rules::{Definition, compile, default_rules};
use incidentd::runtime::{Runtime, RuntimeConfig};
use incidentd::store::{Commit, DeliveryRows, MemoryStore, Reads, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long any condition may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct World {
    pub runtime: Runtime,
    pub intake: Arc<Intake>,
    pub metrics: Arc<Metrics>,
    pub stopping: CancellationToken,
}

/// The doors of a world, open on a port.
pub struct Doors {
    pub address: SocketAddr,
    pub ready: watch::Sender<bool>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<usize>,
}

impl World {
    pub fn start() -> Self {
        Self::start_on(Box::new(MemoryStore::new()))
    }

    pub fn start_on(store: Box<dyn Store>) -> Self {
        let limits = Limits { body_bytes: ByteSize(1 << 20), events: 1_000, ..Limits::default() };
        let (rules, problems) = compile(&Definition::of(&default_rules(), &[]));
        assert!(problems.is_empty());
        let (metrics, clock) = (Metrics::new(), Clock::system());
        let engine = EngineConfig::default();
        let config = RuntimeConfig { shards: 1, scope: Vec::new(), max_in_flight: 100_000, engine };
        let runtime = Runtime::start(&config, store, &Arc::new(rules), &clock, &metrics, Arc::new(|_| ())).unwrap();
        let stopping = CancellationToken::new();
        let settings = Settings {
            decoder: Decoder::new(limits.clone(), SeverityMap::default()),
            normaliser: Normaliser::new(NormaliseConfig { limits: limits.clone(), ..NormaliseConfig::default() }),
            resolve_timeout: std::time::Duration::from_secs(300),
            memos: Memos::default(),
            limits,
        };
        let intake = Intake::new(settings, runtime.router.clone(), metrics.clone(), clock, stopping.clone());
        Self { runtime, intake, metrics, stopping }
    }

    pub async fn open(&self) -> Doors {
        let (ready, is_ready) = watch::channel(true);
        let router = http::routes(self.intake.clone()).merge(grpc::routes(self.intake.clone(), is_ready).await);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.address();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(listener.serve(with_fallbacks(router), stopped, Duration::from_secs(5)));
        Doors { address, ready, stop, serving }
    }

    /// Received, once as many are decided and none is in flight: a consumer notes its answers at its next poll.
    pub async fn at_rest(&self) -> u64 {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..1_000 {
            ticks.tick().await;
            let (received, decided, in_flight) = self.metrics.conservation();
            if (received, in_flight) == (decided, 0) {
                return received;
            }
        }
        panic!("never at rest: {:?}", self.metrics.conservation());
    }
}

impl Doors {
    /// Closes them; nothing may have to be cut.
    pub async fn close(self) {
        self.stop.cancel();
        assert_eq!(self.serving.await.unwrap(), 0);
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let waiting = async {
        while !condition() {
            tick.tick().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain until {what}");
}

/// Keeps nothing, and takes its time about it until it is let go: a disk that is full.
pub struct Stalled(pub Arc<AtomicBool>);

impl Store for Stalled {
    fn commit(&mut self, commit: &Commit) -> Result<DeliveryRows, StoreError> {
        let stalled = !commit.journal.is_empty() && self.0.load(Ordering::Acquire);
        if stalled { Err(StoreError::Full("for a test".to_owned())) } else { Ok(DeliveryRows::new()) }
    }

    fn reads(&self) -> Arc<dyn Reads> {
        MemoryStore::new().reads()
    }
}
