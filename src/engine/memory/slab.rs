//! Slots with stable numbers, in chunks, so that growth never copies what is there.
//!
//! The lowest free number is used first, so that which number comes next depends only on what is there, and a shard
//! that was restored goes on as one that never stopped.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const CHUNK: usize = 1 << 10;

/// Numbers stay below this: sixteen times the default of `max_alerts`. A larger one in the journal is damage.
pub(in crate::engine) const SLOTS_MAX: u32 = 1 << 24;

/// Values by slot number; freed numbers are used again.
#[derive(Debug)]
pub(in crate::engine) struct Slab<T> {
    /// A chunk is empty until one of its slots is used.
    chunks: Vec<Vec<Option<T>>>,
    free: BinaryHeap<Reverse<u32>>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: BinaryHeap::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// How many slots are in use.
    pub(in crate::engine) fn len(&self) -> usize {
        self.len
    }

    /// One past the highest slot number ever used.
    pub(in crate::engine) fn end(&self) -> u32 {
        self.chunks.last().map_or(0, |last| ((self.chunks.len() - 1) * CHUNK + last.len()) as u32)
    }

    pub(in crate::engine) fn insert(&mut self, value: T) -> u32 {
        let slot = self.free.pop().map_or_else(|| self.end(), |Reverse(slot)| slot);
        self.put(slot, value);
        slot
    }

    /// Sets a slot by number, as recovery does; [`Slab::collect_free`] must follow.
    pub(in crate::engine) fn put(&mut self, slot: u32, value: T) {
        let (chunk, place) = (slot as usize / CHUNK, slot as usize % CHUNK);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, Vec::new);
        }
        let chunk = &mut self.chunks[chunk];
        if chunk.len() <= place {
            chunk.reserve_exact(CHUNK - chunk.len());
            chunk.resize_with(place, || None);
            chunk.push(Some(value));
            self.len += 1;
        } else if chunk[place].replace(value).is_none() {
            self.len += 1;
        }
    }

    pub(in crate::engine) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)?.take()?;
        self.len -= 1;
        self.free.push(Reverse(slot));
        Some(value)
    }

    #[inline]
    pub(in crate::engine) fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_ref()
    }

    #[inline]
    pub(in crate::engine) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)?.as_mut()
    }

    /// Finds the unused slots anew.
    pub(in crate::engine) fn collect_free(&mut self) {
        self.free = (0..self.end()).filter(|slot| self.get(*slot).is_none()).map(Reverse).collect();
    }

    pub(in crate::engine) fn slots(&self) -> impl Iterator<Item = (u32, &T)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.flat_map(|(chunk, values)| {
            let values = values.iter().enumerate();
            values.filter_map(move |(place, value)| Some(((chunk * CHUNK + place) as u32, value.as_ref()?)))
        })
    }

    /// Bytes held by the slots themselves.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Option<T>>() + self.free.capacity() * 4
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: u32) -> &T {
        self.get(slot).expect("a slot number is kept only while its slot is in use")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut T {
        self.get_mut(slot).expect("a slot number is kept only while its slot is in use")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(slab: &Slab<char>) -> Vec<(u32, char)> {
        slab.slots().map(|(slot, value)| (slot, *value)).collect()
    }

    #[test]
    fn the_lowest_free_number_is_used_first() {
        let mut slab = Slab::default();
        for (slot, value) in "abcd".chars().enumerate() {
            assert_eq!(slab.insert(value), slot as u32);
        }
        for slot in [2, 0, 3] {
            slab.remove(slot);
        }
        assert_eq!([slab.insert('x'), slab.insert('y'), slab.insert('z'), slab.insert('!')], [0, 2, 3, 4]);
        assert_eq!(used(&slab), [(0, 'x'), (1, 'b'), (2, 'y'), (3, 'z'), (4, '!')]);
        assert_eq!(slab.remove(9), None);
    }

    #[test]
    fn a_restored_slab_hands_out_the_numbers_that_the_original_would() {
        let (mut original, mut restored) = (Slab::default(), Slab::default());
        for value in "abcdef".chars() {
            original.insert(value);
        }
        for slot in [5, 4, 1] {
            original.remove(slot);
        }
        for (slot, value) in used(&original).into_iter().rev() {
            restored.put(slot, value);
        }
        restored.collect_free();
        assert_eq!(restored.len(), original.len());
        for value in "vwxyz".chars() {
            assert_eq!(restored.insert(value), original.insert(value));
        }
    }

    #[test]
    fn a_high_number_leaves_the_chunks_below_it_usable() {
        let mut slab = Slab::default();
        slab.put(5_000, 'z');
        slab.collect_free();
        assert_eq!((slab.len(), slab.end()), (1, 5_001));
        assert_eq!(slab.insert('a'), 0);
        assert_eq!(used(&slab), [(0, 'a'), (5_000, 'z')]);
        assert!(slab.get(3_000).is_none());
    }
}
