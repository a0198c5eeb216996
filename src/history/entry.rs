//! The entries, and the chain that they are in.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A change set was submitted for approval.
    Submitted,
    /// It was approved.
    Approved,
    /// It was refused.
    Refused,
    /// Its author took it back.
    Withdrawn,
    /// It was applied: the tables have it.
    Applied,
    /// It could not be applied.
    Conflict,
    /// It was applied first, and somebody else has looked at it since.
    Reviewed,
    /// The tables were changed outside the console.
    Outside,
    /// An account was invited, or its rights were changed, or it was reset, disabled, erased.
    Account,
    /// Somebody signed in.
    SignedIn,
}

/// An entry to be made.
#[derive(Debug, Clone)]
pub struct NewEntry<'a> {
    /// Who; `None`: somebody outside the console, or the console itself.
    pub account: Option<i64>,
    /// What was done.
    pub action: Action,
    /// To what: `set 17`, `account 3`, `signs.csv`.
    pub object: &'a str,
    /// The change set that it belongs to.
    pub change_set: Option<i64>,
    /// Why, as somebody has written it.
    pub reason: &'a str,
    /// Who approved it.
    pub approver: Option<i64>,
    /// The generations before and after.
    pub generations: Option<(u64, u64)>,
    /// More, such as cells with old and new values.
    pub details: serde_json::Value,
}

/// An entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// From 1, without a gap.
    pub seq: i64,
    /// When.
    pub time: Timestamp,
    /// See [`NewEntry`].
    pub account: Option<i64>,
    /// See [`NewEntry`].
    pub action: Action,
    /// See [`NewEntry`].
    pub object: String,
    /// See [`NewEntry`].
    pub change_set: Option<i64>,
    /// See [`NewEntry`].
    pub reason: String,
    /// See [`NewEntry`].
    pub approver: Option<i64>,
    /// See [`NewEntry`].
    pub generations: Option<(u64, u64)>,
    /// See [`NewEntry`].
    pub details: serde_json::Value,
    /// What the chain has here.
    pub hash: [u8; 32],
}

/// How far the history goes: the last entry's number and hash. Shown as `SEQ:HEX16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 0 where there is none.
    pub seq: i64,
    /// Zeros where there is none.
    pub hash: [u8; 32],
}

/// Appends an entry, in the transaction of what it tells.
pub fn append(transaction: &Transaction<'_>, now: Timestamp, entry: &NewEntry<'_>) -> rusqlite::Result<Head> {
    todo!("{transaction:?} {now} {entry:?}")
}

/// The head.
pub fn head(connection: &Connection) -> rusqlite::Result<Head> {
    todo!("{connection:?}")
}

/// What a look at the whole chain has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Entries that were looked at.
    pub entries: i64,
    /// The head as it is.
    pub head: Head,
    /// All that is wrong, a line each; none: the history is whole, as far as the file itself can tell.
    pub problems: Vec<String>,
}

/// Looks at each entry and link, and whether a head that was noted elsewhere (its number, and the first 16
/// hexadecimal digits of its hash) is in the chain.
pub fn verify(connection: &Connection, noted: Option<(i64, u64)>) -> rusqlite::Result<Verification> {
    todo!("{connection:?} {noted:?}")
}
