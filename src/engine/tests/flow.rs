//! What the scenarios cannot show of flapping and storms: links, documents, bounds, what is left behind.

use super::*;
use crate::engine::command::Command;
use crate::engine::incident::{FlappingDoc, IncidentDoc, StormDoc};

const STORM: &str = "[{ name: by-host, group_by: [host], storm: { opens: 3, per: 1m } }]";

fn storm_doc(shard: &Shard) -> Arc<IncidentDoc> {
    shard.docs().into_iter().find(|doc| doc.storm.is_some()).expect("a storm")
}

fn links(doc: &IncidentDoc, kind: &str) -> Vec<String> {
    doc.links.iter().filter(|link| link.kind == kind).map(|link| link.target.clone()).collect()
}

/// Runs everything that is due, up to this second.
fn run_until(shard: &mut Shard, seconds: i64) {
    while let Some(deadline) = shard.next_deadline().filter(|deadline| *deadline <= at(seconds)) {
        shard.advance(deadline);
    }
}

#[test]
fn a_storm_links_its_first_hundred_children_and_counts_the_others() {
    let mut shard = shard(STORM);
    send(&mut shard, 0, Status::Firing, 0..253);
    let storm = storm_doc(&shard);
    assert_eq!(storm.storm, Some(StormDoc { children: 250, open: 250, active: true }));
    assert_eq!(&*storm.title, "storm: by-host: 250 further incidents");
    assert_eq!((links(&storm, "child").len(), storm.service.clone(), storm.alerts.total), (100, None, 0));
    let children: Vec<_> = shard.docs().into_iter().filter(|doc| !links(doc, "parent").is_empty()).collect();
    assert_eq!(children.len(), 250);
    assert!(children.iter().all(|child| links(child, "parent") == [storm.id.to_string()]));
    let decisions = shard.take_changes().decisions;
    let told: Vec<Action> = decisions.iter().filter(|one| !one.notify.is_empty()).map(|one| one.action).collect();
    assert_eq!((decisions.len(), told), (254, vec![Action::Opened; 4]), "every incident is recorded, four are told");
}

#[test]
fn a_child_that_is_taken_out_leaves_no_link_and_what_is_no_child_is_refused() {
    let mut shard = shard("[{ name: by-host, group_by: [host], storm: { opens: 1 } }]");
    send(&mut shard, 0, Status::Firing, 0..4);
    let storm = storm_doc(&shard);
    let part = shard.docs().into_iter().find(|doc| !links(doc, "parent").is_empty()).expect("a child").id;
    let split = |incident, part| Command::Split { version: None, incident, part };
    shard.command(at(1), "alice", &split(storm.id, part)).expect("it is a child");
    assert_eq!(storm_doc(&shard).storm, Some(StormDoc { children: 2, open: 2, active: true }));
    let docs = shard.docs();
    let doc = docs.iter().find(|doc| doc.id == part).expect("it lives on");
    assert_eq!((links(doc, "parent").len(), links(&storm_doc(&shard), "child").len()), (0, 2));
    assert_eq!(
        shard.take_changes().decisions.last().expect("it is told").detail,
        format!("taken out of {} by alice", storm.id)
    );
    for (incident, part) in [(storm.id, part), (part, storm.id), (storm.id, IncidentId(7))] {
        assert!(shard.command(at(2), "alice", &split(incident, part)).is_err());
    }
    assert!(shard.take_changes().decisions.is_empty());
}

#[test]
fn a_storm_that_is_over_leaves_nothing_behind() {
    let mut shard = shard("[{ name: by-host, group_by: [host], storm: { opens: 3 }, flapping: { changes: 2 } }]");
    for round in 0..3 {
        send(&mut shard, round * 20, Status::Firing, 0..50);
        send(&mut shard, round * 20 + 10, Status::Resolved, 0..50);
    }
    run_until(&mut shard, 100_000);
    let stats = shard.stats();
    assert_eq!((stats.firing, stats.resolved, stats.stale, stats.groups), (0, 0, 0, 0));
    assert_eq!((shard.docs().len(), shard.names.len(), shard.next_deadline()), (0, 0, None));
}

#[test]
fn an_opening_costs_the_journal_one_time_and_not_all_that_are_remembered() {
    let mut shard = shard("[{ name: by-host, group_by: [host], storm: { opens: 10000, per: 1h } }]");
    send(&mut shard, 0, Status::Firing, 0..5_000);
    shard.take_changes();
    send(&mut shard, 1, Status::Firing, 5_000..5_001);
    let journal = shard.take_changes().journal.len();
    assert!(journal < 600, "{journal} bytes");
}

#[test]
fn openings_count_over_a_restart_from_a_snapshot_that_was_overtaken_by_the_journal() {
    let mut original = shard(STORM);
    send(&mut original, 0, Status::Firing, 0..2);
    let first = original.take_changes().journal;
    let mut slices = Vec::new();
    loop {
        let step = original.snapshot_step();
        slices.push(step.bytes);
        if step.last {
            break;
        }
    }
    send(&mut original, 1, Status::Firing, 2..3);
    let second = original.take_changes().journal;
    for entries in [vec![first.clone(), second.clone()], [slices, vec![first, second]].concat()] {
        let mut shard = restored(STORM, &entries);
        send(&mut shard, 2, Status::Firing, 3..4);
        assert_eq!(storm_doc(&shard).storm, Some(StormDoc { children: 1, open: 1, active: true }));
    }
}

#[test]
fn an_incident_says_how_many_alerts_flap_and_how_often_they_changed() {
    let rules = "[{ name: all, resolve_after: 0s, flapping: { changes: 3, stable: 1m } }]";
    let mut shard = shard(rules);
    for seconds in 0..9 {
        let status = if seconds % 2 == 0 { Status::Firing } else { Status::Resolved };
        send(&mut shard, seconds, status, [1, 2]);
    }
    let doc = &shard.docs()[0];
    assert_eq!(doc.flapping, Some(FlappingDoc { alerts: 2, changes: 16, since: at(3) }));
    let json = serde_json::to_value(&**doc).expect("JSON");
    assert_eq!(json["flapping"]["changes"], 16);
    assert!(json.get("storm").is_none());
    shard.take_changes();
    send(&mut shard, 9, Status::Resolved, [1]);
    let changes = shard.take_changes();
    assert_eq!((changes.decisions.len(), changes.counts[0].flapping.map(|flapping| flapping.changes)), (0, Some(17)));
    run_until(&mut shard, 80);
    assert_eq!(shard.docs()[0].flapping, None);
}

#[test]
fn an_alert_that_changes_for_a_month_costs_no_more_than_one_that_changed_a_little() {
    let mut shard = shard("[{ name: all, resolve_after: 0s, reopen_within: 30d, flapping: { changes: 64 } }]");
    let mut delivered = 0;
    for seconds in 0..20_000 {
        let status = if seconds % 2 == 0 { Status::Firing } else { Status::Resolved };
        send(&mut shard, seconds, status, [1]);
        let changes = shard.take_changes();
        delivered += changes.decisions.iter().filter(|decision| !decision.notify.is_empty()).count();
        assert!(changes.journal.len() < 1_000, "{} bytes", changes.journal.len());
    }
    assert_eq!(delivered, 66, "64 changes are told, then that it flaps");
    assert!(shard.timers.bytes() < 100_000, "{} bytes", shard.timers.bytes());
}

#[test]
fn openings_of_scopes_that_are_gone_are_forgotten() {
    let mut storms = crate::engine::relate::storm::Storms::default();
    let settings = crate::rules::StormConfig::default();
    for scope in 0..5_000_u32 {
        storms.count(u128::from(scope), &"rule".into(), at(i64::from(scope)), settings);
    }
    assert!(storms.len() <= 2 * 1_024, "{}", storms.len());
}
