//! Which services have a live incident.
//!
//! One entry for every live incident that has a service, so it is bounded by `max_groups`. Derived from the groups: not
//! in the journal, made anew after a restart and when the catalogue changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use crate::rules::Topology;

/// A service: by its number in the catalogue, else by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) enum Service {
    Listed(u32),
    Named(Arc<str>),
}

impl Service {
    pub(in crate::engine) fn of(topology: &Topology, name: &Arc<str>) -> Self {
        topology.find(name).map_or_else(|| Service::Named(name.clone()), Service::Listed)
    }
}

/// The groups of a service's live incidents. Most have one, which takes no room beside the entry.
#[derive(Debug)]
enum Live {
    One(u32),
    Many(BTreeSet<u32>),
}

impl Live {
    fn insert(&mut self, group: u32) {
        match self {
            Live::One(one) if *one == group => {}
            Live::One(one) => *self = Live::Many(BTreeSet::from([*one, group])),
            Live::Many(groups) => drop(groups.insert(group)),
        }
    }

    /// Says whether none is left.
    fn remove(&mut self, group: u32) -> bool {
        match self {
            Live::One(one) => *one == group,
            Live::Many(groups) => {
                groups.remove(&group);
                groups.is_empty()
            }
        }
    }

    /// Ascending.
    fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (one, many) = match self {
            Live::One(one) => (Some(*one), None),
            Live::Many(groups) => (None, Some(groups)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct LiveServices {
    /// The groups of live incidents, in order, so that whatever goes through them does so in the same order anywhere.
    groups: HashMap<Service, Live>,
    /// How many of the services are in the catalogue.
    listed: usize,
    /// Services visited by walks over the catalogue.
    pub(in crate::engine) visits: u64,
}

impl LiveServices {
    pub(in crate::engine) fn insert(&mut self, service: Service, group: u32) {
        let listed = usize::from(matches!(service, Service::Listed(_)));
        match self.groups.entry(service) {
            Entry::Occupied(mut known) => known.get_mut().insert(group),
            Entry::Vacant(new) => {
                new.insert(Live::One(group));
                self.listed += listed;
            }
        }
    }

    pub(in crate::engine) fn remove(&mut self, service: &Service, group: u32) {
        let Some(groups) = self.groups.get_mut(service) else { return };
        if groups.remove(group) {
            self.groups.remove(service);
            self.listed -= usize::from(matches!(service, Service::Listed(_)));
        }
    }

    pub(in crate::engine) fn clear(&mut self) {
        self.groups.clear();
        self.listed = 0;
    }

    /// The groups of a service's live incidents, ascending.
    pub(in crate::engine) fn of(&self, service: &Service) -> impl Iterator<Item = u32> + '_ {
        self.groups.get(service).into_iter().flat_map(Live::iter)
    }

    /// How many services of the catalogue have a live incident, but for one of them.
    pub(in crate::engine) fn others_listed(&self, but: u32) -> usize {
        self.listed - usize::from(self.groups.contains_key(&Service::Listed(but)))
    }

    /// The services of the catalogue that have a live incident, ascending, but for one of them.
    pub(in crate::engine) fn others(&self, but: u32) -> Vec<u32> {
        let number = |service: &Service| match service {
            Service::Listed(number) if *number != but => Some(*number),
            _ => None,
        };
        let mut others: Vec<u32> = self.groups.keys().filter_map(number).collect();
        others.sort_unstable();
        others
    }

    pub(in crate::engine) fn bytes(&self) -> usize {
        // An entry of one group; of more, about a leaf of the set for each ten is not counted.
        self.groups.capacity() * size_of::<(Service, Live)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_live_as_long_as_one_of_its_incidents_is() {
        let mut live = LiveServices::default();
        let named = Service::Named("db".into());
        for (service, group) in
            [(Service::Listed(7), 2), (Service::Listed(7), 1), (Service::Listed(3), 4), (named.clone(), 9)]
        {
            live.insert(service, group);
        }
        assert_eq!(live.of(&Service::Listed(7)).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((live.others_listed(7), live.others_listed(5), live.others(5)), (1, 2, vec![3, 7]));
        live.remove(&Service::Listed(7), 1);
        live.remove(&Service::Listed(7), 1);
        live.remove(&Service::Listed(3), 4);
        assert_eq!((live.others_listed(5), live.others(5)), (1, vec![7]));
        live.remove(&Service::Listed(7), 2);
        live.remove(&named, 9);
        assert_eq!((live.others_listed(5), live.of(&named).count()), (0, 0));
    }
}
