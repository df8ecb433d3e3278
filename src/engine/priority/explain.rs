//! Why an incident has its priority, as a sentence: "P2 because checkout is high impact (20,000 users) and urgency is
//! medium (severity error)".

use std::borrow::Cow;
use std::sync::LazyLock;

use super::assessment::{ImpactBy, Levels, UrgencyBy};
use super::concerned::{Gravest, SERVICES_MAX};
use crate::engine::group::Incident;
use crate::event::{Severity, duration};
use crate::rules::{Level, Priority};

/// The sentences where the rule sets the impact, by [`place`]: most incidents have one of these few.
static BY_RULE: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut sentences = vec![String::new(); Priority::ALL.len() * LEVELS.len() * LEVELS.len() * GROUNDS];
    for priority in Priority::ALL {
        for (impact, urgency) in LEVELS.into_iter().flat_map(|one| LEVELS.map(|other| (one, other))) {
            for severity in (0..GROUNDS as u8).map(Severity::from_byte) {
                let ground = severity.map_or_else(|| SET_BY_RULE.to_owned(), of_severity);
                let (impact_is, urgency_is) = (impact_by_rule(name(impact)), urgency_for(name(urgency), &ground));
                let sentence = because(priority, &impact_is, &urgency_is);
                sentences[place(Levels { impact, urgency, priority }, severity)] = sentence;
            }
        }
    }
    sentences
});

const LEVELS: [Level; 3] = [Level::High, Level::Medium, Level::Low];
/// Of an urgency: each severity, or the rule.
const GROUNDS: usize = Severity::NAMES.len() + 1;
const SET_BY_RULE: &str = "set by the rule";

/// Where the sentence stands whose urgency follows this severity, or is set by the rule.
fn place(levels: Levels, severity: Option<Severity>) -> usize {
    let Levels { impact, urgency, priority } = levels;
    let levels = (priority as usize * LEVELS.len() + impact as usize) * LEVELS.len() + urgency as usize;
    levels * GROUNDS + severity.map_or(Severity::NAMES.len(), |severity| severity as usize)
}

/// The sentence.
pub(in crate::engine) fn explained(incident: &Incident) -> Cow<'static, str> {
    let assessment = &incident.priority_of;
    let Some(hand) = assessment.hand.as_deref() else {
        let severity = match assessment.urgency_by {
            UrgencyBy::Rule => Some(None),
            UrgencyBy::Severity => Some(Some(incident.severity)),
            UrgencyBy::Alerts(_) | UrgencyBy::Time(_) => None,
        };
        let by_rule = assessment.impact_by == ImpactBy::Rule && !assessment.of_children;
        let levels = Levels { priority: incident.priority, ..assessment.assessed };
        return match severity.filter(|_| by_rule) {
            Some(severity) => Cow::Borrowed(&BY_RULE[place(levels, severity)]),
            None => Cow::Owned(explained_with(incident, "")),
        };
    };
    Cow::Owned(explained_with(incident, &hand.reason))
}

/// The same, where a person has set it for this reason.
pub(super) fn explained_with(incident: &Incident, reason: &str) -> String {
    let assessment = &incident.priority_of;
    let priority = incident.priority.as_str();
    let Some(hand) = assessment.hand.as_deref() else {
        return because(incident.priority, &impact(incident), &urgency(incident));
    };
    let grounds = format!("{} and {}", impact(incident), urgency(incident));
    let impact = hand.impact.map(|level| format!("impact to {}", name(level)));
    let urgency = hand.urgency.map(|level| format!("urgency to {}", name(level)));
    let set: Vec<String> = impact.into_iter().chain(urgency).collect();
    let set = if set.is_empty() { "it".to_owned() } else { set.join(" and ") };
    let assessed = assessment.assessed.priority.as_str();
    format!("{priority} because {} set {set}: {reason}; by assessment {assessed}, because {grounds}", hand.by)
}

fn because(priority: Priority, impact: &str, urgency: &str) -> String {
    [priority.as_str(), " because ", impact, " and ", urgency].concat()
}

fn impact_by_rule(level: &str) -> String {
    ["impact is ", level, " (", SET_BY_RULE, ")"].concat()
}

fn urgency_for(level: &str, ground: &str) -> String {
    ["urgency is ", level, " (", ground, ")"].concat()
}

fn of_severity(severity: Severity) -> String {
    ["severity ", severity.as_str()].concat()
}

fn impact(incident: &Incident) -> String {
    let assessment = &incident.priority_of;
    let level = name(assessment.assessed.impact);
    let concerned = &assessment.concerned;
    if assessment.of_children {
        return format!("the gravest of its incidents is {level} impact");
    }
    match (assessment.impact_by, concerned.gravest()) {
        (ImpactBy::Rule, _) => impact_by_rule(level),
        (ImpactBy::Service, Some(gravest)) => of_service(gravest, level),
        (ImpactBy::Service, None) => format!("impact is {level} (no service is known)"),
        (ImpactBy::Services, _) => {
            let more = if concerned.count() >= SERVICES_MAX { " or more" } else { "" };
            format!("{}{more} services are concerned ({level} impact)", grouped(concerned.count() as u64))
        }
        (ImpactBy::Users, _) => format!("{} users are concerned ({level} impact)", grouped(concerned.users())),
    }
}

fn of_service(gravest: &Gravest, level: &str) -> String {
    let users = match gravest.users {
        Some(1) => "1 user".to_owned(),
        Some(users) => format!("{} users", grouped(u64::from(users))),
        None => String::new(),
    };
    let by_catalogue = gravest.said.unwrap_or_default();
    let kept_down = gravest.impact > by_catalogue;
    let kept_down = if kept_down { format!("{} but for its environment", name(by_catalogue)) } else { String::new() };
    let facts: Vec<String> = [users, kept_down].into_iter().filter(|fact| !fact.is_empty()).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    match &gravest.service {
        Some(service) => format!("{service} is {level} impact{facts}"),
        None if facts.is_empty() => format!("impact is {level} (no service is known)"),
        None => format!("impact is {level}{facts}"),
    }
}

fn urgency(incident: &Incident) -> String {
    let assessment = &incident.priority_of;
    let level = name(assessment.assessed.urgency);
    if assessment.of_children {
        return format!("the most urgent is {level} urgency");
    }
    let ground = match assessment.urgency_by {
        UrgencyBy::Rule => SET_BY_RULE.to_owned(),
        UrgencyBy::Severity => of_severity(incident.severity),
        UrgencyBy::Alerts(1) => "1 alert fired".to_owned(),
        UrgencyBy::Alerts(firing) => format!("{} alerts fired at once", grouped(firing)),
        UrgencyBy::Time(open) => format!("open for {}", duration::format(open)),
    };
    urgency_for(level, &ground)
}

fn name(level: Level) -> &'static str {
    ["high", "medium", "low"][level as usize]
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let numbers = [0, 999, 1_000, 20_000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "20,000", "1,234,567"]);
    }
}
