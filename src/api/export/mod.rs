//! `GET /api/v1/incidents/{id}/export?format=markdown|json`: one incident with its whole timeline, to be kept or worked on.
//!
//! As Markdown it is a post-mortem's first draft. The timeline is read page by page, up to [`ENTRIES_MAX`] entries and
//! [`BYTES_MAX`] of text, oldest first; where there is more, the answer says so. As many are built or sent at a time as
//! listings of alerts, with which they share their room.

mod draft;
mod escape;
mod facts;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use serde_json::value::{RawValue, to_raw_value};

use super::incidents::{ALERTS_MAX, Fields, Single, damaged, document};
use super::problem::{INTERNAL, Name, UNKNOWN_INCIDENT};
use super::{ApiState, Problem, echo};
use crate::event::{Timestamp, hint};
use crate::identity::IncidentId;
use crate::openapi::{Api, Failure, Operation};
use crate::store::{Reads, StoreError, TimelineEntry};

/// Entries of the timeline in an export, the oldest. A guess: a busy incident has some hundreds a day.
const ENTRIES_MAX: usize = 100_000;
/// Text of the timeline in an export; an entry may have 10 KiB.
const BYTES_MAX: usize = 32 << 20;
/// Entries read at a time, so that no query holds a connection for long.
const PAGE: usize = 1_000;

const MARKDOWN: &str = "text/markdown; charset=utf-8";
const FORMATS: [&str; 2] = ["markdown", "json"];

/// What an export is asked for.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes the query, which is read pair by pair to name what is wrong with it")]
struct Asked {
    /// `markdown` (default), a post-mortem's first draft, or `json`, the single view with the whole timeline.
    format: Option<Format>,
}

/// The route.
pub(super) fn api() -> Api<ApiState> {
    let export_is = Operation::new("exportIncident", "incidents", "the whole of it, to be kept or worked on")
        .path::<IncidentId>("id", "the incident")
        .query::<Asked>()
        .answer_as::<String>("text/markdown", 200, "the draft of a post-mortem")
        .answer::<Single>(200, "the incident with its whole timeline")
        .fails(&[
            Failure::new(400, &["invalid_parameter", "invalid_query"], "the query cannot be understood"),
            UNKNOWN_INCIDENT,
            INTERNAL,
            Failure::new(503, &["too_many_exports"], "too many exports and listings of alerts at a time"),
        ]);
    Api::new().get("/api/v1/incidents/{id}/export", export, export_is)
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
#[schemars(rename = "ExportFormat", rename_all = "lowercase")]
enum Format {
    Markdown,
    Json,
}

/// An incident with all that is known of it.
struct Whole {
    /// Its document.
    document: String,
    /// At most [`ALERTS_MAX`], as JSON.
    alerts: String,
    timeline: Timeline,
    exported_at: Timestamp,
}

/// A timeline, oldest first.
struct Timeline {
    entries: Vec<TimelineEntry>,
    /// Whether there is nothing beyond.
    complete: bool,
}

async fn export(State(state): State<ApiState>, Name(name): Name, uri: Uri) -> Result<Response, Problem> {
    let format = format(&uri)?;
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "unknown_incident", format!("no incident {}", echo(&name)));
    let id: IncidentId = name.parse().map_err(|_| unknown())?;
    let full = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_exports", "too many at a time, try again");
    let room = state.listings.room().await.ok_or_else(full)?;
    let lives = (state.alerts)(id, ALERTS_MAX).await.map(|(alerts, _)| alerts).unwrap_or_default();
    let lives =
        serde_json::to_string(&lives).map_err(|error| Problem::internal("the alerts cannot be shown", &error))?;
    let built = tokio::task::spawn_blocking(move || {
        let Some(whole) = gather(&state, id, lives)? else { return Ok(None) };
        match format {
            Format::Markdown => draft::markdown(&whole),
            Format::Json => json(&whole),
        }
        .map(Some)
        .map_err(|error| damaged(id, &error))
    });
    let text = built
        .await
        .map_err(|error| Problem::internal("the export broke off", &error))?
        .map_err(|error| Problem::internal("the store could not be read", &error))?
        .ok_or_else(unknown)?;
    let sent = stream::iter([Bytes::from(text)].into_iter().map(move |piece| {
        // There is room for another one once this one is sent, or whoever asked has gone.
        let _room = &room;
        Ok::<Bytes, Infallible>(piece)
    }));
    let kind = if format == Format::Markdown { MARKDOWN } else { "application/json" };
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(sent)).into_response())
}

fn format(uri: &Uri) -> Result<Format, Problem> {
    let unreadable = |_| Problem::new(StatusCode::BAD_REQUEST, "invalid_query", "the query string cannot be read");
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
    let mut format = Format::Markdown;
    for (name, value) in pairs {
        format = match (name.as_str(), value.as_str()) {
            ("format", "markdown" | "") => Format::Markdown,
            ("format", "json") => Format::Json,
            ("format", other) => {
                let near = hint(other, FORMATS);
                let detail = format!("\"format\" is one of {}, not \"{}\"{near}", FORMATS.join(", "), echo(other));
                return Err(Problem::parameter("format", detail));
            }
            (other, _) => {
                let detail = format!("unknown parameter \"{}\"; known: format", echo(other));
                return Err(Problem::parameter(other, detail));
            }
        };
    }
    Ok(format)
}

/// Reads all that is known of an incident; `lives` are the alerts that the shards know.
fn gather(state: &ApiState, id: IncidentId, lives: String) -> Result<Option<Whole>, StoreError> {
    let reads: &Arc<dyn Reads> = &state.reads;
    let Some(document) = document(&state.read_model, &**reads, id)? else { return Ok(None) };
    let fields: Fields = serde_json::from_str(&document).map_err(|error| damaged(id, &error))?;
    let closed = fields.get("status").is_some_and(|status| status == "\"closed\"");
    let left = if closed { reads.incident_alerts(id)? } else { None };
    let timeline = timeline(&**reads, id, ENTRIES_MAX, BYTES_MAX)?;
    Ok(Some(Whole { document, alerts: left.unwrap_or(lives), timeline, exported_at: state.clock.now() }))
}

/// Reads a timeline page by page.
fn timeline(reads: &dyn Reads, id: IncidentId, entries_max: usize, bytes_max: usize) -> Result<Timeline, StoreError> {
    let mut entries: Vec<TimelineEntry> = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    loop {
        let page = reads.timeline_from(id, first, PAGE)?;
        let Some(last) = page.last() else { return Ok(Timeline { entries, complete: true }) };
        first = last.sequence + 1;
        for entry in page {
            bytes += entry.detail.len();
            if entries.len() >= entries_max || bytes > bytes_max {
                return Ok(Timeline { entries, complete: false });
            }
            entries.push(entry);
        }
    }
}

/// The single view, with the whole timeline.
fn json(whole: &Whole) -> serde_json::Result<String> {
    let mut fields: Fields = serde_json::from_str(&whole.document)?;
    fields.rename("alerts", "alert_counts");
    fields.push("alerts", RawValue::from_string(whole.alerts.clone())?);
    fields.push("timeline", to_raw_value(&whole.timeline.entries)?);
    fields.push("timeline_complete", to_raw_value(&whole.timeline.complete)?);
    fields.push("exported_at", to_raw_value(&whole.exported_at)?);
    serde_json::to_string(&fields)
}

#[cfg(test)]
mod tests;
