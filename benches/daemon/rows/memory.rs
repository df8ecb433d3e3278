//! What a live alert of 8 labels and 2 annotations takes, a million of them at once; Alertmanager is given a fifth.

use incidentd::clock::Clock;

use super::one;
use crate::http;
use crate::line::{Line, Target, thousands};
use crate::run::Bench;
use crate::server::{self, Program};
use crate::work::{Shape, Work};

const BATCH: usize = 500;
const CONNECTIONS: usize = 4;
/// A storm's events are so many times those of unique work, which Alertmanager is given.
const SHARE: usize = 5;

/// See the module.
pub async fn measure(bench: &Bench) -> anyhow::Result<Vec<Line>> {
    let mut line =
        Line { work: format!("memory of {} live alerts", thousands(bench.storm_events as f64)), ..Line::default() };
    let programs = [Some(Program::Incidentd), bench.other.then_some(Program::Other), peer()];
    for program in programs.into_iter().flatten() {
        let share = if program == Program::Alertmanager { 1 } else { SHARE };
        let work = Work::new(Shape::Unique, bench.storm_events * share, Clock::system().now());
        let requests = http::posts("/api/v2/alerts", &work.alertmanager(BATCH));
        let send = async |address| http::send(address, requests.clone(), CONNECTIONS).await;
        let found = one(bench, program, &work, send).await?;
        match program {
            Program::Alertmanager => line.peer = Some(found),
            Program::Other => line.other = Some(found),
            Program::Incidentd | Program::Receiver(_) => line.ours = found,
        }
    }
    line.targets = vec![Target::at_most(line.ours.state_bytes, 500.0, "B, all state counted")];
    Ok(vec![line])
}

fn peer() -> Option<Program> {
    server::has_alertmanager().then_some(Program::Alertmanager)
}
