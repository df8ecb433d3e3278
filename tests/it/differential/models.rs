//! What each of the two is to tell of a group, by its own documentation. Small enough to be read beside it.

use super::systems::{Names, Told};
use super::traces::{Op, Step, Trace};

/// A group in a step of a trace.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub trace: &'a Trace,
    pub group: &'a str,
    pub step: usize,
}

impl Moment<'_> {
    fn of_group(&self, names: impl IntoIterator<Item = &'static str>) -> Names {
        let of_group = |name: &&str| self.trace.alert_named(name).group == self.group;
        names.into_iter().filter(of_group).map(str::to_owned).collect()
    }

    /// What fires when the step has settled.
    pub fn firing(&self) -> Names {
        self.of_group(self.trace.states[self.step].firing.iter().copied())
    }

    /// What is muted then, whether it fires or not.
    pub fn muted(&self) -> Names {
        self.of_group(self.trace.states[self.step].muted.iter().copied())
    }

    fn before(&self) -> Option<Self> {
        Some(Self { step: self.step.checked_sub(1)?, ..*self })
    }

    /// What has ended in this step, by a resolve or because its time was over.
    fn ended(&self) -> Names {
        let before = self.before().map(|before| before.firing()).unwrap_or_default();
        &before - &self.firing()
    }

    /// Alerts that were told to do this.
    pub fn with(&self, wanted: Op) -> Names {
        let Step::Alerts(ops) = &self.trace.steps[self.step] else { return Names::new() };
        let chosen = ops.iter().filter(|(_, op)| *op == wanted);
        self.of_group(chosen.map(|(place, _)| self.trace.alerts[*place].name))
    }
}

/// Alertmanager: what is muted is left out of a notification, whether it fires or has ended; there is one when the rest is
/// not what its log of notifications has.
#[derive(Default)]
pub struct Alertmanager {
    /// As last notified.
    pub firing: Names,
    resolved: Names,
}

impl Alertmanager {
    pub fn step(&mut self, now: Moment<'_>) -> Option<Told> {
        let (firing, muted) = (&now.firing() - &now.muted(), now.muted());
        let ended = &(&now.ended() | &now.with(Op::Stray)) - &muted;
        let news = match firing.is_empty() {
            true => !ended.is_empty() && !self.firing.is_empty(),
            false => !firing.is_subset(&self.firing) || !ended.is_subset(&self.resolved),
        };
        if !news {
            return None;
        }
        (self.firing, self.resolved) = (firing.clone(), ended.clone());
        Some(Told { firing, resolved: ended })
    }
}

/// incidentd: a muted alert that begins to fire does not get to its rule until it is muted no longer; one of an incident
/// stays in it. An end always counts. While all that fires in an incident is muted, nothing but its end is told.
#[derive(Clone, Default)]
pub struct Incidentd {
    /// What holds the open incident open.
    pub members: Names,
    /// All that was ever part of it.
    linked: Names,
    /// What of it fired when it was last told of.
    pub told: Names,
    /// News that nobody was told of.
    pub kept_back: bool,
}

impl Incidentd {
    pub fn step(&mut self, now: Moment<'_>) -> Option<Told> {
        let (firing, muted, flapped) = (now.firing(), now.muted(), now.with(Op::Flap));
        let was_open = !self.members.is_empty();
        let left = &(&self.members & &firing) - &flapped;
        let cleared = left != self.members;
        let joined = &(&firing - &left) - &muted;
        self.members = &left | &joined;
        self.linked = &self.linked | &joined;
        let news = cleared || !joined.is_empty() || self.kept_back;
        let ends = was_open && self.members.is_empty();
        let speaks = !self.members.is_subset(&muted) || ends;
        self.kept_back = news && !speaks && !self.members.is_empty();
        let shown = &self.linked & &firing;
        if self.members.is_empty() {
            self.linked.clear();
        }
        if !news || !speaks {
            return None;
        }
        let before = std::mem::replace(&mut self.told, if ends { Names::new() } else { shown.clone() });
        Some(Told { firing: &shown - &muted, resolved: &before - &shown })
    }
}
