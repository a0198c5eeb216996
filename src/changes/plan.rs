//! From what somebody wants to the cells that change: find and replace, a festival, a table that is uploaded.

use crate::core::Problems;
use crate::registry::{Registry, Rules};
use crate::source::{CellChange, Files, Sources, TableName};

/// Why a plan can't be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The tables, or what was uploaded, can't be read.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// What is looked for is no host and no prefix of a URL.
    #[error("expected a host or the beginning of a URL, found {0:?}")]
    Find(String),
}

/// What is looked for in targets, and what takes its place.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// A host, `old.langson.gov.vn`, or the beginning of a URL, `https://langson.gov.vn/vi/duong-pho/`.
    pub find: String,
    /// The same kind of thing.
    pub replace: String,
}

/// How an uploaded table is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportKind {
    /// The whole table: rows that it lacks go.
    Whole,
    /// Only rows that change or are new.
    Rows,
}

/// A row of an upload that is not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its line, from 1.
    pub line: u64,
    /// The row's key, as far as there is one.
    pub key: String,
    /// Why.
    pub text: String,
}

/// The cells with targets that change, of the places and signs that `is_selected` names.
pub fn replace(
    tables: &Sources,
    replacement: &Replacement,
    is_selected: impl Fn(TableName, &str) -> bool,
) -> Result<Vec<CellChange>, PlanError> {
    let _ = (tables, replacement, is_selected);
    todo!()
}

/// Rows of `overrides.csv`: for each scope (a place or a code), from one time until another, to the targets of the
/// languages (column and URL).
pub fn festival(
    scopes: &[String],
    from: &str,
    until: &str,
    targets: &[(String, String)],
    note: &str,
) -> Vec<CellChange> {
    todo!("{scopes:?} {from} {until} {targets:?} {note}")
}

/// What an uploaded table changes, and its rows that are refused. The rest of the set is checked as always.
pub fn import(
    tables: &Sources,
    table: TableName,
    upload: &[u8],
    kind: ImportKind,
    files: &Files,
    rules: &Rules,
    serving: &Registry,
) -> Result<(Vec<CellChange>, Vec<Refused>), PlanError> {
    let _ = (tables, table, upload, kind, files, rules, serving);
    todo!()
}
