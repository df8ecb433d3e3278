//! The life of an incident as one table: where it stands, what moves it, who may, and what must hold.
//!
//! The engine and operators go by the same table; `incidentd schema lifecycle` prints it. A move that has no row is
//! illegal, and the refusal names those that have one.

use schemars::JsonSchema;
use serde::Serialize;

use crate::delivery::Action;

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum IncidentStatus {
    /// The condition holds, and the opening is held back: by `wait`, or because all that fires is muted. Not listed.
    New,
    /// Something fires, nobody has taken it.
    Open,
    /// Somebody has taken it.
    Acknowledged,
    /// Somebody works on it.
    InProgress,
    /// Work waits for something outside, with a reason; the clocks of its targets stand still.
    OnHold,
    /// All clear, or a person said so; may come back within `reopen_within`.
    Resolved,
    /// Final.
    Closed,
}

/// What moves an incident, or happens to it without moving it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Move {
    /// It is told for the first time.
    Open,
    /// Everything cleared before it was told.
    Drop,
    /// Something about it changed.
    Update,
    /// Alerts, or another incident, were linked to it.
    Link,
    /// A level was told.
    Escalate,
    /// Somebody takes it.
    Acknowledge,
    /// Somebody begins to work on it.
    Start,
    /// Work waits.
    Hold,
    /// Work goes on.
    Resume,
    /// It is over.
    Resolve,
    /// It is not over after all.
    Reopen,
    /// It is final.
    Close,
    /// It goes on as another incident.
    Merge,
    /// It is taken out again of what it was merged into.
    Split,
}

/// Who makes a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The engine, by what the rule and the alerts say.
    Engine,
    /// An operator.
    Person,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing further.
    Always,
    /// The rule's condition holds, and nothing holds the opening back any more.
    ConditionHolds,
    /// Nothing of it fires any more while the opening is held back.
    EverythingCleared,
    /// Nothing of it has fired for `resolve_after`.
    AllClear,
    /// Nothing of it fires, no child of it is open, or the operator insists (`force`).
    NothingFiresOrForce,
    /// A reason is given.
    Reason,
    /// The rule's condition holds again within `reopen_within`.
    Recurrence,
    /// `reopen_within` has passed.
    ReopenWindowPassed,
    /// It is merged into another incident that is not closed.
    IsPart,
}

/// Where a move leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into this status.
    To(IncidentStatus),
    /// Nowhere else: it stays where it stands.
    Stays,
    /// It was never told, and goes.
    Gone,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where it stands: in any of these.
    pub from: &'static [IncidentStatus],
    /// What happens.
    pub step: Move,
    /// Where that leads.
    pub to: Target,
    /// Who makes the move.
    pub by: Actor,
    /// What must hold.
    pub guard: Guard,
}

const fn row(from: &'static [IncidentStatus], step: Move, to: Target, by: Actor, guard: Guard) -> Row {
    Row { from, step, to, by, guard }
}

/// Alerts link to it.
const LIVE: &[IncidentStatus] =
    &[IncidentStatus::Open, IncidentStatus::Acknowledged, IncidentStatus::InProgress, IncidentStatus::OnHold];
/// Nobody works on it.
const UNTOUCHED: &[IncidentStatus] = &[IncidentStatus::Open, IncidentStatus::Acknowledged];
/// Work does not wait.
const WORKED: &[IncidentStatus] = &[IncidentStatus::Open, IncidentStatus::Acknowledged, IncidentStatus::InProgress];
/// It was told, and is not final.
const TOLD: &[IncidentStatus] = &[
    IncidentStatus::Open,
    IncidentStatus::Acknowledged,
    IncidentStatus::InProgress,
    IncidentStatus::OnHold,
    IncidentStatus::Resolved,
];

/// Every legal move.
pub const TABLE: &[Row] = {
    use Actor::{Engine, Person};
    use IncidentStatus::{Acknowledged, Closed, InProgress, New, OnHold, Open, Resolved};
    use Target::{Gone, Stays, To};
    &[
        row(&[New], Move::Open, To(Open), Engine, Guard::ConditionHolds),
        row(&[New], Move::Drop, Gone, Engine, Guard::EverythingCleared),
        row(TOLD, Move::Update, Stays, Engine, Guard::Always),
        row(TOLD, Move::Update, Stays, Person, Guard::Always),
        row(LIVE, Move::Link, Stays, Engine, Guard::Always),
        row(LIVE, Move::Escalate, Stays, Engine, Guard::Always),
        row(LIVE, Move::Escalate, Stays, Person, Guard::Reason),
        row(&[Open], Move::Acknowledge, To(Acknowledged), Person, Guard::Always),
        row(UNTOUCHED, Move::Start, To(InProgress), Person, Guard::Always),
        row(WORKED, Move::Hold, To(OnHold), Person, Guard::Reason),
        row(&[OnHold], Move::Resume, To(InProgress), Person, Guard::Always),
        row(LIVE, Move::Resolve, To(Resolved), Engine, Guard::AllClear),
        row(LIVE, Move::Resolve, To(Resolved), Person, Guard::NothingFiresOrForce),
        row(&[Resolved], Move::Reopen, To(Open), Engine, Guard::Recurrence),
        row(&[Resolved], Move::Reopen, To(Open), Person, Guard::Reason),
        row(&[Resolved], Move::Close, To(Closed), Engine, Guard::ReopenWindowPassed),
        row(&[Resolved], Move::Close, To(Closed), Person, Guard::Always),
        row(TOLD, Move::Merge, To(Closed), Engine, Guard::Always),
        row(LIVE, Move::Merge, To(Closed), Person, Guard::Always),
        row(&[Closed], Move::Split, To(Open), Person, Guard::IsPart),
    ]
};

impl IncidentStatus {
    /// Every status, in the order of its byte.
    pub const ALL: [IncidentStatus; 7] = [
        IncidentStatus::New,
        IncidentStatus::Open,
        IncidentStatus::Acknowledged,
        IncidentStatus::InProgress,
        IncidentStatus::OnHold,
        IncidentStatus::Resolved,
        IncidentStatus::Closed,
    ];

    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            IncidentStatus::New => "new",
            IncidentStatus::Open => "open",
            IncidentStatus::Acknowledged => "acknowledged",
            IncidentStatus::InProgress => "in_progress",
            IncidentStatus::OnHold => "on_hold",
            IncidentStatus::Resolved => "resolved",
            IncidentStatus::Closed => "closed",
        }
    }

    /// Reads the public name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether alerts of its key still link to it.
    pub const fn is_live(self) -> bool {
        use IncidentStatus::{Acknowledged, InProgress, OnHold, Open};
        matches!(self, Open | Acknowledged | InProgress | OnHold)
    }

    /// The rows of the table that begin here.
    pub fn rows(self) -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(move |row| row.from.contains(&self))
    }

    /// Where a move leads from here, whoever makes it; `None` where it is not legal.
    pub fn after(self, step: Move) -> Option<IncidentStatus> {
        match self.rows().find(|row| row.step == step)?.to {
            Target::To(status) => Some(status),
            Target::Stays => Some(self),
            Target::Gone => None,
        }
    }

    /// The row by which somebody may make a move from here.
    pub fn row(self, step: Move, by: Actor) -> Option<&'static Row> {
        self.rows().find(|row| row.step == step && row.by == by)
    }

    /// The moves that an operator may make from here, in the order of the table.
    pub fn orders(self) -> impl Iterator<Item = &'static Row> {
        self.rows().filter(|row| row.by == Actor::Person)
    }
}

impl Move {
    /// Every move.
    pub const ALL: [Move; 14] = [
        Move::Open,
        Move::Drop,
        Move::Update,
        Move::Link,
        Move::Escalate,
        Move::Acknowledge,
        Move::Start,
        Move::Hold,
        Move::Resume,
        Move::Resolve,
        Move::Reopen,
        Move::Close,
        Move::Merge,
        Move::Split,
    ];

    /// The public name; of what an operator orders, the name of the command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Move::Open => "open",
            Move::Drop => "drop",
            Move::Update => "update",
            Move::Link => "link",
            Move::Escalate => "escalate",
            Move::Acknowledge => "acknowledge",
            Move::Start => "start",
            Move::Hold => "hold",
            Move::Resume => "resume",
            Move::Resolve => "resolve",
            Move::Reopen => "reopen",
            Move::Close => "close",
            Move::Merge => "merge",
            Move::Split => "split",
        }
    }

    /// What it does to an incident, as in "it cannot be …".
    pub const fn participle(self) -> &'static str {
        match self {
            Move::Open => "opened",
            Move::Drop => "dropped",
            Move::Update => "changed",
            Move::Link => "linked",
            Move::Escalate => "escalated",
            Move::Acknowledge => "acknowledged",
            Move::Start => "started",
            Move::Hold => "put on hold",
            Move::Resume => "resumed",
            Move::Resolve => "resolved",
            Move::Reopen => "reopened",
            Move::Close => "closed",
            Move::Merge => "merged",
            Move::Split => "split",
        }
    }

    /// What sinks are told that has happened. Whoever takes an incident that nobody had taken has acknowledged it.
    pub fn action(self, from: IncidentStatus) -> Action {
        match self {
            Move::Open => Action::Opened,
            Move::Link => Action::Linked,
            Move::Escalate => Action::Escalated,
            Move::Acknowledge => Action::Acknowledged,
            Move::Start | Move::Hold if from == IncidentStatus::Open => Action::Acknowledged,
            Move::Start | Move::Hold | Move::Resume | Move::Update | Move::Drop => Action::Updated,
            Move::Resolve => Action::Resolved,
            Move::Reopen | Move::Split => Action::Reopened,
            Move::Close | Move::Merge => Action::Closed,
        }
    }
}

impl Guard {
    /// As a sentence for people.
    pub const fn words(self) -> &'static str {
        match self {
            Guard::Always => "",
            Guard::ConditionHolds => "the rule's condition holds, and nothing holds the opening back",
            Guard::EverythingCleared => "nothing fires any more",
            Guard::AllClear => "nothing has fired for resolve_after",
            Guard::NothingFiresOrForce => "nothing fires and no child is open, or force",
            Guard::Reason => "a reason is given",
            Guard::Recurrence => "the condition holds again within reopen_within",
            Guard::ReopenWindowPassed => "reopen_within has passed",
            Guard::IsPart => "it is merged into an incident that is not closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_leads_to_one_place_whoever_makes_it() {
        for status in IncidentStatus::ALL {
            for step in Move::ALL {
                let to: Vec<_> = status.rows().filter(|row| row.step == step).map(|row| row.to).collect();
                assert!(to.windows(2).all(|pair| pair[0] == pair[1]), "{status:?} {step:?}");
            }
        }
    }

    #[test]
    fn every_status_is_reached_from_new_and_closed_is_left_by_a_split_alone() {
        let mut reached = vec![IncidentStatus::New];
        for row in TABLE.iter().cycle().take(TABLE.len() * IncidentStatus::ALL.len()) {
            if let Target::To(to) = row.to
                && row.from.iter().any(|from| reached.contains(from))
                && !reached.contains(&to)
            {
                reached.push(to);
            }
        }
        assert_eq!(reached.len(), IncidentStatus::ALL.len());
        let from_closed: Vec<Move> = IncidentStatus::Closed.rows().map(|row| row.step).collect();
        assert_eq!(from_closed, [Move::Split]);
    }

    #[test]
    fn nobody_may_make_the_same_move_in_two_ways() {
        for status in IncidentStatus::ALL {
            for (place, row) in status.rows().enumerate() {
                let twice = status.rows().skip(place + 1).any(|other| (other.step, other.by) == (row.step, row.by));
                assert!(!twice, "{status:?} {row:?}");
            }
        }
    }

    #[test]
    fn a_status_reads_back() {
        for (byte, status) in IncidentStatus::ALL.into_iter().enumerate() {
            assert_eq!((status as usize, IncidentStatus::parse(status.as_str())), (byte, Some(status)));
        }
    }
}
