//! How fast incidents are read while a storm comes in: 10,000 are open, and readers ask on a schedule that does not wait
//! for answers, so that an answer which is late is seen as late.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use comfy_table::{Table, presets};
use incidentd::clock::{Clock, Stopwatch};

use crate::grpc;
use crate::http;
use crate::server::{Program, Server};
use crate::work::{Shape, Work};

/// Incidents that are open.
const OPEN: usize = 10_000;
/// Requests of a row and kind, one every [`EVERY`].
const REQUESTS: usize = 150;
const EVERY: Duration = Duration::from_millis(40);
/// What listing and showing must reach.
const GOAL: Duration = Duration::from_millis(50);
/// Events that are prepared of a storm; they are sent again and again.
const STORM_EVENTS: usize = 200_000;
const BATCH: usize = 512;
/// How long the gauges may take to show what was sent.
const BALANCED_WITHIN: Duration = Duration::from_secs(20);

/// What comes in meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storm {
    Nothing,
    /// Repeats of 1,000 alerts of open incidents, as fast as they are taken.
    Repeats,
    /// New alerts of open incidents, as fast as they are taken: each changes an incident.
    NewAlerts,
}

/// What is asked for.
const KINDS: [&str; 4] = ["list 50", "list 1,000", "list of a service", "show"];

/// The table of all rows.
pub async fn measure(disk: &Path) -> anyhow::Result<String> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["meanwhile", "events/s", "asked for", "p50 ms", "p99 ms", "most ms", "p99 ≤ 50 ms"]);
    for storm in [Storm::Nothing, Storm::Repeats, Storm::NewAlerts] {
        for line in under(storm, disk).await.with_context(|| format!("reading under {storm:?}"))? {
            eprintln!("reading: {}", line.join(" | "));
            table.add_row(line);
        }
    }
    Ok(table.to_string())
}

async fn under(storm: Storm, disk: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    let server = Server::start(Program::Incidentd, disk).await?;
    let address = server.address;
    let start = Clock::system().now().minus(Duration::from_secs(60));
    let open = Work { events: OPEN, alerts: OPEN, services: OPEN, start };
    grpc::push_stream(address, open.protobuf(BATCH)).await?;
    let ids = Arc::new(open_incidents(&server).await?);
    let (over, sent) = (Arc::new(AtomicBool::new(storm == Storm::Nothing)), Arc::new(AtomicUsize::new(0)));
    let storming = tokio::spawn(blow(address, storm, over.clone(), sent.clone()));
    let mut lines = Vec::new();
    for kind in KINDS {
        let (stopwatch, before) = (Stopwatch::start(), sent.load(Ordering::Relaxed));
        let mut times = ask(address, kind, ids.clone()).await?;
        let rate = (sent.load(Ordering::Relaxed) - before) as f64 / stopwatch.elapsed().as_secs_f64();
        times.sort_unstable();
        let share = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
        let met = if share(99) <= GOAL { "met" } else { "NOT MET" };
        let what = match storm {
            Storm::Nothing => "nothing",
            Storm::Repeats => "repeats",
            Storm::NewAlerts => "new alerts",
        };
        let cells =
            [what.to_owned(), format!("{rate:.0}"), kind.to_owned(), ms(share(50)), ms(share(99)), ms(share(100))];
        lines.push([&cells[..], &[met.to_owned()]].concat());
    }
    over.store(true, Ordering::Relaxed);
    storming.await??;
    Ok(lines)
}

/// Waits until all are open, and names them.
async fn open_incidents(server: &Server) -> anyhow::Result<Vec<String>> {
    let stopwatch = Stopwatch::start();
    loop {
        let open = server.metrics().await?.sum("incidentd_incidents", r#"status="open""#);
        if open == OPEN as f64 {
            break;
        }
        ensure!(stopwatch.elapsed() < BALANCED_WITHIN, "{open} incidents are open, not {OPEN}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut ids = Vec::new();
    let mut cursor = String::new();
    while ids.len() < OPEN {
        let answer = http::get(server.address, &format!("/api/v1/incidents?limit=1000&cursor={cursor}")).await?;
        let page: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let incidents = page["incidents"].as_array().context("a list")?;
        ids.extend(incidents.iter().filter_map(|incident| incident["id"].as_str().map(str::to_owned)));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    ensure!(ids.len() == OPEN, "{} incidents are listed", ids.len());
    Ok(ids)
}

/// Sends until it is over.
async fn blow(address: SocketAddr, storm: Storm, over: Arc<AtomicBool>, sent: Arc<AtomicUsize>) -> anyhow::Result<()> {
    let start = Clock::system().now().minus(Duration::from_secs(30));
    let mut pass = 0;
    while !over.load(Ordering::Relaxed) {
        let work = match storm {
            Storm::Nothing => return Ok(()),
            Storm::Repeats => {
                Work { start: start.plus(Duration::from_secs(pass)), ..Work::new(Shape::Storm, STORM_EVENTS, start) }
            }
            // The first so many hosts are known already; a pass has hosts of its own after them.
            Storm::NewAlerts => {
                let events = STORM_EVENTS / 10;
                Work { events, alerts: events, services: OPEN, start: start.plus(Duration::from_secs(pass)) }
            }
        };
        let bodies = if storm == Storm::NewAlerts {
            work.protobuf_from(OPEN + pass as usize * work.events, BATCH)
        } else {
            work.protobuf(BATCH)
        };
        pass += 1;
        for piece in bodies.chunks(32) {
            if over.load(Ordering::Relaxed) {
                break;
            }
            grpc::push_stream(address, piece.to_vec()).await?;
            sent.fetch_add(piece.len() * BATCH, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// How long each answer took from when it was to be asked for.
async fn ask(address: SocketAddr, kind: &'static str, ids: Arc<Vec<String>>) -> anyhow::Result<Vec<Duration>> {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut asked = Vec::with_capacity(REQUESTS);
    let began = Stopwatch::start();
    for number in 0..REQUESTS {
        tick.tick().await;
        let due = EVERY * number as u32;
        let mut path = "/api/v1/incidents".to_owned();
        match kind {
            "list 50" => {}
            "list 1,000" => path.push_str("?limit=1000"),
            "list of a service" => write!(path, "?status=open&service=service-{:04}", number * 37 % OPEN)?,
            _ => write!(path, "/{}", ids[number * 61 % ids.len()])?,
        }
        asked.push(tokio::spawn(async move {
            let answer = http::get(address, &path).await?;
            let took = began.elapsed().saturating_sub(due);
            ensure!(answer.status == 200 && answer.body.len() > 400, "{path} answers {}", answer.status);
            Ok(took)
        }));
    }
    let mut times = Vec::with_capacity(REQUESTS);
    for one in asked {
        times.push(one.await??);
    }
    Ok(times)
}
