//! What the scenarios cannot show of a shard: Kafka positions, counts, lists, bounds, the format of the journal.

mod flow;

use std::sync::Arc;
use std::time::Duration;

use super::{EngineConfig, Shard};
use crate::delivery::Action;
use crate::engine::decision::{Decision, Outcome, Reason, Verdict};
use crate::event::{Batch, Event, Position, Severity, Status, Timestamp};
use crate::identity::{Fingerprint, IncidentId};
use crate::rules::{Definition, RuleSet, compile};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(1_800_000_000 + seconds, 0)
}

pub(super) fn rules(yaml: &str) -> Arc<RuleSet> {
    let configs: Vec<crate::rules::RuleConfig> = serde_saphyr::from_str(yaml).expect(yaml);
    let (set, problems) = compile(&Definition::of(&configs, &["ops".to_owned()]));
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    Arc::new(set)
}

pub(super) fn shard(yaml: &str) -> Shard {
    Shard::new(EngineConfig::default(), rules(yaml))
}

/// A batch of events of the alerts with these numbers, that happen when they are received.
fn batch(now: Timestamp, status: Status, alerts: impl IntoIterator<Item = u32>) -> Batch {
    let mut batch = Batch::new(bytes::Bytes::new(), now);
    for alert in alerts {
        let mark = batch.mark();
        let (name, value) = (batch.intern("host"), batch.intern(&alert.to_string()));
        batch.push_pair(name, value);
        let event = Event {
            index: batch.events.len() as u32,
            source: batch.intern("test"),
            labels: batch.pairs_since(mark),
            status,
            severity: Severity::Warning,
            occurred_at: Some(now),
            fingerprint: Fingerprint(u128::from(alert)),
            ..Event::default()
        };
        batch.events.push(event);
    }
    batch
}

fn send(shard: &mut Shard, seconds: i64, status: Status, alerts: impl IntoIterator<Item = u32>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    shard.apply(at(seconds), &batch(at(seconds), status, alerts), None, &mut verdicts);
    verdicts
}

/// One alert fires or has ended.
pub(super) fn one_alert(shard: &mut Shard, seconds: i64, fires: bool) {
    let status = if fires { Status::Firing } else { Status::Resolved };
    send(shard, seconds, status, [1]);
}

fn actions(decisions: &[Decision]) -> Vec<Action> {
    decisions.iter().map(|decision| decision.action).collect()
}

fn restored(yaml: &str, entries: &[Vec<u8>]) -> Shard {
    let mut shard = shard(yaml);
    entries.iter().for_each(|entry| shard.restore(entry).expect("what a shard wrote"));
    shard.finish_restore();
    shard
}

fn position(next_offset: i64) -> Position {
    Position { source: "alerts".into(), topic: "topic".into(), partition: 3, next_offset }
}

#[test]
fn a_kafka_record_is_applied_once_and_its_position_moves_once() {
    let mut shard = shard("[{ name: all, open_when: { events: 9 } }]");
    shard.set_position(&position(10));
    let mut kafka = batch(at(0), Status::Firing, [1, 2, 3]);
    kafka.events.iter_mut().zip([9, 10, 11]).for_each(|(event, offset)| event.offset = offset);
    kafka.positions.push(position(12));
    for (expected, moved) in [([true, false, false], vec![position(12)]), ([true; 3], vec![])] {
        let mut verdicts = Vec::new();
        shard.apply(at(0), &kafka, None, &mut verdicts);
        let repeated: Vec<bool> = verdicts.iter().map(|verdict| verdict.reason == Reason::AlreadyApplied).collect();
        assert_eq!(repeated, expected);
        assert_eq!(shard.take_changes().positions, moved);
    }
}

#[test]
fn a_shard_sees_only_its_part_of_a_batch_and_moves_with_the_whole() {
    let mut shard = shard("[{ name: all }]");
    let mut kafka = batch(at(0), Status::Firing, [1, 2, 3]);
    kafka.positions.push(position(3));
    let mut verdicts = Vec::new();
    shard.apply(at(0), &kafka, Some(&[1]), &mut verdicts);
    assert_eq!(verdicts.len(), 1);
    assert_eq!(shard.stats().firing, 1);
    assert_eq!(shard.take_changes().positions, [position(3)]);
}

#[test]
fn an_incident_counts_its_own_events_and_not_those_of_the_one_before() {
    let mut shard = shard("[{ name: all, resolve_after: 0s, reopen_within: 1s, open_when: { events: 2 } }]");
    send(&mut shard, 0, Status::Firing, [1, 1, 1]);
    assert_eq!(shard.docs()[0].events, 3);
    send(&mut shard, 1, Status::Resolved, [1]);
    send(&mut shard, 2, Status::Firing, [1, 1]);
    let docs = shard.docs();
    assert_eq!((docs.len(), docs[0].events), (1, 2));
    let counts = shard.take_changes().counts;
    assert_eq!(counts.iter().map(|counts| (counts.id, counts.events)).collect::<Vec<_>>(), [(docs[0].id, 2)]);
}

#[test]
fn a_list_of_alerts_is_cut_to_firing_ones_and_then_the_oldest() {
    let mut shard = shard("[{ name: all }]");
    let opened = send(&mut shard, 0, Status::Firing, [4, 2])[0].incident.expect("an incident");
    send(&mut shard, 1, Status::Firing, [3, 1]);
    send(&mut shard, 2, Status::Resolved, [2, 4]);
    let hosts = |limit| {
        let (alerts, total) = shard.incident_alerts(opened, limit).expect("an open incident");
        (alerts.iter().map(|alert| alert.labels["host"].clone()).collect::<Vec<_>>().concat(), total)
    };
    assert_eq!(hosts(9), ("1324".to_owned(), 4));
    assert_eq!(hosts(3), ("132".to_owned(), 4));
    assert!(shard.incident_alerts(IncidentId(1), 9).is_none());
}

#[test]
fn of_a_large_incident_a_thousand_alerts_are_remembered_and_of_a_smaller_one_all() {
    for (others, kept) in [(900, 900), (1_100, 999)] {
        let mut shard = shard("[{ name: all, update_interval: 1h }]");
        for seconds in [0, 290, 580] {
            send(&mut shard, seconds, Status::Firing, [0]);
        }
        send(&mut shard, 580, Status::Firing, 1..=others);
        send(&mut shard, 590, Status::Resolved, 1..=others);
        send(&mut shard, 870, Status::Firing, [0]);
        send(&mut shard, 900, Status::Firing, [0]);
        assert_eq!((shard.stats().firing, shard.stats().resolved), (1, kept));
        let doc = &shard.docs()[0];
        assert_eq!((doc.alerts.firing, doc.alerts.total), (1, u64::from(others) + 1), "they are counted all the same");
    }
}

#[test]
fn an_incident_follows_its_last_known_policy_when_its_rule_is_gone_after_a_restart() {
    let mut original = shard("[{ name: all, resolve_after: 1h }]");
    send(&mut original, 0, Status::Firing, [1]);
    let mut entries = vec![original.take_changes().journal];
    original.reload(rules("[{ name: all, resolve_after: 0s }]"), EngineConfig::default());
    entries.push(original.take_changes().journal);
    let mut shard = restored("[]", &entries);
    send(&mut shard, 10, Status::Resolved, [1]);
    assert_eq!(actions(&shard.take_changes().decisions), [Action::Resolved]);
}

#[test]
fn under_hold_a_stale_alert_of_a_resolved_incident_is_forgotten_like_any_other() {
    let mut shard = shard("[{ name: all, on_stale: hold, resolve_after: 0s, open_when: { events: 2 } }]");
    send(&mut shard, 0, Status::Firing, [1, 1]);
    send(&mut shard, 1, Status::Resolved, [1]);
    send(&mut shard, 2, Status::Firing, [2]);
    assert_eq!(actions(&shard.take_changes().decisions), [Action::Opened, Action::Resolved]);
    shard.advance(at(310));
    assert_eq!((shard.stats().firing, shard.stats().stale), (0, 1));
    shard.advance(at(700));
    assert_eq!(shard.stats().stale, 0);
}

#[test]
fn what_is_over_leaves_nothing_behind() {
    let mut shard = shard("[{ name: all }, { name: one, group_by: [host], open_when: { events: 3 }, wait: 1m }]");
    send(&mut shard, 0, Status::Firing, 0..50);
    send(&mut shard, 0, Status::Firing, 0..25);
    send(&mut shard, 1, Status::Firing, 0..25);
    send(&mut shard, 90, Status::Resolved, 0..50);
    while let Some(deadline) = shard.next_deadline() {
        shard.advance(deadline);
    }
    let stats = shard.stats();
    assert_eq!((stats.firing, stats.resolved, stats.stale, stats.groups), (0, 0, 0, 0));
    assert_eq!(shard.docs().len(), 0);
    assert_eq!(shard.names.len(), 0, "no text is left");
}

#[test]
fn an_incident_that_comes_and_goes_for_a_month_does_not_pile_up_deadlines() {
    let mut shard = shard("[{ name: all, resolve_after: 0s, reopen_within: 30d }]");
    for seconds in 0..20_000 {
        let status = if seconds % 2 == 0 { Status::Firing } else { Status::Resolved };
        send(&mut shard, seconds, status, [1]);
    }
    assert!(shard.timers.bytes() < 100_000, "{} bytes", shard.timers.bytes());
}

#[test]
fn an_entry_of_another_format_or_with_an_unknown_record_is_refused() {
    let mut shard = shard("[]");
    assert_eq!(shard.restore(&[9]), Err("format 9, this version reads 5".to_owned()));
    assert_eq!(shard.restore(&[5, 99]), Err("unknown record 99 at byte 2 of 2".to_owned()));
    assert_eq!(shard.restore(&[]), Err("cut short at byte 0 of 0".to_owned()));
    assert_eq!(shard.restore(&[5]), Ok(()));
}

#[test]
fn nothing_changed_makes_no_journal_entry() {
    let mut shard = shard("[{ name: all }]");
    assert!(shard.take_changes().journal.is_empty());
    send(&mut shard, 0, Status::Firing, [1]);
    assert!(!shard.take_changes().journal.is_empty());
    shard.advance(at(1));
    assert!(shard.take_changes().journal.is_empty());
}

#[test]
fn a_repeat_costs_the_journal_a_fraction_of_a_new_alert() {
    let mut shard = shard("[{ name: all }]");
    send(&mut shard, 0, Status::Firing, 0..100);
    let new = shard.take_changes().journal.len();
    for _ in 0..100 {
        send(&mut shard, 1, Status::Firing, 0..100);
    }
    let repeats = shard.take_changes().journal.len();
    assert!(repeats * 3 < new * 2, "{repeats} bytes for repeats, {new} for new alerts");
}

#[test]
fn a_dropped_window_counts_in_the_report_of_a_reload() {
    let mut shard =
        shard("[{ name: a, open_when: { alerts: 2 } }, { name: b, open_when: { alerts: 3 } }, { name: c }]");
    send(&mut shard, 0, Status::Firing, [1]);
    let report = shard.reload(rules("[{ name: a, open_when: { alerts: 2 } }]"), EngineConfig::default());
    let shown: Vec<String> = report.rules.iter().map(|line| format!("{}: {line}", line.rule)).collect();
    let expected = [
        "a: kept 1, migrated 0, dropped 0, retired 0",
        "b: kept 0, migrated 0, dropped 1, retired 0",
        "c: kept 0, migrated 0, dropped 0, retired 1",
    ];
    assert_eq!(shown, expected);
    assert_eq!(report.total().to_string(), "kept 1, migrated 0, dropped 1, retired 1");
}

#[test]
fn editing_one_rule_leaves_the_windows_deadlines_and_waits_of_the_others_as_they_were() {
    let others =
        "{ name: counts, open_when: { alerts: 3 } }, { name: waits, wait: 1m }, { name: opens, group_by: [host] }";
    let mut shard = shard(&format!("[{others}, {{ name: edited, open_when: {{ events: 9 }} }}, {{ name: wider }}]"));
    send(&mut shard, 0, Status::Firing, [1, 2]);
    let state = |shard: &Shard| -> Vec<String> {
        let groups = shard.groups.slots.slots().filter(|(_, group)| !["edited", "wider"].contains(&&*group.rule_name));
        groups.map(|(slot, group)| format!("{group:?} {:?}", shard.group_deadline(slot))).collect()
    };
    shard.take_changes();
    let before = state(&shard);
    assert_eq!(before.len(), 4);
    let edited = "{ name: edited, open_when: { events: 8 } }, { name: wider, window: 6m }";
    let report = shard.reload(rules(&format!("[{others}, {edited}]")), EngineConfig::default());
    assert_eq!(state(&shard), before);
    let shown: Vec<String> = report.rules.iter().map(|line| format!("{}: {line}", line.rule)).collect();
    let expected = [
        "counts: kept 1, migrated 0, dropped 0, retired 0",
        "edited: kept 0, migrated 0, dropped 1, retired 0",
        "opens: kept 2, migrated 0, dropped 0, retired 0",
        "waits: kept 1, migrated 0, dropped 0, retired 0",
        "wider: kept 0, migrated 1, dropped 0, retired 0",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn a_shorter_retention_holds_for_alerts_that_have_ended_already() {
    let mut shard = shard("[]");
    send(&mut shard, 0, Status::Resolved, [1]);
    let (resolve_timeout, lateness) = (Duration::from_secs(10), Duration::ZERO);
    shard.reload(rules("[]"), EngineConfig { resolve_timeout, lateness, ..EngineConfig::default() });
    shard.advance(at(10));
    assert_eq!(shard.stats().resolved, 0);
    assert_eq!(send(&mut shard, 11, Status::Resolved, [1])[0].outcome, Outcome::Recorded);
}

#[test]
fn events_of_a_kafka_source_may_come_as_late_as_it_allows() {
    let (seconds, by_kafka) = (Duration::from_secs, [("alerts".to_owned(), Duration::from_secs(60))].into());
    let source_lateness = super::SourceLateness::new([("fast".to_owned(), seconds(1))].into(), by_kafka);
    let config = EngineConfig { lateness: seconds(10), source_lateness, ..EngineConfig::default() };
    let rules = rules("[{ name: all, open_when: { alerts: 9 } }]");
    let mut shard = Shard::new(config, rules);
    send(&mut shard, 100, Status::Firing, [1]);
    let mut outcomes = |late: i64, source: &str, from_kafka: bool, alert: u32| {
        let mut sent = batch(at(100), Status::Firing, [alert]);
        sent.events[0].source = sent.intern(source);
        sent.events[0].occurred_at = Some(at(100 - late));
        if from_kafka {
            sent.events[0].offset = i64::from(alert);
            sent.positions.push(position(i64::from(alert) + 1));
        }
        let mut verdicts = Vec::new();
        shard.apply(at(100), &sent, None, &mut verdicts);
        verdicts[0].outcome
    };
    let expected = [
        (10, "test", false, Outcome::Pending),
        (11, "test", false, Outcome::Stale),
        (60, "test", true, Outcome::Pending),
        (61, "test", true, Outcome::Stale),
        (2, "fast", true, Outcome::Stale),
    ];
    for (number, (late, source, from_kafka, outcome)) in (10..).zip(expected) {
        assert_eq!(outcomes(late, source, from_kafka, number), outcome, "{late} s late, {source}, Kafka {from_kafka}");
    }
}

#[test]
fn what_an_event_costs_the_journal_does_not_grow_with_its_window() {
    let mut shard = shard("[{ name: all, window: 1h, open_when: { events: 10000 } }]");
    let mut written = |from: i64, to: i64| {
        let mut most = 0;
        for seconds in from..to {
            send(&mut shard, seconds, Status::Firing, [7]);
            most = most.max(shard.take_changes().journal.len());
        }
        most
    };
    let few = written(1, 50);
    let many = written(50, 3_000);
    assert!(many <= few.max(200), "{few} bytes at first, {many} later");
}

#[test]
fn of_what_is_awaited_a_group_keeps_a_bounded_number_and_still_notices_what_does_not_come() {
    let mut shard =
        shard("[{ name: all, open_when: { absence: { after: ['host=\"1\"'], of: ['host=\"2\"'], within: 1h } } }]");
    for seconds in 0..200 {
        send(&mut shard, seconds, Status::Firing, [1]);
        shard.take_changes();
    }
    let bytes = shard.groups.slots[0].span.bytes();
    assert!(bytes < 12_000, "{bytes} bytes");
    send(&mut shard, 100, Status::Firing, [2]);
    shard.advance(at(199 + 3_600 + 119));
    assert!(shard.take_changes().decisions.is_empty());
    shard.advance(at(199 + 3_600 + 120));
    assert_eq!(actions(&shard.take_changes().decisions), [Action::Opened]);
}

#[test]
fn deadlines_that_are_run_a_few_at_a_time_do_what_they_do_at_once() {
    let run = |at_most: usize| {
        let mut shard = shard("[{name: r, group_by: [host], resolve_after: 0s, reopen_within: 0s}]");
        send(&mut shard, 0, Status::Firing, 0..300);
        let mut decisions = shard.take_changes().decisions;
        let mut calls = 1;
        while !shard.advance_some(at(400), at_most) {
            decisions.extend(shard.take_changes().decisions);
            calls += 1;
        }
        decisions.extend(shard.take_changes().decisions);
        let told =
            decisions.into_iter().map(|one| (one.incident, one.sequence, one.at, one.detail)).collect::<Vec<_>>();
        (calls, told)
    };
    let (at_once, in_slices) = (run(usize::MAX), run(7));
    assert!(at_once.0 == 1 && in_slices.0 > 40);
    assert!(at_once.1.len() > 600 && at_once.1 == in_slices.1);
}
