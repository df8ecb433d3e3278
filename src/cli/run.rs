//! `incidentd run`: the daemon, until it is told to stop.
//!
//! SIGINT and SIGTERM stop it in order, a second one at once. SIGHUP loads the configuration anew.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use super::daemon::{Daemon, DaemonOptions};
use crate::config::{Config, LogFormat};
use crate::telemetry;

const EXAMPLES: &str = "\
Examples:
  incidentd run
  incidentd run --config /etc/incidentd/incidentd.yaml --data-dir /var/lib/incidentd

Without a file it runs on embedded defaults: loopback listener, state in ./incidentd-data, a default
rule set, incidents printed by the `stdout` sink.

Signals: SIGHUP loads the configuration anew; SIGINT and SIGTERM stop in order, a second one at once.";

/// The arguments of `run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the state is kept; goes before the file's `data_dir`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen; goes before the file's `listen`.
    #[arg(long, value_name = "ADDR", value_parser = super::address)]
    listen: Option<SocketAddr>,
    /// Listen beyond loopback although no authentication is configured.
    #[arg(long)]
    insecure: bool,
}

impl RunArgs {
    /// How and what the configuration wants logged; the default where it cannot be read, which `run` then says.
    pub(super) fn log(&self) -> (telemetry::Format, &'static str) {
        let loaded = self.config.as_deref().and_then(|path| Config::load(path).ok());
        let log = loaded.map(|loaded| loaded.config.log).unwrap_or_default();
        let format = match log.format {
            LogFormat::Auto => telemetry::Format::Auto,
            LogFormat::Text => telemetry::Format::Text,
            LogFormat::Json => telemetry::Format::Json,
        };
        (format, log.level.as_str())
    }
}

/// Runs the command.
///
/// # Errors
/// When the configuration is invalid or the daemon cannot start.
pub async fn run(args: RunArgs) -> Result<(), Failure> {
    let RunArgs { config, data_dir, listen, insecure } = args;
    let on = |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")));
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let mut hangup = on(SignalKind::hangup())?;
    let daemon = Daemon::start(DaemonOptions { config, data_dir, listen, insecure }).await?;
    loop {
        tokio::select! {
            _ = hangup.recv() => daemon.reload().await,
            () = either(&mut interrupt, &mut terminate) => break,
            failure = daemon.failed() => return Err(failure),
        }
    }
    tokio::select! {
        () = daemon.stop() => Ok(()),
        () = either(&mut interrupt, &mut terminate) => Err(Failure::failed("stopped at once; what was acknowledged is durable")),
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
