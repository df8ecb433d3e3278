//! The outbox: every delivery in the store reaches its sink, in order per incident, or is parked where people see it.
//!
//! The store is the queue. One task per sink (`dispatcher`) holds a bounded window of it, so memory does not depend on
//! the backlog, and a sink that fails delays no other. What a commit has just put into the queue is offered to it
//! (`offers`), so that only who is behind reads it from the store. What became of a delivery goes back through a [`Ledger`] and is
//! forgotten only once that is committed. When the store cannot be read, the outbox waits and tries again; when the
//! ledger is closed it sends nothing more, for what it cannot record it would send twice.

mod backlog;
mod breaker;
mod dispatcher;
#[cfg(test)]
mod fake;
mod offers;
mod retry;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::metrics::Metrics;
use crate::sinks::{Sink, SinkConfig, Ticket};
use crate::store::{PendingDelivery, Reads, Settlement};
use dispatcher::{Dispatcher, Mode};
use offers::Offers;
pub use retry::{Jitter, random_jitter};

/// Takes settlements and makes them durable.
///
/// The future resolves once they are committed; a transient failure is tried again behind it. Batches of one sink are
/// handed over one after the other. Dropping the future leaves open whether they are committed; what is not comes again
/// after a restart.
pub trait Ledger: Send + Sync {
    /// Commits settlements.
    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'static, Result<(), Closed>>;
}

/// The ledger takes nothing any more: the daemon is going down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is closed")]
pub struct Closed;

/// What the outbox works with.
#[derive(Clone)]
pub struct Parts {
    /// Where deliveries wait.
    pub reads: Arc<dyn Reads>,
    /// Where their ends are recorded.
    pub ledger: Arc<dyn Ledger>,
    /// Counted here.
    pub metrics: Arc<Metrics>,
    /// Wall time, for ages.
    pub clock: Clock,
    /// Spreads retries.
    pub jitter: Jitter,
    /// Stops every sink after what is in flight.
    pub shutdown: CancellationToken,
    /// Takes the tickets that receivers name.
    pub tickets: Tickets,
}

/// Notes the ticket that a sink has named for an incident, before the delivery is settled: a crash in between names it
/// again. Resolves once it is durable, or is not wanted; `false` where that could not be found out.
pub type Tickets = Arc<dyn Fn(Arc<str>, IncidentId, Ticket) -> BoxFuture<'static, bool> + Send + Sync>;

/// How a sink fares.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct SinkStatus {
    /// Its name.
    pub sink: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Deliveries that wait, parked ones included; counted about once a second.
    pub backlog: u64,
    /// Deliveries that were given up; 1,000 may mean more.
    pub parked: u64,
    /// `closed`, `open` or `probing`.
    pub breaker: &'static str,
    /// Why the last try failed, until one succeeds.
    pub last_error: Option<String>,
    /// When the next try is due, while the sink waits for it.
    pub next_try: Option<Timestamp>,
}

/// What a dispatcher shows of itself.
#[derive(Clone, Debug, Default)]
struct View {
    backlog: u64,
    parked: u64,
    breaker: &'static str,
    last_error: Option<String>,
    next_try: Option<Timestamp>,
}

type SharedView = Arc<Mutex<View>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sink's dispatcher, seen from outside.
struct Lane {
    config: SinkConfig,
    offers: Arc<Offers>,
    mode: watch::Sender<Mode>,
    retries: mpsc::Sender<oneshot::Sender<usize>>,
    view: SharedView,
    task: JoinHandle<()>,
}

/// Delivers what waits. Dropping it aborts what is in flight; [`Outbox::drain`] ends it well.
pub struct Outbox {
    parts: Parts,
    lanes: Mutex<BTreeMap<String, Lane>>,
    /// Dispatchers of sinks that were removed or replaced, until they end.
    leaving: Mutex<BTreeMap<String, JoinHandle<()>>>,
    changed: Arc<Notify>,
    counter: JoinHandle<()>,
}

impl Outbox {
    /// Starts a dispatcher per sink; each tries what waits at once. Must be called within a runtime.
    pub fn start(sinks: Vec<(SinkConfig, Arc<dyn Sink>)>, parts: Parts) -> Arc<Self> {
        let changed = Arc::new(Notify::new());
        let outbox = Arc::new_cyclic(|outbox| Self {
            counter: tokio::spawn(backlog::count(parts.clone(), outbox.clone(), changed.clone())),
            parts,
            lanes: Mutex::default(),
            leaving: Mutex::default(),
            changed,
        });
        outbox.reload(sinks);
        outbox
    }

    /// Replaces the set of sinks. A sink whose configuration did not change goes on undisturbed; a changed one starts
    /// anew once its predecessor has ended; a removed one ends after what is in flight, and its deliveries stay.
    pub fn reload(&self, sinks: Vec<(SinkConfig, Arc<dyn Sink>)>) {
        let mut lanes = lock(&self.lanes);
        let mut leaving = lock(&self.leaving);
        leaving.retain(|_, task| !task.is_finished());
        let mut before = std::mem::take(&mut *lanes);
        for (config, sink) in sinks {
            let name = config.name.clone();
            let lane = match before.remove(&name) {
                Some(lane) if lane.config == config => lane,
                Some(lane) => {
                    lane.mode.send_replace(Mode::Stop);
                    self.open(config, sink, Some(lane.task))
                }
                None => self.open(config, sink, leaving.remove(&name)),
            };
            lanes.insert(name, lane);
        }
        for (name, lane) in before {
            lane.mode.send_replace(Mode::Stop);
            leaving.insert(name, lane.task);
        }
        self.changed.notify_one();
    }

    fn open(&self, config: SinkConfig, sink: Arc<dyn Sink>, predecessor: Option<JoinHandle<()>>) -> Lane {
        let (mode, mode_seen) = watch::channel(Mode::Run);
        let (retries, retries_taken) = mpsc::channel(1);
        let offers = Arc::new(Offers::default());
        let view = SharedView::new(Mutex::new(View { breaker: "closed", ..View::default() }));
        let dispatcher = Dispatcher::new(
            &config,
            sink,
            self.parts.clone(),
            dispatcher::Signals {
                offers: offers.clone(),
                mode: mode_seen,
                retries: retries_taken,
                changed: self.changed.clone(),
                view: view.clone(),
            },
        );
        let task = tokio::spawn(async move {
            // What the predecessor has in flight must be settled before the store is read anew.
            if let Some(predecessor) = predecessor
                && let Err(error) = predecessor.await
            {
                tracing::error!(%error, "a dispatcher ended badly");
            }
            dispatcher.run().await;
        });
        Lane { config, offers, mode, retries, view, task }
    }

    /// Takes what a commit has made durable, so that nobody need ask the store for it. Every commit's deliveries must be
    /// offered, in the order of commits, from before a sink's dispatcher starts. Cheap, never waits; a name that is no
    /// sink's is ignored.
    pub fn offer(&self, deliveries: Vec<PendingDelivery>) {
        let lanes = lock(&self.lanes);
        let mut told: Vec<&Lane> = Vec::new();
        for delivery in deliveries {
            let Some(lane) = lanes.get(&*delivery.delivery.sink) else { continue };
            lane.offers.add(delivery);
            if !told.iter().any(|other| Arc::ptr_eq(&other.offers, &lane.offers)) {
                told.push(lane);
            }
        }
        told.iter().for_each(|lane| lane.offers.wake());
    }

    /// Says that the store may hold deliveries for a sink which were not offered.
    pub fn nudge(&self, sink: &str) {
        if let Some(lane) = lock(&self.lanes).get(sink) {
            lane.offers.note_more();
        }
    }

    /// As [`Outbox::nudge`], for every sink.
    pub fn nudge_all(&self) {
        lock(&self.lanes).values().for_each(|lane| lane.offers.note_more());
    }

    /// Tries a sink's parked deliveries again, at most the oldest 1,000. Tells how many, once that is committed;
    /// `None` when there is no such sink or it is stopping.
    pub async fn retry_parked(&self, sink: &str) -> Option<usize> {
        let retries = lock(&self.lanes).get(sink)?.retries.clone();
        let (reply, replied) = oneshot::channel();
        retries.send(reply).await.ok()?;
        replied.await.ok()
    }

    /// How every sink fares, by name.
    pub fn status(&self) -> Vec<SinkStatus> {
        let status = |(name, lane): (&String, &Lane)| {
            let view = lock(&lane.view).clone();
            SinkStatus {
                sink: name.clone(),
                kind: lane.config.kind.as_str(),
                backlog: view.backlog,
                parked: view.parked,
                breaker: view.breaker,
                last_error: view.last_error,
                next_try: view.next_try,
            }
        };
        lock(&self.lanes).iter().map(status).collect()
    }

    /// Delivers what can be delivered now, and ends: what waits for a retry waits for the next start. After `grace`
    /// the rest is cut off; what was in flight then goes out again with the same id. The ledger must live until this
    /// returns. Tells whether everything ended within `grace`.
    pub async fn drain(&self, grace: Duration) -> bool {
        let lanes = std::mem::take(&mut *lock(&self.lanes));
        let leaving = std::mem::take(&mut *lock(&self.leaving));
        for lane in lanes.values() {
            lane.mode.send_replace(Mode::Drain);
        }
        let tasks: Vec<JoinHandle<()>> =
            lanes.into_values().map(|lane| lane.task).chain(leaving.into_values()).collect();
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        let ended = tokio::time::timeout(grace, join_all(tasks)).await.is_ok();
        aborts.iter().for_each(tokio::task::AbortHandle::abort);
        self.counter.abort();
        ended
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.counter.abort();
        lock(&self.lanes).values().for_each(|lane| lane.task.abort());
        lock(&self.leaving).values().for_each(JoinHandle::abort);
    }
}
