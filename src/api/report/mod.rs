//! `GET /api/v1/report`: how incidents went over a time, from the documents that the store has of them.
//!
//! Reads the store page by page on a thread that may block, newest first, so that memory does not grow with documents.
//! At most [`INCIDENTS_MAX`] incidents are looked at; beyond, the report says so and covers the newest.

mod figures;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::INTERNAL;
use super::{ApiState, Problem};
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::openapi::{Api, Failure, Operation};
use crate::store::{IncidentQuery, Reads, StoreError};
use figures::{Figures, Tally};

/// Incidents in one report: about a second of reading, and 10 MiB.
const INCIDENTS_MAX: usize = 100_000;
/// Documents read at once: about 1 MiB.
const PAGE: usize = 500;

const FROM: &str = "-30d";
const TO: &str = "now";

/// What a report is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportQuery {
    /// RFC 3339, or so long ago, such as `-7d`; incidents that opened from then on. Default `-30d`.
    from: Option<String>,
    /// The same, or `now`; incidents that opened before then. Default `now`.
    to: Option<String>,
}

/// The route.
pub(super) fn api() -> Api<ApiState> {
    let report_is = Operation::new("report", "incidents", "how incidents went over a time")
        .query::<ReportQuery>()
        .answer::<Report>(200, "the figures of the newest 100,000 incidents that opened in that time")
        .fails(&[
            Failure::new(400, &["invalid_query", "invalid_parameter"], "the query cannot be understood"),
            INTERNAL,
        ]);
    Api::new().get("/api/v1/report", report, report_is)
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
struct Report {
    /// Incidents that opened from then on …
    from: Timestamp,
    /// … until before then.
    to: Timestamp,
    /// When it was made.
    generated_at: Timestamp,
    /// There are more than can be looked at: the report begins where `from` says, later than asked.
    truncated: bool,
    #[serde(flatten)]
    figures: Figures,
}

/// `GET /api/v1/report?from=&to=`: incidents that opened in between; the last 30 days where nothing is asked.
pub(super) async fn report(
    State(state): State<ApiState>,
    query: Result<Query<ReportQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let invalid = |wrong: QueryRejection| Problem::new(StatusCode::BAD_REQUEST, "invalid_query", wrong.body_text());
    let Query(ReportQuery { from, to }) = query.map_err(invalid)?;
    let now = state.clock.now();
    let instant = |name: &str, text: Option<String>, default: &str| {
        let text = text.filter(|text| !text.is_empty());
        let parsed = Timestamp::parse_or_before(text.as_deref().unwrap_or(default), now);
        parsed.map_err(|wrong| Problem::parameter(name, format!("\"{name}\": {wrong}")))
    };
    let (from, to) = (instant("from", from, FROM)?, instant("to", to, TO)?);
    if from >= to {
        return Err(Problem::parameter("from", "\"from\" must be before \"to\""));
    }
    let read = tokio::task::spawn_blocking(move || gather(&*state.reads, (from, to), now, INCIDENTS_MAX)).await;
    let report = read.map_err(|error| Problem::internal("the report broke off", &error))?;
    let report = report.map_err(|error| Problem::internal("the store could not be read", &error))?;
    Ok(Json(report).into_response())
}

fn gather(
    reads: &dyn Reads,
    (mut from, to): (Timestamp, Timestamp),
    now: Timestamp,
    max: usize,
) -> Result<Report, StoreError> {
    let (mut tally, mut left) = (Tally::default(), max);
    let mut after = (to, IncidentId(0));
    let mut truncated = false;
    'pages: loop {
        let query = IncidentQuery { after: Some(after), limit: PAGE, ..IncidentQuery::default() };
        let page = reads.incidents(&query)?;
        let ends = page.len() < PAGE;
        for (opened_at, id, doc) in page {
            if opened_at < from {
                break 'pages;
            }
            if left == 0 {
                (truncated, from) = (true, after.0);
                break 'pages;
            }
            let facts = serde_json::from_str(&doc)
                .map_err(|error| StoreError::Damaged { what: format!("incident {id}"), detail: error.to_string() })?;
            tally.add(now, facts);
            (after, left) = ((opened_at, id), left - 1);
        }
        if ends {
            break;
        }
    }
    Ok(Report { from, to, generated_at: now, truncated, figures: tally.figures() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::engine::incident::IncidentDoc;
    use crate::store::{Commit, MemoryStore, Store};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn report(opened: impl Iterator<Item = u64>, from: u64, to: u64, max: usize) -> Report {
        let mut store = MemoryStore::new();
        let incidents = opened.map(|seconds| Arc::new(IncidentDoc::blank(IncidentId(seconds + 1), at(seconds))));
        store.commit(&Commit { incidents: incidents.collect(), ..Commit::default() }).expect("stored");
        gather(&*store.reads(), (at(from), at(to)), at(to), max).expect("a report")
    }

    fn count(report: &Report) -> u64 {
        serde_json::to_value(report).expect("JSON")["all"]["incidents"].as_u64().expect("a number")
    }

    #[test]
    fn incidents_count_that_opened_from_the_first_instant_until_before_the_last_over_many_pages() {
        let found = report(0..2_000, 100, 1_900, INCIDENTS_MAX);
        assert_eq!((count(&found), found.truncated, found.from), (1_800, false, at(100)));
        assert_eq!(count(&report(0..500, 0, 500, INCIDENTS_MAX)), 500);
        assert_eq!(count(&report(0..0, 0, 500, INCIDENTS_MAX)), 0);
    }

    #[test]
    fn what_is_beyond_the_most_is_left_out_and_the_report_says_so() {
        let found = report(0..2_000, 0, 2_000, 700);
        assert_eq!((count(&found), found.truncated, found.from), (700, true, at(1_300)));
        assert!(!report(0..700, 0, 2_000, 700).truncated);
    }
}
