//! How far each Kafka partition is durably applied, as the store knows it.
//!
//! Written by the committer after each commit, read by the Kafka consumer when it is assigned a partition. One entry
//! per partition and shard; bounded by the partitions that exist.

use std::sync::Arc;

use dashmap::DashMap;

use crate::event::Position;
use crate::store::ShardPosition;

type Partition = (Arc<str>, Arc<str>, i32);

/// See the module.
#[derive(Debug)]
pub struct PositionBook {
    shards: usize,
    next_offsets: DashMap<Partition, Vec<Option<i64>>>,
}

impl PositionBook {
    /// The positions found in the store.
    pub fn new(shards: usize, stored: Vec<ShardPosition>) -> Self {
        let book = Self { shards, next_offsets: DashMap::new() };
        book.committed(&stored);
        book
    }

    /// Notes positions that a commit has made durable.
    pub fn committed(&self, positions: &[ShardPosition]) {
        for ShardPosition { shard, position } in positions {
            let Position { source, topic, partition, next_offset } = position;
            let mut shards = self
                .next_offsets
                .entry((source.clone(), topic.clone(), *partition))
                .or_insert_with(|| vec![None; self.shards]);
            if let Some(slot) = shards.get_mut(usize::from(*shard)) {
                *slot = Some(slot.map_or(*next_offset, |known| known.max(*next_offset)));
            }
        }
    }

    /// The offset to read from: the smallest of all shards, so that none misses a record. Shards that are further on
    /// skip what they have applied. `None` where the partition was never read to a commit.
    pub fn next_offset(&self, source: &Arc<str>, topic: &Arc<str>, partition: i32) -> Option<i64> {
        let shards = self.next_offsets.get(&(source.clone(), topic.clone(), partition))?;
        shards.iter().copied().min()?
    }
}
