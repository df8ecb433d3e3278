//! Counts how many deliveries wait for each sink, after changes and about once a second.
//!
//! Counting costs the store time that grows with the backlog, so the pause grows with it too: counting takes at most
//! a twentieth of one core. A store that cannot be read leaves the figures as they were.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Outbox, Parts, lock};
use crate::clock::Stopwatch;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_PER_WORK: u32 = 20;

/// Runs until the outbox is gone.
pub(super) async fn count(parts: Parts, outbox: Weak<Outbox>, changed: Arc<Notify>) {
    loop {
        changed.notified().await;
        let started = Stopwatch::start();
        let reads = parts.reads.clone();
        let counted = tokio::task::spawn_blocking(move || reads.backlog()).await;
        let Some(outbox) = outbox.upgrade() else { return };
        match counted {
            Ok(Ok(backlog)) => show(&outbox, &backlog.into_iter().collect()),
            Ok(Err(error)) => tracing::warn!(%error, "cannot count the backlog of the sinks"),
            Err(error) => tracing::warn!(%error, "cannot count the backlog of the sinks"),
        }
        drop(outbox);
        tokio::time::sleep(PAUSE_MIN.max(started.elapsed() * PAUSE_PER_WORK)).await;
    }
}

fn show(outbox: &Outbox, backlog: &HashMap<String, u64>) {
    for (name, lane) in &*lock(&outbox.lanes) {
        let waiting = backlog.get(name).copied().unwrap_or(0);
        lock(&lane.view).backlog = waiting;
        outbox.parts.metrics.set_delivery_backlog(name, waiting as f64);
    }
}
