//! From configured rules to a set that matches fast.
//!
//! (interface; being implemented)

use std::sync::Arc;
use std::time::Duration;

use super::{Level, Matrix, MissingLabel, OnStale, Priority, RuleConfig, matcher::Matcher};
use crate::event::{Kind, Severity, Status};

/// What is wrong in a configured rule, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// A path in the configuration, such as `rules[2].group_by[0]`.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Only unwise.
    pub warning: bool,
}

/// What a matcher looks at.
pub trait Subject {
    /// A label's value, `None` when it is missing.
    fn label(&self, name: &str) -> Option<&str>;
    /// The monitoring system.
    fn source(&self) -> &str;
    /// One line for people.
    fn summary(&self) -> &str;
    /// How bad.
    fn severity(&self) -> Severity;
    /// Whether the condition holds.
    fn status(&self) -> Status;
    /// What it tells of.
    fn kind(&self) -> Kind;
}

/// What opens an incident.
#[derive(Clone, Debug, PartialEq)]
pub enum OpenWhen {
    /// So many different alerts.
    Alerts(u32),
    /// So many firing events.
    Events(u32),
    /// So many different values of a label.
    Distinct {
        /// The label.
        label: Arc<str>,
        /// How many values.
        count: u32,
    },
}

/// A title template, compiled; see `IncidentConfig::title`.
#[derive(Clone, Debug)]
pub struct Title {
    // minijinja environment, strict undefined, fuel-limited
}

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique name.
    pub name: Arc<str>,
    /// A hash of the whole definition (its canonical JSON): equal for a rule that did not change.
    pub definition: u64,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// Labels whose values make the group key.
    pub group_by: Vec<Arc<str>>,
    /// The span of event time in which `open_when` must hold.
    pub window: Duration,
    /// What opens an incident.
    pub open_when: OpenWhen,
    /// Holds the opening back.
    pub wait: Duration,
    /// All clear for this long resolves.
    pub resolve_after: Duration,
    /// A recurrence within this time reopens.
    pub reopen_within: Duration,
    /// Gathers `linked` and `updated`.
    pub update_interval: Duration,
    /// What a lapsed lease means.
    pub on_stale: OnStale,
    /// What becomes of an alert that lacks a `group_by` label.
    pub missing_label: MissingLabel,
    /// The sinks that are told, resolved: every configured sink where the rule names none.
    pub notify: Arc<[Arc<str>]>,
    /// Title template; the default title where `None`.
    pub title: Option<Title>,
    /// Fixed urgency; else from the severity.
    pub urgency: Option<Level>,
    /// How much it hurts.
    pub impact: Level,
}

/// All rules, indexed.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// In the order of the configuration.
    pub rules: Vec<Arc<Rule>>,
    /// `matrix[impact][urgency]`.
    pub matrix: Option<Matrix>,
}
