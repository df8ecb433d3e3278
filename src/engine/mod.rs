//! The decisions (being written).
pub mod decision;
pub mod incident;
