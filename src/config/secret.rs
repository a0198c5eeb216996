//! Passwords and tokens, from files of their own.
//!
//! Owns the one rule for them: a regular file that only its owner, and perhaps its group, may
//! read. What Docker and systemd hand to a service is told apart by its place, since they choose
//! the mode themselves (Docker: 0444) and let nobody else into the folder.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::system::regular_file;

/// The bits of those who are neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// A file that is bigger is another file.
const MAX_SIZE: u64 = 64 << 10;

/// A secret without the newline at its end; or what was found, and what is allowed.
pub fn read(path: &Path) -> Result<String, String> {
    let (file, metadata) = regular_file::open(path).map_err(|error| format!("can't be read: {error}"))?;
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 && !is_handed_over(path) {
        return Err(format!(
            "has mode {mode:04o}, so that everybody here may read it; allowed are 0600 and 0640 (chmod 600), \
             and any mode below /run/secrets/ and $CREDENTIALS_DIRECTORY"
        ));
    }
    let mut secret = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut secret).map_err(|error| format!("can't be read: {error}"))?;
    if secret.len() as u64 > MAX_SIZE {
        return Err(format!("is larger than a secret: {} bytes; at most {MAX_SIZE} are allowed", metadata.len()));
    }
    let secret = String::from_utf8(secret).map_err(|_| "is not a text in UTF-8".to_owned())?;
    Ok(secret.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether Docker or systemd has put it there.
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
            match read(&path) {
                Ok(secret) => assert!(is_allowed && secret == "hush", "{mode:o}: {secret:?}"),
                Err(error) => {
                    assert!(!is_allowed && error.starts_with(&format!("has mode {mode:04o}")), "{mode:o}: {error}");
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
            read(&path)
        };
        assert_eq!(of(&vec![b'x'; 65536]).map(|secret| secret.len()), Ok(65536));
        assert!(of(&vec![b'x'; 65537]).is_err_and(|error| error.contains("65537 bytes; at most 65536")));
        assert!(of(b"\xff").is_err_and(|error| error.contains("UTF-8")));
        assert!(read(folder.path()).is_err_and(|error| error.contains("is a folder")));
    }

    #[test]
    fn what_docker_hands_over_is_known_by_its_place() {
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
