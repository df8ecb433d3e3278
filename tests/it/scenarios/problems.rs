//! Problems in scenarios: by number, in the order in which they are raised, as `!1`.

use incidentd::engine::problems::ProblemDoc;
use incidentd::identity::{IncidentId, ProblemId};

/// Those that were raised.
#[derive(Debug, Default)]
pub struct Problems(Vec<ProblemId>);

impl Problems {
    /// `!1 open: 3 incidents within 1h; #1 #2 #3`, with the resolution and who closed it where it is closed.
    pub fn shown(&mut self, doc: &ProblemDoc) -> String {
        if !self.0.contains(&doc.id) {
            self.0.push(doc.id);
        }
        let incidents: Vec<String> = doc.incidents.iter().map(IncidentId::to_string).collect();
        let mut text = format!("{} {}: {}; {}", doc.id, doc.status.as_str(), doc.reason, incidents.join(" "));
        if doc.recurrences as usize != doc.incidents.len() {
            text.push_str(&format!(" of {}", doc.recurrences));
        }
        if let Some(resolution) = &doc.resolution {
            text.push_str(&format!("; {resolution} by {}", doc.closed_by.as_deref().unwrap_or("itself")));
        }
        text
    }

    /// One of them.
    pub fn named(&self, number: usize) -> Option<ProblemId> {
        self.0.get(number.wrapping_sub(1)).copied()
    }

    /// A text in which they go by their numbers.
    pub fn numbered(&self, text: &str) -> String {
        let known = self.0.iter().enumerate();
        known.fold(text.to_owned(), |text, (place, id)| text.replace(&id.to_string(), &format!("!{}", place + 1)))
    }
}
