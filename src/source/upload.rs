//! A table that somebody uploads, whole or some of its rows and columns.
//!
//! Owns what an upload may lack (every column but those of the key), and that each of its rows is
//! used or named with a reason. A cell that was made harmless to spreadsheets when it was exported (`'=1+1`) is
//! read as it was before (`=1+1`).

use std::collections::HashSet;

use super::cells::TableName;
use super::csv::{PIECE, Table};
use super::sources::Sources;
use crate::core::{Problem, Problems, spoiled};

/// The rows of an upload.
#[derive(Debug)]
pub struct Upload {
    /// The headings that there are, as `target:en`.
    pub columns: Vec<String>,
    /// The rows, in order.
    pub rows: Vec<UploadedRow>,
    /// What is wrong with lines that are no rows of the table's form.
    pub unreadable: Vec<Problem>,
}

/// A row of an upload.
#[derive(Debug)]
pub struct UploadedRow {
    /// Its first line, counted from 1.
    pub line: u64,
    /// Its key (see [`super::CellChange`]), or what is wrong with it.
    pub key: Result<String, String>,
    /// A cell for each of [`Upload::columns`], trimmed; its lines end with `\n`.
    pub cells: Vec<String>,
}

impl Sources {
    /// Reads an upload of one of the tables, as a reload would read the table. Fails where its header can't be
    /// used: it is no CSV file in UTF-8, has a column that the table can't have, or lacks one of the key.
    pub fn read_upload(&self, table: TableName, upload: &[u8]) -> Result<Upload, Problems> {
        let mut problems = Problems::default();
        // Workbooks of Excel and LibreOffice are ZIP archives.
        if upload.starts_with(b"PK\x03\x04") {
            problems.add(table.file(), 0, "", "expected a CSV file, found a workbook; save it as \"CSV UTF-8\"");
            return Err(problems);
        }
        let places = if table == TableName::Overrides { self.place_identifiers() } else { HashSet::default() };
        let (columns, needed) = (table.columns(), table.key_columns());
        let Some(uploaded) = Table::open_with(table.file(), upload, columns, needed, PIECE, &mut problems) else {
            return Err(problems);
        };
        let headings = &uploaded.form.headings;
        let (mut rows, mut read) = (Vec::new(), uploaded.rows());
        while let Some(row) = read.next_row(&mut problems) {
            let key_cell = |column: &str| with_formula(row.cell(column));
            let spoiled_cell = table.key_columns().iter().find_map(|column| {
                let cell = key_cell(column);
                let is_code = *column == "code" || (*column == "scope" && !places.contains(cell));
                Some((cell, spoiled(cell).filter(|_| is_code)?))
            });
            let key = match spoiled_cell {
                Some((cell, what)) => Err(format!(
                    "expected a code, found {cell:?}; it looks like a code that a spreadsheet turned into {what}; \
                     write it in groups of four with a hyphen, as 7K3M-9QX5"
                )),
                None => table.key(&places, key_cell).ok_or_else(|| no_key(table, key_cell)),
            };
            let cells = headings.iter().zip(row.record.iter()).filter(|(heading, _)| !heading.name.is_empty());
            let cells = cells.map(|(_, cell)| with_formula(cell).replace("\r\n", "\n")).collect();
            rows.push(UploadedRow { line: row.line, key, cells });
        }
        let columns = headings.iter().filter(|heading| !heading.name.is_empty()).map(|heading| heading.text());
        Ok(Upload { columns: columns.collect(), rows, unreadable: problems.list })
    }
}

fn no_key<'c>(table: TableName, cell: impl Fn(&str) -> &'c str) -> String {
    match table {
        TableName::Places => format!("expected the identifier of a place, found {:?}", cell("place")),
        TableName::Signs => format!("expected a code, found {:?}", cell("code")),
        TableName::Overrides => {
            format!("expected a place or a code, and a time, found {:?} and {:?}", cell("scope"), cell("from"))
        }
    }
}

/// A cell without the apostrophe that was put before a formula.
fn with_formula(cell: &str) -> &str {
    let is_formula =
        cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n']);
    cell.strip_prefix('\'').filter(|_| is_formula).unwrap_or(cell).trim()
}
