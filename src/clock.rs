//! The only place that reads the system's time.
//!
//! Everything else is handed a [`Clock`] or a `now`. A test moves a manual clock by hand; waiters registered with
//! [`Clock::wait_until`] on the system clock use the runtime's timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::event::Timestamp;

/// A wait is cut into pieces of this length, so that a step of the wall clock is noticed.
const LONGEST: Duration = Duration::from_secs(1);

/// Tells the time: the system's, or one that is moved by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual_micros: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self { manual_micros: Some(Arc::new(AtomicI64::new(start.as_micros()))) }
    }

    /// The present instant.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        match &self.manual_micros {
            Some(micros) => Timestamp::from_micros(micros.load(Ordering::Acquire)),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_micros(since.as_micros() as i64)
            }
        }
    }

    /// Waits until the clock shows `deadline`. A manual clock is looked at every few milliseconds.
    pub async fn wait_until(&self, deadline: Timestamp) {
        const LOOK_EVERY: Duration = Duration::from_millis(2);
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(if self.manual_micros.is_some() { LOOK_EVERY } else { left.min(LONGEST) }).await;
        }
    }

    /// Moves a manual clock; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Some(micros) = &self.manual_micros {
            micros.fetch_add(by.as_micros() as i64, Ordering::AcqRel);
        }
    }
}

/// The present instant of the runtime's timer, to schedule by. A paused test runtime moves it by hand.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
pub fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Measures how long something took, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts it.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
