//! What the `severity` label of other systems means here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Severity;

/// Severity names of other systems and what they mean. What is configured is added to the default:
/// `critical` and `page` are critical, `error` is error, `warning` is warning, `info` and `none` are info.
#[derive(Clone, Debug, PartialEq, schemars::JsonSchema)]
#[schemars(with = "BTreeMap<String, Severity>")]
pub struct SeverityMap(Vec<(Box<str>, Severity)>);

const DEFAULT: [(&str, Severity); 6] = [
    ("critical", Severity::Critical),
    ("warning", Severity::Warning),
    ("info", Severity::Info),
    ("error", Severity::Error),
    ("page", Severity::Critical),
    ("none", Severity::Info),
];

impl SeverityMap {
    /// The default with these added; an entry of the same name replaces the default's.
    pub fn with(entries: impl IntoIterator<Item = (String, Severity)>) -> Self {
        let mut map = Self::default();
        for (name, severity) in entries {
            match map.0.iter_mut().find(|entry| *entry.0 == *name) {
                Some(entry) => entry.1 = severity,
                None => map.0.push((name.into(), severity)),
            }
        }
        map
    }

    /// What a name means, `None` for one that is not in the map. Case matters.
    pub fn get(&self, name: &[u8]) -> Option<Severity> {
        self.0.iter().find(|entry| entry.0.as_bytes() == name).map(|entry| entry.1)
    }
}

impl Default for SeverityMap {
    fn default() -> Self {
        Self(DEFAULT.iter().map(|(name, severity)| ((*name).into(), *severity)).collect())
    }
}

impl Serialize for SeverityMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, severity)| (name, severity)))
    }
}

impl<'de> Deserialize<'de> for SeverityMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::with(BTreeMap::<String, Severity>::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_entries_are_added_to_the_default() {
        let map: SeverityMap = serde_json::from_str(r#"{"page": "error", "sev1": "critical"}"#).unwrap();
        let meanings = ["page", "sev1", "none", "Critical"].map(|name| map.get(name.as_bytes()));
        assert_eq!(meanings, [Some(Severity::Error), Some(Severity::Critical), Some(Severity::Info), None]);
        assert!(serde_json::from_str::<SeverityMap>(r#"{"page": "loud"}"#).is_err());
    }
}
