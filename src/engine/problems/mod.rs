//! What came before: past incidents with the same signature, and problem candidates where one keeps recurring.
//!
//! The signature of an incident is a hash over its rule and its key; of a union, over its rule and the least of the values
//! that it has as it opens; of a storm, over its rule and scope. What is remembered of signatures is bounded
//! (`signatures.rs`); at most `OPEN_MAX` problems are open, and while there are so many none is raised. A problem that is
//! closed is forgotten here; its row stays.

mod problem;
mod signatures;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::delivery::Action;
use crate::engine::alert::Dirty;
use crate::engine::command::{Done, Refusal};
use crate::engine::decision::Reason;
use crate::engine::desk::links::LinkKind;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::incident::IncidentLink;
use crate::engine::journal::{Fault, Part, Reader, Writer};
use crate::engine::memory::interner::Interner;
use crate::engine::memory::timers::Owner;
use crate::engine::moves::IncidentStatus;
use crate::engine::relate::{Told, in_words, put_link};
use crate::engine::shard::Shard;
use crate::event::{Timestamp, duration};
use crate::identity::{IncidentId, ProblemId, domain};
use problem::Problem;
pub use problem::{ProblemDoc, ProblemStatus};
use signatures::{Ended, Signatures};

/// Open problems of a shard: about 2 KiB each.
const OPEN_MAX: usize = 1_000;
const SAME_AS_BEFORE: &str = "same_as_before";
/// Who links to what came before, and to problems.
const HISTORY: &str = "history";

/// What is remembered of incidents that have ended, and the problems that are open.
#[derive(Debug, Default)]
pub(super) struct Past {
    signatures: Signatures,
    problems: BTreeMap<ProblemId, Problem>,
    by_signature: HashMap<u64, ProblemId>,
    dirty: BTreeSet<ProblemId>,
    /// For the rows, since the last commit.
    changed: BTreeMap<ProblemId, Arc<ProblemDoc>>,
}

const PROBLEM: u8 = 16;
const PROBLEM_GONE: u8 = 17;
/// Places of a snapshot from which on there are problems.
const PROBLEMS_FROM: u32 = 1 << 31;

impl Past {
    pub(super) fn open_problems(&self) -> u64 {
        self.problems.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.signatures.bytes() + self.problems.len() * 2_048
    }

    pub(super) fn take_problems(&mut self) -> Vec<Arc<ProblemDoc>> {
        std::mem::take(&mut self.changed).into_values().collect()
    }

    /// Derives what is not written.
    pub(super) fn finish_restore(&mut self) {
        self.signatures.finish_restore();
        self.by_signature = self.problems.values().map(|problem| (problem.signature, problem.id)).collect();
    }

    /// Changes an open problem.
    fn change(&mut self, id: ProblemId, change: impl FnOnce(&mut Problem)) -> Option<Arc<ProblemDoc>> {
        let problem = self.problems.get_mut(&id)?;
        change(problem);
        let doc = Arc::new(problem.doc());
        self.dirty.insert(id);
        self.changed.insert(id, doc.clone());
        Some(doc)
    }

    /// Closes an open problem; what recurs from now on is counted anew.
    fn close(&mut self, id: ProblemId, end: impl FnOnce(&Problem) -> ProblemDoc) -> Option<Arc<ProblemDoc>> {
        let problem = self.problems.remove(&id)?;
        self.by_signature.remove(&problem.signature);
        if self.signatures.find(problem.signature).is_some() {
            self.signatures.change(problem.signature, |known| known.opened.clear());
        }
        let doc = Arc::new(end(&problem));
        self.dirty.insert(id);
        self.changed.insert(id, doc.clone());
        Some(doc)
    }
}

impl Part for Past {
    const TAG: u8 = 30;

    fn write_changes(&mut self, _names: &Interner, writer: &mut Writer) {
        self.signatures.write_changes(Self::TAG, writer);
        for id in std::mem::take(&mut self.dirty) {
            writer.byte(Self::TAG);
            match self.problems.get(&id) {
                Some(problem) => {
                    writer.byte(PROBLEM);
                    problem.write(writer);
                }
                None => {
                    writer.byte(PROBLEM_GONE);
                    writer.fixed(id.0);
                }
            }
        }
    }

    fn write_slice(&self, _names: &Interner, from: u32, writer: &mut Writer) -> Option<u32> {
        if from < PROBLEMS_FROM {
            return Some(self.signatures.write_slice(Self::TAG, from, writer).unwrap_or(PROBLEMS_FROM));
        }
        for problem in self.problems.values() {
            [Self::TAG, PROBLEM].into_iter().for_each(|byte| writer.byte(byte));
            problem.write(writer);
        }
        None
    }

    fn restore(&mut self, _names: &mut Interner, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match reader.byte()? {
            PROBLEM => {
                let problem = Problem::read(reader)?;
                self.problems.insert(problem.id, problem);
            }
            PROBLEM_GONE => drop(self.problems.remove(&ProblemId(reader.fixed()?))),
            kind if self.signatures.restore(kind, reader)? => {}
            _ => return Err(reader.fault("unknown record of what came before")),
        }
        Ok(())
    }
}

impl Shard {
    /// The incident goes from one status to another: one that ends is remembered. One that is merged goes on as another.
    pub(super) fn problems_follow(
        &mut self,
        now: Timestamp,
        group: u32,
        before: IncidentStatus,
        after: IncidentStatus,
    ) {
        let state = &self.groups.slots[group];
        let Some(incident) = state.incident.as_deref().filter(|one| one.relations.merged_into.is_none()) else {
            return;
        };
        let said = incident.work.resolution.as_deref().filter(|said| !said.is_empty());
        match (before, after) {
            (_, IncidentStatus::Resolved) => {}
            (IncidentStatus::Resolved, IncidentStatus::Closed) if said.is_some() => {}
            _ => return,
        }
        let by = self.by.as_deref().map_or_else(|| format!("rule:{}", state.rule_name), str::to_owned);
        let ended = Ended {
            id: incident.id,
            opened: incident.opened_at,
            ended: incident.resolved_at.unwrap_or(now),
            how: said.unwrap_or("all clear").into(),
            by: by.into(),
        };
        self.past.signatures.change(incident.relations.signature, |known| match after {
            // The close says how it ended; the end was before.
            IncidentStatus::Closed => {
                let known = known.ended.iter_mut().filter(|known| known.id == ended.id && known.how != ended.how);
                known.for_each(|known| (known.how, known.by) = (ended.how.clone(), ended.by.clone()));
            }
            _ => known.remember(ended),
        });
    }

    /// An incident is about to open: gives it its signature, and links what had the same before, newest first. Says so for
    /// its timeline; nothing where it is new.
    pub(super) fn recall(&mut self, now: Timestamp, group: u32) -> String {
        let signature = self.new_signature(group);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return String::new() };
        incident.relations.signature = signature;
        let Some(known) = self.past.signatures.find(signature).filter(|known| !known.ended.is_empty()) else {
            return String::new();
        };
        for ended in known.ended.iter().rev() {
            put_link(incident, SAME_AS_BEFORE, HISTORY, ended.id, ended.sentence(now));
        }
        incident.give_reason(Action::Opened, Reason::SeenBefore);
        let newest = known.ended.back();
        newest.map_or_else(String::new, |ended| format!("; same as {}, {}", ended.id, ended.sentence(now)))
    }

    fn new_signature(&mut self, group: u32) -> u64 {
        let state = &self.groups.slots[group];
        if !state.union {
            return state.key_hash as u64;
        }
        // Which alert came first differs from time to time, and so does the name of the group.
        let (label, value) = self.unions.least(&self.names, group).unwrap_or_default();
        let hasher = self.hasher.reset(domain::SIGNATURE).part(state.rule_name.as_bytes());
        hasher.part(label.as_bytes()).part(value.as_bytes()).finish64()
    }

    /// An incident has opened: counts it, and raises or joins the problem that it is one of.
    pub(super) fn note_recurrence(&mut self, now: Timestamp, group: u32) {
        let Some(config) = self.rules.problems else { return };
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let (id, signature) = (incident.id, incident.relations.signature);
        if let Some(problem) = self.past.by_signature.get(&signature).copied() {
            let doc = self.past.change(problem, |problem| {
                problem.add(id);
                problem.recurrences += 1;
                problem.recur(now, config.within);
            });
            let count = doc.map_or(0, |doc| doc.recurrences);
            return self.tell_problem(now, group, problem, &format!("the incident number {count} of it"));
        }
        let since = now.minus(config.within);
        let opened = self.past.signatures.change(signature, |known| {
            known.opened.push_back((id, now));
            known.opened.retain(|(_, at)| *at > since);
            while known.opened.len() > config.recurrences as usize {
                known.opened.pop_front();
            }
            known.opened.clone()
        });
        if opened.len() >= config.recurrences as usize && self.past.problems.len() < OPEN_MAX {
            self.raise_problem(now, group, opened.into(), config.within);
        }
    }

    fn raise_problem(&mut self, now: Timestamp, group: u32, opened: Vec<(IncidentId, Timestamp)>, within: Duration) {
        let (Some(first), state) = (opened.first(), &self.groups.slots[group]) else { return };
        let Some(incident) = state.incident.as_deref() else { return };
        let signature = incident.relations.signature;
        let hasher = self.hasher.reset(domain::PROBLEM).part(&signature.to_le_bytes());
        let id = ProblemId(hasher.part(&first.0.0.to_le_bytes()).finish64());
        let reason = format!("{} incidents within {}", opened.len(), duration::format(within));
        let mut problem = Problem {
            id,
            signature,
            title: incident.title.to_string(),
            rule: state.rule_name.clone(),
            key: self.key_of(state, incident).pairs().iter().cloned().collect(),
            reason: reason.clone(),
            recurrences: opened.len() as u64,
            incidents: opened.iter().map(|(incident, _)| *incident).collect(),
            opened_at: now,
            updated_at: now,
            closes_at: now,
        };
        problem.recur(now, within);
        self.past.problems.insert(id, problem);
        self.past.by_signature.insert(signature, id);
        self.past.change(id, |_| ());
        self.schedule_problems();
        for (incident, _) in opened {
            // One that is closed is named by the problem alone.
            if let Some(group) = self.incidents.get(&incident).copied() {
                self.tell_problem(now, group, id, &reason);
            }
        }
    }

    /// Links an incident to its problem, and says so in its timeline.
    fn tell_problem(&mut self, now: Timestamp, group: u32, problem: ProblemId, reason: &str) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.links.push(IncidentLink {
            kind: LinkKind::Problem.as_str().to_owned(),
            target: problem.to_string(),
            by: HISTORY.to_owned(),
            reason: reason.to_owned(),
        });
        self.mark_group(group, Dirty::Whole);
        self.announce(now, group, Reason::ProblemFound, format!("{problem}: {reason}"), Told::Later);
    }

    /// An operator says that an incident is one of a problem.
    pub(super) fn link_problem(
        &mut self,
        now: Timestamp,
        group: u32,
        problem: ProblemId,
        reason: &str,
    ) -> Result<(), Refusal> {
        let Some(incident) = self.id_of(group) else { return Err(Refusal::Unknown) };
        if !self.past.problems.contains_key(&problem) {
            return Err(Refusal::Invalid(format!("no open problem {problem} is known here")));
        }
        self.link_target(now, group, (LinkKind::Problem, &problem.to_string()), reason)?;
        self.past.change(problem, |problem| {
            problem.add(incident);
            problem.updated_at = problem.updated_at.max(now);
        });
        Ok(())
    }

    /// An operator says that it is not, after all.
    pub(super) fn leave_problem(&mut self, now: Timestamp, group: u32, problem: ProblemId) {
        let Some(incident) = self.id_of(group) else { return };
        self.past.change(problem, |problem| {
            problem.incidents.retain(|one| *one != incident);
            problem.updated_at = problem.updated_at.max(now);
        });
    }

    /// An operator closes a problem.
    pub(super) fn close_problem(
        &mut self,
        now: Timestamp,
        problem: ProblemId,
        resolution: &str,
    ) -> Result<Done, Refusal> {
        let resolution = checked("resolution", resolution, TEXT_BYTES_MAX, true)?.to_owned();
        let by = self.by.clone();
        let closed = self.past.close(problem, |problem| problem.closed(now, by, resolution));
        closed.map(Done::Problem).ok_or(Refusal::Unknown)
    }

    /// Closes the problems that have not recurred for long.
    pub(super) fn problems_due(&mut self, now: Timestamp) {
        let due = self.past.problems.values().filter(|problem| problem.closes_at <= now);
        for id in due.map(|problem| problem.id).collect::<Vec<_>>() {
            self.past.close(id, |problem| problem.closed(now, None, problem.faded(now)));
        }
    }

    pub(super) fn schedule_problems(&mut self) {
        if let Some(due) = self.past.problems.values().map(|problem| problem.closes_at).min() {
            self.timers.schedule(Owner::Problems, &mut self.problems_at, due);
        }
    }
}

impl Ended {
    /// How long ago it ended, after how long, and how.
    fn sentence(&self, now: Timestamp) -> String {
        let person = self.by.strip_prefix("operator:").map(|name| format!(" by {name}")).unwrap_or_default();
        let (ago, after) = (in_words(now.since(self.ended)), in_words(self.ended.since(self.opened)));
        format!("resolved {ago} ago after {after}{person}: {}", self.how)
    }
}
