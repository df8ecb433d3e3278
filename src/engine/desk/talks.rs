//! What is said about an incident: notes, status updates to audiences, and when the next one is due.

use std::sync::Arc;

use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::lifecycle::Audience;
use crate::engine::moves::{IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct Talks {
    /// When stakeholders are to hear next.
    pub(in crate::engine) next_due: Option<Timestamp>,
}

impl Talks {
    pub(in crate::engine) fn write(&self, writer: &mut Writer) {
        writer.maybe_time(self.next_due);
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self { next_due: reader.maybe_time()? })
    }
}

impl Shard {
    pub(in crate::engine) fn talks_follow(
        &mut self,
        _now: Timestamp,
        _group: u32,
        _before: IncidentStatus,
        _after: IncidentStatus,
    ) {
    }

    /// The priority is another one, or it became a major incident: the cadence may be another one.
    pub(in crate::engine) fn talks_turned(&mut self, _now: Timestamp, _group: u32) {}

    pub(in crate::engine) fn talks_next(&self, _group: u32) -> Option<Timestamp> {
        None
    }

    pub(in crate::engine) fn talks_due(&mut self, _now: Timestamp, _group: u32) {}

    pub(in crate::engine) fn write_note(
        &mut self,
        now: Timestamp,
        group: u32,
        text: &str,
        _audience: &str,
    ) -> Result<(), Refusal> {
        let text = checked("text", text, TEXT_BYTES_MAX, true)?.to_owned();
        let audience = Audience::Spoken(Arc::default());
        self.tell(now, group, (Move::Update, Reason::NoteWritten), &audience, text);
        Ok(())
    }
}
