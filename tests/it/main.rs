//! The integration tests: one binary, one module per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod daemon;
mod doors;
mod formats;
mod harness;
mod kill_loop;
mod malformed;
mod model;
mod scenarios;
mod store;
mod tidy;
