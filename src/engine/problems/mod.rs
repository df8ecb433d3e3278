//! What came before: past incidents with the same signature, and problem candidates where one keeps recurring.

use crate::engine::group::Group;
use crate::engine::moves::IncidentStatus;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    /// The incident goes from one status to another: one that opens is looked up, one that ends is remembered.
    pub(super) fn problems_follow(
        &mut self,
        _now: Timestamp,
        _group: u32,
        _before: IncidentStatus,
        _after: IncidentStatus,
    ) {
    }

    /// 16 hex digits over rule and key.
    pub(super) fn signature(&self, state: &Group) -> String {
        format!("{:016x}", state.key_hash as u64)
    }
}
