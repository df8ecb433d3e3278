//! The figures of a report, from what the documents of incidents say. Pure: no clock, no store.
//!
//! Of each incident three numbers are kept, and one count for each rule, service and signature there is, so a report
//! over [`super::INCIDENTS_MAX`] incidents takes some 10 MiB. Lists show the [`LISTED_MAX`] greatest.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Timestamp;

/// Services, rules and signatures that are listed.
pub(super) const LISTED_MAX: usize = 20;

/// What a report goes by of an incident's document. What an older document lacks is taken for nothing.
#[derive(Debug, Deserialize)]
pub(super) struct Facts {
    status: String,
    #[serde(default)]
    title: String,
    rule: String,
    priority: String,
    service: Option<String>,
    opened_at: Timestamp,
    acknowledged_at: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
    updated_at: Timestamp,
    alerts: Alerts,
    events: u64,
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    targets: Kept,
    #[serde(default)]
    escalation: Level,
    #[serde(default)]
    escalated: Escalated,
    #[serde(default)]
    time_in: BTreeMap<String, u64>,
    #[serde(default)]
    reopened: u64,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    major: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    assignment: Option<Assignment>,
}

#[derive(Debug, Deserialize)]
struct Alerts {
    total: u64,
}

#[derive(Debug, Deserialize)]
struct Link {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
struct Kept {
    respond: Option<String>,
    resolve: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Level {
    #[serde(default)]
    level: u32,
}

#[derive(Debug, Default, Deserialize)]
struct Escalated {
    highest: u32,
    times: u32,
    major: bool,
}

#[derive(Debug, Deserialize)]
struct Assignment {
    #[serde(default)]
    reassigned: u64,
}

/// How long something took, over all for which it is known; in whole seconds.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Spread {
    count: usize,
    mean_s: Option<u64>,
    median_s: Option<u64>,
    p90_s: Option<u64>,
}

/// How an agreed time was kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Share {
    met: u64,
    breached: u64,
    /// Still running, or standing still.
    pending: u64,
    /// Of what is decided; none where nothing is.
    percent: Option<f64>,
}

/// The incidents of one priority, one service, or all of them.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Slice {
    /// `P1`, or the name of the service; `(none)` where an incident has no service.
    name: String,
    incidents: u64,
    /// Neither resolved nor closed.
    open: u64,
    /// From opening to acknowledgement.
    acknowledged: Spread,
    /// From opening to the last resolution.
    resolved: Spread,
    /// The same, without the time on hold.
    resolved_without_hold: Spread,
    respond: Share,
    resolve: Share,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Noise {
    rule: String,
    incidents: u64,
    events: u64,
    alerts: u64,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Recurring {
    signature: String,
    incidents: u64,
    rule: String,
    /// Of the newest.
    title: String,
}

#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
struct Escalations {
    /// Incidents that escalated, by a step of their policy or by hand.
    incidents: u64,
    /// How many have come to which step at the highest.
    by_level: BTreeMap<u32, u64>,
    /// Incidents that were declared major.
    major: u64,
}

/// So many incidents, so often in all.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
struct Often {
    incidents: u64,
    times: u64,
}

/// The figures.
#[derive(Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Figures {
    all: Slice,
    /// Merged into others, which are counted for them.
    merged: u64,
    by_priority: Vec<Slice>,
    /// Those with the most incidents.
    by_service: Vec<Slice>,
    reopened: Often,
    reassigned: Often,
    escalations: Escalations,
    /// Seconds in each status, over all incidents.
    time_in: BTreeMap<String, u64>,
    /// By events.
    noisiest_rules: Vec<Noise>,
    /// The same rule and key more than once.
    recurring: Vec<Recurring>,
}

#[derive(Debug, Default)]
struct Gathering {
    incidents: u64,
    open: u64,
    acknowledged: Vec<u64>,
    resolved: Vec<u64>,
    resolved_without_hold: Vec<u64>,
    respond: Share,
    resolve: Share,
}

/// Takes one incident after the other, in any order.
#[derive(Debug, Default)]
pub(super) struct Tally {
    figures: Figures,
    all: Gathering,
    by_priority: BTreeMap<String, Gathering>,
    by_service: BTreeMap<String, Gathering>,
    by_rule: BTreeMap<String, [u64; 3]>,
    by_signature: BTreeMap<String, (Timestamp, Recurring)>,
}

impl Tally {
    /// Takes an incident in, as it is now.
    pub(super) fn add(&mut self, now: Timestamp, facts: Facts) {
        if facts.links.iter().any(|link| link.kind == "merged_into") {
            self.figures.merged += 1;
            return;
        }
        let name = facts.service.clone().unwrap_or_else(|| "(none)".to_owned());
        self.all.add(&facts);
        self.by_priority.entry(facts.priority.clone()).or_default().add(&facts);
        self.by_service.entry(name).or_default().add(&facts);
        let figures = &mut self.figures;
        figures.reopened.add(facts.reopened);
        figures.reassigned.add(facts.assignment.as_ref().map_or(0, |assignment| assignment.reassigned));
        let escalations = &mut figures.escalations;
        let Escalated { highest, times, major } = facts.escalated;
        let highest = highest.max(facts.escalation.level);
        escalations.incidents += u64::from(highest > 0 || times > 0);
        if highest > 0 {
            *escalations.by_level.entry(highest).or_default() += 1;
        }
        escalations.major += u64::from(major || facts.major.is_some());
        for (status, seconds) in &facts.time_in {
            *figures.time_in.entry(status.clone()).or_default() += seconds;
        }
        if facts.status != "closed" {
            *figures.time_in.entry(facts.status.clone()).or_default() += now.since(facts.updated_at).as_secs();
        }
        let noise = self.by_rule.entry(facts.rule.clone()).or_default();
        noise.iter_mut().zip([1, facts.events, facts.alerts.total]).for_each(|(sum, more)| *sum += more);
        self.recur(facts);
    }

    fn recur(&mut self, facts: Facts) {
        if facts.signature.is_empty() {
            return;
        }
        let Facts { signature, rule, title, opened_at, .. } = facts;
        let known = self.by_signature.entry(signature.clone()).or_insert_with(|| {
            let none = Recurring { signature, incidents: 0, rule: String::new(), title: String::new() };
            (Timestamp::from_micros(i64::MIN), none)
        });
        known.1.incidents += 1;
        if opened_at > known.0 {
            (known.0, known.1.rule, known.1.title) = (opened_at, rule, title);
        }
    }

    /// The figures of all that was taken in.
    pub(super) fn figures(self) -> Figures {
        let mut figures = self.figures;
        figures.all = self.all.slice("all".to_owned());
        let slices = |all: BTreeMap<String, Gathering>| all.into_iter().map(|(name, one)| one.slice(name));
        figures.by_priority = slices(self.by_priority).collect();
        figures.by_service = greatest(slices(self.by_service).collect(), |slice: &Slice| slice.incidents);
        let noise = self.by_rule.into_iter().map(|(rule, [incidents, events, alerts])| Noise {
            rule,
            incidents,
            events,
            alerts,
        });
        figures.noisiest_rules = greatest(noise.collect(), |noise: &Noise| noise.events);
        let again = self.by_signature.into_values().map(|(_, again)| again).filter(|again| again.incidents > 1);
        figures.recurring = greatest(again.collect(), |again: &Recurring| again.incidents);
        figures
    }
}

/// The greatest, at most [`LISTED_MAX`]; of equal ones, those that came first.
fn greatest<T>(mut all: Vec<T>, by: impl Fn(&T) -> u64) -> Vec<T> {
    all.sort_by_key(|one| std::cmp::Reverse(by(one)));
    all.truncate(LISTED_MAX);
    all
}

impl Often {
    fn add(&mut self, times: u64) {
        self.incidents += u64::from(times > 0);
        self.times += times;
    }
}

impl Gathering {
    fn add(&mut self, facts: &Facts) {
        self.incidents += 1;
        let took = |until: Timestamp| until.since(facts.opened_at).as_secs();
        self.open += u64::from(!["resolved", "closed"].contains(&facts.status.as_str()));
        self.acknowledged.extend(facts.acknowledged_at.map(took));
        if let Some(resolved) = facts.resolved_at.map(took) {
            let hold = facts.time_in.get("on_hold").copied().unwrap_or_default();
            self.resolved.push(resolved);
            self.resolved_without_hold.push(resolved.saturating_sub(hold));
        }
        self.respond.add(facts.targets.respond.as_deref());
        self.resolve.add(facts.targets.resolve.as_deref());
    }

    fn slice(self, name: String) -> Slice {
        Slice {
            name,
            incidents: self.incidents,
            open: self.open,
            acknowledged: Spread::of(self.acknowledged),
            resolved: Spread::of(self.resolved),
            resolved_without_hold: Spread::of(self.resolved_without_hold),
            respond: self.respond.decided(),
            resolve: self.resolve.decided(),
        }
    }
}

impl Spread {
    fn of(mut seconds: Vec<u64>) -> Self {
        seconds.sort_unstable();
        let count = seconds.len();
        // The nearest rank: the least value that so many per cent do not exceed.
        let rank = |percent: usize| seconds.get((count * percent).div_ceil(100).saturating_sub(1)).copied();
        let mean = seconds.iter().sum::<u64>().checked_div(count as u64);
        Self { count, mean_s: mean, median_s: rank(50), p90_s: rank(90) }
    }
}

impl Share {
    fn add(&mut self, target: Option<&str>) {
        match target {
            Some("met") => self.met += 1,
            Some("breached") => self.breached += 1,
            Some(_) => self.pending += 1,
            None => {}
        }
    }

    fn decided(self) -> Self {
        let decided = self.met + self.breached;
        let percent = (decided > 0).then(|| (self.met as f64 * 1_000.0 / decided as f64).round() / 10.0);
        Self { percent, ..self }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(changes: Value) -> Facts {
        let mut doc = json!({
            "status": "closed", "title": "t", "rule": "r", "priority": "P1", "service": "checkout",
            "opened_at": "2026-01-01T00:00:00Z", "acknowledged_at": "2026-01-01T00:01:00Z",
            "resolved_at": "2026-01-01T00:10:00Z", "updated_at": "2026-01-01T00:20:00Z",
            "alerts": { "total": 3 }, "events": 10, "signature": "00ff",
            "time_in": { "open": 60, "in_progress": 240, "on_hold": 300, "resolved": 600 },
            "targets": { "respond": "met", "resolve": "breached" },
        });
        let (Some(doc_map), Value::Object(changes)) = (doc.as_object_mut(), changes) else { panic!("objects") };
        doc_map.extend(changes);
        serde_json::from_value(doc).expect("facts")
    }

    fn figures(all: Vec<Value>) -> Value {
        let now = Timestamp::parse_rfc3339(b"2026-01-01T01:00:00Z").expect("a time");
        let mut tally = Tally::default();
        all.into_iter().for_each(|changes| tally.add(now, facts(changes)));
        serde_json::to_value(tally.figures()).expect("JSON")
    }

    #[test]
    fn times_are_spread_by_the_nearest_rank() {
        let spread = Spread::of((1..=10).rev().collect());
        assert_eq!(spread, Spread { count: 10, mean_s: Some(5), median_s: Some(5), p90_s: Some(9) });
        assert_eq!(Spread::of(vec![7]), Spread { count: 1, mean_s: Some(7), median_s: Some(7), p90_s: Some(7) });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn the_time_on_hold_is_left_out_beside_the_plain_time() {
        let found = figures(vec![json!({})]);
        assert_eq!(found["all"]["acknowledged"]["mean_s"], 60);
        assert_eq!(found["all"]["resolved"]["p90_s"], 600);
        assert_eq!(found["all"]["resolved_without_hold"]["median_s"], 300);
    }

    #[test]
    fn what_is_open_counts_until_now_and_has_no_time_to_repair() {
        let open = json!({ "status": "open", "resolved_at": null, "acknowledged_at": null, "time_in": { "open": 30 },
            "targets": { "respond": "pending" } });
        let found = figures(vec![open]);
        assert_eq!(found["all"]["open"], 1);
        assert_eq!(found["time_in"], json!({ "open": 30 + 40 * 60 }));
        assert_eq!(found["all"]["resolved"], json!({ "count": 0, "mean_s": null, "median_s": null, "p90_s": null }));
        let respond = json!({ "met": 0, "breached": 0, "pending": 1, "percent": null });
        assert_eq!(found["all"]["respond"], respond);
    }

    #[test]
    fn shares_are_of_what_is_decided() {
        let late = json!({ "targets": { "respond": "breached" } });
        let found = figures(vec![json!({}), json!({}), late]);
        assert_eq!(
            (&found["all"]["respond"]["percent"], &found["all"]["resolve"]["percent"]),
            (&json!(66.7), &json!(0.0))
        );
    }

    #[test]
    fn a_merged_incident_is_counted_by_what_goes_on_for_it() {
        let merged = json!({ "links": [{ "type": "merged_into", "target": "x", "by": "y", "reason": "z" }] });
        let found = figures(vec![json!({}), merged]);
        assert_eq!((&found["all"]["incidents"], &found["merged"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn what_recurs_is_named_after_the_newest_and_rules_are_ranked_by_events() {
        let newer = json!({ "title": "newer", "opened_at": "2026-01-01T00:05:00Z" });
        let other = json!({ "rule": "loud", "signature": "01", "events": 500, "service": null, "priority": "P4" });
        let found = figures(vec![newer, json!({}), other]);
        assert_eq!(found["recurring"], json!([{ "signature": "00ff", "incidents": 2, "rule": "r", "title": "newer" }]));
        assert_eq!(found["noisiest_rules"][0], json!({ "rule": "loud", "incidents": 1, "events": 500, "alerts": 3 }));
        assert_eq!(found["by_service"][0]["name"], "checkout");
        assert_eq!(found["by_service"][1]["name"], "(none)");
        assert_eq!(found["by_priority"][1]["name"], "P4");
    }

    #[test]
    fn escalations_reopenings_and_reassignments_are_counted() {
        let grave = json!({ "escalation": { "level": 2 }, "reopened": 3, "assignment": { "to": "a", "reassigned": 2 },
            "major": { "since": "2026-01-01T00:00:00Z" } });
        let ended = json!({ "escalation": { "level": 0 }, "escalated": { "highest": 1, "times": 2, "major": true } });
        let by_hand = json!({ "escalated": { "highest": 0, "times": 1, "major": false } });
        let found = figures(vec![grave, ended, by_hand, json!({})]);
        assert_eq!(found["escalations"], json!({ "incidents": 3, "by_level": { "1": 1, "2": 1 }, "major": 2 }));
        assert_eq!(found["reopened"], json!({ "incidents": 1, "times": 3 }));
        assert_eq!(found["reassigned"], json!({ "incidents": 1, "times": 2 }));
    }

    #[test]
    fn a_report_is_as_the_golden_file_has_it() {
        let on_hold = json!({ "priority": "P2", "service": "search", "title": "disk, full", "signature": "02" });
        let open = json!({ "status": "open", "priority": "P2", "resolved_at": null, "acknowledged_at": null,
            "time_in": { "open": 30 }, "targets": { "respond": "pending", "resolve": "pending" } });
        let slow = json!({ "resolved_at": "2026-01-01T02:00:00Z", "reopened": 1, "escalation": { "level": 1 },
            "targets": { "respond": "met", "resolve": "breached" }, "assignment": { "reassigned": 2 },
            "major": { "since": "2026-01-01T00:00:00Z" } });
        let mut found = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-08T00:00:00Z",
            "generated_at": "2026-01-08T00:00:00Z", "truncated": false });
        let (Some(all), Value::Object(more)) = (found.as_object_mut(), figures(vec![json!({}), on_hold, open, slow]))
        else {
            panic!("objects")
        };
        all.extend(more);
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/report/answer.json");
        let expected = std::fs::read_to_string(golden).expect("a golden file");
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        assert!(found == expected, "answer.json should read\n{found:#}");
    }
}
