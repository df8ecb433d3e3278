//! The integration tests: one binary, one module per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod doors;
mod formats;
mod scenarios;
mod store;
mod tidy;
