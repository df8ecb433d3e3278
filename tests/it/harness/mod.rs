//! What the end-to-end tests stand on: the real binary, a real Kafka broker, a real Prometheus, a webhook receiver.
//!
//! Everything is started on free ports of the loopback and ended with the test process. A server that cannot be fetched
//! or started fails the test that needs it.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod alertmanager;
pub mod daemon;
pub mod events;
pub mod exposition;
pub mod kafka;
pub mod prometheus;
pub mod receiver;
pub mod servers;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

pub use daemon::Daemon;
pub use kafka::Broker;
pub use receiver::Receiver;

/// How long any condition may take to come true on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a condition holds; fails the test when it does not in time.
pub async fn eventually(what: &str, deadline: Duration, mut holds: impl AsyncFnMut() -> bool) {
    attempt(what, deadline, async || if holds().await { Ok(()) } else { Err("not yet".to_owned()) }).await;
}

/// Waits until an attempt succeeds; the failure says why the last one did not.
pub async fn attempt<T>(what: &str, deadline: Duration, mut attempt: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut last = String::from("no attempt was finished");
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let trying = async {
        loop {
            tick.tick().await;
            match attempt().await {
                Ok(done) => return done,
                Err(error) => last = error,
            }
        }
    };
    let done = tokio::time::timeout(deadline, trying).await.ok();
    done.unwrap_or_else(|| panic!("waited {deadline:?} in vain until {what}: {last}"))
}

/// Lets so much time pass; for load that runs for a while, never to wait for something.
pub async fn pass(time: Duration) {
    let mut ticks = tokio::time::interval(time);
    ticks.tick().await;
    ticks.tick().await;
}

/// A port of the loopback below those that outgoing connections get, so that it stays free while its owner is down.
pub fn free_port() -> u16 {
    let port = || 20_000 + rand::random::<u16>() % 12_000;
    let free = |port: &u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    (0..100).map(|_| port()).find(free).expect("a free port")
}

/// The root of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A client for plain HTTP.
pub fn http_client() -> reqwest::Client {
    // Fails only where a provider is installed already, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(20)).build().expect("a client")
}
