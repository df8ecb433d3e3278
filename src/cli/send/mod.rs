//! `incidentd send`: pushes recorded or live events over gRPC and says what became of them.
//!
//! One thread reads, one task pushes; between them waits at most [`READ_AHEAD`] events. With `--shift-times` the
//! input is read twice, the first time for its times alone.

mod input;
pub mod line;
pub mod push;
pub mod report;
mod times;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

pub use line::wire_time;

use self::input::Lines;
use self::push::{Numbered, PushError, Target};
use self::report::Report;
use self::times::{Shift, Span};
use super::terminal::{Paint, say};
use super::{Failure, ServerArgs};
use crate::clock::{Clock, Stopwatch};
use crate::event::duration;

/// Events between the reader and the pusher: eight batches.
const READ_AHEAD: usize = 8 * push::BATCH_EVENTS_MAX;

const EXAMPLES: &str = "\
Examples:
  incidentd send storm.jsonl.zst
  incidentd send --rate 500 --shift-times last-night.jsonl
  incidentd send --shift-times --within 2m last-night.jsonl
  tail -F events.jsonl | incidentd send

One line is one event, as `incidentd schema event` describes it:
  {\"source\": \"prometheus\", \"severity\": \"critical\", \"summary\": \"checkout is slow\",
   \"labels\": {\"service\": \"checkout\"}, \"occurred_at\": \"2026-01-31T03:12:00Z\"}

Events with an `id` may be sent again without harm: they count once. Without one, an event whose
answer was lost with the connection is counted twice.

Exit codes: 0 every event was taken; 1 a line or an event was rejected, or the server refused; 2 wrong usage.";

/// Push recorded events (JSONL) over gRPC, and see what becomes of them.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SendArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Events per second, paced evenly [default: as fast as the server answers].
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Move the recording so that its last event happens now.
    #[arg(long)]
    shift_times: bool,
    /// Squeeze the recording's span into this long, ending now; a shorter one is not stretched.
    #[arg(long, value_name = "DURATION", requires = "shift_times", value_parser = duration::parse)]
    within: Option<Duration>,
    /// Keep trying this long when the server cannot be reached or is overloaded.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    retry_for: Duration,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Events as JSON lines, plain or compressed with zstd; `-` is standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

type SharedReport = Arc<Mutex<Report>>;

/// Runs the command.
///
/// # Errors
/// When an event was rejected, the input cannot be read, or the server refused.
pub async fn send(args: SendArgs) -> Result<(), Failure> {
    let name = if is_stdin(&args.file) { "stdin".to_owned() } else { args.file.display().to_string() };
    if is_stdin(&args.file) && io::stdin().is_terminal() {
        eprintln!("reading events from the terminal, one JSON object a line; Ctrl-D ends");
    }
    let progress = progress(&args);
    let report = Arc::new(Mutex::new(Report::new(name.clone(), progress.clone())));
    let unreadable = |error: io::Error| Failure::failed(format!("cannot read {name}: {error}"));
    let (lines, shift) = open(args.clone(), progress.clone()).await.map_err(unreadable)?;
    let watch = Stopwatch::start();
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reader = tokio::task::spawn_blocking({
        let report = report.clone();
        move || read(lines, shift, &sender, &report)
    });
    let pushed = tokio::select! {
        pushed = push_all(&args, receiver, &report) => pushed.map_err(Failure::from),
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted; what was answered so far is durable")),
    };
    progress.finish_and_clear();
    let took = watch.elapsed();
    summary(&args, &locked(&report), took, pushed.as_ref().err());
    pushed?;
    // The reader has ended: the pusher waits for the end of the channel.
    reader.await.map_err(|error| Failure::failed(error.to_string()))?.map_err(unreadable)?;
    let clean = locked(&report).is_clean();
    if clean { Ok(()) } else { Err(Failure::silent()) }
}

async fn push_all(args: &SendArgs, input: mpsc::Receiver<Numbered>, report: &SharedReport) -> Result<(), PushError> {
    let target = Target {
        url: args.server.url.clone(),
        token: args.server.token.clone(),
        retry_for: args.retry_for,
        rate: args.rate,
    };
    push::push(&target, input, &mut |events, verdicts| locked(report).answered(events, verdicts)).await
}

/// Opens the input; reads it once before when its times are to be moved.
async fn open(args: SendArgs, progress: ProgressBar) -> io::Result<(Lines, Option<Shift>)> {
    let opened = tokio::task::spawn_blocking(move || {
        let bytes_read = Arc::new(AtomicU64::new(0));
        if !args.shift_times {
            let lines = match is_stdin(&args.file) {
                true => Lines::new(io::stdin(), bytes_read.clone())?,
                false => Lines::new(input::rereadable(&args.file)?, bytes_read.clone())?,
            };
            follow(progress, bytes_read);
            return Ok((lines, None));
        }
        let mut file = input::rereadable(&args.file)?;
        let span = span(Lines::new(file.try_clone()?, Arc::default())?)?;
        io::Seek::rewind(&mut file)?;
        let lines = Lines::new(file, bytes_read.clone())?;
        follow(progress, bytes_read);
        Ok((lines, span.shift(Clock::system().now(), args.within)))
    });
    opened.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn span(mut lines: Lines) -> io::Result<Span> {
    let mut span = Span::default();
    while let Some(line) = lines.next_line()? {
        line.event.iter().for_each(|event| span.cover(event));
    }
    Ok(span)
}

/// The reading thread: ends with the input, or when nobody takes events any more.
fn read(
    mut lines: Lines,
    shift: Option<Shift>,
    sender: &mpsc::Sender<Numbered>,
    report: &SharedReport,
) -> io::Result<()> {
    while let Some(line) = lines.next_line()? {
        match line.event {
            Err(error) => locked(report).bad_line(line.number, &error),
            Ok(mut event) => {
                shift.iter().for_each(|shift| shift.apply(&mut event));
                if sender.blocking_send(Numbered { number: line.number, event }).is_err() {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn summary(args: &SendArgs, report: &Report, took: Duration, error: Option<&Failure>) {
    match args.json {
        true => say(&report.json(took, error.map(|failure| failure.cause.as_str()))),
        false if report.is_empty() && error.is_some() => {}
        false => say(&report.text(took, Paint::stdout())),
    }
}

/// Shown on a terminal only, on stderr.
fn progress(args: &SendArgs) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bytes = std::fs::metadata(&args.file).ok().filter(|file| file.is_file()).map(|file| file.len());
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:40.cyan/dim} {percent:>3}%  {msg}  {elapsed}"),
        None => (ProgressBar::new_spinner(), "{spinner:.cyan} {msg}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━━─"));
    bar
}

/// Moves the bar as the reader goes on.
fn follow(progress: ProgressBar, bytes_read: Arc<AtomicU64>) {
    if progress.is_hidden() {
        return;
    }
    tokio::spawn(async move {
        while !progress.is_finished() {
            progress.set_position(bytes_read.load(Ordering::Relaxed));
            progress.tick();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("events per second, more than 0, not \"{text}\"");
    text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0).ok_or_else(wrong)
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn locked(report: &SharedReport) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Self {
        let failure = if error.usage { Failure::usage(error.cause) } else { Failure::failed(error.cause) };
        failure.remedy(error.remedy)
    }
}
