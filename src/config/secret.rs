//! Passwords and tokens, from files of their own.
//!
//! Owns what a password and a token may be. The rule for the files is
//! [`secret_file`](crate::system::secret_file)'s.

use std::path::Path;

use crate::core::Secret;
use crate::system::secret_file::{self, SecretFileError};

/// Fewest characters of a token: 64 bits in hexadecimal.
const MIN_TOKEN: usize = 16;

/// Why a secret can't be used. None of the texts repeats it.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// It can't be read from its file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A token can't be sent in a header as it is, or is easily guessed.
    #[error(
        "expected at least {MIN_TOKEN} ASCII characters without spaces (`openssl rand -hex 32` makes 64), found {0}"
    )]
    Token(TokenFound),
}

/// What is wrong with a token. (The token itself is not shown: the file may hold a password.)
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenFound {
    /// Spaces, control characters, or characters beyond ASCII.
    #[error("others among them")]
    Others,
    /// So few characters.
    #[error("{0}")]
    Few(usize),
}

/// A token: at least [`MIN_TOKEN`] printable ASCII characters without spaces.
pub(super) fn read_token(path: &Path) -> Result<Secret, SecretError> {
    let token = read(path)?;
    if !token.0.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretError::Token(TokenFound::Others));
    }
    match token.0.len() {
        few @ 0..MIN_TOKEN => Err(SecretError::Token(TokenFound::Few(few))),
        _ => Ok(token),
    }
}

/// A password: any text, without the newlines at its end.
pub(super) fn read(path: &Path) -> Result<Secret, SecretError> {
    Ok(Secret(secret_file::read_text(path)?))
}
