//! Storms: beyond so many opens a minute, further incidents of a rule become parts of one.

use crate::engine::journal::{Fault, Part, Reader, Writer};
use crate::engine::memory::interner::Interner;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::IncidentId;

/// What is known of storms, by rule.
#[derive(Debug, Default)]
pub(in crate::engine) struct Storms {}

impl Part for Storms {
    const TAG: u8 = 11;

    fn write_changes(&mut self, _names: &Interner, _writer: &mut Writer) {}

    fn write_slice(&self, _names: &Interner, _from: u32, _writer: &mut Writer) -> Option<u32> {
        None
    }

    fn restore(&mut self, _names: &mut Interner, _reader: &mut Reader<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

impl Shard {
    /// The storm that an incident of the rule which opens now is part of. Opens the storm's own incident where it begins.
    pub(in crate::engine) fn storm_of(&mut self, _now: Timestamp, _rule: u32) -> Option<IncidentId> {
        None
    }
}
