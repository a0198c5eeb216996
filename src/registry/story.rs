//! What is told of a place: who or what it is named after, its text, when and from what that was put together.
//!
//! Owns what these cells may hold. They are plain text: what a page makes of them is the page's affair, and
//! it is never markup. Few places have them, so they lie beside the rows and cost the others nothing.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use url::Url;

use super::{Span, Variants};

/// Longest text about a place, in characters after NFC: a letter and the accents that were typed after it are one, as
/// people see it.
pub const MAX_ABOUT: usize = 1000;
/// Longest source that is no address, in bytes.
const MAX_SOURCE: usize = 400;
/// Longest address of a source as it is written, in bytes: as of a target.
const MAX_SOURCE_URL: usize = 2048;
/// What begins a new line, by Unicode (section 5.8, "Newline Guidelines"), but for the vertical tab and the form feed,
/// which no spreadsheet writes for one.
const LINE_BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// The cells of one place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Story {
    pub namesakes: Variants,
    pub abouts: Variants,
    pub source: Span,
    /// Days since 1 January 1970; [`super::NO_DATE`] where unknown.
    pub compiled: i32,
}

/// Why a cell is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoryError {
    #[error("expected at most {MAX_ABOUT} characters, found {0}")]
    TooManyCharacters(usize),
    #[error("expected at most {most} bytes, found {found}")]
    TooLong { most: usize, found: usize },
    #[error("expected text without control characters, found {0:?}")]
    Control(char),
    #[error("expected one line, found a line break")]
    Lines,
    #[error("expected text, or an address that begins https://, found {0:?}")]
    NotHttps(String),
    #[error("expected text, or an address that begins https://, found {found:?} ({error})")]
    NotAUrl {
        found: String,
        #[source]
        error: url::ParseError,
    },
    #[error("expected an address without spaces, found {0:?}")]
    Spaces(String),
    /// A name or a password before the host; the text does not repeat them.
    #[error("expected no user info before the host, found some")]
    UserInfo,
}

/// A text of several lines, as it is kept: line breaks are `\n`.
pub(super) fn about(cell: &str) -> Result<Cow<'_, str>, StoryError> {
    let text = if cell.contains(&LINE_BREAKS[1..]) {
        Cow::from(cell.replace("\r\n", "\n").replace(LINE_BREAKS, "\n"))
    } else {
        Cow::from(cell)
    };
    if let Some(control) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(StoryError::Control(control));
    }
    match text.nfc().count() {
        0..=MAX_ABOUT => Ok(text),
        found => Err(StoryError::TooManyCharacters(found)),
    }
}

/// A text, or an https address, which is kept as it is sent: ASCII, percent-encoded.
pub(super) fn source(cell: &str) -> Result<Cow<'_, str>, StoryError> {
    let scheme = cell.split_once("://").map(|(scheme, _)| scheme);
    let Some(scheme) = scheme.filter(|scheme| scheme.bytes().all(|b| b.is_ascii_alphanumeric())) else {
        return line(cell, MAX_SOURCE);
    };
    line(cell, MAX_SOURCE_URL)?;
    let url = Url::parse(cell);
    // Before the other checks, whose errors repeat the text: it may hold a password.
    if url.as_ref().is_ok_and(|url| !url.username().is_empty() || url.password().is_some()) {
        return Err(StoryError::UserInfo);
    }
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(StoryError::NotHttps(cell.to_owned()));
    }
    if cell.contains(char::is_whitespace) {
        return Err(StoryError::Spaces(cell.to_owned()));
    }
    let url = url.map_err(|error| StoryError::NotAUrl { found: cell.to_owned(), error })?;
    Ok(String::from(url).into())
}

/// A text of one line.
pub(super) fn line(cell: &str, most: usize) -> Result<Cow<'_, str>, StoryError> {
    if cell.len() > most {
        return Err(StoryError::TooLong { most, found: cell.len() });
    }
    match cell.chars().find(|c| c.is_control() || LINE_BREAKS.contains(c)) {
        None => Ok(cell.into()),
        Some(found) if LINE_BREAKS.contains(&found) => Err(StoryError::Lines),
        Some(control) => Err(StoryError::Control(control)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_keeps_its_lines_and_nothing_else_that_is_not_seen() {
        for (cell, kept) in [
            ("một\r\nhai\rba\n\nbốn", Ok("một\nhai\nba\n\nbốn")),
            ("một\u{85}hai\u{2028}ba\u{2029}bốn\r\r\n", Ok("một\nhai\nba\nbốn\n\n")),
            ("\tmột <b>hai</b> \u{202e}\"&\u{200f}\u{1f600}", Ok("\tmột <b>hai</b> \u{202e}\"&\u{200f}\u{1f600}")),
            ("một\0hai", Err(StoryError::Control('\0'))),
            ("một\u{1}", Err(StoryError::Control('\u{1}'))),
            ("một\u{b}hai", Err(StoryError::Control('\u{b}'))),
            ("một\u{1b}[2J", Err(StoryError::Control('\u{1b}'))),
            ("một\u{9f}", Err(StoryError::Control('\u{9f}'))),
        ] {
            assert_eq!(about(cell), kept.map(Cow::from), "{cell:?}");
        }
    }

    #[test]
    fn characters_are_counted_as_people_see_them() {
        // Composed, decomposed, and with the marks in another order.
        for letter in ["\u{1ec7}", "e\u{323}\u{302}", "e\u{302}\u{323}", "\u{1f600}", "界", "\n", "\r\n", "x"] {
            assert!(about(&letter.repeat(MAX_ABOUT)).is_ok(), "{letter:?}");
            let error = about(&letter.repeat(MAX_ABOUT + 1)).expect_err("one more");
            assert_eq!(error.to_string(), "expected at most 1000 characters, found 1001", "{letter:?}");
        }
        let marks = "e".to_owned() + &"\u{323}".repeat(32 << 10);
        assert_eq!(about(&marks), Err(StoryError::TooManyCharacters(32 << 10)));
    }

    #[test]
    fn a_source_is_a_text_or_an_address_that_is_safe_to_lead_to() {
        let long = format!("https://example.vn/{}", "đ".repeat(1000));
        let sent = format!("https://example.vn/{}", "%C4%91".repeat(1000));
        let words = "x".repeat(MAX_SOURCE);
        for (cell, kept) in [
            ("", ""),
            ("Từ điển bách khoa Việt Nam, tập 2 (2002): tr. 5", "Từ điển bách khoa Việt Nam, tập 2 (2002): tr. 5"),
            ("Xem https://example.vn/1", "Xem https://example.vn/1"),
            ("Xem https://example.vn/1 trang 3", "Xem https://example.vn/1 trang 3"),
            ("Sách: Lịch sử xứ Lạng", "Sách: Lịch sử xứ Lạng"),
            // No page makes a link of them.
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("mailto:a@example.vn", "mailto:a@example.vn"),
            ("https:example.vn", "https:example.vn"),
            ("HTTPS://EXAMPLE.VN/Một", "https://example.vn/M%E1%BB%99t"),
            ("https://ví-dụ.vn/\"><b>", "https://xn--v-d-rma6749a.vn/%22%3E%3Cb%3E"),
            (&long, &sent),
            (&words, &words),
        ] {
            assert_eq!(source(cell), Ok(Cow::from(kept)), "{cell:?}");
        }
        for (cell, said) in [
            ("http://example.vn", "expected text, or an address that begins https://, found \"http://example.vn\""),
            ("javascript://x", "expected text, or an address that begins https://, found \"javascript://x\""),
            ("://", "expected text, or an address that begins https://, found \"://\""),
            ("https://", "expected text, or an address that begins https://, found \"https://\" (empty host)"),
            ("https://a b/", "expected an address without spaces, found \"https://a b/\""),
            (
                "https://example.vn/a\u{a0}b",
                "expected an address without spaces, found \"https://example.vn/a\\u{a0}b\"",
            ),
            ("https://u:secret@example.vn/", "expected no user info before the host, found some"),
            ("http://u:secret@example.vn/", "expected no user info before the host, found some"),
            ("https://example.vn/\nx", "expected one line, found a line break"),
            ("https://example.vn/\u{1}", "expected text without control characters, found '\\u{1}'"),
            (&format!("{words}x"), "expected at most 400 bytes, found 401"),
            (&format!("https://{}", "x".repeat(2041)), "expected at most 2048 bytes, found 2049"),
        ] {
            assert_eq!(source(cell).map_err(|error| error.to_string()), Err(said.to_owned()), "{cell:?}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(line("Đường Hùng Vương", 400), Ok("Đường Hùng Vương".into()));
        for (cell, error) in [
            ("Đường\nMột", StoryError::Lines),
            ("Đường\u{2028}Một", StoryError::Lines),
            ("Đường\u{1}", StoryError::Control('\u{1}')),
            ("Đường\tMột", StoryError::Control('\t')),
        ] {
            assert_eq!(line(cell, 400), Err(error), "{cell:?}");
        }
    }

    /// Any text, and such as is near the limits or means something to one of the readers.
    fn cell() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            any::<String>(),
            "[\\x00-\\x20\u{7f}-\u{a0}\u{2028}\u{2029}]{0,4}",
            "(?i)(https?|ftp|javascript)?:?//[a-zđ@: .%\\[\\]/?#\\\\]{0,20}",
            "[e\u{323}\u{302}\u{1ec7}\u{958}]{990,1010}",
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_accepted_keeps_the_limits(cell in cell()) {
            if let Ok(text) = about(&cell) {
                prop_assert!(text.nfc().count() <= 1000);
                prop_assert!(text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t')));
                prop_assert_eq!(about(&text), Ok(text.as_ref().into()));
            }
            if let Ok(text) = source(&cell) {
                prop_assert!(!text.contains(|c: char| c.is_control()));
                // Once it begins like one, it is an address.
                if text.starts_with("https://") {
                    let url = Url::parse(&text).expect("an address");
                    prop_assert!(url.username().is_empty() && url.password().is_none() && text.is_ascii());
                }
            }
            if let Ok(text) = line(&cell, 400) {
                prop_assert!(text.len() <= 400 && !text.contains(|c: char| c.is_control()));
            }
        }
    }
}
