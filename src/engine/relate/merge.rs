//! Merging incidents, and splitting them again.

use crate::engine::command::{Done, Refusal};
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::IncidentId;

impl Shard {
    /// Merges an incident into another one.
    pub(in crate::engine) fn merge(
        &mut self,
        _now: Timestamp,
        _by: &str,
        _incident: IncidentId,
        _into: IncidentId,
    ) -> Result<Done, Refusal> {
        Err(Refusal::Unknown)
    }

    /// Takes a part out of an incident again, and keeps it apart.
    pub(in crate::engine) fn split(
        &mut self,
        now: Timestamp,
        by: &str,
        incident: IncidentId,
        part: IncidentId,
    ) -> Result<Done, Refusal> {
        self.split_symptom(now, by, incident, part).ok_or(Refusal::Unknown)
    }
}
