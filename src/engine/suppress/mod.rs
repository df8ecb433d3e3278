//! Who is muted, decided in one place for opening, notifying, escalating and deadlines.
//!
//! Silences come by command, inhibition and maintenance windows from the configuration. A resolve always passes.

pub(super) mod maintenance;
pub mod silence;

use super::correlate::Sighting;
use super::decision::Verdict;
use super::journal::{Fault, Part, Reader, Writer};
use super::memory::interner::Interner;
use super::shard::Shard;
use crate::event::Timestamp;

/// What is muted at present, and by what.
#[derive(Debug, Default)]
pub(super) struct Suppression {
    pub(super) maintenance: maintenance::Maintenance,
}

impl Suppression {
    /// When something begins or ends to be muted next.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.maintenance.deadline()
    }
}

impl Part for Suppression {
    const TAG: u8 = 9;

    fn write_changes(&mut self, _names: &Interner, _writer: &mut Writer) {}

    fn write_slice(&self, _names: &Interner, _from: u32, _writer: &mut Writer) -> Option<u32> {
        None
    }

    fn restore(&mut self, _names: &mut Interner, _reader: &mut Reader<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

impl Shard {
    /// The verdict on a firing alert that is muted: it is looked at again when that ends.
    pub(super) fn withheld(&mut self, sighting: &Sighting<'_>) -> Option<Verdict> {
        self.withheld_by_maintenance(sighting.slot)
    }

    /// Whether nobody is to be told of this group's incident, because all that fires in it is muted.
    pub(super) fn is_group_muted(&self, _group: u32) -> bool {
        false
    }

    /// Something begins or ends to be muted.
    pub(super) fn suppression_due(&mut self, now: Timestamp) {
        self.maintenance_due(now);
    }
}
