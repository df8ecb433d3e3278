//! The one port (`listener`), and the HTTP routes for people and dashboards: incidents, silences, metrics, health, reload.
//!
//! Stateless: everything comes in through [`ApiState`]. Handlers never wait for a shard's turn except for what only the
//! shards know, alerts and silences; reads of the store run on threads that may block. Who may call what is the listener's
//! matter.
//!
//! # Adding a route
//!
//! A route is registered together with what it promises, in the `api()` of its module; the router, the OpenAPI document
//! and the list at `/` all come from that:
//!
//! ```text
//! /// What a note is made of.                              the body; its doc comments are the document's
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct NoteBody { … }
//!
//! pub(super) fn api() -> Api<ApiState> {
//!     let note_is = orders::on_incident("addNote", "adds a note to its timeline").body::<NoteBody>();
//!     Api::new().post("/api/v1/incidents/{id}/notes", note, note_is)
//! }
//! ```
//!
//! 1. Read names of the path with `problem::Name`, bodies into a type that derives `JsonSchema`; answer with `Json` of
//!    such a type. Orders to an incident start from `orders::on_incident`, which has their path, answer and problems; all
//!    else from [`Operation::new`](crate::openapi::Operation::new) (id, tag of `document`, summary).
//! 2. Every other status that it can answer with is an `.answer::<T>(…)`, an `.empty(…)` or a `Failure` in `.fails(…)`;
//!    shared ones stand in `problem`.
//! 3. A new module's `api()` is merged in `api` below.
//!
//! `tests/it/openapi.rs` sends what the document says it may be sent, and more, and wants each answer to be promised.

mod alertmanager;
mod document;
mod export;
mod incidents;
mod listener;
mod merges;
mod operate;
mod orders;
mod problem;
mod problems;
mod reload;
mod report;
mod rules;
mod silences;
mod sinks;
mod stream;

pub use alertmanager::{Listings, Routing, RoutingOf};
pub use document::document;
pub use listener::{Listener, check_bind, with_fallbacks};
pub use orders::Operators;
pub use problem::{Problem, echo};
pub use reload::Reloaded;
pub use sinks::Sinks;
pub use stream::Streams;

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::{Extension, Router};
use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::engine::incident::AlertDoc;
use crate::engine::unmatched::UnmatchedReport;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::metrics::Metrics;
use crate::openapi::Api;
use crate::runtime::ReadModel;
use crate::store::Reads;

/// Asks the shards for at most so many alerts of an incident; also says how many there are. `None` where no shard
/// knows the incident any more.
pub type AlertsOf = Arc<dyn Fn(IncidentId, usize) -> BoxFuture<'static, Option<(Vec<AlertDoc>, u64)>> + Send + Sync>;

/// Whether events are taken at present; else the reason in words.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Loads the configuration anew: what changed, or the diagnostics of a file that was refused.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<Reloaded, Vec<String>>> + Send + Sync>;

/// Asks the shards what no rule wants, at most so many labels. `None` when the daemon stops.
pub type UnmatchedOf = Arc<dyn Fn(usize) -> BoxFuture<'static, Option<UnmatchedReport>> + Send + Sync>;

/// What the handlers work on. Cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    /// Incidents as of the last commit.
    pub read_model: Arc<ReadModel>,
    /// The store, for what the read model no longer holds.
    pub reads: Arc<dyn Reads>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The alerts of one incident.
    pub alerts: AlertsOf,
    /// Whether events are taken.
    pub ready: Readiness,
    /// Loads the configuration anew.
    pub reload: Reload,
    /// The way of operators into the shards.
    pub operators: Arc<dyn Operators>,
    /// What no rule wants.
    pub unmatched: UnmatchedOf,
    /// How the sinks fare.
    pub sinks: Arc<dyn Sinks>,
    /// The shards: what fires, what is silenced.
    pub router: crate::runtime::Router,
    /// Who is told what, by the configuration in force.
    pub routing: RoutingOf,
    /// Room for listings of alerts.
    pub listings: Listings,
    /// Room for streams.
    pub streams: Streams,
    /// Tells the time.
    pub clock: Clock,
    /// When the daemon started.
    pub started_at: Timestamp,
}

/// Text for people.
const TEXT: &str = "text/plain; charset=utf-8";

/// Every route but those for events.
fn api() -> Api<ApiState> {
    document::api()
        .merge(incidents::api())
        .merge(stream::api())
        .merge(orders::api())
        .merge(merges::api())
        .merge(export::api())
        .merge(problems::api())
        .merge(report::api())
        .merge(rules::api())
        .merge(silences::api())
        .merge(sinks::api())
        .merge(operate::api())
        .merge(reload::api())
        .merge(alertmanager::api())
}

/// The routes, ready to be merged into the listener's.
pub fn routes(state: ApiState) -> Router {
    api()
        .into_router()
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(Extension(document::Shown::new()))
        .layer(map_response(secured))
        .with_state(state)
}

/// Answers are data of this moment: not to be guessed at by a browser, not to be kept by a proxy.
async fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
