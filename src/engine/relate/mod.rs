//! How incidents relate to each other and to changes: by topology, by change, as parts of a storm, merged.
//!
//! Called when an incident opens, comes back, resolves or closes; each relation is a file of its own.

pub(super) mod changes;
pub(super) mod merge;
mod openings;
pub(super) mod storm;
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
}

impl Relations {
    pub(super) fn write(&self, writer: &mut Writer) {
        let flags = [self.parent.is_some(), self.holds, self.told, self.apart];
        writer.byte(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        self.parent.into_iter().for_each(|parent| writer.fixed(parent.0));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let flags = reader.byte()?;
        let [has_parent, holds, told, apart] = [1, 2, 4, 8].map(|flag| flags & flag != 0);
        let parent = if has_parent { Some(IncidentId(reader.fixed()?)) } else { None };
        Ok(Self { parent, holds, told, apart })
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
