//! `incidentd sinks list|parked|retry`: how the sinks of a running daemon fare, and another try for what was given up.

use serde::Deserialize;

use super::client::Client;
use super::terminal::{escaped, say, table_text};
use super::{Failure, ServerArgs};

const EXAMPLES: &str = "\
Examples:
  incidentd sinks list
  incidentd sinks parked ops
  incidentd sinks retry ops";

/// Look after the sinks of a running daemon.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SinksArgs {
    #[command(subcommand)]
    command: SinksCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum SinksCommand {
    /// List the sinks: backlog, parked deliveries, breaker, last error.
    List(ListArgs),
    /// List the deliveries of a sink that were given up, oldest first, at most 1,000.
    Parked(NamedArgs),
    /// Try the parked deliveries of a sink again, the oldest 1,000.
    Retry(NamedArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct NamedArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The sink.
    #[arg(value_name = "SINK")]
    name: String,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Listing {
    sinks: Vec<Sink>,
}

#[derive(Deserialize)]
struct Sink {
    sink: String,
    #[serde(rename = "type")]
    kind: String,
    backlog: u64,
    parked: u64,
    breaker: String,
    last_error: Option<String>,
}

#[derive(Deserialize)]
struct Parked {
    parked: Vec<ParkedDelivery>,
}

#[derive(Deserialize)]
struct ParkedDelivery {
    delivery_id: String,
    action: String,
    created_at: String,
    attempts: u32,
    last_error: Option<String>,
}

#[derive(Deserialize)]
struct Retried {
    retried: u64,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached, or has no such sink.
pub async fn sinks(args: SinksArgs) -> Result<(), Failure> {
    match args.command {
        SinksCommand::List(args) => list(args).await,
        SinksCommand::Parked(args) => parked(args).await,
        SinksCommand::Retry(args) => retry(args).await,
    }
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let body = client.get(&["api", "v1", "sinks"], &[]).await?.unwrap_or_default();
    let listing: Listing = read(&client, &body)?;
    if args.json {
        return print(&body);
    }
    let rows = listing.sinks.into_iter().map(|sink| {
        let error = sink.last_error.as_deref().map(escaped).unwrap_or_default().into_owned();
        vec![sink.sink, sink.kind, sink.backlog.to_string(), sink.parked.to_string(), sink.breaker, error]
    });
    let header = ["SINK", "TYPE", "BACKLOG", "PARKED", "BREAKER", "LAST ERROR"];
    say(&table_text(&header, rows.collect(), &[2, 3]));
    Ok(())
}

async fn parked(args: NamedArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let body = client.get(&["api", "v1", "sinks", &args.name, "parked"], &[]).await?;
    let body = body.ok_or_else(|| unknown(&args.name))?;
    let listing: Parked = read(&client, &body)?;
    if args.json {
        return print(&body);
    }
    let rows = listing.parked.into_iter().map(|one| {
        let error = one.last_error.as_deref().map(escaped).unwrap_or_default().into_owned();
        vec![one.delivery_id, one.action, one.created_at, one.attempts.to_string(), error]
    });
    say(&table_text(&["DELIVERY", "ACTION", "CREATED", "TRIES", "LAST ERROR"], rows.collect(), &[3]));
    Ok(())
}

async fn retry(args: NamedArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let body = client.post(&["api", "v1", "sinks", &args.name, "retry"]).await?;
    let body = body.ok_or_else(|| unknown(&args.name))?;
    let Retried { retried } = read(&client, &body)?;
    if args.json {
        return print(&body);
    }
    say(&format!("{retried} deliveries of {} go out again", escaped(&args.name)));
    Ok(())
}

fn print(body: &str) -> Result<(), Failure> {
    say(body.trim_end());
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(client: &Client, body: &'a str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| client.unclear(&error))
}

fn unknown(name: &str) -> Failure {
    Failure::failed(format!("no sink is named {}", escaped(name))).remedy("see `incidentd sinks list`")
}
