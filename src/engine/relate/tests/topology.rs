//! What the scenarios cannot show of relations: bounds, large catalogues, and laws that hold whatever happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::tests::at;
use crate::engine::{EngineConfig, Shard};
use crate::event::{Batch, Event, Kind, Status};
use crate::identity::{Fingerprint, IncidentId};
use crate::rules::{Definition, RuleConfig, RuleSet, ServiceConfig, VISITS_MAX, compile};

fn service(name: String, depends_on: Vec<String>) -> ServiceConfig {
    ServiceConfig { name, depends_on, ..ServiceConfig::default() }
}

fn rules(services: &[ServiceConfig]) -> Arc<RuleSet> {
    let rules = "[{ name: down, group_by: [service, host], missing_label: own_group, resolve_after: 0s }]";
    let rules: Vec<RuleConfig> = serde_saphyr::from_str(rules).expect("a rule");
    let (set, problems) = compile(&Definition { services, ..Definition::of(&rules, &["ops".to_owned()]) });
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    Arc::new(set)
}

fn shard(services: &[ServiceConfig]) -> Shard {
    Shard::new(EngineConfig::default(), rules(services))
}

/// Sends an event of a service, and gives the incident that it concerns.
fn send(shard: &mut Shard, seconds: i64, labels: &[(&str, &str)], event: Event) -> Option<IncidentId> {
    let mut batch = Batch::new(bytes::Bytes::new(), at(seconds));
    let mark = batch.mark();
    let mut identity = 7_u128;
    for (name, value) in labels {
        let (name, text) = (batch.intern(name), batch.intern(value));
        batch.push_pair(name, text);
        identity = value.bytes().fold(identity.wrapping_mul(31), |sum, byte| sum.wrapping_mul(257) + u128::from(byte));
    }
    let fingerprint = Fingerprint(identity);
    let occurred_at = Some(at(seconds));
    batch.events.push(Event { labels: batch.pairs_since(mark), occurred_at, fingerprint, ..event });
    let mut verdicts = Vec::new();
    shard.apply(at(seconds), &batch, None, &mut verdicts);
    verdicts.remove(0).incident
}

fn fire(shard: &mut Shard, seconds: i64, service: &str, host: &str) -> IncidentId {
    send(shard, seconds, &[("service", service), ("host", host)], Event::default()).expect("an incident")
}

fn links(shard: &Shard, id: IncidentId, kind: &str) -> Vec<(String, String)> {
    let doc = shard.docs().into_iter().find(|doc| doc.id == id).expect("it is not closed");
    let links = doc.links.iter().filter(|link| link.kind == kind);
    links.map(|link| (link.target.clone(), link.reason.clone())).collect()
}

fn restored(services: &[ServiceConfig], entries: &[Vec<u8>]) -> Shard {
    let mut shard = shard(services);
    entries.iter().for_each(|entry| shard.restore(entry).expect("what a shard wrote"));
    shard.finish_restore();
    shard
}

/// Everything needs `svc-0` in at most five steps, and each service needs five others.
fn large_catalogue() -> Vec<ServiceConfig> {
    let needs = |n: u64| (1..=5).map(move |k| (n * k) / 11).filter(move |to| *to < n);
    (0..100_000_u64)
        .map(|n| {
            let mut needs: Vec<String> = needs(n).map(|to| format!("svc-{to}")).collect();
            needs.dedup();
            service(format!("svc-{n}"), needs)
        })
        .collect()
}

#[test]
fn in_a_catalogue_of_a_hundred_thousand_services_an_opening_visits_a_bounded_part() {
    let services = large_catalogue();
    let edges: usize = services.iter().map(|service| service.depends_on.len()).sum();
    assert!(edges > 490_000, "{edges}");
    let mut shard = shard(&services);
    for n in 0..50_i64 {
        fire(&mut shard, n, &format!("svc-{}", 99_000 + n), "h");
    }
    // A search each way, and another for those that were not met.
    let bound = 3 * VISITS_MAX as u64;
    let before = shard.live.visits;
    assert!(before < 50 * bound, "{before}");
    for (n, hub) in ["svc-1", "svc-0", "svc-50000"].into_iter().enumerate() {
        let before = shard.live.visits;
        fire(&mut shard, 100 + n as i64, hub, "h");
        let visits = shard.live.visits - before;
        assert!((1..=bound).contains(&visits), "{hub}: {visits}");
    }
}

#[test]
fn a_hub_finds_its_symptoms_although_more_depend_on_it_than_may_be_visited() {
    let mut services = vec![service("hub".to_owned(), vec![])];
    services.extend((0..30_000).map(|n| service(format!("svc-{n}"), vec!["hub".to_owned()])));
    let mut shard = shard(&services);
    for n in [29_999, 15_000, 3] {
        fire(&mut shard, 0, &format!("svc-{n}"), "h");
    }
    let hub = fire(&mut shard, 1, "hub", "h");
    assert_eq!(links(&shard, hub, "cause_of").len(), 3);
    assert!(shard.live.visits < 10, "{}", shard.live.visits);
}

#[test]
fn what_concerns_no_broken_service_walks_nowhere() {
    let services = large_catalogue();
    let mut shard = shard(&services);
    fire(&mut shard, 0, "svc-77777", "a");
    for n in 0..100 {
        fire(&mut shard, 1, "svc-77777", &format!("host-{n}"));
        fire(&mut shard, 2, "svc-77777", "a");
        fire(&mut shard, 2, "stranger", &format!("host-{n}"));
    }
    assert_eq!(shard.live.visits, 0);
}

#[test]
fn a_cause_shows_a_hundred_symptoms_and_counts_the_rest() {
    let services = [service("db".to_owned(), vec![]), service("web".to_owned(), vec!["db".to_owned()])];
    let mut shard = shard(&services);
    let db = fire(&mut shard, 0, "db", "h");
    let web: Vec<IncidentId> = (0..130).map(|n| fire(&mut shard, 1, "web", &format!("h{n}"))).collect();
    let shown = links(&shard, db, "cause_of");
    assert_eq!(shown.len(), 100);
    assert_eq!(shown[99].1, "web depends on db, which broke 1s before; and 30 more symptoms");
    let told = shard.take_changes().decisions;
    assert_eq!(
        told.iter().filter(|decision| decision.incident.id == db).count(),
        2,
        "its opening and its first symptom"
    );
    shard.advance(at(20));
    let told = shard.take_changes().decisions;
    let detail = &told.iter().find(|decision| decision.incident.id == db).expect("an update").detail;
    assert!(detail.starts_with("new symptoms: ") && detail.ends_with(" and 119 more; 1 link changed"), "{detail}");
    let group = |id: IncidentId| shard.incidents[&id];
    let (cause, last, first) = (group(db), group(web[129]), group(web[0]));
    assert!(shard.detach_symptom(at(21), "alice", cause, last));
    assert!(!shard.detach_symptom(at(21), "alice", cause, last), "it is no symptom any more");
    assert!(shard.detach_symptom(at(21), "alice", cause, first));
    let shown = links(&shard, db, "cause_of");
    assert_eq!((shown.len(), &*shown[98].1), (99, "web depends on db, which broke 1s before; and 29 more symptoms"));
}

#[test]
fn what_an_operator_has_attached_stays_whatever_the_catalogue_says() {
    let services = [service("db".to_owned(), vec![]), service("web".to_owned(), vec!["db".to_owned()])];
    let mut shard = shard(&services);
    let (odd, web) = (fire(&mut shard, 0, "odd", "h"), fire(&mut shard, 0, "web", "h"));
    let group = |shard: &Shard, id: IncidentId| shard.incidents[&id];
    let (cause, symptom) = (group(&shard, odd), group(&shard, web));
    assert!(shard.attach_symptom(at(1), cause, symptom, ""));
    assert!(!shard.attach_symptom(at(1), symptom, cause, ""), "it would close a ring");
    assert!(!shard.attach_symptom(at(1), cause, cause, ""));
    let said =
        vec![(odd.to_string(), "an operator says that this comes of odd, which broke at the same time".to_owned())];
    assert_eq!(links(&shard, web, "symptom_of"), said);
    fire(&mut shard, 2, "db", "h");
    shard.reload(rules(&[]), EngineConfig::default());
    shard.advance(at(3));
    let mut shard = restored(&services, &[shard.take_changes().journal]);
    shard.advance(at(4));
    assert_eq!(links(&shard, web, "symptom_of"), said);
    assert!(shard.detach_symptom(at(6), "bob", group(&shard, odd), group(&shard, web)));
    assert!(shard.attach_symptom(at(7), group(&shard, odd), group(&shard, web), ""), "the reverse of a split");
}

#[test]
fn a_restart_under_another_catalogue_looks_at_the_links_again() {
    let before = [service("db".to_owned(), vec![]), service("web".to_owned(), vec!["db".to_owned()])];
    let mut original = shard(&before);
    fire(&mut original, 0, "db", "h");
    let web = fire(&mut original, 1, "web", "h");
    let entries = [original.take_changes().journal];
    let mut same = restored(&before, &entries);
    same.advance(at(1));
    assert!(same.take_changes().decisions.is_empty(), "there is nothing to look at");
    assert!(same.take_changes().journal.is_empty());
    assert_eq!(links(&same, web, "symptom_of").len(), 1);
    let mut other = restored(&[], &entries);
    other.advance(at(2));
    assert_eq!(links(&other, web, "symptom_of"), []);
    assert_eq!(other.take_changes().decisions.len(), 2);
}

#[test]
fn changes_leave_nothing_behind_once_they_are_old() {
    let mut shard = shard(&[]);
    let change = Event { kind: Kind::Change, ..Event::default() };
    for n in 0..50 {
        send(&mut shard, n, &[("service", &format!("s{}", n % 7))], change);
    }
    assert!(!shard.changes.is_empty());
    // The next one finds the others too old.
    send(&mut shard, 20_000, &[("service", "s")], change);
    let entries = [shard.take_changes().journal];
    let one = restored(&[], &entries);
    let held = |shard: &Shard| (0..100).filter(|slot| shard.changes.get(*slot).is_some()).count();
    assert_eq!((held(&shard), held(&one)), (1, 1));
}

#[test]
fn forgotten_changes_are_counted() {
    let mut shard = shard(&[]);
    let change = Event { kind: Kind::Change, ..Event::default() };
    for n in 0..130 {
        send(&mut shard, n, &[("service", "s")], change);
    }
    assert_eq!((shard.stats().changes_overflow, shard.stats().changes_overflow), (30, 0));
}

/// Steps from each service to each that it depends on.
fn distances(needs: &[Vec<usize>]) -> BTreeMap<(usize, usize), usize> {
    let mut found = BTreeMap::new();
    for from in 0..needs.len() {
        let (mut level, mut seen) = (vec![from], vec![from]);
        for distance in 1..=5 {
            let mut next: Vec<usize> = level.iter().flat_map(|service| needs[*service].iter().copied()).collect();
            next.retain(|service| !seen.contains(service));
            next.sort_unstable();
            next.dedup();
            found.extend(next.iter().map(|to| ((from, *to), distance)));
            seen.extend(&next);
            level = next;
        }
    }
    found
}

proptest! {
    #[test]
    fn links_have_two_sides_close_no_ring_and_lead_to_the_nearest_that_is_broken(
        needs in proptest::collection::vec(proptest::collection::vec(0..8_usize, 0..3), 8),
        cycles: bool,
        steps in proptest::collection::vec((0..8_usize, any::<bool>()), 1..40),
    ) {
        let needs: Vec<Vec<usize>> = needs.iter().enumerate()
            .map(|(own, needs)| needs.iter().copied().filter(|need| *need < own || (cycles && *need > own)).collect()).collect();
        let services: Vec<_> = needs.iter().enumerate()
            .map(|(n, needs)| service(format!("s{n}"), needs.iter().map(|need| format!("s{need}")).collect())).collect();
        let distances = distances(&needs);
        let mut shard = shard(&services);
        let mut entries = Vec::new();
        for (second, (n, fires)) in steps.into_iter().enumerate() {
            let status = if fires { Status::Firing } else { Status::Resolved };
            let name = format!("s{n}");
            send(&mut shard, second as i64, &[("service", &name), ("host", "h")], Event { status, ..Event::default() });
            entries.push(shard.take_changes().journal);
            holds(&shard, &distances, cycles)?;
        }
        let restored = restored(&services, &entries.into_iter().filter(|entry| !entry.is_empty()).collect::<Vec<_>>());
        let mut both = [shard.docs(), restored.docs()];
        both.iter_mut().for_each(|docs| docs.sort_by_key(|doc| doc.id));
        prop_assert_eq!(&both[0], &both[1]);
    }
}

fn holds(shard: &Shard, distances: &BTreeMap<(usize, usize), usize>, cycles: bool) -> Result<(), TestCaseError> {
    let docs = shard.docs();
    let number = |doc: &crate::engine::incident::IncidentDoc| -> usize {
        doc.service.as_deref().and_then(|name| name[1..].parse().ok()).expect("a service of the test")
    };
    let by_id: BTreeMap<String, _> = docs.iter().map(|doc| (doc.id.to_string(), doc)).collect();
    for doc in &docs {
        let causes: Vec<_> = doc.links.iter().filter(|link| link.kind == "symptom_of").collect();
        prop_assert!(causes.len() <= 1);
        let live = doc.status.is_live();
        let cause = causes.first().map(|link| by_id[&link.target]);
        if let Some(cause) = cause {
            let back = cause.links.iter().filter(|link| link.kind == "cause_of" && link.target == doc.id.to_string());
            prop_assert_eq!(back.count(), 1);
            prop_assert!(distances.contains_key(&(number(doc), number(cause))));
            let group = shard.incidents[&cause.id];
            prop_assert!(
                !shard.leads_to(group, shard.groups.slots[shard.incidents[&doc.id]].incident.as_deref().expect("one"))
            );
        }
        for symptom in doc.links.iter().filter(|link| link.kind == "cause_of") {
            let other = by_id[&symptom.target];
            prop_assert!(other.links.iter().any(|link| link.kind == "symptom_of" && link.target == doc.id.to_string()));
        }
        // Nothing that is broken is nearer than the cause. One that is over stays until something else breaks.
        if cycles || !live || cause.is_some_and(|cause| !cause.status.is_live()) {
            continue;
        }
        let reach = cause.map(|cause| distances[&(number(doc), number(cause))]);
        for other in docs.iter().filter(|other| other.status.is_live() && other.id != doc.id) {
            let Some(distance) = distances.get(&(number(doc), number(other))) else { continue };
            prop_assert!(reach.is_some_and(|reach| reach <= *distance), "{} and {}", doc.id, other.id);
        }
    }
    Ok(())
}
