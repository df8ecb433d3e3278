//! The configuration file: what it may say, and every problem in it at once.
//!
//! Composes the components' own configuration. A file is read as a tree with places (`document`), fitted into these
//! types (`read`), and checked for what types cannot say (`validate`); each problem is a [`Diagnostic`] with a line and
//! a column. Nothing but the file, the files it names and the environment is looked at. An invalid file yields no
//! configuration at all, so it can never replace a valid one.

mod deserialize;
mod diagnostic;
mod document;
mod environment;
mod file;
mod kafka;
mod read;
mod schema;
mod services;
mod sets;
mod sources;
mod validate;
#[cfg(test)]
mod tests;

pub use diagnostic::{Diagnostic, Place};
pub use environment::Lookup;
pub use schema::event_schema;
use services::ListedServices;
pub use services::named_services_file;
pub use sources::{AlertmanagerConfig, SourcesConfig};

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Limits, duration};
use crate::rules::{
    self, AgreementConfig, CalendarConfig, ChangesConfig, CommunicationConfig, DEFAULT_MATRIX, DeadlineConfigs,
    Definition, EscalationPolicyConfig, HeartbeatConfig, ImpactRisesConfig, InhibitRuleConfig, KnownNames,
    MaintenanceConfig, MajorIncidentConfig, Matrix, Problem, ProblemsConfig, RuleConfig, RuleSet, ServiceConfig,
    SetConfig, Share, TargetsConfig, TeamConfig, TopologyConfig, UrgencyRisesConfig,
};
use crate::sinks::{self, SinkConfig};

/// The whole configuration. What a file does not say is as in [`Config::default`].
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "incidentd configuration")]
pub struct Config {
    /// Address and port of gRPC and HTTP. Default `127.0.0.1:9095`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Where state is kept. Default `./incidentd-data`.
    pub data_dir: PathBuf,
    /// The lease of a firing event that names no end. Default `5m`; 1s to 24h.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub resolve_timeout: Duration,
    /// The sane range of event times around the receive time.
    pub event_time: EventTimeConfig,
    /// How late an event may come and still be correlated as if in order. Default `2m`; at most `event_time.max_age`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub lateness: Duration,
    /// The same for events of some sources, by their `source`; at most 1,000. Default none.
    #[serde(deserialize_with = "duration::by_name")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub source_lateness: BTreeMap<String, Duration>,
    /// How repeated messages are recognised.
    pub dedup: DedupConfig,
    /// The labels that decide which shard an event goes to. Default none: everything can meet.
    pub scope: Vec<String>,
    /// How many shards, 1 to 256; only with `scope`. Default: one without scope, else one per core.
    pub shards: Option<u32>,
    /// The labels that identify an alert that gives no `dedup_key`. Default: all.
    pub fingerprint_labels: Option<Vec<String>>,
    /// Bounds of one event and of one request.
    pub limits: Limits,
    /// Live alerts of a shard at most; events of new ones beyond are rejected with `E_CAPACITY`. Default 1,000,000.
    pub max_alerts: u32,
    /// Groups of a shard at most, over all rules. Default 1,000,000.
    pub max_groups: u32,
    /// Where events come from, beside the listener.
    pub sources: SourcesConfig,
    /// Correlation: which events belong to one incident. Default: by service, alert name or host.
    pub rules: Vec<RuleConfig>,
    /// Known sets, such as the hosts of each rack, for `open_when: ratio`; at most 1,000,000 members in all.
    pub sets: Vec<SetConfig>,
    /// Who can be given an incident: teams and suppliers; up to 10,000. Default none: any name can.
    pub teams: Vec<TeamConfig>,
    /// The service catalogue: what belongs to which service, and what depends on what.
    pub services: Vec<ServiceConfig>,
    /// A file with more services: YAML or JSON (a list as in `services`), or CSV (columns named as its keys;
    /// items of a list are separated by `;`). At most 64 MiB. Default: none.
    pub services_file: Option<PathBuf>,
    /// What that file says; nothing where it was not or could not be read.
    #[serde(skip)]
    #[schemars(skip)]
    listed: Option<Arc<ListedServices>>,
    /// How far dependencies are followed, from a symptom to its cause.
    pub topology: TopologyConfig,
    /// Which changes are suspected when something breaks.
    pub changes: ChangesConfig,
    /// While one alert fires, others are muted.
    pub inhibit_rules: Vec<InhibitRuleConfig>,
    /// Planned times in which what they name is muted.
    pub maintenance: Vec<MaintenanceConfig>,
    /// Events that are expected; what does not come is an alert.
    pub heartbeats: Vec<HeartbeatConfig>,
    /// When incidents that keep recurring raise a problem. Default: never.
    pub problems: Option<ProblemsConfig>,
    /// Impact × urgency.
    pub priority: PriorityConfig,
    /// When work is done, for targets; at most 100. Default: none but `always`, which never closes.
    pub calendars: Vec<CalendarConfig>,
    /// Targets that differ from `priority.targets`, for the services that name them; at most 1,000. Default: none.
    pub agreements: Vec<AgreementConfig>,
    /// Status updates: who can be told how an incident stands, and how often.
    pub communication: CommunicationConfig,
    /// Who is told when nobody answers; at most 100. Default: none.
    pub escalation_policies: Vec<EscalationPolicyConfig>,
    /// What happens when an incident is declared a major one. Default: steps and people may declare it, and nothing more.
    pub major_incident: Option<MajorIncidentConfig>,
    /// Who is told. Default: standard output.
    pub sinks: Vec<SinkConfig>,
    /// How long a stop waits for requests and deliveries under way. Default `30s`; at most `1h`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub shutdown_grace: Duration,
    /// The daemon's own log.
    pub log: LogConfig,
}

/// Times outside this range around the receive time are replaced by it, counted and marked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventTimeConfig {
    /// Older is clamped. Default `24h`; at least 1s.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub max_age: Duration,
    /// Further in the future is clamped. Default `5m`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub max_ahead: Duration,
}

/// How repeated messages are recognised: by `source` and `id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DedupConfig {
    /// How long ids are remembered. Default `1h`; at most `7d`.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub horizon: Duration,
    /// How many ids a shard remembers; beyond, the oldest are forgotten early. Default 1,000,000.
    pub max_ids: u32,
}

/// Impact × urgency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PriorityConfig {
    /// Rows are the impact, columns the urgency, each high, medium, low.
    pub matrix: Matrix,
    /// What raises the impact of incidents whose rule has `impact: from_service`.
    pub impact: ImpactRisesConfig,
    /// What raises the urgency of incidents whose rule fixes none.
    pub urgency: UrgencyRisesConfig,
    /// Agreed deadlines by priority, in working time. Default: none.
    pub targets: TargetsConfig,
    /// Shares of a target at which is warned, rising; 1% to 99%, at most 8. Default `[50%, 80%]`.
    pub warn_at: Vec<Share>,
    /// Whether the clocks of targets stop while all that fires is muted. Default `false`: a silence moves no deadline.
    pub pause_while_muted: bool,
}

/// The daemon's own log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `auto` (default: text on a terminal, else JSON), `text` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info` (default), `debug` or `trace`.
    pub level: LogLevel,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Which log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Data lost, or an operator is needed.
    Error,
    /// Unusual.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// Per event.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// A valid configuration, and what is unwise about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// What is only unwise.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Reads and checks a file and the files that it names.
    ///
    /// # Errors
    /// Every problem found, warnings among them, in the order of the file.
    pub fn load(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
        let name = path.display().to_string();
        let text = file::read(path).map_err(|fault| vec![Diagnostic::error(&name, fault.place, fault.message)])?;
        parse(&name, &text, &from_process, &file::read_named_files)
    }

    /// Reads and checks a text; looks at no file. `environment` answers `${NAME}`.
    ///
    /// # Errors
    /// Every problem found, warnings among them, in the order of the text.
    pub fn parse(name: &str, text: &str, environment: Lookup<'_>) -> Result<Loaded, Vec<Diagnostic>> {
        parse(name, text, environment, &|_| Vec::new())
    }

    /// Problems that only show beside a valid file, such as at the time of a check, at their places in it.
    pub fn locate(path: &Path, problems: Vec<Problem>) -> Vec<Diagnostic> {
        let name = path.display().to_string();
        let text = if problems.is_empty() { None } else { file::read(path).ok() };
        let lookup = |variable: &str| std::env::var(variable).ok();
        let document =
            text.and_then(|text| document::Document::parse(text.trim_start_matches('\u{feff}'), &lookup).ok());
        document.map_or_else(Vec::new, |document| diagnostics(&name, &document, problems))
    }

    /// The rules, compiled, and their problems.
    pub fn rule_set(&self) -> (RuleSet, Vec<Problem>) {
        let sinks: Vec<String> = self.sinks.iter().map(|sink| sink.name.clone()).collect();
        rules::compile(&self.definition(&sinks))
    }

    /// What it says about correlation, where these sinks are configured.
    fn definition<'a>(&'a self, sinks: &'a [String]) -> Definition<'a> {
        Definition {
            rules: &self.rules,
            sinks,
            matrix: self.priority.matrix,
            scope: &self.scope,
            impact: &self.priority.impact,
            urgency: &self.priority.urgency,
            teams: &self.teams,
            known: KnownNames::default(),
            services: &self.services,
            listed_services: self.listed.as_ref().map_or(&[], |listed| &listed.services),
            listed_lines: self.listed.as_ref().map_or(&[], |listed| &listed.lines),
            services_missing: self.services_file.is_some() && self.listed.is_none(),
            topology: &self.topology,
            changes: &self.changes,
            inhibit_rules: &self.inhibit_rules,
            maintenance: &self.maintenance,
            heartbeats: &self.heartbeats,
            sets: &self.sets,
            deadlines: DeadlineConfigs {
                calendars: &self.calendars,
                targets: &self.priority.targets,
                agreements: &self.agreements,
                warn_at: &self.priority.warn_at,
                pause_while_muted: self.priority.pause_while_muted,
            },
            communication: &self.communication,
            problems: self.problems.as_ref(),
            escalation_policies: &self.escalation_policies,
            major_incident: self.major_incident.as_ref(),
        }
    }

    /// How many shards there are on a machine with so many cores.
    pub fn shard_count(&self, cores: usize) -> usize {
        let default = if self.scope.is_empty() { 1 } else { cores.clamp(1, validate::SHARDS_MAX as usize) };
        self.shards.map_or(default, |shards| shards as usize)
    }

    /// The JSON Schema of a configuration file.
    pub fn schema() -> serde_json::Value {
        schema::config_schema()
    }
}

/// Beyond it the rest is only counted.
const DIAGNOSTICS_MAX: usize = 200;

fn from_process(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// `read_files` looks at the files that a configuration names, and takes in what belongs to it.
fn parse(
    name: &str,
    text: &str,
    environment: Lookup<'_>,
    read_files: &dyn Fn(&mut Config) -> Vec<Problem>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut document = document::Document::parse(text, environment)
        .map_err(|fault| vec![Diagnostic::error(name, fault.place, fault.message)])?;
    let sinks = document.find("sinks[].name").into_iter().filter_map(|(_, id)| document.text(id)).map(str::to_owned);
    let sinks: Vec<String> = sinks.collect();
    read::note_unsupported(&mut document);
    let mut config: Option<Config> = read::read(&mut document);
    let problems = config.as_mut().map_or_else(Vec::new, |config| {
        let mut problems = read_files(config);
        problems.extend(validate::check(config, &sinks));
        problems
    });
    let diagnostics = diagnostics(name, &document, problems);
    match config {
        Some(config) if diagnostics.iter().all(|problem| problem.warning) => {
            Ok(Loaded { config, warnings: diagnostics })
        }
        _ => Err(diagnostics),
    }
}

/// Faults of the document and problems of the configuration, in the order of the file. A problem at a place where
/// something had to be left out would only follow from that, and is left out too; so is what is only unwise.
fn diagnostics(name: &str, document: &document::Document, problems: Vec<Problem>) -> Vec<Diagnostic> {
    let faulty = !document.faults.is_empty();
    let mut found: Vec<Diagnostic> = document
        .faults
        .iter()
        .map(|fault| Diagnostic::error(name, fault.place, environment::redact(&fault.message, &document.used)))
        .collect();
    for problem in problems {
        let (place, id) = document.locate(&problem.path);
        if faulty && (problem.warning || document.has_gap(id)) {
            continue;
        }
        let message = environment::redact(&problem.message, &document.used);
        found.push(Diagnostic { warning: problem.warning, ..Diagnostic::error(name, place, message) });
    }
    found.sort_by_key(|problem| (problem.line, problem.column));
    if found.len() > DIAGNOSTICS_MAX {
        let left = found.len() - DIAGNOSTICS_MAX;
        found.truncate(DIAGNOSTICS_MAX);
        let place = found.last().map_or(Place::START, |last| Place { line: last.line, column: last.column });
        found.push(Diagnostic::error(name, place, format!("and {left} more")));
    }
    found
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 9095).into(),
            data_dir: PathBuf::from("./incidentd-data"),
            resolve_timeout: Duration::from_secs(300),
            event_time: EventTimeConfig::default(),
            lateness: Duration::from_secs(120),
            source_lateness: BTreeMap::new(),
            dedup: DedupConfig::default(),
            scope: Vec::new(),
            shards: None,
            fingerprint_labels: None,
            limits: Limits::default(),
            max_alerts: 1_000_000,
            max_groups: 1_000_000,
            sources: SourcesConfig::default(),
            rules: rules::default_rules(),
            sets: Vec::new(),
            teams: Vec::new(),
            services: Vec::new(),
            services_file: None,
            listed: None,
            topology: TopologyConfig::default(),
            changes: ChangesConfig::default(),
            inhibit_rules: Vec::new(),
            maintenance: Vec::new(),
            heartbeats: Vec::new(),
            problems: None,
            priority: PriorityConfig::default(),
            calendars: Vec::new(),
            agreements: Vec::new(),
            communication: CommunicationConfig::default(),
            escalation_policies: Vec::new(),
            major_incident: None,
            sinks: vec![SinkConfig::new("stdout", sinks::Kind::Stdout(sinks::stdout::Config::default()))],
            shutdown_grace: Duration::from_secs(30),
            log: LogConfig::default(),
        }
    }
}

impl Default for EventTimeConfig {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(86_400), max_ahead: Duration::from_secs(300) }
    }
}

impl Default for DedupConfig {
    fn default() -> Self {
        Self { horizon: Duration::from_secs(3_600), max_ids: 1_000_000 }
    }
}

impl Default for PriorityConfig {
    fn default() -> Self {
        Self {
            matrix: DEFAULT_MATRIX,
            impact: ImpactRisesConfig::DEFAULT,
            urgency: UrgencyRisesConfig::DEFAULT,
            targets: TargetsConfig::new(),
            warn_at: vec![Share::HALF, Share::MOST],
            pause_while_muted: false,
        }
    }
}
