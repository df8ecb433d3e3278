//! What operators order of a shard, and the changes that it hears of, at random.

use std::time::Duration;

use incidentd::engine::command::{Command, Done};
use incidentd::engine::desk;
use incidentd::engine::desk::Order as Desk;
use incidentd::engine::suppress::silence::SilenceDraft;
use incidentd::identity::IncidentId;
use incidentd::rules::{Level, Priority};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::Rig;
use super::desk::desk_order;

/// Something ordered, or a change.
#[derive(Clone, Debug)]
pub enum Order {
    Silence {
        matcher: &'static str,
        from_s: u64,
        for_s: u64,
    },
    Expire(Index),
    Merge(Index, Index),
    /// Of all parts, children and symptoms one.
    Split(Index),
    /// Does something with one incident.
    Operate(Index, Desk),
    /// Of which type, and whether it is taken off again.
    Link(&'static str, Index, Index, bool),
    Change {
        service: u8,
        lag_s: u64,
    },
    /// Impact, or else the priority, by their places.
    Reprioritise(Index, Option<u8>, u8),
}

const KINDS: &[&str] =
    &["parent", "child", "duplicate_of", "duplicated_by", "caused_by", "cause_of", "related", "problem", "runbook"];

fn order() -> impl Strategy<Value = Order> {
    let matcher = select(&["host=h0", "host=~\"h0|h1\"", "service=s0", "host=~\"h.\"", "severity=critical"][..]);
    prop_oneof![
        3 => (matcher, 0u64..5, 1u64..60).prop_map(|(matcher, from_s, for_s)| Order::Silence { matcher, from_s, for_s }),
        1 => any::<Index>().prop_map(Order::Expire),
        3 => (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Order::Merge(one, other)),
        2 => any::<Index>().prop_map(Order::Split),
        4 => (any::<Index>(), desk_order()).prop_map(|(incident, order)| Order::Operate(incident, order)),
        3 => (select(KINDS), any::<Index>(), any::<Index>(), any::<bool>())
            .prop_map(|(kind, one, other, off)| Order::Link(kind, one, other, off)),
        1 => (0u8..2, 0u64..20).prop_map(|(service, lag_s)| Order::Change { service, lag_s }),
        1 => (any::<Index>(), prop::option::of(0u8..3), 0u8..5)
            .prop_map(|(index, impact, priority)| Order::Reprioritise(index, impact, priority)),
    ]
}

pub fn orders() -> impl Strategy<Value = Vec<Order>> {
    prop_oneof![2 => Just(Vec::new()), 1 => vec(order(), 1..4)]
}

impl Rig {
    /// Carries an order out, and says what came of it.
    pub fn order(&mut self, order: &Order) -> String {
        let ids = self.ids();
        let command = match order {
            Order::Silence { matcher, from_s, for_s } => {
                let starts_at = self.now.plus(Duration::from_secs(*from_s));
                let ends_at = starts_at.plus(Duration::from_secs(*for_s));
                let matchers = vec![(*matcher).to_owned()];
                Command::Silence(SilenceDraft { id: None, matchers, starts_at, ends_at, comment: String::new() })
            }
            Order::Expire(index) => {
                let known = self.shard.silences(self.now);
                let mut known: Vec<String> = known.into_iter().map(|silence| silence.id).collect();
                known.sort();
                let Some(id) = chosen(&known, index) else { return String::new() };
                Command::Expire(id.parse().expect("a UUID"))
            }
            Order::Merge(one, other) => {
                let (Some(incident), Some(into)) = (chosen(&ids, one), chosen(&ids, other)) else {
                    return String::new();
                };
                Command::Merge { incident, into, version: None }
            }
            Order::Split(index) => {
                let Some((incident, part)) = chosen(&self.parts(), index) else { return String::new() };
                Command::Split { incident, part, version: None }
            }
            Order::Reprioritise(index, impact, priority) => {
                let Some(incident) = chosen(&ids, index) else { return String::new() };
                let impact = impact.and_then(Level::from_byte);
                let priority = impact.is_none().then(|| Priority::ALL[*priority as usize]);
                let order = desk::Order::Reprioritise { impact, urgency: None, priority, reason: "so".to_owned() };
                Command::Operate { incident, version: None, order }
            }
            Order::Operate(incident, order) => {
                let Some(incident) = chosen(&ids, incident) else { return String::new() };
                Command::Operate { incident, version: None, order: order.clone() }
            }
            Order::Link(kind, one, other, off) => {
                let (Some(incident), Some(other)) = (chosen(&ids, one), chosen(&ids, other)) else {
                    return String::new();
                };
                let (kind, target) = ((*kind).to_owned(), other.to_string());
                let order = if *off {
                    desk::Order::Unlink { kind, target }
                } else {
                    desk::Order::Link { kind, target, reason: String::new() }
                };
                Command::Operate { incident, version: None, order }
            }
            Order::Change { service, lag_s } => return self.change(*service, *lag_s),
        };
        match self.shard.command(self.now, "ann", &command) {
            Ok(Done::Incident(doc)) => format!("{doc:?}"),
            Ok(Done::Silence(doc)) => format!("{doc:?}"),
            Ok(Done::Problem(doc)) => format!("{doc:?}"),
            Err(refusal) => refusal.to_string(),
        }
    }

    fn change(&mut self, service: u8, lag_s: u64) -> String {
        let at = self.now.minus(Duration::from_secs(lag_s)).to_string();
        let labels = serde_json::json!({ "service": format!("s{service}") });
        let change = serde_json::json!([{ "id": at, "kind": "change", "labels": labels, "occurred_at": at }]);
        let (batch, _) = self.gate.take(self.now, change.to_string().into_bytes()).expect("an array");
        let mut verdicts = Vec::new();
        self.shard.apply(self.now, &batch, None, &mut verdicts);
        format!("{verdicts:?}")
    }

    fn ids(&self) -> Vec<IncidentId> {
        let mut ids: Vec<_> = self.shard.docs().iter().map(|doc| doc.id).collect();
        ids.sort();
        ids
    }

    /// What can be split, as incident and part.
    fn parts(&self) -> Vec<(IncidentId, IncidentId)> {
        let mut parts = Vec::new();
        for doc in self.shard.docs() {
            for link in &doc.links {
                let Ok(other) = link.target.parse::<IncidentId>() else { continue };
                match link.kind.as_str() {
                    "merged_from" | "child" => parts.push((doc.id, other)),
                    "symptom_of" => parts.push((other, doc.id)),
                    _ => {}
                }
            }
        }
        parts.sort();
        parts
    }
}

fn chosen<T: Clone>(all: &[T], index: &Index) -> Option<T> {
    (!all.is_empty()).then(|| all[index.index(all.len())].clone())
}
