//! Change sets and their life.
//!
//! Owns who may do which step after which: each is one transaction that looks where the set is, moves it on and
//! adds the entry to the history, so of two that race one wins, and the other is told where the set is now. Nobody
//! approves, refuses or reviews a set of his own. What a set was made from is never guessed again: its cells have the
//! old value beside the new.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params, params_from_iter};
use serde_json::json;

use super::entry::{about, cells_of};
use crate::core::Problems;
use crate::history::{Action, Database, DatabaseError, NewEntry, append_about};
use crate::source::{CellChange, Cells, Sources, TableName};

/// Characters of a reason or a remark, at most.
pub const MAX_REASON: usize = 500;
/// The remark of an entry that approves a set by nobody: it was applied first, to be reviewed afterwards. The history
/// keeps the word; pages say it in their language.
pub const APPLIED_FIRST: &str = "applied_first";
/// The remark of an entry that approves a set by nobody: `console.approvals` is 0.
pub const NO_APPROVAL_NEEDED: &str = "no_approval_needed";
/// Cells of a set, at most.
pub const MAX_CELLS: usize = 100_000;

/// Where a set is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its author is still at it.
    Draft,
    /// It waits for somebody else's approval.
    Submitted,
    /// It will be applied at its time.
    Approved,
    /// The tables have it.
    Applied,
    /// Somebody did not want it.
    Refused,
    /// Its author took it back.
    Withdrawn,
    /// It was approved, and could not be applied: a cell had changed since, or the tables would break a rule.
    Conflict,
}

/// A set.
#[derive(Debug, Clone)]
pub struct ChangeSet {
    /// From 1.
    pub number: i64,
    /// Where it is.
    pub state: State,
    /// Number of the account that made it.
    pub author: i64,
    /// Why it is wanted.
    pub reason: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was submitted.
    pub submitted: Option<Timestamp>,
    /// When it is to be applied; `None`: at once.
    pub effective: Option<Timestamp>,
    /// Who approved or refused it; `None` where no approval was needed.
    pub approver: Option<i64>,
    /// When.
    pub decided: Option<Timestamp>,
    /// Why it was refused, or could not be applied.
    pub remark: String,
    /// When it was applied.
    pub applied: Option<Timestamp>,
    /// The generations before and after.
    pub generations: Option<(u64, u64)>,
    /// The set that it undoes.
    pub undoes: Option<i64>,
    /// Whether it was applied first, to be reviewed afterwards.
    pub applies_first: bool,
    /// Who has reviewed it since, and when.
    pub reviewed: Option<(i64, Timestamp)>,
    /// Whether it may lose more signs than `registry.max_shrink`.
    pub forced: bool,
    /// What it changes.
    pub cells: Vec<CellChange>,
}

/// A set to be made.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Number of the account.
    pub author: i64,
    /// Why it is wanted: 1 to 500 characters.
    pub reason: String,
    /// When it is to be applied; `None`: at once.
    pub effective: Option<Timestamp>,
    /// What it changes.
    pub cells: Vec<CellChange>,
    /// The set that it undoes.
    pub undoes: Option<i64>,
    /// Whether it may lose more signs than `registry.max_shrink`.
    pub forced: bool,
}

/// Why something can't be done to a set.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No set has the number.
    #[error("there is no change set {0}")]
    NoSuch(i64),
    /// It is not, or no longer, where this could be done.
    #[error("expected a change set that is {expected}, found one that is {}", found.as_str())]
    State {
        /// As it would have to be.
        expected: &'static str,
        /// As it is.
        found: State,
    },
    /// Nobody approves a set of his own.
    #[error("expected another account than the author's")]
    OwnSet,
    /// Only the author can do this.
    #[error("expected the author's account")]
    NotTheAuthor,
    /// It changes nothing.
    #[error("expected at least one changed cell, found none")]
    Empty,
    /// The reason, or the remark of a refusal, is missing or too long.
    #[error("expected a reason of 1 to {MAX_REASON} characters, found {0}")]
    Reason(usize),
    /// It changes too much.
    #[error("expected at most {MAX_CELLS} changed cells, found {0}")]
    TooMany(usize),
    /// It changes a cell twice.
    #[error("expected each cell once, found {key}, {column} again")]
    Twice {
        /// The row's.
        key: String,
        /// As in the header.
        column: String,
    },
    /// The tables can't be read as they are.
    #[error(transparent)]
    Tables(#[from] Problems),
    /// The file can't be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl State {
    /// The word in the database and in addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::Approved => "approved",
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Conflict => "conflict",
        }
    }

    /// Each, in the order of a set's life.
    pub const ALL: [Self; 7] =
        [Self::Draft, Self::Submitted, Self::Approved, Self::Applied, Self::Refused, Self::Withdrawn, Self::Conflict];

    /// The state of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for State {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

/// All sets, and what can be done to them. Whether an account has the right is asked before.
#[derive(Debug)]
pub struct Changes {
    database: Arc<Database>,
    /// How many approvals a set needs: 0 or 1.
    approvals: u8,
}

impl Changes {
    /// Those of a database.
    pub fn new(database: Arc<Database>, approvals: u8) -> Self {
        Self { database, approvals }
    }

    /// Makes a draft; its number. Cells that stay as they are count as none.
    pub fn draft(&self, draft: &Draft, now: Timestamp) -> Result<i64, ChangeError> {
        let cells = checked(draft)?;
        self.database.write(|transaction| {
            transaction.execute(
                "INSERT INTO change_sets (state, author, reason, created, effective, undoes, forced) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    State::Draft,
                    draft.author,
                    draft.reason.trim(),
                    now.as_millisecond(),
                    draft.effective.map(Timestamp::as_millisecond),
                    draft.undoes,
                    draft.forced
                ],
            )?;
            let number = transaction.last_insert_rowid();
            insert_cells(transaction, number, &cells)?;
            Ok(number)
        })
    }

    /// Changes a draft of the account's own: its reason, its time, its cells.
    pub fn redraft(&self, number: i64, draft: &Draft) -> Result<(), ChangeError> {
        let cells = checked(draft)?;
        self.database.write(|transaction| {
            let set = Standing::of(transaction, number)?;
            set.is_own(draft.author)?;
            set.is_in(&[State::Draft], "a draft")?;
            transaction.execute(
                "UPDATE change_sets SET reason = ?2, effective = ?3, undoes = ?4, forced = ?5 WHERE number = ?1",
                params![
                    number,
                    draft.reason.trim(),
                    draft.effective.map(Timestamp::as_millisecond),
                    draft.undoes,
                    draft.forced
                ],
            )?;
            transaction.execute("DELETE FROM change_cells WHERE change_set = ?1", [number])?;
            insert_cells(transaction, number, &cells)?;
            Ok(())
        })
    }

    /// Submits a draft of the account's own. Where no approval is needed it is approved with that; the state it is in.
    pub fn submit(&self, number: i64, by: i64, now: Timestamp) -> Result<State, ChangeError> {
        self.database.write(|transaction| {
            let set = Standing::of(transaction, number)?;
            set.is_own(by)?;
            set.is_in(&[State::Draft], "a draft")?;
            let set = set.submit(transaction, now)?;
            if self.approvals == 0 {
                set.approve(transaction, now, NO_APPROVAL_NEEDED)?;
                return Ok(State::Approved);
            }
            Ok(State::Submitted)
        })
    }

    /// Approves a submitted set of somebody else.
    pub fn approve(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        self.database.write(|transaction| {
            let set = Standing::of(transaction, number)?;
            set.is_of_another(by)?;
            set.is_in(&[State::Submitted], "submitted")?;
            transaction.execute(
                "UPDATE change_sets SET state = ?2, approver = ?3, decided = ?4 WHERE number = ?1",
                params![number, State::Approved, by, now.as_millisecond()],
            )?;
            set.tell(
                transaction,
                now,
                &Told { account: Some(by), approver: Some(by), ..Told::that(Action::Approved) },
            )?;
            Ok(())
        })
    }

    /// Refuses a submitted set, or one that is approved and not applied yet.
    pub fn refuse(&self, number: i64, by: i64, remark: &str, now: Timestamp) -> Result<(), ChangeError> {
        let remark = reason(remark)?;
        self.database.write(|transaction| {
            let set = Standing::of(transaction, number)?;
            set.is_of_another(by)?;
            set.is_in(&[State::Submitted, State::Approved], "submitted, or approved and not being applied")?;
            transaction.execute(
                "UPDATE change_sets SET state = ?2, approver = ?3, decided = ?4, remark = ?5 WHERE number = ?1",
                params![number, State::Refused, by, now.as_millisecond(), remark],
            )?;
            let told = Told { account: Some(by), remark, ..Told::that(Action::Refused) };
            set.tell(transaction, now, &told)
        })
    }

    /// Takes back a set of the account's own that is not applied yet; a draft, which nobody else has been asked
    /// about, is gone with that, without an entry.
    pub fn withdraw(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        self.database.write(|transaction| {
            let set = Standing::of(transaction, number)?;
            set.is_own(by)?;
            set.is_in(
                &[State::Draft, State::Submitted, State::Approved],
                "a draft, submitted, or approved and not being applied",
            )?;
            if set.state == State::Draft {
                transaction.execute("DELETE FROM change_cells WHERE change_set = ?1", [number])?;
                transaction.execute("DELETE FROM change_sets WHERE number = ?1", [number])?;
                return Ok(());
            }
            transaction
                .execute("UPDATE change_sets SET state = ?2 WHERE number = ?1", params![number, State::Withdrawn])?;
            set.tell(transaction, now, &Told { account: Some(by), ..Told::that(Action::Withdrawn) })
        })
    }

    /// Has a draft or submitted set of the account's own applied now, to be reviewed afterwards.
    pub fn apply_first(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        self.database.write(|transaction| {
            let mut set = Standing::of(transaction, number)?;
            set.is_own(by)?;
            set.is_in(&[State::Draft, State::Submitted], "a draft, or submitted")?;
            if set.state == State::Draft {
                set = set.submit(transaction, now)?;
            }
            transaction
                .execute("UPDATE change_sets SET applies_first = 1, effective = NULL WHERE number = ?1", [number])?;
            set.approve(transaction, now, APPLIED_FIRST)
        })
    }

    /// Says that a set which was applied first is all right; by another account.
    pub fn review(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        self.database.write(|transaction| {
            let set = Standing::of(transaction, number)?;
            set.is_of_another(by)?;
            let to_review = "SELECT applies_first AND reviewer IS NULL FROM change_sets WHERE number = ?1";
            let to_review: bool = transaction.query_row(to_review, [number], |row| row.get(0))?;
            let expected = "applied first and not reviewed yet";
            set.is_in(if to_review { &[State::Applied] } else { &[] }, expected)?;
            transaction.execute(
                "UPDATE change_sets SET reviewer = ?2, reviewed = ?3 WHERE number = ?1",
                params![number, by, now.as_millisecond()],
            )?;
            set.tell(transaction, now, &Told { account: Some(by), ..Told::that(Action::Reviewed) })
        })
    }

    /// A set.
    pub fn get(&self, number: i64) -> Result<ChangeSet, ChangeError> {
        self.database.read(|connection| get(connection, number))
    }

    /// Sets without their cells, the newest first: those in one of the states, or all.
    pub fn list(&self, states: &[State], from: usize, most: usize) -> Result<Vec<ChangeSet>, ChangeError> {
        let places = vec!["?"; states.len()].join(", ");
        let condition = if states.is_empty() { "true".to_owned() } else { format!("state IN ({places})") };
        let states = states.iter().map(|state| Value::from(state.as_str().to_owned()));
        let count = |number: usize| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let values = states.chain([count(most), count(from)]);
        self.sets(&format!("{condition} ORDER BY number DESC LIMIT ? OFFSET ?"), values)
    }

    /// Sets, without their cells, that were applied first and nobody else has reviewed.
    pub fn to_review(&self) -> Result<Vec<ChangeSet>, ChangeError> {
        let condition = "state = 'applied' AND applies_first AND reviewer IS NULL ORDER BY number DESC";
        self.sets(condition, std::iter::empty())
    }

    /// Sets that are not at their end (submitted, approved, draft) and change a row, or an override of what the row is
    /// of; without their cells.
    pub fn pending_for(&self, table: TableName, key: &str) -> Result<Vec<ChangeSet>, ChangeError> {
        // The key of an override is its scope, a space and when it begins; `!` comes next after the space.
        let condition = "state IN ('draft', 'submitted', 'approved') \
            AND number IN (SELECT change_set FROM change_cells \
                WHERE tab = ? AND key = ? OR tab = 'overrides' AND key > ? || ' ' AND key < ? || '!') \
            ORDER BY number DESC";
        let key = || Value::from(key.to_owned());
        self.sets(condition, [Value::from(table.as_str().to_owned()), key(), key(), key()].into_iter())
    }

    fn sets(&self, condition: &str, values: impl Iterator<Item = Value>) -> Result<Vec<ChangeSet>, ChangeError> {
        self.database.read(|connection| {
            let mut question =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM change_sets WHERE {condition}"))?;
            let sets = question.query_map(params_from_iter(values), set)?;
            Ok(sets.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The inverse of an applied set, for the tables as they are: what can be undone, and what has changed since
    /// and is left alone. A row that the set has added or taken away is undone whole or not at all.
    pub fn inverse(&self, number: i64, tables: &Sources) -> Result<(Vec<CellChange>, Vec<CellChange>), ChangeError> {
        let set = self.get(number)?;
        if set.state != State::Applied {
            return Err(ChangeError::State { expected: "applied", found: set.state });
        }
        inverse(&set.cells, tables)
    }
}

impl Changes {
    /// Sets that are approved and due, in the order in which they are applied.
    pub(super) fn due(&self, now: Timestamp) -> Result<Vec<i64>, ChangeError> {
        self.database.read(|connection| {
            let mut due = connection.prepare_cached(
                "SELECT number FROM change_sets WHERE state = 'approved' AND (effective IS NULL OR effective <= ?1) \
                 ORDER BY coalesce(effective, decided), number",
            )?;
            let due = due.query_map([now.as_millisecond()], |row| row.get(0))?;
            Ok(due.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Says, in a transaction, that the tables have an approved set; `false` where it is approved no longer, since somebody
/// has refused it or taken it back meanwhile, which stands.
pub(super) fn applied(
    transaction: &Transaction<'_>,
    number: i64,
    generations: (u64, u64),
    now: Timestamp,
) -> Result<bool, ChangeError> {
    let set = Standing::of(transaction, number)?;
    if set.state != State::Approved {
        return Ok(false);
    }
    transaction.execute(
        "UPDATE change_sets SET state = ?2, applied = ?3, before = ?4, after = ?5 WHERE number = ?1",
        params![number, State::Applied, now.as_millisecond(), stored(generations.0), stored(generations.1)],
    )?;
    let told = Told { generations: Some(generations), ..Told::that(Action::Applied) };
    set.tell(transaction, now, &Told { account: Some(set.author), approver: set.approver, ..told })?;
    Ok(true)
}

/// Says, in a transaction, that an approved set could not be applied, and why; `false` as of [`applied`].
pub(super) fn conflicting(
    transaction: &Transaction<'_>,
    number: i64,
    why: &str,
    now: Timestamp,
) -> Result<bool, ChangeError> {
    let set = Standing::of(transaction, number)?;
    if set.state != State::Approved {
        return Ok(false);
    }
    transaction.execute(
        "UPDATE change_sets SET state = ?2, remark = ?3 WHERE number = ?1",
        params![number, State::Conflict, why],
    )?;
    let told = Told { approver: set.approver, remark: why, ..Told::that(Action::Conflict) };
    set.tell(transaction, now, &Told { account: Some(set.author), ..told })?;
    Ok(true)
}

/// A generation as SQLite has numbers.
pub(super) fn stored(generation: u64) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}

/// What undoes some cells, and which of it does not fit the tables as they are.
fn inverse(cells: &[CellChange], tables: &Sources) -> Result<(Vec<CellChange>, Vec<CellChange>), ChangeError> {
    let mut read: HashMap<TableName, Cells> = HashMap::new();
    for table in TableName::ALL {
        if cells.iter().any(|cell| cell.table == table) {
            read.insert(table, tables.cells(table)?);
        }
    }
    let is_as_left = |cell: &CellChange| read[&cell.table].get(&cell.key, &cell.column) == cell.new.as_deref();
    // Of each row that the set has added or taken away, the columns that it names.
    let mut rows: HashMap<(TableName, &str), HashSet<&str>> = HashMap::new();
    for cell in cells.iter().filter(|cell| cell.old.is_none() || cell.new.is_none()) {
        rows.entry((cell.table, &cell.key)).or_default().insert(&cell.column);
    }
    // Somebody has filled a cell of it since that the set had left empty, and would lose it with the row.
    let is_filled = |(table, key): (TableName, &str), named: &HashSet<&str>| {
        let cells = &read[&table];
        let others = cells.columns().iter().map(String::as_str);
        others
            .filter(|column| !named.contains(column) && !table.key_columns().contains(column))
            .any(|column| cells.get(key, column).is_some_and(|value| !value.is_empty()))
    };
    let mut left: HashSet<(TableName, String)> = HashSet::new();
    for (&(table, key), named) in &rows {
        if is_filled((table, key), named) {
            left.insert((table, key.to_owned()));
        }
    }
    for cell in cells.iter().filter(|cell| !is_as_left(cell) && rows.contains_key(&(cell.table, &cell.key))) {
        left.insert((cell.table, cell.key.clone()));
    }
    let is_undone = |cell: &CellChange| is_as_left(cell) && !left.contains(&(cell.table, cell.key.clone()));
    let (undone, changed): (Vec<_>, Vec<_>) = cells.iter().cloned().partition(is_undone);
    let turned = |cells: Vec<CellChange>| {
        cells.into_iter().map(|cell| CellChange { old: cell.new, new: cell.old, ..cell }).collect()
    };
    Ok((turned(undone), turned(changed)))
}

/// A reason without the white space around it.
fn reason(text: &str) -> Result<&str, ChangeError> {
    let text = text.trim();
    match text.chars().count() {
        1..=MAX_REASON => Ok(text),
        found => Err(ChangeError::Reason(found)),
    }
}

/// The cells of a draft that are to change.
fn checked(draft: &Draft) -> Result<Vec<&CellChange>, ChangeError> {
    reason(&draft.reason)?;
    let cells: Vec<_> = draft.cells.iter().filter(|cell| cell.old != cell.new).collect();
    match cells.len() {
        0 => return Err(ChangeError::Empty),
        1..=MAX_CELLS => {}
        found => return Err(ChangeError::TooMany(found)),
    }
    let mut seen = HashSet::with_capacity(cells.len());
    match cells.iter().find(|cell| !seen.insert((cell.table, &cell.key, &cell.column))) {
        Some(cell) => Err(ChangeError::Twice { key: cell.key.clone(), column: cell.column.clone() }),
        None => Ok(cells),
    }
}

fn insert_cells(transaction: &Transaction<'_>, number: i64, cells: &[&CellChange]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO change_cells (change_set, position, tab, key, col, old, new) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (position, cell) in (0_i64..).zip(cells) {
        insert.execute(params![number, position, cell.table.as_str(), cell.key, cell.column, cell.old, cell.new])?;
    }
    Ok(())
}

/// Where a set is, within the transaction that moves it on.
pub(super) struct Standing {
    pub number: i64,
    pub state: State,
    pub author: i64,
    pub approver: Option<i64>,
    reason: String,
    /// Whether its intent is there: it is being applied.
    is_being_applied: bool,
}

/// What an entry says of a set.
pub(super) struct Told<'a> {
    pub action: Action,
    pub account: Option<i64>,
    pub approver: Option<i64>,
    pub generations: Option<(u64, u64)>,
    /// Why it was refused or could not be applied; or that nobody has approved it, by one of the two words above.
    pub remark: &'a str,
}

impl Told<'_> {
    pub const fn that(action: Action) -> Self {
        Told { action, account: None, approver: None, generations: None, remark: "" }
    }
}

impl Standing {
    pub fn of(transaction: &Transaction<'_>, number: i64) -> Result<Self, ChangeError> {
        let standing = transaction
            .prepare_cached(
                "SELECT state, author, approver, reason, EXISTS (SELECT 1 FROM intents WHERE change_set = number) \
                 FROM change_sets WHERE number = ?1",
            )?
            .query_row([number], |row| {
                Ok(Self {
                    number,
                    state: row.get(0)?,
                    author: row.get(1)?,
                    approver: row.get(2)?,
                    reason: row.get(3)?,
                    is_being_applied: row.get(4)?,
                })
            })
            .optional()?;
        standing.ok_or(ChangeError::NoSuch(number))
    }

    fn is_own(&self, by: i64) -> Result<(), ChangeError> {
        if by == self.author { Ok(()) } else { Err(ChangeError::NotTheAuthor) }
    }

    fn is_of_another(&self, by: i64) -> Result<(), ChangeError> {
        if by == self.author { Err(ChangeError::OwnSet) } else { Ok(()) }
    }

    fn is_in(&self, states: &[State], expected: &'static str) -> Result<(), ChangeError> {
        if states.contains(&self.state) && !self.is_being_applied {
            return Ok(());
        }
        Err(ChangeError::State { expected, found: self.state })
    }

    fn submit(self, transaction: &Transaction<'_>, now: Timestamp) -> Result<Self, ChangeError> {
        transaction.execute(
            "UPDATE change_sets SET state = ?2, submitted = ?3 WHERE number = ?1",
            params![self.number, State::Submitted, now.as_millisecond()],
        )?;
        self.tell(transaction, now, &Told { account: Some(self.author), ..Told::that(Action::Submitted) })?;
        Ok(Self { state: State::Submitted, ..self })
    }

    /// Approves it by nobody, and says why: one of the two words above.
    fn approve(self, transaction: &Transaction<'_>, now: Timestamp, why: &str) -> Result<(), ChangeError> {
        transaction.execute(
            "UPDATE change_sets SET state = ?2, decided = ?3 WHERE number = ?1",
            params![self.number, State::Approved, now.as_millisecond()],
        )?;
        let told = Told { account: Some(self.author), remark: why, ..Told::that(Action::Approved) };
        self.tell(transaction, now, &told)
    }

    /// Adds an entry about it.
    pub fn tell(&self, transaction: &Transaction<'_>, now: Timestamp, told: &Told<'_>) -> Result<(), ChangeError> {
        let cells = read_cells(transaction, self.number)?;
        let mut details = cells_of(&cells);
        if !told.remark.is_empty() {
            details["remark"] = json!(told.remark);
        }
        let entry = NewEntry {
            account: told.account,
            action: told.action,
            object: &format!("set {}", self.number),
            change_set: Some(self.number),
            reason: &self.reason,
            approver: told.approver,
            generations: told.generations,
            details,
        };
        append_about(transaction, now, &entry, about(&cells))?;
        Ok(())
    }
}

/// What [`set`] reads.
const COLUMNS: &str = "number, state, author, reason, created, submitted, effective, approver, decided, remark, applied, \
    before, after, undoes, applies_first, reviewer, reviewed, forced";

/// A set with its cells.
fn get(connection: &Connection, number: i64) -> Result<ChangeSet, ChangeError> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM change_sets WHERE number = ?1"))?
        .query_row([number], set)
        .optional()?;
    let cells = read_cells(connection, number)?;
    Ok(ChangeSet { cells, ..found.ok_or(ChangeError::NoSuch(number))? })
}

/// A set without its cells.
fn set(row: &Row<'_>) -> rusqlite::Result<ChangeSet> {
    let generation = |number: i64| u64::try_from(number).unwrap_or(0);
    let before: Option<i64> = row.get(11)?;
    let after: Option<i64> = row.get(12)?;
    let reviewer: Option<i64> = row.get(15)?;
    Ok(ChangeSet {
        number: row.get(0)?,
        state: row.get(1)?,
        author: row.get(2)?,
        reason: row.get(3)?,
        created: time(row.get(4)?),
        submitted: row.get::<_, Option<i64>>(5)?.map(time),
        effective: row.get::<_, Option<i64>>(6)?.map(time),
        approver: row.get(7)?,
        decided: row.get::<_, Option<i64>>(8)?.map(time),
        remark: row.get(9)?,
        applied: row.get::<_, Option<i64>>(10)?.map(time),
        generations: before.zip(after).map(|(before, after)| (generation(before), generation(after))),
        undoes: row.get(13)?,
        applies_first: row.get(14)?,
        reviewed: reviewer.zip(row.get::<_, Option<i64>>(16)?.map(time)),
        forced: row.get(17)?,
        cells: Vec::new(),
    })
}

/// What was a time when it was stored.
fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// The cells of a set, in their order.
pub(super) fn read_cells(connection: &Connection, number: i64) -> rusqlite::Result<Vec<CellChange>> {
    connection
        .prepare_cached("SELECT tab, key, col, old, new FROM change_cells WHERE change_set = ?1 ORDER BY position")?
        .query_map([number], |row| {
            Ok(CellChange {
                table: table_of(row.get_ref(0)?.as_str()?)?,
                key: row.get(1)?,
                column: row.get(2)?,
                old: row.get(3)?,
                new: row.get(4)?,
            })
        })?
        .collect()
}

/// The table of a word in the database.
pub(super) fn table_of(word: &str) -> Result<TableName, FromSqlError> {
    TableName::ALL.into_iter().find(|table| table.as_str() == word).ok_or(FromSqlError::InvalidType)
}
