//! What is being written to the tables: noted before, with all that is needed to finish or to undo it.
//!
//! Owns the decision after an end of the process between the first and the last of the step's writes. A table is as
//! it was before, or as it is to be, or somebody else has changed it: from that follows what all of them are to be,
//! so that a set is in the tables whole or not at all.

use rusqlite::{Connection, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::model::{stored, table_of};
use crate::source::{Sources, TableName};

/// A set that is being applied.
#[derive(Debug)]
pub(super) struct Intent {
    pub change_set: i64,
    /// The generation before.
    pub before: u64,
    /// Whether the tables have it, and only the history does not.
    pub is_written: bool,
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Table {
    name: TableName,
    old: Hash,
    new: Hash,
    bytes: Vec<u8>,
}

type Hash = [u8; 32];

/// What the tables are to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All that the set makes of them.
    New(Sources),
    /// What they are without it: these were changed by somebody else meanwhile.
    Old(Sources, Vec<TableName>),
}

impl Intent {
    /// Notes what is to be written, in a transaction.
    pub fn begin(
        transaction: &Transaction<'_>,
        change_set: i64,
        tables: &Sources,
        next: &Sources,
        before: u64,
    ) -> rusqlite::Result<()> {
        for name in TableName::ALL.into_iter().filter(|&name| tables.table(name) != next.table(name)) {
            transaction.execute(
                "INSERT INTO intents (change_set, tab, old_hash, new_hash, bytes, before) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    change_set,
                    name.as_str(),
                    hash(tables.table(name)),
                    hash(next.table(name)),
                    next.table(name),
                    stored(before)
                ],
            )?;
        }
        Ok(())
    }

    /// What was noted and is not finished; at most one set at a time.
    pub fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut rows =
            connection.prepare("SELECT change_set, before, written, tab, old_hash, new_hash, bytes FROM intents")?;
        let mut rows = rows.query([])?;
        let mut intent: Option<Self> = None;
        while let Some(row) = rows.next()? {
            let noted = intent.get_or_insert(Self {
                change_set: row.get(0)?,
                before: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                is_written: row.get(2)?,
                tables: Vec::new(),
            });
            noted.tables.push(Table {
                name: table_of(row.get_ref(3)?.as_str()?)?,
                old: row.get(4)?,
                new: row.get(5)?,
                bytes: row.get(6)?,
            });
        }
        Ok(intent)
    }

    /// Says, in a transaction, that the tables have it.
    pub fn written(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
        transaction.execute("UPDATE intents SET written = 1", [])
    }

    /// Takes it away, in a transaction.
    pub fn end(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
        transaction.execute("DELETE FROM intents", [])
    }

    /// What the tables are to be, from what they are and what the history knows of them.
    pub fn target(&self, tables: &Sources, known: &Sources) -> Target {
        let now = |name| hash(tables.table(name));
        let others: Vec<_> = self.tables.iter().filter(|t| now(t.name) != t.old && now(t.name) != t.new).collect();
        if others.is_empty() {
            let mut target = tables.clone();
            for Table { name, bytes, .. } in &self.tables {
                target.table_mut(*name).clone_from(bytes);
            }
            return Target::New(target);
        }
        Target::Old(self.without(tables, known), others.into_iter().map(|table| table.name).collect())
    }

    /// The tables without what was written of it. What they were before is what the history knows: nothing is begun
    /// before it knows the tables.
    pub fn without(&self, tables: &Sources, known: &Sources) -> Sources {
        let mut without = tables.clone();
        for Table { name, old, new, .. } in &self.tables {
            if hash(tables.table(*name)) == *new && hash(known.table(*name)) == *old {
                known.table(*name).clone_into(without.table_mut(*name));
            }
        }
        without
    }
}

fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}
