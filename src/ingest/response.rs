//! What became of each event of a request, written as protobuf (gRPC) or JSON (HTTP).
//!
//! Both are written by hand into one buffer: a response may hold ten thousand verdicts, and most of them equal their
//! neighbour, whose bytes are then copied. Pure; a test holds the protobuf against the generated types.

use std::fmt::Write;

use bytes::Bytes;

use crate::engine::decision::{Outcome, Reason, Verdict};
use crate::event::{Code, Reject};
use crate::identity::IncidentId;

/// The fate of every event of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Of the events that were readable, in order.
    verdicts: Vec<Verdict>,
    /// Of the others, by index.
    rejects: Vec<Reject>,
}

/// The fate of one event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate<'a> {
    /// The engine's word.
    Decided(&'a Verdict),
    /// It never reached the engine.
    Rejected(&'a Reject),
}

impl Answer {
    /// Puts verdicts and rejects together. Every index of the request is in one of them.
    pub fn new(verdicts: Vec<Verdict>, mut rejects: Vec<Reject>) -> Self {
        rejects.sort_by_key(|reject| reject.index);
        Self { verdicts, rejects }
    }

    /// The rejects, by index.
    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    /// How many events were refused, by the decoder or by the engine.
    pub fn rejected(&self) -> usize {
        let refused = self.verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Rejected).count();
        self.rejects.len() + refused
    }

    /// Every event's fate, in the order of the request.
    pub fn fates(&self) -> impl Iterator<Item = Fate<'_>> {
        let mut verdicts = self.verdicts.iter();
        let mut rejects = self.rejects.iter().peekable();
        (0..self.verdicts.len() + self.rejects.len()).map_while(move |index| {
            let rejected = rejects.next_if(|reject| reject.index as usize <= index);
            let fate = rejected.map(Fate::Rejected).or_else(|| verdicts.next().map(Fate::Decided));
            fate.or_else(|| rejects.next().map(Fate::Rejected))
        })
    }

    /// A `PushResponse`.
    pub fn to_protobuf(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 * (self.verdicts.len() + self.rejects.len()));
        let mut previous: Option<(Fate<'_>, std::ops::Range<usize>)> = None;
        let mut verdict = Vec::new();
        for fate in self.fates() {
            if let Some((known, range)) = &previous
                && *known == fate
            {
                let range = range.clone();
                let start = out.len();
                out.extend_from_within(range);
                previous = Some((fate, start..out.len()));
                continue;
            }
            verdict.clear();
            write_verdict(&mut verdict, fate);
            let start = out.len();
            field(&mut out, 1, &verdict);
            previous = Some((fate, start..out.len()));
        }
        out.into()
    }

    /// The body of `POST /api/v1/events`.
    pub fn to_json(&self) -> String {
        let total = self.verdicts.len() + self.rejects.len();
        let rejected = self.rejected();
        let mut out = String::with_capacity(64 + 96 * total);
        let accepted = total - rejected;
        push(&mut out, format_args!(r#"{{"accepted":{accepted},"rejected":{rejected},"results":["#));
        let mut previous: Option<(Fate<'_>, std::ops::Range<usize>)> = None;
        for (index, fate) in self.fates().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            push(&mut out, format_args!(r#"{comma}{{"index":{index}"#));
            let start = out.len();
            match &previous {
                Some((known, range)) if *known == fate => out.extend_from_within(range.clone()),
                _ => write_result(&mut out, fate),
            }
            previous = Some((fate, start..out.len()));
        }
        out.push_str("]}");
        out
    }
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a String takes all that is written");
}

/// The code, place and sentence of a refused event; the sentence alone of one that waits or is not taken by a
/// rule that wants it.
fn explanation(fate: Fate<'_>) -> (&str, &str, String) {
    match fate {
        Fate::Rejected(reject) => (reject.code.as_str(), &reject.field, reject.message.clone()),
        Fate::Decided(verdict) => match verdict.outcome {
            Outcome::Rejected => (Code::Capacity.as_str(), "", told(verdict)),
            Outcome::Pending => ("", "", verdict.reason.to_string()),
            Outcome::Recorded if verdict.rule.is_some() => ("", "", told(verdict)),
            _ => ("", "", String::new()),
        },
    }
}

fn told(verdict: &Verdict) -> String {
    match &verdict.hint {
        Some(hint) => format!("{}: {hint}", verdict.reason),
        None => verdict.reason.to_string(),
    }
}

fn outcome_and_reason(fate: Fate<'_>) -> (Outcome, Reason) {
    match fate {
        Fate::Decided(verdict) => (verdict.outcome, verdict.reason),
        Fate::Rejected(_) => (Outcome::Rejected, Reason::Invalid),
    }
}

/// The incident, the rule and what mutes it, the last two perhaps empty.
fn concerned(fate: Fate<'_>) -> (Option<IncidentId>, &str, &str) {
    match fate {
        Fate::Decided(verdict) => (
            verdict.incident,
            verdict.rule.as_deref().unwrap_or_default(),
            verdict.muted_by.as_deref().unwrap_or_default(),
        ),
        Fate::Rejected(_) => (None, "", ""),
    }
}

fn write_verdict(out: &mut Vec<u8>, fate: Fate<'_>) {
    let (outcome, reason) = outcome_and_reason(fate);
    let (incident, rule, muted_by) = concerned(fate);
    let name = incident.map(IncidentId::name);
    let incident = name.as_ref().map_or(&[][..], |name| &name[..]);
    let (code, place, message) = explanation(fate);
    varint(out, 1 << 3);
    // The protobuf enum counts from 1 in the order of the engine's.
    varint(out, outcome as u64 + 1);
    let reason = reason.code().as_bytes();
    let (rule, code, place, message) = (rule.as_bytes(), code.as_bytes(), place.as_bytes(), message.as_bytes());
    let muted_by = muted_by.as_bytes();
    for (number, text) in [(2, reason), (3, incident), (4, rule), (5, code), (6, place), (7, message), (8, muted_by)] {
        if !text.is_empty() {
            field(out, number, text);
        }
    }
}

/// A length-delimited field.
fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// All of a result but its index, with the closing brace.
fn write_result(out: &mut String, fate: Fate<'_>) {
    let (outcome, reason) = outcome_and_reason(fate);
    let (incident, rule, muted_by) = concerned(fate);
    let incident = incident.map(|id| id.to_string()).unwrap_or_default();
    let (code, place, message) = explanation(fate);
    push(out, format_args!(r#","verdict":"{}","reason":"{}""#, outcome.as_str(), reason.code()));
    let rejected = outcome == Outcome::Rejected;
    for (name, text, always) in [
        ("incident", &*incident, false),
        ("rule", rule, false),
        ("muted_by", muted_by, false),
        ("code", code, rejected),
        ("field", place, rejected),
        ("message", &*message, rejected),
    ] {
        if always || !text.is_empty() {
            let quoted = serde_json::to_string(text).expect("a string is always JSON");
            push(out, format_args!(r#","{name}":{quoted}"#));
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message;

    use super::*;
    use crate::proto;

    fn answer() -> Answer {
        let opened = Verdict::of(Outcome::Opened, Reason::ConditionMet { have: 1, need: 1 }, IncidentId(42));
        let linked = Verdict::of(Outcome::Linked, Reason::IncidentOpen, IncidentId(42));
        let waiting = Verdict {
            rule: Some(Arc::from("a \"quoted\" rule")),
            ..Verdict::new(Outcome::Pending, Reason::Waiting { have: 2, need: 3 })
        };
        let muted = Verdict {
            muted_by: Some(Arc::from("cluster-down")),
            ..Verdict::new(Outcome::Suppressed, Reason::Inhibited)
        };
        let full = Verdict::new(Outcome::Rejected, Reason::LimitReached);
        let late = Reject::new(6, Code::Time, "/occurred_at", "RFC 3339 required");
        let first = Reject::new(0, Code::Missing, "/source", "is required");
        Answer::new(vec![opened, linked.clone(), linked, waiting, muted, full], vec![late, first])
    }

    #[test]
    fn the_protobuf_reads_back_as_the_generated_type() {
        let response = proto::PushResponse::decode(answer().to_protobuf()).unwrap();
        let outcomes: Vec<_> = response.verdicts.iter().map(|verdict| verdict.verdict().as_str_name()).collect();
        let expected = ["REJECTED", "OPENED", "LINKED", "LINKED", "PENDING", "SUPPRESSED", "REJECTED", "REJECTED"];
        assert_eq!(outcomes, expected.map(|name| format!("OUTCOME_{name}")));
        let first = &response.verdicts[0];
        let refused = proto::Verdict {
            verdict: proto::Outcome::Rejected as i32,
            reason: "invalid".into(),
            code: "E_MISSING".into(),
            field: "/source".into(),
            message: "is required".into(),
            ..Default::default()
        };
        assert_eq!(*first, refused);
        assert_eq!(response.verdicts[1].incident, IncidentId(42).to_string());
        assert_eq!(response.verdicts[2], response.verdicts[3]);
        assert_eq!(response.verdicts[4].rule, "a \"quoted\" rule");
        assert_eq!(response.verdicts[4].message, "2 of 3: the rule waits for more");
        assert_eq!(response.verdicts[5].muted_by, "cluster-down");
        assert_eq!(response.verdicts[6].code, "E_TIME");
        assert_eq!(response.verdicts[7].code, "E_CAPACITY");
    }

    #[test]
    fn every_outcome_has_its_number_in_the_proto() {
        for outcome in Outcome::ALL {
            let answer = Answer::new(vec![Verdict::new(outcome, Reason::NoRule)], Vec::new());
            let response = proto::PushResponse::decode(answer.to_protobuf()).unwrap();
            let name = format!("OUTCOME_{}", outcome.as_str().to_uppercase());
            assert_eq!(response.verdicts[0].verdict().as_str_name(), name);
        }
    }

    #[test]
    fn the_json_counts_and_lists_in_the_order_of_the_request() {
        let value: serde_json::Value = serde_json::from_str(&answer().to_json()).unwrap();
        assert_eq!(value["accepted"], 5);
        assert_eq!(value["rejected"], 3);
        let results = value["results"].as_array().unwrap();
        for (index, result) in results.iter().enumerate() {
            assert_eq!(result["index"], index);
        }
        let incident = IncidentId(42).to_string();
        let linked =
            serde_json::json!({"index": 2, "verdict": "linked", "reason": "incident_open", "incident": incident});
        assert_eq!(results[2], linked);
        assert_eq!(results[3]["incident"], *incident);
        let muted =
            serde_json::json!({"index": 5, "verdict": "suppressed", "reason": "inhibited", "muted_by": "cluster-down"});
        assert_eq!(results[5], muted);
        let rejected = serde_json::json!({
            "index": 6, "verdict": "rejected", "reason": "invalid",
            "code": "E_TIME", "field": "/occurred_at", "message": "RFC 3339 required"
        });
        assert_eq!(results[6], rejected);
    }

    #[test]
    fn the_json_is_what_the_document_promises() {
        use super::super::promise::{PushAnswer, VerdictName};
        let read: PushAnswer = serde_json::from_str(&answer().to_json()).unwrap();
        assert_eq!((read.accepted, read.rejected, read.results.len()), (5, 3, 8));
        assert_eq!((read.results[7].index, read.results[7].verdict), (7, VerdictName::Rejected));
        for outcome in Outcome::ALL {
            let answer = Answer::new(vec![Verdict::new(outcome, Reason::NoRule)], Vec::new());
            serde_json::from_str::<PushAnswer>(&answer.to_json()).unwrap();
        }
    }

    #[test]
    fn an_empty_request_has_an_empty_answer() {
        assert_eq!(Answer::default().to_json(), r#"{"accepted":0,"rejected":0,"results":[]}"#);
        assert!(Answer::default().to_protobuf().is_empty());
    }
}
