//! Policies and exactly what is said about them.

use super::*;
use crate::event::Severity;
use crate::rules::{CommunicationConfig, Definition, Priority, Problem, RuleConfig, TeamConfig, compile};

const SINKS: [&str; 3] = ["ops", "boss", "dr-hook"];

fn compiled(policies: &str, major: Option<&str>) -> (crate::rules::RuleSet, Vec<Problem>) {
    let rules: Vec<RuleConfig> = serde_saphyr::from_str("[{name: all, group_by: [host]}]").expect("rules");
    let policies: Vec<EscalationPolicyConfig> = serde_saphyr::from_str(policies).expect(policies);
    let major: Option<MajorIncidentConfig> = major.map(|major| serde_saphyr::from_str(major).expect(major));
    let sinks = SINKS.map(str::to_owned);
    compile(&Definition {
        escalation_policies: &policies,
        major_incident: major.as_ref(),
        ..Definition::of(&rules, &sinks)
    })
}

fn said(policies: &str, major: Option<&str>) -> Vec<String> {
    let problems = compiled(policies, major).1.into_iter();
    problems.map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

fn step(step: &str) -> Vec<String> {
    said(&format!("[{{name: a, steps: [{step}]}}]"), None)
}

#[test]
fn a_step_is_due_by_time_or_by_share_and_does_something() {
    const AT: &str = "escalation_policies[0].steps[0]";
    for (text, wrong) in [
        ("{after: 30d, notify: [ops]}", None),
        ("{share: 1%, of: respond, assign: acme}", None),
        ("{share: 100%, of: resolve, major: true, runbook: x}", None),
        ("{after: 31d, notify: [ops]}", Some(".after: after is 0s to 30d, not 31d")),
        ("{share: 0.9%, of: resolve, notify: [ops]}", Some(".share: share is 1% to 100%")),
        ("{share: 80%, notify: [ops]}", Some(": a share needs `of`: respond or resolve")),
        ("{after: 1m, share: 80%, of: resolve, notify: [ops]}", Some(": a step has either `after` or `share`")),
        ("{notify: [ops]}", Some(": a step has either `after` or `share`")),
        ("{after: 1m, of: resolve, notify: [ops]}", Some(".of: `of` says of which target a `share` is; there is none")),
        ("{after: 1m}", Some(": the step does nothing: say whom to `notify`, to whom to `assign`, or `major: true`")),
        (
            "{after: 1m, notify: [ops], runbook: x}",
            Some(".runbook: a runbook is named where `major: true` declares a major incident"),
        ),
        ("{after: 1m, notify: [op]}", Some(".notify[0]: unknown sink \"op\", did you mean \"ops\"?")),
        ("{after: 1m, notify: [ops, ops]}", Some(".notify[1]: the sink \"ops\" is named twice")),
        (
            "{after: 1m, notify: [ops], when: 'priority=p1'}",
            Some(".when: priority is one of P1, P2, P3, P4, P5, not \"p1\", did you mean \"P1\"?"),
        ),
        (
            "{after: 1m, notify: [ops], when: ['rule=al', 'host=a']}",
            Some(".when[0]: unknown rule \"al\", did you mean \"all\"?"),
        ),
        ("{after: 1m, notify: [ops], when: 'hos=a'}", Some(".when: no rule groups by \"hos\", so no incident has it")),
    ] {
        let expected: Vec<String> = wrong.map(|wrong| format!("{AT}{wrong}")).into_iter().collect();
        assert_eq!(step(text), expected, "{text}");
    }
}

#[test]
fn what_is_more_than_can_be_kept_is_refused() {
    let steps = |count: usize| vec!["{after: 1m, notify: [ops]}"; count].join(", ");
    let policy = |n: usize| format!("{{name: p{n}, steps: [{{after: 1m, notify: [ops]}}]}}");
    let policies = |count: usize| format!("[{}]", (0..count).map(policy).collect::<Vec<_>>().join(", "));
    assert_eq!(step(&steps(32)), [""; 0]);
    assert_eq!(step(&steps(33)), ["escalation_policies[0].steps: a policy has 1 to 32 steps, not 33"]);
    assert_eq!(said(&policies(100), None), [""; 0]);
    assert_eq!(said(&policies(101), None), ["escalation_policies: at most 100 escalation policies, not 101"]);
    let wrong = "[{name: a, repeat: 101, repeat_after: 59s, steps: [{share: 80%, of: resolve, notify: [ops]}]}]";
    assert_eq!(
        said(wrong, None),
        [
            "escalation_policies[0].repeat: repeat is 0 to 100, not 101",
            "escalation_policies[0].repeat: only steps by time (`after`) come again, and there are none",
            "escalation_policies[0].repeat_after: repeat_after is 1m to 30d, not 59s",
        ]
    );
}

#[test]
fn the_hook_of_major_incidents_is_told_of_nothing_else() {
    let (set, problems) = compiled("[]", Some("{hook: dr-hook, crisis_cell: [boss], when: 'priority=P1'}"));
    assert_eq!(problems, []);
    let told: Vec<&str> = set.rules[0].notify.iter().map(|sink| &**sink).collect();
    assert_eq!(told, ["boss", "ops"], "a rule that names no sinks tells all others");
    let only = "\"dr-hook\" is the hook of major_incident, which is told once and of nothing else; name another sink";
    assert_eq!(
        said("[{name: a, steps: [{after: 1m, notify: [dr-hook]}]}]", Some("{hook: dr-hook, crisis_cell: [dr-hook]}")),
        [
            format!("major_incident.crisis_cell[0]: {only}"),
            format!("escalation_policies[0].steps[0].notify[0]: {only}")
        ]
    );
    assert_eq!(
        said("[]", Some("{hook: dr-hok, updates_every: 1s, runbook: ' '}")),
        [
            "major_incident.hook: unknown sink \"dr-hok\", did you mean \"dr-hook\"?",
            "major_incident.updates_every: updates_every is 1m to 7d, not 1s",
            "major_incident.runbook: a runbook is named in 1 to 2048 bytes, not 1",
        ]
    );
}

#[test]
fn no_rule_team_audience_or_reminder_sets_the_recovery_going() {
    let rules: Vec<RuleConfig> = serde_saphyr::from_str("[{name: all, notify: [ops, dr-hook]}]").expect("rules");
    let teams: Vec<TeamConfig> = serde_saphyr::from_str("[{name: a}, {name: b, notify: [dr-hook]}]").expect("teams");
    let communication: CommunicationConfig =
        serde_saphyr::from_str("{audiences: [{name: public, notify: [boss, dr-hook]}], remind: [dr-hook]}")
            .expect("it");
    let major: MajorIncidentConfig = serde_saphyr::from_str("{hook: dr-hook}").expect("it");
    let sinks = SINKS.map(str::to_owned);
    let definition = Definition {
        teams: &teams,
        communication: &communication,
        major_incident: Some(&major),
        ..Definition::of(&rules, &sinks)
    };
    let paths: Vec<String> = compile(&definition).1.into_iter().map(|problem| problem.path).collect();
    let expected =
        ["rules[0].notify[1]", "teams[1].notify[0]", "communication.audiences[0].notify[1]", "communication.remind[0]"];
    assert_eq!(paths, expected);
}

#[test]
fn what_ends_a_policy_follows_from_its_steps_where_it_is_not_said() {
    let stop_on = |more: &str, unless: &str| {
        let text = format!("[{{name: a, {more} steps: [{{after: 1m, notify: [ops]{unless}}}]}}]");
        compiled(&text, None).0.escalation.named("a").expect("a policy").stop_on
    };
    assert_eq!(stop_on("", ""), StopOn::Acknowledged);
    assert_eq!(stop_on("", ", unless: acknowledged"), StopOn::Resolved);
    assert_eq!(stop_on("stop_on: acknowledged,", ", unless: in_progress"), StopOn::Acknowledged);
    assert_eq!(stop_on("stop_on: in_progress,", ""), StopOn::InProgress);
}

#[test]
fn a_missing_label_is_not_an_empty_one() {
    let key = [("host".into(), "a".into()), ("service".into(), "label".into())];
    let facts = IncidentFacts {
        priority: Priority::P2,
        severity: Severity::Error,
        service: None,
        status: "open",
        rule: "all",
        key: &key,
    };
    for (text, holds) in [
        ("priority=~\"P1|P2\"", true),
        ("priority!=P2", false),
        ("service=\"\"", false),
        ("service!=checkout", true),
        ("labels.service=label", true),
        ("host=a", true),
        ("rack=~\".*\"", false),
        ("rack!~x", true),
        ("status=open", true),
        ("rule=all", true),
        ("severity=error", true),
    ] {
        let matcher = IncidentMatcher::parse(text, &["all"]).expect(text);
        assert_eq!(matcher.holds(&facts), holds, "{text}");
    }
}
