//! How long to wait: between tries, and for a sink's rate. Pure; jitter and `now` are handed in.
//!
//! Full jitter spreads the tries of many deliveries over the whole span, so that a sink that comes back is not met by
//! all of them at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::sinks::Retry;

/// A number from 0 (inclusive) to 1 (exclusive), new with every call.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Jitter for production.
pub fn random_jitter() -> Jitter {
    Arc::new(rand::random::<f64>)
}

/// The pause after so many failures in a row: anywhere between `min` and an upper end that doubles up to `max`.
pub fn pause(retry: &Retry, failures: u32, jitter: &Jitter) -> Duration {
    let doubled = retry.min.saturating_mul(1 << failures.min(30));
    spread(retry.min, doubled.min(retry.max), jitter)
}

/// The pause after a failure that only an operator can mend: the long end at once.
pub fn slow_pause(retry: &Retry, jitter: &Jitter) -> Duration {
    spread(retry.min.max(retry.max / 2), retry.max, jitter)
}

fn spread(from: Duration, to: Duration, jitter: &Jitter) -> Duration {
    from + to.saturating_sub(from).mul_f64(jitter().clamp(0.0, 1.0))
}

/// Lets so many pass a second, and a second's worth at once after a rest.
#[derive(Debug)]
pub struct TokenBucket {
    per_second: f64,
    tokens: f64,
    filled_at: Instant,
}

impl TokenBucket {
    /// A full one.
    pub fn new(per_second: f64, now: Instant) -> Self {
        Self { per_second, tokens: per_second.max(1.0), filled_at: now }
    }

    /// Takes a token, or tells when there will be one.
    ///
    /// # Errors
    /// The instant from which on a token can be taken.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let rested = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + rested * self.per_second).min(self.per_second.max(1.0));
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // A millisecond more than computed, so that rounding never makes the wait end before the token is there.
        let missing = Duration::try_from_secs_f64((1.0 - self.tokens) / self.per_second).unwrap_or(Duration::MAX);
        Err(now + missing.min(Duration::from_secs(86_400)) + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timer_now;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn pauses_double_between_min_and_max_and_are_spread_over_the_whole_span() {
        let retry = Retry::default();
        let at = |failures, jitter: f64| pause(&retry, failures, &(Arc::new(move || jitter) as Jitter));
        for failures in [1, 5, 60, u32::MAX] {
            assert_eq!(at(failures, 0.0), retry.min);
        }
        assert_eq!(at(1, 1.0), seconds(0.4));
        assert_eq!(at(4, 1.0), seconds(3.2));
        assert_eq!(at(60, 1.0), retry.max);
        assert_eq!(slow_pause(&retry, &(Arc::new(|| 0.0) as Jitter)), retry.max / 2);
        assert!((0..1_000).map(|_| random_jitter()()).all(|jitter| (0.0..1.0).contains(&jitter)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_lets_a_second_s_worth_through_and_then_the_rate() {
        let start = timer_now();
        let mut bucket = TokenBucket::new(2.0, start);
        let mut now = start;
        let mut passed = 0;
        while now < start + seconds(10.0) {
            match bucket.take(now) {
                Ok(()) => passed += 1,
                Err(next) => now = next,
            }
        }
        assert!((20..=22).contains(&passed), "{passed}");
        let mut slow = TokenBucket::new(0.001, start);
        assert!(slow.take(start).is_ok());
        assert!(slow.take(start).is_err_and(|next| next > start + seconds(999.0)));
    }
}
