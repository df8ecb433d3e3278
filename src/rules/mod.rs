//! Correlation rules: what the configuration says, and what it compiles to.
//!
//! [`RuleConfig`] is the YAML; [`compile`] turns a list of them into a [`RuleSet`], in which the rules that match an
//! alert are found through an index over matcher labels, so that the cost grows with the rules that match. Pure:
//! all errors are found at load, and matching never fails.

mod changes;
mod communication;
mod compile;
mod condition;
mod deadlines;
mod default;
mod escalation;
mod flow;
mod expression;
mod heartbeat;
mod index;
mod labels;
mod matcher;
mod muting;
mod priority;
mod routing;
mod sets;
mod title;
mod topology;
mod union;
mod validate;

pub use changes::ChangesConfig;
pub use communication::{
    AudienceConfig, CadenceConfig, Communication, CommunicationConfig, INCIDENT_FIELDS, INTERNAL, MESSAGE_BYTES_MAX,
    Occasion, StatusAudience,
};
pub use compile::{Definition, Rule, RuleSet, Subject, compile};
pub use condition::{
    AbsenceConfig, DistinctConfig, Late, OpenWhen, OpenWhenConfig, RatioConfig, STEPS_MAX, StepConfig, WindowType,
};
pub use deadlines::{
    AgreementConfig, Calendar, CalendarConfig, Calendars, DeadlineConfigs, HOLIDAYS_FILE_BYTES_MAX, HORIZON_DAYS,
    Holidays, TargetConfig, TargetTime, Targets, TargetsConfig, Terms,
};
pub use default::default_rules;
pub use escalation::{
    Conditions, EscalationPolicy, EscalationPolicyConfig, EscalationStep, EscalationStepConfig, EscalationTarget,
    Escalations, IncidentFacts, IncidentMatcher, MajorIncidentConfig, MajorRules, Quiet, QuietConfig, StepDue, StopOn,
    SymptomsConfig, Unless,
};
pub use expression::{Expression, Facts};
pub use flow::{FlappingConfig, FlappingMemory, ProblemsConfig, StormConfig};
pub use heartbeat::{Expected, Heartbeat, HeartbeatConfig, KEYS_MAX as HEARTBEAT_KEYS_MAX, SignOfLife};
pub use labels::{LabelIndex, LabelMatcher, LabelSet, join_matcher, label_or_field, split_matcher};
pub use matcher::{Field, Matcher, Operator, Pattern, parse_matcher};
pub use muting::inhibition::{InhibitRuleConfig, Inhibition, Inhibitions, Role};
pub use muting::maintenance::{MaintenanceConfig, MaintenanceWindow};
pub use muting::schedule::{OnceConfig, Opening, Schedule, ScheduleConfig};
pub use priority::{
    AfterConfig, EnvironmentConfig, ImpactRisesConfig, PriorityRules, ThresholdsConfig, UrgencyRisesConfig,
};
pub use sets::{MEMBERS_MAX, MemberSet, Members, SetConfig, Share};
pub use title::{TITLE_BYTES_MAX, Title, TitleContext};
pub use topology::{
    Direction, KnownNames, ServiceConfig, ServiceDetails, Team, TeamConfig, TeamKind, Teams, Topology, TopologyConfig,
    VISITS_MAX, Walked,
};
pub use union::{Union, UnionConfig};
pub use validate::{Problem, check_name};

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Severity;

/// How much something hurts, or how fast it must be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Level {
    /// Much, or fast.
    High,
    /// In between.
    #[default]
    Medium,
    /// Little, or when there is time.
    Low,
}

impl Level {
    /// How fast an alert of this severity must be answered: critical → high, error → medium, the rest → low.
    pub const fn of_severity(severity: Severity) -> Self {
        match severity {
            Severity::Critical => Level::High,
            Severity::Error => Level::Medium,
            Severity::Warning | Severity::Info => Level::Low,
        }
    }

    /// The inverse of `as u8`, for the journal.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Level::High),
            1 => Some(Level::Medium),
            2 => Some(Level::Low),
            _ => None,
        }
    }
}

/// Impact × urgency, `P1` (gravest) to `P5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[repr(u8)]
pub enum Priority {
    /// Gravest.
    P1,
    /// Grave.
    P2,
    /// Medium.
    P3,
    /// Low.
    P4,
    /// Lowest.
    P5,
}

impl Priority {
    /// Every priority, gravest first.
    pub const ALL: [Priority; 5] = [Priority::P1, Priority::P2, Priority::P3, Priority::P4, Priority::P5];

    /// The public name.
    pub const fn as_str(self) -> &'static str {
        ["P1", "P2", "P3", "P4", "P5"][self as usize]
    }
}

/// `matrix[impact][urgency]`, rows and columns high, medium, low.
pub type Matrix = [[Priority; 3]; 3];

/// The matrix of the contract.
pub const DEFAULT_MATRIX: Matrix = {
    use Priority::{P1, P2, P3, P4, P5};
    [[P1, P2, P3], [P2, P3, P4], [P3, P4, P5]]
};

/// Which events belong to one incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Unique name.
    pub name: String,
    /// Matchers in Alertmanager's syntax; all must hold. Default: every alert.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
    /// A condition in the Common Expression Language over `labels`, `annotations`, `severity`, `source`, `summary` and
    /// `kind`, asked where the matchers hold. At most 4 KiB, 32 levels deep. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Whether rules further down may take an alert that this one takes. Default `true`.
    #[serde(default = "defaults::proceed", rename = "continue", skip_serializing_if = "defaults::is_true")]
    pub proceed: bool,
    /// `active` (default); `shadow` is not yet supported.
    #[serde(default)]
    pub mode: Mode,
    /// Labels whose values make the group key. Default: one group.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// Instead of `group_by`: labels of which any one joins alerts that share its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub union_by: Option<UnionConfig>,
    /// The span of event time in which `open_when` must hold; of a session, the gap that ends it. Default `5m`, at
    /// most `24h`.
    #[serde(default = "defaults::window", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// `sliding` (default), `tumbling` or `session`.
    #[serde(default)]
    pub window_type: WindowType,
    /// What lies further apart never counts as one session. Only with `window_type: session`. Default and at most
    /// `24h`.
    #[serde(default, with = "crate::event::duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub window_max: Option<Duration>,
    /// What opens an incident. Default `{ alerts: 1 }`.
    #[serde(default)]
    pub open_when: OpenWhenConfig,
    /// Holds the opening back, to gather what belongs to it. Default `0s`.
    #[serde(default, with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub wait: Duration,
    /// All clear for this long resolves. Default `5m`.
    #[serde(default = "defaults::resolve_after", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub resolve_after: Duration,
    /// A recurrence within this time reopens instead of opening anew. Default `1h`; `0s` closes at once.
    #[serde(default = "defaults::reopen_within", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub reopen_within: Duration,
    /// `linked` and `updated` deliveries of one incident are gathered this long. Default `10s`.
    #[serde(default = "defaults::update_interval", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub update_interval: Duration,
    /// What a lapsed lease means: `clear` (default) counts as all clear, `hold` keeps the incident open.
    #[serde(default)]
    pub on_stale: OnStale,
    /// Matchers of events that end the group's older alerts, as an `up` ends a `down`. Default none.
    #[serde(default)]
    pub cleared_by: Vec<String>,
    /// An event later than the lateness allowed: `stale` (default) counts nothing, `count` counts where its window is
    /// still remembered.
    #[serde(default)]
    pub late: Late,
    /// An alert without a `group_by` label: `skip` (default) or `own_group`.
    #[serde(default)]
    pub missing_label: MissingLabel,
    /// The sinks that are told. Default: every sink.
    #[serde(default)]
    pub notify: Option<Vec<String>>,
    /// An alert that keeps changing holds its incident open. Default: none; `{}` for its defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<FlappingConfig>,
    /// Beyond so many openings, further incidents become children of one. Default: none; `{}` for its defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<StormConfig>,
    /// The escalation policy of its incidents. Default: that of the service, else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<String>,
    /// What the incident says.
    #[serde(default)]
    pub incident: IncidentConfig,
}

/// Whether a rule acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It opens incidents.
    #[default]
    Active,
    /// It would only count and record; not yet supported.
    Shadow,
}

/// What a lapsed lease means for the incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStale {
    /// A stale alert counts as cleared.
    #[default]
    Clear,
    /// A stale alert holds its incident open until it is resolved.
    Hold,
}

/// What becomes of an alert that lacks a `group_by` label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MissingLabel {
    /// The rule does not take it; it is recorded with the reason `label_missing`.
    #[default]
    Skip,
    /// The absence is a value of its own.
    OwnGroup,
}

/// What the incident says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncidentConfig {
    /// A minijinja template over `labels`, `annotations`, `key`, `severity`, `source`, `summary` and `rule` of the
    /// alert that opened it. Default: the rule's name and the key.
    #[serde(default)]
    pub title: Option<String>,
    /// `high`, `medium` or `low`. Default: critical → high, error → medium, else low.
    #[serde(default)]
    pub urgency: Option<Level>,
    /// `high`, `medium` (default), `low`, or `from_service`: that of the incident's service, `medium` where unknown.
    #[serde(default)]
    pub impact: ImpactConfig,
}

/// How much an incident of the rule hurts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImpactConfig {
    /// Much.
    High,
    /// In between.
    #[default]
    Medium,
    /// Little.
    Low,
    /// As the service catalogue says; medium where it does not.
    FromService,
}

mod defaults {
    use std::time::Duration;

    pub(super) fn proceed() -> bool {
        true
    }
    pub(super) fn is_true(value: &bool) -> bool {
        *value
    }

    pub(super) fn window() -> Duration {
        Duration::from_secs(300)
    }
    pub(super) fn resolve_after() -> Duration {
        Duration::from_secs(300)
    }
    pub(super) fn reopen_within() -> Duration {
        Duration::from_secs(3_600)
    }
    pub(super) fn update_interval() -> Duration {
        Duration::from_secs(10)
    }
}
