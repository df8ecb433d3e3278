//! Where events come from, beside the listener: the `sources` section.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::event::Severity;

/// The `sources` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesConfig {
    /// Topics to consume. Default none.
    pub kafka: Vec<KafkaSourceConfig>,
    /// How Alertmanager input is understood.
    pub alertmanager: AlertmanagerConfig,
}

/// Topics that are consumed by one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSourceConfig {
    /// Unique name; stored with every position, so a renamed source begins anew.
    pub name: String,
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// The topics.
    pub topics: Vec<String>,
    /// The consumer group. Default `incidentd`.
    #[serde(default = "default_group_id")]
    pub group_id: String,
    /// `event` (our JSON, default), `event-protobuf` or `alertmanager`.
    #[serde(default)]
    pub format: SourceFormat,
    /// Where records go that cannot be read. Default: they are counted and logged.
    #[serde(default)]
    pub dead_letter_topic: Option<String>,
    /// Where to begin without a stored position: `earliest` (default) or `latest`.
    #[serde(default)]
    pub start: Start,
    /// Further librdkafka settings; those that would break a promise are refused.
    #[serde(default)]
    pub client: Settings,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceFormat {
    /// Our event as JSON.
    #[default]
    Event,
    /// Our event as Protobuf.
    EventProtobuf,
    /// Alertmanager's JSON.
    Alertmanager,
}

/// Where to begin without a stored position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// With the oldest record there is.
    #[default]
    Earliest,
    /// With what comes next.
    Latest,
}

/// How Alertmanager input is understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// From values of the label `severity` to ours; anything else is a warning, and counted. Default: critical and page
    /// → critical, error → error, warning → warning, info and none → info.
    pub severities: BTreeMap<String, Severity>,
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        let severities = [
            ("critical", Severity::Critical),
            ("page", Severity::Critical),
            ("error", Severity::Error),
            ("warning", Severity::Warning),
            ("info", Severity::Info),
            ("none", Severity::Info),
        ];
        Self { severities: severities.into_iter().map(|(value, severity)| (value.to_owned(), severity)).collect() }
    }
}

fn default_group_id() -> String {
    "incidentd".to_owned()
}
