//! What the configuration says of escalation policies.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::rules::{Priority, Share};

/// Who is told when, for as long as nobody answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationPolicyConfig {
    /// Unique name, which rules and services give as `escalation`. Required.
    pub name: String,
    /// What happens; 1 to 32. Required.
    pub steps: Vec<EscalationStepConfig>,
    /// How often the steps by time come again, after the last of them. Default 0; at most 100.
    #[serde(default)]
    pub repeat: u32,
    /// From the last step until they come again. Default `30m`; 1m to 30d.
    #[serde(default = "repeat_after", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub repeat_after: Duration,
    /// What ends the steps by time and by shares of the target to respond: `acknowledged`, `in_progress` or `resolved`.
    /// Default `acknowledged`; where a step has `unless`, the steps say that themselves and the default is `resolved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_on: Option<StopOn>,
    /// When incidents of low priority wait. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<QuietConfig>,
    /// Whether a symptom whose cause is open escalates by itself: `own` (default), or `follow_cause`, which leaves that to
    /// the cause.
    #[serde(default)]
    pub symptoms: SymptomsConfig,
}

fn repeat_after() -> Duration {
    Duration::from_secs(1_800)
}

/// One step of a policy. It tells, assigns, or declares a major incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationStepConfig {
    /// Time since the incident opened or came back, without the time on hold; 0s to 30d. Either this or `share`.
    #[serde(default, with = "crate::event::duration::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub after: Option<Duration>,
    /// Share of an agreed time that has passed, such as `80%`; `100%` is the breach. 1% to 100%. Needs `of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Of which target: `respond` or `resolve`. Only with `share`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<EscalationTarget>,
    /// The sinks that are told; at most 100. Default: none.
    #[serde(default)]
    pub notify: Vec<String>,
    /// Passed over where the incident has come so far: `acknowledged` or `in_progress`. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<Unless>,
    /// One matcher or a list of which all must hold, over `priority`, `severity`, `service`, `status`, `rule` and the labels
    /// of the incident's key; at most 16. Default: always.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub when: Conditions,
    /// The team or supplier that is given the incident. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assign: Option<String>,
    /// Whether it declares a major incident. Default `false`.
    #[serde(default)]
    pub major: bool,
    /// The runbook of the recovery plan, named in the major incident. Only with `major`; up to 2048 bytes. Default: that of
    /// `major_incident`, else of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}

/// What ends a policy for an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopOn {
    /// Somebody has taken it.
    Acknowledged,
    /// Somebody works on it.
    InProgress,
    /// It is over.
    Resolved,
}

/// How far an incident must have come for a step to be passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unless {
    /// Somebody has taken it.
    Acknowledged,
    /// Somebody works on it.
    InProgress,
}

/// Which agreed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EscalationTarget {
    /// To respond.
    Respond,
    /// To resolve.
    Resolve,
}

impl EscalationTarget {
    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            EscalationTarget::Respond => "respond",
            EscalationTarget::Resolve => "resolve",
        }
    }
}

/// Whether a symptom escalates by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SymptomsConfig {
    /// As every other incident.
    #[default]
    Own,
    /// Not while its cause is open.
    FollowCause,
}

/// When incidents of low priority wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietConfig {
    /// While this calendar is closed, steps wait until it opens.
    pub calendar: String,
    /// The priorities that wait; at least one.
    pub priorities: Vec<Priority>,
}

/// One matcher or a list of them, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(schema_with = "Conditions::schema")]
pub struct Conditions(pub Vec<String>);

impl Conditions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Conditions;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a matcher or a list of matchers")
            }

            fn visit_str<E>(self, text: &str) -> Result<Conditions, E> {
                Ok(Conditions(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Conditions, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(Conditions(texts))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}
