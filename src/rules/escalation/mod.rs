//! Who is told of an incident that nobody answers, or that is too large for those who were: policies and major incidents.
//!
//! All that can be wrong is found here, at load: sinks, policies, rules and values that do not exist, with the nearest that
//! do. Bounded: 100 policies of 32 steps each, 100 sinks a step; more is an error. Pure: when a step is due is worked out
//! by the engine.

mod check;
mod compile;
mod config;
mod major;
#[cfg(test)]
mod tests;
mod when;

pub use compile::{EscalationPolicy, EscalationStep, Escalations, Quiet, StepDue};
pub use config::{
    Conditions, EscalationPolicyConfig, EscalationStepConfig, EscalationTarget, QuietConfig, StopOn, SymptomsConfig,
    Unless,
};
pub use major::{MajorIncidentConfig, MajorRules};
pub use when::{IncidentFacts, IncidentMatcher};
