//! Escalation: the steps of a policy by time, priority, missed acknowledgement and coming breach; major incidents.

pub(super) mod major;

use std::sync::Arc;

use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::incident::{Escalation, MajorDoc};
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::lifecycle::Audience;
use crate::engine::moves::{IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// How far an incident's escalation has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Progress {
    /// Sinks that a step has told, in the order in which it did: they hear of what ends it, too.
    pub(super) reached: Vec<Arc<str>>,
}

impl Progress {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.number(self.reached.len() as u64);
        self.reached.iter().for_each(|sink| writer.text(sink));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let reached = reader.count()?;
        let reached = (0..reached).map(|_| Ok(Arc::from(reader.text()?))).collect::<Result<_, Fault>>()?;
        Ok(Self { reached })
    }

    pub(super) fn doc(&self) -> Escalation {
        Escalation::default()
    }

    pub(super) fn major_doc(&self) -> Option<MajorDoc> {
        None
    }
}

impl Shard {
    /// The incident goes from one status to another: the policy starts, pauses and stops.
    pub(super) fn escalation_follow(
        &mut self,
        _now: Timestamp,
        _group: u32,
        _before: IncidentStatus,
        _after: IncidentStatus,
    ) {
    }

    /// The priority, the service or the configuration is another one.
    pub(super) fn escalation_turned(&mut self, _now: Timestamp, _group: u32) {}

    pub(super) fn escalation_next(&self, _group: u32) -> Option<Timestamp> {
        None
    }

    pub(super) fn escalation_due(&mut self, _now: Timestamp, _group: u32) {}

    pub(super) fn escalate_by_hand(&mut self, now: Timestamp, group: u32, reason: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Escalate)?;
        let reason = checked("reason", reason, TEXT_BYTES_MAX, true)?.to_owned();
        let audience = Audience::Sinks(Arc::default());
        self.tell(now, group, (Move::Escalate, Reason::EscalationStep), &audience, reason);
        Ok(())
    }
}
