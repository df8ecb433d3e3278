//! What operators order about one incident: `POST /api/v1/incidents/{id}/acknowledge` and its fifteen like.
//!
//! Every order becomes a [`Command::Operate`], is carried out by the shard that has the incident, and is answered with the
//! incident as it then is. A refusal says what would be legal, or what still fires; nothing has changed then.

mod bodies;
mod passing;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::post;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

pub use passing::Operators;
pub(super) use passing::{Known, Sent as Body, known, pass, problem, read};

use super::incidents::ALERTS_MAX;
use super::{ApiState, Problem};
use crate::engine::command::{Command, Refusal};
use crate::engine::desk::Order;
use crate::engine::incident::AlertDoc;
use crate::engine::moves::Move;
use crate::event::Severity;
use bodies::{
    AssignBody, CloseBody, LinkBody, NoteBody, PlainBody, PriorityBody, ReasonBody, ResolveBody, Sent, UnlinkBody,
};

/// Alerts that a refused resolve names; the rest can be looked up.
const FIRING_MAX: usize = 100;

/// The routes: path, body, order. Each answers 200 with the incident as it then is, 400 (`invalid_body`,
/// `invalid_command`), 404 (`unknown_incident`), 409 (`version_conflict`, `illegal_transition`, `limit_reached`), 413 or 503.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/incidents/{id}/acknowledge", post(on(PlainBody::acknowledge)))
        .route("/api/v1/incidents/{id}/start", post(on(PlainBody::start)))
        .route("/api/v1/incidents/{id}/hold", post(on(ReasonBody::hold)))
        .route("/api/v1/incidents/{id}/resume", post(on(PlainBody::resume)))
        .route("/api/v1/incidents/{id}/resolve", post(on(ResolveBody::resolve)))
        .route("/api/v1/incidents/{id}/close", post(on(CloseBody::close)))
        .route("/api/v1/incidents/{id}/reopen", post(on(ReasonBody::reopen)))
        .route("/api/v1/incidents/{id}/assign", post(on(AssignBody::assign)))
        .route("/api/v1/incidents/{id}/accept", post(on(PlainBody::accept)))
        .route("/api/v1/incidents/{id}/notes", post(on(NoteBody::note)))
        .route("/api/v1/incidents/{id}/links", post(on(LinkBody::link)).delete(on(UnlinkBody::unlink)))
        .route("/api/v1/incidents/{id}/unlink", post(on(UnlinkBody::unlink)))
        .route("/api/v1/incidents/{id}/escalate", post(on(ReasonBody::escalate)))
        .route("/api/v1/incidents/{id}/major", post(on(ReasonBody::major)))
        .route("/api/v1/incidents/{id}/stand-down", post(on(ReasonBody::stand_down)))
        .route("/api/v1/incidents/{id}/priority", post(on(PriorityBody::reprioritise)))
}

type Answer = BoxFuture<'static, Result<Response, Problem>>;

/// A handler that reads a body of one kind and hands in the order that it stands for.
fn on<B>(order: fn(B) -> Sent) -> impl Fn(State<ApiState>, Path<String>, Body) -> Answer + Clone + Send + Sync
where
    B: DeserializeOwned + JsonSchema + 'static,
{
    move |State(state), Path(name), body| {
        async move {
            let sent = order(read(body)?);
            operate(state, name, sent).await
        }
        .boxed()
    }
}

async fn operate(state: ApiState, name: String, sent: Sent) -> Result<Response, Problem> {
    let Sent { order, version, by } = sent;
    let Known { id: incident, .. } = known(&state, &name).await?;
    let command = Command::Operate { incident, version, order: order.clone() };
    let refusal = match pass(&state, by, command).await? {
        Ok(answer) => return Ok(answer),
        Err(refusal) => refusal,
    };
    // As it is by now: somebody else may have moved it meanwhile, and what is durable was applied before.
    let named = known(&state, &name).await?;
    let leads_on = named.status.after(Move::Resolve).is_some();
    let held_open = matches!((&order, &refusal), (Order::Resolve { force: false, .. }, Refusal::Illegal(_)));
    let problem = problem(refusal, &[named], "no shard has it at present");
    if !(held_open && leads_on) {
        return Err(problem);
    }
    let alerts = (state.alerts)(incident, ALERTS_MAX).await.unwrap_or_default().0;
    Err(problem.with("firing", json!(firing(alerts))))
}

/// An alert that keeps an incident from being resolved.
#[derive(Serialize, JsonSchema)]
struct Firing {
    /// Alertmanager's fingerprint over the labels, 16 hex digits.
    fingerprint: String,
    /// How bad.
    severity: Severity,
    /// One line for people.
    summary: String,
    /// Identity and correlation.
    labels: std::collections::BTreeMap<String, String>,
}

fn firing(alerts: Vec<AlertDoc>) -> Vec<Firing> {
    let fires = |alert: &AlertDoc| alert.state == "firing" && !alert.cleared;
    let named = alerts.into_iter().filter(fires).take(FIRING_MAX);
    named
        .map(|AlertDoc { fingerprint, severity, summary, labels, .. }| Firing {
            fingerprint,
            severity,
            summary,
            labels,
        })
        .collect()
}
