//! Codes: every spelling has one canonical form, and what is printed is read back as the same code.

use waypost::core::{Code, CodeError, spoiled};
use waypost::registry::Route;

/// The longest code, in characters.
const MAX_LEN: usize = 20;

/// The bytes as a text that somebody typed, and as the 16 bytes of a journal's record.
pub fn run(input: &[u8]) {
    let meant = read_slowly(input);
    assert_eq!(Code::parse(input).map(|code| code.to_string()), meant);
    if let Ok(code) = Code::parse(input) {
        check(code);
    }
    if let Some(code) = input.first_chunk().and_then(|bytes| Code::from_bytes(*bytes)) {
        assert_eq!(Some(&code.to_bytes()), input.first_chunk());
        check(code);
    }
    if let Ok(text) = str::from_utf8(input) {
        let _whatever = spoiled(text);
        let _wherever = Route::of(text);
    }
    let halves = input.split_at(input.len() / 2);
    if let (Ok(a), Ok(b)) = (Code::parse(halves.0), Code::parse(halves.1)) {
        assert_eq!(a.cmp(&b), a.text().cmp(&b.text()), "the order is that of the text");
    }
}

/// What holds for every code.
fn check(code: Code) {
    let (text, grouped) = (code.text(), code.grouped());
    for spelling in [&*text, &*grouped, &text.to_lowercase(), &format!(" {grouped} ")] {
        assert_eq!(Code::parse(spelling.as_bytes()), Ok(code), "{spelling:?}");
    }
    assert_eq!(Code::from_bytes(code.to_bytes()), Some(code));
    assert_eq!(Route::of(&format!("/{text}")), Route::Code(code));
    assert_eq!(Route::of(&format!("/{grouped}+")), Route::Inspect(code));
    if code.survives_spreadsheets() {
        assert_eq!(spoiled(&grouped), None, "{grouped} is a code, and as it should be written");
    }
    let _either = code.is_checked();
}

/// The canonical text by the rules as people know them, one at a time.
fn read_slowly(input: &[u8]) -> Result<String, CodeError> {
    let mut text = String::new();
    for &byte in input.iter().filter(|byte| !b"- ".contains(byte)) {
        if !byte.is_ascii_alphanumeric() {
            return Err(CodeError::Character(byte));
        }
        if text.len() == MAX_LEN {
            return Err(CodeError::TooLong);
        }
        text.push(match byte.to_ascii_uppercase() {
            b'I' | b'L' => '1',
            b'O' => '0',
            other => other.into(),
        });
    }
    if text.is_empty() { Err(CodeError::Empty) } else { Ok(text) }
}
