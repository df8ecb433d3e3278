//! Targets: in how much working time an incident is answered and ended, by priority and by the service's agreement.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::DeadlineConfigs;
use super::calendar::{Calendar, Calendars};
use crate::event::{Timestamp, duration};
use crate::rules::sets::Share;
use crate::rules::{Priority, Problem, check_name};

const AGREEMENTS_MAX: usize = 1_000;
const WARNINGS_MAX: usize = 8;
const TIME_MIN: Duration = Duration::from_secs(1);
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);
/// A Monday from which is tried whether a target can be reached at all.
const REFERENCE: Timestamp = Timestamp::from_parts(1_767_571_200, 0);

/// By priority.
pub type TargetsConfig = BTreeMap<Priority, TargetConfig>;

/// What is agreed for a priority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetConfig {
    /// Working time in which somebody takes it: acknowledged, in progress or on hold. 1s to 1y. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<TargetTime>,
    /// Working time in which it is resolved; not shorter than `respond`. 1s to 1y. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolve: Option<TargetTime>,
    /// The calendar of both. Default: the service's, else `always`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
}

/// Targets that differ from `priority.targets`, for the services that name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgreementConfig {
    /// Unique name.
    pub name: String,
    /// As `priority.targets`, of which everything holds that is not said here.
    pub targets: TargetsConfig,
}

/// A length of working time, and whether it was written in days.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
#[schemars(with = "String")]
pub struct TargetTime {
    time: Duration,
    in_days: bool,
}

impl Serialize for TargetTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        duration::serialize(&self.time, serializer)
    }
}

impl<'de> Deserialize<'de> for TargetTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = duration::parse(&text).map_err(serde::de::Error::custom)?;
        Ok(Self { time, in_days: text.contains(['d', 'w', 'y']) })
    }
}

/// What holds for a priority; nothing that is not there is watched.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Working time in which somebody takes it.
    pub respond: Option<Duration>,
    /// Working time in which it is resolved.
    pub resolve: Option<Duration>,
    /// The calendar of both; the service's where it names none.
    pub calendar: Option<Arc<Calendar>>,
}

type ByPriority = [Terms; Priority::ALL.len()];

/// All targets.
#[derive(Debug, Default)]
pub struct Targets {
    usual: ByPriority,
    agreements: HashMap<Box<str>, ByPriority>,
    /// Shares of a target at which is warned, in order.
    pub warn_at: Box<[Share]>,
    /// Whether clocks stop while all that fires is muted.
    pub pause_while_muted: bool,
}

impl Targets {
    /// What holds for a priority under an agreement; for an unknown agreement, what holds without one.
    pub fn terms(&self, priority: Priority, agreement: Option<&str>) -> &Terms {
        let agreed = agreement.and_then(|name| self.agreements.get(name));
        &agreed.unwrap_or(&self.usual)[priority as usize]
    }

    pub(in crate::rules) fn compile(configs: DeadlineConfigs<'_>, calendars: &Calendars) -> (Self, Vec<Problem>) {
        let mut check = Check { calendars, problems: Vec::new() };
        check.warn_at(configs.warn_at);
        let usual = check.targets("priority.targets", configs.targets, &ByPriority::default());
        let agreements = check.agreements(configs.agreements, &usual);
        let warn_at = configs.warn_at.into();
        (Self { usual, agreements, warn_at, pause_while_muted: configs.pause_while_muted }, check.problems)
    }
}

struct Check<'a> {
    calendars: &'a Calendars,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn error(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem::error(path, message));
    }

    fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem::warning(path, message));
    }

    fn warn_at(&mut self, shares: &[Share]) {
        let path = "priority.warn_at";
        if shares.len() > WARNINGS_MAX {
            self.error(path, format!("at most {WARNINGS_MAX} warnings, not {}", shares.len()));
        }
        for (place, share) in shares.iter().enumerate() {
            let path = format!("{path}[{place}]");
            if !share.is_between_percents(1, 99) {
                self.error(&path, format!("a warning comes at 1% to 99% of a target, not at {share}"));
            } else if let Some(before) = place.checked_sub(1).map(|before| shares[before]).filter(|it| it >= share) {
                self.error(&path, format!("shares rise, and {share} does not after {before}"));
            }
        }
    }

    /// What is said, over what holds where nothing is.
    fn targets(&mut self, root: &str, configs: &TargetsConfig, usual: &ByPriority) -> ByPriority {
        let mut terms = usual.clone();
        for (priority, config) in configs {
            let path = format!("{root}.{}", priority.as_str());
            let terms = &mut terms[*priority as usize];
            let calendar = config.calendar.as_deref().and_then(|name| self.calendar(&path, name));
            terms.calendar = calendar.or_else(|| terms.calendar.take());
            for (field, given, kept) in
                [("respond", config.respond, &mut terms.respond), ("resolve", config.resolve, &mut terms.resolve)]
            {
                let Some(given) = given else { continue };
                self.time(&format!("{path}.{field}"), given, terms.calendar.as_deref());
                *kept = Some(given.time);
            }
            if terms.respond.is_none() && terms.resolve.is_none() {
                self.warning(&path, "says neither `respond` nor `resolve`, so nothing is watched");
            }
            if let (Some(respond), Some(resolve)) = (terms.respond, terms.resolve)
                && resolve < respond
            {
                let [respond, resolve] = [respond, resolve].map(duration::format);
                let message = format!("resolve ({resolve}) is shorter than respond ({respond})");
                let field = if config.resolve.is_some() { "resolve" } else { "respond" };
                self.error(&format!("{path}.{field}"), message);
            }
        }
        self.graver_is_slower(root, configs, &terms);
        terms
    }

    fn calendar(&mut self, path: &str, name: &str) -> Option<Arc<Calendar>> {
        if let Some(wrong) = self.calendars.unknown(name) {
            self.error(&format!("{path}.calendar"), wrong);
        }
        self.calendars.named(name).cloned()
    }

    fn time(&mut self, path: &str, given: TargetTime, calendar: Option<&Calendar>) {
        let TargetTime { time, in_days } = given;
        let shown = duration::format(time);
        if !(TIME_MIN..=TIME_MAX).contains(&time) {
            return self.error(path, format!("a target is 1s to 1y, not {shown}"));
        }
        let Some(calendar) = calendar.filter(|calendar| !calendar.is_always()) else { return };
        let (name, week) = (&calendar.name, duration::format_hours(calendar.week()));
        let hours = duration::format_hours(time);
        if calendar.add(REFERENCE, time).is_none() {
            self.error(path, format!("{shown} are {hours} of working time, which the calendar {name} ({week} a week) has not in ten years"));
        } else if in_days {
            self.warning(
                path,
                format!(
                    "{shown} are {hours} of working time, of which the calendar {name} has {week} a week; write hours"
                ),
            );
        }
    }

    /// A graver incident may take longer only by mistake.
    fn graver_is_slower(&mut self, root: &str, configs: &TargetsConfig, terms: &ByPriority) {
        for pair in Priority::ALL.windows(2).filter(|pair| configs.contains_key(&pair[0])) {
            let [grave, less] = [pair[0], pair[1]].map(|priority| (priority.as_str(), &terms[priority as usize]));
            let name = |terms: &Terms| terms.calendar.as_ref().map(|calendar| calendar.name.clone());
            if name(grave.1) != name(less.1) {
                continue;
            }
            for (field, longer, shorter) in
                [("respond", grave.1.respond, less.1.respond), ("resolve", grave.1.resolve, less.1.resolve)]
            {
                let (Some(longer), Some(shorter)) = (longer, shorter) else { continue };
                if longer > shorter {
                    let [longer, shorter] = [longer, shorter].map(duration::format);
                    let message = format!("{} takes longer ({longer}) than {} ({shorter})", grave.0, less.0);
                    self.warning(&format!("{root}.{}.{field}", grave.0), message);
                }
            }
        }
    }

    fn agreements(&mut self, configs: &[AgreementConfig], usual: &ByPriority) -> HashMap<Box<str>, ByPriority> {
        let mut agreements = HashMap::new();
        if configs.len() > AGREEMENTS_MAX {
            self.error("agreements", format!("at most {AGREEMENTS_MAX} agreements, not {}", configs.len()));
            return agreements;
        }
        for (place, config) in configs.iter().enumerate() {
            let root = format!("agreements[{place}]");
            if let Err(wrong) = check_name(&config.name) {
                self.error(&format!("{root}.name"), wrong);
            }
            if let Some(earlier) = configs[..place].iter().position(|other| other.name == config.name) {
                let message = format!("agreements[{earlier}] is named \"{}\" already", config.name);
                self.error(&format!("{root}.name"), message);
            }
            if config.targets.is_empty() {
                self.warning(&format!("{root}.targets"), "says nothing that differs from priority.targets");
            }
            let terms = self.targets(&format!("{root}.targets"), &config.targets, usual);
            agreements.entry(config.name.as_str().into()).or_insert(terms);
        }
        agreements
    }
}
