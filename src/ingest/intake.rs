//! The shared front of all doors: bytes to normalised events, into the router, and out as an answer.
//!
//! Counts every event once as received and, if it is refused here, once as decided; the verdicts of all others are
//! counted by the runtime when they are durable. A request that is given up before the router took it (overload, a
//! client that went away) withdraws its events. What a reload may change is one [`Settings`] behind an `ArcSwap`;
//! a request works to its end with the settings it began with.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::body::Budget;
use super::memos::{Memos, Tools};
use super::response::Answer;
use super::sampler::Sampler;
use crate::clock::Clock;
use crate::engine::decision::Verdict;
use crate::event::{Batch, Limits, Reject, Status};
use crate::formats::{Decoder, Format, Payload, Shape};
use crate::metrics::Metrics;
use crate::normalise::{IdentifiedBy, Normaliser};
use crate::runtime::{Receipt, Refused, Router};

/// Above this many bytes a piece of work leaves the async worker to itself: about a millisecond of decoding.
const HEAVY_BYTES: usize = 1 << 20;

/// What a reload may change.
#[derive(Debug)]
pub struct Settings {
    /// Bounds of bodies and events; the decoder keeps to the same.
    pub limits: Limits,
    /// Bytes to events.
    pub decoder: Decoder,
    /// Events to normalised events.
    pub normaliser: Normaliser,
    /// The lease of an Alertmanager alert that names no end: from its receipt, as in Alertmanager.
    pub resolve_timeout: Duration,
    /// What was learnt under these settings.
    pub memos: Memos,
}

/// See the module. Shared by all doors.
#[derive(Debug)]
pub struct Intake {
    settings: ArcSwap<Settings>,
    router: Router,
    metrics: Arc<Metrics>,
    clock: Clock,
    budget: Budget,
    sampler: Sampler,
    stopping: CancellationToken,
}

/// Where a request came in, and what is known of it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The metric label: `grpc`, `http`, `alertmanager` or the name of a Kafka source.
    pub label: Arc<str>,
    /// The source of events that name none.
    pub source: Option<Arc<str>>,
    /// How to read it.
    pub format: Format,
    /// What it holds.
    pub shape: Shape,
}

/// Events that were received and are not yet handed over; withdraws them when dropped before.
#[derive(Debug)]
pub(super) struct Counted {
    metrics: Arc<Metrics>,
    label: Arc<str>,
    events: u64,
}

/// Events that were handed over and are not decided yet.
#[derive(Debug)]
pub(super) struct InFlight {
    metrics: Arc<Metrics>,
    events: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.answered(self.events);
    }
}

/// A request that was read. Dropping it withdraws it.
#[derive(Debug)]
pub struct Taken {
    batch: Batch,
    rejects: Vec<Reject>,
    counted: Counted,
}

/// A request that was handed over; its effects will be durable some time.
#[derive(Debug)]
pub struct Submitted {
    handed_over: HandedOver,
    rejects: Vec<Reject>,
}

/// What the router has of a request; `None` when every event was refused, and once the verdicts are there.
///
/// A producer may hang up long before its events are durable, on a full disk. They are in flight until they are decided,
/// so what is dropped before is waited for in the background; the router's bound on events in flight bounds that, too.
#[derive(Debug)]
struct HandedOver(Option<(Receipt, InFlight)>);

impl HandedOver {
    /// Safe to be dropped while it waits.
    async fn verdicts(&mut self) -> Result<Vec<Verdict>, Refused> {
        let verdicts = match &mut self.0 {
            Some((receipt, _)) => receipt.verdicts().await,
            None => Ok(Vec::new()),
        };
        self.0 = None;
        verdicts
    }
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        if let Some((mut receipt, in_flight)) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                // Whatever comes, nobody is there to be told.
                let _ = receipt.verdicts().await;
                drop(in_flight);
            });
        }
    }
}

impl Intake {
    /// The front of a daemon. Streams end, and say so, once `stopping` is cancelled.
    pub fn new(
        settings: Settings,
        router: Router,
        metrics: Arc<Metrics>,
        clock: Clock,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let settings = ArcSwap::from_pointee(settings);
        let (budget, sampler) = (Budget::default(), Sampler::default());
        Arc::new(Self { settings, router, metrics, clock, budget, sampler, stopping })
    }

    /// Puts new settings in force for the requests to come.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Reads a request: decodes, normalises, counts.
    ///
    /// # Errors
    /// Why nothing of it could be read; nothing is counted then.
    pub fn take(&self, origin: &Origin, body: Bytes) -> Result<Taken, Reject> {
        let settings = self.settings.load_full();
        heavy(body.len(), || {
            let received_at = self.clock.now();
            let span = 0..body.len();
            let mut batch = Batch::new(body, received_at);
            let source = origin.source.as_deref().map(|source| batch.intern(source)).unwrap_or_default();
            let mut rejects = Vec::new();
            let (format, shape) = (origin.format, origin.shape);
            let payload = Payload { format, shape, span, first_index: 0, source, received_at };
            let decoded = settings.memos.with(|tools| {
                let decoded = settings.decoder.recall(&mut tools.memo, &payload, &mut batch, &mut rejects)?;
                self.normalise(&settings, tools, format, &mut batch, &mut rejects);
                Ok(decoded)
            })?;
            let counted = self.count(&origin.label, &batch, rejects.len());
            self.metrics.unknown_severities.increment(u64::from(decoded.unknown_severities));
            Ok(Taken { batch, rejects, counted })
        })
    }

    /// Makes the events of a batch comparable, and says what was noticed about them.
    pub(super) fn normalise(
        &self,
        settings: &Settings,
        tools: &mut Tools,
        format: Format,
        batch: &mut Batch,
        rejects: &mut Vec<Reject>,
    ) {
        let identified_by = match format {
            Format::Alertmanager => IdentifiedBy::AllLabels,
            Format::Event | Format::EventProtobuf => IdentifiedBy::ConfiguredLabels,
        };
        let now = batch.received_at;
        let noticed = settings.normaliser.normalise(&mut tools.scratch, batch, now, identified_by, rejects);
        tools.memo.learn(batch);
        if format == Format::Alertmanager {
            // As in Alertmanager: without an end the lease runs from the receipt, since every re-send repeats the start.
            let lease_end = now.plus(settings.resolve_timeout);
            let firing = batch.events.iter_mut().filter(|event| event.status == Status::Firing);
            firing.for_each(|event| event.ends_at = event.ends_at.or(Some(lease_end)));
        }
        self.metrics.clamped.increment(noticed.clamped);
        if noticed.key_label_missing > 0 {
            self.metrics.key_labels_missing.increment(noticed.key_label_missing);
            if self.sampler.admit(now) {
                let (events, label) = (noticed.key_label_missing, noticed.first_missing);
                tracing::warn!(events, label, "events lack a label that is configured as part of their identity");
            }
        }
    }

    /// Counts a batch as received, and its rejects as decided.
    pub(super) fn count(&self, label: &Arc<str>, batch: &Batch, rejects: usize) -> Counted {
        let events = batch.events.len() as u64;
        if events + rejects as u64 > 0 {
            self.metrics.received(label, events + rejects as u64);
        }
        if rejects > 0 {
            let mut verdicts = [0; 10];
            verdicts[9] = rejects as u64;
            self.metrics.decided(&verdicts);
            self.metrics.answered(rejects as u64);
        }
        Counted { metrics: self.metrics.clone(), label: label.clone(), events }
    }

    /// Hands a request over; waits for room at most `patience`.
    ///
    /// # Errors
    /// When there was no room in that time, or the daemon stops; its events are withdrawn then.
    pub async fn submit(&self, taken: Taken, patience: Duration) -> Result<Submitted, Refused> {
        let Taken { batch, rejects, mut counted } = taken;
        if batch.events.is_empty() {
            return Ok(Submitted { handed_over: HandedOver(None), rejects });
        }
        match self.router.submit(batch, patience).await {
            Ok(receipt) => {
                let in_flight = counted.handed_over();
                Ok(Submitted { handed_over: HandedOver(Some((receipt, in_flight))), rejects })
            }
            Err(refused) => {
                if matches!(refused, Refused::Overloaded { .. }) {
                    self.metrics.overloads.increment(1);
                }
                Err(refused)
            }
        }
    }
}

impl Submitted {
    /// Waits until the effects are durable.
    ///
    /// # Errors
    /// When the daemon stopped first: the producer must send again.
    pub async fn answer(mut self) -> Result<Answer, Refused> {
        let verdicts = self.handed_over.verdicts().await?;
        Ok(Answer::new(verdicts, self.rejects))
    }
}

impl Counted {
    /// The runtime counts their verdicts from now on; they are in flight until the guard is dropped.
    pub(super) fn handed_over(&mut self) -> InFlight {
        InFlight { metrics: self.metrics.clone(), events: std::mem::take(&mut self.events) }
    }

    /// Withdraws some of the events.
    pub(super) fn withdraw(&mut self, events: u64) {
        let events = events.min(self.events);
        if events > 0 {
            self.metrics.withdrawn(&self.label, events);
            self.events -= events;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.withdraw(self.events);
    }
}

/// Runs work over so many bytes without holding up the other tasks of an async worker.
pub(super) fn heavy<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let many_threads = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > HEAVY_BYTES && many_threads { tokio::task::block_in_place(work) } else { work() }
}
