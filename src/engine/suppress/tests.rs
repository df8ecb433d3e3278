//! What the scenarios cannot show of silences: their ids, their bounds, what they remember and what is written of them.

use std::sync::Arc;
use std::time::Duration;

use super::silence::{SilenceDoc, SilenceDraft};
use crate::engine::command::{Command, Done, Refusal};
use crate::engine::{EngineConfig, Shard};
use crate::event::{Batch, Event, Status, Timestamp};
use crate::identity::Fingerprint;
use crate::rules::{Definition, InhibitRuleConfig, RuleConfig, compile};

const DAY: u64 = 86_400;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_parts(1_800_000_000, 0).plus(Duration::from_secs(seconds))
}

fn shard() -> Shard {
    let rules: Vec<RuleConfig> = serde_saphyr::from_str("[{ name: all, group_by: [host] }]").expect("a rule");
    Shard::new(EngineConfig::default(), Arc::new(compile(&Definition::of(&rules, &["ops".to_owned()])).0))
}

fn draft(matcher: &str, until: u64) -> SilenceDraft {
    let (matchers, comment) = (vec![matcher.to_owned()], "known".to_owned());
    SilenceDraft { id: None, matchers, starts_at: at(0), ends_at: at(until), comment }
}

fn silence(shard: &mut Shard, now: u64, draft: &SilenceDraft) -> Result<SilenceDoc, Refusal> {
    match shard.command(at(now), "ann", &Command::Silence(draft.clone()))? {
        Done::Silence(doc) => Ok(doc),
        done => panic!("{done:?}"),
    }
}

/// So many alerts fire, each with the number of its host.
fn fire(shard: &mut Shard, now: u64, status: Status, hosts: impl IntoIterator<Item = u32>) {
    let mut batch = Batch::new(bytes::Bytes::new(), at(now));
    for host in hosts {
        let mark = batch.mark();
        let (name, value) = (batch.intern("host"), batch.intern(&host.to_string()));
        batch.push_pair(name, value);
        let labels = batch.pairs_since(mark);
        let (fingerprint, occurred_at) = (Fingerprint(u128::from(host) + 1), Some(at(now)));
        let ends_at = Some(at(now + 100 * DAY));
        batch.events.push(Event { labels, status, occurred_at, ends_at, fingerprint, ..Event::default() });
    }
    shard.apply(at(now), &batch, None, &mut Vec::new());
}

#[test]
fn a_silence_is_named_by_a_uuid_that_follows_from_what_it_says() {
    let (mut one, mut other) = (shard(), shard());
    let first = silence(&mut one, 0, &draft("host=a", 60)).expect("a silence");
    assert_eq!((&first.id[14..15], first.id.len()), ("8", 36), "{}", first.id);
    assert!(["8", "9", "a", "b"].contains(&&first.id[19..20]), "{}", first.id);
    assert_eq!(
        silence(&mut other, 3, &draft(" host = \"a\"", 60)).expect("a silence").id,
        first.id,
        "a second try, later"
    );
    let again = silence(&mut one, 5, &draft("host=a", 60)).expect("a silence");
    assert_eq!((again.id, one.silences(at(5)).len()), (first.id.clone(), 1));
    assert_ne!(silence(&mut one, 5, &draft("host=b", 60)).expect("a silence").id, first.id);
    one.command(at(6), "ann", &Command::Expire(first.id.parse().expect("a UUID"))).expect("it is known");
    let anew = silence(&mut one, 7, &draft("host=a", 60)).expect("a silence");
    assert_ne!(anew.id, first.id, "what is over does not come back");
}

#[test]
fn a_start_in_the_past_is_now_and_one_on_its_way_is_as_it_was_said() {
    let mut shard = shard();
    assert_eq!(silence(&mut shard, 60, &draft("host=a", 90)).expect("a silence").starts_at, at(0));
    assert_eq!(silence(&mut shard, 61, &draft("host=b", 90)).expect("a silence").starts_at, at(61));
}

#[test]
fn what_is_out_of_bounds_is_refused_and_changes_nothing() {
    let mut shard = shard();
    let good = draft("host=a", 60);
    for (bad, why) in [
        (SilenceDraft { ends_at: at(3_651 * DAY), ..good.clone() }, "within 10 years"),
        (SilenceDraft { comment: "x".repeat(4_097), ..good.clone() }, "a comment is at most 4 KiB"),
        (SilenceDraft { matchers: vec!["a=b".to_owned(); 65], ..good.clone() }, "1 to 64 matchers, not 65"),
        (SilenceDraft { matchers: vec![format!("a={}", "b".repeat(9 << 10)); 2], ..good.clone() }, "at most 16 KiB"),
        (SilenceDraft { matchers: vec!["a=\"\"".to_owned()], ..good.clone() }, "must not match an empty value"),
    ] {
        let refusal = silence(&mut shard, 0, &bad).expect_err(why);
        assert!(matches!(&refusal, Refusal::Invalid(said) if said.contains(why)), "{refusal:?}");
    }
    let unknown = "00000000-0000-8000-8000-000000000000".parse().expect("a UUID");
    assert_eq!(silence(&mut shard, 0, &SilenceDraft { id: Some(unknown), ..good }), Err(Refusal::Unknown));
    assert_eq!(shard.command(at(0), "ann", &Command::Expire(unknown)), Err(Refusal::Unknown));
    let changes = shard.take_changes();
    assert!(shard.silences(at(0)).is_empty() && changes.journal.is_empty() && changes.silences.is_empty());
}

#[test]
fn ten_thousand_silences_may_be_in_force_or_to_come_and_one_of_them_may_be_replaced() {
    let mut shard = shard();
    fire(&mut shard, 0, Status::Firing, 0..50);
    for host in 0..10_000 {
        silence(&mut shard, 0, &draft(&format!("host={host}"), DAY)).expect("there is room");
    }
    let refusal = silence(&mut shard, 0, &draft("host=x", DAY)).expect_err("there is none");
    assert!(matches!(&refusal, Refusal::Limit(said) if said.contains("expire some")), "{refusal:?}");
    let last = shard.silences(at(0)).remove(0).id.parse().expect("a UUID");
    silence(&mut shard, 0, &SilenceDraft { id: Some(last), ..draft("host=x", DAY) }).expect("in its place");
    assert_eq!((shard.stats().silences, shard.stats().suppressed[0]), ([0, 10_000, 1], 50));
    // All end at once, and are forgotten five days later; what they muted is heard of.
    shard.advance(at(DAY));
    assert_eq!((shard.stats().silences, shard.stats().suppressed[0]), ([0, 0, 10_000], 0), "the oldest had to go");
    assert_eq!(shard.docs().len(), 50);
    shard.take_changes();
    shard.advance(at(6 * DAY));
    assert_eq!(shard.stats().silences, [0; 3]);
    assert!(shard.take_changes().silences.iter().all(|change| change.doc.is_none()));
}

#[test]
fn a_silence_remembers_the_last_hundred_alerts_and_counts_all() {
    let mut shard = shard();
    let id = silence(&mut shard, 0, &draft("host=~\".+\"", DAY)).expect("a silence").id;
    fire(&mut shard, 1, Status::Firing, 0..150);
    fire(&mut shard, 2, Status::Firing, 0..150);
    fire(&mut shard, 3, Status::Resolved, 0..30);
    let entries = [shard.take_changes().journal];
    let doc = shard.silence_named(at(3), id.parse().expect("a UUID")).expect("it is known");
    assert_eq!((doc.muting, doc.muted_alerts, doc.muted_events, doc.last_muted.len()), (120, 150, 300, 100));
    let newest = shard.alerts(at(3)).into_iter().find(|alert| alert.labels["host"] == "149").expect("it fires");
    assert_eq!((&doc.last_muted[0], &newest.silenced_by), (&newest.fingerprint, &vec![id]));
    assert!(shard.silences(at(3))[0].last_muted.is_empty(), "not in a list");
    let mut restored = self::shard();
    entries.iter().for_each(|entry| restored.restore(entry).expect("what a shard wrote"));
    restored.finish_restore();
    assert_eq!(restored.silences(at(3)), shard.silences(at(3)));
    assert_eq!(restored.silence_named(at(3), doc.id.parse().expect("a UUID")), Some(doc));
}

#[test]
fn of_the_silences_on_an_alert_sixteen_count_it_and_any_mutes_it() {
    let mut shard = shard();
    let ends = |n: u64| 10 + n;
    for n in 0..20 {
        silence(&mut shard, 0, &draft("host=1", ends(n))).expect("a silence");
    }
    fire(&mut shard, 1, Status::Firing, [1]);
    let counted = |shard: &Shard, now| {
        let muting: u64 = shard.silences(at(now)).iter().map(|silence| silence.muting).sum();
        (muting, shard.alerts(at(now))[0].silenced_by.len())
    };
    assert_eq!(counted(&shard, 1), (16, 16));
    shard.advance(at(ends(10)));
    assert_eq!(counted(&shard, ends(10)), (9, 9), "those that were left out count it now");
    shard.advance(at(ends(18)));
    assert_eq!((counted(&shard, ends(18)), shard.docs().len()), ((1, 1), 0));
    shard.advance(at(ends(19)));
    assert_eq!(shard.docs().len(), 1);
}

#[test]
fn a_silence_is_written_once_a_commit_however_much_it_mutes() {
    let mut shard = shard();
    silence(&mut shard, 0, &draft("host=~\".+\"", DAY)).expect("a silence");
    for second in 1..50 {
        fire(&mut shard, second, Status::Firing, 0..10);
    }
    let changes = shard.take_changes().silences;
    let doc = changes[0].doc.as_ref().expect("it is there");
    assert_eq!((changes.len(), doc.muted_events, doc.state), (1, 490, "active"));
    assert!(shard.take_changes().silences.is_empty());
    shard.advance(at(DAY));
    let changes = shard.take_changes().silences;
    assert_eq!((changes.len(), changes[0].doc.as_ref().map(|doc| (doc.state, doc.muting))), (1, Some(("expired", 0))));
}

#[test]
fn of_many_sources_of_an_inhibition_sixteen_are_named_and_the_last_one_lets_go() {
    let rules: Vec<InhibitRuleConfig> =
        serde_saphyr::from_str("[{ name: down, source_matchers: ['host=~\"1..\"'], target_matchers: ['host=\"7\"'] }]")
            .expect("a rule");
    let configs: Vec<RuleConfig> = serde_saphyr::from_str("[{ name: all, group_by: [host] }]").expect("a rule");
    let sinks = ["ops".to_owned()];
    let definition = Definition { inhibit_rules: &rules, ..Definition::of(&configs, &sinks) };
    let mut shard = Shard::new(EngineConfig::default(), compile(&definition).0.into());
    fire(&mut shard, 0, Status::Firing, 100..200);
    fire(&mut shard, 1, Status::Firing, [7]);
    let named = |shard: &Shard| {
        let found = shard.alerts(at(1)).into_iter().find(|alert| alert.labels["host"] == "7");
        found.expect("it fires").inhibited_by.len()
    };
    assert_eq!((named(&shard), shard.stats().suppressed[1]), (16, 1));
    fire(&mut shard, 2, Status::Resolved, 100..199);
    assert_eq!((named(&shard), shard.stats().suppressed[1]), (1, 1));
    fire(&mut shard, 3, Status::Resolved, [199]);
    assert_eq!((named(&shard), shard.stats().suppressed[1]), (0, 0));
}
