//! Single cells of the tables: found, compared, and written back.
//!
//! Owns how a change reaches a table: only the bytes of the cells that change are touched. Byte-order mark,
//! separator, line ends, quotes, the order of columns and rows, columns that are nobody's, stay as a person or
//! a spreadsheet wrote them, so that a line-by-line comparison shows what was changed and nothing else.

use super::sources::Sources;
use crate::core::Problems;

/// One of the three tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableName {
    /// `places.csv`
    Places,
    /// `signs.csv`
    Signs,
    /// `overrides.csv`
    Overrides,
}

/// A cell that has one value and is to have another. Values are trimmed. A row is found by its key: of a place its
/// identifier, of a sign its canonical code, of an override its scope (identifier or canonical code) and
/// `from` as it is written, with a space between.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct CellChange {
    /// `places`, `signs` or `overrides`.
    pub table: TableName,
    /// Of the row.
    pub key: String,
    /// As in the header: `target:en`.
    pub column: String,
    /// What it is; `None`: there is no such row. A column that the table lacks has empty cells.
    pub old: Option<String>,
    /// What it is to be; `None` for each cell of a row that is to go.
    pub new: Option<String>,
}

/// A change that does not fit the tables as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What was to be changed.
    pub change: CellChange,
    /// What is there; `None`: no such row.
    pub found: Option<String>,
    /// Whether several rows have the key, so that none is meant.
    pub is_ambiguous: bool,
}

/// The cells of one table, by key and column.
#[derive(Debug)]
pub struct Cells {}

impl Sources {
    /// The tables with some cells changed. Cells of a row that is not there yet are added as a row at the end; a
    /// row of which each named cell is to go, goes. A column that a change needs and the table lacks is added.
    pub fn edit(&self, changes: &[CellChange]) -> Result<Self, Vec<Conflict>> {
        todo!("{changes:?}")
    }

    /// What makes these tables into others: cell by cell, in the order of tables and rows. Rows without a usable
    /// key are left out.
    pub fn difference(&self, next: &Self) -> Result<Vec<CellChange>, Problems> {
        todo!("{next:?}")
    }

    /// The cells of a table.
    pub fn cells(&self, table: TableName) -> Result<Cells, Problems> {
        todo!("{table:?}")
    }
}

impl Cells {
    /// The headings, as `target:en`, in the order of the table.
    pub fn columns(&self) -> &[String] {
        todo!()
    }

    /// A cell; `None` where there is no such row, or several. Empty where there is no such column.
    pub fn get(&self, key: &str, column: &str) -> Option<&str> {
        todo!("{key} {column}")
    }

    /// The key of each row, in the order of the table.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}
