//! `incidentd silences list|show|add|expire`: what is muted, by whom, until when, and what that has muted so far.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::terminal::{Paint, Tone, ago, escaped, say, span, table_text, thousands};
use super::{Failure, ServerArgs};
use crate::clock::Clock;
use crate::event::{Timestamp, duration};
use crate::rules::split_matcher;

const EXAMPLES: &str = "\
Examples:
  incidentd silences add 'alertname=\"DiskFull\"' 'host=~\"db-.*\"' --duration 2h --comment \"disks are being replaced\"
  incidentd silences list
  incidentd silences expire 01234567-89ab-cdef-0123-456789abcdef";

/// Mute what is known, and see what is muted.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SilencesArgs {
    #[command(subcommand)]
    command: SilencesCommand,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum SilencesCommand {
    /// List silences that are active or to come, with what each has muted.
    List(ListArgs),
    /// Show one silence.
    Show(ShowArgs),
    /// Mute the alerts that match, for a time.
    Add(AddArgs),
    /// End silences now.
    Expire(ExpireArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Also those that have ended and are still remembered.
    #[arg(long)]
    expired: bool,
    /// Print JSON as the API gives it, expired ones included.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The silence.
    #[arg(value_name = "ID")]
    id: String,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct AddArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Matchers in Alertmanager's syntax, such as 'service="checkout"' or 'host=~"db-.*"'; all must hold.
    #[arg(value_name = "MATCHER", required = true, value_parser = matcher)]
    matchers: Vec<String>,
    /// How long, such as 30m, 2h or 1d12h.
    #[arg(long, value_name = "DURATION", required_unless_present = "until", conflicts_with = "until", value_parser = length)]
    duration: Option<Duration>,
    /// Until when, such as 2026-01-31T18:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// From when [default: now].
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<Timestamp>,
    /// Why; whoever is on call will read it.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    comment: String,
    /// By whom.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    author: String,
    /// Print JSON as the API gives it.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ExpireArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The silences.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

#[derive(Deserialize)]
struct Listing {
    silences: Vec<Silence>,
}

/// Of a silence, what is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Silence {
    id: String,
    matchers: Vec<String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    updated_at: Timestamp,
    created_by: String,
    comment: String,
    state: String,
    muting: u64,
    muted_alerts: u64,
    muted_events: u64,
}

#[derive(Deserialize)]
struct Added {
    #[serde(rename = "silenceID")]
    id: String,
}

/// Runs the command.
///
/// # Errors
/// When the daemon cannot be reached or refuses, or has no such silence.
pub async fn silences(args: SilencesArgs) -> Result<(), Failure> {
    match args.command {
        SilencesCommand::List(args) => list(args).await,
        SilencesCommand::Show(args) => show(args).await,
        SilencesCommand::Add(args) => add(args).await,
        SilencesCommand::Expire(args) => expire(args).await,
    }
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let body = client.get(&["api", "v1", "silences"], &[]).await?.unwrap_or_default();
    let Listing { mut silences } = read(&client, &body)?;
    if args.json {
        say(body.trim_end());
        return Ok(());
    }
    let known = silences.len();
    silences.retain(|silence| args.expired || silence.state != "expired");
    say(&listing(&silences, Clock::system().now(), Paint::stdout()));
    if silences.len() < known {
        eprintln!("{} have ended: --expired shows them", known - silences.len());
    }
    Ok(())
}

async fn show(args: ShowArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let body = client.get(&["api", "v1", "silences", &args.id], &[]).await?.ok_or_else(|| unknown(&args.id))?;
    let silence: Silence = read(&client, &body)?;
    if args.json {
        say(body.trim_end());
        return Ok(());
    }
    say(&silence.sheet(Clock::system().now(), Paint::stdout()));
    Ok(())
}

async fn add(args: AddArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let starts_at = args.from.unwrap_or_else(|| Clock::system().now());
    let ends_at = args.duration.map(|length| starts_at.plus(length)).or(args.until).unwrap_or(starts_at);
    let matcher = |text: &String| {
        let (name, operator, value) = split_matcher(text).map_err(Failure::usage)?;
        let (is_regex, is_equal) = (operator.ends_with('~'), operator.starts_with('='));
        Ok(json!({ "name": name, "value": value, "isRegex": is_regex, "isEqual": is_equal }))
    };
    let silence = json!({
        "matchers": args.matchers.iter().map(matcher).collect::<Result<Vec<_>, Failure>>()?,
        "startsAt": starts_at,
        "endsAt": ends_at,
        "comment": args.comment,
        "createdBy": args.author,
    });
    let body = client.send(&["api", "v2", "silences"], &silence).await?;
    let body = body.ok_or_else(|| client.unclear(&"404 Not Found"))?;
    let Added { id } = read(&client, &body)?;
    say(if args.json { body.trim_end() } else { &id });
    Ok(())
}

/// Ends what can be ended, and fails where one could not be.
async fn expire(args: ExpireArgs) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let mut failed = Vec::new();
    for id in &args.ids {
        match client.delete(&["api", "v2", "silence", id]).await {
            Ok(Some(_)) => {}
            Ok(None) => failed.push(unknown(id)),
            Err(failure) => failed.push(failure),
        }
    }
    let Some(first) = failed.pop() else { return Ok(()) };
    Err(first.details(failed.into_iter().map(|failure| failure.cause).collect()))
}

fn listing(silences: &[Silence], now: Timestamp, paint: Paint) -> String {
    if silences.is_empty() {
        return "no silences".to_owned();
    }
    let row = |silence: &Silence| {
        let shown = |text: &str| escaped(text).into_owned();
        vec![
            shown(&silence.id),
            shown(&silence.state),
            shown(&silence.matchers.join(" ")),
            silence.when(now),
            thousands(silence.muting),
            thousands(silence.muted_alerts),
            thousands(silence.muted_events),
            shown(&silence.created_by),
            shown(&silence.comment),
        ]
    };
    let header = ["ID", "STATE", "MATCHERS", "WHEN", "MUTING", "ALERTS", "EVENTS", "BY", "COMMENT"];
    let table = table_text(&header, silences.iter().map(row).collect(), &[4, 5, 6]);
    let (header, rows) = table.split_once('\n').unwrap_or((&table, ""));
    format!("{}\n{rows}", paint.tone(Tone::Dim, header))
}

impl Silence {
    /// What comes next of it.
    fn when(&self, now: Timestamp) -> String {
        match self.state.as_str() {
            "pending" => format!("starts in {}", span(self.starts_at.since(now))),
            "expired" => format!("ended {}", ago(now.since(self.ends_at))),
            _ => format!("ends in {}", span(self.ends_at.since(now))),
        }
    }

    fn sheet(&self, now: Timestamp, paint: Paint) -> String {
        let head = format!("{}  {}", paint.tone(Tone::Cyan, &escaped(&self.id)), escaped(&self.state));
        let facts = [
            ("from", format!("{} until {} ({})", self.starts_at, self.ends_at, self.when(now))),
            ("by", format!("{}, {}", self.created_by, self.updated_at)),
            ("comment", self.comment.clone()),
            ("mutes now", format!("{} alerts", thousands(self.muting))),
            ("has muted", format!("{} alerts, {} events", thousands(self.muted_alerts), thousands(self.muted_events))),
        ];
        let matchers = self.matchers.iter().map(|matcher| ("matcher", matcher.clone()));
        let lines = matchers.chain(facts).map(|(name, value)| format!("  {name:<10} {}", escaped(&value)));
        std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

fn read<'a, T: Deserialize<'a>>(client: &Client, body: &'a str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| client.unclear(&error))
}

fn unknown(id: &str) -> Failure {
    Failure::failed(format!("no silence {}", escaped(id))).remedy("see `incidentd silences list --expired`")
}

fn matcher(text: &str) -> Result<String, String> {
    split_matcher(text).map(|_| text.to_owned())
}

fn length(text: &str) -> Result<Duration, String> {
    duration::parse(text).and_then(|length| match length.is_zero() {
        true => Err("a silence needs some time".to_owned()),
        false => Ok(length),
    })
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let wrong = || "write the time with its zone, such as 2026-01-31T18:00:00Z or 2026-01-31T18:00:00+01:00".to_owned();
    Timestamp::parse_rfc3339(text.as_bytes()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> Silence {
        serde_json::from_value(json!({
            "id": "00000000-0000-0000-0000-000000000007", "matchers": ["host=~\"db-.*\"", "severity!=\"info\""],
            "starts_at": "2026-11-22T03:00:00Z", "ends_at": "2026-11-22T05:00:00Z",
            "updated_at": "2026-11-22T02:59:00Z", "created_by": "ann\u{1b}[31m", "comment": "disks", "state": "active",
            "muting": 2, "muted_alerts": 3, "muted_events": 1234, "a_later_field": [1],
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        instant(text).unwrap()
    }

    #[test]
    fn a_listing_says_what_is_muted_how_often_and_for_how_long_still() {
        let text = listing(&[silence()], at("2026-11-22T04:15:00Z"), Paint::plain());
        let row = text.lines().nth(1).unwrap();
        let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells[2..7], ["host=~\"db-.*\" severity!=\"info\"", "ends in 45m", "2", "3", "1,234"]);
        assert!(row.contains("ann\\u{1b}[31m"), "{row}");
        assert_eq!(listing(&[], Timestamp::EPOCH, Paint::plain()), "no silences");
    }

    #[test]
    fn what_comes_next_depends_on_the_state() {
        let (now, later) = (at("2026-11-22T02:00:00Z"), at("2026-11-23T05:00:00Z"));
        assert_eq!(Silence { state: "pending".to_owned(), ..silence() }.when(now), "starts in 1h");
        assert_eq!(Silence { state: "expired".to_owned(), ..silence() }.when(later), "ended 24h ago");
        let sheet = silence().sheet(at("2026-11-22T04:59:59Z"), Paint::plain());
        assert!(sheet.contains("matcher    host=~\"db-.*\"\n") && sheet.contains("(ends in 1s)"), "{sheet}");
        assert!(sheet.ends_with("has muted  3 alerts, 1,234 events"), "{sheet}");
    }
}
