//! Silences: what a person has muted until when, and what that has muted so far.
//!
//! The commands that make, change and end them, by Alertmanager's rules. A command that is refused changes nothing.

use std::time::Duration;

use serde::Serialize;

use super::book::{Silence, UNEXPIRED_MAX};
use crate::engine::command::{Done, Refusal};
use crate::engine::shard::Shard;
use crate::event::Timestamp;
use crate::identity::domain;
use crate::rules::LabelMatcher;

const MATCHERS_MAX: usize = 64;
/// Bytes of all matchers of a silence. A list of 500 host names fits.
const MATCHERS_BYTES_MAX: usize = 16 << 10;
const COMMENT_BYTES_MAX: usize = 4 << 10;
const AUTHOR_BYTES_MAX: usize = 1 << 10;
const YEARS_MAX: u64 = 10;
const AHEAD_MAX: Duration = Duration::from_secs(YEARS_MAX * 365 * 86_400);
/// A new silence from an earlier time than this is one from now, as in Alertmanager. Less than this is the time that a
/// command takes on its way, so that all shards and a second try agree on the start.
const BACKDATED_MIN: Duration = Duration::from_secs(60);

/// Names a silence; a function of what it says and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, schemars::JsonSchema)]
#[schemars(with = "String", inline, extend("format" = "uuid"))]
pub struct SilenceId(pub u128);

impl std::fmt::Display for SilenceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl std::str::FromStr for SilenceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.replace('-', "");
        let id = u128::from_str_radix(&hex, 16).ok().map(SilenceId).filter(|id| id.to_string() == text);
        id.ok_or_else(|| "a silence is named by a UUID in lower case".to_owned())
    }
}

/// What is to be muted.
#[derive(Clone, Debug, PartialEq)]
pub struct SilenceDraft {
    /// The silence to replace.
    pub id: Option<SilenceId>,
    /// Matchers in Alertmanager's syntax, all of which must hold.
    pub matchers: Vec<String>,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// Why.
    pub comment: String,
}

/// A silence as people see it.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "Silence")]
pub struct SilenceDoc {
    /// As Alertmanager writes it, a UUID.
    pub id: String,
    /// Matchers in Alertmanager's syntax.
    pub matchers: Vec<String>,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// When it was made or changed last.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// `pending`, `active` or `expired`.
    pub state: &'static str,
    /// Alerts that it mutes now.
    pub muting: u64,
    /// Alerts that it has muted in all; one that fires anew counts anew.
    pub muted_alerts: u64,
    /// Events that it has muted in all.
    pub muted_events: u64,
    /// Alertmanager's fingerprints of the alerts it has muted last, newest first, at most 100. Only where one silence is
    /// asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_muted: Vec<String>,
}

/// A silence that has changed since the last commit.
#[derive(Clone, Debug, PartialEq)]
pub struct SilenceChange {
    /// Its id.
    pub id: String,
    /// How it is now; `None` once it is forgotten.
    pub doc: Option<SilenceDoc>,
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::engine) enum SilenceState {
    /// To come.
    Pending,
    /// In force.
    Active,
    /// Over.
    Expired,
}

impl SilenceState {
    pub(in crate::engine) const ALL: [SilenceState; 3] =
        [SilenceState::Pending, SilenceState::Active, SilenceState::Expired];

    pub(in crate::engine) const fn as_str(self) -> &'static str {
        match self {
            SilenceState::Pending => "pending",
            SilenceState::Active => "active",
            SilenceState::Expired => "expired",
        }
    }
}

impl Shard {
    /// Makes a silence, or changes the one that the draft names. One whose matchers change, or whose start does once it
    /// has begun, is ended and another one made, so that what was muted stays on record.
    pub(in crate::engine) fn silence(
        &mut self,
        now: Timestamp,
        by: &str,
        draft: &SilenceDraft,
    ) -> Result<Done, Refusal> {
        let matchers = check(now, by, draft)?;
        let silences = &mut self.suppression.silences;
        let replaced = draft.id.map(|id| silences.find(id).ok_or(Refusal::Unknown)).transpose()?;
        if let Some(slot) =
            replaced.filter(|slot| silences.get(*slot).is_some_and(|old| fits(old, now, draft, &matchers)))
        {
            let before = silences.get(slot).map(|silence| silence.state);
            silences.change(slot, |silence| set(silence, now, by, draft));
            let begins = silences.get(slot).map(|silence| silence.state) != before;
            let begun: Vec<u32> = Some(slot).filter(|_| begins).into_iter().collect();
            return Ok(self.settle_silences(now, slot, &begun, &[]));
        }
        let replaced =
            replaced.filter(|slot| silences.get(*slot).is_some_and(|old| old.state != SilenceState::Expired));
        let draft = &SilenceDraft { starts_at: start(now, draft), ..draft.clone() };
        let slot = match self.same_silence(by, draft, &matchers) {
            Ok(slot) => slot,
            Err(_) if self.suppression.silences.unexpired() - usize::from(replaced.is_some()) >= UNEXPIRED_MAX => {
                return Err(Refusal::Limit(format!(
                    "{UNEXPIRED_MAX} silences are in force or to come; expire some, or widen the matchers of one"
                )));
            }
            Err(id) => {
                let mut silence = Silence::new(id, matchers);
                set(&mut silence, now, by, draft);
                self.suppression.silences.insert(silence)
            }
        };
        let ended: Vec<u32> = replaced.filter(|old| *old != slot).into_iter().collect();
        ended.iter().for_each(|old| self.suppression.silences.change(*old, |silence| expire(silence, now)));
        Ok(self.settle_silences(now, slot, &[slot], &ended))
    }

    /// Ends a silence now; one that is over already stays as it is.
    pub(in crate::engine) fn expire_silence(
        &mut self,
        now: Timestamp,
        _by: &str,
        id: SilenceId,
    ) -> Result<Done, Refusal> {
        let silences = &mut self.suppression.silences;
        let slot = silences.find(id).ok_or(Refusal::Unknown)?;
        let over = silences.get(slot).is_none_or(|silence| silence.state == SilenceState::Expired);
        if !over {
            silences.change(slot, |silence| expire(silence, now));
        }
        let ended: Vec<u32> = Some(slot).filter(|_| !over).into_iter().collect();
        Ok(self.settle_silences(now, slot, &[], &ended))
    }

    /// Every silence that is remembered, newest first.
    pub fn silences(&self, now: Timestamp) -> Vec<SilenceDoc> {
        let mut found: Vec<&Silence> = self.suppression.silences.all().map(|(_, silence)| silence).collect();
        found.sort_unstable_by_key(|silence| std::cmp::Reverse((silence.starts_at, silence.id)));
        found.into_iter().map(|silence| silence.doc(silence.state_at(now), false)).collect()
    }

    /// One silence, with the alerts that it has muted last.
    pub fn silence_named(&self, now: Timestamp, id: SilenceId) -> Option<SilenceDoc> {
        let silence = self.suppression.silences.get(self.suppression.silences.find(id)?)?;
        Some(silence.doc(silence.state_at(now), true))
    }

    /// The silence that says the same and is not over, as after a second try of the same command; else a free id.
    fn same_silence(&mut self, by: &str, draft: &SilenceDraft, matchers: &[LabelMatcher]) -> Result<u32, SilenceId> {
        for round in 0_u64.. {
            let hasher = self.hasher.reset(domain::SILENCE).part(by.as_bytes()).part(draft.comment.as_bytes());
            for time in [draft.starts_at, draft.ends_at] {
                hasher.part(&time.as_micros().to_le_bytes());
            }
            for matcher in texts(matchers) {
                hasher.part(matcher.as_bytes());
            }
            let id = SilenceId::of_hash(hasher.part(&round.to_le_bytes()).finish128());
            let silences = &self.suppression.silences;
            let Some(slot) = silences.find(id) else { return Err(id) };
            if silences.get(slot).is_some_and(|silence| silence.state != SilenceState::Expired) {
                return Ok(slot);
            }
        }
        unreachable!("a bounded set does not hold every id")
    }

    fn settle_silences(&mut self, now: Timestamp, slot: u32, begun: &[u32], ended: &[u32]) -> Done {
        self.silences_turned(now, begun, ended);
        let silence = self.suppression.silences.get(slot).expect("only those that are over are forgotten, by a timer");
        Done::Silence(silence.doc(silence.state_at(now), true))
    }
}

impl SilenceId {
    /// A UUID of version 8, whose bits are our own.
    fn of_hash(hash: u128) -> Self {
        const VERSION: u32 = 76;
        const VARIANT: u32 = 62;
        Self(hash & !(0xf << VERSION) & !(0b11 << VARIANT) | 0x8 << VERSION | 0b10 << VARIANT)
    }
}

/// The matchers as they compare: whatever their order and spelling.
fn texts(matchers: &[LabelMatcher]) -> Vec<String> {
    let mut texts: Vec<String> = matchers.iter().map(LabelMatcher::to_string).collect();
    texts.sort_unstable();
    texts
}

/// Whether the draft can be taken over without rewriting what has been.
fn fits(old: &Silence, now: Timestamp, draft: &SilenceDraft, matchers: &[LabelMatcher]) -> bool {
    let start = match old.state {
        SilenceState::Pending => draft.starts_at >= now,
        SilenceState::Active => same_start(draft, old),
        SilenceState::Expired => false,
    };
    start && texts(&old.matchers) == texts(matchers)
}

/// When a new silence begins.
fn start(now: Timestamp, draft: &SilenceDraft) -> Timestamp {
    if draft.starts_at < now.minus(BACKDATED_MIN) { now } else { draft.starts_at }
}

/// Whether the start is the known one, to the second: clients give it back as they were shown it, in milliseconds or less.
fn same_start(draft: &SilenceDraft, known: &Silence) -> bool {
    let second = |at: Timestamp| at.as_micros().div_euclid(1_000_000);
    second(draft.starts_at) == second(known.starts_at)
}

fn set(silence: &mut Silence, now: Timestamp, by: &str, draft: &SilenceDraft) {
    if !same_start(draft, silence) {
        silence.starts_at = draft.starts_at;
    }
    silence.ends_at = draft.ends_at;
    silence.updated_at = now;
    by.clone_into(&mut silence.created_by);
    silence.comment.clone_from(&draft.comment);
    silence.state = silence.state_at(now);
}

fn expire(silence: &mut Silence, now: Timestamp) {
    silence.starts_at = silence.starts_at.min(now);
    silence.ends_at = now;
    silence.updated_at = now;
    silence.state = SilenceState::Expired;
}

/// The draft's matchers, or what is wrong with the draft.
fn check(now: Timestamp, by: &str, draft: &SilenceDraft) -> Result<Vec<LabelMatcher>, Refusal> {
    let invalid = |wrong: String| Err(Refusal::Invalid(wrong));
    let count = draft.matchers.len();
    let bytes: usize = draft.matchers.iter().map(String::len).sum();
    if !(1..=MATCHERS_MAX).contains(&count) {
        return invalid(format!("a silence has 1 to {MATCHERS_MAX} matchers, not {count}"));
    }
    if bytes > MATCHERS_BYTES_MAX {
        return invalid(format!("the matchers of a silence are at most {} KiB long", MATCHERS_BYTES_MAX >> 10));
    }
    if draft.comment.len() > COMMENT_BYTES_MAX || by.len() > AUTHOR_BYTES_MAX {
        let (comment, author) = (COMMENT_BYTES_MAX >> 10, AUTHOR_BYTES_MAX >> 10);
        return invalid(format!("a comment is at most {comment} KiB long, the name of its author {author} KiB"));
    }
    if draft.ends_at <= draft.starts_at || draft.ends_at <= now {
        return invalid("a silence ends after it begins, and not in the past".to_owned());
    }
    if draft.ends_at > now.plus(AHEAD_MAX) {
        return invalid(format!("a silence ends within {YEARS_MAX} years"));
    }
    let read = |(place, text): (usize, &String)| {
        LabelMatcher::parse(text).map_err(|wrong| Refusal::Invalid(format!("matcher {}: {wrong}", place + 1)))
    };
    let matchers = draft.matchers.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    if matchers.iter().all(LabelMatcher::matches_nothing) {
        return invalid(
            "at least one matcher must not match an empty value, else everything would be muted".to_owned(),
        );
    }
    Ok(matchers)
}
