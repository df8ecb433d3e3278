//! The daemon as `run` and `demo` see it: started from a configuration, reloaded, stopped.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Failure;

/// What the command line says about a daemon; it goes before the configuration file.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// The configuration file; embedded defaults where `None`.
    pub config: Option<PathBuf>,
    /// Where the state is kept.
    pub data_dir: Option<PathBuf>,
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Listen beyond loopback without authentication.
    pub insecure: bool,
}

/// A daemon that runs in this process.
#[derive(Debug)]
pub struct Daemon {
    local_addr: SocketAddr,
}

impl Daemon {
    /// Starts it; events are taken when this returns.
    ///
    /// # Errors
    /// Exit code 2 when the configuration is invalid, 1 when it cannot start.
    pub async fn start(options: DaemonOptions) -> Result<Self, Failure> {
        let DaemonOptions { config, data_dir, listen, insecure } = options;
        tracing::debug!(?config, ?data_dir, ?listen, insecure, "the daemon is not part of this build");
        Err(Failure::failed("the daemon is not part of this build"))
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Loads the configuration file anew; an invalid one changes nothing.
    pub async fn reload(&self) {}

    /// Takes no more events, finishes what is in flight, and ends.
    pub async fn stop(self) {}
}
