//! The rules under which everything is measured: so many of them, of which one matches.

use std::fmt::Write;

/// Rules of the daemon.
pub const RULES: usize = 10;

/// The configuration's `rules:`. The last one takes every event and groups it by service.
pub fn rules_yaml(count: usize) -> String {
    let mut yaml = String::from("rules:\n");
    for number in 1..count {
        let (service, severity) = (format!("other-{number:04}"), r#"severity=~"critical|error""#);
        write!(yaml, "  - name: other-{number:05}\n    match: ['service=\"{service}\"', '{severity}']\n")
            .expect("a String takes everything");
        yaml.push_str("    group_by: [cluster, service]\n");
    }
    yaml.push_str("  - name: service-degraded\n    match: ['severity=~\"critical|error\"', 'env!=\"dev\"']\n");
    yaml.push_str("    group_by: [cluster, service]\n");
    yaml
}
