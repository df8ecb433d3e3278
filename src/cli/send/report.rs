//! What became of the events that were sent: counted while it goes on, shown at the end.
//!
//! Complaints about single events go to stderr at once, at most [`COMPLAINTS_MAX`] of them; the rest is counted.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Map, json};

use super::push::Numbered;
use crate::cli::terminal::{Paint, Tone, escaped, table_text, thousands};
use crate::engine::decision::Outcome;
use crate::proto::{self, Verdict};

const COMPLAINTS_MAX: u64 = 20;

/// Counts of one run.
#[derive(Clone, Debug)]
pub struct Report {
    name: String,
    verdicts: [u64; Outcome::ALL.len()],
    bad_lines: u64,
    complaints: u64,
    /// How many complaints about single events are written.
    pub complaints_max: u64,
    progress: ProgressBar,
}

impl Report {
    /// An empty report on the input of this name.
    pub fn new(name: String, progress: ProgressBar) -> Self {
        Self {
            name,
            verdicts: [0; Outcome::ALL.len()],
            bad_lines: 0,
            complaints: 0,
            complaints_max: COMPLAINTS_MAX,
            progress,
        }
    }

    /// Counts a line that is no event.
    pub fn bad_line(&mut self, number: u64, error: &str) {
        self.bad_lines += 1;
        self.complain(number, error);
    }

    /// Counts answers.
    pub fn answered(&mut self, events: &[Numbered], verdicts: &[Verdict]) {
        for (event, verdict) in events.iter().zip(verdicts) {
            let outcome = outcome(verdict);
            self.verdicts[outcome as usize] += 1;
            if outcome == Outcome::Rejected {
                let Verdict { code, field, message, .. } = verdict;
                let place = if field.is_empty() { String::new() } else { format!(" {field}") };
                self.complain(event.number, &format!("rejected: {code}{place}: {message}"));
            }
        }
        self.progress.set_message(format!("{} events", thousands(self.events())));
    }

    fn complain(&mut self, number: u64, what: &str) {
        self.complaints += 1;
        if self.complaints <= self.complaints_max {
            let line = format!("{}:{number}: {}", self.name, escaped(what));
            self.progress.suspend(|| eprintln!("{line}"));
        }
    }

    /// How many events were answered.
    pub fn events(&self) -> u64 {
        self.verdicts.iter().sum()
    }

    /// Whether nothing was sent and nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.events() == 0 && self.bad_lines == 0
    }

    /// How many events met this end.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.verdicts[outcome as usize]
    }

    /// Whether every line was an event and no event was rejected.
    pub fn is_clean(&self) -> bool {
        self.bad_lines == 0 && self.count(Outcome::Rejected) == 0
    }

    /// Verdicts as a table: how many, which share, what it means.
    pub fn table(&self, paint: Paint) -> String {
        let sum = self.events().max(1) as f64;
        let met = Outcome::ALL.into_iter().filter(|outcome| self.count(*outcome) > 0);
        let row = |outcome: Outcome| {
            let (count, share) = (self.count(outcome), self.count(outcome) as f64 * 100.0 / sum);
            vec![outcome.as_str().to_owned(), thousands(count), format!("{share:.1}%"), meaning(outcome).to_owned()]
        };
        let table = table_text(&["VERDICT", "EVENTS", "SHARE", "MEANING"], met.map(row).collect(), &[1, 2]);
        let (header, rows) = table.split_once('\n').unwrap_or((&table, ""));
        format!("{}\n{rows}", paint.tone(Tone::Dim, header))
    }

    /// The summary for people.
    pub fn text(&self, took: Duration, paint: Paint) -> String {
        let events = self.events();
        let per_second = (events as f64 / took.as_secs_f64().max(0.001)) as u64;
        let seconds = took.as_secs_f64();
        let mut text = format!("{} events in {seconds:.1} s, {}/s\n", thousands(events), thousands(per_second));
        if events > 0 {
            text.push_str(&format!("\n{}\n", self.table(paint)));
        }
        if self.bad_lines > 0 {
            text.push_str(&format!("\nlines that are no events, and were not sent: {}\n", thousands(self.bad_lines)));
        }
        if self.complaints > self.complaints_max {
            let more = thousands(self.complaints - self.complaints_max);
            text.push_str(&format!("\n{more} further complaints are not shown\n"));
        }
        text.trim_end().to_owned()
    }

    /// The summary for programs.
    pub fn json(&self, took: Duration, error: Option<&str>) -> String {
        let verdicts: Map<_, _> =
            Outcome::ALL.into_iter().map(|outcome| (outcome.as_str().to_owned(), json!(self.count(outcome)))).collect();
        json!({
            "events": self.events(),
            "verdicts": verdicts,
            "bad_lines": self.bad_lines,
            "seconds": took.as_secs_f64(),
            "error": error,
        })
        .to_string()
    }
}

/// The outcome of a verdict. One that this version does not know counts as recorded: the event was taken.
fn outcome(verdict: &Verdict) -> Outcome {
    match verdict.verdict() {
        proto::Outcome::Opened => Outcome::Opened,
        proto::Outcome::Linked => Outcome::Linked,
        proto::Outcome::Updated => Outcome::Updated,
        proto::Outcome::Resolved => Outcome::Resolved,
        proto::Outcome::Duplicate => Outcome::Duplicate,
        proto::Outcome::Suppressed => Outcome::Suppressed,
        proto::Outcome::Pending => Outcome::Pending,
        proto::Outcome::Recorded | proto::Outcome::Unspecified => Outcome::Recorded,
        proto::Outcome::Stale => Outcome::Stale,
        proto::Outcome::Rejected => Outcome::Rejected,
    }
}

const fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Opened => "opened an incident",
        Outcome::Linked => "joined an open incident",
        Outcome::Updated => "said something new of a known alert",
        Outcome::Resolved => "ended its alert",
        Outcome::Duplicate => "repeats what is known",
        Outcome::Suppressed => "muted",
        Outcome::Pending => "a rule waits for more",
        Outcome::Recorded => "valid, no rule wants it",
        Outcome::Stale => "older than what is known",
        Outcome::Rejected => "not a valid event",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Event;

    fn report() -> Report {
        let mut report = Report::new("storm.jsonl".to_owned(), ProgressBar::hidden());
        let verdict = |outcome: proto::Outcome| Verdict { verdict: outcome.into(), ..Verdict::default() };
        let events: Vec<_> = (1..=4).map(|number| Numbered { number, event: Event::default() }).collect();
        use proto::Outcome::{Duplicate, Opened, Rejected};
        report.answered(&events, &[Opened, Duplicate, Duplicate, Rejected].map(verdict));
        report
    }

    #[test]
    fn the_summary_counts_every_verdict_and_every_bad_line() {
        let mut report = report();
        report.bad_line(7, "one event as a JSON object");
        assert_eq!(
            report.text(Duration::from_secs(2), Paint::plain()),
            "4 events in 2.0 s, 2/s\n\n\
             VERDICT    EVENTS  SHARE  MEANING\n\
             opened          1  25.0%  opened an incident\n\
             duplicate       2  50.0%  repeats what is known\n\
             rejected        1  25.0%  not a valid event\n\n\
             lines that are no events, and were not sent: 1"
        );
        assert!(!report.is_clean());
    }

    #[test]
    fn the_summary_for_programs_names_all_verdicts() {
        let json: serde_json::Value = serde_json::from_str(&report().json(Duration::from_secs(2), None)).unwrap();
        assert_eq!(json["verdicts"].as_object().unwrap().len(), Outcome::ALL.len());
        assert_eq!((&json["verdicts"]["duplicate"], &json["events"]), (&json!(2), &json!(4)));
    }

    #[test]
    fn every_outcome_of_the_wire_has_its_own() {
        for (index, expected) in Outcome::ALL.into_iter().enumerate() {
            let verdict = Verdict { verdict: index as i32 + 1, ..Verdict::default() };
            assert_eq!(outcome(&verdict), expected);
        }
    }
}
