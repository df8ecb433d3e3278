//! `incidentd problems list|show|close`: incidents that keep recurring, and how that ended.

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::terminal::{Paint, Tone, ago, escaped, say, table_text, thousands};
use super::{Failure, ServerArgs};
use crate::clock::Clock;
use crate::event::Timestamp;

const EXAMPLES: &str = "\
Examples:
  incidentd problems list --status open
  incidentd problems show PRB-3C4G7ZQ0M1X2A
  incidentd problems close PRB-3C4G7ZQ0M1X2A --resolution \"the pool was too small\"";

/// See what keeps recurring.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ProblemsArgs {
    #[command(subcommand)]
    command: ProblemsCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum ProblemsCommand {
    /// List problems, the one that was raised last first.
    List(ListArgs),
    /// Show one problem with its incidents.
    Show(ShowArgs),
    /// Close one.
    Close(CloseArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Open,
    Closed,
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Only this status.
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The problem.
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct CloseArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The problem.
    #[arg(value_name = "ID")]
    id: String,
    /// How it ended.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    resolution: String,
    /// By whom.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    by: String,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Listing {
    problems: Vec<Shown>,
}

/// Of a problem, what is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Shown {
    id: String,
    status: String,
    title: String,
    rule: String,
    reason: String,
    recurrences: u64,
    incidents: Vec<String>,
    opened_at: Timestamp,
    updated_at: Timestamp,
    closes_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    closed_by: Option<String>,
    resolution: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or has no such problem.
pub async fn problems(args: ProblemsArgs) -> Result<(), Failure> {
    match args.command {
        ProblemsCommand::List(args) => list(args).await,
        ProblemsCommand::Show(args) => show(args).await,
        ProblemsCommand::Close(args) => close(args).await,
    }
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let status = args.status.map(|status| match status {
        Status::Open => "open",
        Status::Closed => "closed",
    });
    let query: Vec<(&str, String)> = status.map(|status| ("status", status.to_owned())).into_iter().collect();
    let body = client.get(&["api", "v1", "problems"], &query).await?.unwrap_or_default();
    let Listing { problems } = serde_json::from_str(&body).map_err(|error| client.unclear(&error))?;
    say(&if args.json { body.trim_end().to_owned() } else { table(&problems, Clock::system().now(), Paint::stdout()) });
    Ok(())
}

async fn show(args: ShowArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let body = client.get(&["api", "v1", "problems", &args.id], &[]).await?.ok_or_else(|| unknown(&args.id))?;
    tell(&client, &body, args.json)
}

async fn close(args: CloseArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let order = json!({ "resolution": args.resolution, "by": args.by });
    let body = client.send(&["api", "v1", "problems", &args.id, "close"], &order).await?;
    tell(&client, &body.ok_or_else(|| unknown(&args.id))?, args.json)
}

fn tell(client: &Client, body: &str, json: bool) -> Result<(), Failure> {
    let problem: Shown = serde_json::from_str(body).map_err(|error| client.unclear(&error))?;
    say(&if json { body.trim_end().to_owned() } else { problem.sheet(Paint::stdout()) });
    Ok(())
}

fn table(problems: &[Shown], now: Timestamp, paint: Paint) -> String {
    if problems.is_empty() {
        return "no problems".to_owned();
    }
    let row = |problem: &Shown| {
        vec![
            escaped(&problem.id).into_owned(),
            escaped(&problem.status).into_owned(),
            thousands(problem.recurrences),
            ago(now.since(problem.updated_at)),
            escaped(&problem.rule).into_owned(),
            escaped(&problem.title).into_owned(),
        ]
    };
    let header = ["ID", "STATUS", "INCIDENTS", "LAST", "RULE", "TITLE"];
    let table = table_text(&header, problems.iter().map(row).collect(), &[2]);
    let (header, rows) = table.split_once('\n').unwrap_or((&table, ""));
    format!("{}\n{rows}", paint.tone(Tone::Dim, header))
}

impl Shown {
    fn sheet(&self, paint: Paint) -> String {
        let head = format!("{}  {}", paint.tone(Tone::Cyan, &escaped(&self.id)), escaped(&self.status));
        let facts = [
            ("title", Some(self.title.clone())),
            ("rule", Some(self.rule.clone())),
            ("raised", Some(format!("{}, {}", self.opened_at, self.reason))),
            ("incidents", Some(thousands(self.recurrences))),
            ("", Some(self.incidents.join(" ")).filter(|incidents| !incidents.is_empty())),
            ("closes", self.closes_at.map(|at| format!("{at}, unless it recurs"))),
            ("closed", self.closed_at.map(|at| format!("{at} by {}", self.closed_by.as_deref().unwrap_or("itself")))),
            ("how", self.resolution.clone()),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let lines = facts.map(|(name, value)| format!("  {name:<10} {}", escaped(&value)).trim_end().to_owned());
        std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

fn unknown(id: &str) -> Failure {
    Failure::failed(format!("no problem {}", escaped(id))).remedy("see `incidentd problems list`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_incidents_and_how_it_ended() {
        let problem: Shown = serde_json::from_value(json!({
            "id": "PRB-0000000000007", "status": "closed", "title": "disk\u{1b}[31m", "rule": "by-host",
            "reason": "3 incidents within 7d", "recurrences": 1234, "incidents": ["INC-1", "INC-2"],
            "opened_at": "2026-11-22T03:00:00Z", "updated_at": "2026-11-22T05:00:00Z", "closes_at": null,
            "closed_at": "2026-11-22T05:00:00Z", "closed_by": "operator:ann", "resolution": "a bigger disk",
        }))
        .unwrap();
        let sheet = problem.sheet(Paint::plain());
        assert!(sheet.contains("disk\\u{1b}[31m") && sheet.contains("INC-1 INC-2"), "{sheet}");
        assert!(sheet.ends_with("by operator:ann\n  how        a bigger disk"), "{sheet}");
        let later = Timestamp::parse_rfc3339(b"2026-11-22T06:00:00Z").unwrap();
        let table_of_one = table(&[problem], later, Paint::plain());
        assert!(
            ["closed", "1,234", "1h ago", "by-host"].iter().all(|cell| table_of_one.contains(cell)),
            "{table_of_one}"
        );
        assert_eq!(table(&[], later, Paint::plain()), "no problems");
    }
}
