//! `POST /api/v2/alerts` with many alerts in a body, over a few connections with one request under way on each.

use incidentd::clock::Clock;

use super::{Beside, compare};
use crate::http;
use crate::line::{Line, Target};
use crate::run::Bench;
use crate::server::receiver::Receiver;
use crate::work::{Shape, Work};

const CONNECTIONS: usize = 4;

/// A storm, 500 alerts a body.
pub async fn of_500(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let mut line = measure(bench, Shape::Storm, 500).await?;
    line.targets = vec![
        Target::at_least(line.ours.rate, 450_000.0, "/s"),
        Target::at_most(line.ours.cpu, 2.3, "CPU s/M"),
        Target::at_least(line.times_faster(), 8.0, "× Alertmanager's rate"),
        Target::at_least(line.times_cheaper(), 14.0, "× cheaper"),
    ];
    Ok(vec![line])
}

/// A storm, 64 alerts a body.
pub async fn of_64(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let mut line = measure(bench, Shape::Storm, 64).await?;
    line.targets =
        vec![Target::at_least(line.ours.rate, 250_000.0, "/s"), Target::at_most(line.ours.cpu, 3.5, "CPU s/M")];
    Ok(vec![line])
}

/// Different alerts only, 500 a body.
pub async fn unique(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let mut line = measure(bench, Shape::Unique, 500).await?;
    line.targets =
        vec![Target::at_most(line.ours.cpu, 4.0, "CPU s/M"), Target::at_least(line.times_cheaper(), 10.0, "× cheaper")];
    Ok(vec![line])
}

async fn measure(bench: &Bench, shape: Shape, batch: usize) -> anyhow::Result<Line> {
    let work = Work::new(shape, bench.storm_events, Clock::system().now());
    let requests = http::posts("/api/v2/alerts", &work.alertmanager(batch));
    compare(bench, &work, Beside::peer_and_floor(Receiver::Http), async |address| {
        http::send(address, requests.clone(), CONNECTIONS).await
    })
    .await
}
