//! Heartbeats: what is expected and does not come is an alert of its own.
//!
//! Owns an expectation for each heartbeat and each value of its `by` labels: when it was heard last, and whether it is on
//! time, late or missing. Late and missing raise an alert of the source `incidentd`, which goes the way of every alert:
//! dedup, suppression, rules. It has no lease; the next sign of life resolves it. Its events are nobody's, so they are
//! neither received nor answered. Deadlines are absolute and wait in an ordered set; a sign of life costs one look-up,
//! and moves no deadline until that surfaces. Bounded by `max_keys` of each heartbeat and 100,000 in all; a sign of
//! life beyond is recorded with the reason `limit_reached`. Where there is no room for the alert, it is tried again
//! every [`RETRY`].

mod expectation;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashSet;
use smallvec::SmallVec;

use super::alert::Dirty;
use super::decision::{Outcome, Reason, Verdict};
use super::shard::Shard;
use crate::engine::correlate::EventSubject;
use crate::event::{Batch, Event, Severity, Status, Timestamp, duration};
use crate::identity::{Fingerprint, domain};
use crate::rules::{Heartbeat, RuleSet};
pub(super) use expectation::Heartbeats;
use expectation::{Expectation, Stage, Unsettled, key_hash};

/// The source of the alerts that heartbeats raise.
const SOURCE: &str = "incidentd";
const ALERTNAME: &str = "Heartbeat";
const RETRY: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_micros(1);

/// The verdict that tells more.
fn rank(verdict: &Verdict) -> u8 {
    match verdict.reason {
        Reason::HeartbeatRecovered => 0,
        Reason::HeartbeatNoted => 1,
        Reason::OlderThanKnown => 2,
        Reason::NoHeartbeat => 4,
        _ => 3,
    }
}

impl Shard {
    /// An event of kind `heartbeat`: it counts from when it happened.
    pub(super) fn heartbeat(&mut self, now: Timestamp, batch: &Batch, event: &Event) -> Verdict {
        self.hear_sign_of_life(now, batch, event, event.occurred_at.unwrap_or(now).min(now))
    }

    /// An alert that fires may be a sign of life, too. It counts from its receipt: Prometheus repeats the time at which an
    /// alert began.
    pub(super) fn note_sign_of_life(&mut self, now: Timestamp, batch: &Batch, event: &Event) {
        if self.heartbeats.hears_alerts && event.status == Status::Firing && batch.text(event.source) != SOURCE {
            self.hear_sign_of_life(now, batch, event, now);
        }
    }

    fn hear_sign_of_life(&mut self, now: Timestamp, batch: &Batch, event: &Event, at: Timestamp) -> Verdict {
        let rules = self.rules.clone();
        let subject = EventSubject { batch, event };
        let mut best = Verdict::new(Outcome::Recorded, Reason::NoHeartbeat);
        for (heartbeat, place) in rules.heartbeats.iter().zip(0..).filter(|(heartbeat, _)| heartbeat.takes(&subject)) {
            let values = heartbeat.by.iter().map(|label| batch.label(event, label));
            let verdict = match values.collect::<Option<SmallVec<[&str; 4]>>>() {
                Some(values) => self.sign_of_life(now, at, (place, heartbeat), &values),
                None => {
                    let hint = heartbeat.by.iter().find(|label| batch.label(event, label).is_none()).cloned();
                    Verdict { hint, ..unwanted(Reason::LabelMissing, heartbeat.name.clone()) }
                }
            };
            if rank(&verdict) < rank(&best) {
                best = verdict;
            }
        }
        self.schedule_heartbeats();
        best
    }

    fn sign_of_life(&mut self, now: Timestamp, at: Timestamp, of: (u32, &Heartbeat), values: &[&str]) -> Verdict {
        let (place, heartbeat) = of;
        let noted = Verdict::new(Outcome::Recorded, Reason::HeartbeatNoted);
        let key = key_hash(&mut self.hasher, &heartbeat.name, values.iter().copied());
        let Some(slot) = self.heartbeats.by_key.get(&key).copied() else {
            if !self.heartbeats.has_room(place, heartbeat) {
                let culprit = self.heartbeats.culprit(place, heartbeat, &self.names);
                let hint = Some(culprit);
                return Verdict { hint, ..unwanted(Reason::LimitReached, heartbeat.name.clone()) };
            }
            self.expect_heartbeat((place, heartbeat), key, values, at, true);
            return noted;
        };
        let expectation = &mut self.heartbeats.slots[slot];
        let first = !std::mem::replace(&mut expectation.seen, true);
        if at < expectation.heard && !first {
            return Verdict::new(Outcome::Stale, Reason::OlderThanKnown);
        }
        expectation.heard = expectation.heard.max(at);
        let recovered = expectation.stage != Stage::OnTime && expectation.heard.plus(heartbeat.every) > now;
        self.heartbeats.mark(slot, if first { Dirty::Whole } else { Dirty::Counters });
        if !recovered {
            return noted;
        }
        let incident = self.recover_heartbeat(now, slot).incident;
        self.heartbeats.schedule(slot, heartbeat);
        Verdict { incident, ..Verdict::new(Outcome::Resolved, Reason::HeartbeatRecovered) }
    }

    /// Expects another one from a time on.
    fn expect_heartbeat(
        &mut self,
        of: (u32, &Heartbeat),
        key_hash: u128,
        values: &[&str],
        heard: Timestamp,
        seen: bool,
    ) {
        let (place, heartbeat) = of;
        let by = heartbeat.by.iter().zip(values);
        let slot = self.heartbeats.insert(Expectation {
            heartbeat: place,
            name: heartbeat.name.clone(),
            definition: heartbeat.definition,
            key_hash,
            by: by.map(|(name, value)| (self.names.intern(name), self.names.intern(value))).collect(),
            heard,
            seen,
            stage: Stage::OnTime,
            since: Timestamp::default(),
            said: Timestamp::default(),
            expected: !seen,
            not_before: Timestamp::default(),
            timer_at: Timestamp::MAX,
            dirty: Dirty::Clean,
        });
        self.heartbeats.schedule(slot, heartbeat);
    }

    /// Something expected is late or missing, or has been missing for so long that it is forgotten.
    pub(super) fn heartbeat_due(&mut self, now: Timestamp) {
        let rules = self.rules.clone();
        // No more than is due first: what is due later comes in its turn among all deadlines of the shard.
        let first = self.heartbeats.due.first().map_or(now, |(due, _)| now.min(*due));
        while let Some((due, slot)) = self.heartbeats.pop(first) {
            let expectation = &self.heartbeats.slots[slot];
            let Some(heartbeat) = rules.heartbeats.get(expectation.heartbeat as usize) else { continue };
            // A deadline that has moved since surfaces again in its turn.
            if expectation.deadline(heartbeat).is_some_and(|deadline| deadline <= due) {
                match expectation.stage {
                    Stage::OnTime if !heartbeat.grace.is_zero() => {
                        self.raise_heartbeat(now, slot, heartbeat, Stage::Late)
                    }
                    Stage::OnTime | Stage::Late => self.raise_heartbeat(now, slot, heartbeat, Stage::Missing),
                    Stage::Missing => {
                        self.forget_heartbeat(now, slot, heartbeat);
                        continue;
                    }
                }
            }
            self.heartbeats.schedule(slot, heartbeat);
        }
    }

    fn raise_heartbeat(&mut self, now: Timestamp, slot: u32, heartbeat: &Heartbeat, stage: Stage) {
        let expectation = &self.heartbeats.slots[slot];
        let at = match stage {
            Stage::Missing => expectation.missing_at(heartbeat),
            _ => expectation.heard.plus(heartbeat.every),
        };
        let verdict = self.say_heartbeat(now, at, slot, heartbeat, stage, None);
        let expectation = &mut self.heartbeats.slots[slot];
        if verdict.outcome == Outcome::Rejected {
            expectation.not_before = now.plus(RETRY);
            return;
        }
        expectation.stage = stage;
        expectation.since = now;
        self.heartbeats.mark(slot, Dirty::Whole);
    }

    /// Heard again: the alert is resolved.
    fn recover_heartbeat(&mut self, now: Timestamp, slot: u32) -> Verdict {
        let expectation = &mut self.heartbeats.slots[slot];
        expectation.stage = Stage::OnTime;
        expectation.not_before = Timestamp::default();
        self.heartbeats.mark(slot, Dirty::Whole);
        let event = Event { status: Status::Resolved, ..Event::default() };
        self.derive_alert(now, now, slot, Batch::new(Bytes::new(), now), event)
    }

    fn forget_heartbeat(&mut self, now: Timestamp, slot: u32, heartbeat: &Heartbeat) {
        let note = format!("; forgotten after {}", duration::format(heartbeat.forget_after));
        self.say_heartbeat(now, now, slot, heartbeat, Stage::Missing, Some(&note));
        self.withdraw_heartbeat(now, slot);
    }

    /// Expects it no longer.
    fn withdraw_heartbeat(&mut self, now: Timestamp, slot: u32) {
        if self.heartbeats.slots[slot].stage != Stage::OnTime {
            self.recover_heartbeat(now, slot);
        }
        self.heartbeats.remove(slot, &mut self.names);
    }

    /// Lets the alert say where the expectation stands.
    fn say_heartbeat(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        slot: u32,
        heartbeat: &Heartbeat,
        stage: Stage,
        note: Option<&str>,
    ) -> Verdict {
        let expectation = &self.heartbeats.slots[slot];
        let by: Vec<(&str, &str)> =
            expectation.by.iter().map(|(name, value)| (self.names.text(*name), self.names.text(*value))).collect();
        let mut labels =
            vec![("alertname", ALERTNAME), ("heartbeat", &*heartbeat.name), ("heartbeat_state", stage.as_str())];
        labels.extend(heartbeat.labels.iter().map(|(name, value)| (&**name, &**value)));
        labels.extend(&by);
        labels.sort_unstable();
        let severity =
            if stage == Stage::Missing { heartbeat.severity } else { heartbeat.severity.min(Severity::Warning) };
        let summary = summary(expectation, heartbeat, stage, &by) + note.unwrap_or_default();
        let hasher = self.hasher.reset(domain::CONTENT).part(summary.as_bytes()).part(severity.as_str().as_bytes());
        for (name, value) in &labels {
            hasher.part(name.as_bytes()).part(value.as_bytes());
        }
        let content = hasher.finish64();
        let mut batch = Batch::new(Bytes::new(), now);
        let mark = batch.mark();
        for (name, value) in labels {
            let (name, value) = (batch.intern(name), batch.intern(value));
            batch.push_pair(name, value);
        }
        let event = Event {
            summary: batch.intern(&summary),
            labels: batch.pairs_since(mark),
            status: Status::Firing,
            severity,
            ends_at: Some(Timestamp::MAX),
            content,
            ..Event::default()
        };
        self.derive_alert(now, at, slot, batch, event)
    }

    /// Sends an event of the expectation's alert the way of all events. Each is newer than the one before, so that none
    /// is taken for stale.
    fn derive_alert(&mut self, now: Timestamp, at: Timestamp, slot: u32, mut batch: Batch, event: Event) -> Verdict {
        let expectation = &mut self.heartbeats.slots[slot];
        expectation.said = at.max(expectation.said.plus(TICK));
        let (occurred_at, fingerprint) = (Some(expectation.said), Fingerprint(expectation.key_hash));
        let source = batch.intern(SOURCE);
        self.event(now, &batch, &Event { source, occurred_at, fingerprint, ..event })
    }

    /// After a start or a reload: follows the configuration as it is, and gives what could not be heard some time.
    pub(super) fn settle_heartbeats(&mut self, now: Timestamp) {
        let rules = self.rules.clone();
        let started = self.heartbeats.unsettled.take() == Some(Unsettled::Start);
        let expected = self.expected_here(&rules);
        let known: HashSet<u128> = expected.iter().map(|(key, ..)| *key).collect();
        for slot in self.heartbeats.slots.slots().map(|(slot, _)| slot).collect::<Vec<_>>() {
            let expectation = &mut self.heartbeats.slots[slot];
            let names = expectation.by.iter().map(|(name, _)| self.names.text(*name));
            let heartbeat = rules.heartbeats.get(expectation.heartbeat as usize);
            let Some(heartbeat) = heartbeat.filter(|heartbeat| names.eq(heartbeat.by.iter().map(|name| &**name)))
            else {
                self.withdraw_heartbeat(now, slot);
                continue;
            };
            expectation.expected = known.contains(&expectation.key_hash);
            let changed = std::mem::replace(&mut expectation.definition, heartbeat.definition) != heartbeat.definition;
            if (started || changed) && !heartbeat.after_start.is_zero() {
                expectation.not_before = now.plus(heartbeat.after_start);
            }
            let stage = expectation.stage;
            if changed {
                self.heartbeats.mark(slot, Dirty::Whole);
            }
            if changed && stage != Stage::OnTime {
                self.say_heartbeat(now, now, slot, heartbeat, stage, None);
            }
        }
        for (key, place, values) in expected {
            if !self.heartbeats.by_key.contains_key(&key) {
                let heartbeat = &rules.heartbeats[place as usize];
                let values: Vec<&str> = values.iter().map(|value| &**value).collect();
                self.expect_heartbeat((place, heartbeat), key, &values, now, false);
            }
        }
        for slot in self.heartbeats.slots.slots().map(|(slot, _)| slot).collect::<Vec<_>>() {
            let place = self.heartbeats.slots[slot].heartbeat as usize;
            self.heartbeats.schedule(slot, &rules.heartbeats[place]);
        }
        self.heartbeats_at = Timestamp::MAX;
        self.schedule_heartbeats();
    }

    /// Those of all `expect` whose signs of life come to this shard.
    fn expected_here(&mut self, rules: &RuleSet) -> Vec<(u128, u32, Vec<Arc<str>>)> {
        let (index, shards) = self.place;
        let mut found = Vec::new();
        for (heartbeat, place) in rules.heartbeats.iter().zip(0..) {
            for expected in heartbeat.expect.iter().filter(|expected| expected.scope.0 % shards == index) {
                let values = expected.values.iter().map(|value| &**value);
                found.push((key_hash(&mut self.hasher, &heartbeat.name, values), place, expected.values.clone()));
            }
        }
        found
    }
}

fn unwanted(reason: Reason, rule: Arc<str>) -> Verdict {
    Verdict { rule: Some(rule), ..Verdict::new(Outcome::Recorded, reason) }
}

fn summary(expectation: &Expectation, heartbeat: &Heartbeat, stage: Stage, by: &[(&str, &str)]) -> String {
    let who: Vec<String> = by.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
    let last = if expectation.seen { "last heard" } else { "never heard since" };
    let (name, stage, every) = (&heartbeat.name, stage.as_str(), duration::format(heartbeat.every));
    format!("{name}{who} is {stage}: {last} {}, expected every {every}", expectation.heard.to_the_second())
}
