//! One process per data directory: creates it, and holds an operating-system lock on a file in it.
//!
//! The lock ends with the process, however it ends, so nothing is ever left to clean up. The file names the holder for
//! people; its content decides nothing.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::StoreError;

const FILE: &str = "incidentd.lock";
/// Only the owner: incidents and deliveries may name what others should not read.
const DIR_MODE: u32 = 0o700;

/// Holds a data directory until it is dropped.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Creates the directory where it is missing and locks it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process (or another lock of this one) holds it; [`StoreError::Io`] when it
    /// cannot be created, read or written.
    pub fn acquire(dir: &Path) -> Result<Self, StoreError> {
        create(dir).map_err(|error| refused("create", dir, &error))?;
        let path = dir.join(FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| refused("write to", dir, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { dir: dir.display().to_string(), holder: holder(&path) });
            }
            Err(TryLockError::Error(error)) => return Err(refused("lock", dir, &error)),
        }
        sign(&mut file).map_err(|error| refused("write to", dir, &error))?;
        Ok(Self { _file: file })
    }
}

/// The new directory's own name must survive a power loss, so its parent is synced.
fn create(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
    match dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn holder(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().parse::<u32>().map_or_else(|_| "unknown".to_owned(), |pid| pid.to_string())
}

fn refused(what: &str, dir: &Path, error: &io::Error) -> StoreError {
    let dir = dir.display();
    let message = format!("cannot {what} the data directory {dir}: {error}; correct that, or give another --data-dir");
    if error.kind() == io::ErrorKind::StorageFull { StoreError::Full(message) } else { StoreError::Io(message) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_holder_is_told_the_process_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDirLock::acquire(dir.path()).unwrap();
        match DataDirLock::acquire(dir.path()) {
            Err(StoreError::InUse { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(first);
        DataDirLock::acquire(dir.path()).expect("the lock ends with its holder");
    }

    #[test]
    fn a_missing_directory_is_created_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        let _lock = DataDirLock::acquire(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, DIR_MODE);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        for dir in [file.clone(), file.join("below")] {
            let error = DataDirLock::acquire(&dir).unwrap_err();
            assert!(matches!(error, StoreError::Io(_)), "{error:?}");
            assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
        }
    }
}
