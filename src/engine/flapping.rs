//! Flapping: an alert that keeps changing holds its incident open, with a count, instead of opening and resolving it.

use super::journal::{Fault, Reader, Writer};
use super::shard::Shard;
use crate::event::Timestamp;

/// When an alert has changed between firing and not firing of late.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Turns {}

impl Turns {
    pub(super) fn write(&self, _writer: &mut Writer) {}

    pub(super) fn read(_reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self::default())
    }
}

impl Shard {
    /// An alert fires again after it had ended, or has ended; called before its groups are told.
    pub(super) fn turned(&mut self, _now: Timestamp, _slot: u32) {}
}
