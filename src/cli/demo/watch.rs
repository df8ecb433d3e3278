//! Sees incidents as anybody would, over the API, and tells what has changed since the last look.

use std::collections::HashMap;

use super::screen::{Screen, Turn};
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::incidents::{Incident, newest};
use crate::event::Timestamp;

/// Far more than the night has.
const INCIDENTS_MAX: usize = 1_000;

/// The incidents of the night so far.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    began: Timestamp,
    incidents: Vec<Incident>,
}

impl Watch {
    /// Has seen nothing yet.
    pub fn new(client: Client, began: Timestamp) -> Self {
        Self { client, began, incidents: Vec::new() }
    }

    /// Looks again, and shows what is new.
    pub async fn look(&mut self, screen: &Screen) -> Result<(), Failure> {
        let mut incidents = newest(&self.client, INCIDENTS_MAX).await?;
        incidents.sort_by(|one, other| (one.opened_at, &one.id).cmp(&(other.opened_at, &other.id)));
        let known: HashMap<&str, &Incident> = self.incidents.iter().map(|known| (known.id.as_str(), known)).collect();
        let mut news: Vec<((Turn, Timestamp), &Incident)> = Vec::new();
        for incident in &incidents {
            let before = known.get(incident.id.as_str()).copied();
            news.extend(turn(before, incident).map(|turn| (turn, incident)));
        }
        news.sort_by_key(|((_, at), _)| *at);
        for ((turn, at), incident) in news {
            screen.turn(turn, at.since(self.began), incident);
        }
        self.incidents = incidents;
        Ok(())
    }

    /// Every incident, oldest first.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// Whether nothing is about to resolve: what is live still has alerts that fire.
    pub fn is_settled(&self) -> bool {
        self.incidents.iter().all(|incident| !is_live(incident) || incident.counts.firing > 0)
    }
}

fn is_live(incident: &Incident) -> bool {
    matches!(incident.status.as_str(), "open" | "acknowledged")
}

/// What has become of an incident, and when.
fn turn(before: Option<&Incident>, after: &Incident) -> Option<(Turn, Timestamp)> {
    let was_live = before.map(is_live);
    match (was_live, is_live(after)) {
        (None, _) => Some((Turn::Opened, after.opened_at)),
        (Some(true), false) => Some((Turn::Resolved, after.resolved_at.unwrap_or(after.updated_at))),
        (Some(false), true) => Some((Turn::Reopened, after.updated_at)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(status: &str) -> Incident {
        Incident { status: status.to_owned(), opened_at: Timestamp::from_micros(1), ..Incident::default() }
    }

    #[test]
    fn only_a_change_of_state_is_told() {
        let turn = |before: Option<&str>, after: &str| {
            turn(before.map(incident).as_ref(), &incident(after)).map(|(turn, _)| turn)
        };
        assert_eq!(turn(None, "open"), Some(Turn::Opened));
        assert_eq!(turn(Some("open"), "open"), None);
        assert_eq!(turn(Some("open"), "acknowledged"), None);
        assert_eq!(turn(Some("acknowledged"), "resolved"), Some(Turn::Resolved));
        assert_eq!(turn(Some("resolved"), "closed"), None);
        assert_eq!(turn(Some("resolved"), "open"), Some(Turn::Reopened));
    }
}
