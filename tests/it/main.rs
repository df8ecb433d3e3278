//! The integration tests, in one binary.

mod doors;
mod formats;
mod tidy;
