//! What a configuration says of status updates: who can be told, how often they are due, who is reminded.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::duration;
use crate::rules::Priority;

/// Status updates: who can be told how an incident stands, and how often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommunicationConfig {
    /// Who can be told how it stands; up to 32. Default none: notes are internal.
    pub audiences: Vec<AudienceConfig>,
    /// After how long the next status update is due, by the priority of the incident. Default: never.
    pub cadence: CadenceConfig,
    /// The sinks that are reminded when one is due; up to 100. Default: those of the incident's rule.
    pub remind: Vec<String>,
}

impl CommunicationConfig {
    /// What holds where nothing is said.
    pub const DEFAULT: Self = Self { audiences: Vec::new(), cadence: CadenceConfig::DEFAULT, remind: Vec::new() };
}

/// Some who are told by status updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AudienceConfig {
    /// Unique, and not `internal`, which is the team itself.
    pub name: String,
    /// The sinks that reach it; 1 to 100.
    pub notify: Vec<String>,
    /// A minijinja template over `incident`, as the API shows it, and `text`, at most 4 KiB. Default:
    /// `{{ incident.id }} {{ incident.title }} ({{ incident.status }}): {{ text }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// When it is told without anybody's doing: `opened` (or came back), `resolved`. Default: never.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Occasion>,
}

/// A move of an incident that an audience is told of by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// It opens, or comes back.
    Opened,
    /// It is resolved.
    Resolved,
}

/// After how long the next status update is due, each 1m to 7d; never where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CadenceConfig {
    /// Of incidents of the priority P1.
    #[serde(rename = "P1", with = "duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub p1: Option<Duration>,
    /// Of incidents of the priority P2.
    #[serde(rename = "P2", with = "duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub p2: Option<Duration>,
    /// Of incidents of the priority P3.
    #[serde(rename = "P3", with = "duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub p3: Option<Duration>,
    /// Of incidents of the priority P4.
    #[serde(rename = "P4", with = "duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub p4: Option<Duration>,
    /// Of incidents of the priority P5.
    #[serde(rename = "P5", with = "duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub p5: Option<Duration>,
}

impl CadenceConfig {
    const DEFAULT: Self = Self { p1: None, p2: None, p3: None, p4: None, p5: None };

    /// Of incidents of a priority.
    pub fn of(&self, priority: Priority) -> Option<Duration> {
        [self.p1, self.p2, self.p3, self.p4, self.p5][priority as usize]
    }
}
