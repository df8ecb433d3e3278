//! What both have told of each group in each step, side by side.
//!
//! Each must have told what its model says, and where the two have told different things, one of the intended differences
//! must be at work. `docs/alertmanager.md` gives their reasons, under the same names.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::models::{Alertmanager, Incidentd, Moment};
use super::systems::{Book, Group, Names, Told};
use super::traces::{Op, STEPS, State, Trace};

/// The comparison of all traces.
#[derive(Default)]
pub struct Findings {
    /// Groups and steps of which both told the same.
    pub same: usize,
    /// How often each of the intended differences was at work.
    pub intended: BTreeMap<&'static str, usize>,
    /// Differences without a reason, with their traces.
    pub faults: Vec<String>,
}

impl Findings {
    pub fn add(&mut self, other: Self) {
        self.same += other.same;
        self.faults.extend(other.faults);
        other.intended.into_iter().for_each(|(reason, count)| *self.intended.entry(reason).or_default() += count);
    }
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

/// All that was told of a group in a step as one, without what is muted: an incident lists it, a notification does not.
fn merged(book: &Book, now: Moment<'_>) -> Option<Told> {
    let told = book.get(&(key(now.trace, now.group), now.step))?;
    let firing = &told.last()?.firing - &now.muted();
    let resolved: Names = told.iter().flat_map(|told| &told.resolved).cloned().collect();
    Some(Told { firing, resolved })
}

/// What both should tell of a group in a step, and what is so then.
struct Chapter {
    theirs: Option<Told>,
    ours: Option<Told>,
    before: Known,
    we: Incidentd,
}

/// What both should tell, by their models.
pub struct Story(BTreeMap<(Group, usize), Chapter>);

impl Story {
    pub fn of(traces: &[Trace]) -> Self {
        let mut story = BTreeMap::new();
        for trace in traces {
            for group in GROUPS {
                let (mut they, mut we) = (Alertmanager::default(), Incidentd::default());
                for step in 0..STEPS {
                    let now = Moment { trace, group, step };
                    let before = Known { they: they.firing.clone(), we: we.clone() };
                    let (theirs, ours) = (they.step(now), we.step(now));
                    story.insert((key(trace, group), step), Chapter { theirs, ours, before, we: we.clone() });
                }
            }
        }
        Self(story)
    }

    /// Whether everything that is to be told in a step has been told.
    pub fn is_told(&self, traces: &[Trace], [their_book, our_book]: &[Book; 2], step: usize) -> bool {
        traces.iter().all(|trace| {
            GROUPS.into_iter().all(|group| {
                let chapter = &self.0[&(key(trace, group), step)];
                let now = Moment { trace, group, step };
                merged(their_book, now) == chapter.theirs && merged(our_book, now) == chapter.ours
            })
        })
    }

    pub fn compare(&self, trace: &Trace, books: &[Book; 2]) -> Findings {
        let mut findings = Findings::default();
        for group in GROUPS {
            (0..STEPS).for_each(|step| self.judge(Moment { trace, group, step }, books, &mut findings));
        }
        findings
    }

    fn judge(&self, now: Moment<'_>, [their_book, our_book]: &[Book; 2], findings: &mut Findings) {
        let Moment { trace, group, step } = now;
        let chapter = &self.0[&(key(trace, group), step)];
        let (theirs, ours) = (merged(their_book, now), merged(our_book, now));
        let reasons = chapter.differences(now);
        if theirs != chapter.theirs || ours != chapter.ours {
            let Chapter { theirs: they_should, ours: we_should, .. } = chapter;
            findings.faults.push(format!(
                "group {group}, step {step}: Alertmanager told {theirs:?} for {they_should:?}, \
                 incidentd {ours:?} for {we_should:?}, in {trace}"
            ));
        } else if theirs == ours {
            findings.same += usize::from(ours.is_some());
        } else if reasons.is_empty() {
            findings
                .faults
                .push(format!("group {group}, step {step}: {theirs:?} / {ours:?} without a reason in {trace}"));
        } else {
            reasons.into_iter().for_each(|reason| *findings.intended.entry(reason).or_default() += 1);
        }
    }
}

/// Where in a trace the models differ although none of the intended differences is at work.
pub fn nameless(trace: &Trace) -> Option<String> {
    let story = Story::of(std::slice::from_ref(trace));
    let moments = GROUPS.into_iter().flat_map(|group| (0..STEPS).map(move |step| Moment { trace, group, step }));
    let mut nameless = moments.filter_map(|now| {
        let chapter = &story.0[&(key(trace, now.group), now.step)];
        let Chapter { theirs, ours, .. } = chapter;
        (theirs != ours && chapter.differences(now).is_empty())
            .then(|| format!("group {}, step {}: {theirs:?} / {ours:?} in {trace}", now.group, now.step))
    });
    nameless.next()
}

const GROUPS: [&str; 3] = ["a", "b", "s"];

fn key(trace: &Trace, group: &str) -> Group {
    (trace.label(), group.to_owned())
}

/// What was so before a step.
struct Known {
    /// Alerts that Alertmanager takes for firing.
    they: Names,
    we: Incidentd,
}

impl Chapter {
    /// The intended differences that are at work.
    fn differences(&self, now: Moment<'_>) -> Vec<&'static str> {
        let Self { theirs, ours, before, we } = self;
        let none = Told::default();
        let (their, our) = (theirs.as_ref().unwrap_or(&none), ours.as_ref().unwrap_or(&none));
        let meets = |one: &Names, other: &Names| !one.is_disjoint(other);
        let stayed = &before.we.members & &we.members;
        let joined = &we.members - &before.we.members;
        [
            (meets(&their.resolved, &now.with(Op::Stray)), "a resolve of what did not fire is not told"),
            (meets(&our.resolved, &now.muted()), "an end is told although it is muted"),
            (
                theirs.is_some() && ours.is_none() && meets(&(&their.firing - &before.they), &stayed),
                "what was told before it was muted is not told again after it",
            ),
            (theirs.is_none() && meets(&joined, &before.they), "what comes back is told although its end was muted"),
            (we.kept_back, "an incident of which all that fires is muted says nothing but its end"),
            (
                // An end that was kept back, or one whose alert has come back meanwhile, so that nothing else is new.
                meets(&our.resolved, &(&before.we.told - &before.we.members))
                    || (before.we.kept_back && joined.is_empty() && ours.is_some() && theirs.is_none()),
                "what was kept back is told when it is muted no longer",
            ),
            (meets(&now.with(Op::Flap), &now.firing()), "an alert that ended and came back is told"),
        ]
        .into_iter()
        .filter_map(|(at_work, name)| at_work.then_some(name))
        .collect()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} alike, {} without a reason", self.same, self.faults.len())?;
        self.intended.iter().try_for_each(|(name, count)| write!(f, "\n{count:>6} times: {name}"))
    }
}
