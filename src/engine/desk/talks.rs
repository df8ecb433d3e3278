//! What is said about an incident: notes, status updates to audiences, and when the next one is due.
//!
//! When an update is due follows from what is configured and from when somebody was told last, so a reload moves it. Of
//! reminders in a row there are at most [`REMINDERS_MAX`]; then it is quiet until an update is given.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::Action;
use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::{TEXT_BYTES_MAX, checked};
use crate::engine::group::Incident;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::lifecycle::Audience;
use crate::engine::moves::{IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::{Timestamp, hint};
use crate::identity::IncidentId;
use crate::rules::{INTERNAL, Occasion, StatusAudience};

/// Reminders in a row, without an update between them.
const REMINDERS_MAX: u32 = 10;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct Talks {
    /// When audiences were told last, or the incident opened or came back: from then the cadence counts.
    since: Timestamp,
    /// Reminders since then, and when the last one came.
    reminders: u32,
    reminded_at: Option<Timestamp>,
    /// Audiences are to be told that it opened as soon as something fires that is not muted.
    opening_kept: bool,
}

impl Talks {
    pub(in crate::engine) fn write(&self, writer: &mut Writer) {
        writer.time(self.since);
        writer.number(u64::from(self.reminders));
        writer.maybe_time(self.reminded_at);
        writer.byte(u8::from(self.opening_kept));
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (since, reminders) = (reader.time()?, reader.small()?);
        Ok(Self { since, reminders, reminded_at: reader.maybe_time()?, opening_kept: reader.flag()? })
    }

    /// From now on the cadence counts anew.
    fn told(&mut self, now: Timestamp) {
        (self.since, self.reminders, self.reminded_at) = (now, 0, None);
    }
}

impl Shard {
    /// After how long the next status update of an incident is due.
    fn update_every(&self, incident: &Incident) -> Option<Duration> {
        let cadence = self.rules.communication.cadence(incident.priority);
        [cadence, self.major_update_every(incident)].into_iter().flatten().min()
    }

    /// The same, as a major incident asks for it.
    fn major_update_every(&self, incident: &Incident) -> Option<Duration> {
        self.rules.escalation.major.updates_every.filter(|_| incident.escalation.is_major())
    }

    /// When stakeholders are to hear next; nobody waits for an incident that is over, or that a storm speaks for.
    pub(in crate::engine) fn next_update_due(&self, incident: &Incident) -> Option<Timestamp> {
        if !incident.status.is_live() || incident.relations.mutes(Action::Updated) {
            return None;
        }
        Some(incident.talks.since.plus(self.update_every(incident)?))
    }

    /// When somebody is reminded next: when an update is due, and once in every cadence after that.
    fn reminder_due(&self, incident: &Incident) -> Option<Timestamp> {
        let (due, talks) = (self.next_update_due(incident)?, &incident.talks);
        let again = talks.reminded_at.and_then(|at| Some(at.plus(self.update_every(incident)?)));
        (talks.reminders < REMINDERS_MAX).then(|| again.map_or(due, |again| again.max(due)))
    }

    pub(in crate::engine) fn talks_follow(
        &mut self,
        now: Timestamp,
        group: u32,
        before: IncidentStatus,
        after: IncidentStatus,
    ) {
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if after.is_live() && !before.is_live() {
            incident.talks.told(now);
        }
    }

    /// The priority is another one, or it became a major incident: what is due follows from that by itself.
    pub(in crate::engine) fn talks_turned(&mut self, _now: Timestamp, group: u32) {
        self.schedule_group(group);
    }

    /// What is next, unless all that fires is known to be muted; then that is asked again when it may have changed.
    pub(in crate::engine) fn talks_next(&self, group: u32) -> Option<Timestamp> {
        let incident = self.groups.slots[group].incident.as_deref().filter(|incident| incident.status.is_live())?;
        let opening = incident.talks.opening_kept.then_some(incident.talks.since);
        let next = [opening, self.reminder_due(incident)].into_iter().flatten().min()?;
        (!self.is_known_muted(group)).then_some(next)
    }

    pub(in crate::engine) fn talks_due(&mut self, now: Timestamp, group: u32) {
        if self.is_group_muted(group) {
            return;
        }
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        if incident.talks.opening_kept {
            return self.tell_audiences(now, group, Occasion::Opened, None);
        }
        if self.reminder_due(incident).is_some_and(|due| due <= now) {
            self.remind(now, group);
        }
    }

    fn remind(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let Some(due) = self.next_update_due(incident) else { return };
        let remind = self.rules.communication.remind.clone();
        let audience = if remind.is_empty() { Audience::Rule } else { Audience::Sinks(remind) };
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        incident.talks.reminders += 1;
        incident.talks.reminded_at = Some(now);
        let message = format!("the next status update was due at {}", due.to_the_second());
        self.message = Some(message.as_str().into());
        self.tell(now, group, (Move::Update, Reason::UpdateDue), &audience, message);
    }

    /// After a move was told: tells audiences that asked to be told of it by itself.
    pub(in crate::engine) fn tell_of_move(
        &mut self,
        now: Timestamp,
        group: u32,
        before: IncidentStatus,
        after: IncidentStatus,
    ) {
        match after {
            IncidentStatus::Open if !before.is_live() => self.tell_audiences(now, group, Occasion::Opened, None),
            IncidentStatus::Resolved => self.tell_audiences(now, group, Occasion::Resolved, None),
            _ => {}
        }
    }

    /// Before it is merged into another incident: for whoever hears how it ends, it ends here.
    pub(in crate::engine) fn tell_of_merge(&mut self, now: Timestamp, group: u32, into: IncidentId) {
        if self.status_of(group).is_live() {
            self.tell_audiences(now, group, Occasion::Resolved, Some(&format!("it goes on as {into}")));
        }
    }

    fn tell_audiences(&mut self, now: Timestamp, group: u32, occasion: Occasion, words: Option<&str>) {
        let hear = |audience: &&StatusAudience| audience.hears_of(occasion);
        let muted = self.is_group_muted(group);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if incident.relations.mutes(Action::Updated) {
            return;
        }
        // What they were not told of does not end for them either.
        let unknown = std::mem::replace(&mut incident.talks.opening_kept, false) && occasion == Occasion::Resolved;
        if self.rules.communication.audiences().is_empty() {
            return;
        }
        let again = incident.talks.since > incident.opened_at;
        let text = match occasion {
            _ if words.is_some() => words.unwrap_or_default().to_owned(),
            Occasion::Opened if again => "it came back".to_owned(),
            Occasion::Opened => "it has opened".to_owned(),
            Occasion::Resolved => incident.work.resolution.as_deref().unwrap_or("it is over").to_owned(),
        };
        let rules = self.rules.clone();
        let mut audiences = rules.communication.audiences().iter().filter(hear).peekable();
        if occasion == Occasion::Opened && muted && audiences.peek().is_some() {
            if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
                incident.talks.opening_kept = true;
            }
            return;
        }
        // Whoever has moved the incident has not written this.
        let by = self.by.take();
        for audience in audiences.filter(|one| !(unknown && one.hears_of(Occasion::Opened))) {
            self.update_status(now, group, audience, &text);
        }
        self.by = by;
    }

    /// Writes something down for the team, or tells an audience how the incident stands.
    ///
    /// # Errors
    /// When the incident is final, the text is empty or too long, or the audience is not known.
    pub(in crate::engine) fn write_note(
        &mut self,
        now: Timestamp,
        group: u32,
        text: &str,
        audience: &str,
    ) -> Result<(), Refusal> {
        if self.status_of(group).after(Move::Update).is_none() {
            return Err(Refusal::Illegal("an incident that is final takes no notes".to_owned()));
        }
        let text = checked("text", text, TEXT_BYTES_MAX, true)?;
        if audience.is_empty() || audience == INTERNAL {
            let nobody = Audience::Spoken(Arc::default());
            self.tell(now, group, (Move::Update, Reason::NoteWritten), &nobody, text.to_owned());
            return Ok(());
        }
        let rules = self.rules.clone();
        let Some(audience) = rules.communication.named(audience) else {
            let audiences = rules.communication.audiences().iter().map(|known| &*known.name);
            let known: Vec<&str> = std::iter::once(INTERNAL).chain(audiences).collect();
            let (hint, all) = (hint(audience, known.iter().copied()), known.join(", "));
            return Err(Refusal::Invalid(format!("there is no audience \"{audience}\"{hint} (there are {all})")));
        };
        self.update_status(now, group, audience, text);
        Ok(())
    }

    /// Tells an audience, whatever is muted. From now the cadence counts anew.
    fn update_status(&mut self, now: Timestamp, group: u32, audience: &StatusAudience, text: &str) {
        if let Some(incident) = self.groups.slots[group].incident.as_deref_mut() {
            incident.talks.told(now);
        }
        let state = &self.groups.slots[group];
        let Some(incident) = state.incident.as_deref() else { return };
        let (message, by_template) = audience.message(&self.doc(state, incident), text);
        let fallback = if by_template { "" } else { " (its template cannot be rendered, so in the default form)" };
        self.message = Some(message.into());
        let spoken = Audience::Spoken(audience.notify.clone());
        let detail = format!("to {}{fallback}: {text}", audience.name);
        self.tell(now, group, (Move::Update, Reason::StatusUpdate), &spoken, detail);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::incident::IncidentDoc;
    use crate::identity::IncidentId;
    use crate::rules::INCIDENT_FIELDS;

    use super::*;

    #[test]
    fn a_template_may_speak_of_every_field_that_a_document_shows() {
        let doc = IncidentDoc { services: vec!["shop".into()], ..IncidentDoc::blank(IncidentId(1), Timestamp::EPOCH) };
        let shown = serde_json::to_value(&doc).expect("a document is JSON");
        let shown = shown.as_object().expect("an object").keys();
        let unknown: Vec<_> = shown.filter(|name| !INCIDENT_FIELDS.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "rules::INCIDENT_FIELDS lacks {unknown:?}");
    }
}
