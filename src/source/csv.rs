//! One CSV file as spreadsheets write it, row by row, with every problem noted.
//!
//! Owns the header and the lines: a byte-order mark, `;` or a tab as the separator,
//! CRLF and quoted cells are read as they come (RFC 4180, and what Excel and
//! LibreOffice make of it). Languages are columns in OpenStreetMap's manner:
//! `name`, `name:en` (<https://wiki.openstreetmap.org/wiki/Multilingual_names>).

use crate::core::{Problems, Tag, parse_tag};

/// Longest cell, in bytes: beside it the longest target, 2,048, is short.
const MAX_CELL: usize = 64 << 10;
/// What a file's columns may be called.
pub(super) struct Columns {
    /// Must all be there.
    pub required: &'static [&'static str],
    /// May be there.
    pub optional: &'static [&'static str],
    /// May be there again for each language, as `name:en`.
    pub multilingual: &'static [&'static str],
}

/// A column: its name without the language, and the language.
struct Column {
    name: &'static str,
    language: Option<Tag>,
}

/// An open file and its header.
pub(super) struct Table<'a> {
    pub file: &'a str,
    reader: ::csv::Reader<&'a [u8]>,
    bytes: &'a [u8],
    columns: Vec<Column>,
    /// Where a quote is opened that is never closed.
    open_quote: Option<u64>,
}

/// One row: its cells and where it stands.
pub(super) struct Row<'t> {
    columns: &'t [Column],
    record: &'t ::csv::StringRecord,
    pub line: u64,
}

impl<'a> Table<'a> {
    /// Reads the header. `None` where it is of no use; the problems say why.
    pub fn open(file: &'a str, bytes: &'a [u8], allowed: &Columns, problems: &mut Problems) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if is_utf16(bytes) {
            problems.add(file, 0, "", "is in UTF-16; save it as \"CSV UTF-8\"");
            return None;
        }
        let separator = separator(bytes);
        let quotes = quotes(bytes, separator);
        // Before a reader copies it.
        if let Some(at) = long_stretch(bytes, separator).or(quotes.long) {
            let line = 1 + newlines(&bytes[..at]);
            problems.add(
                file,
                line,
                "",
                format!("a cell that begins here is longer than {MAX_CELL} bytes, which is the most"),
            );
            return None;
        }
        let mut reader =
            ::csv::ReaderBuilder::new().delimiter(separator).flexible(true).trim(::csv::Trim::All).from_reader(bytes);
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => {
                problems.add(file, 1, "", format!("header: {}", csv_error(&error)));
                return None;
            }
        };
        if header.iter().all(str::is_empty) {
            problems.add(file, 1, "", format!("has no header row; it must name {}", list(allowed.required)));
            return None;
        }
        let known = problems.list.len();
        let columns = columns(file, &header, allowed, problems);
        for &name in allowed.required {
            if !columns.iter().any(|column| column.name == name && column.language.is_none()) {
                problems.add(
                    file,
                    1,
                    "",
                    format!("header: the column {name:?} is missing; it must name {}", list(allowed.required)),
                );
            }
        }
        (problems.list.len() == known).then_some(Self { file, reader, bytes, columns, open_quote: quotes.open })
    }

    /// The languages that columns name.
    pub fn languages(&self) -> impl Iterator<Item = Tag> {
        self.columns.iter().filter_map(|column| column.language)
    }

    /// Calls `each` with every row that is not empty and has as many cells as the header.
    pub fn rows(&mut self, problems: &mut Problems, mut each: impl FnMut(&Row<'_>, &mut Problems)) {
        let mut record = ::csv::StringRecord::new();
        loop {
            match self.reader.read_record(&mut record) {
                Ok(false) => return,
                Ok(true) => {}
                Err(error) => {
                    let line = error.position().map_or(0, |at| line(self.bytes, at));
                    problems.add(self.file, line, "", csv_error(&error));
                    if error.is_io_error() {
                        return;
                    }
                    continue;
                }
            }
            // It swallows rows into one cell; from here on nothing is what it seems.
            if let Some(at) = self.open_quote.filter(|&at| at < self.reader.position().byte()) {
                let line = 1 + newlines(&self.bytes[..at as usize]);
                problems.add(self.file, line, "", "a quote that is opened here is never closed");
                return;
            }
            if record.iter().all(str::is_empty) {
                continue;
            }
            let line = record.position().map_or(0, |at| line(self.bytes, at));
            if record.len() != self.columns.len() {
                let (found, wanted) = (record.len(), self.columns.len());
                problems.add(self.file, line, "", format!("has {found} cells where the header has {wanted}"));
                continue;
            }
            if let Some(at) = record.iter().position(|cell| cell.len() > MAX_CELL) {
                let (name, found) = (self.columns[at].name, record[at].len());
                problems.add(
                    self.file,
                    line,
                    "",
                    format!("{name}: is {found} bytes long; at most {MAX_CELL} are allowed"),
                );
                continue;
            }
            let row = Row { columns: &self.columns, record: &record, line };
            if let Some(cell) = row.without_heading() {
                problems.add(self.file, line, "", format!("{cell:?} stands in a column that has no heading"));
            }
            each(&row, problems);
        }
    }
}

impl<'t> Row<'t> {
    /// A cell; empty where there is no such column.
    pub fn cell(&self, name: &str) -> &'t str {
        let at = self.columns.iter().position(|c| c.name == name && c.language.is_none());
        at.and_then(|at| self.record.get(at)).unwrap_or("")
    }

    fn without_heading(&self) -> Option<&'t str> {
        let mut cells = self.columns.iter().zip(self.record);
        cells.find(|(column, cell)| column.name.is_empty() && !cell.is_empty()).map(|(_, cell)| cell)
    }

    /// The cells of a multilingual column that are not empty: language (`None`: the
    /// default), heading, text; the default language first.
    pub fn variants(&self, name: &'static str) -> impl Iterator<Item = (Option<Tag>, &'t str)> {
        let cells = self.columns.iter().zip(self.record);
        let all =
            cells.filter(move |(column, text)| column.name == name && column.language.is_some() && !text.is_empty());
        let default = self.cell(name);
        let default = (!default.is_empty()).then_some((None, default));
        default.into_iter().chain(all.map(|(column, text)| (column.language, text)))
    }
}

/// The most frequent of `,`, `;` and tab in the first line.
fn separator(bytes: &[u8]) -> u8 {
    let first = bytes.split(|&b| b == b'\n').next().unwrap_or(bytes);
    let times = |separator: u8| first.iter().filter(|&&b| b == separator).count();
    // On a tie the last wins: the comma.
    [b'\t', b';', b','].into_iter().max_by_key(|&s| times(s)).unwrap_or(b',')
}

/// The line of a row. The reader's position is still before the `\n` of the row above where
/// that ends in CRLF, and before empty lines.
fn line(bytes: &[u8], at: &::csv::Position) -> u64 {
    let rest = bytes.get(at.byte() as usize..).unwrap_or(&[]);
    let ends = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    at.line() + newlines(&rest[..ends])
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&b| b == b'\n').count() as u64
}

/// Whether it begins with UTF-16's byte-order mark.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
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
    open: Option<u64>,
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
                quotes.open = Some(open as u64);
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
            quotes.open = Some(open as u64);
            return quotes;
        }
        if quotes.long.is_none() && at - open - 2 - doubled > MAX_CELL {
            quotes.long = Some(open);
        }
    }
    quotes
}

fn columns(file: &str, header: &::csv::StringRecord, allowed: &Columns, problems: &mut Problems) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for heading in header {
        // Spreadsheets leave columns without a heading, and without cells, at the right.
        if heading.is_empty() {
            columns.push(Column { name: "", language: None });
            continue;
        }
        let (name, language) = heading.split_once(':').map_or((heading, None), |(n, l)| (n, Some(l)));
        let known = allowed.required.iter().chain(allowed.optional).copied().find(|known| *known == name);
        let language = match language {
            None => None,
            Some(_) if known.is_none() || !allowed.multilingual.contains(&name) => {
                problems.add(file, 1, "", format!("header: {heading:?} is not a column; {}", allowed.text()));
                continue;
            }
            Some(language) => match parse_tag(language) {
                Some(tag) => Some(tag),
                None => {
                    problems.add(
                        file,
                        1,
                        "",
                        format!("header: {language:?} in {heading:?} is not a language; write name:en or name:zh-Hant"),
                    );
                    continue;
                }
            },
        };
        let Some(name) = known else {
            problems.add(file, 1, "", format!("header: {heading:?} is not a column; {}", allowed.text()));
            continue;
        };
        if columns.iter().any(|column| column.name == name && column.language == language) {
            problems.add(file, 1, "", format!("header: the column {heading:?} is there twice"));
        }
        columns.push(Column { name, language });
    }
    columns
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
        format!("allowed are {}", names.join(", "))
    }
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

fn csv_error(error: &::csv::Error) -> String {
    match error.kind() {
        ::csv::ErrorKind::Utf8 { .. } => "is not UTF-8; save the file as \"CSV UTF-8\"".to_owned(),
        _ => error.to_string(),
    }
}
