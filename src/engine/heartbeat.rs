//! Heartbeats: what is expected and does not come is an alert of its own.

use super::decision::{Outcome, Reason, Verdict};
use super::journal::{Fault, Part, Reader, Writer};
use super::memory::interner::Interner;
use super::shard::Shard;
use crate::event::{Batch, Event, Timestamp};

/// What is expected, and when it was last heard.
#[derive(Debug, Default)]
pub(super) struct Heartbeats {}

impl Heartbeats {
    /// When the next one is late or missing.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        None
    }
}

impl Part for Heartbeats {
    const TAG: u8 = 13;

    fn write_changes(&mut self, _names: &Interner, _writer: &mut Writer) {}

    fn write_slice(&self, _names: &Interner, _from: u32, _writer: &mut Writer) -> Option<u32> {
        None
    }

    fn restore(&mut self, _names: &mut Interner, _reader: &mut Reader<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

impl Shard {
    /// An event of kind `heartbeat`.
    pub(super) fn heartbeat(&mut self, _now: Timestamp, _batch: &Batch, _event: &Event) -> Verdict {
        Verdict::new(Outcome::Recorded, Reason::KindNotCorrelated)
    }

    /// Something expected is late or missing.
    pub(super) fn heartbeat_due(&mut self, _now: Timestamp) {}
}
