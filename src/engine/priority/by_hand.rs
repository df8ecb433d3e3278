//! What a person says about priority: impact, urgency, or the priority itself, lower or higher, with a reason.
//!
//! It goes before the assessment until that becomes graver than it was when the person said so. The latest word is
//! remembered with who and why, the reason up to [`REASON_CHARS_MAX`] characters; the timeline has all of them, whole.

use std::sync::Arc;

use super::Levels;
use super::explain::explained_with;
use crate::engine::alert::Dirty;
use crate::engine::command::Refusal;
use crate::engine::decision::Reason;
use crate::engine::desk::guards::illegal;
use crate::engine::desk::{Order, TEXT_BYTES_MAX, checked};
use crate::engine::journal::{Fault, Reader, Writer};
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::rules::{Level, Priority, PriorityRules};

const REASON_CHARS_MAX: usize = 200;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Hand {
    pub(super) by: Arc<str>,
    pub(super) reason: Arc<str>,
    pub(super) impact: Option<Level>,
    pub(super) urgency: Option<Level>,
    pub(super) priority: Option<Priority>,
    /// What the assessment was by then.
    then: Levels,
}

impl Hand {
    /// What holds. What the assessment has overtaken is not set by hand any more.
    pub(super) fn over(&mut self, assessed: Levels, rules: &PriorityRules) -> Levels {
        let then = self.then;
        self.impact = self.impact.filter(|set| !overtakes(assessed.impact, then.impact, *set));
        self.urgency = self.urgency.filter(|set| !overtakes(assessed.urgency, then.urgency, *set));
        self.priority = self.priority.filter(|set| !overtakes(assessed.priority, then.priority, *set));
        let impact = self.impact.unwrap_or(assessed.impact);
        let urgency = self.urgency.unwrap_or(assessed.urgency);
        let made =
            if self.impact.or(self.urgency).is_some() { rules.priority(impact, urgency) } else { assessed.priority };
        Levels { impact, urgency, priority: self.priority.unwrap_or(made) }
    }

    /// Whether nothing of it counts any more.
    pub(super) fn is_spent(&self) -> bool {
        self.impact.is_none() && self.urgency.is_none() && self.priority.is_none()
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.text(&self.by);
        writer.text(&self.reason);
        let set = [self.impact, self.urgency].map(|level| level.map_or(u8::MAX, |level| level as u8));
        set.into_iter().for_each(|level| writer.byte(level));
        writer.byte(self.priority.map_or(u8::MAX, |priority| priority as u8));
        self.then.write(writer);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(Self {
            by: reader.text()?.into(),
            reason: reader.text()?.into(),
            impact: Level::from_byte(reader.byte()?),
            urgency: Level::from_byte(reader.byte()?),
            priority: Priority::ALL.get(reader.byte()? as usize).copied(),
            then: Levels::read(reader)?,
        })
    }
}

/// Whether it is graver than it was, and at least as grave as what was set.
fn overtakes<T: Ord>(assessed: T, then: T, set: T) -> bool {
    assessed < then && assessed <= set
}

/// What an order says, where that makes sense.
struct Wanted<'a> {
    impact: Option<Level>,
    urgency: Option<Level>,
    priority: Option<Priority>,
    reason: &'a str,
}

impl<'a> Wanted<'a> {
    fn of(order: &'a Order) -> Result<Self, Refusal> {
        let refuse = |message: &str| Err(Refusal::Invalid(message.to_owned()));
        let Order::Reprioritise { impact, urgency, priority, reason } = order else {
            return refuse("this order sets no priority");
        };
        match (impact.or(*urgency), priority) {
            (None, None) => refuse("an impact, an urgency or a priority is asked for"),
            (Some(_), Some(_)) => refuse("a priority is set instead of impact and urgency, not beside them"),
            _ => {
                let reason = checked("reason", reason, TEXT_BYTES_MAX, true)?;
                Ok(Self { impact: *impact, urgency: *urgency, priority: *priority, reason })
            }
        }
    }

    /// Sets it. An impact or urgency set before holds on beside the other; a priority goes instead of both.
    fn set(&self, by: String, before: Option<Box<Hand>>, then: Levels) -> Box<Hand> {
        let known = before.filter(|before| before.priority.is_none() && self.priority.is_none());
        let [impact, urgency] = known.map_or([None; 2], |known| [known.impact, known.urgency]);
        Box::new(Hand {
            by: by.into(),
            reason: self.reason.chars().take(REASON_CHARS_MAX).collect::<String>().into(),
            impact: self.impact.or(impact),
            urgency: self.urgency.or(urgency),
            priority: self.priority,
            then,
        })
    }
}

impl Shard {
    /// An operator sets impact, urgency or priority.
    pub(in crate::engine) fn reprioritise(&mut self, now: Timestamp, group: u32, order: &Order) -> Result<(), Refusal> {
        let status = self.status_of(group);
        if !status.is_live() {
            return Err(Refusal::Illegal(illegal(status, Move::Update)));
        }
        let wanted = Wanted::of(order)?;
        let (by, rules) = (self.operator(), self.rules.clone());
        let Some(incident) = self.groups.slots[group].incident.as_deref_mut() else { return Err(Refusal::Unknown) };
        let (before, assessment) = (incident.priority, &mut incident.priority_of);
        assessment.hand = Some(wanted.set(by, assessment.hand.take(), assessment.assessed));
        let levels = assessment.effective(&rules.priorities);
        (incident.impact, incident.urgency, incident.priority) = (levels.impact, levels.urgency, levels.priority);
        let detail = format!("{}; it was {}", explained_with(incident, wanted.reason), before.as_str());
        self.mark_group(group, Dirty::Whole);
        if levels.priority != before {
            self.priority_turned(now, group);
        }
        self.emit(now, group, Move::Update, Reason::PrioritySet, detail);
        self.raise_storm(now, group);
        Ok(())
    }
}
