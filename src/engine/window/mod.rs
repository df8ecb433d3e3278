//! What counts towards a rule's opening condition, on event time: one window a group, of the kind its rule asks for.
//!
//! [`Span`] is all that a group keeps of it; rules that open at the first event keep nothing. Each kind is a file of its
//! own: `few` and `counted` count exactly, `slices` estimates, `steps` follows a sequence, `waits` remembers what is
//! awaited. All of them are independent of the order of arrival within the lateness, cost the same for an event in order
//! whatever they hold, and are bounded as their files say. What changed since the last commit is kept as a list of what
//! was done, so that the journal grows with the events and not with the window (`record`).

mod absence;
mod clearing;
mod condition;
mod counted;
mod few;
mod record;
mod sketch;
mod slices;
mod steps;
mod waits;

use std::time::Duration;

pub(super) use condition::{met, waiting};
use counted::Counted;
use few::Few;
use slices::Slices;
use steps::Steps;
pub(super) use waits::{Wait, Waits};

use crate::event::Timestamp;
use crate::rules::{OpenWhen, Rule, WindowType};

/// Entries of one window that are counted exactly; beyond it the oldest are forgotten. Twice the greatest count, for
/// repeats, and that for more than six windows of lateness: 26 MB at the utmost.
const ENTRIES_MAX: usize = 131_072;
/// Up to so many entries are kept in a plain list.
const FEW: usize = 16;
/// Operations kept for the journal before it is cheaper to write the window.
const FRESH_MIN: usize = 256;

/// One thing that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it happened.
    pub(super) at: Timestamp,
    /// What is counted once: an alert, a label's value, or an event. Of a sequence: the steps that it can be.
    pub(super) item: u64,
    /// The identity of the event, for the id of the incident that it may open.
    pub(super) event: u128,
}

impl Entry {
    /// What opened an incident must not depend on the order of arrival.
    fn order(&self) -> (Timestamp, u128, u64) {
        (self.at, self.event, self.item)
    }
}

/// How far the condition is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Progress {
    /// What the fullest window around the entry holds.
    pub(super) have: u32,
    /// The earliest entry of that window.
    pub(super) first: Entry,
    /// When that window begins.
    pub(super) since: Timestamp,
}

/// Which entries belong together, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reach {
    /// Any that lie within this span.
    Sliding(i64),
    /// Those of a run without a longer gap that lie within a span.
    Session { gap: i64, span: i64 },
    /// Those of the same span since the epoch.
    Tumbling(i64),
}

impl Reach {
    /// No two entries further apart count together.
    fn span(self) -> i64 {
        match self {
            Reach::Sliding(span) | Reach::Session { span, .. } | Reach::Tumbling(span) => span,
        }
    }

    /// Whether two neighbours may belong together.
    fn connects(self, earlier: Timestamp, later: Timestamp) -> bool {
        match self {
            Reach::Sliding(_) => true,
            Reach::Session { gap, .. } => apart(earlier, later) <= gap,
            Reach::Tumbling(span) => number(earlier, span) == number(later, span),
        }
    }

    /// Whether an entry between two others of the same item can never matter: any window that holds it holds one of
    /// them, and it bridges no gap that they do not.
    fn makes_redundant(self, earlier: Timestamp, later: Timestamp) -> bool {
        match self {
            Reach::Sliding(span) => apart(earlier, later) <= span,
            Reach::Session { gap, .. } => apart(earlier, later) <= gap,
            Reach::Tumbling(_) => self.connects(earlier, later),
        }
    }

    /// When the window that ends at `end` and holds `first` as its earliest begins.
    fn since(self, end: Timestamp, first: Timestamp) -> Timestamp {
        match self {
            Reach::Sliding(span) => Timestamp::from_micros(end.as_micros().saturating_sub(span)),
            Reach::Session { .. } => first,
            Reach::Tumbling(span) => Timestamp::from_micros(number(end, span).saturating_mul(span)),
        }
    }
}

/// How long after the earlier, in microseconds.
fn apart(earlier: Timestamp, later: Timestamp) -> i64 {
    later.as_micros().saturating_sub(earlier.as_micros())
}

/// Which span since the epoch an instant lies in.
fn number(at: Timestamp, span: i64) -> i64 {
    at.as_micros().div_euclid(span.max(1))
}

/// What a window is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// Counts exactly.
    Exact(Reach),
    /// Estimates.
    Estimated(Reach),
    /// Follows a sequence of so many steps.
    Steps { span: i64, steps: u8 },
    /// Remembers what is awaited.
    Waits,
}

impl Shape {
    /// The window that a rule asks for.
    pub(super) fn of(rule: &Rule) -> Self {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).max(1);
        let span = micros(rule.window);
        let reach = match rule.window_type {
            WindowType::Sliding => Reach::Sliding(span),
            WindowType::Tumbling => Reach::Tumbling(span),
            WindowType::Session => Reach::Session { gap: span, span: micros(rule.window_max) },
        };
        match &rule.open_when {
            OpenWhen::Sequence(steps) => Shape::Steps { span, steps: steps.len() as u8 },
            OpenWhen::Absence { .. } => Shape::Waits,
            open_when if open_when.is_estimate() => Shape::Estimated(reach),
            _ => Shape::Exact(reach),
        }
    }
}

/// What was done to a window, for the journal: done again in the same order it gives the same window.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Done {
    Added(Entry),
    /// Everything before an instant was forgotten.
    Pruned(Timestamp),
    /// An event ended everything up to its time.
    Cleared(Timestamp),
}

#[derive(Debug)]
enum Content {
    Few(Few),
    Counted(Box<Counted>),
    Slices(Box<Slices>),
    Steps(Box<Steps>),
    Waits(Waits),
}

#[derive(Debug)]
struct Window {
    shape: Shape,
    content: Content,
    /// The time of the newest event that ended what was older.
    cleared_at: Timestamp,
    /// What has been done ever, so that nothing in the journal is done twice.
    done: u64,
    /// The last of it, which the journal lacks.
    fresh: Vec<Done>,
    /// More has changed than `fresh` tells.
    rewrite: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Span(Option<Box<Window>>);

impl Content {
    fn empty(shape: Shape) -> Self {
        match shape {
            Shape::Exact(_) => Content::Few(Few::default()),
            Shape::Estimated(reach) => Content::Slices(Box::new(Slices::new(reach))),
            Shape::Steps { .. } => Content::Steps(Box::default()),
            Shape::Waits => Content::Waits(Waits::default()),
        }
    }

    /// Adds an entry: how far the condition is, and whether anything changed.
    fn insert(&mut self, shape: Shape, entry: Entry) -> (Progress, bool) {
        if let (Content::Few(few), Shape::Exact(reach)) = (&*self, shape)
            && few.len() >= FEW
        {
            *self = Content::Counted(Box::new(Counted::build(few.entries(), reach)));
        }
        match (self, shape) {
            (Content::Few(few), Shape::Exact(reach)) => few.insert(entry, reach),
            (Content::Counted(counted), Shape::Exact(reach)) => counted.insert(entry, reach),
            (Content::Slices(slices), Shape::Estimated(_)) => slices.insert(entry),
            (Content::Steps(known), Shape::Steps { span, steps }) => known.insert(entry, span, steps),
            // A window is made anew where its shape differs, so this is never reached.
            _ => (Progress { have: 0, first: entry, since: entry.at }, false),
        }
    }

    /// Forgets what is older than `before`; says whether there was anything.
    fn prune(&mut self, before: Timestamp) -> bool {
        match self {
            Content::Few(few) => few.prune(before),
            Content::Counted(counted) => counted.prune(before),
            Content::Slices(slices) => slices.prune(before),
            Content::Steps(steps) => steps.prune(before),
            Content::Waits(_) => false,
        }
    }

    /// Forgets what is not newer than `at`; says whether there was anything.
    fn clear_until(&mut self, at: Timestamp) -> bool {
        let after = Timestamp::from_micros(at.as_micros().saturating_add(1));
        match self {
            Content::Steps(steps) => steps.clear_until(after),
            Content::Waits(waits) => waits.end_until(at),
            Content::Slices(slices) => slices.clear_until(after),
            other => other.prune(after),
        }
    }

    fn newest(&self) -> Option<Timestamp> {
        match self {
            Content::Few(few) => few.newest(),
            Content::Counted(counted) => counted.newest(),
            Content::Slices(slices) => slices.newest(),
            Content::Steps(steps) => steps.newest(),
            Content::Waits(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Content::Few(few) => few.len(),
            Content::Counted(counted) => counted.len(),
            Content::Slices(slices) => slices.bytes() / size_of::<Entry>(),
            Content::Steps(steps) => steps.len(),
            Content::Waits(waits) => waits.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Content::Few(few) => few.bytes(),
            Content::Counted(counted) => size_of::<Counted>() + counted.bytes(),
            Content::Slices(slices) => size_of::<Slices>() + slices.bytes(),
            Content::Steps(steps) => size_of::<Steps>() + steps.bytes(),
            Content::Waits(waits) => waits.bytes(),
        }
    }
}

impl Window {
    fn new(shape: Shape) -> Self {
        let cleared_at = Timestamp::from_micros(i64::MIN);
        Self { shape, content: Content::empty(shape), cleared_at, done: 0, fresh: Vec::new(), rewrite: false }
    }

    fn note(&mut self, done: Done) {
        self.done += 1;
        if self.rewrite {
            return;
        }
        if self.fresh.len() >= FRESH_MIN.max(self.content.len()) {
            self.fresh = Vec::new();
            self.rewrite = true;
            return;
        }
        self.fresh.push(done);
    }
}

impl Span {
    fn window(&mut self, shape: Shape) -> &mut Window {
        let window = self.0.get_or_insert_with(|| Box::new(Window::new(shape)));
        if window.shape != shape {
            window.shape = shape;
            window.content = Content::empty(shape);
            (window.fresh, window.rewrite) = (Vec::new(), true);
        }
        window
    }

    /// Adds an entry and says how far the condition is in the fullest window that contains it.
    pub(super) fn insert(&mut self, shape: Shape, entry: Entry) -> Progress {
        let window = self.window(shape);
        let (progress, changed) = window.content.insert(shape, entry);
        if changed {
            window.note(Done::Added(entry));
        }
        progress
    }

    /// Forgets entries older than `before`.
    pub(super) fn prune(&mut self, before: Timestamp) {
        let Some(window) = self.0.as_deref_mut() else { return };
        // A span that an event of the past may still fall into is kept whole.
        let before = match window.shape {
            Shape::Exact(Reach::Tumbling(span)) => Timestamp::from_micros(number(before, span).saturating_mul(span)),
            _ => before,
        };
        if window.content.prune(before) {
            window.note(Done::Pruned(before));
        }
    }

    /// An event ends what is not newer than it.
    pub(super) fn clear_until(&mut self, shape: Shape, at: Timestamp) {
        let window = self.window(shape);
        if at > window.cleared_at {
            window.cleared_at = at;
            window.content.clear_until(at);
            window.note(Done::Cleared(at));
        }
    }

    /// Up to when an event has ended everything; long ago where none has.
    pub(super) fn cleared_at(&self) -> Timestamp {
        self.0.as_deref().map_or(Timestamp::from_micros(i64::MIN), |window| window.cleared_at)
    }

    /// Whether an event has ended what was older.
    pub(super) fn was_cleared(&self) -> bool {
        self.cleared_at() > Timestamp::from_micros(i64::MIN)
    }

    /// Starts over once the condition has held; what is awaited goes on. The group must then be written whole.
    pub(super) fn start_over(&mut self) {
        let cleared = self.was_cleared();
        match self.0.as_deref_mut() {
            Some(Window { content: Content::Waits(_), .. }) | None => {}
            Some(window) if cleared => {
                *window = Window { cleared_at: window.cleared_at, ..Window::new(window.shape) };
            }
            Some(_) => self.0 = None,
        }
    }

    /// Whether a late event must find the group, though nothing is in it.
    pub(super) fn remembers(&self) -> bool {
        self.was_cleared() || self.waits().is_some_and(Waits::remembers)
    }

    /// The entries that are counted exactly, oldest first.
    pub(super) fn entries(&self) -> Vec<Entry> {
        match self.0.as_deref().map(|window| &window.content) {
            Some(Content::Few(few)) => few.entries().to_vec(),
            Some(Content::Counted(counted)) => counted.entries().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// The time of the newest entry.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.0.as_deref()?.content.newest()
    }

    /// What is awaited, if the rule waits for something.
    pub(super) fn waits(&self) -> Option<&Waits> {
        match self.0.as_deref().map(|window| &window.content) {
            Some(Content::Waits(waits)) => Some(waits),
            _ => None,
        }
    }

    /// The same, to change it; the group must then be written whole.
    pub(super) fn waits_mut(&mut self) -> &mut Waits {
        let window = self.window(Shape::Waits);
        if !matches!(window.content, Content::Waits(_)) {
            window.content = Content::Waits(Waits::default());
        }
        match &mut window.content {
            Content::Waits(waits) => waits,
            _ => unreachable!("it was just made so"),
        }
    }

    /// Bytes on the heap, by estimate.
    pub(super) fn bytes(&self) -> usize {
        self.0.as_deref().map_or(0, |window| {
            size_of::<Window>() + window.content.bytes() + window.fresh.capacity() * size_of::<Done>()
        })
    }
}

#[cfg(test)]
mod tests;
