//! The integration tests, in one binary.

mod daemon;
mod doors;
mod formats;
mod harness;
mod kill_loop;
mod malformed;
mod tidy;
