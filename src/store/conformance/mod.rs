//! What every store must do: one suite of claims, run against each of them.
//!
//! All claims work on the same data, so each has shards, sinks, rules and incidents of its own.

mod hot;
mod outbox;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use super::{Commit, Store};
use crate::engine::incident::{AlertCounts, IncidentDoc};
use crate::event::{Severity, Timestamp};
use crate::identity::IncidentId;

/// Opens the store; once more on the same data stands for a restart.
type Open<'a> = dyn FnMut() -> Box<dyn Store> + 'a;

/// Runs every claim. `open` is called again after the store that it gave before was dropped.
pub fn conformance(open: &mut dyn FnMut() -> Box<dyn Store>) {
    for claim in [
        hot::a_shard_replays_its_journal_in_order_and_no_others,
        hot::an_empty_shard_replays_nothing,
        hot::replay_is_the_newest_complete_snapshot_then_the_journal_since_its_first_slice,
        hot::an_unfinished_snapshot_is_ignored,
        hot::a_snapshot_that_was_begun_again_holds_nothing_of_the_first_try,
        hot::a_snapshot_that_lacks_a_part_does_not_count,
        hot::shards_are_cut_apart_from_one_another,
        hot::the_order_holds_after_a_restart_on_a_cut_journal,
        hot::an_error_of_the_reader_ends_the_replay,
        hot::positions_move_and_survive,
        hot::meta_is_what_was_written_last,
        hot::an_empty_commit_changes_nothing,
        rows::the_newest_document_of_an_incident_wins,
        rows::a_closed_incident_keeps_the_alerts_it_leaves_behind,
        rows::incidents_are_listed_newest_first_and_paged_without_gap_or_repeat,
        rows::filters_combine,
        rows::an_unknown_incident_is_none,
        rows::a_timeline_is_the_newest_entries_oldest_first,
        rows::a_timeline_entry_is_written_once,
        rows::a_silence_is_kept_as_each_shard_last_had_it_until_it_is_forgotten,
        rows::a_problem_is_kept_as_it_last_was_and_listed_by_its_status_newest_first,
        outbox::deliveries_wait_in_the_order_of_their_commits,
        outbox::a_delivery_that_waits_is_not_inserted_twice,
        outbox::a_delivery_that_is_done_is_gone_and_its_row_is_not_used_again,
        outbox::failed_attempts_survive_a_restart,
        outbox::a_parked_delivery_waits_apart_until_it_is_retried,
        outbox::the_backlog_counts_parked_deliveries_too,
    ] {
        claim(open);
    }
}

fn commit(store: &mut dyn Store, commit: Commit) {
    store.commit(&commit).expect("a commit");
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000).plus(Duration::from_secs(seconds))
}

pub(super) fn doc(id: u64, rule: &str, opened_at: Timestamp) -> IncidentDoc {
    IncidentDoc {
        title: format!("{rule} \"{id}\"").into(),
        rule: rule.into(),
        key: [(Arc::from("service"), Arc::from("checkout"))].into_iter().collect(),
        severity: Severity::Critical,
        priority_reason: "high × high".into(),
        service: Some("checkout".into()),
        alerts: AlertCounts { firing: 1, resolved: 0, total: 1 },
        events: 1,
        reasons: vec!["condition_met".into()],
        ..IncidentDoc::blank(IncidentId(id), opened_at)
    }
}
