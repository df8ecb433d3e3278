//! Of an incident, what people have made of it: who has it, why it waits, how it stands with its targets and escalation.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::cli::terminal::{ago, span};
use crate::event::Timestamp;

/// What is shown of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Desk {
    assignment: Option<Assignment>,
    escalation: Escalation,
    hold: Option<Hold>,
    reopened: u32,
    resolution: Option<String>,
    next_update_due: Option<Timestamp>,
    services: Vec<String>,
    service_binding: Option<String>,
    time_in: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Assignment {
    to: String,
    by: String,
    since: Timestamp,
    accepted_at: Option<Timestamp>,
    reassigned: u32,
    spent: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Escalation {
    policy: Option<String>,
    level: u32,
    next_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Hold {
    reason: String,
    since: Timestamp,
}

/// That it is a major incident.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Major {
    since: Timestamp,
    by: String,
    reason: String,
    runbook: Option<String>,
}

/// Agreed deadlines.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Targets {
    respond_by: Option<Timestamp>,
    resolve_by: Option<Timestamp>,
    breached: bool,
    respond: Option<String>,
    resolve: Option<String>,
    calendar: Option<String>,
}

/// A name and what there is to say; nothing, where it is not shown.
pub type Fact = (&'static str, Option<String>);

impl Desk {
    /// In the order in which they are shown.
    pub fn facts(&self, now: Timestamp) -> Vec<Fact> {
        let assignment = self.assignment.as_ref();
        let spent = assignment.map(|assignment| &assignment.spent).filter(|spent| spent.len() > 1);
        let services = (!self.services.is_empty()).then(|| self.services.join(", "));
        vec![
            ("services", services),
            ("matched by", self.service_binding.clone()),
            ("assigned", assignment.map(|assignment| assignment.told(now))),
            ("time with", spent.map(spans)),
            (
                "on hold",
                self.hold.as_ref().map(|hold| {
                    format!("since {} ({}): {}", hold.since.to_the_second(), ago(now.since(hold.since)), hold.reason)
                }),
            ),
            ("escalation", self.escalation.told(now)),
            ("next update", self.next_update_due.map(|due| until(due, now))),
            ("reopened", (self.reopened > 0).then(|| times(self.reopened))),
            ("time in", (!self.time_in.is_empty()).then(|| spans(&self.time_in))),
            ("resolution", self.resolution.clone()),
        ]
    }
}

impl Assignment {
    fn told(&self, now: Timestamp) -> String {
        let accepted = match self.accepted_at {
            Some(at) => format!("accepted {}", ago(now.since(at))),
            None => "not accepted yet".to_owned(),
        };
        let again =
            if self.reassigned > 0 { format!(", reassigned {}", times(self.reassigned)) } else { String::new() };
        format!("to {} by {} {}, {accepted}{again}", self.to, self.by, ago(now.since(self.since)))
    }
}

impl Escalation {
    fn told(&self, now: Timestamp) -> Option<String> {
        let next = self.next_at.map(|at| format!(", next {}", until(at, now))).unwrap_or_default();
        let level = if self.level == 0 { "no step yet".to_owned() } else { format!("step {}", self.level) };
        self.policy.as_ref().map(|policy| format!("{policy}, {level}{next}"))
    }
}

impl Major {
    /// Since when, who says so and why.
    pub fn facts(&self, now: Timestamp) -> [Fact; 2] {
        let told = format!("since {} by {}: {}", ago(now.since(self.since)), self.by, self.reason);
        [("MAJOR", Some(told)), ("recovery plan", self.runbook.clone())]
    }
}

impl Targets {
    /// Both targets with the time that is left, and in whose hours they are measured.
    pub fn facts(&self, now: Timestamp) -> [Fact; 4] {
        let told = |by: Option<Timestamp>, state: &Option<String>| {
            let state = state.clone().filter(|state| by.is_none() || state != "pending");
            let parts: Vec<String> = by.map(|by| until(by, now)).into_iter().chain(state).collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        };
        let breached = self.breached.then(|| "a target has passed unmet".to_owned());
        [
            ("respond by", told(self.respond_by, &self.respond)),
            ("resolve by", told(self.resolve_by, &self.resolve)),
            ("calendar", self.calendar.clone().filter(|name| name != "always")),
            ("breached", breached),
        ]
    }
}

/// An instant, and how far it is.
pub fn until(at: Timestamp, now: Timestamp) -> String {
    let far = if at > now { format!("in {}", left(at.since(now))) } else { ago(now.since(at)) };
    format!("{} ({far})", at.to_the_second())
}

/// What is left of a time, to the minute: of an hour and 59 minutes "1h" would be the half.
fn left(length: Duration) -> String {
    let minutes = length.as_secs() / 60;
    match (minutes / 60, minutes % 60) {
        (hours @ 1..48, rest @ 1..) => format!("{hours}h{rest}m"),
        _ => span(length),
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn spans(spent: &BTreeMap<String, u64>) -> String {
    let one = |(name, seconds): (&String, &u64)| format!("{name} {}", span(Duration::from_secs(*seconds)));
    spent.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339(b"2026-11-22T04:00:00Z").unwrap()
    }

    fn lines(facts: impl IntoIterator<Item = Fact>) -> Vec<String> {
        facts.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?))).collect()
    }

    #[test]
    fn what_people_have_made_of_it_is_told_and_nothing_else() {
        let desk: Desk = serde_json::from_value(json!({
            "assignment": {"to": "net", "by": "operator:ann", "since": "2026-11-22T03:00:00Z", "accepted_at": null,
                "reassigned": 1, "spent": {"net": 3_600, "ops": 60}},
            "escalation": {"policy": "standard", "level": 2, "next_at": "2026-11-22T04:10:00Z"},
            "hold": {"reason": "a disk is on its way", "since": "2026-11-22T03:50:00Z"},
            "reopened": 2, "time_in": {"open": 120, "on_hold": 600}, "resolution": null, "title": "not mine",
        }))
        .unwrap();
        let expected = [
            "assigned: to net by operator:ann 1h ago, not accepted yet, reassigned once",
            "time with: net 1h, ops 1m",
            "on hold: since 2026-11-22T03:50:00Z (10m ago): a disk is on its way",
            "escalation: standard, step 2, next 2026-11-22T04:10:00Z (in 10m)",
            "reopened: 2 times",
            "time in: on_hold 10m, open 2m",
        ];
        assert_eq!(lines(desk.facts(now())), expected);
        let desk: Desk = serde_json::from_value(json!({"escalation": {"policy": "standard", "level": 0}})).unwrap();
        assert_eq!(lines(desk.facts(now())), ["escalation: standard, no step yet"]);
        assert_eq!(lines(Desk::default().facts(now())), [""; 0]);
    }

    #[test]
    fn a_target_tells_the_time_that_is_left_or_how_it_ended() {
        let targets = |targets| lines(serde_json::from_value::<Targets>(targets).unwrap().facts(now()));
        let (by, resolve_by) = ("2026-11-22T04:05:00Z", "2026-11-22T08:00:00Z");
        assert_eq!(
            targets(json!({"respond_by": by, "respond": "met", "resolve_by": resolve_by, "resolve": "pending"})),
            ["respond by: 2026-11-22T04:05:00Z (in 5m), met", "resolve by: 2026-11-22T08:00:00Z (in 4h)"]
        );
        assert_eq!(
            targets(json!({"resolve": "paused", "calendar": "office"})),
            ["resolve by: paused", "calendar: office"]
        );
        assert_eq!(
            targets(json!({"resolve_by": "2026-11-22T07:59:59Z"})),
            ["resolve by: 2026-11-22T07:59:59Z (in 3h59m)"]
        );
        assert_eq!(targets(json!({"breached": false})), [""; 0]);
    }
}
