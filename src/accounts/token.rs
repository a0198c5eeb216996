//! What a cookie or a link has.
//!
//! Owns the form of it: 128 random bits in hexadecimal. The database has its SHA-256: whoever reads the file can't
//! sign in with it.

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// A new one.
pub(super) fn draw() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(HEXLOWER.encode(&bytes))
}

/// What the database has of one.
pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
