//! The life of the process: arguments, logging, one command, an exit code.

use std::process::ExitCode;

use clap::Parser;
use incidentd::cli::Cli;
use incidentd::telemetry;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (format, filter) = cli.log();
    if let Err(error) = telemetry::init(format, &filter) {
        eprintln!("incidentd: {error}");
        return ExitCode::from(2);
    }
    cli.execute()
}
