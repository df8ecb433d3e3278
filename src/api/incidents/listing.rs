//! What a listing of incidents can be asked for: filters, a limit, a place to go on from.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::api::Problem;
use crate::api::problem::echo;
use crate::engine::incident::IncidentStatus;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::rules::Priority;
use crate::runtime::read_model::PRIORITIES;
use crate::store::IncidentQuery;

const LIMIT_DEFAULT: usize = 50;
/// More are not given at once; the cursor leads on.
const LIMIT_MAX: usize = 1_000;

/// The members of [`Listing`], those that only choose first.
const PARAMETERS: [&str; 6] = ["status", "priority", "service", "rule", "limit", "cursor"];

/// Where an incident stands in the order of a listing.
pub(super) type Place = (Timestamp, IncidentId);

/// The parameters of a listing, as the document shows them.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; the query is read so that each problem can be named")]
pub(super) struct Listing {
    #[schemars(flatten)]
    chosen: Choice,
    /// At most so many, 1 to 1,000; default 50. More are taken for 1,000.
    #[schemars(range(min = 1))]
    limit: Option<u64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Which incidents are meant; all of it must hold.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; the query is read so that each problem can be named")]
pub(in crate::api) struct Choice {
    /// Only this status.
    #[schemars(schema_with = "status_schema")]
    status: Option<IncidentStatus>,
    /// Only this priority.
    priority: Option<Priority>,
    /// Only incidents of this service.
    service: Option<String>,
    /// Only incidents of this rule.
    rule: Option<String>,
}

fn status_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": listed() })
}

/// The query of a path as a listing is asked for.
pub(super) fn query(uri: &Uri) -> Result<IncidentQuery, Problem> {
    let mut asked = asked(uri, &PARAMETERS)?;
    let limit = match asked.remove("limit") {
        Some(text) => limit(&text)?,
        None => LIMIT_DEFAULT,
    };
    let after = asked.remove("cursor").map(|text| place(&text).ok_or_else(bad_cursor)).transpose()?;
    Ok(IncidentQuery { after, limit, ..chosen(asked)? })
}

/// The query of a path that only chooses incidents.
pub(in crate::api) fn filters(uri: &Uri) -> Result<IncidentQuery, Problem> {
    chosen(asked(uri, &PARAMETERS[..4])?)
}

fn chosen(mut asked: HashMap<&str, String>) -> Result<IncidentQuery, Problem> {
    let status = one_of("status", asked.remove("status"), &listed())?;
    let priority = one_of("priority", asked.remove("priority"), &PRIORITIES)?;
    let (service, rule) = (asked.remove("service"), asked.remove("rule"));
    Ok(IncidentQuery { status, priority, service, rule, ..IncidentQuery::default() })
}

/// Parameters by name. Those that are empty count as not given.
fn asked(uri: &Uri, known: &[&'static str]) -> Result<HashMap<&'static str, String>, Problem> {
    let unreadable = |_| Problem::new(StatusCode::BAD_REQUEST, "invalid_query", "the query string cannot be read");
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
    let mut asked: HashMap<&'static str, String> = HashMap::new();
    for (name, value) in pairs {
        let Some(known) = known.iter().find(|known| **known == name) else {
            let legal = known.join(", ");
            return Err(Problem::parameter(&name, format!("unknown parameter \"{}\"; known: {legal}", echo(&name))));
        };
        if asked.insert(known, value).is_some() {
            return Err(Problem::parameter(known, format!("\"{known}\" is given twice")));
        }
    }
    asked.retain(|_, value| !value.is_empty());
    Ok(asked)
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
pub(super) fn cursor((opened_at, id): Place) -> String {
    let bytes = [opened_at.as_micros().to_be_bytes(), id.0.to_be_bytes()].concat();
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn place(cursor: &str) -> Option<Place> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (opened_at, id) = bytes.split_first_chunk::<8>()?;
    let id: [u8; 8] = id.try_into().ok()?;
    Some((Timestamp::from_micros(i64::from_be_bytes(*opened_at)), IncidentId(u64::from_be_bytes(id))))
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
    fn the_document_shows_the_parameters_that_are_read() {
        let shown = schemars::schema_for!(Listing).to_value();
        let mut names: Vec<&str> = shown["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = PARAMETERS;
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
