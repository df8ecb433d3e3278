//! Which maintenance windows are open.
