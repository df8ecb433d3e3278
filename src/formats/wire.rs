//! The protobuf wire format: fields of a message, one after the other, over bytes that stay where they are.
//!
//! See <https://protobuf.dev/programming-guides/encoding/>. Groups are refused: nothing of ours has them.

use std::ops::Range;

/// One field as it lies on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub number: u32,
    pub payload: Payload,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Payload {
    Varint(u64),
    /// Four or eight bytes, which no field of ours is.
    Fixed(u8),
    /// Where the bytes lie.
    Bytes(Range<usize>),
}

impl Payload {
    /// The number of its wire type.
    pub fn wire_type(&self) -> u8 {
        match self {
            Payload::Varint(_) => 0,
            Payload::Fixed(wire_type) => *wire_type,
            Payload::Bytes(_) => 2,
        }
    }
}

/// Where the bytes stop being a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Malformed {
    /// The field's number and wire type, once they are known.
    pub field: Option<(u32, u8)>,
    pub problem: &'static str,
}

impl Malformed {
    #[cold]
    fn new(field: Option<(u32, u8)>, problem: &'static str) -> Box<Self> {
        Box::new(Self { field, problem })
    }
}

/// Reads the fields of the message that lies in a span.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Walk<'a> {
    /// Over the message between `span.start` and `span.end` of `bytes`.
    pub fn new(bytes: &'a [u8], span: Range<usize>) -> Self {
        Self { bytes: &bytes[..span.end], pos: span.start }
    }

    /// How far it has read.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// The next field, `None` at the end of the message.
    ///
    /// Always inlined: handing a `Field` back through memory costs more than reading it.
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<Field>, Box<Malformed>> {
        if self.pos == self.bytes.len() {
            return Ok(None);
        }
        let malformed = |problem| Malformed::new(None, problem);
        let tag = self.varint().ok_or_else(|| malformed("a tag that is cut off or too long"))?;
        let tag = u32::try_from(tag).map_err(|_| malformed("a tag beyond 32 bits"))?;
        let (number, wire_type) = (tag >> 3, tag as u8 & 7);
        let malformed = |problem| Malformed::new(Some((number, wire_type)), problem);
        if number == 0 {
            return Err(malformed("there is no field 0"));
        }
        let payload = match wire_type {
            0 => Payload::Varint(self.varint().ok_or_else(|| malformed("a varint that is cut off or too long"))?),
            1 => self.fixed(8, wire_type).ok_or_else(|| malformed("eight bytes that are cut off"))?,
            2 => self.run().ok_or_else(|| malformed("a length beyond the end of the message"))?,
            5 => self.fixed(4, wire_type).ok_or_else(|| malformed("four bytes that are cut off"))?,
            3 | 4 => return Err(malformed("groups are not supported")),
            _ => return Err(malformed("there is no such wire type")),
        };
        Ok(Some(Field { number, payload }))
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        let first = *self.bytes.get(self.pos)?;
        self.pos += 1;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = *self.bytes.get(self.pos)?;
            self.pos += 1;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    #[inline]
    fn fixed(&mut self, len: usize, wire_type: u8) -> Option<Payload> {
        self.pos = self.pos.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        Some(Payload::Fixed(wire_type))
    }

    #[inline]
    fn run(&mut self) -> Option<Payload> {
        let len = usize::try_from(self.varint()?).ok()?;
        let start = self.pos;
        self.pos = start.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        Some(Payload::Bytes(start..self.pos))
    }
}

/// The name and the value of a map entry in its usual form: both there, in order, shorter than 128 bytes.
#[inline]
pub(super) fn usual_entry(bytes: &[u8], span: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let [0x0a, name_len @ ..0x80, rest @ ..] = &bytes[span.clone()] else { return None };
    let (_, rest) = rest.split_at_checked(usize::from(*name_len))?;
    let [0x12, value_len @ ..0x80, value @ ..] = rest else { return None };
    let name_end = span.start + 2 + usize::from(*name_len);
    (value.len() == usize::from(*value_len)).then_some((span.start + 2..name_end, name_end + 2..span.end))
}

/// Seconds and nanoseconds of a time in its usual form: both in order, or the seconds alone.
#[inline]
pub(super) fn usual_time(bytes: &[u8], span: &Range<usize>) -> Option<(u64, u64)> {
    let mut walk = Walk { bytes: &bytes[span.clone()], pos: 1 };
    let seconds = walk.bytes.first().filter(|tag| **tag == 0x08).and_then(|_| walk.varint())?;
    let Some(tag) = walk.bytes.get(walk.pos) else { return Some((seconds, 0)) };
    walk.pos += 1;
    let nanos = if *tag == 0x10 { walk.varint()? } else { return None };
    (walk.pos == walk.bytes.len()).then_some((seconds, nanos))
}

/// Tells text that is UTF-8, mostly by finding whole runs of ASCII ahead of it.
#[derive(Debug)]
pub(super) struct Utf8<'a> {
    bytes: &'a [u8],
    /// Bytes found to be ASCII.
    ascii: Range<usize>,
}

const ASCII_RUN: usize = 32;

impl<'a> Utf8<'a> {
    /// For texts before the end of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, ascii: 0..0 }
    }

    /// Whether the bytes of `span` are UTF-8.
    #[inline]
    pub fn holds(&mut self, span: &Range<usize>) -> bool {
        if self.is_known_ascii(span) {
            return true;
        }
        self.look_ahead(span.start);
        self.is_known_ascii(span) || simdutf8::basic::from_utf8(&self.bytes[span.clone()]).is_ok()
    }

    #[inline]
    fn is_known_ascii(&self, span: &Range<usize>) -> bool {
        span.start >= self.ascii.start && span.end <= self.ascii.end
    }

    fn look_ahead(&mut self, start: usize) {
        let runs = self.bytes[start..].chunks(ASCII_RUN).take_while(|run| run.is_ascii());
        let end = start + runs.map(<[u8]>::len).sum::<usize>();
        self.ascii = start..end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Result<Vec<Field>, Box<Malformed>> {
        let mut walk = Walk::new(bytes, 0..bytes.len());
        std::iter::from_fn(|| walk.next().transpose()).collect()
    }

    #[test]
    fn fields_of_every_wire_type_are_walked() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 0x02, b'h', b'i', 0x25, 1, 2, 3, 4];
        let payloads: Vec<Payload> = walk(&bytes).unwrap().into_iter().map(|field| field.payload).collect();
        assert_eq!(payloads, [Payload::Varint(150), Payload::Fixed(1), Payload::Bytes(14..16), Payload::Fixed(5)]);
    }

    #[test]
    fn what_is_no_message_is_named_by_field_and_wire_type() {
        type Case = (&'static [u8], Option<(u32, u8)>);
        let cases: [Case; 10] = [
            (&[0x80], None),
            (&[0xff; 11], None),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f, 0], None),
            (&[0x00, 0x00], Some((0, 0))),
            (&[0x08, 0xff], Some((1, 0))),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Some((1, 0))),
            (&[0x0a, 0x02, b'h'], Some((1, 2))),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Some((1, 2))),
            (&[0x13, 0x14], Some((2, 3))),
            (&[0x0e], Some((1, 6))),
        ];
        for (bytes, field) in cases {
            assert_eq!(walk(bytes).expect_err("malformed").field, field, "{bytes:x?}");
        }
    }

    #[test]
    fn only_the_usual_form_of_an_entry_is_read_at_once() {
        let entry = |bytes: &[u8]| usual_entry(bytes, &(0..bytes.len()));
        assert_eq!(entry(b"\x0a\x01k\x12\x02vw"), Some((2..3, 5..7)));
        assert_eq!(entry(b"\x0a\x00\x12\x00"), Some((2..2, 4..4)));
        for odd in [
            &b""[..],
            b"\x0a",
            b"\x0a\x01",
            b"\x0a\x01k",
            b"\x12\x01v\x0a\x01k",
            b"\x0a\x01k\x12\x02v",
            b"\x0a\x01k\x12\x00v",
        ] {
            assert_eq!(entry(odd), None, "{odd:x?}");
        }
    }

    #[test]
    fn only_the_usual_form_of_a_time_is_read_at_once() {
        let time = |bytes: &[u8]| usual_time(bytes, &(0..bytes.len()));
        assert_eq!(time(b"\x08\x96\x01\x10\x05"), Some((150, 5)));
        assert_eq!(time(b"\x08\x05"), Some((5, 0)));
        for odd in [&b""[..], b"\x08", b"\x10\x05", b"\x10\x05\x08\x05", b"\x08\x05\x10", b"\x08\x05\x10\x05\x10\x05"] {
            assert_eq!(time(odd), None, "{odd:x?}");
        }
    }

    #[test]
    fn utf8_is_told_apart_whatever_stands_around_it() {
        let mut bytes = vec![b'a'; 200];
        bytes[70] = 0xff;
        bytes[100..102].copy_from_slice("é".as_bytes());
        let mut utf8 = Utf8::new(&bytes);
        for start in 0..200 {
            for end in start..200 {
                let expected = std::str::from_utf8(&bytes[start..end]).is_ok();
                assert_eq!(utf8.holds(&(start..end)), expected, "{start}..{end}");
            }
        }
    }
}
