//! A pull reader for JSON over bytes already known to be UTF-8: one pass, nothing copied, no recursion.
//!
//! Strings come out as places in the input. Nesting deeper than the limit is noted and read on, one bit of memory a
//! level, so that a crafted event spoils neither the stack nor its neighbours. A syntax error ends the document.
//! What is read for every field is always inlined: handing values back through memory doubled the cost of decoding.

use std::borrow::Cow;
use std::ops::Range;

use super::json_string::{hex4, plain_len, unescape};
use crate::event::Code;

/// The bytes between the quotes of a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    start: u32,
    end: u32,
    escaped: bool,
}

impl Raw {
    /// Where it begins in the input.
    pub fn start(self) -> usize {
        self.start as usize
    }

    /// Where it lies in the input.
    pub fn span(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Whether there are escapes in it.
    pub fn is_escaped(self) -> bool {
        self.escaped
    }
}

/// A scalar, or a container that has just been opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    String(Raw),
    Number { start: u32, end: u32 },
    Bool,
    Null,
    Object,
    Array,
}

impl Value {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Number { .. } => "a number",
            Value::Bool => "a boolean",
            Value::Null => "null",
            Value::Object => "an object",
            Value::Array => "an array",
        }
    }
}

/// Where the input stops being JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syntax {
    pub code: Code,
    pub at: usize,
    pub expected: &'static str,
}

/// See the module.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    /// A container has just been opened, so no comma comes before its first member.
    fresh: bool,
    depth: usize,
    depth_max: usize,
    too_deep: bool,
    /// The innermost up to 64 open containers, newest in the lowest bit; 1 is an object.
    open: u64,
    /// The containers around those, 64 a word.
    outer: Vec<u64>,
}

/// Boxed, so that what is mostly returned fits in two registers.
type Read<T> = Result<T, Box<Syntax>>;

impl<'a> Reader<'a> {
    /// A reader of the document between `start` and the end of `bytes`.
    pub fn new(bytes: &'a [u8], start: usize, depth_max: u32) -> Self {
        let depth_max = depth_max as usize;
        Self { bytes, pos: start, fresh: false, depth: 0, depth_max, too_deep: false, open: 0, outer: Vec::new() }
    }

    /// How far it has read.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// The first byte of the next token, where it then stands.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.bytes.get(self.pos).copied()
    }

    /// Whether nesting went beyond the limit since this was last asked.
    pub fn take_too_deep(&mut self) -> bool {
        std::mem::take(&mut self.too_deep)
    }

    /// Reads a scalar, or opens a container.
    #[inline(always)]
    pub fn value(&mut self) -> Read<Value> {
        match self.peek() {
            Some(b'"') => {
                self.pos += 1;
                self.string().map(Value::String)
            }
            Some(b'{') => Ok(self.enter(true)),
            Some(b'[') => Ok(self.enter(false)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Value::Bool),
            Some(b'f') => self.word(b"false", Value::Bool),
            Some(b'n') => self.word(b"null", Value::Null),
            Some(b'N' | b'I') => Err(self.not_a_number()),
            _ => Err(self.expected("a value")),
        }
    }

    /// In an object: the next key, after which its value must be read; `None` closes the object.
    #[inline(always)]
    pub fn next_key(&mut self) -> Read<Option<Raw>> {
        if !self.next_member(b'}', "\",\" or \"}\"")? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key in quotes"));
        }
        self.pos += 1;
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.expected("\":\""));
        }
        self.pos += 1;
        Ok(Some(key))
    }

    /// In an array: whether another element follows, which must then be read; if not, the array is closed.
    pub fn next_element(&mut self) -> Read<bool> {
        self.next_member(b']', "\",\" or \"]\"")
    }

    /// Reads on to the end of a value.
    pub fn skip(&mut self, value: Value) -> Read<()> {
        if !matches!(value, Value::Object | Value::Array) {
            return Ok(());
        }
        let outside = self.depth - 1;
        while self.depth > outside {
            let more = if self.open & 1 == 1 { self.next_key()?.is_some() } else { self.next_element()? };
            if more {
                self.value()?;
            }
        }
        Ok(())
    }

    /// Makes sure that nothing but white space is left.
    pub fn end(&mut self) -> Read<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("nothing more")) }
    }

    /// The bytes of a string without its escapes. One that names no character stays as it is written.
    pub fn key(&self, raw: Raw) -> Cow<'a, [u8]> {
        let written = &self.bytes[raw.span()];
        if !raw.escaped {
            return Cow::Borrowed(written);
        }
        let mut plain = Vec::with_capacity(written.len());
        match unescape(written, &mut plain) {
            Ok(()) => Cow::Owned(plain),
            Err(_) => Cow::Borrowed(written),
        }
    }

    /// The input between two places.
    pub fn bytes(&self, span: Range<usize>) -> &'a [u8] {
        &self.bytes[span]
    }

    fn enter(&mut self, object: bool) -> Value {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.open);
        }
        self.open = self.open << 1 | u64::from(object);
        self.depth += 1;
        self.too_deep |= self.depth > self.depth_max;
        self.fresh = true;
        self.pos += 1;
        if object { Value::Object } else { Value::Array }
    }

    fn leave(&mut self) {
        self.open >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.open = self.outer.pop().expect("pushed when this depth was passed on the way in");
        }
        self.fresh = false;
        self.pos += 1;
    }

    #[inline]
    fn next_member(&mut self, close: u8, expected: &'static str) -> Read<bool> {
        let fresh = std::mem::take(&mut self.fresh);
        match self.peek() {
            Some(byte) if byte == close => {
                self.leave();
                Ok(false)
            }
            _ if fresh => Ok(true),
            Some(b',') => {
                self.pos += 1;
                match self.peek() {
                    Some(byte) if byte == close => Err(self.expected("another member after the comma")),
                    _ => Ok(true),
                }
            }
            _ => Err(self.expected(expected)),
        }
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(byte) = self.bytes.get(self.pos)
            && *byte <= b' '
            && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
        {
            self.pos += 1;
        }
    }

    /// Reads on to the end of a string whose opening quote has been read.
    #[inline(always)]
    fn string(&mut self) -> Read<Raw> {
        let start = self.pos;
        let mut escaped = false;
        loop {
            self.pos += plain_len(&self.bytes[self.pos..]);
            match self.bytes.get(self.pos) {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(Raw { start: start as u32, end: self.pos as u32 - 1, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.expected("a control character to be written as an escape")),
                None => return Err(self.expected("the closing quote of a string")),
            }
        }
    }

    fn escape(&mut self) -> Read<()> {
        self.pos += 1;
        let len = match self.bytes.get(self.pos) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
            Some(b'u') if hex4(&self.bytes[self.pos + 1..]).is_some() => 5,
            Some(b'u') => return Err(self.expected("four hexadecimal digits after \\u")),
            _ => return Err(self.expected("one of \"\\/bfnrtu after a backslash")),
        };
        self.pos += len;
        Ok(())
    }

    fn number(&mut self) -> Read<Value> {
        let start = self.pos;
        if self.bytes[self.pos] == b'-' {
            self.pos += 1;
        }
        match self.bytes.get(self.pos) {
            Some(b'0') => self.pos += 1,
            Some(b'1'..=b'9') => self.digits(),
            Some(b'I') => return Err(self.not_a_number()),
            _ => return Err(self.expected("a digit")),
        }
        if self.bytes.get(self.pos) == Some(&b'.') {
            self.pos += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.pos) {
            self.pos += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.pos) {
                self.pos += 1;
            }
            self.some_digits()?;
        }
        Ok(Value::Number { start: start as u32, end: self.pos as u32 })
    }

    fn some_digits(&mut self) -> Read<()> {
        let start = self.pos;
        self.digits();
        if self.pos == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn digits(&mut self) {
        self.pos += self.bytes[self.pos..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    }

    fn word(&mut self, word: &[u8], value: Value) -> Read<Value> {
        if !self.bytes[self.pos..].starts_with(word) {
            return Err(self.expected("a value"));
        }
        self.pos += word.len();
        Ok(value)
    }

    #[cold]
    fn expected(&self, expected: &'static str) -> Box<Syntax> {
        Box::new(Syntax { code: Code::Json, at: self.pos, expected })
    }

    #[cold]
    fn not_a_number(&self) -> Box<Syntax> {
        let expected = "a value; JSON has no NaN and no Infinity";
        Box::new(Syntax { code: Code::Number, at: self.pos, expected })
    }
}

/// The line and the column, from 1, of a place in the document that starts at `start`.
pub(super) fn line_and_column(bytes: &[u8], start: usize, at: usize) -> (usize, usize) {
    let before = &bytes[start..at];
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let is_start = |byte: &&u8| **byte & 0xc0 != 0x80;
    (line, before[line_start..].iter().filter(is_start).count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Read<()> {
        let mut reader = Reader::new(text.as_bytes(), 0, 32);
        let value = reader.value()?;
        reader.skip(value)?;
        reader.end()
    }

    #[test]
    fn a_document_is_read_exactly_when_serde_json_reads_it() {
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-0",
            "10",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e5",
            "1E+5",
            "1e",
            "-",
            "--1",
            "+1",
            r#""""#,
            r#""a"#,
            r#""\n\u00e9\/""#,
            r#""\x""#,
            r#""\u12""#,
            "\"\u{1}\"",
            "\"é\u{7f}\"",
            "[]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1,2",
            "]",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{a:1}"#,
            r#"{"a":}"#,
            r#"{"a":1]"#,
            "[1}",
            r#"{"a":[{"b":[]},{}],"c":{"d":null}}"#,
            "nul",
            "truefalse",
            "1 2",
            "",
            " ",
            "[[]",
            "{}{}",
            "\u{feff}{}",
            r#"{"a":1 "b":2}"#,
            r#"{,"a":1}"#,
            "[\"a\", \"b\"\n]",
            "\"tab\there\"",
        ] {
            assert_eq!(read(text).is_ok(), serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_by_memory_and_not_by_the_stack() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let mut reader = Reader::new(deep.as_bytes(), 0, 32);
        let value = reader.value().unwrap();
        reader.skip(value).unwrap();
        assert!(reader.take_too_deep());
        assert!(!reader.take_too_deep());
        let mixed = "[{\"a\":".repeat(100) + "1" + &"}]".repeat(100);
        assert!(read(&mixed).is_ok());
        let crossed = "[{\"a\":".repeat(100) + "1" + &"]}".repeat(100);
        assert!(read(&crossed).is_err(), "brackets must match at every depth");
    }

    #[test]
    fn a_place_is_named_by_line_and_character() {
        assert_eq!(line_and_column("xx{\n\"é\": ]".as_bytes(), 2, 10), (2, 6));
        assert_eq!(line_and_column(b"", 0, 0), (1, 1));
    }
}
