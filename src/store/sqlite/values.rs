//! Between our words and SQLite's: instants and ids as text, checksums, and whose fault an error is.

use rusqlite::ffi::{self, ErrorCode};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::DATABASE;
use crate::event::Timestamp;
use crate::identity::IncidentId;
use crate::store::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let detail = error.to_string();
        let rusqlite::Error::SqliteFailure(cause, _) = error else { return StoreError::Io(detail) };
        match cause.code {
            ErrorCode::DiskFull => StoreError::Full(detail),
            // The shared-memory file beside the log could not grow.
            _ if cause.extended_code == ffi::SQLITE_IOERR_SHMSIZE => StoreError::Full(detail),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                StoreError::Damaged { what: DATABASE.to_owned(), detail }
            }
            _ => StoreError::Io(detail),
        }
    }
}

const EARLIEST: &str = "0000-01-01T00:00:00.000000Z";
const LATEST: &str = "9999-12-31T23:59:59.999999Z";

/// RFC 3339 in UTC with six decimals, so that text sorts as time does.
pub(super) fn text_of(instant: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(instant.as_micros()) {
        Ok(in_range) => {
            let text = format!("{in_range:.6}");
            if text.starts_with('-') { EARLIEST.to_owned() } else { text }
        }
        Err(_) if instant < Timestamp::EPOCH => EARLIEST.to_owned(),
        Err(_) => LATEST.to_owned(),
    }
}

/// Reads what [`text_of`] wrote.
pub(super) fn instant_of(text: &str) -> Result<Timestamp, StoreError> {
    Timestamp::parse_rfc3339(text.as_bytes()).ok_or_else(|| unreadable("an instant", text))
}

/// Reads an incident's id.
pub(super) fn id_of(text: &str) -> Result<IncidentId, StoreError> {
    text.parse().map_err(|_| unreadable("an incident id", text))
}

/// A column holds what this program never writes.
pub(super) fn unreadable(what: &str, text: &str) -> StoreError {
    let shown: String = text.chars().take(64).collect();
    StoreError::Damaged { what: DATABASE.to_owned(), detail: format!("\"{shown}\" where {what} should be") }
}

/// A limit as SQL takes it.
pub(super) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The checksum of a journal entry (`place` is its sequence) or of a slice (its generation and part), which also
/// notices bytes in the wrong row.
pub(super) fn checksum(shard: u16, place: u64, bytes: &[u8]) -> i64 {
    xxh3_64_with_seed(bytes, place ^ (u64::from(shard) << 48)) as i64
}

/// What [`checksum`] calls the place of a slice.
pub(super) fn slice_place(generation: u64, part: u32) -> u64 {
    generation.rotate_left(24) ^ u64::from(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_read_back_and_sort_as_text() {
        let instants = [-62_167_219_200_000_000, -1, 0, 1, 1_900_000_000_000_000, 1_900_000_000_123_456];
        let texts = instants.map(|micros| text_of(Timestamp::from_micros(micros)));
        assert!(texts.is_sorted(), "{texts:?}");
        for (micros, text) in instants.iter().zip(&texts) {
            assert_eq!(instant_of(text).unwrap().as_micros(), *micros, "{text}");
            assert_eq!(text.len(), EARLIEST.len());
        }
    }

    #[test]
    fn instants_beyond_the_calendar_are_its_ends() {
        assert_eq!(text_of(Timestamp::MAX), LATEST);
        assert_eq!(text_of(Timestamp::from_micros(i64::MIN)), EARLIEST);
        assert_eq!(text_of(Timestamp::from_micros(-70_000_000_000_000_000)), EARLIEST);
    }
}
