//! What the configuration says about muting: inhibition rules, and maintenance windows with their schedules.

pub(super) mod inhibition;
pub(super) mod maintenance;
pub(super) mod schedule;
