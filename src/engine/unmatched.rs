//! What no rule wants: which sources and labels the alerts have that no rule takes, most frequent first.
//!
//! A sketch of fixed size: Space-Saving keeps `COUNTERS` counters; what is not among them takes the place of the least,
//! inherits its count and says so as its error. A true count is at most what is shown, and at least that less the error;
//! whatever has more than total / `COUNTERS` is shown. (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent
//! and Top-k Elements in Data Streams, ICDT 2005; merged over shards as in Agarwal et al.: Mergeable Summaries, PODS 2012.)
//!
//! Counted is an alert when it is new, changes or returns and no rule wants it, once for its source and once for each of
//! its labels. Of its repeats, which must cost next to nothing, about one in 64 is looked at, and counts for as many as
//! passed since the last one: exact in sum, an estimate for the single label. Not kept over a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::Serialize;

use super::memory::interner::{Interner, Symbol};
use super::shard::Shard;

/// Counters of a shard: 1,000 of about 100 bytes, beside the texts.
const COUNTERS: usize = 1_000;
/// Repeats between two that are looked at: 1 to 127, so 64 on average.
const GAP_MASK: u64 = 0x7f;

/// What is counted: a source, and a label of its alerts or the source as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Item {
    source: Option<Symbol>,
    label: Option<(Symbol, Symbol)>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    item: Item,
    count: u64,
    error: u64,
    /// Its place in the heap.
    place: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Unmatched {
    counters: Vec<Counter>,
    by_item: HashMap<Item, usize>,
    /// Counters by their number, the least first.
    heap: Vec<usize>,
    /// Sightings in all.
    total: u64,
    /// Repeats until the next one is looked at, and how many that one counts for.
    left: u64,
    gap: u64,
    /// Decides the gaps; a fixed sequence, so that equal input gives equal counts, yet no rhythm of repeats fits it.
    state: u64,
}

impl Default for Unmatched {
    fn default() -> Self {
        let state = 0x9e37_79b9_7f4a_7c15;
        Self { counters: Vec::new(), by_item: HashMap::new(), heap: Vec::new(), total: 0, left: 1, gap: 1, state }
    }
}

impl Unmatched {
    /// Whether this repeat is looked at, and how many it counts for.
    fn samples(&mut self) -> Option<u64> {
        self.left -= 1;
        if self.left > 0 {
            return None;
        }
        let stands_for = self.gap;
        // Marsaglia's xorshift; never 0.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.gap = (self.state & GAP_MASK).max(1);
        self.left = self.gap;
        Some(stands_for)
    }

    fn add(&mut self, item: Item, by: u64, names: &mut Interner) {
        if let Some(number) = self.by_item.get(&item).copied() {
            self.counters[number].count += by;
            self.sink(self.counters[number].place);
        } else if self.counters.len() < COUNTERS {
            let number = self.counters.len();
            item.keep(names);
            self.by_item.insert(item, number);
            self.counters.push(Counter { item, count: by, error: 0, place: number });
            self.heap.push(number);
            self.rise(number);
        } else {
            let number = self.heap[0];
            let least = self.counters[number];
            item.keep(names);
            least.item.release(names);
            self.by_item.remove(&least.item);
            self.by_item.insert(item, number);
            self.counters[number] = Counter { item, count: least.count + by, error: least.count, place: 0 };
            self.sink(0);
        }
    }

    fn at(&self, place: usize) -> u64 {
        self.counters[self.heap[place]].count
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.counters[self.heap[one]].place = one;
        self.counters[self.heap[other]].place = other;
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.at(place) < self.at((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children = [2 * place + 1, 2 * place + 2].into_iter().filter(|child| *child < self.heap.len());
            let Some(least) = children.min_by_key(|child| self.at(*child)) else { return };
            if self.at(place) <= self.at(least) {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.counters.capacity() * size_of::<Counter>() + self.by_item.capacity() * 25 + self.heap.capacity() * 8
    }
}

impl Item {
    fn symbols(self) -> impl Iterator<Item = Symbol> {
        let label = self.label.into_iter().flat_map(|(name, value)| [name, value]);
        self.source.into_iter().chain(label)
    }

    /// Becomes a user of its texts.
    fn keep(self, names: &mut Interner) {
        for symbol in self.symbols() {
            names.share(symbol);
        }
    }

    fn release(self, names: &mut Interner) {
        self.symbols().for_each(|symbol| names.release(symbol));
    }
}

/// One line of the listing.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct UnmatchedLabel {
    /// The monitoring system.
    pub source: Arc<str>,
    /// The label; none for the source as a whole.
    pub label: Option<Arc<str>>,
    /// Its value.
    pub value: Option<Arc<str>>,
    /// So many sightings at most.
    pub count: u64,
    /// So many fewer at worst.
    pub error: u64,
}

/// What no rule wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct UnmatchedReport {
    /// Sightings in all; each counts for its source and each of its labels.
    pub total: u64,
    /// The most frequent first.
    pub unmatched: Vec<UnmatchedLabel>,
    /// What a label that is not listed may have had at most.
    #[serde(skip)]
    least: u64,
}

type Name = (Arc<str>, Option<(Arc<str>, Arc<str>)>);

impl UnmatchedReport {
    /// What several shards have seen, cut to a limit. What one of them does not list it may have seen as often as its
    /// least, which goes into the count and into the error.
    pub fn merge(reports: Vec<Self>, limit: usize) -> Self {
        let mut sums: BTreeMap<Name, (u64, u64, u64)> = BTreeMap::new();
        let (mut total, mut least) = (0, 0);
        for report in reports {
            total += report.total;
            least += report.least;
            for UnmatchedLabel { source, label, value, count, error } in report.unmatched {
                let sum = sums.entry((source, label.zip(value))).or_default();
                *sum = (sum.0 + count, sum.1 + error, sum.2 + report.least);
            }
        }
        let line = |((source, label), (count, error, listed)): (Name, (u64, u64, u64))| {
            let (label, value) = label.unzip();
            let unseen = least - listed;
            UnmatchedLabel { source, label, value, count: count + unseen, error: error + unseen }
        };
        let mut unmatched: Vec<UnmatchedLabel> = sums.into_iter().map(line).collect();
        unmatched.sort_by_key(|line| std::cmp::Reverse((line.count, line.count - line.error)));
        unmatched.truncate(limit);
        Self { total, unmatched, least }
    }
}

impl Shard {
    /// No rule wants an alert that is new, has changed or has returned.
    pub(super) fn note_unmatched(&mut self, slot: u32, by: u64) {
        let texts = &self.alerts.slots[slot].texts;
        let source = texts.source;
        self.unmatched.total += by;
        self.unmatched.add(Item { source, label: None }, by, &mut self.names);
        for label in texts.labels() {
            self.unmatched.add(Item { source, label: Some(*label) }, by, &mut self.names);
        }
    }

    /// A repeat of an alert that no rule wants.
    pub(super) fn repeat_unmatched(&mut self, slot: u32) {
        if let Some(by) = self.unmatched.samples() {
            self.note_unmatched(slot, by);
        }
    }

    /// What no rule wanted since the start.
    pub fn unmatched(&self) -> UnmatchedReport {
        let text = |symbol: Symbol| -> Arc<str> { self.names.text(symbol).into() };
        let line = |counter: &Counter| {
            let Counter { item, count, error, .. } = *counter;
            let (label, value) = item.label.map(|(label, value)| (text(label), text(value))).unzip();
            let source = item.source.map_or_else(|| "".into(), text);
            UnmatchedLabel { source, label, value, count, error }
        };
        let sketch = &self.unmatched;
        let least = if sketch.counters.len() < COUNTERS { 0 } else { sketch.at(0) };
        UnmatchedReport { total: sketch.total, unmatched: sketch.counters.iter().map(line).collect(), least }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(label: u32, count: u64, error: u64) -> UnmatchedLabel {
        let (source, label, value) = ("s".into(), Some(label.to_string().into()), Some("".into()));
        UnmatchedLabel { source, label, value, count, error }
    }

    /// A shard that has seen these labels, one sighting each.
    fn seen(labels: &[u32]) -> UnmatchedReport {
        let mut shard = Shard::new(super::super::EngineConfig::default(), Arc::default());
        for label in labels {
            let name = shard.names.intern(&label.to_string());
            let (source, value) = (Some(shard.names.intern("s")), shard.names.intern(""));
            shard.unmatched.total += 1;
            shard.unmatched.add(Item { source, label: Some((name, value)) }, 1, &mut shard.names);
            [Some(name), source, Some(value)].into_iter().flatten().for_each(|symbol| shard.names.release(symbol));
        }
        let places = shard.unmatched.counters.iter().map(|counter| counter.place);
        assert!(places.enumerate().all(|(number, place)| shard.unmatched.heap[place] == number));
        assert!(shard.names.len() <= 2 * COUNTERS + 2, "texts of what was displaced are given back");
        shard.unmatched()
    }

    #[test]
    fn few_labels_are_counted_exactly() {
        let report = UnmatchedReport::merge(vec![seen(&[7, 8, 7, 9, 7, 8])], 2);
        assert_eq!((report.total, report.unmatched), (6, vec![line(7, 3, 0), line(8, 2, 0)]));
    }

    #[test]
    fn repeats_are_counted_as_many_as_there_were() {
        let mut sketch = Unmatched::default();
        let counted: u64 = (0..1_000_000).filter_map(|_| sketch.samples()).sum();
        assert!((999_800..=1_000_000).contains(&counted), "{counted}");
        let looked_at = (0..1_000_000).filter(|_| sketch.samples().is_some()).count();
        assert!((14_000..18_000).contains(&looked_at), "{looked_at}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_count_is_never_too_low_nor_by_more_than_its_error_too_high(
            rare in proptest::collection::vec(100_u32..100_000, 0..4_000),
            often in proptest::collection::vec(0_u32..5, 0..3_000),
            shards in 1_usize..4,
        ) {
            let all: Vec<u32> = rare.iter().zip(often.iter().cycle()).flat_map(|(a, b)| [*a, *b]).chain(rare.clone()).collect();
            let parts = (0..shards).map(|shard| all.iter().copied().skip(shard).step_by(shards).collect::<Vec<_>>());
            let report = UnmatchedReport::merge(parts.map(|part| seen(&part)).collect(), usize::MAX);
            prop_assert_eq!(report.total, all.len() as u64);
            let mut exact: HashMap<String, u64> = HashMap::new();
            all.iter().for_each(|label| *exact.entry(label.to_string()).or_default() += 1);
            let mut listed = HashMap::new();
            for UnmatchedLabel { label, count, error, .. } in report.unmatched {
                let label = label.expect("a label").to_string();
                let exact = exact[&label];
                prop_assert!(exact <= count && count - error <= exact, "{}: {} of {} - {}", label, exact, count, error);
                listed.insert(label, count);
            }
            for (label, count) in exact {
                prop_assert!(listed.contains_key(&label) || count <= report.least, "{} has {}", label, count);
            }
        }
    }
}
