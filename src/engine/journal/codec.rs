//! The byte format of journal entries and snapshot slices: varints, length-prefixed texts, nothing else.
//!
//! Unsigned numbers are LEB128, signed ones zigzag first (the scheme of Protocol Buffers). Reading never panics and
//! never allocates more than the input is long; a damaged entry ends in an error that names the place.

use super::texts::{Read, Written};
use crate::engine::memory::slab::SLOTS_MAX;
use crate::event::Timestamp;

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub(in crate::engine) struct Writer {
    pub(in crate::engine) bytes: Vec<u8>,
    /// For the texts of alerts.
    pub(super) written: Written,
}

impl Writer {
    #[inline]
    pub(in crate::engine) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    #[inline]
    pub(in crate::engine) fn number(&mut self, mut value: u64) {
        if value < 0x80 {
            return self.bytes.push(value as u8);
        }
        if value < 0x4000 {
            self.bytes.push(value as u8 | 0x80);
            return self.bytes.push((value >> 7) as u8);
        }
        if value >> 56 == 0 {
            // All at once, since most numbers are times: each seven bits into a byte of their own, by halves.
            let len = value.ilog2() as usize / 7 + 1;
            value = (value & 0x00ff_ffff_f000_0000) << 4 | value & 0x0fff_ffff;
            value = (value & 0x0fff_c000_0fff_c000) << 2 | value & 0x0000_3fff_0000_3fff;
            value = (value & 0x3f80_3f80_3f80_3f80) << 1 | value & 0x007f_007f_007f_007f;
            let more = 0x8080_8080_8080_8080 & ((1_u64 << (8 * (len - 1))) - 1);
            let end = self.bytes.len() + len;
            self.bytes.extend_from_slice(&(value | more).to_le_bytes());
            return self.bytes.truncate(end);
        }
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(in crate::engine) fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(in crate::engine) fn time(&mut self, value: Timestamp) {
        self.signed(value.as_micros());
    }

    /// A time by how long it is after another one, or before.
    pub(in crate::engine) fn time_after(&mut self, other: Timestamp, value: Timestamp) {
        self.signed(value.as_micros().wrapping_sub(other.as_micros()));
    }

    pub(in crate::engine) fn maybe_time(&mut self, value: Option<Timestamp>) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            self.time(value);
        }
    }

    pub(in crate::engine) fn wide(&mut self, value: u128) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::engine) fn fixed(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    #[inline]
    pub(in crate::engine) fn short(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(in crate::engine) fn text(&mut self, value: &str) {
        self.number(value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
    }
}

/// The number whose seven bits a byte these are.
fn joined(mut value: u64) -> u64 {
    value = (value & 0x7f00_7f00_7f00_7f00) >> 1 | value & 0x007f_007f_007f_007f;
    value = (value & 0x3fff_0000_3fff_0000) >> 2 | value & 0x0000_3fff_0000_3fff;
    (value & 0x0fff_ffff_0000_0000) >> 4 | value & 0x0fff_ffff
}

/// Reads what [`Writer`] wrote.
#[derive(Debug)]
pub(in crate::engine) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// For the texts of alerts.
    pub(super) read: Read<'a>,
}

/// Where and why an entry cannot be read.
pub(in crate::engine) type Fault = String;

impl<'a> Reader<'a> {
    pub(in crate::engine) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, read: Read::default() }
    }

    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(in crate::engine) fn fault(&self, what: &str) -> Fault {
        format!("{what} at byte {} of {}", self.at, self.bytes.len())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return Err(self.fault("cut short")) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(in crate::engine) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    pub(in crate::engine) fn flag(&mut self) -> Result<bool, Fault> {
        Ok(self.byte()? != 0)
    }

    pub(in crate::engine) fn number(&mut self) -> Result<u64, Fault> {
        // Most numbers are small, or times: one byte, or up to eight at once, as the writer has them.
        if let Some(byte) = self.bytes.get(self.at).filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Ok(u64::from(*byte));
        }
        let eight =
            self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()).map(|eight| u64::from_le_bytes(*eight));
        if let Some((eight, ends)) =
            eight.map(|eight| (eight, !eight & 0x8080_8080_8080_8080)).filter(|(_, ends)| *ends != 0)
        {
            let len = ends.trailing_zeros() / 8 + 1;
            self.at += len as usize;
            return Ok(joined(eight & u64::MAX >> (64 - 8 * len)));
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.fault("number too long"))
    }

    fn at_most(&mut self, max: u64) -> Result<u64, Fault> {
        let value = self.number()?;
        if value > max { Err(self.fault("number too large")) } else { Ok(value) }
    }

    /// A number that is counted up from here; room is left to do so.
    pub(in crate::engine) fn tally(&mut self) -> Result<u64, Fault> {
        self.at_most(u64::MAX >> 2)
    }

    /// The same, in 32 bits.
    pub(in crate::engine) fn small(&mut self) -> Result<u32, Fault> {
        Ok(self.at_most(u64::from(u32::MAX >> 1))? as u32)
    }

    /// The number of a slot.
    pub(in crate::engine) fn slot(&mut self) -> Result<u32, Fault> {
        Ok(self.at_most(u64::from(SLOTS_MAX) - 1)? as u32)
    }

    pub(in crate::engine) fn signed(&mut self) -> Result<i64, Fault> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(in crate::engine) fn time(&mut self) -> Result<Timestamp, Fault> {
        Ok(Timestamp::from_micros(self.signed()?))
    }

    pub(in crate::engine) fn time_after(&mut self, other: Timestamp) -> Result<Timestamp, Fault> {
        Ok(Timestamp::from_micros(other.as_micros().wrapping_add(self.signed()?)))
    }

    pub(in crate::engine) fn maybe_time(&mut self) -> Result<Option<Timestamp>, Fault> {
        if self.flag()? { Ok(Some(self.time()?)) } else { Ok(None) }
    }

    pub(in crate::engine) fn wide(&mut self) -> Result<u128, Fault> {
        Ok(u128::from_le_bytes(self.take(16)?.try_into().expect("16 bytes were taken")))
    }

    pub(in crate::engine) fn fixed(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("8 bytes were taken")))
    }

    pub(in crate::engine) fn short(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.take(2)?.try_into().expect("2 bytes were taken")))
    }

    pub(in crate::engine) fn text(&mut self) -> Result<&'a str, Fault> {
        let len = self.number()? as usize;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.fault("text is no UTF-8"))
    }

    /// A length that the remaining bytes can hold, each item taking at least one byte.
    pub(in crate::engine) fn count(&mut self) -> Result<usize, Fault> {
        let count = self.number()? as usize;
        if count > self.bytes.len() - self.at { Err(self.fault("count too large")) } else { Ok(count) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64, signed: i64, wide: u128, text: String, micros: i64) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.signed(signed);
            writer.time_after(Timestamp::from_micros(micros), Timestamp::from_micros(signed));
            writer.wide(wide);
            writer.text(&text);
            let mut reader = Reader::new(&writer.bytes);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.signed(), Ok(signed));
            let time = reader.time_after(Timestamp::from_micros(micros));
            prop_assert_eq!(time, Ok(Timestamp::from_micros(signed)));
            prop_assert_eq!(reader.wide(), Ok(wide));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn a_number_takes_seven_bits_a_byte_least_first(value: u64, shift in 0..64_u32) {
            let (value, mut writer, mut left, mut expected) = (value >> shift, Writer::default(), value >> shift, vec![]);
            writer.number(value);
            while left >= 0x80 {
                expected.push(left as u8 | 0x80);
                left >>= 7;
            }
            expected.push(left as u8);
            prop_assert_eq!(&writer.bytes, &expected);
            // It is read alike wherever the entry ends behind it.
            for more in 0..9 {
                let bytes = [&expected[..], &vec![0xff; more]].concat();
                let mut reader = Reader::new(&bytes);
                prop_assert_eq!(reader.number(), Ok(value));
                prop_assert_eq!(reader.at, expected.len());
            }
        }

        #[test]
        fn damaged_bytes_end_in_an_error_or_a_value_and_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.text().is_ok() && !reader.is_empty() {}
            let mut reader = Reader::new(&bytes);
            while reader.number().is_ok() && !reader.is_empty() {}
        }
    }
}
