//! The measurements that need more than a stream of events: another program beside the daemon, a second start of it, or
//! a schedule that does not wait for answers.
//!
//! Each starts what it needs on a directory of its own, checks that every event is accounted for, and gives its lines
//! of the table. As everywhere here, what is slow is reported and only what is wrong is an error.

mod alerts;
mod kafka;
mod pauses;
mod process;
mod restart;
mod schedule;
mod shards;
mod storm;
mod times;
mod watch;
mod webhook;

use std::path::Path;

use anyhow::Context;

use crate::line::Line;

/// Measured with all the rest, by name.
const ALWAYS: [&str; 4] = ["kafka", "webhook", "restart", "shards"];
/// Measured only when `BENCH_ONLY` names them, because they take minutes.
const ASKED_FOR: [&str; 2] = ["storm-minutes", "pauses"];

/// Takes the measurements that `BENCH_ONLY` asks for; all of the short ones when it is empty.
pub async fn measure(only: &str, disk: &Path) -> anyhow::Result<Vec<Line>> {
    let words: Vec<&str> = only.split(',').collect();
    let short = ALWAYS.into_iter().filter(|name| words.iter().all(|word| name.contains(word)));
    let long = ASKED_FOR.into_iter().filter(|name| words.contains(name));
    let mut lines = Vec::new();
    for name in short.chain(long) {
        let found = match name {
            "kafka" => kafka::measure(disk).await,
            "webhook" => webhook::measure(disk).await,
            "restart" => restart::measure(disk).await,
            "shards" => shards::measure(disk).await,
            "storm-minutes" => storm::measure(disk).await,
            _ => pauses::measure(disk).await,
        };
        for line in found.context(name)? {
            eprintln!("{}", said(&line));
            lines.push(line);
        }
    }
    Ok(lines)
}

/// A line in short, while the run goes on.
fn said(line: &Line) -> String {
    let mut parts = vec![format!("{:?}", line.ours)];
    parts.extend(line.peer.iter().map(|peer| format!("peer {peer:?}")));
    parts.extend(line.floor.iter().map(|floor| format!("floor {floor:?}")));
    parts.extend(line.targets.iter().map(|target| match target.met {
        Some(true) => format!("{}: met", target.wording),
        Some(false) => format!("{}: NOT MET", target.wording),
        None => format!("{}: not measured", target.wording),
    }));
    let found = parts.join("; ").replace("Measured ", "").replace("Some(", "").replace(')', "");
    format!("{} {}: {found}", line.number, line.work)
}
