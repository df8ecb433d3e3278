//! Operating it: the one port, and the API behind it.
pub mod listener;
