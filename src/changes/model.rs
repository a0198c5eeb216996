//! Change sets and their life.

use std::sync::Arc;

use jiff::Timestamp;

use crate::history::{Database, DatabaseError};
use crate::source::CellChange;

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
    /// The reason is missing or too long.
    #[error("expected a reason of 1 to 500 characters, found {0}")]
    Reason(usize),
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

    /// Makes a draft; its number.
    pub fn draft(&self, draft: &Draft, now: Timestamp) -> Result<i64, ChangeError> {
        todo!("{:?} {} {draft:?} {now}", self.database, self.approvals)
    }

    /// Changes a draft of the account's own: its reason, its time, its cells.
    pub fn redraft(&self, number: i64, draft: &Draft) -> Result<(), ChangeError> {
        todo!("{number} {draft:?}")
    }

    /// Submits a draft of the account's own. Where no approval is needed it is approved with that.
    pub fn submit(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        todo!("{number} {by} {now}")
    }

    /// Approves a submitted set of somebody else.
    pub fn approve(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        todo!("{number} {by} {now}")
    }

    /// Refuses a submitted set, or one that is approved and not applied yet.
    pub fn refuse(&self, number: i64, by: i64, remark: &str, now: Timestamp) -> Result<(), ChangeError> {
        todo!("{number} {by} {remark} {now}")
    }

    /// Takes back a set of the account's own that is not applied yet; a draft is gone with that.
    pub fn withdraw(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        todo!("{number} {by} {now}")
    }

    /// Has a draft or submitted set of the account's own applied now, to be reviewed afterwards.
    pub fn apply_first(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        todo!("{number} {by} {now}")
    }

    /// Says that a set which was applied first is all right; by another account.
    pub fn review(&self, number: i64, by: i64, now: Timestamp) -> Result<(), ChangeError> {
        todo!("{number} {by} {now}")
    }

    /// A set.
    pub fn get(&self, number: i64) -> Result<ChangeSet, ChangeError> {
        todo!("{number}")
    }

    /// Sets without their cells, the newest first: those in one of the states, or all.
    pub fn list(&self, states: &[State], from: usize, most: usize) -> Result<Vec<ChangeSet>, ChangeError> {
        todo!("{states:?} {from} {most}")
    }

    /// Sets, without their cells, that were applied first and nobody else has reviewed.
    pub fn to_review(&self) -> Result<Vec<ChangeSet>, ChangeError> {
        todo!()
    }

    /// Sets that are not at their end (submitted, approved, draft) and change a row.
    pub fn pending_for(&self, table: crate::source::TableName, key: &str) -> Result<Vec<ChangeSet>, ChangeError> {
        todo!("{table:?} {key}")
    }

    /// The inverse of an applied set, for the tables as they are: what can be undone, and what has changed since
    /// and is left alone.
    pub fn inverse(
        &self,
        number: i64,
        tables: &crate::source::Sources,
    ) -> Result<(Vec<CellChange>, Vec<CellChange>), ChangeError> {
        todo!("{number} {tables:?}")
    }
}
