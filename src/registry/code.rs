//! The code of a sign: one canonical form, for the registry and for requests alike.
//!
//! Owns the alphabet. Upper case; `-` and spaces dropped; `I` and `L` read as `1`,
//! `O` as `0`, so that a code typed from a plate resolves however it is read.
//! 1 to 20 characters of `0-9 A-Z`, six bits each, packed into 16 bytes: a
//! comparison is one instruction and the order is that of the text.
//!
//! New codes are 7 random characters of Crockford's 32
//! (<https://www.crockford.com/base32.html>) and one check character of the same
//! 32, so the whole stays within the QR alphanumeric set. Crockford's own check
//! symbols (`*~$=U`) do not, hence a weighted sum over GF(32) instead.

use std::fmt;

use arrayvec::ArrayString;

/// The longest code, in characters.
pub const MAX_LEN: usize = 20;

/// Crockford's alphabet: no `I`, `L`, `O`, `U`.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Random characters in a new code, before its check character: 35 bits, so that
/// a guess finds one of 3,000 signs about once in ten million tries.
const NEW_LEN: usize = 7;

/// A canonical code. Left-aligned six-bit characters, 1 to 36; 0 ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u128);

/// Why a text is not a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Nothing is left once hyphens and spaces are dropped.
    #[error("is empty; a code has 1 to 20 characters of 0-9 A-Z")]
    Empty,
    /// More than [`MAX_LEN`] characters.
    #[error("has more than 20 characters")]
    TooLong,
    /// A character that is neither a letter, a digit, a hyphen nor a space.
    #[error("contains {:?}; allowed are 0-9 A-Z, and hyphens and spaces between them", char::from(*.0))]
    Character(u8),
}

const SKIP: u8 = 0;
const REFUSE: u8 = 255;

/// What each byte means: 1 to 36, [`SKIP`] or [`REFUSE`].
const MEANING: [u8; 256] = {
    let mut table = [REFUSE; 256];
    let mut i = 0;
    while i < 10 {
        table[b'0' as usize + i] = i as u8 + 1;
        i += 1;
    }
    i = 0;
    while i < 26 {
        table[b'A' as usize + i] = i as u8 + 11;
        table[b'a' as usize + i] = i as u8 + 11;
        i += 1;
    }
    let one = table[b'1' as usize];
    let zero = table[b'0' as usize];
    table[b'I' as usize] = one;
    table[b'i' as usize] = one;
    table[b'L' as usize] = one;
    table[b'l' as usize] = one;
    table[b'O' as usize] = zero;
    table[b'o' as usize] = zero;
    table[b'-' as usize] = SKIP;
    table[b' ' as usize] = SKIP;
    table
};

impl Code {
    /// Reads a code in any spelling.
    pub fn parse(text: &[u8]) -> Result<Self, CodeError> {
        let (mut packed, mut len) = (0u128, 0);
        for &byte in text {
            match MEANING[usize::from(byte)] {
                REFUSE => return Err(CodeError::Character(byte)),
                SKIP => {}
                value => {
                    if len == MAX_LEN {
                        return Err(CodeError::TooLong);
                    }
                    packed |= u128::from(value) << (122 - 6 * len);
                    len += 1;
                }
            }
        }
        if len == 0 {
            return Err(CodeError::Empty);
        }
        Ok(Self(packed))
    }

    /// The canonical text.
    #[must_use]
    pub fn text(self) -> ArrayString<MAX_LEN> {
        let mut text = ArrayString::new();
        let mut rest = self.0;
        while rest != 0 {
            let value = (rest >> 122) as u8;
            text.push(char::from(if value <= 10 { b'0' + value - 1 } else { b'A' + value - 11 }));
            rest <<= 6;
        }
        text
    }

    /// The 16 bytes of the journal's format, little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Reads what [`Code::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let packed = u128::from_le_bytes(bytes);
        let mut rest = packed;
        while rest != 0 {
            if !(1..=36).contains(&((rest >> 122) as u8)) {
                return None;
            }
            rest <<= 6;
        }
        (packed != 0).then_some(Self(packed))
    }

    /// Draws a new code: random characters from the operating system, and their check character.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; NEW_LEN];
        getrandom::fill(&mut bytes)?;
        let digits = bytes.map(|byte| byte & 31);
        let characters = digits.map(|digit| CROCKFORD[usize::from(digit)]);
        let characters = characters.into_iter().chain([check_character(digits)]);
        Ok(Self(
            characters.enumerate().fold(0, |packed, (at, character)| {
                packed | u128::from(MEANING[usize::from(character)]) << (122 - 6 * at)
            }),
        ))
    }

    /// Whether the code has the shape and the check character of one made by [`Code::random`].
    #[must_use]
    pub fn is_checked(self) -> bool {
        let text = self.text();
        let mut digits = [0; NEW_LEN];
        if text.len() != NEW_LEN + 1 {
            return false;
        }
        for (digit, byte) in digits.iter_mut().zip(text.bytes()) {
            match CROCKFORD.iter().position(|&c| c == byte) {
                Some(value) => *digit = value as u8,
                None => return false,
            }
        }
        text.as_bytes()[NEW_LEN] == check_character(digits)
    }
}

/// Product in GF(32) with the primitive polynomial x⁵ + x² + 1.
const fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a <<= 1;
        if a & 0b10_0000 != 0 {
            a ^= 0b10_0101;
        }
        b >>= 1;
    }
    product
}

/// Σ αⁱ·dᵢ, i = 1..7; the check character's own weight is 1. The weights differ and
/// none is zero, so every single substitution and every swap of neighbours shows.
fn check_character(digits: [u8; NEW_LEN]) -> u8 {
    let (mut weight, mut sum) = (1, 0);
    for digit in digits {
        weight = multiply(weight, 2);
        sum ^= multiply(weight, digit);
    }
    CROCKFORD[usize::from(sum)]
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({self})")
    }
}

impl std::str::FromStr for Code {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        Self::parse(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        Code::parse(text.as_bytes()).expect("a code").to_string()
    }

    #[test]
    fn every_spelling_meets_in_one_form() {
        for spelling in ["7K3M9QX2", "7k3m-9qx2", " 7K3M 9QX2", "7-k-3-m-9-q-x-2"] {
            assert_eq!(canonical(spelling), "7K3M9QX2");
        }
        assert_eq!(canonical("oiLO"), "0110");
        assert_eq!(canonical("U"), "U");
    }

    #[test]
    fn what_is_not_a_code_is_refused_with_its_reason() {
        assert_eq!(Code::parse(b""), Err(CodeError::Empty));
        assert_eq!(Code::parse(b"- -"), Err(CodeError::Empty));
        assert_eq!(Code::parse(&[b'A'; 21]), Err(CodeError::TooLong));
        assert_eq!(Code::parse(b"wp-login.php"), Err(CodeError::Character(b'.')));
        assert!(Code::parse(&[b'A'; 20]).is_ok());
    }

    #[test]
    fn the_check_character_catches_every_substitution_and_every_adjacent_swap() {
        for _ in 0..50 {
            let code = Code::random().expect("randomness").text();
            for at in 0..code.len() {
                for &other in CROCKFORD {
                    let mut changed = code.as_bytes().to_vec();
                    changed[at] = other;
                    let same = changed == code.as_bytes();
                    assert_eq!(Code::parse(&changed).expect("a code").is_checked(), same);
                }
                if at > 0 && code.as_bytes()[at] != code.as_bytes()[at - 1] {
                    let mut swapped = code.as_bytes().to_vec();
                    swapped.swap(at, at - 1);
                    assert!(!Code::parse(&swapped).expect("a code").is_checked());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_code_survives_its_text_and_its_bytes(text in "[0-9A-Za-z -]{0,24}") {
            if let Ok(code) = Code::parse(text.as_bytes()) {
                prop_assert_eq!(Code::parse(code.text().as_bytes()), Ok(code));
                prop_assert_eq!(Code::from_bytes(code.to_bytes()), Some(code));
            }
        }

        #[test]
        fn foreign_bytes_are_a_valid_code_or_none(bytes: [u8; 16]) {
            if let Some(code) = Code::from_bytes(bytes) {
                prop_assert_eq!(Code::parse(code.text().as_bytes()), Ok(code));
            }
        }

        #[test]
        fn the_order_is_that_of_the_text(a in "[0-9A-Z]{1,20}", b in "[0-9A-Z]{1,20}") {
            let (a, b) = (a.parse::<Code>().expect("a code"), b.parse::<Code>().expect("a code"));
            prop_assert_eq!(a.cmp(&b), a.text().as_str().cmp(b.text().as_str()));
        }
    }
}
