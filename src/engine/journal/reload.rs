//! What a reload did, rule by rule: which windows go on, which start over, which incidents run on without a rule.

use std::sync::Arc;

use serde::Serialize;

/// What a reload did to the windows and incidents of one rule. A rule that had neither is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct RuleReport {
    /// Its name.
    pub rule: Arc<str>,
    /// Windows that go on as they were, with what they count and wait for, and their incidents.
    pub kept: usize,
    /// Incidents that go on under the changed rule, while what their windows had counted starts over.
    pub migrated: usize,
    /// Windows without an incident that were dropped, because the rule is gone or correlates otherwise.
    pub dropped: usize,
    /// Incidents whose rule is gone or groups otherwise: they run to their end by the policy they had.
    pub retired: usize,
}

/// What a reload did to the windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// By name.
    pub rules: Vec<RuleReport>,
}

impl ReloadReport {
    /// The line of a rule.
    pub(super) fn of(&mut self, rule: &Arc<str>) -> &mut RuleReport {
        let place = self.rules.binary_search_by(|line| line.rule.cmp(rule)).unwrap_or_else(|place| {
            self.rules.insert(place, RuleReport { rule: rule.clone(), ..RuleReport::default() });
            place
        });
        &mut self.rules[place]
    }

    /// Adds what another shard has done.
    pub fn add(&mut self, other: &Self) {
        other.rules.iter().for_each(|line| self.of(&line.rule).add(line));
    }

    /// All rules together, without a name.
    pub fn total(&self) -> RuleReport {
        let mut total = RuleReport::default();
        self.rules.iter().for_each(|line| total.add(line));
        total
    }
}

impl RuleReport {
    fn add(&mut self, other: &Self) {
        self.kept += other.kept;
        self.migrated += other.migrated;
        self.dropped += other.dropped;
        self.retired += other.retired;
    }
}

impl std::fmt::Display for RuleReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kept, migrated, dropped, retired, .. } = self;
        write!(f, "kept {kept}, migrated {migrated}, dropped {dropped}, retired {retired}")
    }
}
