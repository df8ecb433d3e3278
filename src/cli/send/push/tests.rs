//! Pushing against a server that answers, breaks off or refuses as it is told.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt};
use tonic::Response;
use tonic::transport::server::TcpIncoming;

use super::*;
use crate::proto::Outcome;
use crate::proto::raw::event_service_server::{EventService, EventServiceServer};

/// Answers `recorded`, or `rejected` where the source is missing.
#[derive(Default)]
struct Fake {
    /// Breaks the stream instead of answering this request (from 1), once.
    breaks_at: usize,
    requests: AtomicUsize,
    token: Option<&'static str>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

struct Shared(Arc<Fake>);

#[tonic::async_trait]
impl EventService for Shared {
    type PushStreamStream = Answers;

    async fn push(&self, _: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        Err(Status::unimplemented("only the stream"))
    }

    async fn push_stream(&self, request: Request<tonic::Streaming<Bytes>>) -> Result<Response<Answers>, Status> {
        let given = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        if given.as_deref() != self.0.token {
            return Err(Status::unauthenticated("no token, or a wrong one"));
        }
        let fake = self.0.clone();
        let answers = request.into_inner().map(move |bytes| {
            if fake.requests.fetch_add(1, Ordering::AcqRel) + 1 == fake.breaks_at {
                return Err(Status::unavailable("the daemon is stopping"));
            }
            let request = PushRequest::decode(bytes?).unwrap();
            Ok(PushResponse { verdicts: request.events.iter().map(verdict).collect() }.encode_to_vec().into())
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn verdict(event: &Event) -> Verdict {
    let outcome = if event.source.is_empty() { Outcome::Rejected } else { Outcome::Recorded };
    Verdict { verdict: outcome.into(), ..Verdict::default() }
}

async fn serve(fake: Fake) -> (Target, Arc<Fake>) {
    let fake = Arc::new(fake);
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", incoming.local_addr().unwrap());
    let service = EventServiceServer::new(Shared(fake.clone()));
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let retry_for = Duration::from_secs(20);
    (Target { url, token: fake.token.map(|_| "secret".to_owned()), retry_for, rate: None }, fake)
}

fn events(count: u64) -> mpsc::Receiver<Numbered> {
    let (sender, input) = mpsc::channel(count.max(1) as usize);
    for number in 1..=count {
        let source = if number.is_multiple_of(100) { String::new() } else { "demo".to_owned() };
        sender.try_send(Numbered { number, event: Event { source, ..Event::default() } }).unwrap();
    }
    input
}

async fn pushed(target: &Target, count: u64) -> (Vec<(u64, Outcome)>, Result<(), PushError>) {
    let mut seen = Vec::new();
    let mut note = |events: &[Numbered], verdicts: &[Verdict]| {
        seen.extend(events.iter().zip(verdicts).map(|(event, verdict)| (event.number, verdict.verdict())));
    };
    let result = push(target, events(count), &mut note).await;
    (seen, result)
}

fn expected(count: u64) -> Vec<(u64, Outcome)> {
    let outcome = |number: u64| if number.is_multiple_of(100) { Outcome::Rejected } else { Outcome::Recorded };
    (1..=count).map(|number| (number, outcome(number))).collect()
}

#[tokio::test]
async fn every_event_gets_its_verdict_in_order() {
    let (target, fake) = serve(Fake { token: Some("Bearer secret"), ..Fake::default() }).await;
    let (seen, result) = pushed(&target, 20_000).await;
    result.unwrap();
    assert_eq!(seen, expected(20_000));
    assert_eq!(fake.requests.load(Ordering::Acquire), 20_000_usize.div_ceil(BATCH_EVENTS_MAX));
}

#[tokio::test]
async fn unanswered_batches_are_sent_again_when_the_connection_breaks() {
    let (target, _) = serve(Fake { breaks_at: 5, ..Fake::default() }).await;
    let (seen, result) = pushed(&target, 10_000).await;
    result.unwrap();
    assert_eq!(seen, expected(10_000));
}

#[tokio::test]
async fn nothing_to_send_opens_no_connection() {
    let target = Target { url: "http://127.0.0.1:1".into(), token: None, retry_for: Duration::ZERO, rate: None };
    pushed(&target, 0).await.1.unwrap();
}

#[tokio::test]
async fn a_wrong_token_and_a_closed_port_end_with_a_remedy() {
    let (mut target, _) = serve(Fake { token: Some("Bearer secret"), ..Fake::default() }).await;
    target.token = None;
    let error = pushed(&target, 1).await.1.unwrap_err();
    assert!(error.remedy.contains("--token") && !error.usage, "{error:?}");
    target.url = "http://127.0.0.1:1".into();
    target.retry_for = Duration::from_millis(250);
    let error = pushed(&target, 1).await.1.unwrap_err();
    assert!(error.cause.contains("cannot reach http://127.0.0.1:1") && error.remedy.contains("--url"), "{error:?}");
}

#[tokio::test]
async fn a_target_that_cannot_be_dialled_is_wrong_usage() {
    for url in ["https://example.org", "example.org:9095", "ftp://x", "http://", ""] {
        let target = Target { url: url.into(), token: None, retry_for: Duration::ZERO, rate: None };
        assert!(pushed(&target, 1).await.1.unwrap_err().usage, "{url}");
    }
}

#[tokio::test]
async fn a_paced_queue_gives_no_more_than_what_is_due() {
    let mut pacer = Pacer { rate: Some(10.0), watch: Stopwatch::start(), sent: 0.0 };
    assert_eq!(pacer.due().await, 1, "it waits for the first rather than giving none");
    pacer.sent = -1_000.0;
    assert_eq!(pacer.due().await, 1, "what was missed is not made up for");
}

#[test]
fn a_batch_of_large_events_is_split() {
    let large = |number| Numbered { number, event: Event { summary: "x".repeat(3 << 20), ..Event::default() } };
    assert_eq!(in_batches(vec![large(1), large(2)]).iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}
