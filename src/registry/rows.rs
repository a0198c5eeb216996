//! Rows of the three tables, split into cells and not yet checked.
//!
//! Owns what the registry's builder is given. Cells are borrowed and trimmed; one that is absent is
//! empty.

use crate::core::Tag;

/// How problems name the three tables: by their files, or by what else the rows come from.
#[derive(Debug, Clone, Copy)]
pub struct TableNames<'a> {
    /// `places.csv`
    pub places: &'a str,
    /// `signs.csv`
    pub signs: &'a str,
    /// `overrides.csv`
    pub overrides: &'a str,
}

/// A name, a target or a text in one language; never empty.
#[derive(Debug, Clone, Copy)]
pub struct Text<'r> {
    /// `None` for the default language, which comes first in a row.
    pub language: Option<Tag>,
    /// As it is written.
    pub text: &'r str,
}

/// A row of the table of places.
#[derive(Debug, Clone, Copy)]
pub struct PlaceRow<'r> {
    /// Its line in the table, counted from 1, for problems.
    pub line: u64,
    /// The identifier.
    pub place: &'r str,
    /// Street, relic, …
    pub kind: &'r str,
    /// The commune or ward.
    pub area: &'r str,
    /// One for each language.
    pub names: &'r [Text<'r>],
    /// One for each language.
    pub targets: &'r [Text<'r>],
    /// Whom or what it is named after; one for each language.
    pub namesakes: &'r [Text<'r>],
    /// What is told of it; one for each language.
    pub abouts: &'r [Text<'r>],
    /// Where that is from: text, or an https address.
    pub source: &'r str,
    /// When it was put together, as a date: `2026-03-14` or `14/3/2026`.
    pub compiled: &'r str,
}

/// A row of the table of signs.
#[derive(Debug, Clone, Copy)]
pub struct SignRow<'r> {
    /// Its line in the table, counted from 1, for problems.
    pub line: u64,
    /// In any spelling.
    pub code: &'r str,
    /// The identifier of a place.
    pub place: &'r str,
    /// `planned`, `active` or `retired`, in any case.
    pub status: &'r str,
    /// Degrees of latitude (WGS 84), with a point or a comma.
    pub lat: &'r str,
    /// Degrees of longitude.
    pub lon: &'r str,
    /// A date: `2026-03-14` or `14/3/2026`.
    pub mounted: &'r str,
    /// One for each language; they go before those of the place.
    pub targets: &'r [Text<'r>],
    /// The code of the sign that took its place.
    pub successor: &'r str,
    /// Old paths with their queries, separated by white space.
    pub aliases: &'r str,
}

/// A row of the table of overrides.
#[derive(Debug, Clone, Copy)]
pub struct OverrideRow<'r> {
    /// Its line in the table, counted from 1, for problems.
    pub line: u64,
    /// The identifier of a place, or the code of a sign.
    pub scope: &'r str,
    /// When it begins: see [`super::Rules::time`].
    pub from: &'r str,
    /// When it has ended.
    pub until: &'r str,
    /// One for each language.
    pub targets: &'r [Text<'r>],
}
