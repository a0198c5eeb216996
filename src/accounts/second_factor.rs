//! The second factor: six digits that a phone shows (RFC 6238), or a recovery code.
//!
//! Owns their checks. Digits hold for 30 s, those of the step before and after are taken as well, and none twice.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};
use totp_rs::{Builder, Totp};

/// Recovery codes that somebody gets.
pub(super) const RECOVERY_CODES: usize = 10;

/// The secret that a phone and the service share.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret([u8; 20]);

impl TotpSecret {
    /// A new one.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 20];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As it is stored.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        Self::from_bytes(&BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?)
    }

    /// As people type it into an application that can't scan.
    #[must_use]
    pub fn text(&self) -> String {
        BASE32_NOPAD.encode(&self.0)
    }

    /// What the symbol to be scanned says (Google Authenticator's Key URI Format).
    #[must_use]
    pub fn uri(&self, issuer: &str, name: &str) -> String {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let (issuer, name) = (encode(issuer), encode(name));
        format!("otpauth://totp/{issuer}:{name}?secret={}&issuer={issuer}", self.text())
    }

    /// The step whose digits these are, if it is a later one than `last`; at a time in seconds.
    #[must_use]
    pub fn check(&self, digits: &str, seconds: i64, last: i64) -> Option<i64> {
        let digits: String = digits.chars().filter(|character| !character.is_whitespace()).collect();
        let step = self.totp().check(&digits, u64::try_from(seconds).ok()?)?;
        i64::try_from(step).ok().filter(|&step| step > last)
    }

    fn totp(&self) -> Totp {
        // SHA-1, six digits, 30 s and one step to each side: what every application can do.
        Builder::new().with_secret(totp_rs::Secret::new_stack(self.0)).build_noncompliant()
    }
}

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// New recovery codes, of 50 bits each.
pub(super) fn draw_recovery_codes() -> Result<Vec<String>, getrandom::Error> {
    let draw = || {
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes)?;
        let text = BASE32_NOPAD.encode(&bytes);
        Ok(format!("{}-{}", &text[..5], &text[5..10]))
    };
    (0..RECOVERY_CODES).map(|_| draw()).collect()
}

/// What the database has of a recovery code, however it is typed; `None`: it has not the form of one.
pub(super) fn recovery_hash(code: &str) -> Option<[u8; 32]> {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    (code.len() == 10).then(|| Sha256::digest(code.to_ascii_uppercase().as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, of whose eight digits six are shown.
    #[test]
    fn the_digits_are_those_of_the_standard() {
        let secret = TotpSecret(*b"12345678901234567890");
        for (seconds, digits) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.check(digits, seconds, 0), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn digits_hold_for_a_step_to_each_side_and_once() {
        let secret = TotpSecret(*b"12345678901234567890");
        let at = |seconds| secret.check("050471", seconds, 0).is_some();
        // The step begins at 1,111,111,110.
        assert_eq!([1_111_111_079, 1_111_111_080, 1_111_111_169, 1_111_111_170].map(at), [false, true, true, false]);
        let step = secret.check("050 471", 1_111_111_111, 0).expect("spaces are nothing");
        assert_eq!(secret.check("050471", 1_111_111_111, step), None, "the same once more");
        for wrong in ["", "05047", "0504711", "abcdef", "٠٥٠٤٧١"] {
            assert_eq!(secret.check(wrong, 1_111_111_111, 0), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_comes_back_from_its_text() {
        let secret = TotpSecret::draw().expect("random bytes");
        assert_eq!(TotpSecret::parse(&secret.text().to_lowercase()), Some(secret.clone()));
        assert_eq!(TotpSecret::parse("MZXW6"), None, "too short");
        let uri = secret.uri("Biển Lạng Sơn", "lan nguyễn");
        assert!(uri.starts_with("otpauth://totp/Bi%E1%BB%83n%20"), "{uri}");
    }

    #[test]
    fn a_recovery_code_is_known_however_it_is_typed() {
        let codes = draw_recovery_codes().expect("random bytes");
        assert_eq!(codes.len(), RECOVERY_CODES);
        let typed = codes[0].to_lowercase().replace('-', " ");
        assert!(recovery_hash(&codes[0]).is_some() && recovery_hash(&codes[0]) == recovery_hash(&typed));
        assert_eq!(recovery_hash("123456"), None);
    }
}
