//! Whether a move may be made: the row of the table for whoever makes it, and whether its guard holds.
//!
//! The one place that evaluates a [`Guard`], for operators' orders and for what the engine does when its time has come.

use super::Order;
use crate::engine::command::Refusal;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::group::Incident;
use crate::engine::moves::{Actor, Guard, IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// Alerts that a refusal names; it says how many more there are.
const NAMED_MAX: usize = 10;

/// What goes along with a move, for its guard.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Given<'a> {
    reason: &'a str,
    force: bool,
}

impl Order {
    /// The move of the table that it asks for; what changes no status is an update.
    pub const fn step(&self) -> Move {
        match self {
            Order::Acknowledge => Move::Acknowledge,
            Order::Start => Move::Start,
            Order::Hold { .. } => Move::Hold,
            Order::Resume => Move::Resume,
            Order::Resolve { .. } => Move::Resolve,
            Order::Reopen { .. } => Move::Reopen,
            Order::Close { .. } => Move::Close,
            Order::Escalate { .. } | Order::DeclareMajor { .. } => Move::Escalate,
            Order::Assign { .. } | Order::Accept | Order::Note { .. } | Order::Link { .. } => Move::Update,
            Order::Unlink { .. } | Order::StandDown { .. } | Order::Reprioritise { .. } => Move::Update,
        }
    }

    fn given(&self) -> Given<'_> {
        match self {
            Order::Hold { reason }
            | Order::Reopen { reason }
            | Order::Escalate { reason }
            | Order::DeclareMajor { reason } => Given { reason, force: false },
            Order::Resolve { force, .. } => Given { reason: "", force: *force },
            _ => Given::default(),
        }
    }
}

impl Shard {
    /// Where an incident stands.
    pub(in crate::engine) fn status_of(&self, group: u32) -> IncidentStatus {
        let incident = self.groups.slots.get(group).and_then(|state| state.incident.as_deref());
        incident.map_or(IncidentStatus::Closed, |incident| incident.status)
    }

    /// Whether an operator may make this move from where the incident stands, whatever its guard says.
    pub(in crate::engine) fn check_move(&self, group: u32, step: Move) -> Result<(), Refusal> {
        let status = self.status_of(group);
        let incident = self.groups.slots.get(group).and_then(|state| state.incident.as_deref());
        let whole = incident.and_then(|incident| incident.relations.merged_into);
        match (status.row(step, Actor::Person), whole) {
            (Some(_), _) => Ok(()),
            (None, Some(whole)) => Err(Refusal::Illegal(format!("it is merged into {whole}, which goes on for it"))),
            (None, None) => Err(Refusal::Illegal(illegal(status, step))),
        }
    }

    /// Whether an order may be carried out: there is a row for it, and the row's guard holds.
    pub(super) fn permit(&self, now: Timestamp, group: u32, order: &Order) -> Result<(), Refusal> {
        self.check_move(group, order.step())?;
        let row = self.status_of(group).row(order.step(), Actor::Person);
        let Some(guard) = row.map(|row| row.guard) else { return Ok(()) };
        let given = order.given();
        if self.holds(now, group, guard, given) { Ok(()) } else { Err(self.refusal(group, guard, given)) }
    }

    /// Whether what a row asks for holds.
    pub(in crate::engine) fn holds(&self, now: Timestamp, group: u32, guard: Guard, given: Given<'_>) -> bool {
        let Some(state) = self.groups.slots.get(group) else { return false };
        let incident = state.incident.as_deref();
        let since =
            |of: fn(&Incident) -> Option<Timestamp>| incident.and_then(|incident| Some((incident, of(incident)?)));
        match guard {
            // The windows decide on these: `condition_met` comes to no group for which they do not hold.
            Guard::Always | Guard::ConditionHolds | Guard::Recurrence => true,
            Guard::EverythingCleared => state.firing == 0,
            Guard::AllClear => since(|incident| incident.clear_since)
                .is_some_and(|(incident, since)| since.plus(incident.policy.resolve_after) <= now),
            Guard::ReopenWindowPassed => since(|incident| incident.resolved_at)
                .is_some_and(|(incident, at)| at.plus(incident.policy.reopen_within) <= now),
            Guard::NothingFiresOrForce => {
                given.force || state.firing == 0 && state.storm.as_deref().is_none_or(|storm| storm.doc().open == 0)
            }
            Guard::Reason => checked("reason", given.reason, TEXT_BYTES_MAX, true).is_ok(),
            Guard::IsPart => incident.is_some_and(|incident| incident.relations.merged_into.is_some()),
        }
    }

    /// What keeps a guard from holding, in words.
    fn refusal(&self, group: u32, guard: Guard, given: Given<'_>) -> Refusal {
        match guard {
            Guard::NothingFiresOrForce => Refusal::Illegal(self.what_fires(group)),
            Guard::Reason => match checked("reason", given.reason, TEXT_BYTES_MAX, true) {
                Err(refusal) => refusal,
                Ok(_) => Refusal::Invalid(guard.words().to_owned()),
            },
            _ => Refusal::Illegal(format!("it is legal only when {}", guard.words())),
        }
    }

    /// Names what holds an incident open.
    fn what_fires(&self, group: u32) -> String {
        let (mut named, kind) = match self.open_children(group) {
            children if children.is_empty() => {
                let slots = self.groups.slots[group].members.iter().copied();
                (slots.filter(|slot| self.fires_in(*slot, group)).map(|slot| self.labels(slot)).collect(), "alert")
            }
            children => {
                let ids = children.iter().filter_map(|child| self.groups.slots[*child].incident.as_deref());
                (ids.map(|child| child.id.to_string()).collect::<Vec<_>>(), "child")
            }
        };
        named.sort_unstable();
        let count = named.len();
        named.truncate(NAMED_MAX);
        let more = if count > NAMED_MAX { format!(", and {} more", count - NAMED_MAX) } else { String::new() };
        let what = match (kind, count) {
            ("alert", 1) => "1 alert still fires".to_owned(),
            ("alert", _) => format!("{count} alerts still fire"),
            (_, 1) => "1 child is still open".to_owned(),
            _ => format!("{count} children are still open"),
        };
        format!("{what}: {}{more}; resolve it with force to let go of them", named.join(", "))
    }

    pub(super) fn fires_in(&self, slot: u32, group: u32) -> bool {
        self.alerts.slots[slot].memberships.iter().any(|membership| membership.group == group && membership.firing)
    }

    /// An alert as people write it: `{host="a", service="b"}`.
    fn labels(&self, slot: u32) -> String {
        let labels = self.alerts.slots[slot].texts.labels().iter();
        let mut labels: Vec<_> =
            labels.map(|(name, value)| format!("{}={:?}", self.names.text(*name), self.names.text(*value))).collect();
        labels.sort_unstable();
        format!("{{{}}}", labels.join(", "))
    }
}

/// Names what would be legal instead.
pub(in crate::engine) fn illegal(status: IncidentStatus, step: Move) -> String {
    let commands = status.orders().map(|row| row.step).filter(|step| *step != Move::Update);
    let legal: Vec<&str> = commands.map(Move::as_str).collect();
    let legal = if legal.is_empty() { "nothing".to_owned() } else { legal.join(", ") };
    format!("an incident that is {} cannot be {}; legal are {legal}", status.as_str(), step.participle())
}
