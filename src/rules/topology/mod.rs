//! The service catalogue: what belongs to which service, what depends on what, and what is known of each.
//!
//! Services are numbered in the order of the configuration, those of `services_file` last. An alert's service is the
//! first whose matchers hold: one look-up by the label `service`, and one by each label that other matchers name,
//! however many services there are. 100,000 services with 500,000 dependencies take about 15 MB, once for all shards; what
//! is known of each, see `details`, adds 32 bytes a service and its texts.

mod details;
mod findings;
mod graph;
mod teams;

pub use details::{KnownNames, ServiceDetails};
pub use graph::{Direction, VISITS_MAX, Walked};
pub use teams::{Team, TeamConfig, TeamKind, Teams};

use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashTable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::details::{Details, Reading};
use self::findings::Findings;
use self::graph::Rows;
use super::Level;
use super::compile::Subject;
use super::index::Index;
use super::matcher::{Matcher, parse_matcher};
use super::validate::Problem;
use crate::event::{duration, hint};
use crate::identity::{Hasher, domain};

/// One service: what ITIL calls a configuration item.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Unique name, up to 256 bytes.
    pub name: String,
    /// Matchers in Alertmanager's syntax, all of which must hold of an alert or a change of this service; up to 16.
    /// Default: `service="NAME"`.
    #[serde(default, rename = "match")]
    pub matchers: Vec<String>,
    /// The services that it needs, by name; up to 1,000.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// How much it hurts when it breaks, for rules with `impact: from_service`. Default: medium.
    #[serde(default)]
    pub impact: Option<Level>,
    /// How many people use it. Default: not known.
    #[serde(default)]
    pub users: Option<u32>,
    /// The team that answers for it, one of `teams` where there are any; up to 256 bytes. Default: nobody.
    #[serde(default)]
    pub owner: Option<String>,
    /// Who else works on it, of `teams` where there are any; up to 16.
    #[serde(default)]
    pub suppliers: Vec<String>,
    /// What to do when it breaks: an `http` or `https` URL of up to 2,048 bytes. Default: none.
    #[serde(default)]
    pub runbook: Option<String>,
    /// The escalation policy of its incidents, for rules that name none. Default: none.
    #[serde(default)]
    pub escalation: Option<String>,
    /// The calendar on which its deadlines run, up to 256 bytes. Default: around the clock.
    #[serde(default)]
    pub calendar: Option<String>,
    /// The agreement whose targets hold for it, up to 256 bytes. Default: the targets of the priority.
    #[serde(default)]
    pub agreement: Option<String>,
}

/// How far dependencies are followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopologyConfig {
    /// Steps from a service to what it depends on. Default 5; 1 to 16.
    pub depth: u8,
    /// How far apart, on event time, a cause and its symptom may open. Default `1h`; 1s to 7d.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// Labels of group keys: open incidents of different rules that have the same value of one of them, and opened
    /// `within` of each other, are linked as `related`. Up to 8. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related_by: Vec<String>,
}

const SERVICES_MAX: usize = 1_000_000;
const NAME_BYTES_MAX: usize = 256;
const MATCHERS_MAX: usize = 16;
const DEPENDS_ON_MAX: usize = 1_000;
const DEPTH_MAX: u8 = 16;
const RELATED_BY_MAX: usize = 8;
const WITHIN_MIN: Duration = Duration::from_secs(1);
const WITHIN_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Unknown names for which the one that was meant is looked for, which costs a look at all names.
const HINTS_MAX: usize = 10;
/// Cycles told one by one, and services of a cycle that are named.
const CYCLES_MAX: usize = 10;
const CYCLE_NAMES_MAX: usize = 8;
/// Of an entry and its matchers, as an incident shows them.
const BINDING_BYTES_MAX: usize = 1_024;

/// What a catalogue is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Catalogue<'a> {
    pub(super) services: &'a [ServiceConfig],
    /// Those of the file; their problems are named `services_file[N]`.
    pub(super) listed: &'a [ServiceConfig],
    /// The line of each of them; fewer where they are not known.
    pub(super) lines: &'a [u32],
    /// Whether the file could not be read.
    pub(super) missing: bool,
    pub(super) config: &'a TopologyConfig,
    /// Who can be owner or supplier.
    pub(super) teams: &'a Teams,
    /// What else services may name.
    pub(super) known: KnownNames<'a>,
}

/// Services and what they depend on, compiled.
#[derive(Debug, Default)]
pub struct Topology {
    names: Vec<Box<str>>,
    by_name: ByName,
    details: Details,
    /// How many services stand in the configuration itself, and the lines of the others in their file.
    inline: usize,
    lines: Box<[u32]>,
    /// The services that say by themselves what belongs to them, ascending, and what they say.
    matched: Vec<(u32, Vec<Matcher>)>,
    /// Over these; every other service goes by the label `service`.
    index: Index,
    needs: Rows,
    needed_by: Rows,
    config: TopologyConfig,
    digest: u64,
}

/// Finds a service by its name.
#[derive(Debug, Default)]
struct ByName {
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl ByName {
    fn find(&self, names: &[Box<str>], name: &str) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(name);
        self.table.find(hash, |place| *names[*place as usize] == *name).copied()
    }

    /// Of a name that is not there yet, the last one.
    fn insert_last(&mut self, names: &[Box<str>]) {
        let Some(last) = names.last() else { return };
        let hasher = &self.hasher;
        let hash = |place: &u32| hasher.hash_one(&*names[*place as usize]);
        self.table.insert_unique(hasher.hash_one(&**last), names.len() as u32 - 1, hash);
    }
}

impl TopologyConfig {
    /// What holds where nothing is said.
    pub const DEFAULT: TopologyConfig =
        TopologyConfig { depth: 5, within: Duration::from_secs(3_600), related_by: Vec::new() };

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=DEPTH_MAX).contains(&self.depth) {
            let message = format!("dependencies are followed for 1 to {DEPTH_MAX} steps, not {}", self.depth);
            problems.push(Problem::error("topology.depth", message));
        }
        if !(WITHIN_MIN..=WITHIN_MAX).contains(&self.within) {
            let message = format!("cause and symptom open within 1s to 7d, not {}", duration::format(self.within));
            problems.push(Problem::error("topology.within", message));
        }
        if self.related_by.len() > RELATED_BY_MAX {
            let message = format!("at most {RELATED_BY_MAX} labels relate incidents, not {}", self.related_by.len());
            problems.push(Problem::error("topology.related_by", message));
        }
        problems
    }
}

impl Default for TopologyConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Topology {
    /// Whether there are no services.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The service of an alert or a change: the first whose matchers hold.
    pub fn service_of(&self, subject: &impl Subject) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let by_label = subject.label("service").and_then(|name| self.find(name));
        let mut first = by_label.filter(|service| !self.says_what_matches(*service));
        self.index.candidates(subject, |place| {
            let (service, matchers) = &self.matched[place as usize];
            let earlier = first.is_none_or(|first| *service < first);
            if earlier && matchers.iter().all(|matcher| matcher.matches(subject)) {
                first = Some(*service);
            }
        });
        first
    }

    fn says_what_matches(&self, service: u32) -> bool {
        self.matched.binary_search_by_key(&service, |(service, _)| *service).is_ok()
    }

    /// The service of this name.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.find(&self.names, name)
    }

    /// The name of a service.
    pub fn name(&self, service: u32) -> &str {
        self.names.get(service as usize).map_or("", |name| name)
    }

    /// How much it hurts when the service breaks.
    pub fn impact(&self, service: u32) -> Option<Level> {
        self.details(service).impact
    }

    /// What is known of a service.
    pub fn details(&self, service: u32) -> ServiceDetails<'_> {
        self.details.of(service, self.name(service))
    }

    /// Which entry of the catalogue makes an alert that of this service, and by which matchers, such as
    /// `services[3] (service="checkout")` or `services_file:17 (job="postgres", env!="dev")`; at most 1 KiB.
    pub fn binding(&self, service: u32) -> String {
        let place = service as usize;
        let entry = match self.lines.get(place.wrapping_sub(self.inline)) {
            _ if place < self.inline => format!("services[{place}]"),
            Some(line) => format!("services_file:{line}"),
            None => format!("services_file[{}]", place - self.inline),
        };
        let said = self.matched.binary_search_by_key(&service, |(service, _)| *service);
        let matchers = match said {
            Ok(at) => self.matched[at].1.iter().map(Matcher::to_string).collect::<Vec<_>>().join(", "),
            Err(_) => format!("service={:?}", self.name(service)),
        };
        let mut binding = format!("{entry} ({matchers})");
        if binding.len() > BINDING_BYTES_MAX {
            binding.truncate(binding.floor_char_boundary(BINDING_BYTES_MAX - '…'.len_utf8()));
            binding.push('…');
        }
        binding
    }

    /// Bytes that the details of services take, by estimate.
    pub fn details_bytes(&self) -> usize {
        self.details.bytes()
    }

    /// The services one step away.
    pub fn neighbours(&self, direction: Direction, service: u32) -> &[u32] {
        self.rows(direction).of(service)
    }

    /// Visits what a service leads to, nearest first, each service once and never the one it starts from: at most as
    /// deep as configured, and at most so many services, until `visit` breaks off.
    pub fn walk(
        &self,
        direction: Direction,
        from: u32,
        visits_max: usize,
        visit: impl FnMut(u32, u8) -> ControlFlow<()>,
    ) -> Walked {
        self.rows(direction).walk(from, self.config.depth, visits_max, visit)
    }

    fn rows(&self, direction: Direction) -> &Rows {
        match direction {
            Direction::Needs => &self.needs,
            Direction::NeededBy => &self.needed_by,
        }
    }

    /// How far apart, on event time, a cause and its symptom may open.
    pub fn within(&self) -> Duration {
        self.config.within
    }

    /// Labels whose values relate incidents.
    pub fn related_by(&self) -> &[String] {
        &self.config.related_by
    }

    /// Equal for catalogues in which the same services lead to the same others.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn compile(catalogue: &Catalogue<'_>) -> (Self, Vec<Problem>) {
        let mut build = Build::of(catalogue);
        build.names();
        build.matchers();
        build.details();
        let needs = build.needs();
        build.cycles(&needs);
        let (topology, findings) = (build.finish(needs), build.findings);
        let mut problems = catalogue.config.problems();
        problems.extend(findings.finish());
        (topology, problems)
    }
}

/// A catalogue on its way to a topology. Services with a problem stay in it, so that the numbers do not shift.
struct Build<'a> {
    catalogue: &'a Catalogue<'a>,
    topology: Topology,
    findings: Findings,
}

impl<'a> Build<'a> {
    fn of(catalogue: &'a Catalogue<'a>) -> Self {
        let topology = Topology {
            config: catalogue.config.clone(),
            inline: catalogue.services.len(),
            lines: catalogue.lines.into(),
            ..Topology::default()
        };
        Self { catalogue, topology, findings: Findings::default() }
    }

    fn services(&self) -> impl Iterator<Item = (u32, &'a ServiceConfig)> + use<'a> {
        let all = self.catalogue.services.iter().chain(self.catalogue.listed).take(SERVICES_MAX);
        all.enumerate().map(|(place, service)| (place as u32, service))
    }

    fn path(&self, service: u32, rest: &str) -> String {
        let (place, inline) = (service as usize, self.catalogue.services.len());
        let owner = if place < inline { "services" } else { "services_file" };
        format!("{owner}[{}]{rest}", if place < inline { place } else { place - inline })
    }

    fn names(&mut self) {
        let count = self.catalogue.services.len() + self.catalogue.listed.len();
        if count > SERVICES_MAX {
            let message = format!("a catalogue has at most {SERVICES_MAX} services, not {count}");
            self.findings.push(Problem::error("services", message));
        }
        for (service, config) in self.services() {
            let wrong = if config.name.is_empty() || config.name.len() > NAME_BYTES_MAX {
                Some(format!("a service's name is 1 to {NAME_BYTES_MAX} bytes long, not {}", config.name.len()))
            } else {
                let known = self.topology.find(&config.name);
                known.map(|known| format!("{} is named \"{}\" already", self.path(known, ""), config.name))
            };
            let taken = self.topology.find(&config.name).is_some();
            self.topology.names.push(config.name.as_str().into());
            if !taken {
                self.topology.by_name.insert_last(&self.topology.names);
            }
            if let Some(wrong) = wrong {
                self.findings.push(Problem::error(self.path(service, ".name"), wrong));
            }
        }
    }

    fn matchers(&mut self) {
        for (service, config) in self.services().filter(|(_, config)| !config.matchers.is_empty()) {
            if config.matchers.len() > MATCHERS_MAX {
                let message = format!("a service has at most {MATCHERS_MAX} matchers, not {}", config.matchers.len());
                self.findings.push(Problem::error(self.path(service, ".match"), message));
                continue;
            }
            let mut read = Vec::with_capacity(config.matchers.len());
            for (place, text) in config.matchers.iter().enumerate() {
                match parse_matcher(text) {
                    Ok(matcher) => read.push(matcher),
                    Err(wrong) => {
                        let path = self.path(service, &format!(".match[{place}]"));
                        self.findings.push(Problem::error(path, wrong));
                    }
                }
            }
            self.topology.matched.push((service, read));
        }
        self.topology.index = Index::over(self.topology.matched.iter().map(|(_, matchers)| &**matchers));
    }

    fn details(&mut self) {
        let mut reading = Reading::new(self.catalogue);
        for (service, config) in self.services() {
            for (key, problem) in reading.read(service, config) {
                self.findings.push(Problem { path: self.path(service, &key), ..problem });
            }
        }
        self.topology.details = reading.finish();
    }

    fn needs(&mut self) -> Rows {
        let mut edges = Vec::new();
        // The last service that named each one, from 1.
        let mut named_by = vec![0_u32; self.topology.names.len()];
        let mut hints = 0;
        for (service, config) in self.services() {
            if config.depends_on.len() > DEPENDS_ON_MAX {
                let count = config.depends_on.len();
                let message = format!("a service depends on at most {DEPENDS_ON_MAX} others, not {count}");
                self.findings.push(Problem::error(self.path(service, ".depends_on"), message));
                continue;
            }
            for (place, name) in config.depends_on.iter().enumerate() {
                let path = || self.path(service, &format!(".depends_on[{place}]"));
                let problem = match self.topology.find(name) {
                    Some(other) if other == service => Problem::warning(path(), "a service does not depend on itself"),
                    Some(other) if named_by[other as usize] == service + 1 => {
                        Problem::warning(path(), format!("\"{name}\" is named twice"))
                    }
                    Some(other) => {
                        named_by[other as usize] = service + 1;
                        edges.push((service, other));
                        continue;
                    }
                    None if self.catalogue.missing => continue,
                    None => {
                        hints += 1;
                        let names = self.topology.names.iter().map(|name| &**name);
                        let hint = if hints <= HINTS_MAX { hint(name, names) } else { String::new() };
                        Problem::error(path(), format!("unknown service \"{name}\"{hint}"))
                    }
                };
                self.findings.push(problem);
            }
        }
        Rows::new(self.topology.names.len(), edges.iter().copied())
    }

    /// Real dependencies have cycles, and walks bear them; but they may as well be a slip.
    fn cycles(&mut self, needs: &Rows) {
        let mut cycles = needs.cycles();
        cycles.sort_unstable();
        let more = cycles.len().saturating_sub(CYCLES_MAX);
        for (place, cycle) in cycles.iter().take(CYCLES_MAX).enumerate() {
            let way = needs.way_round(cycle[0], cycle);
            let mut names: Vec<&str> = way.iter().map(|service| self.topology.name(*service)).collect();
            if names.len() > CYCLE_NAMES_MAX {
                names.splice(CYCLE_NAMES_MAX - 1..names.len() - 1, ["…"]);
            }
            let more =
                if more > 0 && place + 1 == CYCLES_MAX { format!("; and {more} more cycles") } else { String::new() };
            let message = format!("depends on itself: {}{more}", names.join(" → "));
            self.findings.push(Problem::warning(self.path(cycle[0], ".depends_on"), message));
        }
    }

    fn finish(&mut self, needs: Rows) -> Topology {
        let mut topology = std::mem::take(&mut self.topology);
        let services = topology.names.len();
        topology.needed_by = Rows::new(services, needs.edges().map(|(from, to)| (to, from)));
        let mut hasher = Hasher::default();
        let parts = hasher.reset(domain::CATALOGUE).part(&[topology.config.depth]);
        for (service, name) in topology.names.iter().enumerate() {
            parts.part(name.as_bytes()).part(&(needs.of(service as u32).len() as u32).to_le_bytes());
        }
        for target in needs.targets() {
            parts.part(&target.to_le_bytes());
        }
        topology.digest = if services == 0 { 0 } else { parts.finish64() };
        topology.needs = needs;
        topology
    }
}

#[cfg(test)]
mod tests;
