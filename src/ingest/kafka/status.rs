//! What the thread of a source and its handle tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// How a Kafka source is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KafkaStatus {
    /// Its configured name.
    pub name: String,
    /// Partitions that it reads.
    pub partitions: usize,
    /// Why nothing is read at present.
    pub stalled: Option<String>,
    /// What is wrong with the cluster, as far as librdkafka knows; cleared by the next record.
    pub trouble: Option<String>,
    /// Whether it has ended.
    pub stopped: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    name: Arc<str>,
    stopping: AtomicBool,
    stopped: AtomicBool,
    grace_millis: AtomicU64,
    partitions: AtomicUsize,
    has_trouble: AtomicBool,
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    stalled: Option<String>,
    trouble: Option<String>,
}

impl Shared {
    pub fn new(name: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            name,
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            grace_millis: AtomicU64::new(0),
            partitions: AtomicUsize::new(0),
            has_trouble: AtomicBool::new(false),
            words: Mutex::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn status(&self) -> KafkaStatus {
        let words = self.words();
        KafkaStatus {
            name: self.name.to_string(),
            partitions: self.partitions.load(Ordering::Acquire),
            stalled: words.stalled.clone(),
            trouble: words.trouble.clone(),
            stopped: self.stopped.load(Ordering::Acquire),
        }
    }

    pub fn stop(&self, grace: Duration) {
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.grace_millis.store(millis, Ordering::Release);
        self.stopping.store(true, Ordering::Release);
    }

    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn stopped(&self) {
        self.stopped.store(true, Ordering::Release);
        self.set_partitions(0);
    }

    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_millis.load(Ordering::Acquire))
    }

    pub fn set_partitions(&self, partitions: usize) {
        self.partitions.store(partitions, Ordering::Release);
    }

    pub fn stalled(&self, why: &str) {
        let mut words = self.words();
        if words.stalled.as_deref() != Some(why) {
            words.stalled = Some(why.to_owned());
        }
    }

    pub fn flowing(&self) {
        self.words().stalled = None;
    }

    /// Keeps, and says once, what is wrong with the cluster.
    pub fn troubled(&self, trouble: &str) {
        let mut words = self.words();
        if words.trouble.as_deref() != Some(trouble) {
            tracing::warn!(source = self.name(), error = trouble, "trouble with Kafka, trying on");
            words.trouble = Some(trouble.to_owned());
            self.has_trouble.store(true, Ordering::Release);
        }
    }

    /// A record came: the trouble is over. Called for each record, so it is one load when there was none.
    pub fn healthy(&self) {
        if self.has_trouble.load(Ordering::Acquire) {
            self.has_trouble.store(false, Ordering::Release);
            self.words().trouble = None;
            tracing::info!(source = self.name(), "records come from Kafka again");
        }
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
