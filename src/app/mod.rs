//! The daemon: the only place that names every part. Built in the order of the data, stopped in the same order.
//!
//! Start: configuration → store → shards → outbox → doors. Everything that can fail does so before the port is open.
//! Stop: doors → shards → outbox → store, so that what was taken in is made durable and told, within the grace period.
//! Reload (`reload.rs`) does all that can fail before it touches what runs.

mod housekeeping;
mod reload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiState, Listener, check_bind, with_fallbacks};
use crate::clock::{Clock, Stopwatch};
use crate::config::{Config, Diagnostic};
use crate::engine::Culprit;
use crate::engine::command::{Command, Done};
use crate::ingest::kafka::{KafkaHandle, KafkaSource, KafkaSourceConfig};
use crate::ingest::{Intake, grpc, http};
use crate::metrics::Metrics;
use crate::outbox::{Closed, Ledger, Outbox, Parts, SinkStatus, Tickets, random_jitter};
use crate::rules::RuleConfig;
use crate::runtime::{CommandError, LedgerHandle, PositionBook, Runtime, RuntimeConfig};
use crate::sinks::{self, Sink, SinkConfig, Ticket};
use crate::store::{PendingDelivery, Settlement, SqliteConfig, SqliteStore, Store};

/// Events between the door and their commit: about 100 MB of batches.
const IN_FLIGHT_MAX: u32 = 262_144;

/// What the HTTP API promises, as an OpenAPI 3.1 document.
pub fn openapi() -> serde_json::Value {
    api::document()
}

/// What the command line says; it goes before the configuration file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Where the state is kept.
    pub data_dir: Option<PathBuf>,
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Listen beyond loopback although no authentication is configured.
    pub insecure: bool,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, which may change while the daemon runs.
    File(PathBuf),
    /// A configuration that does not change.
    Fixed(Box<Config>),
}

/// Why the daemon did not start.
#[derive(Debug)]
pub enum StartError {
    /// Problems of the configuration, with their places.
    Config(Vec<Diagnostic>),
    /// A usage that is refused.
    Usage(String),
    /// Anything else.
    Failed(String),
}

/// A daemon that runs in this process.
pub struct App {
    shared: Arc<Shared>,
    address: SocketAddr,
    stopping: CancellationToken,
    ready: watch::Sender<bool>,
    runtime: Runtime,
    server: JoinHandle<usize>,
    chores: JoinHandle<()>,
}

/// What the doors, the chores and a reload work on.
pub(crate) struct Shared {
    source: Source,
    overrides: Overrides,
    /// The configuration in force; held while a reload is under way.
    config: Mutex<Config>,
    last_read: housekeeping::LastRead,
    metrics: Arc<Metrics>,
    clock: Clock,
    intake: Arc<Intake>,
    router: crate::runtime::Router,
    positions: Arc<PositionBook>,
    outbox: Arc<Outbox>,
    kafka: Mutex<Vec<RunningSource>>,
    stopping: CancellationToken,
}

/// A Kafka source and what it runs with.
struct RunningSource {
    config: KafkaSourceConfig,
    handle: KafkaHandle,
}

/// The outbox's way to the committer.
struct LedgerDoor(LedgerHandle);

impl Ledger for LedgerDoor {
    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'static, Result<(), Closed>> {
        let settled = self.0.settle(settlements);
        Box::pin(async move { if settled.await { Ok(()) } else { Err(Closed) } })
    }
}

impl App {
    /// Starts the daemon; events are taken when this returns. Must be called within a multi-threaded runtime.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing runs then.
    // Long because it names every part once, in the order of the data.
    pub async fn start(source: Source, overrides: Overrides, clock: Clock) -> Result<Self, StartError> {
        let stopwatch = Stopwatch::start();
        let last_read = housekeeping::LastRead::default();
        last_read.set(housekeeping::fingerprint(&source, &last_read).await);
        let config = load(&source, &overrides).map_err(StartError::Config)?;
        check_bind(config.listen, overrides.insecure).map_err(StartError::Usage)?;
        let rules = Arc::new(config.rule_set().0);
        let sinks = build_sinks(&config, &clock).map_err(StartError::Failed)?;
        let metrics = Metrics::new();
        let stopping = CancellationToken::new();

        let store = open_store(&config.data_dir).await?;
        // Weak, because the committer must be able to end although the outbox holds a way to it.
        let outbox_slot: Arc<OnceLock<Weak<Outbox>>> = Arc::default();
        let on_deliveries = {
            let outbox = outbox_slot.clone();
            Arc::new(move |deliveries: Vec<PendingDelivery>| {
                if let Some(outbox) = outbox.get().and_then(Weak::upgrade) {
                    outbox.offer(deliveries);
                }
            })
        };
        let runtime_config = runtime_config(&config);
        let runtime = Runtime::start(&runtime_config, store, &rules, &clock, &metrics, on_deliveries)
            .map_err(|error| StartError::Failed(error.to_string()))?;
        let parts = Parts {
            reads: runtime.reads.clone(),
            ledger: Arc::new(LedgerDoor(runtime.ledger.clone())),
            metrics: metrics.clone(),
            clock: clock.clone(),
            jitter: random_jitter(),
            shutdown: stopping.child_token(),
            tickets: tickets(&runtime.router),
        };
        // Reached by the committer before a sink reads what waits, so that nothing comes between the two.
        let outbox = Outbox::start(Vec::new(), parts);
        // Nothing was set before, for this is the only place that does.
        let _ = outbox_slot.set(Arc::downgrade(&outbox));
        outbox.reload(sinks);

        let settings = reload::intake_settings(&config);
        let (router, streams_end) = (runtime.router.clone(), stopping.child_token());
        let intake = Intake::new(settings, router.clone(), metrics.clone(), clock.clone(), streams_end);
        let listener = Listener::bind(config.listen).await.map_err(|error| StartError::Failed(error.to_string()))?;
        let (address, grace) = (listener.address(), config.shutdown_grace);
        let shared = Arc::new(Shared {
            source,
            overrides,
            config: Mutex::new(config),
            last_read,
            metrics: metrics.clone(),
            clock,
            intake: intake.clone(),
            router,
            positions: runtime.positions.clone(),
            outbox,
            kafka: Mutex::new(Vec::new()),
            stopping: stopping.clone(),
        });
        shared.start_kafka().await.map_err(StartError::Failed)?;
        let (ready, ready_seen) = watch::channel(true);
        let routes = http::routes(intake.clone())
            .merge(grpc::routes(intake, ready_seen).await)
            .merge(api::routes(api_state(&shared, &runtime)));
        let server = tokio::spawn(listener.serve(with_fallbacks(routes), stopping.clone().cancelled_owned(), grace));
        let chores = tokio::spawn(housekeeping::run(shared.clone(), housekeeping::Views::of(&runtime)));
        metrics.reload_successful.set(1.0);
        metrics.reload_timestamp.set(shared.clock.now().as_secs_f64());
        tracing::info!(%address, started_in_ms = stopwatch.elapsed().as_millis() as u64, "ready for events");
        Ok(Self { shared, address, stopping, ready, runtime, server, chores })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Loads the configuration anew. An invalid one changes nothing.
    ///
    /// # Errors
    /// The problems found.
    pub async fn reload(&self) -> Result<api::Reloaded, Vec<String>> {
        self.shared.reload().await
    }

    /// Resolves when the store has failed for good: the daemon must then be ended without draining.
    pub async fn failed(&self) -> String {
        let mut fatal = self.runtime.fatal.clone();
        match fatal.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or_default(),
            Err(_) => "the committer ended".to_owned(),
        }
    }

    /// Takes no more events, makes durable what is in flight, delivers what can be delivered, and ends, all within
    /// `shutdown_grace`. What is not delivered by then waits in the store for the next start.
    pub async fn stop(self) {
        let Self { shared, stopping, ready, runtime, server, chores, .. } = self;
        let grace = shared.config.lock().await.shutdown_grace;
        let stopwatch = Stopwatch::start();
        ready.send_replace(false);
        for source in std::mem::take(&mut *shared.kafka.lock().await) {
            if !source.handle.stop(grace).await {
                tracing::warn!(source = source.config.name, "the Kafka consumer did not end within the grace period");
            }
        }
        stopping.cancel();
        chores.abort();
        match server.await {
            Ok(0) => {}
            Ok(cut) => tracing::warn!(connections = cut, "connections were cut at the end of the grace period"),
            Err(error) => tracing::error!(%error, "the listener ended in a panic"),
        }
        let left = |stopwatch: Stopwatch| grace.saturating_sub(stopwatch.elapsed()).max(Duration::from_secs(1));
        let drained = runtime.drain().await;
        if !shared.outbox.drain(left(stopwatch)).await {
            tracing::warn!(
                "deliveries were under way at the end of the grace period; they go out again, with the same ids"
            );
        }
        drop(shared);
        if tokio::time::timeout(left(stopwatch), drained.finish()).await.is_err() {
            tracing::warn!("the store was still in use at the end of the grace period");
        }
        tracing::info!(stopped_in_ms = stopwatch.elapsed().as_millis() as u64, "stopped");
    }
}

/// The outbox's way to the shards: notes the tickets that receivers name. One for an incident that is closed is not wanted.
fn tickets(router: &crate::runtime::Router) -> Tickets {
    let router = router.clone();
    Arc::new(move |sink, incident, ticket: Ticket| {
        let router = router.clone();
        Box::pin(async move {
            let Ticket { name: ticket, url } = ticket;
            let command = Command::Ticket { incident, sink: sink.clone(), ticket, url };
            match router.command("", &command).await {
                Ok(_) => true,
                Err(CommandError::Refusal(refusal)) => {
                    tracing::debug!(sink = &*sink, %incident, %refusal, "a ticket was not noted");
                    true
                }
                Err(CommandError::Refused(_)) => false,
            }
        })
    })
}

fn load(source: &Source, overrides: &Overrides) -> Result<Config, Vec<Diagnostic>> {
    let mut config = match source {
        Source::File(path) => {
            let loaded = Config::load(path)?;
            for warning in loaded.warnings {
                tracing::warn!("{warning}");
            }
            loaded.config
        }
        Source::Fixed(config) => (**config).clone(),
    };
    if let Some(data_dir) = &overrides.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if let Some(listen) = overrides.listen {
        config.listen = listen;
    }
    Ok(config)
}

/// A sink and what it was built from.
type BuiltSink = (SinkConfig, Arc<dyn Sink>);

fn build_sinks(config: &Config, clock: &Clock) -> Result<Vec<BuiltSink>, String> {
    let build = |sink: &SinkConfig| {
        let built = sinks::build(sink, clock).map_err(|error| format!("sink {}: {error}", sink.name))?;
        Ok((sink.clone(), built))
    };
    config.sinks.iter().map(build).collect()
}

async fn open_store(data_dir: &Path) -> Result<Box<dyn Store>, StartError> {
    let data_dir = data_dir.to_owned();
    let open = move || SqliteStore::open(&data_dir, SqliteConfig::default());
    let opened = tokio::task::spawn_blocking(open).await.map_err(|error| StartError::Failed(error.to_string()))?;
    Ok(Box::new(opened.map_err(|error| StartError::Failed(error.to_string()))?))
}

fn runtime_config(config: &Config) -> RuntimeConfig {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    RuntimeConfig {
        shards: config.shard_count(cores) as u16,
        scope: config.scope.clone(),
        max_in_flight: IN_FLIGHT_MAX,
        engine: reload::engine_config(config),
    }
}

fn api_state(shared: &Arc<Shared>, runtime: &Runtime) -> ApiState {
    let (router, store_up, stopping) = (shared.router.clone(), runtime.store_up.clone(), shared.stopping.clone());
    let (reloading, routed, looking) = (shared.clone(), shared.clone(), shared.router.clone());
    ApiState {
        read_model: runtime.read_model.clone(),
        reads: runtime.reads.clone(),
        metrics: shared.metrics.clone(),
        alerts: Arc::new(move |incident, limit| {
            let router = router.clone();
            Box::pin(async move { router.alerts(incident, limit).await })
        }),
        ready: Arc::new(move || {
            if stopping.is_cancelled() {
                return Err("stopping".to_owned());
            }
            if !store_up.load(std::sync::atomic::Ordering::Acquire) {
                return Err("the store does not take commits; see the log".to_owned());
            }
            Ok(())
        }),
        reload: Arc::new(move || {
            let shared = reloading.clone();
            Box::pin(async move { shared.reload().await })
        }),
        operators: Arc::new(ShardsDoor(shared.router.clone())),
        unmatched: Arc::new(move |limit| {
            let router = looking.clone();
            Box::pin(async move { router.unmatched(limit).await })
        }),
        sinks: Arc::new(OutboxDoor(shared.outbox.clone())),
        router: shared.router.clone(),
        routing: Arc::new(move || {
            let shared = routed.clone();
            Box::pin(async move { routing(&*shared.config.lock().await) })
        }),
        listings: api::Listings::default(),
        streams: api::Streams::new(shared.stopping.child_token()),
        clock: shared.clock.clone(),
        started_at: shared.clock.now(),
    }
}

/// Culprits of all shards that are shown at most.
const CULPRITS_MAX: usize = 1_000;

/// The API's way to the shards, for operators.
struct ShardsDoor(crate::runtime::Router);

impl api::Operators for ShardsDoor {
    fn order(&self, by: String, command: Command) -> BoxFuture<'static, Result<Done, CommandError>> {
        let router = self.0.clone();
        Box::pin(async move { router.command(&by, &command).await })
    }

    fn culprits(&self) -> BoxFuture<'static, Vec<Culprit>> {
        let router = self.0.clone();
        Box::pin(async move {
            // A daemon that stops shows none.
            let shards = router.look(|shard, _| shard.culprits(CULPRITS_MAX)).await.unwrap_or_default();
            let mut culprits: Vec<Culprit> = shards.into_iter().flatten().collect();
            culprits.sort();
            culprits.truncate(CULPRITS_MAX);
            culprits
        })
    }
}

/// Who is told what; a rule that names no sink tells all of them.
fn routing(config: &Config) -> api::Routing {
    let receivers: Vec<Arc<str>> = config.sinks.iter().map(|sink| sink.name.as_str().into()).collect();
    let named = |rule: &RuleConfig| -> Vec<Arc<str>> {
        let notify = rule.notify.as_ref();
        notify.map_or_else(|| receivers.clone(), |names| names.iter().map(|name| name.as_str().into()).collect())
    };
    let notify = config.rules.iter().map(|rule| (rule.name.as_str().into(), named(rule))).collect();
    api::Routing { receivers, notify }
}

/// The API's way to the outbox.
struct OutboxDoor(Arc<Outbox>);

impl api::Sinks for OutboxDoor {
    fn status(&self) -> Vec<SinkStatus> {
        self.0.status()
    }

    fn retry(self: Arc<Self>, sink: String) -> BoxFuture<'static, Option<usize>> {
        Box::pin(async move { self.0.retry_parked(&sink).await })
    }
}

impl Shared {
    async fn start_kafka(&self) -> Result<(), String> {
        let sources = self.config.lock().await.sources.kafka.clone();
        let mut running = self.kafka.lock().await;
        for config in sources {
            running.push(self.start_source(config)?);
        }
        Ok(())
    }

    fn start_source(&self, config: KafkaSourceConfig) -> Result<RunningSource, String> {
        let (intake, positions, metrics) = (self.intake.clone(), self.positions.clone(), self.metrics.clone());
        let handle = KafkaSource::start(config.clone(), intake, positions, metrics)
            .map_err(|error| format!("source {}: {error}", config.name))?;
        Ok(RunningSource { config, handle })
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Config(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            StartError::Usage(message) | StartError::Failed(message) => f.write_str(message),
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("address", &self.address).finish_non_exhaustive()
    }
}
