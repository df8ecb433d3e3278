//! What holds of operators' orders, whatever the rules and the events: they move incidents by the table or not at all,
//! and leave exactly their entries in the timeline.

use std::collections::BTreeMap;
use std::sync::Arc;

use incidentd::engine::Shard;
use incidentd::engine::command::{Command, Done, Refusal};
use incidentd::engine::decision::Decision;
use incidentd::engine::desk::Order;
use incidentd::engine::incident::{AlertCounts, IncidentDoc, IncidentStatus};
use incidentd::engine::moves::{Actor, Move};
use incidentd::event::Timestamp;
use incidentd::identity::IncidentId;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Rig, Step, compiled_with_services, config, rules_of_all_sorts_and_unions as all_rules, steps};

/// Orders that change the status of an incident, and notes.
pub fn desk_order() -> impl Strategy<Value = Order> {
    let words = || select(&["", " ", "words"][..]).prop_map(str::to_owned);
    prop_oneof![
        2 => Just(Order::Acknowledge),
        2 => Just(Order::Start),
        2 => words().prop_map(|reason| Order::Hold { reason }),
        2 => Just(Order::Resume),
        4 => (any::<bool>(), words()).prop_map(|(force, resolution)| Order::Resolve { force, resolution }),
        2 => words().prop_map(|reason| Order::Reopen { reason }),
        1 => words().prop_map(|resolution| Order::Close { resolution }),
        1 => Just(Order::Note { text: "words".to_owned(), audience: "internal".to_owned() }),
    ]
}

/// What is ordered of which incident, and of which version of it: `None` of any, else of the one so many before it.
#[derive(Clone, Debug)]
struct Ordered {
    incident: Index,
    order: Order,
    behind: Option<u64>,
}

fn ordered() -> impl Strategy<Value = Ordered> {
    let behind = select(&[None, None, Some(0), Some(1)][..]);
    (any::<Index>(), desk_order(), behind).prop_map(|(incident, order, behind)| Ordered { incident, order, behind })
}

type Docs = BTreeMap<IncidentId, Arc<IncidentDoc>>;

fn docs(shard: &Shard) -> Docs {
    shard.docs().into_iter().map(|doc| (doc.id, doc)).collect()
}

/// A document without the numbers that move without a version.
fn fixed(doc: &IncidentDoc) -> IncidentDoc {
    IncidentDoc { alerts: AlertCounts::default(), events: 0, flapping: None, storm: None, ..doc.clone() }
}

/// What is known of every incident by its timeline.
#[derive(Default)]
pub struct Watch {
    known: BTreeMap<IncidentId, (IncidentStatus, u64, Timestamp, u64)>,
}

impl Watch {
    /// Takes decisions in, each of which must be a row of the table, later than the one before it.
    pub fn see(&mut self, decisions: &[Decision]) -> Result<(), TestCaseError> {
        for decision in decisions {
            let doc = &decision.incident;
            let (before, sequence, at, version) =
                self.known.get(&doc.id).copied().unwrap_or((IncidentStatus::New, 0, Timestamp::EPOCH, 0));
            let by_person = decision.by.is_some() && before.row(decision.step, Actor::Person).is_some();
            prop_assert!(by_person || before.row(decision.step, Actor::Engine).is_some(), "{:?}", decision);
            prop_assert_eq!(before.after(decision.step), Some(doc.status), "{:?}", decision);
            prop_assert!(decision.sequence > sequence && doc.version >= version, "{:?}", decision);
            prop_assert!(decision.at >= at && doc.updated_at <= decision.at && doc.opened_at <= decision.at);
            let age = doc.updated_at.since(doc.opened_at).as_secs();
            prop_assert_eq!(doc.time_in.iter().map(|(_, seconds)| seconds).sum::<u64>(), age, "{:?}", decision);
            self.known.insert(doc.id, (doc.status, decision.sequence, decision.at, doc.version));
        }
        Ok(())
    }
}

/// Whether an order has left its entry, and nothing beside it but the close that follows a resolve at once.
fn left_its_entry(order: &Order, decisions: &[&Decision]) -> bool {
    let moves: Vec<Move> = decisions.iter().map(|decision| decision.step).collect();
    let own = moves.iter().filter(|step| **step == order.step()).count();
    let closes = order.step() == Move::Resolve && moves.ends_with(&[Move::Resolve, Move::Close]);
    // What comes back may be found to flap, or to be a symptom: entries of their own.
    let others = moves.iter().filter(|step| **step != order.step() && **step != Move::Update).count();
    (own == 1 || order.step() == Move::Update && own > 0) && others == usize::from(closes)
}

/// Carries out one order, and looks at what it has changed. Gives what must be in the journal.
fn carry_out(rig: &mut Rig, watch: &mut Watch, ordered: &Ordered) -> Result<Vec<u8>, TestCaseError> {
    let before = docs(&rig.shard);
    let Some(doc) = before.values().nth(ordered.incident.index(before.len().max(1))) else { return Ok(Vec::new()) };
    let version = ordered.behind.map(|behind| doc.version.saturating_sub(behind));
    let order = ordered.order.clone();
    let command = Command::Operate { incident: doc.id, version, order };
    let done = rig.shard.command(rig.now, "ann", &command);
    let changes = rig.shard.take_changes();
    watch.see(&changes.decisions)?;
    let after = docs(&rig.shard);
    let stale = version.is_some_and(|version| version != doc.version);
    match done {
        Err(refusal) => {
            prop_assert!(changes.journal.is_empty() && changes.decisions.is_empty(), "{:?}: {:?}", command, refusal);
            prop_assert_eq!(&before, &after);
            prop_assert_eq!(stale, refusal == Refusal::Version { current: doc.version });
            let fires = matches!(ordered.order, Order::Resolve { force: false, .. }) && doc.alerts.firing > 0;
            let legal = doc.status.row(ordered.order.step(), Actor::Person).is_some();
            let worded = !format!("{:?}", ordered.order).contains("reason: \"words\"");
            prop_assert!(stale || fires || !legal || worded, "{:?}: {:?}", command, refusal);
        }
        Ok(Done::Incident(now)) => {
            prop_assert!(!stale && now.version > doc.version, "{:?}", now);
            let own: Vec<_> = changes.decisions.iter().filter(|decision| decision.incident.id == doc.id).collect();
            prop_assert!(left_its_entry(&ordered.order, &own), "{:?}: {:?}", command, own);
            prop_assert!(own.iter().all(|decision| decision.by.as_deref() == Some("operator:ann")));
            prop_assert!(doc.status.row(ordered.order.step(), Actor::Person).is_some());
        }
        Ok(other) => prop_assert!(false, "{:?}", other),
    }
    for (id, doc) in &after {
        let Some(was) = before.get(id) else { continue };
        prop_assert!(doc.version >= was.version);
        prop_assert!(doc.version > was.version || fixed(doc) == fixed(was), "{:?}\n{:?}", was, doc);
    }
    Ok(changes.journal)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn orders_move_incidents_by_the_table_or_change_nothing(
        (config, rules) in (config(), all_rules()),
        steps in steps(1),
        orders in vec(vec(ordered(), 0..4), 25),
        crash_at in any::<Index>(),
    ) {
        let mut rig = Rig::new(&config, compiled_with_services(&rules), &[]);
        let (mut watch, mut journal) = (Watch::default(), Vec::new());
        let crash_at = crash_at.index(steps.len());
        for (number, (step, orders)) in steps.iter().zip(&orders).enumerate() {
            let brought = rig.step(&Step { orders: Vec::new(), ..step.clone() });
            journal.push(brought.journal);
            watch.see(&brought.decisions)?;
            for ordered in orders {
                // What is due at once is done by the next who asks.
                rig.shard.advance(rig.now);
                let due = rig.shard.take_changes();
                journal.push(due.journal);
                watch.see(&due.decisions)?;
                journal.push(carry_out(&mut rig, &mut watch, ordered)?);
            }
            if number == crash_at {
                let mut restored = Rig::new(&config, compiled_with_services(&rules), &[]);
                for entry in journal.iter().filter(|entry| !entry.is_empty()) {
                    restored.shard.restore(entry).expect("what the shard wrote");
                }
                restored.shard.finish_restore();
                restored.now = rig.now;
                prop_assert_eq!(docs(&restored.shard), docs(&rig.shard));
                rig = restored;
            }
        }
    }

    /// As a shard does that has more due than anybody may be kept waiting for.
    #[test]
    fn what_is_due_may_come_after_events_and_orders_and_breaks_no_law(
        (config, rules) in (config(), all_rules()),
        steps in steps(1),
        orders in vec(vec(ordered(), 0..4), 25),
        due_per_input in 0..3_usize,
    ) {
        let mut rig = Rig::new(&config, compiled_with_services(&rules), &[]);
        let mut watch = Watch::default();
        rig.shard.defer(due_per_input);
        for (step, orders) in steps.iter().zip(&orders) {
            watch.see(&rig.step(&Step { orders: Vec::new(), ..step.clone() }).decisions)?;
            for Ordered { incident, order, .. } in orders {
                let docs = docs(&rig.shard);
                let Some(id) = docs.keys().nth(incident.index(docs.len().max(1))) else { continue };
                let command = Command::Operate { incident: *id, version: None, order: order.clone() };
                // Whether it is refused is not the matter here.
                let _ = rig.shard.command(rig.now, "ann", &command);
                watch.see(&rig.shard.take_changes().decisions)?;
            }
            rig.shard.advance_some(rig.now, 2);
            watch.see(&rig.shard.take_changes().decisions)?;
            for doc in rig.shard.docs() {
                prop_assert_eq!(doc.alerts.firing + doc.alerts.resolved, doc.alerts.total);
            }
        }
        // What had to wait is done in the end: it is the same to run it again.
        rig.shard.advance(rig.now);
        watch.see(&rig.shard.take_changes().decisions)?;
        rig.shard.advance(rig.now);
        prop_assert!(rig.shard.take_changes().decisions.is_empty());
    }
}
