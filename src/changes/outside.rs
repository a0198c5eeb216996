//! What was changed outside the console.
//!
//! Owns the tables as the history knows them. Whatever serves and differs from these was made elsewhere: it gets an
//! entry with its cells, which names the applied sets whose change is lost by it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};
use serde_json::json;

use super::entry::{about, cells_of};
use super::model::{stored, table_of};
use crate::core::file_name;
use crate::history::{Action, NewEntry, append_about};
use crate::source::{CellChange, Files, Sources, TableName};

/// The tables as the history knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub tables: Sources,
    /// The newest generation that is known.
    pub generation: u64,
}

impl Known {
    /// `None` before the history has begun.
    pub fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut rows = connection.prepare("SELECT tab, bytes, generation FROM known")?;
        let mut rows = rows.query([])?;
        let mut known: Option<Self> = None;
        while let Some(row) = rows.next()? {
            let known = known.get_or_insert_default();
            *known.tables.table_mut(table_of(row.get_ref(0)?.as_str()?)?) = row.get(1)?;
            known.generation = known.generation.max(u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0));
        }
        Ok(known)
    }

    /// Knows some tables from here on, in a transaction.
    fn keep(
        transaction: &Transaction<'_>,
        tables: &Sources,
        names: &[TableName],
        generation: u64,
    ) -> rusqlite::Result<()> {
        for &name in names {
            transaction.execute(
                "INSERT OR REPLACE INTO known (tab, bytes, generation) VALUES (?1, ?2, ?3)",
                params![name.as_str(), tables.table(name), stored(generation)],
            )?;
        }
        Ok(())
    }

    /// Knows, in a transaction, what is being applied, as a generation has it.
    pub fn keep_intent(transaction: &Transaction<'_>, generation: u64) -> rusqlite::Result<usize> {
        transaction.execute(
            "INSERT OR REPLACE INTO known (tab, bytes, generation) SELECT tab, bytes, ?1 FROM intents",
            [stored(generation)],
        )
    }
}

/// Takes note, in a transaction, of the tables that serve: where they differ from those that are known, with an entry.
/// The first that there ever are make none: the history begins with them.
pub(super) fn note(
    transaction: &Transaction<'_>,
    files: &Files,
    tables: &Sources,
    generation: u64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let Some(known) = Known::read(transaction)? else {
        return Known::keep(transaction, tables, &TableName::ALL, generation);
    };
    let differs = |name: &TableName| tables.table(*name) != known.tables.table(*name);
    let names: Vec<TableName> = TableName::ALL.into_iter().filter(differs).collect();
    if names.is_empty() {
        return Ok(());
    }
    // Both have served, so both can be read.
    let cells = known.tables.difference(tables).unwrap_or_default();
    let mut details = cells_of(&cells);
    let loses = lost(transaction, &cells)?;
    if !loses.is_empty() {
        tracing::warn!(sets = ?loses, "the tables were changed outside the console, which loses change sets");
        details["loses"] = json!(loses);
    }
    let files = files.paths().map(file_name);
    let files = TableName::ALL.into_iter().zip(files).filter(|(name, _)| names.contains(name)).map(|(_, file)| file);
    let files: Vec<String> = files.collect();
    let mut objects = about(&cells);
    objects.extend(files.iter().cloned());
    objects.extend(loses.iter().map(|number| format!("set {number}")));
    let entry = NewEntry {
        account: None,
        action: Action::Outside,
        object: &files.join(", "),
        change_set: None,
        reason: "",
        approver: None,
        generations: Some((known.generation, generation)),
        details,
    };
    append_about(transaction, now, &entry, objects)?;
    Known::keep(transaction, tables, &names, generation)
}

/// The applied sets whose change is lost: a cell had the value that the last of them gave it, and has again one from
/// before. From a copy that is older than several sets, all of these are lost.
fn lost(connection: &Connection, cells: &[CellChange]) -> rusqlite::Result<BTreeSet<i64>> {
    let mut newest_first = connection.prepare(
        "SELECT number, old, new FROM change_cells JOIN change_sets ON number = change_set \
         WHERE tab = ?1 AND key = ?2 AND col = ?3 AND state = 'applied' ORDER BY applied DESC, number DESC",
    )?;
    let mut sets = BTreeSet::new();
    for cell in cells {
        let mut rows = newest_first.query([cell.table.as_str(), &cell.key, &cell.column])?;
        let mut since = Vec::new();
        while let Some(row) = rows.next()? {
            let (number, old, new): (i64, Option<String>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let is_last = since.is_empty();
            if is_last && new != cell.old {
                break;
            }
            let is_from_here = !is_last && new == cell.new;
            if !is_from_here {
                since.push(number);
            }
            if is_from_here || old == cell.new {
                sets.extend(since);
                break;
            }
        }
    }
    Ok(sets)
}
