//! Who has an incident: the team or supplier, since when, accepted or not, and how long each had it.

use std::sync::Arc;

use crate::engine::command::Refusal;
use crate::engine::incident::AssignmentDoc;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::moves::{IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::Timestamp;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct Assignment {}

impl Assignment {
    pub(in crate::engine) fn write(&self, _writer: &mut Writer) {}

    pub(in crate::engine) fn read(_reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self::default())
    }

    /// Who has it.
    pub(in crate::engine) fn assignee(&self) -> Option<Arc<str>> {
        None
    }

    pub(in crate::engine) fn doc(&self, _now: Timestamp) -> Option<AssignmentDoc> {
        None
    }
}

impl Shard {
    pub(in crate::engine) fn assignment_follow(
        &mut self,
        _now: Timestamp,
        _group: u32,
        _before: IncidentStatus,
        _after: IncidentStatus,
    ) {
    }

    /// Gives it to a team or supplier, for an operator, the catalogue or an escalation.
    pub(in crate::engine) fn assign(&mut self, _: Timestamp, group: u32, _to: &str, _why: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Update)
    }

    pub(in crate::engine) fn accept(&mut self, _now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_move(group, Move::Update)
    }
}
