//! Slots with stable numbers, in chunks, so that growth never copies what is there.

const CHUNK: usize = 1 << 10;

/// Values by slot number; freed numbers are used again.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// How many slots are in use.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// One past the highest slot number ever used.
    pub(super) fn end(&self) -> u32 {
        self.chunks.last().map_or(0, |last| ((self.chunks.len() - 1) * CHUNK + last.len()) as u32)
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.end(),
        };
        self.put(slot, value);
        slot
    }

    /// Sets a slot by number, as recovery does; [`Slab::collect_free`] must follow.
    pub(super) fn put(&mut self, slot: u32, value: T) {
        let (chunk, place) = (slot as usize / CHUNK, slot as usize % CHUNK);
        while self.chunks.len() <= chunk {
            if let Some(last) = self.chunks.last_mut() {
                last.resize_with(CHUNK, || None);
            }
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = &mut self.chunks[chunk];
        if chunk.len() <= place {
            chunk.resize_with(place + 1, || None);
        }
        if chunk[place].replace(value).is_none() {
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)?.take()?;
        self.len -= 1;
        self.free.push(slot);
        Some(value)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&T> {
        self.chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)?.as_mut()
    }

    /// Finds the unused slots anew, lowest used first.
    pub(super) fn collect_free(&mut self) {
        self.free = (0..self.end()).rev().filter(|slot| self.get(*slot).is_none()).collect();
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, &T)> {
        let all = self.chunks.iter().flatten().enumerate();
        all.filter_map(|(slot, value)| Some((slot as u32, value.as_ref()?)))
    }

    /// Bytes held by the slots themselves.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Option<T>>() + self.free.capacity() * 4
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, slot: u32) -> &T {
        self.get(slot).expect("a slot number is kept only while its slot is in use")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        self.get_mut(slot).expect("a slot number is kept only while its slot is in use")
    }
}
