//! What has changed about incidents, for those who follow live: a ring of the last [`CHANGES_MAX`] documents.
//!
//! Written by the committer through the read model; every reader has a place in the ring of its own and is never waited
//! for. Who falls so far behind that what it has not read is gone is told [`Step::Lost`], and reads the listing again. Until
//! the first reader comes nothing is kept, so that a commit costs one load more; from then on, one lock and one reference
//! per document that changed.
//!
//! Numbers rise by one and begin with the microseconds of the start: those of an earlier life of the daemon are below, so
//! that who comes back with one is told that it has lost something.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::engine::incident::IncidentDoc;
use crate::event::Timestamp;

/// Changes that are kept: about 2 MiB at 2 KiB each. Enough for a client that is away for some seconds of a storm.
pub const CHANGES_MAX: usize = 1_024;

/// An incident as it became with one change.
#[derive(Debug)]
pub struct Change {
    /// Rises by one.
    pub number: u64,
    /// The incident.
    pub doc: Arc<IncidentDoc>,
    /// The document as JSON, rendered by whoever needs it first.
    json: OnceLock<Arc<str>>,
}

/// What a reader finds next.
#[derive(Clone, Debug)]
pub enum Step {
    /// The next change.
    Changed(Arc<Change>),
    /// Changes in between are gone; it goes on after this number.
    Lost(u64),
}

/// See the module.
#[derive(Debug)]
pub struct Feed {
    read: AtomicBool,
    ring: Mutex<Ring>,
    /// The number of the newest change, for those who wait for the next.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    /// The number of the newest change.
    newest: u64,
    changes: VecDeque<Arc<Change>>,
}

/// A place in the ring.
#[derive(Debug)]
pub struct Reader {
    feed: Arc<Feed>,
    newest: watch::Receiver<u64>,
    /// The number of what was read last.
    read: u64,
}

impl Feed {
    /// An empty one, whose numbers begin after this instant.
    pub fn new(started_at: Timestamp) -> Self {
        let newest = started_at.as_micros().max(0).unsigned_abs();
        let ring = Ring { newest, changes: VecDeque::new() };
        Self { read: AtomicBool::new(false), ring: Mutex::new(ring), newest: watch::Sender::new(newest) }
    }

    /// Tells who reads what has changed. What can be read elsewhere must show it already.
    pub fn publish(&self, docs: &[Arc<IncidentDoc>]) {
        if docs.is_empty() || !self.read.load(Ordering::SeqCst) {
            return;
        }
        let newest = {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            for doc in docs {
                ring.newest += 1;
                if ring.changes.len() >= CHANGES_MAX {
                    ring.changes.pop_front();
                }
                let number = ring.newest;
                ring.changes.push_back(Arc::new(Change { number, doc: doc.clone(), json: OnceLock::new() }));
            }
            ring.newest
        };
        self.newest.send_replace(newest);
    }

    /// A reader of what changes from now on, or after the number that it has read before.
    pub fn reader(self: &Arc<Self>, after: Option<u64>) -> Reader {
        // From here on changes are kept; whatever is published before is in the listing by now.
        self.read.store(true, Ordering::SeqCst);
        let newest = self.newest.subscribe();
        let read = after.unwrap_or_else(|| *newest.borrow());
        Reader { feed: self.clone(), newest, read }
    }

    /// What follows a number; `None` where it is the newest.
    fn after(&self, number: u64) -> Option<Step> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if number == ring.newest {
            return None;
        }
        let change = ring.changes.front().and_then(|oldest| {
            let place = number.checked_add(1)?.checked_sub(oldest.number)?;
            ring.changes.get(usize::try_from(place).ok()?)
        });
        Some(change.map_or(Step::Lost(ring.newest), |change| Step::Changed(change.clone())))
    }
}

impl Reader {
    /// The number of what was read last.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Waits for what comes next. Nothing is missed when this is dropped before it is ready.
    pub async fn next(&mut self) -> Step {
        loop {
            self.newest.mark_unchanged();
            if let Some(step) = self.feed.after(self.read) {
                self.read = match &step {
                    Step::Changed(change) => change.number,
                    Step::Lost(newest) => *newest,
                };
                return step;
            }
            if self.newest.changed().await.is_err() {
                // Cannot be: the feed that it holds is the sender.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Change {
    /// The document as JSON, as in a listing.
    pub fn json(&self) -> Arc<str> {
        let rendered = || serde_json::to_string(&self.doc).expect("an incident is always JSON").into();
        self.json.get_or_init(rendered).clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::runtime::read_model::tests::open;

    const START: u64 = 1_000;

    fn feed() -> Arc<Feed> {
        Arc::new(Feed::new(Timestamp::from_micros(START as i64)))
    }

    /// What a reader finds without waiting: ids of incidents, `lost` with the number to go on from.
    fn found(reader: &mut Reader) -> Vec<String> {
        std::iter::from_fn(|| reader.next().now_or_never())
            .map(|step| match step {
                Step::Changed(change) => format!("{}: {}", change.number - START, change.doc.id.0),
                Step::Lost(newest) => format!("lost {}", newest - START),
            })
            .collect()
    }

    fn publish(feed: &Feed, ids: impl IntoIterator<Item = u64>) {
        feed.publish(&ids.into_iter().map(|id| open(id, 1)).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_kept_before_somebody_reads() {
        let feed = feed();
        publish(&feed, [1, 2]);
        let mut reader = feed.reader(None);
        assert!(found(&mut reader).is_empty());
        publish(&feed, [3, 4]);
        assert_eq!(found(&mut reader), ["1: 3", "2: 4"]);
    }

    #[test]
    fn who_comes_back_in_time_goes_on_where_it_was() {
        let feed = feed();
        let mut first = feed.reader(None);
        publish(&feed, [1, 2, 3]);
        assert_eq!(found(&mut first).len(), 3);
        assert_eq!(found(&mut feed.reader(Some(START + 1))), ["2: 2", "3: 3"]);
        assert!(found(&mut feed.reader(Some(START + 3))).is_empty());
        assert_eq!(first.read(), START + 3);
    }

    #[test]
    fn who_is_too_late_or_comes_from_another_life_is_told() {
        let feed = feed();
        for number in [0, START - 1, START + 1, u64::MAX] {
            assert_eq!(found(&mut feed.reader(Some(number))), ["lost 0"], "{number}");
        }
        let mut slow = feed.reader(None);
        publish(&feed, 0..CHANGES_MAX as u64);
        assert_eq!(found(&mut feed.reader(Some(START))).len(), CHANGES_MAX, "all that is kept");
        publish(&feed, [7]);
        assert_eq!(found(&mut slow), [format!("lost {}", CHANGES_MAX + 1)]);
        publish(&feed, [8]);
        assert_eq!(found(&mut slow), [format!("{}: 8", CHANGES_MAX + 2)]);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let feed = feed();
        let mut reader = feed.reader(None);
        let waiting = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        publish(&feed, [5]);
        let Step::Changed(change) = waiting.await.unwrap() else { panic!("nothing is lost") };
        assert!(change.json().contains("\"title\":\"incident 5\""), "{}", change.json());
    }
}
