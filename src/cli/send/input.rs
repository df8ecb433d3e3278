//! Where events are read from: a file or standard input, plain or zstd, line by line.
//!
//! Memory holds one line at a time; a line beyond [`LINE_BYTES_MAX`] is reported and skipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::line;
use crate::proto::Event;

/// An event may have 1 MiB by default; the limit can be raised in the configuration, so this is well above.
pub const LINE_BYTES_MAX: u64 = 16 << 20;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Lines of an input, numbered from 1.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    number: u64,
    line: Vec<u8>,
}

/// What a line holds.
#[derive(Debug)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// The event, or what is wrong.
    pub event: Result<Event, String>,
}

/// Counts bytes as they are read, for the progress bar.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl Lines {
    /// Lines of a reader, decompressed where it starts like zstd.
    ///
    /// # Errors
    /// When the reader fails at once.
    pub fn new(reader: impl Read + Send + 'static, bytes_read: Arc<AtomicU64>) -> io::Result<Self> {
        let mut plain = BufReader::with_capacity(128 << 10, Counted { inner: reader, bytes: bytes_read });
        let compressed = plain.fill_buf()?.starts_with(&ZSTD_MAGIC);
        let reader: Box<dyn BufRead + Send> = if compressed {
            Box::new(BufReader::with_capacity(128 << 10, zstd::stream::read::Decoder::with_buffer(plain)?))
        } else {
            Box::new(plain)
        };
        Ok(Self { reader, number: 0, line: Vec::new() })
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// When the input cannot be read further.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            self.line.clear();
            let read = self.reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > LINE_BYTES_MAX {
                self.reader.skip_until(b'\n')?;
                let event = Err(format!("the line is longer than {} MiB", LINE_BYTES_MAX >> 20));
                return Ok(Some(Line { number: self.number, event }));
            }
            // Windows editors like to begin a file with a byte order mark.
            let text = self.line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.line).trim_ascii();
            if !text.is_empty() {
                return Ok(Some(Line { number: self.number, event: line::parse(text) }));
            }
        }
    }
}

/// A named file, or standard input kept in a temporary file, so that it can be read twice.
///
/// # Errors
/// When the file cannot be opened, or there is no room for a copy.
pub fn rereadable(path: &Path) -> io::Result<File> {
    if path.as_os_str() != "-" {
        return File::open(path);
    }
    let mut copy = tempfile::tempfile()?;
    io::copy(&mut io::stdin().lock(), &mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: Vec<u8>) -> Vec<(u64, bool)> {
        let mut lines = Lines::new(io::Cursor::new(bytes), Arc::default()).unwrap();
        std::iter::from_fn(|| lines.next_line().unwrap()).map(|line| (line.number, line.event.is_ok())).collect()
    }

    const TEXT: &str = "\u{feff}{\"id\":\"1\"}\r\n\n  \n{\"id\":\"2\"}\n{broken\n{\"id\":\"3\"}";

    #[test]
    fn blank_lines_are_skipped_and_counted_and_bad_ones_do_not_stop() {
        assert_eq!(read(TEXT.into()), [(1, true), (4, true), (5, false), (6, true)]);
        assert_eq!(read(Vec::new()), []);
    }

    #[test]
    fn a_compressed_input_reads_like_a_plain_one() {
        assert_eq!(read(zstd::encode_all(TEXT.as_bytes(), 0).unwrap()), read(TEXT.into()));
    }

    #[test]
    fn an_endless_line_is_skipped() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX as usize + 5];
        bytes.extend_from_slice(b"\n{\"id\":\"2\"}\n");
        assert_eq!(read(bytes), [(1, false), (2, true)]);
    }
}
