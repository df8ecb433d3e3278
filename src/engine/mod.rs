//! The decisions (being written).
mod codec;
pub mod decision;
pub mod incident;
mod interner;
mod window;
