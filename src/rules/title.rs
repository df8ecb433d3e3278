//! Titles of incidents: templates that are checked when they are read and bounded when they render.
//!
//! A template sees `labels`, `annotations`, `key`, `severity`, `source`, `summary` and `rule`, and no function. What is
//! not there is an error, never an empty text; then rendering fails and the caller falls back on a title of its own.
//! Work is bounded by fuel (a guess: about 20,000 instructions), output by 1 KiB, both far above any honest title.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{Environment, Error, ErrorKind, Template, UndefinedBehavior};

use crate::event::Severity;
use crate::event::hint;

/// Bytes of a rendered title; the rest is cut.
pub const TITLE_BYTES_MAX: usize = 1 << 10;
const TEMPLATE_BYTES_MAX: usize = 4 << 10;
const FUEL: u64 = 20_000;
const VARIABLES: [&str; 7] = ["labels", "annotations", "key", "severity", "source", "summary", "rule"];

/// A title template, compiled; see `IncidentConfig::title`.
#[derive(Clone)]
pub struct Title {
    environment: Arc<Environment<'static>>,
    name: Arc<str>,
}

/// What a title may speak of: the alert that opened the incident, and the group.
#[derive(Clone, Copy, Debug)]
pub struct TitleContext<'a> {
    /// The alert's labels.
    pub labels: &'a [(&'a str, &'a str)],
    /// The alert's annotations.
    pub annotations: &'a [(&'a str, &'a str)],
    /// The labels of the group that are there.
    pub key: &'a [(&'a str, &'a str)],
    /// How bad.
    pub severity: Severity,
    /// The monitoring system.
    pub source: &'a str,
    /// One line for people.
    pub summary: &'a str,
    /// The rule's name.
    pub rule: &'a str,
}

impl Title {
    /// The title, in one line of at most [`TITLE_BYTES_MAX`] bytes; `None` when it cannot be rendered or is blank.
    pub fn render(&self, context: TitleContext<'_>) -> Option<String> {
        let texts = |pairs: &[(&str, &str)]| map(pairs.iter().map(|(name, value)| (*name, Value::from(*value))));
        let values = [
            texts(context.labels),
            texts(context.annotations),
            texts(context.key),
            Value::from(context.severity.as_str()),
            Value::from(context.source),
            Value::from(context.summary),
            Value::from(context.rule),
        ];
        let title = self.write(map(VARIABLES.into_iter().zip(values))).ok()?;
        (!title.trim().is_empty()).then_some(title)
    }

    fn write(&self, context: Value) -> Result<String, Error> {
        let template = self.environment.get_template(&self.name)?;
        let steers = |c: char| c.is_control() || turns_writing(c);
        let line = render(&template, context, TITLE_BYTES_MAX)?;
        Ok(line.chars().map(|char| if steers(char) { ' ' } else { char }).collect())
    }
}

impl fmt::Debug for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Title").field(&self.name).finish()
    }
}

/// The templates of a rule set while it is compiled; they share one environment.
pub(super) struct Titles {
    environment: Environment<'static>,
}

impl Titles {
    pub(super) fn new() -> Self {
        Self { environment: environment(FUEL) }
    }

    /// Adds the template of a rule.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(super) fn add(&mut self, rule: &str, template: &str, group_by: &[String]) -> Result<(), String> {
        if template.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("a title template is at most {} KiB long", TEMPLATE_BYTES_MAX >> 10));
        }
        let name = rule.to_owned();
        self.environment.add_template_owned(name, template.to_owned()).map_err(|error| located(&error, template))?;
        let compiled = self.environment.get_template(rule).map_err(|error| located(&error, template))?;
        let mut unknown: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
        unknown.sort();
        unknown.iter().try_for_each(|path| known(path, group_by))?;
        match compiled.render(map(VARIABLES.into_iter().zip(samples()))) {
            Err(error) if always_fails(error.kind()) => Err(located(&error, template)),
            _ => Ok(()),
        }
    }

    /// Ends the collection: the title of each rule that [`Titles::add`] accepted.
    pub(super) fn finish(self) -> impl Fn(&Arc<str>) -> Title {
        let environment = Arc::new(self.environment);
        move |name| Title { environment: environment.clone(), name: name.clone() }
    }
}

/// Where templates are strict, know no function, and run out of fuel.
pub(in crate::rules) fn environment(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(fuel));
    let globals: Vec<String> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    globals.iter().for_each(|name| environment.remove_global(name));
    environment
}

/// What a template says, cut at so many bytes.
pub(in crate::rules) fn render(template: &Template<'_, '_>, context: Value, max: usize) -> Result<String, Error> {
    let mut text = Bounded { bytes: Vec::new(), max, full: false };
    let written = template.render_captured_to(context, &mut text).map(drop);
    if !text.full {
        written?;
    }
    Ok(text.into_text())
}

/// Whether a character turns the direction of writing.
pub(in crate::rules) fn turns_writing(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn map<'a>(pairs: impl Iterator<Item = (&'a str, Value)>) -> Value {
    Value::from_object(pairs.map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<String, Value>>())
}

/// Whether a path such as `labels.service` can lead anywhere.
fn known(path: &str, group_by: &[String]) -> Result<(), String> {
    let mut parts = path.split('.');
    let root = parts.next().unwrap_or_default();
    if !VARIABLES.contains(&root) {
        let (hint, all) = (hint(root, VARIABLES), VARIABLES.join(", "));
        return Err(format!("unknown variable \"{root}\"{hint} (there are {all})"));
    }
    match parts.next() {
        Some(label) if root == "key" && !group_by.iter().any(|known| known == label) => {
            let hint = hint(label, group_by.iter().map(String::as_str));
            Err(format!("key holds only the group_by labels, which do not include \"{label}\"{hint}"))
        }
        _ => Ok(()),
    }
}

/// Faults of the template itself, whatever the alert; others (a missing label) depend on the alert.
pub(in crate::rules) fn always_fails(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod
            | ErrorKind::TemplateNotFound
            | ErrorKind::BadInclude
            | ErrorKind::TooManyArguments
            | ErrorKind::MissingArgument
            | ErrorKind::OutOfFuel
    )
}

pub(in crate::rules) fn located(error: &Error, template: &str) -> String {
    let what = match (error.kind(), error.detail()) {
        (ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    match error.range().and_then(|range| template.get(..range.start)) {
        Some(before) => format!("at character {} of the template: {what}", before.chars().count() + 1),
        None => format!("in the template: {what}"),
    }
}

fn samples() -> [Value; 7] {
    let any = || Value::from_object(AnyLabel);
    let text = || Value::from("x");
    [any(), any(), any(), Value::from(Severity::default().as_str()), text(), text(), text()]
}

/// Has every label, for the trial rendering.
#[derive(Debug)]
struct AnyLabel;

impl Object for AnyLabel {
    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(Value::from("x"))
    }
}

/// Text of bounded length; refuses to be written once it is full, which ends the rendering.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    full: bool,
}

impl Bounded {
    fn into_text(self) -> String {
        String::from_utf8(self.bytes).unwrap_or_else(|cut| {
            let valid = cut.utf8_error().valid_up_to();
            let mut bytes = cut.into_bytes();
            bytes.truncate(valid);
            String::from_utf8(bytes).expect("valid up to there")
        })
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (self.max - self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        if room < bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP_BY: &str = "service";

    fn check(template: &str) -> Result<(), String> {
        Titles::new().add("r", template, &[GROUP_BY.to_owned()])
    }

    fn render(template: &str, labels: &[(&str, &str)]) -> Option<String> {
        let mut titles = Titles::new();
        titles.add("r", template, &[GROUP_BY.to_owned()]).expect(template);
        let key = [(GROUP_BY, "checkout")];
        let severity = Severity::Critical;
        let context =
            TitleContext { labels, annotations: &[], key: &key, severity, source: "s", summary: "<b>", rule: "r" };
        titles.finish()(&"r".into()).render(context)
    }

    #[test]
    fn a_title_speaks_of_the_alert_and_the_group() {
        let labels = [("host", "a-1"), ("app.kubernetes.io/name", "web")];
        let title = "{{ key.service }} on {{ labels.host }} ({{ labels['app.kubernetes.io/name'] }}): \
                     {{ severity|upper }} {{ summary }} {{ source }} {{ rule }}";
        assert_eq!(render(title, &labels).as_deref(), Some("checkout on a-1 (web): CRITICAL <b> s r"));
    }

    #[test]
    fn what_is_missing_is_no_title_unless_the_template_says_otherwise() {
        assert_eq!(render("{{ labels.host }} down", &[]), None);
        assert_eq!(render("{{ labels.host|default('a host') }} down", &[]).as_deref(), Some("a host down"));
        assert_eq!(render("{{ labels.host }}", &[("host", " ")]), None);
    }

    #[test]
    fn a_title_is_one_line_of_bounded_length() {
        let long = "é".repeat(TITLE_BYTES_MAX);
        let title = render("x{{ labels.a }}", &[("a", &long)]).expect("cut, not refused");
        assert_eq!(title.len(), TITLE_BYTES_MAX - 1);
        assert_eq!(render("a{{ labels.a }}b", &[("a", "1\n2\u{0}3\u{1b}")]).as_deref(), Some("a1 2 3 b"));
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        for (template, message) in [
            ("{{ labels.a", "at character 11 of the template: unexpected end of input"),
            ("{{ lables.a }}", "unknown variable \"lables\", did you mean \"labels\"? (there are labels, annotations,"),
            ("{{ range(9) }}", "unknown variable \"range\""),
            ("{{ key.servce }}", "which do not include \"servce\", did you mean \"service\"?"),
            ("{{ summary|shout }}", "unknown filter"),
            ("{% include 'x' %}", "template not found"),
            (
                "{% for a in 'xxxxxxxxxx'|list %}{% for a in 'xxxxxxxxxx'|list %}{% for a in 'xxxxxxxxxx'|list %}\
              {% for a in 'xxxxxxxxxx'|list %}{{ a }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
                "fuel",
            ),
        ] {
            let wrong = check(template).expect_err(template);
            assert!(wrong.contains(message), "{template}: {wrong}");
        }
        assert!(check(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
        assert!(check(&"{% if summary %}".repeat(200)).is_err());
    }
}
