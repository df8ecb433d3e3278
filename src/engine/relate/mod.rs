//! How incidents relate to each other and to changes: by topology, by change, as parts of a storm, merged.
//!
//! Called when an incident opens, comes back, resolves or closes; each relation is a file of its own.

pub(super) mod changes;
pub(super) mod merge;
pub(super) mod storm;
pub(super) mod topology;
pub(super) mod union;

use super::decision::Verdict;
use super::journal::{Fault, Reader, Writer};
use super::shard::Shard;
use crate::event::{Batch, Event, Timestamp};
use crate::identity::IncidentId;

/// What an incident knows of its relations, beside its links.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Relations {
    /// The incident that this one is a part of, as in a storm. Sinks are told of that one instead.
    pub(super) parent: Option<IncidentId>,
    /// Whether any sink was told of it.
    pub(super) told: bool,
}

impl Relations {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.byte(u8::from(self.parent.is_some()) | u8::from(self.told) << 1);
        self.parent.into_iter().for_each(|parent| writer.fixed(parent.0));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let flags = reader.byte()?;
        let parent = if flags & 1 != 0 { Some(IncidentId(reader.fixed()?)) } else { None };
        Ok(Self { parent, told: flags & 2 != 0 })
    }
}

impl Shard {
    /// An incident has opened or come back: finds what it belongs to.
    pub(super) fn relate(&mut self, now: Timestamp, group: u32) {
        self.relate_topology(now, group);
        self.relate_changes(now, group);
    }

    /// An incident is closed and about to be forgotten.
    pub(super) fn unrelate(&mut self, now: Timestamp, group: u32) {
        self.unrelate_topology(now, group);
    }

    /// An event of kind `change`.
    pub(super) fn change(&mut self, now: Timestamp, batch: &Batch, event: &Event) -> Verdict {
        self.note_change(now, batch, event)
    }
}
