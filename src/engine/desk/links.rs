//! Links that people set and take off, on both sides where the other side is an incident.

use crate::engine::command::Refusal;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    pub(in crate::engine) fn link_by_hand(
        &mut self,
        _now: Timestamp,
        group: u32,
        _link: (&str, &str),
        _reason: &str,
    ) -> Result<(), Refusal> {
        self.check_move(group, Move::Update)
    }

    pub(in crate::engine) fn unlink_by_hand(
        &mut self,
        _now: Timestamp,
        group: u32,
        _link: (&str, &str),
    ) -> Result<(), Refusal> {
        self.check_move(group, Move::Update)
    }
}
