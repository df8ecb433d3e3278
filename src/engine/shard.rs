//! A shard: owner of its alerts, windows, timers and incidents, and the only place that branches.
//!
//! Every change passes through [`Shard::apply`] or [`Shard::advance`]; [`Shard::take_changes`] then hands out what must
//! be made durable. Both depend on nothing but their arguments and the state before.

use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::EngineConfig;
use super::alert::{Alert, AlertState, Alerts, Dirty, Membership, Register, Texts};
use super::correlate::Sighting;
use super::deadlines::TargetCount;
use super::decision::{Decision, Outcome, Reason, Verdict};
use super::flapping::Turns;
use super::footprint::PARTS;
use super::group::{Groups, INCIDENT_ALERTS_KEPT, Targets};
use super::heartbeat::Heartbeats;
use super::hint::Culprits;
use super::incident::{IncidentCounts, IncidentDoc};
use super::memory::dedup::SeenIds;
use super::memory::interner::Interner;
use super::memory::slab::SLOTS_MAX;
use super::memory::timers::{Owner, Timers};
use super::problems::{Past, ProblemDoc};
use super::relate::changes::Changes as RecentChanges;
use super::relate::kin::Kin;
use super::relate::services::LiveServices;
use super::relate::storm::Storms;
use super::relate::union::Unions;
use super::suppress::silence::SilenceChange;
use super::suppress::{Mark, Suppression};
use super::unmatched::Unmatched;
use crate::event::{Batch, Event, Kind, Position, Status, Timestamp};
use crate::identity::{Hasher, IncidentId};
use crate::rules::RuleSet;

/// Alerts of one incident that are remembered for as long as it is not closed. Of a larger one, those that have ended
/// are forgotten after [`EngineConfig::retention`]; one that comes back later is then linked as if it were new.
const LISTED_ALERTS_MAX: usize = 1_000;

/// What a decision with its document weighs, in changed objects.
const DECISION: usize = 16;
/// What an alert weighs that a closed incident leaves behind with it.
const LEFT: usize = 4;

/// Events whose alerts are looked up together.
const AHEAD: usize = 16;

/// What a commit must make durable, since the last call.
#[derive(Debug, Default)]
pub struct Changes {
    /// Hot state, encoded; empty when nothing changed.
    pub journal: Vec<u8>,
    /// What must happen, in order.
    pub decisions: Vec<Decision>,
    /// Incidents of which something else is seen without a decision: the clock, muting or the configuration has moved
    /// what is due. Newer than those of the decisions.
    pub renewed: Vec<Arc<IncidentDoc>>,
    /// What became of targets.
    pub targets: Vec<TargetCount>,
    /// Numbers of live incidents that moved.
    pub counts: Vec<IncidentCounts>,
    /// Silences that changed, and those that are forgotten.
    pub silences: Vec<SilenceChange>,
    /// Problems that changed.
    pub problems: Vec<Arc<ProblemDoc>>,
    /// Kafka positions that moved.
    pub positions: Vec<Position>,
    /// How often the condition of a rule could not be evaluated.
    pub rule_errors: Vec<(Arc<str>, u64)>,
}

/// One slice of a snapshot.
#[derive(Debug)]
pub struct SnapshotStep {
    /// Encoded; for `Shard::restore`.
    pub bytes: Vec<u8>,
    /// Whether it is the last one.
    pub last: bool,
}

/// What a shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Alerts that fire.
    pub firing: u64,
    /// Alerts that are resolved and remembered.
    pub resolved: u64,
    /// Alerts whose lease lapsed.
    pub stale: u64,
    /// Groups.
    pub groups: u64,
    /// Silences: pending, active, expired.
    pub silences: [u64; 3],
    /// Muted alerts: by silences, by inhibition, by maintenance windows.
    pub suppressed: [u64; 3],
    /// Bytes of state.
    pub bytes: u64,
    /// The same by part, in the order of [`PARTS`].
    pub parts: [u64; PARTS.len()],
    /// Maintenance windows that are open.
    pub maintenance_open: u64,
    /// Producer ids forgotten early since the last call.
    pub dedup_overflow: u64,
    /// Changes forgotten early since the last call.
    pub changes_overflow: u64,
    /// Services visited by walks over the catalogue since the last call.
    pub visits: u64,
    /// Problems that are open.
    pub problems: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Shard {
    pub(super) config: EngineConfig,
    pub(super) rules: Arc<RuleSet>,
    /// Rises with every reload; see `Alert::epoch`.
    pub(super) epoch: u32,
    pub(super) names: Interner,
    pub(super) alerts: Alerts,
    pub(super) groups: Groups,
    pub(super) seen: SeenIds,
    pub(super) timers: Timers,
    pub(super) suppression: Suppression,
    pub(super) changes: RecentChanges,
    pub(super) live: LiveServices,
    pub(super) kin: Kin,
    pub(super) storms: Storms,
    pub(super) unions: Unions,
    pub(super) heartbeats: Heartbeats,
    /// The entries of the last two, and of the links by the catalogue, in the timers.
    pub(super) heartbeats_at: Timestamp,
    pub(super) relations_at: Timestamp,
    pub(super) suppression_at: Timestamp,
    pub(super) problems_at: Timestamp,
    pub(super) past: Past,
    pub(super) positions: HashMap<(Arc<str>, Arc<str>, i32), i64>,
    pub(super) incidents: HashMap<IncidentId, u32>,
    /// Ids of closed incidents, newest last, so that none is given twice.
    pub(super) closed_ids: super::lifecycle::ClosedIds,
    /// Whose command is being carried out.
    pub(super) by: Option<Arc<str>>,
    /// What became of targets since the last call of `take_changes`.
    pub(super) target_counts: Vec<TargetCount>,
    /// What goes along with the next decision, for whoever is told.
    pub(super) message: Option<Arc<str>>,
    pub(super) decisions: Vec<Decision>,
    pub(super) dirty_alerts: Vec<u32>,
    pub(super) dirty_groups: Vec<u32>,
    pub(super) touched_groups: Vec<u32>,
    /// Groups whose incident is seen otherwise without a decision; one may be in it twice.
    pub(super) renewed_groups: Vec<u32>,
    pub(super) removed_alerts: Vec<u32>,
    pub(super) removed_groups: Vec<u32>,
    pub(super) moved_positions: Vec<Position>,
    pub(super) snapshot: Option<super::journal::SnapshotCursor>,
    /// What an object took of the last entry of the journal.
    pub(super) journal_bytes: usize,
    pub(super) hasher: Hasher,
    pub(super) found_rules: Vec<u32>,
    /// How often the condition of a rule could not be evaluated, since the last call of `take_changes`.
    pub(super) rule_errors: HashMap<Arc<str>, u64>,
    pub(super) unmatched: Unmatched,
    pub(super) culprits: Culprits,
    /// Deadlines that an input runs before it; see [`Shard::defer`].
    pub(super) due_per_input: usize,
    /// Which of how many shards it is.
    pub(super) place: (u64, u64),
    /// How late events of the batch under way may come, by the position they came from; empty where all are alike.
    pub(super) late_by: SmallVec<[Option<std::time::Duration>; 4]>,
}

impl Shard {
    /// An empty shard.
    pub fn new(config: EngineConfig, rules: Arc<RuleSet>) -> Self {
        let mut shard = Self {
            config,
            changes: RecentChanges::of(&rules.topology),
            epoch: 1,
            names: Interner::default(),
            alerts: Alerts::default(),
            groups: Groups::default(),
            seen: SeenIds::default(),
            timers: Timers::default(),
            suppression: Suppression::default(),
            live: LiveServices::default(),
            kin: Kin::default(),
            storms: Storms::default(),
            unions: Unions::default(),
            heartbeats: Heartbeats::new(&rules),
            rules,
            due_per_input: usize::MAX,
            place: (0, 1),
            heartbeats_at: Timestamp::MAX,
            relations_at: Timestamp::MAX,
            suppression_at: Timestamp::MAX,
            problems_at: Timestamp::MAX,
            past: Past::default(),
            positions: HashMap::new(),
            incidents: HashMap::new(),
            closed_ids: super::lifecycle::ClosedIds::default(),
            by: None,
            message: None,
            target_counts: Vec::new(),
            decisions: Vec::new(),
            dirty_alerts: Vec::new(),
            dirty_groups: Vec::new(),
            touched_groups: Vec::new(),
            renewed_groups: Vec::new(),
            removed_alerts: Vec::new(),
            removed_groups: Vec::new(),
            moved_positions: Vec::new(),
            snapshot: None,
            journal_bytes: super::journal::COUNTERS_BYTES,
            hasher: Hasher::default(),
            found_rules: Vec::new(),
            rule_errors: HashMap::new(),
            unmatched: Unmatched::default(),
            culprits: Culprits::default(),
            late_by: SmallVec::new(),
        };
        if !shard.rules.maintenance.is_empty() {
            shard.suppression.maintenance.forget();
            shard.schedule_suppression();
        }
        shard
    }

    /// Applies the events of a batch that belong to this shard (`part` lists their places; all when `None`), and
    /// appends one verdict each. Deadlines that are due at `now` come before every event, so that what happens does not
    /// depend on how events were batched.
    pub fn apply(&mut self, now: Timestamp, batch: &Batch, part: Option<&[u32]>, verdicts: &mut Vec<Verdict>) {
        self.run_due(now);
        let applied: SmallVec<[i64; 4]> = batch.positions.iter().map(|position| self.applied(position)).collect();
        self.late_by.clear();
        if !self.config.source_lateness.is_empty() {
            let ways = batch.positions.iter().map(|position| self.config.source_lateness.of_kafka(&position.source));
            self.late_by.extend(ways);
        }
        let events = part.map_or(batch.events.len(), <[u32]>::len);
        let place = |number: usize| part.map_or(number, |part| part[number] as usize);
        let mut ahead = [None; AHEAD];
        for number in 0..events {
            if number % AHEAD == 0 {
                // Looked up together, so that the memory that they lie in is fetched at the same time.
                for (known, number) in ahead.iter_mut().zip(number..events) {
                    *known = self.alerts.find(batch.events[place(number)].fingerprint);
                }
            }
            self.run_due(now);
            let event = &batch.events[place(number)];
            let known = self.alerts.find_at(ahead[number % AHEAD], event.fingerprint);
            verdicts.push(self.decide_on(now, batch, (event, known), &applied));
        }
        for position in &batch.positions {
            self.move_position(position);
        }
    }

    /// From now on an event or order runs at most so many of the deadlines that are due before it: fewer than all of them
    /// (`usize::MAX`, as at the start) for an owner who runs the rest beside, so that nobody waits until a mass of them is
    /// done. An alert whose lease is over may then fire again before it was stale, and an incident go on that was about to
    /// be resolved; each deadline looks at what is so when its turn comes.
    pub fn defer(&mut self, due_per_input: usize) {
        self.due_per_input = due_per_input;
    }

    /// What is due before an input.
    pub(super) fn run_due(&mut self, now: Timestamp) {
        self.advance_some(now, self.due_per_input);
    }

    /// Runs every deadline that is due at `now`, in the order of the deadlines.
    pub fn advance(&mut self, now: Timestamp) {
        self.advance_some(now, usize::MAX);
    }

    /// The same, but no more than so many of them at once; says whether all are done. Called until then with the same
    /// `now` and with no input in between, it does what [`Shard::advance`] does.
    pub fn advance_some(&mut self, now: Timestamp, at_most: usize) -> bool {
        if self.heartbeats.is_unsettled() {
            self.settle_heartbeats(now);
        }
        if self.timers.is_crowded(self.alerts.slots.len() + self.groups.slots.len()) {
            let mut timers = std::mem::take(&mut self.timers);
            timers.sweep(|owner| self.timer_of(owner));
            self.timers = timers;
        }
        for _ in 0..at_most {
            let Some((due, owner)) = self.timers.pop(now) else { return true };
            if self.timer_of(owner) == Some(due) {
                self.deadline(now, due, owner);
            }
        }
        false
    }

    fn deadline(&mut self, now: Timestamp, due: Timestamp, owner: Owner) {
        // A deadline that has moved since surfaces again in its turn.
        match owner {
            Owner::Alert(slot) => {
                self.alerts.slots[slot].timer_at = Timestamp::MAX;
                match self.alert_deadline(slot) {
                    Some(deadline) if deadline <= due => self.alert_due(now, slot),
                    _ => self.schedule_alert(slot),
                }
            }
            Owner::Group(slot) => {
                self.groups.slots[slot].timer_at = Timestamp::MAX;
                match self.group_deadline(slot) {
                    Some(deadline) if deadline <= due => self.group_due(now, due, slot),
                    _ => self.schedule_group(slot),
                }
            }
            Owner::Heartbeats => {
                self.heartbeats_at = Timestamp::MAX;
                self.heartbeat_due(now);
                self.schedule_heartbeats();
            }
            Owner::Relations => {
                self.relations_at = Timestamp::MAX;
                self.relink(now);
            }
            Owner::Problems => {
                self.problems_at = Timestamp::MAX;
                self.problems_due(now);
                self.schedule_problems();
            }
            Owner::Suppression => {
                self.suppression_at = Timestamp::MAX;
                if self.suppression.deadline().is_some_and(|deadline| deadline <= due) {
                    self.suppression_due(now);
                }
                self.schedule_suppression();
            }
        }
    }

    /// The entry of an alert or a group in the timers.
    fn timer_of(&self, owner: Owner) -> Option<Timestamp> {
        match owner {
            Owner::Alert(slot) => self.alerts.slots.get(slot).map(|alert| alert.timer_at),
            Owner::Group(slot) => self.groups.slots.get(slot).map(|group| group.timer_at),
            Owner::Heartbeats => Some(self.heartbeats_at),
            Owner::Relations => Some(self.relations_at),
            Owner::Suppression => Some(self.suppression_at),
            Owner::Problems => Some(self.problems_at),
        }
    }

    pub(super) fn schedule_heartbeats(&mut self) {
        if let Some(due) = self.heartbeats.deadline() {
            self.timers.schedule(Owner::Heartbeats, &mut self.heartbeats_at, due);
        }
    }

    pub(super) fn schedule_suppression(&mut self) {
        if let Some(due) = self.suppression.deadline() {
            self.timers.schedule(Owner::Suppression, &mut self.suppression_at, due);
        }
    }

    /// When [`Shard::advance`] may have something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// How much [`Shard::take_changes`] would hand out now, by the time that it took to apply and takes to write: a new or
    /// changed object is 1, about a microsecond.
    pub fn changed(&self) -> usize {
        let objects = self.dirty_alerts.len() + self.dirty_groups.len();
        let gone = self.removed_alerts.len() + self.removed_groups.len();
        let left: usize = self.decisions.iter().map(|decision| decision.alerts.len()).sum();
        objects + gone + DECISION * self.decisions.len() + LEFT * left
    }

    /// What the shard holds.
    pub fn stats(&mut self) -> Stats {
        let [resolved, firing, stale] = self.alerts.by_state;
        let parts = self.footprint();
        Stats {
            firing,
            resolved,
            stale,
            groups: self.groups.slots.len() as u64,
            bytes: parts.iter().sum(),
            parts,
            dedup_overflow: self.seen.take_overflow(),
            changes_overflow: self.changes.take_overflow(),
            visits: std::mem::take(&mut self.live.visits),
            problems: self.past.open_problems(),
            silences: self.suppression.silences_by_state(),
            suppressed: self.suppression.alerts_by_reason(),
            maintenance_open: self.suppression.maintenance.open() as u64,
        }
    }

    /// The next offset of a partition that this shard has not applied.
    fn applied(&self, position: &Position) -> i64 {
        let key = (position.source.clone(), position.topic.clone(), position.partition);
        self.positions.get(&key).copied().unwrap_or(i64::MIN)
    }

    /// Takes a position from the store, before the first batch.
    pub fn set_position(&mut self, position: &Position) {
        let key = (position.source.clone(), position.topic.clone(), position.partition);
        self.positions.insert(key, position.next_offset);
    }

    fn move_position(&mut self, position: &Position) {
        if self.applied(position) < position.next_offset {
            self.set_position(position);
            self.moved_positions.push(position.clone());
        }
    }

    /// Says which of how many shards this is, before the first batch.
    pub fn take_place(&mut self, index: u16, shards: u16) {
        self.place = (u64::from(index), u64::from(shards));
    }

    /// An event that the engine itself has made.
    pub(super) fn event(&mut self, now: Timestamp, batch: &Batch, event: &Event) -> Verdict {
        let known = self.alerts.find(event.fingerprint);
        self.decide_on(now, batch, (event, known), &[])
    }

    /// An event, and the alert that it is of where that is known.
    fn decide_on(
        &mut self,
        now: Timestamp,
        batch: &Batch,
        (event, known): (&Event, Option<u32>),
        applied: &[i64],
    ) -> Verdict {
        if applied.get(event.position as usize).is_some_and(|next| event.offset < *next) {
            return Verdict::new(Outcome::Duplicate, Reason::AlreadyApplied);
        }
        let full = self.alerts.slots.len() >= self.config.max_alerts.min(SLOTS_MAX as usize);
        if known.is_none() && event.kind == Kind::Alert && full {
            let hint = Some(self.crowded_alerts());
            return Verdict { hint, ..Verdict::new(Outcome::Rejected, Reason::LimitReached) };
        }
        let (horizon, max_ids) = (self.config.dedup_horizon, self.config.dedup_max_ids);
        if event.key.0 != 0 && !self.seen.insert(event.key, now, horizon, max_ids) {
            let incident = known.and_then(|slot| self.incident_of(slot));
            return Verdict { incident, ..Verdict::new(Outcome::Duplicate, Reason::SameId) };
        }
        match event.kind {
            Kind::Alert => self.note_sign_of_life(now, batch, event),
            Kind::Change => return self.change(now, batch, event),
            Kind::Heartbeat => return self.heartbeat(now, batch, event),
        }
        match (known, event.status) {
            (None, Status::Firing) => {
                let slot = self.remember(now, batch, event);
                self.consider(
                    &Sighting { now, event, slot, changed: false, lapsed: false, begins: true, again: false },
                    true,
                )
            }
            (None, Status::Resolved) => {
                self.remember(now, batch, event);
                Verdict::new(Outcome::Recorded, Reason::NoOpenIncident)
            }
            (Some(slot), Status::Firing) => self.fires_again(now, batch, event, slot),
            (Some(slot), Status::Resolved) => self.resolves(now, event, slot),
        }
    }

    /// Materialises a new alert; a resolved one stays as a tombstone.
    fn remember(&mut self, now: Timestamp, batch: &Batch, event: &Event) -> u32 {
        let register = Register::of(event);
        let firing = event.status == Status::Firing;
        let until = if firing { self.lease_end(event) } else { now };
        let alert = Alert {
            fingerprint: event.fingerprint,
            register,
            content: event.content,
            first_seen: register.at,
            last_seen: register.at,
            until,
            timer_at: Timestamp::MAX,
            count: 1,
            texts: Texts::intern(&mut self.names, batch, event),
            memberships: SmallVec::new(),
            turns: Turns::default(),
            epoch: 0,
            unwanted: false,
            state: if firing { AlertState::Firing } else { AlertState::Resolved },
            severity: event.severity,
            mark: Mark::default(),
            dirty: Dirty::Clean,
            counted: 0,
        };
        let slot = self.alerts.insert(alert);
        self.mark_alert(slot, Dirty::Whole);
        self.schedule_alert(slot);
        slot
    }

    fn lease_end(&self, event: &Event) -> Timestamp {
        let at = event.occurred_at.unwrap_or_default();
        event.ends_at.unwrap_or_else(|| at.plus(self.config.resolve_timeout))
    }

    fn fires_again(&mut self, now: Timestamp, batch: &Batch, event: &Event, slot: u32) -> Verdict {
        let (register, lease_end) = (Register::of(event), self.lease_end(event));
        let alert = &mut self.alerts.slots[slot];
        let newer = register > alert.register;
        // Prometheus repeats the start of an alert with new texts: of events without an id at one instant, the last to
        // arrive is believed.
        let same_instant =
            event.key.0 == 0 && (register.at, register.status) == (alert.register.at, alert.register.status);
        let changed = (register >= alert.register || same_instant) && alert.content != event.content;
        alert.count += 1;
        alert.first_seen = alert.first_seen.min(register.at);
        alert.last_seen = alert.last_seen.max(register.at);
        let returns = match alert.state {
            AlertState::Resolved if !newer => {
                self.mark_alert(slot, Dirty::Counters);
                return self.verdict_on(slot, Outcome::Stale, Reason::OlderThanKnown);
            }
            AlertState::Resolved | AlertState::Stale => true,
            AlertState::Firing => false,
        };
        // The time of a clamped event is that of its receipt and says nothing about the order of status changes.
        if newer && (returns || !event.clamped) {
            alert.register = register;
        }
        let lapsed = returns && lease_end <= now;
        if returns {
            self.returns(now, slot, lease_end);
        } else {
            alert.until = alert.until.max(lease_end);
        }
        if changed {
            self.restate(batch, event, slot);
        }
        self.mark_alert(slot, Dirty::Counters);
        let sighting = Sighting { now, event, slot, changed, lapsed, begins: returns, again: false };
        let verdict = self.consider(&sighting, returns || changed);
        if lapsed {
            self.clear_members(now, slot);
        }
        match verdict.outcome {
            Outcome::Duplicate if changed => {
                Verdict { outcome: Outcome::Updated, reason: Reason::AlertChanged, ..verdict }
            }
            // A repeat gets the same answer whether or not its rules had to be looked for anew.
            Outcome::Recorded if !returns && !changed => Verdict::new(Outcome::Duplicate, Reason::Repeat),
            _ => verdict,
        }
    }

    /// An alert that had ended or gone stale fires again. Where its lease is over on arrival it is stale: what it counts
    /// towards a rule's condition counts, and an open incident that has let go of it is left alone.
    fn returns(&mut self, now: Timestamp, slot: u32, lease_end: Timestamp) {
        let (lapsed, alert) = (lease_end <= now, &mut self.alerts.slots[slot]);
        let was = alert.state;
        alert.until = if lapsed { now } else { lease_end };
        let state = if lapsed { AlertState::Stale } else { AlertState::Firing };
        if was == state {
            return;
        }
        self.alerts.set_state(slot, state);
        if was == AlertState::Resolved {
            self.turned(now, slot);
        }
        self.mark_alert(slot, Dirty::Whole);
        self.schedule_alert(slot);
    }

    /// Lets rules see a firing alert, unless it is muted; `anew` where its rules must be looked for.
    fn consider(&mut self, sighting: &Sighting<'_>, anew: bool) -> Verdict {
        let anew = anew || self.alerts.slots[sighting.slot].epoch != self.epoch;
        // What ends something is no more muted than a resolve.
        let ended = if anew { self.end_groups(sighting) } else { None };
        let verdict = match self.withheld(sighting) {
            Some(verdict) => verdict,
            None if anew => self.correlate(sighting, ended.is_some()),
            None => self.repeat(sighting),
        };
        let Some(ended) = ended else { return verdict };
        // The next event of it ends something again.
        self.alerts.slots[sighting.slot].epoch = 0;
        super::correlate::better(verdict, ended)
    }

    /// Takes over what a newer event says.
    fn restate(&mut self, batch: &Batch, event: &Event, slot: u32) {
        let texts = Texts::intern(&mut self.names, batch, event);
        let alert = &mut self.alerts.slots[slot];
        alert.content = event.content;
        alert.severity = event.severity;
        std::mem::replace(&mut alert.texts, texts).release(&mut self.names);
        self.mark_alert(slot, Dirty::Whole);
    }

    fn resolves(&mut self, now: Timestamp, event: &Event, slot: u32) -> Verdict {
        let register = Register::of(event);
        let alert = &mut self.alerts.slots[slot];
        let newer = register > alert.register;
        alert.count += 1;
        alert.last_seen = alert.last_seen.max(register.at);
        if newer {
            alert.register = register;
        }
        let state = alert.state;
        self.mark_alert(slot, Dirty::Counters);
        match state {
            AlertState::Resolved => self.verdict_on(slot, Outcome::Duplicate, Reason::Repeat),
            _ if !newer => self.verdict_on(slot, Outcome::Stale, Reason::OlderThanKnown),
            _ => {
                let verdict = self.verdict_on(slot, Outcome::Resolved, Reason::AlertResolved);
                self.clear(now, slot, AlertState::Resolved);
                verdict
            }
        }
    }

    /// An alert flaps no longer, a lease has lapsed, a rule no longer holds on to a stale alert, or a remembered alert may be forgotten.
    fn alert_due(&mut self, now: Timestamp, slot: u32) {
        if let Some(stable) = self.stable_at(slot)
            && self.lease_or_memory_end(slot).is_none_or(|end| stable <= end)
        {
            return self.calm(now, slot);
        }
        let alert = &self.alerts.slots[slot];
        match alert.state {
            AlertState::Firing if alert.mark.held_until < alert.until => self.hold_over(now, slot),
            AlertState::Firing => self.clear(now, slot, AlertState::Stale),
            state if alert.memberships.iter().any(|membership| self.is_needed(membership)) => {
                self.clear(now, slot, state)
            }
            _ => self.forget(slot),
        }
    }

    /// Whether an alert that has cleared must still be remembered: it holds its incident open, or is shown with it.
    fn is_needed(&self, membership: &Membership) -> bool {
        let members = self.groups.slots[membership.group].members.len();
        membership.firing || (membership.linked && members <= INCIDENT_ALERTS_KEPT)
    }

    /// The alert has ended or gone stale: its groups may be all clear.
    fn clear(&mut self, now: Timestamp, slot: u32, state: AlertState) {
        // A lease that lapses is nothing that the producer has said, so it is no change.
        if state == AlertState::Resolved && self.alerts.slots[slot].state != AlertState::Resolved {
            self.turned(now, slot);
        }
        self.alerts.set_state(slot, state);
        let alert = &mut self.alerts.slots[slot];
        alert.until = now;
        self.mark_alert(slot, Dirty::Whole);
        self.schedule_alert(slot);
        self.clear_members(now, slot);
    }

    /// Lets the alert's groups know that it no longer fires.
    fn clear_members(&mut self, now: Timestamp, slot: u32) {
        let state = self.alerts.slots[slot].state;
        // Collected first: where this resolves an incident and closes it, the membership ends.
        let groups: Targets = self.alerts.slots[slot].memberships.iter().map(|membership| membership.group).collect();
        for group in groups {
            self.let_go_no_more(slot, group);
            let held = state == AlertState::Stale && self.holds_on_stale(group) || self.is_awaited(slot, group);
            if !held {
                self.member_cleared(now, slot, group);
            }
        }
        self.suppression_cleared(now, slot);
    }

    fn forget(&mut self, slot: u32) {
        self.suppression_forgotten(slot);
        for place in 0..self.alerts.slots[slot].memberships.len() {
            self.let_go_no_more(slot, self.alerts.slots[slot].memberships[place].group);
        }
        while let Some(membership) = self.alerts.slots[slot].memberships.pop() {
            self.groups.slots[membership.group].flapping -= u32::from(membership.flapping);
            self.drop_member(membership.group, membership.place);
        }
        self.unions.release(&mut self.names, slot);
        if let Some(alert) = self.alerts.remove(slot) {
            alert.texts.release(&mut self.names);
            self.removed_alerts.push(slot);
        }
    }

    /// What comes first: the alert flaps no longer, its lease ends, or it is forgotten.
    fn alert_deadline(&self, slot: u32) -> Option<Timestamp> {
        self.stable_at(slot).into_iter().chain(self.lease_or_memory_end(slot)).min()
    }

    /// The lease's end, or the time to forget the alert. None while an incident holds on to it: one that stays open for
    /// stale alerts or while the alert flaps, or one whose list it is in, up to a bound.
    fn lease_or_memory_end(&self, slot: u32) -> Option<Timestamp> {
        let alert = &self.alerts.slots[slot];
        if alert.state == AlertState::Firing {
            return Some(alert.until.min(alert.mark.held_until));
        }
        let mut held = false;
        for membership in &alert.memberships {
            let holds = alert.state == AlertState::Stale && self.holds_on_stale(membership.group)
                || self.is_awaited(slot, membership.group);
            if membership.firing && !holds {
                return Some(alert.until);
            }
            let members = self.groups.slots[membership.group].members.len();
            held |= membership.firing || membership.flapping || membership.linked && members <= LISTED_ALERTS_MAX;
        }
        (!held).then(|| alert.until.plus(self.config.retention().max(self.turns_kept_for(slot))))
    }

    /// Schedules the alert's next deadline.
    pub(super) fn schedule_alert(&mut self, slot: u32) {
        if let Some(due) = self.alert_deadline(slot) {
            self.timers.schedule(Owner::Alert(slot), &mut self.alerts.slots[slot].timer_at, due);
        }
    }

    pub(super) fn mark_alert(&mut self, slot: u32, dirty: Dirty) {
        let alert = &mut self.alerts.slots[slot];
        if alert.dirty == Dirty::Clean {
            self.dirty_alerts.push(slot);
        }
        alert.dirty = alert.dirty.max(dirty);
    }

    pub(super) fn mark_group(&mut self, slot: u32, dirty: Dirty) {
        let [dirty, touched] = self.groups.slots[slot].mark(dirty);
        self.dirty_groups.extend(dirty.then_some(slot));
        self.touched_groups.extend(touched.then_some(slot));
    }

    /// A verdict that names the alert's incident, if it has one.
    fn verdict_on(&self, slot: u32, outcome: Outcome, reason: Reason) -> Verdict {
        Verdict { incident: self.incident_of(slot), ..Verdict::new(outcome, reason) }
    }

    /// The incident that the alert is linked to, the first where there are several.
    pub(super) fn incident_of(&self, slot: u32) -> Option<IncidentId> {
        let linked = self.alerts.slots[slot].memberships.iter().filter(|membership| membership.linked);
        linked
            .filter_map(|membership| self.groups.slots[membership.group].incident.as_deref())
            .map(|incident| incident.id)
            .next()
    }
}
