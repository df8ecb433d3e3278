//! What the engine says: a verdict on every event, a decision for everything that must happen, a reason with each.
//!
//! Reasons form a closed set. The same value serves the verdict, the timeline, the log and the delivery.

use std::fmt;
use std::sync::Arc;

use crate::delivery::Action;
use crate::engine::incident::{AlertDoc, IncidentDoc};
use crate::event::Timestamp;
use crate::identity::IncidentId;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    /// It opened (or reopened) an incident.
    Opened,
    /// Its alert was linked to an open incident.
    Linked,
    /// It changed what is known of its alert.
    Updated,
    /// It ended its alert.
    Resolved,
    /// It repeats what is known.
    Duplicate,
    /// It is muted.
    Suppressed,
    /// A rule wants it and still waits.
    Pending,
    /// Valid, and no rule wants it.
    Recorded,
    /// Older than what is known.
    Stale,
    /// Refused, with a code and a field.
    Rejected,
}

impl Outcome {
    /// Every outcome, in the order of its byte.
    pub const ALL: [Outcome; 10] = [
        Outcome::Opened,
        Outcome::Linked,
        Outcome::Updated,
        Outcome::Resolved,
        Outcome::Duplicate,
        Outcome::Suppressed,
        Outcome::Pending,
        Outcome::Recorded,
        Outcome::Stale,
        Outcome::Rejected,
    ];

    /// The public name, also the metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Opened => "opened",
            Outcome::Linked => "linked",
            Outcome::Updated => "updated",
            Outcome::Resolved => "resolved",
            Outcome::Duplicate => "duplicate",
            Outcome::Suppressed => "suppressed",
            Outcome::Pending => "pending",
            Outcome::Recorded => "recorded",
            Outcome::Stale => "stale",
            Outcome::Rejected => "rejected",
        }
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The rule's opening condition holds.
    ConditionMet {
        /// What was counted.
        have: u32,
        /// What the rule asks for.
        need: u32,
    },
    /// The condition holds again within `reopen_within`.
    Recurrence,
    /// An incident is open for the key.
    IncidentOpen,
    /// Severity, texts or links differ from what was known.
    AlertChanged,
    /// A stale alert fires again.
    AlertReturned,
    /// The producer says that the condition has ended.
    AlertResolved,
    /// Nothing has fired for `resolve_after`.
    AllClear,
    /// `reopen_within` has passed.
    ReopenWindowPassed,
    /// Gathered during `update_interval`.
    Gathered,
    /// A repeat of a known alert that says nothing new.
    Repeat,
    /// The producer's id was seen within the dedup horizon.
    SameId,
    /// The Kafka record was applied before.
    AlreadyApplied,
    /// The rule waits for more.
    Waiting {
        /// What was counted.
        have: u32,
        /// What the rule asks for.
        need: u32,
    },
    /// The condition holds; the rule's `wait` has not passed.
    HeldBack,
    /// No rule matches.
    NoRule,
    /// A rule matches, but a label of its `group_by` is missing.
    LabelMissing,
    /// Nothing is known of the alert, so there is nothing to resolve.
    NoOpenIncident,
    /// Events of this kind are recorded and not correlated.
    KindNotCorrelated,
    /// A newer event has said otherwise.
    OlderThanKnown,
    /// Later than the lateness allowed.
    Late,
    /// A maintenance window that names the alert is open.
    Maintenance,
    /// A documented bound is reached.
    LimitReached,
    /// Refused; the reject says why.
    Invalid,
}

impl Reason {
    /// The machine-readable name.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::ConditionMet { .. } => "condition_met",
            Reason::Recurrence => "recurrence",
            Reason::IncidentOpen => "incident_open",
            Reason::AlertChanged => "alert_changed",
            Reason::AlertReturned => "alert_returned",
            Reason::AlertResolved => "alert_resolved",
            Reason::AllClear => "all_clear",
            Reason::ReopenWindowPassed => "reopen_window_passed",
            Reason::Gathered => "gathered",
            Reason::Repeat => "repeat",
            Reason::SameId => "same_id",
            Reason::AlreadyApplied => "already_applied",
            Reason::Waiting { .. } => "waiting",
            Reason::HeldBack => "held_back",
            Reason::NoRule => "no_rule",
            Reason::LabelMissing => "label_missing",
            Reason::NoOpenIncident => "no_open_incident",
            Reason::KindNotCorrelated => "kind_not_correlated",
            Reason::OlderThanKnown => "older_than_known",
            Reason::Late => "late",
            Reason::Maintenance => "maintenance",
            Reason::LimitReached => "limit_reached",
            Reason::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ConditionMet { have, need } => write!(f, "{have} of {need}: the opening condition holds"),
            Reason::Waiting { have, need } => write!(f, "{have} of {need}: the rule waits for more"),
            Reason::Recurrence => f.write_str("the condition holds again within reopen_within"),
            Reason::IncidentOpen => f.write_str("an incident is open for this key"),
            Reason::AlertChanged => f.write_str("the alert says something new"),
            Reason::AlertReturned => f.write_str("the alert fires again"),
            Reason::AlertResolved => f.write_str("the producer says that the alert has ended"),
            Reason::AllClear => f.write_str("nothing has fired for resolve_after"),
            Reason::ReopenWindowPassed => f.write_str("reopen_within has passed"),
            Reason::Gathered => f.write_str("gathered during update_interval"),
            Reason::Repeat => f.write_str("a repeat of a known alert"),
            Reason::SameId => f.write_str("this producer id was counted before"),
            Reason::AlreadyApplied => f.write_str("this Kafka record was applied before"),
            Reason::HeldBack => f.write_str("the condition holds; the rule waits to gather what belongs to it"),
            Reason::NoRule => f.write_str("no rule matches"),
            Reason::LabelMissing => f.write_str("a label of the rule's group_by is missing"),
            Reason::NoOpenIncident => f.write_str("nothing is known that this could resolve"),
            Reason::KindNotCorrelated => f.write_str("events of this kind are not correlated"),
            Reason::OlderThanKnown => f.write_str("a newer event has said otherwise"),
            Reason::Late => f.write_str("later than the lateness allowed"),
            Reason::Maintenance => f.write_str("a maintenance window is open"),
            Reason::LimitReached => f.write_str("a limit of the engine is reached"),
            Reason::Invalid => f.write_str("the event is invalid"),
        }
    }
}

/// The engine's answer to one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The incident it concerns.
    pub incident: Option<IncidentId>,
    /// The rule that waits for more or could not take it.
    pub rule: Option<Arc<str>>,
}

impl Verdict {
    /// A verdict that concerns no incident and no rule.
    pub const fn new(outcome: Outcome, reason: Reason) -> Self {
        Self { outcome, reason, incident: None, rule: None }
    }

    /// A verdict that concerns an incident.
    pub const fn of(outcome: Outcome, reason: Reason, incident: IncidentId) -> Self {
        Self { outcome, reason, incident: Some(incident), rule: None }
    }
}

/// Something that must happen: it becomes a timeline entry, a row, and a delivery for each sink that is told.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What happened.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The number of the decision within its incident.
    pub sequence: u64,
    /// When it was taken, on the receiving clock.
    pub at: Timestamp,
    /// A sentence for the timeline, such as "linked 12 alerts".
    pub detail: String,
    /// The incident as it is after the decision.
    pub incident: Arc<IncidentDoc>,
    /// When it is closed, and the engine forgets it: the alerts it leaves behind, at most 1,000.
    pub alerts: Vec<AlertDoc>,
    /// The sinks that are told; empty where only the timeline records it.
    pub notify: Arc<[Arc<str>]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_stands_at_its_byte_in_the_list() {
        assert!(Outcome::ALL.into_iter().enumerate().all(|(byte, outcome)| outcome as usize == byte));
    }
}
