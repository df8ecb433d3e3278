//! `GET/POST /api/v2/silences` and `GET/DELETE /api/v2/silence/{id}`.
//!
//! A silence is an order to every shard: it is answered once it is durable everywhere. What Alertmanager refuses before it
//! looks at its silences is refused here in its words; what the engine refuses, in the engine's.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::filter::{SilenceFilters, Wanted};
use super::{ApiState, EitherForm, Fault, Millis, Refused, Said, code};
use crate::api::echo;
use crate::api::problem::Name;
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::suppress::silence::{SilenceDoc, SilenceDraft, SilenceId};
use crate::event::Timestamp;
use crate::openapi::{Api, Operation};
use crate::rules::{join_matcher, split_matcher};
use crate::runtime::{self, CommandError};

/// A silence as sent; beyond: 413. Dozens of matchers with hundreds of host names fit.
const BODY_BYTES_MAX: usize = 256 << 10;
/// How long its body may take to arrive; beyond: 408.
const BODY_MAX: Duration = Duration::from_secs(30);
/// Who ends a silence, where nobody says so.
const ANONYMOUS: &str = "api";

/// A silence as clients send it.
// What is missing is named by `draft`, as Alertmanager does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PostableSilence {
    /// The silence that it replaces.
    id: Option<String>,
    /// Why.
    #[schemars(required)]
    comment: Option<String>,
    /// Who makes it.
    #[schemars(required)]
    created_by: Option<String>,
    /// Until.
    #[schemars(required)]
    ends_at: Option<Timestamp>,
    /// An alert is muted where all of them hold.
    #[schemars(required, length(min = 1))]
    matchers: Option<Vec<PostableMatcher>>,
    /// From.
    #[schemars(required)]
    starts_at: Option<Timestamp>,
}

/// A matcher as clients send it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PostableMatcher {
    /// The label.
    #[schemars(required, length(min = 1))]
    name: Option<String>,
    /// Its value, or a regular expression over it.
    #[schemars(required)]
    value: Option<String>,
    /// Whether it is a regular expression.
    #[schemars(required)]
    is_regex: Option<bool>,
    /// False turns it round; default true.
    is_equal: Option<bool>,
}

/// A silence as Alertmanager shows it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GettableSilence<'a> {
    id: &'a str,
    status: Status<'a>,
    updated_at: Millis,
    comment: &'a str,
    created_by: &'a str,
    ends_at: Millis,
    matchers: Vec<Matcher>,
    starts_at: Millis,
}

/// Where a silence stands.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SilenceStatus")]
struct Status<'a> {
    /// `pending`, `active` or `expired`.
    state: &'a str,
}

/// A matcher of a silence.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Matcher {
    is_equal: bool,
    is_regex: bool,
    name: String,
    value: String,
}

/// The id of a silence that was made.
#[derive(Serialize, JsonSchema)]
struct Posted {
    #[serde(rename = "silenceID")]
    silence_id: String,
}

/// The routes.
pub(super) fn api() -> Api<ApiState> {
    const INVALID: &str = "the request is invalid as a whole";
    const DOWN: &str = "no commits are taken at present; try again";
    let list_is = Operation::new("getSilences", "alertmanager", "silences as Alertmanager has them")
        .query::<SilenceFilters>()
        .answer::<Vec<GettableSilence<'_>>>(200, "active ones first, by what comes next of each")
        .answer::<Said>(400, "a filter cannot be read")
        .answer::<Said>(500, "it failed on our side; the log says why")
        .answer::<Said>(503, "the daemon stops");
    let post_is = Operation::new("postSilence", "alertmanager", "makes a silence, or replaces the one that `id` names")
        .describe("At most 256 KiB, and 10,000 silences in force or to come.")
        .body::<PostableSilence>()
        .answer::<Posted>(200, "it is in force with every shard, and on disk")
        .answer::<EitherForm>(400, "the silence is not taken, or the body is no JSON")
        .answer::<Said>(404, "there is no silence of this id")
        .answer::<Refused>(408, "the body took longer than 30 s to arrive")
        .answer::<Refused>(413, "the body is longer than 256 KiB")
        .answer::<Refused>(415, "the media type is not application/json")
        .answer::<Refused>(422, INVALID)
        .answer::<Said>(503, DOWN);
    let show_is = Operation::new("getSilenceV2", "alertmanager", "one silence as Alertmanager has it")
        .path::<SilenceId>("id", "the silence")
        .answer::<GettableSilence<'_>>(200, "the silence")
        .answer::<Said>(404, "there is no such silence")
        .answer::<Refused>(422, INVALID)
        .answer::<Said>(500, "it failed on our side; the log says why")
        .answer::<Said>(503, "the daemon stops");
    let expire_is = Operation::new("deleteSilence", "alertmanager", "ends a silence now, if it has not ended")
        .path::<SilenceId>("id", "the silence")
        .empty(200, "it has ended with every shard, on disk")
        .answer::<Said>(400, "it cannot be ended")
        .answer::<Said>(404, "there is no such silence")
        .answer::<Refused>(422, INVALID)
        .answer::<Said>(503, DOWN);
    Api::new()
        .get("/api/v2/silences", list, list_is)
        .post("/api/v2/silences", post, post_is)
        .get("/api/v2/silence/{id}", show, show_is)
        .delete("/api/v2/silence/{id}", expire, expire_is)
}

/// `GET /api/v2/silences`: active ones first, by what comes next of each.
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Response, Fault> {
    let wanted = Wanted::of(&uri)?;
    let mut silences = merged(&state).await.map_err(|refused| Fault::refused(&refused))?;
    let parts = |texts: &[String]| texts.iter().filter_map(|text| split_matcher(text).ok()).collect::<Vec<_>>();
    let filters = parts(&wanted.texts);
    silences.retain(|silence| {
        let matchers = parts(&silence.matchers);
        let created = wanted.creators.is_empty() || wanted.creators.contains(&silence.created_by);
        created && filters.iter().all(|filter| matchers.contains(filter))
    });
    silences.sort_by_key(order);
    let shown = silences.iter().map(gettable).collect::<Result<Vec<_>, Fault>>()?;
    Ok(Json(shown).into_response())
}

/// Active silences by their end, pending ones by their start, expired ones with the last to end first.
fn order(silence: &SilenceDoc) -> (u8, i64) {
    match silence.state {
        "active" => (0, silence.ends_at.as_micros()),
        "pending" => (1, silence.starts_at.as_micros()),
        _ => (2, silence.ends_at.as_micros().saturating_neg()),
    }
}

/// `GET /api/v2/silence/{id}`.
pub(super) async fn show(State(state): State<ApiState>, Name(id): Name) -> Result<Response, Fault> {
    let id = named(&id)?.to_string();
    let silences = merged(&state).await.map_err(|refused| Fault::refused(&refused))?;
    let found = silences.iter().find(|silence| silence.id == id);
    Ok(Json(gettable(found.ok_or_else(unknown)?)?).into_response())
}

/// `DELETE /api/v2/silence/{id}`: ends it now, if it has not ended.
pub(super) async fn expire(State(state): State<ApiState>, Name(id): Name) -> Result<Response, Fault> {
    order_it(&state, ANONYMOUS, Command::Expire(named(&id)?)).await?;
    Ok(StatusCode::OK.into_response())
}

/// `POST /api/v2/silences`: makes one, or replaces the one that `id` names.
pub(super) async fn post(State(state): State<ApiState>, headers: HeaderMap, body: Body) -> Result<Response, Fault> {
    let silence = read(&headers, body).await?;
    let by = silence.created_by.clone().unwrap_or_default();
    let draft = silence.draft()?;
    if draft.starts_at >= draft.ends_at {
        return Err(Fault::bad("Failed to create silence: start time must be before end time"));
    }
    if draft.ends_at < state.clock.now() {
        return Err(Fault::bad("Failed to create silence: end time can't be in the past"));
    }
    match order_it(&state, &by, Command::Silence(draft)).await? {
        Done::Silence(silence) => Ok(Json(Posted { silence_id: silence.id }).into_response()),
        other => Err(Fault::internal("a silence was answered with something else", &format!("{other:?}"))),
    }
}

async fn order_it(state: &ApiState, by: &str, command: Command) -> Result<Done, Fault> {
    if (state.ready)().is_err() {
        return Err(Fault::refused(&runtime::Refused::StoreDown));
    }
    state.router.command(by, &command).await.map_err(|error| match error {
        CommandError::Refused(refused) => Fault::refused(&refused),
        CommandError::Refusal(Refusal::Unknown) => unknown(),
        CommandError::Refusal(refusal) => Fault::bad(refusal.to_string()),
    })
}

async fn read(headers: &HeaderMap, body: Body) -> Result<PostableSilence, Fault> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = format!("unsupported media type \"{}\", only [application/json] are allowed", echo(essence));
        return Err(Fault::unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let collected = tokio::time::timeout(BODY_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let slow = |_| Fault::unreadable(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
    let bytes = collected.map_err(slow)?.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Fault::unreadable(StatusCode::PAYLOAD_TOO_LARGE, "a silence is at most 256 KiB long"),
        None => Fault::unreadable(StatusCode::BAD_REQUEST, "the body ended early"),
    })?;
    let bytes = bytes.to_bytes();
    if bytes.is_empty() {
        return Err(Fault::invalid(code::REQUIRED, "silence in body is required"));
    }
    let unreadable = |error: serde_json::Error| format!("parsing silence body from \"\" failed, because {error}");
    serde_json::from_slice(&bytes).map_err(|error| Fault::unreadable(StatusCode::BAD_REQUEST, unreadable(error)))
}

impl PostableSilence {
    /// What the engine is told. The first thing that is missing is named, in Alertmanager's order.
    fn draft(self) -> Result<SilenceDraft, Fault> {
        let comment = self.comment.ok_or_else(|| required("comment"))?;
        self.created_by.ok_or_else(|| required("createdBy"))?;
        let ends_at = self.ends_at.ok_or_else(|| required("endsAt"))?;
        let matchers = self.matchers.ok_or_else(|| required("matchers"))?;
        if matchers.is_empty() {
            return Err(Fault::invalid(code::TOO_FEW, "matchers in body should have at least 1 items"));
        }
        let matchers = matchers.into_iter().enumerate().map(|(place, matcher)| matcher.text(place));
        let matchers = matchers.collect::<Result<_, Fault>>()?;
        let starts_at = self.starts_at.ok_or_else(|| required("startsAt"))?;
        // A name that cannot be ours is that of no silence.
        let id = self.id.filter(|id| !id.is_empty()).map(|id| named(&id).map_err(|_| unknown())).transpose()?;
        Ok(SilenceDraft { id, matchers, starts_at, ends_at, comment })
    }
}

impl PostableMatcher {
    fn text(self, place: usize) -> Result<String, Fault> {
        let missing = |field: &str| required(&format!("matchers.{place}.{field}"));
        let is_regex = self.is_regex.ok_or_else(|| missing("isRegex"))?;
        let name = self.name.ok_or_else(|| missing("name"))?;
        let value = self.value.ok_or_else(|| missing("value"))?;
        if name.is_empty() {
            let message = format!("silence invalid: invalid label matcher {place}: invalid label name \"\"");
            return Err(Fault::bad(message));
        }
        let operator = match (self.is_equal.unwrap_or(true), is_regex) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        };
        Ok(join_matcher(&name, operator, &value))
    }
}

fn required(field: &str) -> Fault {
    Fault::invalid(code::REQUIRED, format!("{field} in body is required"))
}

fn unknown() -> Fault {
    Fault::said(StatusCode::NOT_FOUND, "silence not found")
}

fn named(id: &str) -> Result<SilenceId, Fault> {
    let wrong = |_| format!("silenceID in path must be of type uuid: \"{}\"", echo(id));
    id.to_ascii_lowercase().parse().map_err(wrong).map_err(|message| Fault::invalid(code::INVALID_TYPE, message))
}

fn gettable(silence: &SilenceDoc) -> Result<GettableSilence<'_>, Fault> {
    let matcher = |text: &String| {
        let parts = split_matcher(text).map_err(|error| Fault::internal("a silence cannot be shown", &error))?;
        let (name, operator, value) = parts;
        Ok(Matcher { is_equal: operator.starts_with('='), is_regex: operator.ends_with('~'), name, value })
    };
    Ok(GettableSilence {
        id: &silence.id,
        status: Status { state: silence.state },
        updated_at: Millis(silence.updated_at),
        comment: &silence.comment,
        created_by: &silence.created_by,
        ends_at: Millis(silence.ends_at),
        matchers: silence.matchers.iter().map(matcher).collect::<Result<_, Fault>>()?,
        starts_at: Millis(silence.starts_at),
    })
}

/// Every silence once, newest first. Each shard knows all of them, and counts what it has muted itself.
pub(in crate::api) async fn merged(state: &ApiState) -> Result<Vec<SilenceDoc>, runtime::Refused> {
    let mut shards = state.router.look(|shard, now| shard.silences(now)).await?.into_iter();
    let mut all = shards.next().unwrap_or_default();
    for silence in shards.flatten() {
        match all.iter_mut().find(|known| known.id == silence.id) {
            Some(known) => {
                known.muting += silence.muting;
                known.muted_alerts += silence.muted_alerts;
                known.muted_events += silence.muted_events;
            }
            None => all.push(silence),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draft(json: &str) -> Result<SilenceDraft, Fault> {
        serde_json::from_str::<PostableSilence>(json).unwrap().draft()
    }

    const TIMES: &str = r#""startsAt":"2030-01-01T00:00:00Z","endsAt":"2030-01-01T02:00:00+01:00""#;

    #[test]
    fn matchers_become_texts_and_back() {
        let json = format!(
            r#"{{"matchers":[{{"name":"a","value":"x\"\\\n","isRegex":false}},
                {{"name":"b","value":"c|d","isRegex":true,"isEqual":false}}],{TIMES},"createdBy":"me","comment":""}}"#
        );
        let draft = draft(&json).unwrap();
        assert_eq!(draft.matchers, [r#"a="x\"\\\n""#, r#"b!~"c|d""#]);
        assert_eq!(draft.ends_at.since(draft.starts_at), Duration::from_secs(3_600));
        let silence = doc("active", 1, 2, &draft.matchers);
        let shown = serde_json::to_value(gettable(&silence).unwrap()).unwrap();
        assert_eq!(shown["matchers"][0]["value"], "x\"\\\n");
        assert_eq!(shown["matchers"][1], json!({"isEqual": false, "isRegex": true, "name": "b", "value": "c|d"}));
    }

    fn doc(state: &'static str, starts_at: i64, ends_at: i64, matchers: &[String]) -> SilenceDoc {
        SilenceDoc {
            id: SilenceId(7).to_string(),
            matchers: matchers.to_vec(),
            starts_at: Timestamp::from_micros(starts_at),
            ends_at: Timestamp::from_micros(ends_at),
            updated_at: Timestamp::EPOCH,
            created_by: "me".to_owned(),
            comment: String::new(),
            state,
            muting: 0,
            muted_alerts: 0,
            muted_events: 0,
            last_muted: Vec::new(),
        }
    }

    #[test]
    fn what_ends_or_begins_next_comes_first() {
        let sorted = [
            doc("active", 1, 8, &[]),
            doc("active", 2, 9, &[]),
            doc("pending", 20, 21, &[]),
            doc("pending", 22, 23, &[]),
            doc("expired", 0, 7, &[]),
            doc("expired", 0, 6, &[]),
        ];
        assert!(sorted.is_sorted_by_key(order));
    }

    #[test]
    fn what_is_missing_is_named_in_order() {
        let said = |json: &str| draft(json).unwrap_err().message;
        assert_eq!(said("{}"), "comment in body is required");
        assert_eq!(said(r#"{"comment":""}"#), "createdBy in body is required");
        assert_eq!(said(r#"{"comment":"","createdBy":""}"#), "endsAt in body is required");
        let body = |matchers: &str| format!(r#"{{"comment":"","createdBy":"",{TIMES},"matchers":{matchers}}}"#);
        assert_eq!(said(&body("[]")), "matchers in body should have at least 1 items");
        assert_eq!(said(&body(r#"[{"name":"a"}]"#)), "matchers.0.isRegex in body is required");
        assert_eq!(said(&body(r#"[{"isRegex":true,"name":"a"}]"#)), "matchers.0.value in body is required");
        assert!(draft(&body(r#"[{"isRegex":true,"name":"a","value":"b"}]"#)).is_ok());
        let with_id = body(r#"[{"isRegex":true,"name":"a","value":"b"}],"id":"zzz""#);
        assert_eq!(said(&with_id), "silence not found");
    }
}
