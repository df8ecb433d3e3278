//! Of an incident's document, what a draft speaks of. Read from JSON, because a closed incident is that alone; what an
//! older document does not have is left out.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::event::Timestamp;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) title: String,
    pub(super) rule: String,
    pub(super) key: BTreeMap<String, String>,
    pub(super) severity: String,
    pub(super) impact: String,
    pub(super) urgency: String,
    pub(super) priority: String,
    pub(super) priority_reason: String,
    pub(super) service: Option<String>,
    pub(super) services: Vec<String>,
    pub(super) assignment: Option<Assignment>,
    pub(super) opened_at: Timestamp,
    pub(super) acknowledged_at: Option<Timestamp>,
    pub(super) resolved_at: Option<Timestamp>,
    pub(super) alerts: Counts,
    pub(super) events: u64,
    pub(super) links: Vec<Link>,
    pub(super) targets: Targets,
    pub(super) escalation: Escalation,
    #[serde(default)]
    pub(super) escalated: Escalated,
    pub(super) time_in: BTreeMap<String, u64>,
    pub(super) reopened: u32,
    pub(super) hold: Option<Hold>,
    pub(super) major: Option<Major>,
    pub(super) resolution: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Assignment {
    pub(super) to: String,
    pub(super) accepted_at: Option<Timestamp>,
    pub(super) reassigned: u32,
    pub(super) spent: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    pub(super) firing: u64,
    pub(super) total: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Link {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) target: String,
    pub(super) by: String,
    pub(super) reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Targets {
    pub(super) respond_by: Option<Timestamp>,
    pub(super) resolve_by: Option<Timestamp>,
    pub(super) respond: Option<String>,
    pub(super) resolve: Option<String>,
}

/// In its life.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Escalated {
    /// The highest step.
    pub(super) highest: u32,
    pub(super) times: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Escalation {
    pub(super) policy: Option<String>,
    pub(super) level: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Hold {
    pub(super) reason: String,
    pub(super) since: Timestamp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Major {
    pub(super) since: Timestamp,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) runbook: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alert {
    pub(super) state: String,
    pub(super) severity: String,
    pub(super) source: String,
    pub(super) summary: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) count: u64,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
}
