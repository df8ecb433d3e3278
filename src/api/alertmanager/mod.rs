//! Alertmanager's API v2, so that `amtool` and dashboards made for Alertmanager work unchanged.
//!
//! Paths, parameters, fields, status codes and the form of errors are Alertmanager's (0.25 and later);
//! `docs/alertmanager.md` lists what differs. What fires is looked at on the shards' own tasks and turned into JSON here,
//! at most [`LISTINGS_MAX`] such answers at a time. `POST /api/v2/alerts` is a door for events and belongs to `ingest`.

mod alerts;
mod filter;
mod silences;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) use silences::merged;

use super::ApiState;
use crate::event::Timestamp;
use crate::openapi::Api;
use crate::runtime;

/// Listings of alerts, and exports, that are built or sent at a time: a listing holds about 2 KiB per alert that fires while it is built, and
/// 0.7 KiB until it is sent. Further ones wait [`LISTING_PATIENCE`], then get 503.
const LISTINGS_MAX: usize = 4;
const LISTING_PATIENCE: Duration = Duration::from_secs(10);

/// What the configuration in force says of who is told what.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    /// The sinks, in the order of the configuration.
    pub receivers: Vec<Arc<str>>,
    /// The sinks that each rule tells.
    pub notify: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

/// Asks for the routing in force.
pub type RoutingOf = Arc<dyn Fn() -> BoxFuture<'static, Routing> + Send + Sync>;

/// Room for listings of alerts.
#[derive(Clone, Debug)]
pub struct Listings(Arc<Semaphore>);

impl Default for Listings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LISTINGS_MAX)))
    }
}

impl Listings {
    async fn enter(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let full = || Fault::said(StatusCode::SERVICE_UNAVAILABLE, "too many listings of alerts at a time, try again");
        self.room().await.ok_or_else(full)
    }

    /// Room for one more answer of some size, or none in time.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        let entered = tokio::time::timeout(LISTING_PATIENCE, self.0.clone().acquire_owned()).await;
        entered.ok().and_then(Result::ok)
    }
}

/// The routes below `/api/v2`.
pub(super) fn api() -> Api<ApiState> {
    alerts::api().merge(silences::api()).merge(status::api())
}

/// An error in one of Alertmanager's two forms: of its handlers, the message as a JSON string; of the validation of
/// requests before them, an object with a code of its own.
#[derive(Clone, Debug, PartialEq)]
struct Fault {
    status: StatusCode,
    /// Of the second form.
    code: Option<u16>,
    message: String,
}

/// The first form: the message.
type Said = String;

/// The second form: a request that is refused before it is looked at.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RequestRefused")]
struct Refused {
    /// The status, or what go-openapi calls the fault: 601 a wrong type, 602 missing, 612 too few.
    code: u16,
    /// What is wrong.
    message: String,
}

/// Either form.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "AlertmanagerError")]
#[expect(dead_code, reason = "only its schema is used, where a status comes in both forms")]
enum EitherForm {
    Said(Said),
    Refused(Refused),
}

/// Codes of invalid requests, as go-openapi numbers them.
mod code {
    pub(super) const INVALID_TYPE: u16 = 601;
    pub(super) const REQUIRED: u16 = 602;
    pub(super) const TOO_FEW: u16 = 612;
}

impl Fault {
    fn said(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into() }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::said(StatusCode::BAD_REQUEST, message)
    }

    fn invalid(code: u16, message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: Some(code), message: message.into() }
    }

    /// A request that is refused as a whole, its code being the status.
    fn unreadable(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: Some(status.as_u16()), message: message.into() }
    }

    fn refused(refused: &runtime::Refused) -> Self {
        Self::said(StatusCode::SERVICE_UNAVAILABLE, refused.to_string())
    }

    fn internal(what: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "{what}");
        Self::said(StatusCode::INTERNAL_SERVER_ERROR, what)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = match self.code {
            Some(code) => json!(Refused { code, message: self.message }),
            None => json!(self.message),
        };
        (self.status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A name in an object of its own, as Alertmanager writes receivers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "Receiver")]
struct Named<'a> {
    name: &'a str,
}

/// An instant with milliseconds, always three digits of them.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
#[schemars(with = "Timestamp", inline)]
struct Millis(Timestamp);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::from_millisecond(self.0.as_micros().div_euclid(1_000)) {
            Ok(at) => serializer.collect_str(&format_args!("{at:.3}")),
            Err(_) => serializer.collect_str(&self.0),
        }
    }
}
