//! Major incidents: declared by the configuration or by a person, with a crisis cell, a runbook and a hook.

use crate::engine::command::Refusal;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    pub(in crate::engine) fn declare_major(&mut self, _now: Timestamp, group: u32, _why: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Escalate)
    }

    pub(in crate::engine) fn stand_down(&mut self, _now: Timestamp, group: u32, _why: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Escalate)
    }
}
