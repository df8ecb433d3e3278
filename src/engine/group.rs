//! What a rule remembers for one group key: the window, its members, and the incident once there is one.
//!
//! Bounded by `max_groups`. A group without an incident goes away when nothing has happened in it for window +
//! lateness; one with an incident when that is closed.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::alert::Dirty;
use super::deadlines::Deadlines;
use super::desk::assignment::Assignment;
use super::desk::talks::Talks;
use super::desk::work::Work;
use super::escalation::Progress;
use super::flapping::Flapping;
use super::incident::{IncidentLink, IncidentStatus};
use super::memory::index::Index;
use super::memory::interner::{Interner, Symbol};
use super::memory::slab::Slab;
use super::priority::{Assessment, Binding};
use super::relate::Relations;
use super::relate::storm::StormState;
use super::suppress::Hush;
use super::window::Span;
use crate::event::{Severity, Timestamp};
use crate::identity::IncidentId;
use crate::rules::{FlappingConfig, Level, OnStale, Priority, Rule};

/// The rule of a group whose rule is no longer configured.
pub(super) const RETIRED: u32 = u32::MAX;

/// Alerts of an incident that are remembered after they have cleared, until it is closed, and shown with it then. Beyond
/// that, cleared ones are forgotten after the retention, and only counted.
pub(super) const INCIDENT_ALERTS_KEPT: usize = 1_000;

/// How many reasons an incident shows, newest kept.
pub(super) const REASONS_MAX: usize = 16;

/// Where a group without a live incident stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// The condition does not hold yet.
    Gathering,
    /// It holds; the opening is held back until then.
    Waiting(Timestamp),
    /// An incident is open or acknowledged.
    Live,
    /// The incident is resolved and may come back.
    Resolved,
    /// The incident is merged into another one, which has the members now, and may be split from it again.
    Merged,
}

/// What of the rule an incident keeps, so that it runs to its end when the rule is changed or removed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy {
    pub(super) resolve_after: Duration,
    pub(super) reopen_within: Duration,
    pub(super) update_interval: Duration,
    pub(super) on_stale: OnStale,
    pub(super) flapping: Option<FlappingConfig>,
    pub(super) notify: Arc<[Arc<str>]>,
}

/// What `linked` and `updated` deliveries wait to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Gathered {
    pub(super) linked: u32,
    pub(super) changed: u32,
    pub(super) cleared: u32,
    /// Incidents that have become children of this one, became graver, were resolved or taken out again.
    pub(super) children: u32,
    pub(super) children_changed: u32,
    pub(super) children_resolved: u32,
    pub(super) children_released: u32,
    pub(super) turn: Option<Turn>,
    /// Links to causes, symptoms and changes that were set or taken off.
    pub(super) related: u32,
    pub(super) due: Option<Timestamp>,
}

/// What has begun or ended with an incident, the newest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Turn {
    FlappingStarted,
    FlappingStopped,
    StormEnded,
}

impl Turn {
    pub(super) const ALL: [Turn; 3] = [Turn::FlappingStarted, Turn::FlappingStopped, Turn::StormEnded];

    const fn as_str(self) -> &'static str {
        match self {
            Turn::FlappingStarted => "flapping started",
            Turn::FlappingStopped => "flapping stopped",
            Turn::StormEnded => "the storm ended",
        }
    }
}

/// The incident as the engine keeps it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Incident {
    pub(super) id: IncidentId,
    pub(super) status: IncidentStatus,
    pub(super) version: u64,
    pub(super) sequence: u64,
    pub(super) title: Arc<str>,
    pub(super) severity: Severity,
    pub(super) impact: Level,
    /// Fixed by the rule, or following the severity.
    pub(super) fixed_urgency: Option<Level>,
    pub(super) urgency: Level,
    pub(super) priority: Priority,
    pub(super) service: Option<Arc<str>>,
    pub(super) opened_at: Timestamp,
    pub(super) acknowledged_at: Option<Timestamp>,
    pub(super) resolved_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    /// All alerts ever linked.
    pub(super) total: u64,
    /// Since when nothing fires, on the receiving clock.
    pub(super) clear_since: Option<Timestamp>,
    pub(super) gathered: Gathered,
    pub(super) reasons: Vec<Cow<'static, str>>,
    pub(super) links: Vec<IncidentLink>,
    pub(super) policy: Policy,
    pub(super) relations: Relations,
    /// While alerts of it flap.
    pub(super) flapping: Option<Flapping>,
    pub(super) hush: Hush,
    pub(super) work: Work,
    pub(super) assignment: Assignment,
    pub(super) talks: Talks,
    pub(super) deadlines: Deadlines,
    pub(super) escalation: Progress,
    /// How impact and urgency came about.
    pub(super) priority_of: Assessment,
    /// The entry of the service catalogue that matched.
    pub(super) service_of: Binding,
}

/// How a rule's condition came to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Opening {
    /// The event that the incident is named after.
    pub(super) event: u128,
    /// When the window began in which the condition held.
    pub(super) since: Timestamp,
    /// The alert that met it; it may be forgotten while the opening is held back.
    pub(super) slot: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    /// Index into the rule set, or [`RETIRED`].
    pub(super) rule: u32,
    pub(super) rule_name: Arc<str>,
    /// The rule's correlation hash when the window was made.
    pub(super) correlation: u64,
    pub(super) key_hash: u128,
    /// `group_by` names with the values; `None` where the label is missing. Of a union, the labels that join, without.
    pub(super) key: Box<[(Symbol, Option<Symbol>)]>,
    /// Its rule has `union_by`: values lead to it, not its key.
    pub(super) union: bool,
    pub(super) phase: Phase,
    pub(super) span: Span,
    /// While the opening is held back.
    pub(super) opening: Option<Opening>,
    pub(super) members: Vec<u32>,
    /// Members that hold back all clear.
    pub(super) firing: u32,
    /// Members that flap, which do so, too.
    pub(super) flapping: u32,
    /// Members that an operator has let go although they fire. None while the incident is live.
    pub(super) let_go: u32,
    /// Where the group is that of a storm.
    pub(super) storm: Option<Box<StormState>>,
    /// Events counted since the group was made.
    pub(super) events: u64,
    /// Those among them that earlier incidents stand for.
    pub(super) events_before: u64,
    pub(super) last_activity: Timestamp,
    pub(super) newest_event_at: Timestamp,
    pub(super) timer_at: Timestamp,
    pub(super) incident: Option<Box<Incident>>,
    pub(super) dirty: Dirty,
    /// Its counts are to be refreshed in the read model.
    pub(super) touched: bool,
    /// Its incident is another than was seen last, and no decision says so.
    pub(super) renewed: bool,
    /// Bytes on the heap that are counted for it.
    pub(super) counted: Held,
}

/// Bytes on the heap beside the slots and the shared texts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Held {
    /// Keys and members.
    pub(super) groups: u32,
    pub(super) windows: u32,
    pub(super) incidents: u32,
}

impl Group {
    /// A window in which nothing has happened yet.
    pub(super) fn new(
        now: Timestamp,
        (place, rule): (u32, &Rule),
        key_hash: u128,
        key: Box<[(Symbol, Option<Symbol>)]>,
    ) -> Self {
        Self {
            rule: place,
            rule_name: rule.name.clone(),
            correlation: rule.correlation,
            key_hash,
            key,
            union: rule.union.is_some(),
            phase: Phase::Gathering,
            span: Span::default(),
            opening: None,
            members: Vec::new(),
            firing: 0,
            flapping: 0,
            let_go: 0,
            storm: None,
            events: 0,
            events_before: 0,
            last_activity: now,
            newest_event_at: Timestamp::from_micros(i64::MIN),
            timer_at: Timestamp::MAX,
            incident: None,
            dirty: Dirty::Clean,
            touched: false,
            renewed: false,
            counted: Held::default(),
        }
    }

    /// The journal lacks so much of it. Says whether it lacked nothing before, and whether its counts now are to be
    /// refreshed in the read model.
    pub(super) fn mark(&mut self, dirty: Dirty) -> [bool; 2] {
        let (was, touched) = (self.dirty, self.incident.is_some() && !self.touched);
        self.dirty = was.max(dirty);
        self.touched |= touched;
        [was == Dirty::Clean, touched]
    }

    /// Whether nothing holds the incident open.
    pub(super) fn is_clear(&self) -> bool {
        self.firing == 0 && self.flapping == 0 && self.storm.as_deref().is_none_or(StormState::is_over)
    }

    fn held(&self) -> Held {
        let storm = self.storm.as_ref().map_or(0, |_| size_of::<StormState>());
        Held {
            groups: (size_of_val(&*self.key) + self.members.capacity() * size_of::<u32>() + storm) as u32,
            windows: self.span.bytes() as u32,
            incidents: self.incident.as_deref().map_or(0, Incident::bytes) as u32,
        }
    }

    /// Gives the texts back.
    pub(super) fn release(self, names: &mut Interner) {
        for (name, value) in self.key {
            names.release(name);
            value.into_iter().for_each(|value| names.release(value));
        }
    }
}

impl Gathered {
    /// As words for the timeline; empty where nothing was gathered.
    pub(super) fn news(&self) -> String {
        if *self == (Self { due: self.due, ..Self::default() }) {
            return String::new();
        }
        let parts = [
            (self.linked, "alert", "linked"),
            (self.changed, "alert", "changed"),
            (self.cleared, "alert", "cleared"),
            (self.children, "incident", "added"),
            (self.children_changed, "incident", "changed"),
            (self.children_resolved, "incident", "resolved"),
            (self.children_released, "incident", "taken out"),
            (self.related, "link", "changed"),
        ];
        let parts = parts.iter().filter(|(count, ..)| *count > 0);
        let parts = parts.map(|(count, of, what)| format!("{count} {of}{} {what}", if *count == 1 { "" } else { "s" }));
        parts.chain(self.turn.map(|turn| turn.as_str().to_owned())).collect::<Vec<_>>().join(", ")
    }
}

/// Groups that are found by the symbols of their values, without hashing the texts: 32 KiB.
const HINTS: usize = 1 << 10;

/// All groups of a shard.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) slots: Slab<Group>,
    by_key: Index,
    /// Where a group was found by its key lately. It may be gone since, and the symbols may mean other texts.
    hints: Vec<(u128, u32)>,
    /// Bytes on the heap, as of the last commit.
    heap: [usize; 3],
}

/// What the index goes by.
fn hash_of(key_hash: u128) -> u32 {
    key_hash as u32
}

/// The place among the hints, by multiplicative hashing.
fn hint_of(rule: u32, values: &[Option<Symbol>]) -> usize {
    let mix = |hash: u32, number: u32| (hash ^ number).wrapping_mul(0x9e37_79b9).rotate_left(15);
    let numbers = values.iter().map(|value| value.map_or(u32::MAX, |symbol| symbol.0));
    numbers.fold(mix(0, rule), mix) as usize % HINTS
}

impl Groups {
    pub(super) fn find(&self, key_hash: u128) -> Option<u32> {
        self.by_key.find(hash_of(key_hash), |slot| self.slots[slot].key_hash == key_hash)
    }

    /// The group of a rule with these values for its key, where it was found by that key lately.
    ///
    /// A group keeps the texts of its key, so the symbols that it has mean what they meant when it was made. The hash
    /// tells it from one that has the same values and is found otherwise, such as a storm's.
    pub(super) fn recall(&self, rule: u32, values: &[Option<Symbol>]) -> Option<u32> {
        let (key_hash, slot) = *self.hints.get(hint_of(rule, values))?;
        let group = self.slots.get(slot)?;
        let known = group.key.iter().map(|(_, value)| value);
        (group.key_hash == key_hash && group.rule == rule && known.eq(values)).then_some(slot)
    }

    /// Remembers where a group was found.
    pub(super) fn note(&mut self, rule: u32, values: &[Option<Symbol>], slot: u32) {
        self.hints.resize(HINTS, (0, u32::MAX));
        self.hints[hint_of(rule, values)] = (self.slots[slot].key_hash, slot);
    }

    pub(super) fn insert(&mut self, group: Group) -> u32 {
        let key_hash = group.key_hash;
        let slot = self.slots.insert(group);
        self.index(slot, key_hash);
        slot
    }

    /// Makes a group reachable by its key.
    pub(super) fn index(&mut self, slot: u32, key_hash: u128) {
        self.by_key.insert(hash_of(key_hash), slot);
    }

    /// Makes a group unreachable by its key: its rule is gone.
    pub(super) fn unindex(&mut self, slot: u32) {
        self.by_key.remove(hash_of(self.slots[slot].key_hash), slot);
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Group> {
        self.slots.get(slot)?;
        self.unindex(slot);
        let group = self.slots.remove(slot)?;
        self.recount(group.counted, Held::default());
        Some(group)
    }

    /// Indexes what recovery has put into slots, but for retired groups.
    pub(super) fn finish_restore(&mut self) {
        self.slots.collect_free();
        self.by_key.clear();
        self.heap = [0; 3];
        for slot in 0..self.slots.end() {
            let Some(group) = self.slots.get_mut(slot) else { continue };
            group.counted = Held::default();
            if group.rule != RETIRED {
                self.by_key.insert(hash_of(group.key_hash), slot);
            }
            self.count(slot);
        }
    }

    /// A group may hold more or less than before.
    pub(super) fn count(&mut self, slot: u32) {
        let Some(group) = self.slots.get_mut(slot) else { return };
        let now = group.held();
        let before = std::mem::replace(&mut group.counted, now);
        self.recount(before, now);
    }

    fn recount(&mut self, before: Held, now: Held) {
        let parts = [(before.groups, now.groups), (before.windows, now.windows), (before.incidents, now.incidents)];
        for (sum, (before, now)) in self.heap.iter_mut().zip(parts) {
            *sum = *sum + now as usize - before as usize;
        }
    }

    /// Bytes held, as of the last commit: by groups, their windows, and their incidents.
    pub(super) fn bytes(&self) -> [usize; 3] {
        let [groups, windows, incidents] = self.heap;
        let hints = self.hints.capacity() * size_of::<(u128, u32)>();
        [self.slots.bytes() + self.by_key.bytes() + hints + groups, windows, incidents]
    }
}

/// The groups that an alert belongs to, by the rules that match it.
pub(super) type Targets = SmallVec<[u32; 4]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_gathered_is_told_in_words() {
        let gathered = Gathered { linked: 12, cleared: 1, related: 2, ..Gathered::default() };
        assert_eq!(gathered.news(), "12 alerts linked, 1 alert cleared, 2 links changed");
        let storm = Gathered { children: 2, children_resolved: 1, turn: Some(Turn::StormEnded), ..Gathered::default() };
        assert_eq!(storm.news(), "2 incidents added, 1 incident resolved, the storm ended");
        assert_eq!(Gathered::default().news(), "");
    }
}
