//! What the demo shows: the story on the left, incidents as they come and go, the funnel at the end.
//!
//! Fits 80 columns. On a terminal there are colours, symbols and a line that counts; elsewhere plain text.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::storm::{ACTS, Storm, clock};
use crate::cli::incidents::Incident;
use crate::cli::send::report::Report;
use crate::cli::terminal::{Paint, Tone, cut, escaped, say, thousands};

const WIDTH: usize = 80;
/// Before a title: two blanks, the clock, a symbol, the turn, the priority.
const TITLE_AT: usize = 25;
const BAR: usize = 36;

/// A change of an incident's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is new.
    Opened,
    /// All clear.
    Resolved,
    /// It has come back.
    Reopened,
}

/// Where the demo writes.
#[derive(Debug)]
pub struct Screen {
    paint: Paint,
    counter: ProgressBar,
    acts_told: Cell<usize>,
}

impl Screen {
    /// Standard output, and a counting line on stderr if both are terminals.
    pub fn new() -> Self {
        let paint = Paint::stdout();
        let counter = match paint.terminal && io::stderr().is_terminal() {
            true => ProgressBar::new(1),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("  {bar:20.cyan/dim} {msg}");
        counter.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━━─"));
        Self { paint, counter, acts_told: Cell::new(0) }
    }

    /// Writes above the counting line.
    fn say(&self, text: &str) {
        self.counter.suspend(|| say(text));
    }

    fn dim(&self, text: &str) -> String {
        self.paint.tone(Tone::Dim, text)
    }

    /// A remark.
    pub fn note(&self, text: &str) {
        self.say(&self.dim(&format!("  {text}")));
    }

    /// The title page.
    pub fn begins(&self, storm: &Storm, url: &str, rules: &Path) {
        let seconds = storm.length().as_secs();
        let events = thousands(storm.events.len() as u64);
        let title = self.paint.tone(Tone::Bold, "incidentd: one night, one broken switch");
        let about = format!("{events} events, played in {seconds} seconds; a second is a minute of the night");
        let fact = |name: &str, value: &str| format!("  {} {value}", self.dim(&format!("{name:<7}")));
        let sink = rules.with_file_name("incidents.jsonl").display().to_string();
        let facts = [fact("daemon", url), fact("rules", &rules.display().to_string()), fact("sink", &sink)].join("\n");
        self.say(&format!("\n  {title}\n  {about}\n\n{facts}\n"));
    }

    /// The turns of the story up to now.
    pub fn acts(&self, since: Duration) {
        while let Some(act) = ACTS.get(self.acts_told.get()) {
            if u128::from(act.at_ms) > since.as_millis() {
                return;
            }
            self.acts_told.set(self.acts_told.get() + 1);
            let time = clock(Duration::from_millis(act.at_ms));
            self.say(&format!("  {time}  {}", self.dim(act.what)));
        }
    }

    /// An incident has come or gone.
    pub fn turn(&self, turn: Turn, since: Duration, incident: &Incident) {
        self.say(&turn_lines(self.paint, turn, since, incident));
    }

    /// The counting line.
    pub fn count(&self, sent: u64, of: u64, incidents: usize) {
        self.counter.set_length(of);
        self.counter.set_position(sent);
        self.counter.set_message(format!("{} events → {incidents} incidents", thousands(sent)));
    }

    /// The funnel, the verdicts and what is left.
    pub fn ends(&self, storm: &Storm, report: &Report, incidents: &[Incident]) {
        self.clear();
        let funnel = funnel(self.paint, report.events(), storm.alerts() as u64, incidents.len() as u64);
        let verdicts = indented(&report.table(self.paint));
        let heading = |text: &str| format!("  {}", self.paint.tone(Tone::Bold, text));
        let open: Vec<&Incident> = incidents.iter().filter(|incident| incident.status == "open").collect();
        let left = match open.as_slice() {
            [] => "Every incident resolved itself when its alerts did.".to_owned(),
            [one] => format!("Still open in the morning: {}", escaped(&one.title)),
            many => format!("Still open: {} incidents", many.len()),
        };
        self.say(&format!(
            "\n{}\n\n{funnel}\n\n{}\n\n{verdicts}\n\n  {left}\n",
            heading("The funnel"),
            heading("Every event was answered")
        ));
    }

    /// What to try while the daemon stays up.
    pub fn stays_up(&self, url: &str, usual: bool) {
        let with_url = if usual { String::new() } else { format!(" --url {url}") };
        let heading = self.paint.tone(Tone::Bold, "The daemon stays up until Ctrl-C. In another terminal:");
        self.say(&format!(
            "  {heading}\n\n    incidentd incidents list{with_url}\n    incidentd incidents show{with_url} ID\n    curl {url}/metrics\n"
        ));
    }

    /// Takes the counting line away.
    pub fn clear(&self) {
        self.counter.finish_and_clear();
    }
}

/// Two lines: what became of which incident; how much it stands for.
fn turn_lines(paint: Paint, turn: Turn, since: Duration, incident: &Incident) -> String {
    let (symbol, plain, name, tone) = match turn {
        Turn::Opened => ("●", "+", "opened", Tone::Red),
        Turn::Reopened => ("↻", "+", "reopened", Tone::Yellow),
        Turn::Resolved => ("✓", "-", "resolved", Tone::Green),
    };
    let symbol = if paint.terminal { symbol } else { plain };
    let marked = paint.tone(tone, &format!("{symbol} {name:<8}"));
    let title = cut(&escaped(&incident.title), WIDTH - TITLE_AT);
    let title = paint.tone(Tone::Bold, &title);
    let alerts = counted(incident.counts.total, "alert");
    let folded = match turn {
        Turn::Resolved => format!("{alerts}, {}", counted(incident.events, "event")),
        _ => format!("{alerts} so far"),
    };
    let below = paint.tone(Tone::Dim, &format!("{}  {folded}", escaped(&incident.id)));
    let priority = paint.priority(&escaped(&incident.priority));
    format!("  {}  {marked}  {priority:<2}  {title}\n{:TITLE_AT$}{below}", clock(since), "")
}

/// Three bars to one scale, and what the night comes to.
fn funnel(paint: Paint, events: u64, alerts: u64, incidents: u64) -> String {
    let bar = |count: u64, tone: Tone| {
        let cells = (count * BAR as u64).div_ceil(events.max(1)).clamp(u64::from(count > 0), BAR as u64) as usize;
        let cell = if paint.terminal { "█" } else { "#" };
        paint.tone(tone, &format!("{:<BAR$}", cell.repeat(cells)))
    };
    let line = |name: &str, count: u64, tone: Tone, more: String| {
        format!("  {name:<10}{:>7}  {}  {}", thousands(count), bar(count, tone), paint.tone(Tone::Dim, &more))
            .trim_end()
            .to_owned()
    };
    let lines = [
        line("events", events, Tone::Cyan, String::new()),
        line("alerts", alerts, Tone::Yellow, format!("1 for {} events", events / alerts.max(1))),
        line("incidents", incidents, Tone::Red, format!("1 for {} events", thousands(events / incidents.max(1)))),
    ];
    lines.join("\n")
}

fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::incidents::Counts;

    #[test]
    fn the_funnel_is_drawn_to_one_scale_and_fits_80_columns() {
        let text = funnel(Paint::plain(), 20_031, 894, 7);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("  events     20,031  {}", "#".repeat(BAR)));
        assert_eq!(lines[1], format!("  alerts        894  {:<BAR$}  1 for 22 events", "##"));
        assert_eq!(lines[2], format!("  incidents       7  {:<BAR$}  1 for 2,861 events", "#"));
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn an_empty_funnel_is_no_error() {
        assert!(funnel(Paint::plain(), 0, 0, 0).contains("incidents       0"));
    }

    #[test]
    fn an_incident_takes_two_lines_of_80_columns() {
        let incident = Incident {
            id: "INC-0A1B2C3D4E5F6".to_owned(),
            priority: "P1".to_owned(),
            title: "x\u{1b}".repeat(60),
            counts: Counts { firing: 0, total: 481 },
            events: 12_000,
            ..Incident::default()
        };
        let text = turn_lines(Paint::plain(), Turn::Resolved, Duration::from_secs(13), &incident);
        let (above, below) = text.split_once('\n').unwrap();
        assert!(above.starts_with("  03:11  - resolved  P1  x\\u{1b}x"), "{above}");
        assert_eq!(above.chars().count(), WIDTH);
        assert_eq!(below.trim_start(), "INC-0A1B2C3D4E5F6  481 alerts, 12,000 events");
        assert_eq!(below.len() - below.trim_start().len(), TITLE_AT);
    }
}
