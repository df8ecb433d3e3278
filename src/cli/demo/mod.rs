//! `incidentd demo`: a newcomer's first minute with the real thing.
//!
//! Starts the daemon on a temporary data directory, plays a night's storm through its gRPC front door, tells of
//! incidents as the HTTP API shows them, and ends with the funnel. Leaves nothing behind.

mod screen;
mod storm;
mod watch;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::screen::Screen;
use self::storm::Storm;
use self::watch::Watch;
use super::client::Client;
use super::daemon::{Daemon, DaemonOptions};
use super::send::push::{self, Numbered, PushError, Target};
use super::send::report::Report;
use super::{Failure, ServerArgs};
use crate::clock::{Clock, Stopwatch};
use crate::event::Timestamp;

const RULES: &str = include_str!("rules.yaml");
const PREFERRED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9095);
const POLL: Duration = Duration::from_millis(100);
/// After the last event, incidents get this long to resolve; the slowest rule needs 2 s.
const SETTLE_MAX: Duration = Duration::from_secs(6);

const EXAMPLES: &str = "\
Examples:
  incidentd demo
  incidentd demo --listen 127.0.0.1:9195
  incidentd demo --exit-when-done > demo.txt

It takes about 20 seconds, needs nothing and leaves nothing behind.";

/// The arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Where to listen [default: 127.0.0.1:9095, or a free port if that is taken].
    #[arg(long, value_name = "ADDR", value_parser = super::address)]
    listen: Option<SocketAddr>,
    /// End when the night is over, instead of staying up until Ctrl-C.
    #[arg(long)]
    exit_when_done: bool,
}

type SharedReport = Arc<Mutex<Report>>;

/// Runs the command.
///
/// # Errors
/// When the daemon cannot start or stops answering.
pub async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let no_room = |error: io::Error| Failure::failed(format!("no temporary directory: {error}"));
    let directory = tempfile::Builder::new().prefix("incidentd-demo-").tempdir().map_err(no_room)?;
    let rules = directory.path().join("rules.yaml");
    std::fs::write(&rules, rules_beside(directory.path())).map_err(no_room)?;
    let screen = Screen::new();
    let options = DaemonOptions {
        config: Some(rules.clone()),
        data_dir: Some(directory.path().join("data")),
        listen: Some(args.listen.unwrap_or_else(|| free_address(&screen))),
        insecure: false,
    };
    let daemon = Daemon::start(options).await?;
    let url = format!("http://{}", daemon.local_addr());
    let played = tokio::select! {
        played = night(&url, &rules, &screen) => played,
        _ = tokio::signal::ctrl_c() => Err(Failure::silent()),
    };
    if played.is_ok() && !args.exit_when_done {
        screen.stays_up(&url, PREFERRED == daemon.local_addr());
        // An error means that no signal can come; then there is nothing to wait for.
        let _ = tokio::signal::ctrl_c().await;
    }
    screen.clear();
    daemon.stop().await;
    played
}

/// The bundled rules, with the sink's file in this directory.
fn rules_beside(directory: &Path) -> String {
    let path = directory.join("incidents.jsonl").display().to_string();
    // A string of JSON is one of YAML.
    RULES.replace("path: incidents.jsonl", &format!("path: {}", serde_json::Value::from(path)))
}

/// The usual port, if nobody has it.
fn free_address(screen: &Screen) -> SocketAddr {
    match TcpListener::bind(PREFERRED) {
        Ok(_) => PREFERRED,
        Err(_) => {
            screen.note(&format!("{PREFERRED} is taken, so the demo listens on a free port"));
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
        }
    }
}

/// Plays the night and tells of it, up to the funnel.
async fn night(url: &str, rules: &Path, screen: &Screen) -> Result<(), Failure> {
    let storm = Arc::new(Storm::night());
    let client = Client::new(&ServerArgs { url: url.to_owned(), token: None })?;
    let mut report = Report::new("demo".to_owned(), ProgressBar::hidden());
    // The night has broken producers on purpose: they are counted, not complained of.
    report.complaints_max = 0;
    let report = Arc::new(Mutex::new(report));
    screen.begins(&storm, url, rules);
    let (began, stopwatch) = (Clock::system().now(), Stopwatch::start());
    let mut playing = play(storm.clone(), url, began, stopwatch, report.clone());
    let mut watch = Watch::new(client, began);
    let mut over: Option<Stopwatch> = None;
    loop {
        screen.acts(stopwatch.elapsed());
        watch.look(screen).await?;
        screen.count(locked(&report).events(), storm.events.len() as u64, watch.incidents().len());
        if over.is_none() && playing.is_finished() {
            (&mut playing).await.map_err(|error| Failure::failed(error.to_string()))??;
            over = Some(Stopwatch::start());
        }
        if over.is_some_and(|over| watch.is_settled() || over.elapsed() > SETTLE_MAX) {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    screen.ends(&storm, &locked(&report), watch.incidents());
    Ok(())
}

/// Sends every event at its time, through the same door as every other producer.
fn play(
    storm: Arc<Storm>,
    url: &str,
    began: Timestamp,
    stopwatch: Stopwatch,
    report: SharedReport,
) -> JoinHandle<Result<(), PushError>> {
    let (sender, input) = mpsc::channel(4 * push::BATCH_EVENTS_MAX);
    tokio::spawn(async move {
        for (place, sent) in storm.events.iter().enumerate() {
            let early = sent.at.saturating_sub(stopwatch.elapsed());
            if !early.is_zero() {
                tokio::time::sleep(early).await;
            }
            let event = Numbered { number: place as u64 + 1, event: sent.event(began) };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    let target = Target { url: url.to_owned(), token: None, retry_for: Duration::from_secs(5), rate: None };
    tokio::spawn(async move {
        push::push(&target, input, &mut |events, verdicts| locked(&report).answered(events, verdicts)).await
    })
}

fn locked(report: &SharedReport) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_bundled_rules_are_valid_without_a_warning() {
        let text = rules_beside(Path::new("/tmp/a demo's \"directory\""));
        let loaded = Config::parse("rules.yaml", &text, &|_| None).unwrap();
        assert_eq!(loaded.warnings, []);
        assert!(text.contains("incidents.jsonl\"") && loaded.config.sinks.len() == 1, "{text}");
    }
}
