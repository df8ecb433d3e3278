//! `incidentd incidents merge` and `split`: what becomes one, and what comes apart again.

use serde_json::json;

use super::order::{OrderArgs, order};
use crate::cli::Failure;

const MERGE_EXAMPLE: &str = "\
Example:
  incidentd incidents merge INC-0A1B2C3D4E5F6 --into INC-1A1B2C3D4E5F6";

const SPLIT_EXAMPLE: &str = "\
Example:
  incidentd incidents split INC-1A1B2C3D4E5F6 --part INC-0A1B2C3D4E5F6";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = MERGE_EXAMPLE)]
pub struct MergeArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// The incident that goes on; ID ends.
    #[arg(long, value_name = "ID")]
    into: String,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SPLIT_EXAMPLE)]
pub struct SplitArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// What comes out; ID is the whole.
    #[arg(long, value_name = "ID")]
    part: String,
}

/// Runs `merge`.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or there is no such incident.
pub async fn merge(args: MergeArgs) -> Result<(), Failure> {
    let told = format!("merged into {}", args.into);
    order(&args.order, "merge", json!({ "into": args.into }), &told).await
}

/// Runs `split`.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or there is no such incident.
pub async fn split(args: SplitArgs) -> Result<(), Failure> {
    let told = format!("{} is split from it", args.part);
    order(&args.order, "split", json!({ "incident": args.part }), &told).await
}
