//! `incidentd incidents list|show|ack|…|export`: reads and operates incidents of a running daemon over its HTTP API.
//!
//! Tables and sheets for people, the API's JSON for programs. Whatever a table does not know of an answer it leaves
//! out, so that a newer daemon can be read as well.

mod desk;
mod export;
mod follow;
mod merge;
mod order;
mod orders;
mod sheet;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::client::Client;
use super::terminal::{Paint, Tone, ago, escaped, say, table_text};
use super::{Failure, ServerArgs};
use crate::clock::Clock;
use crate::event::Timestamp;

/// The API gives no more at once.
const PAGE_MAX: usize = 1_000;

const EXAMPLES: &str = "\
Examples:
  incidentd incidents list --status open
  incidentd incidents list --follow
  incidentd incidents list --priority P1 --all --json | jq '.incidents[].title'
  incidentd incidents show INC-0A1B2C3D4E5F6
  incidentd incidents ack INC-0A1B2C3D4E5F6
  incidentd incidents assign INC-0A1B2C3D4E5F6 team-payments
  incidentd incidents note INC-0A1B2C3D4E5F6 'the connection pool is exhausted'
  incidentd incidents link INC-0A1B2C3D4E5F6 change CHG-42
  incidentd incidents resolve INC-0A1B2C3D4E5F6 --resolution 'rolled back 4.2'
  incidentd incidents export INC-0A1B2C3D4E5F6 --output post-mortem.md
  incidentd incidents merge INC-0A1B2C3D4E5F6 --into INC-1A1B2C3D4E5F6
  incidentd incidents split INC-1A1B2C3D4E5F6 --part INC-0A1B2C3D4E5F6";

/// Read and operate incidents of a running daemon.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct IncidentsArgs {
    #[command(subcommand)]
    command: IncidentsCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum IncidentsCommand {
    /// List incidents, newest first.
    List(ListArgs),
    /// Show one incident with its alerts, links, timeline and reasons.
    Show(ShowArgs),
    #[command(flatten)]
    Order(orders::OrderCommand),
    /// Merge an incident into another one, which goes on with its alerts.
    Merge(merge::MergeArgs),
    /// Take out of an incident what was merged into it, and keep it apart.
    Split(merge::SplitArgs),
    /// Print one incident with its whole timeline: a post-mortem's first draft.
    Export(export::ExportArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Only this status.
    #[arg(long, value_parser = ["open", "acknowledged", "in_progress", "on_hold", "resolved", "closed"])]
    status: Option<String>,
    /// Only this priority.
    #[arg(long, value_parser = ["P1", "P2", "P3", "P4", "P5"])]
    priority: Option<String>,
    /// Only incidents of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only incidents of this rule.
    #[arg(long)]
    rule: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "all", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All of them.
    #[arg(long)]
    all: bool,
    /// Go on with a line for each incident that changes, until interrupted; with --json, one document a line.
    #[arg(long)]
    follow: bool,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The incident, such as INC-0A1B2C3D4E5F6.
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

/// A page of a listing, as the API gives it.
#[derive(Deserialize, Serialize)]
struct Page {
    incidents: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// Of an incident, what is shown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Incident {
    /// `INC-` and a short code.
    pub id: String,
    /// Rises with every change.
    pub version: u64,
    /// Where it stands.
    pub status: String,
    /// One line for people.
    pub title: String,
    /// The rule that gathers it.
    pub rule: String,
    /// The labels of its group.
    pub key: BTreeMap<String, String>,
    /// The gravest severity of its alerts.
    pub severity: String,
    /// `P1` to `P5`.
    pub priority: String,
    /// How the priority came about.
    pub priority_reason: String,
    /// The service.
    pub service: Option<String>,
    /// Who works on it.
    pub assignee: Option<String>,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When somebody took it.
    pub acknowledged_at: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// Its alerts, counted; in the single view under `alert_counts`.
    #[serde(rename = "alert_counts")]
    pub counts: Counts,
    /// How many events it stands for.
    pub events: u64,
    /// Agreed deadlines.
    pub targets: desk::Targets,
    /// While it is a major incident.
    pub major: Option<desk::Major>,
    /// Why it opened, came back, was resolved.
    pub reasons: Vec<String>,
}

/// How many alerts.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Counts {
    /// Still firing.
    pub firing: u64,
    /// Ever linked.
    pub total: u64,
}

/// In a list the counts are under `alerts`.
#[derive(Deserialize)]
struct Listed {
    #[serde(flatten)]
    incident: Incident,
    #[serde(default)]
    alerts: Counts,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or there is no such incident.
pub async fn incidents(args: IncidentsArgs) -> Result<(), Failure> {
    match args.command {
        IncidentsCommand::List(args) => list(args).await,
        IncidentsCommand::Show(args) => show(args).await,
        IncidentsCommand::Order(order) => order.run().await,
        IncidentsCommand::Merge(args) => merge::merge(args).await,
        IncidentsCommand::Split(args) => merge::split(args).await,
        IncidentsCommand::Export(args) => export::export(args).await,
    }
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let limit = if args.all { usize::MAX } else { usize::try_from(args.limit).unwrap_or(usize::MAX) };
    let filters =
        [("status", &args.status), ("priority", &args.priority), ("service", &args.service), ("rule", &args.rule)];
    let filters: Vec<_> = filters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    if args.follow {
        return follow::Following { client: &client, filters, limit, json: args.json }.run().await;
    }
    let page = pages(&client, filters, limit).await?;
    if args.json {
        say(&serde_json::to_string(&page).map_err(|error| client.unclear(&error))?);
        return Ok(());
    }
    let incidents = read(&client, &page)?;
    say(&listing(&incidents, Clock::system().now(), Paint::stdout()));
    if page.next_cursor.is_some() {
        eprintln!("there are more: --limit N or --all");
    }
    Ok(())
}

/// The newest incidents of a daemon, for the other commands.
///
/// # Errors
/// When the daemon cannot be reached or refuses.
pub async fn newest(client: &Client, limit: usize) -> Result<Vec<Incident>, Failure> {
    let page = pages(client, Vec::new(), limit).await?;
    read(client, &page)
}

/// Follows the cursor until there is enough.
async fn pages(client: &Client, filters: Vec<(&str, String)>, limit: usize) -> Result<Page, Failure> {
    let mut all = Page { incidents: Vec::new(), next_cursor: None };
    loop {
        let mut query = filters.clone();
        query.push(("limit", (limit - all.incidents.len()).min(PAGE_MAX).to_string()));
        query.extend(all.next_cursor.take().map(|cursor| ("cursor", cursor)));
        let body = client.get(&["api", "v1", "incidents"], &query).await?;
        let body = body.ok_or_else(|| client.unclear(&"404 Not Found"))?;
        let page: Page = serde_json::from_str(&body).map_err(|error| client.unclear(&error))?;
        let found = page.incidents.len();
        all.incidents.extend(page.incidents);
        all.next_cursor = page.next_cursor;
        if all.next_cursor.is_none() || found == 0 || all.incidents.len() >= limit {
            return Ok(all);
        }
    }
}

fn read(client: &Client, page: &Page) -> Result<Vec<Incident>, Failure> {
    let read = |document: &RawValue| {
        let listed: Listed = serde_json::from_str(document.get()).map_err(|error| client.unclear(&error))?;
        Ok(Incident { counts: listed.alerts, ..listed.incident })
    };
    page.incidents.iter().map(|document| read(document)).collect()
}

fn listing(incidents: &[Incident], now: Timestamp, paint: Paint) -> String {
    if incidents.is_empty() {
        return "no incidents".to_owned();
    }
    let row = |incident: &Incident| {
        let shown = |text: &str| escaped(text).into_owned();
        let Counts { firing, total } = incident.counts;
        vec![
            shown(&incident.id),
            shown(&incident.priority),
            shown(&incident.standing()),
            shown(&incident.title),
            shown(incident.service.as_deref().unwrap_or("-")),
            shown(incident.assignee.as_deref().unwrap_or("-")),
            format!("{firing}/{total}"),
            ago(now.since(incident.opened_at)),
        ]
    };
    let header = ["ID", "PRIORITY", "STATUS", "TITLE", "SERVICE", "ASSIGNEE", "ALERTS", "OPENED"];
    let table = table_text(&header, incidents.iter().map(row).collect(), &[6]);
    let (header, rows) = table.split_once('\n').unwrap_or((&table, ""));
    format!("{}\n{rows}", paint.tone(Tone::Dim, header))
}

impl Incident {
    /// Its status, and whether it is a major incident.
    fn standing(&self) -> String {
        if self.major.is_some() { format!("{}, MAJOR", self.status) } else { self.status.clone() }
    }
}

async fn show(args: ShowArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let unknown = || {
        let remedy = "see `incidentd incidents list --all` for those that there are";
        Failure::failed(format!("no incident {}", escaped(&args.id))).remedy(remedy)
    };
    let body = client.get(&["api", "v1", "incidents", &args.id], &[]).await?.ok_or_else(unknown)?;
    if args.json {
        say(&body);
        return Ok(());
    }
    let sheet: sheet::Sheet = serde_json::from_str(&body).map_err(|error| client.unclear(&error))?;
    say(&sheet.text(Clock::system().now(), Paint::stdout()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listing_shows_firing_of_total_and_how_long_ago() {
        let listed: Listed = serde_json::from_value(json!({
            "id": "INC-0000000000001", "status": "open", "priority": "P1", "title": "checkout\u{1b}[31m degraded",
            "service": null, "opened_at": "2026-11-22T03:00:00Z", "alerts": {"firing": 2, "resolved": 1, "total": 3},
            "a_later_field": [1], "assignee": "net", "major": {"by": "operator:ann"},
        }))
        .unwrap();
        let incident = Incident { counts: listed.alerts, ..listed.incident };
        let now = Timestamp::parse_rfc3339(b"2026-11-22T03:05:30Z").unwrap();
        let text = listing(&[incident], now, Paint::plain());
        let row: Vec<&str> = text.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
        let title = " checkout\\u{1b}[31m degraded".trim();
        assert_eq!(
            row.iter().map(|cell| cell.trim()).collect::<Vec<_>>(),
            ["INC-0000000000001", "P1", "open, MAJOR", title, "-", "net", "2/3", "5m ago"]
        );
        assert_eq!(listing(&[], now, Paint::plain()), "no incidents");
    }
}
