//! A store, a ledger and a sink for the outbox's tests: in memory, scripted, and waited for without sleeping.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Closed, Ledger, lock};
use crate::clock::timer_now;
use crate::delivery::{Action, Delivery};
use crate::event::Timestamp;
use crate::identity::{IncidentId, ProblemId};
use crate::sinks::{Sink, SinkError, Ticket};
use crate::store::{IncidentQuery, PendingDelivery, Reads, Settlement, ShardPosition, StoreError, TimelineEntry};

pub(super) const START: Timestamp = Timestamp::from_parts(1_700_000_000, 0);

/// Rows and what was settled. While `held`, nothing that is settled gets committed.
#[derive(Default)]
pub(super) struct FakeStore {
    pub rows: Mutex<BTreeMap<i64, PendingDelivery>>,
    pub settled: Mutex<Vec<Settlement>>,
    pub most_asked: Mutex<usize>,
    pub held: watch::Sender<bool>,
    pub closed: AtomicBool,
    pub unreadable: AtomicBool,
    pub changed: watch::Sender<()>,
}

impl FakeStore {
    /// Commits a delivery; its row is its sequence, for reading tests with ease.
    pub fn add(&self, sink: &str, row: i64, incident: u64, action: Action) {
        let id = IncidentId(incident);
        let (sink, body) = (Arc::from(sink), format!("{row}").into_bytes());
        let delivery = Delivery { sink, incident: id, sequence: row as u64, action, body, created_at: START };
        let pending = PendingDelivery { row, delivery, attempts: 0, last_error: None, parked: false };
        lock(&self.rows).insert(row, pending);
    }

    /// Waits for something that commits bring about.
    pub async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut changed = self.changed.subscribe();
        let wait = async {
            while !holds(self) {
                changed.changed().await.expect("the store lives");
            }
        };
        tokio::time::timeout(Duration::from_secs(30 * 86_400), wait).await.expect("it comes to hold");
    }

    pub async fn until_empty(&self) {
        self.until(|store| lock(&store.rows).is_empty()).await;
    }

    fn apply(&self, settlements: Vec<Settlement>) {
        let mut rows = lock(&self.rows);
        for settlement in &settlements {
            let mut row = |row: &i64, change: &dyn Fn(&mut PendingDelivery)| rows.get_mut(row).map(change);
            match settlement {
                Settlement::Done { row } => drop(rows.remove(row).expect("a row is settled once")),
                Settlement::Parked { row: id, .. } => drop(row(id, &|row| row.parked = true)),
                Settlement::Retry { row: id } => drop(row(id, &|row| row.parked = false)),
                Settlement::Failed { row: id, attempts, .. } => drop(row(id, &|row| row.attempts = *attempts)),
            }
        }
        drop(rows);
        lock(&self.settled).extend(settlements);
        self.changed.send_replace(());
    }

    fn select(&self, sink: &str, parked: bool, after_row: i64, limit: usize) -> Vec<PendingDelivery> {
        let rows = lock(&self.rows);
        let wanted =
            rows.values().filter(|row| *row.delivery.sink == *sink && row.parked == parked && row.row > after_row);
        wanted.take(limit).cloned().collect()
    }
}

/// The ledger of a store.
pub(super) struct FakeLedger(pub Arc<FakeStore>);

impl Ledger for FakeLedger {
    fn settle(&self, settlements: Vec<Settlement>) -> BoxFuture<'static, Result<(), Closed>> {
        let store = self.0.clone();
        let commit = tokio::spawn(async move {
            store.held.subscribe().wait_for(|held| !held).await.expect("the store lives");
            if store.closed.load(Ordering::SeqCst) {
                return Err(Closed);
            }
            store.apply(settlements);
            Ok(())
        });
        Box::pin(async move { commit.await.expect("no panic") })
    }
}

impl Reads for FakeStore {
    fn pending(&self, sink: &str, after_row: i64, limit: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        let mut most_asked = lock(&self.most_asked);
        *most_asked = limit.max(*most_asked);
        match self.unreadable.swap(false, Ordering::SeqCst) {
            true => Err(StoreError::Io("as told".to_owned())),
            false => Ok(self.select(sink, false, after_row, limit)),
        }
    }
    fn parked(&self, sink: &str, limit: usize) -> Result<Vec<PendingDelivery>, StoreError> {
        Ok(self.select(sink, true, i64::MIN, limit))
    }
    fn backlog(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut counts = BTreeMap::new();
        lock(&self.rows).values().for_each(|row| *counts.entry(row.delivery.sink.to_string()).or_default() += 1);
        Ok(counts.into_iter().collect())
    }
    fn meta(&self, _: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    fn replay(&self, _: u16, _: &mut dyn FnMut(&[u8]) -> Result<(), String>) -> Result<(u64, u64), StoreError> {
        Ok((0, 0))
    }
    fn positions(&self) -> Result<Vec<ShardPosition>, StoreError> {
        Ok(Vec::new())
    }
    fn incidents(&self, _: &IncidentQuery) -> Result<Vec<(Timestamp, IncidentId, String)>, StoreError> {
        Ok(Vec::new())
    }
    fn incident_alerts(&self, _: IncidentId) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    fn incident(&self, _: IncidentId) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    fn silences(&self) -> Result<Vec<(String, u16, String)>, StoreError> {
        Ok(Vec::new())
    }
    fn timeline_from(&self, _: IncidentId, _: u64, _: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        Ok(Vec::new())
    }
    fn problems(&self, _: Option<&str>, _: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    fn problem(&self, _: ProblemId) -> Result<Option<String>, StoreError> {
        Ok(None)
    }
    fn timeline(&self, _: IncidentId, _: usize) -> Result<Vec<TimelineEntry>, StoreError> {
        Ok(Vec::new())
    }
}

/// One try, as the sink saw it.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub incident: u64,
    pub sequence: u64,
    pub at: Instant,
    pub at_once: usize,
    pub confirmed: bool,
}

type Script = dyn Fn(&Delivery, usize) -> Result<(), SinkError> + Send + Sync;

/// A sink that answers by a script, which is told how many tries came before. While `held`, it does not answer.
pub(super) struct FakeSink {
    script: Box<Script>,
    ticket: Option<Ticket>,
    pub tries: Mutex<Vec<Try>>,
    in_flight: Mutex<usize>,
    pub held: watch::Sender<bool>,
    pub tried: watch::Sender<()>,
}

impl FakeSink {
    pub fn new(script: impl Fn(&Delivery, usize) -> Result<(), SinkError> + Send + Sync + 'static) -> Arc<Self> {
        let (tries, in_flight) = Default::default();
        Arc::new(Self {
            script: Box::new(script),
            ticket: None,
            tries,
            in_flight,
            held: watch::Sender::default(),
            tried: watch::Sender::default(),
        })
    }

    /// One that confirms everything, and names this ticket.
    pub fn with_ticket(name: &str) -> Arc<Self> {
        let sink = Arc::into_inner(Self::new(|_, _| Ok(()))).expect("nobody has it yet");
        Arc::new(Self { ticket: Some(Ticket { name: name.to_owned(), url: None }), ..sink })
    }

    /// The sequences that it confirmed, in order.
    pub fn confirmed(&self) -> Vec<u64> {
        lock(&self.tries).iter().filter(|one| one.confirmed).map(|one| one.sequence).collect()
    }

    pub async fn until_tried(&self, times: usize) {
        let mut tried = self.tried.subscribe();
        while lock(&self.tries).len() < times {
            tried.changed().await.expect("the sink lives");
        }
    }
}

impl Sink for FakeSink {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Option<Ticket>, SinkError>> {
        Box::pin(async move {
            let number = {
                let mut in_flight = lock(&self.in_flight);
                *in_flight += 1;
                let (incident, sequence) = (delivery.incident.0, delivery.sequence);
                let mut tries = lock(&self.tries);
                tries.push(Try { incident, sequence, at: timer_now(), at_once: *in_flight, confirmed: false });
                tries.len() - 1
            };
            self.tried.send_replace(());
            self.held.subscribe().wait_for(|held| !held).await.expect("the sink lives");
            tokio::task::yield_now().await;
            let answer = (self.script)(delivery, number);
            lock(&self.tries)[number].confirmed = answer.is_ok();
            *lock(&self.in_flight) -= 1;
            answer.map(|()| self.ticket.clone())
        })
    }
}
