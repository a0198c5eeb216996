//! One CSV file as spreadsheets write it, row by row, with every problem kept.
//!
//! Owns the header and the lines: a byte-order mark, `;` or a tab as the separator,
//! CRLF and quoted cells are read as they come (RFC 4180, and what Excel and
//! LibreOffice make of it). Languages are columns in OpenStreetMap's manner:
//! `name`, `name:en` (<https://wiki.openstreetmap.org/wiki/Multilingual_names>).
//! Where rows and cells stand is known too, so that single cells can be written back.

use std::ops::Range;

use crate::core::{Problems, Tag, newlines, parse_tag};
use crate::registry::Text;

/// Longest cell, in bytes; the longest target has 2,048.
pub(super) const MAX_CELL: usize = 64 << 10;
/// What spreadsheets put before UTF-8.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a table's columns may be called.
pub(super) struct Columns {
    /// Must all be there.
    pub required: &'static [&'static str],
    /// May be there.
    pub optional: &'static [&'static str],
    /// May be there again for each language, as `name:en`.
    pub multilingual: &'static [&'static str],
}

/// A column as the header names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heading {
    /// Empty where there is none.
    pub name: &'static str,
    language: Option<Tag>,
}

/// An open table and its header.
pub(super) struct Table<'a> {
    pub file: &'a str,
    reader: ::csv::Reader<&'a [u8]>,
    /// Without the byte-order mark.
    pub bytes: &'a [u8],
    pub separator: u8,
    pub headings: Vec<Heading>,
    /// Where the header stands, without its line end.
    pub header: Range<usize>,
    /// The row that was read last.
    record: ::csv::StringRecord,
    /// Where a quote is opened that is never closed.
    open_quote: Option<usize>,
}

/// One row: its cells and where it stands.
pub(super) struct Row<'t> {
    headings: &'t [Heading],
    /// The cells, trimmed.
    pub record: &'t ::csv::StringRecord,
    pub line: u64,
    /// Where it stands in the table's bytes, without its line end.
    pub at: Range<usize>,
}

impl<'a> Table<'a> {
    /// Reads the header. `None` where it can't be used, or a cell is too long; the problems say why.
    pub fn open(file: &'a str, bytes: &'a [u8], allowed: &Columns, problems: &mut Problems) -> Option<Self> {
        Self::open_with(file, bytes, allowed, allowed.required, problems)
    }

    /// The same where other columns must be there than those that are required.
    pub fn open_with(
        file: &'a str,
        bytes: &'a [u8],
        allowed: &Columns,
        needed: &'static [&'static str],
        problems: &mut Problems,
    ) -> Option<Self> {
        let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
        if is_utf16(bytes) {
            problems.add(file, 0, "", "expected UTF-8, found UTF-16; save the file as \"CSV UTF-8\"");
            return None;
        }
        let separator = separator(bytes);
        let quotes = quotes(bytes, separator);
        // Before the reader makes a copy of the cell.
        if let Some(at) = long_stretch(bytes, separator).or(quotes.long) {
            let text = format!("expected at most {MAX_CELL} bytes in a cell, found more in one that begins here");
            problems.add(file, 1 + newlines(&bytes[..at]), "", text);
            return None;
        }
        let mut reader =
            ::csv::ReaderBuilder::new().delimiter(separator).flexible(true).trim(::csv::Trim::All).from_reader(bytes);
        let mut is_wrong = false;
        let mut wrong = |error: HeaderError| {
            is_wrong = true;
            problems.add(file, 1, "header", error.to_string());
        };
        let headings = match reader.headers() {
            Ok(header) if header.iter().all(str::is_empty) => {
                wrong(HeaderError::None { required: needed });
                Vec::new()
            }
            Ok(header) => headings(header, allowed, needed, &mut wrong),
            Err(error) => {
                wrong(HeaderError::Csv(csv_error(&error)));
                Vec::new()
            }
        };
        let record = ::csv::StringRecord::new();
        let open_quote = quotes.open;
        let header = stretch(bytes, 0, offset(reader.position()));
        (!is_wrong).then_some(Self { file, reader, bytes, separator, headings, header, record, open_quote })
    }

    /// The columns of languages: name and language.
    pub fn languages(&self) -> impl Iterator<Item = (&'static str, Tag)> {
        self.headings.iter().filter_map(|heading| Some((heading.name, heading.language?)))
    }

    /// The next row that is not empty and has as many cells as the header; the problems say why
    /// others are left out. `None` after the last.
    pub fn next_row(&mut self, problems: &mut Problems) -> Option<Row<'_>> {
        let line = loop {
            match self.reader.read_record(&mut self.record) {
                Ok(false) => return None,
                Ok(true) => {}
                Err(error) => {
                    let line = error.position().map_or(0, |at| line(self.bytes, at));
                    problems.add(self.file, line, "", csv_error(&error));
                    if error.is_io_error() {
                        return None;
                    }
                    continue;
                }
            }
            let record = &self.record;
            // It has swallowed rows into one cell: no cell from here on can be trusted.
            if let Some(at) = self.open_quote.filter(|&at| at < offset(self.reader.position())) {
                let line = 1 + newlines(&self.bytes[..at]);
                problems.add(self.file, line, "", "expected an end of the quote that is opened here, found none");
                return None;
            }
            if record.iter().all(str::is_empty) {
                continue;
            }
            let line = record.position().map_or(0, |at| line(self.bytes, at));
            if record.len() != self.headings.len() {
                let (expected, found) = (self.headings.len(), record.len());
                problems.add(self.file, line, "", format!("expected {expected} cells as in the header, found {found}"));
                continue;
            }
            let mut cells = self.headings.iter().zip(record);
            if let Some((heading, cell)) = cells.find(|(_, cell)| cell.len() > MAX_CELL) {
                let text = format!("expected at most {MAX_CELL} bytes, found {}", cell.len());
                problems.add(self.file, line, &heading.text(), text);
                continue;
            }
            let mut cells = self.headings.iter().zip(record);
            if let Some((_, cell)) = cells.find(|(heading, cell)| heading.name.is_empty() && !cell.is_empty()) {
                let text = format!("expected empty cells in a column without a heading, found {cell:?}");
                problems.add(self.file, line, "", text);
            }
            break line;
        };
        let start = self.record.position().map_or(0, offset);
        let at = stretch(self.bytes, start, offset(self.reader.position()));
        Some(Row { headings: &self.headings, record: &self.record, line, at })
    }
}

impl<'t> Row<'t> {
    /// A cell; empty where there is no such column.
    pub fn cell(&self, name: &str) -> &'t str {
        let at = self.headings.iter().position(|heading| heading.name == name && heading.language.is_none());
        at.and_then(|at| self.record.get(at)).unwrap_or("")
    }

    /// The cells of a multilingual column that are not empty, the default language's first.
    pub fn texts(&self, name: &'static str) -> Vec<Text<'t>> {
        let default = self.cell(name);
        let default = (!default.is_empty()).then_some(Text { language: None, text: default });
        let others = self.headings.iter().zip(self.record);
        let others =
            others.filter(|(heading, text)| heading.name == name && heading.language.is_some() && !text.is_empty());
        default.into_iter().chain(others.map(|(heading, text)| Text { language: heading.language, text })).collect()
    }
}

/// The most frequent of `,`, `;` and tab in the first line that is not empty: the header. No row below has a say in
/// it, also where lines end in CR alone, so that no edit of one has the table read in another way.
fn separator(bytes: &[u8]) -> u8 {
    let rest = &bytes[line_ends(bytes)..];
    let first = rest.split(|b| matches!(b, b'\r' | b'\n')).next().unwrap_or(rest);
    let times = |separator: u8| first.iter().filter(|&&b| b == separator).count();
    // On a tie the last wins: the comma.
    [b'\t', b';', b','].into_iter().max_by_key(|&s| times(s)).unwrap_or(b',')
}

/// The line of a row. The reader's position is still before the `\n` of the row above where
/// that ends in CRLF, and before empty lines.
fn line(bytes: &[u8], at: &::csv::Position) -> u64 {
    let rest = bytes.get(offset(at)..).unwrap_or(&[]);
    at.line() + newlines(&rest[..line_ends(rest)])
}

/// How many bytes of line ends some bytes begin with.
fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count()
}

/// Where a row stands without line ends, between two positions of the reader.
fn stretch(bytes: &[u8], from: usize, to: usize) -> Range<usize> {
    let row = &bytes[from..to];
    let row = &row[line_ends(row)..];
    let end = usize::from(row.ends_with(b"\n") || row.ends_with(b"\r"));
    to - row.len()..to - end
}

/// Where each cell of a row stands in it, with its quotes and the spaces around it.
pub(super) fn spans(row: &[u8], separator: u8) -> Vec<Range<usize>> {
    let find = |from: usize, byte: u8| row[from..].iter().position(|&b| b == byte).map(|at| from + at);
    let mut spans = Vec::new();
    let mut start = 0;
    loop {
        let mut at = start;
        if row.get(at) == Some(&b'"') {
            // To the quote that closes it: two are one in the cell.
            at += 1;
            while let Some(quote) = find(at, b'"') {
                at = quote + 1;
                if row.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
        }
        let end = find(at, separator).unwrap_or(row.len());
        spans.push(start..end);
        if end == row.len() {
            return spans;
        }
        start = end + 1;
    }
}

fn offset(at: &::csv::Position) -> usize {
    usize::try_from(at.byte()).expect("a table in memory has as many bytes")
}

/// Where more bytes than a cell may have stand without anything that ends a cell: the start of it.
/// Looks at each stretch from its end, so it reads few of a table's bytes.
fn long_stretch(bytes: &[u8], separator: u8) -> Option<usize> {
    let mut from = 0;
    while let Some(stretch) = bytes.get(from..=from + MAX_CELL) {
        match stretch.iter().rposition(|b| [separator, b'\n', b'\r', b'"'].contains(b)) {
            Some(at) => from += at + 1,
            None => return Some(from),
        }
    }
    None
}

/// What is wrong with a table's quoted cells.
#[derive(Default)]
struct Quotes {
    /// Where the first is that is never closed.
    open: Option<usize>,
    /// Where the first is that is too long.
    long: Option<usize>,
}

/// Looks for the first cell that begins with a quote and has none that ends it: the file ends before,
/// or the next quote is that of another cell, with text behind it (RFC 4180 section 2).
fn quotes(bytes: &[u8], separator: u8) -> Quotes {
    let next = |from: usize| Some(from + bytes.get(from..)?.iter().position(|&b| b == b'"')?);
    let mut quotes = Quotes::default();
    let mut at = 0;
    while let Some(open) = next(at) {
        at = open + 1;
        // A quote within a cell stands for itself.
        if open > 0 && ![separator, b'\n', b'\r'].contains(&bytes[open - 1]) {
            continue;
        }
        let mut doubled = 0;
        loop {
            let Some(close) = next(at) else {
                quotes.open = Some(open);
                return quotes;
            };
            at = close + 1;
            if bytes.get(at) != Some(&b'"') {
                break;
            }
            at += 1;
            doubled += 1;
        }
        let behind = bytes[at..].iter().find(|&&b| b != b' ');
        if behind.is_some_and(|b| ![separator, b'\n', b'\r'].contains(b)) {
            quotes.open = Some(open);
            return quotes;
        }
        if quotes.long.is_none() && at - open - 2 - doubled > MAX_CELL {
            quotes.long = Some(open);
        }
    }
    quotes
}

/// Whether a table begins with UTF-16's byte-order mark, in either order.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
}

/// Why a header can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("expected the columns {}, found no header", .required.join(", "))]
    None { required: &'static [&'static str] },
    #[error("expected the columns {}, found no {missing:?}", .required.join(", "))]
    Missing { required: &'static [&'static str], missing: &'static str },
    #[error("expected one of {allowed}, found {found:?}")]
    Unknown { allowed: String, found: String },
    #[error("expected a language as in {name}:en or {name}:zh-Hant, found {found:?}")]
    Language { name: &'static str, found: String },
    #[error("expected each column once, found {found:?} again")]
    Again { found: String },
    #[error("{0}")]
    Csv(String),
}

/// The columns of a header. Those that are not allowed are given to `wrong` and left out.
fn headings(
    header: &::csv::StringRecord,
    allowed: &Columns,
    needed: &'static [&'static str],
    wrong: &mut impl FnMut(HeaderError),
) -> Vec<Heading> {
    let mut headings: Vec<Heading> = Vec::new();
    for text in header {
        // Spreadsheets leave columns without a heading, and without cells, at the right.
        if text.is_empty() {
            headings.push(Heading { name: "", language: None });
            continue;
        }
        match Heading::read(text, allowed) {
            Ok(heading) if headings.contains(&heading) => wrong(HeaderError::Again { found: text.to_owned() }),
            Ok(heading) => headings.push(heading),
            Err(error) => wrong(error),
        }
    }
    for &name in needed {
        if !headings.contains(&Heading { name, language: None }) {
            wrong(HeaderError::Missing { required: needed, missing: name });
        }
    }
    headings
}

impl Heading {
    /// Of a column that is allowed.
    pub fn read(text: &str, allowed: &Columns) -> Result<Self, HeaderError> {
        let found = || text.to_owned();
        let (name, language) = text.split_once(':').map_or((text, None), |(name, language)| (name, Some(language)));
        let known = allowed.required.iter().chain(allowed.optional).copied().find(|known| *known == name);
        let Some(name) = known.filter(|name| language.is_none() || allowed.multilingual.contains(name)) else {
            return Err(HeaderError::Unknown { allowed: allowed.text(), found: found() });
        };
        match language.map(parse_tag) {
            Some(None) => Err(HeaderError::Language { name, found: found() }),
            language => Ok(Self { name, language: language.flatten() }),
        }
    }

    /// As in the header; empty where there is none.
    pub fn text(self) -> String {
        self.language.map_or(self.name.to_owned(), |tag| format!("{}:{tag}", self.name))
    }
}

impl Columns {
    fn text(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for name in self.required.iter().chain(self.optional) {
            names.push((*name).to_owned());
            if self.multilingual.contains(name) {
                names.push(format!("{name}:LANGUAGE"));
            }
        }
        names.join(", ")
    }
}

fn csv_error(error: &::csv::Error) -> String {
    match error.kind() {
        ::csv::ErrorKind::Utf8 { .. } => "expected UTF-8, found other bytes; save the file as \"CSV UTF-8\"".to_owned(),
        _ => error.to_string(),
    }
}
