//! "Did you mean": the known name nearest to one that is not known.
//!
//! Pure and small: names are compared up to 64 characters, so a hostile one costs nothing.

const NAME_CHARS_MAX: usize = 64;

/// The known name that was probably meant, or `None` when none is near.
///
/// Near is one slip in every three characters (insertion, deletion, substitution, transposition), or one name being
/// the beginning of the other (`crit`, `critical`).
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = name.chars().flat_map(char::to_lowercase).take(NAME_CHARS_MAX + 1).collect();
    if typed.is_empty() || typed.len() > NAME_CHARS_MAX {
        return None;
    }
    let slips_max = typed.len().div_ceil(3);
    let score = |candidate: &'a str| {
        let other: Vec<char> = candidate.chars().flat_map(char::to_lowercase).take(NAME_CHARS_MAX).collect();
        let begins = typed.len().min(other.len()) >= 3 && (other.starts_with(&typed) || typed.starts_with(&other));
        let slips = if begins { 1 } else { distance(&typed, &other) };
        (slips <= slips_max && slips < other.len()).then_some((slips, candidate))
    };
    known.into_iter().filter_map(score).min_by_key(|(slips, _)| *slips).map(|(_, candidate)| candidate)
}

/// `, did you mean "…"?`, or nothing.
pub fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!(", did you mean \"{near}\"?"))
}

/// The optimal string alignment distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut older: Vec<usize> = Vec::new();
    let mut old: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut new = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut least = (old[j] + usize::from(from != to)).min(old[j + 1] + 1).min(new[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(older[j - 1] + 1);
            }
            new.push(least);
        }
        older = std::mem::replace(&mut old, new);
    }
    old[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let known = ["group_by", "window", "open_when", "match", "critical"];
        for (typed, meant) in [
            ("grup_by", Some("group_by")),
            ("groupby", Some("group_by")),
            ("mathc", Some("match")),
            ("Window", Some("window")),
            ("crit", Some("critical")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), known), None);
    }

    #[test]
    fn a_slip_in_the_field_of_an_event_is_recognised_and_a_stranger_is_not() {
        let known = ["labels", "dedup_key", "occurred_at", "id"];
        assert_eq!(nearest("lables", known), Some("labels"));
        assert_eq!(nearest("dedupKey", known), Some("dedup_key"));
        assert_eq!(nearest("occured-at", known), Some("occurred_at"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"x".repeat(1_000), known), None);
        assert_eq!(nearest("", []), None);
    }
}
