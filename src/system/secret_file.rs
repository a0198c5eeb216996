//! Files that hold a secret: a password, a token, the key of a certificate.
//!
//! Owns the one rule for them: a regular file that only its owner, and perhaps its group, may
//! read. What Docker and systemd hand to a service is known by its path and may have any mode: they
//! choose the mode themselves (Docker: 0444), and let no other user into the folder.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::regular_file;

/// The permissions of those who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// Largest file, in bytes: no secret is as long.
const MAX_SIZE: u64 = 64 << 10;

/// Why a secret can't be read. None of the texts repeats it.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file can't be opened or read, or is no regular file.
    #[error("can't be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Others than its owner and group have rights to it.
    #[error(
        "expected a file that only its owner and its group may read, mode 0600 or 0640 (below /run/secrets/ and \
         $CREDENTIALS_DIRECTORY any mode), found mode {0:04o}"
    )]
    Mode(u32),
    /// It is larger than any secret.
    #[error("expected at most {MAX_SIZE} bytes, found {0}")]
    Size(u64),
    /// It is no text.
    #[error("expected a text in UTF-8, found other bytes")]
    Encoding,
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>, SecretFileError> {
    let (file, metadata) = regular_file::open(path)?;
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 && !is_handed_over(path) {
        return Err(SecretFileError::Mode(mode));
    }
    let mut secret = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut secret)?;
    match secret.len() as u64 {
        0..=MAX_SIZE => Ok(secret),
        // Of a file that grew while it was read, more than its metadata said.
        read => Err(SecretFileError::Size(metadata.len().max(read))),
    }
}

/// The text of a file, without the newlines at its end.
pub fn read_text(path: &Path) -> Result<String, SecretFileError> {
    let text = String::from_utf8(read(path)?).map_err(|_| SecretFileError::Encoding)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether Docker or systemd has put a secret at a path: below `/run/secrets` (Docker) or
/// `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
fn is_handed_over(path: &Path) -> bool {
    let Ok(path) = std::path::absolute(path) else { return false };
    let credentials =
        std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let mut folders = [Some(PathBuf::from("/run/secrets")), credentials].into_iter().flatten();
    // `absolute` keeps `..`, which would lead out again.
    folders.any(|folder| path.starts_with(folder)) && !path.components().any(|part| part == Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        fs::write(&path, "hush\r\n\n").expect("a file");
        for (mode, is_allowed) in [(0o600, true), (0o640, true), (0o460, true), (0o644, false), (0o601, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
            match read_text(&path) {
                Ok(secret) => assert!(is_allowed && secret == "hush", "{mode:o}: {secret:?}"),
                Err(error) => {
                    let found = error.to_string().ends_with(&format!("found mode {mode:04o}"));
                    assert!(!is_allowed && found, "{mode:o}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |text: &[u8]| {
            let path = folder.path().join("secret");
            fs::write(&path, text).expect("a file");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
            read_text(&path).map(|secret| secret.len()).map_err(|error| error.to_string())
        };
        assert_eq!(of(&vec![b'x'; 65536]), Ok(65536));
        assert_eq!(of(&vec![b'x'; 65537]), Err("expected at most 65536 bytes, found 65537".to_owned()));
        assert!(of(b"\xff").is_err_and(|error| error.contains("UTF-8")));
        assert!(read(folder.path()).is_err_and(|error| error.to_string().ends_with("found a folder")));
    }

    #[test]
    fn what_docker_hands_over_is_known_by_its_path() {
        for (path, expected) in [
            ("/run/secrets/password", true),
            ("/run/secrets/../shm/password", false),
            ("/run/secretsx/password", false),
            ("/etc/password", false),
        ] {
            assert_eq!(is_handed_over(Path::new(path)), expected, "{path}");
        }
    }
}
