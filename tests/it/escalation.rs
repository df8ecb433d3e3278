//! What an escalation sets going in the world outside is set going once, whatever becomes of the daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::events::event_json;
use crate::harness::receiver::Manner;
use crate::harness::{Daemon, PATIENCE, Receiver, attempt, pass};

const EAGER: &str = "timeout: 1s, retry: { min: 20ms, max: 200ms }";
const RUNBOOK: &str = "https://wiki.example/dr-plan";
/// Each with a kill of its own, most of them around the moment at which the recovery is set going.
const INCIDENTS: usize = 14;

fn config(people: &Receiver, recovery: &Receiver) -> String {
    let people = people.sink(EAGER).replace("name: hook", "name: cell");
    let recovery = recovery.sink(EAGER).replace("name: hook", "name: dr-hook");
    format!(
        "resolve_timeout: 1h\n\
         rules: [{{ name: by-service, group_by: [service], escalation: standard, update_interval: 1s }}]\n\
         escalation_policies:\n\
         - {{ name: standard, steps: [{{ after: 1s, notify: [cell], major: true }}] }}\n\
         major_incident: {{ crisis_cell: [cell], runbook: '{RUNBOOK}', hook: dr-hook }}\n\
         sinks: [{people}, {recovery}]\n"
    )
}

/// The keys under which each incident's recovery was set going, and how often each came.
fn keys(recovery: &Receiver) -> BTreeMap<String, BTreeMap<String, usize>> {
    let mut keys: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for arrival in recovery.arrivals() {
        let incident = arrival.document["incident_id"].as_str().expect("an id").to_owned();
        *keys.entry(incident).or_default().entry(arrival.idempotency_key).or_default() += 1;
    }
    keys
}

async fn set_going(recovery: &Receiver, incidents: usize) {
    attempt("every recovery is set going", PATIENCE, async || {
        let keys = keys(recovery).len();
        if keys >= incidents { Ok(()) } else { Err(format!("{keys} of {incidents}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recovery_hook_is_triggered_exactly_once_under_kills() {
    let (people, recovery) = (Receiver::start_signed().await, Receiver::start_signed().await);
    // Answers that are lost make the sink send again: the same delivery, under the same key.
    recovery.behave(Manner::LoseReplies(3));
    let mut daemon = Daemon::start(&config(&people, &recovery)).await;
    let mut moments = StdRng::seed_from_u64(4);
    for number in 0..INCIDENTS {
        daemon.push_json(&[event_json(&format!("e{number}"), &format!("s{number}"), "h")]).await;
        let around = moments.random_range(900..=1_150);
        let moment = if number % 3 == 0 { moments.random_range(1..=900) } else { around };
        pass(Duration::from_millis(moment)).await;
        daemon.kill9().await;
        if number % 4 == 1 {
            daemon.die_young(Duration::from_millis(moments.random_range(5..=300))).await;
        }
        daemon.restart().await;
    }
    set_going(&recovery, INCIDENTS).await;
    // Once more down and up: what comes after that, comes after everything that would be told again.
    daemon.kill9().await;
    daemon.restart().await;
    daemon.push_json(&[event_json("last", "last", "h")]).await;
    set_going(&recovery, INCIDENTS + 1).await;

    let keys = keys(&recovery);
    let arrivals: usize = keys.values().flat_map(BTreeMap::values).sum();
    println!("{} incidents, {arrivals} deliveries, {} answers lost", keys.len(), arrivals / 3);
    assert!(keys.values().all(|keys| keys.len() == 1), "{keys:#?}");
    assert_eq!(keys.len(), INCIDENTS + 1);
    for told in recovery.unique() {
        let document = &told.document;
        assert_eq!((&document["action"], &document["reason"]), (&"escalated".into(), &"major_declared".into()));
        assert_eq!(document["incident"]["major"]["runbook"], RUNBOOK);
        assert!(document["message"].as_str().is_some_and(|message| message.contains(RUNBOOK)), "{document}");
    }
    daemon.is_sound().await;
}
