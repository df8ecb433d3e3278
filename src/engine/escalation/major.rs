//! Major incidents: declared by the configuration, a step or a person, with a crisis cell, a runbook and a hook.
//!
//! The hook is told in the decision that declares it, and that it was is kept with the incident in the same commit: once in
//! its life, whatever is killed, and however often it is declared. Declared once by configuration or step; after a person
//! has said that it is none, only a person declares it again.

use std::sync::Arc;

use crate::engine::alert::Dirty;
use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::group::Incident;
use crate::engine::incident::{IncidentLink, MajorDoc};
use crate::engine::journal::{Fault, Reader, Writer, read_maybe_text, write_maybe_text};
use crate::engine::lifecycle::Audience;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;

const RUNBOOK: &str = "runbook";
const BY_CONFIGURATION: &str = "major_incident";

/// That it is one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Major {
    since: Timestamp,
    by: Arc<str>,
    reason: Arc<str>,
    runbook: Option<Arc<str>>,
}

/// How a declaration is told.
pub(super) struct Declaration<'a> {
    /// Sinks that were told a moment ago.
    pub(super) told: &'a [Arc<str>],
    /// A person says so, whatever is muted.
    pub(super) spoken: bool,
}

impl Major {
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.time(self.since);
        writer.text(&self.by);
        writer.text(&self.reason);
        write_maybe_text(writer, self.runbook.as_deref());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (since, by, reason) = (reader.time()?, reader.text()?.into(), reader.text()?.into());
        Ok(Self { since, by, reason, runbook: read_maybe_text(reader)?.map(Arc::from) })
    }

    pub(super) fn doc(&self) -> MajorDoc {
        let Self { since, by, reason, runbook } = self.clone();
        MajorDoc { since, by, reason, runbook }
    }
}

impl Shard {
    pub(super) fn is_major(&self, group: u32) -> bool {
        let incident = self.groups.slots.get(group).and_then(|state| state.incident.as_deref());
        incident.is_some_and(|incident| incident.escalation.is_major())
    }

    /// Makes sure that the configuration is asked whether it is one, unless that is settled.
    pub(super) fn ask_major(&mut self, group: u32) {
        let asks = !self.rules.escalation.major.when.is_empty();
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let is_part = incident.relations.parent.is_some();
        let progress = &mut incident.escalation;
        progress.asks_major = asks && !is_part && progress.major.is_none() && !progress.stood_down;
    }

    /// Asks the configuration, and declares it.
    pub(super) fn consider_major(&mut self, now: Timestamp, group: u32) {
        let asks = self.progress_mut(group).is_some_and(|progress| std::mem::take(&mut progress.asks_major));
        if !asks {
            return;
        }
        self.mark_group(group, Dirty::Whole);
        let rules = self.rules.clone();
        let major = &rules.escalation.major;
        if !self.with_facts(group, |facts| major.when.iter().all(|matcher| matcher.holds(facts))) {
            return;
        }
        let before = self.by.replace(BY_CONFIGURATION.into());
        self.set_major(now, group, &major.said, None);
        if let Some(team) = &major.assign {
            self.give_to(now, group, team, "a major incident");
        }
        self.tell_major(now, group, &Declaration { told: &[], spoken: false });
        self.by = before;
    }

    /// Makes it a major incident. Nothing is told yet.
    pub(super) fn set_major(&mut self, now: Timestamp, group: u32, why: &str, runbook: Option<Arc<str>>) {
        let configured = self.rules.escalation.major.runbook.clone();
        let by: Arc<str> = self.by.clone().unwrap_or_else(|| BY_CONFIGURATION.into());
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let runbook = runbook.or(configured).or_else(|| self.service_runbook(incident));
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if let Some(runbook) = &runbook {
            link_runbook(incident, runbook, &by);
        }
        incident.escalation.asks_major = false;
        incident.escalation.record.major = true;
        incident.escalation.major = Some(Major { since: now, by, reason: why.into(), runbook });
        self.mark_group(group, Dirty::Whole);
        self.talks_turned(now, group);
    }

    /// The runbook that the service catalogue gives.
    fn service_runbook(&self, incident: &Incident) -> Option<Arc<str>> {
        self.details_of(incident)?.runbook.cloned()
    }

    /// Tells the crisis cell, and sets the recovery going, if that was not done before.
    pub(super) fn tell_major(&mut self, now: Timestamp, group: u32, declaration: &Declaration<'_>) {
        let rules = self.rules.clone();
        let rules = &rules.escalation.major;
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let Some(major) = &incident.escalation.major else { return };
        let message = match &major.runbook {
            Some(runbook) => format!("major incident: {}; follow {runbook}", major.reason),
            None => format!("major incident: {}", major.reason),
        };
        let hook =
            rules.hook.clone().filter(|_| !std::mem::replace(&mut incident.escalation.hooked, rules.hook.is_some()));
        incident.escalation.reach(&rules.crisis_cell);
        let cell = match rules.crisis_cell.is_empty() && declaration.spoken && declaration.told.is_empty() {
            true => incident.policy.notify.clone(),
            false => rules.crisis_cell.clone(),
        };
        let cell = cell.iter().filter(|sink| !declaration.told.contains(sink)).cloned();
        let sinks: Arc<[Arc<str>]> = cell.chain(hook).collect();
        let audience = if declaration.spoken { Audience::Spoken(sinks) } else { Audience::Sinks(sinks) };
        self.message = Some(message.as_str().into());
        self.tell(now, group, (Move::Escalate, Reason::MajorDeclared), &audience, message);
    }

    /// What was merged into it was a major incident: so is this from now on, and the recovery is under way.
    pub(in crate::engine) fn take_over_major(&mut self, group: u32, ended: &Incident) {
        let Some(progress) = self.progress_mut(group) else { return };
        progress.hooked |= ended.escalation.hooked;
        if progress.major.is_none() && ended.escalation.major.is_some() {
            progress.major.clone_from(&ended.escalation.major);
            progress.asks_major = false;
        }
        progress.record.major |= ended.escalation.record.major;
        self.mark_group(group, Dirty::Whole);
    }

    pub(in crate::engine) fn declare_major(&mut self, now: Timestamp, group: u32, why: &str) -> Result<(), Refusal> {
        let why = checked("reason", why, TEXT_BYTES_MAX, true)?.to_owned();
        if self.is_major(group) {
            return Err(Refusal::Illegal("it is a major incident already".to_owned()));
        }
        self.set_major(now, group, &why, None);
        if let Some(team) = self.rules.escalation.major.assign.clone() {
            self.give_to(now, group, &team, "a major incident");
        }
        self.tell_major(now, group, &Declaration { told: &[], spoken: true });
        self.escalation_plan(now, group);
        Ok(())
    }

    pub(in crate::engine) fn stand_down(&mut self, now: Timestamp, group: u32, why: &str) -> Result<(), Refusal> {
        let why = checked("reason", why, TEXT_BYTES_MAX, true)?.to_owned();
        let cell = self.rules.escalation.major.crisis_cell.clone();
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return Err(Refusal::Unknown) };
        if incident.escalation.major.take().is_none() {
            return Err(Refusal::Illegal("it is no major incident".to_owned()));
        }
        incident.escalation.stood_down = true;
        incident.escalation.asks_major = false;
        let sinks = if cell.is_empty() { incident.policy.notify.clone() } else { cell };
        self.talks_turned(now, group);
        self.message = Some(format!("no major incident any more: {why}").into());
        self.tell(now, group, (Move::Update, Reason::MajorEnded), &Audience::Spoken(sinks), why);
        self.escalation_plan(now, group);
        Ok(())
    }
}

/// Names the runbook among the links; one that was named so before gives way.
fn link_runbook(incident: &mut Incident, runbook: &str, by: &str) {
    const WHY: &str = "the recovery plan of the major incident";
    incident.links.retain(|link| link.kind != RUNBOOK || link.reason != WHY);
    incident.links.push(IncidentLink {
        kind: RUNBOOK.to_owned(),
        target: runbook.to_owned(),
        by: by.to_owned(),
        reason: WHY.to_owned(),
    });
}
