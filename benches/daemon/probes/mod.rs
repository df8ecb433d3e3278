//! The measurements that need more than a stream of events: another program beside the daemon, a second start of it, or
//! a schedule that does not wait for answers.
//!
//! Each starts what it needs on a directory of its own, checks that every event is accounted for, and gives its lines
//! of the table. As everywhere here, what is slow is reported and only what is wrong is an error. `storm` and `pauses`
//! take minutes and run only when they are asked for.

pub mod kafka;
pub mod pauses;
pub mod restart;
pub mod shards;
pub mod storm;
pub mod webhook;

mod alerts;
mod process;
mod schedule;
mod times;
mod watch;
