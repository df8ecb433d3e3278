//! What the outbox promises, on virtual time: order, folding, pauses, the breaker, parking, restarts.

use std::sync::atomic::{AtomicBool, Ordering};

use super::fake::{FakeLedger, FakeSink, FakeStore, START, Try};
use super::*;
use crate::delivery::Action::{Escalated, Linked, Opened, Resolved, Updated};
use crate::sinks::{Kind, SinkError, stdout};

const SECOND: Duration = Duration::from_secs(1);

struct House {
    store: Arc<FakeStore>,
    parts: Parts,
}

fn house() -> House {
    let store = Arc::new(FakeStore::default());
    let parts = Parts {
        reads: store.clone(),
        ledger: Arc::new(FakeLedger(store.clone())),
        metrics: Metrics::new(),
        clock: Clock::manual(START),
        jitter: Arc::new(|| 0.5),
        shutdown: CancellationToken::new(),
        tickets: Arc::new(|_, _, _| Box::pin(async { true })),
    };
    House { store, parts }
}

fn config(name: &str) -> SinkConfig {
    SinkConfig::new(name, Kind::Stdout(stdout::Config::default()))
}

impl House {
    fn open(&self, sinks: &[(&str, &Arc<FakeSink>)]) -> Arc<Outbox> {
        let sinks = sinks.iter().map(|(name, sink)| (config(name), Arc::clone(sink) as Arc<dyn Sink>));
        Outbox::start(sinks.collect(), self.parts.clone())
    }

    fn counted(&self, result: &str) -> u64 {
        let line = format!("incidentd_deliveries_total{{sink=\"ops\",result=\"{result}\"}} ");
        let text = self.parts.metrics.render();
        text.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a number"))
    }
}

fn unreachable() -> Result<(), SinkError> {
    Err(SinkError::Unreachable("nobody there".to_owned()))
}

fn failing_until(up: &Arc<AtomicBool>) -> Arc<FakeSink> {
    let up = up.clone();
    FakeSink::new(move |_, _| if up.load(Ordering::SeqCst) { Ok(()) } else { unreachable() })
}

fn tries(sink: &FakeSink) -> Vec<Try> {
    lock(&sink.tries).clone()
}

#[tokio::test(start_paused = true)]
async fn an_incident_s_deliveries_keep_their_order_under_failures() {
    let house = house();
    let mut row = 0;
    for action in [Opened, Escalated, Resolved] {
        for incident in 0..20 {
            row += 1;
            house.store.add("ops", row, incident, action);
        }
    }
    let server = |number| Err(SinkError::Server { retry_after: None, detail: format!("try {number}") });
    let sink = FakeSink::new(move |_, number| if number % 3 == 0 { server(number) } else { Ok(()) });
    let _outbox = house.open(&[("ops", &sink)]);
    house.store.until_empty().await;
    for incident in 0..20 {
        let of_incident: Vec<Try> = tries(&sink).into_iter().filter(|one| one.incident == incident).collect();
        assert!(of_incident.is_sorted_by_key(|one| one.sequence), "{of_incident:?}");
        assert_eq!(of_incident.iter().filter(|one| one.confirmed).count(), 3);
    }
    assert!(tries(&sink).iter().all(|one| one.at_once <= 8));
    assert!(tries(&sink).iter().any(|one| one.at_once == 8), "different incidents go at once");
}

#[tokio::test(start_paused = true)]
async fn updates_fold_into_the_newest_while_the_sink_is_down() {
    let (house, up) = (house(), Arc::default());
    house.store.add("ops", 1, 7, Opened);
    (2..52).for_each(|row| house.store.add("ops", row, 7, if row % 2 == 0 { Updated } else { Linked }));
    house.store.add("ops", 52, 7, Escalated);
    (53..56).for_each(|row| house.store.add("ops", row, 7, Updated));
    house.store.add("ops", 56, 7, Resolved);
    let sink = failing_until(&up);
    let _outbox = house.open(&[("ops", &sink)]);
    house.store.until(|store| lock(&store.rows).len() == 5).await;
    up.store(true, Ordering::SeqCst);
    house.store.until_empty().await;
    assert_eq!(sink.confirmed(), [1, 51, 52, 55, 56]);
    assert_eq!((house.counted("folded"), house.counted("delivered")), (51, 5));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_for_the_whole_sink() {
    let house = house();
    (1..=3).for_each(|row| house.store.add("ops", row, row as u64, Opened));
    let throttled = || SinkError::Throttled { retry_after: Some(30 * SECOND), detail: String::new() };
    let sink = FakeSink::new(move |_, number| if number == 0 { Err(throttled()) } else { Ok(()) });
    let mut config = config("ops");
    config.pacing.concurrency = 1;
    let start = crate::clock::timer_now();
    let outbox = Outbox::start(vec![(config, sink.clone())], house.parts.clone());
    house.store.until_empty().await;
    let times: Vec<u64> = tries(&sink).iter().map(|one| (one.at - start).as_secs()).collect();
    assert_eq!(times, [0, 30, 30, 30]);
    assert_eq!(outbox.status()[0].breaker, "closed", "a sink that asks for patience does not fail");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_lets_single_probes_out_and_everything_once_one_succeeds() {
    let (house, up) = (house(), Arc::default());
    (1..=40).for_each(|row| house.store.add("ops", row, row as u64, Opened));
    let sink = failing_until(&up);
    let outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(24).await;
    let seen = tries(&sink);
    let pauses: Vec<f64> = seen[12..].windows(2).map(|two| (two[1].at - two[0].at).as_secs_f64()).collect();
    assert!(seen[12..].iter().all(|one| one.at_once == 1), "single probes, once five of those in flight have failed");
    assert!(pauses.is_sorted() && pauses[10] > 29.0 && pauses[10] <= 60.0, "{pauses:?}");
    assert!(house.parts.metrics.render().contains("incidentd_sink_breaker_open{sink=\"ops\"} 1"));
    let status = &outbox.status()[0];
    assert!(status.breaker != "closed" && status.last_error.as_deref() == Some("unreachable: nobody there"));
    up.store(true, Ordering::SeqCst);
    house.store.until_empty().await;
    let rest = &tries(&sink)[24..];
    let last = rest.last().expect("tries").at;
    let delivered_at = rest.iter().find(|one| one.confirmed).expect("one").at;
    assert_eq!(last, delivered_at, "no delivery waits out a pause of its own once the sink is back");
    assert_eq!(outbox.status()[0].breaker, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_hangs_or_fails_delays_no_other() {
    let house = house();
    for row in 1..=300 {
        house.store.add(["hangs", "fails", "works"][row as usize % 3], row, row as u64, Opened);
    }
    let (hangs, fails, works) =
        (FakeSink::new(|_, _| Ok(())), FakeSink::new(|_, _| unreachable()), FakeSink::new(|_, _| Ok(())));
    hangs.held.send_replace(true);
    let start = crate::clock::timer_now();
    let outbox = house.open(&[("hangs", &hangs), ("fails", &fails), ("works", &works)]);
    house.store.until(|store| lock(&store.rows).len() == 200).await;
    assert_eq!(works.confirmed().len(), 100);
    assert_eq!(crate::clock::timer_now(), start, "not even a moment");
    assert_eq!(
        outbox.status().iter().map(|status| status.sink.as_str()).collect::<Vec<_>>(),
        ["fails", "hangs", "works"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_rejected_delivery_is_parked_the_next_goes_on_and_it_can_be_tried_again() {
    let (house, mended) = (house(), Arc::new(AtomicBool::new(false)));
    house.store.add("ops", 1, 7, Opened);
    house.store.add("ops", 2, 7, Resolved);
    let willing = mended.clone();
    let sink = FakeSink::new(move |delivery, _| match delivery.sequence {
        1 if !willing.load(Ordering::SeqCst) => Err(SinkError::Rejected("422".to_owned())),
        _ => Ok(()),
    });
    let outbox = house.open(&[("ops", &sink)]);
    house.store.until(|store| lock(&store.rows).len() == 1).await;
    assert_eq!(sink.confirmed(), [2]);
    assert_eq!((house.counted("parked"), outbox.status()[0].parked), (1, 1));
    assert_eq!(outbox.retry_parked("ops").await, Some(1));
    house.store.until(|_| outbox.status()[0].parked == 1 && house.counted("parked") == 2).await;
    mended.store(true, Ordering::SeqCst);
    assert_eq!(outbox.retry_parked("ops").await, Some(1));
    house.store.until_empty().await;
    assert_eq!((sink.confirmed(), outbox.status()[0].parked), (vec![2, 1], 0));
    assert_eq!(outbox.retry_parked("ops").await, Some(0));
    assert_eq!(outbox.retry_parked("nobody").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_parked_once_the_sink_is_known_to_be_down() {
    let house = house();
    (1..=30).for_each(|row| house.store.add("ops", row, row as u64, Opened));
    let sink = FakeSink::new(|_, _| unreachable());
    let _outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(20).await;
    assert_eq!(house.counted("parked"), 0);
    house.parts.clock.advance(Duration::from_secs(7 * 86_400 + 1));
    house.store.until(|store| lock(&store.rows).values().all(|row| row.parked)).await;
    assert_eq!(house.counted("parked"), 30);
    let given_up =
        |one: &Settlement| matches!(one, Settlement::Parked { error, .. } if error.contains("after 7d: unreach"));
    assert_eq!(lock(&house.store.settled).iter().filter(|one| given_up(one)).count(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_restart_resumes_with_a_first_try_at_once_and_keeps_the_attempts() {
    let (house, up) = (house(), Arc::default());
    house.store.add("ops", 1, 7, Opened);
    let sink = failing_until(&up);
    let outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(8).await;
    assert!(outbox.drain(SECOND).await);
    let attempts = lock(&house.store.rows)[&1].attempts;
    assert_eq!(attempts as usize, tries(&sink).len(), "the last attempts are recorded on the way out");
    up.store(true, Ordering::SeqCst);
    let restarted = crate::clock::timer_now();
    let _outbox = house.open(&[("ops", &sink)]);
    house.store.until_empty().await;
    assert_eq!(tries(&sink).last().expect("a try").at, restarted);
}

#[tokio::test(start_paused = true)]
async fn what_is_confirmed_is_not_sent_again_before_it_is_settled() {
    let house = house();
    (1..=5).for_each(|row| house.store.add("ops", row, row as u64, Opened));
    house.store.held.send_replace(true);
    let sink = FakeSink::new(|_, _| Ok(()));
    let outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(5).await;
    outbox.nudge_all();
    let mut changed = config("ops");
    changed.pacing.concurrency = 1;
    outbox.reload(vec![(changed, sink.clone())]);
    outbox.nudge("ops");
    tokio::time::advance(10 * SECOND).await;
    house.store.held.send_replace(false);
    house.store.until_empty().await;
    house.store.add("ops", 6, 6, Opened);
    outbox.nudge("ops");
    house.store.until_empty().await;
    assert_eq!(tries(&sink).len(), 6);
}

impl House {
    /// Commits deliveries and offers them, as the committer does.
    fn commit(&self, outbox: &Outbox, rows: impl IntoIterator<Item = i64>) {
        let rows = rows.into_iter().map(|row| {
            self.store.add("ops", row, row as u64 % 100, Opened);
            lock(&self.store.rows)[&row].clone()
        });
        outbox.offer(rows.collect());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_offered_goes_out_without_asking_the_store() {
    let house = house();
    let sink = FakeSink::new(|_, _| Ok(()));
    let outbox = house.open(&[("ops", &sink)]);
    house.commit(&outbox, [1, 2]);
    house.store.until_empty().await;
    house.store.unreadable.store(true, Ordering::SeqCst);
    house.commit(&outbox, 3..=50);
    house.store.until_empty().await;
    assert_eq!(sink.confirmed().len(), 50);
    assert!(house.store.unreadable.load(Ordering::SeqCst), "nobody has tried");
}

#[tokio::test(start_paused = true)]
async fn what_is_offered_waits_for_what_is_older_and_each_goes_out_once() {
    let house = house();
    let sink = FakeSink::new(|_, _| Ok(()));
    sink.held.send_replace(true);
    (1..=700).for_each(|row| house.store.add("ops", row, row as u64 % 100, Opened));
    let outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(8).await;
    // More than there is room for, beyond what has been read; some in one commit, some one by one.
    house.commit(&outbox, 701..=2_000);
    tokio::task::yield_now().await;
    (2_001..=3_000).for_each(|row| house.commit(&outbox, [row]));
    sink.held.send_replace(false);
    house.store.until_empty().await;
    house.commit(&outbox, [3_001]);
    house.store.until_empty().await;
    let confirmed = sink.confirmed();
    let of_incident = |incident: u64| confirmed.iter().copied().filter(move |row| row % 100 == incident);
    assert!((0..100).all(|incident| of_incident(incident).is_sorted()));
    assert_eq!(confirmed.iter().collect::<std::collections::BTreeSet<_>>().len(), 3_001);
    assert_eq!(confirmed.len(), 3_001);
}

#[tokio::test(start_paused = true)]
async fn memory_does_not_depend_on_the_backlog() {
    let house = house();
    (1..=5_000).for_each(|row| house.store.add("ops", row, row as u64 % 100, Opened));
    let sink = FakeSink::new(|_, _| Ok(()));
    sink.held.send_replace(true);
    let outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(8).await;
    sink.held.send_replace(false);
    house.store.until_empty().await;
    assert_eq!(*lock(&house.store.most_asked), 1_000);
    assert_eq!(sink.confirmed().len(), 5_000);
    house.store.until(|_| outbox.status()[0].backlog == 5_000 || outbox.status()[0].backlog == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_of_updates_behind_a_dead_sink_shrinks_to_one_per_incident() {
    let (house, up) = (house(), Arc::default());
    (1..=5_000).for_each(|row| house.store.add("ops", row, row as u64 % 10, Updated));
    let sink = failing_until(&up);
    let _outbox = house.open(&[("ops", &sink)]);
    house.store.until(|store| lock(&store.rows).len() == 10).await;
    up.store(true, Ordering::SeqCst);
    house.store.until_empty().await;
    let mut confirmed = sink.confirmed();
    confirmed.sort_unstable();
    assert_eq!(confirmed, (4_991..=5_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn attempts_are_recorded_at_most_every_ten_seconds() {
    let house = house();
    house.store.add("ops", 1, 7, Opened);
    let sink = FakeSink::new(|_, _| unreachable());
    let mut config = config("ops");
    config.pacing.retry.max = SECOND;
    let _outbox = Outbox::start(vec![(config, sink.clone())], house.parts.clone());
    sink.until_tried(200).await;
    let span = (tries(&sink)[199].at - tries(&sink)[0].at).as_secs() as usize;
    let recorded = lock(&house.store.settled).len();
    assert!(span > 60 && recorded >= 3 && recorded <= 1 + span / 10, "{recorded} in {span} s");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_spreads_deliveries() {
    let house = house();
    (1..=30).for_each(|row| house.store.add("ops", row, row as u64, Opened));
    let sink = FakeSink::new(|_, _| Ok(()));
    let mut config = config("ops");
    config.pacing.rate_limit = Some(2.0);
    let start = crate::clock::timer_now();
    let _outbox = Outbox::start(vec![(config, sink.clone())], house.parts.clone());
    house.store.until_empty().await;
    let took = crate::clock::timer_now() - start;
    assert!(took >= 14 * SECOND && took < 15 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reload_disturbs_no_unchanged_sink_and_removes_after_what_is_in_flight() {
    let house = house();
    house.store.add("kept", 1, 1, Opened);
    house.store.add("gone", 2, 2, Opened);
    house.store.add("gone", 3, 2, Resolved);
    let (kept, gone, unused) =
        (FakeSink::new(|_, _| Ok(())), FakeSink::new(|_, _| Ok(())), FakeSink::new(|_, _| Ok(())));
    kept.held.send_replace(true);
    gone.held.send_replace(true);
    let outbox = house.open(&[("kept", &kept), ("gone", &gone)]);
    kept.until_tried(1).await;
    gone.until_tried(1).await;
    outbox.reload(vec![(config("kept"), unused.clone())]);
    kept.held.send_replace(false);
    gone.held.send_replace(false);
    house.store.until(|store| lock(&store.rows).len() == 1).await;
    assert_eq!((kept.confirmed(), gone.confirmed()), (vec![1], vec![2]), "its later deliveries stay");
    outbox.reload(vec![(config("kept"), unused.clone()), (config("gone"), gone.clone())]);
    house.store.until_empty().await;
    assert_eq!((gone.confirmed(), tries(&unused).len()), (vec![2, 3], 0));
}

#[tokio::test(start_paused = true)]
async fn draining_delivers_what_can_go_and_cuts_off_what_hangs() {
    let house = house();
    (1..=2_500).for_each(|row| house.store.add("ops", row, row as u64, Opened));
    let sink = FakeSink::new(|_, _| Ok(()));
    assert!(house.open(&[("ops", &sink)]).drain(SECOND).await);
    assert_eq!((sink.confirmed().len(), lock(&house.store.rows).len()), (2_500, 0));
    house.store.add("ops", 3_000, 1, Opened);
    sink.held.send_replace(true);
    let outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(2_501).await;
    let start = crate::clock::timer_now();
    assert!(!outbox.drain(3 * SECOND).await);
    assert_eq!((crate::clock::timer_now() - start).as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_closed_ledger_or_a_shutdown_ends_sending() {
    let house = house();
    (1..=100).for_each(|row| house.store.add("ops", row, 7, Opened));
    house.store.closed.store(true, Ordering::SeqCst);
    let sink = FakeSink::new(|_, _| Ok(()));
    house.open(&[("ops", &sink)]).drain(60 * SECOND).await;
    assert!(tries(&sink).len() < 100 && lock(&house.store.rows).len() == 100);
    house.parts.shutdown.cancel();
    let idle = FakeSink::new(|_, _| Ok(()));
    assert!(house.open(&[("ops", &idle)]).drain(SECOND).await);
    assert!(tries(&idle).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_breaks_or_a_store_that_cannot_be_read_is_tried_again() {
    let house = house();
    house.store.add("ops", 1, 7, Opened);
    house.store.unreadable.store(true, Ordering::SeqCst);
    let sink = FakeSink::new(|_, number| if number == 0 { panic!("broken") } else { Ok(()) });
    let start = crate::clock::timer_now();
    let _outbox = house.open(&[("ops", &sink)]);
    house.store.until_empty().await;
    assert_eq!(tries(&sink)[0].at - start, SECOND);
    assert_eq!((tries(&sink).len(), sink.confirmed()), (2, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_misconfigured_sink_is_tried_slowly_and_loses_nothing() {
    let house = house();
    house.store.add("ops", 1, 7, Opened);
    let wrong = || Err(SinkError::Misconfigured("401".to_owned()));
    let sink = FakeSink::new(move |_, number| if number < 4 { wrong() } else { Ok(()) });
    let outbox = house.open(&[("ops", &sink)]);
    sink.until_tried(2).await;
    let status = outbox.status().remove(0);
    assert_eq!(status.last_error.as_deref(), Some("misconfigured: 401"));
    house.store.until_empty().await;
    assert!(tries(&sink).windows(2).all(|two| two[1].at - two[0].at >= 30 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_confirmed_only_once_the_ticket_that_its_receiver_names_is_noted() {
    let mut house = house();
    let noted = Arc::new(Mutex::new(Vec::new()));
    let kept = noted.clone();
    house.parts.tickets = Arc::new(move |sink, incident, ticket| {
        let mut noted = lock(&kept);
        noted.push(format!("{sink} {} {}", incident.0, ticket.name));
        // The first time, the daemon is going down.
        let durable = noted.len() > 1;
        Box::pin(async move { durable })
    });
    house.store.add("ops", 1, 7, Opened);
    let sink = FakeSink::with_ticket("OPS-42");
    let _outbox = house.open(&[("ops", &sink)]);
    house.store.until_empty().await;
    assert_eq!(*lock(&noted), ["ops 7 OPS-42"; 2]);
    assert_eq!(tries(&sink).len(), 2);
}
