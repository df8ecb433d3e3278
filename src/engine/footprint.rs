//! What a shard's state takes in memory, by part: bytes asked of the allocator, counted where things change.
//!
//! What an alert, a group, its window and its incident hold is counted anew when a commit takes their changes, so
//! asking costs the same whatever is there. Tables of fewer objects are estimated. Not counted: what malloc rounds up, and
//! what stands in the rule set and is only pointed at.

use std::borrow::Cow;

use super::group::Incident;
use super::incident::IncidentLink;
use super::shard::Shard;

/// The parts, as the metric's label names them.
pub const PARTS: [&str; 12] = [
    "alerts",
    "texts",
    "groups",
    "windows",
    "incidents",
    "timers",
    "dedup",
    "relations",
    "history",
    "suppression",
    "heartbeats",
    "unmatched",
];

impl Shard {
    /// Bytes by part, in the order of [`PARTS`]; alerts, groups, windows and incidents as of the last commit.
    pub(super) fn footprint(&self) -> [u64; PARTS.len()] {
        let [groups, windows, incidents] = self.groups.bytes();
        let by_id = self.incidents.allocation_size();
        let relations = self.changes.bytes() + self.live.bytes() + self.kin.bytes() + self.unions.bytes();
        let bytes = [
            self.alerts.bytes(),
            self.names.bytes(),
            groups,
            windows,
            incidents + by_id,
            self.timers.bytes(),
            self.seen.bytes(),
            relations,
            self.past.bytes() + self.closed_ids.bytes(),
            self.suppression.bytes(),
            self.heartbeats.bytes(),
            self.unmatched.bytes(),
        ];
        bytes.map(|bytes| bytes as u64)
    }
}

impl Incident {
    /// Bytes on the heap, its own record among them.
    pub(super) fn bytes(&self) -> usize {
        // A shared text has two counters in front.
        let shared = |text: &std::sync::Arc<str>| text.len() + 2 * size_of::<usize>();
        let link = |link: &IncidentLink| {
            link.kind.capacity() + link.target.capacity() + link.by.capacity() + link.reason.capacity()
        };
        let links = self.links.capacity() * size_of::<IncidentLink>() + self.links.iter().map(link).sum::<usize>();
        let held = |reason: &Cow<'static, str>| if let Cow::Owned(reason) = reason { reason.capacity() } else { 0 };
        let reasons = self.reasons.capacity() * size_of::<Cow<'static, str>>();
        let reasons = reasons + self.reasons.iter().map(held).sum::<usize>();
        let service = self.service.as_ref().map_or(0, shared);
        let rest = self.relations.bytes() + self.priority_of.bytes() + self.escalation.bytes();
        size_of::<Self>() + shared(&self.title) + links + reasons + service + rest
    }
}
