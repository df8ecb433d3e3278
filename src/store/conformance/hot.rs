//! Claims about journal, snapshots, positions and meta.

use super::{Open, commit};
use crate::event::Position;
use crate::store::{Commit, JournalEntry, ShardPosition, SnapshotSlice, Store, StoreError};

fn entry(shard: u16, text: &str) -> JournalEntry {
    JournalEntry { shard, bytes: text.as_bytes().to_vec() }
}

fn journal(entries: &[(u16, &str)]) -> Commit {
    Commit { journal: entries.iter().map(|(shard, text)| entry(*shard, text)).collect(), ..Commit::default() }
}

fn slice(shard: u16, generation: u64, part: u32, last: bool) -> SnapshotSlice {
    SnapshotSlice { shard, generation, part, last, bytes: format!("g{generation}p{part}").into_bytes() }
}

fn slices(slices: &[SnapshotSlice]) -> Commit {
    Commit { slices: slices.to_vec(), ..Commit::default() }
}

/// The generation, and what was handed over, as words.
fn replayed(store: &dyn Store, shard: u16) -> (u64, String) {
    let mut words = Vec::new();
    let each = &mut |bytes: &[u8]| {
        words.push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(())
    };
    let (generation, journal_bytes) = store.reads().replay(shard, each).unwrap();
    let journal_words = words.iter().filter(|word| !word.starts_with('g'));
    assert_eq!(journal_bytes, journal_words.map(|word| word.len() as u64).sum::<u64>());
    (generation, words.join(" "))
}

/// Now, and after a restart.
fn assert_replays(
    open: &mut Open<'_>,
    store: Box<dyn Store>,
    shard: u16,
    generation: u64,
    words: &str,
) -> Box<dyn Store> {
    assert_eq!(replayed(&*store, shard), (generation, words.to_owned()), "shard {shard}");
    drop(store);
    let store = open();
    assert_eq!(replayed(&*store, shard), (generation, words.to_owned()), "shard {shard}, after a restart");
    store
}

pub(super) fn a_shard_replays_its_journal_in_order_and_no_others(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, journal(&[(10, "a"), (11, "x"), (10, "b"), (10, "c")]));
    commit(&mut *store, journal(&[(11, "y"), (10, "d")]));
    let store = assert_replays(open, store, 10, 0, "a b c d");
    assert_replays(open, store, 11, 0, "x y");
}

pub(super) fn an_empty_shard_replays_nothing(open: &mut Open<'_>) {
    let store = open();
    assert_replays(open, store, 12, 0, "");
}

pub(super) fn replay_is_the_newest_complete_snapshot_then_the_journal_since_its_first_slice(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, journal(&[(13, "a")]));
    commit(&mut *store, Commit { journal: vec![entry(13, "b")], ..slices(&[slice(13, 1, 0, false)]) });
    commit(&mut *store, journal(&[(13, "c")]));
    store = assert_replays(open, store, 13, 0, "a b c");
    // The restart has dropped the unfinished one; the next process starts it over.
    commit(&mut *store, Commit { journal: vec![entry(13, "d")], ..slices(&[slice(13, 1, 0, false)]) });
    commit(&mut *store, journal(&[(13, "e")]));
    commit(&mut *store, slices(&[slice(13, 1, 1, true)]));
    commit(&mut *store, journal(&[(13, "f")]));
    store = assert_replays(open, store, 13, 1, "g1p0 g1p1 d e f");
    commit(&mut *store, slices(&[slice(13, 2, 0, false), slice(13, 2, 1, false), slice(13, 2, 2, true)]));
    store = assert_replays(open, store, 13, 2, "g2p0 g2p1 g2p2");
    commit(&mut *store, journal(&[(13, "h")]));
    assert_replays(open, store, 13, 2, "g2p0 g2p1 g2p2 h");
}

pub(super) fn an_unfinished_snapshot_is_ignored(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, slices(&[slice(14, 5, 0, true)]));
    commit(&mut *store, journal(&[(14, "a")]));
    commit(&mut *store, slices(&[slice(14, 6, 0, false)]));
    commit(&mut *store, journal(&[(14, "b")]));
    commit(&mut *store, slices(&[slice(14, 6, 1, false)]));
    assert_replays(open, store, 14, 5, "g5p0 a b");
}

pub(super) fn a_snapshot_that_was_begun_again_holds_nothing_of_the_first_try(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, slices(&[slice(15, 1, 0, false), slice(15, 1, 1, false), slice(15, 1, 2, false)]));
    commit(&mut *store, journal(&[(15, "a")]));
    commit(&mut *store, slices(&[slice(15, 1, 0, false)]));
    commit(&mut *store, slices(&[slice(15, 1, 1, true)]));
    assert_replays(open, store, 15, 1, "g1p0 g1p1");
}

pub(super) fn a_snapshot_that_lacks_a_part_does_not_count(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, journal(&[(16, "a")]));
    commit(&mut *store, slices(&[slice(16, 1, 0, false)]));
    commit(&mut *store, slices(&[slice(16, 1, 2, true)]));
    assert_replays(open, store, 16, 0, "a");
}

pub(super) fn shards_are_cut_apart_from_one_another(open: &mut Open<'_>) {
    let mut store = open();
    for _ in 0..100 {
        commit(&mut *store, journal(&[(17, "a"), (18, "x")]));
    }
    commit(&mut *store, slices(&[slice(17, 1, 0, true)]));
    // Long enough for all that is garbage to have gone.
    for _ in 0..10 {
        commit(&mut *store, journal(&[(17, "b")]));
    }
    let kept = ["x"; 100].join(" ");
    store = assert_replays(open, store, 18, 0, &kept);
    assert_replays(open, store, 17, 1, "g1p0 b b b b b b b b b b");
}

pub(super) fn the_order_holds_after_a_restart_on_a_cut_journal(open: &mut Open<'_>) {
    let mut store = open();
    for generation in 1..5 {
        commit(&mut *store, journal(&[(19, "a"), (19, "b")]));
        commit(&mut *store, slices(&[slice(19, generation, 0, true)]));
        commit(&mut *store, Commit { meta: vec![("tick".into(), generation.to_string())], ..Commit::default() });
        drop(store);
        store = open();
    }
    commit(&mut *store, journal(&[(19, "c"), (19, "d")]));
    assert_replays(open, store, 19, 4, "g4p0 c d");
}

pub(super) fn an_error_of_the_reader_ends_the_replay(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, journal(&[(20, "a"), (20, "b"), (20, "c")]));
    let mut seen = 0;
    let result = store.reads().replay(20, &mut |bytes| {
        seen += 1;
        if bytes == b"b" { Err("cannot be read".to_owned()) } else { Ok(()) }
    });
    assert_eq!(seen, 2);
    match result {
        Err(StoreError::Damaged { what, detail }) => assert!(what.contains("20") && detail.contains("cannot be read")),
        other => panic!("{other:?}"),
    }
}

pub(super) fn positions_move_and_survive(open: &mut Open<'_>) {
    let position = |shard, topic: &str, partition, next_offset| ShardPosition {
        shard,
        position: Position { source: "alerts".into(), topic: topic.into(), partition, next_offset },
    };
    let mut store = open();
    let first =
        vec![position(21, "t", 0, 5), position(21, "t", 1, 7), position(22, "t", 0, 6), position(21, "u", 0, 1)];
    commit(&mut *store, Commit { positions: first, ..Commit::default() });
    // Within one commit, too, the last one counts.
    let second = vec![position(21, "t", 0, 8), position(21, "t", 0, 9)];
    commit(&mut *store, Commit { positions: second, ..Commit::default() });
    drop(store);
    let mut found = open().reads().positions().unwrap();
    found.retain(|position| [21, 22].contains(&position.shard));
    let expected = [position(21, "t", 0, 9), position(21, "t", 1, 7), position(21, "u", 0, 1), position(22, "t", 0, 6)];
    assert_eq!(found, expected);
}

pub(super) fn meta_is_what_was_written_last(open: &mut Open<'_>) {
    let meta = |value: &str| Commit { meta: vec![("rules".into(), value.into())], ..Commit::default() };
    let mut store = open();
    assert_eq!(store.reads().meta("rules").unwrap(), None);
    commit(&mut *store, meta("1"));
    commit(&mut *store, meta("2"));
    drop(store);
    assert_eq!(open().reads().meta("rules").unwrap().as_deref(), Some("2"));
}

pub(super) fn an_empty_commit_changes_nothing(open: &mut Open<'_>) {
    let mut store = open();
    commit(&mut *store, Commit::default());
    assert!(Commit::default().is_empty());
}
