//! Which changes are suspected when something breaks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which changes are suspected when something breaks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChangesConfig {}
