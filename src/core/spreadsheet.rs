//! What a spreadsheet takes a cell for.
//!
//! Owns what keeps a text from being run as a formula once it is in a table that leaves here.

use std::borrow::Cow;

/// A cell that no spreadsheet takes for a formula: one that begins like one gets an apostrophe before it. See OWASP,
/// "CSV Injection"; spreadsheets of East Asia take signs of full width as well. One that has such an apostrophe already
/// gets another: an upload takes one away.
#[must_use]
pub fn defused(cell: &str) -> Cow<'_, str> {
    let bare = cell.trim_start_matches('\'');
    if bare.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n']) {
        format!("'{cell}").into()
    } else {
        cell.into()
    }
}
