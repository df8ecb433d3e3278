//! The texts of alerts in one entry or slice: each is written out once, and referred to by its place after that.
//!
//! Of the twenty texts of a new alert the alerts before it have mostly had eighteen. Both sides keep a table of
//! [`PLACES`] texts, empty at the start of every entry, so that each entry can be read by itself. The writer chooses
//! the place, by the number of the symbol; a text that meets another one there takes its place and is written out,
//! which costs bytes and nothing else.
//!
//! A text is two bytes, the place and in the highest bit whether it stands there already; else it follows.

use super::codec::{Fault, Reader, Writer};
use crate::engine::alert::Texts;
use crate::engine::memory::interner::{Interner, Symbol};

/// Places of the table: few enough to be cleared for a single alert, and many more than the texts that alerts share.
const PLACES: usize = 1 << 10;

/// The bit that says that a text stands in its place already.
const KNOWN: u16 = 1 << 15;

/// What a writer has written out.
#[derive(Debug, Default)]
pub(in crate::engine) struct Written(Vec<Option<Symbol>>);

/// What a reader has read, with the symbols that it became.
#[derive(Debug, Default)]
pub(in crate::engine) struct Read<'a>(Vec<Option<(Symbol, &'a str)>>);

impl Writer {
    fn symbol(&mut self, names: &Interner, symbol: Symbol) {
        let place = symbol.0 as usize % PLACES;
        let known = &mut self.written.0[place];
        if *known == Some(symbol) {
            return self.short(place as u16 | KNOWN);
        }
        *known = Some(symbol);
        self.short(place as u16);
        self.text(names.text(symbol));
    }

    fn maybe_symbol(&mut self, names: &Interner, symbol: Option<Symbol>) {
        self.byte(u8::from(symbol.is_some()));
        if let Some(symbol) = symbol {
            self.symbol(names, symbol);
        }
    }
}

impl Reader<'_> {
    fn symbol(&mut self, names: &mut Interner) -> Result<Symbol, Fault> {
        let number = self.short()?;
        let place = usize::from(number & !KNOWN);
        if place >= PLACES {
            return Err(self.fault("no place of a text"));
        }
        if number & KNOWN == 0 {
            let text = self.text()?;
            let symbol = names.intern(text);
            self.read.0[place] = Some((symbol, text));
            return Ok(symbol);
        }
        let Some((symbol, text)) = self.read.0[place] else { return Err(self.fault("nothing in the place of a text")) };
        Ok(names.intern_again(symbol, text))
    }

    fn maybe_symbol(&mut self, names: &mut Interner) -> Result<Option<Symbol>, Fault> {
        if self.flag()? { Ok(Some(self.symbol(names)?)) } else { Ok(None) }
    }
}

/// What an alert says.
pub(super) fn write_texts(writer: &mut Writer, names: &Interner, texts: &Texts) {
    writer.written.0.resize(PLACES, None);
    for pairs in [texts.labels(), texts.annotations(), texts.links()] {
        writer.number(pairs.len() as u64);
        for (name, value) in pairs {
            writer.symbol(names, *name);
            writer.symbol(names, *value);
        }
    }
    writer.maybe_symbol(names, texts.source);
    writer.maybe_symbol(names, texts.summary);
}

/// The same from the bytes.
pub(super) fn read_texts(reader: &mut Reader<'_>, names: &mut Interner) -> Result<Texts, Fault> {
    reader.read.0.resize(PLACES, None);
    let (mut pairs, mut ends) = (Vec::new(), [0; 3]);
    for end in &mut ends {
        let count = reader.count()?;
        pairs.reserve_exact(count);
        for _ in 0..count {
            pairs.push((reader.symbol(names)?, reader.symbol(names)?));
        }
        *end = pairs.len();
    }
    let (source, summary) = (reader.maybe_symbol(names)?, reader.maybe_symbol(names)?);
    Ok(Texts::new(pairs, [ends[0], ends[1] - ends[0]], source, summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &mut Interner, labels: &[(&str, &str)]) -> Texts {
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (names.intern(name), names.intern(value))).collect();
        let count = pairs.len();
        Texts::new(pairs, [count, 0], Some(names.intern("prometheus")), None)
    }

    fn said(names: &Interner, texts: &Texts) -> Vec<(String, String)> {
        let text = |symbol| names.text(symbol).to_owned();
        texts.labels().iter().map(|(name, value)| (text(*name), text(*value))).collect()
    }

    #[test]
    fn what_an_alert_before_had_is_not_written_again_and_reads_the_same() {
        let (mut names, mut writer) = (Interner::default(), Writer::default());
        // More texts than there are places, so that some meet.
        let alerts: Vec<Texts> = (0..3_000)
            .map(|number| texts(&mut names, &[("host", &format!("web-{number}")), ("service", "shop")]))
            .collect();
        let mut each = Vec::new();
        for alert in &alerts {
            let before = writer.bytes.len();
            write_texts(&mut writer, &names, alert);
            each.push(writer.bytes.len() - before);
        }
        assert!(each[1] < 25 && each[0] > 45, "{} and {} bytes", each[0], each[1]);
        let (mut reader, mut restored) = (Reader::new(&writer.bytes), Interner::default());
        for alert in &alerts {
            let read = read_texts(&mut reader, &mut restored).unwrap();
            assert_eq!(said(&restored, &read), said(&names, alert));
            assert_eq!(read.source.map(|source| restored.text(source)), Some("prometheus"));
        }
        assert!(reader.is_empty());
        assert_eq!(restored.len(), names.len());
    }

    #[test]
    fn a_place_with_nothing_in_it_is_damage() {
        for bytes in [[1, 3, 0x80], [1, 0, 4]] {
            let fault = read_texts(&mut Reader::new(&bytes), &mut Interner::default()).unwrap_err();
            assert!(fault.contains("place of a text"), "{fault}");
        }
    }

    #[test]
    fn a_text_whose_last_user_is_gone_is_interned_anew() {
        let (mut names, mut writer) = (Interner::default(), Writer::default());
        let alert = texts(&mut names, &[("host", "web")]);
        (0..2).for_each(|_| write_texts(&mut writer, &names, &alert));
        let (mut reader, mut restored) = (Reader::new(&writer.bytes), Interner::default());
        read_texts(&mut reader, &mut restored).unwrap().release(&mut restored);
        restored.intern("in the place of the first");
        let read = read_texts(&mut reader, &mut restored).unwrap();
        assert_eq!(said(&restored, &read), [("host".to_owned(), "web".to_owned())]);
    }
}
