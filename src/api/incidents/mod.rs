//! `GET /api/v1/incidents` and `GET /api/v1/incidents/{id}`.
//!
//! A listing merges the read model with the store, so that incidents which the read model has let go are still found;
//! where both know one, the read model is right. A cursor names the last incident of a page (its opening and its id),
//! so that pages neither repeat nor skip one that was there all along, whatever opens meanwhile.

mod listing;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::problem::{BAD_QUERY, INTERNAL, Name, UNKNOWN_INCIDENT, echo};
use super::{ApiState, Problem};
use crate::engine::incident::{AlertDoc, IncidentDoc, IncidentStatus};
use crate::identity::IncidentId;
use crate::openapi::{Api, Operation};
use crate::runtime::ReadModel;
use crate::store::{IncidentQuery, Reads, StoreError, TimelineEntry};
use listing::{Listing, Place};

pub(super) use listing::{Choice, filters};

const CLOSED: &str = IncidentStatus::Closed.as_str();
/// Alerts in the single view; `alert_counts` tells how many there are. A guess: 1 MiB of JSON.
pub(super) const ALERTS_MAX: usize = 1_000;
/// Entries of the timeline in the single view, the newest.
const TIMELINE_MAX: usize = 1_000;

/// A page of a listing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IncidentPage")]
struct Page {
    /// Newest first.
    #[schemars(with = "Vec<IncidentDoc>")]
    incidents: Vec<Row>,
    /// Leads to the next page; null on the last one.
    next_cursor: Option<String>,
}

/// An incident of a page.
#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    /// As the read model has it.
    Live(Arc<IncidentDoc>),
    /// As the store has it.
    Stored(Box<RawValue>),
}

/// The routes that read incidents.
pub(super) fn api() -> Api<ApiState> {
    let list_is = Operation::new("listIncidents", "incidents", "incidents, newest first")
        .describe(
            "As of the last commit. Pages neither repeat nor skip an incident that was there all along, whatever opens \
             meanwhile.",
        )
        .query::<Listing>()
        .answer::<Page>(200, "a page")
        .fails(&[BAD_QUERY, INTERNAL]);
    let show_is = Operation::new("getIncident", "incidents", "one incident with its alerts and timeline")
        .describe("As of the last commit. At most 1,000 alerts; the newest 1,000 entries of the timeline.")
        .path::<IncidentId>("id", "the incident")
        .answer::<Single>(200, "the incident")
        .fails(&[UNKNOWN_INCIDENT, INTERNAL]);
    Api::new().get("/api/v1/incidents", list, list_is).get("/api/v1/incidents/{id}", show, show_is)
}

/// The single view: the document with its alerts themselves, and the timeline.
pub(super) struct Single;

impl JsonSchema for Single {
    fn schema_name() -> Cow<'static, str> {
        "IncidentView".into()
    }

    /// Made from the document's as [`show`] makes the view from the document.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = IncidentDoc::json_schema(generator);
        let added = [
            ("alerts", generator.subschema_for::<Vec<AlertDoc>>()),
            ("timeline", generator.subschema_for::<Vec<TimelineEntry>>()),
        ];
        if let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            let counts = members.remove("alerts").unwrap_or_default();
            members.insert("alert_counts".to_owned(), counts);
            members.extend(added.map(|(name, schema)| (name.to_owned(), schema.to_value())));
        }
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.extend([json!("alert_counts"), json!("timeline")]);
        }
        schema
    }
}

/// `GET /api/v1/incidents`: newest first.
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query = listing::query(&uri)?;
    let found = tokio::task::spawn_blocking(move || page(&state.read_model, &*state.reads, query)).await;
    found
        .map_err(|error| Problem::internal("the listing broke off", &error))?
        .map(|page| ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], page).into_response())
        .map_err(|error| Problem::internal("the store could not be read", &error))
}

/// `GET /api/v1/incidents/{id}`: with alerts and timeline.
pub(super) async fn show(State(state): State<ApiState>, Name(name): Name) -> Result<Response, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_incident", format!("no incident {}", echo(&name)));
    let id: IncidentId = name.parse().map_err(|_| unknown())?;
    let (read_model, reads) = (state.read_model.clone(), state.reads.clone());
    // Shard and store are asked at the same time; of a closed incident the shard knows nothing.
    let read = tokio::task::spawn_blocking(move || stored_view(&read_model, &*reads, id));
    let (read, alerts) = tokio::join!(read, (state.alerts)(id, ALERTS_MAX));
    let view = read
        .map_err(|error| Problem::internal("the reading broke off", &error))?
        .map_err(|error| Problem::internal("the store could not be read", &error))?;
    let Some(View { mut fields, timeline, left_alerts }) = view else { return Err(unknown()) };
    let rendered = match left_alerts {
        Some(alerts) => RawValue::from_string(alerts),
        None => to_raw_value(&alerts.unwrap_or_default().0),
    };
    let rendered = rendered.and_then(|alerts| Ok((alerts, to_raw_value(&timeline)?)));
    let (alerts, timeline) = rendered.map_err(|error| Problem::internal("the incident cannot be shown", &error))?;
    fields.rename("alerts", "alert_counts");
    fields.push("alerts", alerts);
    fields.push("timeline", timeline);
    Ok(Json(fields).into_response())
}

/// What the read model and the store know of an incident.
struct View {
    fields: Fields,
    timeline: Vec<TimelineEntry>,
    /// Of a closed incident, which no shard knows any more: the alerts it left behind, as JSON.
    left_alerts: Option<String>,
}

/// The newest document of an incident.
pub(super) fn document(
    read_model: &ReadModel,
    reads: &dyn Reads,
    id: IncidentId,
) -> Result<Option<String>, StoreError> {
    match read_model.get(id) {
        Some(doc) => serde_json::to_string(&doc).map(Some).map_err(|error| damaged(id, &error)),
        None => reads.incident(id),
    }
}

fn stored_view(read_model: &ReadModel, reads: &dyn Reads, id: IncidentId) -> Result<Option<View>, StoreError> {
    let Some(document) = document(read_model, reads, id)? else { return Ok(None) };
    let fields: Fields = serde_json::from_str(&document).map_err(|error| damaged(id, &error))?;
    // What a merged incident left behind is out of date once it has been split out again.
    let closed = fields.get("status").is_some_and(|status| status == "\"closed\"");
    let left_alerts = if closed { reads.incident_alerts(id)? } else { None };
    let timeline = reads.timeline(id, TIMELINE_MAX)?;
    Ok(Some(View { fields, timeline, left_alerts }))
}

pub(super) fn damaged(id: IncidentId, error: &serde_json::Error) -> StoreError {
    StoreError::Damaged { what: format!("incident {id}"), detail: error.to_string() }
}

/// One page as JSON: the newest of both sides, one more than asked for, to know whether more follow.
fn page(read_model: &ReadModel, reads: &dyn Reads, query: IncidentQuery) -> Result<Bytes, StoreError> {
    let limit = query.limit;
    let query = IncidentQuery { limit: limit + 1, ..query };
    let live = read_model.list(&query);
    let full_to = live.get(limit).map(|doc| (doc.opened_at, doc.id));
    let mut rows: Vec<(Place, Row)> = live.into_iter().map(|doc| ((doc.opened_at, doc.id), Row::Live(doc))).collect();
    // Whatever is not closed is in the read model, so the store is asked only for what is, and that comes on this page.
    if query.status.as_deref().is_none_or(|status| status == CLOSED) {
        let closed = IncidentQuery { status: Some(CLOSED.to_owned()), before: full_to, ..query };
        for (opened_at, id, document) in reads.incidents(&closed)? {
            // What the read model holds has been judged there: a row of the store may have a status it no longer has.
            if read_model.get(id).is_none() {
                let document = RawValue::from_string(document).map_err(|error| damaged(id, &error))?;
                rows.push(((opened_at, id), Row::Stored(document)));
            }
        }
        rows.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        rows.dedup_by_key(|(place, _)| *place);
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|(place, _)| listing::cursor(*place));
    let page = Page { incidents: rows.into_iter().map(|(_, document)| document).collect(), next_cursor };
    let rendered = serde_json::to_vec(&page);
    rendered
        .map(Bytes::from)
        .map_err(|error| StoreError::Damaged { what: "a page".to_owned(), detail: error.to_string() })
}

/// A JSON object that keeps the order of its members, so that both views of an incident read alike.
pub(super) struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        for (name, _) in self.0.iter_mut().filter(|(name, _)| name == from) {
            to.clone_into(name);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|field| field.0 == name).map(|field| field.1.get())
    }

    pub(super) fn push(&mut self, name: &str, value: Box<RawValue>) {
        self.0.push((name.to_owned(), value));
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an incident")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order() {
        let mut fields: Fields = serde_json::from_str(r#"{"z":1,"alerts":{"b":2},"a":[3]}"#).unwrap();
        fields.rename("alerts", "alert_counts");
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"z":1,"alert_counts":{"b":2},"a":[3]}"#);
    }
}
