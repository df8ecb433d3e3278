//! How impact and urgency came about, and what they make.
//!
//! What the engine holds them to be only ever gets graver. What a person has set goes before it, as long as it does not
//! become graver than it was then.

use std::sync::Arc;
use std::time::Duration;

use super::by_hand::Hand;
use super::concerned::{Concerned, read_level};
use crate::engine::journal::{Fault, Reader, Writer};
use crate::event::{Severity, Timestamp};
use crate::rules::{Level, Priority, PriorityRules, Rule};

/// Impact, urgency, and the priority that they make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine) struct Levels {
    pub(in crate::engine) impact: Level,
    pub(in crate::engine) urgency: Level,
    pub(in crate::engine) priority: Priority,
}

/// What made the impact what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub(super) enum ImpactBy {
    Rule,
    Service,
    Services,
    Users,
}

/// What made the urgency what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum UrgencyBy {
    Rule,
    Severity,
    /// So many fired at once.
    Alerts(u64),
    /// It was open for so long.
    Time(Duration),
}

/// What counts at one time, beside the services.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) severity: Severity,
    pub(super) firing: u64,
    /// How long something has fired.
    pub(super) open: Duration,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Assessment {
    /// The rule leaves the impact to the services.
    from_service: bool,
    /// It is the incident of a storm, as grave as the gravest of its children.
    pub(in crate::engine) of_children: bool,
    pub(super) concerned: Concerned,
    /// It concerns more than its cause has been told of.
    pub(super) grew: bool,
    pub(super) assessed: Levels,
    pub(super) impact_by: ImpactBy,
    pub(super) urgency_by: UrgencyBy,
    /// Since when it is open; `None` while it is not.
    pub(super) since: Option<Timestamp>,
    pub(super) hand: Option<Box<Hand>>,
}

impl Assessment {
    pub(in crate::engine) fn new(rule: &Rule, levels: Levels) -> Self {
        Self {
            from_service: rule.impact_from_service,
            of_children: false,
            concerned: Concerned::default(),
            grew: false,
            assessed: levels,
            impact_by: if rule.impact_from_service { ImpactBy::Service } else { ImpactBy::Rule },
            urgency_by: if rule.urgency.is_some() { UrgencyBy::Rule } else { UrgencyBy::Severity },
            since: None,
            hand: None,
        }
    }

    /// Bytes on the heap.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.concerned.bytes() + self.hand.as_ref().map_or(0, |_| size_of::<Hand>())
    }

    /// The services that are concerned, where there are several: the first 100 by name.
    pub(in crate::engine) fn services(&self) -> Vec<Arc<str>> {
        if self.concerned.count() > 1 { self.concerned.names().to_vec() } else { Vec::new() }
    }

    /// What the engine holds it to be, whatever a person has set.
    pub(in crate::engine) fn assessed(&self) -> Levels {
        self.assessed
    }

    /// A child of the storm is as grave as this.
    pub(in crate::engine) fn feed(&mut self, child: Levels) {
        let Levels { impact, urgency, priority } = self.assessed;
        self.assessed = Levels {
            impact: impact.min(child.impact),
            urgency: urgency.min(child.urgency),
            priority: priority.min(child.priority),
        };
    }

    /// An incident opens: nothing that was held before counts.
    pub(super) fn begin(&mut self, rules: &PriorityRules, facts: &Facts) {
        if let (true, Some(gravest)) = (self.from_service, self.concerned.gravest()) {
            (self.assessed.impact, self.impact_by) = (gravest.impact, ImpactBy::Service);
        }
        self.assessed.priority = rules.priority(self.assessed.impact, self.assessed.urgency);
        self.assess(rules, facts);
    }

    /// Raises what has become graver.
    pub(super) fn assess(&mut self, rules: &PriorityRules, facts: &Facts) {
        if self.of_children {
            return;
        }
        if self.from_service {
            self.assess_impact(rules);
        }
        if self.urgency_by != UrgencyBy::Rule {
            self.assess_urgency(rules, facts);
        }
        let priority = rules.priority(self.assessed.impact, self.assessed.urgency);
        self.assessed.priority = self.assessed.priority.min(priority);
    }

    fn assess_impact(&mut self, rules: &PriorityRules) {
        let concerned = &self.concerned;
        let ceiling = concerned.ceiling();
        let by_services = rules.impact_of_services(concerned.count() as u64).max(ceiling);
        let by_users = rules.impact_of_users(concerned.users()).max(ceiling);
        let by_service = concerned.gravest().map_or(Level::Low, |gravest| gravest.impact);
        for (impact, by) in
            [(by_service, ImpactBy::Service), (by_services, ImpactBy::Services), (by_users, ImpactBy::Users)]
        {
            if impact < self.assessed.impact {
                (self.assessed.impact, self.impact_by) = (impact, by);
            }
        }
    }

    fn assess_urgency(&mut self, rules: &PriorityRules, facts: &Facts) {
        let Facts { severity, firing, open } = *facts;
        let by_time = rules.urgency_after(open);
        let after = rules.urgency_rises_to_after(by_time).unwrap_or_default();
        for (urgency, by) in [
            (Level::of_severity(severity), UrgencyBy::Severity),
            (rules.urgency_of_alerts(firing), UrgencyBy::Alerts(firing)),
            (by_time, UrgencyBy::Time(after)),
        ] {
            if urgency < self.assessed.urgency {
                (self.assessed.urgency, self.urgency_by) = (urgency, by);
            }
        }
    }

    /// When the time alone makes it more urgent.
    pub(super) fn next(&self, rules: &PriorityRules) -> Option<Timestamp> {
        if self.of_children || self.urgency_by == UrgencyBy::Rule {
            return None;
        }
        Some(self.since?.plus(rules.urgency_rises_after(self.assessed.urgency)?))
    }

    /// What holds, by assessment and by what a person has set.
    pub(super) fn effective(&mut self, rules: &PriorityRules) -> Levels {
        let assessed = self.assessed;
        let Some(hand) = self.hand.as_deref_mut() else { return assessed };
        let levels = hand.over(assessed, rules);
        if hand.is_spent() {
            self.hand = None;
        }
        levels
    }

    pub(in crate::engine) fn write(&self, writer: &mut Writer) {
        let flags = [self.from_service, self.of_children, self.hand.is_some()];
        writer.byte(flags.iter().enumerate().map(|(bit, flag)| u8::from(*flag) << bit).sum());
        self.concerned.write(writer);
        self.assessed.write(writer);
        writer.byte(self.impact_by as u8);
        let (by, number) = match self.urgency_by {
            UrgencyBy::Rule => (0, 0),
            UrgencyBy::Severity => (1, 0),
            UrgencyBy::Alerts(firing) => (2, firing),
            UrgencyBy::Time(open) => (3, open.as_micros() as u64),
        };
        writer.byte(by);
        writer.number(number);
        writer.maybe_time(self.since);
        self.hand.iter().for_each(|hand| hand.write(writer));
    }

    pub(in crate::engine) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let flags = reader.byte()?;
        let [from_service, of_children, by_hand] = [1, 2, 4].map(|flag| flags & flag != 0);
        let (concerned, assessed) = (Concerned::read(reader)?, Levels::read(reader)?);
        let impact_by = match reader.byte()? {
            0 => ImpactBy::Rule,
            1 => ImpactBy::Service,
            2 => ImpactBy::Services,
            3 => ImpactBy::Users,
            _ => return Err(reader.fault("unknown ground of an impact")),
        };
        let urgency_by = match (reader.byte()?, reader.number()?) {
            (0, _) => UrgencyBy::Rule,
            (1, _) => UrgencyBy::Severity,
            (2, firing) => UrgencyBy::Alerts(firing),
            (3, open) => UrgencyBy::Time(Duration::from_micros(open)),
            _ => return Err(reader.fault("unknown ground of an urgency")),
        };
        let since = reader.maybe_time()?;
        let hand = if by_hand { Some(Box::new(Hand::read(reader)?)) } else { None };
        let grew = false;
        Ok(Self { from_service, of_children, concerned, grew, assessed, impact_by, urgency_by, since, hand })
    }
}

impl Levels {
    pub(super) fn write(self, writer: &mut Writer) {
        [self.impact as u8, self.urgency as u8, self.priority as u8].into_iter().for_each(|level| writer.byte(level));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let (impact, urgency, priority) = (read_level(reader)?, read_level(reader)?, reader.byte()?);
        let priority = Priority::ALL.get(priority as usize).copied().ok_or_else(|| reader.fault("unknown priority"))?;
        Ok(Self { impact, urgency, priority })
    }
}
