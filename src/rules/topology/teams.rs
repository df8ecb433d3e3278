//! Who can be given an incident: teams of one's own, and suppliers.
//!
//! Where none is configured any name may be given. At most 10,000, found by one look-up.

use std::sync::Arc;

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::hint;
use crate::rules::Problem;

const TEAMS_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 256;
const NOTIFY_MAX: usize = 100;

/// One team or supplier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamConfig {
    /// Unique name, up to 256 bytes.
    pub name: String,
    /// `team` (default), or `supplier` for one outside.
    #[serde(default)]
    pub kind: TeamKind,
    /// The sinks that reach it; up to 100. Default none.
    #[serde(default)]
    pub notify: Vec<String>,
}

/// Whether it is one's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TeamKind {
    /// One's own.
    #[default]
    Team,
    /// Outside.
    Supplier,
}

/// A team, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    /// Unique.
    pub name: Arc<str>,
    /// Whether it is one's own.
    pub kind: TeamKind,
    /// The sinks that reach it.
    pub notify: Arc<[Arc<str>]>,
}

/// All teams, by name.
#[derive(Debug, Default)]
pub struct Teams {
    teams: Vec<Team>,
    places: HashMap<Arc<str>, u32>,
}

impl Teams {
    /// Whether none is configured, so that any name may be given.
    pub fn is_empty(&self) -> bool {
        self.teams.is_empty()
    }

    /// The team of that name.
    pub fn named(&self, name: &str) -> Option<&Team> {
        self.places.get(name).map(|place| &self.teams[*place as usize])
    }

    /// The names, in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.teams.iter().map(|team| &*team.name)
    }

    pub(in crate::rules) fn compile(configs: &[TeamConfig], sinks: &[String]) -> (Self, Vec<Problem>) {
        let (mut compiled, mut problems) = (Self::default(), Vec::new());
        if configs.len() > TEAMS_MAX {
            problems.push(Problem::error("teams", format!("at most {TEAMS_MAX} teams, not {}", configs.len())));
        }
        for (place, config) in configs.iter().take(TEAMS_MAX).enumerate() {
            let error = |field: &str, message: String| Problem::error(format!("teams[{place}].{field}"), message);
            let length = config.name.len();
            if !(1..=NAME_BYTES_MAX).contains(&length) {
                problems
                    .push(error("name", format!("a team's name is 1 to {NAME_BYTES_MAX} bytes long, not {length}")));
            }
            if let Some(earlier) = compiled.places.get(config.name.as_str()) {
                problems.push(error("name", format!("teams[{earlier}] is named \"{}\" already", config.name)));
            }
            problems.extend(notify_problems(place, config, sinks));
            let name: Arc<str> = config.name.as_str().into();
            compiled.places.entry(name.clone()).or_insert(place as u32);
            let notify = config.notify.iter().map(|sink| sink.as_str().into()).collect();
            compiled.teams.push(Team { name, kind: config.kind, notify });
        }
        (compiled, problems)
    }
}

fn notify_problems(place: usize, config: &TeamConfig, sinks: &[String]) -> Vec<Problem> {
    let notify = &config.notify;
    let path = format!("teams[{place}].notify");
    if notify.len() > NOTIFY_MAX {
        return vec![Problem::error(path, format!("at most {NOTIFY_MAX} sinks, not {}", notify.len()))];
    }
    let problem = |(at, name): (usize, &String)| {
        let wrong = if !sinks.contains(name) {
            format!("unknown sink \"{name}\"{}", hint(name, sinks.iter().map(String::as_str)))
        } else if notify[..at].contains(name) {
            format!("the sink \"{name}\" is named twice")
        } else {
            return None;
        };
        Some(Problem::error(format!("{path}[{at}]"), wrong))
    };
    notify.iter().enumerate().filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(yaml: &str) -> (Teams, Vec<String>) {
        let configs: Vec<TeamConfig> = serde_saphyr::from_str(yaml).expect(yaml);
        let (teams, problems) = Teams::compile(&configs, &["ops".to_owned(), "acme-mail".to_owned()]);
        (teams, problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect())
    }

    #[test]
    fn a_team_is_found_by_its_name() {
        let (teams, problems) = compile("[{name: Payments}, {name: acme, kind: supplier, notify: [acme-mail]}]");
        assert_eq!(problems, [""; 0]);
        assert_eq!(teams.names().collect::<Vec<_>>(), ["Payments", "acme"]);
        let acme = teams.named("acme").expect("a team");
        assert_eq!((acme.kind, &*acme.notify[0]), (TeamKind::Supplier, "acme-mail"));
        assert_eq!(teams.named("payments"), None);
        assert!(!teams.is_empty() && Teams::default().is_empty());
    }

    #[test]
    fn what_is_wrong_in_a_team_is_said() {
        let (_, problems) = compile("[{name: ''}, {name: a, notify: [opps, ops, ops]}, {name: a}]");
        let expected = [
            "teams[0].name: a team's name is 1 to 256 bytes long, not 0",
            "teams[1].notify[0]: unknown sink \"opps\", did you mean \"ops\"?",
            "teams[1].notify[2]: the sink \"ops\" is named twice",
            "teams[2].name: teams[1] is named \"a\" already",
        ];
        assert_eq!(problems, expected);
        let many = TeamConfig { name: "a".to_owned(), kind: TeamKind::Team, notify: vec!["ops".to_owned(); 101] };
        let (_, problems) = Teams::compile(&[many], &["ops".to_owned()]);
        assert_eq!(problems, [Problem::error("teams[0].notify", "at most 100 sinks, not 101")]);
        let (_, problems) = Teams::compile(&vec![problem_free(); TEAMS_MAX + 1], &[]);
        assert_eq!(problems[0], Problem::error("teams", "at most 10000 teams, not 10001"));
    }

    fn problem_free() -> TeamConfig {
        TeamConfig { name: "a".to_owned(), kind: TeamKind::Team, notify: Vec::new() }
    }
}
