//! `GET /api/v1/incidents/stream`: incidents as they change, as server-sent events.
//!
//! Reads the feed of the read model at its own pace: who reads slowly falls behind in the ring, is told so by a `reset`,
//! and is never waited for. At most [`STREAMS_MAX`] at a time; more get 429. Streams end when the daemon stops, and do not
//! hold up its drain.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use schemars::JsonSchema;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::incidents::{Choice, filters};
use super::problem::BAD_QUERY;
use super::{ApiState, Problem};
use crate::openapi::{Api, Failure, Operation};
use crate::runtime::feed::{Reader, Step};
use crate::runtime::read_model::matches;
use crate::store::IncidentQuery;

/// Streams at a time. A guess: every desk of a large operations room, twice over; each holds a connection and some KiB.
const STREAMS_MAX: usize = 256;
/// How often a line is sent when nothing happens, so that both sides notice a connection that is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client should wait before it comes back.
const COME_BACK: Duration = Duration::from_secs(2);
/// What a client that comes back has read last.
const LAST_EVENT_ID: &str = "last-event-id";

/// Room for streams, and word of the end.
#[derive(Clone, Debug)]
pub struct Streams {
    room: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Streams {
    /// Streams that end with this token.
    pub fn new(stopping: CancellationToken) -> Self {
        Self { room: Arc::new(Semaphore::new(STREAMS_MAX)), stopping }
    }
}

const FULL: Failure = Failure::new(429, &["too_many_streams"], "256 streams are open");

/// The route.
pub(super) fn api() -> Api<ApiState> {
    let stream_is = Operation::new("streamIncidents", "incidents", "incidents as they change, as server-sent events")
        .describe(
            "Connect first, then list: whatever is not in the listing comes here. `event: incident` has an incident as in \
             listings as its `data`, each time that it changes. Filters look at what it has become, so that one which has \
             left a `status` is not told of: a view of open incidents asks for all. Numbers that move with every event (`events`, `alerts`) \
             are those of the last change. `event: reset` says that changes were missed (after a restart, after 1,024 \
             changes that were not read): list again. `id` is a number that rises; a client that comes back with it in \
             `Last-Event-ID` goes on where it was. Every 15 s without an event a comment is sent.",
        )
        .query::<Choice>()
        .header::<String>("Last-Event-ID", "the `id` of the event that was read last")
        .answer_as::<EventStream>("text/event-stream", 200, "events, until either side ends it")
        .fails(&[BAD_QUERY, FULL]);
    Api::new().get("/api/v1/incidents/stream", follow, stream_is)
}

/// Frames of `text/event-stream`; the `data` of an `incident` is an incident.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "only its schema is used")]
struct EventStream(String);

struct Following {
    reader: Reader,
    filters: IncidentQuery,
    stopping: CancellationToken,
    /// Where it starts is said once, so that a client which sees no event can come back, too.
    greeted: bool,
    _room: OwnedSemaphorePermit,
}

async fn follow(State(state): State<ApiState>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let filters = filters(&uri)?;
    let Streams { room, stopping } = state.streams;
    let full = |_| {
        let detail = format!("{STREAMS_MAX} streams are open; close some, or try again later");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, FULL.codes[0], detail)
    };
    let room = room.try_acquire_owned().map_err(full)?;
    // What is no number of ours was never given: something was missed.
    let after = headers.get(LAST_EVENT_ID).map(|id| id.to_str().ok().and_then(|id| id.parse().ok()).unwrap_or(0));
    let reader = state.read_model.feed().reader(after);
    let following = Following { reader, filters, stopping, greeted: false, _room: room };
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((event, following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

impl Following {
    async fn next(&mut self) -> Option<Result<Event, std::convert::Infallible>> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(Ok(Event::default().id(self.reader.read().to_string()).retry(COME_BACK)));
        }
        loop {
            let step = self.stopping.run_until_cancelled(self.reader.next()).await?;
            match step {
                Step::Lost(number) => {
                    return Some(Ok(Event::default().event("reset").id(number.to_string()).data("{}")));
                }
                Step::Changed(change) if matches(&self.filters, &change.doc) => {
                    let id = change.number.to_string();
                    return Some(Ok(Event::default().event("incident").id(id).data(change.json())));
                }
                Step::Changed(_) => {}
            }
        }
    }
}
