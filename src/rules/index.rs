//! Finds the rules that may match an alert, without asking each rule.
//!
//! Every rule is filed under one matcher that names the values it wants (`=`, or `=~` with a plain alternation): the
//! one that the fewest rules share, so that ten thousand rules with their own `service` and a common `severity` are
//! found by service. Rules without such a matcher are candidates always. Pure and immutable once built.

use std::sync::Arc;

use hashbrown::HashMap;

use super::compile::{Rule, Subject};
use super::matcher::{Field, Matcher};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    fields: Vec<FieldIndex>,
    /// Rules that no value leads to.
    always: Vec<u32>,
}

#[derive(Debug)]
struct FieldIndex {
    field: Field,
    places: HashMap<Box<str>, Vec<u32>>,
}

impl Index {
    pub(super) fn new(rules: &[Arc<Rule>]) -> Self {
        let place = |place: usize| u32::try_from(place).expect("a configuration of 10 MiB holds fewer rules");
        let lists = rules.iter().enumerate().map(|(at, rule)| (place(at), rule.matchers.iter().collect()));
        Self::of(&lists.collect::<Vec<_>>())
    }

    /// Of lists of matchers, all of which must hold, each in its place.
    pub(super) fn over<'a>(lists: impl Iterator<Item = &'a [Matcher]>) -> Self {
        let place = |place: usize| u32::try_from(place).expect("a file of some MiB holds fewer of them");
        let lists = lists.enumerate().map(|(at, matchers)| (place(at), matchers.iter().collect()));
        Self::of(&lists.collect::<Vec<_>>())
    }

    /// Of lists of matchers, all of which must hold, with the places of the rules that they lead to.
    pub(super) fn of(lists: &[(u32, Vec<&Matcher>)]) -> Self {
        let shared = sharing(lists);
        let mut index = Index::default();
        for (place, matchers) in lists {
            match most_selective(matchers, &shared) {
                Some((field, values)) => index.file(*place, field, &values),
                None => index.always.push(*place),
            }
        }
        index
    }

    fn file(&mut self, place: u32, field: &Field, values: &[&str]) {
        let known = self.fields.iter().position(|known| known.field == *field).unwrap_or_else(|| {
            self.fields.push(FieldIndex { field: field.clone(), places: HashMap::new() });
            self.fields.len() - 1
        });
        for value in values {
            let places = self.fields[known].places.entry((*value).into()).or_default();
            // A value that an alternation names twice must not make its rule match twice.
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }

    /// Names every rule that may match, each once, in no order.
    pub(super) fn candidates(&self, subject: &impl Subject, mut found: impl FnMut(u32)) {
        for index in &self.fields {
            let places = index.field.value(subject).and_then(|value| index.places.get(value));
            places.into_iter().flatten().for_each(|place| found(*place));
        }
        self.always.iter().for_each(|place| found(*place));
    }
}

/// How many rules want a value of a field.
fn sharing<'a>(lists: &[(u32, Vec<&'a Matcher>)]) -> HashMap<(&'a Field, &'a str), usize> {
    let mut shared = HashMap::new();
    for matcher in lists.iter().flat_map(|(_, matchers)| matchers) {
        for value in matcher.wanted().unwrap_or_default() {
            *shared.entry((&matcher.field, value)).or_default() += 1;
        }
    }
    shared
}

/// The field and values that lead to a rule among the fewest others.
fn most_selective<'a>(
    matchers: &[&'a Matcher],
    shared: &HashMap<(&Field, &str), usize>,
) -> Option<(&'a Field, Vec<&'a str>)> {
    let named = matchers.iter().filter_map(|matcher| Some((&matcher.field, matcher.wanted()?)));
    named.min_by_key(|(field, values)| values.iter().map(|value| shared[&(*field, *value)]).sum::<usize>())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{Kind, Severity, Status};
    use crate::rules::{Definition, RuleConfig, RuleSet, compile};

    #[derive(Debug, Default)]
    struct Alert {
        labels: BTreeMap<String, String>,
        severity: Severity,
        looked_up: Cell<u32>,
    }

    impl Subject for Alert {
        fn label(&self, name: &str) -> Option<&str> {
            self.looked_up.set(self.looked_up.get() + 1);
            self.labels.get(name).map(String::as_str)
        }
        fn source(&self) -> &str {
            "prometheus"
        }
        fn summary(&self) -> &str {
            "it burns"
        }
        fn severity(&self) -> Severity {
            self.severity
        }
        fn status(&self) -> Status {
            Status::Firing
        }
        fn kind(&self) -> Kind {
            Kind::Alert
        }
    }

    fn set(rules: impl IntoIterator<Item = Vec<String>>) -> RuleSet {
        let config = |(place, matchers)| RuleConfig {
            matchers,
            ..serde_saphyr::from_str(&format!("name: r{place}")).expect("a rule")
        };
        let configs: Vec<RuleConfig> = rules.into_iter().enumerate().map(config).collect();
        let (set, problems) = compile(&Definition::of(&configs, &[]));
        assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
        set
    }

    #[test]
    fn ten_thousand_rules_are_found_by_the_value_they_do_not_share() {
        let matchers = |n| vec!["severity=critical".to_owned(), format!("service=svc-{n}")];
        let set = set((0..10_000).map(matchers));
        let labels = BTreeMap::from([("service".to_owned(), "svc-77".to_owned())]);
        let alert = Alert { labels, severity: Severity::Critical, ..Alert::default() };
        let mut found = Vec::new();
        set.matching(&alert, &mut found);
        assert_eq!(found, [77]);
        assert_eq!(alert.looked_up.get(), 2, "once in the index, once in the rule found");
    }

    #[test]
    fn an_alternation_leads_to_its_rule_once() {
        let set = set([vec!["service=~'a|b|a'".replace('\'', "\"")], vec![]]);
        let mut found = vec![9];
        for (service, expected) in [("a", vec![0, 1]), ("b", vec![0, 1]), ("c", vec![1])] {
            let labels = BTreeMap::from([("service".to_owned(), service.to_owned())]);
            set.matching(&Alert { labels, ..Alert::default() }, &mut found);
            assert_eq!(found, expected, "{service}");
        }
    }

    fn matcher() -> impl Strategy<Value = String> {
        let field = prop_oneof!["[abc]", Just("severity".to_owned()), Just("labels.severity".to_owned())];
        let operator = prop_oneof![Just("="), Just("!="), Just("=~"), Just("!~")];
        let value = prop_oneof!["[xyz]?", "[xyz]\\|[xyz]", "[xyz]\\.\\*", Just("critical|info".to_owned())];
        (field, operator, value).prop_map(|(field, operator, value)| match (&*field, operator) {
            ("severity", "=" | "!=") => format!("severity{operator}critical"),
            _ => format!("{field}{operator}\"{value}\""),
        })
    }

    fn alert() -> impl Strategy<Value = Alert> {
        let labels = proptest::collection::btree_map("[abc]|severity", "[xyz]?", 0..4);
        let severity = prop_oneof![Just(Severity::Critical), Just(Severity::Warning), Just(Severity::Info)];
        (labels, severity).prop_map(|(labels, severity)| Alert { labels, severity, looked_up: Cell::default() })
    }

    proptest! {
        #[test]
        fn the_index_finds_what_asking_every_rule_finds(
            rules in proptest::collection::vec(proptest::collection::vec(matcher(), 0..4), 0..30),
            alerts in proptest::collection::vec(alert(), 1..10),
        ) {
            let set = set(rules);
            let mut found = Vec::new();
            for alert in &alerts {
                set.matching(alert, &mut found);
                let places = 0..set.rules.len() as u32;
                let asked: Vec<u32> = places.filter(|place| set.rules[*place as usize].matches(alert)).collect();
                prop_assert_eq!(&found, &asked);
            }
        }
    }
}
