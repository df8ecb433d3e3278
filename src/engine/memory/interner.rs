//! Label names and values, each kept once per shard and freed with its last user.
//!
//! Memory: the text itself and about 40 bytes beside it. Bounded by the alerts that use it (`max_alerts`). Grows in
//! steps: entries in chunks, and a table in segments.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

use super::index::Index;

/// An interned text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Symbol(pub(in crate::engine) u32);

/// Entries of a chunk.
const CHUNK: usize = 1 << 10;
/// Places of an event whose last text is remembered.
const PLACES: usize = 64;

#[derive(Debug, Default)]
struct Entry {
    text: Box<str>,
    users: u32,
    /// Kept, so that release need not read the text again.
    hash: u32,
}

/// The symbols of what an event says.
pub(in crate::engine) type Symbols = SmallVec<[Symbol; PLACES]>;

/// A text of an event that is not what stood in its place before.
struct Other<'a> {
    place: usize,
    bytes: &'a [u8],
    hash: u32,
    found: Option<Symbol>,
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Interner {
    index: Index,
    chunks: Vec<Box<[Entry; CHUNK]>>,
    /// Entries ever used.
    end: usize,
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
            end: 0,
            free: Vec::new(),
            last: [Symbol(u32::MAX); PLACES],
            hasher: DefaultHashBuilder::default(),
            text_bytes: 0,
        }
    }
}

/// Whether two texts are equal, at once where they are as short as most.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // Of up to 16 bytes, the first eight and the last eight, which may overlap.
    if one.len() <= 16
        && let (Some(first), Some(last)) = (one.first_chunk::<8>(), one.last_chunk::<8>())
    {
        return other.first_chunk::<8>() == Some(first) && other.last_chunk::<8>() == Some(last);
    }
    one == other
}

fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("decoders let only UTF-8 into a batch")
}

impl Interner {
    /// The symbol of a text; counts one more user.
    pub(in crate::engine) fn intern(&mut self, text: &str) -> Symbol {
        let hash = self.hasher.hash_one(text.as_bytes()) as u32;
        self.look_up(hash, text.as_bytes(), || text.into())
    }

    /// The same for a text that had this symbol a moment ago.
    pub(in crate::engine) fn intern_again(&mut self, symbol: Symbol, text: &str) -> Symbol {
        if self.share_if(symbol, text.as_bytes()) { symbol } else { self.intern(text) }
    }

    /// The symbols of what an event says, place by place; each often is what stood there in the event before. All texts
    /// are UTF-8.
    pub(in crate::engine) fn intern_all<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>, symbols: &mut Symbols) {
        let mut others: SmallVec<[Other<'a>; 8]> = SmallVec::new();
        texts.enumerate().for_each(|(place, bytes)| {
            let last = self.last[place % PLACES];
            symbols.push(last);
            if !self.share_if(last, bytes) {
                others.push(Other { place, bytes, hash: self.hasher.hash_one(bytes) as u32, found: None });
            }
        });
        // Looked up together, so that the memory that they lie in is fetched at the same time.
        for other in &mut others {
            other.found = self.find(other.hash, other.bytes);
        }
        for &Other { place, bytes, hash, found } in &others {
            let symbol = match found {
                Some(symbol) => self.share(symbol),
                None => self.look_up(hash, bytes, || text_of(bytes).into()),
            };
            symbols[place] = symbol;
            self.last[place % PLACES] = symbol;
        }
    }

    /// Counts one more user of a symbol, if this is its text.
    #[inline]
    fn share_if(&mut self, symbol: Symbol, bytes: &[u8]) -> bool {
        let entry = self.entry_mut(symbol).filter(|entry| is_same(entry.text.as_bytes(), bytes) && entry.users > 0);
        let Some(entry) = entry else { return false };
        entry.users += 1;
        true
    }

    fn find(&self, hash: u32, bytes: &[u8]) -> Option<Symbol> {
        self.index.find(hash, |number| self.entry(Symbol(number)).text.as_bytes() == bytes).map(Symbol)
    }

    fn look_up(&mut self, hash: u32, bytes: &[u8], text: impl FnOnce() -> Box<str>) -> Symbol {
        if let Some(symbol) = self.find(hash, bytes) {
            return self.share(symbol);
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
        let number = self.end;
        if number / CHUNK == self.chunks.len() {
            let chunk: Vec<Entry> = std::iter::repeat_with(Entry::default).take(CHUNK).collect();
            self.chunks.push(chunk.try_into().expect("as many as the chunk has"));
        }
        self.chunks[number / CHUNK][number % CHUNK] = entry;
        self.end += 1;
        Symbol(number as u32)
    }

    #[inline]
    fn entry_mut(&mut self, symbol: Symbol) -> Option<&mut Entry> {
        Some(&mut self.chunks.get_mut(symbol.0 as usize / CHUNK)?[symbol.0 as usize % CHUNK])
    }

    #[inline]
    fn entry(&self, symbol: Symbol) -> &Entry {
        &self.chunks[symbol.0 as usize / CHUNK][symbol.0 as usize % CHUNK]
    }

    /// Counts one more user of a symbol.
    #[inline]
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

    /// Whether a symbol has this text.
    #[inline]
    pub(in crate::engine) fn has(&self, symbol: Symbol, text: &str) -> bool {
        is_same(self.entry(symbol).text.as_bytes(), text.as_bytes())
    }

    /// The text of a symbol.
    #[inline]
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
        let entries = self.chunks.len() * (CHUNK * size_of::<Entry>() + size_of::<Box<[Entry; CHUNK]>>());
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
        let intern = |interner: &mut Interner, bytes: &'static [u8]| {
            let mut symbols = Symbols::new();
            interner.intern_all([bytes].into_iter(), &mut symbols);
            symbols[0]
        };
        let first = intern(&mut interner, b"web-1");
        assert_eq!(intern(&mut interner, b"web-1"), first);
        [first, first].into_iter().for_each(|symbol| interner.release(symbol));
        assert_eq!(interner.len(), 0);
        let empty = intern(&mut interner, b"");
        assert_eq!((interner.text(empty), interner.len()), ("", 1));
        assert_eq!(interner.intern("web-1").0, 1, "the freed text is a new one again");
    }

    #[test]
    fn a_new_text_that_an_event_says_twice_is_kept_once() {
        let mut interner = Interner::default();
        let mut symbols = Symbols::new();
        interner.intern_all([&b"host"[..], b"web-1", b"instance", b"web-1"].into_iter(), &mut symbols);
        assert_eq!((symbols[1], interner.len()), (symbols[3], 3));
        interner.release(symbols[1]);
        assert_eq!(interner.text(symbols[3]), "web-1");
    }

    #[test]
    fn texts_are_the_same_where_all_their_bytes_are() {
        let text: Vec<u8> = (0..40).collect();
        for len in 0..=text.len() {
            assert!(is_same(&text[..len], &text.clone()[..len]));
            assert!(len == 0 || !is_same(&text[..len], &text[..len - 1]));
            for other in 0..len {
                let mut changed = text.clone();
                changed[other] ^= 1;
                assert!(!is_same(&text[..len], &changed[..len]), "byte {other} of {len}");
            }
        }
    }
}
