//! The daemon as `run` and `demo` see it: started from a configuration, reloaded, stopped.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Failure;
use crate::app::{App, Overrides, Source, StartError};
use crate::clock::Clock;

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
    app: App,
}

impl Daemon {
    /// Starts it; events are taken when this returns.
    ///
    /// # Errors
    /// Exit code 2 when the configuration is invalid, 1 when it cannot start.
    pub async fn start(options: DaemonOptions) -> Result<Self, Failure> {
        let source = match options.config.clone() {
            Some(path) => Source::File(path),
            None => Source::Fixed(Box::default()),
        };
        let DaemonOptions { data_dir, listen, insecure, .. } = options;
        let overrides = Overrides { data_dir, listen, insecure };
        let started = App::start(source, overrides, Clock::system()).await;
        let app = started.map_err(|error| match error {
            StartError::Config(problems) => Failure::usage("the configuration cannot be used")
                .details(problems.iter().map(ToString::to_string).collect()),
            StartError::Usage(message) => Failure::usage(message),
            StartError::Failed(cause) => Failure::failed(cause),
        })?;
        Ok(Self { app })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.app.address()
    }

    /// Loads the configuration file anew; an invalid one changes nothing. The outcome is logged.
    pub async fn reload(&self) {
        let _ = self.app.reload().await;
    }

    /// Resolves when the store has failed for good, with the cause.
    pub async fn failed(&self) -> Failure {
        Failure::failed(format!("the store failed: {}", self.app.failed().await))
            .remedy("what was acknowledged is durable; mend the disk and start again")
    }

    /// Takes no more events, finishes what is in flight, and ends.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}
