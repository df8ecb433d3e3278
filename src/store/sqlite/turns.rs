//! Who is next: the writer with a commit, or the checkpointer with a restart of the log.
//!
//! SQLite's own lock is not fair: a writer that commits without a pause takes it again before a waiting checkpoint has
//! looked, and the log grows for as long as the load lasts. So the checkpointer announces itself here, the writer
//! finishes the commit it is in, and begins the next one after the restart.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Shared by the writer and the checkpointer, of which there is one each.
#[derive(Debug, Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    committing: bool,
    restarting: bool,
}

/// A turn; it ends when dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    end: fn(&mut State),
}

impl Turns {
    /// The writer's turn: waits while the log is being restarted, or about to be.
    pub(super) fn commit(&self) -> Turn<'_> {
        let mut state = self.wait_while(self.lock(), |state| state.restarting);
        state.committing = true;
        Turn { turns: self, end: |state| state.committing = false }
    }

    /// The checkpointer's turn: lets no further commit begin, and waits for the one under way.
    pub(super) fn restart(&self) -> Turn<'_> {
        let mut state = self.lock();
        state.restarting = true;
        drop(self.wait_while(state, |state| state.committing));
        Turn { turns: self, end: |state| state.restarting = false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(&self, state: MutexGuard<'a, State>, busy: fn(&mut State) -> bool) -> MutexGuard<'a, State> {
        self.changed.wait_while(state, busy).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        (self.end)(&mut self.turns.lock());
        self.turns.changed.notify_all();
    }
}
