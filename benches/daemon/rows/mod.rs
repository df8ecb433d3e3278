//! The measurements, a file for each kind of work, and how one is taken of a server.

pub mod bodies;
pub mod engine;
pub mod many_rules;
pub mod memory;
pub mod reading;
pub mod single;
pub mod stream;
pub mod unary;

use std::net::SocketAddr;
use std::time::Duration;

use incidentd::clock::Stopwatch;

use crate::line::{Line, Measured};
use crate::run::Bench;
use crate::server::receiver::Receiver;
use crate::server::{self, Program, Server, books};
use crate::work::{STORM_ALERTS, Work};

/// What ours is measured beside.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    pub peer: bool,
    pub floor: Option<Receiver>,
}

impl Beside {
    /// A bare receiver only.
    pub fn floor(floor: Receiver) -> Self {
        Self { peer: false, floor: Some(floor) }
    }

    /// Alertmanager and a bare receiver.
    pub fn peer_and_floor(floor: Receiver) -> Self {
        Self { peer: true, floor: Some(floor) }
    }
}

/// Gives every program the same load, one after the other, each on a fresh server.
pub async fn compare(
    bench: &Bench,
    work: &Work,
    beside: Beside,
    load: impl AsyncFn(SocketAddr) -> anyhow::Result<Vec<Duration>>,
) -> anyhow::Result<Line> {
    let mut line = Line { ours: one(bench, Program::Incidentd, work, &load).await?, ..Line::default() };
    if bench.other {
        line.other = Some(one(bench, Program::Other, work, &load).await?);
    }
    if beside.peer && server::has_alertmanager() {
        line.peer = Some(one(bench, Program::Alertmanager, work, &load).await?);
    }
    if let Some(receiver) = beside.floor {
        line.floor = Some(one(bench, Program::Receiver(receiver), work, &load).await?);
    }
    Ok(line)
}

/// Gives a fresh server its load, which answers with the time of each request, and reads the instruments around it.
pub async fn one(
    bench: &Bench,
    program: Program,
    work: &Work,
    load: impl AsyncFn(SocketAddr) -> anyhow::Result<Vec<Duration>>,
) -> anyhow::Result<Measured> {
    let server = Server::start(program, &bench.disk).await?;
    server.rest().await?;
    let (cpu, rss, client) = (server.cpu_seconds()?, server.rss_bytes()?, server::cpu_seconds("self")?);
    let stopwatch = Stopwatch::start();
    let mut times = load(server.address).await?;
    let seconds = stopwatch.elapsed().as_secs_f64();
    let client = server::cpu_seconds("self")? - client;
    server.rest().await?;
    let (cpu, rss) = (server.cpu_seconds()? - cpu, server.rss_bytes()? - rss);
    let state = match program {
        Program::Incidentd | Program::Other => Some(books::check_ours(&server, work).await?),
        Program::Alertmanager => {
            books::check_alertmanager(&server, work).await?;
            None
        }
        Program::Receiver(_) => None,
    };
    times.sort_unstable();
    let (million, alerts) = (work.events as f64 / 1e6, work.alerts as f64);
    // Of a storm's few alerts, what each takes cannot be told from what the requests took.
    let tells_memory = work.alerts > STORM_ALERTS && !matches!(program, Program::Receiver(_));
    Ok(Measured {
        rate: Some(work.events as f64 / seconds),
        cpu: Some(cpu / million),
        client_cpu: Some(client / million),
        p50_ms: quantile_ms(&times, 0.5),
        p99_ms: quantile_ms(&times, 0.99),
        rss_bytes: tells_memory.then_some(rss / alerts),
        state_bytes: state.filter(|_| tells_memory).map(|bytes| bytes / alerts),
        seconds: None,
    })
}

/// Of sorted times; `None` of none.
pub fn quantile_ms(sorted: &[Duration], quantile: f64) -> Option<f64> {
    let place = (sorted.len() as f64 * quantile) as usize;
    Some(sorted.get(place.min(sorted.len().checked_sub(1)?))?.as_secs_f64() * 1e3)
}
