//! The tail at a million live alerts: one alert is posted every 2 ms while tables grow, snapshots are taken, the
//! configuration is loaded anew, and alerts lapse and are forgotten in masses.
//!
//! Times count from when a request was due, so that a pause is seen by every request that falls into it. What the machine
//! itself lost meanwhile (`watch`) is taken off, for a thread that has no core or a timer that fires late is no pause of
//! the daemon; a disk that syncs slowly is only named beside it, because the daemon's own writing may be why.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use incidentd::clock::{Clock, Stopwatch};
use incidentd::event::Timestamp;

use super::alerts::{Alert, BATCH, Pen};
use super::restart::new_alerts;
use super::schedule::{Bodies, Lane, Push, Pushes, Storm};
use super::times::Times;
use super::watch::{Seen, Watch};
use crate::line::{Line, Measured, Target};
use crate::server::{Server, file_sink};

const EVERY: Duration = Duration::from_millis(2);
/// Live alerts before and after the tables grow, and their incidents.
const BEFORE: u32 = 850_000;
const LIVE: u32 = 1_200_000;
const INCIDENTS: u32 = 10_000;
const GROWTH: u32 = 50_000;
/// Repeats of all alerts, a second.
const REPEATS: u32 = 200_000;
/// Alerts that lapse at one instant, and new ones a second meanwhile.
const LAPSING: u32 = 200_000;
const NEW: u32 = 20_000;
/// A lease, and how long what ended is remembered.
const LEASE: Duration = Duration::from_secs(90);
/// When what lapses together does, from the beginning of its phase.
const LAPSES_AFTER: Duration = Duration::from_secs(12);
const PAUSE_MAX: Duration = Duration::from_millis(20);
const WORST_SHOWN: usize = 5;

/// What happens while alerts are posted.
struct Phase {
    name: &'static str,
    seconds: u64,
    storm: Option<(u32, Bodies)>,
    reloads: bool,
}

pub async fn measure(disk: &Path) -> anyhow::Result<Vec<Line>> {
    let seconds = LEASE.as_secs();
    let config = |dir: &Path| format!("resolve_timeout: {seconds}s\nlateness: 30s\n{}", file_sink(dir));
    let server = Server::incidentd_whose_rule(disk, "    resolve_after: 5s\n    reopen_within: 20s\n", config).await?;
    Storm::start(server.address, None, new_alerts(0..BEFORE, INCIDENTS)).finish().await?;
    server.balances(&[("incidentd_alerts", "", BEFORE as usize)]).await?;
    server.rest().await?;
    let mut lines = Vec::new();
    // Made when its turn comes, because what it sends is of that time.
    let phase = |name, seconds, storm, reloads| Phase { name, seconds, storm, reloads };
    for number in 0..6 {
        let phase = match number {
            0 => phase("growth past 1,048,576", 10, Some((GROWTH, new_alerts(BEFORE..LIVE, INCIDENTS))), false),
            1 => phase("nothing else", 10, None, false),
            2 => phase("a storm of repeats, with snapshots", 40, Some((REPEATS, repeats())), false),
            3 => phase("a changed configuration every second", 12, None, true),
            4 => phase("200,000 lapse at once, new ones come", 25, Some((NEW, lapsing_and_new())), false),
            _ => phase("a million lapse and are forgotten", 2 * seconds + 15, None, false),
        };
        lines.push(under(&server, phase, disk).await?);
    }
    Ok(lines)
}

async fn under(server: &Server, phase: Phase, disk: &Path) -> anyhow::Result<Line> {
    let Phase { name, seconds, storm, reloads } = phase;
    let (address, began, first) = (server.address, Stopwatch::start(), Clock::system().now());
    let before = server.metrics().await?;
    let watch = Watch::start(server.pid(), disk.join(format!("sync-{}", server.pid())), began);
    let post = move |number: usize| {
        let alert = Alert { host: 90_000_000 + number as u32 % 1_000, service: INCIDENTS, ..Alert::default() };
        Pen::post(address, &alert, first.plus(EVERY * number as u32))
    };
    let pushes = Pushes::start(address, began, EVERY, Arc::new(post));
    let storm = storm.map(|(rate, bodies)| Storm::start(address, Some(rate), bodies));
    if reloads {
        reload_every_second(server, seconds).await?;
    } else {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    let sent = match storm {
        Some(storm) => storm.end().await?,
        None => 0,
    };
    let pushes = pushes.end().await?;
    let seen = watch.end()?;
    let metrics = server.balances(&[]).await?;
    let journal = metrics.sum("incidentd_journal_bytes_total", "") - before.sum("incidentd_journal_bytes_total", "");
    let (state, alerts) = (metrics.sum("incidentd_state_bytes", ""), metrics.sum("incidentd_alerts", ""));
    println!(
        "## {name}\n{sent} events beside the pushes; {alerts} alerts afterwards; {:.0} MB of state, {:.0} MB of journal written",
        state / 1e6,
        journal / 1e6
    );
    Ok(judged(name, &pushes, &seen))
}

/// Prints what was found, and holds it against the target.
fn judged(name: &str, pushes: &[Push], seen: &Seen) -> Line {
    let times = Times::new(pushes.iter().map(|push| push.took).collect());
    println!("{}\n{}{}", times.line(), times.histogram(), seen.line());
    let own = |push: &Push| push.took.saturating_sub(seen.lost(push.due, push.due + push.took));
    let long = pushes.iter().filter(|push| push.took > PAUSE_MAX).count();
    let own_long = pushes.iter().filter(|push| own(push) > PAUSE_MAX).count();
    let most = pushes.iter().map(own).max().unwrap_or_default().as_secs_f64() * 1e3;
    println!("over 20 ms: {long}, without what the machine lost: {own_long}, at most {most:.1} ms");
    let mut worst: Vec<&Push> = pushes.iter().filter(|push| push.took > PAUSE_MAX).collect();
    worst.sort_unstable_by_key(|push| std::cmp::Reverse(own(push)));
    for push in worst.into_iter().take(WORST_SHOWN) {
        let until = push.due + push.took;
        let (lost, sync) = (seen.lost(push.due, until), seen.sync(push.due, until));
        println!(
            "  at {:.3?}: {:.1?}, of which the machine lost {lost:.1?}; a sync took {sync:.1?}",
            push.due, push.took
        );
    }
    let ours = Measured { p50_ms: times.ms(0.5), p99_ms: times.ms(0.99), ..Measured::default() };
    let target = Target::at_most(Some((most * 10.0).round() / 10.0), PAUSE_MAX.as_millis() as f64, "ms at most");
    Line { work: format!("pauses: {name}"), ours, targets: vec![target], ..Line::default() }
}

/// Every time with one rule more or one less.
async fn reload_every_second(server: &Server, seconds: u64) -> anyhow::Result<()> {
    let (file, address) = (server.config_file(), server.address);
    let plain = std::fs::read_to_string(&file)?;
    let (head, rules) = plain.split_once("rules:\n").context("no rules")?;
    let more =
        format!("{head}rules:\n  - name: added\n    match: ['service=\"added\"']\n    group_by: [cluster]\n{rules}");
    let reloading = tokio::task::spawn_blocking(move || {
        let mut lane = Lane::open(address)?;
        let began = Stopwatch::start();
        for number in 0..seconds {
            std::thread::sleep(Duration::from_secs(number).saturating_sub(began.elapsed()));
            // Written at once, so that the daemon's own look at the file sees no half of it.
            let new = file.with_extension("new");
            std::fs::write(&new, if number % 2 == 0 { &more } else { &plain })?;
            std::fs::rename(new, &file)?;
            let stopwatch = Stopwatch::start();
            lane.ask(format!("POST /-/reload HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
            eprintln!("a reload took {:.1?}", stopwatch.elapsed());
        }
        anyhow::Ok(())
    });
    reloading.await??;
    let last = server.metrics().await?.sum("incidentd_config_last_reload_successful", "");
    ensure!(last == 1.0, "a reload failed");
    Ok(())
}

/// Repeats of all alerts, in turns.
fn repeats() -> Bodies {
    let pen = Pen::default();
    let mut next = 0;
    Box::new(std::iter::repeat_with(move || {
        let first = next;
        next = (next + BATCH as u32) % LIVE;
        let alert = move |number| {
            let host = (first + number) % LIVE;
            Alert { host, service: host % INCIDENTS, ..Alert::default() }
        };
        pen.request((0..BATCH as u32).map(alert), Clock::system().now())
    }))
}

/// First alerts that all lapse at one instant, then such as hold.
fn lapsing_and_new() -> Bodies {
    const FIRST: u32 = 2_000_000;
    let at: Timestamp = Clock::system().now().minus(LEASE).plus(LAPSES_AFTER);
    let pen = Pen::default();
    let lapsing = (FIRST..FIRST + LAPSING).step_by(BATCH).map(move |first| {
        let alert = |host| Alert { host, service: host % INCIDENTS, ..Alert::default() };
        pen.request((first..first + BATCH as u32).map(alert), at)
    });
    Box::new(lapsing.chain(new_alerts(FIRST + 2 * LAPSING..FIRST + 100 * LAPSING, INCIDENTS)))
}
