//! Durations as Prometheus writes them: `200ms`, `30s`, `5m`, `1h30m`, `7d`, `2w`, `1y` (365 days).
//!
//! For `#[serde(with = "crate::event::duration")]`. A bare number is refused: the unit is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const UNITS: [(&str, u64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
/// Ten years, beyond which a duration is surely a slip.
const MILLIS_MAX: u64 = 10 * 31_536_000_000;

/// Reads a duration.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("a duration needs a number and a unit, such as 30s, 5m or 1h30m, not \"{text}\"");
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    let mut next_unit = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = UNITS.iter().position(|(name, _)| *name == &rest[digits..digits + letters]).ok_or_else(wrong)?;
        if unit < next_unit {
            return Err(wrong());
        }
        next_unit = unit + 1;
        millis = number.checked_mul(UNITS[unit].1).and_then(|part| millis.checked_add(part)).unwrap_or(u64::MAX);
        rest = &rest[digits + letters..];
    }
    if millis > MILLIS_MAX {
        return Err(format!("\"{text}\" is more than 10y"));
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration in the largest units that are exact.
pub fn format(duration: Duration) -> String {
    let mut millis = duration.as_millis() as u64;
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // 7d is what people write, not 1w.
    for (name, factor) in UNITS.into_iter().filter(|(name, _)| *name != "w") {
        if millis >= factor {
            text.push_str(&format!("{}{name}", millis / factor));
            millis %= factor;
        }
    }
    text
}

/// Writes a duration in hours and less, for what is no time of the clock: `120h`.
pub fn format_hours(duration: Duration) -> String {
    let hours = duration.as_secs() / 3_600;
    let rest = format(duration - Duration::from_secs(hours * 3_600));
    match (hours, rest.as_str()) {
        (0, _) => rest,
        (_, "0s") => format!("{hours}h"),
        _ => format!("{hours}h{rest}"),
    }
}

/// For serde.
///
/// # Errors
/// As the serializer's.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// For serde.
///
/// # Errors
/// When the text is no duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// A duration that need not be there, or one by name; for `#[serde(with = "crate::event::duration::optional")]` and
/// `#[serde(deserialize_with = "crate::event::duration::by_name")]`.
#[derive(Serialize, Deserialize)]
struct Given(#[serde(with = "self")] Duration);

/// For serde: durations by name.
///
/// # Errors
/// When a text is no duration.
pub fn by_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    let given: BTreeMap<String, Given> = BTreeMap::deserialize(deserializer)?;
    Ok(given.into_iter().map(|(name, given)| (name, given.0)).collect())
}

/// For serde: a duration that need not be there.
pub mod optional {
    use super::{Deserialize, Deserializer, Duration, Given, Serialize, Serializer};

    /// For serde.
    ///
    /// # Errors
    /// As the serializer's.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(Given).serialize(serializer)
    }

    /// For serde.
    ///
    /// # Errors
    /// When the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Given>::deserialize(deserializer)?.map(|given| given.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_back_as_it_is_written() {
        for text in ["0s", "200ms", "30s", "5m", "1h30m", "7d", "1y17d4h5m6s7ms"] {
            assert_eq!(format(parse(text).expect(text)), text);
        }
    }

    #[test]
    fn a_duration_without_a_unit_or_beyond_ten_years_is_refused() {
        for text in ["", "5", "-1m", "1e9h", "m", "5 m", "1m1h", "1m2m", "11y", "99999999999999999999s", "5µs"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
