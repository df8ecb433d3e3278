//! Reloads ten times a second while events come in: no window, deadline or incident of a rule that did not change notices.

use std::time::Duration;

use crate::harness::daemon::Daemon;
use crate::harness::events::event_json;
use crate::harness::{PATIENCE, Receiver, eventually, pass};

/// A minute with `INCIDENTD_SLOW_TESTS=1`.
fn rounds() -> usize {
    if std::env::var("INCIDENTD_SLOW_TESTS").is_ok_and(|value| value == "1") { 600 } else { 50 }
}

/// A rule that counts, one that waits for as long as the storm lasts, one that opens at once, and one that changes all
/// the time.
fn config(round: usize, receiver: &Receiver) -> String {
    let wait = rounds() / 10;
    let edited = 300 + round % 2;
    format!(
        "resolve_timeout: 1h\nrules:\n\
         - {{ name: counts, match: ['host=~\"c.*\"'], group_by: [service], window: 1h, open_when: {{ alerts: {} }} }}\n\
         - {{ name: waits, match: ['host=\"w\"'], group_by: [service], wait: {wait}s }}\n\
         - {{ name: opens, match: ['host=\"o\"'], group_by: [service] }}\n\
         - {{ name: edited, match: ['host=\"e\"'], group_by: [service], open_when: {{ events: 10000 }}, window: {edited}s }}\n\
         sinks: [{}]\n",
        rounds(),
        receiver.sink("timeout: 5s")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reloads_reopens_nothing_and_loses_no_window_and_no_wait() {
    let receiver = Receiver::start_signed().await;
    let daemon = Daemon::start(&config(0, &receiver)).await;
    daemon.push_json(&[event_json("wait", "held", "w"), event_json("open", "plain", "o")]).await;
    for round in 1..=rounds() {
        daemon.write_config(&config(round, &receiver));
        let (status, said) = daemon.post("/-/reload", "text/plain", "").await;
        assert_eq!(status, 200, "{said}");
        // The count grows by one alert a round; the others repeat.
        let events = [
            event_json(&format!("c{round}"), "counted", &format!("c{round}")),
            event_json(&format!("w{round}"), "held", "w"),
            event_json(&format!("o{round}"), "plain", "o"),
            event_json(&format!("e{round}"), "changed", "e"),
        ];
        let answer = daemon.push_json(&events).await;
        let verdicts: Vec<&str> =
            (0..4).map(|place| answer["results"][place]["verdict"].as_str().expect("a verdict")).collect();
        let counted = if round == rounds() { "opened" } else { "pending" };
        assert_eq!(
            (verdicts[0], verdicts[2], verdicts[3]),
            (counted, "duplicate", "pending"),
            "round {round}: {answer}"
        );
        pass(Duration::from_millis(100)).await;
    }
    eventually("each has opened", PATIENCE, async || receiver.actions("opened") == 3).await;
    let mut incidents = daemon.incidents("").await;
    incidents.sort_by_key(|incident| incident["rule"].to_string());
    let shown: Vec<_> = incidents
        .iter()
        .map(|one| {
            (one["rule"].as_str().unwrap(), one["status"].as_str().unwrap(), one["alerts"]["total"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(shown, [("counts", "open", rounds() as u64), ("opens", "open", 1), ("waits", "open", 1)]);
    assert_eq!((receiver.actions("opened"), receiver.actions("reopened"), receiver.actions("closed")), (3, 0, 0));
    daemon.is_sound().await;
}
