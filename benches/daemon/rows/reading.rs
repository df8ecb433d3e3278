//! How fast incidents are read while a storm comes in: 10,000 are open, and readers ask on a schedule that does not wait
//! for answers, so that an answer which is late is seen as late.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use comfy_table::{Table, presets};
use incidentd::clock::{Clock, Stopwatch};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

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
/// Events that are prepared together.
const STORM_EVENTS: usize = 40 * BATCH;
/// How far apart they happen: as they would at the pace of a storm.
const SPAN: Duration = Duration::from_millis(100);
const BATCH: usize = 512;
/// How many bodies may wait for the stream, so that preparing the next ones does not slow it down.
const BODIES_AHEAD: usize = 64;
/// How long the gauges may take to show what was sent.
const BALANCED_WITHIN: Duration = Duration::from_secs(20);

/// What comes in meanwhile, over one gRPC stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storm {
    Nothing,
    /// Repeats of 1,000 alerts of open incidents.
    Repeats(Pace),
    /// New alerts of open incidents: each changes one.
    NewAlerts(Pace),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Events a second.
    Steady(u32),
    /// As fast as they are taken.
    Full,
}

const STORMS: [Storm; 5] = [
    Storm::Nothing,
    Storm::Repeats(Pace::Steady(200_000)),
    Storm::NewAlerts(Pace::Steady(20_000)),
    Storm::Repeats(Pace::Full),
    Storm::NewAlerts(Pace::Full),
];

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, pace) = match self {
            Storm::Nothing => return f.write_str("nothing"),
            Storm::Repeats(pace) => ("repeats", pace),
            Storm::NewAlerts(pace) => ("new alerts", pace),
        };
        match pace {
            Pace::Steady(rate) => write!(f, "{what}, {rate} a second"),
            Pace::Full => write!(f, "{what}, at full speed"),
        }
    }
}

/// What is asked for.
const KINDS: [&str; 4] = ["list 50", "list 1,000", "list of a service", "show"];

/// Measures, prints the table, and writes it to a folder.
pub async fn report(disk: &Path, folder: &Path) -> anyhow::Result<()> {
    let table = measure(disk).await?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("reading.md"), &table)?;
    println!("{table}\nalso in {}", folder.display());
    Ok(())
}

/// The table of all rows.
async fn measure(disk: &Path) -> anyhow::Result<String> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["meanwhile", "events/s", "asked for", "p50 ms", "p99 ms", "most ms", "p99 ≤ 50 ms"]);
    for storm in STORMS {
        for line in under(storm, disk).await.with_context(|| format!("reading meanwhile {storm}"))? {
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
    let (over, sent) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
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
        let cells =
            [storm.to_string(), format!("{rate:.0}"), kind.to_owned(), ms(share(50)), ms(share(99)), ms(share(100))];
        lines.push([&cells[..], &[met.to_owned()]].concat());
    }
    over.cancel();
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
async fn blow(
    address: SocketAddr,
    storm: Storm,
    over: CancellationToken,
    sent: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let (bodies, taken) = mpsc::channel(BODIES_AHEAD);
    let storming = std::thread::spawn(move || prepare(storm, &over, &bodies, &sent));
    grpc::push(address, ReceiverStream::new(taken)).await?;
    storming.join().map_err(|_| anyhow!("the storm broke off"))
}

/// Makes what is sent, on a thread of its own, which keeps nobody waiting who looks at the clock.
fn prepare(storm: Storm, over: &CancellationToken, bodies: &mpsc::Sender<Bytes>, sent: &AtomicUsize) {
    let start = Clock::system().now().minus(Duration::from_secs(30));
    let (began, mut made) = (Stopwatch::start(), 0_u32);
    for pass in 0.. {
        let work = Work { start: start.plus(SPAN * pass), ..Work::new(Shape::Storm, STORM_EVENTS, start) };
        let (work, first, pace) = match storm {
            Storm::Nothing => return,
            Storm::Repeats(pace) => (work, 0, pace),
            // The first so many hosts are known already; a pass has hosts of its own after them.
            Storm::NewAlerts(pace) => {
                let work = Work { alerts: STORM_EVENTS, services: OPEN, ..work };
                (work, OPEN + pass as usize * STORM_EVENTS, pace)
            }
        };
        for body in work.protobuf_from(first, BATCH) {
            if let Pace::Steady(rate) = pace {
                std::thread::sleep((Duration::from_secs(1) / rate * made).saturating_sub(began.elapsed()));
            }
            if over.is_cancelled() || bodies.blocking_send(body).is_err() {
                return;
            }
            sent.fetch_add(BATCH, Ordering::Relaxed);
            made += BATCH as u32;
        }
    }
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
