//! Configurations and exactly what is said about them.

use super::*;

const NO_ENVIRONMENT: Lookup<'static> = &|_| None;

/// The problems of a text, without the file's name.
fn check_in(text: &str, environment: Lookup<'_>) -> Vec<String> {
    let problems = Config::parse("f", text, environment).map_or_else(|problems| problems, |loaded| loaded.warnings);
    problems.iter().map(|problem| problem.to_string()[2..].to_owned()).collect()
}

fn check(text: &str) -> Vec<String> {
    check_in(text, NO_ENVIRONMENT)
}

#[test]
fn the_example_is_valid_and_has_every_key() {
    let example = include_str!("../../deploy/incidentd.yaml");
    assert_eq!(check(example), [""; 0]);
    let schema = Config::schema();
    let parts = schema["$defs"].as_object().expect("definitions").values().chain([&schema]);
    const TO_COME: &[&str] = &["record", "auth"];
    let keys = parts.filter_map(|part| part["properties"].as_object()).flat_map(|properties| properties.keys());
    for key in keys.filter(|key| !TO_COME.contains(&key.as_str())) {
        assert!(example.contains(&format!("{key}:")), "the example lacks `{key}`");
    }
    for later in TO_COME {
        assert!(!example.contains(&format!("{later}:")), "{later} is not yet supported");
    }
}

#[test]
fn the_example_spells_out_the_defaults_where_it_says_so() {
    let example = include_str!("../../deploy/incidentd.yaml");
    let example = Config::parse("f", example, NO_ENVIRONMENT).expect("valid").config;
    let specific = Config::default();
    let same = Config {
        scope: specific.scope.clone(),
        shards: None,
        problems: None,
        fingerprint_labels: None,
        sources: SourcesConfig { kafka: Vec::new(), ..example.sources.clone() },
        rules: specific.rules.clone(),
        services: specific.services.clone(),
        teams: specific.teams.clone(),
        communication: specific.communication.clone(),
        heartbeats: Vec::new(),
        sets: Vec::new(),
        source_lateness: Default::default(),
        maintenance: specific.maintenance.clone(),
        inhibit_rules: Vec::new(),
        priority: specific.priority.clone(),
        calendars: Vec::new(),
        agreements: Vec::new(),
        escalation_policies: Vec::new(),
        major_incident: None,
        sinks: specific.sinks.clone(),
        ..example.clone()
    };
    assert_eq!(same, specific);
    assert_eq!(example.priority.matrix, specific.priority.matrix);
    let pacing = crate::sinks::Pacing { rate_limit: Some(100.0), ..crate::sinks::Pacing::default() };
    assert_eq!(example.sinks[0].pacing, pacing);
    assert_eq!(example.rules[0].window, example.rules[1].window);
}

#[test]
fn nothing_said_is_the_default() {
    for text in ["{}", "rules:\nsinks:\n", "log: {}", "listen: ~", "limits: { events: }"] {
        let loaded = Config::parse("f", text, NO_ENVIRONMENT).expect(text);
        assert_eq!((loaded.config, loaded.warnings), (Config::default(), Vec::new()), "{text}");
    }
}

#[test]
fn every_problem_is_said_at_its_place() {
    // One case per section: the text, then what is said.
    for case in include_str!("bad_configs.txt").split("\n=====\n") {
        let (text, expected) = case.split_once("\n-----\n").expect("a text and what is said");
        let expected: Vec<&str> = expected.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(check(text), expected, "for\n{text}");
    }
}

#[test]
fn the_environment_is_used_and_never_echoed() {
    let environment: Lookup<'_> = &|name| match name {
        "PORT" => Some("9999".to_owned()),
        "COUNT" => Some("7".to_owned()),
        "SECRET" => Some("hunter2-hunter2".to_owned()),
        _ => None,
    };
    let text = "listen: 127.0.0.1:${PORT}\nmax_groups: ${COUNT}\nmax_alerts: \"${COUNT}\"\ndata_dir: 'a$${b}'\n";
    let config = Config::parse("f", text, environment).expect("valid").config;
    assert_eq!((config.listen.port(), config.max_groups, config.max_alerts), (9999, 7, 7));
    assert_eq!(config.data_dir, PathBuf::from("a${b}"));
    for (text, said) in [
        ("listen: ${HOST}", "1:9: the environment variable HOST is not set"),
        (
            "resolve_timeout: ${SECRET}",
            "1:18: a duration needs a number and a unit, such as 30s, 5m or 1h30m, not what the environment variable holds",
        ),
        (
            "max_alerts: ${SECRET}",
            "1:13: expected a whole number from 0 to 4294967295, not what the environment variable holds",
        ),
        ("rules: [{name: a, notify: ['${SECRET}']}]", "1:28: unknown sink \"${SECRET}\""),
        (
            "rules: [{name: a, match: ['severity=${SECRET}']}]",
            "1:27: severity is one of critical, error, warning, info, not \"${SECRET}\"",
        ),
    ] {
        assert_eq!(check_in(text, environment), [said]);
    }
}

#[test]
fn secrets_are_not_shown() {
    let text = "sinks:\n- {name: a, type: webhook, url: 'https://example.org/t0ken', headers: {authorization: t0ken}}\n\
                - {name: b, type: kafka, brokers: ['k:1'], topic: t, client: {sasl.password: t0ken}}\n";
    let config = Config::parse("f", text, NO_ENVIRONMENT).expect("valid").config;
    let shown = format!("{config:?}");
    assert!(!shown.contains("t0ken"), "{shown}");
    assert!(shown.contains("authorization") && shown.contains("sasl.password"));
}

#[test]
fn a_hostile_file_is_refused_quickly() {
    for text in [
        &"[".repeat(1 << 20),
        &"{a: ".repeat(1 << 18),
        &(0..200_000).map(|n| format!("k{n}: 1\n")).collect::<String>(),
        &format!("rules:\n{}", "- {nam: 1}\n".repeat(50_000)),
        &format!("data_dir: {}", "x".repeat(5 << 20)),
        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
        "\u{0}",
    ] {
        let problems = check(text);
        assert!(problems.len() <= 201, "{:.40}", text);
        assert!(problems.iter().all(|problem| problem.len() < 1_000), "{:.40}", text);
    }
}

#[test]
fn shards_follow_the_scope() {
    let shards = |text| Config::parse("f", text, NO_ENVIRONMENT).expect(text).config.shard_count(6);
    assert_eq!(shards("{}"), 1);
    assert_eq!(shards("{scope: [cluster], rules: [{name: a, group_by: [cluster]}]}"), 6);
    assert_eq!(shards("{scope: [cluster], shards: 3, rules: [{name: a, group_by: [cluster]}]}"), 3);
}
