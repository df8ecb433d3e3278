//! The table of `docs/performance.md`: the daemon under load, as a process of its own on a real disk, beside Debian's
//! Alertmanager and beside a bare receiver on the same bytes.
//!
//! Run it with `make bench`, or `cargo bench --bench daemon`. It never fails because something is slow, only because
//! something is wrong. Prints the table, and writes it as JSON and Markdown to `target/bench/`. The variables that
//! choose and repeat rows stand in the document.

mod front;
mod grpc;
mod http;
mod line;
mod probes;
mod report;
mod rows;
mod rules;
mod run;
mod server;
mod work;

use run::{Bench, Run};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((server::receiver::ARGUMENT, rest)) = arguments.split_first().map(|(first, rest)| (&**first, rest)) {
        return server::receiver::serve(rest);
    }
    // Also built and started by `cargo test --benches`, which must stay quick.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench; use `cargo bench --bench daemon`");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let bench = Bench::from_environment()?;
    let mut run = Run::new(&bench)?;
    if run.asks_for("reading") {
        return rows::reading::report(&bench.disk, run.folder()).await;
    }
    if run.asks_for("storm-minutes") {
        run.row(0, "storm-minutes", probes::storm::measure(&bench.disk)).await?;
        run.finish();
        return Ok(());
    }
    if run.asks_for("pauses") {
        run.row(0, "pauses", probes::pauses::measure(&bench.disk)).await?;
        run.finish();
        return Ok(());
    }
    for _ in 0..run.passes {
        pass(&bench, &mut run).await?;
    }
    run.finish();
    Ok(())
}

/// Every row once, in the order of the targets.
async fn pass(bench: &Bench, run: &mut Run) -> anyhow::Result<()> {
    run.row(1, "gRPC stream of 512, storm", rows::stream::measure(bench, 512)).await?;
    run.row(1, "gRPC stream of 64, storm", rows::stream::measure(bench, 64)).await?;
    run.row(2, "gRPC unary of 512, storm", rows::unary::measure(bench, 512)).await?;
    run.row(2, "gRPC unary of 64, storm", rows::unary::measure(bench, 64)).await?;
    run.row(2, "gRPC unary of 1, storm", rows::unary::measure(bench, 1)).await?;
    run.row(3, "HTTP of 500, storm", rows::bodies::of_500(bench)).await?;
    run.row(4, "HTTP of 64, 4 connections, storm", rows::bodies::of_64(bench)).await?;
    run.row(5, "HTTP of 1, 64 connections, storm", rows::single::over_64(bench)).await?;
    run.row(6, "HTTP of 1, 4 connections, storm", rows::single::over_4(bench)).await?;
    run.row(7, "HTTP of 500, unique", rows::bodies::unique(bench)).await?;
    run.row(8, "Kafka, protobuf, storm and unique", probes::kafka::measure(bench)).await?;
    run.row(9, "memory of live alerts", rows::memory::measure(bench)).await?;
    run.row(10, "bare engine: repeats", rows::engine::repeats(bench)).await?;
    run.row(10, "bare engine: new alerts", rows::engine::new_alerts(bench)).await?;
    run.row(10, "bare engine: new incidents", rows::engine::new_incidents(bench)).await?;
    run.row(11, "10,000 rules of which 3 match, storm", rows::many_rules::storm(bench)).await?;
    run.row(11, "10,000 rules of which 3 match, new alerts", rows::many_rules::unique(bench)).await?;
    run.row(12, "webhook, idle and in a storm", probes::webhook::measure(&bench.disk)).await?;
    run.row(13, "restart", probes::restart::measure(bench)).await?;
    run.row(15, "shards, 2 against 1", probes::shards::measure(&bench.disk)).await?;
    Ok(())
}
