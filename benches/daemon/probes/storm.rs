//! Minutes of a storm at 80 % of what the daemon takes at most: is memory flat, is the tail flat, do the books balance.
//!
//! First some seconds at full speed find the maximum; then events come in over gRPC at 80 % of it, whether or not they are
//! taken as fast, and a single alert is posted every 20 ms, timed from when it was due. Most events repeat known alerts;
//! one in a hundred is a new one, half of which are resolved and half just lapse, so that incidents open, resolve and
//! close, and alerts are forgotten as fast as they come. `BENCH_STORM_MINUTES` says how long (10).

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use comfy_table::{Table, presets};
use incidentd::clock::{Clock, Stopwatch};

use super::alerts::{Alert, BATCH, Pen};
use super::schedule::{Bodies, Push, Pushes, Storm};
use super::times::Times;
use crate::line::{Line, Measured, Target};
use crate::server::{Server, file_sink};

const MINUTES: u32 = 10;
const LOUD: Duration = Duration::from_secs(10);
const SHARE: f64 = 0.8;
const EVERY: Duration = Duration::from_millis(20);
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Known alerts, and their services.
const KNOWN: u32 = 10_000;
const SERVICES: u32 = 100;
/// Of a batch: so many alerts are new, and so many that were new so many batches ago are resolved.
const NEW: u32 = 6;
const RESOLVED: usize = 3;
const RESOLVED_AFTER: usize = 2_000;
/// New alerts of a service.
const OF_A_SERVICE: u32 = 1_000;
/// Leases, and how long what ended is remembered; short, so that minutes show what otherwise takes hours.
const TIMES: &str = "resolve_timeout: 30s\nlateness: 30s\n";
const RULE: &str = "    resolve_after: 5s\n    reopen_within: 20s\n";
/// Flat: the last third is at most so much above the second.
const RSS_RISE: f64 = 1.05;
const P99_RISE: f64 = 2.0;

/// What was seen after a while.
struct Sample {
    at: Duration,
    sent: usize,
    rss: f64,
    state: f64,
    alerts: f64,
}

pub async fn measure(disk: &Path) -> anyhow::Result<Vec<Line>> {
    let minutes = match std::env::var("BENCH_STORM_MINUTES") {
        Ok(minutes) => minutes.parse().context("BENCH_STORM_MINUTES must be a number")?,
        Err(_) => MINUTES,
    };
    let config = |dir: &Path| format!("{TIMES}{}", file_sink(dir));
    let server = Server::incidentd_whose_rule(disk, RULE, config).await?;
    let most = loudest(&server).await?;
    let rate = (most * SHARE) as u32;
    eprintln!("storm: {most:.0} events/s at most; {rate}/s for {minutes} minutes");
    let (cpu, began) = (server.cpu_seconds()?, Stopwatch::start());
    let (first, address) = (Clock::system().now(), server.address);
    let pushes = Pushes::start(
        address,
        began,
        EVERY,
        Arc::new(move |number: usize| {
            let alert = Alert { host: 90_000_000 + number as u32 % KNOWN, service: SERVICES, ..Alert::default() };
            Pen::post(address, &alert, first.plus(EVERY * number as u32))
        }),
    );
    let storm = Storm::start(server.address, Some(rate), mixed());
    let samples = sample(&server, &storm, began, minutes).await?;
    let behind = f64::from(rate) * began.elapsed().as_secs_f64() - storm.sent() as f64;
    let (sent, seconds) = (storm.end().await?, began.elapsed().as_secs_f64());
    let (pushes, cpu) = (pushes.end().await?, server.cpu_seconds()? - cpu);
    server.balances(&[]).await?;
    report(&samples, &pushes, behind, rate)
        .map(|(rss_rise, p99_rise)| line(&pushes, (sent as f64 / seconds, cpu / sent as f64 * 1e6), rss_rise, p99_rise))
}

/// Events a second at full speed, leaving out the first third.
async fn loudest(server: &Server) -> anyhow::Result<f64> {
    let storm = Storm::start(server.address, None, mixed());
    tokio::time::sleep(LOUD / 3).await;
    let (before, stopwatch) = (storm.sent(), Stopwatch::start());
    tokio::time::sleep(LOUD * 2 / 3).await;
    let rate = (storm.sent() - before) as f64 / stopwatch.elapsed().as_secs_f64();
    storm.end().await?;
    server.rest().await?;
    Ok(rate)
}

async fn sample(server: &Server, storm: &Storm, began: Stopwatch, minutes: u32) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for number in 0..=minutes * 60 / SAMPLE_EVERY.as_secs() as u32 {
        tokio::time::sleep((SAMPLE_EVERY * number).saturating_sub(began.elapsed())).await;
        let metrics = server.metrics().await?;
        let broken = metrics.sum("incidentd_invariant_violations_total", "");
        ensure!(broken == 0.0, "{broken} laws are broken");
        samples.push(Sample {
            at: began.elapsed(),
            sent: storm.sent(),
            rss: server.rss_bytes()?,
            state: metrics.sum("incidentd_state_bytes", ""),
            alerts: metrics.sum("incidentd_alerts", ""),
        });
        let Some(Sample { at, sent, rss, alerts, .. }) = samples.last() else { continue };
        eprintln!("storm: {at:.0?}: {sent} sent, {:.0} MB resident, {alerts} alerts", rss / 1e6);
    }
    Ok(samples)
}

/// Prints the table, and gives by how much memory and the tail have risen from the second third to the last.
fn report(samples: &[Sample], pushes: &[Push], behind: f64, rate: u32) -> anyhow::Result<(f64, f64)> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["second", "events/s", "RSS MB", "state MB", "alerts", "p50 ms", "p99 ms", "most ms"]);
    let mut tails = Vec::new();
    for (before, after) in samples.iter().zip(&samples[1..]) {
        let within = pushes.iter().filter(|push| (before.at..after.at).contains(&push.due));
        let times = Times::new(within.map(|push| push.took).collect());
        let ms = |part| times.ms(part).unwrap_or_default();
        let rate = (after.sent - before.sent) as f64 / (after.at - before.at).as_secs_f64();
        let cells = [after.at.as_secs_f64(), rate, after.rss / 1e6, after.state / 1e6, after.alerts];
        let cells = cells.iter().map(|cell| format!("{cell:.0}"));
        table.add_row(cells.chain([0.5, 0.99, 1.0].map(|part| format!("{:.1}", ms(part)))));
        tails.push(ms(0.99));
    }
    println!("{table}\n{behind:.0} events behind {rate}/s at the end");
    let rise = |values: &[f64]| -> anyhow::Result<f64> {
        let third = values.len() / 3;
        ensure!(third > 0, "too short to see whether it is flat");
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(mean(&values[2 * third..]) / mean(&values[third..2 * third]))
    };
    let rss: Vec<f64> = samples[1..].iter().map(|sample| sample.rss).collect();
    Ok((rise(&rss)?, rise(&tails)?))
}

fn line(pushes: &[Push], (rate, cpu): (f64, f64), rss_rise: f64, p99_rise: f64) -> Vec<Line> {
    let times = Times::new(pushes.iter().map(|push| push.took).collect());
    println!("{}\n{}", times.line(), times.histogram());
    let ours = Measured {
        rate: Some(rate),
        cpu: Some(cpu),
        p50_ms: times.ms(0.5),
        p99_ms: times.ms(0.99),
        ..Measured::default()
    };
    let targets = vec![
        Target::at_most(Some((rss_rise * 1e3).round() / 1e3), RSS_RISE, "times the memory of the second third"),
        Target::at_most(Some((p99_rise * 1e2).round() / 1e2), P99_RISE, "times the p99 of the second third"),
    ];
    vec![Line { work: "storm of minutes at 80 %".to_owned(), ours, targets, ..Line::default() }]
}

/// See the module.
fn mixed() -> Bodies {
    let pen = Pen::default();
    let (mut known, mut next, mut waiting) = (0, KNOWN, VecDeque::<u32>::new());
    Box::new(std::iter::repeat_with(move || {
        let mut alerts: Vec<Alert> = Vec::with_capacity(BATCH);
        for host in next..next + NEW {
            alerts.push(Alert { host, service: 1_000 + host / OF_A_SERVICE, ..Alert::default() });
            waiting.extend((host % 2 == 0).then_some(host));
        }
        next += NEW;
        while waiting.len() > RESOLVED_AFTER * RESOLVED {
            let host = waiting.pop_front().unwrap_or_default();
            alerts.push(Alert { host, service: 1_000 + host / OF_A_SERVICE, resolved: true, ..Alert::default() });
        }
        while alerts.len() < BATCH {
            alerts.push(Alert { host: known, service: known % SERVICES, ..Alert::default() });
            known = (known + 1) % KNOWN;
        }
        pen.request(alerts.into_iter(), Clock::system().now())
    }))
}
