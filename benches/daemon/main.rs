//! The daemon under load, as a process of its own on a real disk, beside Debian's Alertmanager on the same bytes.
//!
//! Run it with `cargo bench --bench daemon`; `prometheus-alertmanager` must be installed (`tests/servers/fetch.sh` does
//! that). It never fails because something is slow, only because something is wrong. Prints a table, and writes it as
//! JSON and Markdown to `target/bench/`. `BENCH_ONLY=http,storm` measures only rows whose name contains each of these
//! words; `BENCH_EVENTS=100000` changes the size of a storm (and of unique work, which is a fifth of it).

mod bare;
mod front;
mod grpc;
mod http;
mod line;
mod probes;
mod reading;
mod report;
mod rows;
mod rules;
mod server;
mod work;

use std::path::Path;

use anyhow::Context;

/// Events of a storm unless `BENCH_EVENTS` says otherwise.
const STORM_EVENTS: usize = 1_000_000;

fn main() -> anyhow::Result<()> {
    // Also built and started by `cargo test --benches`, which must stay quick.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench; use `cargo bench --bench daemon`");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let storm_events = match std::env::var("BENCH_EVENTS") {
        Ok(events) => events.replace('_', "").parse().context("BENCH_EVENTS must be a number of events")?,
        Err(_) => STORM_EVENTS,
    };
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    // Inside the target folder, which is on a disk; a temporary folder may be in memory, where a sync costs nothing.
    let disk = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = disk.with_file_name("bench");
    let mut report = report::Report::default();
    let wanted = |row: &&rows::Row| only.split(',').all(|word| row.name.contains(word));
    for row in rows::ROWS.iter().filter(wanted) {
        let findings = row.measure(storm_events, disk).await.with_context(|| row.name)?;
        eprintln!("{}", report::line(row, &findings));
        report.add(*row, findings);
        // After each row, so that a run that is broken off leaves what it has found.
        report.write(&folder)?;
    }
    println!("{}", report.text());
    if "reading".contains(&only) {
        let table = reading::measure(disk).await.context("reading")?;
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("reading.md"), &table)?;
        println!("{table}");
    }
    probes::measure(&only, disk).await?;
    println!("also in {}", folder.display());
    Ok(())
}
