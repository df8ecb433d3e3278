//! Communication: the audiences of status updates, their templates, and how often an update is due.
//!
//! All that can be wrong is found here, at load. At most 32 audiences; an audience is found by going through them.

mod config;
mod template;

use std::sync::Arc;
use std::time::Duration;

pub use config::{AudienceConfig, CadenceConfig, CommunicationConfig, Occasion};
pub use template::{INCIDENT_FIELDS, MESSAGE_BYTES_MAX};
use template::{Spoken, Templates};

use super::Priority;
use super::validate::{Problem, check_name};
use crate::event::{duration, hint};

/// Each may be told by itself whenever an incident opens, in a decision of its own.
const AUDIENCES_MAX: usize = 32;
const NOTIFY_MAX: usize = 100;
const CADENCE_MIN: Duration = Duration::from_secs(60);
const CADENCE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The team itself: what it writes down is told to nobody.
pub const INTERNAL: &str = "internal";
/// Whoever reads what is public. Always there: without sinks where none are configured for it.
const PUBLIC: &str = "public";

/// Some who are told by status updates.
#[derive(Clone, Debug)]
pub struct StatusAudience {
    /// Unique.
    pub name: Arc<str>,
    /// The sinks that reach it.
    pub notify: Arc<[Arc<str>]>,
    on: Vec<Occasion>,
    template: Spoken,
}

impl StatusAudience {
    /// Whether it is told of such a move by itself.
    pub fn hears_of(&self, occasion: Occasion) -> bool {
        self.on.contains(&occasion)
    }

    /// What it is told, at most [`MESSAGE_BYTES_MAX`] bytes, and whether its template could be rendered; where it could
    /// not, that is the default one.
    pub fn message(&self, incident: &impl serde::Serialize, text: &str) -> (String, bool) {
        self.template.render(incident, text)
    }
}

/// What holds for all incidents.
#[derive(Debug, Default)]
pub struct Communication {
    audiences: Vec<StatusAudience>,
    cadence: CadenceConfig,
    /// Who is reminded; the rule's sinks where there is none.
    pub remind: Arc<[Arc<str>]>,
}

impl Communication {
    /// In the order of the configuration.
    pub fn audiences(&self) -> &[StatusAudience] {
        &self.audiences
    }

    /// The audience of that name.
    pub fn named(&self, name: &str) -> Option<&StatusAudience> {
        self.audiences.iter().find(|audience| *audience.name == *name)
    }

    /// After how long the next status update is due.
    pub fn cadence(&self, priority: Priority) -> Option<Duration> {
        self.cadence.of(priority)
    }

    pub(super) fn compile(config: &CommunicationConfig, sinks: &[String]) -> (Self, Vec<Problem>) {
        let mut problems = cadence_problems(&config.cadence);
        problems.extend(sink_problems("communication.remind", &config.remind, sinks));
        let count = config.audiences.len();
        if count > AUDIENCES_MAX {
            let message = format!("at most {AUDIENCES_MAX} audiences, not {count}");
            problems.push(Problem::error("communication.audiences", message));
        }
        let mut templates = Templates::new();
        let mut accepted = Vec::new();
        for (place, audience) in config.audiences.iter().take(AUDIENCES_MAX).enumerate() {
            let path = format!("communication.audiences[{place}]");
            let earlier = config.audiences[..place].iter().position(|earlier| earlier.name == audience.name);
            if let Some(wrong) = name_problem(&audience.name, earlier) {
                problems.push(Problem::error(format!("{path}.name"), wrong));
            }
            if audience.notify.is_empty() {
                let message = "an audience is told through 1 to 100 sinks, not 0";
                problems.push(Problem::error(format!("{path}.notify"), message));
            }
            problems.extend(sink_problems(&format!("{path}.notify"), &audience.notify, sinks));
            match templates.add(place, audience.template.as_deref()) {
                Ok(()) => accepted.push((place, audience)),
                Err(wrong) => problems.push(Problem::error(format!("{path}.template"), wrong)),
            }
        }
        let public = AudienceConfig { name: PUBLIC.to_owned(), notify: Vec::new(), template: None, on: Vec::new() };
        if config.audiences.iter().all(|audience| audience.name != PUBLIC) && templates.add(count, None).is_ok() {
            accepted.push((count, &public));
        }
        let template = templates.finish();
        let compiled = |(place, audience): (usize, &AudienceConfig)| StatusAudience {
            name: audience.name.as_str().into(),
            notify: audience.notify.iter().map(|sink| sink.as_str().into()).collect(),
            on: audience.on.clone(),
            template: template(place),
        };
        let audiences = accepted.into_iter().map(compiled).collect();
        let remind = config.remind.iter().map(|sink| sink.as_str().into()).collect();
        (Self { audiences, cadence: config.cadence, remind }, problems)
    }
}

fn name_problem(name: &str, earlier: Option<usize>) -> Option<String> {
    if name == INTERNAL {
        return Some("internal is the team itself, which is told nothing; another name".to_owned());
    }
    let twice = earlier.map(|earlier| format!("communication.audiences[{earlier}] is named \"{name}\" already"));
    check_name(name).err().or(twice)
}

fn cadence_problems(cadence: &CadenceConfig) -> Vec<Problem> {
    let wrong = |priority: Priority| {
        let every = cadence.of(priority).filter(|every| !(CADENCE_MIN..=CADENCE_MAX).contains(every))?;
        let [min, max, every] = [CADENCE_MIN, CADENCE_MAX, every].map(duration::format);
        let path = format!("communication.cadence.{}", priority.as_str());
        Some(Problem::error(path, format!("a cadence is {min} to {max}, not {every}")))
    };
    Priority::ALL.into_iter().filter_map(wrong).collect()
}

fn sink_problems(path: &str, named: &[String], sinks: &[String]) -> Vec<Problem> {
    if named.len() > NOTIFY_MAX {
        return vec![Problem::error(path, format!("at most {NOTIFY_MAX} sinks, not {}", named.len()))];
    }
    let problem = |(at, name): (usize, &String)| {
        let wrong = if !sinks.contains(name) {
            format!("unknown sink \"{name}\"{}", hint(name, sinks.iter().map(String::as_str)))
        } else if named[..at].contains(name) {
            format!("the sink \"{name}\" is named twice")
        } else {
            return None;
        };
        Some(Problem::error(format!("{path}[{at}]"), wrong))
    };
    named.iter().enumerate().filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(yaml: &str) -> (Communication, Vec<String>) {
        let config: CommunicationConfig = serde_saphyr::from_str(yaml).expect(yaml);
        let (compiled, problems) = Communication::compile(&config, &["ops".to_owned(), "status-page".to_owned()]);
        (compiled, problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
    }

    #[test]
    fn an_audience_is_found_by_its_name_and_speaks_by_its_template() {
        let (compiled, problems) = compile(
            "{audiences: [{name: public, notify: [status-page], template: '{{ incident.title|upper }}: {{ text }}', \
             on: [resolved]}], cadence: {P1: 30m}, remind: [ops]}",
        );
        assert_eq!(problems, [""; 0]);
        let public = compiled.named("public").expect("an audience");
        let incident = serde_json::json!({"title": "checkout", "status": "open"});
        assert_eq!(public.message(&incident, "we look into it"), ("CHECKOUT: we look into it".to_owned(), true));
        assert!(public.hears_of(Occasion::Resolved) && !public.hears_of(Occasion::Opened));
        assert_eq!(compiled.cadence(Priority::P1), Some(Duration::from_secs(1_800)));
        assert_eq!((compiled.cadence(Priority::P2), &*compiled.remind[0]), (None, "ops"));
        assert!(compiled.named(INTERNAL).is_none());
        let (compiled, _) = compile("{audiences: [{name: management, notify: [ops]}]}");
        let public = compiled.named(PUBLIC).expect("always there");
        assert!(public.notify.is_empty() && !public.hears_of(Occasion::Resolved));
        let incident = serde_json::json!({"id": "INC-1", "title": "a", "status": "open"});
        assert_eq!(public.message(&incident, "b"), ("INC-1 a (open): b".to_owned(), true));
    }

    #[test]
    fn what_is_wrong_with_audiences_and_cadence_is_said() {
        let (_, problems) = compile(
            "{audiences: [{name: internal, notify: [opps]}, {name: a, notify: []}, {name: a, notify: [ops, ops]}, \
             {name: A b, notify: [ops], template: '{{ incident.titel }}'}], cadence: {P1: 10s, P5: 8d}, remind: [stat]}",
        );
        let expected = [
            "communication.cadence.P1: a cadence is 1m to 7d, not 10s",
            "communication.cadence.P5: a cadence is 1m to 7d, not 8d",
            "communication.remind[0]: unknown sink \"stat\", did you mean \"status-page\"?",
            "communication.audiences[0].name: internal is the team itself, which is told nothing; another name",
            "communication.audiences[0].notify[0]: unknown sink \"opps\", did you mean \"ops\"?",
            "communication.audiences[1].notify: an audience is told through 1 to 100 sinks, not 0",
            "communication.audiences[2].name: communication.audiences[1] is named \"a\" already",
            "communication.audiences[2].notify[1]: the sink \"ops\" is named twice",
            "communication.audiences[3].name: a name has up to 63 of a-z, 0-9 and -, not first -, so it cannot be \"A b\"",
        ];
        assert_eq!(problems[..expected.len()], expected);
        let [template] = &problems[expected.len()..] else { panic!("{problems:?}") };
        let said = "communication.audiences[3].template: an incident has no \"titel\", did you mean \"title\"?";
        assert!(template.starts_with(said), "{template}");
    }
}
