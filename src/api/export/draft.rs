//! A post-mortem's first draft in Markdown: what is known is filled in, what only people know is left for them.
//!
//! Whatever came from outside goes through [`escape`](super::escape).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::escape::{item, line};
use super::facts::{Alert, Facts, Link};
use super::{Timeline, Whole};
use crate::event::Timestamp;
use crate::store::TimelineEntry;

/// Alerts in the table; the rest is counted, and in the JSON.
const ALERTS_SHOWN: usize = 200;

/// The whole draft.
pub(super) fn markdown(whole: &Whole) -> serde_json::Result<String> {
    let facts: Facts = serde_json::from_str(&whole.document)?;
    let alerts: Vec<Alert> = serde_json::from_str(&whole.alerts)?;
    let title = format!("# {}: {}", line(&facts.id), line(&facts.title));
    let about = format!(
        "First draft of a post-mortem, exported {}. Facts are as incidentd has them, times in UTC; the sections that only \
         people can write are empty.",
        second(whole.exported_at)
    );
    let sections = [
        section("Summary", &summary(&facts)),
        section("Impact", &impact(&facts)),
        section("Timeline", &timeline(&whole.timeline)),
        section("Alerts", &table(&facts, &alerts)),
        section("Links", &links(&facts.links)),
        section("Resolution", &resolution(&facts)),
        section("Root cause", ""),
        section("Actions", ""),
    ];
    Ok(format!("{title}\n\n{about}\n\n{}\n", sections.join("\n\n")))
}

fn section(name: &str, text: &str) -> String {
    if text.is_empty() { format!("## {name}") } else { format!("## {name}\n\n{}", text.trim_end()) }
}

/// A list of facts, of which those that are not known are left out.
#[derive(Default)]
struct List(String);

impl List {
    fn add(&mut self, name: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            let _ = writeln!(self.0, "- **{name}:** {}", value.as_ref());
        }
    }

    fn add_some(&mut self, name: &str, value: Option<String>) {
        self.add(name, value.unwrap_or_default());
    }
}

fn summary(facts: &Facts) -> String {
    let mut list = List::default();
    let after = |at: Timestamp| format!("{} ({} after it opened)", second(at), span(at.since(facts.opened_at)));
    list.add("Status", line(&facts.status));
    list.add("Priority", priority(facts));
    list.add("Severity", line(&facts.severity));
    list.add_some("Service", facts.service.as_deref().map(line));
    list.add("Rule", line(&facts.rule));
    list.add("Key", pairs(&facts.key));
    list.add("Opened", second(facts.opened_at));
    list.add_some("Acknowledged", facts.acknowledged_at.map(after));
    list.add_some("Resolved", facts.resolved_at.map(after));
    list.add_some("Reopened", (facts.reopened > 0).then(|| times(facts.reopened.into())));
    list.add_some("On hold", facts.hold.as_ref().map(|hold| since(hold.since, "", &hold.reason)));
    list.add_some("Assigned to", facts.assignment.as_ref().map(|to| line(&to.to)));
    if let Some(assignment) = &facts.assignment {
        list.add_some("Accepted", assignment.accepted_at.map(after));
        list.add_some("Reassigned", (assignment.reassigned > 0).then(|| times(assignment.reassigned.into())));
        list.add("Time with each", spans(&assignment.spent));
    }
    list.add_some(
        "Escalation",
        facts.escalation.policy.as_ref().map(|policy| {
            let highest = facts.escalation.level.max(facts.escalated.highest);
            let level = match (highest, facts.escalated.times) {
                (0, 0) => "no step taken".to_owned(),
                (0, _) => "by hand".to_owned(),
                _ => format!("step {highest}"),
            };
            format!("{}, {level}", line(policy))
        }),
    );
    if let Some(major) = &facts.major {
        list.add("Major incident", since(major.since, &major.by, &major.reason));
        list.add_some("Recovery plan", major.runbook.as_deref().map(line));
    }
    list.0
}

/// The priority with its reason, which names it as a rule.
fn priority(facts: &Facts) -> String {
    let (priority, reason) = (line(&facts.priority), line(&facts.priority_reason));
    match reason.is_empty() || reason.starts_with(&priority) {
        true if reason.is_empty() => priority,
        true => reason,
        false => format!("{priority}: {reason}"),
    }
}

fn impact(facts: &Facts) -> String {
    let mut list = List::default();
    let target = |by: Option<Timestamp>, state: &Option<String>| {
        let state = state.as_deref().map(line).unwrap_or_default();
        let by = by.map(|by| format!("by {}", second(by))).unwrap_or_default();
        [by, state].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    };
    list.add("Impact", line(&facts.impact));
    list.add("Urgency", line(&facts.urgency));
    let services: Vec<String> = facts.services.iter().map(|service| line(service)).collect();
    list.add("Services concerned", services.join(", "));
    list.add("Alerts", format!("{} in all, {} firing", facts.alerts.total, facts.alerts.firing));
    list.add("Events", facts.events.to_string());
    list.add("Time in each status", spans(&facts.time_in));
    list.add("Respond", target(facts.targets.respond_by, &facts.targets.respond));
    list.add("Restore", target(facts.targets.resolve_by, &facts.targets.resolve));
    list.0
}

fn timeline(timeline: &Timeline) -> String {
    let mut text = String::new();
    for TimelineEntry { at, by, what, reason, detail, .. } in &timeline.entries {
        let (at, by, reason, detail) = (second(*at), line(by), line(reason), item(detail));
        let _ = writeln!(text, "- {at} **{}** by {by} ({reason}){}{detail}", what.as_str(), colon(&detail));
    }
    if !timeline.complete {
        let _ = writeln!(text, "\nThe timeline goes on: {} entries are what an export holds.", timeline.entries.len());
    }
    text
}

fn table(facts: &Facts, alerts: &[Alert]) -> String {
    if alerts.is_empty() {
        return "None are known any more.".to_owned();
    }
    let mut text = "| State | Severity | Summary | Labels | Source | Events | First seen | Last seen |\n\
                    | --- | --- | --- | --- | --- | ---: | --- | --- |\n"
        .to_owned();
    for alert in alerts.iter().take(ALERTS_SHOWN) {
        let Alert { state, severity, summary, labels, source, count, first_seen, last_seen } = alert;
        let cells = [
            line(state),
            line(severity),
            line(summary),
            pairs(labels),
            line(source),
            count.to_string(),
            second(*first_seen),
            second(*last_seen),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let shown = alerts.len().min(ALERTS_SHOWN) as u64;
    if facts.alerts.total > shown {
        let _ = writeln!(text, "\nAnd {} more.", facts.alerts.total - shown);
    }
    text
}

fn links(links: &[Link]) -> String {
    let mut text = String::new();
    for Link { kind, target, by, reason } in links {
        let (kind, target, by, reason) = (line(kind), line(target), line(by), item(reason));
        let by = if by.is_empty() { String::new() } else { format!(", by {by}") };
        let _ = writeln!(text, "- {kind}: {target}{by}{}{reason}", colon(&reason));
    }
    text
}

fn resolution(facts: &Facts) -> String {
    match (facts.resolution.as_deref().filter(|text| !text.trim().is_empty()), facts.resolved_at) {
        (Some(text), _) => text.lines().map(line).collect::<Vec<_>>().join("\n"),
        (None, Some(at)) => format!("Resolved {}; nobody has written down how.", second(at)),
        (None, None) => "Not resolved.".to_owned(),
    }
}

fn colon(text: &str) -> &'static str {
    if text.is_empty() { "" } else { ": " }
}

fn since(at: Timestamp, by: &str, reason: &str) -> String {
    let by = if by.is_empty() { String::new() } else { format!(", by {}", line(by)) };
    let reason = item(reason);
    format!("since {}{by}{}{reason}", second(at), colon(&reason))
}

fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| line(&format!("{name}={value}"))).collect::<Vec<_>>().join(", ")
}

fn spans(spent: &BTreeMap<String, u64>) -> String {
    let one = |(name, seconds): (&String, &u64)| format!("{} {}", line(name), span(Duration::from_secs(*seconds)));
    spent.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn second(at: Timestamp) -> String {
    at.to_the_second().to_string()
}

/// A length of time in its two largest units.
fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
