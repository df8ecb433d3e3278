//! The one port (`listener`), and the HTTP routes for people and dashboards: incidents, silences, metrics, health, reload.
//!
//! Stateless: everything comes in through [`ApiState`]. Handlers never wait for a shard's turn except for what only the
//! shards know, alerts and silences; reads of the store run on threads that may block. Who may call what is the listener's
//! matter.

mod alertmanager;
mod incidents;
mod listener;
mod merges;
mod operate;
mod problem;
mod problems;
mod reload;
mod rules;
mod silences;
mod sinks;

pub use alertmanager::{Listings, Routing, RoutingOf};
pub use listener::{Listener, check_bind, with_fallbacks};
pub use merges::Operators;
pub use problem::{Problem, echo};
pub use reload::Reloaded;
pub use sinks::Sinks;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::engine::incident::AlertDoc;
use crate::engine::unmatched::UnmatchedReport;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::metrics::Metrics;
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
    /// Tells the time.
    pub clock: Clock,
    /// When the daemon started.
    pub started_at: Timestamp,
}

/// The routes, ready to be merged into the listener's.
pub fn routes(state: ApiState) -> Router {
    Router::new()
        .route("/", get(operate::index))
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/incidents/{id}", get(incidents::show))
        .route("/api/v1/incidents/{id}/merge", post(merges::merge))
        .route("/api/v1/incidents/{id}/split", post(merges::split))
        .route("/api/v1/unions", get(merges::culprits))
        .route("/api/v1/rules/unmatched", get(rules::unmatched))
        .route("/api/v1/problems", get(problems::list))
        .route("/api/v1/problems/{id}", get(problems::show))
        .route("/api/v1/problems/{id}/close", post(problems::close))
        .route("/api/v1/silences", get(silences::list))
        .route("/api/v1/silences/{id}", get(silences::show))
        .route("/api/v1/sinks", get(sinks::list))
        .route("/api/v1/sinks/{name}/parked", get(sinks::parked))
        .route("/api/v1/sinks/{name}/retry", post(sinks::retry))
        .route("/metrics", get(operate::metrics))
        .route("/-/healthy", get(operate::healthy))
        .route("/-/ready", get(operate::ready))
        .route("/-/reload", post(reload::reload))
        .merge(alertmanager::routes())
        .method_not_allowed_fallback(problem::method_not_allowed)
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
