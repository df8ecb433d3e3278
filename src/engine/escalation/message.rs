//! What a step says to those whom it tells.

use crate::engine::moves::IncidentStatus;
use crate::rules::{EscalationPolicy, StepDue};

/// `step 2 of 3 of standard: nobody has acknowledged within 15m`.
pub(super) fn asked(policy: &EscalationPolicy, place: usize, round: u32, status: IncidentStatus) -> String {
    let (number, count, name) = (place + 1, policy.steps.len(), &policy.name);
    let round = if round > 0 { format!(", round {}", round + 1) } else { String::new() };
    format!(
        "step {number} of {count} of {name}{round}: {}",
        because(&policy.steps[place].due, round.is_empty(), status)
    )
}

fn because(due: &StepDue, first: bool, status: IncidentStatus) -> String {
    let lacks = match status {
        IncidentStatus::Acknowledged => "nobody works on it",
        IncidentStatus::InProgress | IncidentStatus::OnHold => "it is not resolved",
        _ => "nobody has acknowledged",
    };
    match due {
        StepDue::After(_) if !first => format!("still {lacks}"),
        StepDue::After(after) if after.is_zero() => format!("{lacks} yet"),
        StepDue::After(_) => format!("{lacks} within {}", due.words()),
        StepDue::Share { .. } => format!("{} has passed", due.words()),
    }
}

/// `steps 1 and 2 were missed`.
pub(super) fn missed(places: &[usize]) -> String {
    let numbers: Vec<String> = places.iter().map(|place| (place + 1).to_string()).collect();
    match numbers.as_slice() {
        [] => String::new(),
        [one] => format!("; step {one} was missed, and is left out"),
        [all @ .., last] => format!("; steps {} and {last} were missed, and are left out", all.join(", ")),
    }
}
