//! The services that stand in a file of their own: a list in YAML or JSON, or a table in CSV.
//!
//! Reads text, no file. Of what cannot be read as services the first fault is told, with its line; what the services
//! themselves have wrong is told all at once, when they are compiled. A file is at most 64 MiB, which holds some 400,000
//! services; nothing in it is replaced from the environment.

use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use super::document::Document;
use super::environment::Lookup;
use crate::event::hint;
use crate::rules::{Level, Problem, ServiceConfig};

/// Beyond it a file is refused.
pub(super) const FILE_BYTES_MAX: u64 = 64 << 20;
/// Values in a YAML file, keys among them; a service with five dependencies has about ten.
const NODES_MAX: usize = 20_000_000;

const COLUMNS: [&str; 11] = [
    "name",
    "match",
    "depends_on",
    "impact",
    "users",
    "owner",
    "suppliers",
    "runbook",
    "escalation",
    "calendar",
    "agreement",
];
const IMPACTS: [(&str, Level); 3] = [("high", Level::High), ("medium", Level::Medium), ("low", Level::Low)];

/// What a file lists.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedServices {
    /// The file's name, for messages.
    name: String,
    pub(super) services: Vec<ServiceConfig>,
    /// Where each of them stands.
    pub(super) lines: Vec<u32>,
}

impl ListedServices {
    /// Reads a file's content; its name says what it is.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("{name}:{line}: this is not UTF-8")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default().to_ascii_lowercase();
        let read = match kind.as_str() {
            "csv" => table(text),
            "yaml" | "yml" | "json" => list(text),
            _ => return Err(format!("{name}: a file of services is called .yaml, .yml, .json or .csv")),
        };
        let read = read.map_err(|Fault { line, message }| format!("{name}:{line}: {message}"))?;
        let (lines, services) = read.into_iter().unzip();
        Ok(Self { name, services, lines })
    }

    /// Gives a problem of a listed service the place of that service.
    pub(super) fn place(&self, problem: Problem) -> Problem {
        let listed = problem.path.strip_prefix("services_file[").and_then(|path| path.split_once(']'));
        let Some((service, rest)) = listed else { return problem };
        let line = service.parse().ok().and_then(|service: usize| self.lines.get(service)).copied().unwrap_or(1);
        let key = rest.trim_start_matches('.');
        let colon = if key.is_empty() { "" } else { ": " };
        let message = format!("{}:{line}: {key}{colon}{}", self.name, problem.message);
        Problem { path: "services_file".to_owned(), message, ..problem }
    }
}

/// The `services_file` that a configuration names, whatever else is wrong with it.
pub fn named_services_file(text: &str) -> Option<PathBuf> {
    named_in(text, &super::from_process)
}

fn named_in(text: &str, environment: Lookup<'_>) -> Option<PathBuf> {
    let document = Document::parse(text.strip_prefix('\u{feff}').unwrap_or(text), environment).ok()?;
    let (_, id) = document.find("services_file").pop()?;
    document.text(id).filter(|_| !document.is_null(id)).map(PathBuf::from)
}

/// Why a file cannot be read as services.
struct Fault {
    line: u64,
    message: String,
}

type Services = Vec<(u32, ServiceConfig)>;

fn list(text: &str) -> Result<Services, Fault> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES_MAX, max_events: NODES_MAX, max_anchors: 0, max_aliases: 0 },
    };
    let read: Vec<Spanned<ServiceConfig>> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let error = error.without_snippet();
        let line = error.location().map_or(1, |at| at.line()).max(1);
        Fault { line, message: in_our_words(&error.to_string()) }
    })?;
    Ok(read.into_iter().map(|service| (service.referenced.line() as u32, service.value)).collect())
}

/// Without the place, which is told otherwise, and with the name that was meant.
fn in_our_words(said: &str) -> String {
    let said = said.lines().next().unwrap_or_default();
    let unknown = said.split_once("unknown field `").and_then(|(_, rest)| rest.split_once('`'));
    match unknown {
        Some((key, _)) => format!("unknown field `{key}`{}", hint(key, COLUMNS).replace('"', "`")),
        None => said.rsplit_once(" at line ").map_or(said, |(what, _)| what).to_owned(),
    }
}

fn table(text: &str) -> Result<Services, Fault> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| csv_fault(&error))?.clone();
    let columns = columns(&header)?;
    let mut services = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| csv_fault(&error))? {
        let line = record.position().map_or(1, |at| line_of(text, at));
        let service = row(&columns, &record).map_err(|message| Fault { line, message })?;
        services.push((line as u32, service));
    }
    Ok(services)
}

/// Where a record begins; its position is in front of the empty lines before it.
fn line_of(text: &str, position: &csv::Position) -> u64 {
    let rest = text.as_bytes().get(position.byte() as usize..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|byte| **byte == b'\n');
    position.line() + empty.count() as u64
}

/// Which column holds what.
fn columns(header: &csv::StringRecord) -> Result<[Option<usize>; COLUMNS.len()], Fault> {
    let fault = |message: String| Fault { line: 1, message };
    let mut places = [None; COLUMNS.len()];
    for (place, name) in header.iter().enumerate() {
        let Some(known) = COLUMNS.iter().position(|known| *known == name) else {
            let hint = hint(name, COLUMNS);
            return Err(fault(format!("unknown column \"{name}\"{hint} (known are {})", COLUMNS.join(", "))));
        };
        if places[known].replace(place).is_some() {
            return Err(fault(format!("the column \"{name}\" is there twice")));
        }
    }
    if places[0].is_none() {
        return Err(fault(format!("the first line names the columns: {}; name must be there", COLUMNS.join(","))));
    }
    Ok(places)
}

fn row(columns: &[Option<usize>; COLUMNS.len()], record: &csv::StringRecord) -> Result<ServiceConfig, String> {
    let cells = columns.map(|column| column.and_then(|column| record.get(column)).filter(|cell| !cell.is_empty()));
    let [name, matchers, depends_on, impact, users, owner, suppliers, runbook, escalation, calendar, agreement] = cells;
    let items = |cell: Option<&str>| -> Vec<String> {
        let items = cell.unwrap_or_default().split(';').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    let text = |cell: Option<&str>| cell.map(str::to_owned);
    let number = |users: &str| users.parse().map_err(|_| format!("users is 0 to {}, not \"{users}\"", u32::MAX));
    Ok(ServiceConfig {
        name: name.unwrap_or_default().to_owned(),
        matchers: items(matchers),
        depends_on: items(depends_on),
        impact: impact.map(level).transpose()?,
        users: users.map(number).transpose()?,
        owner: text(owner),
        suppliers: items(suppliers),
        runbook: text(runbook),
        escalation: text(escalation),
        calendar: text(calendar),
        agreement: text(agreement),
    })
}

fn level(text: &str) -> Result<Level, String> {
    let known = IMPACTS.iter().find(|(name, _)| *name == text);
    let wrong = || {
        let names = IMPACTS.map(|(name, _)| name);
        format!("impact is one of {}, not \"{text}\"{}", names.join(", "), hint(text, names))
    };
    Ok(known.ok_or_else(wrong)?.1)
}

fn csv_fault(error: &csv::Error) -> Fault {
    let line = error.position().map_or(1, csv::Position::line);
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells where the first line names {expected_len} columns")
        }
        _ => error.to_string(),
    };
    Fault { line, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<ListedServices, String> {
        ListedServices::parse(Path::new(name), text.as_bytes())
    }

    #[test]
    fn a_table_says_the_same_as_a_list() {
        let csv = "name,depends_on,impact,match,users,owner,suppliers,runbook,escalation,calendar,agreement\n\
                   checkout, payments-db ; edge-lb,high,,20000,team-payments,acme; b2b,https://r/c,standard,office,gold\n\
                   payments-db,,,\"job=\"\"postgres\"\";env!=dev\",,,,,,,\n";
        let yaml = "# ours\n- { name: checkout, depends_on: [payments-db, edge-lb], impact: high, users: 20000, owner: team-payments, \
                    suppliers: [acme, b2b], runbook: 'https://r/c', escalation: standard, calendar: office, agreement: gold }\n\
                    - name: payments-db\n  match: ['job=\"postgres\"', 'env!=dev']\n";
        let json = r#"[{"name": "checkout", "depends_on": ["payments-db", "edge-lb"], "impact": "high", "users": 20000,
                        "owner": "team-payments", "suppliers": ["acme", "b2b"], "runbook": "https://r/c",
                        "escalation": "standard", "calendar": "office", "agreement": "gold"},
                       {"name": "payments-db", "match": ["job=\"postgres\"", "env!=dev"]}]"#;
        let table = parse("s.csv", csv).expect("a table");
        assert_eq!(table.lines, [2, 3]);
        for (name, text) in [("s.yaml", yaml), ("s.json", json), ("S.YML", yaml)] {
            let listed = parse(name, text).expect(name);
            assert_eq!(listed.services, table.services, "{name}");
        }
        assert_eq!(parse("s.yaml", yaml).expect("a list").lines, [2, 3]);
        assert_eq!(parse("s.csv", "name\n").expect("empty").services, []);
        assert_eq!(parse("s.yaml", "[]").expect("empty").services, []);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        for (name, text, told) in [
            ("s.txt", "", "s.txt: a file of services is called .yaml, .yml, .json or .csv"),
            (
                "s.csv",
                "",
                "s.csv:1: the first line names the columns: name,match,depends_on,impact,users,owner,suppliers,runbook,escalation,calendar,agreement; name must be there",
            ),
            ("s.csv", "name,users\na,many\n", "s.csv:2: users is 0 to 4294967295, not \"many\""),
            (
                "s.csv",
                "name,depends\n",
                "s.csv:1: unknown column \"depends\", did you mean \"depends_on\"? (known are name, match, depends_on, impact, users, owner, suppliers, runbook, escalation, calendar, agreement)",
            ),
            ("s.csv", "name,name\n", "s.csv:1: the column \"name\" is there twice"),
            ("s.csv", "name,impact\na,high\nb\n", "s.csv:3: 1 cells where the first line names 2 columns"),
            (
                "s.csv",
                "name,impact\n\na,hihg\n",
                "s.csv:3: impact is one of high, medium, low, not \"hihg\", did you mean \"high\"?",
            ),
            ("s.yaml", "- name: a\n- nam: b\n", "s.yaml:2: unknown field `nam`, did you mean `name`?"),
            ("s.yaml", "- name: a\n- { name: b, ownr: c }\n", "s.yaml:2: unknown field `ownr`, did you mean `owner`?"),
            ("s.yaml", "- name: a\n  depends_on: b\n", "s.yaml:2: "),
            ("s.yaml", "- match: [a=b]\n", "s.yaml:1: missing field `name`"),
            ("s.yaml", "- &a b\n- *a", "s.yaml:1: "),
            ("s.yaml", "services: []\n", "s.yaml:1: "),
            ("s.yaml", "[", "s.yaml:1: "),
        ] {
            let said = parse(name, text).expect_err(text);
            assert!(said.starts_with(told) && (said == told || told.ends_with(' ')), "{text:?}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
        let said = ListedServices::parse(Path::new("s.csv"), b"name\na\xff\n").expect_err("no UTF-8");
        assert_eq!(said, "s.csv:2: this is not UTF-8");
    }

    #[test]
    fn a_problem_of_a_listed_service_gets_its_line() {
        let listed = parse("s.csv", "name\na\n\nb\n").expect("a table");
        let placed = listed.place(Problem::error("services_file[1].depends_on[0]", "unknown service \"c\""));
        assert_eq!(placed, Problem::error("services_file", "s.csv:4: depends_on[0]: unknown service \"c\""));
        let other = Problem::error("services[1].name", "x");
        assert_eq!(listed.place(other.clone()), other);
    }

    #[test]
    fn the_file_is_found_whatever_else_is_wrong() {
        let environment: Lookup<'_> = &|name| (name == "DIR").then(|| "/etc".to_owned());
        assert_eq!(named_in("zebra: 1\nservices_file: ${DIR}/s.csv", environment), Some("/etc/s.csv".into()));
        assert_eq!(named_in("services_file:", environment), None);
        assert_eq!(named_in("rules: [", environment), None);
    }
}
