//! The incident as the outside sees it.
//!
//! [`IncidentDoc`] is the one JSON shape of an incident (contract, section 7), built by the engine when a decision is
//! taken and shared from then on. The engine's own record of an incident lives in its window.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

pub use super::moves::IncidentStatus;
use crate::event::{Severity, Timestamp};
use crate::identity::IncidentId;
use crate::rules::{Level, Priority};

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
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Targets {
    /// Answer by; none while the clock stands still.
    pub respond_by: Option<Timestamp>,
    /// Restore by; none while the clock stands still.
    pub resolve_by: Option<Timestamp>,
    /// Whether one has passed unmet.
    pub breached: bool,
    /// How it stands with the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<TargetState>,
    /// How it stands with the restoration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolve: Option<TargetState>,
    /// The calendar in whose working time they are measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Arc<str>>,
}

/// How it stands with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum TargetState {
    /// Its clock runs.
    Pending,
    /// Its clock stands still: the incident is on hold, merged, or muted where that pauses.
    Paused,
    /// In time; of an incident that is resolved, as far as it does not come back.
    Met,
    /// It has passed unmet; stays so.
    Breached,
}

/// Why work waits.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct HoldDoc {
    /// In the words of whoever put it on hold.
    pub reason: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

/// That it was declared a major incident.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MajorDoc {
    /// Since when.
    pub since: Timestamp,
    /// Who or what declared it.
    pub by: Arc<str>,
    /// Why.
    pub reason: Arc<str>,
    /// The runbook of the recovery plan.
    pub runbook: Option<Arc<str>>,
}

/// Who has it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AssignmentDoc {
    /// The team or supplier.
    pub to: Arc<str>,
    /// Who or what assigned it.
    pub by: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// When it was accepted.
    pub accepted_at: Option<Timestamp>,
    /// How often it went from one to another.
    pub reassigned: u32,
    /// Seconds with each, until `updated_at`.
    pub spent: BTreeMap<Arc<str>, u64>,
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

/// How far it has escalated in its life, whatever came back or was stood down since.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EscalatedDoc {
    /// The highest step that was taken, counted from 1; 0 where none was.
    pub highest: u32,
    /// How often it escalated, by steps and by hand.
    pub times: u32,
    /// Whether it was declared a major incident.
    pub major: bool,
}

/// An incident as JSON, everywhere alike.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Incident")]
pub struct IncidentDoc {
    /// `INC-` and a short code.
    pub id: IncidentId,
    /// Where it stands.
    pub status: IncidentStatus,
    /// Rises with every change that people see; for optimistic concurrency.
    pub version: u64,
    /// One line for people.
    pub title: Arc<str>,
    /// The rule that gathers it.
    pub rule: Arc<str>,
    /// The labels of its group.
    #[schemars(with = "BTreeMap<String, String>")]
    pub key: Key,
    /// The gravest severity of its alerts since it opened.
    pub severity: Severity,
    /// How much it hurts.
    pub impact: Level,
    /// How fast it must be answered.
    pub urgency: Level,
    /// Impact × urgency.
    pub priority: Priority,
    /// How the priority came about.
    pub priority_reason: Cow<'static, str>,
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
    /// Once it has escalated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalated: Option<EscalatedDoc>,
    /// Seconds in each status until `updated_at`; a status that it never had is not there.
    #[schemars(with = "BTreeMap<IncidentStatus, u64>")]
    pub time_in: TimeIn,
    /// How often it came back.
    pub reopened: u32,
    /// 16 hex digits over rule and key: incidents that have them in common are the same again.
    #[schemars(with = "String")]
    pub signature: Signature,
    /// While it is on hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldDoc>,
    /// While it is a major incident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<MajorDoc>,
    /// While somebody has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignment: Option<AssignmentDoc>,
    /// How it ended, in the words of whoever resolved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Arc<str>>,
    /// When stakeholders are to hear next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_update_due: Option<Timestamp>,
    /// The services that are concerned, at most 100, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Arc<str>>,
    /// Which entry of the service catalogue has matched, and by what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_binding: Option<Arc<str>>,
    /// Why it opened, came back, was resolved: machine-readable, newest last, at most 16: the first stays, then
    /// updates and links go before others, the oldest first.
    pub reasons: Vec<Cow<'static, str>>,
    /// While alerts of it flap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flapping: Option<FlappingDoc>,
    /// Where it is the incident of a storm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<StormDoc>,
}

#[cfg(test)]
impl IncidentDoc {
    /// An open incident of which nothing else is known.
    pub fn blank(id: IncidentId, opened_at: Timestamp) -> Self {
        Self {
            id,
            status: IncidentStatus::Open,
            version: 1,
            title: format!("incident {}", id.0).into(),
            rule: "rule".into(),
            key: Key::default(),
            severity: Severity::Error,
            impact: Level::High,
            urgency: Level::High,
            priority: Priority::P1,
            priority_reason: Cow::Borrowed(""),
            service: None,
            assignee: None,
            opened_at,
            acknowledged_at: None,
            resolved_at: None,
            updated_at: opened_at,
            alerts: AlertCounts::default(),
            events: 0,
            links: Vec::new(),
            targets: Targets::default(),
            escalation: Escalation::default(),
            escalated: None,
            time_in: TimeIn::default(),
            reopened: 0,
            signature: Signature::default(),
            hold: None,
            major: None,
            assignment: None,
            resolution: None,
            next_update_due: None,
            services: Vec::new(),
            service_binding: None,
            reasons: Vec::new(),
            flapping: None,
            storm: None,
        }
    }
}

/// The labels of an incident's group, ascending by name, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<(Arc<str>, Arc<str>)>);

impl Key {
    /// Without labels, with room for so many.
    pub(super) fn with_capacity(labels: usize) -> Self {
        Self(Vec::with_capacity(labels))
    }

    /// Sets the value of a label.
    pub(super) fn insert(&mut self, name: Arc<str>, value: Arc<str>) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(place) => self.0[place].1 = value,
            Err(place) => self.0.insert(place, (name, value)),
        }
    }

    /// Names with values, ascending by name.
    pub fn pairs(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.0
    }
}

impl FromIterator<(Arc<str>, Arc<str>)> for Key {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Arc<str>)>>(labels: I) -> Self {
        let mut key = Self::default();
        labels.into_iter().for_each(|(name, value)| key.insert(name, value));
        key
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Seconds in each status; none of one that it never had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeIn([Option<u64>; IncidentStatus::ALL.len()]);

impl TimeIn {
    /// Asks for each status.
    pub(super) fn of(seconds: impl Fn(IncidentStatus) -> Option<u64>) -> Self {
        Self(IncidentStatus::ALL.map(seconds))
    }

    /// Those that it had, in the order of a life.
    pub fn iter(&self) -> impl Iterator<Item = (IncidentStatus, u64)> + '_ {
        IncidentStatus::ALL.into_iter().zip(self.0).filter_map(|(status, seconds)| Some((status, seconds?)))
    }
}

impl Serialize for TimeIn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// What incidents that are the same again have in common; 16 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signature(pub u64);

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
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
#[schemars(rename = "Alert")]
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
