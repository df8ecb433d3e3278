//! Says of a stream of like log lines which are worth writing: the first few of each minute.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use crate::event::Timestamp;

/// Lines a minute.
const LINES_MAX: u32 = 10;
const MINUTE_MICROS: i64 = 60_000_000;

/// See the module. Under contention a line more or less may pass.
#[derive(Debug, Default)]
pub struct Sampler {
    minute: AtomicI64,
    lines: AtomicU32,
}

impl Sampler {
    /// Whether to write the line.
    pub fn admit(&self, now: Timestamp) -> bool {
        let minute = now.as_micros().div_euclid(MINUTE_MICROS);
        if self.minute.swap(minute, Ordering::Relaxed) != minute {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_pass() {
        let sampler = Sampler::default();
        let admitted = |minute: i64| {
            let now = Timestamp::from_micros(minute * MINUTE_MICROS + 5);
            (0..50).filter(|_| sampler.admit(now)).count()
        };
        assert_eq!(admitted(7), 10);
        assert_eq!(admitted(8), 10);
    }
}
