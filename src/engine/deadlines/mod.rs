//! Agreed deadlines of an incident: to respond and to resolve, in working time, with warnings before the breach.

use crate::engine::incident::Targets;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::moves::IncidentStatus;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Deadlines {}

impl Deadlines {
    pub(super) fn write(&self, _writer: &mut Writer) {}

    pub(super) fn read(_reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self::default())
    }

    pub(super) fn doc(&self) -> Targets {
        Targets::default()
    }
}

impl Shard {
    /// The incident goes from one status to another: clocks start, pause and stop.
    pub(super) fn deadlines_follow(
        &mut self,
        _now: Timestamp,
        _group: u32,
        _before: IncidentStatus,
        _after: IncidentStatus,
    ) {
    }

    /// The priority, the service or the configuration is another one: what is due moves.
    pub(super) fn deadlines_turned(&mut self, _now: Timestamp, _group: u32) {}

    /// All that fires has begun or ceased to be muted.
    pub(super) fn deadlines_muted(&mut self, _now: Timestamp, _group: u32) {}

    pub(super) fn deadlines_next(&self, _group: u32) -> Option<Timestamp> {
        None
    }

    pub(super) fn deadlines_due(&mut self, _now: Timestamp, _group: u32) {}
}
