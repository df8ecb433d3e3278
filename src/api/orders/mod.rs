//! What operators order about one incident: `POST /api/v1/incidents/{id}/acknowledge` and its fifteen like.
//!
//! Every order becomes a [`Command::Operate`], is carried out by the shard that has the incident, and is answered with the
//! incident as it then is. A refusal says what would be legal, or what still fires; nothing has changed then.

mod bodies;
mod passing;
#[cfg(test)]
mod tests;
mod unreadable;

use axum::extract::State;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

pub use passing::Operators;
pub(super) use passing::{Known, Sent as Body, known, operator, pass, problem, read};

use super::incidents::ALERTS_MAX;
use super::problem::{INTERNAL, Name, UNKNOWN_INCIDENT};
use super::{ApiState, Problem};
use crate::engine::command::{Command, Refusal};
use crate::engine::desk::Order;
use crate::engine::incident::{AlertDoc, IncidentDoc};
use crate::engine::moves::Move;
use crate::event::Severity;
use crate::identity::IncidentId;
use crate::openapi::{Api, Failure, Operation};
use bodies::{
    AssignBody, CloseBody, LinkBody, NoteBody, PlainBody, PriorityBody, ReasonBody, ResolveBody, Sent, UnlinkBody,
};

/// Alerts that a refused resolve names; the rest can be looked up.
const FIRING_MAX: usize = 100;

/// Ways in which an order to an incident can fail.
const NOT_DONE: [Failure; 6] = [
    Failure::new(400, &["invalid_body", "invalid_command"], "the body cannot be read, or asks for what makes no sense"),
    UNKNOWN_INCIDENT,
    Failure::new(
        409,
        &["version_conflict", "illegal_transition", "limit_reached"],
        "another `version` (`current`), or a move that the incident's state does not allow: `legal` ones are named, and \
         what still fires (`firing`)",
    ),
    Failure::new(413, &["invalid_body"], "the body is longer than 2 MiB"),
    INTERNAL,
    Failure::new(503, &["E_STORE_DOWN", "E_STOPPING"], "no commits are taken at present; it may have been done or not"),
];

/// An order to the incident `{id}`, answered with the incident as it then is, once that is durable.
pub(super) fn on_incident(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, "incidents", summary)
        .path::<IncidentId>("id", "the incident")
        .answer::<IncidentDoc>(200, "the incident as it then is, on disk")
        .fails(&NOT_DONE)
}

/// The routes: path, body, order.
pub(super) fn api() -> Api<ApiState> {
    let plain = |id, summary| on_incident(id, summary).body::<PlainBody>().body_optional();
    let reason = |id, summary| on_incident(id, summary).body::<ReasonBody>();
    let resolve = on_incident("resolveIncident", "it is over").body::<ResolveBody>().body_optional();
    let close = on_incident("closeIncident", "it is final").body::<CloseBody>().body_optional();
    let assign = on_incident("assignIncident", "gives it to a team or supplier").body::<AssignBody>();
    let note = on_incident("noteOnIncident", "writes a note, or tells an audience").body::<NoteBody>();
    let link = on_incident("linkIncident", "links it to something").body::<LinkBody>();
    let unlink = |id| on_incident(id, "takes a link off").body::<UnlinkBody>();
    let priority = on_incident("prioritiseIncident", "sets its priority by hand").body::<PriorityBody>();
    Api::new()
        .post(
            "/api/v1/incidents/{id}/acknowledge",
            on(PlainBody::acknowledge),
            plain("acknowledgeIncident", "takes it"),
        )
        .post("/api/v1/incidents/{id}/start", on(PlainBody::start), plain("startIncident", "begins to work on it"))
        .post(
            "/api/v1/incidents/{id}/hold",
            on(ReasonBody::hold),
            reason("holdIncident", "lets work wait for something outside"),
        )
        .post("/api/v1/incidents/{id}/resume", on(PlainBody::resume), plain("resumeIncident", "goes on with it"))
        .post("/api/v1/incidents/{id}/resolve", on(ResolveBody::resolve), resolve)
        .post("/api/v1/incidents/{id}/close", on(CloseBody::close), close)
        .post(
            "/api/v1/incidents/{id}/reopen",
            on(ReasonBody::reopen),
            reason("reopenIncident", "it is not over after all"),
        )
        .post("/api/v1/incidents/{id}/assign", on(AssignBody::assign), assign)
        .post(
            "/api/v1/incidents/{id}/accept",
            on(PlainBody::accept),
            plain("acceptIncident", "the assignee takes it on"),
        )
        .post("/api/v1/incidents/{id}/notes", on(NoteBody::note), note)
        .post("/api/v1/incidents/{id}/links", on(LinkBody::link), link)
        .delete("/api/v1/incidents/{id}/links", on(UnlinkBody::unlink), unlink("deleteLinkOfIncident"))
        .post("/api/v1/incidents/{id}/unlink", on(UnlinkBody::unlink), unlink("unlinkIncident"))
        .post(
            "/api/v1/incidents/{id}/escalate",
            on(ReasonBody::escalate),
            reason("escalateIncident", "takes its next step now"),
        )
        .post(
            "/api/v1/incidents/{id}/major",
            on(ReasonBody::major),
            reason("declareMajorIncident", "declares it a major incident"),
        )
        .post(
            "/api/v1/incidents/{id}/stand-down",
            on(ReasonBody::stand_down),
            reason("standDownIncident", "it is major no more"),
        )
        .post("/api/v1/incidents/{id}/priority", on(PriorityBody::reprioritise), priority)
}

type Answer = BoxFuture<'static, Result<Response, Problem>>;

/// A handler that reads a body of one kind and hands in the order that it stands for.
fn on<B>(order: fn(B) -> Sent) -> impl Fn(State<ApiState>, Name, Body) -> Answer + Clone + Send + Sync
where
    B: DeserializeOwned + JsonSchema + 'static,
{
    move |State(state), Name(name), body| {
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
