//! What operators order. Commands enter a shard as inputs, in order with events, and are answered once durable.

use std::sync::Arc;

use super::desk::Order;
use super::incident::IncidentDoc;
use super::problems::ProblemDoc;
use super::shard::Shard;
use super::suppress::silence::{SilenceDoc, SilenceDraft, SilenceId};
use crate::event::Timestamp;
use crate::identity::{IncidentId, ProblemId};

/// What is ordered.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Mutes what matches, from and until.
    Silence(SilenceDraft),
    /// Ends a silence now.
    Expire(SilenceId),
    /// Does something with one incident.
    Operate {
        /// Which.
        incident: IncidentId,
        /// Its version, where only that one is meant.
        version: Option<u64>,
        /// What.
        order: Order,
    },
    /// Notes the ticket that a sink has named for an incident.
    Ticket {
        /// Which.
        incident: IncidentId,
        /// The sink's name.
        sink: Arc<str>,
        /// Its name there.
        ticket: String,
        /// Where it can be read.
        url: Option<String>,
    },
    /// Closes a problem.
    CloseProblem {
        /// Which.
        problem: ProblemId,
        /// How it ended.
        resolution: String,
    },
    /// Merges an incident into another one.
    Merge {
        /// What ends.
        incident: IncidentId,
        /// What goes on.
        into: IncidentId,
        /// The version of what ends, where only that one is meant.
        version: Option<u64>,
    },
    /// Takes out of an incident what was merged into it or put under it, and keeps it apart.
    Split {
        /// The whole.
        incident: IncidentId,
        /// What comes out.
        part: IncidentId,
        /// The version of the whole, where only that one is meant.
        version: Option<u64>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// The incident as it is now.
    Incident(Arc<IncidentDoc>),
    /// The silence as it is now.
    Silence(SilenceDoc),
    /// The problem as it is now.
    Problem(Arc<ProblemDoc>),
}

/// Why it was not done; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This shard does not know what the command names.
    #[error("not known here")]
    Unknown,
    /// It was meant for another version of the incident.
    #[error("the incident is at version {current} by now")]
    Version {
        /// The version that it has.
        current: u64,
    },
    /// The state of things does not allow it.
    #[error("{0}")]
    Illegal(String),
    /// The command itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A documented bound is reached.
    #[error("{0}")]
    Limit(String),
}

impl Shard {
    /// Carries out a command of an operator.
    ///
    /// # Errors
    /// Why it was not done; nothing has changed then.
    pub fn command(&mut self, now: Timestamp, by: &str, command: &Command) -> Result<Done, Refusal> {
        self.run_due(now);
        self.by = Some(match command {
            Command::Ticket { sink, .. } => format!("sink:{sink}").into(),
            _ => format!("operator:{by}").into(),
        });
        let done = match command {
            Command::Silence(draft) => self.silence(now, by, draft),
            Command::Expire(id) => self.expire_silence(now, by, *id),
            Command::Operate { incident, version, order } => self.operate(now, *incident, *version, order),
            Command::Ticket { incident, ticket, url, .. } => {
                self.note_ticket(now, *incident, (ticket, url.as_deref())).and_then(|()| self.as_it_is(*incident))
            }
            Command::CloseProblem { problem, resolution } => self.close_problem(now, *problem, resolution),
            Command::Merge { incident, into, version } => self.merge(now, *version, *incident, *into),
            Command::Split { incident, part, version } => self.split(now, *version, *incident, *part),
        };
        self.by = None;
        done
    }
}
