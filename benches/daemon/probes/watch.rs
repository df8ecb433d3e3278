//! What the machine does beside the daemon, so that a pause of the machine is not taken for one of the daemon.
//!
//! A thread sleeps a millisecond again and again and notes by how much it overslept; another one notes how long the
//! daemon's threads waited for a core, by the system's account; a third appends to a file on the same disk and waits for
//! the sync. Notes are kept as long as they are watched: some thousand a minute.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::anyhow;
use incidentd::clock::Stopwatch;

use super::process::waited_for_a_core;
use super::times::Times;

const NAP: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const SYNC_EVERY: Duration = Duration::from_millis(25);
const SYNC_BYTES: usize = 4 << 10;

/// From when to when something lasted.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: Duration,
    to: Duration,
    /// How much of it counts.
    lost: Duration,
}

impl Span {
    fn meets(&self, from: Duration, to: Duration) -> bool {
        self.from < to && from < self.to
    }
}

/// See the module.
pub struct Watch {
    over: Arc<AtomicBool>,
    naps: JoinHandle<Vec<Span>>,
    waits: JoinHandle<Vec<Span>>,
    syncs: JoinHandle<anyhow::Result<Vec<Span>>>,
}

/// What was seen.
pub struct Seen {
    naps: Vec<Span>,
    waits: Vec<Span>,
    syncs: Vec<Span>,
}

impl Watch {
    /// Watches a process and the disk of a file. Times are from `began`.
    pub fn start(pid: u32, file: PathBuf, began: Stopwatch) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (a, b, c) = (over.clone(), over.clone(), over.clone());
        Self {
            over,
            naps: thread::spawn(move || nap(began, &a)),
            waits: thread::spawn(move || look(pid, began, &b)),
            syncs: thread::spawn(move || sync(&file, began, &c)),
        }
    }

    /// Stops watching.
    pub fn end(self) -> anyhow::Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        let broken = |_| anyhow!("a watcher broke off");
        Ok(Seen {
            naps: self.naps.join().map_err(broken)?,
            waits: self.waits.join().map_err(broken)?,
            syncs: self.syncs.join().map_err(broken)??,
        })
    }
}

impl Seen {
    /// How much of this span the machine did not run: a thread that only sleeps overslept, or the thread of the daemon
    /// that waited longest had no core.
    pub fn lost(&self, from: Duration, to: Duration) -> Duration {
        // A wait is accounted for when it ends.
        let late = to + LOOK_EVERY;
        let lost = |spans: &[Span]| -> Duration {
            spans.iter().filter(|span| span.meets(from, late)).map(|span| span.lost).sum()
        };
        lost(&self.naps).max(lost(&self.waits)).min(to.saturating_sub(from))
    }

    /// The longest sync of 4 KiB that was under way in this span.
    pub fn sync(&self, from: Duration, to: Duration) -> Duration {
        self.syncs.iter().filter(|span| span.meets(from, to)).map(|span| span.lost).max().unwrap_or_default()
    }

    /// In a few words.
    pub fn line(&self) -> String {
        let most = |spans: &[Span], part: f64| {
            let ms = Times::new(spans.iter().map(|span| span.lost).collect()).ms(part);
            ms.map_or_else(String::new, |ms| format!("{ms:.1}"))
        };
        format!(
            "beside it: overslept at most {} ms, a thread of the daemon had no core for at most {} of {} ms, a sync of 4 KiB took {} ms (p50), {} (p99), at most {}",
            most(&self.naps, 1.0),
            most(&self.waits, 1.0),
            LOOK_EVERY.as_millis(),
            most(&self.syncs, 0.5),
            most(&self.syncs, 0.99),
            most(&self.syncs, 1.0),
        )
    }
}

fn nap(began: Stopwatch, over: &AtomicBool) -> Vec<Span> {
    let mut spans = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let from = began.elapsed();
        thread::sleep(NAP);
        let to = began.elapsed();
        let lost = (to - from).saturating_sub(NAP);
        // What a timer is always late by is no pause.
        if lost > NAP {
            spans.push(Span { from, to, lost });
        }
    }
    spans
}

fn look(pid: u32, began: Stopwatch, over: &AtomicBool) -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut from, mut before) = (began.elapsed(), waited_for_a_core(pid));
    while !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK_EVERY);
        let (to, now) = (began.elapsed(), waited_for_a_core(pid));
        let waited = |(thread, waited): (&u32, &Duration)| Some(waited.saturating_sub(*before.get(thread)?));
        let lost: Duration = now.iter().filter_map(waited).max().unwrap_or_default();
        if lost > NAP {
            spans.push(Span { from, to, lost });
        }
        (from, before) = (to, now);
    }
    spans
}

fn sync(file: &PathBuf, began: Stopwatch, over: &AtomicBool) -> anyhow::Result<Vec<Span>> {
    let mut file = fs::File::create(file)?;
    let mut spans = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let from = began.elapsed();
        file.write_all(&[0; SYNC_BYTES])?;
        file.sync_data()?;
        let to = began.elapsed();
        spans.push(Span { from, to, lost: to - from });
        thread::sleep(SYNC_EVERY);
    }
    Ok(spans)
}
