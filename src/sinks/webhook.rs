//! The `webhook` sink: posts each delivery to a URL as the Standard Webhooks specification says.
//!
//! The body is the delivery's bytes, the same on every retry. `webhook-timestamp` is the time of the attempt, not of
//! the decision: the specification has receivers refuse old timestamps, and a delivery may be hours old when a sink
//! comes back. Redirects are not followed, proxies not used, and only addresses that `network` lets pass are
//! connected to. Neither the URL's path nor a header's value is ever printed.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::error::printable;
use super::network::{Cidr, GuardedResolver, Refused, check_literal};
use super::signature::{Keys, SecretFile};
use super::{Problem, Sink, SinkError, Ticket};
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::event::Timestamp;

/// Settings of a `webhook` sink.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to post: `https://…`, or `http://…` where the way is trusted. Credentials belong into `headers`.
    #[serde(serialize_with = "redacted_url")]
    pub url: String,
    /// A file with the secret that signs: `whsec_<base64>` or plain text, one per line; with several, each signs.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Private, loopback and other special networks that may be connected to. Default: none.
    #[serde(default)]
    pub allow_networks: Vec<Cidr>,
    /// The time for one attempt, connecting included, at most 2m. Default 15s.
    #[serde(default = "timeout_by_default", with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Further headers, such as `Authorization`.
    #[serde(default, serialize_with = "redacted_values")]
    pub headers: BTreeMap<String, String>,
}

const TIMEOUT_MAX: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of a receiver's answer, for the error's text.
const ANSWER_BYTES_MAX: usize = 1 << 10;
/// Of an answer that may name a ticket; a longer one names none.
const TICKET_ANSWER_BYTES_MAX: usize = 64 << 10;
const TICKET_NAME_BYTES_MAX: usize = 256;
const TICKET_URL_BYTES_MAX: usize = 2 << 10;
const USER_AGENT: &str = concat!("incidentd/", env!("CARGO_PKG_VERSION"));
/// Set by us; `headers` may not say otherwise.
const OWN_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

fn timeout_by_default() -> Duration {
    Duration::from_secs(15)
}

/// Scheme and host: what may be shown of a URL.
fn shown(url: &str) -> String {
    let host = |url: Url| url.host_str().map(|host| format!("{}://{host}/…", url.scheme()));
    Url::parse(url).ok().and_then(host).unwrap_or_else(|| "(not a URL)".to_owned())
}

fn redacted_url<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&shown(url))
}

fn redacted_values<S: Serializer>(headers: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(headers.keys().map(|name| (name, "(hidden)")))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &shown(&self.url))
            .field("secret_file", &self.secret_file)
            .field("allow_networks", &self.allow_networks)
            .field("timeout", &self.timeout)
            .field("headers", &self.headers.keys())
            .finish()
    }
}

impl Config {
    /// What would keep it from working.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: &str, message: String| problems.push((path.to_owned(), message));
        if let Err(message) = self.checked_url() {
            problem("url", format!("E_SSRF: {message}"));
        }
        if let Some(Err(message)) = self.secret_file.as_deref().map(Keys::read) {
            problem("secret_file", message);
        }
        if self.timeout.is_zero() || self.timeout > TIMEOUT_MAX {
            problem("timeout", "more than 0s and at most 2m".to_owned());
        }
        for (name, value) in &self.headers {
            if let Err(message) = header(name, value) {
                problem(&format!("headers[\"{name}\"]"), message);
            }
        }
        problems
    }

    /// The URL, if it may be posted to. What a name resolves to is checked when it is connected to.
    fn checked_url(&self) -> Result<Url, String> {
        let url = Url::parse(&self.url).map_err(|error| format!("not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("a webhook is called by http or https, not by {}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials do not belong into a URL; set headers: {Authorization: …}".to_owned());
        }
        // The parser has turned every other spelling of an IPv4 address (0x7f.1, 2130706433) into the dotted one.
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse() {
            check_literal(address, &self.allow_networks).map_err(|refused| refused.to_string())?;
        }
        Ok(url)
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed: HeaderName = name.parse().map_err(|_| "not a header's name".to_owned())?;
    if OWN_HEADERS.contains(&parsed.as_str()) {
        return Err("set by incidentd itself".to_owned());
    }
    let mut value: HeaderValue = value.parse().map_err(|_| "a value that no header can carry".to_owned())?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// Posts deliveries to a URL.
pub struct Webhook {
    client: Client,
    url: Url,
    secret: Option<SecretFile>,
    clock: Clock,
}

impl Webhook {
    /// Reads the secret and prepares the client; connects to nothing.
    ///
    /// # Errors
    /// A sentence that names what is wrong, without any secret.
    pub fn new(config: &Config, clock: Clock) -> Result<Self, String> {
        if let Some((path, message)) = config.problems().into_iter().next() {
            return Err(format!("{path}: {message}"));
        }
        let url = config.checked_url()?;
        // Fails only where a provider is installed already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let headers =
            config.headers.iter().map(|(name, value)| header(name, value)).collect::<Result<HeaderMap, _>>()?;
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(GuardedResolver::new(&config.allow_networks))
            .timeout(config.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout));
        if url.scheme() == "http" {
            // Without TLS the system's certificates are not needed, and a container may have none.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| format!("cannot prepare the client: {}", causes(&error)))?;
        let secret = config.secret_file.as_deref().map(SecretFile::open).transpose()?;
        Ok(Self { client, url, secret, clock })
    }

    async fn attempt(&self, delivery: &Delivery) -> Result<Option<Ticket>, SinkError> {
        let id = delivery.id();
        let now = self.clock.now();
        let seconds = now.as_micros().div_euclid(1_000_000);
        let mut request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .header("idempotency-key", &id);
        if let Some(secret) = &self.secret {
            request = request.header("webhook-signature", secret.keys().await.sign(&id, seconds, &delivery.body));
        }
        let response = request.body(delivery.body.clone()).send().await.map_err(|error| unanswered(&error))?;
        if response.status().is_success() {
            return Ok(ticket(response).await);
        }
        Err(refused(response, now).await)
    }
}

impl Sink for Webhook {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Option<Ticket>, SinkError>> {
        Box::pin(self.attempt(delivery))
    }
}

/// No answer: what does that say?
fn unanswered(error: &reqwest::Error) -> SinkError {
    if let Some(refused) = chain(error).find_map(|cause| cause.downcast_ref::<Refused>()) {
        return SinkError::Misconfigured(refused.to_string());
    }
    let text = causes(error);
    if error.is_builder() {
        SinkError::Misconfigured(text)
    } else if error.is_connect() {
        SinkError::Unreachable(text)
    } else {
        SinkError::Unknown(text)
    }
}

/// An answer that is no confirmation: what does its status say?
async fn refused(response: Response, now: Timestamp) -> SinkError {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| retry_after(value, now));
    let said = printable(&answer(response, ANSWER_BYTES_MAX).await);
    let detail = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status {
        StatusCode::TOO_MANY_REQUESTS => SinkError::Throttled { retry_after, detail },
        // A repeat that overtook its first try, or a receiver that gave up reading: the same id again.
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY => SinkError::Unknown(detail),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::GONE
        | StatusCode::MISDIRECTED_REQUEST => SinkError::Misconfigured(detail),
        status if status.is_redirection() => SinkError::Misconfigured(format!("{detail} (redirects are not followed)")),
        status if status.is_client_error() => SinkError::Rejected(detail),
        _ => SinkError::Server { retry_after, detail },
    }
}

/// The ticket that a confirming answer names. Whatever else it says is ignored, as is one that is too long.
async fn ticket(response: Response) -> Option<Ticket> {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())?;
    if !kind.contains("json") {
        return None;
    }
    let body = answer(response, TICKET_ANSWER_BYTES_MAX + 1).await;
    if body.len() > TICKET_ANSWER_BYTES_MAX {
        return None;
    }
    let Named { ticket: name, url } = serde_json::from_slice(&body).ok()?;
    let name = printable(name.as_bytes());
    let leads_there =
        |url: &Url| matches!(url.scheme(), "http" | "https") && url.as_str().len() <= TICKET_URL_BYTES_MAX;
    let url = url.and_then(|url| Url::parse(&url).ok()).filter(leads_there).map(String::from);
    (!name.is_empty() && name.len() <= TICKET_NAME_BYTES_MAX).then_some(Ticket { name, url })
}

/// The part of an answer that names a ticket.
#[derive(Deserialize)]
struct Named {
    ticket: String,
    #[serde(default)]
    url: Option<String>,
}

async fn answer(mut response: Response, bytes_max: usize) -> Vec<u8> {
    let mut answer = Vec::new();
    while answer.len() < bytes_max {
        match response.chunk().await {
            Ok(Some(chunk)) => answer.extend_from_slice(&chunk[..chunk.len().min(bytes_max - answer.len())]),
            _ => break,
        }
    }
    answer
}

/// Seconds, or an HTTP date.
fn retry_after(value: &HeaderValue, now: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_micros(at.as_microsecond()).since(now))
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The causes below reqwest's own sentence, which would show the URL.
fn causes(error: &reqwest::Error) -> String {
    let causes: Vec<String> = chain(error).skip(1).map(ToString::to_string).collect();
    match (causes.is_empty(), error.is_timeout()) {
        (true, true) => "timeout".to_owned(),
        (true, false) => "request failed".to_owned(),
        _ => printable(causes.join(": ").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::body::Bytes;
    use axum::response::{IntoResponse, Response as Answer};

    use super::super::conformance::{self, delivery};
    use super::*;

    type Requests = Arc<Mutex<Vec<(HeaderMap, Vec<u8>)>>>;

    /// A receiver on a port of its own that keeps what it got and answers what `answer` says to the n-th request.
    async fn receiver(answer: impl Fn(usize) -> Answer + Clone + Send + Sync + 'static) -> (String, Requests) {
        let requests = Requests::default();
        let kept = requests.clone();
        let app = axum::Router::new().fallback(async move |headers: HeaderMap, body: Bytes| {
            let mut kept = kept.lock().expect("no panic");
            kept.push((headers, body.to_vec()));
            answer(kept.len())
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook?token=s3cret", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, requests)
    }

    fn config(url: &str) -> Config {
        let loopback = "127.0.0.0/8".parse().expect("a network");
        let config = serde_json::json!({ "url": url, "timeout": "5s" });
        Config { allow_networks: vec![loopback], ..serde_json::from_value(config).expect("a config") }
    }

    fn sink(url: &str) -> Webhook {
        Webhook::new(&config(url), Clock::manual(Timestamp::from_parts(1_614_265_330, 0))).expect("a sink")
    }

    #[tokio::test]
    async fn an_answer_may_name_a_ticket_and_whatever_else_it_says_is_ignored() {
        let ticket =
            |name: &str, url: Option<&str>| Some(Ticket { name: name.to_owned(), url: url.map(str::to_owned) });
        let long = format!("{{\"ticket\":\"OPS-42\",\"more\":\"{}\"}}", "x".repeat(TICKET_ANSWER_BYTES_MAX));
        for (body, kind, expected) in [
            (r#"{"ticket":"OPS-42"}"#.to_owned(), "application/json", ticket("OPS-42", None)),
            (
                r#"{"ticket":"OPS-42","url":"https://t.example.org/OPS-42","more":[]}"#.to_owned(),
                "application/json; charset=utf-8",
                ticket("OPS-42", Some("https://t.example.org/OPS-42")),
            ),
            (r#"{"ticket":"O","url":"javascript:x"}"#.to_owned(), "application/json", ticket("O", None)),
            (r#"{"ticket":"OPS-42"}"#.to_owned(), "text/plain", None),
            (r#"{"ticket":42}"#.to_owned(), "application/json", None),
            (r#"{"ticket":" "}"#.to_owned(), "application/json", None),
            ("not json".to_owned(), "application/json", None),
            (long, "application/json", None),
        ] {
            let (answer, shown) = (body.clone(), body.chars().take(80).collect::<String>());
            let answered = move |_| ([(header::CONTENT_TYPE, kind)], answer.clone()).into_response();
            let (url, _) = receiver(answered).await;
            assert_eq!(sink(&url).deliver(&delivery(1, 1)).await, Ok(expected), "{shown}");
        }
    }

    async fn error_for(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> SinkError {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = move |_| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            (status, headers.iter().map(pair).collect::<HeaderMap>(), body).into_response()
        };
        let (url, requests) = receiver(answer).await;
        let error = sink(&url).deliver(&delivery(1, 1)).await.expect_err("an error");
        assert_eq!(requests.lock().expect("no panic").len(), 1, "one attempt, one request");
        error
    }

    #[tokio::test]
    async fn conforms_to_the_contract_of_sinks() {
        let (url, requests) = receiver(|_| StatusCode::NO_CONTENT.into_response()).await;
        let received = async || requests.lock().expect("no panic").iter().map(|request| request.1.clone()).collect();
        conformance::check(&sink(&url), received).await;
    }

    #[tokio::test]
    async fn a_retry_is_byte_identical_with_the_same_id_and_a_fresh_valid_signature() {
        let (url, requests) = receiver(|_| StatusCode::OK.into_response()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
        let mut config = config(&url);
        config.headers.insert("Authorization".to_owned(), "Bearer t0ken".to_owned());
        config.secret_file = Some(secret_file.clone());
        let clock = Clock::manual(Timestamp::from_parts(1_614_265_330, 0));
        let sink = Webhook::new(&config, clock.clone()).expect("a sink");
        sink.deliver(&delivery(1, 1)).await.expect("delivered");
        clock.advance(Duration::from_secs(60));
        std::fs::write(&secret_file, "rotated").expect("written");
        sink.deliver(&delivery(1, 1)).await.expect("delivered");
        let requests = requests.lock().expect("no panic");
        let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "rotated"];
        for ((headers, body), (secret, timestamp)) in
            requests.iter().zip(secrets.iter().zip([1_614_265_330, 1_614_265_390]))
        {
            let id = delivery(1, 1).id();
            assert_eq!(*body, delivery(1, 1).body);
            assert_eq!(headers["webhook-id"], id);
            assert_eq!(headers["idempotency-key"], id);
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers["user-agent"], USER_AGENT);
            assert_eq!(headers["authorization"], "Bearer t0ken");
            assert_eq!(headers["webhook-timestamp"], timestamp.to_string());
            assert_eq!(headers["webhook-signature"], Keys::parse(secret).expect("a key").sign(&id, timestamp, body));
        }
    }

    #[tokio::test]
    async fn every_status_says_whose_fault_it_is() {
        for status in [400, 402, 413, 415, 422] {
            assert!(matches!(error_for(status, &[], "no").await, SinkError::Rejected(_)), "{status}");
        }
        for status in [401, 403, 404, 405, 410] {
            assert!(matches!(error_for(status, &[], "").await, SinkError::Misconfigured(_)), "{status}");
        }
        for status in [408, 409, 425] {
            assert!(matches!(error_for(status, &[], "").await, SinkError::Unknown(_)), "{status}");
        }
        let expected = SinkError::Server { retry_after: None, detail: "500 Internal Server Error: a\\nb".to_owned() };
        assert_eq!(error_for(500, &[], "a\nb\n").await, expected);
    }

    #[tokio::test]
    async fn retry_after_is_read_as_seconds_and_as_a_date() {
        let asked = async |status, headers| error_for(status, headers, "").await.retry_after();
        assert_eq!(asked(429, &[("retry-after", "7")]).await, Some(Duration::from_secs(7)));
        assert_eq!(
            asked(503, &[("retry-after", "Thu, 25 Feb 2021 15:02:20 GMT")]).await,
            Some(Duration::from_secs(10))
        );
        assert_eq!(asked(429, &[("retry-after", "Thu, 25 Feb 2021 15:02:00 GMT")]).await, Some(Duration::ZERO));
        assert_eq!(asked(429, &[("retry-after", "soon")]).await, None);
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (elsewhere, requests) = receiver(|_| StatusCode::OK.into_response()).await;
        let redirect = move |_| (StatusCode::TEMPORARY_REDIRECT, [("location", elsewhere.clone())]).into_response();
        let (url, _) = receiver(redirect).await;
        let error = sink(&url).deliver(&delivery(1, 1)).await.expect_err("an error");
        assert!(matches!(error, SinkError::Misconfigured(_)), "{error}");
        assert!(requests.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn a_long_answer_is_cut_and_a_secret_url_is_not_shown() {
        let long: &'static str = "x".repeat(100_000).leak();
        assert!(error_for(500, &[], long).await.to_string().len() < 1_200);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let sink = sink(&format!("http://{address}/s3cret"));
        let error = sink.deliver(&delivery(1, 1)).await.expect_err("nobody listens");
        assert!(matches!(error, SinkError::Unreachable(_)), "{error:?}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let mut config = config("https://example.org/s3cret");
        config.headers.insert("X-Key".to_owned(), "s3cret".to_owned());
        let shown = format!("{config:?} {}", serde_json::to_string(&config).expect("serialises"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[tokio::test]
    async fn a_receiver_that_does_not_answer_leaves_the_outcome_unknown() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut config = config(&format!("http://{}/", listener.local_addr().expect("bound")));
        config.timeout = Duration::from_millis(50);
        let sink = Webhook::new(&config, Clock::system()).expect("a sink");
        let error = sink.deliver(&delivery(1, 1)).await.expect_err("no answer");
        assert!(matches!(error, SinkError::Unknown(_)), "{error:?}");
    }

    #[tokio::test]
    async fn https_towards_a_receiver_without_tls_fails_in_the_handshake() {
        let (url, requests) = receiver(|_| StatusCode::OK.into_response()).await;
        let error = sink(&url.replace("http:", "https:")).deliver(&delivery(1, 1)).await.expect_err("no TLS there");
        assert!(matches!(error, SinkError::Unreachable(_)), "{error:?}");
        assert!(requests.lock().expect("no panic").is_empty());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_when_it_is_connected_to() {
        let (url, requests) = receiver(|_| StatusCode::OK.into_response()).await;
        let url = url.replace("127.0.0.1", "localhost");
        let closed = Config { allow_networks: Vec::new(), ..config(&url) };
        assert!(closed.problems().is_empty(), "names are not resolved when a file is checked");
        let error = Webhook::new(&closed, Clock::system()).expect("a sink").deliver(&delivery(1, 1)).await;
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("localhost is a loopback address"), "{error}");
        assert!(requests.lock().expect("no panic").is_empty());
        sink(&url).deliver(&delivery(1, 1)).await.expect("a listed network is connected to");
    }

    #[test]
    fn a_url_that_leads_inside_or_holds_credentials_is_a_problem() {
        let problems = |url: &str| Config { allow_networks: Vec::new(), ..config(url) }.problems();
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest",
            "https://10.0.0.1/",
            "https://u:p@example.org/",
            "https://u@example.org/",
            "ftp://example.org/",
            "file:///etc/passwd",
            "example.org",
            "",
        ] {
            let problems = problems(url);
            assert!(problems.len() == 1 && problems[0].0 == "url", "{url} {problems:?}");
            assert!(!problems[0].1.contains("u:p"), "{problems:?}");
        }
        assert!(problems("https://example.org/x?y=z").is_empty());
        assert!(config("http://127.0.0.1/").problems().is_empty());
    }

    #[test]
    fn a_missing_secret_and_headers_of_ours_are_problems() {
        let mut config = config("https://example.org/");
        config.secret_file = Some("/nonexistent/secret".into());
        config.timeout = Duration::ZERO;
        config.headers =
            [("Webhook-Id", "x"), ("a b", "x"), ("x", "a\nb")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let paths: Vec<String> = config.problems().into_iter().map(|problem| problem.0).collect();
        assert_eq!(paths, ["secret_file", "timeout", "headers[\"Webhook-Id\"]", "headers[\"a b\"]", "headers[\"x\"]"]);
        assert!(Webhook::new(&config, Clock::system()).is_err());
    }
}
