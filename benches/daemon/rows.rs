//! What is measured, what each measurement must reach, and how one is taken.
//!
//! Correctness stays on: after each row the books must balance and the alerts and incidents must be those that were
//! sent. A row that fails that is an error; one that is slow is only reported.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use incidentd::clock::{Clock, Stopwatch};
use incidentd::formats::Format;
use serde::Serialize;

use crate::bare;
use crate::grpc;
use crate::http;
use crate::rules::RULES;
use crate::server::{Program, Server};
use crate::work::{Shape, Work};

/// How long the gauges may take to show what was sent.
const BALANCED_WITHIN: Duration = Duration::from_secs(20);

/// Where events go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// One `PushStream`.
    Grpc,
    /// `POST /api/v2/alerts` on four connections.
    Http,
    /// No door: decode, normalise, apply and take the changes in this process.
    Bare(Format),
}

/// What a row must reach.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// CPU seconds of the server per million events, at most.
    CpuSeconds(f64),
    /// So many times less CPU than Alertmanager, at least.
    TimesCheaper(f64),
    /// Growth of resident memory per live alert, at most.
    Bytes(f64),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub door: Door,
    pub shape: Shape,
    pub batch: usize,
    pub goals: &'static [Goal],
}

const PROTOBUF: Door = Door::Bare(Format::EventProtobuf);
const JSON: Door = Door::Bare(Format::Alertmanager);

const fn row(name: &'static str, (door, shape, batch): (Door, Shape, usize), goals: &'static [Goal]) -> Row {
    Row { name, door, shape, batch, goals }
}

/// Every row, in the order of the table.
pub const ROWS: [Row; 12] = [
    row("grpc-512 storm", (Door::Grpc, Shape::Storm, 512), &[Goal::CpuSeconds(1.5)]),
    row("grpc-64 storm", (Door::Grpc, Shape::Storm, 64), &[Goal::CpuSeconds(1.5)]),
    row("grpc-512 unique", (Door::Grpc, Shape::Unique, 512), &[Goal::Bytes(1_000.0)]),
    row("grpc-64 unique", (Door::Grpc, Shape::Unique, 64), &[Goal::Bytes(1_000.0)]),
    row("http-500 storm", (Door::Http, Shape::Storm, 500), &[Goal::TimesCheaper(8.0)]),
    row("http-64 storm", (Door::Http, Shape::Storm, 64), &[]),
    row("http-500 unique", (Door::Http, Shape::Unique, 500), &[Goal::TimesCheaper(5.0), Goal::Bytes(1_000.0)]),
    row("http-64 unique", (Door::Http, Shape::Unique, 64), &[Goal::TimesCheaper(5.0), Goal::Bytes(1_000.0)]),
    row("engine-protobuf storm", (PROTOBUF, Shape::Storm, 512), &[]),
    row("engine-protobuf unique", (PROTOBUF, Shape::Unique, 512), &[]),
    row("engine-json storm", (JSON, Shape::Storm, 500), &[]),
    row("engine-json unique", (JSON, Shape::Unique, 500), &[]),
];

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    pub events: usize,
    pub events_per_second: f64,
    pub cpu_seconds_per_million: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Growth of resident memory.
    pub rss_bytes_per_alert: Option<f64>,
    /// What the server itself says that its state takes.
    pub state_bytes_per_alert: Option<f64>,
}

/// A row's findings, and the peer's on the same bytes.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub ours: Measured,
    pub alertmanager: Option<Measured>,
}

impl Findings {
    /// How many times less CPU than Alertmanager.
    pub fn times_cheaper(&self) -> Option<f64> {
        Some(self.alertmanager.as_ref()?.cpu_seconds_per_million / self.ours.cpu_seconds_per_million)
    }
}

impl Goal {
    /// Whether it is reached; `None` when what it asks for was not measured.
    pub fn met(self, findings: &Findings) -> Option<bool> {
        match self {
            Goal::CpuSeconds(most) => Some(findings.ours.cpu_seconds_per_million <= most),
            Goal::TimesCheaper(least) => Some(findings.times_cheaper()? >= least),
            Goal::Bytes(most) => Some(findings.ours.rss_bytes_per_alert? <= most),
        }
    }
}

impl Row {
    /// Takes the measurement, on servers that are started for it below `disk`.
    pub async fn measure(&self, storm_events: usize, disk: &Path) -> anyhow::Result<Findings> {
        let work = Work::new(self.shape, storm_events, Clock::system().now());
        match self.door {
            Door::Bare(format) => Ok(Findings { ours: self.bare(&work, format)?, alertmanager: None }),
            Door::Grpc => {
                let bodies = work.protobuf(self.batch);
                let server = Server::start(Program::Incidentd, disk).await?;
                let ours = self.over(&server, Program::Incidentd, &work, async {
                    grpc::push_stream(server.address, bodies).await?;
                    Ok(Vec::new())
                });
                Ok(Findings { ours: ours.await?, alertmanager: None })
            }
            Door::Http => {
                let bodies = work.alertmanager(self.batch);
                let ours = self.over_http(Program::Incidentd, &work, &bodies, disk).await?;
                let alertmanager = self.over_http(Program::Alertmanager, &work, &bodies, disk).await?;
                Ok(Findings { ours, alertmanager: Some(alertmanager) })
            }
        }
    }

    async fn over_http(
        &self,
        program: Program,
        work: &Work,
        bodies: &[bytes::Bytes],
        disk: &Path,
    ) -> anyhow::Result<Measured> {
        let server = Server::start(program, disk).await?;
        let requests = http::posts(server.address, "/api/v2/alerts", bodies);
        self.over(&server, program, work, http::send(server.address, requests)).await
    }

    /// Sends the load, which answers with the time of each request, and reads the instruments around it.
    async fn over(
        &self,
        server: &Server,
        program: Program,
        work: &Work,
        load: impl Future<Output = anyhow::Result<Vec<Duration>>>,
    ) -> anyhow::Result<Measured> {
        server.rest().await?;
        let (cpu, rss) = (server.cpu_seconds()?, server.rss_bytes()?);
        let stopwatch = Stopwatch::start();
        let mut times = load.await?;
        let seconds = stopwatch.elapsed().as_secs_f64();
        server.rest().await?;
        let (cpu, rss) = (server.cpu_seconds()? - cpu, server.rss_bytes()? - rss);
        let state = match program {
            Program::Incidentd => Some(check_ours(server, work).await?),
            Program::Alertmanager => {
                check_alertmanager(server, work).await?;
                None
            }
        };
        times.sort_unstable();
        let unique = self.shape == Shape::Unique;
        Ok(Measured {
            events: work.events,
            events_per_second: work.events as f64 / seconds,
            cpu_seconds_per_million: cpu / work.events as f64 * 1e6,
            p50_ms: quantile_ms(&times, 0.5),
            p99_ms: quantile_ms(&times, 0.99),
            rss_bytes_per_alert: unique.then_some(rss / work.alerts as f64),
            state_bytes_per_alert: state.filter(|_| unique).map(|bytes| bytes / work.alerts as f64),
        })
    }

    fn bare(&self, work: &Work, format: Format) -> anyhow::Result<Measured> {
        let bodies = match format {
            Format::Alertmanager => work.alertmanager(self.batch),
            Format::Event | Format::EventProtobuf => work.protobuf(self.batch),
        };
        let outcome = bare::run(&bodies, format, RULES)?;
        ensure!(outcome.alerts == work.alerts as u64, "{} alerts, {} were sent", outcome.alerts, work.alerts);
        ensure!(outcome.incidents == work.services as u64, "{} incidents for {}", outcome.incidents, work.services);
        let unique = self.shape == Shape::Unique;
        Ok(Measured {
            events: work.events,
            events_per_second: work.events as f64 / outcome.cpu_seconds,
            cpu_seconds_per_million: outcome.cpu_seconds / work.events as f64 * 1e6,
            state_bytes_per_alert: unique.then_some(outcome.state_bytes as f64 / work.alerts as f64),
            ..Measured::default()
        })
    }
}

fn quantile_ms(sorted: &[Duration], quantile: f64) -> Option<f64> {
    let place = (sorted.len() as f64 * quantile) as usize;
    Some(sorted.get(place.min(sorted.len().checked_sub(1)?))?.as_secs_f64() * 1e3)
}

/// The books of our daemon; returns the bytes of its state. Gauges follow by the second, so it may take some.
async fn check_ours(server: &Server, work: &Work) -> anyhow::Result<f64> {
    let stopwatch = Stopwatch::start();
    loop {
        match balanced(server, work).await {
            Err(_) if stopwatch.elapsed() < BALANCED_WITHIN => tokio::time::sleep(Duration::from_millis(200)).await,
            result => return result,
        }
    }
}

async fn balanced(server: &Server, work: &Work) -> anyhow::Result<f64> {
    let metrics = server.metrics().await?;
    for (what, found, expected) in [
        ("received", metrics.sum("incidentd_events_received_total", ""), work.events),
        ("decided", metrics.sum("incidentd_events_total", ""), work.events),
        ("rejected", metrics.sum("incidentd_events_total", r#"verdict="rejected""#), 0),
        ("in flight", metrics.sum("incidentd_events_in_flight", ""), 0),
        ("broken laws", metrics.sum("incidentd_invariant_violations_total", ""), 0),
        ("firing alerts", metrics.sum("incidentd_alerts", r#"state="firing""#), work.alerts),
        ("alerts", metrics.sum("incidentd_alerts", ""), work.alerts),
        ("open incidents", metrics.sum("incidentd_incidents", r#"status="open""#), work.services),
        ("incidents", metrics.sum("incidentd_incidents", ""), work.services),
        ("openings told", server.told("opened") as f64, work.services),
    ] {
        ensure!(found == expected as f64, "{what}: {found}, expected {expected}");
    }
    Ok(metrics.sum("incidentd_state_bytes", ""))
}

async fn check_alertmanager(server: &Server, work: &Work) -> anyhow::Result<()> {
    let metrics = server.metrics().await?;
    for (what, found, expected) in [
        ("received", metrics.sum("alertmanager_alerts_received_total", r#"version="v2""#), work.events),
        ("alerts", metrics.sum("alertmanager_alerts", ""), work.alerts),
    ] {
        ensure!(found == expected as f64, "Alertmanager, {what}: {found}, expected {expected}");
    }
    Ok(())
}
