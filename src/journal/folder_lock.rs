//! One process to a journal.
//!
//! Owns the locks (flock(2)): one on the folder itself, which nobody can remove unnoticed, and
//! one on the file `lock` in it, the only one that the first releases look at. Both end with the
//! process, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::folder::{is_at, quarantine_of};

/// Why the journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal {0} is in use by another process")]
    InUse(PathBuf),
    /// Something else has the place of one of its folders.
    #[error("the journal {0}: expected a folder, found a file")]
    NotAFolder(PathBuf),
    /// The file system refuses.
    #[error("the journal {path}: {source}")]
    Io {
        /// The file or folder that was worked on.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A folder that this process has to itself.
#[derive(Debug)]
pub(super) struct FolderLock {
    folder: File,
    file: File,
}

impl FolderLock {
    /// Makes the folder where there is none, and locks it.
    pub fn take(folder: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: folder.to_owned(), source };
        let quarantine = quarantine_of(folder);
        fs::create_dir_all(&quarantine).map_err(|source| {
            // It is there, and no folder: made ones are no error.
            let in_the_way = [folder, &quarantine].into_iter().find(|path| path.exists() && !path.is_dir());
            match in_the_way {
                Some(path) => OpenError::NotAFolder(path.to_owned()),
                None => OpenError::Io { path: quarantine.clone(), source },
            }
        })?;
        let handle = File::open(folder).map_err(io)?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(folder.to_owned())),
            // NFS locks no folders; there the file must do.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, folder = %folder.display(), "this file system locks no folders; only the file `lock` in it is locked");
            }
        }
        let file = lock_file(folder)?;
        Ok(Self { folder: handle, file })
    }

    /// Whether the folder and its `lock` are still at their paths.
    pub fn holds(&self, folder: &Path) -> io::Result<bool> {
        Ok(is_at(&self.folder, folder)? && is_at(&self.file, &folder.join("lock"))?)
    }

    /// Takes again what is missing: the folder was removed, or the file in it.
    pub fn renew(&mut self, folder: &Path) -> Result<(), OpenError> {
        let io = |source| OpenError::Io { path: folder.to_owned(), source };
        if is_at(&self.folder, folder).map_err(io)? {
            self.file = lock_file(folder)?;
        } else {
            *self = Self::take(folder)?;
        }
        Ok(())
    }
}

fn lock_file(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    // A FIFO in its place is an error, and nobody waits for its other end.
    options.create(true).truncate(true).write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = match options.open(&path) {
        Ok(file) => file,
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_where_a_folder_is_needed_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal");
        let said = || FolderLock::take(&journal).expect_err("a file").to_string();
        fs::write(&journal, "").expect("a file");
        assert_eq!(said(), format!("the journal {}: expected a folder, found a file", journal.display()));
        fs::remove_file(&journal).and_then(|()| fs::create_dir(&journal)).expect("a folder");
        let quarantine = journal.join("quarantine");
        fs::write(&quarantine, "").expect("a file");
        assert_eq!(said(), format!("the journal {}: expected a folder, found a file", quarantine.display()));
    }

    #[test]
    fn a_journal_that_is_locked_or_removed_is_told_from_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = folder.path().join("journal");
        let mut lock = FolderLock::take(&journal).expect("a lock");
        assert!(matches!(FolderLock::take(&journal), Err(OpenError::InUse(path)) if path == journal));
        for remove in [|path: &Path| fs::remove_file(path.join("lock")), |path: &Path| fs::remove_dir_all(path)] {
            assert!(lock.holds(&journal).expect("a folder"));
            remove(&journal).expect("it was there");
            assert!(!lock.holds(&journal).expect("no folder"));
            lock.renew(&journal).expect("it is there again");
        }
    }
}
