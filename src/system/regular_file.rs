//! Opening what is meant to be a file, whatever stands at its path.
//!
//! Owns one rule: a table, a country database, a segment or a secret is a regular file. Opening a
//! FIFO waits for its other end for ever, and a device such as `/dev/zero` never ends; so a file
//! is opened without blocking (`O_NONBLOCK`, open(2)), and its type checked once it is open, when no
//! other file can take its place. A share that hangs still holds up the thread that opens from it,
//! so only a thread made for that path may ([`super::path_thread`]). What is opened is read within a bound, for a file can be
//! longer than memory, or be grown while it is read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Bytes that are read at once, and checked before more are.
const PIECE: u64 = 1 << 20;

/// What stands at a path in place of a regular file: the inner error of an [`io::Error`] that
/// [`open`] and [`open_itself`] give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAFile {
    /// A directory.
    #[error("expected a regular file, found a folder")]
    Folder,
    /// A named pipe.
    #[error("expected a regular file, found a FIFO")]
    Fifo,
    /// A Unix socket.
    #[error("expected a regular file, found a socket")]
    Socket,
    /// A character or block device.
    #[error("expected a regular file, found a device")]
    Device,
    /// A symbolic link, where links are not followed.
    #[error("expected a regular file, found a link")]
    Link,
}

impl NotAFile {
    /// The inner error of one, if this is what was wrong.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<NotAFile> for io::Error {
    fn from(found: NotAFile) -> Self {
        Self::other(found)
    }
}

/// Opens a regular file to read, and gives its metadata; links are followed. Anything else at the
/// path is an error with a [`NotAFile`] in it.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    open_with(path, OFlags::NONBLOCK)
}

/// The same for a file that there is no reason to keep elsewhere: a link is refused too.
pub fn open_itself(path: &Path) -> io::Result<(File, Metadata)> {
    open_with(path, OFlags::NONBLOCK | OFlags::NOFOLLOW).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => NotAFile::Link.into(),
        _ => error,
    })
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<(File, Metadata)> {
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        // A socket can't be opened at all (open(2)).
        Some(Errno::NXIO) => NotAFile::Socket.into(),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    let kind = metadata.file_type();
    match kind {
        _ if kind.is_file() => Ok((file, metadata)),
        _ if kind.is_dir() => Err(NotAFile::Folder.into()),
        _ if kind.is_fifo() => Err(NotAFile::Fifo.into()),
        _ => Err(NotAFile::Device.into()),
    }
}

/// Reads an open file from where it stands to its end. More than `max` bytes are an error of the kind
/// [`io::ErrorKind::FileTooLarge`]. `step` is called after each piece of 1 MiB. `check` is given all
/// that was read so far, and where the newest piece begins in it; its error ends the reading.
pub fn read_bounded<E: From<io::Error>>(
    mut file: File,
    max: u64,
    step: &mut dyn FnMut(),
    mut check: impl FnMut(&[u8], usize) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let too_long = |found| {
        let text = format!("expected at most {max} bytes, found {found}");
        E::from(io::Error::new(io::ErrorKind::FileTooLarge, text))
    };
    let len = file.metadata()?.len();
    if len > max {
        return Err(too_long(len));
    }
    let mut bytes = Vec::new();
    // One more, in which the end of the file is met. A file of holes may be longer than memory.
    let room = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1);
    bytes.try_reserve_exact(room).map_err(io::Error::from)?;
    loop {
        let from = bytes.len();
        if (&mut file).take(PIECE).read_to_end(&mut bytes)? == 0 {
            return Ok(bytes);
        }
        step();
        if bytes.len() as u64 > max {
            return Err(too_long(bytes.len() as u64));
        }
        check(&bytes, from)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_no_further_than_its_bound_or_than_it_is_wanted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![b'x'; 3 << 20]).expect("a file");
        let open = || open(&path).expect("a file").0;
        let mut steps = 0;
        let all = |_: &[u8], _| Ok::<(), io::Error>(());
        let read = read_bounded(open(), 3 << 20, &mut || steps += 1, all).expect("as long as is allowed");
        assert_eq!((read.len(), steps), (3 << 20, 3));
        let error = read_bounded(open(), 1 << 20, &mut || (), all).expect_err("too long");
        assert_eq!(error.to_string(), "expected at most 1048576 bytes, found 3145728");
        let mut seen = 0;
        let refused = read_bounded(open(), 3 << 20, &mut || (), |bytes, from| {
            seen = bytes.len();
            if from == 0 { Ok(()) } else { Err(io::Error::other("no more")) }
        });
        assert_eq!((refused.expect_err("refused").to_string().as_str(), seen), ("no more", 2 << 20));
        // One that grows meanwhile.
        let mut growing = File::options().append(true).open(&path).expect("a file");
        let grown = read_bounded(open(), 3 << 20, &mut || io::Write::write_all(&mut growing, b"x").expect("room"), all);
        assert_eq!(grown.expect_err("too long").kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_not_a_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("fifo");
        std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let zero = Path::new("/dev/zero");
        for (path, found) in [
            (folder.path(), NotAFile::Folder),
            (&fifo, NotAFile::Fifo),
            (&socket, NotAFile::Socket),
            (zero, NotAFile::Device),
        ] {
            assert_eq!(NotAFile::of(&open(path).expect_err("no file")), Some(found), "{}", path.display());
        }
        let missing = open(&folder.path().join("missing")).expect_err("nothing is there");
        assert_eq!((NotAFile::of(&missing), missing.kind()), (None, io::ErrorKind::NotFound));
        std::fs::write(folder.path().join("table.csv"), "place\n").expect("a file");
        assert_eq!(open(&folder.path().join("table.csv")).expect("a file").1.len(), 6);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("table.csv", &link).expect("a link");
        assert_eq!(open(&link).expect("a file behind a link").1.len(), 6);
        assert_eq!(NotAFile::of(&open_itself(&link).expect_err("a link")), Some(NotAFile::Link));
    }
}
