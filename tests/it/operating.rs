//! Operating incidents through the real daemon: the journeys of docs/incidents.md word by word, two operators at once, and
//! refusals in words.

use std::process::Output;
use std::sync::LazyLock;

use futures_util::future::join_all;
use regex::Regex;
use serde_json::{Value, json};

use crate::harness::daemon::{binary, incidentd, text};
use crate::harness::events::event_json;
use crate::harness::{Daemon, PATIENCE, root};

const RULES: &str =
    "rules: [{ name: by-service, group_by: [service], incident: { title: '{{ labels.service }} fails' } }]\n";
/// The incidents of the page, by what they are about.
const ON_THE_PAGE: [(&str, &str); 2] = [("checkout", "INC-2E3NJVX7MGWY8"), ("cart", "INC-0C9T4WJ6XQ2KF")];

/// A command of a journey, and the lines that it is said to print.
#[derive(Debug)]
struct Step {
    command: String,
    printed: Vec<String>,
}

/// The steps of the first block after a heading.
fn steps(heading: &str) -> Vec<Step> {
    let page = std::fs::read_to_string(root().join("docs/incidents.md")).expect("the page");
    let lines = page.lines().skip_while(|line| *line != heading).skip_while(|line| *line != "```console").skip(1);
    let mut steps: Vec<Step> = Vec::new();
    for line in lines.take_while(|line| *line != "```") {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), printed: Vec::new() }),
            (None, Some(step)) => step.printed.push(line.to_owned()),
            (None, None) => panic!("{heading}: a line before the first command: {line}"),
        }
    }
    assert!(steps.len() > 10, "{heading}: {} steps", steps.len());
    steps
}

/// What differs from one run to the next is taken for the same.
fn settled(line: &str) -> String {
    static VARYING: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let regex = |text| Regex::new(text).expect("a regex");
        [
            (regex(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "TIME"),
            (regex(r"\b\d+[smhd] ago"), "AGO"),
            (regex(r#"(version"?:? ?)\d+"#), "${1}N"),
            (regex(r"\s+"), " "),
        ]
    });
    VARYING
        .iter()
        .fold(line.to_owned(), |line, (regex, by)| regex.replace_all(&line, *by).into_owned())
        .trim()
        .to_owned()
}

/// Whether a line is what the page says, where `…` stands for anything.
fn is_as_said(said: &str, line: &str) -> bool {
    let mut pieces = said.split('…');
    let mut rest = line.strip_prefix(pieces.next().unwrap_or_default());
    for piece in pieces {
        rest = rest.and_then(|rest| rest.find(piece).map(|at| &rest[at + piece.len()..]));
    }
    rest.is_some_and(|rest| rest.is_empty() || said.ends_with('…'))
}

impl Step {
    /// What is wrong with how it went.
    fn judge(&self, output: &Output) -> Result<(), String> {
        let all = text(&output.stdout) + &text(&output.stderr);
        let lines: Vec<String> = all.lines().map(settled).collect();
        let expected = i32::from(self.printed.iter().any(|line| line.starts_with("incidentd: ")));
        let printed: Vec<String> = self.printed.iter().map(|line| settled(line)).collect();
        let missing = printed.iter().find(|said| !lines.iter().any(|line| is_as_said(said, line)));
        match (output.status.code() == Some(expected), missing) {
            (true, None) => Ok(()),
            (false, _) => Err(format!("{}\nends with {} and prints\n{all}", self.command, output.status)),
            (true, Some(said)) => Err(format!("{}\ndoes not print\n{said}\nbut\n{all}", self.command)),
        }
    }
}

async fn run(command: &str, daemon: &Daemon) -> Output {
    let bin = std::path::Path::new(binary()).parent().expect("a folder").display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", command]).current_dir(daemon.folder());
    shell.env("PATH", path).env("INCIDENTD_URL", daemon.url("")).env("USER", "ann").env_remove("INCIDENTD_TOKEN");
    tokio::time::timeout(PATIENCE, shell.output()).await.expect("the command ends").expect("sh runs")
}

/// Opens one incident of a service, and gives its id.
async fn breaks(daemon: &Daemon, service: &str) -> String {
    let answer = daemon.push_json(&[event_json(service, service, "web-1")]).await;
    answer["results"][0]["incident"].as_str().expect("an incident").to_owned()
}

/// Goes through the journey under a heading; what the page says must come true, step by step.
async fn goes_as_the_page_says(heading: &str) {
    let daemon = Daemon::start(RULES).await;
    let mut ids = Vec::new();
    for (service, on_the_page) in ON_THE_PAGE {
        ids.push((on_the_page, breaks(&daemon, service).await));
    }
    let here = |text: &str| {
        let text = text.replace("127.0.0.1:9095", &daemon.address);
        ids.iter().fold(text, |text, (on_the_page, id)| text.replace(on_the_page, id))
    };
    let mut wrong = Vec::new();
    for step in steps(heading) {
        let printed = step.printed.iter().map(|line| here(line)).collect();
        let step = Step { command: here(&step.command), printed };
        let output = run(&step.command, &daemon).await;
        println!("$ {}\n{}{}", step.command, text(&output.stdout), text(&output.stderr));
        wrong.extend(step.judge(&output).err());
    }
    assert!(wrong.is_empty(), "{heading}\n\n{}", wrong.join("\n\n"));
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journey_by_command_line_goes_as_the_page_says() {
    goes_as_the_page_says("### A night by command line").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journey_by_curl_goes_as_the_page_says() {
    goes_as_the_page_says("### The same with curl").await;
}

#[test]
fn both_journeys_have_every_station() {
    for (heading, stations) in [
        ("### A night by command line", "list|show|ack|assign|note|link|escalate|resolve|reopen|merge|close|export"),
        (
            "### The same with curl",
            "incidents?|acknowledge|assign|notes|links|escalate|resolve|reopen|merge|close|export",
        ),
    ] {
        let steps = steps(heading);
        for station in stations.split('|') {
            assert!(steps.iter().any(|step| step.command.contains(station)), "{heading} does not {station}");
        }
    }
}

#[test]
fn a_line_of_the_page_stands_for_what_is_like_it() {
    assert!(is_as_said("INC-1: taken; acknowledged, version N", "INC-1: taken; acknowledged, version N"));
    assert!(is_as_said("{\"id\":1,…\"assignee\":\"net\",…", "{\"id\":1,\"a\":2,\"assignee\":\"net\",\"b\":3}"));
    assert!(!is_as_said("a…c", "abcd") && !is_as_said("a", "ab") && !is_as_said("…b", "ac"));
    assert_eq!(settled("{\"version\":12}  2026-11-22T03:00:00.5Z  7m ago"), "{\"version\":N} TIME AGO");
}

async fn order(daemon: &Daemon, id: &str, what: &str, body: Value) -> (u16, Value) {
    let (status, body) =
        daemon.post(&format!("/api/v1/incidents/{id}/{what}"), "application/json", body.to_string()).await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

const OPERATORS: usize = 4;
const ROUNDS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_operators_with_the_same_version_exactly_one_wins() {
    let daemon = Daemon::start(RULES).await;
    let id = breaks(&daemon, "checkout").await;
    let mut version = daemon.incident(&id).await["version"].as_u64().expect("a version");
    for round in 0..ROUNDS {
        let orders = (0..OPERATORS).map(|operator| {
            let terms = json!({"version": version, "by": format!("operator-{operator}")});
            let (what, said) = if round % 2 == 0 { ("notes", "text") } else { ("escalate", "reason") };
            let mut body = terms;
            body[said] = json!(format!("round {round}"));
            order(&daemon, &id, what, body)
        });
        let answers = join_all(orders).await;
        let won: Vec<&Value> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, body)| body).collect();
        assert_eq!(won.len(), 1, "round {round}: {answers:?}");
        let next = won[0]["version"].as_u64().expect("a version");
        assert!(next > version, "round {round}: {} after {version}", won[0]);
        for (status, problem) in answers.iter().filter(|(status, _)| *status != 200) {
            assert_eq!((*status, &problem["code"]), (409, &json!("version_conflict")), "round {round}: {problem}");
            assert_eq!(problem["current"], json!(next), "round {round}");
        }
        version = next;
    }
    let incident = daemon.incident(&id).await;
    let mine = |entry: &&Value| entry["by"].as_str().is_some_and(|by| by.starts_with("operator:operator-"));
    let entries = incident["timeline"].as_array().expect("a timeline").iter().filter(mine).count();
    assert_eq!((entries, &incident["version"]), (ROUNDS, &json!(version)), "who lost has left no trace");
    daemon.is_sound().await;
}

async fn incidents(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, String) {
    let url = daemon.url("");
    let output = incidentd(&[&["incidents"], arguments, &["--url", &url, "--by", "ann"]].concat()).await;
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_says_who_was_faster_and_what_is_possible() {
    let mut daemon = Daemon::start(RULES).await;
    let id = breaks(&daemon, "checkout").await;
    let version = daemon.incident(&id).await["version"].to_string();
    let (code, said) = incidents(&daemon, &["ack", &id, "--version", &version]).await;
    assert!(code == Some(0) && said.starts_with(&format!("{id}: taken; acknowledged, version ")), "{said}");

    let (code, said) = incidents(&daemon, &["note", &id, "me too", "--version", &version]).await;
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with(&format!("incidentd: somebody else was faster: {id} is at version ")), "{said}");
    assert!(lines[1].contains("acknowledged  checkout fails"), "how it looks now: {said}");
    assert!(lines[2].contains("acknowledged by operator:ann"), "who did it: {said}");
    assert!(lines[3].contains("nothing was done"), "{said}");

    let (code, said) = incidents(&daemon, &["ack", &id]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("an incident that is acknowledged cannot be acknowledged"), "{said}");
    let possible = said.lines().find_map(|line| line.trim().strip_prefix("possible now: ")).expect("what is possible");
    let mut possible: Vec<&str> = possible.split(", ").collect();
    possible.sort_unstable();
    assert_eq!(possible, ["escalate", "hold", "merge", "resolve", "start"], "{said}");

    let (code, said) = incidents(&daemon, &["ack", "INC-0000000000000"]).await;
    assert!(code == Some(1) && said.starts_with("incidentd: no incident INC-0000000000000"), "{said}");

    // What was ordered survives, with who ordered it.
    daemon.kill9().await;
    daemon.restart().await;
    let incident = daemon.incident(&id).await;
    let last = incident["timeline"].as_array().and_then(|entries| entries.last().cloned()).expect("an entry");
    assert_eq!((&incident["status"], &last["by"]), (&json!("acknowledged"), &json!("operator:ann")));
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_has_the_whole_timeline_and_does_not_write_over_a_file() {
    let daemon = Daemon::start(RULES).await;
    let id = breaks(&daemon, "checkout").await;
    for batch in 0..11 {
        let notes = (0..100).map(|note| order(&daemon, &id, "notes", json!({"text": format!("note {batch}.{note}")})));
        assert!(join_all(notes).await.iter().all(|(status, _)| *status == 200));
    }
    let exported = daemon.json(&format!("/api/v1/incidents/{id}/export?format=json")).await;
    let entries = exported["timeline"].as_array().expect("a timeline");
    assert!(entries.len() > 1_100, "{}", entries.len());
    assert_eq!((&entries[0]["what"], &exported["timeline_complete"]), (&json!("opened"), &json!(true)));
    let shown = daemon.incident(&id).await;
    assert_eq!(shown["timeline"].as_array().map(Vec::len), Some(1_000), "more than are shown");

    let file = daemon.folder().join("post-mortem.md").display().to_string();
    let (code, said) = incidents_export(&daemon, &id, &["--output", &file]).await;
    assert_eq!(code, Some(0), "{said}");
    let draft = std::fs::read_to_string(&file).expect("a file");
    assert!(draft.starts_with(&format!("# {id}: checkout fails\n")) && draft.contains(": note 10.99\n"), "{draft}");
    let (code, said) = incidents_export(&daemon, &id, &["--output", &file]).await;
    assert!(code == Some(1) && said.contains("is there already"), "{said}");
    let (_, printed) = incidents_export(&daemon, &id, &["--format", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&printed).expect("JSON")["id"], json!(id));
}

async fn incidents_export(daemon: &Daemon, id: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = incidentd(&[&["incidents", "export", id, "--url", &daemon.url("")], arguments].concat()).await;
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}
