//! What of a protobuf event stays the same from repeat to repeat, and where it has holes for what does not.
//!
//! An event is runs of whole fields with up to four holes between them: `id`, `status`, `occurred_at` and `ends_at`, each
//! at most once, in their usual encoding and shorter than 128 bytes. Events of any other form have no outline.

use xxhash_rust::xxh3::xxh3_64;

use super::wire::{Field, Payload, Walk};

const HOLES_MAX: usize = 4;
pub(super) const RUNS_MAX: usize = HOLES_MAX + 1;

/// The tags of the fields that differ between repeats.
const ID: u8 = 1 << 3 | 2;
const STATUS: u8 = 4 << 3;
const OCCURRED_AT: u8 = 10 << 3 | 2;
const ENDS_AT: u8 = 11 << 3 | 2;

/// The lengths of the runs, and the tag of the hole behind each run but the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    runs: [u16; RUNS_MAX],
    tags: [u8; HOLES_MAX],
    holes: u8,
}

/// How an outline lies over an event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fit {
    /// How far each run lies behind its place among the kept bytes.
    pub shifts: [u32; RUNS_MAX],
    /// Tag and payload of each hole: the value of a varint, else where its bytes begin and end.
    holes: [(u8, u32, u32); HOLES_MAX],
    count: u8,
}

impl Fit {
    /// What is in the holes of an event that begins at `base`, in their order.
    pub fn fields(&self, base: usize) -> impl Iterator<Item = Field> {
        self.holes[..usize::from(self.count)].iter().map(move |&(tag, start, end)| {
            let payload = match tag {
                STATUS => Payload::Varint(u64::from(start)),
                _ => Payload::Bytes(base + start as usize..base + end as usize),
            };
            Field { number: u32::from(tag >> 3), payload }
        })
    }
}

impl Outline {
    /// The outline of an event, how it lies there, and a hash over its runs. `None` for an unusual form.
    pub fn of(event: &[u8]) -> Option<(Self, Fit, u64)> {
        u16::try_from(event.len()).ok()?;
        let (mut outline, mut fit, mut hash) = (Self::default(), Fit::default(), 0);
        let (mut run, mut kept) = (0, 0);
        let mut walk = Walk::new(event, 0..event.len());
        let mut close = |outline: &mut Self, fit: &mut Fit, run: usize, end: usize| {
            let at = usize::from(outline.holes);
            outline.runs[at] = (end - run) as u16;
            fit.shifts[at] = (run - kept) as u32;
            kept += end - run;
            hash = mixed(hash, xxh3_64(&event[run..end]));
        };
        loop {
            let start = walk.position();
            let Some(field) = walk.next().ok()? else { break };
            if !matches!(field.number, 1 | 4 | 10 | 11) {
                continue;
            }
            let hole = hole(event, start)?;
            let at = usize::from(outline.holes);
            if outline.tags[..at].contains(&hole.0) {
                return None;
            }
            close(&mut outline, &mut fit, run, start);
            (outline.tags[at], fit.holes[at]) = (hole.0, hole);
            outline.holes += 1;
            run = walk.position();
        }
        close(&mut outline, &mut fit, run, event.len());
        fit.count = outline.holes;
        let shape = u32::from_le_bytes(outline.tags);
        Some((outline, fit, mixed(hash, u64::from(shape))))
    }

    /// How the outline lies over an event, if its runs are there to the byte.
    #[inline]
    pub fn fit(&self, kept: &[u8], event: &[u8]) -> Option<Fit> {
        let (mut fit, mut rest, mut pos) = (Fit { count: self.holes, ..Fit::default() }, kept, 0);
        let holes = usize::from(self.holes);
        for at in 0..=holes {
            let (run, behind) = rest.split_at_checked(usize::from(self.runs[at]))?;
            if event.get(pos..pos + run.len())? != run {
                return None;
            }
            fit.shifts[at] = (pos - (kept.len() - rest.len())) as u32;
            (rest, pos) = (behind, pos + run.len());
            if at < holes {
                let hole = hole(event, pos).filter(|hole| hole.0 == self.tags[at])?;
                fit.holes[at] = hole;
                pos = if hole.0 == STATUS { pos + 2 } else { hole.2 as usize };
            }
        }
        (pos == event.len()).then_some(fit)
    }

    /// The runs of an event that it lies over, one after the other.
    pub fn runs<'a>(&self, fit: &Fit, event: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut kept = 0;
        let runs = self.runs[..=usize::from(self.holes)].iter().zip(fit.shifts);
        runs.map(move |(len, shift)| {
            let start = kept + shift as usize;
            kept += usize::from(*len);
            &event[start..start + usize::from(*len)]
        })
    }

    /// The run that a span of the event lies in, and its place among the kept bytes.
    pub fn locate(&self, fit: &Fit, start: usize, len: usize) -> Option<(u8, u16)> {
        let mut kept = 0;
        for (at, run) in self.runs[..=usize::from(self.holes)].iter().enumerate() {
            let begin = kept + fit.shifts[at] as usize;
            if start >= begin && start + len <= begin + usize::from(*run) {
                return Some((at as u8, (start - begin + kept) as u16));
            }
            kept += usize::from(*run);
        }
        None
    }
}

/// Reads a hole that begins at `pos`.
#[inline]
fn hole(event: &[u8], pos: usize) -> Option<(u8, u32, u32)> {
    let [tag, value @ ..0x80, ..] = *event.get(pos..)? else { return None };
    match tag {
        STATUS => Some((tag, u32::from(value), 0)),
        ID | OCCURRED_AT | ENDS_AT => {
            let end = pos + 2 + usize::from(value);
            (end <= event.len()).then_some((tag, pos as u32 + 2, end as u32))
        }
        _ => None,
    }
}

fn mixed(hash: u64, more: u64) -> u64 {
    (hash.rotate_left(23) ^ more).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
