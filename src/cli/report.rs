//! `incidentd report`: how incidents went over a time, as a running daemon has it, for people, spreadsheets and scripts.

use std::time::Duration;

use serde_json::Value;

use super::client::Client;
use super::terminal::{cut, escaped, say, table_text, thousands};
use super::{Failure, ServerArgs};
use crate::event::{Timestamp, duration};

const EXAMPLES: &str = "\
Examples:
  incidentd report
  incidentd report --from -7d --format csv > week.csv
  incidentd report --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --format json";

/// Titles are cut to so many characters in the table.
const TITLE_MAX: usize = 60;

/// Report how incidents went: how many, how fast, within targets, what keeps coming back.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Incidents that opened from then on: RFC 3339, or before now such as -7d.
    #[arg(long, default_value = "-30d", allow_hyphen_values = true, value_parser = instant)]
    from: String,
    /// Until before then.
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_parser = instant)]
    to: String,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Tables for a terminal.
    Text,
    /// As the API gives it.
    Json,
    /// One figure a line: section, name, figure, value.
    Csv,
}

fn instant(text: &str) -> Result<String, String> {
    Timestamp::parse_or_before(text, Timestamp::EPOCH).map(|_| text.trim().to_owned())
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached or refuses.
pub async fn report(args: ReportArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let body = client.get(&["api", "v1", "report"], &[("from", args.from), ("to", args.to)]).await?;
    let body = body.ok_or_else(|| client.unclear(&"it has no report"))?;
    let report: Value = serde_json::from_str(&body).map_err(|error| client.unclear(&error))?;
    say(&match args.format {
        Format::Json => body.trim_end().to_owned(),
        Format::Text => text(&report),
        Format::Csv => csv(&report),
    });
    Ok(())
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), thousands)
}

/// Exact to the second, from an hour on to the minute.
fn time(seconds: &Value) -> String {
    let Some(seconds) = seconds.as_u64() else { return "-".to_owned() };
    let unit = if seconds < 3_600 { 1 } else { 60 };
    duration::format(Duration::from_secs(seconds / unit * unit))
}

fn percent(share: &Value) -> String {
    share["percent"].as_f64().map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"))
}

fn word(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default()).into_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Everything that there is to say, a table each.
fn text(report: &Value) -> String {
    let mut parts = vec![head(report)];
    let slices: Vec<Value> = std::iter::once(&report["all"]).chain(items(&report["by_priority"])).cloned().collect();
    parts.push(slices_text("PRIORITY", &slices));
    parts.push(slices_text("SERVICE", &items(&report["by_service"]).cloned().collect::<Vec<_>>()));
    let rules = items(&report["noisiest_rules"]);
    let rules = rules.map(|rule| {
        [word(&rule["rule"]), number(&rule["incidents"]), number(&rule["events"]), number(&rule["alerts"])].to_vec()
    });
    parts.push(section(&["NOISIEST RULES", "INCIDENTS", "EVENTS", "ALERTS"], rules.collect(), &[1, 2, 3]));
    let again = items(&report["recurring"]).map(|again| {
        let title = cut(&word(&again["title"]), TITLE_MAX);
        [title, number(&again["incidents"]), word(&again["rule"]), word(&again["signature"])].to_vec()
    });
    parts.push(section(&["RECURRING", "INCIDENTS", "RULE", "SIGNATURE"], again.collect(), &[1]));
    let statuses = report["time_in"].as_object().into_iter().flatten();
    let statuses = statuses.map(|(status, seconds)| [status.clone(), time(seconds)].to_vec());
    parts.push(section(&["TIME IN", "IN ALL"], statuses.collect(), &[1]));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn head(report: &Value) -> String {
    let at = |name: &str| {
        let read = report[name].as_str().and_then(|at| Timestamp::parse_rfc3339(at.as_bytes()));
        read.map_or_else(|| word(&report[name]), |at| at.to_the_second().to_string())
    };
    let mut lines = vec![format!("incidents that opened from {} until {}", at("from"), at("to"))];
    if report["truncated"] == true {
        lines.push("there were more before that, which are left out: ask for a shorter time".to_owned());
    }
    let often = |name: &str| {
        let times = &report[name]["times"];
        let times = if times == 1 { "once".to_owned() } else { format!("{} times", number(times)) };
        format!("{} ({times})", number(&report[name]["incidents"]))
    };
    let levels = report["escalations"]["by_level"].as_object().into_iter().flatten();
    let levels: Vec<String> = levels.map(|(level, count)| format!("step {level}: {}", number(count))).collect();
    let levels = if levels.is_empty() { String::new() } else { format!(" ({})", levels.join(", ")) };
    lines.push(format!("merged into others {}, which are counted for them", number(&report["merged"])));
    lines.push(format!("reopened {}, reassigned {}", often("reopened"), often("reassigned")));
    let escalations = &report["escalations"];
    lines.push(format!(
        "escalated {}{levels}, major {}",
        number(&escalations["incidents"]),
        number(&escalations["major"])
    ));
    lines.push("times: mean, median, and what 90 % did not exceed".to_owned());
    lines.join("\n")
}

fn slices_text(of: &str, slices: &[Value]) -> String {
    let spread = |spread: &Value| ["mean_s", "median_s", "p90_s"].map(|of| time(&spread[of])).join(" ");
    let rows = slices.iter().map(|slice| {
        vec![
            word(&slice["name"]),
            number(&slice["incidents"]),
            number(&slice["open"]),
            spread(&slice["acknowledged"]),
            spread(&slice["resolved"]),
            spread(&slice["resolved_without_hold"]),
            percent(&slice["respond"]),
            percent(&slice["resolve"]),
        ]
    });
    let header = [of, "INCIDENTS", "OPEN", "MTTA", "MTTR", "WITHOUT HOLD", "RESPOND", "RESOLVE"];
    section(&header, rows.collect(), &[1, 2, 3, 4, 5, 6, 7])
}

fn section(header: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    if rows.is_empty() { String::new() } else { table_text(header, rows, right) }
}

/// One figure a line, so that whatever is added later is a further line.
fn csv(report: &Value) -> String {
    let mut lines = vec!["section,name,figure,value".to_owned()];
    for (section, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Array(rows) => {
                for row in rows {
                    let named = ["name", "signature", "rule"].into_iter().find(|name| row[*name].is_string());
                    let name = named.map_or("", |named| row[named].as_str().unwrap_or_default());
                    for (figure, value) in row.as_object().into_iter().flatten() {
                        if Some(figure.as_str()) != named {
                            figures(&mut lines, [section.as_str(), name], figure, value);
                        }
                    }
                }
            }
            value => figures(&mut lines, [section.as_str(), ""], "", value),
        }
    }
    lines.join("\n")
}

fn figures(lines: &mut Vec<String>, place: [&str; 2], figure: &str, value: &Value) {
    let text = match value {
        Value::Object(members) => {
            for (name, value) in members {
                let figure = if figure.is_empty() { name.clone() } else { format!("{figure}.{name}") };
                figures(lines, place, &figure, value);
            }
            return;
        }
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    let [section, name] = place;
    lines.push([section, name, figure, &text].map(field).join(","));
}

/// A field as RFC 4180 has it. What a spreadsheet would take for a formula is text.
fn field(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let text = format!("{guard}{text}");
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(file: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report");
        std::fs::read_to_string(format!("{folder}/{file}")).expect("a golden file")
    }

    /// Compares what is made of the API's answer to the incidents of `api/report/figures.rs`.
    fn compare(file: &str, print: impl Fn(&Value) -> String) {
        let answer: Value = serde_json::from_str(&golden("answer.json")).expect("JSON");
        let found = print(&answer);
        assert!(golden(file).trim_end() == found, "{file} should read\n{found}");
    }

    #[test]
    fn a_report_reads_as_the_golden_file_has_it() {
        compare("report.txt", text);
    }

    #[test]
    fn a_report_is_a_table_of_figures_as_the_golden_file_has_it() {
        compare("report.csv", csv);
    }

    #[test]
    fn a_field_is_quoted_where_it_must_be_and_is_no_formula() {
        let fields = ["a", "a,b", "a \"b\"", "=1+1", "-"].map(field);
        assert_eq!(fields, ["a", "\"a,b\"", "\"a \"\"b\"\"\"", "'=1+1", "'-"]);
    }
}
