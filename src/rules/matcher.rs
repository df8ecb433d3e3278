//! Alertmanager's matcher syntax (interface; being implemented).

/// What a matcher compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A label.
    Label(std::sync::Arc<str>),
    /// The event's source.
    Source,
    /// The event's severity.
    Severity,
    /// The event's status.
    Status,
    /// The event's kind.
    Kind,
    /// The event's summary.
    Summary,
}

/// How it compares. Regular expressions are anchored at both ends.
#[derive(Clone, Debug)]
pub enum Operator {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`
    Matches(regex::Regex),
    /// `!~`
    NotMatches(regex::Regex),
}

/// One matcher.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// What it compares.
    pub field: Field,
    /// How.
    pub operator: Operator,
}

/// Reads `name="value"`, `name!="value"`, `name=~"regex"`, `name!~"regex"`.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_matcher(_text: &str) -> Result<Matcher, String> {
    Err(String::new())
}
