//! What is read from outside: incidents as of the last commit, so that a slow reader never holds up an event.
//!
//! Written by the committer alone, after each commit; read by the API from many threads. Holds every incident that is
//! not closed (the engine bounds those) and the [`CLOSED_MAX`] that were closed last; older closed ones are in the
//! store. A listing walks an index in its order, some places at a time, so that the committer waits for no reader. There
//! is an index of each filter; the shortest of those that are asked for is walked, so that a page costs what is on it
//! and what the other filters pass over of that one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use dashmap::DashMap;

use super::feed::Feed;
use crate::engine::incident::{IncidentCounts, IncidentDoc, IncidentStatus};
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::metrics::Metrics;
use crate::rules::Priority;
use crate::store::IncidentQuery;

/// Closed incidents kept in memory: about 1 KiB each, so 10 MiB. Beyond it the one that closed first goes.
pub const CLOSED_MAX: usize = 10_000;

/// Places that are looked at together: some microseconds of the lock.
const PLACES: usize = 256;

/// The public names of the priorities, gravest first.
pub const PRIORITIES: [&str; 5] =
    [Priority::P1.as_str(), Priority::P2.as_str(), Priority::P3.as_str(), Priority::P4.as_str(), Priority::P5.as_str()];

const STATUSES: usize = IncidentStatus::ALL.len();
const CELLS: usize = STATUSES * PRIORITIES.len();

/// See the module.
#[derive(Debug)]
pub struct ReadModel {
    incidents: DashMap<IncidentId, Arc<IncidentDoc>>,
    indexes: RwLock<Indexes>,
    /// In the order in which they were closed.
    closed: Mutex<VecDeque<IncidentId>>,
    closed_max: usize,
    /// How many by status × priority, and which of them have changed since they were published.
    gauges: [AtomicI64; CELLS],
    changed: AtomicU64,
    feed: Arc<Feed>,
}

/// Orders incidents newest first: by opening, then by id.
type Place = (Timestamp, IncidentId);

/// Where incidents are by what a listing can be narrowed by, each set in the order of a listing, the newest last. No set
/// is kept empty and each incident is in five at most, which cost it about 200 bytes.
#[derive(Debug, Default)]
struct Indexes {
    all: BTreeSet<Place>,
    /// By each of the [`Filters`], in their order.
    by: [HashMap<Box<str>, BTreeSet<Place>>; 4],
}

/// Status, priority, service and rule: what a query asks for, or what an incident has.
type Filters<'a> = [Option<&'a str>; 4];

impl Default for ReadModel {
    fn default() -> Self {
        Self::starting_at(Timestamp::EPOCH)
    }
}

impl ReadModel {
    /// An empty model of a daemon that starts now.
    pub fn starting_at(now: Timestamp) -> Self {
        Self {
            feed: Arc::new(Feed::new(now)),
            incidents: DashMap::new(),
            indexes: RwLock::default(),
            closed: Mutex::new(VecDeque::new()),
            closed_max: CLOSED_MAX,
            gauges: std::array::from_fn(|_| AtomicI64::new(0)),
            changed: AtomicU64::new((1 << CELLS) - 1),
        }
    }

    /// The same, holding at most so many closed incidents.
    pub fn with_closed_max(closed_max: usize) -> Self {
        Self { closed_max, ..Self::default() }
    }

    /// What changes, for those who follow live.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Takes over what a commit has made durable: incidents that changed (the newest of one id comes last), and
    /// numbers that moved without a decision. Applying the same again changes nothing.
    pub fn apply(&self, docs: &[Arc<IncidentDoc>], counts: &[IncidentCounts]) {
        for doc in docs {
            self.replace(doc);
        }
        for counts in counts {
            self.recount(counts);
        }
        self.feed.publish(docs);
    }

    /// One incident as of the last commit.
    pub fn get(&self, id: IncidentId) -> Option<Arc<IncidentDoc>> {
        self.incidents.get(&id).map(|entry| entry.value().clone())
    }

    /// The incidents that a query asks for, newest first.
    pub fn list(&self, query: &IncidentQuery) -> Vec<Arc<IncidentDoc>> {
        let mut found = Vec::with_capacity(query.limit.min(1_024));
        let mut after = query.after;
        while found.len() < query.limit {
            let places = self.places_after(query, after);
            let Some(last) = places.last() else { break };
            after = Some(*last);
            let wanted = |id| self.incidents.get(&id).filter(|doc| matches(query, doc)).map(|doc| doc.value().clone());
            found.extend(places.iter().filter_map(|(_, id)| wanted(*id)).take(query.limit - found.len()));
        }
        found
    }

    /// Some places after one, newest first, in the shortest index of a query.
    fn places_after(&self, query: &IncidentQuery, after: Option<Place>) -> Vec<Place> {
        let indexes = self.indexes.read().unwrap_or_else(PoisonError::into_inner);
        let end = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range =
            |index: &BTreeSet<Place>| index.range((Bound::Unbounded, end)).rev().take(PLACES).copied().collect();
        indexes.shortest(query).map(range).unwrap_or_default()
    }

    /// How many incidents are held with this status and priority.
    pub fn count(&self, status: IncidentStatus, priority: Priority) -> u64 {
        self.gauges[cell(status, priority)].load(Ordering::Acquire).max(0).unsigned_abs()
    }

    /// Sets the gauges of incidents that are not closed; touches only those that have changed since the last time.
    pub fn publish(&self, metrics: &Metrics) {
        let changed = self.changed.swap(0, Ordering::AcqRel);
        if changed == 0 {
            return;
        }
        let unpublished = [IncidentStatus::New, IncidentStatus::Closed];
        for status in IncidentStatus::ALL.into_iter().filter(|status| !unpublished.contains(status)) {
            for priority in Priority::ALL {
                if changed & (1_u64 << cell(status, priority)) != 0 {
                    metrics.set_incidents(status.as_str(), priority.as_str(), self.count(status, priority) as f64);
                }
            }
        }
    }

    fn replace(&self, doc: &Arc<IncidentDoc>) {
        let old = self.incidents.insert(doc.id, doc.clone());
        self.count_in(doc, 1);
        if let Some(old) = &old {
            self.count_in(old, -1);
        }
        if old.as_ref().is_none_or(|old| (place(old), had(old)) != (place(doc), had(doc))) {
            let mut indexes = self.indexes.write().unwrap_or_else(PoisonError::into_inner);
            old.as_ref().inspect(|old| indexes.remove(old));
            indexes.insert(doc);
        }
        let was_closed = old.is_some_and(|old| old.status == IncidentStatus::Closed);
        if doc.status == IncidentStatus::Closed && !was_closed {
            self.retire(doc.id);
        }
    }

    /// Notes a closed incident, and forgets the one that closed first when there are too many.
    fn retire(&self, id: IncidentId) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.push_back(id);
        while closed.len() > self.closed_max {
            let Some(oldest) = closed.pop_front() else { break };
            let gone = self.incidents.remove_if(&oldest, |_, doc| doc.status == IncidentStatus::Closed);
            if let Some((_, doc)) = gone {
                self.indexes.write().unwrap_or_else(PoisonError::into_inner).remove(&doc);
                self.count_in(&doc, -1);
            }
        }
    }

    fn recount(&self, counts: &IncidentCounts) {
        let Some(mut entry) = self.incidents.get_mut(&counts.id) else { return };
        let known = (entry.alerts, entry.events, entry.flapping, entry.storm);
        if known != (counts.alerts, counts.events, counts.flapping, counts.storm) {
            let doc = Arc::make_mut(&mut entry);
            doc.alerts = counts.alerts;
            doc.events = counts.events;
            (doc.flapping, doc.storm) = (counts.flapping, counts.storm);
        }
    }

    fn count_in(&self, doc: &IncidentDoc, by: i64) {
        let cell = cell(doc.status, doc.priority);
        self.gauges[cell].fetch_add(by, Ordering::AcqRel);
        self.changed.fetch_or(1 << cell, Ordering::AcqRel);
    }
}

impl Indexes {
    fn insert(&mut self, doc: &IncidentDoc) {
        self.all.insert(place(doc));
        for (index, value) in self.by.iter_mut().zip(had(doc)) {
            let Some(value) = value else { continue };
            match index.get_mut(value) {
                Some(places) => _ = places.insert(place(doc)),
                None => _ = index.insert(value.into(), BTreeSet::from([place(doc)])),
            }
        }
    }

    fn remove(&mut self, doc: &IncidentDoc) {
        self.all.remove(&place(doc));
        for (index, value) in self.by.iter_mut().zip(had(doc)) {
            let Some((value, places)) = value.and_then(|value| Some((value, index.get_mut(value)?))) else { continue };
            places.remove(&place(doc));
            if places.is_empty() {
                index.remove(value);
            }
        }
    }

    /// The set with the fewest places that has all that a query asks for; none where nothing has.
    fn shortest(&self, query: &IncidentQuery) -> Option<&BTreeSet<Place>> {
        let asked = self.by.iter().zip(asked(query)).filter_map(|(index, value)| Some(index.get(value?)));
        asked.chain([Some(&self.all)]).min_by_key(|places| places.map_or(0, BTreeSet::len)).flatten()
    }
}

fn asked(query: &IncidentQuery) -> Filters<'_> {
    [query.status.as_deref(), query.priority.as_deref(), query.service.as_deref(), query.rule.as_deref()]
}

fn had(doc: &IncidentDoc) -> Filters<'_> {
    [Some(doc.status.as_str()), Some(doc.priority.as_str()), doc.service.as_deref(), Some(&doc.rule)]
}

fn place(doc: &IncidentDoc) -> Place {
    (doc.opened_at, doc.id)
}

fn cell(status: IncidentStatus, priority: Priority) -> usize {
    status as usize * PRIORITIES.len() + priority as usize
}

/// Whether an incident is one that a query asks for; where it is to go on from does not count.
pub fn matches(query: &IncidentQuery, doc: &IncidentDoc) -> bool {
    asked(query).into_iter().zip(had(doc)).all(|(asked, had)| asked.is_none() || asked == had)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::incident::AlertCounts;

    fn doc(id: u64, opened: i64, status: IncidentStatus, priority: Priority) -> Arc<IncidentDoc> {
        Arc::new(IncidentDoc {
            status,
            rule: if id.is_multiple_of(2) { "even".into() } else { "odd".into() },
            priority,
            service: (!id.is_multiple_of(3)).then(|| "checkout".into()),
            ..IncidentDoc::blank(IncidentId(id), Timestamp::from_micros(opened))
        })
    }

    pub(in crate::runtime) fn open(id: u64, opened: i64) -> Arc<IncidentDoc> {
        doc(id, opened, IncidentStatus::Open, Priority::P1)
    }

    #[test]
    fn counts_touch_only_the_numbers() {
        let model = ReadModel::default();
        let before = open(1, 10);
        let alerts = AlertCounts { firing: 2, resolved: 1, total: 3 };
        model.apply(
            std::slice::from_ref(&before),
            &[IncidentCounts { id: before.id, alerts, events: 40, flapping: None, storm: None }],
        );
        let after = model.get(before.id).unwrap();
        assert_eq!(*after, IncidentDoc { alerts, events: 40, ..(*before).clone() });
        assert_eq!(before.events, 0, "a document that was handed out does not change");
    }

    #[test]
    fn the_incident_that_closed_first_goes_first_and_live_ones_stay() {
        let model = ReadModel::with_closed_max(2);
        model.apply(&[open(1, 1), open(2, 2), open(3, 3), open(4, 4)], &[]);
        for id in [3, 1, 2] {
            model.apply(&[doc(id, id as i64, IncidentStatus::Closed, Priority::P1)], &[]);
            model.apply(&[doc(id, id as i64, IncidentStatus::Closed, Priority::P1)], &[]);
        }
        let held: Vec<u64> = model.list(&all(10)).iter().map(|doc| doc.id.0).collect();
        assert_eq!(held, [4, 2, 1]);
        assert_eq!(model.count(IncidentStatus::Closed, Priority::P1), 2);
        assert_eq!(model.count(IncidentStatus::Open, Priority::P1), 1);
    }

    #[test]
    fn gauges_follow_status_and_priority() {
        let (model, metrics) = (ReadModel::default(), Metrics::new());
        model.apply(&[open(1, 1), open(2, 2)], &[]);
        model.apply(&[doc(1, 1, IncidentStatus::Resolved, Priority::P3)], &[]);
        model.publish(&metrics);
        let text = metrics.render();
        assert!(text.contains(r#"incidentd_incidents{status="open",priority="P1"} 1"#), "{text}");
        assert!(text.contains(r#"incidentd_incidents{status="resolved",priority="P3"} 1"#), "{text}");
        assert!(text.contains(r#"incidentd_incidents{status="acknowledged",priority="P5"} 0"#), "{text}");
        assert!(!text.contains(r#"status="closed""#), "{text}");
    }

    fn all(limit: usize) -> IncidentQuery {
        IncidentQuery { limit, ..IncidentQuery::default() }
    }

    fn naive(docs: &[Arc<IncidentDoc>], query: &IncidentQuery) -> Vec<Arc<IncidentDoc>> {
        let mut docs: Vec<_> = docs.iter().filter(|doc| matches(query, doc)).cloned().collect();
        docs.retain(|doc| query.after.is_none_or(|after| (doc.opened_at, doc.id) < after));
        docs.sort_by_key(|doc| Reverse((doc.opened_at, doc.id)));
        docs.truncate(query.limit);
        docs
    }

    proptest! {
        #[test]
        fn a_listing_is_what_sorting_everything_would_give(
            opened in proptest::collection::vec(0_i64..6, 0..40),
            limit in 0_usize..12,
            after in proptest::option::of((0_i64..6, 0_u64..40)),
            rule in proptest::option::of("even|odd|none"),
            service in proptest::option::of(Just("checkout".to_owned())),
            status in proptest::option::of("new|open|resolved"),
            priority in proptest::option::of("P1|P4"),
            moved in proptest::collection::vec((0_usize..40, 0_usize..5), 0..20),
        ) {
            let status_of = |id: usize| IncidentStatus::ALL[id % 3];
            let priority_of = |id: usize| Priority::ALL[id % 5];
            let mut docs: Vec<_> = opened.iter().enumerate()
                .map(|(id, opened)| doc(id as u64, *opened, status_of(id), priority_of(id)))
                .collect();
            let model = ReadModel::default();
            model.apply(&docs, &[]);
            for (id, to) in moved.into_iter().filter(|(id, _)| *id < opened.len()) {
                let rule = if to == 0 { "even".into() } else { docs[id].rule.clone() };
                docs[id] = Arc::new(IncidentDoc {
                    rule,
                    service: (to > 1).then(|| "checkout".into()),
                    ..(*doc(id as u64, opened[id] + to as i64 % 2, status_of(to), priority_of(to))).clone()
                });
                model.apply(&docs[id..=id], &[]);
            }
            let after = after.map(|(opened, id)| (Timestamp::from_micros(opened), IncidentId(id)));
            let query = IncidentQuery { status, priority, rule, service, after, limit, ..IncidentQuery::default() };
            prop_assert_eq!(model.list(&query), naive(&docs, &query));
        }
    }
}
