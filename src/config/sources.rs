//! Where events come from, beside the listener: the `sources` section.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::formats::SeverityMap;
use crate::ingest::kafka::KafkaSourceConfig;

/// The `sources` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesConfig {
    /// Topics to consume. Default none.
    pub kafka: Vec<KafkaSourceConfig>,
    /// How Alertmanager input is understood.
    pub alertmanager: AlertmanagerConfig,
}

/// How Alertmanager input is understood.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// From values of the label `severity` to ours, added to the default: critical and page → critical, error → error,
    /// warning → warning, info and none → info. Anything else is a warning, and counted.
    pub severities: SeverityMap,
}
