//! The rules used where none are configured: every alert above `info` belongs to some incident.
//!
//! By service where an alert names one, else by alert name, else by host, else all together, so that a newcomer sees
//! an incident whatever is sent first.

use super::RuleConfig;

const DEFAULT_RULES: &str = include_str!("default.yaml");

/// The rules used where none are configured.
pub fn default_rules() -> Vec<RuleConfig> {
    serde_saphyr::from_str(DEFAULT_RULES).expect("a test reads it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Kind, Severity, Status};
    use crate::rules::{Definition, Subject, compile};

    struct Alert(&'static [(&'static str, &'static str)], Severity);

    impl Subject for Alert {
        fn label(&self, name: &str) -> Option<&str> {
            self.0.iter().find(|label| label.0 == name).map(|label| label.1)
        }
        fn source(&self) -> &str {
            "prometheus"
        }
        fn summary(&self) -> &str {
            ""
        }
        fn severity(&self) -> Severity {
            self.1
        }
        fn status(&self) -> Status {
            Status::Firing
        }
        fn kind(&self) -> Kind {
            Kind::Alert
        }
    }

    #[test]
    fn every_alert_above_info_has_exactly_one_default_rule() {
        let (set, problems) = compile(&Definition::of(&default_rules(), &["stdout".to_owned()]));
        assert_eq!(problems, []);
        let mut found = Vec::new();
        for (labels, rule) in [
            (&[("service", "a"), ("alertname", "b")][..], "by-service"),
            (&[("service", ""), ("alertname", "b")], "by-alert"),
            (&[("alertname", "b"), ("host", "c")], "by-alert"),
            (&[("host", "c")], "by-host"),
            (&[], "everything-else"),
        ] {
            set.matching(&Alert(labels, Severity::Warning), &mut found);
            let names: Vec<&str> = found.iter().map(|place| &*set.rules[*place as usize].name).collect();
            assert_eq!(names, [rule], "{labels:?}");
            set.matching(&Alert(labels, Severity::Info), &mut found);
            assert!(found.is_empty());
        }
    }
}
