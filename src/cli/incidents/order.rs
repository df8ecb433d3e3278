//! One way to send an order about an incident, and to tell what came of it in words for somebody at three in the morning:
//! what fires, what is possible now, that somebody else was faster and how the incident looks since.

use serde::Deserialize;
use serde_json::Value;

use super::sheet::Sheet;
use crate::cli::client::{Client, Reply};
use crate::cli::terminal::{escaped, say};
use crate::cli::{Failure, ServerArgs};

/// Alerts that are named when they keep an incident from being resolved; the rest is counted.
const FIRING_SHOWN: usize = 10;
/// Who orders something where the environment names nobody.
const NOBODY: &str = "cli";

#[derive(Clone, Debug, clap::Args)]
pub struct OrderArgs {
    /// The incident, such as INC-0A1B2C3D4E5F6.
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Only if the incident ID is still at this version.
    #[arg(long, value_name = "N", help_heading = "Order")]
    version: Option<u64>,
    /// Who orders it, for the timeline [default: your login name, else cli].
    #[arg(long, value_name = "NAME", help_heading = "Order")]
    by: Option<String>,
    /// Print JSON as the API gives it.
    #[arg(long, help_heading = "Order")]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    status: String,
    version: u64,
}

/// A refusal, as far as it is understood.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    detail: String,
    current: u64,
    legal: Vec<String>,
    firing: Vec<Firing>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Firing {
    severity: String,
    summary: String,
    labels: std::collections::BTreeMap<String, String>,
}

/// Orders `what` (the last part of the route) with a body; `told` says in words what was done.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or there is no such incident.
pub async fn order(args: &OrderArgs, what: &str, mut body: Value, told: &str) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    if let Some(version) = args.version {
        body["version"] = version.into();
    }
    body["by"] = who(args.by.as_deref(), |name| std::env::var(name).ok()).into();
    let answer = match client.order(&["api", "v1", "incidents", &args.id, what], &body).await? {
        Reply::Done(answer) => answer,
        Reply::Missing(problem) => return Err(missing(&args.id, &problem)),
        Reply::Refused(problem) => return Err(refused(&client, args, &problem).await),
    };
    if args.json {
        say(answer.trim_end());
        return Ok(());
    }
    let Answer { id, status, version } = serde_json::from_str(&answer).map_err(|error| client.unclear(&error))?;
    say(&format!("{}: {}; {}, version {version}", escaped(&id), escaped(told), escaped(&status)));
    Ok(())
}

/// Whoever is named, else who is logged in.
fn who(by: Option<&str>, env: impl Fn(&str) -> Option<String>) -> String {
    let logged_in = || ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| env(name).filter(|who| filled(who)));
    by.filter(|by| filled(by)).map(str::to_owned).or_else(logged_in).unwrap_or_else(|| NOBODY.to_owned())
}

fn filled(text: &str) -> bool {
    !text.trim().is_empty()
}

fn missing(id: &str, problem: &Value) -> Failure {
    // A merge names two, either of which may be missing.
    let said = problem["detail"].as_str().map_or_else(|| format!("no incident {id}"), str::to_owned);
    Failure::failed(said).remedy("see `incidentd incidents list --all` for those that there are")
}

async fn refused(client: &Client, args: &OrderArgs, problem: &Value) -> Failure {
    let refusal = Refusal::deserialize(problem).unwrap_or_default();
    let conflict = ["version_conflict", "illegal_transition"].contains(&refusal.code.as_str());
    let now = if conflict && refusal.firing.is_empty() { look(client, &args.id).await } else { Vec::new() };
    refusal.words(&args.id, args.version, now)
}

/// How the incident looks now, in a few lines; nothing where it cannot be looked at.
async fn look(client: &Client, id: &str) -> Vec<String> {
    let body = client.get(&["api", "v1", "incidents", id], &[]).await.ok().flatten().unwrap_or_default();
    serde_json::from_str::<Sheet>(&body).map_or_else(|_| Vec::new(), |sheet| sheet.at_a_glance())
}

impl Refusal {
    fn words(self, id: &str, meant: Option<u64>, now: Vec<String>) -> Failure {
        let Self { code, detail, current, legal, firing } = self;
        match code.as_str() {
            "version_conflict" => {
                let meant = meant.map(|meant| format!(", and {meant} was meant")).unwrap_or_default();
                Failure::failed(format!("somebody else was faster: {id} is at version {current} by now{meant}"))
                    .details(now)
                    .remedy(format!("nothing was done; where it is still right, order it with --version {current}"))
            }
            "illegal_transition" if !firing.is_empty() => {
                let alerts = if firing.len() == 1 { "1 alert fires" } else { "alerts fire" };
                let count = if firing.len() == 1 { String::new() } else { format!("{} ", firing.len()) };
                Failure::failed(format!("{id} is not resolved, because {count}{alerts} still"))
                    .details(fires(&firing))
                    .remedy("wait until all is clear, or insist with --force")
            }
            "illegal_transition" => {
                // The remedy names them, as commands.
                let cause = detail.split_once("; legal are ").map_or(detail.as_str(), |(cause, _)| cause);
                Failure::failed(about(id, cause)).details(now).remedy(possible(&legal, id))
            }
            _ => Failure::failed(about(id, &detail)),
        }
    }
}

/// What is said of an incident, which is named once.
fn about(id: &str, said: &str) -> String {
    if said.starts_with(id) { said.to_owned() } else { format!("{id}: {said}") }
}

fn fires(firing: &[Firing]) -> Vec<String> {
    let line = |alert: &Firing| {
        let labels: Vec<String> = alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let parts = [alert.severity.clone(), alert.summary.clone(), labels.join(" ")];
        let parts: Vec<String> = parts.into_iter().filter(|part| filled(part)).collect();
        format!("  {}", parts.join("  "))
    };
    let mut lines: Vec<String> = firing.iter().take(FIRING_SHOWN).map(line).collect();
    if firing.len() > FIRING_SHOWN {
        lines.push(format!("  and {} more", firing.len() - FIRING_SHOWN));
    }
    lines
}

/// What may be ordered instead, by the names of the commands.
fn possible(legal: &[String], id: &str) -> String {
    if legal.is_empty() {
        return format!("it can still be read: incidentd incidents show {id}, or export {id}");
    }
    let command = |name: &String| if name == "acknowledge" { "ack".to_owned() } else { name.clone() };
    format!("possible now: {}", legal.iter().map(command).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(problem: Value) -> Failure {
        let now = vec!["  P1  acknowledged  checkout degraded".to_owned()];
        Refusal::deserialize(&problem).unwrap().words("INC-1", Some(3), now)
    }

    #[test]
    fn who_was_faster_is_told_with_what_it_looks_like_now() {
        let failure = words(json!({"code": "version_conflict", "detail": "…", "current": 5, "status": 409}));
        assert_eq!(failure.cause, "somebody else was faster: INC-1 is at version 5 by now, and 3 was meant");
        assert_eq!(failure.details, ["  P1  acknowledged  checkout degraded"]);
        assert!(failure.remedy.unwrap().ends_with("--version 5"));
    }

    #[test]
    fn what_fires_is_named_up_to_a_number() {
        let alert = json!({"severity": "critical", "summary": "slow", "labels": {"pod": "a", "env": "prod"}});
        let refused = |firing: usize| {
            words(json!({"code": "illegal_transition", "legal": ["resolve"], "firing": vec![alert.clone(); firing]}))
        };
        let one = refused(1);
        assert_eq!(one.cause, "INC-1 is not resolved, because 1 alert fires still");
        assert_eq!(one.details, ["  critical  slow  env=prod pod=a"]);
        assert!(one.remedy.unwrap().contains("--force"));
        let many = refused(12);
        assert_eq!(many.cause, "INC-1 is not resolved, because 12 alerts fire still");
        assert_eq!((many.details.len(), many.details[10].as_str()), (11, "  and 2 more"));
    }

    #[test]
    fn what_is_possible_instead_is_told_by_the_names_of_the_commands() {
        let failure = words(
            json!({"code": "illegal_transition", "detail": "no; legal are acknowledge, hold", "legal": ["acknowledge", "hold"]}),
        );
        assert_eq!(
            (failure.cause.as_str(), failure.remedy.unwrap().as_str()),
            ("INC-1: no", "possible now: ack, hold")
        );
        let failure = words(json!({"code": "illegal_transition", "detail": "INC-1 is closed for good", "legal": []}));
        assert_eq!(failure.cause, "INC-1 is closed for good");
        assert!(failure.remedy.unwrap().contains("export INC-1"));
        let failure = words(json!({"code": "limit_reached", "detail": "100 links"}));
        assert_eq!((failure.cause.as_str(), failure.remedy), ("INC-1: 100 links", None));
    }

    #[test]
    fn who_orders_is_who_is_named_or_logged_in() {
        let env = |name: &str| (name == "LOGNAME").then(|| "ann".to_owned());
        assert_eq!(who(Some("bob"), env), "bob");
        assert_eq!(who(None, env), "ann");
        assert_eq!(who(Some(" "), |_| Some(String::new())), "cli");
    }
}
