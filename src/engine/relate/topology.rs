//! Symptoms and causes: incidents of dependants belong to the incident of what they depend on.

use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    /// Links the group's incident to the incident of what its service depends on, and those of its dependants to it.
    pub(super) fn relate_topology(&mut self, _now: Timestamp, _group: u32) {}

    /// The group's incident is closed.
    pub(super) fn unrelate_topology(&mut self, _now: Timestamp, _group: u32) {}
}
