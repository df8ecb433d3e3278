//! From decoded to comparable: sorted labels, sane times, and the identities that dedup, routing and rules go by.
//!
//! Pure; the only state is reusable memory ([`Scratch`]). What breaks a limit or makes no sense is rejected here, for
//! every format alike. An event outside the sane range of time is not refused: it is clamped, marked and counted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Batch, Code, Event, Limits, Pair, Pairs, Reject, Status, Text, Timestamp, pointer};
use crate::identity::{EventKey, Fingerprint, Hasher, Scope, domain};

/// How events are made comparable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NormaliseConfig {
    /// Which event times are believed.
    pub event_time: EventTime,
    /// Labels that identify an alert that has no `dedup_key`, together with its source. Default: all labels.
    /// An event that has none of them is identified by all its labels. Alertmanager's alerts always are.
    pub fingerprint_labels: Option<Vec<String>>,
    /// Labels that decide which shard an event goes to; only events that agree in them can ever meet. Default: none,
    /// so that everything can meet.
    pub scope: Vec<String>,
    /// Bounds of events.
    pub limits: Limits,
}

/// The range around the receive time in which an event's own time is believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventTime {
    /// How old an event may be. Default 24h; beyond, its time is clamped to the receive time, counted and marked.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub max_age: Duration,
    /// How far ahead of the receive time it may lie. Default 5m; beyond, as for `max_age`.
    #[serde(with = "crate::event::duration")]
    #[schemars(with = "String")]
    pub max_ahead: Duration,
}

impl Default for EventTime {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(24 * 3_600), max_ahead: Duration::from_secs(5 * 60) }
    }
}

/// What identifies an alert without a `dedup_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifiedBy {
    /// The configured labels.
    ConfiguredLabels,
    /// All labels, whatever is configured: the identity that Alertmanager gives them.
    AllLabels,
}

/// Memory that is reused from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    hasher: Hasher,
}

/// What was noticed beside the rejects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalised {
    /// Events whose time was replaced by the receive time.
    pub clamped: u64,
    /// Events in which a configured fingerprint label is missing.
    pub key_label_missing: u64,
    /// The first label that was missing, for the log.
    pub first_missing: Option<String>,
}

/// Normalises batches. Built once per configuration, shared by all threads.
#[derive(Clone, Debug)]
pub struct Normaliser {
    event_time: EventTime,
    /// Sorted, so that the order in the configuration does not matter.
    fingerprint_labels: Option<Vec<String>>,
    scope: Vec<String>,
    limits: Limits,
}

impl Normaliser {
    /// A normaliser for a configuration.
    pub fn new(config: NormaliseConfig) -> Self {
        let NormaliseConfig { event_time, fingerprint_labels, scope, limits } = config;
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names.dedup();
            names
        };
        Self { event_time, fingerprint_labels: fingerprint_labels.map(sorted), scope: sorted(scope), limits }
    }

    /// Normalises every event of a batch received at `now`; those that cannot be are moved to `rejects`.
    pub fn normalise(
        &self,
        scratch: &mut Scratch,
        batch: &mut Batch,
        now: Timestamp,
        identified_by: IdentifiedBy,
        rejects: &mut Vec<Reject>,
    ) -> Normalised {
        let mut noticed = Normalised::default();
        let believed = Believed::new(&self.event_time, now, identified_by);
        let mut events = std::mem::take(&mut batch.events);
        events.retain_mut(|event| {
            let outcome = self.settle(&mut scratch.hasher, batch, event, &believed, identified_by);
            let accepted = outcome.is_ok();
            match outcome {
                Ok(()) => self.notice(batch, event, &mut noticed),
                Err(reject) => rejects.push(reject),
            }
            accepted
        });
        batch.events = events;
        noticed
    }

    /// Checks and completes an event. Of one whose bytes came before only what differs between repeats is left to do.
    fn settle(
        &self,
        hasher: &mut Hasher,
        batch: &mut Batch,
        event: &mut Event,
        believed: &Believed,
        identified_by: IdentifiedBy,
    ) -> Result<(), Reject> {
        if event.recognised {
            check_text(event, b"id", event.id, self.limits.label_value_bytes.as_usize())?;
            settle_times(event, believed)?;
        } else {
            batch.sort_pairs(event.labels);
            batch.sort_pairs(event.annotations);
            self.check(batch, event)?;
            settle_times(event, believed)?;
            self.identify(hasher, batch, event, identified_by);
        }
        event.key = EventKey::NONE;
        if !event.id.is_empty() {
            hasher.reset(domain::EVENT).part(batch.bytes(event.source)).part(batch.bytes(event.id));
            event.key = EventKey(hasher.finish128());
        }
        Ok(())
    }

    fn notice(&self, batch: &Batch, event: &Event, noticed: &mut Normalised) {
        noticed.clamped += u64::from(event.clamped);
        if event.lacks_key_label {
            noticed.key_label_missing += 1;
            if noticed.first_missing.is_none() {
                let mut names = self.fingerprint_labels.iter().flatten();
                noticed.first_missing = names.find(|name| label(batch, event, name).is_none()).cloned();
            }
        }
    }

    fn check(&self, batch: &Batch, event: &Event) -> Result<(), Reject> {
        if event.source.is_empty() {
            let message = "name the monitoring system that saw it, such as prometheus".to_owned();
            return Err(Reject::new(event.index, Code::Missing, "/source", message));
        }
        let value_max = self.limits.label_value_bytes.as_usize();
        let long_max = value_max.saturating_mul(LONG_TEXT_FACTOR);
        let texts: [(&[u8], Text, usize); 4] = [
            (b"id", event.id, value_max),
            (b"source", event.source, value_max),
            (b"dedup_key", event.dedup_key, value_max),
            (b"summary", event.summary, long_max),
        ];
        for (field, text, max) in texts {
            check_text(event, field, text, max)?;
        }
        self.check_pairs(batch, event, b"labels", event.labels, value_max)?;
        self.check_pairs(batch, event, b"annotations", event.annotations, long_max)?;
        self.check_links(batch, event, long_max)
    }

    fn check_pairs(
        &self,
        batch: &Batch,
        event: &Event,
        field: &[u8],
        pairs: Pairs,
        value_max: usize,
    ) -> Result<(), Reject> {
        self.check_count(event, field, pairs)?;
        let name_max = self.limits.label_name_bytes as usize;
        let mut previous: Option<&[u8]> = None;
        for pair in batch.pairs(pairs) {
            let name = batch.bytes(pair.name);
            if name.len() > name_max {
                return Err(too_long(event, Code::Labels, &[field, name], name.len(), name_max));
            }
            if let Some(problem) = name_problem(name) {
                return Err(Reject::new(event.index, Code::LabelName, pointer(&[field, name]), problem));
            }
            if previous == Some(name) {
                let message = "the same name twice in one event; keep one";
                return Err(Reject::new(event.index, Code::DupKey, pointer(&[field, name]), message));
            }
            if pair.value.len() > value_max {
                return Err(too_long(event, Code::Labels, &[field, name], pair.value.len(), value_max));
            }
            previous = Some(name);
        }
        Ok(())
    }

    fn check_links(&self, batch: &Batch, event: &Event, href_max: usize) -> Result<(), Reject> {
        self.check_count(event, b"links", event.links)?;
        let name_max = self.limits.label_name_bytes as usize;
        for (index, link) in batch.pairs(event.links).iter().enumerate() {
            let (rel, href) = (link.name.len(), link.value.len());
            if rel > name_max || href > href_max {
                let index = index.to_string();
                let (field, len, max) = if rel > name_max { ("rel", rel, name_max) } else { ("href", href, href_max) };
                let place: [&[u8]; 3] = [b"links", index.as_bytes(), field.as_bytes()];
                return Err(too_long(event, Code::TooLarge, &place, len, max));
            }
        }
        Ok(())
    }

    fn check_count(&self, event: &Event, field: &[u8], pairs: Pairs) -> Result<(), Reject> {
        let max = self.limits.labels as usize;
        if pairs.len() <= max {
            return Ok(());
        }
        let message = format!("more than {max} of them; send fewer, or raise limits.labels");
        Err(Reject::new(event.index, Code::Labels, pointer(&[field]), message))
    }

    fn identify(&self, hasher: &mut Hasher, batch: &Batch, event: &mut Event, identified_by: IdentifiedBy) {
        let source = batch.bytes(event.source);
        let mut by_all_labels = false;
        if !event.dedup_key.is_empty() {
            hasher.reset(domain::DEDUP_KEY).part(source).part(batch.bytes(event.dedup_key));
        } else {
            hasher.reset(domain::LABELS).part(source);
            let configured = self.fingerprint_labels.as_deref().filter(|_| identified_by != IdentifiedBy::AllLabels);
            let found = configured.is_some_and(|names| key_labels(hasher, batch, event, names));
            if !found {
                by_all_labels = true;
                batch.pairs(event.labels).iter().for_each(|pair| add_pair(hasher, batch, pair));
            }
        }
        event.fingerprint = Fingerprint(hasher.finish128());
        event.scope = self.scope(hasher, batch, event);
        event.content = content(hasher, batch, event, by_all_labels);
    }

    /// The hash of the scope labels; one that is missing adds nothing, which an empty one does.
    fn scope(&self, hasher: &mut Hasher, batch: &Batch, event: &Event) -> Scope {
        if self.scope.is_empty() {
            return Scope::default();
        }
        hasher.reset(domain::SCOPE);
        for name in &self.scope {
            if let Some(pair) = label(batch, event, name) {
                add_pair(hasher, batch, pair);
            }
        }
        Scope(hasher.finish64())
    }
}

/// When events of a batch may have happened.
struct Believed {
    now: Timestamp,
    /// `None` when the past is believed, however far.
    earliest: Option<Timestamp>,
    latest: Timestamp,
}

impl Believed {
    fn new(range: &EventTime, now: Timestamp, identified_by: IdentifiedBy) -> Self {
        // Prometheus repeats the start of an alert with every re-send, for as long as the alert fires.
        let repeats_its_start = identified_by == IdentifiedBy::AllLabels;
        let earliest = (!repeats_its_start).then(|| now.minus(range.max_age));
        Self { now, earliest, latest: now.plus(range.max_ahead) }
    }
}

/// Sets `occurred_at`, clamped to the sane range.
///
/// A lease follows its event's clock: when that runs ahead, the lease keeps its length. An end that the clamping
/// leaves in the past is dropped, so that the default lease holds.
fn settle_times(event: &mut Event, believed: &Believed) -> Result<(), Reject> {
    let now = believed.now;
    let Some(occurred_at) = event.occurred_at else {
        event.occurred_at = Some(now);
        return Ok(());
    };
    if let Some(ends_at) = event.ends_at
        && event.status == Status::Firing
        && ends_at < occurred_at
    {
        let message = format!("{ends_at} lies before occurred_at ({occurred_at})");
        return Err(Reject::new(event.index, Code::TimeOrder, "/ends_at", message));
    }
    let ahead = occurred_at > believed.latest;
    let behind = believed.earliest.is_some_and(|earliest| occurred_at < earliest);
    if ahead || behind {
        event.clamped = true;
        event.occurred_at = Some(now);
        event.ends_at = match event.ends_at {
            Some(ends_at) if ahead => Some(now.plus(ends_at.since(occurred_at))),
            ends_at => ends_at.filter(|ends_at| *ends_at > now),
        };
    }
    Ok(())
}

/// Annotations, summaries and addresses may be so many times as long as a label value.
const LONG_TEXT_FACTOR: usize = 16;

fn check_text(event: &Event, field: &[u8], text: Text, max: usize) -> Result<(), Reject> {
    if text.len() > max { Err(too_long(event, Code::TooLarge, &[field], text.len(), max)) } else { Ok(()) }
}

fn too_long(event: &Event, code: Code, place: &[&[u8]], len: usize, max: usize) -> Reject {
    let message = format!("{len}>{max} bytes; shorten it, or raise the limit under limits");
    Reject::new(event.index, code, pointer(place), message)
}

/// Why a label cannot be called so. Names are UTF-8, as in Prometheus 3; names that look alike are different names.
fn name_problem(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a name must not be empty");
    }
    if name == b"__proto__" {
        return Some("this name means something else to JavaScript; choose another");
    }
    // One pass without branches finds that nearly every name is printable ASCII.
    let printable = name.iter().fold(true, |printable, byte| printable & (byte.wrapping_sub(0x20) < 0x5f));
    let control = !printable && String::from_utf8_lossy(name).chars().any(char::is_control);
    control.then_some("a name must not contain control characters")
}

fn label<'a>(batch: &'a Batch, event: &Event, name: &str) -> Option<&'a Pair> {
    batch.pairs(event.labels).iter().find(|pair| batch.bytes(pair.name) == name.as_bytes())
}

fn add_pair(hasher: &mut Hasher, batch: &Batch, pair: &Pair) {
    hasher.part(batch.bytes(pair.name)).part(batch.bytes(pair.value));
}

/// Adds the labels named in the configuration; false when the event has none of them.
fn key_labels(hasher: &mut Hasher, batch: &Batch, event: &mut Event, names: &[String]) -> bool {
    let mut found = false;
    for name in names {
        match label(batch, event, name) {
            Some(pair) => {
                add_pair(hasher, batch, pair);
                found = true;
            }
            None => event.lacks_key_label = true,
        }
    }
    found
}

/// The hash over all that can change while the alert stays the same.
fn content(hasher: &mut Hasher, batch: &Batch, event: &Event, by_all_labels: bool) -> u64 {
    hasher.reset(domain::CONTENT).part(&[event.severity as u8]).part(batch.bytes(event.summary));
    let labels = if by_all_labels { Pairs::default() } else { event.labels };
    for pairs in [event.annotations, event.links, labels] {
        hasher.part(&(pairs.len() as u32).to_le_bytes());
        batch.pairs(pairs).iter().for_each(|pair| add_pair(hasher, batch, pair));
    }
    hasher.finish64()
}
