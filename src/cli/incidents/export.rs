//! `incidentd incidents export`: one incident with its whole timeline, as a post-mortem's first draft or as JSON.
//!
//! A file that is there already is not written over.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use crate::cli::client::Client;
use crate::cli::terminal::{escaped, say};
use crate::cli::{Failure, ServerArgs};

const EXAMPLES: &str = "\
Examples:
  incidentd incidents export INC-0A1B2C3D4E5F6 --output post-mortem.md
  incidentd incidents export INC-0A1B2C3D4E5F6 --format json | jq '.timeline[] | select(.reason == \"note_written\")'";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The incident, such as INC-0A1B2C3D4E5F6.
    #[arg(value_name = "ID")]
    id: String,
    /// Markdown for people, or JSON for programs.
    #[arg(long, default_value = "markdown", value_parser = ["markdown", "json"])]
    format: String,
    /// Write it to a new file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached or refuses, there is no such incident, or the file cannot be written.
pub async fn export(args: ExportArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let unknown = || Failure::failed(format!("no incident {}", args.id)).remedy("see `incidentd incidents list --all`");
    let path = ["api", "v1", "incidents", &args.id, "export"];
    let text = client.get(&path, &[("format", args.format.clone())]).await?.ok_or_else(unknown)?;
    let Some(file) = args.output else {
        // The draft shows nothing that steers a terminal; JSON is for programs.
        say(text.trim_end());
        return Ok(());
    };
    let written = OpenOptions::new().write(true).create_new(true).open(&file);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AlreadyExists => "is there already, and is not written over".to_owned(),
            _ => format!("cannot be written: {error}"),
        };
        Failure::failed(format!("{} {why}", file.display()))
    })?;
    say(&format!("{}: written to {}", escaped(&args.id), file.display()));
    Ok(())
}
