//! Heartbeats: events that are expected, and what their absence means.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;

/// Events that are expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Unique name.
    pub name: String,
}

/// An expectation, compiled.
#[derive(Debug)]
pub struct Heartbeat {
    /// Unique name.
    pub name: std::sync::Arc<str>,
}

impl Heartbeat {
    pub(super) fn compile(_heartbeats: &[HeartbeatConfig]) -> (Vec<Self>, Vec<Problem>) {
        (Vec::new(), Vec::new())
    }
}
