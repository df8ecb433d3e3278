//! What is kept of the work on an incident: how long it was in each status, why it waits, how it ended.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::incident::{HoldDoc, TimeIn};
use crate::engine::journal::{Fault, Reader, Writer, read_maybe_text, write_maybe_text};
use crate::engine::moves::IncidentStatus;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct Work {
    /// Time in each status, by its byte, without the one that it is in.
    spent: [Duration; IncidentStatus::ALL.len()],
    /// Since when it is in its status.
    since: Timestamp,
    /// Why it waits, while it does.
    pub(in crate::engine) hold: Option<Arc<str>>,
    /// How often it came back.
    pub(in crate::engine) reopened: u32,
    /// How it ended, in the words of whoever said so.
    pub(in crate::engine) resolution: Option<Arc<str>>,
}

impl Work {
    pub(in crate::engine) fn write(&self, writer: &mut Writer) {
        self.spent.iter().for_each(|spent| writer.number(spent.as_micros() as u64));
        writer.time(self.since);
        write_maybe_text(writer, self.hold.as_deref());
        writer.number(u64::from(self.reopened));
        write_maybe_text(writer, self.resolution.as_deref());
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let mut work = Self::default();
        for spent in &mut work.spent {
            *spent = Duration::from_micros(reader.number()?);
        }
        work.since = reader.time()?;
        work.hold = read_maybe_text(reader)?.map(Arc::from);
        work.reopened = reader.small()?;
        work.resolution = read_maybe_text(reader)?.map(Arc::from);
        Ok(work)
    }

    /// It goes from one status to another.
    fn turn(&mut self, now: Timestamp, before: IncidentStatus, after: IncidentStatus) {
        if before != IncidentStatus::New {
            self.spent[before as usize] += now.since(self.since);
        }
        self.since = now;
        if before == IncidentStatus::Resolved && after == IncidentStatus::Open {
            self.reopened += 1;
            // The timeline keeps what was said of its end before.
            self.resolution = None;
        }
    }

    /// Seconds in each status that it had, until now.
    pub(in crate::engine) fn time_in(&self, status: IncidentStatus, now: Timestamp) -> TimeIn {
        TimeIn::of(|one| {
            let spent = self.spent[one as usize];
            if one == status {
                return Some((spent + now.since(self.since)).as_secs());
            }
            Some(spent.as_secs()).filter(|seconds| *seconds > 0)
        })
    }

    pub(in crate::engine) fn hold_doc(&self) -> Option<HoldDoc> {
        self.hold.clone().map(|reason| HoldDoc { reason, since: self.since })
    }
}

impl Shard {
    pub(in crate::engine) fn work_follow(
        &mut self,
        now: Timestamp,
        group: u32,
        before: IncidentStatus,
        after: IncidentStatus,
    ) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.work.turn(now, before, after);
        if after != IncidentStatus::OnHold {
            incident.work.hold = None;
        }
        let taken = matches!(after, IncidentStatus::Acknowledged | IncidentStatus::InProgress | IncidentStatus::OnHold);
        if taken && incident.acknowledged_at.is_none() {
            incident.acknowledged_at = Some(now);
        }
    }
}
