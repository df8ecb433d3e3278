//! One record of the journal each: an alert, a group, its incident, and the few numbers that repeats move.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::codec::{Fault, Reader, Writer};
use crate::engine::alert::{Alert, AlertState, Dirty, Membership, OWN, Register, Texts};
use crate::engine::deadlines::Deadlines;
use crate::engine::desk::assignment::Assignment;
use crate::engine::desk::talks::Talks;
use crate::engine::desk::work::Work;
use crate::engine::escalation::Progress;
use crate::engine::flapping::{Flapping, Turns, read_flapping, write_flapping};
use crate::engine::group::{Gathered, Group, Held, Incident, Opening, Phase, Policy, RETIRED, Turn};
use crate::engine::incident::{IncidentLink, IncidentStatus};
use crate::engine::memory::interner::{Interner, Symbol};
use crate::engine::priority::{Assessment, Binding};
use crate::engine::relate::Relations;
use crate::engine::relate::storm::StormState;
use crate::engine::suppress::{Hush, Mark};
use crate::engine::window::Span;
use crate::event::{Severity, Status, Timestamp};
use crate::identity::{Fingerprint, IncidentId};
use crate::rules::{Level, OnStale, Priority};

pub(super) const ALERT: u8 = 1;
pub(super) const ALERT_COUNTERS: u8 = 2;
pub(super) const ALERT_GONE: u8 = 3;
pub(super) const GROUP: u8 = 4;
pub(super) const GROUP_COUNTERS: u8 = 5;
pub(super) const GROUP_GONE: u8 = 6;
pub(super) const SEEN: u8 = 7;
pub(super) const CLOSED: u8 = 8;
pub(super) const WINDOW: u8 = 20;

pub(super) fn write_ids(writer: &mut Writer, ids: impl ExactSizeIterator<Item = (u128, Timestamp)>) {
    if ids.len() == 0 {
        return;
    }
    writer.byte(SEEN);
    writer.number(ids.len() as u64);
    for (key, at) in ids {
        writer.wide(key);
        writer.time(at);
    }
}

pub(super) fn write_closed(writer: &mut Writer, ids: impl ExactSizeIterator<Item = IncidentId>) {
    if ids.len() == 0 {
        return;
    }
    writer.byte(CLOSED);
    writer.number(ids.len() as u64);
    ids.for_each(|id| writer.fixed(id.0));
}

pub(super) fn write_register(writer: &mut Writer, register: &Register) {
    writer.time(register.at);
    writer.byte(register.status as u8);
    writer.fixed(register.event);
}

pub(super) fn read_register(reader: &mut Reader<'_>) -> Result<Register, Fault> {
    let (at, status, event) = (reader.time()?, reader.byte()?, reader.fixed()?);
    let status = Status::from_byte(status).ok_or_else(|| reader.fault("unknown status"))?;
    Ok(Register { at, status, event })
}

pub(super) fn write_alert_counters(writer: &mut Writer, slot: u32, alert: &Alert) {
    writer.byte(ALERT_COUNTERS);
    writer.number(u64::from(slot));
    write_counters(writer, alert);
}

pub(super) fn write_counters(writer: &mut Writer, alert: &Alert) {
    write_register(writer, &alert.register);
    writer.time(alert.first_seen);
    writer.time(alert.last_seen);
    writer.time(alert.until);
    writer.number(alert.count);
    alert.mark.write(writer);
}

pub(super) fn read_alert_counters(reader: &mut Reader<'_>, alert: Option<&mut Alert>) -> Result<(), Fault> {
    let register = read_register(reader)?;
    let (first_seen, last_seen, until) = (reader.time()?, reader.time()?, reader.time()?);
    let (count, mark) = (reader.tally()?, Mark::read(reader)?);
    // The alert may be gone already where a later slice of the snapshot was read first.
    if let Some(alert) = alert {
        (alert.register, alert.count, alert.mark) = (register, count, mark);
        (alert.first_seen, alert.last_seen, alert.until) = (first_seen, last_seen, until);
    }
    Ok(())
}

pub(super) fn write_pairs(writer: &mut Writer, names: &Interner, pairs: &[(Symbol, Symbol)]) {
    writer.number(pairs.len() as u64);
    for (name, value) in pairs {
        writer.text(names.text(*name));
        writer.text(names.text(*value));
    }
}

/// What [`write_alert`] has written of its texts.
fn read_texts(reader: &mut Reader<'_>, names: &mut Interner) -> Result<Texts, Fault> {
    let (mut pairs, mut place) = (SmallVec::<[_; 32]>::new(), 0);
    let mut intern = |reader: &mut Reader<'_>| {
        place += 1;
        let bytes = reader.raw_text()?;
        // What is known already is text.
        match names.known_at(place, bytes) {
            Some(symbol) => Ok(symbol),
            None => Ok::<Symbol, Fault>(names.intern_at(place, reader.checked(bytes)?.as_bytes())),
        }
    };
    let mut ends = [0; 3];
    for end in &mut ends {
        for _ in 0..reader.count()? {
            pairs.push((intern(reader)?, intern(reader)?));
        }
        *end = pairs.len();
    }
    let mut maybe = |reader: &mut Reader<'_>| if reader.flag()? { intern(reader).map(Some) } else { Ok(None) };
    let (source, summary) = (maybe(reader)?, maybe(reader)?);
    Ok(Texts::new(pairs.to_vec(), [ends[0], ends[1] - ends[0]], source, summary))
}

pub(in crate::engine) fn write_maybe_text(writer: &mut Writer, text: Option<&str>) {
    writer.byte(u8::from(text.is_some()));
    if let Some(text) = text {
        writer.text(text);
    }
}

pub(in crate::engine) fn read_maybe_text<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, Fault> {
    if reader.flag()? { Ok(Some(reader.text()?)) } else { Ok(None) }
}

pub(super) fn write_alert(writer: &mut Writer, names: &Interner, slot: u32, alert: &Alert) {
    writer.byte(ALERT);
    writer.number(u64::from(slot));
    writer.wide(alert.fingerprint.0);
    writer.byte(alert.state as u8);
    writer.byte(alert.severity as u8);
    writer.fixed(alert.content);
    write_counters(writer, alert);
    for pairs in [alert.texts.labels(), alert.texts.annotations(), alert.texts.links()] {
        write_pairs(writer, names, pairs);
    }
    for text in [alert.texts.source, alert.texts.summary] {
        write_maybe_text(writer, text.map(|text| names.text(text)));
    }
    writer.number(alert.memberships.len() as u64);
    for membership in &alert.memberships {
        writer.number(u64::from(membership.group));
        let Membership { firing, linked, flapping, origin, let_go, .. } = *membership;
        let flags = [firing, linked, flapping, origin != OWN, let_go.is_some()];
        writer.byte(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        let_go.iter().for_each(|severity| writer.byte(*severity as u8));
        if origin != OWN {
            writer.number(u64::from(origin));
        }
    }
    alert.turns.write(writer);
}

pub(super) fn read_alert(reader: &mut Reader<'_>, names: &mut Interner) -> Result<(u32, Alert), Fault> {
    let slot = reader.slot()?;
    let fingerprint = Fingerprint(reader.wide()?);
    let (state, severity) = (reader.byte()?, reader.byte()?);
    let state = AlertState::ALL.into_iter().find(|known| *known as u8 == state);
    let mut alert = Alert {
        fingerprint,
        register: Register::default(),
        content: reader.fixed()?,
        first_seen: Timestamp::EPOCH,
        last_seen: Timestamp::EPOCH,
        until: Timestamp::EPOCH,
        timer_at: Timestamp::MAX,
        count: 0,
        texts: Texts::default(),
        memberships: SmallVec::new(),
        turns: Turns::default(),
        epoch: 0,
        unwanted: false,
        state: state.ok_or_else(|| reader.fault("unknown alert state"))?,
        severity: Severity::from_byte(severity).ok_or_else(|| reader.fault("unknown severity"))?,
        mark: Mark::default(),
        dirty: Dirty::Clean,
        counted: 0,
    };
    read_alert_counters(reader, Some(&mut alert))?;
    alert.texts = read_texts(reader, names)?;
    for _ in 0..reader.count()? {
        let (group, flags) = (reader.small()?, reader.byte()?);
        let [firing, linked, flapping, via, is_let_go] = [1, 2, 4, 8, 16].map(|flag| flags & flag != 0);
        let let_go = if is_let_go { Some(reader.byte()?) } else { None };
        let let_go = let_go.map(|byte| Severity::from_byte(byte).ok_or_else(|| reader.fault("unknown severity")));
        let let_go = let_go.transpose()?.filter(|_| !firing);
        let origin = if via { reader.small()? } else { OWN };
        alert.memberships.push(Membership { group, place: 0, firing, linked, flapping, let_go, origin });
    }
    alert.turns = Turns::read(reader)?;
    Ok((slot, alert))
}

pub(super) fn write_group_counters(writer: &mut Writer, slot: u32, group: &Group) {
    writer.byte(GROUP_COUNTERS);
    writer.number(u64::from(slot));
    writer.number(group.events);
    writer.time(group.last_activity);
    writer.time(group.newest_event_at);
    writer.byte(u8::from(group.incident.is_some()));
    if let Some(incident) = group.incident.as_deref() {
        write_incident_counters(writer, incident);
    }
}

pub(super) fn read_group_counters(reader: &mut Reader<'_>, mut group: Option<&mut Group>) -> Result<(), Fault> {
    let (events, last_activity, newest_event_at) = (reader.tally()?, reader.time()?, reader.time()?);
    if let Some(group) = group.as_deref_mut() {
        (group.events, group.last_activity, group.newest_event_at) = (events, last_activity, newest_event_at);
    }
    if reader.flag()? {
        let incident = group.and_then(|group| group.incident.as_deref_mut());
        read_incident_counters(reader, incident)?;
    }
    Ok(())
}

/// What moves with every alert that is linked: all that `gather` and `link` touch.
fn write_incident_counters(writer: &mut Writer, incident: &Incident) {
    writer.number(incident.version);
    writer.number(incident.sequence);
    writer.time(incident.updated_at);
    writer.number(incident.total);
    writer.maybe_time(incident.clear_since);
    write_gathered(writer, incident.gathered);
}

fn read_incident_counters(reader: &mut Reader<'_>, incident: Option<&mut Incident>) -> Result<(), Fault> {
    let (version, sequence, updated_at) = (reader.tally()?, reader.tally()?, reader.time()?);
    let (total, clear_since, gathered) = (reader.tally()?, reader.maybe_time()?, read_gathered(reader)?);
    if let Some(incident) = incident {
        (incident.version, incident.sequence, incident.updated_at) = (version, sequence, updated_at);
        (incident.total, incident.clear_since, incident.gathered) = (total, clear_since, gathered);
    }
    Ok(())
}

fn write_gathered(writer: &mut Writer, gathered: Gathered) {
    let Gathered { linked, changed, cleared, .. } = gathered;
    let Gathered { children, children_changed, children_resolved, children_released, related, turn, due, .. } =
        gathered;
    let counts = [linked, changed, cleared, children, children_changed, children_resolved, children_released, related];
    counts.into_iter().for_each(|count| writer.number(u64::from(count)));
    writer.byte(turn.map_or(u8::MAX, |turn| turn as u8));
    writer.maybe_time(due);
}

fn read_gathered(reader: &mut Reader<'_>) -> Result<Gathered, Fault> {
    let mut gathered = Gathered {
        linked: reader.small()?,
        changed: reader.small()?,
        cleared: reader.small()?,
        children: reader.small()?,
        children_changed: reader.small()?,
        children_resolved: reader.small()?,
        children_released: reader.small()?,
        related: reader.small()?,
        ..Gathered::default()
    };
    let turn = reader.byte()?;
    gathered.turn = Turn::ALL.into_iter().find(|known| *known as u8 == turn);
    gathered.due = reader.maybe_time()?;
    Ok(gathered)
}

/// What was done to a group's window since the last commit.
pub(super) fn write_window(writer: &mut Writer, slot: u32, span: &Span) {
    if span.has_news() {
        writer.byte(WINDOW);
        writer.number(u64::from(slot));
        span.write_news(writer);
    }
}

pub(super) fn write_group(writer: &mut Writer, names: &Interner, slot: u32, group: &Group) {
    writer.byte(GROUP);
    writer.number(u64::from(slot));
    writer.byte(u8::from(group.rule == RETIRED) | u8::from(group.union) << 1);
    writer.text(&group.rule_name);
    writer.fixed(group.correlation);
    writer.wide(group.key_hash);
    writer.number(group.key.len() as u64);
    for (name, value) in &group.key {
        writer.text(names.text(*name));
        write_maybe_text(writer, value.map(|value| names.text(value)));
    }
    writer.number(group.events_before);
    writer.number(group.events - group.events_before);
    writer.time(group.last_activity);
    writer.time(group.newest_event_at);
    writer.maybe_time(if let Phase::Waiting(until) = group.phase { Some(until) } else { None });
    writer.byte(u8::from(group.opening.is_some()));
    if let Some(Opening { event, since, slot }) = group.opening {
        writer.wide(event);
        writer.time(since);
        writer.number(u64::from(slot));
    }
    group.span.write(writer);
    StormState::write(group.storm.as_deref(), writer);
    writer.byte(u8::from(group.incident.is_some()));
    if let Some(incident) = group.incident.as_deref() {
        write_incident(writer, incident);
    }
}

pub(super) fn read_group(reader: &mut Reader<'_>, names: &mut Interner) -> Result<(u32, Group), Fault> {
    let slot = reader.slot()?;
    let flags = reader.byte()?;
    let (retired, union) = (flags & 1 != 0, flags & 2 != 0);
    let rule_name = Arc::from(reader.text()?);
    let (correlation, key_hash) = (reader.fixed()?, reader.wide()?);
    let parts = reader.count()?;
    let key = (0..parts)
        .map(|_| Ok((names.intern(reader.text()?), read_maybe_text(reader)?.map(|value| names.intern(value)))))
        .collect::<Result<_, Fault>>()?;
    let (events_before, events_since) = (reader.tally()?, reader.tally()?);
    let (last_activity, newest_event_at) = (reader.time()?, reader.time()?);
    let waiting = reader.maybe_time()?;
    let opening = if reader.flag()? {
        Some(Opening { event: reader.wide()?, since: reader.time()?, slot: reader.slot()? })
    } else {
        None
    };
    let span = Span::read(reader)?;
    let storm = StormState::read(reader)?;
    let incident = if reader.flag()? { Some(Box::new(read_incident(reader)?)) } else { None };
    let phase = match (&incident, waiting) {
        (Some(incident), _) if incident.status.is_live() => Phase::Live,
        (Some(incident), _) if incident.status == IncidentStatus::Closed => Phase::Merged,
        (Some(_), _) => Phase::Resolved,
        (None, Some(until)) => Phase::Waiting(until),
        (None, None) => Phase::Gathering,
    };
    let group = Group {
        rule: if retired { RETIRED } else { 0 },
        rule_name,
        correlation,
        key_hash,
        key,
        union,
        phase,
        span,
        opening,
        members: Vec::new(),
        firing: 0,
        let_go: 0,
        flapping: 0,
        storm,
        events: events_before + events_since,
        events_before,
        last_activity,
        newest_event_at,
        timer_at: Timestamp::MAX,
        incident,
        dirty: Dirty::Clean,
        touched: false,
        counted: Held::default(),
    };
    Ok((slot, group))
}

pub(super) fn write_incident(writer: &mut Writer, incident: &Incident) {
    writer.fixed(incident.id.0);
    writer.byte(incident.status as u8);
    writer.number(incident.version);
    writer.number(incident.sequence);
    writer.text(&incident.title);
    writer.byte(incident.severity as u8);
    writer.byte(incident.impact as u8);
    writer.byte(incident.fixed_urgency.map_or(u8::MAX, |urgency| urgency as u8));
    writer.byte(incident.urgency as u8);
    writer.byte(incident.priority as u8);
    write_maybe_text(writer, incident.service.as_deref());
    writer.time(incident.opened_at);
    writer.maybe_time(incident.acknowledged_at);
    writer.maybe_time(incident.resolved_at);
    writer.time(incident.updated_at);
    writer.number(incident.total);
    writer.maybe_time(incident.clear_since);
    write_gathered(writer, incident.gathered);
    writer.number(incident.reasons.len() as u64);
    incident.reasons.iter().for_each(|reason| writer.text(reason));
    writer.number(incident.links.len() as u64);
    for link in &incident.links {
        [&link.kind, &link.target, &link.by, &link.reason].into_iter().for_each(|text| writer.text(text));
    }
    let policy = &incident.policy;
    for duration in [policy.resolve_after, policy.reopen_within, policy.update_interval] {
        writer.number(duration.as_millis() as u64);
    }
    writer.byte(u8::from(policy.on_stale == OnStale::Hold));
    write_flapping(writer, policy.flapping);
    writer.number(policy.notify.len() as u64);
    policy.notify.iter().for_each(|sink| writer.text(sink));
    incident.relations.write(writer);
    Flapping::write(incident.flapping, writer);
    incident.hush.write(writer);
    incident.work.write(writer);
    incident.assignment.write(writer);
    incident.talks.write(writer);
    incident.deadlines.write(writer);
    incident.escalation.write(writer);
    incident.priority_of.write(writer);
    incident.service_of.write(writer);
}

pub(super) fn read_incident(reader: &mut Reader<'_>) -> Result<Incident, Fault> {
    let id = IncidentId(reader.fixed()?);
    let status = reader.byte()?;
    let status = IncidentStatus::ALL.into_iter().find(|known| *known as u8 == status);
    let status = status.ok_or_else(|| reader.fault("unknown incident status"))?;
    let (version, sequence, title) = (reader.tally()?, reader.tally()?, reader.text()?.to_owned());
    let severity = reader.byte()?;
    let severity = Severity::from_byte(severity).ok_or_else(|| reader.fault("unknown severity"))?;
    let mut level = || -> Result<Option<Level>, Fault> { Ok(Level::from_byte(reader.byte()?)) };
    let (impact, fixed_urgency, urgency) = (level()?, level()?, level()?);
    let (Some(impact), Some(urgency)) = (impact, urgency) else { return Err(reader.fault("unknown level")) };
    let priority = reader.byte()?;
    let priority = Priority::ALL.get(priority as usize).copied().ok_or_else(|| reader.fault("unknown priority"))?;
    let service = read_maybe_text(reader)?.map(Arc::from);
    let opened_at = reader.time()?;
    let (acknowledged_at, resolved_at) = (reader.maybe_time()?, reader.maybe_time()?);
    let (updated_at, total, clear_since) = (reader.time()?, reader.tally()?, reader.maybe_time()?);
    let gathered = read_gathered(reader)?;
    let reasons = reader.count()?;
    let reasons = (0..reasons).map(|_| Ok(reader.text()?.to_owned())).collect::<Result<_, Fault>>()?;
    let links = reader.count()?;
    let links = (0..links).map(|_| read_link(reader)).collect::<Result<_, Fault>>()?;
    let policy = read_policy(reader)?;
    let relations = Relations::read(reader)?;
    let flapping = Flapping::read(reader)?;
    let hush = Hush::read(reader)?;
    let (work, assignment, talks) = (Work::read(reader)?, Assignment::read(reader)?, Talks::read(reader)?);
    let (deadlines, escalation) = (Deadlines::read(reader)?, Progress::read(reader)?);
    let (priority_of, service_of) = (Assessment::read(reader)?, Binding::read(reader)?);
    Ok(Incident {
        id,
        status,
        version,
        sequence,
        title,
        severity,
        impact,
        fixed_urgency,
        urgency,
        priority,
        service,
        opened_at,
        acknowledged_at,
        resolved_at,
        updated_at,
        total,
        clear_since,
        gathered,
        reasons,
        links,
        policy,
        relations,
        flapping,
        hush,
        work,
        assignment,
        talks,
        deadlines,
        escalation,
        priority_of,
        service_of,
    })
}

pub(super) fn read_link(reader: &mut Reader<'_>) -> Result<IncidentLink, Fault> {
    let mut text = || -> Result<String, Fault> { Ok(reader.text()?.to_owned()) };
    Ok(IncidentLink { kind: text()?, target: text()?, by: text()?, reason: text()? })
}

pub(super) fn read_policy(reader: &mut Reader<'_>) -> Result<Policy, Fault> {
    let mut duration = || -> Result<Duration, Fault> { Ok(Duration::from_millis(reader.number()?)) };
    let (resolve_after, reopen_within, update_interval) = (duration()?, duration()?, duration()?);
    let on_stale = if reader.flag()? { OnStale::Hold } else { OnStale::Clear };
    let flapping = read_flapping(reader)?;
    let sinks = reader.count()?;
    let notify = (0..sinks).map(|_| Ok(Arc::from(reader.text()?))).collect::<Result<_, Fault>>()?;
    Ok(Policy { resolve_after, reopen_within, update_interval, on_stale, flapping, notify })
}
