//! One alert a request: what a sync and a wake-up cost when they cannot be shared by a batch.
//!
//! The rate is that of a closed loop. Latency over 64 connections is that of an open loop at a part of that rate, each
//! time from when the request was due.

use std::sync::Arc;

use bytes::Bytes;
use incidentd::clock::Clock;

use super::{Beside, compare, one};
use crate::http;
use crate::line::{Line, Measured, Target};
use crate::run::Bench;
use crate::server::Program;
use crate::server::receiver::Receiver;
use crate::work::{Shape, Work};

const MANY: usize = 64;
const FEW: usize = 4;
/// So many times fewer events than a storm, over many connections and over few.
const SHARE_OF_MANY: usize = 5;
const SHARE_OF_FEW: usize = 20;
/// The part of the closed loop's rate at which latency is measured.
const OPEN_SHARE: f64 = 0.6;
/// How long that takes, while a storm has a million events.
const OPEN_SECONDS: f64 = 8.0;

/// Over 64 connections.
pub async fn over_64(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let mut closed = closed(bench, SHARE_OF_MANY, MANY, Receiver::Http).await?;
    closed.targets = vec![Target::at_least(closed.ours.rate, 33_000.0, "/s")];
    let mut open = Line {
        work: "the same, open loop at 60 %".to_owned(),
        ours: open(bench, Program::Incidentd, closed.ours.rate).await?,
        ..Line::default()
    };
    if let Some(other) = &closed.other {
        open.other = Some(self::open(bench, Program::Other, other.rate).await?);
    }
    if let Some(peer) = &closed.peer {
        open.peer = Some(self::open(bench, Program::Alertmanager, peer.rate).await?);
    }
    open.targets = vec![Target::at_most(open.ours.p99_ms, 5.0, "ms p99")];
    Ok(vec![closed, open])
}

/// Over 4 connections, each of which waits for its sync. The floor is a receiver that syncs, too.
pub async fn over_4(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let mut line = closed(bench, SHARE_OF_FEW, FEW, Receiver::HttpSynced).await?;
    line.targets = vec![Target::at_least(line.ours.rate, 8_000.0, "/s durable")];
    Ok(vec![line])
}

async fn closed(bench: &Bench, share: usize, connections: usize, floor: Receiver) -> anyhow::Result<Line> {
    let (work, requests) = storm(bench.storm_events / share);
    compare(bench, &work, Beside::peer_and_floor(floor), async |address| {
        http::send(address, requests.clone(), connections).await
    })
    .await
}

/// At a part of a program's own rate.
async fn open(bench: &Bench, program: Program, closed_rate: Option<f64>) -> anyhow::Result<Measured> {
    let rate = closed_rate.unwrap_or_default().max(1_000.0) * OPEN_SHARE;
    let seconds = OPEN_SECONDS * bench.storm_events as f64 / 1e6;
    let (work, requests) = storm((rate * seconds) as usize);
    one(bench, program, &work, async |address| http::send_at_rate(address, requests.clone(), MANY, rate).await).await
}

fn storm(events: usize) -> (Work, Arc<Vec<Bytes>>) {
    let work = Work::new(Shape::Storm, events.max(1), Clock::system().now());
    (work, http::posts("/api/v2/alerts", &work.alertmanager(1)))
}
