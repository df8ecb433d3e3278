//! One incident as a sheet to read: what it is, why, what happened when, which alerts, what it is linked to.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use super::desk::Desk;
use super::{Counts, Incident};
use crate::cli::terminal::{Paint, Tone, ago, escaped, table_text, thousands};
use crate::event::Timestamp;

/// Alerts shown; the rest is counted.
const ALERTS_SHOWN: usize = 20;

/// The single view.
#[derive(Debug, Deserialize)]
pub struct Sheet {
    #[serde(flatten)]
    incident: Incident,
    #[serde(flatten)]
    desk: Desk,
    #[serde(default)]
    alerts: Vec<Alert>,
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    timeline: Vec<Entry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Alert {
    state: String,
    severity: String,
    summary: String,
    labels: BTreeMap<String, String>,
    count: u64,
    last_seen: Timestamp,
    cleared: bool,
    muted: Option<Muted>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Muted {
    reason: String,
    by: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Link {
    #[serde(rename = "type")]
    kind: String,
    target: String,
    by: String,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    at: Timestamp,
    by: String,
    what: String,
    reason: String,
    detail: String,
}

impl Entry {
    /// What has happened. Most of what people do is an update to sinks, so that the reason says what it was.
    fn happened(&self) -> &str {
        if self.what == "updated" && !self.reason.is_empty() { &self.reason } else { &self.what }
    }
}

impl Sheet {
    /// The sheet as text.
    pub fn text(&self, now: Timestamp, paint: Paint) -> String {
        let parts = [
            self.head(paint),
            self.facts(now),
            self.reasons(paint),
            self.timeline(paint),
            self.alerts(now, paint),
            self.links(paint),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// How it stands and what happened last, in a few lines.
    pub fn at_a_glance(&self) -> Vec<String> {
        let Incident { title, priority, assignee, .. } = &self.incident;
        let with = assignee.as_ref().map(|assignee| format!("  {assignee} has it")).unwrap_or_default();
        let mut lines = vec![format!("  {priority}  {}  {title}{with}", self.incident.standing())];
        let last = self.timeline.last().map(|entry| {
            let Entry { at, by, detail, .. } = entry;
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            format!("  {}  {} by {by}{detail}", at.to_the_second(), entry.happened())
        });
        lines.extend(last);
        lines
    }

    fn head(&self, paint: Paint) -> String {
        let Incident { id, title, priority, severity, .. } = &self.incident;
        let status = self.incident.standing();
        let (id, status, severity) = (paint.tone(Tone::Cyan, &escaped(id)), escaped(&status), escaped(severity));
        let title = paint.tone(Tone::Bold, &escaped(title));
        format!("{id}  {}  {status}  {severity}\n{title}", paint.priority(&escaped(priority)))
    }

    fn facts(&self, now: Timestamp) -> String {
        let incident = &self.incident;
        let mut text = String::new();
        let mut fact = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                let _ = writeln!(text, "  {name:<13} {}", escaped(&value));
            }
        };
        let at = |time: Timestamp| format!("{} ({})", time.to_the_second(), ago(now.since(time)));
        let Counts { firing, total } = incident.counts;
        fact("service", incident.service.clone());
        fact("rule", Some(incident.rule.clone()));
        fact("key", Some(labels(&incident.key)));
        fact("assignee", incident.assignee.clone());
        fact("priority", Some(incident.priority_reason.clone()));
        let major = incident.major.iter().flat_map(|major| major.facts(now));
        major.for_each(|(name, value)| fact(name, value));
        fact("opened", Some(at(incident.opened_at)));
        fact("acknowledged", incident.acknowledged_at.map(at));
        fact("resolved", incident.resolved_at.map(at));
        incident.targets.facts(now).into_iter().for_each(|(name, value)| fact(name, value));
        self.desk.facts(now).into_iter().for_each(|(name, value)| fact(name, value));
        fact("alerts", Some(format!("{} firing, {} in all", thousands(firing), thousands(total))));
        fact("events", Some(thousands(incident.events)));
        text.trim_end().to_owned()
    }

    fn reasons(&self, paint: Paint) -> String {
        // Updates are in the timeline, each with what it was.
        let reasons = self
            .incident
            .reasons
            .iter()
            .filter(|reason| !reason.starts_with("updated: "))
            .map(|reason| vec![format!("  {}", escaped(reason))]);
        section("Reasons", reasons.map(|row| row.concat()).collect(), paint)
    }

    fn timeline(&self, paint: Paint) -> String {
        let row = |entry: &Entry| {
            let shown = |text: &str| escaped(text).into_owned();
            vec![
                format!("  {}", entry.at.to_the_second()),
                shown(entry.happened()),
                shown(&entry.by),
                shown(&entry.detail),
            ]
        };
        table_section("Timeline", &["  AT", "WHAT", "BY", "DETAIL"], self.timeline.iter().map(row).collect(), paint)
    }

    fn alerts(&self, now: Timestamp, paint: Paint) -> String {
        let row = |alert: &Alert| {
            vec![
                format!("  {}", escaped(&standing(alert))),
                escaped(&alert.severity).into_owned(),
                escaped(&alert.summary).into_owned(),
                escaped(&labels(&self.own_labels(alert))).into_owned(),
                thousands(alert.count),
                ago(now.since(alert.last_seen)),
            ]
        };
        let header = ["  STATE", "SEVERITY", "SUMMARY", "LABELS", "EVENTS", "LAST SEEN"];
        let mut text =
            table_section("Alerts", &header, self.alerts.iter().take(ALERTS_SHOWN).map(row).collect(), paint);
        let total = self.incident.counts.total.max(self.alerts.len() as u64);
        let shown = self.alerts.len().min(ALERTS_SHOWN) as u64;
        if shown > 0 && total > shown {
            let _ = write!(text, "\n  and {} more", thousands(total - shown));
        }
        text
    }

    /// An alert's labels without those that all alerts of the incident share.
    fn own_labels(&self, alert: &Alert) -> BTreeMap<String, String> {
        // The key of a union has values that some of its alerts have.
        let all_have = |name: &str, value: &String| self.alerts.iter().all(|one| one.labels.get(name) == Some(value));
        let shared =
            |name: &String, value: &String| self.incident.key.get(name) == Some(value) && all_have(name, value);
        let own = alert.labels.iter().filter(|(name, value)| !shared(name, value));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn links(&self, paint: Paint) -> String {
        let line = |link: &Link| {
            let by = if link.by.is_empty() { String::new() } else { format!("by {}", link.by) };
            let why: Vec<&str> = [link.reason.as_str(), &by].into_iter().filter(|part| !part.is_empty()).collect();
            let why = if why.is_empty() { String::new() } else { format!(" ({})", escaped(&why.join("; "))) };
            format!("  {}: {}{why}", escaped(&link.kind), escaped(&link.target))
        };
        section("Links", self.links.iter().map(line).collect(), paint)
    }
}

/// The state of an alert, and why it counts for nothing although it fires.
fn standing(alert: &Alert) -> String {
    match &alert.muted {
        Some(Muted { reason, by }) => format!("{}, {reason} by {by}", alert.state),
        None if alert.cleared => format!("{}, cleared here", alert.state),
        None => alert.state.clone(),
    }
}

fn section(title: &str, lines: Vec<String>, paint: Paint) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("{}\n{}", paint.tone(Tone::Bold, title), lines.join("\n"))
}

fn table_section(title: &str, header: &[&str], rows: Vec<Vec<String>>, paint: Paint) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("{}\n{}", paint.tone(Tone::Bold, title), table_text(header, rows, &[]))
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sheet_tells_what_why_and_when() {
        let alert = json!({"state": "firing", "severity": "critical", "summary": "slow", "labels": {"pod": "a", "service": "checkout"},
            "count": 1_200, "last_seen": "2026-11-22T03:05:00Z"});
        let sheet: Sheet = serde_json::from_value(json!({
            "id": "INC-0000000000001", "status": "open", "priority": "P1", "severity": "critical",
            "title": "checkout degraded", "rule": "service-degraded", "key": {"service": "checkout"},
            "priority_reason": "impact high × urgency high", "opened_at": "2026-11-22T03:00:00Z",
            "alert_counts": {"firing": 30, "resolved": 0, "total": 30}, "events": 36_000,
            "targets": {"respond_by": "2026-11-22T03:15:00Z", "resolve_by": null, "breached": false, "respond": "met",
                        "resolve": "paused", "calendar": "office"},
            "reasons": ["condition_met", "updated: started"], "alerts": vec![alert; 30],
            "links": [{"type": "runbook", "target": "https://example.org\u{7}"}, {"type": "symptom_of",
                "target": "INC-0000000000002", "reason": "checkout depends on db, which broke 12s before"}],
            "timeline": [{"at": "2026-11-22T03:00:00.25Z", "by": "rule:service-degraded", "what": "opened", "detail": "3 of 3"},
                {"at": "2026-11-22T03:01:00Z", "by": "operator:ann", "what": "updated", "reason": "started", "detail": ""}],
        }))
        .unwrap();
        let text = sheet.text(Timestamp::parse_rfc3339(b"2026-11-22T03:05:30Z").unwrap(), Paint::plain());
        for told in [
            "INC-0000000000001  P1  open  critical\ncheckout degraded\n",
            "  opened        2026-11-22T03:00:00Z (5m ago)\n",
            "  respond by    2026-11-22T03:15:00Z (in 9m), met\n",
            "  alerts        30 firing, 30 in all\n",
            "  events        36,000",
            "Reasons\n  condition_met",
            "  2026-11-22T03:00:00Z  opened   rule:service-degraded  3 of 3",
            "  2026-11-22T03:01:00Z  started  operator:ann",
            "  firing  critical  slow     pod=a   1,200   30s ago",
            "\n  and 10 more",
            "Links\n  runbook: https://example.org\\u{7}\n",
            "  symptom_of: INC-0000000000002 (checkout depends on db, which broke 12s before)",
        ] {
            assert!(text.contains(told), "{told:?} is missing in\n{text}");
        }
        assert!(["assignee", "resolved", "updated"].iter().all(|word| !text.contains(word)), "{text}");
        let glance = sheet.at_a_glance();
        assert_eq!(glance[1], "  2026-11-22T03:01:00Z  started by operator:ann");
    }
}
