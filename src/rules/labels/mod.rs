//! Matchers as Alertmanager reads them, for silences and inhibition: over labels, where a missing one is empty.
//!
//! This is the one place where a missing label equals the empty text; correlation rules tell them apart. A name is
//! looked up among the labels first; where the alert has no such label, `source`, `severity`, `summary`, `status` and
//! `kind` are the fields of the alert. `labels.severity` is the label alone. Pure; matching never fails.

mod index;

use std::fmt;
use std::sync::Arc;

pub use index::LabelIndex;

use super::compile::Subject;
use super::matcher::{Operator, Parts, RESERVED};

/// Stands before a name that is a label and never a field.
const LABEL_PREFIX: &str = "labels.";

/// An alert whose labels can be walked through.
pub trait LabelSet: Subject {
    /// Hands every label to `each`.
    fn each_label(&self, each: &mut dyn FnMut(&str, &str));
}

/// One matcher over labels.
#[derive(Clone, Debug)]
pub struct LabelMatcher {
    name: Arc<str>,
    operator: Operator,
}

/// The fields that a name means where the alert has no label of that name.
const FIELDS: [&str; 5] = ["source", "severity", "summary", "status", "kind"];

fn field<'a>(subject: &'a impl Subject, name: &str) -> Option<&'a str> {
    match name {
        "source" => Some(subject.source()),
        "severity" => Some(subject.severity().as_str()),
        "summary" => Some(subject.summary()),
        "status" => Some(subject.status().as_str()),
        "kind" => Some(subject.kind().as_str()),
        _ => None,
    }
}

/// What an alert has under a name; empty where it has nothing.
pub fn label_or_field<'a>(subject: &'a impl Subject, name: &str) -> &'a str {
    if let Some(label) = name.strip_prefix(LABEL_PREFIX) {
        return subject.label(label).unwrap_or_default();
    }
    subject.label(name).or_else(|| field(subject, name)).unwrap_or_default()
}

impl LabelMatcher {
    /// Reads one matcher in Alertmanager's syntax.
    ///
    /// # Errors
    /// What is wrong, at which character, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = Parts::read(text)?;
        let name: Arc<str> = parts.name.as_str().into();
        if name.strip_prefix(LABEL_PREFIX).unwrap_or(&name).is_empty() {
            return Err("a matcher needs the name of a label, such as service=\"checkout\"".to_owned());
        }
        Ok(Self { name, operator: parts.operator(|_, value| Ok(value))? })
    }

    /// Whether it holds for an alert.
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.holds(label_or_field(subject, &self.name))
    }

    /// Whether it asks for nothing: `a=""`, `a=~".*"`. One that forbids something, as `env!="prod"`, does ask.
    pub fn matches_nothing(&self) -> bool {
        matches!(self.operator, Operator::Equal(_) | Operator::Matches(_)) && self.holds("")
    }

    /// The name it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn holds(&self, value: &str) -> bool {
        self.operator.holds(value)
    }

    /// The values of which one must be there, where the matcher names them and the empty one is not among them.
    pub(super) fn wanted(&self) -> Option<Vec<&str>> {
        self.operator.wanted().filter(|values| !values.contains(&""))
    }
}

/// A text in double quotes, as the parser reads it back.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = self.0.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "\"{escaped}\"")
    }
}

impl fmt::Display for LabelMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(|char: char| char.is_whitespace() || RESERVED.contains(&char)) {
            write!(f, "{}", Quoted(&self.name))?;
        } else {
            f.write_str(&self.name)?;
        }
        match &self.operator {
            Operator::Equal(value) => write!(f, "={}", Quoted(value)),
            Operator::NotEqual(value) => write!(f, "!={}", Quoted(value)),
            Operator::Matches(pattern) => write!(f, "=~{}", Quoted(&pattern.text())),
            Operator::NotMatches(pattern) => write!(f, "!~{}", Quoted(&pattern.text())),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{Kind, Severity, Status};

    #[derive(Clone, Debug, Default)]
    pub(in crate::rules) struct Alert {
        pub(in crate::rules) labels: BTreeMap<String, String>,
        pub(in crate::rules) severity: Severity,
    }

    impl Subject for Alert {
        fn label(&self, name: &str) -> Option<&str> {
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

    impl LabelSet for Alert {
        fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
            self.labels.iter().for_each(|(name, value)| each(name, value));
        }
    }

    pub(in crate::rules) fn alert(labels: &[(&str, &str)]) -> Alert {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Alert { labels, severity: Severity::Critical }
    }

    fn matches(matcher: &str, labels: &[(&str, &str)]) -> bool {
        LabelMatcher::parse(matcher).expect(matcher).matches(&alert(labels))
    }

    #[test]
    fn a_missing_label_is_an_empty_one() {
        for (matcher, holds) in [
            (r#"env="""#, true),
            (r#"env!="""#, false),
            (r#"env!="dev""#, true),
            (r#"env=~".*""#, true),
            (r#"env=~".+""#, false),
            (r#"env!~".+""#, true),
            (r#"env=~"dev|""#, true),
        ] {
            assert_eq!((matches(matcher, &[]), matches(matcher, &[("env", "")])), (holds, holds), "{matcher}");
        }
    }

    #[test]
    fn a_label_goes_before_the_field_of_its_name() {
        for (matcher, labels, holds) in [
            ("severity=page", &[("severity", "page")][..], true),
            ("severity=critical", &[("severity", "page")], false),
            ("severity=critical", &[], true),
            ("labels.severity=critical", &[], false),
            (r#"labels.severity="""#, &[], true),
            ("labels.severity=page", &[("severity", "page")], true),
            ("source=prometheus", &[], true),
            ("summary=~'.*burns'", &[], true),
            ("status=firing", &[], true),
            ("kind=alert", &[], true),
            ("kind=alert", &[("kind", "")], false),
            ("alertname=Down", &[("alertname", "Down")], true),
        ] {
            assert_eq!(matches(&matcher.replace('\'', "\""), labels), holds, "{matcher} on {labels:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (text, message) in [
            (r#"""="x""#, "a matcher needs the name of a label"),
            ("labels.=x", "a matcher needs the name of a label"),
            ("a=~\"(b\"", "the regular expression is wrong"),
            ("a", "one of =, !=, =~, !~ must follow the name"),
        ] {
            let wrong = LabelMatcher::parse(text).expect_err(text);
            assert!(wrong.contains(message), "{text}: {wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_matcher_reads_back_as_it_is_shown(
            name in "[a-z\"\\\\ .=é]{1,6}", value in "[a-z\"\\\\\n\t'|{}é]{0,8}", negative: bool, regex: bool,
        ) {
            let pattern = || super::super::matcher::Pattern::parse(&regex::escape(&value)).expect("escaped");
            let operator = match (regex, negative) {
                (false, false) => Operator::Equal(value.clone()),
                (false, true) => Operator::NotEqual(value.clone()),
                (true, false) => Operator::Matches(pattern()),
                (true, true) => Operator::NotMatches(pattern()),
            };
            let matcher = LabelMatcher { name: name.as_str().into(), operator };
            let text = matcher.to_string();
            let read = LabelMatcher::parse(&text).expect(&text);
            prop_assert_eq!(read.to_string(), text);
            prop_assert_eq!(read.name(), &*name);
            prop_assert!(read.holds(&value) != negative);
        }
    }
}
