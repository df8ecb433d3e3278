//! The one door for events: bounds what is in flight, splits batches over shards, gathers the verdicts.
//!
//! At most `max_in_flight` events are between the door and their commit, and at most [`INBOX_PARTS`] parts wait for one
//! shard. Beyond that `submit` waits for its patience and then refuses; nothing is dropped. An event is answered only
//! after the commit that holds its effects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::shard_task::{Look, Message, Part};
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::decision::Verdict;
use crate::engine::incident::AlertDoc;
use crate::engine::unmatched::UnmatchedReport;
use crate::engine::{EngineConfig, ReloadReport, Shard};
use crate::event::{Batch, Timestamp};
use crate::identity::IncidentId;
use crate::rules::RuleSet;

/// Parts of batches that wait for one shard. A part holds a batch by reference, so this bounds little; events in
/// flight are what is bounded in earnest.
pub(super) const INBOX_PARTS: usize = 1_024;

/// Looks that wait for one shard; more wait for a place.
pub(super) const LOOKS: usize = 64;

/// What a refused producer is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a batch was not taken. Nothing of it has been applied, or its outcome is not known to be durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is in flight; try again after this time.
    #[error("too many events in flight, try again in {} s", retry_after.as_secs_f64())]
    Overloaded {
        /// When.
        retry_after: Duration,
    },
    /// The store does not take commits at present (a full disk); try again later.
    #[error("the store does not take commits at present")]
    StoreDown,
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Why an operator's order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The engine says no; nothing has changed.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// It did not get there, or its outcome is not known to be durable.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The ways into one shard.
pub(super) struct ShardDoor {
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) looks: mpsc::Sender<Look>,
}

/// The door. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    shards: Vec<mpsc::Sender<Message>>,
    looks: Vec<mpsc::Sender<Look>>,
    room: Arc<Semaphore>,
    max_in_flight: u32,
    store_up: Arc<AtomicBool>,
}

/// The promise of one verdict per event of a batch, kept once their effects are durable.
#[derive(Debug)]
pub struct Receipt {
    events: usize,
    parts: Vec<Promised>,
}

#[derive(Debug)]
struct Promised {
    /// Places of the part's events in the batch; all when `None`.
    places: Option<Arc<[u32]>>,
    reply: oneshot::Receiver<Vec<Verdict>>,
    kept: Option<Vec<Verdict>>,
}

impl Router {
    pub(super) fn new(doors: Vec<ShardDoor>, max_in_flight: u32, store_up: Arc<AtomicBool>) -> Self {
        let (shards, looks) = doors.into_iter().map(|door| (door.inbox, door.looks)).unzip();
        Self { shards, looks, room: Arc::new(Semaphore::new(max_in_flight as usize)), max_in_flight, store_up }
    }

    /// Hands a batch to its shards; waits for room at most `patience`.
    ///
    /// # Errors
    /// When there was no room in that time, the store takes no commits, or the daemon stops.
    pub async fn submit(&self, batch: Batch, patience: Duration) -> Result<Receipt, Refused> {
        self.check_store()?;
        let weight = self.weight(&batch);
        let admitted = tokio::time::timeout(patience, async {
            let permit = self.room.clone().acquire_many_owned(weight).await.map_err(|_| Refused::Stopping)?;
            let mut seats = Vec::with_capacity(self.shards.len());
            for shard in &self.shards {
                seats.push(shard.reserve().await.map_err(|_| Refused::Stopping)?);
            }
            Ok((permit, seats))
        });
        let (permit, seats) = admitted.await.unwrap_or_else(|_| Err(self.overloaded()))?;
        Ok(seat(batch, permit, seats))
    }

    /// Hands a batch to its shards if there is room now; else gives it back.
    ///
    /// # Errors
    /// The batch, and why it was not taken.
    #[expect(clippy::result_large_err, reason = "the batch goes back to a caller that keeps it, without an allocation")]
    pub fn try_submit(&self, batch: Batch) -> Result<Receipt, (Batch, Refused)> {
        if let Err(refused) = self.check_store() {
            return Err((batch, refused));
        }
        let Ok(permit) = self.room.clone().try_acquire_many_owned(self.weight(&batch)) else {
            return Err((batch, self.overloaded()));
        };
        let mut seats = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            match shard.try_reserve() {
                Ok(seat) => seats.push(seat),
                Err(mpsc::error::TrySendError::Full(())) => return Err((batch, self.overloaded())),
                Err(mpsc::error::TrySendError::Closed(())) => return Err((batch, Refused::Stopping)),
            }
        }
        Ok(seat(batch, permit, seats))
    }

    /// Gives every shard a new rule set; resolves when all have taken it.
    ///
    /// # Errors
    /// When the daemon stops.
    pub async fn reload(&self, rules: &Arc<RuleSet>, config: &EngineConfig) -> Result<ReloadReport, Refused> {
        let mut sum = ReloadReport::default();
        for shard in &self.shards {
            let (reply, report) = oneshot::channel();
            let message = Message::Reload { rules: rules.clone(), config: config.clone(), reply };
            shard.send(message).await.map_err(|_| Refused::Stopping)?;
            sum.add(&report.await.map_err(|_| Refused::Stopping)?);
        }
        Ok(sum)
    }

    /// The alerts of an incident that is not closed, at most `limit`, and how many there are; `None` when no shard has it.
    pub async fn alerts(&self, incident: IncidentId, limit: usize) -> Option<(Vec<AlertDoc>, u64)> {
        let found = self.look(move |shard, _| shard.incident_alerts(incident, limit)).await.ok()?;
        found.into_iter().flatten().next()
    }

    /// What no rule wants, at most `limit` labels; `None` when the daemon stops.
    pub async fn unmatched(&self, limit: usize) -> Option<UnmatchedReport> {
        let seen = self.look(|shard, _| shard.unmatched()).await.ok()?;
        Some(UnmatchedReport::merge(seen, limit))
    }

    /// Lets every shard say what it sees, between the batch that it has at hand and the next; in the order of the shards.
    ///
    /// # Errors
    /// When the daemon stops.
    pub async fn look<T, F>(&self, look: F) -> Result<Vec<T>, Refused>
    where
        T: Send + 'static,
        F: Fn(&Shard, Timestamp) -> T + Clone + Send + 'static,
    {
        let mut seen = Vec::with_capacity(self.looks.len());
        for shard in &self.looks {
            let (reply, answer) = oneshot::channel();
            let look = look.clone();
            // Whoever asked may have hung up.
            let look = Look(Box::new(move |shard, now| drop(reply.send(look(shard, now)))));
            shard.send(look).await.map_err(|_| Refused::Stopping)?;
            seen.push(answer.await.map_err(|_| Refused::Stopping)?);
        }
        Ok(seen)
    }

    /// Gives an operator's order to every shard, and waits until it is durable. What one shard has done counts, however
    /// many others do not know what it names.
    ///
    /// # Errors
    /// Why no shard has done it, or that the daemon stops.
    pub async fn command(&self, by: &str, command: &Command) -> Result<Done, CommandError> {
        let (by, mut command): (Arc<str>, Command) = (by.into(), command.clone());
        let mut outcome = Err(Refusal::Unknown);
        for shard in &self.shards {
            let (reply, answer) = oneshot::channel();
            let message = Message::Command { by: by.clone(), command: command.clone(), reply };
            shard.send(message).await.map_err(|_| Refused::Stopping)?;
            let answer = answer.await.map_err(|_| Refused::Stopping)?;
            if outcome.is_err() && answer != Err(Refusal::Unknown) {
                outcome = answer;
                // The first shard may have moved the start to its own present; the others follow it.
                if let (Command::Silence(draft), Ok(Done::Silence(silence))) = (&mut command, &outcome) {
                    draft.starts_at = silence.starts_at;
                }
            }
        }
        Ok(outcome?)
    }

    /// A batch larger than all room still gets through, alone.
    fn weight(&self, batch: &Batch) -> u32 {
        (batch.events.len() as u32).clamp(1, self.max_in_flight)
    }

    fn check_store(&self) -> Result<(), Refused> {
        if self.store_up.load(Ordering::Acquire) { Ok(()) } else { Err(Refused::StoreDown) }
    }

    fn overloaded(&self) -> Refused {
        Refused::Overloaded { retry_after: RETRY_AFTER }
    }
}

/// Sends each shard its part; a Kafka batch goes to every shard, because each keeps its own position.
fn seat(batch: Batch, permit: OwnedSemaphorePermit, seats: Vec<mpsc::Permit<'_, Message>>) -> Receipt {
    let (events, shards) = (batch.events.len(), seats.len() as u64);
    let to_all = !batch.positions.is_empty();
    let batch = Arc::new(batch);
    let permit = Arc::new(permit);
    let mut parts = Vec::with_capacity(seats.len());
    for (shard, seat) in seats.into_iter().enumerate() {
        let places: Option<Arc<[u32]>> = (shards > 1).then(|| {
            let mine = |(_, event): &(usize, &crate::event::Event)| event.scope.0 % shards == shard as u64;
            batch.events.iter().enumerate().filter(mine).map(|(place, _)| place as u32).collect()
        });
        if events == 0 && !to_all || places.as_ref().is_some_and(|places| places.is_empty() && !to_all) {
            continue;
        }
        let (sender, reply) = oneshot::channel();
        seat.send(Message::Events(Part {
            batch: batch.clone(),
            places: places.clone(),
            reply: sender,
            permit: permit.clone(),
        }));
        parts.push(Promised { places, reply, kept: None });
    }
    Receipt { events, parts }
}

impl Receipt {
    /// Waits until the batch's effects are durable. One verdict per event of `batch.events`, in order. The wait may be
    /// dropped and taken up again; the verdicts are given once.
    ///
    /// # Errors
    /// When the daemon stopped first: nothing is known to be durable, and the producer must send again.
    pub async fn verdicts(&mut self) -> Result<Vec<Verdict>, Refused> {
        for part in &mut self.parts {
            if part.kept.is_none() {
                part.kept = Some((&mut part.reply).await.map_err(|_| Refused::Stopping)?);
            }
        }
        Ok(self.gather())
    }

    /// The verdicts if they are there already; for threads that must not wait.
    pub fn try_verdicts(&mut self) -> Option<Result<Vec<Verdict>, Refused>> {
        for part in self.parts.iter_mut().filter(|part| part.kept.is_none()) {
            match part.reply.try_recv() {
                Ok(verdicts) => part.kept = Some(verdicts),
                Err(oneshot::error::TryRecvError::Empty) => return None,
                Err(oneshot::error::TryRecvError::Closed) => return Some(Err(Refused::Stopping)),
            }
        }
        Some(Ok(self.gather()))
    }

    fn gather(&mut self) -> Vec<Verdict> {
        if let [Promised { places: None, kept, .. }] = self.parts.as_mut_slice() {
            return kept.take().unwrap_or_default();
        }
        let mut slots: Vec<Option<Verdict>> = vec![None; self.events];
        for part in &mut self.parts {
            let places = part.places.iter().flat_map(|places| places.iter());
            for (place, verdict) in places.zip(part.kept.take().unwrap_or_default()) {
                slots[*place as usize] = Some(verdict);
            }
        }
        slots.into_iter().map(|slot| slot.expect("every event belongs to one shard")).collect()
    }
}
