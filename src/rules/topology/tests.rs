//! What a catalogue says, and what is said about it.

use std::collections::BTreeMap;

use super::*;
use crate::event::{Kind, Severity, Status};

struct Alert(BTreeMap<&'static str, String>);

impl Subject for Alert {
    fn label(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
    fn source(&self) -> &str {
        "prometheus"
    }
    fn summary(&self) -> &str {
        ""
    }
    fn severity(&self) -> Severity {
        Severity::Critical
    }
    fn status(&self) -> Status {
        Status::Firing
    }
    fn kind(&self) -> Kind {
        Kind::Alert
    }
}

fn compile(services: &[ServiceConfig], listed: &[ServiceConfig]) -> (Topology, Vec<String>) {
    let config = TopologyConfig::default();
    let (topology, problems) = Topology::compile(&Catalogue { services, listed, missing: false, config: &config });
    let shown = |problem: Problem| {
        format!("{}: {}{}", problem.path, if problem.warning { "warning: " } else { "" }, problem.message)
    };
    (topology, problems.into_iter().map(shown).collect())
}

fn read(yaml: &str) -> Vec<ServiceConfig> {
    serde_saphyr::from_str(yaml).expect(yaml)
}

fn service(name: String, depends_on: Vec<String>) -> ServiceConfig {
    ServiceConfig { name, depends_on, ..ServiceConfig::default() }
}

#[test]
fn every_problem_of_a_catalogue_is_told_with_its_path() {
    let services = read(
        "[{name: checkout, depends_on: [payments-db, edge-lb, checkout, edge-lb]}, {name: ''}, \
         {name: checkout, match: ['a=\"b', 'severity=crit']}, {name: edge-lb}]",
    );
    let listed = read("[{name: payment-db, depends_on: [edge]}, {name: edge-lb}]");
    let expected = [
        "services[1].name: a service's name is 1 to 256 bytes long, not 0",
        "services[2].name: services[0] is named \"checkout\" already",
        "services_file[1].name: services[3] is named \"edge-lb\" already",
        "services[2].match[0]: at character 3 of the matcher: the quote is not closed",
        "services[2].match[1]: severity is one of critical, error, warning, info, not \"crit\", did you mean \"critical\"?",
        "services[0].depends_on[0]: unknown service \"payments-db\", did you mean \"payment-db\"?",
        "services[0].depends_on[2]: warning: a service does not depend on itself",
        "services[0].depends_on[3]: warning: \"edge-lb\" is named twice",
        "services_file[0].depends_on[0]: unknown service \"edge\", did you mean \"edge-lb\"?",
    ];
    assert_eq!(compile(&services, &listed).1, expected);
}

#[test]
fn a_cycle_is_a_warning_that_shows_the_way_round() {
    let services = read("[{name: a, depends_on: [b]}, {name: b, depends_on: [c]}, {name: c, depends_on: [a]}]");
    assert_eq!(compile(&services, &[]).1, ["services[0].depends_on: warning: depends on itself: a → b → c → a"]);
    let ring = |n: u32| service(format!("s{n}"), vec![format!("s{}", (n + 1) % 50)]);
    let ring: Vec<_> = (0..50).map(ring).collect();
    let way = "s0 → s1 → s2 → s3 → s4 → s5 → s6 → … → s0";
    assert_eq!(compile(&ring, &[]).1, [format!("services[0].depends_on: warning: depends on itself: {way}")]);
}

#[test]
fn of_many_problems_a_hundred_are_told_and_the_rest_is_counted() {
    let services: Vec<_> = (0..5_000).map(|n| service(format!("s{n}"), vec![format!("unknown-{n}")])).collect();
    let problems = compile(&services, &[]).1;
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100], "services: and 4900 more of services");
}

#[test]
fn of_a_file_that_cannot_be_read_no_name_is_missed() {
    let services = read("[{name: a, depends_on: [b]}]");
    let config = TopologyConfig::default();
    let catalogue = Catalogue { services: &services, listed: &[], missing: true, config: &config };
    assert_eq!(Topology::compile(&catalogue).1, []);
}

#[test]
fn bounds_of_the_walk_are_checked() {
    let config = TopologyConfig { depth: 17, within: Duration::ZERO, related_by: vec![String::new(); 9] };
    let problems = Topology::compile(&Catalogue { services: &[], listed: &[], missing: false, config: &config }).1;
    let messages: Vec<_> = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
    assert_eq!(
        messages,
        [
            "topology.depth: dependencies are followed for 1 to 16 steps, not 17",
            "topology.within: cause and symptom open within 1s to 7d, not 0s",
            "topology.related_by: at most 8 labels relate incidents, not 9"
        ]
    );
}

#[test]
fn the_first_service_in_order_whose_matchers_hold_is_the_alerts() {
    let services = read(
        "[{name: web}, {name: canary, match: ['service=\"web\"', 'track=\"canary\"']}, \
         {name: databases, match: ['job=~\"postgres|mysql\"']}, {name: db, match: ['service=\"db\"', 'job!=\"x\"']}, \
         {name: anything-odd, match: ['odd=~\".+\"']}]",
    );
    let (topology, problems) = compile(&services, &[]);
    assert_eq!(problems, [""; 0]);
    for (labels, expected) in [
        (vec![("service", "web")], Some("web")),
        (vec![("service", "web"), ("track", "canary")], Some("web")),
        (vec![("service", "db"), ("job", "mysql")], Some("databases")),
        (vec![("service", "db")], Some("db")),
        (vec![("service", "canary")], None),
        (vec![("odd", "1"), ("service", "unknown")], Some("anything-odd")),
        (vec![("odd", "")], None),
        (vec![], None),
    ] {
        let alert = Alert(labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect());
        let found = topology.service_of(&alert).map(|service| topology.name(service));
        assert_eq!(found, expected, "{labels:?}");
    }
}

#[test]
fn only_what_leads_where_changes_the_digest() {
    let digest = |yaml: &str| compile(&read(yaml), &[]).0.digest();
    let before = digest("[{name: a, depends_on: [b]}, {name: b}]");
    assert_eq!(before, digest("[{name: a, depends_on: [b], impact: high, match: ['x=y']}, {name: b}]"));
    assert_ne!(before, digest("[{name: a}, {name: b, depends_on: [a]}]"));
    assert_ne!(before, digest("[{name: a, depends_on: [c]}, {name: c}]"));
    assert_eq!(digest("[]"), 0);
}

#[test]
fn a_hundred_thousand_services_are_walked_within_the_bound() {
    let count = 100_000_u64;
    // Five dependencies each, spread by a linear congruence; everything is reached in a few steps.
    let needs = |n: u64| (1..=5).map(move |k| (n * 48_271 + k * 7_919 + 1) % count).filter(move |to| *to != n);
    let services: Vec<_> =
        (0..count).map(|n| service(format!("svc-{n}"), needs(n).map(|to| format!("svc-{to}")).collect())).collect();
    let (topology, problems) = compile(&services, &[]);
    assert!(problems.iter().all(|problem| problem.contains("warning")), "{problems:?}");
    let edges = topology.needs.targets().len();
    assert!((499_000..=500_000).contains(&edges), "{edges}");
    for direction in [Direction::Needs, Direction::NeededBy] {
        let mut seen = 0;
        let walked = topology.walk(direction, 77, VISITS_MAX, |_, distance| {
            seen += 1;
            assert!(distance <= 5);
            ControlFlow::Continue(())
        });
        assert_eq!(walked.visits, seen);
        assert!(seen <= VISITS_MAX && seen > 1_000, "{seen}");
    }
    let alert = Alert(BTreeMap::from([("service", "svc-99999".to_owned())]));
    assert_eq!(topology.service_of(&alert), Some(99_999));
}
