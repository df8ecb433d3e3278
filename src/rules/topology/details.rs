//! What the catalogue says of a service beside what it leads to: how much it hurts, how many use it, who answers for it.
//!
//! 32 bytes a service, and nothing where no service says anything; texts and lists of suppliers are kept once, however
//! many services share them. What is too long or unknown is a problem at load, so nothing here is ever cut.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{Catalogue, NAME_BYTES_MAX, ServiceConfig, TeamKind, Teams};
use crate::event::hint;
use crate::rules::{Level, Problem};

/// Suppliers of one service.
const SUPPLIERS_MAX: usize = 16;
const RUNBOOK_BYTES_MAX: usize = 2_048;
/// Unknown names for which the one that was meant is looked for.
const HINTS_MAX: usize = 10;
/// Nothing is said.
const NONE: u32 = u32::MAX;

/// Names that are configured elsewhere; `None` where they are not known, so that any name is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownNames<'a> {
    /// Of escalation policies.
    pub escalation_policies: Option<&'a [String]>,
    /// Of calendars.
    pub calendars: Option<&'a [String]>,
    /// Of agreements.
    pub agreements: Option<&'a [String]>,
}

/// What is known of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceDetails<'a> {
    /// Unique.
    pub name: &'a str,
    /// How much it hurts when it breaks.
    pub impact: Option<Level>,
    /// How many people use it.
    pub users: Option<u32>,
    /// The team that answers for it.
    pub owner: Option<&'a Arc<str>>,
    /// Who else works on it.
    pub suppliers: &'a [Arc<str>],
    /// What to do when it breaks.
    pub runbook: Option<&'a Arc<str>>,
    /// Its escalation policy.
    pub escalation: Option<&'a Arc<str>>,
    /// When it is to be there.
    pub calendar: Option<&'a Arc<str>>,
    /// What was agreed for it.
    pub agreement: Option<&'a Arc<str>>,
}

/// All of them, by the number of the service.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// Up to the last service of which anything is said.
    entries: Vec<Entry>,
    texts: Vec<Arc<str>>,
    suppliers: Vec<Box<[Arc<str>]>>,
}

/// Texts and lists by their numbers, [`NONE`] where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    impact: Option<Level>,
    users: u32,
    owner: u32,
    suppliers: u32,
    runbook: u32,
    escalation: u32,
    calendar: u32,
    agreement: u32,
}

const SILENT: Entry = Entry {
    impact: None,
    users: NONE,
    owner: NONE,
    suppliers: NONE,
    runbook: NONE,
    escalation: NONE,
    calendar: NONE,
    agreement: NONE,
};

impl Details {
    pub(super) fn of<'a>(&'a self, service: u32, name: &'a str) -> ServiceDetails<'a> {
        let entry = self.entries.get(service as usize).copied().unwrap_or(SILENT);
        let text = |number: u32| self.texts.get(number as usize);
        ServiceDetails {
            name,
            impact: entry.impact,
            users: Some(entry.users).filter(|users| *users != NONE),
            owner: text(entry.owner),
            suppliers: self.suppliers.get(entry.suppliers as usize).map_or(&[], |suppliers| suppliers),
            runbook: text(entry.runbook),
            escalation: text(entry.escalation),
            calendar: text(entry.calendar),
            agreement: text(entry.agreement),
        }
    }

    /// Bytes, by estimate.
    pub(super) fn bytes(&self) -> usize {
        let text = |text: &Arc<str>| size_of::<Arc<str>>() + 2 * size_of::<usize>() + text.len();
        let list = |list: &[Arc<str>]| size_of::<Box<[Arc<str>]>>() + size_of_val(list);
        self.entries.capacity() * size_of::<Entry>()
            + self.texts.iter().map(text).sum::<usize>()
            + self.suppliers.iter().map(|suppliers| list(suppliers)).sum::<usize>()
    }
}

/// Reads what services say, one after the other.
pub(super) struct Reading<'a> {
    teams: &'a Teams,
    /// By the names of their keys.
    known: [(&'static str, Option<Known<'a>>); 3],
    details: Details,
    numbers: HashMap<&'a str, u32>,
    lists: HashMap<&'a [String], u32>,
    hints: usize,
}

struct Known<'a> {
    what: &'static str,
    names: HashSet<&'a str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(catalogue: &Catalogue<'a>) -> Self {
        let known = |what, names: Option<&'a [String]>| {
            names.map(|names| Known { what, names: names.iter().map(String::as_str).collect() })
        };
        let names = catalogue.known;
        Self {
            teams: catalogue.teams,
            known: [
                ("escalation", known("escalation policy", names.escalation_policies)),
                ("calendar", known("calendar", names.calendars)),
                ("agreement", known("agreement", names.agreements)),
            ],
            details: Details::default(),
            numbers: HashMap::new(),
            lists: HashMap::new(),
            hints: 0,
        }
    }

    /// What the next service says, and what is wrong with it, by the key.
    pub(super) fn read(&mut self, service: u32, config: &'a ServiceConfig) -> Vec<(String, Problem)> {
        let mut wrong = Vec::new();
        let entry = Entry {
            impact: config.impact,
            users: config.users.unwrap_or(NONE),
            owner: self.owner(config.owner.as_deref(), &mut wrong),
            suppliers: self.suppliers(&config.suppliers, &mut wrong),
            runbook: self.runbook(config.runbook.as_deref(), &mut wrong),
            escalation: self.named(0, config.escalation.as_deref(), &mut wrong),
            calendar: self.named(1, config.calendar.as_deref(), &mut wrong),
            agreement: self.named(2, config.agreement.as_deref(), &mut wrong),
        };
        if entry != SILENT {
            self.details.entries.resize(service as usize, SILENT);
            self.details.entries.push(entry);
        }
        wrong
    }

    pub(super) fn finish(mut self) -> Details {
        self.details.entries.shrink_to_fit();
        self.details.texts.shrink_to_fit();
        self.details
    }

    fn owner(&mut self, name: Option<&'a str>, wrong: &mut Vec<(String, Problem)>) -> u32 {
        let Some(name) = name else { return NONE };
        if let Some(problem) = name_problem(name).or_else(|| self.unknown_team(name)) {
            wrong.push((".owner".to_owned(), Problem::error("", problem)));
        }
        self.number(name)
    }

    fn suppliers(&mut self, names: &'a [String], wrong: &mut Vec<(String, Problem)>) -> u32 {
        if names.is_empty() {
            return NONE;
        }
        if names.len() > SUPPLIERS_MAX {
            let message = format!("a service has at most {SUPPLIERS_MAX} suppliers, not {}", names.len());
            wrong.push((".suppliers".to_owned(), Problem::error("", message)));
            return NONE;
        }
        for (place, name) in names.iter().enumerate() {
            let path = || format!(".suppliers[{place}]");
            if let Some(problem) = name_problem(name).or_else(|| self.unknown_team(name)) {
                wrong.push((path(), Problem::error("", problem)));
            } else if names[..place].contains(name) {
                wrong.push((path(), Problem::warning("", format!("\"{name}\" is named twice"))));
            } else if self.teams.named(name).is_some_and(|team| team.kind != TeamKind::Supplier) {
                wrong.push((path(), Problem::warning("", format!("\"{name}\" is no supplier, but a team"))));
            }
        }
        if let Some(known) = self.lists.get(names) {
            return *known;
        }
        let numbers: Vec<u32> = names.iter().map(|name| self.number(name)).collect();
        let list = numbers.into_iter().map(|number| self.details.texts[number as usize].clone());
        self.details.suppliers.push(list.collect());
        let number = self.details.suppliers.len() as u32 - 1;
        self.lists.insert(names, number);
        number
    }

    fn runbook(&mut self, url: Option<&'a str>, wrong: &mut Vec<(String, Problem)>) -> u32 {
        let Some(url) = url else { return NONE };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let plain =
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control()));
        if !plain || url.len() > RUNBOOK_BYTES_MAX {
            let message = format!("a runbook is an http:// or https:// URL of at most {RUNBOOK_BYTES_MAX} bytes");
            wrong.push((".runbook".to_owned(), Problem::error("", message)));
        }
        self.number(url)
    }

    fn named(&mut self, place: usize, name: Option<&'a str>, wrong: &mut Vec<(String, Problem)>) -> u32 {
        let Some(name) = name else { return NONE };
        let (key, known) = &self.known[place];
        let unknown = known.as_ref().filter(|known| !known.names.contains(name)).map(|known| {
            self.hints += 1;
            let hint = if self.hints <= HINTS_MAX { hint(name, known.names.iter().copied()) } else { String::new() };
            format!("unknown {} \"{name}\"{hint}", known.what)
        });
        if let Some(problem) = name_problem(name).or(unknown) {
            wrong.push((format!(".{key}"), Problem::error("", problem)));
        }
        self.number(name)
    }

    fn unknown_team(&mut self, name: &str) -> Option<String> {
        if self.teams.is_empty() || self.teams.named(name).is_some() {
            return None;
        }
        self.hints += 1;
        let hint = if self.hints <= HINTS_MAX { hint(name, self.teams.names()) } else { String::new() };
        Some(format!("unknown team \"{name}\"{hint}"))
    }

    /// The number of a text.
    fn number(&mut self, text: &'a str) -> u32 {
        let texts = &mut self.details.texts;
        *self.numbers.entry(text).or_insert_with(|| {
            texts.push(text.into());
            texts.len() as u32 - 1
        })
    }
}

fn name_problem(name: &str) -> Option<String> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    (!fits).then(|| format!("a name is 1 to {NAME_BYTES_MAX} bytes long, not {}", name.len()))
}
