//! A webhook receiver that keeps what it got, checks signatures, and misbehaves on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What it does with the next deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Manner {
    /// Takes them.
    #[default]
    Accept,
    /// Answers with this status and takes nothing.
    Refuse(u16),
    /// Takes them after a while.
    Delay(Duration),
    /// Never answers and takes nothing.
    Hang,
    /// Takes them, but every so many answers are lost on the way back.
    LoseReplies(usize),
    /// Takes them, and names a ticket for each incident.
    NameTickets,
}

/// One request that was taken.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub id: String,
    pub idempotency_key: String,
    pub body: Bytes,
    pub document: Value,
}

#[derive(Default)]
struct Book {
    manner: Manner,
    arrivals: Vec<Arrival>,
    /// Requests, taken or not.
    requests: usize,
    faults: Vec<String>,
}

#[derive(Clone)]
struct Shared {
    book: Arc<Mutex<Book>>,
    key: Option<Arc<hmac::Key>>,
}

/// A receiver on a port of its own, until it is dropped.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Shared,
    secret: Option<tempfile::NamedTempFile>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts one that takes deliveries without a signature.
    pub async fn start() -> Self {
        Self::serve(None, None).await
    }

    /// Starts one that shares a secret with the daemon, and takes nothing else.
    pub async fn start_signed() -> Self {
        let secret = tempfile::NamedTempFile::new().expect("a file");
        let bytes: [u8; 24] = rand::random();
        std::fs::write(secret.path(), format!("whsec_{}\n", BASE64_STANDARD.encode(bytes))).expect("written");
        Self::serve(Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes)), Some(secret)).await
    }

    async fn serve(key: Option<hmac::Key>, secret: Option<tempfile::NamedTempFile>) -> Self {
        let shared = Shared { book: Arc::default(), key: key.map(Arc::new) };
        let router = axum::Router::new().fallback(take).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { address, shared, secret, serving }
    }

    /// The sink of the configuration that leads here, in one line of YAML flow, with further settings.
    pub fn sink(&self, more: &str) -> String {
        let secret = self.secret.as_ref().map(|file| format!("secret_file: '{}', ", file.path().display()));
        format!(
            "{{ name: hook, type: webhook, url: 'http://{}/hook', allow_networks: [127.0.0.0/8], {}{more} }}",
            self.address,
            secret.unwrap_or_default()
        )
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes its manners.
    pub fn behave(&self, manner: Manner) {
        self.book().manner = manner;
    }

    /// Requests so far, taken or not.
    pub fn requests(&self) -> usize {
        self.book().requests
    }

    /// Everything taken, in the order of arrival.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.book().arrivals.clone()
    }

    /// What was taken, each id once, at its first arrival. Fails on a bad signature, a mismatch of ids, or a retry that
    /// is not byte-identical.
    pub fn unique(&self) -> Vec<Arrival> {
        let book = self.book();
        assert!(book.faults.is_empty(), "{:#?}", book.faults);
        let mut first: BTreeMap<&str, &Arrival> = BTreeMap::new();
        let mut unique = Vec::new();
        for arrival in &book.arrivals {
            let known = first.entry(&arrival.id).or_insert_with(|| {
                unique.push(arrival.clone());
                arrival
            });
            assert_eq!(known.body, arrival.body, "a retry of {} differs", arrival.id);
            assert_eq!(arrival.id, arrival.idempotency_key);
            assert_eq!(arrival.document["delivery_id"], *arrival.id);
        }
        unique
    }

    /// The documents of each incident, each id once, in the order of their first arrival; the sequence must rise.
    pub fn by_incident(&self) -> BTreeMap<String, Vec<Value>> {
        let mut incidents: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for arrival in self.unique() {
            let id = arrival.document["incident_id"].as_str().expect("an id").to_owned();
            let told = incidents.entry(id.clone()).or_default();
            if let Some(last) = told.last() {
                let (before, now) = (&last["sequence"], &arrival.document["sequence"]);
                assert!(before.as_u64() < now.as_u64(), "{id}: {now} came after {before}");
            }
            told.push(arrival.document);
        }
        incidents
    }

    /// How often each action arrived, each id once.
    pub fn actions(&self, action: &str) -> usize {
        self.unique().iter().filter(|arrival| arrival.document["action"] == action).count()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let manner = {
        let mut book = shared.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.requests += 1;
        book.manner
    };
    match manner {
        Manner::Refuse(status) => return StatusCode::from_u16(status).expect("a status").into_response(),
        Manner::Hang => std::future::pending().await,
        Manner::Delay(time) => super::pass(time).await,
        Manner::Accept | Manner::LoseReplies(_) | Manner::NameTickets => {}
    }
    let taken = record(&shared, &headers, &body);
    match manner {
        Manner::LoseReplies(every) if taken.is_multiple_of(every) => std::future::pending().await,
        Manner::NameTickets => {
            let document: Value = serde_json::from_slice(&body).unwrap_or_default();
            let incident = document["incident_id"].as_str().unwrap_or_default();
            let (ticket, url) = (format!("T-{incident}"), format!("https://tickets.example.org/{incident}"));
            Json(json!({ "ticket": ticket, "url": url })).into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Keeps a delivery and counts it.
fn record(shared: &Shared, headers: &HeaderMap, body: &Bytes) -> usize {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let id = header("webhook-id");
    let mut book = shared.book.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = &shared.key
        && !is_signed(key, &id, &header("webhook-timestamp"), &header("webhook-signature"), body)
    {
        book.faults.push(format!("{id} has no valid signature"));
    }
    match serde_json::from_slice(body) {
        Ok(document) => {
            let arrival = Arrival { id, idempotency_key: header("idempotency-key"), body: body.clone(), document };
            book.arrivals.push(arrival);
        }
        Err(error) => book.faults.push(format!("{id} is no JSON: {error}")),
    }
    book.arrivals.len()
}

/// Standard Webhooks: `v1,<base64 of HMAC-SHA256 over id.timestamp.body>`, several separated by spaces.
fn is_signed(key: &hmac::Key, id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> bool {
    let age = super::events::now().as_micros() / 1_000_000 - timestamp.parse::<i64>().unwrap_or_default();
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let valid = |signature: &str| {
        let code = signature.strip_prefix("v1,").and_then(|code| BASE64_STANDARD.decode(code).ok());
        code.is_some_and(|code| hmac::verify(key, &signed, &code).is_ok())
    };
    age.abs() < 300 && signatures.split(' ').any(valid)
}
