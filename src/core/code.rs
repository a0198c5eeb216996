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
//!
//! A spreadsheet reads `12345E67` as a number and `MAR1-2026` as a date, and writes
//! back what it read. So codes are written into tables in groups with a hyphen, none
//! is drawn that would be changed even so, and [`spoiled`] knows what is left of one that
//! was changed.

use std::fmt;

use arrayvec::ArrayString;

/// The longest code, in characters.
pub const MAX_LEN: usize = 20;
/// Characters between two hyphens, on the plate and in tables.
const GROUP: usize = 4;
/// The longest code in groups, in bytes.
const MAX_GROUPED: usize = MAX_LEN + (MAX_LEN - 1) / GROUP;
/// Months as a canonical code can spell them: JUL, OCT and NOV have a 1 or a 0 in it.
const MONTHS: [&str; 9] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "AUG", "SEP", "DEC"];

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
    #[error("expected 1 to {MAX_LEN} characters of 0-9 A-Z, found none")]
    Empty,
    /// More than 20 characters.
    #[error("expected at most {MAX_LEN} characters, found more")]
    TooLong,
    /// A character that is neither a letter, a digit, a hyphen nor a space.
    #[error("expected only 0-9 A-Z, hyphens and spaces, found {:?}", char::from(*.0))]
    Character(u8),
}

const SKIP: u8 = 0;
const REFUSE: u8 = 255;

/// What each byte means: 1 to 36, [`SKIP`] or [`REFUSE`].
const MEANING: [u8; 256] = {
    let mut table = [REFUSE; 256];
    let mut i = 0;
    while i < 10 {
        table[(b'0' + i) as usize] = 1 + i;
        i += 1;
    }
    i = 0;
    while i < 26 {
        table[(b'A' + i) as usize] = 11 + i;
        table[(b'a' + i) as usize] = 11 + i;
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

/// The character that a number from 1 to 36 stands for.
const fn character(value: u8) -> u8 {
    if value <= 10 { b'0' + value - 1 } else { b'A' + value - 11 }
}

impl Code {
    /// Reads a code in any spelling, with hyphens and spaces anywhere.
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
            text.push(char::from(character((rest >> 122) as u8)));
            rest <<= 6;
        }
        text
    }

    /// As it is printed on the plate and written into tables: in groups of four.
    #[must_use]
    pub fn grouped(self) -> ArrayString<MAX_GROUPED> {
        let mut grouped = ArrayString::new();
        for (at, character) in self.text().chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                grouped.push('-');
            }
            grouped.push(character);
        }
        grouped
    }

    /// Whether a spreadsheet keeps the code as it is, in groups or without. Spreadsheets take digits, and
    /// digits around one E, for a number, and a month's name for a date (`MAR1-2026`, and with a day or
    /// a year before it, `1MAR-2026`).
    #[must_use]
    pub fn survives_spreadsheets(self) -> bool {
        let text = self.text();
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let exponent = rest.strip_prefix('E').filter(|_| rest.len() < text.len());
        let is_number = rest.is_empty()
            || exponent.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
        !is_number && !MONTHS.iter().any(|month| rest.starts_with(month))
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
        // Twenty characters leave the last eight bits alone.
        if packed == 0 || packed & 0xFF != 0 {
            return None;
        }
        let mut rest = packed;
        while rest != 0 {
            let value = (rest >> 122) as u8;
            // I, L and O have numbers, and are in no canonical code.
            if !(1..=36).contains(&value) || MEANING[usize::from(character(value))] != value {
                return None;
            }
            rest <<= 6;
        }
        Some(Self(packed))
    }

    /// Draws a new code: random characters, and their check character. Fails where the operating system
    /// gives no random bytes. Three in 10,000 are drawn again, because a spreadsheet would change them.
    pub fn random() -> Result<Self, getrandom::Error> {
        loop {
            let mut bytes = [0; NEW_LEN];
            getrandom::fill(&mut bytes)?;
            let code = Self::drawn(bytes);
            if code.survives_spreadsheets() {
                return Ok(code);
            }
        }
    }

    /// The code that seven random bytes stand for.
    fn drawn(bytes: [u8; NEW_LEN]) -> Self {
        let digits = bytes.map(|byte| byte & 31);
        let characters = digits.map(|digit| CROCKFORD[usize::from(digit)]);
        let characters = characters.into_iter().chain([check_character(digits)]);
        Self(
            characters.enumerate().fold(0, |packed, (at, character)| {
                packed | u128::from(MEANING[usize::from(character)]) << (122 - 6 * at)
            }),
        )
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
            match (0..).zip(CROCKFORD).find(|&(_, &character)| character == byte) {
                Some((value, _)) => *digit = value,
                None => return false,
            }
        }
        text.as_bytes()[NEW_LEN] == check_character(digits)
    }
}

/// What a spreadsheet has made of a code, if a cell looks like it: `1.2345E+071`, `1,2345E+71`,
/// `12.05.2026`, `2026-05-12`, `12-May`. Some of these can be read as a code, of no sign that
/// anybody meant; in groups of four whatever code it was can still be written.
#[must_use]
pub fn spoiled(cell: &str) -> Option<&'static str> {
    const SHORT: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // Codes as they should be written, of which a table may have millions.
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
    if cell.bytes().all(plain) && cell.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = cell.split(['-', '/', '.']).collect();
    let numbers: Vec<u32> = parts.iter().filter(|part| is_digits(part)).filter_map(|part| part.parse().ok()).collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let is_date = match (parts.as_slice(), numbers.as_slice()) {
        // A hyphen is also that of a code, so only what is no group of four but a real day.
        (_, &[year, month, day]) if lengths == [4, 2, 2] => year > 1899 && is_day(day, month),
        (_, &[a, b, year]) if lengths[2] == 4 && lengths[..2].iter().all(|len| (1..=2).contains(len)) => {
            year > 1899 && (is_day(a, b) || is_day(b, a))
        }
        (_, &[a, b, _]) if lengths[2] == 2 && !cell.contains('-') => is_day(a, b) || is_day(b, a),
        // Spreadsheets write a month with one capital, codes are written with all or none.
        (parts, [_] | [_, _]) if (2..=3).contains(&parts.len()) => {
            parts[..2].iter().filter(|part| SHORT.contains(part)).count() == 1 && numbers.len() == parts.len() - 1
        }
        _ => false,
    };
    if is_date {
        return Some("a date");
    }
    let (mantissa, exponent) = match cell.split_once(['E', 'e']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (cell, None),
    };
    let mut mantissa = mantissa.split(['.', ',']);
    let is_number = mantissa.by_ref().take(2).all(is_digits)
        && mantissa.next().is_none()
        && exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    // Without any of these it is a code like others.
    (is_number && cell.contains(['.', ',', '+'])).then_some("a number")
}

fn is_day(day: u32, month: u32) -> bool {
    (1..=31).contains(&day) && (1..=12).contains(&month)
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
    fn groups_are_of_four() {
        for (code, grouped) in
            [("A", "A"), ("A1B2", "A1B2"), ("A1B2C", "A1B2-C"), ("7K3M9QX5", "7K3M-9QX5"), ("A1B2C3D4E", "A1B2-C3D4-E")]
        {
            assert_eq!(code.parse::<Code>().expect("a code").grouped().as_str(), grouped);
        }
        let longest = Code::parse(&[b'A'; MAX_LEN]).expect("a code");
        assert_eq!(longest.grouped().as_str(), "AAAA-AAAA-AAAA-AAAA-AAAA");
    }

    #[test]
    fn what_a_spreadsheet_changes_is_known() {
        for kept in ["7K3M9QX5", "1234567A", "E1234567", "1234567E", "12E4567E", "1E2E3", "A1", "JA1N2345", "K1MAR26"] {
            assert!(kept.parse::<Code>().expect("a code").survives_spreadsheets(), "{kept}");
        }
        for changed in
            ["12345E67", "00012345", "12345678", "1", "1E1", "MAR12026", "JAN10026", "SEPT1234", "1MAR2026", "2026DEC1"]
        {
            assert!(!changed.parse::<Code>().expect("a code").survives_spreadsheets(), "{changed}");
        }
        // Seven bytes that stand for the first of each, had they been drawn.
        let bytes = |text: &str| {
            let byte = |c| (0..).zip(CROCKFORD).find(|&(_, &known)| known == c).expect("one of the 32").0;
            std::array::from_fn(|at| byte(text.as_bytes()[at]))
        };
        assert!(!Code::drawn(bytes("MAR1202")).survives_spreadsheets());
        assert!(Code::drawn(bytes("7K3M9QX")).survives_spreadsheets());
    }

    #[test]
    fn what_a_spreadsheet_has_left_of_a_code_is_known() {
        for (cell, what) in [
            ("1.2345E+071", Some("a number")),
            ("1,2345E+71", Some("a number")),
            ("1E+71", Some("a number")),
            ("1.2345e71", Some("a number")),
            ("12345.5", Some("a number")),
            ("2026-05-01", Some("a date")),
            ("01/05/2026", Some("a date")),
            ("5/1/26", Some("a date")),
            ("1.5.2026", Some("a date")),
            ("1-5-2026", Some("a date")),
            ("May-12", Some("a date")),
            ("1-Mar", Some("a date")),
            ("01-Mar-2026", Some("a date")),
            ("12345", None),
            ("12345E67", None),
            ("7K3M-9QX5", None),
            ("1234-5678", None),
            ("2026-13-45", None),
            ("12-05-26", None),
            ("2026-0501", None),
            ("may-12", None),
            ("MAY1-2", None),
            ("Mar-May", None),
            ("1.2.3.4", None),
            ("wp-login.php", None),
            ("-", None),
            ("", None),
            ("phố", None),
        ] {
            assert_eq!(spoiled(cell), what, "{cell}");
        }
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

    #[test]
    fn bytes_that_no_code_has_are_none() {
        let packed = |values: &[u8]| {
            let place = |packed, (at, &value): (usize, &u8)| packed | u128::from(value) << (122 - 6 * at);
            values.iter().enumerate().fold(0, place)
        };
        let full = packed(&[11; MAX_LEN]);
        assert_eq!(Code::from_bytes(full.to_le_bytes()).expect("twenty characters").text().as_str(), "A".repeat(20));
        for (packed, what) in [
            (0, "nothing"),
            (full | 0b0000_0100, "half a character more"),
            (packed(&[1, 0, 1]), "a gap"),
            (packed(&[37]), "a number of no character"),
            (packed(&[19]), "I"),
            (packed(&[22]), "L"),
            (packed(&[1, 25]), "O"),
        ] {
            assert_eq!(Code::from_bytes(packed.to_le_bytes()), None, "{what}");
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
        fn a_code_in_groups_is_the_same_and_never_looks_spoiled(text in "[0-9A-Z]{1,20}") {
            let code: Code = text.parse().expect("a code");
            prop_assert_eq!(code.grouped().parse(), Ok(code));
            prop_assert_eq!(spoiled(&code.grouped()), None);
        }

        #[test]
        fn any_cell_is_looked_at_without_a_panic(text in "[0-9A-Za-z.,/+-]{0,12}|.{0,12}") {
            prop_assert!(matches!(spoiled(&text), None | Some("a number" | "a date")));
        }

        #[test]
        fn codes_that_are_drawn_survive(count in 100..200) {
            // Of 256 times as many, a dozen are drawn again.
            for _ in 0..count {
                prop_assert!(Code::random().expect("randomness").survives_spreadsheets());
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
