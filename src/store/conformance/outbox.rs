//! Claims about deliveries.

use super::{Open, at, commit};
use crate::delivery::{Action, Delivery};
use crate::identity::IncidentId;
use crate::store::{Commit, PendingDelivery, Reads, Settlement, Store};

fn delivery(sink: &str, sequence: u64) -> Delivery {
    Delivery {
        sink: sink.into(),
        incident: IncidentId(42),
        sequence,
        action: Action::Linked,
        body: format!("{{\"sequence\":{sequence}}}").into_bytes(),
        created_at: at(sequence),
    }
}

fn deliveries(sink: &str, sequences: impl IntoIterator<Item = u64>) -> Commit {
    let deliveries = sequences.into_iter().map(|sequence| delivery(sink, sequence)).collect();
    Commit { deliveries, ..Commit::default() }
}

fn settle(store: &mut dyn Store, settlement: Settlement) {
    commit(store, Commit { settled: vec![settlement], ..Commit::default() });
}

fn pending(reads: &dyn Reads, sink: &str) -> Vec<PendingDelivery> {
    reads.pending(sink, 0, 100).unwrap()
}

fn sequences(rows: &[PendingDelivery]) -> Vec<u64> {
    rows.iter().map(|row| row.delivery.sequence).collect()
}

pub(super) fn deliveries_wait_in_the_order_of_their_commits(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, deliveries("order", [3, 1]));
    commit(&mut *store, deliveries("order-2", [1]));
    commit(&mut *store, deliveries("order", [2]));
    drop(store);
    let reads = open().reads();
    let rows = pending(&*reads, "order");
    assert_eq!(
        rows.iter().map(|row| row.delivery.clone()).collect::<Vec<_>>(),
        [3, 1, 2].map(|s| delivery("order", s))
    );
    assert!(rows.is_sorted_by(|a, b| a.row < b.row));
    assert!(rows.iter().all(|row| (row.attempts, &row.last_error, row.parked) == (0, &None, false)));
    assert_eq!(sequences(&reads.pending("order", rows[0].row, 1).unwrap()), [1]);
    assert_eq!(sequences(&reads.pending("order", rows[2].row, 10).unwrap()), [0; 0]);
}

pub(super) fn a_delivery_that_waits_is_not_inserted_twice(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, deliveries("once", [1, 2]));
    let rows = store.commit(&deliveries("once", [2, 1, 3, 3])).unwrap();
    let waiting = pending(&*store.reads(), "once");
    assert_eq!(rows, [None, None, Some(waiting[2].row), None], "whoever commits learns where what is new waits");
    commit(&mut *store, deliveries("once-2", [1]));
    assert_eq!(sequences(&pending(&*store.reads(), "once")), [1, 2, 3]);
    assert_eq!(sequences(&pending(&*store.reads(), "once-2")), [1]);
}

pub(super) fn a_delivery_that_is_done_is_gone_and_its_row_is_not_used_again(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, deliveries("done", [1, 2]));
    let rows = pending(&*store.reads(), "done");
    // A new delivery and the end of older ones come in one commit.
    let settled = rows.iter().map(|row| Settlement::Done { row: row.row }).collect();
    commit(&mut *store, Commit { settled, ..deliveries("done", [3]) });
    assert_eq!(sequences(&pending(&*store.reads(), "done")), [3]);
    let last = pending(&*store.reads(), "done")[0].row;
    settle(&mut *store, Settlement::Done { row: last });
    // Settling what is gone does nothing.
    settle(&mut *store, Settlement::Done { row: last });
    settle(&mut *store, Settlement::Failed { row: last, attempts: 1, error: "gone".into() });
    drop(store);
    let mut store = open();
    commit(&mut *store, deliveries("done", [4]));
    let rows = pending(&*store.reads(), "done");
    assert_eq!(sequences(&rows), [4]);
    assert!(rows[0].row > last);
}

pub(super) fn failed_attempts_survive_a_restart(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, deliveries("failing", [1, 2]));
    let row = pending(&*store.reads(), "failing")[0].row;
    settle(&mut *store, Settlement::Failed { row, attempts: 1, error: "503".into() });
    settle(&mut *store, Settlement::Failed { row, attempts: 2, error: "timeout".into() });
    drop(store);
    let rows = pending(&*open().reads(), "failing");
    assert_eq!((rows[0].attempts, rows[0].last_error.as_deref()), (2, Some("timeout")));
    assert_eq!((rows[1].attempts, rows[1].last_error.as_deref()), (0, None));
}

pub(super) fn a_parked_delivery_waits_apart_until_it_is_retried(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, deliveries("parked", [1, 2]));
    let row = pending(&*store.reads(), "parked")[0].row;
    settle(&mut *store, Settlement::Failed { row, attempts: 9, error: "503".into() });
    settle(&mut *store, Settlement::Parked { row, error: "410 gone".into() });
    drop(store);
    let mut store = open();
    assert_eq!(sequences(&pending(&*store.reads(), "parked")), [2]);
    let parked = store.reads().parked("parked", 10).unwrap();
    assert_eq!(sequences(&parked), [1]);
    assert_eq!((parked[0].attempts, parked[0].last_error.as_deref(), parked[0].parked), (9, Some("410 gone"), true));
    settle(&mut *store, Settlement::Retry { row });
    assert_eq!(store.reads().parked("parked", 10).unwrap(), []);
    let rows = pending(&*store.reads(), "parked");
    assert_eq!(sequences(&rows), [1, 2]);
    assert_eq!((rows[0].attempts, rows[0].last_error.as_deref()), (0, Some("410 gone")));
}

pub(super) fn the_backlog_counts_parked_deliveries_too(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, deliveries("backlog-a", [1, 2, 3]));
    commit(&mut *store, deliveries("backlog-b", [1]));
    let row = pending(&*store.reads(), "backlog-a")[0].row;
    settle(&mut *store, Settlement::Parked { row, error: "no".into() });
    let mut backlog = store.reads().backlog().unwrap();
    backlog.retain(|(sink, _)| sink.starts_with("backlog-"));
    assert_eq!(backlog, [("backlog-a".to_owned(), 3), ("backlog-b".to_owned(), 1)]);
}
