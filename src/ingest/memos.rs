//! What the doors use again from request to request: what is known of earlier events, and memory to work in.
//!
//! Each request takes one of them and gives it back; there are as many as requests were read at the same time, and at
//! most one a core is kept. They belong to the settings: what was learnt under old ones goes with them.

use std::sync::{Mutex, PoisonError};

use crate::formats::Memo;
use crate::normalise::Scratch;

/// What one request at a time works with.
#[derive(Debug, Default)]
pub struct Tools {
    /// What is known of events that came before.
    pub memo: Memo,
    /// Memory to normalise in.
    pub scratch: Scratch,
}

/// See the module.
#[derive(Debug)]
pub struct Memos {
    free: Mutex<Vec<Tools>>,
    kept_max: usize,
}

impl Default for Memos {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { free: Mutex::default(), kept_max: cores }
    }
}

impl Memos {
    /// Does some work with the tools that were used last.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Tools) -> T) -> T {
        let mut tools = self.lock().pop().unwrap_or_default();
        let outcome = work(&mut tools);
        let mut free = self.lock();
        if free.len() < self.kept_max {
            free.push(tools);
        }
        outcome
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Tools>> {
        // A push and a pop leave nothing half done.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
