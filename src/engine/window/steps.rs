//! How far a sequence has come: one event after the other in order of their times, all within the window.
//!
//! Known at any time is, for every number of steps, when the latest chain of so many began; an event in order moves
//! these few numbers and a late one computes them anew from the entries. At one instant any order counts, and an event
//! serves one step of a chain. Bounded: 64 entries a step, of which the oldest is forgotten; 30 KB at most.

use super::{Entry, Progress, apart};
use crate::event::Timestamp;
use crate::rules::STEPS_MAX;

/// Entries of a step; beyond it the oldest no longer counts for it.
const STEP_ENTRIES_MAX: u32 = 64;

/// The first event of the latest chain that has so many steps.
pub(super) type Begun = Option<(Timestamp, u128)>;

/// By number of steps less one.
pub(super) type Chains = [Begun; STEPS_MAX];

/// See the module. Of an entry, `item` has a bit for every step that it can be.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// Sorted by (time, event).
    pub(super) entries: Vec<Entry>,
    /// Before the newest instant.
    pub(super) settled: Chains,
}

impl Steps {
    /// Adds an entry; says how many steps the longest chain around it has.
    pub(super) fn insert(&mut self, entry: Entry, span: i64, steps: u8) -> (Progress, bool) {
        let newest = self.newest();
        let place = self.entries.partition_point(|other| (other.at, other.event) < (entry.at, entry.event));
        let known = self.entries.get(place).filter(|other| (other.at, other.event) == (entry.at, entry.event));
        let changed = known.is_none_or(|other| other.item != entry.item);
        if known.is_some() {
            self.entries[place].item = entry.item;
        } else {
            self.entries.insert(place, entry);
        }
        match newest {
            Some(newest) if entry.at > newest => {
                let from = self.entries.partition_point(|other| other.at < newest);
                let to = self.entries.partition_point(|other| other.at <= newest);
                self.settled = follow(&self.settled, &self.entries[from..to], steps);
            }
            Some(newest) if entry.at < newest => self.settle(),
            _ => {}
        }
        let progress = self.progress(entry, span, steps);
        self.forget_oldest(entry.item);
        (progress, changed)
    }

    /// The longest chain that fits into the window, at the entry's time or within a window after it.
    fn progress(&self, entry: Entry, span: i64, steps: u8) -> Progress {
        let mut best = Progress { have: 0, first: entry, since: entry.at };
        let newest = self.newest().unwrap_or(entry.at);
        let mut consider = |chains: &Chains, until: Timestamp| {
            let fits = |begun: &(Timestamp, u128)| apart(begun.0, until) <= span;
            let have = (0..usize::from(steps)).rev().find_map(|step| Some((step, chains[step].filter(fits)?)));
            if let Some((step, (at, event))) = have.filter(|(step, _)| *step as u32 >= best.have) {
                best = Progress { have: step as u32 + 1, first: Entry { at, item: 0, event }, since: at };
            }
        };
        let mut chains = if entry.at < newest { Chains::default() } else { self.settled };
        let from = if entry.at < newest { 0 } else { self.entries.partition_point(|other| other.at < newest) };
        for instant in self.entries[from..].chunk_by(|one, other| one.at == other.at) {
            chains = follow(&chains, instant, steps);
            if instant[0].at >= entry.at && apart(entry.at, instant[0].at) <= span {
                consider(&chains, instant[0].at);
            }
        }
        best
    }

    /// Computes anew what is known before the newest instant.
    fn settle(&mut self) {
        let Some(newest) = self.newest() else {
            self.settled = Chains::default();
            return;
        };
        let before = self.entries.partition_point(|other| other.at < newest);
        let mut chains = Chains::default();
        for instant in self.entries[..before].chunk_by(|one, other| one.at == other.at) {
            chains = follow(&chains, instant, STEPS_MAX as u8);
        }
        self.settled = chains;
    }

    fn forget_oldest(&mut self, steps: u64) {
        for step in (0..STEPS_MAX).filter(|step| steps >> step & 1 != 0) {
            let of_step = |entry: &Entry| entry.item >> step & 1 != 0;
            if self.entries.iter().filter(|entry| of_step(entry)).count() as u32 > STEP_ENTRIES_MAX
                && let Some(oldest) = self.entries.iter_mut().find(|entry| of_step(entry))
            {
                oldest.item &= !(1 << step);
            }
        }
        self.entries.retain(|entry| entry.item != 0);
    }

    /// Forgets entries older than `before`; says whether there were any.
    pub(super) fn prune(&mut self, before: Timestamp) -> bool {
        let old = self.entries.partition_point(|entry| entry.at < before);
        self.entries.drain(..old);
        old > 0
    }

    /// Forgets entries older than `before`, and what was begun by them.
    pub(super) fn clear_until(&mut self, before: Timestamp) -> bool {
        let cleared = self.prune(before);
        self.settle();
        cleared
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.entries.last().map(|entry| entry.at)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

/// What is known after the entries of one instant.
fn follow(before: &Chains, instant: &[Entry], steps: u8) -> Chains {
    let mut after = *before;
    let later = |one: Begun, other: Begun| match (one, other) {
        // Of chains that begin at one instant the one with the smaller id is kept, whichever came first.
        (Some(one), Some(other)) if one.0 == other.0 => Some((one.0, one.1.min(other.1))),
        _ => one.max(other),
    };
    for from in 0..usize::from(steps) {
        let begun = match from.checked_sub(1) {
            Some(done) => before[done],
            None => {
                let firsts = instant.iter().filter(|entry| entry.item & 1 != 0);
                firsts.map(|entry| (entry.at, entry.event)).min_by_key(|begun| begun.1)
            }
        };
        let Some(begun) = begun else { continue };
        let reached = reached(instant, from, usize::from(steps));
        for chain in &mut after[from..from + reached] {
            *chain = later(*chain, Some(begun));
        }
    }
    after
}

/// How many steps from one on different entries of an instant can be. An entry that can be several is given to the one
/// that leaves the others theirs (Kuhn's algorithm for matchings in bipartite graphs).
fn reached(instant: &[Entry], from: usize, steps: usize) -> usize {
    if let [only] = instant {
        return (only.item >> from & 1) as usize;
    }
    let mut given: Vec<Option<usize>> = vec![None; instant.len()];
    for step in from..steps {
        let mut tried = vec![false; instant.len()];
        if !give(instant, step, &mut given, &mut tried) {
            return step - from;
        }
    }
    steps - from
}

fn give(instant: &[Entry], step: usize, given: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for (place, entry) in instant.iter().enumerate() {
        if entry.item >> step & 1 == 0 || std::mem::replace(&mut tried[place], true) {
            continue;
        }
        if given[place].is_none_or(|other| give(instant, other, given, tried)) {
            given[place] = Some(step);
            return true;
        }
    }
    false
}
