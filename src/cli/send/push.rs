//! Pushes events over gRPC `PushStream`, several batches ahead of their answers.
//!
//! A batch is what is waiting, at most [`BATCH_EVENTS_MAX`] events. Batches that were not answered are kept and sent
//! again when the connection breaks or the server is overloaded; events with an id are counted once all the same.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::clock::Stopwatch;
use crate::proto::event_service_client::EventServiceClient;
use crate::proto::{Event, PushRequest, PushResponse, Verdict};

/// Events of one request; the figure at which the server's cost per event is flat.
pub const BATCH_EVENTS_MAX: usize = 512;
/// Bytes of one request, below the server's default body limit of 10 MiB.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Requests that wait for their answers: a guess that keeps a connection of 10 ms busy at 800,000 events/s.
const PIPELINE_MAX: usize = 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// An event and where it came from: a line, or a place in a list.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// The number to report it by.
    pub number: u64,
    /// The event.
    pub event: Event,
}

/// Where to push, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// `http://host:port`.
    pub url: String,
    /// Sent as a bearer token.
    pub token: Option<String>,
    /// How long to try again without an answer.
    pub retry_for: Duration,
    /// Events per second; as fast as the server answers where `None`.
    pub rate: Option<f64>,
}

/// Why pushing ended early.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{cause}")]
pub struct PushError {
    /// What went wrong.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether the command was called wrongly.
    pub usage: bool,
    retriable: bool,
}

/// Called with the events of an answered batch and their verdicts, in order.
pub type Answered<'a> = &'a mut (dyn FnMut(&[Numbered], &[Verdict]) + Send);

/// Pushes everything that comes through `input` until its end, and waits for all answers.
///
/// # Errors
/// When the server refuses, or could not be reached for `retry_for`.
pub async fn push(target: &Target, input: mpsc::Receiver<Numbered>, answered: Answered<'_>) -> Result<(), PushError> {
    let (endpoint, authorization) = target.prepare()?;
    let pacer = Pacer { rate: target.rate, watch: Stopwatch::start(), sent: 0.0 };
    let queue = Queue { input, ended: false, pacer };
    let mut pump = Pump { endpoint, authorization, queue, unanswered: VecDeque::new(), answered, failing: None };
    let mut backoff = BACKOFF_MIN;
    loop {
        let Err(error) = pump.session(target).await else { return Ok(()) };
        let failing = *pump.failing.get_or_insert_with(|| {
            backoff = BACKOFF_MIN;
            Stopwatch::start()
        });
        if !error.retriable || failing.elapsed() + backoff > target.retry_for {
            return Err(error);
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

struct Pump<'a> {
    endpoint: Endpoint,
    authorization: Option<MetadataValue<Ascii>>,
    queue: Queue,
    unanswered: VecDeque<Vec<Numbered>>,
    answered: Answered<'a>,
    /// Since when nothing was answered.
    failing: Option<Stopwatch>,
}

struct Queue {
    input: mpsc::Receiver<Numbered>,
    ended: bool,
    pacer: Pacer,
}

struct Pacer {
    rate: Option<f64>,
    watch: Stopwatch,
    sent: f64,
}

impl Pump<'_> {
    /// One connection: sends what was not answered, then what comes, until everything is answered.
    async fn session(&mut self, target: &Target) -> Result<(), PushError> {
        // Nothing is opened before there is something to say, so that a server may answer with its first verdicts.
        if self.unanswered.is_empty() {
            self.failing = None;
            self.unanswered.extend(self.queue.next().await);
            if self.unanswered.is_empty() {
                return Ok(());
            }
        }
        let channel = self.endpoint.connect().await.map_err(|error| PushError::unreachable(target, &error))?;
        let (sender, requests) = mpsc::unbounded_channel();
        self.unanswered.iter().for_each(|batch| drop(sender.send(request(batch))));
        let mut sender = Some(sender);
        let mut answers = open(channel, requests, self.authorization.clone())
            .await
            .map_err(|status| PushError::refused(target, &status))?;
        loop {
            if self.queue.ended {
                sender = None;
                if self.unanswered.is_empty() {
                    return Ok(());
                }
            }
            let room = !self.queue.ended && self.unanswered.len() < PIPELINE_MAX;
            tokio::select! {
                answer = answers.message() => match answer.map_err(|status| PushError::refused(target, &status))? {
                    Some(answer) => self.settle(target, &answer)?,
                    None => return Err(PushError::broken(target, "the server ended the stream")),
                },
                batches = self.queue.next(), if room => for batch in batches {
                    if let Some(sender) = &sender {
                        // Fails only after the connection did, which the next answer tells.
                        drop(sender.send(request(&batch)));
                    }
                    self.unanswered.push_back(batch);
                },
            }
        }
    }

    fn settle(&mut self, target: &Target, answer: &PushResponse) -> Result<(), PushError> {
        let Some(batch) = self.unanswered.pop_front() else {
            return Err(PushError::nonsense(target, "the server answered a request that was not made".to_owned()));
        };
        if batch.len() != answer.verdicts.len() {
            let (events, verdicts) = (batch.len(), answer.verdicts.len());
            return Err(PushError::nonsense(target, format!("the server gave {verdicts} verdicts on {events} events")));
        }
        (self.answered)(&batch, &answer.verdicts);
        self.failing = None;
        Ok(())
    }
}

async fn open(
    channel: Channel,
    requests: mpsc::UnboundedReceiver<PushRequest>,
    authorization: Option<MetadataValue<Ascii>>,
) -> Result<tonic::Streaming<PushResponse>, Status> {
    let mut request = Request::new(UnboundedReceiverStream::new(requests));
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization);
    }
    Ok(EventServiceClient::new(channel).push_stream(request).await?.into_inner())
}

impl Queue {
    /// What is there, in batches; waits for at least one event. Empty at the end. Loses nothing when dropped halfway.
    async fn next(&mut self) -> Vec<Vec<Numbered>> {
        let most = self.pacer.due().await;
        let mut taken = Vec::new();
        self.input.recv_many(&mut taken, most).await;
        self.ended = taken.is_empty();
        self.pacer.sent += taken.len() as f64;
        in_batches(taken)
    }
}

impl Pacer {
    /// How many events may go now; waits until it is at least one. What was missed is made up for a tenth of a second
    /// at most, so that a pause is not followed by a burst.
    async fn due(&mut self) -> usize {
        let Some(rate) = self.rate else { return BATCH_EVENTS_MAX };
        let due = self.watch.elapsed().as_secs_f64() * rate - self.sent;
        let late = (rate / 10.0).max(1.0);
        if due > late {
            self.sent += due - late;
        }
        if due < 1.0 {
            tokio::time::sleep(Duration::from_secs_f64((1.0 - due) / rate)).await;
        }
        (due.min(late) as usize).clamp(1, BATCH_EVENTS_MAX)
    }
}

fn in_batches(events: Vec<Numbered>) -> Vec<Vec<Numbered>> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::with_capacity(events.len()), 0);
    for event in events {
        let length = event.event.encoded_len();
        if bytes + length > BATCH_BYTES_MAX && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += length;
        batch.push(event);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

fn request(batch: &[Numbered]) -> PushRequest {
    PushRequest { events: batch.iter().map(|numbered| numbered.event.clone()).collect() }
}

impl Target {
    fn prepare(&self) -> Result<(Endpoint, Option<MetadataValue<Ascii>>), PushError> {
        let usage =
            |cause: String, remedy: &str| PushError { cause, remedy: remedy.to_owned(), usage: true, retriable: false };
        if self.url.starts_with("https:") {
            let remedy = "use the http:// address of the listener, or a tunnel to it";
            return Err(usage(format!("{} asks for TLS, which pushing does not speak", self.url), remedy));
        }
        let endpoint = Endpoint::from_shared(self.url.clone())
            .ok()
            .filter(|endpoint| endpoint.uri().host().is_some() && endpoint.uri().scheme_str() == Some("http"))
            .ok_or_else(|| usage(format!("\"{}\" is no URL", self.url), "write it as http://127.0.0.1:9095"))?;
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}").parse()).transpose();
        let authorization = authorization
            .map_err(|_| usage("the token has characters that no token has".to_owned(), "check --token"))?;
        Ok((endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true), authorization))
    }
}

impl PushError {
    fn unreachable(target: &Target, error: &dyn std::error::Error) -> Self {
        let cause = format!("cannot reach {}: {}", target.url, deepest(error));
        let remedy = "start the daemon with `incidentd run`, or name another one with --url".to_owned();
        Self { cause, remedy, usage: false, retriable: true }
    }

    fn broken(target: &Target, what: &str) -> Self {
        let cause = format!("lost {}: {what}", target.url);
        let remedy =
            "look at the daemon's log; sending the same file again counts no event with an id twice".to_owned();
        Self { cause, remedy, usage: false, retriable: true }
    }

    fn nonsense(target: &Target, what: String) -> Self {
        let remedy = format!("check that {} is an incidentd of this version", target.url);
        Self { cause: what, remedy, usage: false, retriable: false }
    }

    fn refused(target: &Target, status: &Status) -> Self {
        let said = match status.message() {
            "" => format!("{:?}", status.code()),
            message => message.to_owned(),
        };
        let refused = |remedy: &str| Self {
            cause: format!("{} refused: {said}", target.url),
            remedy: remedy.to_owned(),
            usage: false,
            retriable: false,
        };
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => {
                refused("give a token of scope `ingest` with --token or INCIDENTD_TOKEN")
            }
            Code::Unimplemented => refused("nothing there takes incidentd.v1 events; check --url"),
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => refused("correct the events"),
            Code::ResourceExhausted => Self {
                cause: format!("{} is overloaded: {said}", target.url),
                remedy: "send slower with --rate, or wait longer with --retry-for".to_owned(),
                usage: false,
                retriable: true,
            },
            _ => Self::broken(target, std::error::Error::source(status).map_or(said, deepest).as_str()),
        }
    }
}

/// The innermost cause, which is the one that says something.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests;
