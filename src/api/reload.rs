//! `POST /-/reload`: an invalid file never replaces a valid one. The answer says what became of windows and incidents,
//! in a sentence, or rule by rule where JSON is asked for.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::{ApiState, Problem, TEXT};
use crate::engine::{ReloadReport, RuleReport};
use crate::openapi::{Api, Failure, Operation};

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Reloaded {
    /// Rules in force.
    pub rules: usize,
    /// What became of windows and incidents, rule by rule.
    pub windows: Vec<RuleReport>,
    /// Settings that differ and need a restart.
    pub restart_needed: Vec<&'static str>,
    /// Sources that could not be started.
    pub not_started: Vec<String>,
}

impl std::fmt::Display for Reloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total = ReloadReport { rules: self.windows.clone() }.total();
        let RuleReport { kept, migrated, dropped, retired, .. } = total;
        write!(f, "{} rules in force; windows kept {kept}, dropped {dropped}, ", self.rules)?;
        write!(f, "incidents that follow a changed rule {migrated}, that run on without their rule {retired}")?;
        if !self.restart_needed.is_empty() {
            write!(f, "; a restart is needed for: {}", self.restart_needed.join(", "))?;
        }
        self.not_started.iter().try_for_each(|problem| write!(f, "; could not be started: {problem}"))
    }
}

const REFUSED: Failure = Failure::new(
    400,
    &["invalid_configuration"],
    "the file is not valid, see `problems`; the one before stays in force",
);

/// The route.
pub(super) fn api() -> Api<ApiState> {
    let reload_is = Operation::new("reload", "daemon", "loads the configuration anew")
        .describe("JSON is given to who names `application/json` in `Accept`, a sentence to everybody else.")
        .answer_as::<String>(TEXT, 200, "what changed")
        .answer::<Reloaded>(200, "what changed")
        .fails(&[REFUSED]);
    Api::new().post("/-/reload", reload, reload_is)
}

/// `POST /-/reload`.
pub(super) async fn reload(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    match (state.reload)().await {
        Ok(done) if wants_json(&headers) => Json(done).into_response(),
        Ok(done) => format!("{done}\n").into_response(),
        Err(problems) => {
            let detail = "the configuration was not reloaded; see the problems";
            Problem::new(StatusCode::BAD_REQUEST, "invalid_configuration", detail)
                .with("problems", json!(problems))
                .into_response()
        }
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let kinds = accepted.flat_map(|value| value.split(','));
    kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim()).any(|kind| kind == "application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_given_to_who_names_it() {
        for (accept, json) in [("application/json", true), ("text/html, application/json;q=0.9", true), ("*/*", false)]
        {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a value"))]);
            assert_eq!(wants_json(&headers), json, "{accept}");
        }
        assert!(!wants_json(&HeaderMap::new()));
    }

    #[test]
    fn the_sentence_sums_up_the_rules() {
        let line = |rule: &str, kept, dropped| RuleReport { rule: rule.into(), kept, dropped, ..RuleReport::default() };
        let done = Reloaded { rules: 2, windows: vec![line("a", 1, 0), line("b", 2, 4)], ..Reloaded::default() };
        assert_eq!(
            Reloaded { restart_needed: vec!["listen"], not_started: vec!["x".to_owned()], ..done }.to_string(),
            "2 rules in force; windows kept 3, dropped 4, incidents that follow a changed rule 0, that run on without \
             their rule 0; a restart is needed for: listen; could not be started: x"
        );
    }
}
