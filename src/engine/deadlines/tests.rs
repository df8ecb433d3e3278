//! What the scenarios cannot show of deadlines: what is counted, bytes, and the price of a look.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::engine::decision::Reason;
use crate::engine::moves::Move;
use crate::engine::shard::Shard;
use crate::engine::tests::at;
use crate::engine::{EngineConfig, tests::one_alert};
use crate::rules::{DeadlineConfigs, Definition, RuleConfig, TargetsConfig, compile};

const HOUR: i64 = 3_600;

fn shard(rules: &str, targets: &str) -> Shard {
    Shard::new(EngineConfig::default(), set(rules, targets))
}

fn set(rules: &str, targets: &str) -> Arc<RuleSet> {
    let rules: Vec<RuleConfig> = serde_saphyr::from_str(rules).expect(rules);
    let targets: TargetsConfig = serde_saphyr::from_str(targets).expect(targets);
    let deadlines = DeadlineConfigs { targets: &targets, warn_at: &[Share::HALF], ..DeadlineConfigs::NONE };
    let (set, problems) = compile(&Definition { deadlines, ..Definition::of(&rules, &["ops".to_owned()]) });
    assert_eq!(problems, []);
    Arc::new(set)
}

fn counted(shard: &mut Shard) -> Vec<String> {
    let shown = |count: &TargetCount| {
        format!("{} {} {:?}", count.target.as_str(), count.priority.as_str(), count.turn).to_lowercase()
    };
    shard.take_changes().targets.iter().map(shown).collect()
}

fn targets(shard: &Shard) -> Targets {
    shard.docs()[0].targets.clone()
}

const RULE: &str = "[{ name: all, resolve_after: 0s, reopen_within: 1h, on_stale: hold }]";

/// What a person orders.
fn by_hand(shard: &mut Shard, now: Timestamp, group: u32, step: Move, reason: Reason, detail: String) {
    shard.by = Some("operator:test".into());
    shard.emit(now, group, step, reason, detail);
    shard.by = None;
}

#[test]
fn on_hold_the_clock_stands_and_the_answer_is_given() {
    let mut shard = shard(RULE, "{ P4: { respond: 2h, resolve: 4h } }");
    one_alert(&mut shard, 0, true);
    shard.advance(at(HOUR));
    by_hand(&mut shard, at(HOUR), 0, Move::Hold, Reason::OnHold, String::new());
    let held = targets(&shard);
    assert_eq!((held.respond, held.resolve), (Some(TargetState::Met), Some(TargetState::Paused)));
    assert_eq!((held.respond_by, held.resolve_by), (Some(at(2 * HOUR)), None));
    assert_eq!(shard.target_share_at(0, Target::Resolve, Share::HALF), None, "it stands");
    shard.advance(at(100 * HOUR));
    by_hand(&mut shard, at(100 * HOUR), 0, Move::Resume, Reason::Resumed, String::new());
    assert_eq!(targets(&shard).resolve_by, Some(at(103 * HOUR)), "one hour was spent");
    assert_eq!(shard.target_share_at(0, Target::Resolve, Share::HALF), Some(at(101 * HOUR)));
    assert_eq!(shard.target_share_at(0, Target::Respond, Share::HALF), None, "it is met");
    shard.advance(at(101 * HOUR));
    shard.advance(at(103 * HOUR));
    let expected = ["respond p4 warned", "respond p4 met", "resolve p4 warned", "resolve p4 breached"];
    assert_eq!(counted(&mut shard), expected);
}

#[test]
fn a_lower_priority_lengthens_the_target_and_takes_no_breach_back() {
    let mut shard = shard(RULE, "{ P4: { respond: 1h, resolve: 4h }, P5: { respond: 8h, resolve: 40h } }");
    one_alert(&mut shard, 0, true);
    shard.advance(at(3 * HOUR));
    let incident = shard.groups.slots[0].incident.as_deref_mut().expect("an incident");
    incident.priority = Priority::P5;
    shard.priority_turned(at(3 * HOUR), 0);
    let turned = targets(&shard);
    assert_eq!((turned.respond, turned.respond_by), (Some(TargetState::Breached), Some(at(HOUR))));
    assert_eq!(turned.resolve_by, Some(at(40 * HOUR)));
    assert!(turned.breached);
    counted(&mut shard);
    shard.advance(at(39 * HOUR));
    assert_eq!(counted(&mut shard), [""; 0], "half of it was warned of before");
    shard.advance(at(40 * HOUR));
    assert_eq!(counted(&mut shard), ["resolve p5 breached"]);
}

#[test]
fn what_is_met_counts_when_it_is_final_and_once() {
    let mut shard = shard(RULE, "{ P4: { respond: 1h, resolve: 4h } }");
    one_alert(&mut shard, 0, true);
    one_alert(&mut shard, 60, false);
    assert_eq!(counted(&mut shard), [""; 0], "it may come back");
    one_alert(&mut shard, 120, true);
    by_hand(&mut shard, at(180), 0, Move::Acknowledge, Reason::ByHand, String::new());
    assert_eq!(counted(&mut shard), ["respond p4 met"]);
    one_alert(&mut shard, 240, false);
    one_alert(&mut shard, 300, true);
    one_alert(&mut shard, 360, false);
    assert_eq!(counted(&mut shard), [""; 0]);
    shard.advance(at(360 + HOUR));
    assert_eq!(counted(&mut shard), ["resolve p4 met"]);
    // Nobody takes the next one.
    one_alert(&mut shard, 2 * HOUR, true);
    one_alert(&mut shard, 2 * HOUR + 60, false);
    shard.advance(at(4 * HOUR));
    assert_eq!(counted(&mut shard), ["respond p4 met", "resolve p4 met"]);
}

#[test]
fn a_reload_that_changes_nothing_of_it_writes_nothing() {
    let mut shard = shard(RULE, "{ P4: { respond: 1h, resolve: 4h } }");
    one_alert(&mut shard, 0, true);
    shard.take_changes();
    shard.reload(set(RULE, "{ P4: { respond: 1h, resolve: 4h }, P1: { resolve: 1h } }"), EngineConfig::default());
    assert!(shard.take_changes().journal.is_empty());
    shard.reload(set(RULE, "{ P4: { respond: 1h, resolve: 5h } }"), EngineConfig::default());
    assert!(!shard.take_changes().journal.is_empty());
    assert_eq!(targets(&shard).resolve_by, Some(at(5 * HOUR)));
}

proptest! {
    /// Whatever happens in whatever order: what was spent is the time in which the clock ran, by a count of its own.
    #[test]
    fn what_was_spent_is_the_time_in_which_the_clock_ran(
        steps in proptest::collection::vec((1_i64..10_000, 0_usize..4), 1..20),
    ) {
        let mut shard = shard(RULE, "{ P4: { resolve: 365d }, P2: { resolve: 300d } }");
        one_alert(&mut shard, 0, true);
        let (mut now, mut spent) = (0, 0);
        for (seconds, step) in steps {
            let status = shard.docs()[0].status;
            let runs = status.is_live() && status != IncidentStatus::OnHold;
            spent += if runs { seconds } else { 0 };
            now += seconds;
            shard.advance(at(now));
            let step = [Move::Hold, Move::Resume, Move::Acknowledge, Move::Start][step];
            if status.after(step).is_some() {
                by_hand(&mut shard, at(now), 0, step, Reason::ByHand, String::new());
            }
        }
        let status = shard.docs()[0].status;
        let left = Duration::from_secs((365 * 86_400 - spent) as u64);
        let due = (status != IncidentStatus::OnHold).then(|| at(now).plus(left));
        prop_assert_eq!(targets(&shard).resolve_by, due);
    }
}
