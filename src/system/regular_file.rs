//! Opening what is meant to be a file, whatever stands at its path.
//!
//! Owns one rule: a table, a country database, a segment or a secret is a regular file. Opening a
//! FIFO waits for its other end for ever, and a device such as `/dev/zero` never ends; so a file
//! is opened without blocking (`O_NONBLOCK`, open(2)), and looked at once it is open, when nobody
//! can put another in its place. A share that hangs still holds up the thread that opens from it,
//! so nobody may wait for that thread.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens a regular file to read, and tells its metadata; links are followed. What is not a
/// regular file is an error that says what it is.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    open_with(path, OFlags::NONBLOCK)
}

/// The same for a file that nobody has reason to put elsewhere: a link is refused too.
pub fn open_itself(path: &Path) -> io::Result<(File, Metadata)> {
    open_with(path, OFlags::NONBLOCK | OFlags::NOFOLLOW).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("is a link; only a regular file is read"),
        _ => error,
    })
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<(File, Metadata)> {
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        // A socket can't be opened at all (open(2)).
        Some(Errno::NXIO) => io::Error::other("is a socket; only a regular file is read"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::Error::other(what(&metadata))) }
}

fn what(metadata: &Metadata) -> String {
    let kind = metadata.file_type();
    let name = match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a FIFO",
        _ => "a device",
    };
    format!("is {name}; only a regular file is read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("fifo");
        std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let zero = Path::new("/dev/zero");
        for (path, name) in [(folder.path(), "a folder"), (&fifo, "a FIFO"), (&socket, "a socket"), (zero, "a device")]
        {
            assert!(open(path).expect_err(name).to_string().contains(name), "{name}");
        }
        std::fs::write(folder.path().join("table.csv"), "place\n").expect("a file");
        assert_eq!(open(&folder.path().join("table.csv")).expect("a file").1.len(), 6);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("table.csv", &link).expect("a link");
        assert_eq!(open(&link).expect("a file behind a link").1.len(), 6);
        assert!(open_itself(&link).expect_err("a link").to_string().contains("is a link"));
    }
}
