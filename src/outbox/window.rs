//! The part of a sink's queue that is held in memory: which delivery may go next, and what folds into what.
//!
//! Per incident a queue in the order of sequences, of which only the head may be in flight. Consecutive deliveries
//! that fold become the newest of them; one in flight, or with a message, is never folded. Pure: `now` is handed in, the size is bounded
//! by whoever pushes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::delivery::Delivery;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::store::PendingDelivery;

/// A delivery that waits.
#[derive(Debug)]
pub struct Waiting {
    /// Its row in the store.
    pub row: i64,
    /// What to deliver.
    pub delivery: Arc<Delivery>,
    /// Tries so far.
    pub attempts: u32,
    /// The last error.
    pub last_error: Option<String>,
    /// When attempts and error were last handed to the store.
    pub saved_at: Option<Instant>,
    /// Whether the store knows fewer attempts.
    pub unsaved: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    head: Head,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Head {
    /// In `ready`, under this row.
    #[default]
    Ready,
    /// In `delayed`, until then.
    Delayed(Instant),
    InFlight,
}

/// All queues of one sink.
#[derive(Debug, Default)]
pub struct Window {
    queues: HashMap<IncidentId, Queue>,
    ready: BTreeSet<(i64, IncidentId)>,
    delayed: BTreeSet<(Instant, IncidentId)>,
    rows: usize,
}

impl Window {
    /// How many deliveries it holds.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether a delivery could go at once.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next delayed delivery is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// Adds a delivery in its place; returns the row that thereby folds away.
    pub fn push(&mut self, pending: PendingDelivery) -> Option<i64> {
        let incident = pending.delivery.incident;
        self.unlist(incident);
        let queue = self.queues.entry(incident).or_default();
        let first = usize::from(queue.head == Head::InFlight);
        let sequence = pending.delivery.sequence;
        let later =
            queue.waiting.iter().skip(first).rev().take_while(|other| other.delivery.sequence > sequence).count();
        let place = queue.waiting.len() - later;
        let waiting = Waiting {
            row: pending.row,
            delivery: Arc::new(pending.delivery),
            attempts: pending.attempts,
            last_error: pending.last_error,
            saved_at: None,
            unsaved: false,
        };
        queue.waiting.insert(place, waiting);
        self.rows += 1;
        let folded = queue.fold(place).or_else(|| place.checked_sub(1).and_then(|before| queue.fold(before)));
        self.rows -= usize::from(folded.is_some());
        self.list(incident);
        folded
    }

    /// Takes the oldest delivery that may go; with `any_delayed`, one that is not due yet if there is no other.
    pub fn start_next(&mut self, now: Instant, any_delayed: bool) -> Option<&Waiting> {
        while let Some((due, incident)) = self.delayed.first().copied().filter(|(due, _)| *due <= now) {
            self.delayed.remove(&(due, incident));
            self.relist_ready(incident);
        }
        let ready = self.ready.first().map(|(_, incident)| *incident);
        let delayed = || self.delayed.first().map(|(_, incident)| *incident).filter(|_| any_delayed);
        let incident = ready.or_else(delayed)?;
        self.unlist(incident);
        let queue = self.queues.get_mut(&incident)?;
        queue.head = Head::InFlight;
        queue.waiting.front()
    }

    /// The delivery of an incident that is in flight.
    pub fn in_flight(&mut self, incident: IncidentId) -> Option<&mut Waiting> {
        let queue = self.queues.get_mut(&incident).filter(|queue| queue.head == Head::InFlight)?;
        queue.waiting.front_mut()
    }

    /// Removes the delivery that was in flight; the incident's next one may go.
    pub fn finish(&mut self, incident: IncidentId) -> Option<Waiting> {
        let queue = self.queues.get_mut(&incident).filter(|queue| queue.head == Head::InFlight)?;
        let finished = queue.waiting.pop_front();
        self.rows -= usize::from(finished.is_some());
        self.relist_ready(incident);
        finished
    }

    /// Puts the delivery that was in flight back until `until`; returns the row that folds into a newer one.
    pub fn delay(&mut self, incident: IncidentId, until: Instant) -> Option<i64> {
        let queue = self.queues.get_mut(&incident)?;
        queue.head = Head::Delayed(until);
        let folded = queue.fold(0);
        self.rows -= usize::from(folded.is_some());
        self.list(incident);
        folded
    }

    /// Makes every delayed delivery ready: the sink is back.
    pub fn release_all(&mut self) {
        for (_, incident) in std::mem::take(&mut self.delayed) {
            self.relist_ready(incident);
        }
    }

    /// Removes what was decided before `created_before` and is not in flight.
    pub fn expire(&mut self, created_before: Timestamp) -> Vec<Waiting> {
        let incidents: Vec<IncidentId> = self.queues.keys().copied().collect();
        let mut expired = Vec::new();
        for incident in incidents {
            self.unlist(incident);
            let Some(queue) = self.queues.get_mut(&incident) else { continue };
            let first = usize::from(queue.head == Head::InFlight);
            let old = |waiting: &&Waiting| waiting.delivery.created_at < created_before;
            let count = queue.waiting.iter().skip(first).take_while(old).count();
            expired.extend(queue.waiting.drain(first..first + count));
            self.rows -= count;
            self.list(incident);
        }
        expired.sort_by_key(|waiting| waiting.row);
        expired
    }

    /// The deliveries whose attempts the store does not know yet.
    pub fn unsaved(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.queues.values_mut().flat_map(|queue| &mut queue.waiting).filter(|waiting| waiting.unsaved)
    }

    fn unlist(&mut self, incident: IncidentId) {
        let Some(queue) = self.queues.get(&incident) else { return };
        match (queue.head, queue.waiting.front()) {
            (Head::Ready, Some(head)) => drop(self.ready.remove(&(head.row, incident))),
            (Head::Delayed(until), _) => drop(self.delayed.remove(&(until, incident))),
            _ => {}
        }
    }

    fn list(&mut self, incident: IncidentId) {
        let Some(queue) = self.queues.get(&incident) else { return };
        match (queue.head, queue.waiting.front()) {
            (_, None) => drop(self.queues.remove(&incident)),
            (Head::Ready, Some(head)) => drop(self.ready.insert((head.row, incident))),
            (Head::Delayed(until), _) => drop(self.delayed.insert((until, incident))),
            (Head::InFlight, _) => {}
        }
    }

    fn relist_ready(&mut self, incident: IncidentId) {
        if let Some(queue) = self.queues.get_mut(&incident) {
            queue.head = Head::Ready;
        }
        self.list(incident);
    }
}

impl Queue {
    /// Folds the delivery at `place` into the one behind it, if both fold. The newer takes over the tries, so that a
    /// stream of updates does not reset the pauses of a failing sink.
    fn fold(&mut self, place: usize) -> Option<i64> {
        if place == 0 && self.head == Head::InFlight {
            return None;
        }
        let (older, newer) = (self.waiting.get(place)?, self.waiting.get(place + 1)?);
        if !(newer.delivery.action.folds() && older.delivery.folds()) {
            return None;
        }
        let older = self.waiting.remove(place)?;
        let newer = self.waiting.get_mut(place)?;
        if older.attempts > newer.attempts {
            newer.attempts = older.attempts;
            newer.last_error = older.last_error;
            newer.saved_at = older.saved_at;
            newer.unsaved = true;
        }
        Some(older.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timer_now;
    use crate::delivery::Action::{self, Escalated, Linked, Opened, Resolved, Updated};

    fn pending(row: i64, incident: u64, action: Action) -> PendingDelivery {
        let delivery = Delivery {
            sink: Arc::from("ops"),
            incident: IncidentId(incident),
            sequence: row as u64,
            action,
            body: Vec::new(),
            created_at: Timestamp::from_parts(row, 0),
        };
        PendingDelivery { row, delivery, attempts: 0, last_error: None, parked: false }
    }

    fn filled(deliveries: &[(i64, u64, Action)]) -> (Window, Vec<i64>) {
        let mut window = Window::default();
        let fold = |(row, incident, action): &(i64, u64, Action)| window.push(pending(*row, *incident, *action));
        let folded = deliveries.iter().filter_map(fold).collect();
        (window, folded)
    }

    fn drain(window: &mut Window) -> Vec<i64> {
        let now = timer_now();
        let mut rows = Vec::new();
        while let Some(incident) = window.start_next(now, false).map(|waiting| waiting.delivery.incident) {
            rows.extend(window.finish(incident).map(|waiting| waiting.row));
        }
        assert_eq!(window.len(), 0);
        assert!(window.queues.is_empty() && window.ready.is_empty() && window.delayed.is_empty());
        rows
    }

    #[test]
    fn consecutive_updates_fold_into_the_newest_and_never_across_another_action() {
        let deliveries = [(1, 7, Opened), (2, 7, Updated), (3, 7, Linked), (4, 7, Escalated), (5, 7, Linked)];
        let (mut window, folded) =
            filled(&[&deliveries[..], &[(6, 8, Updated), (7, 7, Updated), (8, 7, Resolved)]].concat());
        assert_eq!(folded, [2, 5]);
        assert_eq!(drain(&mut window), [1, 3, 4, 6, 7, 8]);
    }

    #[test]
    fn an_update_with_a_message_is_not_folded_and_lets_older_ones_fold_into_it() {
        let mut window = Window::default();
        let mut said = pending(3, 7, Updated);
        said.delivery.body = br#"{"message":"we work on it","incident":{}}"#.to_vec();
        let plain = |row| PendingDelivery { row, ..pending(row, 7, Updated) };
        let folded = [pending(1, 7, Opened), plain(2), said, plain(4), plain(5)];
        let folded: Vec<i64> = folded.into_iter().filter_map(|one| window.push(one)).collect();
        assert_eq!((folded, drain(&mut window)), (vec![2, 4], vec![1, 3, 5]));
    }

    #[test]
    fn only_the_lowest_unfinished_sequence_of_an_incident_is_in_flight() {
        let (mut window, _) = filled(&[(1, 7, Opened), (2, 7, Resolved), (3, 8, Opened)]);
        let now = timer_now();
        assert_eq!(window.start_next(now, false).map(|waiting| waiting.row), Some(1));
        assert_eq!(window.start_next(now, false).map(|waiting| waiting.row), Some(3));
        assert!(window.start_next(now, true).is_none());
        window.finish(IncidentId(7));
        assert_eq!(window.start_next(now, false).map(|waiting| waiting.row), Some(2));
    }

    #[test]
    fn one_in_flight_is_not_folded_and_folds_once_it_has_failed() {
        let (mut window, _) = filled(&[(1, 7, Updated)]);
        let now = timer_now();
        window.start_next(now, false).expect("ready");
        assert_eq!(window.push(pending(2, 7, Updated)), None);
        assert_eq!(window.push(pending(3, 7, Updated)), Some(2));
        window.in_flight(IncidentId(7)).expect("in flight").attempts = 4;
        let until = now + std::time::Duration::from_secs(9);
        assert_eq!(window.delay(IncidentId(7), until), Some(1));
        assert_eq!((window.len(), window.next_due()), (1, Some(until)));
        assert!(window.start_next(now, false).is_none(), "the newest keeps the pause");
        let next = window.start_next(now, true).expect("a probe does not wait");
        assert_eq!((next.row, next.attempts), (3, 4));
    }

    #[test]
    fn a_delivery_that_comes_back_takes_its_place_by_sequence() {
        let (mut window, _) = filled(&[(4, 7, Updated), (5, 7, Resolved)]);
        assert_eq!(window.push(pending(1, 7, Opened)), None);
        assert_eq!(window.push(pending(3, 7, Updated)), Some(3), "folds into the newer one behind it");
        assert_eq!(drain(&mut window), [1, 4, 5]);
    }

    #[test]
    fn what_is_too_old_goes_except_what_is_in_flight() {
        let (mut window, _) = filled(&[(1, 7, Opened), (2, 7, Resolved), (3, 8, Opened), (9, 8, Resolved)]);
        window.start_next(timer_now(), false).expect("ready");
        let expired = window.expire(Timestamp::from_parts(9, 0));
        assert_eq!(expired.iter().map(|waiting| waiting.row).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(window.finish(IncidentId(7)).map(|waiting| waiting.row), Some(1));
        assert_eq!(drain(&mut window), [9]);
    }
}
