//! The `file` sink: JSON lines, synced to disk before they are confirmed, rotated by size.
//!
//! Deliveries that arrive while one batch is being synced form the next batch. The file is opened per batch, so it
//! may be moved away by others. A failed write is cut off again, as is what a crash left of one: the file holds whole
//! documents only.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Problem, Sink, SinkError, Ticket};
use crate::delivery::Delivery;
use crate::event::ByteSize;

/// Settings of a `file` sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to append. Its folder is created.
    pub path: PathBuf,
    /// Beyond this the file is renamed to `<path>.1`, that to `<path>.2`, and so on. Default 100MiB.
    #[serde(default = "max_bytes_by_default")]
    pub max_bytes: ByteSize,
    /// How many renamed files stay; older ones are deleted. Default 5.
    #[serde(default = "keep_by_default")]
    pub keep: u32,
}

fn max_bytes_by_default() -> ByteSize {
    ByteSize(100 << 20)
}

fn keep_by_default() -> u32 {
    5
}

const KEEP_MAX: u32 = 1_000;
/// How far back the start of a torn line is looked for; twice the longest event.
const TORN_BYTES_MAX: u64 = 2 << 20;
const DOCUMENT_START: &[u8] = b"{\"delivery_id\"";

impl Config {
    /// What would keep it from working.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: &str, message: &str| problems.push((path.to_owned(), message.to_owned()));
        if self.path.as_os_str().is_empty() || self.path.is_dir() {
            problem("path", "the path of a file, not of a folder");
        }
        if self.max_bytes.0 == 0 {
            problem("max_bytes", "more than 0B");
        }
        if self.keep > KEEP_MAX {
            problem("keep", "at most 1000");
        }
        problems
    }
}

/// Appends deliveries to a file.
pub struct File {
    shared: Arc<Shared>,
}

type Waiting = (Vec<u8>, oneshot::Sender<Result<(), SinkError>>);

struct Shared {
    config: Config,
    queue: Mutex<Vec<Waiting>>,
    writing: Mutex<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl File {
    /// Creates the folder.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn new(config: &Config) -> Result<Self, String> {
        if let Some(folder) = config.path.parent() {
            fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        }
        Ok(Self {
            shared: Arc::new(Shared { config: config.clone(), queue: Mutex::default(), writing: Mutex::default() }),
        })
    }

    async fn append(&self, delivery: &Delivery) -> Result<(), SinkError> {
        let (confirm, confirmed) = oneshot::channel();
        let mut line = delivery.body.clone();
        line.push(b'\n');
        lock(&self.shared.queue).push((line, confirm));
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || shared.write_waiting());
        confirmed.await.unwrap_or_else(|_| Err(SinkError::Unknown("the writer was stopped".to_owned())))
    }
}

impl Sink for File {
    fn deliver<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Option<Ticket>, SinkError>> {
        Box::pin(async move { self.append(delivery).await.map(|()| None) })
    }
}

impl Shared {
    /// Writes all that waits as one batch. Whoever comes while this runs finds the queue empty or forms the next one.
    fn write_waiting(&self) {
        let _alone = lock(&self.writing);
        let batch = std::mem::take(&mut *lock(&self.queue));
        if batch.is_empty() {
            return;
        }
        let lines: Vec<u8> = batch.iter().flat_map(|(line, _)| line.iter().copied()).collect();
        let result = self.write(&lines).map_err(|error| classify(&self.config.path, &error));
        for (_, confirm) in batch {
            // A caller that went away will come again with the same delivery.
            let _ = confirm.send(result.clone());
        }
    }

    fn write(&self, lines: &[u8]) -> io::Result<()> {
        let path = &self.config.path;
        let (mut file, mut length) = open(path)?;
        if length > 0 && length + lines.len() as u64 > self.config.max_bytes.0 {
            drop(file);
            rotate(path, self.config.keep)?;
            (file, length) = open(path)?;
        }
        let written = file.write_all(lines).and_then(|()| file.sync_data());
        if written.is_err() {
            file.set_len(length)?;
        }
        if length == 0 {
            sync_folder(path)?;
        }
        written
    }
}

/// Opens for appending, without what a crash may have left of a line, and tells the length.
fn open(path: &Path) -> io::Result<(fs::File, u64)> {
    let mut file = fs::File::options().read(true).append(true).create(true).open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok((file, 0));
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok((file, length));
    }
    let from = length.saturating_sub(TORN_BYTES_MAX);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut tail)?;
    let line_start = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if tail[line_start..].starts_with(DOCUMENT_START) || DOCUMENT_START.starts_with(&tail[line_start..]) {
        file.set_len(from + line_start as u64)?;
        return Ok((file, from + line_start as u64));
    }
    // Not ours: kept, and closed off.
    file.write_all(b"\n")?;
    Ok((file, length + 1))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn rotate(path: &Path, keep: u32) -> io::Result<()> {
    if keep == 0 {
        fs::remove_file(path)?;
        return sync_folder(path);
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(path, 1))?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn classify(path: &Path, error: &io::Error) -> SinkError {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        NotFound | PermissionDenied | IsADirectory | NotADirectory | ReadOnlyFilesystem => {
            SinkError::Misconfigured(text)
        }
        _ => SinkError::Unknown(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, delivery};
    use super::*;

    fn sink(folder: &Path, max_bytes: u64, keep: u32) -> (File, PathBuf) {
        let path = folder.join("deep/er/out.jsonl");
        let config = Config { path: path.clone(), max_bytes: ByteSize(max_bytes), keep };
        (File::new(&config).expect("a folder"), path)
    }

    fn lines(path: &Path) -> Vec<Vec<u8>> {
        let text = fs::read(path).unwrap_or_default();
        text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
    }

    #[tokio::test]
    async fn conforms_to_the_contract_of_sinks() {
        let folder = tempfile::tempdir().expect("a folder");
        let (sink, path) = sink(folder.path(), 1 << 20, 1);
        conformance::check(&sink, async || lines(&path)).await;
    }

    #[tokio::test]
    async fn a_full_file_is_rotated_and_old_ones_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = delivery(1, 1).body.len() as u64 + 1;
        let (sink, path) = sink(folder.path(), 2 * bytes, 2);
        for sequence in 1..=7 {
            sink.deliver(&delivery(1, sequence)).await.expect("written");
        }
        assert_eq!(lines(&path), [delivery(1, 7).body]);
        assert_eq!(lines(&numbered(&path, 1)), [delivery(1, 5).body, delivery(1, 6).body]);
        assert_eq!(lines(&numbered(&path, 2)), [delivery(1, 3).body, delivery(1, 4).body]);
        assert!(!numbered(&path, 3).exists());
    }

    #[tokio::test]
    async fn a_line_torn_by_a_crash_is_cut_off_and_foreign_text_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (sink, path) = sink(folder.path(), 1 << 20, 1);
        fs::write(&path, b"note\n{\"delivery_id\":\"INC-").expect("written");
        sink.deliver(&delivery(1, 1)).await.expect("written");
        assert_eq!(lines(&path), [b"note".to_vec(), delivery(1, 1).body]);
        fs::write(&path, b"no newline").expect("written");
        sink.deliver(&delivery(1, 2)).await.expect("written");
        assert_eq!(lines(&path), [b"no newline".to_vec(), delivery(1, 2).body]);
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_written_is_the_operators_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config { path: folder.path().to_owned(), max_bytes: ByteSize(1), keep: 0 };
        assert_eq!(config.problems().len(), 1);
        let result = File::new(&config).expect("exists").deliver(&delivery(1, 1)).await;
        assert!(matches!(result, Err(SinkError::Misconfigured(_))), "{result:?}");
    }
}
