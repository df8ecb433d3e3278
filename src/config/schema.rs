//! JSON Schemas, for editors.

use schemars::schema_for;

use super::Config;
use crate::formats::EventFields;

/// Of a configuration file.
pub(super) fn config_schema() -> serde_json::Value {
    schema_for!(Config).to_value()
}

/// The JSON Schema of our event (`POST /api/v1/events`).
pub fn event_schema() -> serde_json::Value {
    schema_for!(EventFields).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_schema_has_every_field_of_the_contract() {
        let schema = event_schema();
        let fields = schema["properties"].as_object().expect("properties");
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected = [
            "annotations",
            "dedup_key",
            "ends_at",
            "id",
            "kind",
            "labels",
            "links",
            "occurred_at",
            "severity",
            "source",
            "status",
            "summary",
        ];
        assert_eq!(names, expected);
    }
}
