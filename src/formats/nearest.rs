//! The known name that somebody most likely meant.

/// Longer names are surely no slip of the pen.
const NAME_BYTES_MAX: usize = 32;

/// The name in `known` that is nearest to `name`, if one is near at all: at most a third of it to change.
pub fn nearest<'a>(name: &[u8], known: &[&'a str]) -> Option<&'a str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let plain = |name: &[u8]| -> Vec<u8> {
        name.iter().filter(|byte| !matches!(byte, b'_' | b'-')).map(u8::to_ascii_lowercase).collect()
    };
    let name = plain(name);
    let distance = |known: &str| changes(&name, &plain(known.as_bytes()));
    let near = known.iter().map(|known| (distance(known), *known)).min_by_key(|(distance, _)| *distance)?;
    (near.0 <= near.1.len().div_ceil(3)).then_some(near.1)
}

/// The Levenshtein distance, kept in one row.
fn changes(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["labels", "dedup_key", "occurred_at", "id"];
        assert_eq!(nearest(b"lables", &known), Some("labels"));
        assert_eq!(nearest(b"dedupKey", &known), Some("dedup_key"));
        assert_eq!(nearest(b"occured-at", &known), Some("occurred_at"));
        assert_eq!(nearest(b"colour", &known), None);
        assert_eq!(nearest(&[b'x'; 1_000], &known), None);
        assert_eq!(nearest(b"", &[]), None);
    }
}
