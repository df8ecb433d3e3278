//! Edges out: one file per kind of sink, one arm in [`build`].
//!
//! A sink sends one delivery and says what became of it, as a [`SinkError`] that answers "whose fault?" and "retry?".
//! It never retries, orders, waits for a rate or remembers: that is the outbox's job. It never prints a secret.

mod config;
#[cfg(test)]
mod conformance;
mod error;
pub mod file;
pub mod kafka;
pub mod network;
mod signature;
pub mod stdout;
pub mod webhook;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::delivery::Delivery;
pub use config::{Breaker, Kind, Pacing, Problem, Retry, SinkConfig};
pub use error::SinkError;

/// The ticket that a receiver keeps for an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its name there, such as `OPS-42`.
    pub name: String,
    /// Where it can be read.
    pub url: Option<String>,
}

/// A system that is told of incidents.
///
/// **Order.** The outbox has at most one delivery of an incident in flight, so a sink need not keep order itself;
/// deliveries of different incidents arrive concurrently.
///
/// **Idempotence.** The same delivery may come again, after an error, a crash or a restart, with the same id and the
/// same bytes. A sink hands the id on wherever the receiver can use it to drop repeats.
///
/// **Confirmation.** `Ok` means that the receiver has it for good: the delivery is then forgotten. A receiver may name its
/// ticket for the incident; naming the same one again changes nothing.
///
/// **Bounded.** `deliver` ends by itself within the sink's own timeout; the outbox waits 150 seconds at most.
///
/// **Cancel safety.** Dropping the future is allowed at any point; whether the receiver got the delivery is then
/// unknown, and nothing of the sink is damaged.
pub trait Sink: Send + Sync {
    /// Tries once.
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Option<Ticket>, SinkError>>;
}

/// Builds a sink. Connects to nothing yet; `clock` stamps attempts.
///
/// # Errors
/// A sentence that names what is wrong, without any secret.
pub fn build(config: &SinkConfig, clock: &Clock) -> Result<Arc<dyn Sink>, String> {
    Ok(match &config.kind {
        Kind::Stdout(own) => Arc::new(stdout::Stdout::new(own)),
        Kind::File(own) => Arc::new(file::File::new(own)?),
        Kind::Webhook(own) => Arc::new(webhook::Webhook::new(own, clock.clone())?),
        Kind::Kafka(own) => Arc::new(kafka::Kafka::new(own)?),
    })
}
