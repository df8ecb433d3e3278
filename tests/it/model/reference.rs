//! A naive engine, written from the contract: lists that are scanned, nothing indexed, nothing forgotten early.
//!
//! Knows nothing of verdicts, ids, titles or priorities, only of what becomes of alerts and incidents, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use incidentd::delivery::Action;
use incidentd::engine::EngineConfig;
use incidentd::event::Timestamp;
use incidentd::rules::{OnStale, RuleConfig, WindowType};

use super::{Name, Sent};

/// What an incident looks like from outside: rule, key, whether it is resolved, firing and all alerts.
pub type Seen = (String, String, bool, u64, u64);
/// What happened to an incident.
pub type Told = (String, String, Action);

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Resolved,
    Firing,
    Stale,
}

#[derive(Debug)]
struct Alert {
    name: Name,
    state: State,
    /// The last word; firing wins at equal times.
    last: (Timestamp, bool),
    last_seen: Timestamp,
    until: Timestamp,
}

#[derive(Debug)]
struct Member {
    name: Name,
    firing: bool,
    linked: bool,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Gathering,
    Waiting { until: Timestamp, since: Timestamp },
    Live { clear_since: Option<Timestamp> },
    Resolved { at: Timestamp },
}

#[derive(Debug)]
struct Group {
    rule: usize,
    key: String,
    phase: Phase,
    seen: Vec<(Timestamp, String)>,
    events: u64,
    newest: Timestamp,
    last_activity: Timestamp,
    members: Vec<Member>,
    total: u64,
    /// When it is due, and whether alerts were linked.
    gathered: Option<(Timestamp, bool)>,
}

/// See the module.
pub struct Reference {
    config: EngineConfig,
    rules: Vec<RuleConfig>,
    alerts: Vec<Alert>,
    groups: Vec<Group>,
    ids: Vec<(u8, Timestamp)>,
    /// Everything that was told, in order.
    pub told: Vec<Told>,
}

impl Reference {
    pub fn new(config: EngineConfig, rules: Vec<RuleConfig>) -> Self {
        Self { config, rules, alerts: Vec::new(), groups: Vec::new(), ids: Vec::new(), told: Vec::new() }
    }

    pub fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<Seen> = Vec::new();
        for group in &self.groups {
            let resolved = match group.phase {
                Phase::Live { .. } => false,
                Phase::Resolved { .. } => true,
                _ => continue,
            };
            let firing = group.members.iter().filter(|member| member.firing && !resolved).count() as u64;
            seen.push((self.rules[group.rule].name.clone(), group.key.clone(), resolved, firing, group.total));
        }
        seen.sort();
        seen
    }

    pub fn advance(&mut self, now: Timestamp) {
        loop {
            let alerts = (0..self.alerts.len()).filter_map(|at| Some((self.alert_due(at)?, 0, at)));
            let groups = (0..self.groups.len()).filter_map(|at| Some((self.group_due(at)?, 1, at)));
            match alerts.chain(groups).min().filter(|(due, ..)| *due <= now) {
                Some((_, 0, at)) => self.run_alert(now, at),
                Some((_, _, at)) => self.run_group(now, at),
                None => return,
            }
        }
    }

    pub fn event(&mut self, now: Timestamp, sent: &Sent) {
        self.advance(now);
        let horizon = self.config.dedup_horizon;
        self.ids.retain(|(_, at)| *at >= now.minus(horizon));
        if let Some(id) = sent.id {
            if self.ids.iter().any(|(known, _)| *known == id) {
                return;
            }
            self.ids.push((id, now));
        }
        let word = (sent.at, sent.firing);
        let lease_end = sent.ends_at.unwrap_or_else(|| sent.at.plus(self.config.resolve_timeout));
        let Some(alert) = self.alerts.iter_mut().find(|alert| alert.name == sent.name) else {
            let (state, until) = if sent.firing { (State::Firing, lease_end) } else { (State::Resolved, now) };
            self.alerts.push(Alert { name: sent.name, state, last: word, last_seen: sent.at, until });
            return if sent.firing {
                self.fires(now, sent, lease_end <= now, false)
            };
        };
        let newer = word > alert.last;
        alert.last_seen = alert.last_seen.max(sent.at);
        if sent.firing && alert.state == State::Resolved && !newer {
            return;
        }
        alert.last = alert.last.max(word);
        if sent.firing {
            // Over on arrival: it counts, and brings nothing back to an incident that has let go of it.
            let only_counts = alert.state != State::Firing && lease_end <= now;
            alert.until = if alert.state == State::Firing { alert.until.max(lease_end) } else { lease_end };
            alert.state = State::Firing;
            let lapsed = alert.until <= now;
            self.fires(now, sent, lapsed, only_counts);
            if only_counts {
                self.clears(now, sent.name, State::Stale);
            }
        } else if newer && alert.state != State::Resolved {
            self.clears(now, sent.name, State::Resolved);
        }
    }

    fn fires(&mut self, now: Timestamp, sent: &Sent, lapsed: bool, only_counts: bool) {
        for rule in 0..self.rules.len() {
            if !self.rules[rule].matchers.is_empty() && sent.name.host == 0 {
                // The only matcher in use is host!="h0".
                continue;
            }
            let key: Vec<String> = self.rules[rule].group_by.iter().map(|label| sent.name.label(label)).collect();
            let key = key.join(",");
            let known = self.groups.iter().position(|group| group.rule == rule && group.key == key);
            let at = known.unwrap_or_else(|| {
                let (phase, newest) = (Phase::Gathering, Timestamp::from_micros(i64::MIN));
                let (seen, members) = (Vec::new(), Vec::new());
                let group = Group {
                    rule,
                    key,
                    phase,
                    seen,
                    events: 0,
                    newest,
                    last_activity: now,
                    members,
                    total: 0,
                    gathered: None,
                };
                self.groups.push(group);
                self.groups.len() - 1
            });
            self.observe(now, sent, (lapsed, only_counts), at);
        }
    }

    fn observe(&mut self, now: Timestamp, sent: &Sent, (lapsed, only_counts): (bool, bool), at: usize) {
        let group = &mut self.groups[at];
        let rule = &self.rules[group.rule];
        group.last_activity = now;
        group.newest = group.newest.max(sent.at.min(now));
        group.events += 1;
        let known = group.members.iter().position(|member| member.name == sent.name);
        let place = known.unwrap_or_else(|| {
            group.members.push(Member { name: sent.name, firing: false, linked: false });
            group.members.len() - 1
        });
        let member = &mut group.members[place];
        let live = matches!(group.phase, Phase::Live { .. });
        let left_alone = only_counts && live && rule.on_stale == OnStale::Clear;
        let was_firing = left_alone || std::mem::replace(&mut member.firing, true);
        match &mut group.phase {
            Phase::Live { clear_since } => {
                *clear_since = clear_since.filter(|_| left_alone);
                let new = !std::mem::replace(&mut member.linked, true);
                group.total += u64::from(new);
                if new || !was_firing {
                    self.gather(now, at, new);
                }
                return;
            }
            Phase::Waiting { .. } => return,
            Phase::Resolved { .. } if lapsed && sent.at < group.newest => return,
            Phase::Gathering | Phase::Resolved { .. } => {}
        }
        let (need, item) = match &rule.open_when {
            when if when.alerts.is_some() => (when.alerts.unwrap_or(1), format!("{:?}", sent.name)),
            when if when.events.is_some() => (when.events.unwrap_or(1), group.events.to_string()),
            when => (when.distinct.as_ref().map_or(1, |distinct| distinct.count), sent.name.label("host")),
        };
        if need > 1 && sent.at.plus(self.config.lateness) < group.newest {
            return;
        }
        if need > 1 {
            group.seen.push((sent.at, item));
        }
        let Some(since) = condition(group, sent.at, rule, need) else { return };
        match (group.phase, rule.wait.is_zero()) {
            (Phase::Resolved { .. }, _) => self.open(now, at, since, Action::Reopened),
            (_, true) => self.open(now, at, since, Action::Opened),
            (_, false) => group.phase = Phase::Waiting { until: now.plus(rule.wait), since },
        }
    }

    fn open(&mut self, now: Timestamp, at: usize, since: Timestamp, action: Action) {
        let (group, alerts) = (&mut self.groups[at], &self.alerts);
        let recent = |name: Name| alerts.iter().any(|alert| alert.name == name && alert.last_seen >= since);
        group.members.retain(|member| member.linked || member.firing || recent(member.name));
        group.total += group.members.iter().filter(|member| !member.linked).count() as u64;
        group.members.iter_mut().for_each(|member| member.linked = true);
        group.phase = Phase::Live { clear_since: None };
        group.seen.clear();
        self.tell(now, at, action);
    }

    /// Tells at once; what was gathered goes along.
    fn tell(&mut self, _: Timestamp, at: usize, action: Action) {
        let group = &mut self.groups[at];
        group.gathered = None;
        self.told.push((self.rules[group.rule].name.clone(), group.key.clone(), action));
    }

    fn gather(&mut self, now: Timestamp, at: usize, new: bool) {
        let group = &mut self.groups[at];
        let interval = self.rules[group.rule].update_interval;
        let (due, linked) = group.gathered.unwrap_or((now.plus(interval), false));
        group.gathered = Some((due, linked || new));
        if due <= now {
            self.flush(now, at);
        }
    }

    fn flush(&mut self, now: Timestamp, at: usize) {
        if let Some((_, linked)) = self.groups[at].gathered {
            self.tell(now, at, if linked { Action::Linked } else { Action::Updated });
        }
    }

    fn clears(&mut self, now: Timestamp, name: Name, state: State) {
        let alert = self.alerts.iter_mut().find(|alert| alert.name == name).expect("a known alert");
        (alert.state, alert.until) = (state, now);
        for at in (0..self.groups.len()).rev() {
            let group = &mut self.groups[at];
            let rule = &self.rules[group.rule];
            let live = matches!(group.phase, Phase::Live { .. });
            let holds = live && state == State::Stale && rule.on_stale == OnStale::Hold;
            let Some(member) = group.members.iter_mut().find(|member| member.name == name && member.firing) else {
                continue;
            };
            member.firing = holds;
            if holds || !live {
                continue;
            }
            if group.members.iter().any(|member| member.firing) {
                self.gather(now, at, false);
            } else if rule.resolve_after.is_zero() {
                self.resolve(now, at);
            } else {
                group.phase = Phase::Live { clear_since: Some(now) };
                self.gather(now, at, false);
            }
        }
    }

    fn resolve(&mut self, now: Timestamp, at: usize) {
        self.groups[at].phase = Phase::Resolved { at: now };
        self.groups[at].seen.clear();
        self.tell(now, at, Action::Resolved);
        if self.rules[self.groups[at].rule].reopen_within.is_zero() {
            self.close(now, at);
        }
    }

    fn close(&mut self, now: Timestamp, at: usize) {
        self.tell(now, at, Action::Closed);
        let group = &mut self.groups[at];
        group.members.retain(|member| member.firing);
        group.members.iter_mut().for_each(|member| member.linked = false);
        (group.phase, group.total) = (Phase::Gathering, 0);
        if group.members.is_empty() {
            self.groups.remove(at);
        }
    }

    fn alert_due(&self, at: usize) -> Option<Timestamp> {
        let alert = &self.alerts[at];
        let members = self.groups.iter().flat_map(|group| &group.members).filter(|member| member.name == alert.name);
        match alert.state {
            State::Firing => Some(alert.until),
            _ if members.into_iter().any(|member| member.firing || member.linked) => None,
            _ => Some(alert.until.plus(self.config.retention())),
        }
    }

    fn run_alert(&mut self, now: Timestamp, at: usize) {
        let Alert { name, state, .. } = self.alerts[at];
        if state == State::Firing {
            return self.clears(now, name, State::Stale);
        }
        self.alerts.remove(at);
        self.groups.iter_mut().for_each(|group| group.members.retain(|member| member.name != name));
    }

    fn group_due(&self, at: usize) -> Option<Timestamp> {
        let group = &self.groups[at];
        let rule = &self.rules[group.rule];
        let newest = group.seen.iter().map(|(at, _)| *at).max().unwrap_or(group.last_activity);
        let next = match group.phase {
            Phase::Gathering => Some(newest.max(group.last_activity).plus(rule.window).plus(self.config.lateness)),
            Phase::Waiting { until, .. } => Some(until),
            Phase::Live { clear_since } => clear_since.map(|since| since.plus(rule.resolve_after)),
            Phase::Resolved { at } => Some(at.plus(rule.reopen_within)),
        };
        next.into_iter().chain(group.gathered.map(|(due, _)| due)).min()
    }

    fn run_group(&mut self, now: Timestamp, at: usize) {
        let group = &mut self.groups[at];
        let rule = &self.rules[group.rule];
        match group.phase {
            Phase::Gathering => drop(self.groups.remove(at)),
            Phase::Waiting { since, .. } if group.members.iter().any(|member| member.firing) => {
                self.open(now, at, since, Action::Opened);
            }
            Phase::Waiting { .. } => {
                group.phase = Phase::Gathering;
                group.seen.clear();
            }
            Phase::Live { clear_since: Some(since) } if since.plus(rule.resolve_after) <= now => self.resolve(now, at),
            Phase::Live { .. } => self.flush(now, at),
            Phase::Resolved { .. } => self.close(now, at),
        }
    }
}

/// Whether `need` different items lie in one window with the event, and where the fullest such window begins.
fn condition(group: &Group, at: Timestamp, rule: &RuleConfig, need: u32) -> Option<Timestamp> {
    if need == 1 {
        return Some(at.minus(rule.window));
    }
    let span = longest(rule);
    let ends = group.seen.iter().map(|(end, _)| *end).filter(|end| (at..=at.plus(span)).contains(end));
    let ends = ends.filter(|end| together(group, rule, at, *end));
    let full = ends.map(|end| {
        let inside = group.seen.iter().filter(|(at, _)| (end.minus(span)..=end).contains(at));
        let inside: Vec<_> = inside.filter(|(at, _)| together(group, rule, *at, end)).collect();
        let since = match rule.window_type {
            WindowType::Sliding => end.minus(span),
            WindowType::Tumbling => Timestamp::from_micros(number(end, rule) * rule.window.as_micros() as i64),
            WindowType::Session => inside.iter().map(|(at, _)| *at).min().unwrap_or(end),
        };
        (inside.iter().map(|(_, item)| item).collect::<BTreeSet<_>>().len() as u32, std::cmp::Reverse((end, since)))
    });
    full.max().filter(|(have, _)| *have >= need).map(|(_, std::cmp::Reverse((_, since)))| since)
}

/// What no window is longer than.
fn longest(rule: &RuleConfig) -> Duration {
    match rule.window_type {
        WindowType::Session => rule.window_max.unwrap_or(Duration::from_secs(86_400)),
        WindowType::Sliding | WindowType::Tumbling => rule.window,
    }
}

fn number(at: Timestamp, rule: &RuleConfig) -> i64 {
    at.as_micros().div_euclid(rule.window.as_micros() as i64)
}

/// Whether nothing parts two instants: the edge of a tumbling window, or the gap that ends a session.
fn together(group: &Group, rule: &RuleConfig, one: Timestamp, other: Timestamp) -> bool {
    match rule.window_type {
        WindowType::Sliding => true,
        WindowType::Tumbling => number(one, rule) == number(other, rule),
        WindowType::Session => {
            let between =
                group.seen.iter().map(|(at, _)| *at).filter(|at| (one.min(other)..=one.max(other)).contains(at));
            let times: BTreeSet<Timestamp> = between.collect();
            let times: Vec<Timestamp> = times.into_iter().collect();
            times.windows(2).all(|pair| pair[1].since(pair[0]) <= rule.window)
        }
    }
}
