//! Why an incident has its priority, as a sentence: "P2 because checkout is high impact (20,000 users) and urgency is
//! medium (severity error)".

use super::assessment::{ImpactBy, UrgencyBy};
use super::concerned::{Gravest, SERVICES_MAX};
use crate::engine::group::Incident;
use crate::event::duration;
use crate::rules::Level;

/// The sentence.
pub(in crate::engine) fn explained(incident: &Incident) -> String {
    let reason = incident.priority_of.hand.as_deref().map(|hand| hand.reason.clone());
    explained_with(incident, reason.as_deref().unwrap_or_default())
}

/// The same, where a person has set it for this reason.
pub(super) fn explained_with(incident: &Incident, reason: &str) -> String {
    let assessment = &incident.priority_of;
    let priority = incident.priority.as_str();
    let Some(hand) = assessment.hand.as_deref() else {
        return [priority, " because ", &*impact(incident), " and ", &*urgency(incident)].concat();
    };
    let grounds = format!("{} and {}", impact(incident), urgency(incident));
    let impact = hand.impact.map(|level| format!("impact to {}", name(level)));
    let urgency = hand.urgency.map(|level| format!("urgency to {}", name(level)));
    let set: Vec<String> = impact.into_iter().chain(urgency).collect();
    let set = if set.is_empty() { "it".to_owned() } else { set.join(" and ") };
    let assessed = assessment.assessed.priority.as_str();
    format!("{priority} because {} set {set}: {reason}; by assessment {assessed}, because {grounds}", hand.by)
}

fn impact(incident: &Incident) -> String {
    let assessment = &incident.priority_of;
    let level = name(assessment.assessed.impact);
    let concerned = &assessment.concerned;
    if assessment.of_children {
        return format!("the gravest of its incidents is {level} impact");
    }
    match (assessment.impact_by, concerned.gravest()) {
        (ImpactBy::Rule, _) => ["impact is ", level, " (set by the rule)"].concat(),
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
        UrgencyBy::Rule => "set by the rule".to_owned(),
        UrgencyBy::Severity => ["severity ", incident.severity.as_str()].concat(),
        UrgencyBy::Alerts(1) => "1 alert fired".to_owned(),
        UrgencyBy::Alerts(firing) => format!("{} alerts fired at once", grouped(firing)),
        UrgencyBy::Time(open) => format!("open for {}", duration::format(open)),
    };
    ["urgency is ", level, " (", &*ground, ")"].concat()
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
