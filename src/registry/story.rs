//! What is told of a place: who or what it is named after, its text, when and from what that was put together.
//!
//! Owns what these cells may hold. They are plain text: what a page makes of them is the page's affair, and it is
//! never markup. Few places have them, so they lie beside the rows and cost the others nothing.

use unicode_normalization::UnicodeNormalization as _;
use url::Url;

use super::{Span, Variants};

/// Longest text about a place, in characters: as people see them, so a letter and the accents that were typed after it are
/// one.
pub const MAX_ABOUT: usize = 1000;
/// Longest text in bytes: a thousand characters of four bytes, each with marks that don't become one with it.
const MAX_ABOUT_BYTES: usize = 16 << 10;
/// Longest source that is no address, in bytes.
const MAX_SOURCE: usize = 400;
/// Longest address of a source, in bytes.
const MAX_SOURCE_URL: usize = 2048;

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
    #[error("expected text and line breaks, found the control character {0:?}")]
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
    #[error("expected no user info before the host, found some")]
    UserInfo,
}

/// A text of several lines, as it is kept: line breaks are `\n`.
pub(super) fn about(cell: &str) -> Result<String, StoryError> {
    if cell.len() > MAX_ABOUT_BYTES {
        return Err(StoryError::TooLong { most: MAX_ABOUT_BYTES, found: cell.len() });
    }
    let text = cell.replace("\r\n", "\n").replace('\r', "\n");
    if let Some(control) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(StoryError::Control(control));
    }
    match text.nfc().count() {
        0..=MAX_ABOUT => Ok(text),
        found => Err(StoryError::TooManyCharacters(found)),
    }
}

/// A text of one line.
pub(super) fn line(cell: &str, most: usize) -> Result<(), StoryError> {
    if cell.len() > most {
        return Err(StoryError::TooLong { most, found: cell.len() });
    }
    match cell.chars().find(|c| c.is_control()) {
        Some('\n' | '\r') => Err(StoryError::Lines),
        Some(control) => Err(StoryError::Control(control)),
        None => Ok(()),
    }
}

/// A text, or an https address, which is kept as it is sent: ASCII, percent-encoded.
pub(super) fn source(cell: &str) -> Result<String, StoryError> {
    let scheme = cell.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let Some(scheme) = scheme.filter(|scheme| scheme.bytes().all(|b| b.is_ascii_alphanumeric())) else {
        line(cell, MAX_SOURCE)?;
        return Ok(cell.to_owned());
    };
    line(cell, MAX_SOURCE_URL)?;
    if scheme != "https" {
        return Err(StoryError::NotHttps(cell.to_owned()));
    }
    let url = Url::parse(cell).map_err(|error| StoryError::NotAUrl { found: cell.to_owned(), error })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(StoryError::UserInfo);
    }
    if cell.chars().any(char::is_whitespace) {
        return Err(StoryError::Spaces(cell.to_owned()));
    }
    Ok(url.into())
}
