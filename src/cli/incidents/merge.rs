//! `incidentd incidents merge` and `split`: what becomes one, and what comes apart again.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::terminal::{escaped, say};
use crate::cli::{Failure, ServerArgs};

const MERGE_EXAMPLE: &str = "\
Example:
  incidentd incidents merge INC-0A1B2C3D4E5F6 --into INC-1A1B2C3D4E5F6";

const SPLIT_EXAMPLE: &str = "\
Example:
  incidentd incidents split INC-1A1B2C3D4E5F6 --part INC-0A1B2C3D4E5F6";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = MERGE_EXAMPLE)]
pub struct MergeArgs {
    /// The incident that ends.
    #[arg(value_name = "ID")]
    id: String,
    /// The incident that goes on.
    #[arg(long, value_name = "ID")]
    into: String,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SPLIT_EXAMPLE)]
pub struct SplitArgs {
    /// The whole.
    #[arg(value_name = "ID")]
    id: String,
    /// What comes out.
    #[arg(long, value_name = "ID")]
    part: String,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct OrderArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Only if the incident ID is still at this version.
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Who orders it, for the timeline.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    status: String,
    version: u64,
}

/// Runs `merge`.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or there is no such incident.
pub async fn merge(args: MergeArgs) -> Result<(), Failure> {
    let told = format!("merged into {}", escaped(&args.into));
    order(&args.id, "merge", json!({ "into": args.into }), &args.order, &told).await
}

/// Runs `split`.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or there is no such incident.
pub async fn split(args: SplitArgs) -> Result<(), Failure> {
    let told = format!("{} is split from it", escaped(&args.part));
    order(&args.id, "split", json!({ "incident": args.part }), &args.order, &told).await
}

async fn order(id: &str, what: &str, mut body: Value, args: &OrderArgs, told: &str) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    if let Some(version) = args.version {
        body["version"] = version.into();
    }
    if let Some(by) = &args.by {
        body["by"] = by.as_str().into();
    }
    let unknown = || Failure::failed(format!("no incident {}, or none to {what} it with", escaped(id)));
    let answer = client.send(&["api", "v1", "incidents", id, what], &body).await?.ok_or_else(unknown)?;
    if args.json {
        say(answer.trim_end());
        return Ok(());
    }
    let Answer { id, status, version } = serde_json::from_str(&answer).map_err(|error| client.unclear(&error))?;
    say(&format!("{}: {told}; {}, version {version}", escaped(&id), escaped(&status)));
    Ok(())
}
