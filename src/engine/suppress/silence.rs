//! Silences: what a person has muted until when, and what that has muted so far.

use serde::Serialize;

use crate::engine::command::{Done, Refusal};
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// Names a silence; a function of what it says and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SilenceId(pub u128);

impl std::fmt::Display for SilenceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl std::str::FromStr for SilenceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.replace('-', "");
        let id = u128::from_str_radix(&hex, 16).ok().map(SilenceId).filter(|id| id.to_string() == text);
        id.ok_or_else(|| "a silence is named by a UUID in lower case".to_owned())
    }
}

/// What is to be muted.
#[derive(Clone, Debug, PartialEq)]
pub struct SilenceDraft {
    /// The silence to replace.
    pub id: Option<SilenceId>,
    /// Matchers in Alertmanager's syntax, all of which must hold.
    pub matchers: Vec<String>,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// Why.
    pub comment: String,
}

/// A silence as people see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SilenceDoc {
    /// As Alertmanager writes it, a UUID.
    pub id: String,
    /// Matchers in Alertmanager's syntax.
    pub matchers: Vec<String>,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// When it was made or changed last.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// `pending`, `active` or `expired`.
    pub state: &'static str,
    /// Alerts that it mutes now.
    pub muting: u64,
    /// Alerts that it has muted in all.
    pub muted_alerts: u64,
    /// Events that it has muted in all.
    pub muted_events: u64,
}

impl Shard {
    pub(in crate::engine) fn silence(
        &mut self,
        _now: Timestamp,
        _by: &str,
        _draft: &SilenceDraft,
    ) -> Result<Done, Refusal> {
        Err(Refusal::Unknown)
    }

    pub(in crate::engine) fn expire_silence(
        &mut self,
        _now: Timestamp,
        _by: &str,
        _id: SilenceId,
    ) -> Result<Done, Refusal> {
        Err(Refusal::Unknown)
    }

    /// Every silence that is remembered, newest first.
    pub fn silences(&self, _now: Timestamp) -> Vec<SilenceDoc> {
        Vec::new()
    }
}
