//! What a catalogue says, and what is said about it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

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
    compile_all(&Catalogue { services, listed, ..nothing() })
}

fn nothing() -> Catalogue<'static> {
    static NOBODY: LazyLock<Teams> = LazyLock::new(Teams::default);
    static CONFIG: TopologyConfig = TopologyConfig::DEFAULT;
    Catalogue {
        services: &[],
        listed: &[],
        lines: &[],
        missing: false,
        config: &CONFIG,
        teams: &NOBODY,
        known: KnownNames::default(),
    }
}

fn compile_all(catalogue: &Catalogue<'_>) -> (Topology, Vec<String>) {
    let (topology, problems) = Topology::compile(catalogue);
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
    assert_eq!(Topology::compile(&Catalogue { services: &services, missing: true, ..nothing() }).1, []);
}

#[test]
fn bounds_of_the_walk_are_checked() {
    let config = TopologyConfig { depth: 17, within: Duration::ZERO, related_by: vec![String::new(); 9] };
    let problems = Topology::compile(&Catalogue { config: &config, ..nothing() }).1;
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

#[test]
fn what_is_known_of_a_service_is_found_by_its_number() {
    let services = read(
        "[{name: bare}, {name: checkout, impact: high, users: 20000, owner: team-payments, suppliers: [acme, b2b], \
         runbook: 'https://wiki/c', escalation: standard, calendar: office, agreement: gold}, \
         {name: other, users: 0, owner: team-payments, suppliers: [acme, b2b]}, {name: last}]",
    );
    let (topology, problems) = compile(&services, &[]);
    assert_eq!(problems, [""; 0]);
    let of = |name: &str| topology.details(topology.find(name).expect(name));
    let checkout = of("checkout");
    assert_eq!((checkout.name, checkout.impact, checkout.users), ("checkout", Some(Level::High), Some(20_000)));
    let texts = [checkout.owner, checkout.runbook, checkout.escalation, checkout.calendar, checkout.agreement];
    let texts = texts.map(|text| text.map(|text| &**text));
    assert_eq!(texts.map(Option::unwrap_or_default), ["team-payments", "https://wiki/c", "standard", "office", "gold"]);
    assert_eq!(checkout.suppliers.iter().map(|name| &**name).collect::<Vec<_>>(), ["acme", "b2b"]);
    let other = of("other");
    assert_eq!((other.users, other.impact), (Some(0), None));
    assert!(std::ptr::eq(other.suppliers, checkout.suppliers), "lists are kept once");
    for silent in ["bare", "last"] {
        assert_eq!((of(silent).owner, of(silent).users, of(silent).suppliers.len()), (None, None, 0), "{silent}");
    }
}

#[test]
fn names_that_a_service_gives_must_exist_where_such_are_configured() {
    let services = read(
        "[{name: a, owner: team-payment, suppliers: [acme, team-payments, acme], escalation: standart, calendar: x, \
           agreement: gold, runbook: 'wiki/a'}, {name: b, owner: '', users: 7}]",
    );
    let teams =
        serde_saphyr::from_str::<Vec<_>>("[{name: team-payments}, {name: acme, kind: supplier}]").expect("teams");
    let (teams, _) = Teams::compile(&teams, &[]);
    let (policies, agreements) = (["standard".to_owned()], Vec::new());
    let known = KnownNames { escalation_policies: Some(&policies), agreements: Some(&agreements), calendars: None };
    let expected = [
        "services[0].owner: unknown team \"team-payment\", did you mean \"team-payments\"?",
        "services[0].suppliers[1]: warning: \"team-payments\" is no supplier, but a team",
        "services[0].suppliers[2]: warning: \"acme\" is named twice",
        "services[0].runbook: a runbook is an http:// or https:// URL of at most 2048 bytes",
        "services[0].escalation: unknown escalation policy \"standart\", did you mean \"standard\"?",
        "services[0].agreement: unknown agreement \"gold\"",
        "services[1].owner: a name is 1 to 256 bytes long, not 0",
    ];
    assert_eq!(compile_all(&Catalogue { services: &services, teams: &teams, known, ..nothing() }).1, expected);
    let services =
        read("[{name: a, owner: anybody, suppliers: [anyone], escalation: any, calendar: any, agreement: any}]");
    assert_eq!(compile(&services, &[]).1, [""; 0], "any name is taken");
    let many = ServiceConfig { suppliers: vec!["s".to_owned(); 17], ..service("a".to_owned(), Vec::new()) };
    assert_eq!(compile(&[many], &[]).1, ["services[0].suppliers: a service has at most 16 suppliers, not 17"]);
}

#[test]
fn a_binding_names_the_entry_and_its_matchers() {
    let services = read("[{name: checkout}, {name: db, match: ['job=~\"postgres|mysql\"', env!=dev]}]");
    let listed = read("[{name: edge-lb}, {name: mail}]");
    let (topology, _) = compile_all(&Catalogue { services: &services, listed: &listed, lines: &[17], ..nothing() });
    let bindings: Vec<_> = (0..4).map(|service| topology.binding(service)).collect();
    let expected = [
        "services[0] (service=\"checkout\")",
        "services[1] (job=~\"postgres|mysql\", env!=\"dev\")",
        "services_file:17 (service=\"edge-lb\")",
        "services_file[1] (service=\"mail\")",
    ];
    assert_eq!(bindings, expected);
    let long =
        ServiceConfig { matchers: vec![format!("a=\"{}\"", "ä".repeat(2_000))], ..service("x".to_owned(), vec![]) };
    let binding = compile(&[long], &[]).0.binding(0);
    assert!(binding.len() <= 1_024 && binding.ends_with("ä…"), "{}", binding.len());
}

#[test]
fn details_of_a_hundred_thousand_services_take_a_few_megabytes() {
    let config = |n: u32| ServiceConfig {
        impact: Some(Level::High),
        users: Some(n),
        owner: Some(format!("team-{}", n % 500)),
        suppliers: vec![format!("supplier-{}", n % 50), "acme-hosting".to_owned()],
        escalation: Some(format!("policy-{}", n % 20)),
        calendar: Some("office".to_owned()),
        agreement: Some(["gold", "silver"][n as usize % 2].to_owned()),
        ..service(format!("svc-{n}"), Vec::new())
    };
    let mut services: Vec<_> = (0..100_000).map(config).collect();
    let bytes = |services: &[ServiceConfig]| compile(services, &[]).0.details_bytes() / services.len();
    assert_eq!(bytes(&services), 32, "what is shared costs next to nothing");
    services
        .iter_mut()
        .enumerate()
        .for_each(|(n, service)| service.runbook = Some(format!("https://wiki.example.org/runbooks/svc-{n}")));
    assert!((100..115).contains(&bytes(&services)), "{} with a page of its own each", bytes(&services));
    let bare: Vec<_> = (0..1_000).map(|n| service(format!("svc-{n}"), Vec::new())).collect();
    assert_eq!(bytes(&bare), 0);
}
