//! Priority: impact × urgency, where both came from, and how it rises when more breaks.

use std::sync::Arc;

use crate::engine::alert::Dirty;
use crate::engine::command::Refusal;
use crate::engine::desk::Order;
use crate::engine::group::Incident;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::rules::Level;

/// How impact and urgency came about.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Assessment {}

/// The entry of the service catalogue that matched when the incident opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Binding {}

impl Assessment {
    pub(super) fn write(&self, _writer: &mut Writer) {}

    pub(super) fn read(_reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self::default())
    }

    /// The services that are concerned, where there are several.
    pub(super) fn services(&self) -> Vec<Arc<str>> {
        Vec::new()
    }
}

impl Binding {
    pub(super) fn write(&self, _writer: &mut Writer) {}

    pub(super) fn read(_reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self::default())
    }

    pub(super) fn doc(&self) -> Option<Arc<str>> {
        None
    }
}

/// Why the incident has its priority, as a sentence.
pub(super) fn explained(incident: &Incident) -> String {
    let name = |level: Level| ["high", "medium", "low"][level as usize];
    let from = match incident.fixed_urgency {
        Some(_) => "set by the rule".to_owned(),
        None => format!("from severity {}", incident.severity.as_str()),
    };
    let priority = incident.priority.as_str();
    format!("{priority}: {} impact, {} urgency ({from})", name(incident.impact), name(incident.urgency))
}

impl Shard {
    /// Something was linked, became graver, cleared or related: the priority rises where that makes it graver.
    pub(super) fn assess_again(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        let urgency = incident.fixed_urgency.unwrap_or_else(|| Level::of_severity(incident.severity));
        if std::mem::replace(&mut incident.urgency, urgency) == urgency {
            return;
        }
        let priority = self.rules.priority(incident.impact, urgency);
        let rises = priority < incident.priority;
        incident.priority = incident.priority.min(priority);
        self.mark_group(group, Dirty::Whole);
        if rises {
            self.priority_turned(now, group);
        }
    }

    pub(super) fn assess_next(&self, _group: u32) -> Option<Timestamp> {
        None
    }

    pub(super) fn assess_due(&mut self, _now: Timestamp, _group: u32) {}

    pub(super) fn reprioritise(&mut self, _now: Timestamp, group: u32, _order: &Order) -> Result<(), Refusal> {
        self.check_move(group, Move::Escalate)
    }
}
