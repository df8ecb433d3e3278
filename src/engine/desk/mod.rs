//! The service desk: what operators order about one incident, and what is kept of their work on it.
//!
//! Every order is checked against the table of `moves.rs` and carried out by one function, which ends in the same
//! `Shard::emit` as what the engine does by itself, so both have the same consequences. Texts of people are bounded by
//! [`TEXT_BYTES_MAX`]; a longer one is refused.

pub(super) mod assignment;
pub(super) mod guards;
mod letting_go;
pub mod links;
pub(super) mod status;
pub(super) mod talks;
pub(super) mod work;

use serde::Deserialize;

pub(super) use guards::Given;

use super::command::{Done, Refusal};
use super::shard::Shard;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::rules::{Level, Priority};

/// A reason, a note, a resolution: 10 KiB of text.
pub const TEXT_BYTES_MAX: usize = 10 << 10;
/// The name of a team, the type of a link.
pub const NAME_BYTES_MAX: usize = 256;

/// What an operator orders about one incident.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Takes it.
    Acknowledge,
    /// Begins to work on it.
    Start,
    /// Lets work wait for something outside.
    Hold {
        /// For what.
        reason: String,
    },
    /// Goes on.
    Resume,
    /// It is over.
    Resolve {
        /// Even where alerts still fire.
        #[serde(default)]
        force: bool,
        /// How it ended; may be empty.
        #[serde(default)]
        resolution: String,
    },
    /// It is not over after all.
    Reopen {
        /// Why.
        reason: String,
    },
    /// It is final.
    Close {
        /// How it ended; keeps what was said before where empty.
        #[serde(default)]
        resolution: String,
    },
    /// Gives it to a team or supplier.
    Assign {
        /// The name.
        to: String,
        /// Why; may be empty.
        #[serde(default)]
        reason: String,
    },
    /// The assignee takes it on.
    Accept,
    /// Writes something down, or tells an audience.
    Note {
        /// What.
        text: String,
        /// `internal`, or the name of a configured audience such as `public`. Internal where empty.
        #[serde(default)]
        audience: String,
    },
    /// Links it to something.
    Link {
        /// The type, such as `change` or `duplicate_of`.
        kind: String,
        /// An incident, or whatever the type links to.
        target: String,
        /// Why; may be empty.
        #[serde(default)]
        reason: String,
    },
    /// Takes a link off again.
    Unlink {
        /// Its type.
        kind: String,
        /// Its target.
        target: String,
    },
    /// Takes the next step of its escalation policy now.
    Escalate {
        /// Why.
        reason: String,
    },
    /// Declares it a major incident.
    DeclareMajor {
        /// Why.
        reason: String,
    },
    /// It is a major incident no more.
    StandDown {
        /// Why.
        reason: String,
    },
    /// Sets impact, urgency or the priority itself by hand.
    Reprioritise {
        /// How much it hurts.
        impact: Option<Level>,
        /// How fast it must be answered.
        urgency: Option<Level>,
        /// Instead of both.
        priority: Option<Priority>,
        /// Why.
        reason: String,
    },
}

impl Shard {
    /// Carries out an order about an incident.
    pub(super) fn operate(
        &mut self,
        now: Timestamp,
        id: IncidentId,
        version: Option<u64>,
        order: &Order,
    ) -> Result<Done, Refusal> {
        let group = self.group_of(id)?;
        self.check_version(group, version)?;
        self.permit(now, group, order)?;
        match order {
            Order::Acknowledge => self.acknowledge(now, group),
            Order::Start => self.start(now, group),
            Order::Hold { reason } => self.put_on_hold(now, group, reason),
            Order::Resume => self.resume(now, group),
            Order::Resolve { force, resolution } => self.resolve_by_hand(now, group, *force, resolution),
            Order::Reopen { reason } => self.reopen_by_hand(now, group, reason),
            Order::Close { resolution } => self.close_by_hand(now, group, resolution),
            Order::Assign { to, reason } => self.assign(now, group, to, reason),
            Order::Accept => self.accept(now, group),
            Order::Note { text, audience } => self.write_note(now, group, text, audience),
            Order::Link { kind, target, reason } => self.link_by_hand(now, group, (kind, target), reason),
            Order::Unlink { kind, target } => self.unlink_by_hand(now, group, (kind, target)),
            Order::Escalate { reason } => self.escalate_by_hand(now, group, reason),
            Order::DeclareMajor { reason } => self.declare_major(now, group, reason),
            Order::StandDown { reason } => self.stand_down(now, group, reason),
            Order::Reprioritise { .. } => self.reprioritise(now, group, order),
        }?;
        self.as_it_is(id)
    }
}

/// A text of a person, without what surrounds it.
///
/// # Errors
/// When it is empty and must not be, or too long.
pub(in crate::engine) fn checked<'a>(
    what: &str,
    text: &'a str,
    max: usize,
    required: bool,
) -> Result<&'a str, Refusal> {
    let text = text.trim();
    match text.len() {
        0 if required => Err(Refusal::Invalid(format!("a {what} is asked for, and must not be empty"))),
        len if len > max => Err(Refusal::Invalid(format!("the {what} has {len} bytes; at most {max} are taken"))),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_a_person_is_trimmed_bounded_and_asked_for_where_it_must_be() {
        assert_eq!(checked("reason", " a word ", 6, true), Ok("a word"));
        assert_eq!(checked("reason", " ", 6, false), Ok(""));
        for wrong in [checked("reason", " ", 6, true), checked("reason", "too long", 6, false)] {
            assert!(matches!(wrong, Err(Refusal::Invalid(_))), "{wrong:?}");
        }
    }
}
