//! How incidents relate to each other and to changes: by topology, by change, as parts of a storm, merged.
//!
//! Called when an incident opens, comes back, resolves or closes; each relation is a file of its own.

pub(super) mod changes;
mod component;
pub(super) mod merge;
mod parts;
pub(super) mod storm;
#[cfg(test)]
mod tests;
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
    /// The incident that this one was merged into.
    pub(super) merged_into: Option<IncidentId>,
    /// Incidents that were merged into this one and can be split from it, in the order of the merges.
    pub(super) parts: Vec<IncidentId>,
}

impl Relations {
    pub(super) fn write(&self, writer: &mut Writer) {
        for other in [self.parent, self.merged_into] {
            writer.byte(u8::from(other.is_some()));
            other.into_iter().for_each(|other| writer.fixed(other.0));
        }
        writer.number(self.parts.len() as u64);
        self.parts.iter().for_each(|part| writer.fixed(part.0));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let mut other =
            || -> Result<_, Fault> { Ok(if reader.flag()? { Some(IncidentId(reader.fixed()?)) } else { None }) };
        let (parent, merged_into) = (other()?, other()?);
        let parts = reader.count()?;
        let parts = (0..parts).map(|_| Ok(IncidentId(reader.fixed()?))).collect::<Result<_, Fault>>()?;
        Ok(Self { parent, merged_into, parts })
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
