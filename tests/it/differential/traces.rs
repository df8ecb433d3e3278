//! What happens in a trace: alerts that fire, repeat, resolve and lapse, silences that come and go, alerts that inhibit.
//!
//! A trace is a function of the seed and its number. It knows what fires and what is muted after every step, by
//! Alertmanager's definition of both. Within one step a trace does only what has one outcome in Alertmanager itself:
//! whatever depends on which of its tasks runs first is spread over two steps.

use std::collections::BTreeSet;
use std::fmt;

use incidentd::event::Timestamp;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// Steps of a trace.
pub const STEPS: usize = 10;

/// What an alert is to the inhibition rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    Plain,
    /// Inhibits targets of its zone.
    Source,
    Target,
    /// Both; such ones do not inhibit each other.
    Both,
}

/// An alert of a trace, which may fire or not.
#[derive(Clone, Debug)]
pub struct Alert {
    pub group: &'static str,
    pub name: &'static str,
    pub role: Role,
    /// `None` where it lacks the label.
    pub zone: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Fire,
    /// As it fires already.
    Repeat,
    /// As it fires already, with another text.
    Restate,
    Resolve,
    /// It fires until early in the next step.
    Lapse,
    /// It ends and fires again at once.
    Flap,
    /// A resolve of what does not fire.
    Stray,
}

impl Op {
    /// Whether by it the alert begins, if only to end at once.
    pub fn begins(self) -> bool {
        matches!(self, Op::Fire | Op::Lapse | Op::Stray | Op::Flap)
    }
}

/// A matcher of a silence beside that of the trace.
#[derive(Clone, Copy, Debug)]
pub struct Matcher {
    pub label: &'static str,
    pub value: &'static str,
    pub regex: bool,
    pub equal: bool,
}

#[derive(Clone, Debug)]
pub struct Silence {
    pub matchers: Vec<Matcher>,
    /// It ends by itself early in the next step.
    pub short: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Quiet,
    Alerts(Vec<(usize, Op)>),
    Silence(Silence),
    /// Ends the only silence.
    Expire,
}

/// What is so when a step has settled.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub firing: BTreeSet<&'static str>,
    /// Silenced or inhibited, whether it fires or not.
    pub muted: BTreeSet<&'static str>,
}

pub struct Trace {
    pub number: usize,
    pub alerts: Vec<Alert>,
    pub steps: Vec<Step>,
    /// After each step.
    pub states: Vec<State>,
}

const MATCHERS: [Matcher; 9] = [
    Matcher { label: "g", value: "a", regex: false, equal: true },
    Matcher { label: "n", value: "a0", regex: false, equal: true },
    Matcher { label: "n", value: "a0|b1", regex: true, equal: true },
    Matcher { label: "n", value: "a.*", regex: true, equal: false },
    Matcher { label: "n", value: "a1", regex: false, equal: false },
    Matcher { label: "zone", value: "", regex: false, equal: true },
    Matcher { label: "zone", value: "", regex: false, equal: false },
    Matcher { label: "zone", value: "x|", regex: true, equal: true },
    Matcher { label: "nothing", value: ".+", regex: true, equal: false },
];

impl Trace {
    pub fn generate(seed: u64, number: usize) -> Self {
        let chance = &mut StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let mut trace = Self { number, alerts: alerts(chance), steps: Vec::new(), states: Vec::new() };
        let mut now = Now::default();
        while trace.steps.len() < STEPS {
            let step = trace.next(&now, chance);
            now.apply(&step);
            let state = State {
                firing: now.firing.iter().map(|place| trace.alerts[*place].name).collect(),
                muted: trace.muted(&now),
            };
            trace.states.push(state);
            trace.steps.push(step);
        }
        trace
    }

    /// The name of the trace in its label.
    pub fn label(&self) -> String {
        format!("{:03}", self.number)
    }

    fn next(&self, now: &Now, chance: &mut StdRng) -> Step {
        let first = self.steps.is_empty();
        if now.lapsing.is_some() || now.silence.as_ref().is_some_and(|silence| silence.short) {
            return Step::Quiet;
        }
        match chance.random_range(0..100) {
            0..25 if !first => match now.silence {
                Some(_) => Step::Expire,
                None => Step::Silence(Silence { matchers: matchers(chance), short: chance.random_bool(0.25) }),
            },
            25..32 if !first => Step::Quiet,
            _ => Step::Alerts(self.ops(now, chance)),
        }
    }

    /// One to three alerts do something. Those that inhibit and those that are inhibited take turns but at the start,
    /// when nothing has been told yet.
    fn ops(&self, now: &Now, chance: &mut StdRng) -> Vec<(usize, Op)> {
        let turn = *[Role::Source, Role::Target, Role::Target, Role::Both].choose(chance).expect("some");
        let takes_part = |place: &usize| {
            let role = self.alerts[*place].role;
            self.steps.is_empty() || role == turn || role == Role::Plain
        };
        let all: Vec<usize> = (0..self.alerts.len()).filter(takes_part).collect();
        let count = chance.random_range(1..=3);
        let mut chosen: Vec<usize> = all.choose_multiple(chance, count).copied().collect();
        if !self.steps.is_empty() {
            // One that ends while another begins lets what both inhibit through, if only for an instant.
            let inhibits = |place: &usize| matches!(self.alerts[*place].role, Role::Source | Role::Both);
            let first = chosen.iter().copied().find(inhibits);
            chosen.retain(|place| !inhibits(place) || Some(*place) == first);
        }
        // Alerts of one group arrive side by side, so that no notification falls between them.
        chosen.sort_by_key(|place| self.alerts[*place].group);
        let mut ops: Vec<(usize, Op)> = Vec::new();
        for place in chosen {
            let op = match (now.firing.contains(&place), chance.random_range(0..100)) {
                (true, 0..65) => Op::Resolve,
                (true, 65..80) => Op::Repeat,
                (true, 80..92) => Op::Restate,
                (true, _) if matches!(self.alerts[place].role, Role::Plain | Role::Target) => Op::Flap,
                (true, _) => Op::Repeat,
                (false, 0..8) => Op::Stray,
                (false, 8..16) if ops.iter().all(|(_, op)| *op != Op::Lapse) => Op::Lapse,
                (false, _) => Op::Fire,
            };
            ops.push((place, op));
        }
        ops
    }

    fn muted(&self, now: &Now) -> BTreeSet<&'static str> {
        let silenced = |alert: &Alert| now.silence.as_ref().is_some_and(|silence| silence.holds(alert));
        let firing = |place: &usize| &self.alerts[*place];
        let inhibited = |alert: &Alert| {
            let both = alert.role == Role::Both;
            let sources = now.firing.iter().map(firing).filter(|source| match source.role {
                Role::Source => true,
                Role::Both => !both,
                Role::Target | Role::Plain => false,
            });
            matches!(alert.role, Role::Target | Role::Both)
                && sources.into_iter().any(|source| source.zone == alert.zone)
        };
        self.alerts.iter().filter(|alert| silenced(alert) || inhibited(alert)).map(|alert| alert.name).collect()
    }

    /// Whether something that was said in this step ends by itself in the next one.
    pub fn ends_by_itself(&self, step: usize) -> bool {
        match &self.steps[step] {
            Step::Alerts(ops) => ops.iter().any(|(_, op)| *op == Op::Lapse),
            Step::Silence(silence) => silence.short,
            Step::Quiet | Step::Expire => false,
        }
    }

    /// The labels of an alert.
    pub fn labels(&self, place: usize) -> Value {
        let alert = &self.alerts[place];
        let role = ["plain", "source", "target", "both"][alert.role as usize];
        let mut labels = json!({"trace": self.label(), "g": alert.group, "n": alert.name, "role": role});
        if let Some(zone) = alert.zone {
            labels["zone"] = json!(zone);
        }
        labels
    }

    pub fn alert_named(&self, name: &str) -> &Alert {
        self.alerts.iter().find(|alert| alert.name == name).expect("an alert of the trace")
    }
}

fn alerts(chance: &mut StdRng) -> Vec<Alert> {
    let names = [("a", "a0"), ("a", "a1"), ("a", "a2"), ("b", "b0"), ("b", "b1"), ("s", "s0"), ("s", "s1")];
    names
        .into_iter()
        .map(|(group, name)| {
            let role = match (group, chance.random_range(0..100)) {
                ("s", 0..85) => Role::Source,
                ("s", _) => Role::Plain,
                (_, 0..45) => Role::Target,
                (_, 45..53) => Role::Both,
                _ => Role::Plain,
            };
            Alert { group, name, role, zone: *[None, Some("x"), Some("y")].choose(chance).expect("three") }
        })
        .collect()
}

fn matchers(chance: &mut StdRng) -> Vec<Matcher> {
    let count = chance.random_range(1..=2);
    MATCHERS.choose_multiple(chance, count).copied().collect()
}

/// Where a trace stands.
#[derive(Default)]
struct Now {
    firing: BTreeSet<usize>,
    lapsing: Option<usize>,
    silence: Option<Silence>,
}

impl Now {
    fn apply(&mut self, step: &Step) {
        if let Some(lapsed) = self.lapsing.take() {
            self.firing.remove(&lapsed);
        }
        self.silence = self.silence.take().filter(|silence| !silence.short);
        match step {
            Step::Quiet => {}
            Step::Expire => self.silence = None,
            Step::Silence(silence) => self.silence = Some(silence.clone()),
            Step::Alerts(ops) => ops.iter().for_each(|(place, op)| match op {
                Op::Fire => drop(self.firing.insert(*place)),
                Op::Lapse => {
                    self.firing.insert(*place);
                    self.lapsing = Some(*place);
                }
                Op::Resolve => drop(self.firing.remove(place)),
                Op::Repeat | Op::Restate | Op::Flap | Op::Stray => {}
            }),
        }
    }
}

impl Silence {
    /// By Alertmanager's definition: a missing label is an empty one.
    fn holds(&self, alert: &Alert) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = match matcher.label {
                "g" => alert.group,
                "n" => alert.name,
                "zone" => alert.zone.unwrap_or_default(),
                _ => "",
            };
            let matches = match (matcher.regex, matcher.value) {
                (false, wanted) => wanted == value,
                (true, "a0|b1") => ["a0", "b1"].contains(&value),
                (true, "a.*") => value.starts_with('a'),
                (true, "x|") => ["x", ""].contains(&value),
                (true, ".+") => !value.is_empty(),
                (true, other) => unreachable!("{other}"),
            };
            matches == matcher.equal
        })
    }

    /// As both are told of it.
    pub fn body(&self, trace: &Trace, now: Timestamp, ends_at: Timestamp) -> Value {
        let of_trace = Matcher { label: "trace", value: "", regex: false, equal: true };
        let matchers = self.matchers.iter().chain([&of_trace]).map(|matcher| {
            let value = if matcher.label == "trace" { trace.label() } else { matcher.value.to_owned() };
            json!({"name": matcher.label, "value": value, "isRegex": matcher.regex, "isEqual": matcher.equal})
        });
        json!({"matchers": matchers.collect::<Vec<_>>(), "startsAt": now, "endsAt": ends_at,
               "createdBy": "differential", "comment": "a test"})
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trace {}", self.label())?;
        for alert in &self.alerts {
            writeln!(f, "  {} {:?} zone {}", alert.name, alert.role, alert.zone.unwrap_or("-"))?;
        }
        for (number, (step, state)) in self.steps.iter().zip(&self.states).enumerate() {
            let what = match step {
                Step::Quiet => "nothing".to_owned(),
                Step::Expire => "the silence is expired".to_owned(),
                Step::Silence(silence) => silence.to_string(),
                Step::Alerts(ops) => {
                    let ops = ops.iter().map(|(place, op)| format!("{} {op:?}", self.alerts[*place].name));
                    ops.collect::<Vec<_>>().join(", ")
                }
            };
            writeln!(f, "  step {number}: {what}; then firing {:?}, muted {:?}", state.firing, state.muted)?;
        }
        Ok(())
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.short { "a short silence" } else { "a silence" })?;
        self.matchers.iter().try_for_each(|matcher| {
            let operator = [["!=", "!~"], ["=", "=~"]][usize::from(matcher.equal)][usize::from(matcher.regex)];
            write!(f, " {}{operator}{:?}", matcher.label, matcher.value)
        })
    }
}
