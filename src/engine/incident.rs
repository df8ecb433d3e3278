//! The incident as the outside sees it, and the table of its life.
//!
//! [`IncidentDoc`] is the one JSON shape of an incident (contract, section 7), built by the engine when a decision is
//! taken and shared from then on. The engine's own record of an incident lives in its window.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::delivery::Action;
use crate::event::{Severity, Timestamp};
use crate::identity::IncidentId;
use crate::rules::{Level, Priority};

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum IncidentStatus {
    /// Something fires, nobody has taken it.
    Open,
    /// Somebody has taken it.
    Acknowledged,
    /// All clear; may come back within `reopen_within`.
    Resolved,
    /// Final.
    Closed,
}

impl IncidentStatus {
    /// Every status, in the order of its byte.
    pub const ALL: [IncidentStatus; 4] =
        [IncidentStatus::Open, IncidentStatus::Acknowledged, IncidentStatus::Resolved, IncidentStatus::Closed];

    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            IncidentStatus::Open => "open",
            IncidentStatus::Acknowledged => "acknowledged",
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
        matches!(self, IncidentStatus::Open | IncidentStatus::Acknowledged)
    }

    /// The table of moves: where an action leads from here, or `None` where it is not legal.
    pub const fn after(self, action: Action) -> Option<IncidentStatus> {
        use IncidentStatus::{Acknowledged, Closed, Open, Resolved};
        match (self, action) {
            (Open | Acknowledged, Action::Updated | Action::Linked | Action::Escalated) => Some(self),
            (Open, Action::Acknowledged) => Some(Acknowledged),
            (Open | Acknowledged, Action::Resolved) => Some(Resolved),
            (Resolved, Action::Reopened) => Some(Open),
            (Resolved, Action::Closed) => Some(Closed),
            (Resolved, Action::Updated) => Some(Resolved),
            _ => None,
        }
    }

    /// The moves that only merging and splitting make, beside those of the table: a merged incident is closed from
    /// wherever it is, and a split opens it again.
    pub const fn after_merge(self, action: Action) -> Option<IncidentStatus> {
        use IncidentStatus::{Acknowledged, Closed, Open, Resolved};
        match (self, action) {
            (Open | Acknowledged | Resolved, Action::Closed) => Some(Closed),
            (Closed, Action::Reopened) => Some(Open),
            _ => self.after(action),
        }
    }
}

/// How many alerts an incident has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AlertCounts {
    /// Still firing.
    pub firing: u64,
    /// Resolved or stale.
    pub resolved: u64,
    /// All that were ever linked.
    pub total: u64,
}

/// A typed link of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct IncidentLink {
    /// What the target is: `runbook`, `generator`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The target.
    pub target: String,
    /// Who or what set it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Agreed deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Targets {
    /// Answer by.
    pub respond_by: Option<Timestamp>,
    /// Restore by.
    pub resolve_by: Option<Timestamp>,
    /// Whether one has passed unmet.
    pub breached: bool,
}

/// Where the escalation stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Escalation {
    /// The policy's name.
    pub policy: Option<Arc<str>>,
    /// The step reached.
    pub level: u32,
    /// When the next step is due.
    pub next_at: Option<Timestamp>,
}

/// An incident as JSON, everywhere alike.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct IncidentDoc {
    /// `INC-` and a short code.
    pub id: IncidentId,
    /// Where it stands.
    pub status: IncidentStatus,
    /// Rises with every change that people see; for optimistic concurrency.
    pub version: u64,
    /// One line for people.
    pub title: String,
    /// The rule that gathers it.
    pub rule: Arc<str>,
    /// The labels of its group.
    pub key: BTreeMap<Arc<str>, Arc<str>>,
    /// The gravest severity of its alerts since it opened.
    pub severity: Severity,
    /// How much it hurts.
    pub impact: Level,
    /// How fast it must be answered.
    pub urgency: Level,
    /// Impact × urgency.
    pub priority: Priority,
    /// How the priority came about.
    pub priority_reason: String,
    /// The service of the catalogue, else the `service` label of its key or of the alert that opened it.
    pub service: Option<Arc<str>>,
    /// Who works on it.
    pub assignee: Option<Arc<str>>,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When somebody took it.
    pub acknowledged_at: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// Its alerts, counted.
    pub alerts: AlertCounts,
    /// How many events it stands for.
    pub events: u64,
    /// What it is linked to.
    pub links: Vec<IncidentLink>,
    /// Agreed deadlines.
    pub targets: Targets,
    /// Where the escalation stands.
    pub escalation: Escalation,
    /// Why it opened, came back, was resolved: machine-readable, newest last, at most 16.
    pub reasons: Vec<String>,
    /// While alerts of it flap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flapping: Option<FlappingDoc>,
    /// Where it is the incident of a storm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<StormDoc>,
}

/// That alerts of an incident keep changing, which holds it open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FlappingDoc {
    /// How many flap now.
    pub alerts: u32,
    /// Changes that were counted, those that made them flap among them.
    pub changes: u64,
    /// Since when one of them has.
    pub since: Timestamp,
}

/// What the incident of a storm stands for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StormDoc {
    /// Incidents that are its children, of which at most 100 are linked.
    pub children: u64,
    /// Those among them that are open.
    pub open: u32,
    /// Whether further ones become children still.
    pub active: bool,
}

/// The numbers of an incident that move with every event, refreshed in the read model after each commit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IncidentCounts {
    /// The incident.
    pub id: IncidentId,
    /// Its alerts, counted.
    pub alerts: AlertCounts,
    /// How many events it stands for.
    pub events: u64,
    /// While alerts of it flap.
    pub flapping: Option<FlappingDoc>,
    /// Where it is the incident of a storm.
    pub storm: Option<StormDoc>,
}

/// One alert of an incident, for the single view.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AlertDoc {
    /// Alertmanager's fingerprint over the labels, 16 hex digits.
    pub fingerprint: String,
    /// `firing`, `resolved` or `stale`.
    pub state: &'static str,
    /// How bad.
    pub severity: Severity,
    /// The monitoring system.
    pub source: String,
    /// One line for people.
    pub summary: String,
    /// Identity and correlation.
    pub labels: BTreeMap<String, String>,
    /// Descriptive only.
    pub annotations: BTreeMap<String, String>,
    /// Events counted.
    pub count: u64,
    /// When the first event of it happened.
    pub first_seen: Timestamp,
    /// When the last event of it happened.
    pub last_seen: Timestamp,
    /// When its lease ends, while it fires.
    pub ends_at: Option<Timestamp>,
    /// It fires, and counts as cleared here: by a clear, by leaving its rule, or because the incident is over.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cleared: bool,
    /// What mutes it, while it fires: `silenced` by a silence, `inhibited` by a rule, or `maintenance` in a window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<MutedDoc>,
}

/// What mutes an alert.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MutedDoc {
    /// The reason's code.
    pub reason: &'static str,
    /// The silence, the inhibition rule or the maintenance window.
    pub by: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_moves_is_this() {
        use IncidentStatus::{Acknowledged, Open, Resolved};
        let legal = |status: IncidentStatus| -> String {
            let moves = Action::ALL.into_iter().filter_map(|action| Some((action, status.after(action)?)));
            moves.map(|(action, to)| format!("{}:{} ", action.as_str(), to.as_str())).collect()
        };
        assert_eq!(legal(Open), "updated:open linked:open escalated:open acknowledged:acknowledged resolved:resolved ");
        let kept = "updated:acknowledged linked:acknowledged escalated:acknowledged resolved:resolved ";
        assert_eq!(legal(Acknowledged), kept);
        assert_eq!(legal(Resolved), "updated:resolved reopened:open closed:closed ");
        assert_eq!(legal(IncidentStatus::Closed), "");
    }

    #[test]
    fn only_a_merge_closes_what_is_open_and_only_a_split_opens_what_is_closed() {
        use IncidentStatus::{Acknowledged, Closed, Open, Resolved};
        for status in [Open, Acknowledged, Resolved] {
            assert_eq!(status.after_merge(Action::Closed), Some(Closed));
        }
        assert_eq!(Closed.after_merge(Action::Reopened), Some(Open));
        for action in Action::ALL.into_iter().filter(|action| *action != Action::Reopened) {
            assert_eq!(Closed.after_merge(action), None, "{action:?}");
        }
    }

    #[test]
    fn a_status_reads_back() {
        for (byte, status) in IncidentStatus::ALL.into_iter().enumerate() {
            assert_eq!((status as usize, IncidentStatus::parse(status.as_str())), (byte, Some(status)));
        }
    }
}
