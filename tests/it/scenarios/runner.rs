//! Scenarios as text: timed events in, verdicts and decisions out.
//!
//! Owns the format and runs it against the real decoder, normaliser and engine on a clock that stands still between
//! steps. Knows nothing of files; an unreadable scenario is an error that says where.
//!
//! A step gives what it sends and what must come of it. Times count from a fixed start; `occurred_at` and `ends_at` of
//! an event may do so too (`+90s`, `-5m`). A verdict is `outcome reason`, with `have/need` where a rule waits (`~` before
//! an estimate), `until +2h` where it waits for what must follow, the incident where one is concerned, and `by name` where something mutes it. A decision is
//! `action #incident seq number priority 'title' alerts firing/total reason why`, and `(detail)` where something was
//! gathered or related. A link between incidents, or to a change, is `#incident type target: reason`. Incidents are numbered in the order in which they open. A step without `decisions` must cause none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use incidentd::engine::command::{Command, Done};
use incidentd::engine::decision::{Decision, Reason, Verdict};
use incidentd::engine::desk::Order;
use incidentd::engine::incident::IncidentLink;
use incidentd::engine::suppress::silence::{SilenceDoc, SilenceDraft, SilenceId};
use incidentd::engine::{EngineConfig, Shard, SourceLateness};
use incidentd::event::{Batch, Limits, Reject, Timestamp, duration};
use incidentd::formats::{Decoder, Format, Payload, SeverityMap, Shape};
use incidentd::identity::IncidentId;
use incidentd::normalise::{IdentifiedBy, NormaliseConfig, Normaliser, Scratch};
use incidentd::rules::{
    ChangesConfig, Definition, HeartbeatConfig, InhibitRuleConfig, MaintenanceConfig, RuleConfig, RuleSet,
    ServiceConfig, SetConfig, TopologyConfig, compile,
};
use serde::Deserialize;

use super::documents;
use super::parts::Parts;
use super::problems::Problems;
use super::seen::Seen;

const START: Timestamp = Timestamp::from_parts(1_800_000_000, 0);
/// The source of events that name none.
const SOURCE: &str = "test";
const SINK: &str = "ops";

/// One scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, as a claim.
    pub description: String,
    rules: Vec<RuleConfig>,
    #[serde(default)]
    services: Vec<ServiceConfig>,
    #[serde(default)]
    topology: TopologyConfig,
    #[serde(default)]
    changes: ChangesConfig,
    #[serde(default)]
    inhibit_rules: Vec<InhibitRuleConfig>,
    #[serde(default)]
    maintenance: Vec<MaintenanceConfig>,
    #[serde(default)]
    heartbeats: Vec<HeartbeatConfig>,
    #[serde(default)]
    sets: Vec<SetConfig>,
    #[serde(default)]
    with: Parts,
    #[serde(default)]
    config: Settings,
    steps: Vec<Step>,
}

/// Engine and normaliser settings that differ from the defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    resolve_timeout: Option<Span>,
    lateness: Option<Span>,
    #[serde(default)]
    source_lateness: BTreeMap<String, Span>,
    dedup_horizon: Option<Span>,
    max_alerts: Option<usize>,
    max_groups: Option<usize>,
    fingerprint_labels: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Default: the time of the step before.
    at: Option<Span>,
    #[serde(default)]
    restart: bool,
    reload: Option<Reload>,
    /// What the reload did, one a rule. Not looked at where there is none.
    report: Option<Vec<String>>,
    #[serde(default)]
    commands: Vec<Ordered>,
    /// One a command, `done` or the refusal. Not looked at where there is none.
    answers: Option<Vec<String>>,
    #[serde(default)]
    events: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Not looked at where there is none.
    verdicts: Option<Vec<String>>,
    /// By name, `state`, the alerts it mutes, and the alerts and events it has muted. Only those named are looked at.
    #[serde(default)]
    silences: BTreeMap<String, String>,
    #[serde(default)]
    decisions: Vec<String>,
    /// Those of them that sinks are told of, as `action #incident`. Not looked at where there is none.
    told: Option<Vec<String>>,
    /// Of incidents that are not closed, after the step. Not looked at where there is none.
    links: Option<Vec<String>>,
    /// What the documents of incidents say after the step, by number; see `documents.rs`.
    #[serde(default)]
    docs: BTreeMap<usize, BTreeMap<String, serde_json::Value>>,
    /// Problems that changed; see `problems.rs`. Not looked at where there is none.
    problems: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {
    rules: Vec<RuleConfig>,
    #[serde(default)]
    services: Vec<ServiceConfig>,
    #[serde(default)]
    topology: TopologyConfig,
    #[serde(default)]
    changes: ChangesConfig,
    #[serde(default)]
    inhibit_rules: Vec<InhibitRuleConfig>,
    #[serde(default)]
    maintenance: Vec<MaintenanceConfig>,
    #[serde(default)]
    heartbeats: Vec<HeartbeatConfig>,
    #[serde(default)]
    sets: Vec<SetConfig>,
    /// Default: as before.
    with: Option<Parts>,
}

/// An operator's order. Incidents go by their numbers, silences by a name of the scenario's own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Ordered {
    Silence(Silenced),
    Expire(String),
    /// Merges the first into the second.
    Merge(usize, usize),
    /// Takes the second out of the first.
    Split(usize, usize),
    /// Does something with one incident.
    Operate(usize, Order),
    /// A sink names its ticket for an incident.
    Ticket(usize, String, String),
    /// Closes a problem, by its number.
    CloseProblem(usize, String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Silenced {
    name: String,
    matchers: Vec<String>,
    /// Default: now.
    from: Option<Span>,
    until: Span,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
struct Span(#[serde(with = "duration")] Duration);

/// How a scenario is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// A step is a batch; a restart reads the journal.
    AsWritten,
    /// Every event is a batch of its own.
    EventByEvent,
    /// The shard is made anew from the journal after every step.
    JournalEveryStep,
    /// The shard is made anew from a snapshot after every step.
    SnapshotEveryStep,
}

impl Mode {
    /// Every mode, the plainest first.
    pub const ALL: [Mode; 4] = [Mode::AsWritten, Mode::EventByEvent, Mode::JournalEveryStep, Mode::SnapshotEveryStep];
}

/// What came of a scenario.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order in which they opened.
    pub incidents: Vec<IncidentId>,
    steps: Vec<Happened>,
}

#[derive(Debug, Default)]
struct Happened {
    report: Vec<String>,
    answers: Vec<String>,
    verdicts: Vec<String>,
    decisions: Vec<String>,
    told: Vec<String>,
    links: Vec<String>,
    silences: BTreeMap<String, String>,
    docs: BTreeMap<usize, serde_json::Value>,
    problems: Vec<String>,
}

/// Reads the scenarios of a file: one in each YAML document.
///
/// # Errors
/// What cannot be read, and where.
pub fn read(text: &str) -> Result<Vec<Scenario>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.to_string())
}

impl Scenario {
    /// Runs the scenario and compares.
    ///
    /// # Errors
    /// The first step that went otherwise.
    pub fn check(&self, mode: Mode) -> Result<(), String> {
        let outcome = self.run(mode)?;
        for (number, (step, happened)) in self.steps.iter().zip(&outcome.steps).enumerate() {
            let verdicts = step.verdicts.as_ref().is_none_or(|expected| *expected == happened.verdicts);
            let answers = step.answers.as_ref().is_none_or(|expected| *expected == happened.answers);
            let as_told = step.told.as_ref().is_none_or(|expected| *expected == happened.told);
            let report = step.report.as_ref().is_none_or(|expected| *expected == happened.report);
            let silences = step.silences.iter().all(|(name, expected)| happened.silences.get(name) == Some(expected));
            if let Some(wrong) = documents::mismatch(&step.docs, &happened.docs) {
                return Err(format!("step {}: {wrong}", number + 1));
            }
            if let Some(expected) = step.problems.as_ref().filter(|expected| **expected != happened.problems) {
                return Err(format!("step {}: problems {:?}, not {expected:?}", number + 1, happened.problems));
            }
            let links_as = step.links.as_ref().is_none_or(|expected| *expected == happened.links);
            if !verdicts
                || !answers
                || !as_told
                || !links_as
                || !report
                || !silences
                || step.decisions != happened.decisions
            {
                let Happened { report, answers, verdicts, decisions, told, links, silences, .. } = happened;
                let at = step.at.map(|at| duration::format(at.0)).unwrap_or_default();
                return Err(format!(
                    "step {} (at {at}) expected\n{}{}{}{}{}{}    {:?}\nbut there came\n{}{}{}{}{}{}    {:?}\n",
                    number + 1,
                    list("report", step.report.as_ref().unwrap_or(report)),
                    list("answers", step.answers.as_ref().unwrap_or(answers)),
                    list("verdicts", step.verdicts.as_ref().unwrap_or(verdicts)),
                    list("decisions", &step.decisions),
                    list("told", step.told.as_ref().unwrap_or(told)),
                    list("links", step.links.as_ref().unwrap_or(links)),
                    step.silences,
                    list("report", report),
                    list("answers", answers),
                    list("verdicts", verdicts),
                    list("decisions", decisions),
                    list("told", told),
                    list("links", links),
                    silences,
                ));
            }
        }
        Ok(())
    }

    /// Runs the scenario.
    ///
    /// # Errors
    /// When its rules have errors, an event cannot be sent or the shard cannot be restored.
    pub fn run(&self, mode: Mode) -> Result<Outcome, String> {
        let mut run = Run::new(self, mode)?;
        for (number, step) in self.steps.iter().enumerate() {
            run.step(step).map_err(|wrong| format!("step {}: {wrong}", number + 1))?;
        }
        Ok(run.outcome)
    }
}

fn list(name: &str, lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("      - {line:?}\n")).collect();
    format!("    {name}:\n{lines}")
}

/// A scenario under way.
struct Run {
    mode: Mode,
    with: Parts,
    now: Timestamp,
    config: EngineConfig,
    rules: Arc<RuleSet>,
    shard: Shard,
    journal: Vec<Vec<u8>>,
    gate: Gate,
    silences: BTreeMap<String, SilenceId>,
    problems: Problems,
    seen: Seen,
    outcome: Outcome,
}

impl Run {
    fn new(scenario: &Scenario, mode: Mode) -> Result<Self, String> {
        let settings = &scenario.config;
        let mut config = EngineConfig::default();
        let times = [
            (&mut config.resolve_timeout, settings.resolve_timeout),
            (&mut config.lateness, settings.lateness),
            (&mut config.dedup_horizon, settings.dedup_horizon),
        ];
        let by_source = settings.source_lateness.iter().map(|(source, span)| (source.clone(), span.0)).collect();
        config.source_lateness = SourceLateness::new(by_source, BTreeMap::new());
        times.into_iter().for_each(|(time, set)| *time = set.map_or(*time, |span| span.0));
        config.max_alerts = settings.max_alerts.unwrap_or(config.max_alerts);
        config.max_groups = settings.max_groups.unwrap_or(config.max_groups);
        let fingerprint_labels = settings.fingerprint_labels.clone();
        let rules = compiled(&Definition {
            services: &scenario.services,
            topology: &scenario.topology,
            changes: &scenario.changes,
            inhibit_rules: &scenario.inhibit_rules,
            maintenance: &scenario.maintenance,
            heartbeats: &scenario.heartbeats,
            sets: &scenario.sets,
            ..scenario.with.define(&scenario.rules, &scenario.with.sinks(SINK))
        })?;
        Ok(Self {
            mode,
            with: scenario.with.clone(),
            now: START,
            shard: Shard::new(config.clone(), rules.clone()),
            config,
            rules,
            journal: Vec::new(),
            silences: BTreeMap::new(),
            problems: Problems::default(),
            seen: Seen::default(),
            gate: Gate::new(NormaliseConfig { fingerprint_labels, ..NormaliseConfig::default() }),
            outcome: Outcome::default(),
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now = step.at.map_or(self.now, |at| START.plus(at.0));
        if step.restart {
            self.restart(self.mode == Mode::SnapshotEveryStep)?;
        }
        let mut report = Vec::new();
        if let Some(reload) = &step.reload {
            self.with = reload.with.clone().unwrap_or_else(|| self.with.clone());
            self.rules = compiled(&Definition {
                services: &reload.services,
                topology: &reload.topology,
                changes: &reload.changes,
                inhibit_rules: &reload.inhibit_rules,
                maintenance: &reload.maintenance,
                heartbeats: &reload.heartbeats,
                sets: &reload.sets,
                ..self.with.define(&reload.rules, &self.with.sinks(SINK))
            })?;
            let done = self.shard.reload(self.rules.clone(), self.config.clone());
            report = done.rules.iter().map(|line| format!("{}: {line}", line.rule)).collect();
        }
        self.shard.advance(self.now);
        let answers = step.commands.iter().map(|ordered| self.order(ordered)).collect::<Result<_, _>>()?;
        let batches =
            if self.mode == Mode::EventByEvent { step.events.chunks(1) } else { step.events.chunks(usize::MAX) };
        let mut verdicts = Vec::new();
        for events in batches {
            verdicts.extend(self.send(events)?);
        }
        let changes = self.shard.take_changes();
        self.seen.take(&changes.decisions, &changes.renewed);
        self.seen.check(&self.shard.docs()).map_err(|wrong| self.numbered(&wrong))?;
        self.journal.extend(Some(changes.journal).filter(|entry| !entry.is_empty()));
        let problems: Vec<String> = changes.problems.iter().map(|problem| self.problems.shown(problem)).collect();
        let decisions: Vec<String> = changes.decisions.iter().map(|decision| self.decision(decision)).collect();
        let verdicts = verdicts.into_iter().map(|verdict| self.verdict(verdict)).collect();
        let told = changes.decisions.iter().filter(|decision| !decision.notify.is_empty());
        let told = told.map(|told| self.told(told)).collect();
        let links = self.links();
        let silences = self.silences.iter().filter_map(|(name, id)| Some((name.clone(), self.silence(*id)?))).collect();
        let docs = self.documents();
        let problems = problems.iter().map(|text| self.numbered(text)).collect();
        self.outcome.steps.push(Happened {
            report,
            answers,
            verdicts,
            decisions,
            told,
            links,
            silences,
            docs,
            problems,
        });
        match self.mode {
            Mode::JournalEveryStep => self.restart(false),
            Mode::SnapshotEveryStep => self.restart(true),
            Mode::AsWritten | Mode::EventByEvent => Ok(()),
        }
    }

    fn order(&mut self, ordered: &Ordered) -> Result<String, String> {
        let id = |number: &usize| {
            let known = self.outcome.incidents.get(number.wrapping_sub(1)).copied();
            known.ok_or_else(|| format!("there is no incident #{number} yet"))
        };
        let command = match ordered {
            Ordered::Silence(silenced) => Command::Silence(SilenceDraft {
                id: self.silences.get(&silenced.name).copied(),
                matchers: silenced.matchers.clone(),
                starts_at: silenced.from.map_or(self.now, |from| START.plus(from.0)),
                ends_at: START.plus(silenced.until.0),
                comment: silenced.name.clone(),
            }),
            Ordered::Expire(name) => Command::Expire(*self.silences.get(name).ok_or("there is no such silence")?),
            Ordered::Merge(incident, into) => {
                Command::Merge { incident: id(incident)?, into: id(into)?, version: None }
            }
            Ordered::Operate(incident, order) => {
                Command::Operate { incident: id(incident)?, version: None, order: self.meant(order) }
            }
            Ordered::Ticket(incident, sink, ticket) => {
                let (incident, sink, ticket) = (id(incident)?, sink.as_str().into(), ticket.clone());
                Command::Ticket { incident, sink, ticket, url: None }
            }
            Ordered::CloseProblem(number, resolution) => {
                let problem = self.problems.named(*number).ok_or("there is no such problem yet")?;
                Command::CloseProblem { problem, resolution: resolution.clone() }
            }
            Ordered::Split(incident, part) => {
                Command::Split { incident: id(incident)?, part: id(part)?, version: None }
            }
        };
        let done = self.shard.command(self.now, "operator", &command);
        if let (Ordered::Silence(silenced), Ok(Done::Silence(silence))) = (ordered, &done) {
            let id = silence.id.parse().map_err(|_| format!("{:?} is no UUID", silence.id))?;
            self.silences.insert(silenced.name.clone(), id);
        }
        Ok(done.map_or_else(|refusal| self.numbered(&refusal.to_string()), |_| "done".to_owned()))
    }

    /// An order that names incidents by their ids.
    fn meant(&self, order: &Order) -> Order {
        let named = |target: &str| {
            if let Some(problem) = target.strip_prefix('!').and_then(|number| self.problems.named(number.parse().ok()?))
            {
                return problem.to_string();
            }
            let number = target.strip_prefix('#').and_then(|number| number.parse::<usize>().ok());
            let id = number.and_then(|number| self.outcome.incidents.get(number.wrapping_sub(1)));
            id.map_or_else(|| target.to_owned(), ToString::to_string)
        };
        let mut order = order.clone();
        if let Order::Link { target, .. } | Order::Unlink { target, .. } = &mut order {
            *target = named(target);
        }
        order
    }

    /// Who is told what; the sinks where they are not the usual one.
    fn told(&mut self, told: &Decision) -> String {
        let mut text = format!("{} #{}", told.told_as.as_str(), self.number(told.incident.id));
        if !matches!(&*told.notify, [sink] if **sink == *SINK) {
            let sinks: Vec<&str> = told.notify.iter().map(|sink| &**sink).collect();
            text.push_str(&format!(" to {}", sinks.join(", ")));
        }
        if let Some(message) = &told.message {
            text.push_str(&format!(": {}", self.numbered(message)));
        }
        text
    }

    /// What is shown of every incident that is not closed, by number.
    fn documents(&mut self) -> BTreeMap<usize, serde_json::Value> {
        let docs = self.shard.docs();
        docs.iter().map(|doc| (self.number(doc.id), documents::shown(doc, START))).collect()
    }

    fn silence(&self, id: SilenceId) -> Option<String> {
        let silence = self.shard.silence_named(self.now, id)?;
        let SilenceDoc { state, muting, muted_alerts, muted_events, .. } = silence;
        Some(format!("{state} mutes {muting}, muted {muted_alerts} alerts {muted_events} events"))
    }

    /// One verdict an event, in order; a reject among them.
    fn send(
        &mut self,
        events: &[serde_json::Map<String, serde_json::Value>],
    ) -> Result<Vec<Result<Verdict, Reject>>, String> {
        let events: Vec<_> = events.iter().map(|event| absolute(event.clone())).collect::<Result<_, _>>()?;
        let body = serde_json::to_vec(&events).map_err(|error| error.to_string())?;
        let (batch, rejects) = self.gate.take(self.now, body)?;
        let mut verdicts = Vec::new();
        self.shard.apply(self.now, &batch, None, &mut verdicts);
        let places = batch.events.iter().map(|event| event.index);
        let mut answers: Vec<(u32, Result<Verdict, Reject>)> = places.zip(verdicts.into_iter().map(Ok)).collect();
        answers.extend(rejects.into_iter().map(|reject| (reject.index, Err(reject))));
        answers.sort_by_key(|(place, _)| *place);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    fn restart(&mut self, from_snapshot: bool) -> Result<(), String> {
        if from_snapshot {
            self.journal.clear();
            loop {
                let step = self.shard.snapshot_step();
                self.journal.push(step.bytes);
                if step.last {
                    break;
                }
            }
        }
        let mut shard = Shard::new(self.config.clone(), self.rules.clone());
        self.journal.iter().try_for_each(|entry| shard.restore(entry))?;
        shard.finish_restore();
        self.shard = shard;
        Ok(())
    }

    /// The number of an incident, in the order in which they open.
    fn number(&mut self, id: IncidentId) -> usize {
        let known = self.outcome.incidents.iter().position(|known| *known == id);
        known.unwrap_or_else(|| {
            self.outcome.incidents.push(id);
            self.outcome.incidents.len() - 1
        }) + 1
    }

    /// A text in which incidents go by their numbers.
    fn numbered(&self, text: &str) -> String {
        let known = self.outcome.incidents.iter().enumerate();
        known.fold(self.problems.numbered(text), |text, (place, id)| {
            text.replace(&id.to_string(), &format!("#{}", place + 1))
        })
    }

    fn verdict(&mut self, verdict: Result<Verdict, Reject>) -> String {
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(reject) => return format!("rejected {} {}", reject.code.as_str(), reject.field).trim_end().to_owned(),
        };
        let mut text = format!("{} {}", verdict.outcome.as_str(), verdict.reason.code());
        match verdict.reason {
            Reason::Waiting { have, need } => text.push_str(&format!(" {have}/{need}")),
            Reason::WaitingEstimated { have, need } => text.push_str(&format!(" ~{have}/{need}")),
            Reason::Awaiting { until } => {
                let (sign, apart) = if until < START { ('-', START.since(until)) } else { ('+', until.since(START)) };
                text.push_str(&format!(" until {sign}{}", duration::format(apart)));
            }
            _ => {}
        }
        if let Some(id) = verdict.incident {
            text.push_str(&format!(" #{}", self.number(id)));
        }
        if let Some(by) = &verdict.muted_by {
            let silence = self.silences.iter().find(|(_, id)| id.to_string() == **by);
            text.push_str(&format!(" by {}", silence.map_or(&**by, |(name, _)| name)));
        }
        text
    }

    fn decision(&mut self, decision: &Decision) -> String {
        let Decision { action, told_as, reason, sequence, detail, incident, .. } = decision;
        let number = self.number(incident.id);
        let (priority, title, alerts) = (incident.priority.as_str(), &incident.title, incident.alerts);
        let mut text = format!(
            "{} #{number} seq {sequence} {priority} '{title}' alerts {}/{} reason {}",
            action.as_str(),
            alerts.firing,
            alerts.total,
            reason.code()
        );
        if told_as != action {
            text.insert_str(action.as_str().len(), &format!(" as {}", told_as.as_str()));
        }
        let whole = [
            Reason::Gathered,
            Reason::CauseFound,
            Reason::CauseMoved,
            Reason::CauseWithdrawn,
            Reason::SymptomFound,
            Reason::SymptomWithdrawn,
            Reason::ChangeSuspected,
        ];
        let gathered = if whole.contains(reason) || documents::spoken(reason) {
            Some(&**detail)
        } else {
            detail.split_once("; ").map(|part| part.1)
        };
        if let Some(gathered) = gathered.filter(|_| {
            !matches!(
                reason,
                Reason::ConditionMet { .. } | Reason::ConditionMetEstimated { .. } | Reason::AwaitedMissing
            )
        }) {
            text.push_str(&format!(" ({})", self.numbered(gathered)));
        }
        text
    }

    fn links(&self) -> Vec<String> {
        let number = |id: IncidentId| self.outcome.incidents.iter().position(|known| *known == id);
        let mut docs = self.shard.docs();
        docs.sort_by_key(|doc| number(doc.id));
        let mut links = Vec::new();
        for doc in docs {
            for link in doc.links.iter().filter(|link| is_shown(link)) {
                links.push(self.numbered(&format!("{} {} {}: {}", doc.id, link.kind, link.target, link.reason)));
            }
        }
        links
    }
}

/// Links between incidents, to changes and problems, and whatever people and sinks have set.
fn is_shown(link: &IncidentLink) -> bool {
    let by_hand = ["operator:", "sink:", "correlation"].iter().any(|by| link.by.starts_with(by));
    let shown = ["symptom_of", "cause_of", "change", "problem"].contains(&&*link.kind);
    shown || by_hand && !link.kind.starts_with("merged")
}

fn compiled(definition: &Definition<'_>) -> Result<Arc<RuleSet>, String> {
    let (set, problems) = compile(definition);
    match problems.into_iter().find(|problem| !problem.warning) {
        Some(problem) => Err(format!("{}: {}", problem.path, problem.message)),
        None => Ok(Arc::new(set)),
    }
}

/// Makes the times of an event absolute.
fn absolute(
    mut event: serde_json::Map<String, serde_json::Value>,
) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    for field in ["occurred_at", "ends_at"] {
        let Some(text) = event.get(field).and_then(|value| value.as_str()) else { continue };
        let time = match text.split_at_checked(1) {
            Some(("+", offset)) => START.plus(duration::parse(offset)?),
            Some(("-", offset)) => START.minus(duration::parse(offset)?),
            _ => continue,
        };
        event.insert(field.to_owned(), time.to_string().into());
    }
    Ok(event)
}

/// The way in: from JSON to a batch of comparable events.
pub struct Gate {
    decoder: Decoder,
    normaliser: Normaliser,
    scratch: Scratch,
}

impl Gate {
    /// A gate with these settings.
    pub fn new(config: NormaliseConfig) -> Self {
        let decoder = Decoder::new(Limits::default(), SeverityMap::default());
        Self { decoder, normaliser: Normaliser::new(config), scratch: Scratch::default() }
    }

    /// Decodes and normalises a body received at `now`.
    ///
    /// # Errors
    /// When nothing in it can be read.
    pub fn take(&mut self, now: Timestamp, body: Vec<u8>) -> Result<(Batch, Vec<Reject>), String> {
        let span = 0..body.len();
        let mut batch = Batch::new(Bytes::from(body), now);
        let (source, mut rejects) = (batch.intern(SOURCE), Vec::new());
        let (format, shape) = (Format::Event, Shape::Many);
        let payload = Payload { format, shape, span, first_index: 0, source, received_at: now };
        self.decoder.decode(&payload, &mut batch, &mut rejects).map_err(|reject| reject.to_string())?;
        let identified_by = IdentifiedBy::ConfiguredLabels;
        self.normaliser.normalise(&mut self.scratch, &mut batch, now, identified_by, &mut rejects);
        Ok((batch, rejects))
    }
}
