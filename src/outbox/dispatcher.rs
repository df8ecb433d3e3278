//! One sink's dispatcher: reads ahead, sends, judges answers, settles. The only place that decides about a delivery.
//!
//! It owns its state alone. Each turn reads what is missing, starts what may start, hands over what is settled, then
//! waits for the first of: an answer, a commit, an offer, a command, a due time. Beyond [`WINDOW_ROWS_MAX`] deliveries
//! nothing more is read; the rest waits in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;

use super::breaker::{Breaker, Gate};
use super::offers::{Offered, Offers};
use super::retry::{TokenBucket, pause, slow_pause};
use super::window::{Waiting, Window};
use super::{Closed, Parts, SharedView, lock};
use crate::clock::timer_now;
use crate::event::duration;
use crate::identity::IncidentId;
use crate::sinks::{Pacing, Sink, SinkConfig, SinkError};
use crate::store::{PendingDelivery, Reads, Settlement, StoreError};

/// Deliveries held in memory, those included whose end is not committed yet; a retry of parked ones may add as many.
/// At 4 KiB a body that is 4 to 8 MiB a sink.
pub(super) const WINDOW_ROWS_MAX: usize = 1_000;
/// Reads are worth while from so many free places on, unless there is nothing to do.
const READ_ROWS_MIN: usize = WINDOW_ROWS_MAX / 2;
/// Longer than any sink's own timeout: a guard, not a setting.
const DELIVERY_MAX: Duration = Duration::from_secs(150);
/// A receiver that asks for more is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// Attempts of one delivery are made durable at most this often.
const SAVE_EVERY: Duration = Duration::from_secs(10);
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What a dispatcher is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Deliver.
    Run,
    /// Deliver what can be delivered now, then end.
    Drain,
    /// End after what is in flight.
    Stop,
}

/// How a dispatcher and the outbox reach each other.
pub(super) struct Signals {
    pub(super) offers: Arc<Offers>,
    pub(super) mode: watch::Receiver<Mode>,
    pub(super) retries: mpsc::Receiver<oneshot::Sender<usize>>,
    pub(super) changed: Arc<Notify>,
    pub(super) view: SharedView,
}

/// A delivery on its way.
#[derive(Clone, Copy)]
struct Flight {
    incident: IncidentId,
    probe: bool,
}

/// A batch of settlements that is being committed.
struct Settling {
    future: BoxFuture<'static, Result<(), Closed>>,
    rows: usize,
    unparking: Option<Unparking>,
}

/// Parked deliveries that go out again once the store says so.
type Unparking = (Vec<PendingDelivery>, oneshot::Sender<usize>);

/// Delivers to one sink.
pub(super) struct Dispatcher {
    name: Arc<str>,
    pacing: Pacing,
    sink: Arc<dyn Sink>,
    parts: Parts,
    signals: Signals,
    window: Window,
    /// Every row up to this one has been read, or was offered.
    cursor: i64,
    /// Whether the store may hold more.
    more: bool,
    read_not_before: Option<Instant>,
    sending: JoinSet<Result<(), SinkError>>,
    flights: HashMap<task::Id, Flight>,
    unsettled: Vec<Settlement>,
    unparking: Option<Unparking>,
    settling: Option<Settling>,
    closed: bool,
    breaker: Breaker,
    bucket: Option<TokenBucket>,
    /// The receiver asked to be left alone until then.
    not_before: Option<Instant>,
    /// Whether the operator was told that the sink is misconfigured.
    complained: bool,
}

enum Happened {
    Answer(task::Id, Result<Result<(), SinkError>, JoinError>),
    Settled(Result<(), Closed>),
    Retry(oneshot::Sender<usize>),
    Woken,
}

impl Dispatcher {
    pub(super) fn new(config: &SinkConfig, sink: Arc<dyn Sink>, parts: Parts, signals: Signals) -> Self {
        let now = timer_now();
        Self {
            name: Arc::from(config.name.as_str()),
            pacing: config.pacing.clone(),
            sink,
            parts,
            signals,
            window: Window::default(),
            cursor: i64::MIN,
            more: true,
            read_not_before: None,
            sending: JoinSet::new(),
            flights: HashMap::new(),
            unsettled: Vec::new(),
            unparking: None,
            settling: None,
            closed: false,
            breaker: Breaker::new(config.pacing.breaker.failures),
            bucket: config.pacing.rate_limit.map(|rate| TokenBucket::new(rate, now)),
            not_before: None,
            complained: false,
        }
    }

    /// Delivers until it is told to end.
    pub(super) async fn run(mut self) {
        self.parts.metrics.sink_started(&self.name);
        let parked = query(&self.parts, &self.name, |reads, sink| reads.parked(sink, WINDOW_ROWS_MAX)).await;
        lock(&self.signals.view).parked = parked.map_or(0, |parked| parked.len() as u64);
        loop {
            let mode = self.mode();
            let mut wake = None;
            if mode != Mode::Stop {
                self.take_offers();
                self.refill().await;
                wake = self.launch();
            }
            self.hand_over();
            self.show(wake);
            let reads_on = mode == Mode::Drain && self.more && self.settling.is_some();
            if self.sending.is_empty() && mode != Mode::Run && !reads_on {
                break;
            }
            match self.next(wake).await {
                Happened::Answer(id, answer) => self.answered(id, answer),
                Happened::Settled(result) => self.settled(result),
                Happened::Retry(reply) => self.retry_parked(reply).await,
                Happened::Woken => {}
            }
        }
        self.end().await;
    }

    fn mode(&self) -> Mode {
        if self.closed || self.parts.shutdown.is_cancelled() { Mode::Stop } else { *self.signals.mode.borrow() }
    }

    async fn next(&mut self, wake: Option<Instant>) -> Happened {
        let stopping = self.mode() != Mode::Run;
        let unparking = self.is_unparking();
        tokio::select! {
            Some(joined) = self.sending.join_next_with_id() => match joined {
                Ok((id, answer)) => Happened::Answer(id, Ok(answer)),
                Err(error) => Happened::Answer(error.id(), Err(error)),
            },
            result = committed(&mut self.settling) => Happened::Settled(result),
            Some(reply) = self.signals.retries.recv(), if !unparking && !stopping => Happened::Retry(reply),
            () = self.signals.offers.come() => Happened::Woken,
            // The outbox itself may be gone; then it has aborted this task.
            Ok(()) = self.signals.mode.changed() => Happened::Woken,
            () = self.parts.shutdown.cancelled(), if !stopping => Happened::Woken,
            () = tokio::time::sleep_until(wake.unwrap_or_else(timer_now)), if wake.is_some() => Happened::Woken,
        }
    }

    async fn refill(&mut self) {
        if self.read_not_before.is_some_and(|at| at > timer_now()) {
            return;
        }
        self.read_not_before = None;
        let free = WINDOW_ROWS_MAX.saturating_sub(self.held());
        let worth_while = free >= READ_ROWS_MIN || (free > 0 && !self.window.has_ready());
        // A row that is just being un-parked would be read here and added once more when that is committed.
        if !self.more || !worth_while || self.is_unparking() {
            return;
        }
        let cursor = self.cursor;
        let rows = query(&self.parts, &self.name, move |reads, sink| reads.pending(sink, cursor, free)).await;
        let Some(rows) = rows else {
            self.read_not_before = Some(timer_now() + READ_AGAIN_AFTER);
            return;
        };
        self.more = rows.len() == free;
        rows.into_iter().for_each(|pending| self.receive(pending));
    }

    /// Takes what has just become durable. Where older rows wait in the store, they go first, and these are read with them.
    fn take_offers(&mut self) {
        let Offered { deliveries, more } = self.signals.offers.take();
        self.more |= more;
        for pending in deliveries {
            self.more |= self.held() >= WINDOW_ROWS_MAX;
            if self.more {
                return;
            }
            // It has been read, where it was offered while that was done.
            if pending.row > self.cursor {
                self.receive(pending);
            }
        }
    }

    fn receive(&mut self, pending: PendingDelivery) {
        self.cursor = self.cursor.max(pending.row);
        let folded = self.window.push(pending);
        self.folded(folded);
    }

    fn held(&self) -> usize {
        self.window.len() + self.unsettled.len() + self.settling.as_ref().map_or(0, |batch| batch.rows)
    }

    fn folded(&mut self, row: Option<i64>) {
        if let Some(row) = row {
            self.unsettled.push(Settlement::Done { row });
            self.parts.metrics.delivery(&self.name, "folded", 1);
        }
    }

    /// Starts what may start; tells when there is more to do although nothing happens.
    fn launch(&mut self) -> Option<Instant> {
        let now = timer_now();
        let concurrency = self.pacing.concurrency as usize;
        let read_again = self.read_not_before;
        let earliest = |at: Option<Instant>| at.into_iter().chain(read_again).min();
        loop {
            let probe = match self.breaker.gate(now) {
                Gate::Shut(until) => return earliest(until.filter(|_| self.window.len() > 0)),
                Gate::Probe if !self.sending.is_empty() => return earliest(None),
                Gate::Probe => true,
                Gate::Open if self.sending.len() >= concurrency => return earliest(None),
                Gate::Open => false,
            };
            if let Some(until) = self.not_before.filter(|until| *until > now) {
                return earliest(Some(until).filter(|_| self.window.len() > 0));
            }
            let due = self.window.next_due();
            let startable = self.window.has_ready() || due.is_some_and(|due| probe || due <= now);
            if !startable {
                return earliest(due);
            }
            if let Some(Err(at)) = self.bucket.as_mut().map(|bucket| bucket.take(now)) {
                return earliest(Some(at));
            }
            let Some(waiting) = self.window.start_next(now, probe) else { return earliest(due) };
            let (sink, delivery) = (self.sink.clone(), waiting.delivery.clone());
            let flight = Flight { incident: delivery.incident, probe };
            let (name, tickets) = (self.name.clone(), self.parts.tickets.clone());
            let sent = self.sending.spawn(async move {
                let late = |_| Err(SinkError::Unknown("the sink did not end the attempt in time".to_owned()));
                let sent = tokio::time::timeout(DELIVERY_MAX, sink.deliver(&delivery)).await.unwrap_or_else(late);
                let noted = match sent? {
                    Some(ticket) => tickets(name, delivery.incident, ticket).await,
                    None => true,
                };
                if noted { Ok(()) } else { Err(SinkError::Unknown("its ticket could not be noted".to_owned())) }
            });
            self.flights.insert(sent.id(), flight);
            if probe {
                self.breaker.probe();
            }
        }
    }

    fn answered(&mut self, id: task::Id, answer: Result<Result<(), SinkError>, JoinError>) {
        let Some(flight) = self.flights.remove(&id) else { return };
        match answer.unwrap_or_else(|error| Err(SinkError::Unknown(format!("the attempt broke off: {error}")))) {
            Ok(()) => {
                let Some(done) = self.window.finish(flight.incident) else { return };
                let took = self.parts.clock.now().since(done.delivery.created_at);
                self.parts.metrics.delivery(&self.name, "delivered", 1);
                self.parts.metrics.delivery_seconds(&self.name, took);
                self.unsettled.push(Settlement::Done { row: done.row });
                self.complained = false;
                lock(&self.signals.view).last_error = None;
                self.works();
            }
            Err(error) => self.failed(flight, &error),
        }
    }

    /// The sink answered sensibly: everything may go again.
    fn works(&mut self) {
        if self.breaker.succeeded() {
            tracing::info!(sink = &*self.name, "the sink works again");
            self.parts.metrics.set_breaker_open(&self.name, false);
            self.window.release_all();
        }
    }

    fn failed(&mut self, flight: Flight, error: &SinkError) {
        let (now, wall) = (timer_now(), self.parts.clock.now());
        self.parts.metrics.delivery(&self.name, "failed", 1);
        lock(&self.signals.view).last_error = Some(error.to_string());
        let Some(waiting) = self.window.in_flight(flight.incident) else { return };
        waiting.attempts = waiting.attempts.saturating_add(1);
        waiting.last_error = Some(error.to_string());
        waiting.unsaved = true;
        let (attempts, age) = (waiting.attempts, wall.since(waiting.delivery.created_at));
        let id = waiting.delivery.id();
        tracing::debug!(sink = &*self.name, delivery = id, attempts, %error, "a delivery failed");
        let wait = match error {
            SinkError::Misconfigured(_) => slow_pause(&self.pacing.retry, &self.parts.jitter),
            _ => pause(&self.pacing.retry, attempts, &self.parts.jitter),
        };
        if error.is_permanent() || age >= self.pacing.give_up_after {
            let parked = self.window.finish(flight.incident);
            self.park(parked.into_iter().collect(), error);
        } else {
            self.save_attempts(flight.incident, now);
            let folded = self.window.delay(flight.incident, now + wait);
            self.folded(folded);
        }
        self.heed(flight, error, wait, now);
    }

    /// What a failure says about the sink as a whole.
    fn heed(&mut self, flight: Flight, error: &SinkError, wait: Duration, now: Instant) {
        let asked = error.retry_after().map(|asked| asked.min(RETRY_AFTER_MAX));
        if matches!(error, SinkError::Throttled { .. }) || asked.is_some() {
            let until = now + asked.map_or(wait, |asked| asked.max(self.pacing.retry.min));
            self.not_before = Some(self.not_before.map_or(until, |before| before.max(until)));
        }
        if !error.blames_sink() {
            return self.works();
        }
        if matches!(error, SinkError::Misconfigured(_)) && !std::mem::replace(&mut self.complained, true) {
            tracing::error!(sink = &*self.name, %error, "the sink is misconfigured; its deliveries wait");
        }
        let (retry, jitter) = (&self.pacing.retry, &self.parts.jitter);
        let probe_after = |probes| match error {
            SinkError::Misconfigured(_) => slow_pause(retry, jitter),
            _ => pause(retry, probes, jitter),
        };
        if self.breaker.failed(flight.probe, now, probe_after) {
            tracing::warn!(sink = &*self.name, %error, "the sink fails; only single probes go out");
            self.parts.metrics.set_breaker_open(&self.name, true);
        }
        if self.breaker.is_open() {
            let give_up_before = self.parts.clock.now().minus(self.pacing.give_up_after);
            let expired = self.window.expire(give_up_before);
            self.park(expired, error);
        }
    }

    fn park(&mut self, given_up: Vec<Waiting>, error: &SinkError) {
        for waiting in given_up {
            let error = match error {
                SinkError::Rejected(_) => error.to_string(),
                _ => format!("given up after {}: {error}", duration::format(self.pacing.give_up_after)),
            };
            let delivery = waiting.delivery.id();
            tracing::error!(sink = &*self.name, delivery, attempts = waiting.attempts, error, "a delivery is parked");
            self.parts.metrics.delivery(&self.name, "parked", 1);
            lock(&self.signals.view).parked += 1;
            self.unsettled.push(Settlement::Parked { row: waiting.row, error });
        }
    }

    /// Makes attempts durable, but not every one: a sink that is down must not cause a stream of commits.
    fn save_attempts(&mut self, incident: IncidentId, now: Instant) {
        let Some(waiting) = self.window.in_flight(incident) else { return };
        if waiting.saved_at.is_none_or(|saved| now >= saved + SAVE_EVERY) {
            waiting.saved_at = Some(now);
            self.unsettled.push(saved(waiting));
        }
    }

    fn is_unparking(&self) -> bool {
        self.unparking.is_some() || self.settling.as_ref().is_some_and(|batch| batch.unparking.is_some())
    }

    async fn retry_parked(&mut self, reply: oneshot::Sender<usize>) {
        let parked = query(&self.parts, &self.name, |reads, sink| reads.parked(sink, WINDOW_ROWS_MAX)).await;
        let parked = parked.unwrap_or_default();
        if parked.is_empty() {
            // Whoever asked may have gone away.
            let _ = reply.send(0);
            return;
        }
        self.unsettled.extend(parked.iter().map(|pending| Settlement::Retry { row: pending.row }));
        self.unparking = Some((parked, reply));
    }

    /// Hands over what has gathered, one batch at a time.
    fn hand_over(&mut self) {
        if self.settling.is_none() && !self.unsettled.is_empty() && !self.closed {
            let batch = std::mem::take(&mut self.unsettled);
            let rows = batch.len();
            let future = self.parts.ledger.settle(batch);
            self.settling = Some(Settling { future, rows, unparking: self.unparking.take() });
        }
    }

    fn settled(&mut self, result: Result<(), Closed>) {
        let Some(batch) = self.settling.take() else { return };
        self.closed |= result.is_err();
        self.signals.changed.notify_one();
        let Some((parked, reply)) = batch.unparking.filter(|_| result.is_ok()) else { return };
        let mut view = lock(&self.signals.view);
        view.parked = view.parked.saturating_sub(parked.len() as u64);
        drop(view);
        let _ = reply.send(parked.len());
        for pending in parked {
            // Rows beyond the cursor are yet to be read, and no longer parked when they are.
            if pending.row <= self.cursor {
                let folded = self.window.push(PendingDelivery { attempts: 0, parked: false, ..pending });
                self.folded(folded);
            } else {
                self.more = true;
            }
        }
    }

    fn show(&self, wake: Option<Instant>) {
        let now = timer_now();
        let next_try = wake.map(|at| self.parts.clock.now().plus(at.saturating_duration_since(now)));
        let mut view = lock(&self.signals.view);
        view.breaker = self.breaker.as_str();
        view.next_try = next_try;
    }

    /// Nothing is in flight any more: records what is known, waits until it is committed.
    async fn end(&mut self) {
        for waiting in self.window.unsaved() {
            let settlement = saved(waiting);
            self.unsettled.push(settlement);
        }
        while self.settling.is_some() || (!self.unsettled.is_empty() && !self.closed) {
            self.hand_over();
            let result = committed(&mut self.settling).await;
            self.settled(result);
        }
    }
}

/// Asks the store, off the runtime's threads. `None` after a failure, which is logged.
async fn query<T: Send + 'static>(
    parts: &Parts,
    sink: &Arc<str>,
    ask: impl FnOnce(&dyn Reads, &str) -> Result<T, StoreError> + Send + 'static,
) -> Option<T> {
    let (reads, name) = (parts.reads.clone(), sink.clone());
    let error = match task::spawn_blocking(move || ask(&*reads, &name)).await {
        Ok(Ok(found)) => return Some(found),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(sink = &**sink, error, "cannot read the deliveries that wait");
    None
}

/// What keeps a waiting delivery's attempts and last error.
fn saved(waiting: &mut Waiting) -> Settlement {
    waiting.unsaved = false;
    let error = waiting.last_error.clone().unwrap_or_default();
    Settlement::Failed { row: waiting.row, attempts: waiting.attempts, error }
}

async fn committed(settling: &mut Option<Settling>) -> Result<(), Closed> {
    match settling {
        Some(batch) => (&mut batch.future).await,
        None => std::future::pending().await,
    }
}
