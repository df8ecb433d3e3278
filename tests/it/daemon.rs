//! The daemon as a process: start, stop, reload, and the commands that talk to it.

use crate::harness::events::{event, request};
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
