//! Running it: batches to shards, decisions to commits, commits to acknowledgements.
//!
//! [`Router`] is the one door for events; it bounds what is in flight. Each shard's task owns its windows and changes
//! them alone. The committer merges what all shards have ready into one transaction, and only when that is durable
//! are the verdicts handed back.

mod positions;
pub mod read_model;
mod router;

pub use positions::PositionBook;
pub use read_model::ReadModel;
pub use router::{Receipt, Refused, Router};
