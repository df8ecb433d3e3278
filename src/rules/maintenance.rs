//! Maintenance windows: planned times in which what they name is muted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;

/// A planned time in which what it names is muted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceConfig {
    /// Unique name.
    pub name: String,
}

/// A maintenance window, compiled.
#[derive(Debug)]
pub struct MaintenanceWindow {
    /// Unique name.
    pub name: std::sync::Arc<str>,
}

impl MaintenanceWindow {
    pub(super) fn compile(_windows: &[MaintenanceConfig]) -> (Vec<Self>, Vec<Problem>) {
        (Vec::new(), Vec::new())
    }
}
