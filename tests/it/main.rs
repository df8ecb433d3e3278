//! The integration tests: one binary, one module per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod amtool;
mod command_line;
mod daemon;
mod deadlines;
mod deliveries;
mod differential;
mod doors;
mod escalation;
mod flow;
mod formats;
mod harness;
mod heartbeat;
mod kafka;
mod kill_loop;
mod maintenance;
mod malformed;
mod memory;
mod model;
mod openapi;
mod operating;
mod prometheus;
mod quarter;
mod recording;
mod recurring;
mod relations;
mod reload;
mod reload_storm;
mod repeat;
mod report;
mod rules;
mod scenarios;
mod shuffle;
mod store;
mod stream;
mod tidy;
mod union;
