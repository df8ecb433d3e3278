//! Tests of what only this store has, from the inside: full disks, sweeping, retention, checkpoints.

use std::sync::Arc;
use std::time::Duration;

use super::turns::Turns;
use super::*;
use crate::delivery::Action;
use crate::engine::incident::{IncidentDoc, IncidentStatus};
use crate::engine::suppress::silence::{SilenceChange, SilenceDoc};
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::store::conformance::{conformance, doc};
use crate::store::{JournalEntry, SilenceRow, SnapshotSlice, TimelineEntry};

const DAY: Duration = Duration::from_secs(86_400);

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, SqliteConfig::default()).unwrap()
}

fn journal(bytes: usize) -> Commit {
    // Not a byte alike, so that nothing is accidentally right.
    let bytes = (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    Commit { journal: vec![JournalEntry { shard: 0, bytes }], ..Commit::default() }
}

fn replayed_sizes(store: &SqliteStore) -> Vec<usize> {
    let mut sizes = Vec::new();
    let each = &mut |bytes: &[u8]| {
        sizes.push(bytes.len());
        Ok(())
    };
    store.reads().replay(0, each).unwrap();
    sizes
}

fn number(store: &SqliteStore, sql: &str) -> i64 {
    store.writer.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn the_sqlite_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance(&mut || Box::new(open(dir.path())));
}

#[test]
fn a_commit_refused_by_a_full_disk_leaves_nothing_and_succeeds_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&journal(100)).unwrap();
    let pages = number(&store, "PRAGMA page_count");
    store.writer.pragma_update(None, "max_page_count", pages + 4).unwrap();
    let large = Commit { meta: vec![("key".to_owned(), "value".to_owned())], ..journal(200_000) };
    for _ in 0..2 {
        let error = store.commit(&large).unwrap_err();
        assert!(matches!(error, StoreError::Full(_)) && error.is_transient(), "{error:?}");
        assert_eq!(replayed_sizes(&store), [100]);
        assert_eq!(store.reads().meta("key").unwrap(), None);
    }
    // What is small enough goes on.
    store.commit(&journal(101)).unwrap();
    store.writer.pragma_update(None, "max_page_count", pages + 100).unwrap();
    store.commit(&large).unwrap();
    assert_eq!(replayed_sizes(&store), [100, 101, 200_000]);
    drop(store);
    assert_eq!(replayed_sizes(&open(dir.path())), [100, 101, 200_000]);
}

#[test]
fn a_finished_snapshot_frees_the_journal_a_few_rows_per_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for _ in 0..5 {
        store.commit(&Commit { journal: vec![journal(10).journal[0].clone(); 100], ..Commit::default() }).unwrap();
    }
    let slice = |generation, part, last| SnapshotSlice { shard: 0, generation, part, last, bytes: vec![1; 10] };
    let slices = (0..20).map(|part| slice(1, part, part == 19)).collect();
    store.commit(&Commit { slices, ..Commit::default() }).unwrap();
    let (rows, parts) = ("SELECT count(*) FROM journal", "SELECT count(*) FROM snapshot_slices");
    assert_eq!(number(&store, rows), 500 - 64);
    store.commit(&journal(11)).unwrap();
    assert_eq!(number(&store, rows), 500 - 64 - 66 + 1);
    // The rest is found again after a restart.
    drop(store);
    let mut store = open(dir.path());
    store.commit(&Commit { slices: vec![slice(2, 0, true)], ..Commit::default() }).unwrap();
    assert_eq!(number(&store, parts), 21 - 4);
    for _ in 0..10 {
        store.commit(&journal(12)).unwrap();
    }
    assert_eq!(number(&store, rows), 10);
    assert_eq!(number(&store, parts), 1);
    assert_eq!(store.ledger.next_seq, 512, "numbers are not given out again");
}

#[test]
fn snapshots_that_a_crash_left_unfinished_are_dropped_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let slice = |generation, part, last| SnapshotSlice { shard: 0, generation, part, last, bytes: vec![1; 10] };
    let slices = vec![slice(1, 0, true), slice(2, 0, false), slice(2, 1, false)];
    store.commit(&Commit { slices, ..Commit::default() }).unwrap();
    drop(store);
    assert_eq!(number(&open(dir.path()), "SELECT count(*) FROM snapshot_slices"), 1);
}

/// Ten incidents closed a day apart, each with a timeline of `entries`.
fn closed_incidents(store: &mut SqliteStore, entries: u64) {
    for id in 0..10 {
        let closed_at = Timestamp::EPOCH.plus(DAY * id as u32);
        let base = doc(id, "disk", closed_at);
        let open = Arc::new(base.clone());
        let closed = Arc::new(IncidentDoc { status: IncidentStatus::Closed, ..base });
        let timeline = (0..entries).map(|sequence| TimelineEntry {
            incident: IncidentId(id),
            sequence,
            at: closed_at,
            by: "rule:disk".to_owned(),
            what: Action::Linked,
            reason: "incident_open".into(),
            detail: String::new(),
        });
        store.commit(&Commit { incidents: vec![open], timeline: timeline.collect(), ..Commit::default() }).unwrap();
        // Twice: a closed incident counts once.
        for _ in 0..2 {
            store.commit(&Commit { incidents: vec![Arc::clone(&closed)], ..Commit::default() }).unwrap();
        }
    }
}

fn tick(now: Timestamp) -> Commit {
    Commit { now, meta: vec![("tick".to_owned(), String::new())], ..Commit::default() }
}

#[test]
fn closed_incidents_past_the_retention_go_with_their_timelines_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    closed_incidents(&mut store, 3);
    let still_open = doc(77, "disk", Timestamp::EPOCH);
    store.commit(&Commit { incidents: vec![Arc::new(still_open)], ..Commit::default() }).unwrap();
    assert_eq!(store.ledger.closed, 10);
    let now = Timestamp::EPOCH.plus(SqliteConfig::default().retention + DAY * 4);
    store.commit(&tick(now)).unwrap();
    assert_eq!(number(&store, "SELECT count(*) FROM incidents"), 6 + 1);
    assert_eq!(number(&store, "SELECT count(*) FROM timeline"), 6 * 3);
    assert_eq!(store.reads().incident(IncidentId(3)).unwrap(), None);
    assert!(store.reads().incident(IncidentId(4)).unwrap().is_some());
    assert!(store.reads().incident(IncidentId(77)).unwrap().is_some());
    assert_eq!(store.ledger.closed, 6);
}

#[test]
fn a_long_timeline_goes_over_several_commits() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    closed_incidents(&mut store, 100);
    let now = Timestamp::EPOCH.plus(SqliteConfig::default().retention + DAY);
    store.commit(&tick(now)).unwrap();
    assert_eq!(number(&store, "SELECT count(*) FROM timeline"), 1_000 - 64);
    assert_eq!(number(&store, "SELECT count(*) FROM incidents"), 10);
    store.commit(&tick(now)).unwrap();
    assert_eq!(number(&store, "SELECT count(*) FROM timeline"), 900);
    assert_eq!(number(&store, "SELECT count(*) FROM incidents"), 9);
}

#[test]
fn beyond_their_number_the_longest_closed_incidents_go() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    closed_incidents(&mut store, 1);
    drop(store);
    let config = SqliteConfig { max_closed_incidents: 4, ..SqliteConfig::default() };
    let mut store = SqliteStore::open(dir.path(), config).unwrap();
    store.commit(&tick(Timestamp::EPOCH)).unwrap();
    assert_eq!(number(&store, "SELECT count(*) FROM incidents"), 4);
    assert!(store.reads().incident(IncidentId(6)).unwrap().is_some());
}

#[test]
fn the_log_starts_over_instead_of_growing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let checkpointer = schema::open_checkpointer(&dir.path().join(DATABASE)).unwrap();
    let thresholds = Thresholds { passive_bytes: 1 << 20, restart_bytes: 4 << 20 };
    let log_file = || std::fs::metadata(dir.path().join("incidentd.db-wal")).unwrap().len();
    let mut largest = 0;
    for _ in 0..200 {
        store.commit(&journal(100_000)).unwrap();
        checkpoint::pass(&checkpointer, thresholds, &Turns::default()).unwrap();
        largest = largest.max(log_file());
    }
    assert!(largest < 2 << 20, "an idle moment after a passive checkpoint is enough: {largest}");
    assert_eq!(replayed_sizes(&store).len(), 200);
}

/// Once the log grew to several times its bound under load with no reader in sight: the writer took SQLite's lock again
/// before the checkpoint that waited for it had looked.
#[test]
fn a_writer_without_a_pause_does_not_keep_the_log_from_starting_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let connection = || schema::open_checkpointer(&dir.path().join(DATABASE)).unwrap();
    // The store's own thread stays out of it, for its checkpoints would get in the way of those below.
    let (never, often) = (Thresholds { passive_bytes: u64::MAX, restart_bytes: u64::MAX }, 2 << 20);
    store.checkpointer = Checkpointer::spawn(connection(), never).unwrap();
    let (turns, connection, commit) = (store.checkpointer.turns(), connection(), journal(400_000));
    let thresholds = Thresholds { passive_bytes: often, restart_bytes: often };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..300).for_each(|_| drop(store.commit(&commit).unwrap())));
        while !writer.is_finished() {
            let state = checkpoint::pass(&connection, thresholds, &turns).unwrap();
            // An empty busy answer is a look at the log that met the writer; the next one sees more.
            assert!(!state.busy || state.log == 0, "{state:?}");
        }
    });
}

#[test]
fn a_reader_in_the_way_postpones_the_restart_of_the_log_and_fails_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let checkpointer = schema::open_checkpointer(&dir.path().join(DATABASE)).unwrap();
    let thresholds = Thresholds { passive_bytes: 1 << 20, restart_bytes: 2 << 20 };
    let mut reader = schema::open_reader(&dir.path().join(DATABASE)).unwrap();
    store.commit(&journal(100)).unwrap();
    let snapshot = reader.transaction().unwrap();
    let seen = || snapshot.query_row("SELECT count(*) FROM journal", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(seen(), 1);
    for _ in 0..40 {
        store.commit(&journal(100_000)).unwrap();
    }
    let behind = checkpoint::pass(&checkpointer, thresholds, &Turns::default()).unwrap();
    assert!(behind.log > 4_000_000 && behind.moved < behind.log, "{behind:?}");
    assert_eq!(seen(), 1);
    drop(snapshot);
    let caught_up = checkpoint::pass(&checkpointer, thresholds, &Turns::default()).unwrap();
    assert_eq!(caught_up.log, caught_up.moved, "{caught_up:?}");
    store.commit(&journal(100)).unwrap();
    assert!(checkpoint::pass(&checkpointer, thresholds, &Turns::default()).unwrap().log < 1 << 20);
}

#[test]
fn the_thread_sees_to_a_log_that_it_finds_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    (0..20).for_each(|_| drop(store.commit(&journal(100_000)).unwrap()));
    let connection = || schema::open_checkpointer(&dir.path().join(DATABASE)).unwrap();
    let thresholds = Thresholds { passive_bytes: 1 << 20, restart_bytes: 1 << 30 };
    let idle = Thresholds { passive_bytes: u64::MAX, ..thresholds };
    assert!(checkpoint::pass(&connection(), idle, &Turns::default()).unwrap().moved < 1 << 20);
    drop(Checkpointer::spawn(connection(), thresholds).unwrap());
    let state = checkpoint::pass(&connection(), idle, &Turns::default()).unwrap();
    assert!(state.log > 2_000_000 && state.log == state.moved, "{state:?}");
}

#[test]
fn readers_beyond_the_pool_wait_and_none_fails() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&tick(Timestamp::EPOCH)).unwrap();
    let reads = store.reads();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(reads.meta("tick").unwrap().as_deref(), Some(""));
                }
            });
        }
    });
}

#[test]
fn a_page_of_a_list_is_read_from_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (filter, index) in [
        ("1", "incidents_newest"),
        ("status = 'open' AND status <> 'closed'", "incidents_unclosed"),
        ("(opened_at, id) < ('2026', 'INC-')", "incidents_newest"),
        ("status = 'closed' AND (opened_at, id) > ('2026', 'INC-')", "incidents_closed_newest"),
    ] {
        let sql =
            format!("EXPLAIN QUERY PLAN SELECT doc FROM incidents WHERE {filter} ORDER BY opened_at DESC, id DESC");
        let plan: String = store.writer.query_row(&sql, [], |row| row.get("detail")).unwrap();
        assert!(plan.contains(index), "{filter}: {plan}");
    }
}

#[test]
fn the_files_of_an_earlier_process_stay_usable_for_people() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    closed_incidents(&mut store, 1);
    let title: String = store
        .writer
        .query_row("SELECT title FROM incidents_view ORDER BY opened_at LIMIT 1", [], |row| row.get(0))
        .unwrap();
    assert_eq!(title, "disk \"0\"");
}

#[test]
fn people_see_each_silence_once_with_what_it_has_muted_in_all_shards() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let row = |shard, muted_alerts| {
        let (matchers, last_muted) = (vec!["host=\"a\"".to_owned()], Vec::new());
        let (starts_at, ends_at, updated_at) = (Timestamp::EPOCH, Timestamp::EPOCH, Timestamp::EPOCH);
        let (id, created_by, comment, state) = ("a".to_owned(), "ann".to_owned(), "known".to_owned(), "active");
        let (muting, muted_events) = (1, 3);
        let doc = SilenceDoc {
            id: id.clone(),
            matchers,
            starts_at,
            ends_at,
            updated_at,
            created_by,
            comment,
            state,
            muting,
            muted_alerts,
            muted_events,
            last_muted,
        };
        SilenceRow { shard, change: SilenceChange { id, doc: Some(doc) } }
    };
    let silences = vec![row(0, 5), row(1, 7)];
    store.commit(&Commit { silences, ..Commit::default() }).unwrap();
    let sql = "SELECT state || ' ' || matchers || ' ' || muting || ' ' || muted_alerts || ' ' || muted_events FROM silences_view";
    let seen: String = store.writer.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(seen, "active [\"host=\\\"a\\\"\"] 2 12 6");
}
