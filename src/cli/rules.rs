//! `incidentd rules unmatched`: which alerts no rule of a running daemon wants.

use serde::Deserialize;

use super::client::Client;
use super::terminal::{escaped, say, table_text};
use super::{Failure, ServerArgs};

const EXAMPLES: &str = "\
Examples:
  incidentd rules unmatched
  incidentd rules unmatched --limit 10 --json";

/// See what the rules of a running daemon do.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RulesArgs {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum RulesCommand {
    /// List sources and labels of alerts that no rule wants, the most frequent first.
    Unmatched(UnmatchedArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct UnmatchedArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Lines at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Report {
    total: u64,
    unmatched: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    source: String,
    label: Option<String>,
    value: Option<String>,
    count: u64,
    error: u64,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached.
pub async fn rules(args: RulesArgs) -> Result<(), Failure> {
    let RulesCommand::Unmatched(args) = args.command;
    let client = Client::new(&args.server)?;
    let body = client.get(&["api", "v1", "rules", "unmatched"], &[("limit", args.limit.to_string())]).await?;
    let body = body.ok_or_else(|| client.unclear(&"it has no list of what no rule wants"))?;
    let report: Report = serde_json::from_str(&body).map_err(|error| client.unclear(&error))?;
    say(if args.json { body.trim_end().to_owned() } else { shown(report) }.as_str());
    Ok(())
}

fn shown(report: Report) -> String {
    if report.unmatched.is_empty() {
        return "every alert since the start was wanted by a rule".to_owned();
    }
    let rows = report.unmatched.into_iter().map(|line| {
        let text = |text: Option<String>| text.map_or_else(|| "(all)".to_owned(), |text| escaped(&text).into_owned());
        // The least that it can be, where that is not the count itself.
        let at_least = if line.error == 0 { String::new() } else { format!("{}", line.count - line.error) };
        vec![escaped(&line.source).into_owned(), text(line.label), text(line.value), line.count.to_string(), at_least]
    });
    let table = table_text(&["SOURCE", "LABEL", "VALUE", "COUNT", "AT LEAST"], rows.collect(), &[3, 4]);
    format!("{table}\n\n{} sightings of alerts that no rule wants", report.total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_is_only_a_bound_says_so() {
        let body = r#"{"total": 9, "unmatched": [{"source": "s", "label": null, "value": null, "count": 9, "error": 0},
            {"source": "s", "label": "host", "value": "a\u001b", "count": 7, "error": 2}]}"#;
        let text = shown(serde_json::from_str(body).expect("a report"));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["s", "(all)", "(all)", "9"]);
        assert_eq!(lines[2][..2], ["s", "host"]);
        assert_eq!(lines[2][3..], ["7", "5"]);
        assert!(!text.contains('\u{1b}') && text.ends_with("9 sightings of alerts that no rule wants"));
        let none = Report { total: 0, unmatched: Vec::new() };
        assert!(shown(none).contains("every alert"));
    }
}
