//! Alertmanager's matcher syntax: `name="v"`, `name!="v"`, `name=~"regex"`, `name!~"regex"`.
//!
//! `source`, `severity`, `status`, `kind` and `summary` are the event's fields, every other name is a label; a label
//! that has a field's name is written `labels.severity`. A missing label is not an empty one: on it the negative
//! matchers (`!=`, `!~`) hold and the positive ones never do, not even `=""` or `=~".*"`. Matching never fails and
//! is linear in the value; a regular expression that would grow beyond 256 KiB is refused when it is read.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::compile::Subject;
use crate::event::hint;
use crate::event::{Kind, Severity, Status};

/// What a matcher compares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// A label.
    Label(Arc<str>),
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

/// A regular expression, anchored at both ends.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// A plain alternation such as `a|b|c`, which can be indexed.
    OneOf(Box<[Box<str>]>),
    /// Everything else.
    Regex(Regex),
}

/// How it compares.
#[derive(Clone, Debug)]
pub enum Operator {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`
    Matches(Pattern),
    /// `!~`
    NotMatches(Pattern),
}

/// One matcher.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// What it compares.
    pub field: Field,
    /// How.
    pub operator: Operator,
}

/// Bytes of one matcher as written; beyond it is refused. A list of 500 host names fits.
const MATCHER_BYTES_MAX: usize = 16 << 10;
/// Bytes of a compiled regular expression, and of its lazily built automaton per thread.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// What ends a name or a value that is not quoted, as in Alertmanager.
pub(super) const RESERVED: &[char] = &['{', '}', '!', '=', '~', ',', '\\', '"', '\'', '`'];

impl Field {
    /// Reads a name as matchers write it.
    pub fn parse(name: &str) -> Self {
        match name {
            "source" => Field::Source,
            "severity" => Field::Severity,
            "status" => Field::Status,
            "kind" => Field::Kind,
            "summary" => Field::Summary,
            _ => Field::Label(name.strip_prefix("labels.").unwrap_or(name).into()),
        }
    }

    /// The value in an alert, `None` when the label is missing.
    pub fn value<'a>(&self, subject: &'a impl Subject) -> Option<&'a str> {
        match self {
            Field::Label(name) => subject.label(name),
            Field::Source => Some(subject.source()),
            Field::Severity => Some(subject.severity().as_str()),
            Field::Status => Some(subject.status().as_str()),
            Field::Kind => Some(subject.kind().as_str()),
            Field::Summary => Some(subject.summary()),
        }
    }

    /// The values it can have, where they are few.
    pub(super) fn values(&self) -> Option<&'static [&'static str]> {
        match self {
            Field::Severity => Some(Severity::NAMES),
            Field::Status => Some(Status::NAMES),
            Field::Kind => Some(Kind::NAMES),
            Field::Label(_) | Field::Source | Field::Summary => None,
        }
    }
}

impl Pattern {
    /// Reads a regular expression.
    ///
    /// # Errors
    /// What is wrong, and at which character.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(literals) = literals(text) {
            return Ok(Pattern::OneOf(literals));
        }
        // Alone first: `a)|(b` must not become valid, nor errors shift, through the anchors around it.
        build(text)?;
        build(&format!("^(?:{text})$")).map(Pattern::Regex)
    }

    /// Whether the whole value matches.
    pub fn is_match(&self, value: &str) -> bool {
        match self {
            Pattern::OneOf(literals) => literals.iter().any(|literal| **literal == *value),
            Pattern::Regex(regex) => regex.is_match(value),
        }
    }
}

impl Matcher {
    /// Whether it holds for an alert.
    pub fn matches(&self, subject: &impl Subject) -> bool {
        self.matches_value(self.field.value(subject))
    }

    /// Whether it holds for a value, `None` being a missing label.
    pub(super) fn matches_value(&self, value: Option<&str>) -> bool {
        match value {
            Some(value) => self.operator.holds(value),
            None => matches!(self.operator, Operator::NotEqual(_) | Operator::NotMatches(_)),
        }
    }

    /// The values of which one must be there, where the matcher names them.
    pub(super) fn wanted(&self) -> Option<Vec<&str>> {
        self.operator.wanted()
    }
}

impl Operator {
    /// Whether it holds for a value.
    pub(super) fn holds(&self, value: &str) -> bool {
        match self {
            Operator::Equal(wanted) => wanted == value,
            Operator::NotEqual(unwanted) => unwanted != value,
            Operator::Matches(pattern) => pattern.is_match(value),
            Operator::NotMatches(pattern) => !pattern.is_match(value),
        }
    }

    /// See [`Matcher::wanted`].
    pub(super) fn wanted(&self) -> Option<Vec<&str>> {
        match self {
            Operator::Equal(wanted) => Some(vec![wanted]),
            Operator::Matches(Pattern::OneOf(literals)) => Some(literals.iter().map(|literal| &**literal).collect()),
            Operator::Matches(Pattern::Regex(_)) | Operator::NotEqual(_) | Operator::NotMatches(_) => None,
        }
    }
}

/// Reads one matcher.
///
/// # Errors
/// What is wrong, at which character, and what would be right.
pub fn parse_matcher(text: &str) -> Result<Matcher, String> {
    let parts = Parts::read(text)?;
    let field = Field::parse(&parts.name);
    if field == Field::Label("".into()) {
        return Err("a matcher needs the name of a label or field, such as service=\"checkout\"".to_owned());
    }
    let operator = parts.operator(|name, value| named_value(&field, name, value))?;
    Ok(Matcher { field, operator })
}

/// A matcher as it is written.
pub(super) struct Parts<'a> {
    pub(super) name: String,
    pub(super) operator: &'static str,
    pub(super) value: String,
    /// Where the value begins.
    at: usize,
    reader: Reader<'a>,
}

impl<'a> Parts<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        if text.len() > MATCHER_BYTES_MAX {
            return Err(format!("a matcher is at most {} KiB long", MATCHER_BYTES_MAX >> 10));
        }
        let mut reader = Reader { text, at: 0 };
        let (name, operator) = (reader.name()?, reader.operator()?);
        let (at, value) = reader.value()?;
        Ok(Self { name, operator, value, at, reader })
    }

    /// Compiles what compares; `check` looks at a value that is to be equal.
    pub(super) fn operator(
        self,
        check: impl FnOnce(&str, String) -> Result<String, String>,
    ) -> Result<Operator, String> {
        let Self { name, operator, value, at, reader } = self;
        Ok(match operator {
            "=" => Operator::Equal(check(&name, value)?),
            "!=" => Operator::NotEqual(check(&name, value)?),
            _ => {
                let pattern = Pattern::parse(&value).map_err(|wrong| reader.wrong_at(at, &wrong))?;
                if operator == "=~" { Operator::Matches(pattern) } else { Operator::NotMatches(pattern) }
            }
        })
    }
}

fn named_value(field: &Field, name: &str, value: String) -> Result<String, String> {
    match field.values() {
        Some(values) if !values.contains(&value.as_str()) => {
            let hint = hint(&value, values.iter().copied());
            Err(format!("{name} is one of {}, not {value:?}{hint}", values.join(", ")))
        }
        _ => Ok(value),
    }
}

/// Reads the parts of a matcher from left to right; `at` is a byte offset.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn name(&mut self) -> Result<String, String> {
        self.skip_space();
        if self.rest().starts_with('{') {
            return Err(self.wrong("one matcher per entry, without braces"));
        }
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let name = self.unquoted();
        if name.is_empty() {
            return Err(self.wrong("a matcher begins with the name of a label or field, such as service=\"checkout\""));
        }
        Ok(name.to_owned())
    }

    fn operator(&mut self) -> Result<&'static str, String> {
        self.skip_space();
        let known = ["=~", "!~", "!=", "="].into_iter().find(|known| self.rest().starts_with(known));
        let operator = known.ok_or_else(|| self.wrong("one of =, !=, =~, !~ must follow the name"))?;
        self.at += operator.len();
        Ok(operator)
    }

    /// Where the value begins, and the value.
    fn value(&mut self) -> Result<(usize, String), String> {
        self.skip_space();
        let start = self.at;
        let quoted = self.rest().starts_with('"');
        let value = if quoted { self.quoted()? } else { self.unquoted().to_owned() };
        self.skip_space();
        match self.rest().chars().next() {
            None => Ok((start + usize::from(quoted), value)),
            Some(',') => Err(self.wrong("one matcher per entry; a value with a comma needs quotes")),
            Some(_) if quoted => Err(self.wrong("nothing may follow the closing quote")),
            Some(other) => Err(self.wrong(&format!("a value with {other:?} in it needs double quotes"))),
        }
    }

    /// A quoted text: `\n`, `\"` and `\\` are undone, every other backslash stays, as in Alertmanager.
    fn quoted(&mut self) -> Result<String, String> {
        let start = self.at;
        let mut value = String::new();
        let mut chars = self.text[start + 1..].char_indices();
        while let Some((index, char)) = chars.next() {
            match char {
                '"' => {
                    self.at = start + 1 + index + 1;
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => break,
                },
                _ => value.push(char),
            }
        }
        Err(self.wrong("the quote is not closed"))
    }

    fn unquoted(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|char: char| char.is_whitespace() || RESERVED.contains(&char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, what: &str) -> String {
        self.wrong_at(self.at, what)
    }

    fn wrong_at(&self, at: usize, what: &str) -> String {
        format!("at character {} of the matcher: {what}", self.text[..at].chars().count() + 1)
    }
}

/// The values of an alternation without any operator but `|`, perhaps in one pair of parentheses.
fn literals(text: &str) -> Option<Box<[Box<str>]>> {
    let inside = text.strip_prefix("(?:").or_else(|| text.strip_prefix('(')).and_then(|text| text.strip_suffix(')'));
    let text = inside.unwrap_or(text);
    let plain = !text.contains(['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$']);
    plain.then(|| text.split('|').map(Box::from).collect())
}

fn build(pattern: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regular expression compiles to more than {} KiB", limit >> 10)
        }
        error => regex_error(&error.to_string()),
    })
}

/// The crate draws the pattern, a caret below it and a last line `error: …`; this keeps the sense in one line.
fn regex_error(drawn: &str) -> String {
    const INDENT: usize = 4;
    let what = drawn.rsplit("error: ").next().unwrap_or(drawn).trim();
    let linear = if what.contains("look-around") || what.contains("backreference") {
        " (only regular expressions that run in linear time)"
    } else {
        ""
    };
    let caret = drawn.lines().find(|line| line.trim_start().starts_with('^')).and_then(|line| line.find('^'));
    match caret.and_then(|column| column.checked_sub(INDENT)) {
        Some(column) => format!("the regular expression is wrong at its character {}: {what}{linear}", column + 1),
        None => format!("the regular expression is wrong: {what}{linear}"),
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Label(name) => match Field::parse(name) {
                Field::Label(read) if read == *name => f.write_str(name),
                _ => write!(f, "labels.{name}"),
            },
            Field::Source => f.write_str("source"),
            Field::Severity => f.write_str("severity"),
            Field::Status => f.write_str("status"),
            Field::Kind => f.write_str("kind"),
            Field::Summary => f.write_str("summary"),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::OneOf(literals) => write!(f, "{:?}", literals.join("|")),
            Pattern::Regex(_) => write!(f, "{:?}", self.text()),
        }
    }
}

impl Pattern {
    /// As it was written.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Pattern::OneOf(literals) => Cow::Owned(literals.join("|")),
            Pattern::Regex(regex) => {
                let text = regex.as_str();
                Cow::Borrowed(text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$")).unwrap_or(text))
            }
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operator {
            Operator::Equal(value) => write!(f, "{}={value:?}", self.field),
            Operator::NotEqual(value) => write!(f, "{}!={value:?}", self.field),
            Operator::Matches(pattern) => write!(f, "{}=~{pattern}", self.field),
            Operator::NotMatches(pattern) => write!(f, "{}!~{pattern}", self.field),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(matcher: &str, value: Option<&str>) -> bool {
        parse_matcher(matcher).expect(matcher).matches_value(value)
    }

    #[test]
    fn a_missing_label_is_not_an_empty_one() {
        for (matcher, missing, empty) in [
            (r#"env="""#, false, true),
            (r#"env!="""#, true, false),
            (r#"env!="dev""#, true, true),
            (r#"env=~".*""#, false, true),
            (r#"env=~"""#, false, true),
            (r#"env!~".*""#, true, false),
            (r#"env!~".+""#, true, true),
            ("env=", false, true),
        ] {
            assert_eq!((matches(matcher, None), matches(matcher, Some(""))), (missing, empty), "{matcher}");
        }
    }

    #[test]
    fn regular_expressions_are_anchored_at_both_ends() {
        for (matcher, value, expected) in [
            (r#"a=~"b|c""#, "b", true),
            (r#"a=~"b|c""#, "bc", false),
            (r#"a=~"b.|c""#, "xc", false),
            (r#"a=~"b.|c""#, "bx", true),
            (r#"a=~"(x|y)""#, "y", true),
            (r#"a=~"\\d+""#, "12", true),
            (r#"a=~"\d+""#, "12", true),
            (r#"a!~"b.*""#, "abc", true),
            (r#"a=~"b\nc""#, "b\nc", true),
        ] {
            assert_eq!(matches(matcher, Some(value)), expected, "{matcher} on {value}");
        }
    }

    #[test]
    fn names_and_values_are_read_as_alertmanager_does() {
        for (text, shown) in [
            ("service = checkout", r#"service="checkout""#),
            (r#" service="a \"b\" \\ \n" "#, r#"service="a \"b\" \\ \n""#),
            (r#""härte.grad"="ß""#, r#"härte.grad="ß""#),
            (r#"labels.severity="page""#, r#"labels.severity="page""#),
            (r#"labels.env="x""#, r#"env="x""#),
            (r#"severity!="info""#, r#"severity!="info""#),
            (r#"source=~"prom.*""#, r#"source=~"prom.*""#),
            (r#"a=~"b|c""#, r#"a=~"b|c""#),
        ] {
            let matcher = parse_matcher(text).expect(text).to_string();
            assert_eq!(matcher, shown);
            assert_eq!(parse_matcher(&matcher).expect("reads back").to_string(), shown);
        }
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        for (text, message) in [
            ("", "at character 1 of the matcher: a matcher begins with the name"),
            ("service", "at character 8 of the matcher: one of =, !=, =~, !~ must follow the name"),
            (
                r#"é=~"a(b""#,
                "at character 5 of the matcher: the regular expression is wrong at its character 2: unclosed group",
            ),
            (r#"a=~"(b)\\1""#, "backreferences are not supported (only regular expressions that run in linear time)"),
            (r#"a=~"(?=b)""#, "(only regular expressions that run in linear time)"),
            (r#"a=~"b)|(c""#, "unopened group"),
            (r#"a=~"\\w{900}""#, "compiles to more than 256 KiB"),
            (r#"a="b"#, "at character 3 of the matcher: the quote is not closed"),
            (r#"a="b" c"#, "at character 7 of the matcher: nothing may follow the closing quote"),
            (r#"a=b,c=d"#, "at character 4 of the matcher: one matcher per entry"),
            (r#"{a="b"}"#, "without braces"),
            (r#"a=b"c"#, "needs double quotes"),
            (r#"""="x""#, "needs the name of a label"),
            (
                r#"severity="crit""#,
                r#"severity is one of critical, error, warning, info, not "crit", did you mean "critical"?"#,
            ),
            (r#"status!="fireing""#, r#"status is one of firing, resolved, not "fireing", did you mean "firing"?"#),
        ] {
            let wrong = parse_matcher(text).expect_err(text);
            assert!(wrong.contains(message), "{text}: {wrong}");
        }
        assert!(parse_matcher(&format!("a={}", "b".repeat(1 << 20))).is_err());
    }
}
