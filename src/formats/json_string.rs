//! The inside of JSON strings: finding where one ends, and undoing its escapes.

const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// How many bytes come before the first quote, backslash or control character, eight at a time.
///
/// The lowest flag is exact: `x - 0x01…` borrows only past a byte that is itself flagged. See "Determine if a word
/// has a byte less than n" in Sean Eron Anderson's "Bit Twiddling Hacks" (public domain).
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(chunk) = bytes[len..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let zero = |word: u64| word.wrapping_sub(LOW) & !word;
        let quote = zero(word ^ (LOW * b'"' as u64));
        let backslash = zero(word ^ (LOW * b'\\' as u64));
        let control = word.wrapping_sub(LOW * 0x20) & !word;
        let special = (quote | backslash | control) & HIGH;
        if special != 0 {
            return len + special.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    len + bytes[len..].iter().position(special).unwrap_or(bytes.len() - len)
}

/// The value of four hexadecimal digits.
pub(super) fn hex4(bytes: &[u8]) -> Option<u32> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    bytes.first_chunk::<4>()?.iter().try_fold(0, |value, byte| Some(value << 4 | digit(*byte)?))
}

/// Appends a string to `plain` without its escapes, which the reader has found well-formed.
///
/// # Errors
/// The place of half a surrogate pair, which names no character.
pub(super) fn unescape(written: &[u8], plain: &mut Vec<u8>) -> Result<(), usize> {
    let mut rest = 0;
    while let Some(at) = memchr::memchr(b'\\', &written[rest..]).map(|at| rest + at) {
        plain.extend_from_slice(&written[rest..at]);
        rest = at + 2;
        let c = match written[at + 1] {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (c, len) = unicode_escape(&written[at..]).ok_or(at)?;
                rest = at + len;
                c
            }
            byte => char::from(byte),
        };
        plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    plain.extend_from_slice(&written[rest..]);
    Ok(())
}

/// The character of a `\uXXXX`, or of two that make a surrogate pair, and how many bytes it takes.
fn unicode_escape(written: &[u8]) -> Option<(char, usize)> {
    let unit = hex4(&written[2..])?;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, 6));
    }
    let low = written[6..].strip_prefix(b"\\u").and_then(hex4)?;
    let is_pair = (0xd800..0xdc00).contains(&unit) && (0xdc00..0xe000).contains(&low);
    let c = char::from_u32(0x1_0000 + ((unit & 0x3ff) << 10 | low & 0x3ff))?;
    is_pair.then_some((c, 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_special_byte_is_found_at_every_place() {
        for len in 0..40 {
            for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
                for at in 0..len {
                    let mut text = vec![b'!'; len];
                    text[at] = special;
                    assert_eq!(plain_len(&text), at);
                }
            }
            assert_eq!(plain_len(&vec![0xff; len]), len);
            assert_eq!(plain_len(&vec![b'#'; len]), len);
            assert_eq!(plain_len(&vec![b'!'; len]), len);
        }
    }

    #[test]
    fn escapes_name_the_same_characters_as_in_serde_json() {
        for text in
            [r"a\n\t\r\b\f\/\\\x", r"é\u00e9\ud83d\ude00z", r"\ud83d", r"\ude00\ud83d", r"\ud83d\ud83d", r"\ud83dx"]
        {
            let text = text.replace(r"\x", r#"\""#);
            let expected: Result<String, _> = serde_json::from_str(&format!("\"{text}\""));
            let mut plain = Vec::new();
            let outcome = unescape(text.as_bytes(), &mut plain).map(|()| String::from_utf8(plain).unwrap());
            assert_eq!(outcome.ok(), expected.ok(), "{text}");
        }
    }
}
