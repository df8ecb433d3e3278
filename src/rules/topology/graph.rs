//! What depends on what, as two lists of numbers, and how it is walked.
//!
//! Services are numbers. The edges of all services stand in one array, those of one service next to each other
//! (compressed sparse rows): 4 bytes an edge and direction, 4 bytes a service. Walks are bounded in depth, in services
//! and in edges, so a dense graph or one with cycles costs no more than another.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use hashbrown::HashSet;

/// Services that a walk visits at most.
pub const VISITS_MAX: usize = 10_000;
/// Edges that a walk looks at for every service it may visit. Real catalogues have about five.
const EDGES_PER_VISIT: usize = 16;

/// Which way a walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To what a service needs.
    Needs,
    /// To those that need it.
    NeededBy,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Services visited.
    pub visits: usize,
    /// Whether it ended at a bound, with services left to visit.
    pub cut: bool,
}

/// For every service, the services that its edges lead to.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Where the edges of a service begin; one more than there are services.
    starts: Box<[u32]>,
    targets: Box<[u32]>,
}

impl Rows {
    /// Of edges in any order; those of one service keep theirs.
    pub(super) fn new(services: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; services + 1];
        edges.clone().for_each(|(from, _)| starts[from as usize + 1] += 1);
        for service in 0..services {
            starts[service + 1] += starts[service];
        }
        let mut next = starts.clone();
        let mut targets = vec![0; starts[services] as usize];
        for (from, to) in edges {
            targets[next[from as usize] as usize] = to;
            next[from as usize] += 1;
        }
        Self { starts: starts.into(), targets: targets.into() }
    }

    pub(super) fn of(&self, service: u32) -> &[u32] {
        let place = service as usize;
        match self.starts.get(place..place + 2) {
            Some([start, end]) => &self.targets[*start as usize..*end as usize],
            _ => &[],
        }
    }

    pub(super) fn edges(&self) -> impl Iterator<Item = (u32, u32)> + Clone {
        let services = 0..self.starts.len().saturating_sub(1) as u32;
        services.flat_map(|from| self.of(from).iter().map(move |to| (from, *to)))
    }

    pub(super) fn targets(&self) -> &[u32] {
        &self.targets
    }

    /// Breadth-first: nearest services first, each once, never the one it starts from.
    pub(super) fn walk(
        &self,
        from: u32,
        depth: u8,
        visits_max: usize,
        mut visit: impl FnMut(u32, u8) -> ControlFlow<()>,
    ) -> Walked {
        let mut seen: HashSet<u32> = HashSet::new();
        seen.insert(from);
        let mut waiting = VecDeque::from([(from, 0_u8)]);
        let mut walked = Walked::default();
        let mut edges_left = visits_max.saturating_mul(EDGES_PER_VISIT);
        while let Some((service, distance)) = waiting.pop_front() {
            for next in self.of(service) {
                if edges_left == 0 {
                    return Walked { cut: true, ..walked };
                }
                edges_left -= 1;
                if !seen.insert(*next) {
                    continue;
                }
                if walked.visits >= visits_max {
                    return Walked { cut: true, ..walked };
                }
                walked.visits += 1;
                if visit(*next, distance + 1).is_break() {
                    return walked;
                }
                if distance + 1 < depth {
                    waiting.push_back((*next, distance + 1));
                }
            }
        }
        walked
    }

    /// The services of every cycle, one list each: all that lead to each other.
    pub(super) fn cycles(&self) -> Vec<Vec<u32>> {
        let services = self.starts.len().saturating_sub(1);
        let mut search = Search {
            rows: self,
            order: vec![0; services],
            lowest: vec![0; services],
            on_stack: vec![false; services],
            stack: Vec::new(),
            visited: 0,
            cycles: Vec::new(),
        };
        for service in 0..services as u32 {
            if search.order[service as usize] == 0 {
                search.from(service);
            }
        }
        search.cycles
    }

    /// A way from a service back to itself through these services only, as short as there is.
    pub(super) fn way_round(&self, start: u32, among: &[u32]) -> Vec<u32> {
        let among: HashSet<u32> = among.iter().copied().collect();
        let mut came_from = hashbrown::HashMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(service) = waiting.pop_front() {
            for next in self.of(service).iter().filter(|next| among.contains(*next)) {
                if *next == start {
                    let mut way = vec![start, service];
                    while let Some(before) = way.last().and_then(|last| came_from.get(last)) {
                        way.push(*before);
                    }
                    way.reverse();
                    return way;
                }
                if let hashbrown::hash_map::Entry::Vacant(entry) = came_from.entry(*next) {
                    entry.insert(service);
                    waiting.push_back(*next);
                }
            }
        }
        vec![start]
    }
}

/// Tarjan's search for strongly connected components, with a stack of its own: a chain of 100,000 services must not
/// exhaust that of the thread.
struct Search<'a> {
    rows: &'a Rows,
    /// When a service was visited, from 1.
    order: Vec<u32>,
    lowest: Vec<u32>,
    on_stack: Vec<bool>,
    stack: Vec<u32>,
    visited: u32,
    cycles: Vec<Vec<u32>>,
}

impl Search<'_> {
    fn from(&mut self, start: u32) {
        self.enter(start);
        let mut calls = vec![(start, 0_usize)];
        while let Some((service, edge)) = calls.pop() {
            let Some(next) = self.rows.of(service).get(edge).copied() else {
                self.leave(service);
                if let Some((caller, _)) = calls.last() {
                    let lowest = self.lowest[service as usize];
                    let caller = &mut self.lowest[*caller as usize];
                    *caller = (*caller).min(lowest);
                }
                continue;
            };
            calls.push((service, edge + 1));
            if self.order[next as usize] == 0 {
                self.enter(next);
                calls.push((next, 0));
            } else if self.on_stack[next as usize] {
                let order = self.order[next as usize];
                let lowest = &mut self.lowest[service as usize];
                *lowest = (*lowest).min(order);
            }
        }
    }

    fn enter(&mut self, service: u32) {
        self.visited += 1;
        self.order[service as usize] = self.visited;
        self.lowest[service as usize] = self.visited;
        self.on_stack[service as usize] = true;
        self.stack.push(service);
    }

    /// All that a service leads to has been visited: what is above it on the stack is its component.
    fn leave(&mut self, service: u32) {
        if self.lowest[service as usize] != self.order[service as usize] {
            return;
        }
        let place = self.stack.iter().rposition(|other| *other == service).unwrap_or_default();
        let mut component = self.stack.split_off(place);
        component.iter().for_each(|member| self.on_stack[*member as usize] = false);
        if component.len() > 1 {
            component.sort_unstable();
            self.cycles.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(services: usize, edges: &[(u32, u32)]) -> Rows {
        Rows::new(services, edges.iter().copied())
    }

    fn walked(rows: &Rows, from: u32, depth: u8, visits_max: usize) -> (Vec<(u32, u8)>, Walked) {
        let mut found = Vec::new();
        let walked = rows.walk(from, depth, visits_max, |service, distance| {
            found.push((service, distance));
            ControlFlow::Continue(())
        });
        (found, walked)
    }

    #[test]
    fn a_walk_visits_each_service_once_and_nearest_first_also_in_a_cycle() {
        let rows = rows(5, &[(0, 1), (1, 2), (2, 0), (0, 2), (2, 3), (3, 4)]);
        let (found, end) = walked(&rows, 0, 5, 100);
        assert_eq!((found, end), (vec![(1, 1), (2, 1), (3, 2), (4, 3)], Walked { visits: 4, cut: false }));
        assert_eq!(walked(&rows, 0, 2, 100).0, [(1, 1), (2, 1), (3, 2)], "no deeper than asked");
        assert_eq!(walked(&rows, 0, 5, 2), (vec![(1, 1), (2, 1)], Walked { visits: 2, cut: true }));
        assert_eq!(walked(&rows, 9, 5, 2).0, [], "a stranger leads nowhere");
    }

    #[test]
    fn a_dense_graph_costs_a_walk_no_more_than_its_bound_of_edges() {
        let all = (0..300_u32).flat_map(|from| (0..300).map(move |to| (from, to)));
        let rows = Rows::new(300, all);
        let (found, end) = walked(&rows, 0, 16, 20);
        assert_eq!((found.len(), end.cut), (20, true));
        let end = rows.walk(0, 16, 299, |_, _| ControlFlow::Continue(()));
        assert!(end.cut, "{} edges are more than {}", 300 * 300, 299 * EDGES_PER_VISIT);
    }

    #[test]
    fn cycles_are_found_and_shown_by_their_shortest_way_round() {
        let rows = rows(7, &[(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 3), (5, 6), (1, 0)]);
        let mut cycles = rows.cycles();
        cycles.sort();
        assert_eq!(cycles, [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(rows.way_round(0, &cycles[0]), [0, 1, 0]);
        assert_eq!(rows.way_round(3, &cycles[1]), [3, 4, 3]);
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_services_exhausts_no_stack() {
        let chain = (0..99_999_u32).map(|service| (service, service + 1));
        let rows = Rows::new(100_000, chain.clone());
        assert_eq!(rows.cycles(), Vec::<Vec<u32>>::new());
        let ring = Rows::new(100_000, chain.chain([(99_999, 0)]));
        assert_eq!(ring.cycles().concat().len(), 100_000);
    }

    proptest! {
        #[test]
        fn a_service_is_in_a_cycle_if_and_only_if_it_leads_back_to_itself(
            edges in proptest::collection::vec((0..12_u32, 0..12_u32), 0..40),
        ) {
            let edges: Vec<_> = edges.into_iter().filter(|(from, to)| from != to).collect();
            let rows = rows(12, &edges);
            let in_cycles = rows.cycles().concat();
            for service in 0..12 {
                let leads_back = walked(&rows, service, 16, 1_000).0.iter().any(|(other, _)| rows.of(*other).contains(&service));
                prop_assert_eq!(in_cycles.contains(&service), leads_back);
            }
        }
    }
}
