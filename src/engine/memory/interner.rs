//! Label names and values, each kept once per shard and freed with its last user.
//!
//! Memory: the text itself and about 40 bytes beside it. Bounded by the alerts that use it (`max_alerts`). Grows in
//! steps: entries in chunks, and a table in segments.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use super::index::Index;

/// An interned text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Symbol(pub(in crate::engine) u32);

/// Entries of a chunk.
const CHUNK: usize = 1 << 10;
/// Places of an event whose last text is remembered.
const PLACES: usize = 64;

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    users: u32,
    /// Kept, so that release need not read the text again.
    hash: u32,
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Interner {
    index: Index,
    chunks: Vec<Vec<Entry>>,
    free: Vec<u32>,
    /// What stood last at each place of an event: the names of labels are mostly the same again, and many values.
    last: [Symbol; PLACES],
    /// Seeded at random, so that texts that collide cannot be prepared.
    hasher: DefaultHashBuilder,
    text_bytes: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            index: Index::default(),
            chunks: Vec::new(),
            free: Vec::new(),
            last: [Symbol(u32::MAX); PLACES],
            hasher: DefaultHashBuilder::default(),
            text_bytes: 0,
        }
    }
}

impl Interner {
    /// The symbol of a text; counts one more user.
    pub(in crate::engine) fn intern(&mut self, text: &str) -> Symbol {
        self.look_up(text.as_bytes(), || text.into())
    }

    /// The symbol of what stood last at a place of an event, if it is this; counts one more user.
    pub(in crate::engine) fn known_at(&mut self, place: usize, bytes: &[u8]) -> Option<Symbol> {
        let last = self.last[place % PLACES];
        let entry = self.entry_mut(last).filter(|entry| entry.users > 0 && entry.text.as_bytes() == bytes)?;
        entry.users += 1;
        Some(last)
    }

    /// The same for what stands at a place of an event, which is often what stood there before. `bytes` are UTF-8.
    pub(in crate::engine) fn intern_at(&mut self, place: usize, bytes: &[u8]) -> Symbol {
        if let Some(symbol) = self.known_at(place, bytes) {
            return symbol;
        }
        let text = || std::str::from_utf8(bytes).expect("decoders let only UTF-8 into a batch").into();
        let symbol = self.look_up(bytes, text);
        self.last[place % PLACES] = symbol;
        symbol
    }

    fn look_up(&mut self, bytes: &[u8], text: impl FnOnce() -> Box<str>) -> Symbol {
        let hash = self.hasher.hash_one(bytes) as u32;
        let chunks = &self.chunks;
        let is_meant = |number: u32| chunks[number as usize / CHUNK][number as usize % CHUNK].text.as_bytes() == bytes;
        if let Some(number) = self.index.find(hash, is_meant) {
            self.share(Symbol(number));
            return Symbol(number);
        }
        self.text_bytes += bytes.len();
        let symbol = self.keep(Entry { text: text(), users: 1, hash });
        self.index.insert(hash, symbol.0);
        symbol
    }

    fn keep(&mut self, entry: Entry) -> Symbol {
        if let Some(number) = self.free.pop() {
            self.chunks[number as usize / CHUNK][number as usize % CHUNK] = entry;
            return Symbol(number);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(entry);
        Symbol((chunk * CHUNK + self.chunks[chunk].len() - 1) as u32)
    }

    fn entry_mut(&mut self, symbol: Symbol) -> Option<&mut Entry> {
        self.chunks.get_mut(symbol.0 as usize / CHUNK)?.get_mut(symbol.0 as usize % CHUNK)
    }

    fn entry(&self, symbol: Symbol) -> &Entry {
        &self.chunks[symbol.0 as usize / CHUNK][symbol.0 as usize % CHUNK]
    }

    /// Counts one more user of a symbol.
    pub(in crate::engine) fn share(&mut self, symbol: Symbol) -> Symbol {
        self.chunks[symbol.0 as usize / CHUNK][symbol.0 as usize % CHUNK].users += 1;
        symbol
    }

    /// Counts one user less; the last one frees the text.
    pub(in crate::engine) fn release(&mut self, symbol: Symbol) {
        let entry = &mut self.chunks[symbol.0 as usize / CHUNK][symbol.0 as usize % CHUNK];
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let (text, hash) = (std::mem::take(&mut entry.text), entry.hash);
        self.text_bytes -= text.len();
        self.index.remove(hash, symbol.0);
        self.free.push(symbol.0);
    }

    /// The text of a symbol.
    pub(in crate::engine) fn text(&self, symbol: Symbol) -> &str {
        &self.entry(symbol).text
    }

    /// How many texts there are.
    #[cfg(test)]
    pub(in crate::engine) fn len(&self) -> usize {
        self.index.len()
    }

    /// Bytes held.
    pub(in crate::engine) fn bytes(&self) -> usize {
        let entries = self.chunks.len() * (CHUNK * size_of::<Entry>() + size_of::<Vec<Entry>>());
        self.text_bytes + entries + self.index.bytes() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_freed_with_its_last_user() {
        let mut interner = Interner::default();
        let first = interner.intern("service");
        assert_eq!(interner.intern("service"), first);
        let other = interner.intern("host");
        interner.release(first);
        assert_eq!(interner.text(first), "service");
        interner.release(first);
        assert_eq!(interner.intern("cluster"), first, "the slot is used again");
        assert_eq!(interner.text(other), "host");
        assert_eq!(interner.text_bytes, "cluster".len() + "host".len());
    }

    #[test]
    fn what_stood_at_a_place_before_is_recognised_and_what_was_freed_is_not() {
        let mut interner = Interner::default();
        let first = interner.intern_at(0, b"web-1");
        assert_eq!(interner.intern_at(0, b"web-1"), first);
        [first, first].into_iter().for_each(|symbol| interner.release(symbol));
        assert_eq!(interner.len(), 0);
        let empty = interner.intern_at(0, b"");
        assert_eq!((interner.text(empty), interner.len()), ("", 1));
        assert_eq!(interner.intern("web-1").0, 1, "the freed text is a new one again");
    }
}
