//! What the engine says: a verdict on every event, a decision for everything that must happen, a reason with each.
//!
//! Reasons form a closed set. The same value serves the verdict, the timeline, the log and the delivery.

use std::fmt;
use std::sync::Arc;

use crate::delivery::Action;
use crate::engine::incident::{AlertDoc, IncidentDoc};
use crate::engine::moves::Move;
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
    /// The rule's opening condition holds; the number is an estimate.
    ConditionMetEstimated {
        /// What was counted, about.
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
    /// The alert flaps: its change is counted, and not told.
    Flapping,
    /// An alert of the incident has begun to flap.
    FlappingStarted,
    /// No alert of the incident flaps any more.
    FlappingStopped,
    /// More incidents of the rule open than its `storm` allows.
    StormBegan,
    /// The rule opens no more incidents than its `storm` allows.
    StormEnded,
    /// An operator has taken it out of a storm.
    Released,
    /// Two incidents have become one.
    Merged,
    /// What was merged, or put under another incident, is apart again.
    Split,
    /// A value or a component of a union rule has reached its bound and joins nothing further.
    UnionLimit,
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
    /// The rule waits for more; the number is an estimate.
    WaitingEstimated {
        /// What was counted, about.
        have: u32,
        /// What the rule asks for.
        need: u32,
    },
    /// The condition holds; the rule's `wait` has not passed.
    HeldBack,
    /// Something must follow the event.
    Awaiting {
        /// When it must have happened by.
        until: Timestamp,
    },
    /// What must follow has come.
    AwaitedCame,
    /// What must follow did not come in time.
    AwaitedMissing,
    /// The event has ended older alerts of its group.
    Clears,
    /// A newer event has ended everything of its group up to then.
    Cleared,
    /// The event ends alerts or waits of a group, and there were none.
    NothingToEnd,
    /// A rule matches; the event is neither a step of its sequence nor what its absence goes by.
    NoStep,
    /// A rule matches; the event's key is not in the rule's set.
    UnknownKey,
    /// A rule matches; the event concerns no member of the rule's set.
    NotMember,
    /// No rule matches.
    NoRule,
    /// A rule matches, but a label that it groups by or counts, or every one of its `union_by`, is missing.
    LabelMissing,
    /// The condition of a rule that matches could not be evaluated for this alert.
    RuleError,
    /// A sign of life that was expected.
    HeartbeatNoted,
    /// A sign of life of something that was late or missing.
    HeartbeatRecovered,
    /// A sign of life that nothing expects.
    NoHeartbeat,
    /// Nothing is known of the alert, so there is nothing to resolve.
    NoOpenIncident,
    /// What the incident's service depends on is broken as well.
    CauseFound,
    /// The incident's cause is another one: nearer, or the one before it is over.
    CauseMoved,
    /// What was taken for the cause is not one any more.
    CauseWithdrawn,
    /// Incidents of dependants are symptoms of this one.
    SymptomFound,
    /// An incident is no symptom of this one any more.
    SymptomWithdrawn,
    /// Changes shortly before the incident are suspected.
    ChangeSuspected,
    /// The change is remembered; no live incident is near.
    ChangeNoted,
    /// The change names no service.
    ServiceMissing,
    /// A newer event has said otherwise.
    OlderThanKnown,
    /// Later than the lateness allowed.
    Late,
    /// A silence mutes the alert.
    Silenced,
    /// Another alert that fires mutes it.
    Inhibited,
    /// A maintenance window that names the alert is open.
    Maintenance,
    /// An inhibition rule waits whether another alert mutes it.
    AwaitsInhibition,
    /// Not all that fires in the incident is muted any more.
    SuppressionEnded,
    /// An operator says so.
    ByHand,
    /// Somebody works on it.
    Started,
    /// Work waits for something outside.
    OnHold,
    /// Work goes on.
    Resumed,
    /// It was given to a team or supplier.
    Assigned,
    /// The assignee has taken it on.
    Accepted,
    /// Somebody has written something down, for the team only.
    NoteWritten,
    /// An audience was told how it stands.
    StatusUpdate,
    /// The next status update is due.
    UpdateDue,
    /// It was linked to something.
    LinkAdded,
    /// A link was taken off.
    LinkRemoved,
    /// A step of its escalation policy was due.
    EscalationStep,
    /// It is a major incident.
    MajorDeclared,
    /// It is a major incident no more.
    MajorEnded,
    /// A share of an agreed time has passed.
    TargetWarning,
    /// An agreed time has passed.
    TargetBreached,
    /// More is broken than before, so the priority has risen.
    PriorityRaised,
    /// An operator has set the priority.
    PrioritySet,
    /// The same has happened before.
    SeenBefore,
    /// It keeps happening: a problem candidate was raised.
    ProblemFound,
    /// A documented bound is reached.
    LimitReached,
    /// Refused; the reject says why.
    Invalid,
}

impl Reason {
    /// The machine-readable name.
    pub const fn code(self) -> &'static str {
        // Long because it is the list of all reasons.
        match self {
            Reason::ConditionMet { .. } => "condition_met",
            Reason::ConditionMetEstimated { .. } => "condition_met_estimated",
            Reason::Recurrence => "recurrence",
            Reason::IncidentOpen => "incident_open",
            Reason::AlertChanged => "alert_changed",
            Reason::AlertReturned => "alert_returned",
            Reason::AlertResolved => "alert_resolved",
            Reason::AllClear => "all_clear",
            Reason::ReopenWindowPassed => "reopen_window_passed",
            Reason::Gathered => "gathered",
            Reason::Flapping => "flapping",
            Reason::FlappingStarted => "flapping_started",
            Reason::FlappingStopped => "flapping_stopped",
            Reason::StormBegan => "storm_began",
            Reason::StormEnded => "storm_ended",
            Reason::Released => "released",
            Reason::Merged => "merged",
            Reason::Split => "split",
            Reason::UnionLimit => "union_limit",
            Reason::Repeat => "repeat",
            Reason::SameId => "same_id",
            Reason::AlreadyApplied => "already_applied",
            Reason::Waiting { .. } => "waiting",
            Reason::WaitingEstimated { .. } => "waiting_estimated",
            Reason::HeldBack => "held_back",
            Reason::Awaiting { .. } => "awaiting",
            Reason::AwaitedCame => "awaited_came",
            Reason::AwaitedMissing => "awaited_missing",
            Reason::Clears => "clears",
            Reason::Cleared => "cleared",
            Reason::NothingToEnd => "nothing_to_end",
            Reason::NoStep => "no_step",
            Reason::UnknownKey => "unknown_key",
            Reason::NotMember => "not_member",
            Reason::NoRule => "no_rule",
            Reason::LabelMissing => "label_missing",
            Reason::RuleError => "rule_error",
            Reason::HeartbeatNoted => "heartbeat_noted",
            Reason::HeartbeatRecovered => "heartbeat_recovered",
            Reason::NoHeartbeat => "no_heartbeat",
            Reason::NoOpenIncident => "no_open_incident",
            Reason::CauseFound => "cause_found",
            Reason::CauseMoved => "cause_moved",
            Reason::CauseWithdrawn => "cause_withdrawn",
            Reason::SymptomFound => "symptom_found",
            Reason::SymptomWithdrawn => "symptom_withdrawn",
            Reason::ChangeSuspected => "change_suspected",
            Reason::ChangeNoted => "change_noted",
            Reason::ServiceMissing => "service_missing",
            Reason::OlderThanKnown => "older_than_known",
            Reason::Late => "late",
            Reason::Silenced => "silenced",
            Reason::Inhibited => "inhibited",
            Reason::Maintenance => "maintenance",
            Reason::AwaitsInhibition => "awaits_inhibition",
            Reason::SuppressionEnded => "suppression_ended",
            Reason::ByHand => "by_hand",
            Reason::Started => "started",
            Reason::OnHold => "on_hold",
            Reason::Resumed => "resumed",
            Reason::Assigned => "assigned",
            Reason::Accepted => "accepted",
            Reason::NoteWritten => "note_written",
            Reason::StatusUpdate => "status_update",
            Reason::UpdateDue => "update_due",
            Reason::LinkAdded => "link_added",
            Reason::LinkRemoved => "link_removed",
            Reason::EscalationStep => "escalation_step",
            Reason::MajorDeclared => "major_declared",
            Reason::MajorEnded => "major_ended",
            Reason::TargetWarning => "target_warning",
            Reason::TargetBreached => "target_breached",
            Reason::PriorityRaised => "priority_raised",
            Reason::PrioritySet => "priority_set",
            Reason::SeenBefore => "seen_before",
            Reason::ProblemFound => "problem_found",
            Reason::LimitReached => "limit_reached",
            Reason::Invalid => "invalid",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Long because it is the list of all reasons.
        match self {
            Reason::ConditionMet { have, need } => write!(f, "{have} of {need}: the opening condition holds"),
            Reason::ConditionMetEstimated { have, need } => {
                write!(f, "~{have} (an estimate) of {need}: the opening condition holds")
            }
            Reason::WaitingEstimated { have, need } => {
                write!(f, "~{have} (an estimate) of {need}: the rule waits for more")
            }
            Reason::Awaiting { until } => write!(f, "the rule waits until {until} for what must follow"),
            Reason::Waiting { have, need } => write!(f, "{have} of {need}: the rule waits for more"),
            Reason::Recurrence => f.write_str("the condition holds again within reopen_within"),
            Reason::IncidentOpen => f.write_str("an incident is open for this key"),
            Reason::AlertChanged => f.write_str("the alert says something new"),
            Reason::AlertReturned => f.write_str("the alert fires again"),
            Reason::AlertResolved => f.write_str("the producer says that the alert has ended"),
            Reason::AllClear => f.write_str("nothing has fired for resolve_after"),
            Reason::ReopenWindowPassed => f.write_str("reopen_within has passed"),
            Reason::Gathered => f.write_str("gathered during update_interval"),
            Reason::Flapping => f.write_str("the alert flaps: counted, and not told"),
            Reason::FlappingStarted => f.write_str("an alert of the incident flaps, which holds it open"),
            Reason::FlappingStopped => f.write_str("no alert of the incident flaps any more"),
            Reason::StormBegan => f.write_str("more incidents of the rule open than its storm allows"),
            Reason::StormEnded => f.write_str("the rule opens no more incidents than its storm allows"),
            Reason::Released => f.write_str("taken out of the storm"),
            Reason::Merged => f.write_str("two incidents have become one"),
            Reason::Split => f.write_str("what was merged is apart again"),
            Reason::UnionLimit => f.write_str("a value or a component of a union rule has reached its bound"),
            Reason::Repeat => f.write_str("a repeat of a known alert"),
            Reason::SameId => f.write_str("this producer id was counted before"),
            Reason::AlreadyApplied => f.write_str("this Kafka record was applied before"),
            Reason::HeldBack => f.write_str("the condition holds; the rule waits to gather what belongs to it"),
            Reason::NoRule => f.write_str("no rule matches"),
            Reason::RuleError => f.write_str("the rule's condition cannot be evaluated for this alert"),
            Reason::HeartbeatNoted => f.write_str("a sign of life that was expected"),
            Reason::HeartbeatRecovered => f.write_str("a sign of life of something that was late or missing"),
            Reason::NoHeartbeat => f.write_str("no heartbeat is configured for this sign of life"),
            Reason::AwaitedCame => f.write_str("what must follow has come"),
            Reason::AwaitedMissing => f.write_str("what must follow did not come in time"),
            Reason::Clears => f.write_str("it ends the older alerts of its group"),
            Reason::Cleared => f.write_str("a newer event has ended everything of its group up to then"),
            Reason::NothingToEnd => f.write_str("nothing is there that it could end"),
            Reason::NoStep => f.write_str("it is nothing that the rule's condition goes by"),
            Reason::UnknownKey => f.write_str("its key is not in the rule's set"),
            Reason::NotMember => f.write_str("it concerns no member of the rule's set"),
            Reason::LabelMissing => f.write_str("a label that the rule goes by is missing"),
            Reason::NoOpenIncident => f.write_str("nothing is known that this could resolve"),
            Reason::CauseFound => f.write_str("what its service depends on is broken as well"),
            Reason::CauseMoved => f.write_str("another cause is nearer, or the one before it is over"),
            Reason::CauseWithdrawn => f.write_str("what was taken for the cause is not one any more"),
            Reason::SymptomFound => f.write_str("incidents of dependants are symptoms of this one"),
            Reason::SymptomWithdrawn => f.write_str("an incident is no symptom of this one any more"),
            Reason::ChangeSuspected => f.write_str("a change shortly before the incident is suspected"),
            Reason::ChangeNoted => f.write_str("the change is remembered"),
            Reason::ServiceMissing => f.write_str("the change names no service"),
            Reason::OlderThanKnown => f.write_str("a newer event has said otherwise"),
            Reason::Late => f.write_str("later than the lateness allowed"),
            Reason::Silenced => f.write_str("a silence mutes the alert"),
            Reason::Inhibited => f.write_str("another alert that fires mutes it"),
            Reason::Maintenance => f.write_str("a maintenance window is open"),
            Reason::AwaitsInhibition => f.write_str("an inhibition rule waits for what would mute it"),
            Reason::SuppressionEnded => f.write_str("not all that fires is muted any more"),
            Reason::ByHand => f.write_str("an operator says so"),
            Reason::Started => f.write_str("somebody works on it"),
            Reason::OnHold => f.write_str("work waits"),
            Reason::Resumed => f.write_str("work goes on"),
            Reason::Assigned => f.write_str("it was given to a team or supplier"),
            Reason::Accepted => f.write_str("the assignee has taken it on"),
            Reason::NoteWritten => f.write_str("somebody has written something down"),
            Reason::StatusUpdate => f.write_str("an audience was told how it stands"),
            Reason::UpdateDue => f.write_str("the next status update is due"),
            Reason::LinkAdded => f.write_str("it was linked to something"),
            Reason::LinkRemoved => f.write_str("a link was taken off"),
            Reason::EscalationStep => f.write_str("a step of its escalation policy was due"),
            Reason::MajorDeclared => f.write_str("it is a major incident"),
            Reason::MajorEnded => f.write_str("it is a major incident no more"),
            Reason::TargetWarning => f.write_str("a share of an agreed time has passed"),
            Reason::TargetBreached => f.write_str("an agreed time has passed"),
            Reason::PriorityRaised => f.write_str("more is broken than before"),
            Reason::PrioritySet => f.write_str("an operator has set the priority"),
            Reason::SeenBefore => f.write_str("the same has happened before"),
            Reason::ProblemFound => f.write_str("it keeps happening: a problem candidate"),
            Reason::LimitReached => f.write_str("a limit is reached"),
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
    /// What keeps it from its rules: the id of a silence, the name of an inhibition rule or of a maintenance window.
    pub muted_by: Option<Arc<str>>,
    /// What a person needs to know beside the reason: the label that is missing, what takes up the room.
    pub hint: Option<Arc<str>>,
}

impl Verdict {
    /// A verdict that concerns no incident and no rule, and is not muted.
    pub const fn new(outcome: Outcome, reason: Reason) -> Self {
        Self { outcome, reason, incident: None, rule: None, muted_by: None, hint: None }
    }

    /// A verdict that concerns an incident.
    pub const fn of(outcome: Outcome, reason: Reason, incident: IncidentId) -> Self {
        Self { outcome, reason, incident: Some(incident), rule: None, muted_by: None, hint: None }
    }
}

/// Something that must happen: it becomes a timeline entry, a row, and a delivery for each sink that is told.
#[derive(Clone, Debug)]
pub struct Decision {
    /// By which row of the table of moves.
    pub step: Move,
    /// What happened.
    pub action: Action,
    /// What sinks are told that has happened: `opened`, where they do not know the incident yet.
    pub told_as: Action,
    /// Why.
    pub reason: Reason,
    /// The number of the decision within its incident.
    pub sequence: u64,
    /// When it was taken, on the receiving clock.
    pub at: Timestamp,
    /// A sentence for the timeline, such as "linked 12 alerts".
    pub detail: String,
    /// What whoever is told is told beside the incident, such as a status update.
    pub message: Option<Arc<str>>,
    /// The incident as it is after the decision.
    pub incident: Arc<IncidentDoc>,
    /// When it is closed, and the engine forgets it: the alerts it leaves behind, at most 1,000.
    pub alerts: Vec<AlertDoc>,
    /// Whose order it was; the rule's own where `None`.
    pub by: Option<Arc<str>>,
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
