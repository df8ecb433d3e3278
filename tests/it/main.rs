//! The integration tests: one binary, one module per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod amtool;
mod command_line;
mod daemon;
mod deliveries;
mod differential;
mod doors;
mod formats;
mod harness;
mod kafka;
mod kill_loop;
mod malformed;
mod model;
mod prometheus;
mod recording;
mod reload;
mod repeat;
mod scenarios;
mod store;
mod tidy;
