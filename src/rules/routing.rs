//! `continue: false`: a rule that ends the search, and the rules behind it that nothing reaches any more.

use super::matcher::Matcher;
use super::validate::Problem;
use super::{MissingLabel, Mode, RuleConfig};

/// Rules that an earlier one leaves nothing: it ends the search and takes all that they could take.
pub(super) fn unreachable(rules: &[(usize, &RuleConfig, Vec<Matcher>)]) -> Vec<Problem> {
    let texts = |place: usize| -> Vec<String> { rules[place].2.iter().map(Matcher::to_string).collect() };
    let ends = |place: &usize| !rules[*place].1.proceed && rules[*place].1.mode == Mode::Active;
    let enders: Vec<(usize, Vec<String>)> = (0..rules.len()).filter(ends).map(|place| (place, texts(place))).collect();
    let mut problems = Vec::new();
    let Some((first_ender, _)) = enders.first() else { return problems };
    for (later, (place, config, _)) in rules.iter().enumerate().skip(first_ender + 1) {
        let wanted = texts(later);
        let takes_all = |(earlier, matchers): &&(usize, Vec<String>)| {
            let first = rules[*earlier].1;
            (first.when.is_none() || first.when == config.when) && matchers.iter().all(|one| wanted.contains(one))
        };
        let Some((earlier, _)) = enders.iter().take_while(|(ender, _)| *ender < later).find(takes_all) else {
            continue;
        };
        let (first_place, first, _) = &rules[*earlier];
        let left = left_over(first, config);
        let message = match left {
            None => format!("is never reached: rules[{first_place}] takes all that it could, and says continue: false"),
            Some(labels) => format!(
                "is reached only by alerts that lack {labels}, by which rules[{first_place}] groups: that takes all else, \
                 and says continue: false"
            ),
        };
        problems.push(Problem::warning(format!("rules[{place}]"), message));
    }
    problems
}

/// The labels without which an alert passes by the first rule and can still be taken by the second.
fn left_over(first: &RuleConfig, second: &RuleConfig) -> Option<String> {
    if first.missing_label == MissingLabel::OwnGroup {
        return None;
    }
    let needed = |label: &&String| second.missing_label == MissingLabel::OwnGroup || !second.group_by.contains(label);
    let left: Vec<&str> = first.group_by.iter().filter(needed).map(String::as_str).collect();
    (!left.is_empty()).then(|| left.join(" or "))
}

#[cfg(test)]
mod tests {
    use crate::rules::{Definition, RuleConfig, compile};

    fn warnings(rules: &str) -> Vec<String> {
        let rules: Vec<RuleConfig> = serde_saphyr::from_str(rules).expect(rules);
        let (_, problems) = compile(&Definition::of(&rules, &[]));
        assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
        let shown = problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message));
        shown.filter(|text| text.contains("reached")).collect()
    }

    #[test]
    fn a_rule_that_nothing_reaches_is_named() {
        for (rules, said) in [
            ("[{name: a, continue: false}, {name: b, match: ['x=y']}]", Some("rules[1]: is never reached: rules[0]")),
            (
                "[{name: a, match: ['x=y'], continue: false}, {name: b, match: ['z=1', 'x=y']}]",
                Some("is never reached"),
            ),
            ("[{name: a, match: ['x=y'], continue: false}, {name: b, match: ['x=z']}]", None),
            ("[{name: a, match: ['x=y']}, {name: b, match: ['x=y'], group_by: [x]}]", None),
            ("[{name: b, match: ['x=y']}, {name: a, continue: false}]", None),
            ("[{name: a, when: 'has(labels.x)', continue: false}, {name: b, match: ['x=y']}]", None),
            (
                "[{name: a, when: 'has(labels.x)', continue: false}, {name: b, group_by: [x], when: 'has(labels.x)'}]",
                Some("never"),
            ),
            (
                "[{name: a, group_by: [host], continue: false}, {name: b, group_by: [service]}]",
                Some("rules[1]: is reached only by alerts that lack host, by which rules[0] groups"),
            ),
            ("[{name: a, group_by: [host], continue: false}, {name: b, group_by: [host, service]}]", Some("never")),
            (
                "[{name: a, group_by: [host], missing_label: own_group, continue: false}, {name: b}]",
                Some("rules[1]: is never reached"),
            ),
        ] {
            let found = warnings(rules);
            assert_eq!(found.len(), usize::from(said.is_some()), "{rules}: {found:?}");
            assert!(said.is_none_or(|said| found[0].contains(said)), "{rules}: {found:?}");
        }
    }
}
