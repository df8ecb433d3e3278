//! The integration tests, in one binary.

mod command_line;
mod daemon;
mod deliveries;
mod doors;
mod formats;
mod harness;
mod kafka;
mod kill_loop;
mod malformed;
mod prometheus;
mod recording;
mod reload;
mod tidy;
