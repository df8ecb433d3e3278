//! What operators do to the status of an incident: take it, work on it, let it wait, end it, bring it back.

use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

impl Shard {
    pub(in crate::engine) fn acknowledge(&mut self, now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_move(group, Move::Acknowledge)?;
        self.emit(now, group, Move::Acknowledge, Reason::ByHand, String::new());
        Ok(())
    }

    pub(in crate::engine) fn start(&mut self, _now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_move(group, Move::Start)
    }

    pub(in crate::engine) fn put_on_hold(&mut self, _now: Timestamp, group: u32, _reason: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Hold)
    }

    pub(in crate::engine) fn resume(&mut self, _now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_move(group, Move::Resume)
    }

    pub(in crate::engine) fn resolve_by_hand(
        &mut self,
        _now: Timestamp,
        group: u32,
        _force: bool,
        _resolution: &str,
    ) -> Result<(), Refusal> {
        self.check_move(group, Move::Resolve)
    }

    pub(in crate::engine) fn reopen_by_hand(&mut self, _now: Timestamp, group: u32, _why: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Reopen)
    }

    pub(in crate::engine) fn close_by_hand(&mut self, _now: Timestamp, group: u32, _end: &str) -> Result<(), Refusal> {
        self.check_move(group, Move::Close)
    }
}
