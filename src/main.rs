//! The life of the process: arguments, logging, one command, an exit code.

use std::process::ExitCode;

use clap::Parser;
use incidentd::cli::Cli;
use incidentd::telemetry;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = telemetry::init(cli.log_format(), cli.log_filter()) {
        eprintln!("incidentd: {error}");
        return ExitCode::from(2);
    }
    cli.execute()
}
