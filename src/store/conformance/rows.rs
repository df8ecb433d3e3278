//! Claims about incidents and their timelines.

use std::sync::Arc;

use super::{Open, at, commit, doc};
use crate::delivery::Action;
use crate::engine::incident::{AlertDoc, IncidentDoc, IncidentStatus};
use crate::engine::problems::{ProblemDoc, ProblemStatus};
use crate::engine::suppress::silence::{SilenceChange, SilenceDoc};
use crate::event::Timestamp;
use crate::identity::{IncidentId, ProblemId};
use crate::rules::Priority;
use crate::store::{Commit, IncidentAlerts, IncidentQuery, Reads, SilenceRow, Store, TimelineEntry};

fn incidents(docs: impl IntoIterator<Item = IncidentDoc>) -> Commit {
    Commit { incidents: docs.into_iter().map(Arc::new).collect(), ..Commit::default() }
}

fn of_rule(rule: &str) -> IncidentQuery {
    IncidentQuery { rule: Some(rule.to_owned()), limit: 100, ..IncidentQuery::default() }
}

fn ids(reads: &dyn Reads, query: &IncidentQuery) -> Vec<u64> {
    reads.incidents(query).unwrap().into_iter().map(|(_, id, _)| id.0).collect()
}

pub(super) fn the_newest_document_of_an_incident_wins(open: &mut Open<'_>) {
    let opened = doc(1_001, "newest", at(0));
    let linked = IncidentDoc { version: 2, events: 7, ..opened.clone() };
    let resolved = IncidentDoc { version: 3, status: IncidentStatus::Resolved, updated_at: at(9), ..linked.clone() };
    let mut store = open();
    commit(&mut *store, incidents([opened, doc(1_002, "newest", at(1)), linked.clone()]));
    let read = |store: &dyn Store| store.reads().incident(IncidentId(1_001)).unwrap().unwrap();
    assert_eq!(read(&*store), serde_json::to_string(&linked).unwrap());
    commit(&mut *store, incidents([resolved.clone()]));
    drop(store);
    let store = open();
    assert_eq!(read(&*store), serde_json::to_string(&resolved).unwrap());
    let listed = store.reads().incidents(&IncidentQuery { status: Some("resolved".into()), ..of_rule("newest") });
    assert_eq!(listed.unwrap(), [(at(0), IncidentId(1_001), serde_json::to_string(&resolved).unwrap())]);
}

pub(super) fn a_closed_incident_keeps_the_alerts_it_leaves_behind(open: &mut Open<'_>) {
    let alert = AlertDoc {
        fingerprint: "00".to_owned(),
        state: "resolved",
        severity: crate::event::Severity::Critical,
        source: "prometheus".to_owned(),
        summary: "down".to_owned(),
        labels: [("host".to_owned(), "a".to_owned())].into(),
        annotations: Default::default(),
        count: 2,
        first_seen: at(0),
        last_seen: at(1),
        ends_at: None,
        cleared: false,
        muted: None,
    };
    let mut store = open();
    commit(&mut *store, incidents([doc(1_101, "left", at(0))]));
    assert_eq!(store.reads().incident_alerts(IncidentId(1_101)).unwrap(), None, "it is open");
    let closed = IncidentDoc { status: IncidentStatus::Closed, ..doc(1_101, "left", at(0)) };
    let left = IncidentAlerts { incident: IncidentId(1_101), alerts: vec![alert.clone()] };
    commit(&mut *store, Commit { alerts: vec![left], ..incidents([closed]) });
    drop(store);
    let found = open().reads().incident_alerts(IncidentId(1_101)).unwrap();
    assert_eq!(found, Some(serde_json::to_string(&[alert]).unwrap()));
}

pub(super) fn incidents_are_listed_newest_first_and_paged_without_gap_or_repeat(open: &mut Open<'_>) {
    let mut store = open();
    // Four open at each instant, so that pages end between equal times; ids neither rise nor fall with time.
    let opened_at = |n: u64| at(100 + n / 4).plus(std::time::Duration::from_micros(n / 8));
    let id = |n: u64| 2_000 + (n * 37) % 101;
    commit(&mut *store, incidents((0..30).map(|n| doc(id(n), "listed", opened_at(n)))));
    let mut expected: Vec<(Timestamp, u64)> = (0..30).map(|n| (opened_at(n), id(n))).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    drop(store);
    let reads = open().reads();
    let mut query = IncidentQuery { limit: 7, ..of_rule("listed") };
    let mut found = Vec::new();
    loop {
        let page = reads.incidents(&query).unwrap();
        let Some((opened_at, id, _)) = page.last() else { break };
        query.after = Some((*opened_at, *id));
        found.extend(page.into_iter().map(|(opened_at, id, _)| (opened_at, id.0)));
    }
    assert_eq!(found, expected);
    assert_eq!(ids(&*reads, &IncidentQuery { limit: 0, ..of_rule("listed") }), [0; 0]);
}

pub(super) fn filters_combine(open: &mut Open<'_>) {
    let base = |id| doc(id, "filtered", at(id));
    let docs = [
        base(3_000),
        IncidentDoc { status: IncidentStatus::Closed, ..base(3_001) },
        IncidentDoc { priority: Priority::P4, ..base(3_002) },
        IncidentDoc { service: None, ..base(3_003) },
        IncidentDoc { service: Some("search".into()), status: IncidentStatus::Closed, ..base(3_004) },
    ];
    let mut store = open();
    commit(&mut *store, incidents(docs));
    let reads = store.reads();
    let status = |name: &str| IncidentQuery { status: Some(name.into()), ..of_rule("filtered") };
    let service = |name: &str| IncidentQuery { service: Some(name.into()), ..of_rule("filtered") };
    let priority = |name: &str| IncidentQuery { priority: Some(name.into()), ..of_rule("filtered") };
    for (query, expected) in [
        (of_rule("filtered"), &[3_004, 3_003, 3_002, 3_001, 3_000][..]),
        (status("open"), &[3_003, 3_002, 3_000]),
        (status("closed"), &[3_004, 3_001]),
        (status("acknowledged"), &[]),
        (priority("P4"), &[3_002]),
        (service("search"), &[3_004]),
        (service("checkout"), &[3_002, 3_001, 3_000]),
        (IncidentQuery { status: Some("closed".into()), ..service("checkout") }, &[3_001]),
        (IncidentQuery { after: Some((at(3_002), IncidentId(3_002))), ..status("open") }, &[3_000]),
        (of_rule("filtered' OR 1"), &[]),
    ] {
        assert_eq!(ids(&*reads, &query), expected, "{query:?}");
    }
}

pub(super) fn an_unknown_incident_is_none(open: &mut Open<'_>) {
    let reads = open().reads();
    assert_eq!(reads.incident(IncidentId(4_000)).unwrap(), None);
    assert_eq!(reads.timeline(IncidentId(4_000), 10).unwrap(), []);
    assert_eq!(reads.timeline_from(IncidentId(4_000), 0, 10).unwrap(), []);
}

fn entry(incident: u64, sequence: u64, detail: &str) -> TimelineEntry {
    TimelineEntry {
        incident: IncidentId(incident),
        sequence,
        at: at(sequence),
        by: "rule:disk".to_owned(),
        what: Action::ALL[sequence as usize % Action::ALL.len()],
        reason: "incident_open".into(),
        detail: detail.to_owned(),
    }
}

pub(super) fn a_timeline_is_the_newest_entries_oldest_first(open: &mut Open<'_>) {
    let entries: Vec<_> = (1..=20).map(|sequence| entry(5_000, sequence, "linked 12 alerts")).collect();
    let mut store = open();
    // The order of commits is not that of sequences when shards are merged.
    for chunk in entries.chunks(7).rev() {
        let others = [entry(5_001, chunk[0].sequence, "another")];
        let timeline = chunk.iter().cloned().chain(others).collect();
        commit(&mut *store, Commit { timeline, ..Commit::default() });
    }
    drop(store);
    let reads = open().reads();
    assert_eq!(reads.timeline(IncidentId(5_000), 100).unwrap(), entries);
    assert_eq!(reads.timeline(IncidentId(5_000), 3).unwrap(), entries[17..]);
    let from = |first, limit| reads.timeline_from(IncidentId(5_000), first, limit).unwrap();
    assert_eq!((from(0, 100), from(4, 3), from(21, 100)), (entries.clone(), entries[3..6].to_vec(), Vec::new()));
    assert_eq!(from(u64::MAX, 100), []);
}

pub(super) fn a_timeline_entry_is_written_once(open: &mut Open<'_>) {
    let mut store = open();
    for detail in ["first", "second"] {
        commit(&mut *store, Commit { timeline: vec![entry(5_002, 1, detail)], ..Commit::default() });
    }
    assert_eq!(store.reads().timeline(IncidentId(5_002), 10).unwrap(), [entry(5_002, 1, "first")]);
}

fn silence(id: &str, shard: u16, muted_events: Option<u64>) -> SilenceRow {
    let doc = muted_events.map(|muted_events| SilenceDoc {
        id: id.to_owned(),
        matchers: vec!["service=\"checkout\"".to_owned()],
        starts_at: at(0),
        ends_at: at(60),
        updated_at: at(0),
        created_by: "ann".to_owned(),
        comment: "it's \"known\"".to_owned(),
        state: "active",
        muting: 1,
        muted_alerts: 2,
        muted_events,
        last_muted: Vec::new(),
    });
    SilenceRow { shard, change: SilenceChange { id: id.to_owned(), doc } }
}

pub(super) fn a_silence_is_kept_as_each_shard_last_had_it_until_it_is_forgotten(open: &mut Open<'_>) {
    let json = |id, shard, events| serde_json::to_string(&silence(id, shard, Some(events)).change.doc).unwrap();
    let mut store = open();
    let silences =
        vec![silence("a", 0, Some(1)), silence("a", 1, Some(5)), silence("b", 0, Some(2)), silence("a", 0, Some(3))];
    commit(&mut *store, Commit { silences, ..Commit::default() });
    commit(
        &mut *store,
        Commit { silences: vec![silence("b", 0, Some(9)), silence("b", 0, None)], ..Commit::default() },
    );
    drop(store);
    let store = open();
    let expected = [("a".to_owned(), 0, json("a", 0, 3)), ("a".to_owned(), 1, json("a", 1, 5))];
    assert_eq!(store.reads().silences().unwrap(), expected);
}

fn problem(id: u64, status: ProblemStatus, recurrences: u64) -> Arc<ProblemDoc> {
    Arc::new(ProblemDoc {
        id: ProblemId(id),
        status,
        title: "disk \"full\"".to_owned(),
        rule: "by-host".into(),
        key: [("host".into(), "a".into())].into(),
        signature: "00000000000000ff".to_owned(),
        reason: "3 incidents within 7d".to_owned(),
        recurrences,
        incidents: vec![IncidentId(1), IncidentId(2)],
        opened_at: at(id),
        updated_at: at(id + recurrences),
        closes_at: (status == ProblemStatus::Open).then_some(at(900)),
        closed_at: None,
        closed_by: None,
        resolution: None,
    })
}

pub(super) fn a_problem_is_kept_as_it_last_was_and_listed_by_its_status_newest_first(open: &mut Open<'_>) {
    let json = |doc: &ProblemDoc| serde_json::to_string(doc).unwrap();
    let (first, second) = (problem(1, ProblemStatus::Open, 3), problem(2, ProblemStatus::Open, 3));
    let (grown, closed) = (problem(1, ProblemStatus::Open, 4), problem(2, ProblemStatus::Closed, 3));
    let mut store = open();
    commit(&mut *store, Commit { problems: vec![first, second, grown.clone()], ..Commit::default() });
    commit(&mut *store, Commit { problems: vec![closed.clone()], ..Commit::default() });
    drop(store);
    let reads = open().reads();
    assert_eq!(reads.problems(None, 10).unwrap(), [json(&closed), json(&grown)]);
    assert_eq!(reads.problems(None, 1).unwrap(), [json(&closed)]);
    assert_eq!(reads.problems(Some("open"), 10).unwrap(), [json(&grown)]);
    assert_eq!(reads.problems(Some("closed"), 10).unwrap(), [json(&closed)]);
    assert_eq!(reads.problem(ProblemId(1)).unwrap(), Some(json(&grown)));
    assert_eq!(reads.problem(ProblemId(3)).unwrap(), None);
}
