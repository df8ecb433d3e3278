//! The task that owns a shard: takes what waits, applies it, hands the changes to the committer.
//!
//! While one commit of the shard is being synced, the next batches are applied and their changes coalesce; they are
//! handed over as soon as the committer is done. A lone event is never made to wait for company. What has been applied
//! and is not committed is bounded by the events in flight.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::committer::{Answer, Order, Part as CommitPart};
use crate::clock::Clock;
use crate::delivery::{Action, Delivery, Document, delivery_id};
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::decision::{Decision, Verdict};
use crate::engine::{EngineConfig, ReloadReport, Shard};
use crate::event::{Batch, Timestamp};
use crate::rules::RuleSet;
use crate::store::{Commit, IncidentAlerts, JournalEntry, ShardPosition, SilenceRow, SnapshotSlice, TimelineEntry};

/// Work between two looks at the committer and at whoever wants to see something: about 2 ms. The measure is that of
/// [`Shard::changed`], about a microsecond.
const TURN: usize = 2_048;
/// The same of deadlines, which somebody waits behind: so where both have more than enough to do, most of it is events.
const DUE_TURN: usize = 512;
/// Events of a known alert that says nothing new, and deadlines that have moved, in one of these.
const LIGHT: usize = 4;
/// Events of one batch that are applied at a stretch.
const STRETCH: usize = 512;
/// Deadlines that are run at a stretch: one may close an incident of a thousand alerts.
const DEADLINES: usize = 4;
/// Decisions that are written out at a stretch: about 1 ms.
const DECISIONS: usize = 64;
/// What a commit may hold before the shard waits for the one under way; so nobody waits long for one that is being taken
/// or made durable: some 5 and 20 ms.
const FORMING_MAX: usize = 8_192;
/// The same for deadlines, which nobody waits for, so that what somebody does wait for finds room and is durable soon.
const FORMING_DUE_MAX: usize = 2_048;
/// Deadlines that run before an event or order while the shard is behind with them: they have turns of their own.
const DUE_PER_INPUT: usize = 0;
/// A snapshot is begun when the journal since the last one is larger than this and than the state itself.
const JOURNAL_BYTES_MIN: u64 = 32 << 20;

/// A shard's part of a batch.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) batch: Arc<Batch>,
    /// Places of the part's events in the batch; all when `None`.
    pub(super) places: Option<Arc<[u32]>>,
    pub(super) reply: oneshot::Sender<Vec<Verdict>>,
    /// Room in flight, given back with the answer.
    pub(super) permit: Arc<OwnedSemaphorePermit>,
}

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Message {
    Events(Part),
    Reload {
        rules: Arc<RuleSet>,
        config: EngineConfig,
        reply: oneshot::Sender<ReloadReport>,
    },
    /// An operator's order; answered once it is durable.
    Command {
        by: Arc<str>,
        command: Command,
        reply: oneshot::Sender<Result<Done, Refusal>>,
    },
}

/// What somebody wants to see of a shard, between two batches. Runs on the shard's own task, so it must be short.
pub(super) struct Look(pub(super) BoxedLook);

type BoxedLook = Box<dyn FnOnce(&Shard, Timestamp) + Send>;

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

/// See the module.
pub(super) struct ShardTask {
    pub(super) index: u16,
    pub(super) shard: Shard,
    pub(super) inbox: mpsc::Receiver<Message>,
    /// Who wants to see something does not wait behind the events that do.
    pub(super) looks: mpsc::Receiver<Look>,
    pub(super) committer: mpsc::Sender<CommitPart>,
    /// One permit: held by the commit under way.
    pub(super) turn: Arc<Semaphore>,
    pub(super) clock: Clock,
    pub(super) stats: Arc<super::StatsBoard>,
    pub(super) generation: u64,
    pub(super) journal_bytes: u64,
    pub(super) answers: Vec<Answer>,
    pub(super) orders: Vec<Order>,
    /// More deadlines are due than one turn takes. They and what waits in the inbox take turns then.
    pub(super) behind: bool,
    /// It is the turn of the deadlines.
    pub(super) owes: bool,
    /// Others have their turn before this task goes on: somebody was shown what it waits for, and who is woken by a task may
    /// have to wait until that lets go of its thread; or many deadlines are due. Not after every turn, which would let a
    /// thread's whole queue go before the one task that all of it waits for.
    pub(super) tired: bool,
    pub(super) snapshotting: bool,
    pub(super) slices: u32,
    /// Ends the task once what is in the inbox is durable.
    pub(super) stop: CancellationToken,
}

impl ShardTask {
    /// Runs until it is stopped or every sender of its inbox is gone; then makes the rest durable.
    pub(super) async fn run(mut self) {
        let (turn, stop) = (self.turn.clone(), self.stop.clone());
        let mut due_soon = true;
        let mut stopping = false;
        loop {
            // What can be handed over is, first.
            if turn.available_permits() == 0 {
                self.rest().await;
            }
            let room = self.shard.changed() < FORMING_MAX;
            let room_for_due = self.shard.changed() < FORMING_DUE_MAX;
            let due_first = self.behind && self.owes && room_for_due;
            let waits = due_soon || !room_for_due || !self.answers.is_empty() || !self.orders.is_empty();
            let deadline = self.wait_for_deadline();
            tokio::select! {
                biased;
                permit = turn.clone().acquire_owned(), if waits => {
                    let Ok(permit) = permit else { return };
                    due_soon = false;
                    if !self.hand_over(permit).await { return }
                    self.rest().await;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.inbox.close();
                }
                Some(look) = self.looks.recv() => {
                    self.show(look);
                    // However many want to look, what waits has its turn after each.
                    if !due_first && room && let Ok(message) = self.inbox.try_recv() {
                        self.take(message).await;
                        due_soon = true;
                    } else if room_for_due && self.behind {
                        self.keep_up(self.clock.now());
                        due_soon = true;
                    }
                }
                message = self.inbox.recv(), if room && !due_first => {
                    let Some(message) = message else { break };
                    self.take(message).await;
                    due_soon = true;
                }
                () = deadline, if room_for_due && !self.behind => {
                    self.keep_up(self.clock.now());
                    due_soon = true;
                }
                () = std::future::ready(()), if room_for_due && self.behind => {
                    self.keep_up(self.clock.now());
                    due_soon = true;
                }
            }
        }
        if let Ok(permit) = turn.acquire_owned().await {
            self.hand_over(permit).await;
        }
    }

    fn wait_for_deadline(&self) -> impl Future<Output = ()> + use<> {
        let clock = self.clock.clone();
        let deadline = self.shard.next_deadline();
        async move {
            match deadline {
                Some(deadline) => clock.wait_until(deadline).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Takes a message and what else waits, up to a bound.
    async fn take(&mut self, first: Message) {
        let (mut events, before) = (0, self.shard.changed());
        // What made it so before ends no turn that begins now.
        let tired = std::mem::take(&mut self.tired);
        let mut next = Some(first);
        while let Some(message) = next {
            let now = self.clock.now();
            // A reload says what is due; whatever else comes finds all done that was, unless that is too much.
            if !self.behind && !matches!(message, Message::Reload { .. }) {
                self.keep_up(now);
                self.tired = false;
            }
            events += self.carry_out(now, message).await;
            self.show_all();
            let over = self.tired || self.spent(before, events) >= TURN;
            next = if over { None } else { self.inbox.try_recv().ok() };
        }
        self.tired |= tired || self.behind;
        self.owes = self.behind;
    }

    /// Runs what is due, up to a bound. Where that was not all, nobody waits for the rest: what comes is taken in turns.
    fn keep_up(&mut self, now: Timestamp) {
        let (mut run, before) = (0, self.shard.changed());
        let mut done = false;
        while !done && self.spent(before, run) < DUE_TURN {
            done = self.shard.advance_some(now, DEADLINES);
            run += DEADLINES;
        }
        self.tired |= !done;
        self.behind = !done;
        self.owes = false;
        self.shard.defer(if done { usize::MAX } else { DUE_PER_INPUT });
    }

    /// The work since the shard had changed so much, with so many events or deadlines.
    fn spent(&self, before: usize, light: usize) -> usize {
        self.shard.changed().saturating_sub(before) + light / LIGHT
    }

    fn show(&mut self, Look(look): Look) {
        look(&self.shard, self.clock.now());
        self.tired = true;
    }

    fn show_all(&mut self) {
        while let Ok(look) = self.looks.try_recv() {
            self.show(look);
        }
    }

    /// Lets others have their turn, if it is time.
    async fn rest(&mut self) {
        if std::mem::take(&mut self.tired) {
            tokio::task::yield_now().await;
        }
    }

    /// Says how many events it was.
    async fn carry_out(&mut self, now: Timestamp, message: Message) -> usize {
        match message {
            Message::Events(part) => self.apply(now, part).await,
            Message::Reload { rules, config, reply } => {
                // Nobody waits for a reload's report any more when the daemon stops.
                let _ = reply.send(self.shard.reload(rules, config));
                0
            }
            Message::Command { by, command, reply } => {
                let outcome = self.shard.command(now, &by, &command);
                self.orders.push(Order { reply, outcome });
                0
            }
        }
    }

    async fn apply(&mut self, now: Timestamp, part: Part) -> usize {
        let Part { batch, places, reply, permit } = part;
        let events = places.as_ref().map_or(batch.events.len(), |places| places.len());
        let mut verdicts = Vec::with_capacity(events);
        // A position moves with all of its batch, whose length Kafka's sources bound.
        if events <= STRETCH || !batch.positions.is_empty() {
            self.shard.apply(now, &batch, places.as_deref(), &mut verdicts);
        } else {
            let places = places.unwrap_or_else(|| (0..events as u32).collect());
            for stretch in places.chunks(STRETCH) {
                self.shard.apply(now, &batch, Some(stretch), &mut verdicts);
                self.show_all();
                self.rest().await;
            }
        }
        self.answers.push(Answer { reply, verdicts, received_at: batch.received_at, permit });
        events.max(1)
    }

    /// Gives the committer all that has changed. Says whether there is still a committer.
    async fn hand_over(&mut self, turn: OwnedSemaphorePermit) -> bool {
        let changes = self.shard.take_changes();
        let mut commit = Commit::default();
        self.journal_bytes += changes.journal.len() as u64;
        if !changes.journal.is_empty() {
            commit.journal.push(JournalEntry { shard: self.index, bytes: changes.journal });
        }
        let shard = self.index;
        commit.positions = changes.positions.into_iter().map(|position| ShardPosition { shard, position }).collect();
        commit.problems = changes.problems;
        commit.silences = changes.silences.into_iter().map(|change| SilenceRow { shard, change }).collect();
        for (number, decision) in changes.decisions.into_iter().enumerate() {
            record(&mut commit, decision);
            if number % DECISIONS == DECISIONS - 1 {
                self.show_all();
                self.rest().await;
            }
        }
        commit.incidents.extend(changes.renewed);
        self.snapshot(&mut commit);
        self.stats.set(self.index, self.shard.stats());
        self.stats.rule_errors(&changes.rule_errors);
        let answers = std::mem::take(&mut self.answers);
        let orders = std::mem::take(&mut self.orders);
        if commit.is_empty() && answers.is_empty() && orders.is_empty() {
            return true;
        }
        let part = CommitPart {
            commit,
            answers,
            orders,
            counts: changes.counts,
            targets: changes.targets,
            settled: None,
            turn: Some(turn),
        };
        self.committer.send(part).await.is_ok()
    }

    /// Adds a slice of a snapshot while one is under way, and begins one when the journal has grown long.
    fn snapshot(&mut self, commit: &mut Commit) {
        if !self.snapshotting {
            let state = self.stats.get(self.index).bytes;
            if self.journal_bytes < JOURNAL_BYTES_MIN.max(state) {
                return;
            }
            self.generation += 1;
            self.journal_bytes = 0;
            self.snapshotting = true;
            self.slices = 0;
        }
        let step = self.shard.snapshot_step();
        commit.slices.push(SnapshotSlice {
            shard: self.index,
            generation: self.generation,
            part: self.slices,
            last: step.last,
            bytes: step.bytes,
        });
        self.slices += 1;
        self.snapshotting = !step.last;
    }
}

/// Whom an escalation has reached stands in the timeline: who was called, and when.
fn with_told(mut detail: String, action: Action, told: &[Arc<str>]) -> String {
    if action == Action::Escalated && !told.is_empty() {
        detail.push_str("; told: ");
        detail.push_str(&told.join(", "));
    }
    detail
}

/// A decision becomes an incident's row, a timeline entry, and a delivery for each sink that is told.
fn record(commit: &mut Commit, decision: Decision) {
    let Decision { action, told_as, reason, sequence, at, detail, message, incident, alerts, by, notify, .. } =
        decision;
    commit.timeline.push(TimelineEntry {
        incident: incident.id,
        sequence,
        at,
        by: by.map_or_else(|| format!("rule:{}", incident.rule), |by| by.to_string()),
        what: action,
        reason: reason.code().into(),
        detail: with_told(detail, action, &notify),
    });
    let document = Document {
        incident_id: incident.id,
        sequence,
        action: told_as,
        reason: reason.code(),
        occurred_at: at,
        message: message.as_deref(),
        incident: &*incident,
    };
    // All sinks are told the same but for the delivery's id.
    let rendered = (!notify.is_empty()).then(|| document.render());
    for (sink, rendered) in notify.iter().zip(rendered.iter().cycle()) {
        commit.deliveries.push(Delivery {
            sink: sink.clone(),
            incident: incident.id,
            sequence,
            action: told_as,
            body: rendered.body(&delivery_id(incident.id, sequence, sink)),
            created_at: at,
        });
    }
    if !alerts.is_empty() {
        commit.alerts.push(IncidentAlerts { incident: incident.id, alerts });
    }
    commit.incidents.push(incident);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_says_whom_an_escalation_has_told() {
        let told: [Arc<str>; 2] = ["duty".into(), "boss".into()];
        let entry = |action, told: &[Arc<str>]| with_told("step 1".to_owned(), action, told);
        assert_eq!(entry(Action::Escalated, &told), "step 1; told: duty, boss");
        assert_eq!((entry(Action::Escalated, &[]), entry(Action::Updated, &told)), ("step 1".into(), "step 1".into()));
    }
}
