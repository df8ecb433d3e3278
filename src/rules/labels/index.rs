//! Finds, among thousands of matcher lists that come and go, those that may match an alert.
//!
//! A list is filed under one matcher that names the values it wants (`=`, or `=~` with a plain alternation), the one
//! whose values lead to the fewest others at that time, so that ten thousand silences with an `instance` each are found
//! by instance. Lists without such a matcher are candidates always. Memory: an entry and its text a value.

use hashbrown::HashMap;

use super::{FIELDS, LABEL_PREFIX, LabelMatcher, LabelSet, field};

type Places = HashMap<Box<str>, Vec<u32>>;

/// See the module.
#[derive(Debug, Default)]
pub struct LabelIndex {
    by_name: HashMap<Box<str>, Places>,
    /// Lists that no value leads to.
    always: Vec<u32>,
    /// Where the others are filed.
    filed: HashMap<u32, (Box<str>, Vec<Box<str>>)>,
}

impl LabelIndex {
    /// Files a list under its place.
    pub fn insert(&mut self, place: u32, matchers: &[LabelMatcher]) {
        let named = matchers.iter().filter_map(|matcher| Some((bare(matcher.name()), matcher.wanted()?)));
        let Some((name, values)) = named.min_by_key(|(name, values)| self.sharing(name, values)) else {
            return self.always.push(place);
        };
        let mut values: Vec<Box<str>> = values.into_iter().map(Box::from).collect();
        values.sort_unstable();
        // A value that an alternation names twice must not lead to its list twice.
        values.dedup();
        let places = self.by_name.entry(name.into()).or_default();
        for value in &values {
            places.entry(value.clone()).or_default().push(place);
        }
        self.filed.insert(place, (name.into(), values));
    }

    /// How many lists the values lead to by now.
    fn sharing(&self, name: &str, values: &[&str]) -> usize {
        let Some(places) = self.by_name.get(name) else { return 0 };
        values.iter().map(|value| places.get(*value).map_or(0, Vec::len)).sum()
    }

    /// Takes a list out.
    pub fn remove(&mut self, place: u32) {
        let Some((name, values)) = self.filed.remove(&place) else {
            return self.always.retain(|other| *other != place);
        };
        let Some(places) = self.by_name.get_mut(&name) else { return };
        for value in values {
            let Some(filed) = places.get_mut(&value) else { continue };
            filed.retain(|other| *other != place);
            if filed.is_empty() {
                places.remove(&value);
            }
        }
        if places.is_empty() {
            self.by_name.remove(&name);
        }
    }

    /// Names every list that may match, each once, in no order. Costs a look-up a label of the alert.
    pub fn candidates(&self, subject: &impl LabelSet, mut found: impl FnMut(u32)) {
        let mut look = |name: &str, value: &str| {
            let places = self.by_name.get(name).and_then(|places| places.get(value));
            places.into_iter().flatten().for_each(|place| found(*place));
        };
        if !self.by_name.is_empty() {
            subject.each_label(&mut look);
            for name in FIELDS.into_iter().filter(|name| subject.label(name).is_none()) {
                look(name, field(subject, name).unwrap_or_default());
            }
        }
        self.always.iter().for_each(|place| found(*place));
    }

    /// Whether there is no list.
    pub fn is_empty(&self) -> bool {
        self.filed.is_empty() && self.always.is_empty()
    }
}

/// A label's name without what tells it from a field: what is found so may match, which is asked afterwards.
fn bare(name: &str) -> &str {
    name.strip_prefix(LABEL_PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::tests::{Alert, alert};
    use super::*;
    use crate::event::Severity;

    fn list(matchers: &[String]) -> Vec<LabelMatcher> {
        matchers.iter().map(|text| LabelMatcher::parse(text).expect(text)).collect()
    }

    fn candidates(index: &LabelIndex, alert: &Alert) -> Vec<u32> {
        let mut found = Vec::new();
        index.candidates(alert, |place| found.push(place));
        found.sort_unstable();
        found
    }

    #[test]
    fn of_ten_thousand_lists_only_those_with_the_value_are_candidates() {
        let mut index = LabelIndex::default();
        for n in 0..10_000 {
            index.insert(n, &list(&["severity=critical".to_owned(), format!("instance=web-{n}")]));
        }
        // The first of them had nothing to tell its matchers apart by.
        assert_eq!(candidates(&index, &alert(&[("instance", "web-77")])), [0, 77]);
        (0..10_000).for_each(|place| index.remove(place));
        assert!(index.is_empty() && index.by_name.is_empty());
    }

    fn matcher() -> impl Strategy<Value = String> {
        let name = prop_oneof!["[abc]", Just("severity".to_owned()), Just("labels.severity".to_owned())];
        let operator = prop_oneof![Just("="), Just("!="), Just("=~"), Just("!~")];
        let value = prop_oneof!["[xyz]?", "[xyz]\\|[xyz]", "[xyz]\\.\\*", Just("critical|info|".to_owned())];
        (name, operator, value).prop_map(|(name, operator, value)| format!("{name}{operator}\"{value}\""))
    }

    fn any_alert() -> impl Strategy<Value = Alert> {
        let labels = proptest::collection::btree_map("[abc]|severity", "[xyz]?", 0..4);
        let severity = prop_oneof![Just(Severity::Critical), Just(Severity::Warning)];
        (labels, severity).prop_map(|(labels, severity): (BTreeMap<_, _>, _)| Alert { labels, severity })
    }

    proptest! {
        #[test]
        fn what_matches_is_a_candidate_once_also_after_others_were_taken_out(
            lists in proptest::collection::vec((proptest::collection::vec(matcher(), 0..4), any::<bool>()), 0..30),
            alerts in proptest::collection::vec(any_alert(), 1..10),
        ) {
            let mut index = LabelIndex::default();
            let lists: Vec<_> = lists.iter().map(|(matchers, goes)| (list(matchers), *goes)).collect();
            lists.iter().enumerate().for_each(|(place, (matchers, _))| index.insert(place as u32, matchers));
            lists.iter().enumerate().filter(|(_, (_, goes))| *goes).for_each(|(place, _)| index.remove(place as u32));
            for alert in &alerts {
                let found = candidates(&index, alert);
                prop_assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "twice: {:?}", found);
                for (place, (matchers, goes)) in lists.iter().enumerate() {
                    let matches = matchers.iter().all(|matcher| matcher.matches(alert));
                    let place = place as u32;
                    prop_assert!(!matches || *goes || found.contains(&place), "{place} of {found:?}");
                    prop_assert!(!*goes || !found.contains(&place), "{place} was taken out");
                }
            }
        }
    }
}
