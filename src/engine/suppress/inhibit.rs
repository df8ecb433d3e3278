//! Which alerts are sources and targets of inhibition rules, so that a source that comes or goes touches only the
//! targets it shares its `equal` labels with.
//!
//! About 150 bytes for each rule that an alert matches, freed when it ends; a look-up costs the logarithm of that. Knows
//! nothing of matchers: what an alert is to a rule is found by `rules::Inhibitions`.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::rules::Role;

/// What an alert is to the rules that concern it.
pub(super) type Roles = SmallVec<[Role; 1]>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inhibitors {
    roles: HashMap<u32, Roles>,
    /// Rule, key, whether it is a target of the rule as well, alert.
    sources: BTreeSet<(u32, u128, bool, u32)>,
    /// Rule, key, alert.
    targets: BTreeSet<(u32, u128, u32)>,
}

impl Inhibitors {
    /// Replaces what an alert is; adds the alerts whose muting may have changed by that to `affected`.
    pub(super) fn set(&mut self, slot: u32, roles: Roles, affected: &mut Vec<u32>) {
        let old = self.roles.remove(&slot).unwrap_or_default();
        if old != roles {
            for role in old.iter().filter(|role| !roles.contains(role)) {
                self.targets.remove(&(role.rule, role.key, slot));
                if self.sources.remove(&source(role, slot)) && !self.has_source(role, role.target) {
                    self.add_targets(role, affected);
                }
            }
            for role in roles.iter().filter(|role| !old.contains(role)) {
                if role.source && !self.has_source(role, role.target) {
                    self.add_targets(role, affected);
                }
                if role.source {
                    self.sources.insert(source(role, slot));
                }
                if role.target {
                    self.targets.insert((role.rule, role.key, slot));
                }
            }
        }
        if !roles.is_empty() {
            self.roles.insert(slot, roles);
        }
    }

    fn has_source(&self, role: &Role, both: bool) -> bool {
        let from = (role.rule, role.key, both, 0);
        self.sources.range(from..=(role.rule, role.key, both, u32::MAX)).next().is_some()
    }

    fn add_targets(&self, role: &Role, affected: &mut Vec<u32>) {
        let targets = self.targets.range((role.rule, role.key, 0)..=(role.rule, role.key, u32::MAX));
        affected.extend(targets.map(|(.., slot)| *slot));
    }

    /// What an alert is.
    pub(super) fn roles(&self, slot: u32) -> &[Role] {
        self.roles.get(&slot).map_or(&[], |roles| roles)
    }

    /// The first rule by which an alert is muted. One that is both source and target is muted only by those that are
    /// not both, and so never by itself.
    pub(super) fn inhibited(&self, slot: u32) -> Option<u32> {
        let targets = self.roles(slot).iter().filter(|role| role.target);
        let muted = |role: &&Role| self.has_source(role, false) || (!role.source && self.has_source(role, true));
        targets.into_iter().find(muted).map(|role| role.rule)
    }

    /// The alerts that mute an alert, at most `limit`.
    pub(super) fn inhibitors(&self, slot: u32, limit: usize) -> Vec<u32> {
        let mut found = Vec::new();
        for role in self.roles(slot).iter().filter(|role| role.target) {
            let to = (role.rule, role.key, !role.source, u32::MAX);
            let sources = self.sources.range((role.rule, role.key, false, 0)..=to).map(|(.., source)| *source);
            for source in sources {
                if found.len() >= limit {
                    return found;
                }
                if !found.contains(&source) {
                    found.push(source);
                }
            }
        }
        found
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes held, by estimate.
    pub(super) fn bytes(&self) -> usize {
        self.roles.capacity() * (size_of::<(u32, Roles)>() + 1) + (self.sources.len() + self.targets.len()) * 64
    }
}

fn source(role: &Role, slot: u32) -> (u32, u128, bool, u32) {
    (role.rule, role.key, role.target, slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(key: u128, source: bool, target: bool) -> Roles {
        SmallVec::from_buf([Role { rule: 0, key, source, target }])
    }

    fn set(inhibitors: &mut Inhibitors, slot: u32, roles: Roles) -> Vec<u32> {
        let mut affected = Vec::new();
        inhibitors.set(slot, roles, &mut affected);
        affected
    }

    #[test]
    fn the_first_and_the_last_source_of_a_key_touch_its_targets_and_no_others() {
        let mut inhibitors = Inhibitors::default();
        set(&mut inhibitors, 1, role(7, false, true));
        set(&mut inhibitors, 2, role(8, false, true));
        assert_eq!(set(&mut inhibitors, 3, role(7, true, false)), [1]);
        assert_eq!(set(&mut inhibitors, 4, role(7, true, false)), [0; 0], "it is muted already");
        assert_eq!((inhibitors.inhibited(1), inhibitors.inhibited(2)), (Some(0), None));
        assert_eq!((inhibitors.inhibitors(1, 9), inhibitors.inhibitors(1, 1)), (vec![3, 4], vec![3]));
        assert_eq!(set(&mut inhibitors, 3, Roles::new()), [0; 0]);
        assert_eq!(set(&mut inhibitors, 4, role(8, true, false)), [1, 2], "from one key to the other");
        assert_eq!((inhibitors.inhibited(1), inhibitors.inhibited(2)), (None, Some(0)));
    }

    #[test]
    fn what_is_both_source_and_target_is_muted_by_what_is_only_a_source() {
        let mut inhibitors = Inhibitors::default();
        set(&mut inhibitors, 1, role(7, true, true));
        set(&mut inhibitors, 2, role(7, true, true));
        set(&mut inhibitors, 3, role(7, false, true));
        assert_eq!([1, 2, 3].map(|slot| inhibitors.inhibited(slot)), [None, None, Some(0)]);
        assert_eq!(inhibitors.inhibitors(3, 9), [1, 2]);
        assert_eq!(set(&mut inhibitors, 4, role(7, true, false)), [1, 2, 3]);
        assert_eq!(inhibitors.inhibitors(1, 9), [4]);
        assert_eq!([1, 2].map(|slot| inhibitors.inhibited(slot)), [Some(0), Some(0)]);
    }
}
