//! From a document to a type, with every misfit and not only the first.
//!
//! A type is read again and again, each time without the nodes in which a misfit was found, until it fits or nothing
//! can be left out any more. At most 100 misfits are looked for, so a hostile file costs as many readings.

use serde::de::DeserializeOwned;

use super::deserialize::{Misfit, Source, Value};
use super::document::{Document, Fault, NodeId};

const MISFITS_MAX: usize = 100;
/// Entries among which a culprit is looked for; each costs a reading. No type has as many keys.
const SUSPECTS_MAX: usize = 32;
const MISSING: &str = "missing field";

/// Keys that the documentation announces and that are not there yet.
const KEYS_TO_COME: [&str; 2] = ["record", "auth"];

/// Likewise values.
const VALUES_TO_COME: [(&str, &[&str]); 2] = [
    ("sources.kafka[].format", &["cloudevents"]),
    (
        "sinks[].type",
        &[
            "discord",
            "email",
            "jira",
            "mattermost",
            "opsgenie",
            "pagerduty",
            "servicenow",
            "slack",
            "smtp",
            "teams",
            "telegram",
            "victorops",
        ],
    ),
];

/// Notes what is not yet supported, and leaves it out.
pub(super) fn note_unsupported(document: &mut Document) {
    for pattern in KEYS_TO_COME {
        let key = pattern.rsplit('.').next().unwrap_or(pattern);
        for (place, id) in document.find(pattern) {
            document.faults.push(Fault { place, message: format!("`{key}` is not yet supported") });
            document.skipped[id] = true;
        }
    }
    for (pattern, values) in VALUES_TO_COME {
        for (_, id) in document.find(pattern) {
            let Some(value) = document.text(id).filter(|text| values.contains(text)) else { continue };
            let message = format!("\"{value}\" is not yet supported");
            document.faults.push(Fault { place: document.nodes[id].place, message });
            let owner = pattern.rsplit_once('.').map_or("", |(owner, _)| owner);
            let owners = document.find(owner).into_iter().map(|(_, owner)| owner);
            for owner in owners.collect::<Vec<_>>() {
                if document.entries(owner).any(|entry| entry.value == id) {
                    document.skipped[owner] = true;
                }
            }
        }
    }
}

/// Reads the whole document as a `T`, as far as it fits; the misfits are added to its faults. `None` when nothing fits.
pub(super) fn read<T: DeserializeOwned>(document: &mut Document) -> Option<T> {
    for _ in 0..MISFITS_MAX {
        let (read, unknown) = attempt(document);
        for (id, fault) in unknown {
            document.faults.push(fault);
            document.skipped[id] = true;
        }
        let misfit = match read {
            Ok(value) => return Some(value),
            Err(misfit) => misfit,
        };
        let id = misfit.at.unwrap_or(document.root());
        let (id, fault) = blame::<T>(document, id, misfit);
        document.faults.extend(fault);
        document.skipped[id] = true;
        if id == document.root() {
            return None;
        }
    }
    None
}

type Attempt<T> = (Result<T, Misfit>, Vec<(NodeId, Fault)>);

fn attempt<T: DeserializeOwned>(document: &Document) -> Attempt<T> {
    let source = Source { document, unknown: Vec::new().into() };
    let read = T::deserialize(Value { source: &source, id: document.root() });
    (read, source.unknown.into_inner())
}

/// The node to leave out, and what to say of it: nothing where the misfit only follows from an earlier one.
fn blame<T: DeserializeOwned>(document: &mut Document, id: NodeId, misfit: Misfit) -> (NodeId, Option<Fault>) {
    let fault = |place, message| Some(Fault { place, message });
    if misfit.key.is_some() {
        return (id, misfit.key.and_then(|place| fault(place, misfit.message)));
    }
    let unknown = document.entries(id).find(|entry| Some(&entry.key) == misfit.unknown_key.as_ref());
    if let Some(entry) = unknown {
        return (entry.value, fault(entry.place, misfit.message));
    }
    if document.text(id).is_some() {
        let shown = !document.nodes[id].from_environment;
        let message = if shown { misfit.message } else { without_value(&misfit.message) };
        return (id, fault(document.nodes[id].place, message));
    }
    if let Some(child) = culprit::<T>(document, id, &misfit) {
        return (child, fault(document.nodes[child].place, misfit.message));
    }
    let follows = document.has_gap(id);
    let place = document.nodes[id].place;
    (id, if follows { None } else { fault(place, misfit.message) })
}

/// Types that look at a whole mapping before they decide tell only of the mapping. The entry without which they have
/// nothing, or something else, to say is the one that does not fit; else the one that is then missed.
fn culprit<T: DeserializeOwned>(document: &mut Document, id: NodeId, misfit: &Misfit) -> Option<NodeId> {
    if misfit.message.starts_with(MISSING) || document.faults.len() > MISFITS_MAX {
        return None;
    }
    let entries: Vec<(String, NodeId)> =
        document.entries(id).take(SUSPECTS_MAX).map(|entry| (entry.key.clone(), entry.value)).collect();
    let mut missed = None;
    for (key, child) in entries {
        document.skipped[child] = true;
        let (read, _) = attempt::<T>(document);
        document.skipped[child] = false;
        match read.err().map(|other| other.message) {
            Some(same) if same == misfit.message => {}
            Some(message) if message.starts_with(MISSING) => {
                if message.contains(&format!("`{key}`")) {
                    missed.get_or_insert(child);
                }
            }
            _ => return Some(child),
        }
    }
    missed
}

/// What is left of a message about a value that must not be echoed.
fn without_value(message: &str) -> String {
    let wanted = message.rsplit_once(", not ").map_or("expected something else", |(wanted, _)| wanted);
    format!("{wanted}, not what the environment variable holds")
}
