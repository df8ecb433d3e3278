//! Templates of status updates: checked when they are read and bounded when they render.
//!
//! A template sees `incident`, with every field that a document can show (null where it does not), and `text`, and no
//! function. Work is bounded by fuel (a guess: about 100,000 instructions), output by 16 KiB; the rest is cut.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{Environment, Error};

use crate::event::hint;
use crate::rules::title::{always_fails, environment, located, render, turns_writing};

/// Bytes of a rendered message; the rest is cut. A text of 10 KiB fits with what is around it.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;
const TEMPLATE_BYTES_MAX: usize = 4 << 10;
const FUEL: u64 = 100_000;
const DEFAULT: &str = "{{ incident.id }} {{ incident.title }} ({{ incident.status }}): {{ text }}";
/// The name under which the default template is kept; those of audiences are numbers.
const DEFAULT_NAME: &str = "default";
const VARIABLES: [&str; 2] = ["incident", "text"];

/// What a document can show of an incident.
pub const INCIDENT_FIELDS: [&str; 36] = [
    "id",
    "status",
    "version",
    "title",
    "rule",
    "key",
    "severity",
    "impact",
    "urgency",
    "priority",
    "priority_reason",
    "service",
    "assignee",
    "opened_at",
    "acknowledged_at",
    "resolved_at",
    "updated_at",
    "alerts",
    "events",
    "links",
    "targets",
    "escalation",
    "escalated",
    "time_in",
    "reopened",
    "signature",
    "hold",
    "major",
    "assignment",
    "resolution",
    "next_update_due",
    "services",
    "service_binding",
    "reasons",
    "flapping",
    "storm",
];

/// The template of an audience, compiled.
#[derive(Clone)]
pub(super) struct Spoken {
    environment: Arc<Environment<'static>>,
    name: Arc<str>,
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spoken").field(&self.name).finish()
    }
}

impl Spoken {
    pub(super) fn render(&self, incident: &impl serde::Serialize, text: &str) -> (String, bool) {
        let context = context(serde_json::to_value(incident).map_or(Value::from(()), value_of), text);
        if let Ok(message) = self.write(&self.name, context.clone())
            && !message.trim().is_empty()
        {
            return (message, true);
        }
        // A template that cannot be rendered for this incident must never cost the word of a person.
        (self.write(DEFAULT_NAME, context).unwrap_or_else(|_| text.to_owned()), false)
    }

    fn write(&self, name: &str, context: Value) -> Result<String, Error> {
        let text = render(&self.environment.get_template(name)?, context, MESSAGE_BYTES_MAX)?;
        let steers = |c: char| c.is_control() && c != '\n' || turns_writing(c);
        Ok(text.chars().map(|char| if steers(char) { ' ' } else { char }).collect())
    }
}

/// Templates while they are compiled; they share one environment.
pub(super) struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    pub(super) fn new() -> Self {
        let mut environment = environment(FUEL);
        environment.add_template(DEFAULT_NAME, DEFAULT).expect("a template that is tested");
        Self { environment }
    }

    /// Adds the template of the audience at a place.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub(super) fn add(&mut self, place: usize, template: Option<&str>) -> Result<(), String> {
        let template = template.unwrap_or(DEFAULT);
        if template.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("a template is at most {} KiB long", TEMPLATE_BYTES_MAX >> 10));
        }
        let name = place.to_string();
        let wrong = |error: Error| located(&error, template);
        self.environment.add_template_owned(name.clone(), template.to_owned()).map_err(wrong)?;
        let compiled = self.environment.get_template(&name).map_err(wrong)?;
        let mut named: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
        named.sort();
        named.iter().try_for_each(|path| known(path))?;
        let sample = context(Value::from_object(Anything), "x");
        match render(&compiled, sample, MESSAGE_BYTES_MAX) {
            Err(error) if always_fails(error.kind()) => Err(located(&error, template)),
            _ => Ok(()),
        }
    }

    /// Ends the collection: the template of each audience that [`Templates::add`] accepted.
    pub(super) fn finish(self) -> impl Fn(usize) -> Spoken {
        let environment = Arc::new(self.environment);
        move |place| Spoken { environment: environment.clone(), name: place.to_string().into() }
    }
}

fn context(incident: Value, text: &str) -> Value {
    let field = |name: &str| incident.get_attr(name).ok().filter(|value| !value.is_undefined());
    let fields = INCIDENT_FIELDS.into_iter().map(|name| (name.to_owned(), field(name).unwrap_or(Value::from(()))));
    let incident = Value::from_object(fields.collect::<BTreeMap<String, Value>>());
    let values = VARIABLES.into_iter().map(str::to_owned).zip([incident, Value::from(text)]);
    Value::from_object(values.collect::<BTreeMap<String, Value>>())
}

fn value_of(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(value),
        Json::Number(number) => match number.as_u64() {
            Some(number) => Value::from(number),
            None => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::from(items.into_iter().map(value_of).collect::<Vec<Value>>()),
        Json::Object(members) => {
            let members = members.into_iter().map(|(name, member)| (name, value_of(member)));
            Value::from_object(members.collect::<BTreeMap<String, Value>>())
        }
    }
}

/// Whether a path such as `incident.title` can lead anywhere.
fn known(path: &str) -> Result<(), String> {
    let mut parts = path.split('.');
    let root = parts.next().unwrap_or_default();
    if !VARIABLES.contains(&root) {
        let (hint, all) = (hint(root, VARIABLES), VARIABLES.join(", "));
        return Err(format!("unknown variable \"{root}\"{hint} (there are {all})"));
    }
    match parts.next().filter(|field| root == VARIABLES[0] && !INCIDENT_FIELDS.contains(field)) {
        Some(field) => {
            let near = hint(field, INCIDENT_FIELDS);
            let all = || format!(" (it has {})", INCIDENT_FIELDS.join(", "));
            Err(format!("an incident has no \"{field}\"{}", if near.is_empty() { all() } else { near }))
        }
        None => Ok(()),
    }
}

/// Has every field, for the trial rendering.
#[derive(Debug)]
struct Anything;

impl Object for Anything {
    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        Some(Value::from_object(Anything))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn add(template: &str) -> Result<(), String> {
        Templates::new().add(0, Some(template))
    }

    fn said(template: Option<&str>, text: &str) -> (String, bool) {
        let mut templates = Templates::new();
        templates.add(0, template).expect("a template");
        let incident =
            json!({"id": "INC-1", "title": "a\u{202e}b", "status": "open", "hold": null, "alerts": {"firing": 2}});
        templates.finish()(0).render(&incident, text)
    }

    #[test]
    fn without_a_template_the_incident_and_the_text_are_told() {
        assert_eq!(said(None, "line\nline\u{7}"), ("INC-1 a b (open): line\nline ".to_owned(), true));
    }

    #[test]
    fn a_template_that_cannot_be_rendered_costs_its_form_and_not_the_text() {
        for template in ["{{ incident.hold.reason.x }}", "{{ incident.alerts.frng }}", " "] {
            assert_eq!(said(Some(template), "t"), ("INC-1 a b (open): t".to_owned(), false), "{template}");
        }
        let (long, by_template) = said(Some("{{ text }}"), &"é".repeat(MESSAGE_BYTES_MAX));
        assert_eq!((long.len(), by_template), (MESSAGE_BYTES_MAX, true));
    }

    #[test]
    fn what_is_not_shown_is_null_so_that_a_template_can_ask_for_it() {
        let template = "{{ incident.alerts.firing }}{% if incident.hold %} waits{% endif %}{% if not incident.major %}.{% endif %}";
        assert_eq!(said(Some(template), ""), ("2.".to_owned(), true));
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        for (template, message) in [
            ("{{ incident.id", "at character 13 of the template: unexpected end of input"),
            ("{{ incidnt.id }}", "unknown variable \"incidnt\", did you mean \"incident\"? (there are incident, text)"),
            ("{{ incident.titel }}", "an incident has no \"titel\", did you mean \"title\"?"),
            ("{{ incident.zebra }}", "an incident has no \"zebra\" (it has id, status,"),
            ("{{ text|shout }}", "unknown filter"),
            ("{{ range(9) }}", "unknown variable \"range\""),
        ] {
            let wrong = add(template).expect_err(template);
            assert!(wrong.contains(message), "{template}: {wrong}");
        }
        assert!(add(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
    }
}
