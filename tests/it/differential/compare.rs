//! What both have told of each group in each step, side by side.
//!
//! Of what Alertmanager told, the intended differences make what incidentd should have told; any other difference is a
//! fault. `docs/alertmanager.md` gives the reasons under the same names.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::systems::{Book, Names, Told};
use super::traces::{Op, STEPS, State, Step, Trace};

/// The comparison of all traces.
#[derive(Default)]
pub struct Findings {
    /// Groups and steps of which both told the same.
    pub same: usize,
    /// How often each of the intended differences was seen.
    pub intended: BTreeMap<&'static str, usize>,
    /// Differences without a reason, with their traces.
    pub faults: Vec<String>,
}

/// The names of the alerts that a listing shows, and whether as suppressed, by trace.
pub fn states(shown: &[Value]) -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut states: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for alert in shown {
        let label = |name: &str| alert["labels"][name].as_str().expect("a label").to_owned();
        let status = &alert["status"];
        let some = |by: &str| status[by].as_array().is_some_and(|by| !by.is_empty());
        let suppressed = status["state"] == "suppressed";
        assert_eq!(suppressed, some("silencedBy") || some("inhibitedBy"), "{alert}");
        states.entry(label("trace")).or_default().insert(label("n"), suppressed);
    }
    states
}

/// What a listing should show of a trace.
pub fn expected(state: &State) -> BTreeMap<String, bool> {
    state.firing.iter().map(|name| ((*name).to_owned(), state.muted.contains(name))).collect()
}

/// All that was told of a group in a step as one.
fn merged(book: &Book, trace: &Trace, group: &str, step: usize) -> Option<Told> {
    let told = book.get(&((trace.label(), group.to_owned()), step))?;
    let firing = told.last()?.firing.clone();
    let resolved: Names = told.iter().flat_map(|told| &told.resolved).cloned().collect();
    Some(Told { firing, resolved })
}

pub fn compare(traces: &[Trace], [theirs, ours]: &[Book; 2]) -> Findings {
    let mut findings = Findings::default();
    for trace in traces {
        for group in ["a", "b", "s"] {
            let mut known = Known::default();
            for step in 0..STEPS {
                let theirs = merged(theirs, trace, group, step);
                let ours = merged(ours, trace, group, step);
                let (expected, reasons) = known.expected(trace, group, step, theirs.clone());
                if expected != ours {
                    let told = format!("group {group}, step {step}: told {theirs:?}, so {expected:?}, not {ours:?}");
                    findings.faults.push(format!("{told} after {reasons:?} in {trace}"));
                } else if theirs == ours {
                    findings.same += usize::from(ours.is_some());
                } else {
                    reasons.into_iter().for_each(|reason| *findings.intended.entry(reason).or_default() += 1);
                }
                known.note(theirs, ours);
            }
        }
    }
    findings
}

/// What has been told of a group so far.
#[derive(Default)]
struct Known {
    theirs: Names,
    ours: Names,
}

impl Known {
    /// What incidentd should tell where Alertmanager told this, and the names of the differences that make it so.
    fn expected(
        &self,
        trace: &Trace,
        group: &str,
        step: usize,
        theirs: Option<Told>,
    ) -> (Option<Told>, Vec<&'static str>) {
        let mut reasons = Vec::new();
        let mut told = theirs.unwrap_or_else(|| Told { firing: self.theirs.clone(), resolved: Names::new() });
        let strays = strays(trace, group, step);
        if told.resolved.iter().any(|name| strays.contains(name)) {
            told.resolved.retain(|name| !strays.contains(name));
            reasons.push("a resolve of what did not fire is not told");
        }
        let news = !told.resolved.is_empty() || told.firing != self.ours;
        (news.then_some(told), reasons)
    }

    fn note(&mut self, theirs: Option<Told>, ours: Option<Told>) {
        self.theirs = theirs.map_or_else(|| std::mem::take(&mut self.theirs), |told| told.firing);
        self.ours = ours.map_or_else(|| std::mem::take(&mut self.ours), |told| told.firing);
    }
}

/// Alerts of a group that were said to have ended in a step, and did not fire.
fn strays(trace: &Trace, group: &str, step: usize) -> Names {
    let Step::Alerts(ops) = &trace.steps[step] else { return Names::new() };
    let strays = ops.iter().filter(|(_, op)| *op == Op::Stray).map(|(place, _)| &trace.alerts[*place]);
    strays.filter(|alert| alert.group == group).map(|alert| alert.name.to_owned()).collect()
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} alike, {} without a reason", self.same, self.faults.len())?;
        self.intended.iter().try_for_each(|(name, count)| write!(f, "\n{count:>6} times: {name}"))
    }
}
