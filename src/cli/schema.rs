//! `incidentd schema`: JSON Schemas for editors, and the table of an incident's life, as the daemon itself goes by it.

use clap::{Args, Subcommand, ValueEnum};

use super::Failure;
use super::terminal::{say, table_text};
use crate::config::{Config, event_schema};
use crate::engine::moves::{Actor, Guard, IncidentStatus, Row, TABLE, Target};

const EXAMPLES: &str = "\
Examples:
  incidentd schema config > incidentd.schema.json
  incidentd schema lifecycle --format mermaid";

/// Print a JSON Schema for editors, the OpenAPI document for programs, or the table of an incident's life.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArgs {
    #[command(subcommand)]
    of: SchemaOf,
}

#[derive(Debug, Subcommand)]
enum SchemaOf {
    /// The JSON Schema of the configuration file.
    #[command(after_help = "Example:\n  incidentd schema config > incidentd.schema.json")]
    Config,
    /// The JSON Schema of an event.
    #[command(after_help = "Example:\n  incidentd schema event")]
    Event,
    /// The HTTP API, as an OpenAPI 3.1 document; the daemon serves the same at /api/v1/openapi.json.
    #[command(after_help = "Example:\n  incidentd schema openapi > incidentd.openapi.json")]
    Openapi,
    /// The states of an incident, what moves it, who may, and what must hold.
    #[command(after_help = "Example:\n  incidentd schema lifecycle --format mermaid")]
    Lifecycle {
        /// As a table, or as a diagram.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A table for a terminal.
    Text,
    /// A Mermaid state diagram.
    Mermaid,
}

/// Prints what is asked for.
pub fn schema(args: SchemaArgs) -> Result<(), Failure> {
    say(&match args.of {
        SchemaOf::Config => format!("{:#}", Config::schema()),
        SchemaOf::Event => format!("{:#}", event_schema()),
        SchemaOf::Openapi => format!("{:#}", crate::app::openapi()),
        SchemaOf::Lifecycle { format: Format::Text } => text(),
        SchemaOf::Lifecycle { format: Format::Mermaid } => mermaid(),
    });
    Ok(())
}

const fn actor(by: Actor) -> &'static str {
    match by {
        Actor::Engine => "engine",
        Actor::Person => "operator",
    }
}

/// Every row of the table of moves.
fn text() -> String {
    let line = |row: &Row| {
        let from: Vec<&str> = row.from.iter().map(|status| status.as_str()).collect();
        let to = match row.to {
            Target::To(status) => status.as_str(),
            Target::Stays => "-",
            Target::Gone => "(gone)",
        };
        [&from.join(", "), row.step.as_str(), to, actor(row.by), row.guard.words()].map(str::to_owned).to_vec()
    };
    table_text(&["FROM", "MOVE", "TO", "BY", "WHEN"], TABLE.iter().map(line).collect(), &[])
}

/// The moves that lead somewhere, as a diagram. Rows that keep the status are left to the table.
fn mermaid() -> String {
    let mut lines = vec!["stateDiagram-v2".to_owned(), "    [*] --> new".to_owned()];
    for from in IncidentStatus::ALL {
        for row in from.rows() {
            let to = match row.to {
                Target::To(status) => status.as_str(),
                Target::Stays => continue,
                Target::Gone => "[*]",
            };
            let guard = match row.guard {
                Guard::Always => String::new(),
                guard => format!(" [{}]", guard.words()),
            };
            lines.push(format!("    {} --> {to}: {} by {}{guard}", from.as_str(), row.step.as_str(), actor(row.by)));
        }
    }
    lines.push("    closed --> [*]".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_show_the_table_that_the_daemon_goes_by() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/incidents.md");
        let docs = std::fs::read_to_string(docs).expect("the page");
        for (language, printed) in [("text", text()), ("mermaid", mermaid())] {
            let block = format!("```{language}\n{printed}\n```\n");
            assert!(docs.contains(&block), "docs/incidents.md lacks this:\n{block}");
        }
    }

    #[test]
    fn the_table_is_as_wide_as_it_needs_and_names_every_status() {
        let text = text();
        assert!(text.lines().count() == TABLE.len() + 1, "{text}");
        assert!(IncidentStatus::ALL.iter().all(|status| text.contains(status.as_str())), "{text}");
    }
}
