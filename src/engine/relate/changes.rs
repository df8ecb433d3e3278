//! Changes, and the incidents that they may have caused.

use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::engine::journal::{Fault, Part, Reader, Writer};
use crate::engine::memory::interner::Interner;
use crate::engine::shard::Shard;
use crate::event::{Batch, Event, Timestamp};

/// Changes that may still be suspected.
#[derive(Debug, Default)]
pub(in crate::engine) struct Changes {}

impl Part for Changes {
    const TAG: u8 = 10;

    fn write_changes(&mut self, _names: &Interner, _writer: &mut Writer) {}

    fn write_slice(&self, _names: &Interner, _from: u32, _writer: &mut Writer) -> Option<u32> {
        None
    }

    fn restore(&mut self, _names: &mut Interner, _reader: &mut Reader<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

impl Shard {
    /// Remembers a change, and links it to incidents that have opened since.
    pub(super) fn note_change(&mut self, _now: Timestamp, _batch: &Batch, _event: &Event) -> Verdict {
        Verdict::new(Outcome::Recorded, Reason::KindNotCorrelated)
    }

    /// Links the changes that the group's incident may have been caused by.
    pub(super) fn relate_changes(&mut self, _now: Timestamp, _group: u32) {}
}
