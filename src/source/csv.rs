//! One CSV file as spreadsheets write it, row by row, with every problem kept.
//!
//! Owns the header and the lines: a byte-order mark, `;` or a tab as the separator,
//! CRLF and quoted cells are read as they come (RFC 4180, and what Excel and
//! LibreOffice make of it). Languages are columns in OpenStreetMap's manner:
//! `name`, `name:en` (<https://wiki.openstreetmap.org/wiki/Multilingual_names>).
//! Where rows and cells stand is known too, so that single cells can be written back. A long table can be read in pieces,
//! at the same time: each begins with a row, and what is wrong is told as if all had been read in one go.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr2, memchr3};

use crate::core::{Problems, Tag, newlines, parse_tag};
use crate::registry::Text;

/// Longest cell, in bytes; the longest target has 2,048.
pub(super) const MAX_CELL: usize = 64 << 10;
/// Columns of a table, as many as a spreadsheet has, which may save them all. The places of a row's cells beyond are not
/// kept: a row of nothing but commas would take 32 times its bytes.
const MAX_COLUMNS: usize = 16_384;
/// Bytes of a table that are read by themselves, as others may be at the same time.
pub(super) const PIECE: usize = 1 << 20;
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
    /// Without the byte-order mark.
    pub bytes: &'a [u8],
    pub form: Form,
}

/// How a table is read: what is known of it before its rows.
pub(super) struct Form {
    pub separator: u8,
    pub headings: Vec<Heading>,
    /// Where the header stands, without its line end.
    pub header: Range<usize>,
    /// Where a quote is opened that is never closed, and its line.
    open_quote: Option<(usize, u64)>,
    /// Rows begin here, a piece apart.
    cuts: Vec<usize>,
}

/// A part of a table, from the beginning of a row to the end of one.
pub(super) struct Piece<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where it stands in the table.
    start: usize,
    /// The line of its first byte.
    line: u64,
}

/// The rows of a piece, one after another.
pub(super) struct Rows<'t> {
    file: &'t str,
    form: &'t Form,
    bytes: &'t [u8],
    /// Where the piece stands in the table.
    start: usize,
    /// Where the next row is looked for in the piece, and its line.
    at: usize,
    line: u64,
    /// The row that was read last, and where its cells stand in the piece.
    record: Record,
    cells: Vec<Range<usize>>,
}

/// The cells of a row, trimmed.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    text: String,
    cells: Vec<Range<usize>>,
}

/// One row: its cells and where it stands.
pub(super) struct Row<'t> {
    headings: &'t [Heading],
    pub record: &'t Record,
    pub line: u64,
    /// Where it stands in the table's bytes, without its line end.
    pub at: Range<usize>,
}

/// The columns of a name: the one without a language, and the others.
pub(super) struct TextColumns {
    default: Option<usize>,
    others: Vec<(Tag, usize)>,
}

impl<'a> Table<'a> {
    /// Reads the header. `None` where it can't be used, or a cell is too long; the problems say why.
    pub fn open(file: &'a str, bytes: &'a [u8], allowed: &Columns, problems: &mut Problems) -> Option<Self> {
        Self::open_with(file, bytes, allowed, allowed.required, PIECE, problems)
    }

    /// The same where other columns must be there than those that are required, and for pieces of another length.
    pub fn open_with(
        file: &'a str,
        bytes: &'a [u8],
        allowed: &Columns,
        needed: &'static [&'static str],
        piece: usize,
        problems: &mut Problems,
    ) -> Option<Self> {
        let bytes = without_bom(bytes);
        if is_utf16(bytes) {
            problems.add(file, 0, "", "expected UTF-8, found UTF-16; save the file as \"CSV UTF-8\"");
            return None;
        }
        let separator = separator(bytes);
        let quotes = quotes(bytes, separator, piece);
        // Before a copy of the cell is made.
        if let Some(at) = long_stretch(bytes, separator).or(quotes.long) {
            let text = format!("expected at most {MAX_CELL} bytes in a cell, found more in one that begins here");
            problems.add(file, 1 + newlines(&bytes[..at]), "", text);
            return None;
        }
        let mut is_wrong = false;
        let mut wrong = |error: HeaderError| {
            is_wrong = true;
            problems.add(file, 1, "header", error.to_string());
        };
        let start = line_ends(bytes);
        let mut cells = Vec::new();
        let (end, found) = split(bytes, start, separator, &mut cells);
        let mut record = Record::default();
        let headings = if found > MAX_COLUMNS {
            wrong(HeaderError::TooMany { found });
            Vec::new()
        } else if !record.read(&bytes[start..end], start, &cells) {
            wrong(HeaderError::Utf8);
            Vec::new()
        } else if record.iter().all(str::is_empty) {
            wrong(HeaderError::None { required: needed });
            Vec::new()
        } else {
            headings(&record, allowed, needed, &mut wrong)
        };
        let header = start..end;
        let cuts = quotes.cuts.into_iter().filter(|&cut| cut > end).collect();
        let open_quote = quotes.open.map(|at| (at, 1 + newlines(&bytes[..at])));
        let form = Form { separator, headings, header, open_quote, cuts };
        (!is_wrong).then_some(Self { file, bytes, form })
    }

    /// Its rows.
    pub fn rows(&self) -> Rows<'_> {
        let (at, line) = (self.form.header.end, 1 + newlines(&self.bytes[..self.form.header.end]));
        Rows::new(self.file, &self.form, &self.bytes[at..], at, line)
    }
}

impl Form {
    /// The columns of languages: name and language.
    pub fn languages(&self) -> impl Iterator<Item = (&'static str, Tag)> {
        self.headings.iter().filter_map(|heading| Some((heading.name, heading.language?)))
    }

    /// The rows of the table in pieces, each about as long.
    pub fn pieces<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = Piece<'b>> + use<'b> {
        let bytes = without_bom(bytes);
        let mut line = 1 + newlines(&bytes[..self.header.end]);
        self.spans(bytes.len()).into_iter().map(move |at| Piece::of(&mut line, at.start, Cow::from(&bytes[at])))
    }

    /// The same of a table that nobody needs any longer: each can be freed by itself.
    pub fn cut(&self, bytes: Vec<u8>) -> impl Iterator<Item = Piece<'static>> + use<> {
        let len = without_bom(&bytes).len();
        let bom = bytes.len() - len;
        let mut line = 1 + newlines(&bytes[bom..][..self.header.end]);
        let starts = self.spans(len).into_iter().map(|at| at.start);
        let pieces = cut_off(bytes, starts.clone().map(|start| bom + start));
        starts.zip(pieces).map(move |(start, bytes)| Piece::of(&mut line, start, Cow::from(bytes)))
    }

    /// Where the pieces stand in a table of so many bytes.
    fn spans(&self, len: usize) -> Vec<Range<usize>> {
        let starts = [self.header.end].into_iter().chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([len]);
        starts.zip(ends).map(|(start, end)| start..end).collect()
    }

    /// Where the column of a name stands.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.headings.iter().position(|heading| heading.name == name && heading.language.is_none())
    }

    /// Where the columns of a multilingual name stand.
    pub fn text_columns(&self, name: &str) -> TextColumns {
        let others = self.headings.iter().zip(0..).filter(|(heading, _)| heading.name == name);
        let others = others.filter_map(|(heading, at)| Some((heading.language?, at)));
        TextColumns { default: self.column(name), others: others.collect() }
    }
}

impl<'a> Piece<'a> {
    /// The next of a table, of which `line` is the next line.
    fn of(line: &mut u64, start: usize, bytes: Cow<'a, [u8]>) -> Self {
        let piece = Self { line: *line, start, bytes };
        *line += newlines(&piece.bytes);
        piece
    }
}

impl<'t> Rows<'t> {
    /// The rows of a piece of a table.
    pub fn of(file: &'t str, form: &'t Form, piece: &'t Piece<'_>) -> Self {
        Self::new(file, form, &piece.bytes, piece.start, piece.line)
    }

    fn new(file: &'t str, form: &'t Form, bytes: &'t [u8], start: usize, line: u64) -> Self {
        Self { file, form, bytes, start, at: 0, line, record: Record::default(), cells: Vec::new() }
    }

    /// The next row that is not empty and has as many cells as the header; the problems say why
    /// others are left out. `None` after the last.
    pub fn next_row(&mut self, problems: &mut Problems) -> Option<Row<'_>> {
        let (form, headings) = (self.form, &self.form.headings);
        let (line, at) = loop {
            let ends = line_ends(&self.bytes[self.at..]);
            self.line += newlines(&self.bytes[self.at..self.at + ends]);
            let start = self.at + ends;
            if start == self.bytes.len() {
                self.at = start;
                return None;
            }
            let (end, found) = split(self.bytes, start, form.separator, &mut self.cells);
            let (line, row) = (self.line, &self.bytes[start..end]);
            self.at = end;
            // It has swallowed rows into one cell: no cell from here on can be trusted.
            if let Some((_, line)) = form.open_quote.filter(|&(quote, _)| quote < self.start + end) {
                problems.add(self.file, line, "", "expected an end of the quote that is opened here, found none");
                self.at = self.bytes.len();
                return None;
            }
            let wrong_count = || format!("expected {} cells as in the header, found {found}", headings.len());
            if found > MAX_COLUMNS {
                self.line += newlines(row);
                problems.add(self.file, line, "", wrong_count());
                continue;
            }
            if !self.record.read(row, start, &self.cells) {
                self.line += newlines(row);
                problems.add(self.file, line, "", HeaderError::Utf8.to_string());
                continue;
            }
            let record = &self.record;
            // Line ends within it are those of a quoted cell, whose text stands behind the row.
            if record.text.len() > row.len() {
                self.line += newlines(row);
            }
            if record.iter().all(str::is_empty) {
                continue;
            }
            if found != headings.len() {
                problems.add(self.file, line, "", wrong_count());
                continue;
            }
            let mut cells = headings.iter().zip(record.iter());
            // Any cell of a shorter row is short enough.
            if row.len() > MAX_CELL
                && let Some((heading, cell)) = cells.find(|(_, cell)| cell.len() > MAX_CELL)
            {
                let text = format!("expected at most {MAX_CELL} bytes, found {}", cell.len());
                problems.add(self.file, line, &heading.text(), text);
                continue;
            }
            let mut cells = headings.iter().zip(record.iter());
            if let Some((_, cell)) = cells.find(|(heading, cell)| heading.name.is_empty() && !cell.is_empty()) {
                let text = format!("expected empty cells in a column without a heading, found {cell:?}");
                problems.add(self.file, line, "", text);
            }
            break (line, self.start + start..self.start + end);
        };
        Some(Row { headings: &form.headings, record: &self.record, line, at })
    }
}

impl Record {
    /// Takes the cells of a row, which stand at some places of the bytes in which it begins at `start`. `false` where the
    /// row is not UTF-8.
    fn read(&mut self, row: &[u8], start: usize, cells: &[Range<usize>]) -> bool {
        self.text.clear();
        self.cells.clear();
        let Ok(row) = str::from_utf8(row) else { return false };
        self.text.push_str(row);
        for cell in cells {
            let at = cell.start - start..cell.end - start;
            let text = &row[at.clone()];
            let (from, text) = match text.strip_prefix('"') {
                None => (at.start, text),
                Some(quoted) => {
                    // Behind the row, in which it stands with its quotes.
                    let from = self.text.len();
                    unquote(quoted, &mut self.text);
                    (from, &self.text[from..])
                }
            };
            let trimmed = text.trim_start();
            let from = from + text.len() - trimmed.len();
            let len = trimmed.trim_end().len();
            self.cells.push(from..from + len);
        }
        true
    }

    pub fn get(&self, at: usize) -> Option<&str> {
        Some(&self.text[self.cells.get(at)?.clone()])
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(|cell| &self.text[cell.clone()])
    }
}

impl<'t> Row<'t> {
    /// A cell; empty where there is no such column.
    pub fn cell(&self, name: &str) -> &'t str {
        self.at(self.headings.iter().position(|heading| heading.name == name && heading.language.is_none()))
    }

    /// The same by [`Form::column`].
    pub fn at(&self, column: Option<usize>) -> &'t str {
        column.and_then(|at| self.record.get(at)).unwrap_or("")
    }

    /// The cells of a multilingual column that are not empty, the default language's first.
    pub fn texts(&self, columns: &TextColumns) -> Vec<Text<'t>> {
        let default = (None, self.at(columns.default));
        let others = columns.others.iter().map(|&(language, at)| (Some(language), self.at(Some(at))));
        let texts = [default].into_iter().chain(others).filter(|(_, text)| !text.is_empty());
        texts.map(|(language, text)| Text { language, text }).collect()
    }
}

/// Without what spreadsheets put before UTF-8, once or more often.
fn without_bom(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(BOM) {
        bytes = rest;
    }
    bytes
}

/// About how many rows a table has, by those in its first piece.
pub(super) fn about_rows(bytes: &[u8]) -> usize {
    let first = &bytes[..bytes.len().min(PIECE)];
    let rows = usize::try_from(newlines(first)).unwrap_or(0) + 1;
    // A little more than that, so that most tables need no more room.
    let rows = rows * (bytes.len() / first.len().max(1)).max(1) * 17 / 16;
    // No valid row is shorter: a piece of line ends promises nothing.
    rows.min(bytes.len() / 8 + 1)
}

/// Cuts bytes into pieces that begin at some places, of which each can be freed by itself; what comes before the first
/// place is left out.
pub(super) fn cut_off(mut bytes: Vec<u8>, starts: impl DoubleEndedIterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    // From the end: what is left of the bytes shrinks where it is.
    for start in starts.rev() {
        pieces.push(bytes.split_off(start));
        bytes.shrink_to_fit();
    }
    pieces.reverse();
    pieces
}

/// Splits the row that begins at `start` into its cells, with their quotes and the spaces around them, of which the first
/// [`MAX_COLUMNS`] are kept. Gives the end of the row, where its line end is, and how many cells it has.
fn split(bytes: &[u8], start: usize, separator: u8, cells: &mut Vec<Range<usize>>) -> (usize, usize) {
    cells.clear();
    let (mut from, mut found) = (start, 0);
    loop {
        let mut at = from;
        if bytes.get(at) == Some(&b'"') {
            // To the quote that closes it: two are one in the cell.
            at += 1;
            loop {
                at = memchr(b'"', &bytes[at..]).map_or(bytes.len(), |quote| at + quote + 1);
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
        }
        let end = memchr3(separator, b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |end| at + end);
        found += 1;
        if found <= MAX_COLUMNS {
            cells.push(from..end);
        }
        if bytes.get(end) != Some(&separator) {
            return (end, found);
        }
        from = end + 1;
    }
}

/// Adds the text of a quoted cell from behind its first quote: two quotes are one, and what stands behind the quote that
/// closes it stands for itself.
fn unquote(mut cell: &str, text: &mut String) {
    while let Some((before, rest)) = cell.split_once('"') {
        text.push_str(before);
        match rest.strip_prefix('"') {
            Some(rest) => {
                text.push('"');
                cell = rest;
            }
            None => {
                text.push_str(rest);
                return;
            }
        }
    }
    text.push_str(cell);
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

/// How many bytes of line ends some bytes begin with.
fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count()
}

/// Where each cell of a row of a table stands in it, with its quotes and the spaces around it.
pub(super) fn spans(row: &[u8], separator: u8) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    split(row, 0, separator, &mut spans);
    spans
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

/// What there is to know of a table's quoted cells before its rows are read.
#[derive(Default)]
struct Quotes {
    /// Where the first is that is never closed.
    open: Option<usize>,
    /// Where the first is that is too long.
    long: Option<usize>,
    /// Beginnings of rows, at least a piece apart.
    cuts: Vec<usize>,
}

impl Quotes {
    /// Notes where rows begin between two places outside of quotes.
    fn cut(&mut self, bytes: &[u8], from: usize, to: usize, piece: usize) {
        let last = self.cuts.last().copied().unwrap_or(0);
        let mut at = from.max(last + piece);
        while at < to
            && let Some(end) = memchr2(b'\n', b'\r', &bytes[at..to])
        {
            self.cuts.push(at + end + 1);
            at += end + 1 + piece;
        }
    }
}

/// Looks for the first cell that begins with a quote and has none that ends it: the file ends before,
/// or the next quote is that of another cell, with text behind it (RFC 4180 section 2). No row begins in a quoted cell.
fn quotes(bytes: &[u8], separator: u8, piece: usize) -> Quotes {
    let next = |from: usize| Some(from + memchr(b'"', bytes.get(from..)?)?);
    let mut quotes = Quotes::default();
    // Behind the last quoted cell.
    let mut at = 0;
    let mut plain = 0;
    while let Some(open) = next(at) {
        at = open + 1;
        // A quote within a cell stands for itself.
        if open > 0 && ![separator, b'\n', b'\r'].contains(&bytes[open - 1]) {
            continue;
        }
        quotes.cut(bytes, plain, open, piece);
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
        plain = at;
    }
    quotes.cut(bytes, plain, bytes.len(), piece);
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
    #[error("expected at most {MAX_COLUMNS} columns, found {found}")]
    TooMany { found: usize },
    #[error("expected UTF-8, found other bytes; save the file as \"CSV UTF-8\"")]
    Utf8,
}

/// The columns of a header. Those that are not allowed are given to `wrong` and left out.
fn headings(
    header: &Record,
    allowed: &Columns,
    needed: &'static [&'static str],
    wrong: &mut impl FnMut(HeaderError),
) -> Vec<Heading> {
    let mut headings: Vec<Heading> = Vec::new();
    for text in header.iter() {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: Columns = Columns { required: &["a"], optional: &["b", "c"], multilingual: &[] };

    /// What the `csv` crate makes of a table, and what is made of it here: where rows stand, and their cells.
    type Found = (u64, Vec<String>);

    fn of_the_crate(bytes: &[u8]) -> Vec<Found> {
        let reader = ::csv::ReaderBuilder::new().flexible(true).trim(::csv::Trim::All).from_reader(bytes);
        let rows = reader.into_records().filter_map(|row| {
            let row = row.ok().filter(|row| row.len() == 2 && !row.iter().all(str::is_empty))?;
            let at = usize::try_from(row.position()?.byte()).expect("a place in memory");
            let at = at + line_ends(&bytes[at..]);
            Some((1 + newlines(&bytes[..at]), row.iter().map(str::to_owned).collect()))
        });
        rows.collect()
    }

    proptest! {
        /// Quotes within cells, spaces around them, line ends of all kinds, bytes that are no text.
        #[test]
        fn rows_are_read_as_the_csv_crate_reads_them(rows in proptest::string::bytes_regex("(?s-u:[a-b\",\n\r \\xff]|\"[a,\n]*\",|\"\"|a,b\n){0,40}").expect("a pattern")) {
            let table = [&b"a,b\n"[..], &rows].concat();
            let mut problems = Problems::default();
            let opened = Table::open("a.csv", &table, &COLUMNS, &mut problems).expect("a good header");
            let mut read = opened.rows();
            let mut found: Vec<Found> = Vec::new();
            while let Some(row) = read.next_row(&mut problems) {
                prop_assert_eq!(newlines(&table[..row.at.start]) + 1, row.line);
                found.push((row.line, row.record.iter().map(str::to_owned).collect()));
            }
            let expected = of_the_crate(&table);
            // Nothing is taken from where a quote is open.
            if opened.form.open_quote.is_none() {
                prop_assert_eq!(found, expected);
            } else {
                prop_assert!(expected.starts_with(&found), "{:?} {:?}", found, expected);
            }
        }
    }
}
