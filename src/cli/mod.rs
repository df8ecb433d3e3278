//! The command line: what users type, and what exit code they get.
//!
//! Exit codes: 0 done; 1 it ran and failed; 2 wrong usage or invalid configuration. A failure is one line about the
//! cause and, where there is one, one line about the remedy, on stderr.

pub mod check;
mod client;
mod daemon;
mod demo;
mod incidents;
mod problems;
mod report;
mod rules;
mod run;
mod schema;
mod send;
mod silences;
mod sinks;
pub mod terminal;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::telemetry;
use terminal::{escaped, say};

const ABOUT: &str = "Turns a flood of monitoring events into the few incidents that matter, exactly and at once";

const EXAMPLES: &str = "\
Examples:
  incidentd demo                              the first minute: a storm through the real daemon
  incidentd run                               the daemon on embedded defaults, 127.0.0.1:9095
  incidentd check --strict incidentd.yaml     is this configuration right?
  incidentd send --shift-times storm.jsonl    push a recording, see what becomes of it
  incidentd incidents list --status open      what is broken now

Exit codes: 0 done; 1 it ran and failed; 2 wrong usage or invalid configuration.";

/// The arguments of the process.
#[derive(Debug, Parser)]
#[command(name = "incidentd", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What is logged: error, warn, info, debug, trace, or directives such as `info,incidentd::store=debug`
    /// [default: the configuration's for `run`, else warn].
    #[arg(long, global = true, value_name = "LEVEL", env = "INCIDENTD_LOG", help_heading = "Logs")]
    log_level: Option<String>,
    /// How logs are written, to stderr.
    /// [default: the configuration's for `run`, else auto].
    #[arg(long, global = true, value_name = "FORMAT", value_enum, help_heading = "Logs")]
    log_format: Option<telemetry::Format>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::RunArgs),
    /// Play a night's event storm through the real daemon, and watch it become a handful of incidents.
    Demo(demo::DemoArgs),
    /// Validate configuration.
    #[command(after_help = "Example:\n  incidentd check --strict incidentd.yaml")]
    Check {
        /// Take what is only unwise for an error.
        #[arg(long)]
        strict: bool,
        /// Show when maintenance windows open next.
        #[arg(long)]
        explain: bool,
        /// Configuration files.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    Send(send::SendArgs),
    Incidents(incidents::IncidentsArgs),
    Problems(problems::ProblemsArgs),
    Rules(rules::RulesArgs),
    Silences(silences::SilencesArgs),
    Sinks(sinks::SinksArgs),
    Report(report::ReportArgs),
    Schema(schema::SchemaArgs),
    /// Print shell completions.
    #[command(after_help = "Example:\n  incidentd completions bash > /etc/bash_completion.d/incidentd")]
    Completions {
        /// For which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Which daemon is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// The daemon's listener.
    #[arg(long, env = "INCIDENTD_URL", default_value = "http://127.0.0.1:9095", help_heading = "Daemon")]
    pub url: String,
    /// Sent as a bearer token.
    #[arg(long, env = "INCIDENTD_TOKEN", hide_env_values = true, help_heading = "Daemon", value_parser = filled)]
    pub token: Option<String>,
}

/// Why a command ends with another exit code than 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: u8,
    cause: String,
    details: Vec<String>,
    remedy: Option<String>,
}

impl Cli {
    /// How and what is logged: as the command line says, else as the configuration of `run` does.
    pub fn log(&self) -> (telemetry::Format, String) {
        let (format, level) = match &self.command {
            Command::Run(args) => args.log(),
            _ => (telemetry::Format::Auto, "warn"),
        };
        let given = self.log_level.as_deref().filter(|level| !level.is_empty());
        (self.log_format.unwrap_or(format), given.unwrap_or(level).to_owned())
    }

    /// Runs the command and tells how it ended.
    pub fn execute(self) -> ExitCode {
        let done = match self.command {
            Command::Check { files, strict, explain } => return check(&files, strict, explain),
            Command::Run(args) => block_on(run::run(args)),
            Command::Demo(args) => block_on(demo::demo(args)),
            Command::Send(args) => block_on(send::send(args)),
            Command::Incidents(args) => block_on(incidents::incidents(args)),
            Command::Problems(args) => block_on(problems::problems(args)),
            Command::Rules(args) => block_on(rules::rules(args)),
            Command::Silences(args) => block_on(silences::silences(args)),
            Command::Sinks(args) => block_on(sinks::sinks(args)),
            Command::Report(args) => block_on(report::report(args)),
            Command::Schema(args) => schema::schema(args),
            Command::Completions { shell } => completions(shell),
        };
        done.map_or_else(|failure| failure.tell(), |()| ExitCode::SUCCESS)
    }
}

/// Runs a command that waits for things. Threads that still read when it has ended are left behind.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    let done = runtime.block_on(command);
    runtime.shutdown_background();
    done
}

fn check(files: &[PathBuf], strict: bool, explain: bool) -> ExitCode {
    ExitCode::from(check::check(files, strict, explain))
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "incidentd", &mut script);
    say(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// An address to listen on: names are not looked up, so that it is plain who can reach it.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:9095 or [::1]:9095".to_owned())
}

/// An empty variable is no token.
fn filled(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("the token is empty".to_owned()) } else { Ok(text.trim().to_owned()) }
}

impl Failure {
    /// It ran and failed.
    pub fn failed(cause: impl Into<String>) -> Self {
        Self { exit: 1, cause: cause.into(), details: Vec::new(), remedy: None }
    }

    /// It was called wrongly, or its configuration is invalid.
    pub fn usage(cause: impl Into<String>) -> Self {
        Self { exit: 2, cause: cause.into(), details: Vec::new(), remedy: None }
    }

    /// It ran and failed, and has said so already.
    pub fn silent() -> Self {
        Self::failed("")
    }

    /// Adds what was found, each on a line of its own.
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// Adds what to do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn tell(self) -> ExitCode {
        if !self.cause.is_empty() {
            eprintln!("incidentd: {}", escaped(&self.cause));
        }
        self.details.iter().for_each(|detail| eprintln!("{}", escaped(detail)));
        if let Some(remedy) = &self.remedy {
            eprintln!("  {}", escaped(remedy));
        }
        ExitCode::from(self.exit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_the_daemon_logs_at_info_by_default() {
        assert_eq!(parsed("incidentd run").unwrap().log().1, "info");
        assert_eq!(parsed("incidentd demo").unwrap().log().1, "warn");
        assert_eq!(parsed("incidentd send --log-level debug").unwrap().log().1, "debug");
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for line in [
            "incidentd",
            "incidentd fly",
            "incidentd check",
            "incidentd send --within 2m storm.jsonl",
            "incidentd send --rate 0",
            "incidentd send --retry-for 5",
            "incidentd incidents list --limit 0",
            "incidentd incidents list --status opn",
            "incidentd incidents list --priority p1",
            "incidentd run --listen localhost:9095",
            "incidentd incidents show",
            "incidentd incidents merge INC-0A1B2C3D4E5F6",
            "incidentd incidents split INC-0A1B2C3D4E5F6 --into INC-0A1B2C3D4E5F6",
            "incidentd incidents ack",
            "incidentd incidents hold INC-0A1B2C3D4E5F6",
            "incidentd incidents hold INC-0A1B2C3D4E5F6 --reason=",
            "incidentd incidents assign INC-0A1B2C3D4E5F6",
            "incidentd incidents link INC-0A1B2C3D4E5F6 change",
            "incidentd incidents priority INC-0A1B2C3D4E5F6 --reason r",
            "incidentd incidents priority INC-0A1B2C3D4E5F6 --priority P9 --reason r",
            "incidentd incidents export INC-0A1B2C3D4E5F6 --format pdf",
            "incidentd problems",
            "incidentd problems list --status resolved",
            "incidentd problems close PRB-0A1B2C3D4E5F6",
            "incidentd rules",
            "incidentd rules unmatched --limit 0",
            "incidentd silences add --duration 1h --comment c",
            "incidentd silences add a=b --comment c",
            "incidentd silences add a=b --duration 1h",
            "incidentd silences add alertname --duration 1h --comment c",
            "incidentd silences add a=b --duration 0s --comment c",
            "incidentd silences add a=b --until tomorrow --comment c",
            "incidentd silences add a=b --until 2026-01-31T18:00:00Z --duration 1h --comment c",
            "incidentd silences expire",
            "incidentd schema",
            "incidentd schema lifecycle --format dot",
            "incidentd report --from yesterday",
            "incidentd report --format xml",
            "incidentd run --listen here",
        ] {
            let code = parsed(line).unwrap_err().exit_code();
            assert_eq!(code, 2, "{line}");
        }
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        let mut cli = Cli::command();
        let mut orders = cli.find_subcommand("incidents").unwrap().clone();
        for command in orders.get_subcommands_mut().filter(|one| !["list", "show"].contains(&one.get_name())) {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
        for command in cli.get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }
}
