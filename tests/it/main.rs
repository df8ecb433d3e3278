//! The integration tests: one binary, one module per subject.

mod doors;
mod formats;
mod store;
mod tidy;
