//! Label names and values, each kept once per shard and freed with its last user.
//!
//! Memory: the text itself and about 40 bytes beside it. Bounded by the alerts that use it (`max_alerts`).

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// An interned text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Symbol(pub(in crate::engine) u32);

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    users: u32,
    /// Kept, so that growth and release need not read the text again.
    hash: u32,
}

impl Entry {
    /// The table takes a slot from the low bits and a tag from the high ones.
    fn table_hash(&self) -> u64 {
        table_hash(self.hash)
    }
}

fn table_hash(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Interner {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Seeded at random, so that texts that collide cannot be prepared.
    hasher: DefaultHashBuilder,
    text_bytes: usize,
}

impl Interner {
    /// The symbol of a text; counts one more user.
    pub(in crate::engine) fn intern(&mut self, text: &str) -> Symbol {
        let hash = self.hasher.hash_one(text) as u32;
        let Self { table, entries, .. } = self;
        if let Some(index) = table.find(table_hash(hash), |index| &*entries[*index as usize].text == text) {
            entries[*index as usize].users += 1;
            return Symbol(*index);
        }
        let entry = Entry { text: text.into(), users: 1, hash };
        self.text_bytes += text.len();
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let Self { table, entries, .. } = self;
        table.insert_unique(table_hash(hash), index, |index| entries[*index as usize].table_hash());
        Symbol(index)
    }

    /// Counts one more user of a symbol.
    pub(in crate::engine) fn share(&mut self, symbol: Symbol) -> Symbol {
        self.entries[symbol.0 as usize].users += 1;
        symbol
    }

    /// Counts one user less; the last one frees the text.
    pub(in crate::engine) fn release(&mut self, symbol: Symbol) {
        let entry = &mut self.entries[symbol.0 as usize];
        entry.users -= 1;
        if entry.users > 0 {
            return;
        }
        let text = std::mem::take(&mut entry.text);
        self.text_bytes -= text.len();
        let hash = entry.table_hash();
        if let Ok(slot) = self.table.find_entry(hash, |index| *index == symbol.0) {
            slot.remove();
        }
        self.free.push(symbol.0);
    }

    /// The text of a symbol.
    pub(in crate::engine) fn text(&self, symbol: Symbol) -> &str {
        &self.entries[symbol.0 as usize].text
    }

    /// How many texts there are.
    #[cfg(test)]
    pub(in crate::engine) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes held, by estimate.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.text_bytes + self.entries.capacity() * 24 + self.table.capacity() * 5 + self.free.capacity() * 4
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
}
