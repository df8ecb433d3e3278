//! A start on a full data directory: 1,000,000 live alerts of 10,000 incidents, after a kill and after a stop. The time is
//! from the start of the process until `/-/ready` says 200, and everything must be there again.

use std::path::Path;

use anyhow::ensure;
use bytes::Bytes;
use incidentd::clock::Clock;

use super::alerts::{Alert, BATCH, Pen};
use super::schedule::{Bodies, Storm};
use crate::line::{Line, Measured, Target, thousands};
use crate::run::Bench;
use crate::server::{Server, file_sink};

/// Alerts of an incident.
const OF_AN_INCIDENT: u32 = 100;
/// In seconds.
const READY_MAX: f64 = 3.0;

pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let alerts = bench.storm_events as u32;
    let incidents = alerts / OF_AN_INCIDENT;
    let all = [
        ("incidentd_alerts", "", alerts as usize),
        ("incidentd_alerts", r#"state="firing""#, alerts as usize),
        ("incidentd_incidents", r#"status="open""#, incidents as usize),
    ];
    let config = |dir: &Path| format!("resolve_timeout: 2h\n{}", file_sink(dir));
    let mut server = Server::incidentd(&bench.disk, config).await?;
    let sent = Storm::start(server.address, None, new_alerts(0..alerts, incidents)).finish().await?;
    ensure!(sent >= alerts as usize, "{sent} events are answered");
    server.balances(&all).await?;
    let mut lines = Vec::new();
    for signal in ["KILL", "TERM"] {
        let ended = server.end(signal).await?;
        let ready = server.start_again().await?.as_secs_f64();
        let rss = server.rss_bytes()?;
        server.balances(&all).await?;
        let log = server.log();
        let told = log.lines().rev().filter(|line| line.contains("recovered") || line.contains("ready for events"));
        eprintln!("restart: {ended:.1?} until it had ended after SIG{signal}; {ready:.2} s until it was ready");
        told.take(2).for_each(|line| eprintln!("    {line}"));
        let ours = Measured { seconds: Some(ready), rss_bytes: Some(rss / f64::from(alerts)), ..Measured::default() };
        lines.push(Line {
            work: format!("restart with {} alerts after SIG{signal}", thousands(f64::from(alerts))),
            targets: vec![Target::at_most(ours.seconds, READY_MAX, "s")],
            ours,
            ..Line::default()
        });
    }
    Ok(lines)
}

/// Alerts of hosts, each once, spread over services; the last request is filled up with repeats.
pub fn new_alerts(hosts: std::ops::Range<u32>, services: u32) -> Bodies {
    let pen = Pen::default();
    let body = move |first: u32| -> Bytes {
        let alert = |host| Alert { host, service: host % services, ..Alert::default() };
        let end = hosts.end;
        let filled = (first..first + BATCH as u32).map(|host| alert(host.min(end - 1)));
        pen.request(filled, Clock::system().now())
    };
    let firsts = hosts.clone().step_by(BATCH);
    Box::new(firsts.map(body))
}
