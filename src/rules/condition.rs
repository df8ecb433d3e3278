//! What opens an incident: `open_when`, the kind of window, and what ends alerts again.
//!
//! Owns the configuration of all kinds of conditions, what can be wrong in them, and what they compile to. Pure; a
//! compiled condition never fails. Bounds: 8 steps, 64 matchers a list, counts as documented at their fields.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matcher::{Matcher, parse_matcher};
use super::sets::{MemberSet, Sets, Share};
use super::validate::{MATCHERS_MAX, Problem, WINDOW_MAX, never_holds};
use super::{OnStale, RuleConfig};
use crate::event::{duration, hint};

/// Counted exactly up to here.
pub(super) const COUNT_MAX: u32 = 10_000;
/// Different values beyond [`COUNT_MAX`] are estimated, up to here.
const ESTIMATE_MAX: u32 = 10_000_000;
/// What bounds the work and the memory of a sequence.
pub const STEPS_MAX: usize = 8;
const WITHIN_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Exactly one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenWhenConfig {
    /// So many different alerts fired within the window. 1 to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<u32>,
    /// So many firing events within the window. 1 to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u32>,
    /// So many different values of a label among the alerts that fired within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<DistinctConfig>,
    /// Such a share of a known set fired within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<RatioConfig>,
    /// These, one after the other within the window; 2 to 8 steps. Equal times count in the order listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Vec<StepConfig>>,
    /// One thing was seen and another did not follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absence: Option<AbsenceConfig>,
}

impl Default for OpenWhenConfig {
    fn default() -> Self {
        Self { alerts: Some(1), events: None, distinct: None, ratio: None, sequence: None, absence: None }
    }
}

/// See [`OpenWhenConfig::distinct`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistinctConfig {
    /// The label. An alert without it is not taken.
    pub label: String,
    /// How many values, 1 to 10,000,000; above 10,000 they are estimated, with a standard error of 1.6 %.
    pub count: u32,
}

/// See [`OpenWhenConfig::ratio`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RatioConfig {
    /// The label whose values are members of the set, such as `host`.
    pub label: String,
    /// How much of the set, such as `30%` or `12.5%`; over 0% to 100%, rounded up to whole members.
    pub share: Share,
    /// The name of one of `sets`; its `label` is one of the rule's `group_by`.
    pub of: String,
}

/// One step of [`OpenWhenConfig::sequence`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// Matchers, all of which must hold, beside the rule's own.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
}

/// See [`OpenWhenConfig::absence`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbsenceConfig {
    /// What is seen first: matchers, all of which must hold, beside the rule's own.
    pub after: Vec<String>,
    /// What must follow: matchers, all of which must hold, beside the rule's own.
    pub of: Vec<String>,
    /// How long after it, in event time. Over 0s, at most `7d`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub within: Duration,
}

/// What a window is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WindowType {
    /// Any span as long as `window`.
    #[default]
    Sliding,
    /// Spans as long as `window`, side by side, aligned to the Unix epoch.
    Tumbling,
    /// Events no further apart than `window`, together no longer than `window_max`.
    Session,
}

/// What becomes of an event that comes later than its lateness allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Late {
    /// It counts nothing.
    #[default]
    Stale,
    /// It counts where its window is still remembered.
    Count,
}

/// What opens an incident, compiled.
#[derive(Clone, Debug)]
pub enum OpenWhen {
    /// So many different alerts.
    Alerts(u32),
    /// So many firing events.
    Events(u32),
    /// So many different values of a label.
    Distinct {
        /// The label.
        label: Arc<str>,
        /// How many values.
        count: u32,
    },
    /// A share of a known set.
    Ratio {
        /// The label whose values are members.
        label: Arc<str>,
        /// How much of the set.
        share: Share,
        /// The set.
        set: Arc<MemberSet>,
    },
    /// One after the other.
    Sequence(Box<[Box<[Matcher]>]>),
    /// What does not follow.
    Absence {
        /// What is seen first.
        after: Box<[Matcher]>,
        /// What must follow.
        of: Box<[Matcher]>,
        /// How long after it.
        within: Duration,
    },
}

impl OpenWhen {
    /// How many are asked for, where that is the same for every group.
    pub const fn need(&self) -> Option<u32> {
        match self {
            OpenWhen::Alerts(need) | OpenWhen::Events(need) | OpenWhen::Distinct { count: need, .. } => Some(*need),
            OpenWhen::Sequence(steps) => Some(steps.len() as u32),
            OpenWhen::Absence { .. } => Some(1),
            OpenWhen::Ratio { .. } => None,
        }
    }

    /// Whether the values are too many to be counted, so that their number is estimated.
    pub const fn is_estimate(&self) -> bool {
        matches!(self, OpenWhen::Distinct { count, .. } if *count > COUNT_MAX)
    }

    /// `None` where the configuration has errors.
    pub(super) fn compile(config: &OpenWhenConfig, sets: &Sets) -> Option<Self> {
        let OpenWhenConfig { alerts, events, distinct, ratio, sequence, absence } = config;
        let label = |label: &str| Arc::from(label);
        match (alerts, events, distinct, ratio, sequence, absence) {
            (Some(count), None, None, None, None, None) => Some(Self::Alerts(*count)),
            (None, Some(count), None, None, None, None) => Some(Self::Events(*count)),
            (None, None, Some(distinct), None, None, None) => {
                Some(Self::Distinct { label: label(&distinct.label), count: distinct.count })
            }
            (None, None, None, Some(ratio), None, None) => {
                let set = sets.named(&ratio.of)?.clone();
                Some(Self::Ratio { label: label(&ratio.label), share: ratio.share, set })
            }
            (None, None, None, None, Some(steps), None) => {
                let steps = steps.iter().map(|step| matchers(&step.matchers));
                Some(Self::Sequence(steps.collect::<Option<_>>()?))
            }
            (None, None, None, None, None, Some(absence)) => Some(Self::Absence {
                after: matchers(&absence.after)?,
                of: matchers(&absence.of)?,
                within: absence.within,
            }),
            _ => None,
        }
    }
}

/// Reads matchers that were checked.
pub(super) fn matchers(texts: &[String]) -> Option<Box<[Matcher]>> {
    texts.iter().map(|text| parse_matcher(text).ok()).collect()
}

/// All that is wrong in a rule's condition; `root` is the rule's path.
pub(super) fn check(root: &str, config: &RuleConfig, problems: &mut Vec<Problem>) {
    let mut check = Check { root, problems };
    check.exactly_one(&config.open_when);
    check.counts(config);
    check.sequence(config);
    check.absence(config);
    check.windows(config);
    if !config.cleared_by.is_empty() {
        check.list("cleared_by", &config.cleared_by);
    }
}

/// What tells conditions apart that look at different alerts of the same group: steps, what is awaited, the set.
pub(super) fn looks_at(config: &RuleConfig) -> String {
    match &config.open_when {
        OpenWhenConfig { sequence: Some(steps), .. } => format!("{steps:?}"),
        OpenWhenConfig { absence: Some(absence), .. } => format!("{:?} {:?}", absence.after, absence.of),
        OpenWhenConfig { ratio: Some(ratio), .. } => format!("{} {}", ratio.label, ratio.of),
        _ => String::new(),
    }
}

/// What is wrong between a rule and the sets.
pub(super) fn check_set(root: &str, config: &RuleConfig, sets: &Sets, problems: &mut Vec<Problem>) {
    let Some(ratio) = &config.open_when.ratio else { return };
    let path = format!("{root}.open_when.ratio.of");
    match sets.label_of(&ratio.of) {
        None => {
            let hint = hint(&ratio.of, sets.names());
            problems.push(Problem::error(path, format!("unknown set \"{}\"{hint}", ratio.of)));
        }
        Some(label) if !config.group_by.iter().any(|name| name == label) => {
            let message = format!("the set \"{}\" goes by the label \"{label}\": group_by must name it", ratio.of);
            problems.push(Problem::error(path, message));
        }
        Some(_) => {}
    }
}

struct Check<'a> {
    root: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn error(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(Problem::error(format!("{}.{field}", self.root), message));
    }

    fn exactly_one(&mut self, config: &OpenWhenConfig) {
        let OpenWhenConfig { alerts, events, distinct, ratio, sequence, absence } = config;
        let there = [
            alerts.is_some(),
            events.is_some(),
            distinct.is_some(),
            ratio.is_some(),
            sequence.is_some(),
            absence.is_some(),
        ];
        let named = there.into_iter().filter(|there| *there).count();
        if named != 1 {
            let count = if named == 0 { "none" } else { "several" };
            let kinds = "alerts, events, distinct, ratio, sequence and absence";
            self.error("open_when", format!("exactly one of {kinds} opens an incident, not {count}"));
        }
    }

    fn counts(&mut self, config: &RuleConfig) {
        let distinct = config.open_when.distinct.as_ref();
        for (field, count, max) in [
            ("open_when.alerts", config.open_when.alerts, COUNT_MAX),
            ("open_when.events", config.open_when.events, COUNT_MAX),
            ("open_when.distinct.count", distinct.map(|distinct| distinct.count), ESTIMATE_MAX),
        ] {
            if let Some(count) = count.filter(|count| !(1..=max).contains(count)) {
                self.error(field, format!("a count is 1 to {max}, not {count}"));
            }
        }
        let ratio = config.open_when.ratio.as_ref();
        for (field, label) in [
            ("open_when.distinct.label", distinct.map(|distinct| &distinct.label)),
            ("open_when.ratio.label", ratio.map(|ratio| &ratio.label)),
        ] {
            if label.is_some_and(String::is_empty) {
                self.error(field, "a label's name is not empty");
            }
        }
        let estimated = distinct.is_some_and(|distinct| distinct.count > COUNT_MAX);
        if estimated && config.window_type == WindowType::Session {
            let message =
                format!("a count over {COUNT_MAX} is estimated, which a session cannot be: use sliding or tumbling");
            self.error("window_type", message);
        }
    }

    fn sequence(&mut self, config: &RuleConfig) {
        let Some(steps) = &config.open_when.sequence else { return };
        if !(2..=STEPS_MAX).contains(&steps.len()) {
            self.error("open_when.sequence", format!("a sequence has 2 to {STEPS_MAX} steps, not {}", steps.len()));
        }
        for (place, step) in steps.iter().enumerate().take(STEPS_MAX) {
            self.list(&format!("open_when.sequence[{place}].match"), &step.matchers);
        }
        self.sliding_only("a sequence", config);
    }

    fn absence(&mut self, config: &RuleConfig) {
        let Some(absence) = &config.open_when.absence else { return };
        self.list("open_when.absence.after", &absence.after);
        self.list("open_when.absence.of", &absence.of);
        if absence.within.is_zero() || absence.within > WITHIN_MAX {
            let (max, within) = (duration::format(WITHIN_MAX), duration::format(absence.within));
            self.error("open_when.absence.within", format!("within is longer than 0s, at most {max}, not {within}"));
        }
        self.sliding_only("an absence", config);
        if config.window != super::defaults::window() {
            self.error("window", "an absence goes by `within`; leave `window` out");
        }
        if config.on_stale != OnStale::Clear {
            self.error("on_stale", "an absence stays open until what is awaited comes; leave `on_stale` out");
        }
    }

    fn sliding_only(&mut self, what: &str, config: &RuleConfig) {
        if config.window_type != WindowType::Sliding {
            self.error("window_type", format!("{what} has a sliding window; leave `window_type` out"));
        }
    }

    fn windows(&mut self, config: &RuleConfig) {
        let OpenWhenConfig { alerts, events, distinct, .. } = &config.open_when;
        let one = [*alerts, *events, distinct.as_ref().map(|distinct| distinct.count)].contains(&Some(1));
        if one && config.late == Late::Count {
            let message = "with a condition of one nothing is late";
            self.problems.push(Problem::warning(format!("{}.late", self.root), message));
        }
        let Some(max) = config.window_max else { return };
        if config.window_type != WindowType::Session {
            self.error("window_max", "only a session has a `window_max`; leave it out");
        } else if max < config.window || max > WINDOW_MAX {
            let max = duration::format(max);
            self.error("window_max", format!("window_max is at least `window`, at most 24h, not {max}"));
        }
    }

    /// A list of matchers that says something.
    fn list(&mut self, field: &str, texts: &[String]) {
        if texts.is_empty() || texts.len() > MATCHERS_MAX {
            return self.error(field, format!("1 to {MATCHERS_MAX} matchers are needed here, not {}", texts.len()));
        }
        let mut read = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            match parse_matcher(text) {
                Ok(matcher) => read.push((place, matcher)),
                Err(wrong) => self.error(&format!("{field}[{place}]"), wrong),
            }
        }
        for (position, (place, matcher)) in read.iter().enumerate() {
            let first = !read[..position].iter().any(|(_, earlier)| earlier.field == matcher.field);
            if let Some(why) = first.then(|| never_holds(&matcher.field, &read)).flatten() {
                self.problems.push(Problem::warning(format!("{}.{field}[{place}]", self.root), why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Definition, SetConfig, compile};

    fn problems(rule: &str) -> Vec<String> {
        let rules: Vec<RuleConfig> = serde_saphyr::from_str(&format!("[{{name: a, {rule}}}]")).expect(rule);
        let sets: Vec<SetConfig> =
            serde_saphyr::from_str("[{name: racks, label: rack, members: {r1: [h1, h2]}}]").expect("sets");
        let (_, problems) = compile(&Definition { sets: &sets, ..Definition::of(&rules, &[]) });
        let shown = |problem: Problem| format!("{}: {}", problem.path, problem.message);
        problems.into_iter().map(shown).collect()
    }

    #[test]
    fn every_kind_is_accepted() {
        for rule in [
            "open_when: {distinct: {label: host, count: 10000000}}, window_type: tumbling",
            "group_by: [rack], open_when: {ratio: {label: host, share: 30%, of: racks}}",
            "open_when: {sequence: [{match: [a=b]}, {match: [a=c]}]}, late: count",
            "open_when: {absence: {after: [a=b], of: [a=c], within: 2h}}",
            "open_when: {events: 3}, window_type: session, window_max: 1h, cleared_by: [a=up]",
        ] {
            assert_eq!(problems(rule), [""; 0], "{rule}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_its_place() {
        for (rule, said) in [
            (
                "open_when: {ratio: {label: host, share: 30%, of: rack}}, group_by: [rack]",
                "open_when.ratio.of: unknown set \"rack\", did you mean \"racks\"?",
            ),
            (
                "open_when: {ratio: {label: '', share: 30%, of: racks}}, group_by: [rack]",
                "open_when.ratio.label: a label's name is not empty",
            ),
            (
                "open_when: {ratio: {label: host, share: 30%, of: racks}}, group_by: [row]",
                "open_when.ratio.of: the set \"racks\" goes by the label \"rack\": group_by must name it",
            ),
            ("open_when: {sequence: [{match: [a=b]}]}", "open_when.sequence: a sequence has 2 to 8 steps, not 1"),
            (
                "open_when: {sequence: [{match: [a=b]}, {match: []}]}",
                "open_when.sequence[1].match: 1 to 64 matchers are needed here, not 0",
            ),
            (
                "open_when: {sequence: [{match: [a=b]}, {match: [a]}]}",
                "open_when.sequence[1].match[0]: at character 2 of the matcher: one of =, !=, =~, !~ must follow the name",
            ),
            (
                "open_when: {sequence: [{match: [a=b]}, {match: [a=c]}]}, window_type: tumbling",
                "window_type: a sequence has a sliding window; leave `window_type` out",
            ),
            (
                "open_when: {absence: {after: [a=b], of: [a=c], within: 8d}}",
                "open_when.absence.within: within is longer than 0s, at most 7d, not 8d",
            ),
            (
                "open_when: {absence: {after: [a=b], of: [a=c], within: 1h}}, window: 1h",
                "window: an absence goes by `within`; leave `window` out",
            ),
            (
                "open_when: {absence: {after: [a=b], of: [a=c], within: 1h}}, on_stale: hold",
                "on_stale: an absence stays open until what is awaited comes; leave `on_stale` out",
            ),
            ("late: count", "late: with a condition of one nothing is late"),
            ("window_max: 1h", "window_max: only a session has a `window_max`; leave it out"),
            (
                "window_type: session, window: 10m, window_max: 5m",
                "window_max: window_max is at least `window`, at most 24h, not 5m",
            ),
            (
                "window_type: session, open_when: {distinct: {label: host, count: 10001}}",
                "window_type: a count over 10000 is estimated, which a session cannot be: use sliding or tumbling",
            ),
            (
                "open_when: {distinct: {label: host, count: 10000001}}",
                "open_when.distinct.count: a count is 1 to 10000000, not 10000001",
            ),
            (
                "cleared_by: ['status=resolved']",
                "cleared_by[0]: can never hold: status=\"resolved\": only firing alerts open incidents",
            ),
        ] {
            assert_eq!(problems(rule), [format!("rules[0].{said}")], "{rule}");
        }
    }
}
