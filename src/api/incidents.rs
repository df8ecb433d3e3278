//! `GET /api/v1/incidents` and `GET /api/v1/incidents/{id}`.
//!
//! A listing merges the read model with the store, so that incidents which the read model has let go are still found;
//! where both know one, the read model is right. A cursor names the last incident of a page (its opening and its id),
//! so that pages neither repeat nor skip one that was there all along, whatever opens meanwhile.

use std::collections::HashMap;
use std::fmt;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::problem::echo;
use super::{ApiState, Problem};
use crate::engine::incident::IncidentStatus;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::runtime::ReadModel;
use crate::runtime::read_model::PRIORITIES;
use crate::store::{IncidentQuery, Reads, StoreError};

const LIMIT_DEFAULT: usize = 50;
/// More are not given at once; the cursor leads on.
const LIMIT_MAX: usize = 1_000;
/// Alerts in the single view; `alert_counts` tells how many there are. A guess: 1 MiB of JSON.
pub(super) const ALERTS_MAX: usize = 1_000;
/// Entries of the timeline in the single view, the newest.
const TIMELINE_MAX: usize = 1_000;

const PARAMETERS: [&str; 6] = ["status", "priority", "service", "rule", "limit", "cursor"];

/// Where an incident stands in the order of a listing.
type Place = (Timestamp, IncidentId);

#[derive(Serialize)]
struct Page {
    incidents: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// `GET /api/v1/incidents`: newest first.
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Problem> {
    let query = query(&uri)?;
    let found = tokio::task::spawn_blocking(move || page(&state.read_model, &*state.reads, query)).await;
    found
        .map_err(|error| Problem::internal("the listing broke off", &error))?
        .map(|page| Json(page).into_response())
        .map_err(|error| Problem::internal("the store could not be read", &error))
}

/// `GET /api/v1/incidents/{id}`: with alerts and timeline.
pub(super) async fn show(State(state): State<ApiState>, Path(name): Path<String>) -> Result<Response, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_incident", format!("no incident {}", echo(&name)));
    let id: IncidentId = name.parse().map_err(|_| unknown())?;
    let (read_model, reads) = (state.read_model.clone(), state.reads.clone());
    let read = tokio::task::spawn_blocking(move || stored_view(&read_model, &*reads, id)).await;
    let view = read
        .map_err(|error| Problem::internal("the reading broke off", &error))?
        .map_err(|error| Problem::internal("the store could not be read", &error))?;
    let Some(View { mut fields, timeline, left_alerts }) = view else { return Err(unknown()) };
    let rendered = match left_alerts {
        Some(alerts) => RawValue::from_string(alerts),
        None => to_raw_value(&(state.alerts)(id, ALERTS_MAX).await.unwrap_or_default().0),
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
    timeline: Vec<crate::store::TimelineEntry>,
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

/// One page: the newest of both sides, one more than asked for, to know whether more follow.
fn page(read_model: &ReadModel, reads: &dyn Reads, query: IncidentQuery) -> Result<Page, StoreError> {
    let limit = query.limit;
    let query = IncidentQuery { limit: limit + 1, ..query };
    let mut rows: Vec<(Place, Box<RawValue>)> = Vec::with_capacity(query.limit);
    for doc in read_model.list(&query) {
        rows.push(((doc.opened_at, doc.id), to_raw_value(&*doc).map_err(|error| damaged(doc.id, &error))?));
    }
    for (opened_at, id, document) in reads.incidents(&query)? {
        // What the read model holds has been judged there: a row of the store may match a status it no longer has.
        if read_model.get(id).is_none() {
            rows.push(((opened_at, id), RawValue::from_string(document).map_err(|error| damaged(id, &error))?));
        }
    }
    rows.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    rows.dedup_by_key(|(place, _)| *place);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|(place, _)| cursor(*place));
    Ok(Page { incidents: rows.into_iter().map(|(_, document)| document).collect(), next_cursor })
}

fn query(uri: &Uri) -> Result<IncidentQuery, Problem> {
    let unreadable = |_| Problem::new(StatusCode::BAD_REQUEST, "invalid_query", "the query string cannot be read");
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
    let mut asked: HashMap<&str, String> = HashMap::new();
    for (name, value) in pairs {
        let Some(known) = PARAMETERS.into_iter().find(|known| *known == name) else {
            let legal = PARAMETERS.join(", ");
            return Err(Problem::parameter(&name, format!("unknown parameter \"{}\"; known: {legal}", echo(&name))));
        };
        if asked.insert(known, value).is_some() {
            return Err(Problem::parameter(known, format!("\"{known}\" is given twice")));
        }
    }
    asked.retain(|_, value| !value.is_empty());
    let limit = match asked.remove("limit") {
        Some(text) => limit(&text)?,
        None => LIMIT_DEFAULT,
    };
    let after = asked.remove("cursor").map(|text| place(&text).ok_or_else(bad_cursor)).transpose()?;
    let status = one_of("status", asked.remove("status"), &listed())?;
    let priority = one_of("priority", asked.remove("priority"), &PRIORITIES)?;
    Ok(IncidentQuery { status, priority, service: asked.remove("service"), rule: asked.remove("rule"), after, limit })
}

/// Every status but `new`, which is not listed.
fn listed() -> Vec<&'static str> {
    let listed = IncidentStatus::ALL.into_iter().filter(|status| *status != IncidentStatus::New);
    listed.map(IncidentStatus::as_str).collect()
}

fn limit(text: &str) -> Result<usize, Problem> {
    let wrong = || {
        let detail = format!("\"limit\" is a number from 1 to {LIMIT_MAX}, not \"{}\"", echo(text));
        Problem::parameter("limit", detail)
    };
    let limit: u64 = text.parse().map_err(|_| wrong())?;
    if limit == 0 { Err(wrong()) } else { Ok(limit.min(LIMIT_MAX as u64) as usize) }
}

fn one_of(name: &str, value: Option<String>, legal: &[&str]) -> Result<Option<String>, Problem> {
    match value {
        Some(value) if !legal.contains(&value.as_str()) => {
            let detail = format!("\"{name}\" is one of {}, not \"{}\"", legal.join(", "), echo(&value));
            Err(Problem::parameter(name, detail))
        }
        value => Ok(value),
    }
}

fn bad_cursor() -> Problem {
    Problem::parameter("cursor", "\"cursor\" is the next_cursor of an earlier page, unchanged")
}

/// The opaque name of a place: 16 bytes in base 64.
fn cursor((opened_at, id): Place) -> String {
    let bytes = [opened_at.as_micros().to_be_bytes(), id.0.to_be_bytes()].concat();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn place(cursor: &str) -> Option<Place> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (opened_at, id) = bytes.split_first_chunk::<8>()?;
    let id: [u8; 8] = id.try_into().ok()?;
    Some((Timestamp::from_micros(i64::from_be_bytes(*opened_at)), IncidentId(u64::from_be_bytes(id))))
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_place(micros in any::<i64>(), id in any::<u64>()) {
            let there = (Timestamp::from_micros(micros), IncidentId(id));
            prop_assert_eq!(place(&cursor(there)), Some(there));
        }

        #[test]
        fn an_invented_cursor_is_refused_and_never_panics(text in ".{0,40}") {
            if let Some(place) = place(&text) {
                prop_assert_eq!(cursor(place), text);
            }
        }
    }

    #[test]
    fn members_keep_their_order() {
        let mut fields: Fields = serde_json::from_str(r#"{"z":1,"alerts":{"b":2},"a":[3]}"#).unwrap();
        fields.rename("alerts", "alert_counts");
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"z":1,"alert_counts":{"b":2},"a":[3]}"#);
    }
}
