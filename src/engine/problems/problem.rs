//! One problem: what keeps recurring, its incidents, when it is closed by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::journal::{Fault, Reader, Writer};
use crate::event::{Timestamp, duration};
use crate::identity::{IncidentId, ProblemId};

/// Incidents that a problem names, the newest; the others are counted.
const INCIDENTS_MAX: usize = 100;
/// An open problem is closed when nothing has recurred for so many periods.
const PERIODS: u32 = 4;

/// Where a problem stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProblemStatus {
    /// It may recur.
    Open,
    /// By an operator, or because nothing has recurred for long.
    Closed,
}

impl ProblemStatus {
    /// The public name.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProblemStatus::Open => "open",
            ProblemStatus::Closed => "closed",
        }
    }
}

/// A problem as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ProblemDoc {
    /// `PRB-` and a short code.
    pub id: ProblemId,
    /// Where it stands.
    pub status: ProblemStatus,
    /// That of the incident with which it was raised.
    pub title: String,
    /// The rule whose incidents recur.
    pub rule: Arc<str>,
    /// The labels of their group.
    pub key: BTreeMap<Arc<str>, Arc<str>>,
    /// What they have in common: 16 hex digits over rule and key.
    pub signature: String,
    /// Why it was raised.
    pub reason: String,
    /// How many incidents there were in all.
    pub recurrences: u64,
    /// The newest of them, at most 100, oldest first; and those that people have linked.
    pub incidents: Vec<IncidentId>,
    /// When it was raised.
    pub opened_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it is closed by itself, unless it recurs.
    pub closes_at: Option<Timestamp>,
    /// When it was closed.
    pub closed_at: Option<Timestamp>,
    /// Who closed it; nobody where nothing has recurred.
    pub closed_by: Option<Arc<str>>,
    /// How it ended.
    pub resolution: Option<String>,
}

/// An open problem.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) id: ProblemId,
    pub(super) signature: u64,
    pub(super) title: String,
    pub(super) rule: Arc<str>,
    pub(super) key: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) reason: String,
    pub(super) recurrences: u64,
    pub(super) incidents: Vec<IncidentId>,
    pub(super) opened_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) closes_at: Timestamp,
}

impl Problem {
    /// Adds an incident; the oldest goes where there are too many.
    pub(super) fn add(&mut self, incident: IncidentId) {
        if self.incidents.contains(&incident) {
            return;
        }
        if self.incidents.len() >= INCIDENTS_MAX {
            self.incidents.remove(0);
        }
        self.incidents.push(incident);
    }

    /// It has recurred, so it stays open.
    pub(super) fn recur(&mut self, now: Timestamp, within: Duration) {
        self.updated_at = now;
        self.closes_at = now.plus(within * PERIODS);
    }

    /// What is said where it is closed by itself.
    pub(super) fn faded(&self, now: Timestamp) -> String {
        let since = self.closes_at.max(now).since(self.updated_at);
        format!("nothing has recurred for {}", duration::format(Duration::from_secs(since.as_secs())))
    }

    pub(super) fn doc(&self) -> ProblemDoc {
        ProblemDoc {
            id: self.id,
            status: ProblemStatus::Open,
            title: self.title.clone(),
            rule: self.rule.clone(),
            key: self.key.clone(),
            signature: format!("{:016x}", self.signature),
            reason: self.reason.clone(),
            recurrences: self.recurrences,
            incidents: self.incidents.clone(),
            opened_at: self.opened_at,
            updated_at: self.updated_at,
            closes_at: Some(self.closes_at),
            closed_at: None,
            closed_by: None,
            resolution: None,
        }
    }

    pub(super) fn closed(&self, now: Timestamp, by: Option<Arc<str>>, resolution: String) -> ProblemDoc {
        ProblemDoc {
            status: ProblemStatus::Closed,
            updated_at: now,
            closes_at: None,
            closed_at: Some(now),
            closed_by: by,
            resolution: Some(resolution),
            ..self.doc()
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.fixed(self.id.0);
        writer.fixed(self.signature);
        [&*self.title, &*self.rule, &*self.reason].into_iter().for_each(|text| writer.text(text));
        writer.number(self.key.len() as u64);
        self.key.iter().flat_map(|(name, value)| [name, value]).for_each(|text| writer.text(text));
        writer.number(self.recurrences);
        writer.number(self.incidents.len() as u64);
        self.incidents.iter().for_each(|incident| writer.fixed(incident.0));
        [self.opened_at, self.updated_at, self.closes_at].into_iter().for_each(|at| writer.time(at));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (id, signature) = (ProblemId(reader.fixed()?), reader.fixed()?);
        let (title, rule, reason) = (reader.text()?.to_owned(), reader.text()?.into(), reader.text()?.to_owned());
        let count = reader.count()?;
        let mut pair = || Ok((reader.text()?.into(), reader.text()?.into()));
        let key = (0..count).map(|_| pair()).collect::<Result<_, Fault>>()?;
        let (recurrences, count) = (reader.tally()?, reader.count()?);
        let incidents = (0..count).map(|_| Ok(IncidentId(reader.fixed()?))).collect::<Result<_, Fault>>()?;
        let (opened_at, updated_at, closes_at) = (reader.time()?, reader.time()?, reader.time()?);
        Ok(Self { id, signature, title, rule, key, reason, recurrences, incidents, opened_at, updated_at, closes_at })
    }
}
