//! How incidents relate to each other and to changes: by topology, by change, as parts of a storm, merged.
//!
//! Called when an incident opens, comes back, resolves or closes; each relation is a file of its own.

pub(super) mod changes;
mod component;
pub(super) mod merge;
mod openings;
mod parts;
pub(super) mod storm;
#[cfg(test)]
mod tests;
pub(super) mod topology;
pub(super) mod union;

use super::decision::Verdict;
use super::journal::{Fault, Reader, Writer};
use super::shard::Shard;
use crate::delivery::Action;
use crate::event::{Batch, Event, Timestamp};
use crate::identity::IncidentId;

/// What an incident knows of its relations, beside its links.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Relations {
    /// The incident that this one is a part of, as in a storm. Sinks are told of that one instead.
    pub(super) parent: Option<IncidentId>,
    /// Whether it holds its parent open: it is open itself.
    pub(super) holds: bool,
    /// Whether any sink was told of it.
    pub(super) told: bool,
    /// Whether an operator has taken it out of a storm: it becomes part of none any more.
    pub(super) apart: bool,
    /// The incident that this one was merged into.
    pub(super) merged_into: Option<IncidentId>,
    /// Incidents that were merged into this one and can be split from it, in the order of the merges.
    pub(super) parts: Vec<IncidentId>,
}

impl Relations {
    pub(super) fn write(&self, writer: &mut Writer) {
        let flags = [self.parent.is_some(), self.holds, self.told, self.apart, self.merged_into.is_some()];
        writer.byte(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        self.parent.into_iter().chain(self.merged_into).for_each(|other| writer.fixed(other.0));
        writer.number(self.parts.len() as u64);
        self.parts.iter().for_each(|part| writer.fixed(part.0));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let flags = reader.byte()?;
        let [has_parent, holds, told, apart, is_merged] = [1, 2, 4, 8, 16].map(|flag| flags & flag != 0);
        let mut other =
            |there| -> Result<_, Fault> { Ok(if there { Some(IncidentId(reader.fixed()?)) } else { None }) };
        let (parent, merged_into) = (other(has_parent)?, other(is_merged)?);
        let parts = reader.count()?;
        let parts = (0..parts).map(|_| Ok(IncidentId(reader.fixed()?))).collect::<Result<_, Fault>>()?;
        Ok(Self { parent, holds, told, apart, merged_into, parts })
    }

    /// Whether sinks are told of the parent instead. Where they know the incident, its end is never kept from them.
    pub(super) fn mutes(&self, action: Action) -> bool {
        self.parent.is_some() && !(self.told && matches!(action, Action::Resolved | Action::Closed))
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
        self.child_resolved(now, group);
        self.unrelate_topology(now, group);
    }

    /// An event of kind `change`.
    pub(super) fn change(&mut self, now: Timestamp, batch: &Batch, event: &Event) -> Verdict {
        self.note_change(now, batch, event)
    }
}
