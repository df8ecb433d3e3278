//! What the scenarios cannot show of heartbeats: a start after some time away, a full shard, what is left behind, and that
//! a shard that was restored goes on like one that never stopped.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::delivery::Action;
use crate::engine::EngineConfig;
use crate::event::Kind;
use crate::rules::{Definition, HeartbeatConfig, RuleConfig, compile};

const EVERY: i64 = 600;
const PLAIN: &str = "[{name: beat, every: 10m, grace: 5m}]";
const BY_HOST: &str = "[{name: beat, by: [host], every: 10m, grace: 5m, after_start: 0s, forget_after: 1h}]";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_parts(1_800_000_000 + seconds, 0)
}

fn rules(heartbeats: &str) -> Arc<RuleSet> {
    let configs: Vec<HeartbeatConfig> = serde_saphyr::from_str(heartbeats).expect(heartbeats);
    let all: RuleConfig = serde_saphyr::from_str("{name: all, update_interval: 0s}").expect("a rule");
    let (set, problems) = compile(&Definition { heartbeats: &configs, ..Definition::of(&[all], &[]) });
    assert_eq!(problems, []);
    Arc::new(set)
}

fn shard(heartbeats: &str) -> Shard {
    Shard::new(EngineConfig::default(), rules(heartbeats))
}

fn event(now: Timestamp, kind: Kind, host: &str, occurred_at: Timestamp) -> Batch {
    let mut batch = Batch::new(Bytes::new(), now);
    let mark = batch.mark();
    let (name, value) = (batch.intern("host"), batch.intern(host));
    batch.push_pair(name, value);
    let event = Event {
        source: batch.intern("test"),
        labels: batch.pairs_since(mark),
        kind,
        occurred_at: Some(occurred_at),
        fingerprint: Fingerprint(1),
        ..Event::default()
    };
    batch.events.push(event);
    batch
}

fn beat(shard: &mut Shard, seconds: i64, host: &str) -> Verdict {
    let mut verdicts = Vec::new();
    shard.apply(at(seconds), &event(at(seconds), Kind::Heartbeat, host, at(seconds)), None, &mut verdicts);
    verdicts.remove(0)
}

fn actions(shard: &mut Shard) -> Vec<Action> {
    shard.take_changes().decisions.iter().map(|decision| decision.action).collect()
}

fn restored(heartbeats: &str, from: &[Vec<u8>]) -> Shard {
    let mut shard = shard(heartbeats);
    from.iter().for_each(|entry| shard.restore(entry).expect("what a shard wrote"));
    shard.finish_restore();
    shard
}

fn snapshot(shard: &mut Shard) -> Vec<Vec<u8>> {
    let mut slices = Vec::new();
    loop {
        let step = shard.snapshot_step();
        slices.push(step.bytes);
        if step.last {
            return slices;
        }
    }
}

#[test]
fn a_daemon_that_was_down_does_not_cry_wolf_and_still_misses_what_stays_away() {
    let mut original = shard(PLAIN);
    beat(&mut original, 0, "a");
    for heard_again in [true, false] {
        let mut shard = restored(PLAIN, &snapshot(&mut original));
        assert!(shard.next_deadline().is_some_and(|due| due <= Timestamp::default()), "it is looked after at once");
        shard.advance(at(86_400));
        shard.advance(at(86_400 + 299));
        assert_eq!(actions(&mut shard), [], "five minutes of grace after a day away");
        if heard_again {
            beat(&mut shard, 86_400 + 299, "a");
        }
        shard.advance(at(86_400 + 300));
        // Late, and missing by now.
        let expected: &[Action] = if heard_again { &[] } else { &[Action::Opened, Action::Updated] };
        assert_eq!(actions(&mut shard), expected);
    }
}

#[test]
fn a_full_shard_tells_of_what_is_missing_as_soon_as_there_is_room() {
    let mut shard = Shard::new(EngineConfig { max_alerts: 1, ..EngineConfig::default() }, rules(PLAIN));
    beat(&mut shard, 0, "a");
    let mut other = event(at(EVERY - 1), Kind::Alert, "a", at(EVERY - 1));
    other.events[0].status = Status::Resolved;
    shard.apply(at(EVERY - 1), &other, None, &mut Vec::new());
    let seconds = |shard: &Shard| shard.heartbeats.deadline().expect("a deadline").since(at(0)).as_secs() as i64;
    let mut tries = 0;
    while seconds(&shard) < 900 {
        tries += 1;
        shard.advance(at(seconds(&shard)));
        assert_eq!(shard.heartbeats.slots[0].stage, Stage::OnTime);
    }
    assert_eq!(tries, 5, "once a minute");
    // The other one is forgotten at 899 s.
    shard.advance(at(900));
    assert_eq!(shard.heartbeats.slots[0].stage, Stage::Missing);
    assert_eq!(actions(&mut shard), [Action::Opened, Action::Updated]);
}

#[test]
fn what_is_forgotten_leaves_nothing_behind() {
    let mut shard = shard(BY_HOST);
    for host in ["a", "b", "c"] {
        beat(&mut shard, 0, host);
    }
    shard.advance(at(EVERY));
    let mut shard = restored(BY_HOST, &snapshot(&mut shard));
    while let Some(deadline) = shard.next_deadline() {
        shard.advance(deadline.max(at(EVERY)));
    }
    assert_eq!((shard.heartbeats.slots.len(), shard.stats().firing, shard.names.len()), (0, 0, 0));
}

#[test]
fn of_too_many_keys_the_label_with_most_values_is_named() {
    let yaml = "[{name: beat, by: [host, job], every: 10m, max_keys: 3}]";
    let mut shard = shard(yaml);
    let send = |shard: &mut Shard, host: &str| {
        let mut batch = event(at(0), Kind::Heartbeat, host, at(0));
        let mark = batch.mark();
        for (name, value) in [("host", host), ("job", "backup")] {
            let (name, value) = (batch.intern(name), batch.intern(value));
            batch.push_pair(name, value);
        }
        batch.events[0].labels = batch.pairs_since(mark);
        let mut verdicts = Vec::new();
        shard.apply(at(0), &batch, None, &mut verdicts);
        verdicts.remove(0)
    };
    for host in ["a", "b", "c"] {
        assert_eq!(send(&mut shard, host).reason, Reason::HeartbeatNoted);
    }
    let refused = send(&mut shard, "d");
    let told = (refused.reason, refused.rule.as_deref(), refused.hint.as_deref());
    assert_eq!(told, (Reason::LimitReached, Some("beat"), Some("max_keys; the label with the most values is host")));
}

#[test]
fn a_damaged_record_is_refused() {
    let mut shard = shard(BY_HOST);
    assert_eq!(shard.restore(&[5, 13, 7, 0]), Err("unknown record 7 of a heartbeat at byte 4 of 4".to_owned()));
    for cut in 3..20 {
        let mut entry = vec![5, 13, 0, 0, 1, b'a'];
        entry.resize(cut.max(6), 0xff);
        assert!(shard.restore(&entry[..cut.min(entry.len())]).is_err());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Beat { host: u8, late: i64 },
    Pass,
    Restart,
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let beat = (0u8..3, prop_oneof![Just(0), 0i64..1_500]).prop_map(|(host, late)| Step::Beat { host, late });
    (0i64..700, prop_oneof![4 => beat, 2 => Just(Step::Pass), 1 => Just(Step::Restart)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_expectation_stands_where_the_newest_sign_of_life_puts_it(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut kept, mut again) = (shard(BY_HOST), shard(BY_HOST));
        let mut journal: Vec<Vec<u8>> = Vec::new();
        let mut now = 0;
        for (number, (passed, step)) in steps.into_iter().enumerate() {
            now += passed;
            if matches!(step, Step::Restart) {
                if number % 2 == 0 {
                    journal = snapshot(&mut again);
                }
                again = restored(BY_HOST, &journal);
            }
            for shard in [&mut kept, &mut again] {
                shard.advance(at(now));
                if let Step::Beat { host, late } = step {
                    let batch = event(at(now), Kind::Heartbeat, &format!("h{host}"), at(now - late));
                    shard.apply(at(now), &batch, None, &mut Vec::new());
                }
                shard.advance(at(now));
            }
            for (_, expectation) in kept.heartbeats.slots.slots() {
                let silent = at(now).since(expectation.heard).as_secs() as i64;
                // What is late stays so until it is on time again, though an old sign of life may come in between.
                let stage = match silent {
                    ..EVERY => Stage::OnTime,
                    EVERY..900 => expectation.stage,
                    _ => Stage::Missing,
                };
                prop_assert_eq!(expectation.stage, stage, "{} s silent", silent);
                prop_assert!(silent < EVERY || expectation.stage != Stage::OnTime);
            }
            let (one, other) = (kept.take_changes(), again.take_changes());
            journal.push(other.journal.clone());
            journal.retain(|entry| !entry.is_empty());
            let shown = |changes: &crate::engine::Changes| {
                let shown = changes.decisions.iter().map(|decision| format!("{decision:?}"));
                shown.collect::<Vec<_>>()
            };
            prop_assert_eq!(shown(&one), shown(&other));
        }
    }
}
