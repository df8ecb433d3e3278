//! Unary gRPC calls over one connection, 64 under way.

use incidentd::clock::Clock;

use super::{Beside, compare};
use crate::grpc;
use crate::line::{Line, Target};
use crate::run::Bench;
use crate::server::receiver::Receiver;
use crate::work::{Shape, Work};

const UNDER_WAY: usize = 64;
/// Calls with one event are so many times fewer than a storm's events.
const SHARE_OF_ONE: usize = 5;

/// In batches of one size, for which there is a target.
pub async fn measure(bench: &Bench, batch: usize) -> anyhow::Result<Vec<Line>> {
    let events = if batch == 1 { bench.storm_events / SHARE_OF_ONE } else { bench.storm_events };
    let work = Work::new(Shape::Storm, events, Clock::system().now());
    let messages = grpc::framed(&work.protobuf(batch));
    let mut line = compare(bench, &work, Beside::floor(Receiver::Grpc), async |address| {
        grpc::push_unary(address, messages.clone(), UNDER_WAY).await
    })
    .await?;
    let least = match batch {
        512 => Some(700_000.0),
        64 => Some(450_000.0),
        1 => Some(32_000.0),
        _ => None,
    };
    line.targets = least.map(|least| Target::at_least(line.ours.rate, least, "/s")).into_iter().collect();
    Ok(vec![line])
}
