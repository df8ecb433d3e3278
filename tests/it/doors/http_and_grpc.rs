//! What clients of the one port see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use incidentd::event::Limits;
use incidentd::formats::{Decoder, Format, SeverityMap, Shape};
use incidentd::ingest::{Memos, Origin, Settings};
use incidentd::normalise::{NormaliseConfig, Normaliser};
use incidentd::proto;
use incidentd::proto::event_service_client::EventServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::world::{Doors, PATIENCE, Stalled, World};

const GOOD: &str = r#"{"source":"test","severity":"critical","labels":{"service":"a"}}"#;

async fn post(doors: &Doors, path: &str, kind: &str, body: &str) -> (u16, String, String) {
    let mut stream = tokio::net::TcpStream::connect(doors.address).await.unwrap();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n");
    stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

fn event(service: &str) -> proto::Event {
    let labels = [("service".to_owned(), service.to_owned())].into();
    proto::Event { source: "test".to_owned(), severity: proto::Severity::Critical as i32, labels, ..Default::default() }
}

async fn channel(doors: &Doors) -> Channel {
    Channel::from_shared(format!("http://{}", doors.address)).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_event_does_not_take_its_neighbours_with_it() {
    let world = World::start();
    let doors = world.open().await;
    let body = format!(r#"[{GOOD},{{"source":"test","severity":"awful"}},{GOOD}]"#);
    let (status, _, answer) = post(&doors, "/api/v1/events", "application/json", &body).await;
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&2.into(), &1.into()));
    let verdicts: Vec<_> = (0..3).map(|at| answer["results"][at]["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["opened", "rejected", "duplicate"]);
    assert_eq!(answer["results"][1]["code"], "E_ENUM");
    assert_eq!(answer["results"][1]["field"], "/severity");
    assert!(answer["results"][0]["incident"].as_str().unwrap().starts_with("INC-"));
    assert_eq!(world.at_rest().await, 3);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ndjson_is_read_line_by_line_and_an_unreadable_body_is_400() {
    let world = World::start();
    let doors = world.open().await;
    let lines = format!("{GOOD}\n{{not json}}\n{GOOD}\n");
    let (status, _, answer) = post(&doors, "/api/v1/events", "application/x-ndjson", &lines).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.starts_with(r#"{"accepted":2,"rejected":1,"#), "{answer}");
    let (status, head, problem) = post(&doors, "/api/v1/events", "application/json", "[{").await;
    assert_eq!(status, 400);
    assert!(head.contains("application/problem+json") && problem.contains("E_JSON"), "{head} {problem}");
    let (status, ..) = post(&doors, "/api/v1/events", "text/xml", "<a/>").await;
    assert_eq!(status, 415);
    let many = format!("[{}]", vec![GOOD; 1_001].join(","));
    let (status, _, problem) = post(&doors, "/api/v1/events", "application/json", &many).await;
    assert_eq!(status, 413, "{problem}");
    let (status, _, problem) = post(&doors, "/api/v1/events", "application/json", &" ".repeat(2 << 20)).await;
    assert_eq!(status, 413, "{problem}");
    let (status, _, empty) = post(&doors, "/api/v1/events", "application/json", "[]").await;
    assert_eq!((status, &*empty), (200, r#"{"accepted":0,"rejected":0,"results":[]}"#));
    assert_eq!(world.at_rest().await, 3);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanagers_route_keeps_its_status_codes() {
    let world = World::start();
    let doors = world.open().await;
    let good = r#"{"labels":{"alertname":"Down"},"startsAt":"2099-01-01T00:00:00Z"}"#;
    let (status, _, body) = post(&doors, "/api/v2/alerts", "application/json", &format!("[{good}]")).await;
    assert_eq!((status, &*body), (200, ""));
    let mixed = format!(r#"[{{"labels":{{}}}},{good}]"#);
    let (status, _, body) = post(&doors, "/api/v2/alerts", "application/json", &mixed).await;
    assert_eq!(status, 400);
    let message: String = serde_json::from_str(&body).unwrap();
    assert!(message.starts_with("alert 0: E_"), "{message}");
    assert_eq!(world.at_rest().await, 3, "the good alert beside the bad one was taken");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_answers_each_event_and_says_what_is_wrong() {
    let world = World::start();
    let doors = world.open().await;
    let mut client = EventServiceClient::new(channel(&doors).await).send_compressed(CompressionEncoding::Gzip);
    let nameless = proto::Event { source: String::new(), ..event("a") };
    let request = proto::PushRequest { events: vec![event("a"), nameless, event("b")] };
    let verdicts = client.push(request).await.unwrap().into_inner().verdicts;
    let outcomes: Vec<_> = verdicts.iter().map(proto::Verdict::verdict).collect();
    assert_eq!(outcomes, [proto::Outcome::Opened, proto::Outcome::Rejected, proto::Outcome::Opened]);
    assert_eq!((&*verdicts[1].code, &*verdicts[1].field), ("E_MISSING", "/source"));
    assert_eq!(world.at_rest().await, 3);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_messages_beyond_the_limits_are_resource_exhausted() {
    let world = World::start();
    let doors = world.open().await;
    let mut client = EventServiceClient::new(channel(&doors).await);
    let many = proto::PushRequest { events: vec![event("a"); 1_001] };
    let refusal = client.push(many).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    let long = proto::Event { summary: "x".repeat(2 << 20), ..event("a") };
    let refusal = client.push(proto::PushRequest { events: vec![long.clone()] }).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    let huge = proto::Event { summary: "x".repeat(65 << 20), ..event("a") };
    let request = proto::PushRequest { events: vec![huge] };
    let refusal = client.push(request.clone()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    let mut compressed = EventServiceClient::new(channel(&doors).await).send_compressed(CompressionEncoding::Zstd);
    let refusal = compressed.push(request).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    assert_eq!(world.at_rest().await, 0);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_answers_every_request_in_order_and_ends_at_the_first_that_is_unreadable() {
    let world = World::start();
    let doors = world.open().await;
    let mut client = EventServiceClient::new(channel(&doors).await);
    let requests = (0..200).map(|number| proto::PushRequest { events: vec![event("a"); number % 3 + 1] });
    let mut answers = client.push_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.verdicts.len(), count % 3 + 1);
        count += 1;
    }
    assert_eq!(count, 200);
    let many = proto::PushRequest { events: vec![event("a"); 1_001] };
    let requests = vec![proto::PushRequest { events: vec![event("a")] }, many];
    let mut answers = client.push_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().verdicts.len(), 1);
    assert_eq!(answers.message().await.unwrap_err().code(), Code::ResourceExhausted);
    world.at_rest().await;
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_ends_when_the_daemon_stops() {
    let world = World::start();
    let doors = world.open().await;
    let mut client = EventServiceClient::new(channel(&doors).await);
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    sender.send(proto::PushRequest { events: vec![event("a")] }).await.unwrap();
    let mut answers = client.push_stream(requests).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().verdicts.len(), 1);
    world.stopping.cancel();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
    drop(client);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_readiness() {
    let world = World::start();
    let doors = world.open().await;
    let mut client = HealthClient::new(channel(&doors).await);
    let request = HealthCheckRequest { service: "incidentd.v1.EventService".to_owned() };
    let mut watched = client.watch(request).await.unwrap().into_inner();
    let mut next = async || watched.message().await.unwrap().map(|HealthCheckResponse { status }| status);
    let mut status = next().await;
    while status != Some(ServingStatus::Serving as i32) {
        status = next().await;
    }
    doors.ready.send(false).unwrap();
    assert_eq!(next().await, Some(ServingStatus::NotServing as i32));
}

// On a full disk every producer hangs up sooner or later. Its events were then counted neither as decided nor as in
// flight, and the daemon reported a broken law that was none.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_producer_that_hung_up_are_in_flight_until_they_are_decided() {
    let stalled = Arc::new(AtomicBool::new(true));
    let world = World::start_on(Box::new(Stalled(stalled.clone())));
    let origin = Origin { label: "http".into(), source: None, format: Format::Event, shape: Shape::Many };
    let body = r#"[{"source": "a", "labels": {"service": "s"}}, {"source": "a", "labels": {"service": "t"}}]"#;
    let taken = world.intake.take(&origin, body.into()).unwrap();
    let submitted = world.intake.submit(taken, PATIENCE).await.unwrap();
    let waiting = tokio::spawn(submitted.answer());
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(world.metrics.conservation(), (2, 0, 2));
    stalled.store(false, Ordering::Release);
    assert_eq!(world.at_rest().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_learnt_under_other_settings_is_forgotten() {
    use prost::Message;
    let world = World::start();
    let origin = Origin { label: "grpc".into(), source: None, format: Format::EventProtobuf, shape: Shape::Many };
    let event = proto::Event { labels: [("service".to_owned(), "x".repeat(20))].into(), ..event("a") };
    let body = bytes::Bytes::from(proto::PushRequest { events: vec![event] }.encode_to_vec());
    let rejected = async || {
        let taken = world.intake.take(&origin, body.clone()).unwrap();
        let submitted = world.intake.submit(taken, PATIENCE).await.unwrap();
        submitted.answer().await.unwrap().rejected()
    };
    for _ in 0..4 {
        assert_eq!(rejected().await, 0);
    }
    let limits = Limits { label_value_bytes: incidentd::event::ByteSize(10), ..Limits::default() };
    world.intake.reload(Settings {
        decoder: Decoder::new(limits.clone(), SeverityMap::default()),
        normaliser: Normaliser::new(NormaliseConfig { limits: limits.clone(), ..NormaliseConfig::default() }),
        resolve_timeout: PATIENCE,
        memos: Memos::default(),
        limits,
    });
    for _ in 0..4 {
        assert_eq!(rejected().await, 1, "the value is too long now");
    }
    assert_eq!(world.at_rest().await, 8);
}
