//! One process to a journal.
//!
//! Owns the locks (flock(2)): one on the folder itself, which nobody can remove unnoticed, and
//! one on the file `lock` in it, the only one that the first releases look at. Both end with the
//! process, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::JournalError;
use super::segment::is_at;

/// A folder that this process has to itself.
#[derive(Debug)]
pub(super) struct Claim {
    folder: File,
    lock: File,
}

impl Claim {
    /// Makes the folder where there is none, and takes it.
    pub fn take(folder: &Path) -> Result<Self, JournalError> {
        let io = |error| JournalError::Io { path: folder.to_owned(), error };
        let quarantine = folder.join("quarantine");
        fs::create_dir_all(&quarantine).map_err(|error| JournalError::Io {
            error: if quarantine.exists() { io::Error::other("is a file where a folder is needed") } else { error },
            path: quarantine,
        })?;
        let handle = File::open(folder).map_err(io)?;
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse(folder.to_owned())),
            // NFS locks no folders; there the file must do.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, folder = %folder.display(), "this file system locks no folders; only the file `lock` in it is locked");
            }
        }
        let lock = take_file(folder)?;
        Ok(Self { folder: handle, lock })
    }

    /// Whether the folder and its `lock` are still at their paths.
    pub fn holds(&self, folder: &Path) -> io::Result<bool> {
        Ok(is_at(&self.folder, folder)? && is_at(&self.lock, &folder.join("lock"))?)
    }

    /// Takes again what is missing: the folder was removed, or the file in it.
    pub fn renew(&mut self, folder: &Path) -> Result<(), JournalError> {
        let io = |error| JournalError::Io { path: folder.to_owned(), error };
        if is_at(&self.folder, folder).map_err(io)? {
            self.lock = take_file(folder)?;
        } else {
            *self = Self::take(folder)?;
        }
        Ok(())
    }
}

fn take_file(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    // A FIFO in its place is an error, and nobody waits for its other end.
    options.create(true).truncate(true).write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let lock = options.open(&path).map_err(|error| JournalError::Io { path, error })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(JournalError::Io { path: folder.to_owned(), error }),
    }
}
