//! Reads an HTTP request body within bounds of size, time and memory, and undoes its compression.
//!
//! A body is refused as soon as it is known to be too large: by its `Content-Length`, while it is read, or while it
//! is decompressed; no more than the cap is ever allocated. All bodies together hold at most [`BUDGET_BYTES`];
//! beyond that requests are refused and asked to come again. A body that does not arrive in [`READ_MAX`] is given up.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use crate::event::Limits;

/// How long a body may take to arrive.
pub const READ_MAX: Duration = Duration::from_secs(30);
/// What all bodies that are being read or decided may hold together: four of the largest, or 25 uncompressed ones
/// of the default cap. A guess; beyond it requests get 429.
pub const BUDGET_BYTES: usize = 256 << 20;
/// One permit of the budget.
const PERMIT_BYTES: usize = 1 << 10;
/// What is read and thrown away of a body that was refused: a client that is still sending when the connection is closed
/// never sees the answer. Beyond this, or this long, it is closed all the same.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARD_MAX: Duration = Duration::from_secs(2);
/// First allocation of a decompression.
const INFLATE_START_BYTES: usize = 64 << 10;
/// The largest window of zstd: 8 MiB, the most that RFC 9659 lets a `Content-Encoding` use.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than allowed as sent.
    #[error("the body is larger than {limit} bytes (limits.body_bytes); send fewer events a request")]
    TooLarge {
        /// The cap.
        limit: usize,
    },
    /// More bytes than allowed once decompressed.
    #[error("the body is larger than {limit} bytes once decompressed (limits.decompressed_bytes)")]
    Inflated {
        /// The cap.
        limit: usize,
    },
    /// A compression we do not speak, or several.
    #[error("the Content-Encoding must be one of gzip, zstd or identity")]
    Encoding,
    /// It did not arrive in time.
    #[error("the body did not arrive within {} s", READ_MAX.as_secs())]
    TooSlow,
    /// The connection broke.
    #[error("the body ended early: {0}")]
    Broken(String),
    /// What it says it is compressed with does not decompress it.
    #[error("the body is not valid {0}")]
    Corrupt(&'static str),
    /// All bodies together hold too much memory.
    #[error("too many request bodies are being read")]
    Busy,
}

impl From<&BodyError> for Problem {
    fn from(error: &BodyError) -> Problem {
        let (status, code) = match error {
            BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "E_TOO_LARGE"),
            BodyError::Inflated { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "E_INFLATED"),
            BodyError::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "E_CONTENT_ENCODING"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "E_TIMEOUT"),
            BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "E_BODY"),
            BodyError::Corrupt(_) => (StatusCode::BAD_REQUEST, "E_CODEC"),
            BodyError::Busy => (StatusCode::TOO_MANY_REQUESTS, "E_OVERLOADED"),
        };
        let problem = Problem::new(status, code, error.to_string());
        if *error == BodyError::Busy { problem.retry_after(Duration::from_secs(1)) } else { problem }
    }
}

/// The memory that bodies may hold together.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_BYTES / PERMIT_BYTES)))
    }
}

/// A share of the budget; given back when dropped.
#[derive(Debug, Default)]
pub struct Share {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Share {
    /// Grows the share until it covers `bytes`.
    fn cover(&mut self, budget: &Budget, bytes: usize) -> Result<(), BodyError> {
        let missing = bytes.div_ceil(PERMIT_BYTES).saturating_sub(self.bytes / PERMIT_BYTES);
        if missing == 0 {
            return Ok(());
        }
        let count = u32::try_from(missing).map_err(|_| BodyError::Busy)?;
        let more = budget.0.clone().try_acquire_many_owned(count).map_err(|_| BodyError::Busy)?;
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            None => self.permits = Some(more),
        }
        self.bytes += missing * PERMIT_BYTES;
        Ok(())
    }
}

/// A body that was read, and the share of the budget that it holds until it is dropped.
#[derive(Debug)]
pub struct ReadBody {
    /// Decompressed.
    pub bytes: Bytes,
    /// Held as long as the bytes are.
    pub share: Share,
}

/// What compression the headers name.
///
/// # Errors
/// When it is none that we speak, or more than one.
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, BodyError> {
    let mut named = headers.get_all(header::CONTENT_ENCODING).iter();
    let encoding = match named.next().map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase()).as_deref() {
        None | Some(b"" | b"identity") => Encoding::Identity,
        Some(b"gzip" | b"x-gzip") => Encoding::Gzip,
        Some(b"zstd") => Encoding::Zstd,
        Some(_) => return Err(BodyError::Encoding),
    };
    if named.next().is_some() { Err(BodyError::Encoding) } else { Ok(encoding) }
}

/// Reads and decompresses a body.
///
/// # Errors
/// See [`BodyError`].
pub async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: &Limits,
    budget: &Budget,
) -> Result<ReadBody, BodyError> {
    let read = read_within(headers, &mut body, limits, budget).await;
    // A client that asks before it sends is told before it sends.
    let refused = matches!(read, Err(BodyError::TooLarge { .. } | BodyError::Encoding | BodyError::Busy));
    if refused && !headers.contains_key(header::EXPECT) {
        discard(body).await;
    }
    read
}

async fn read_within(
    headers: &HeaderMap,
    body: &mut Body,
    limits: &Limits,
    budget: &Budget,
) -> Result<ReadBody, BodyError> {
    let encoding = encoding(headers)?;
    let limit = limits.body_bytes.as_usize();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge { limit });
    }
    let mut share = Share::default();
    let gathered = gather(body, limit, budget, &mut share);
    let sent = tokio::time::timeout(READ_MAX, gathered).await.map_err(|_| BodyError::TooSlow)??;
    let cap = limits.decompressed_bytes.as_usize();
    let inflated = match encoding {
        Encoding::Identity => return Ok(ReadBody { bytes: sent, share }),
        Encoding::Gzip | Encoding::Zstd => super::intake::heavy(sent.len().saturating_mul(16), || {
            let mut inflated = Share::default();
            let bytes = inflate(encoding, &sent, cap, |bytes| inflated.cover(budget, bytes))?;
            Ok((bytes, inflated))
        })?,
    };
    Ok(ReadBody { bytes: inflated.0.into(), share: inflated.1 })
}

/// The body's frames as one run of bytes, without a copy when there is only one frame.
async fn gather(body: &mut Body, limit: usize, budget: &Budget, share: &mut Share) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.len().max(rest.len());
        if so_far + data.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        share.cover(budget, so_far + data.len())?;
        if so_far == 0 {
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

async fn discard(mut body: Body) {
    let mut room = DISCARDED_BYTES_MAX;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            room = room.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if room == 0 {
                return;
            }
        }
    };
    // However it ends, the answer is next.
    let _ = tokio::time::timeout(DISCARD_MAX, reading).await;
}

/// Decompresses; asks `reserve` before the memory held grows to a number of bytes, never beyond `cap`.
fn inflate(
    encoding: Encoding,
    sent: &[u8],
    cap: usize,
    reserve: impl FnMut(usize) -> Result<(), BodyError>,
) -> Result<Vec<u8>, BodyError> {
    match encoding {
        Encoding::Identity => Ok(sent.to_vec()),
        Encoding::Gzip => drain(flate2::bufread::MultiGzDecoder::new(sent), "gzip", cap, reserve),
        Encoding::Zstd => {
            let corrupt = |_| BodyError::Corrupt("zstd");
            let mut decoder = zstd::stream::read::Decoder::with_buffer(sent).map_err(corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
            drain(decoder, "zstd", cap, reserve)
        }
    }
}

fn drain(
    mut reader: impl Read,
    name: &'static str,
    cap: usize,
    mut reserve: impl FnMut(usize) -> Result<(), BodyError>,
) -> Result<Vec<u8>, BodyError> {
    let mut out = Vec::new();
    let mut filled = 0;
    loop {
        let full = filled == out.len();
        if full && filled < cap {
            let size = (filled * 2).max(INFLATE_START_BYTES).min(cap);
            reserve(size)?;
            out.reserve_exact(size - filled);
            out.resize(size, 0);
        }
        // At the cap one more byte decides between exactly enough and too much.
        let mut beyond = [0; 1];
        let at_cap = filled == out.len();
        let room = if at_cap { &mut beyond[..] } else { &mut out[filled..] };
        match reader.read(room) {
            Ok(0) => {
                out.truncate(filled);
                return Ok(out);
            }
            Ok(_) if at_cap => return Err(BodyError::Inflated { limit: cap }),
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(BodyError::Corrupt(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn compressed(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Identity => bytes.to_vec(),
            Encoding::Gzip => gzip(bytes),
            Encoding::Zstd => zstd::encode_all(bytes, 3).unwrap(),
        }
    }

    fn small() -> Limits {
        use crate::event::ByteSize;
        Limits { body_bytes: ByteSize(1_000), decompressed_bytes: ByteSize(100_000), ..Limits::default() }
    }

    async fn read_sent(headers: &[(&'static str, &str)], body: Vec<u8>) -> Result<Bytes, BodyError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Ok(read(&map, Body::from(body), &small(), &Budget::default()).await?.bytes)
    }

    #[test]
    fn a_bomb_is_refused_and_never_allocates_beyond_the_cap() {
        let bomb = vec![b' '; 10 << 20];
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let sent = compressed(encoding, &bomb);
            let mut reserved = 0;
            let result = inflate(encoding, &sent, 1 << 20, |bytes| {
                reserved = bytes;
                Ok(())
            });
            assert_eq!(result, Err(BodyError::Inflated { limit: 1 << 20 }));
            assert_eq!(reserved, 1 << 20);
        }
    }

    #[test]
    fn a_body_of_exactly_the_cap_is_taken() {
        let body = vec![b'x'; 100_000];
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let sent = compressed(encoding, &body);
            assert_eq!(inflate(encoding, &sent, 100_000, |_| Ok(())).unwrap(), body);
        }
    }

    #[test]
    fn several_members_are_one_body() {
        let mut sent = gzip(b"one ");
        sent.extend(gzip(b"two"));
        assert_eq!(inflate(Encoding::Gzip, &sent, 100, |_| Ok(())).unwrap(), b"one two");
    }

    #[test]
    fn garbage_and_cut_streams_are_corrupt() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let mut sent = compressed(encoding, b"some text that is long enough to be cut in the middle");
            sent.truncate(sent.len() - 5);
            assert!(matches!(inflate(encoding, &sent, 1_000, |_| Ok(())), Err(BodyError::Corrupt(_))));
            assert!(matches!(inflate(encoding, b"not compressed", 1_000, |_| Ok(())), Err(BodyError::Corrupt(_))));
        }
    }

    #[tokio::test]
    async fn a_body_is_read_as_its_headers_say() {
        assert_eq!(read_sent(&[], b"[]".to_vec()).await.unwrap(), "[]");
        assert_eq!(read_sent(&[("content-encoding", "gzip")], gzip(b"[1]")).await.unwrap(), "[1]");
        let zstd = compressed(Encoding::Zstd, b"[2]");
        assert_eq!(read_sent(&[("content-encoding", "ZSTD")], zstd).await.unwrap(), "[2]");
    }

    #[tokio::test]
    async fn a_large_body_is_refused_by_its_length_or_while_it_is_read() {
        let too_large = Err(BodyError::TooLarge { limit: 1_000 });
        assert_eq!(read_sent(&[("content-length", "1001")], Vec::new()).await, too_large);
        assert_eq!(read_sent(&[], vec![0; 1_001]).await, too_large);
        assert!(read_sent(&[], vec![0; 1_000]).await.is_ok());
    }

    #[tokio::test]
    async fn a_refused_body_is_read_to_its_end_so_that_the_answer_is_seen() {
        let pieces = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = pieces.clone();
        let stream = futures_util::stream::iter((0..100).map(move |_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 100]))
        }));
        let read = read(&HeaderMap::new(), Body::from_stream(stream), &small(), &Budget::default()).await;
        assert_eq!(read.unwrap_err(), BodyError::TooLarge { limit: 1_000 });
        assert_eq!(pieces.load(std::sync::atomic::Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn an_unknown_or_stacked_encoding_is_refused() {
        for encodings in [&["br"][..], &["gzip, gzip"], &["gzip", "gzip"], &["snappy"]] {
            let headers: Vec<_> = encodings.iter().map(|value| ("content-encoding", *value)).collect();
            assert_eq!(read_sent(&headers, Vec::new()).await, Err(BodyError::Encoding));
        }
    }

    #[test]
    fn a_share_grows_and_is_given_back() {
        let budget = Budget(Arc::new(Semaphore::new(4)));
        let mut share = Share::default();
        share.cover(&budget, 1).unwrap();
        share.cover(&budget, 3_000).unwrap();
        assert_eq!(budget.0.available_permits(), 1);
        assert_eq!(share.cover(&budget, 5_000), Err(BodyError::Busy));
        drop(share);
        assert_eq!(budget.0.available_permits(), 4);
    }
}
