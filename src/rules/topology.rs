//! The service catalogue as far as correlation needs it: what belongs to which service, and what depends on what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Problem;

/// One service: what ITIL calls a configuration item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Unique name.
    pub name: String,
    /// The services that it needs.
    #[serde(default)]
    pub depends_on: Vec<String>,
}

/// Services and what they depend on, compiled.
#[derive(Debug, Default)]
pub struct Topology {}

impl Topology {
    pub(super) fn compile(_services: &[ServiceConfig]) -> (Self, Vec<Problem>) {
        (Self::default(), Vec::new())
    }
}
