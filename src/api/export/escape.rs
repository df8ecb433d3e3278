//! Text from outside as Markdown that shows it, and does nothing else: no markup, no links, no HTML, no mentions.
//!
//! Goes by CommonMark, where a backslash takes the meaning from any ASCII punctuation, and by what GitHub adds to it.

/// Always escaped: markup, HTML, tables, mentions, references, formulas.
const MARKUP: &str = "\\`*_[]<>|~&#@$!";

/// A text on one line.
pub(super) fn line(text: &str) -> String {
    let text = text.trim();
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    for (at, c) in text.char_indices() {
        match c {
            '\n' | '\r' | '\t' => safe.push(' '),
            _ if is_invisible(c) => safe.push('\u{fffd}'),
            _ => {
                if MARKUP.contains(c) || links(text, at, c) || begins(text, at, c) {
                    safe.push('\\');
                }
                safe.push(c);
            }
        }
    }
    safe
}

/// A text within an item of a list, its lines kept apart.
pub(super) fn item(text: &str) -> String {
    let lines = text.lines().map(line).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\\\n  ")
}

/// What controls a terminal, or turns the direction of writing.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Would make a link of a bare address.
fn links(text: &str, at: usize, c: char) -> bool {
    let www = || text.as_bytes()[..at].last_chunk::<3>().is_some_and(|last| last.eq_ignore_ascii_case(b"www"));
    c == ':' && text[at..].starts_with("://") || c == '.' && www()
}

/// Would make a list or a heading of the line that it begins.
fn begins(text: &str, at: usize, c: char) -> bool {
    match c {
        '-' | '+' | '=' => at == 0,
        '.' | ')' => at > 0 && text.as_bytes()[..at].iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_be_markup_is_shown_as_it_is() {
        for (text, safe) in [
            ("checkout is slow", "checkout is slow"),
            ("# *not* a `heading`", "\\# \\*not\\* a \\`heading\\`"),
            ("[click](https://evil.example/a_b)", "\\[click\\](https\\://evil.example/a\\_b)"),
            ("see www.evil.example", "see www\\.evil.example"),
            ("<img src=x onerror=alert(1)>", "\\<img src=x onerror=alert(1)\\>"),
            ("a | b", "a \\| b"),
            ("&lt; @team #7", "\\&lt; \\@team \\#7"),
            ("- 1", "\\- 1"),
            ("12. a", "12\\. a"),
            ("1.5 of 3", "1\\.5 of 3"),
            ("two\nlines\t\u{1b}[31m\u{202e}", "two lines \u{fffd}\\[31m\u{fffd}"),
        ] {
            assert_eq!(line(text), safe);
        }
        assert_eq!(item("first\n\n  # second \r\n"), "first\\\n  \\# second");
    }

    proptest! {
        #[test]
        fn the_reader_sees_every_character_and_none_has_a_meaning(text in "[ -~\u{e4}\u{202e}\n]{0,60}") {
            let safe = line(&text);
            let mut shown = String::new();
            let mut chars = safe.chars();
            while let Some(c) = chars.next() {
                prop_assert!(c == '\\' || !MARKUP.contains(c), "{safe}");
                shown.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            let expected: String = text.trim().chars().map(|c| match c {
                '\n' => ' ',
                c if is_invisible(c) => '\u{fffd}',
                c => c,
            }).collect();
            prop_assert_eq!(shown, expected);
            prop_assert!(!safe.contains("://") && !safe.contains('\n'));
        }
    }
}
