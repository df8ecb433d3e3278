//! The HTTP side of the commands that talk to a daemon.
//!
//! Every failure becomes one line about its cause and one about its remedy.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::{Failure, ServerArgs};

/// A daemon that does not answer in this time is taken for gone.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A stream says something every 15 s; one that has not for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const USER_AGENT: &str = concat!("incidentd/", env!("CARGO_PKG_VERSION"));

/// What came of an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It was carried out; the body of the answer.
    Done(String),
    /// There is no such thing; the problem.
    Missing(Value),
    /// It was not carried out; the problem.
    Refused(Value),
}

/// Reads from a daemon.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    base: Url,
    token: Option<String>,
}

impl Client {
    /// A client of the daemon that the arguments name.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(server: &ServerArgs) -> Result<Self, Failure> {
        let base =
            Url::parse(&server.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let usage =
            || Failure::usage(format!("\"{}\" is no URL", server.url)).remedy("write it as http://127.0.0.1:9095");
        // An error says that a provider was chosen before, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(TIMEOUT).user_agent(USER_AGENT);
        let http = http.build().map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
        Ok(Self { http, url: server.url.clone(), base: base.ok_or_else(usage)?, token: server.token.clone() })
    }

    /// Reads a path below the URL. The body, or `None` where there is no such thing.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Option<String>, Failure> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.call(self.http.get(url)).await
    }

    /// Posts nothing to a path below the URL. The answer's body, or `None` where there is no such thing.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn post(&self, path: &[&str]) -> Result<Option<String>, Failure> {
        self.call(self.http.post(self.at(path))).await
    }

    /// Posts a JSON document to a path below the URL. The answer's body, or `None` where there is no such thing.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn send(&self, path: &[&str], document: &Value) -> Result<Option<String>, Failure> {
        self.call(self.http.post(self.at(path)).json(document)).await
    }

    /// Posts an order to a path below the URL. A refusal comes back with its reasons, for who knows what was ordered.
    ///
    /// # Errors
    /// When the daemon cannot be reached, does not let this caller in, or fails.
    pub async fn order(&self, path: &[&str], document: &Value) -> Result<Reply, Failure> {
        let (status, body) = self.exchange(self.http.post(self.at(path)).json(document)).await?;
        let problem = || serde_json::from_str(&body).unwrap_or_default();
        match status {
            status if status.is_success() => Ok(Reply::Done(body)),
            StatusCode::NOT_FOUND => Ok(Reply::Missing(problem())),
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Ok(Reply::Refused(problem())),
            status => Err(self.refused(status, &body)),
        }
    }

    /// Deletes what is at a path below the URL. The answer's body, or `None` where there is no such thing.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn delete(&self, path: &[&str]) -> Result<Option<String>, Failure> {
        self.call(self.http.delete(self.at(path))).await
    }

    /// Reads a path below the URL whose answer goes on for as long as both sides like. `last` is the id of the event that
    /// was read last.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub async fn follow(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        last: Option<&str>,
    ) -> Result<reqwest::Response, Failure> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        // Of its own, because the other one gives up after a time however much has come.
        let http = reqwest::Client::builder().connect_timeout(TIMEOUT).read_timeout(SILENCE_MAX).user_agent(USER_AGENT);
        let http = http.build().map_err(|error| Failure::failed(format!("no HTTP client: {error}")))?;
        let mut request = http.get(url).header("accept", "text/event-stream");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(self.refused(status, &response.text().await.unwrap_or_default())),
        }
    }

    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn exchange(&self, mut request: reqwest::RequestBuilder) -> Result<(StatusCode, String), Failure> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.text().await.map_err(|error| self.unreachable(&error))?;
        Ok((status, body))
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Result<Option<String>, Failure> {
        let (status, body) = self.exchange(request).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(body)),
            status => Err(self.refused(status, &body)),
        }
    }

    /// What could not be understood of an answer.
    pub fn unclear(&self, error: &dyn std::fmt::Display) -> Failure {
        let cause = format!("{} answers with something else than incidents: {error}", self.url);
        Failure::failed(cause).remedy("check that --url names an incidentd of this version")
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut deepest: &dyn std::error::Error = error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        Failure::failed(format!("cannot reach {}: {deepest}", self.url))
            .remedy("start the daemon with `incidentd run`, or name another one with --url")
    }

    fn refused(&self, status: StatusCode, body: &str) -> Failure {
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        // A problem of ours, or one of the two forms of Alertmanager's API.
        let said = problem["detail"].as_str().or(problem["title"].as_str()).or(problem["message"].as_str());
        let said = said.or(problem.as_str()).map_or_else(|| status.to_string(), str::to_owned);
        let failure = Failure::failed(format!("{} refused: {said}", self.url));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                failure.remedy("give a token of the scope that it asks for (`read` to look, `operate` to order) with --token or INCIDENTD_TOKEN")
            }
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => failure,
            _ => failure.remedy("look at the daemon's log, or try again later"),
        }
    }
}
