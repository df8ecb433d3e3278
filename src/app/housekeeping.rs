//! What happens by the second: gauges, the conservation law, a changed configuration or services file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use xxhash_rust::xxh3::xxh3_64;

use super::{Shared, Source};
use crate::config::named_services_file;
use crate::metrics::{Invariant, Metrics};
use crate::runtime::{ReadModel, Runtime, StatsBoard};

const TICK: Duration = Duration::from_secs(1);
/// Ticks between two looks at the configuration file, and between two drains of the histograms.
const SLOW: u64 = 2;

/// What the chores look at.
pub(super) struct Views {
    read_model: Arc<ReadModel>,
    stats: Arc<StatsBoard>,
}

impl Views {
    pub(super) fn of(runtime: &Runtime) -> Self {
        Self { read_model: runtime.read_model.clone(), stats: runtime.stats.clone() }
    }
}

/// Runs until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, views: Views) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut law = ConservationLaw::default();
    for tick in 0_u64.. {
        ticks.tick().await;
        views.stats.publish(&shared.metrics);
        views.read_model.publish(&shared.metrics);
        law.check(&shared.metrics);
        if tick % SLOW != 0 {
            continue;
        }
        shared.metrics.upkeep();
        let now = fingerprint(&shared.source, &shared.last_read).await;
        if now.is_some() && now != shared.last_read.get() {
            // Both outcomes are logged and counted by the reload itself.
            let _ = shared.reload().await;
        }
    }
}

/// What the configuration's files were when they were last read, whoever asked for it and whatever came of it, so that a
/// file is neither read twice nor left alone when it is put back soon after it was refused.
#[derive(Debug, Default)]
pub(super) struct LastRead {
    fingerprint: Mutex<Option<u64>>,
    /// Which services file a configuration of this hash names, so that it is looked for in a changed one only.
    services_file: Arc<Mutex<(u64, Option<PathBuf>)>>,
}

impl LastRead {
    pub(super) fn get(&self) -> Option<u64> {
        *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, fingerprint: Option<u64>) {
        *self.fingerprint.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
    }
}

/// A hash of what the file and the services file that it names hold, `None` where the file cannot be read at the moment.
pub(super) async fn fingerprint(source: &Source, last_read: &LastRead) -> Option<u64> {
    let Source::File(path) = source else { return None };
    let (path, named) = (path.clone(), last_read.services_file.clone());
    let hashed = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(path).ok()?;
        let hash = xxh3_64(&bytes);
        let mut named = named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.0 != hash {
            *named = (hash, std::str::from_utf8(&bytes).ok().and_then(named_services_file));
        }
        Some(hash ^ named.1.as_deref().map_or(0, services_hash))
    });
    hashed.await.ok()?
}

/// One that is missing has a hash as well, so that it is noticed when it comes. A pipe is not waited for.
fn services_hash(path: &Path) -> u64 {
    let regular = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let bytes = regular.then(|| std::fs::read(path).ok()).flatten();
    bytes.map_or(1, |bytes| xxh3_64(&bytes).rotate_left(1))
}

/// Received = verdicts + in flight. The three are counted apart, so they are compared only when nothing moved for a
/// whole tick.
#[derive(Debug, Default)]
struct ConservationLaw {
    last: (u64, u64, i64),
    broken: bool,
}

impl ConservationLaw {
    fn check(&mut self, metrics: &Metrics) {
        let (received, verdicts, in_flight) = metrics.conservation();
        let at_rest = (received, verdicts, in_flight) == self.last;
        self.last = (received, verdicts, in_flight);
        let holds = received as i64 == verdicts as i64 + in_flight;
        if at_rest && !holds && !self.broken {
            metrics.violated(Invariant::Conservation);
            tracing::error!(received, verdicts, in_flight, "received is not verdicts plus in flight");
        }
        self.broken = at_rest && !holds;
    }
}
