//! Who has an incident: the team or supplier, since when, accepted or not, and how long each had it.
//!
//! Time runs while the incident is live. At most [`NAMES_MAX`] names are kept with their times; of more, those that had
//! it longest ago are summed under [`OTHERS`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::{NAME_BYTES_MAX, TEXT_BYTES_MAX, checked};
use crate::engine::incident::AssignmentDoc;
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::lifecycle::Audience;
use crate::engine::moves::{IncidentStatus, Move};
use crate::engine::shard::Shard;
use crate::event::{Timestamp, hint};

/// Names whose times are kept one by one.
const NAMES_MAX: usize = 32;
/// Under which the times of all others are summed.
const OTHERS: &str = "others";
/// Who assigns an incident to the owner of its service.
const CATALOGUE: &str = "catalogue";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::engine) struct Assignment {
    holder: Option<Holder>,
    /// How often it went from one to another.
    reassigned: u32,
    /// Time with each, without what runs; who had it last stands last.
    spent: Vec<(Arc<str>, Duration)>,
    /// With those whose names are not kept any more.
    others: Duration,
    /// Since when time runs for whoever has it; not while it is resolved or closed.
    runs_since: Option<Timestamp>,
}

/// Who has it.
#[derive(Clone, Debug, PartialEq)]
struct Holder {
    to: Arc<str>,
    by: Arc<str>,
    since: Timestamp,
    accepted_at: Option<Timestamp>,
}

impl Assignment {
    pub(in crate::engine) fn write(&self, writer: &mut Writer) {
        writer.byte(u8::from(self.holder.is_some()));
        if let Some(holder) = &self.holder {
            writer.text(&holder.to);
            writer.text(&holder.by);
            writer.time(holder.since);
            writer.maybe_time(holder.accepted_at);
        }
        writer.number(u64::from(self.reassigned));
        writer.number(self.spent.len() as u64);
        for (name, spent) in &self.spent {
            writer.text(name);
            writer.number(spent.as_micros() as u64);
        }
        writer.number(self.others.as_micros() as u64);
        writer.maybe_time(self.runs_since);
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let holder = match reader.flag()? {
            true => Some(Holder {
                to: reader.text()?.into(),
                by: reader.text()?.into(),
                since: reader.time()?,
                accepted_at: reader.maybe_time()?,
            }),
            false => None,
        };
        let (reassigned, names) = (reader.small()?, reader.count()?);
        let spent = (0..names).map(|_| Ok((reader.text()?.into(), Duration::from_micros(reader.number()?))));
        let spent = spent.collect::<Result<_, Fault>>()?;
        let others = Duration::from_micros(reader.number()?);
        Ok(Self { holder, reassigned, spent, others, runs_since: reader.maybe_time()? })
    }

    /// Who has it.
    pub(in crate::engine) fn assignee(&self) -> Option<Arc<str>> {
        self.holder.as_ref().map(|holder| holder.to.clone())
    }

    pub(in crate::engine) fn doc(&self, now: Timestamp) -> Option<AssignmentDoc> {
        let Holder { to, by, since, accepted_at } = self.holder.clone()?;
        let mut spent: BTreeMap<Arc<str>, Duration> = self.spent.iter().cloned().collect();
        if !self.others.is_zero() {
            *spent.entry(OTHERS.into()).or_default() += self.others;
        }
        *spent.entry(to.clone()).or_default() += self.runs_since.map_or(Duration::ZERO, |since| now.since(since));
        let spent = spent.into_iter().map(|(name, spent)| (name, spent.as_secs())).collect();
        Some(AssignmentDoc { to, by, since, accepted_at, reassigned: self.reassigned, spent })
    }

    /// Gives it to a name. Returns who had it before.
    fn give(&mut self, now: Timestamp, to: Arc<str>, by: Arc<str>) -> Option<Arc<str>> {
        self.stop(now);
        let before = self.holder.replace(Holder { to: to.clone(), by, since: now, accepted_at: None });
        self.reassigned += u32::from(before.is_some());
        let known = self.spent.iter().position(|(name, _)| *name == to);
        let spent = known.map_or(Duration::ZERO, |place| self.spent.remove(place).1);
        self.spent.push((to, spent));
        if self.spent.len() > NAMES_MAX {
            self.others += self.spent.remove(0).1;
        }
        self.runs_since = Some(now);
        before.map(|before| before.to)
    }

    /// Counts what has run, and stops.
    fn stop(&mut self, now: Timestamp) {
        let ran = self.runs_since.take().map_or(Duration::ZERO, |since| now.since(since));
        // Whoever has it stands last.
        if let Some((_, spent)) = self.spent.last_mut() {
            *spent += ran;
        }
    }

    fn accept(&mut self, now: Timestamp) {
        if let Some(holder) = &mut self.holder {
            holder.accepted_at.get_or_insert(now);
        }
    }

    /// The incident is live, or ends.
    fn turn(&mut self, now: Timestamp, live: bool) {
        match live {
            false => self.stop(now),
            true if self.holder.is_some() => drop(self.runs_since.get_or_insert(now)),
            true => {}
        }
    }
}

impl Shard {
    /// The incident goes from one status to another. One that opens goes to the owner of its service.
    pub(in crate::engine) fn assignment_follow(
        &mut self,
        now: Timestamp,
        group: u32,
        before: IncidentStatus,
        after: IncidentStatus,
    ) {
        let owner = if before == IncidentStatus::New { self.owner_of(group) } else { None };
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return };
        if let Some(owner) = owner {
            incident.assignment.give(now, owner, CATALOGUE.into());
        }
        incident.assignment.turn(now, after.is_live());
        // Whoever takes it, works on it or lets it wait has accepted it.
        if after.is_live() && after != IncidentStatus::Open {
            incident.assignment.accept(now);
        }
    }

    /// The team that answers for the service of a group's incident.
    fn owner_of(&self, group: u32) -> Option<Arc<str>> {
        let service = self.groups.slots[group].incident.as_deref()?.service.as_deref()?;
        self.rules.topology.details(self.rules.topology.find(service)?).owner.cloned()
    }

    /// After an incident has opened: tells the team that it went to, beside those that its rule tells.
    pub(in crate::engine) fn tell_owner(&mut self, now: Timestamp, group: u32) {
        let Some(incident) = self.groups.slots[group].incident.as_deref() else { return };
        let Some(owner) = incident.assignment.assignee() else { return };
        let (rule, hushed) =
            (incident.policy.notify.clone(), incident.relations.mutes(crate::delivery::Action::Updated));
        let service = incident.service.clone().unwrap_or_default();
        let sinks = self.team_sinks(&owner);
        let others = sinks.iter().filter(|sink| !hushed && !rule.contains(sink)).cloned();
        let audience = Audience::Sinks(others.collect());
        let detail = format!("to {owner}, who answers for {service}");
        let by = self.by.replace(CATALOGUE.into());
        self.tell(now, group, (Move::Update, Reason::Assigned), &audience, detail);
        self.by = by;
    }

    /// The sinks that reach a team or supplier.
    fn team_sinks(&self, name: &str) -> Arc<[Arc<str>]> {
        self.rules.teams.named(name).map_or_else(Arc::default, |team| team.notify.clone())
    }

    /// The sinks that reach whoever has the group's incident.
    pub(in crate::engine) fn assignee_sinks(&self, group: u32) -> Arc<[Arc<str>]> {
        let incident = self.groups.slots[group].incident.as_deref();
        incident
            .and_then(|incident| incident.assignment.assignee())
            .map_or_else(Arc::default, |name| self.team_sinks(&name))
    }

    /// Gives it to a team or supplier, for an operator or an escalation. It is told to the rule's sinks, to those of
    /// whoever gets it, and to those of whoever had it.
    ///
    /// # Errors
    /// When it is over, the name is not known, or that one has it already.
    pub(in crate::engine) fn assign(&mut self, now: Timestamp, group: u32, to: &str, why: &str) -> Result<(), Refusal> {
        self.check_held(group, "given to anybody")?;
        let to = checked("name", to, NAME_BYTES_MAX, true)?;
        let why = checked("reason", why, TEXT_BYTES_MAX, false)?;
        let teams = &self.rules.teams;
        if !teams.is_empty() && teams.named(to).is_none() {
            let hint = hint(to, teams.names());
            return Err(Refusal::Invalid(format!("there is no team or supplier \"{to}\"{hint}")));
        }
        let by = self.by.clone().unwrap_or_else(|| format!("rule:{}", self.groups.slots[group].rule_name).into());
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return Err(Refusal::Unknown) };
        if let Some(holder) = incident.assignment.holder.as_ref().filter(|holder| *holder.to == *to) {
            let accepted = if holder.accepted_at.is_some() { ", and has accepted it" } else { "" };
            return Err(Refusal::Illegal(format!(
                "{to} has it already, since {}{accepted}",
                holder.since.to_the_second()
            )));
        }
        let before = incident.assignment.give(now, to.into(), by);
        let from = before.as_deref().map_or_else(String::new, |before| format!(", from {before}"));
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let mut sinks = self.team_sinks(to).to_vec();
        if let Some(before) = before {
            sinks.extend(self.team_sinks(&before).iter().cloned());
        }
        let step = (Move::Update, Reason::Assigned);
        self.tell(now, group, step, &Audience::Also(sinks.into()), format!("to {to}{from}{why}"));
        Ok(())
    }

    /// Whoever has it takes it on.
    ///
    /// # Errors
    /// When it is over, nobody has it, or it is accepted already.
    pub(in crate::engine) fn accept(&mut self, now: Timestamp, group: u32) -> Result<(), Refusal> {
        self.check_held(group, "accepted")?;
        let sinks = self.assignee_sinks(group);
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return Err(Refusal::Unknown) };
        let Some(holder) = &mut incident.assignment.holder else {
            return Err(Refusal::Illegal("nobody has it who could accept it; assign it first".to_owned()));
        };
        if let Some(at) = holder.accepted_at {
            return Err(Refusal::Illegal(format!("{} has accepted it already, at {}", holder.to, at.to_the_second())));
        }
        holder.accepted_at = Some(now);
        let detail = format!("by {}", holder.to);
        self.tell(now, group, (Move::Update, Reason::Accepted), &Audience::Also(sinks), detail);
        Ok(())
    }

    fn check_held(&self, group: u32, what: &str) -> Result<(), Refusal> {
        let status = self.status_of(group);
        if status.is_live() {
            return Ok(());
        }
        let moves = status.orders().map(|row| row.step).filter(|step| *step != Move::Update);
        let legal: Vec<&str> = moves.map(Move::as_str).collect();
        let legal = if legal.is_empty() { "nothing".to_owned() } else { legal.join(", ") };
        Err(Refusal::Illegal(format!("an incident that is {} cannot be {what}; legal are {legal}", status.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    proptest! {
        #[test]
        fn time_with_each_sums_to_the_time_in_which_somebody_had_it(
            steps in proptest::collection::vec((0_u64..100, 0_u8..50), 1..200),
        ) {
            let (mut assignment, mut now, mut live, mut assigned) = (Assignment::default(), 0, true, 0);
            for (seconds, what) in steps {
                assigned += if live && assignment.holder.is_some() { seconds } else { 0 };
                now += seconds;
                match what {
                    0..=3 => {
                        live = !live;
                        assignment.turn(at(now), live);
                    }
                    4 => assignment.accept(at(now)),
                    team if live => drop(assignment.give(at(now), format!("team-{team}").into(), "test".into())),
                    _ => {}
                }
                let mut writer = Writer::default();
                assignment.write(&mut writer);
                let read = Assignment::read(&mut Reader::new(&writer.bytes));
                prop_assert_eq!(read.as_ref(), Ok(&assignment), "it reads back");
                let Some(doc) = assignment.doc(at(now)) else { continue };
                prop_assert_eq!(doc.spent.values().sum::<u64>(), assigned);
                prop_assert!(doc.spent.len() <= NAMES_MAX + 1 && doc.spent.contains_key(&doc.to));
            }
        }
    }

    #[test]
    fn who_had_it_longest_ago_is_summed_under_others() {
        let mut assignment = Assignment::default();
        for team in 0..NAMES_MAX as u64 + 3 {
            assignment.give(at(team * 10), format!("team-{team:02}").into(), "test".into());
        }
        let doc = assignment.doc(at(350)).expect("somebody has it");
        assert_eq!((doc.spent.len(), doc.spent[OTHERS], doc.reassigned), (NAMES_MAX + 1, 30, 34));
        assert!(!doc.spent.contains_key("team-02") && doc.spent["team-03"] == 10);
    }
}
