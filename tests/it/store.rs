//! The data directory from outside: who holds it, which version wrote it, and what a crash or damage leaves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics where it stands")]

use std::fs::{self, OpenOptions};
use std::path::Path;

use incidentd::store::{Commit, JournalEntry, SqliteConfig, SqliteStore, Store, StoreError};
use tempfile::TempDir;

const DATABASE: &str = "incidentd.db";
const LOG: &str = "incidentd.db-wal";

fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, SqliteConfig::default())
}

/// Entry `n`: its number over and over, long enough for pages of its own.
fn commit(store: &mut SqliteStore, n: u8) {
    let journal = vec![JournalEntry { shard: 3, bytes: vec![n; 40_000] }];
    let meta = vec![("entries".to_owned(), n.to_string())];
    store.commit(&Commit { journal, meta, ..Commit::default() }).unwrap();
}

/// The numbers of the entries, and what meta says of them: both are of one commit.
fn contents(dir: &Path) -> Result<(Vec<u8>, Option<String>), StoreError> {
    let reads = open(dir)?.reads();
    let mut entries = Vec::new();
    reads.replay(3, &mut |bytes| {
        assert!(bytes.len() == 40_000 && bytes.iter().all(|byte| *byte == bytes[0]));
        entries.push(bytes[0]);
        Ok(())
    })?;
    Ok((entries, reads.meta("entries")?))
}

fn log_len(dir: &Path) -> u64 {
    fs::metadata(dir.join(LOG)).unwrap().len()
}

/// What a killed process leaves: the files as they are while it runs, the shared memory gone.
fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in [DATABASE, LOG] {
        fs::copy(dir.join(file), copy.path().join(file)).unwrap();
    }
    copy
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    match open(dir.path()) {
        Err(StoreError::InUse { holder, dir: named }) => {
            assert_eq!(holder, std::process::id().to_string());
            assert_eq!(named, dir.path().display().to_string());
        }
        other => panic!("{other:?}"),
    }
    drop(store);
    open(dir.path()).unwrap();
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    commit(&mut store, 1);
    drop(store);
    let path = dir.path().join(DATABASE);
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
    let before = fs::read(&path).unwrap();
    match open(dir.path()) {
        Err(StoreError::Newer { found: 999, known, .. }) => assert!(known < 999),
        other => panic!("{other:?}"),
    }
    assert!(fs::read(&path).unwrap() == before, "changed");
}

#[test]
fn a_file_that_is_no_database_is_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(DATABASE), "incidents: []\n".repeat(1_000)).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_flipped_byte_in_a_journal_entry_is_damage_that_names_shard_and_entry() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    (1..=3).for_each(|n| commit(&mut store, n));
    drop(store);
    let path = dir.path().join(DATABASE);
    let mut bytes = fs::read(&path).unwrap();
    // So long a run is the entry itself, not what a page still shows of an earlier place.
    let second = bytes.windows(10_000).position(|window| window == [2; 10_000]).unwrap();
    bytes[second + 5_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    match contents(dir.path()) {
        Err(StoreError::Damaged { what, .. }) => assert_eq!(what, "the journal of shard 3, entry 2"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_that_was_committed_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    for n in 1..=20 {
        commit(&mut store, n);
        let (entries, meta) = contents(copy_of(dir.path()).path()).unwrap();
        assert_eq!(entries, (1..=n).collect::<Vec<_>>());
        assert_eq!(meta, Some(n.to_string()));
    }
}

/// The copy with its log cut to `len`.
fn contents_of_torn(dir: &Path, len: u64) -> (Vec<u8>, Option<String>) {
    let copy = copy_of(dir);
    OpenOptions::new().write(true).open(copy.path().join(LOG)).unwrap().set_len(len).unwrap();
    contents(copy.path()).unwrap_or_else(|error| panic!("cut to {len}: {error}"))
}

#[test]
fn a_log_torn_anywhere_in_its_last_commit_yields_the_commits_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).unwrap();
    (1..=3).for_each(|n| commit(&mut store, n));
    let before = log_len(dir.path());
    commit(&mut store, 4);
    let after = log_len(dir.path());
    assert!(after - before > 3 * 16_384, "the last commit has several pages");
    for len in (before..after).step_by(4_096).chain([after - 1]) {
        assert_eq!(contents_of_torn(dir.path(), len), (vec![1, 2, 3], Some("3".to_owned())), "cut to {len}");
    }
    assert_eq!(contents_of_torn(dir.path(), after), (vec![1, 2, 3, 4], Some("4".to_owned())));
}

#[test]
fn a_log_torn_anywhere_yields_whole_commits_from_the_first_on() {
    let dir = tempfile::tempdir().unwrap();
    // The schema is in the database file, the commits are in the log.
    drop(open(dir.path()).unwrap());
    let mut store = open(dir.path()).unwrap();
    (1..=6).for_each(|n| commit(&mut store, n));
    for len in (0..=log_len(dir.path())).step_by(16_384 + 1_001) {
        let (entries, meta) = contents_of_torn(dir.path(), len);
        let last = entries.len() as u8;
        assert_eq!(entries, (1..=last).collect::<Vec<_>>(), "cut to {len}");
        assert_eq!(meta, (last > 0).then(|| last.to_string()), "cut to {len}");
    }
}
