//! One gRPC stream, sent as fast as it is taken.

use incidentd::clock::Clock;

use super::{Beside, compare};
use crate::grpc;
use crate::line::{Line, Target};
use crate::run::Bench;
use crate::server::receiver::Receiver;
use crate::work::{Shape, Work};

/// In batches of one size.
pub async fn measure(bench: &Bench, batch: usize) -> anyhow::Result<Vec<Line>> {
    let work = Work::new(Shape::Storm, bench.storm_events, Clock::system().now());
    let requests = work.protobuf(batch);
    let mut line = compare(bench, &work, Beside::floor(Receiver::Grpc), async |address| {
        let requests = requests.clone();
        crate::http::on_one_thread(async move { grpc::push_stream(address, requests).await }).await?;
        Ok(Vec::new())
    })
    .await?;
    line.targets =
        vec![Target::at_most(line.ours.cpu, 0.8, "CPU s/M"), Target::at_least(line.ours.rate, 1_200_000.0, "/s")];
    Ok(vec![line])
}
