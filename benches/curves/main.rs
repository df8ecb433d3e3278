//! What an event costs as the work grows: with live alerts, rules, labels, the entries of a window, and shards. Draws
//! `docs/performance/*.svg` and prints the same as tables.
//!
//! `cargo bench --bench curves` (or `make curves`), with a picture's name to take only that: about 2 minutes and 4 GB of
//! memory for 5,000,000 alerts. Each point is the median of many
//! requests of 512 events on one thread without I/O, of shards the best of eight rounds.

mod alerts;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod bench;
mod picture;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../daemon/front.rs"]
mod front;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../daemon/rules.rs"]
mod rules;

use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use incidentd::clock::Stopwatch;
use incidentd::rules::{Definition, RuleConfig, RuleSet, compile};

use alerts::Alerts;
use bench::{Bench, ROUNDS};
use front::rule_set;
use picture::{Line, Picture};
use rules::RULES;

const NANOSECONDS: &str = "nanoseconds an event";

/// Measures and draws what has this name.
type Take = fn(&'static str) -> Picture;

fn main() -> anyhow::Result<()> {
    // Also built and started by `cargo test --benches`, which must stay quick.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench; use `cargo bench --bench curves`");
        return Ok(());
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance");
    std::fs::create_dir_all(&folder)?;
    let pictures: [(&str, Take); 5] = [
        ("alerts", over_alerts),
        ("rules", over_rules),
        ("labels", over_labels),
        ("windows", over_windows),
        ("shards", over_shards),
    ];
    for (name, take) in pictures {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            let watch = Stopwatch::start();
            let picture = take(name);
            picture.draw(&folder)?;
            println!("{name}, {:.0} s\n\n{}", watch.elapsed().as_secs_f64(), picture.table());
        }
    }
    println!("drawn in {}", folder.display());
    Ok(())
}

fn over_alerts(name: &'static str) -> Picture {
    let mut lines = ["repeat, from bytes", "repeat, engine alone", "new alert, from bytes"].map(Line::new);
    for alerts in [1_000, 10_000, 100_000, 1_000_000, 5_000_000] {
        let mut bench = Bench::filled(rule_set(RULES), Alerts::default(), alerts);
        let (repeat, new) = (bench.repeats(), bench.new_alerts());
        for (line, cost) in lines.iter_mut().zip([repeat.whole, repeat.apply, new.whole]) {
            line.points.push((alerts as f64, cost));
        }
    }
    let title = "An event's cost as live alerts grow";
    Picture { name, title, x: "live alerts", y: NANOSECONDS, lines: lines.into() }
}

fn over_rules(name: &'static str) -> Picture {
    let mut lines = ["repeat, from bytes", "new alert, from bytes"].map(Line::new);
    for rules in [10, 100, 1_000, 10_000] {
        let mut bench = Bench::filled(rule_set(rules), Alerts::default(), 100_000);
        for (line, cost) in lines.iter_mut().zip([bench.repeats(), bench.new_alerts()]) {
            line.points.push((rules as f64, cost.whole));
        }
    }
    let title = "An event's cost as rules grow, of which one matches";
    Picture { name, title, x: "rules", y: NANOSECONDS, lines: lines.into() }
}

fn over_labels(name: &'static str) -> Picture {
    const ALERTS: usize = 1_000;
    let mut lines = ["whole", "decode", "normalise", "engine"].map(Line::new);
    for labels in [2, 4, 8, 16, 32] {
        // With two labels the service alone tells alerts apart.
        let alerts = Alerts { labels, services: ALERTS, ..Alerts::default() };
        let cost = Bench::filled(rule_set(RULES), alerts, ALERTS).repeats();
        for (line, cost) in lines.iter_mut().zip([cost.whole, cost.decode, cost.normalise, cost.apply]) {
            line.points.push((labels as f64, cost));
        }
    }
    let title = "A repeat's cost as its labels grow";
    Picture { name, title, x: "labels of an event", y: NANOSECONDS, lines: lines.into() }
}

/// A condition counts to 10,000 at most, so that a window of so many does not open an incident.
const ENTRIES_MAX: usize = 9_000;

/// One rule with one group, whose window holds as many entries as it is long in seconds.
fn window(condition: &str, entries: usize) -> Arc<RuleSet> {
    let yaml = format!("[{{ name: r, group_by: [cluster], window: {entries}s, open_when: {{ {condition} }} }}]");
    let rules: Vec<RuleConfig> = serde_saphyr::from_str(&yaml).expect("the rule is valid");
    let (set, problems) = compile(&Definition::of(&rules, &[]));
    assert!(problems.iter().all(|problem| problem.warning), "{problems:?}");
    Arc::new(set)
}

fn over_windows(name: &'static str) -> Picture {
    const CONDITIONS: [(&str, &str); 4] = [
        ("no window: alerts: 1", "alerts: 1"),
        ("events", "events: 10000"),
        ("alerts", "alerts: 10000"),
        ("sequence", "sequence: [{ match: ['env=production'] }, { match: ['env=never'] }]"),
    ];
    let mut lines = CONDITIONS.map(|(name, _)| Line::new(name));
    for entries in [10, 100, 1_000, ENTRIES_MAX] {
        for (line, (_, condition)) in lines.iter_mut().zip(CONDITIONS) {
            // As many alerts as seconds, so that each has one entry.
            let alerts = Alerts { services: 50, spacing: Duration::from_secs(1), ..Alerts::default() };
            let cost = Bench::filled(window(condition, entries), alerts, entries).repeats();
            line.points.push((entries as f64, cost.apply));
        }
    }
    let title = "The engine's cost of an event as its group's window grows";
    let x = "entries of the window: its length in seconds, at one event a second";
    Picture { name, title, x, y: NANOSECONDS, lines: lines.into() }
}

/// Millions of events a second that so many engines apply, each on a thread of its own with its share of the alerts.
fn rate(shards: usize, alerts: usize) -> f64 {
    const EVENTS: usize = 200_000;
    let (known, share, barrier) = (alerts / shards, EVENTS / shards, Barrier::new(shards));
    let round = |bench: &mut Bench| {
        let numbers: Vec<usize> = (0..share).map(|event| event % known).collect();
        let batches = bench.read(&numbers);
        barrier.wait();
        let time = bench.apply(&batches);
        barrier.wait();
        time
    };
    let thread = || {
        let mut bench = Bench::filled(rule_set(RULES), Alerts::default(), known);
        (0..ROUNDS * 2).map(|_| round(&mut bench)).collect::<Vec<Duration>>()
    };
    let times: Vec<Vec<Duration>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..shards).map(|_| scope.spawn(thread)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    // A round is over when the slowest thread is.
    let slowest = |round: usize| times.iter().map(|times| times[round]).max().unwrap_or_default();
    let best = (0..ROUNDS * 2).map(slowest).min().unwrap_or_default();
    (share * shards) as f64 / best.as_micros() as f64
}

fn over_shards(name: &'static str) -> Picture {
    let mut lines = ["1,000 alerts", "200,000 alerts"].map(Line::new);
    for shards in [1, 2] {
        for (line, alerts) in lines.iter_mut().zip([1_000, 200_000]) {
            line.points.push((shards as f64, rate(shards, alerts)));
        }
    }
    let title = "Repeats that engines apply, each on a core of its own";
    Picture { name, title, x: "shards", y: "million events a second", lines: lines.into() }
}
