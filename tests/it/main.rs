//! The integration tests, in one binary.

mod daemon;
mod doors;
mod formats;
mod harness;
mod kafka;
mod kill_loop;
mod malformed;
mod prometheus;
mod tidy;
