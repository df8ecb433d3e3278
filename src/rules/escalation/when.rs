//! Matchers over an incident, in Alertmanager's syntax: `priority="P1"`, `service=~"checkout|cart"`.
//!
//! `priority`, `severity`, `service`, `status` and `rule` are the incident's; every other name is a label of its key, and
//! one that has such a name is written `labels.service`. A missing label is not an empty one, as in rules. Matching never
//! fails.

use std::sync::Arc;

use crate::event::{Severity, hint};
use crate::rules::Priority;
use crate::rules::matcher::{Operator, Parts};

const LABEL_PREFIX: &str = "labels.";
/// Where an incident stands while it can escalate.
const STATUSES: [&str; 4] = ["open", "acknowledged", "in_progress", "on_hold"];

/// What is looked at.
#[derive(Clone, Debug)]
pub struct IncidentFacts<'a> {
    /// As it is now.
    pub priority: Priority,
    /// As it is now.
    pub severity: Severity,
    /// Of the catalogue, else of the label.
    pub service: Option<&'a str>,
    /// Where it stands.
    pub status: &'a str,
    /// The rule that gathers it.
    pub rule: &'a str,
    /// The labels of its group.
    pub key: &'a [(Arc<str>, Arc<str>)],
}

#[derive(Clone, Debug, PartialEq)]
enum Fact {
    Priority,
    Severity,
    Service,
    Status,
    Rule,
    Label(Box<str>),
}

/// One matcher.
#[derive(Clone, Debug)]
pub struct IncidentMatcher {
    fact: Fact,
    operator: Operator,
}

impl Fact {
    fn parse(name: &str) -> Self {
        match name {
            "priority" => Fact::Priority,
            "severity" => Fact::Severity,
            "service" => Fact::Service,
            "status" => Fact::Status,
            "rule" => Fact::Rule,
            _ => Fact::Label(name.strip_prefix(LABEL_PREFIX).unwrap_or(name).into()),
        }
    }

    fn value<'a>(&self, facts: &IncidentFacts<'a>) -> Option<&'a str> {
        match self {
            Fact::Priority => Some(facts.priority.as_str()),
            Fact::Severity => Some(facts.severity.as_str()),
            Fact::Service => facts.service,
            Fact::Status => Some(facts.status),
            Fact::Rule => Some(facts.rule),
            Fact::Label(name) => facts.key.iter().find(|(label, _)| **label == **name).map(|(_, value)| &**value),
        }
    }
}

impl IncidentMatcher {
    /// Reads one matcher; `rules` are the names of all rules.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(super) fn parse(text: &str, rules: &[&str]) -> Result<Self, String> {
        let parts = Parts::read(text)?;
        let fact = Fact::parse(&parts.name);
        if fact == Fact::Label("".into()) {
            return Err("a matcher needs a name, such as priority=\"P1\"".to_owned());
        }
        let operator = parts.operator(|name, value| known_value(&fact, name, value, rules))?;
        Ok(Self { fact, operator })
    }

    /// Whether it holds; on a missing label only what is negative does.
    pub fn holds(&self, facts: &IncidentFacts<'_>) -> bool {
        match self.fact.value(facts) {
            Some(value) => self.operator.holds(value),
            None => matches!(self.operator, Operator::NotEqual(_) | Operator::NotMatches(_)),
        }
    }

    /// Whether a priority that rises may change the answer.
    pub fn is_on_priority(&self) -> bool {
        self.fact == Fact::Priority
    }

    /// The label it asks for.
    pub(super) fn label(&self) -> Option<&str> {
        if let Fact::Label(name) = &self.fact { Some(name) } else { None }
    }
}

/// A value that is to be equal must be one that there can be.
fn known_value(fact: &Fact, name: &str, value: String, rules: &[&str]) -> Result<String, String> {
    let known: Vec<&str> = match fact {
        Fact::Priority => Priority::ALL.map(Priority::as_str).to_vec(),
        Fact::Severity => Severity::NAMES.to_vec(),
        Fact::Status => STATUSES.to_vec(),
        Fact::Rule if !rules.contains(&value.as_str()) => {
            return Err(format!("unknown rule {value:?}{}", hint(&value, rules.iter().copied())));
        }
        Fact::Rule | Fact::Service | Fact::Label(_) => return Ok(value),
    };
    if known.contains(&value.as_str()) {
        return Ok(value);
    }
    let hint = hint(&value, known.iter().copied());
    Err(format!("{name} is one of {}, not {value:?}{hint}", known.join(", ")))
}
