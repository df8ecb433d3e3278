//! From a hash to numbers that have it, such as slots: a table in segments, so that growth never stops the shard.
//!
//! A table that grows moves everything in it, which takes a quarter of a second at five million entries. Here the hash chooses
//! one of [`SEGMENTS`] tables, which grow one after the other. Each entry carries its hash, so that growth reads
//! nothing else. Memory: 9 bytes an entry, a seventh to five quarters more by how full the tables are.

use hashbrown::HashTable;

/// Tables. A segment of five million entries moves 57,000 of them at once, which takes under 1 ms.
const SEGMENTS: usize = 64;
/// The tables take places from the low bits of a hash and tags from the highest seven; the segment lies between.
const SEGMENT_SHIFT: u32 = 19;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    number: u32,
}

/// What a table of hashbrown goes by.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Index {
    segments: Box<[HashTable<Entry>; SEGMENTS]>,
    len: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { segments: Box::new(std::array::from_fn(|_| HashTable::new())), len: 0 }
    }
}

impl Index {
    /// How many entries there are.
    #[cfg(test)]
    pub(in crate::engine) fn len(&self) -> usize {
        self.len
    }

    fn segment(hash: u32) -> usize {
        (hash >> SEGMENT_SHIFT) as usize % SEGMENTS
    }

    /// The number of that hash that is the one meant.
    pub(in crate::engine) fn find(&self, hash: u32, mut is_meant: impl FnMut(u32) -> bool) -> Option<u32> {
        let table = &self.segments[Self::segment(hash)];
        let found = table.find(spread(hash), |entry| entry.hash == hash && is_meant(entry.number))?;
        Some(found.number)
    }

    /// Adds a number that is not there yet.
    pub(in crate::engine) fn insert(&mut self, hash: u32, number: u32) {
        let table = &mut self.segments[Self::segment(hash)];
        table.insert_unique(spread(hash), Entry { hash, number }, |entry| spread(entry.hash));
        self.len += 1;
    }

    /// Takes a number out.
    pub(in crate::engine) fn remove(&mut self, hash: u32, number: u32) {
        let table = &mut self.segments[Self::segment(hash)];
        if let Ok(entry) = table.find_entry(spread(hash), |entry| entry.number == number) {
            entry.remove();
            self.len -= 1;
        }
    }

    /// Takes all numbers out.
    pub(in crate::engine) fn clear(&mut self) {
        self.segments.iter_mut().for_each(HashTable::clear);
        self.len = 0;
    }

    /// Bytes held.
    pub(in crate::engine) fn bytes(&self) -> usize {
        let tables: usize = self.segments.iter().map(HashTable::allocation_size).sum();
        tables + size_of_val(&*self.segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_hash_until_it_is_taken_out() {
        let mut index = Index::default();
        let hash = |number: u32| number.wrapping_mul(0x9e37_79b9) & !1;
        (0..10_000).for_each(|number| index.insert(hash(number), number));
        assert!((0..10_000).all(|number| index.find(hash(number), |found| found == number) == Some(number)));
        (0..10_000).step_by(2).for_each(|number| index.remove(hash(number), number));
        assert_eq!(index.len(), 5_000);
        assert!(
            (0..10_000).all(|number| index.find(hash(number), |found| found == number).is_some() == (number % 2 == 1))
        );
    }

    #[test]
    fn no_table_holds_much_more_than_its_share() {
        let mut index = Index::default();
        (0..64_000_u64).for_each(|number| index.insert(xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes()) as u32, 0));
        assert!(index.segments.iter().all(|segment| segment.len() < 1_250));
    }
}
