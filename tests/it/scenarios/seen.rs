//! What somebody outside sees of incidents, who knows nothing but what a shard hands out.
//!
//! Two documents of one version are the same, but for the numbers that move with every event and a union's key: what is seen is what the
//! engine has, although nothing is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use incidentd::engine::decision::Decision;
use incidentd::engine::incident::IncidentDoc;
use incidentd::identity::IncidentId;

/// The newest document of every incident.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<IncidentId, Arc<IncidentDoc>>);

impl Seen {
    /// Takes what was handed out, in the order in which it is made known.
    pub fn take(&mut self, decisions: &[Decision], renewed: &[Arc<IncidentDoc>]) {
        let decided = decisions.iter().map(|decision| &decision.incident);
        for doc in decided.chain(renewed) {
            self.0.insert(doc.id, doc.clone());
        }
    }

    /// Compares with what the engine has.
    ///
    /// # Errors
    /// The first incident that is seen otherwise.
    pub fn check(&self, docs: &[Arc<IncidentDoc>]) -> Result<(), String> {
        for doc in docs {
            let Some(seen) = self.0.get(&doc.id) else { return Err(format!("{} was never seen", doc.id)) };
            let IncidentDoc { alerts, events, flapping, storm, key, .. } = (**doc).clone();
            let seen = IncidentDoc { alerts, events, flapping, storm, key, ..(**seen).clone() };
            if seen.version == doc.version && seen != **doc {
                let [seen, has] = [&seen, &**doc].map(|doc| serde_json::to_value(doc).unwrap_or_default());
                let members = has.as_object().into_iter().flatten();
                let other: Vec<_> = members.filter(|(name, value)| seen.get(name) != Some(value)).collect();
                let other: Vec<_> = other
                    .iter()
                    .map(|(name, value)| format!("{name} {value}, seen as {}", seen[name.as_str()]))
                    .collect();
                return Err(format!("{} has {}", doc.id, other.join("; ")));
            }
        }
        Ok(())
    }
}
