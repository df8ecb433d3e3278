//! Finding the rules of a new alert among 10 to 10,000, and what an event does to a window of 10 to 9,000 entries.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use incidentd::event::{Batch, Event, Kind, Severity, Status};
use incidentd::rules::{Definition, RuleConfig, RuleSet, Subject, compile};

use crate::alerts::Alerts;
use crate::bench::Bench;
use crate::front::{Front, rule_set};
use crate::{BATCH, bodies, group, normalised};

struct Seen<'a> {
    batch: &'a Batch,
    event: &'a Event,
}

impl Subject for Seen<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        self.batch.label(self.event, name)
    }
    fn source(&self) -> &str {
        self.batch.text(self.event.source)
    }
    fn summary(&self) -> &str {
        self.batch.text(self.event.summary)
    }
    fn severity(&self) -> Severity {
        self.event.severity
    }
    fn status(&self) -> Status {
        self.event.status
    }
    fn kind(&self) -> Kind {
        self.event.kind
    }
}

pub fn match_rules(criterion: &mut Criterion) {
    let mut front = Front::default();
    let batch = normalised(&mut front, &bodies()[0].1);
    let mut matching = group(criterion, "match rules", BATCH);
    for rules in [10, 100, 1_000, 10_000] {
        let (set, mut found) = (rule_set(rules), Vec::new());
        matching.bench_function(rules.to_string(), |bencher| {
            bencher.iter(|| {
                for event in &batch.events {
                    set.matching(&Seen { batch: &batch, event }, &mut found);
                    black_box(&found);
                }
            });
        });
    }
}

/// A condition counts to 10,000 at most.
const ENTRIES_MAX: usize = 9_000;

/// A rule whose window is so many seconds long, which takes so many events to open an incident that it never does.
fn waiting(seconds: usize) -> Arc<RuleSet> {
    let yaml = format!("[{{ name: r, group_by: [cluster], window: {seconds}s, open_when: {{ events: 10000 }} }}]");
    let rules: Vec<RuleConfig> = serde_saphyr::from_str(&yaml).expect("the rule is valid");
    let (set, problems) = compile(&Definition::of(&rules, &[]));
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    Arc::new(set)
}

/// An event enters a window and another leaves it, changes taken.
pub fn update_windows(criterion: &mut Criterion) {
    let mut updating = group(criterion, "update a window", BATCH);
    for entries in [10, 100, 1_000, ENTRIES_MAX] {
        // An event a second, so that the window holds as many as it is long.
        let alerts = Alerts { spacing: Duration::from_secs(1), ..Alerts::default() };
        let mut bench = Bench::filled(waiting(entries), alerts, entries);
        let numbers: Vec<usize> = (0..BATCH).map(|event| event % entries).collect();
        updating.bench_function(format!("of {entries} entries"), |bencher| {
            // Read anew each time, because events of the same time are not new to a window.
            bencher.iter_custom(|rounds| {
                let mut round = || {
                    let batches = bench.read(&numbers);
                    bench.apply(&batches)
                };
                (0..rounds).map(|_| round()).sum()
            });
        });
    }
}
