//! Passwords.
//!
//! Owns which are taken, and how they are kept: argon2id with 19 MiB, two passes and one lane, which is
//! OWASP's smallest set (Password Storage Cheat Sheet). One check takes 19 MiB and 14 ms of an idle core, 29 ms of one
//! that others use as well; whoever calls [`verify`] or [`hash`] sees to it that few do at once.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use unicode_normalization::UnicodeNormalization as _;

/// Characters.
pub const MIN_PASSWORD: usize = 12;
/// Characters. What is longer costs time and no attacker anything.
pub const MAX_PASSWORD: usize = 200;

/// Memory in KiB.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// What a stored hash may ask for: a file that was tampered with must not hold the machine up.
const MAX_MEMORY: u32 = 4 * MEMORY;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 4;

/// Fewest different characters of a password.
const MIN_DIFFERENT: usize = 5;
/// Passwords of twelve characters and more that stand on every list of stolen ones, or that an office here comes to
/// think of first.
const WORST: &[&str] = &[
    "0123456789ab",
    "0987654321098",
    "123456789012",
    "1234567890123",
    "12345678901234",
    "1234567890abc",
    "123456789abc",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghijkl",
    "abcdefghijklm",
    "adminadmin123",
    "administrator",
    "administrator1",
    "anhyeuem1234",
    "changeme1234",
    "correcthorsebatterystaple",
    "iloveyou1234",
    "langson123456",
    "langson2025",
    "letmein123456",
    "matkhau12345",
    "matkhau123456",
    "password1234",
    "password12345",
    "password123456",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwertyuiop12",
    "qwertyuiop123",
    "vietnam123456",
    "waypost12345",
    "waypost123456",
    "welcome12345",
];

/// A hash of nobody's password, with the parameters of ours: a name that is not there takes as long.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a new password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too short or too long.
    #[error("expected a password of {MIN_PASSWORD} to {MAX_PASSWORD} characters, found {0}")]
    Length(usize),
    /// It is the account's name.
    #[error("expected a password that is not the account's name")]
    Name,
    /// It is one that everybody tries.
    #[error("expected a password that is not among the most common ones")]
    Common,
}

/// Whether a new password may be taken.
pub fn check(name: &str, password: &str) -> Result<(), PasswordError> {
    let password: String = password.nfc().collect();
    let characters = password.chars().count();
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&characters) {
        return Err(PasswordError::Length(characters));
    }
    let lower = password.to_lowercase();
    let name = name.to_lowercase();
    // Also where it is written twice, or has a few digits behind it.
    let rest = lower.replace(&name, "");
    if !name.is_empty() && rest.chars().all(|character| !character.is_alphabetic()) && rest != lower {
        return Err(PasswordError::Name);
    }
    let mut different: Vec<char> = lower.chars().collect();
    different.sort_unstable();
    different.dedup();
    let compact: String = lower.chars().filter(|character| !character.is_whitespace()).collect();
    if different.len() < MIN_DIFFERENT || WORST.contains(&compact.as_str()) {
        return Err(PasswordError::Common);
    }
    Ok(())
}

/// What the database has of a password (PHC string format); `None` where the system gives no random bytes.
pub(super) fn hash(password: &str) -> Option<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).ok()?;
    let params = Params::new(MEMORY, PASSES, LANES, None).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password_with_salt(normal(password).as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

/// Whether a password is the one of which the hash is. Takes as long without a hash.
pub(super) fn verify(password: &str, stored: Option<&str>) -> bool {
    let fits = password.chars().count() <= MAX_PASSWORD;
    let parsed = stored.and_then(|stored| {
        let parsed = PasswordHash::new(stored).ok().filter(is_ours);
        if parsed.is_none() {
            tracing::error!("a stored password hash has parameters that are not taken: reset the account");
        }
        parsed
    });
    let is_known = parsed.is_some();
    let Some(hash) = parsed.or_else(|| PasswordHash::new(NOBODY).ok()) else { return false };
    let is_right = Argon2::default().verify_password(normal(if fits { password } else { "" }).as_bytes(), &hash);
    is_right.is_ok() && is_known && fits
}

fn is_ours(hash: &PasswordHash) -> bool {
    let within =
        |params: Params| params.m_cost() <= MAX_MEMORY && params.t_cost() <= MAX_PASSES && params.p_cost() <= MAX_LANES;
    hash.algorithm.as_str() == "argon2id" && Params::try_from(hash).is_ok_and(within)
}

/// However a keyboard composes its accents.
fn normal(password: &str) -> String {
    password.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_a_hash_and_known_however_it_is_composed() {
        let stored = hash("Nắng Lạng Sơn 26").expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let decomposed: String = "Nắng Lạng Sơn 26".nfd().collect();
        assert!(verify("Nắng Lạng Sơn 26", Some(&stored)) && verify(&decomposed, Some(&stored)));
        assert!(!verify("Nắng Lạng Sơn 27", Some(&stored)));
        assert!(!verify("", None) && !verify(&"a".repeat(100_000), Some(&stored)));
    }

    #[test]
    fn a_hash_that_would_hold_the_machine_up_is_not_computed() {
        let dear = NOBODY.replace("m=19456", "m=4194304");
        let parsed = PasswordHash::new(&dear).expect("a hash");
        assert!(!is_ours(&parsed) && !verify("whatever it is", Some(&dear)));
        for other in [NOBODY.replace("t=2", "t=1000"), NOBODY.replace("argon2id", "argon2d"), "text".to_owned()] {
            assert!(!verify("whatever it is", Some(&other)), "{other}");
        }
    }

    #[test]
    fn the_worst_passwords_are_not_taken() {
        let of = |password: &str| check("lan.nguyen", password).err();
        assert_eq!(of("nắng vàng bên sông"), None);
        for (wrong, why) in [
            ("ngắn", PasswordError::Length(4)),
            ("", PasswordError::Length(0)),
            ("lan.nguyen2026", PasswordError::Name),
            ("Lan.NguyenLan.Nguyen", PasswordError::Name),
            ("111111111111", PasswordError::Common),
            ("Password1234", PasswordError::Common),
            ("1234 5678 9012", PasswordError::Common),
        ] {
            assert_eq!(of(wrong), Some(why), "{wrong}");
        }
        assert_eq!(of(&"dài quá đi".repeat(30)), Some(PasswordError::Length(300)));
    }
}
