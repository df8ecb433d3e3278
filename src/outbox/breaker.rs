//! The circuit breaker of one sink: after some failures in a row only single probes go out, ever more rarely.
//!
//! Pure: `now` and the pauses are handed in.

use std::time::Duration;

use tokio::time::Instant;

/// Watches a sink's answers.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, probes: u32 },
    Probing { probes: u32 },
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// Everything.
    Open,
    /// One delivery, to see.
    Probe,
    /// Nothing before this instant; with `None`, nothing before the probe under way has ended.
    Shut(Option<Instant>),
}

impl Breaker {
    /// A closed one that opens after so many failures in a row.
    pub fn new(failures_max: u32) -> Self {
        Self { failures_max, state: State::Closed { failures: 0 } }
    }

    /// What may be sent.
    pub fn gate(&self, now: Instant) -> Gate {
        match self.state {
            State::Closed { .. } => Gate::Open,
            State::Open { until, .. } if until > now => Gate::Shut(Some(until)),
            State::Open { .. } => Gate::Probe,
            State::Probing { .. } => Gate::Shut(None),
        }
    }

    /// A probe goes out.
    pub fn probe(&mut self) {
        if let State::Open { probes, .. } = self.state {
            self.state = State::Probing { probes: probes + 1 };
        }
    }

    /// The sink answered sensibly. Tells whether that closed the breaker.
    pub fn succeeded(&mut self) -> bool {
        let was_open = self.is_open();
        self.state = State::Closed { failures: 0 };
        was_open
    }

    /// The sink failed. Tells whether that opened the breaker. `pause` is asked for the wait before the n-th probe.
    pub fn failed(&mut self, was_probe: bool, now: Instant, pause: impl FnOnce(u32) -> Duration) -> bool {
        match self.state {
            State::Closed { failures } if failures + 1 < self.failures_max => {
                self.state = State::Closed { failures: failures + 1 };
                false
            }
            State::Closed { .. } => {
                self.state = State::Open { until: now + pause(1), probes: 0 };
                true
            }
            State::Probing { probes } if was_probe => {
                self.state = State::Open { until: now + pause(probes + 1), probes };
                false
            }
            // A straggler that was in flight when the breaker opened says nothing new.
            State::Open { .. } | State::Probing { .. } => false,
        }
    }

    /// Whether it holds deliveries back.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// The public name of its state.
    pub const fn as_str(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::Probing { .. } => "probing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::timer_now;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_probes_singly_and_closes_on_an_answer() {
        let now = timer_now();
        let mut breaker = Breaker::new(3);
        let pause = |probes: u32| SECOND * probes;
        assert!(!breaker.failed(false, now, pause) && !breaker.failed(false, now, pause));
        assert!(!breaker.succeeded(), "an answer between starts the count anew");
        assert!(!breaker.failed(false, now, pause) && !breaker.failed(false, now, pause));
        assert!(breaker.failed(false, now, pause));
        assert_eq!(breaker.gate(now), Gate::Shut(Some(now + SECOND)));
        assert!(!breaker.failed(false, now, pause), "a straggler changes nothing");
        assert_eq!(breaker.gate(now + SECOND), Gate::Probe);
        breaker.probe();
        assert_eq!(breaker.gate(now + SECOND), Gate::Shut(None));
        assert!(!breaker.failed(true, now + SECOND, pause));
        assert_eq!(breaker.gate(now + SECOND), Gate::Shut(Some(now + 3 * SECOND)), "longer with every probe");
        breaker.probe();
        assert!(breaker.succeeded());
        assert_eq!(breaker.gate(now), Gate::Open);
    }
}
