//! The daemon as a process: start, stop, a second one, health, and what can be read from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use incidentd::proto::PushRequest;
use tokio_stream::StreamExt;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::harness::daemon::{incidentd, text};
use crate::harness::events::{event, event_json, request, resolved};
use crate::harness::{Daemon, PATIENCE, Receiver, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_0_is_chosen_by_the_system_and_logged() {
    let daemon = Daemon::start_on("log: { level: info }\n", 0).await;
    assert_eq!(daemon.get("/-/ready").await.0, 200);
    assert_eq!(daemon.get("/-/healthy").await.0, 200);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_and_is_told_once() {
    let receiver = Receiver::start_signed().await;
    let mut daemon = Daemon::start(&format!("sinks: [{}]\n", receiver.sink("timeout: 5s"))).await;
    let answer = daemon.grpc().await.push(request(vec![event("1", "a", "h1"), event("2", "b", "h1")])).await;
    assert_eq!(answer.expect("an answer").into_inner().verdicts.len(), 2);
    daemon.kill9().await;
    daemon.restart().await;
    eventually("both are told", PATIENCE, async || receiver.actions("opened") == 2).await;
    assert_eq!(daemon.incidents("").await.len(), 2);
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_ends_well_and_keeps_all_that_was_answered() {
    let receiver = Receiver::start_signed().await;
    let config = format!("resolve_timeout: 1h\nshutdown_grace: 20s\nsinks: [{}]\n", receiver.sink("timeout: 5s"));
    let mut daemon = Daemon::start(&config).await;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let batches = tokio_stream::iter((0..).map(move |number| {
        counter.fetch_add(1, Ordering::Relaxed);
        let events = (0..20).map(|n| event(&format!("{number}-{n}"), &format!("s{}", number % 50), &format!("h{n}")));
        PushRequest { events: events.collect() }
    }));
    let mut answers = daemon.grpc().await.push_stream(batches).await.expect("a stream").into_inner();
    let answered = Arc::new(AtomicU64::new(0));
    let (count, broken) = (answered.clone(), Arc::new(AtomicBool::new(false)));
    let reading = tokio::spawn({
        let broken = broken.clone();
        async move {
            while let Ok(Some(answer)) = answers.message().await {
                count.fetch_add(answer.verdicts.len() as u64, Ordering::Relaxed);
            }
            broken.store(true, Ordering::Relaxed);
        }
    });
    eventually("events flow", PATIENCE, async || answered.load(Ordering::Relaxed) > 1_000).await;
    let status = daemon.stop().await;
    assert!(status.success(), "{status}\n{}", daemon.log_lines().join("\n"));
    reading.await.expect("the stream ended");
    assert!(daemon.log_lines().iter().any(|line| line.contains("\"message\":\"stopped\"")));

    daemon.restart().await;
    let counted: u64 = daemon.incidents("").await.iter().filter_map(|incident| incident["events"].as_u64()).sum();
    let (answered, sent) = (answered.load(Ordering::Relaxed), 20 * sent.load(Ordering::Relaxed));
    assert!((answered..=sent).contains(&counted), "answered {answered}, counted {counted}, sent {sent}");
    let incidents = daemon.incidents("").await.len();
    eventually("every incident is told", PATIENCE, async || receiver.actions("opened") == incidents).await;
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_data_is_refused_and_told_whose_it_is() {
    let daemon = Daemon::start("log: { level: info }\n").await;
    let second = daemon.start_a_second().await;
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains(&daemon.pid().to_string()), "{said}");
    daemon.push_json(&[event_json("1", "a", "h")]).await;
    daemon.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_beyond_loopback_is_refused_unless_it_is_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().display().to_string();
    let refused = incidentd(&["run", "--data-dir", &data, "--listen", "0.0.0.0:0"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--insecure"), "{}", text(&refused.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_tells_its_health_and_its_services() {
    let daemon = Daemon::start("log: { level: info }\n").await;
    let channel = daemon.channel().await;
    for service in ["", "incidentd.v1.EventService"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel.clone()).check(request).await.expect("an answer").into_inner();
        assert_eq!(answer.status, ServingStatus::Serving as i32, "{service}");
    }
    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::iter([question])).await;
    let answer = answers.expect("a stream").into_inner().next().await.expect("an answer").expect("a message");
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else { panic!("{answer:?}") };
    let services: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    for expected in ["incidentd.v1.EventService", "grpc.health.v1.Health"] {
        assert!(services.iter().any(|service| service == expected), "{services:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incidents_are_listed_newest_first_filtered_paged_and_shown() {
    let mut daemon = Daemon::start("rules: [{ name: r, group_by: [service], resolve_after: 0s }]\n").await;
    let mut client = daemon.grpc().await;
    for number in 0..7 {
        client.push(request(vec![event("", &format!("s{number}"), "h")])).await.expect("an answer");
    }
    client.push(request(vec![resolved("", "s3", "h")])).await.expect("an answer");
    eventually("one is resolved", PATIENCE, async || daemon.incidents("status=resolved").await.len() == 1).await;
    for _ in 0..2 {
        let services: Vec<String> =
            daemon.incidents("limit=2").await.iter().map(|i| i["service"].to_string()).collect();
        assert_eq!(services, [6, 5, 4, 3, 2, 1, 0].map(|number| format!("\"s{number}\"")));
        assert_eq!(daemon.incidents("status=open").await.len(), 6);
        assert_eq!(daemon.incidents("status=open&service=s3").await.len(), 0);
        assert_eq!(daemon.incidents("rule=r&service=s4").await.len(), 1);
        let resolved = daemon.incidents("status=resolved").await.remove(0);
        let shown = daemon.incident(resolved["id"].as_str().expect("an id")).await;
        let whats: Vec<&str> = shown["timeline"]
            .as_array()
            .expect("a timeline")
            .iter()
            .filter_map(|entry| entry["what"].as_str())
            .collect();
        assert!(whats.contains(&"opened") && whats.contains(&"resolved"), "{whats:?}");
        assert_eq!((&shown["alerts"][0]["state"], &shown["status"]), (&"resolved".into(), &"resolved".into()));
        // The same from the store, after a restart.
        daemon.kill9().await;
        daemon.restart().await;
    }
    for (path, status) in [
        ("/api/v1/incidents/INC-0000000000000", 404),
        ("/api/v1/incidents/nonsense", 404),
        ("/api/v1/incidents?status=broken", 400),
        ("/api/v1/incidents?cursor=zzz", 400),
        ("/api/v1/incidents?limit=0", 400),
        ("/api/v1/incidents?color=red", 400),
        ("/api/v1/incidents?limit=1000000000", 200),
    ] {
        let (told, body) = daemon.get(path).await;
        assert_eq!(told, status, "{path}: {body}");
    }
    daemon.is_sound().await;
}
