//! Times that were measured: quantiles, and a histogram as text.

use std::fmt::Write;
use std::time::Duration;

/// Sorted times.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that so large a part of all do not exceed, in milliseconds.
    pub fn ms(&self, part: f64) -> Option<f64> {
        let place = (self.0.len() as f64 * part) as usize;
        Some(self.0.get(place.min(self.0.len().checked_sub(1)?))?.as_secs_f64() * 1e3)
    }

    /// Counts by powers of two, from the least to the greatest that occur.
    pub fn histogram(&self) -> String {
        let bucket = |time: &Duration| (time.as_micros().max(1) as u64).ilog2();
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return String::new() };
        let mut text = String::new();
        for power in bucket(first)..=bucket(last) {
            let count = self.0.iter().filter(|time| bucket(time) == power).count();
            let bar = "#".repeat((count * 50).div_ceil(self.0.len()));
            let below = Duration::from_micros(2 << power).as_secs_f64() * 1e3;
            writeln!(text, "  < {below:>9.3} ms {count:>8} {bar}").expect("a String takes everything");
        }
        text
    }

    /// Some quantiles in one line.
    pub fn line(&self) -> String {
        let ms = |part: f64| self.ms(part).map_or_else(String::new, |ms| format!("{ms:.2}"));
        let (n, p50, p99, p999, most) = (self.len(), ms(0.5), ms(0.99), ms(0.999), ms(1.0));
        format!("{n} pushes: p50 {p50}, p99 {p99}, p99.9 {p999}, most {most} ms")
    }
}
