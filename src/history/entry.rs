//! The entries, and the chain that they are in.
//!
//! Owns what is hashed. The hash of an entry is the SHA-256 of these bytes, one after another:
//!
//! 1. `waypost history 1` and a NUL byte;
//! 2. the hash of the entry before (32 bytes; of the first one, zeros);
//! 3. the fields in the order `seq`, `time` (milliseconds since the Unix epoch), `account`, `action`, `object`,
//!    `change_set`, `reason`, `approver`, generation `before`, generation `after`, `details` (the JSON as it is
//!    stored), each as its length in bytes (64 bits, little-endian) and its bytes: of a text its UTF-8, of a number
//!    its 64 bits, little-endian; one that is absent is the length 2⁶⁴ − 1 and nothing else;
//! 4. everything that the entry is about, sorted by its bytes, each as a text like those above.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};

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

impl Action {
    /// Each.
    pub const ALL: [Self; 10] = [
        Self::Submitted,
        Self::Approved,
        Self::Refused,
        Self::Withdrawn,
        Self::Applied,
        Self::Conflict,
        Self::Reviewed,
        Self::Outside,
        Self::Account,
        Self::SignedIn,
    ];

    /// The word in the database and in addresses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Applied => "applied",
            Self::Conflict => "conflict",
            Self::Reviewed => "reviewed",
            Self::Outside => "outside",
            Self::Account => "account",
            Self::SignedIn => "signed_in",
        }
    }

    /// The action of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

impl FromSql for Action {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
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

impl Entry {
    /// The text beside the reason, in the details; empty where there is none.
    #[must_use]
    pub fn remark(&self) -> &str {
        self.details.get("remark").and_then(serde_json::Value::as_str).unwrap_or("")
    }
}

/// How far the history goes: the last entry's number and hash. Shown as `SEQ:HEX16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 0 where there is none.
    pub seq: i64,
    /// Zeros where there is none.
    pub hash: [u8; 32],
}

impl Head {
    /// The first 64 bits of the hash, as they are noted elsewhere.
    #[must_use]
    pub fn first_bits(&self) -> u64 {
        first_bits(&self.hash)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.seq, self.first_bits())
    }
}

/// The first 64 bits of a hash.
pub(super) fn first_bits(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |first, &byte| first << 8 | u64::from(byte))
}

/// An entry as it is stored, to be hashed.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub previous: &'a [u8],
    pub seq: i64,
    pub time: i64,
    pub account: Option<i64>,
    pub action: &'a str,
    pub object: &'a str,
    pub change_set: Option<i64>,
    pub reason: &'a str,
    pub approver: Option<i64>,
    pub before: Option<i64>,
    pub after: Option<i64>,
    pub details: &'a str,
}

impl Stored<'_> {
    /// See the head of this file. `objects` are sorted.
    pub fn hash<'o>(&self, objects: impl Iterator<Item = &'o str>) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"waypost history 1\0");
        hash.update(self.previous);
        let mut field = |bytes: Option<&[u8]>| {
            hash.update(bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
            hash.update(bytes.unwrap_or_default());
        };
        let number = |number: i64| number.to_le_bytes();
        field(Some(&number(self.seq)));
        field(Some(&number(self.time)));
        field(self.account.map(number).as_ref().map(<[u8; 8]>::as_slice));
        field(Some(self.action.as_bytes()));
        field(Some(self.object.as_bytes()));
        field(self.change_set.map(number).as_ref().map(<[u8; 8]>::as_slice));
        field(Some(self.reason.as_bytes()));
        for absent in [self.approver, self.before, self.after] {
            field(absent.map(number).as_ref().map(<[u8; 8]>::as_slice));
        }
        field(Some(self.details.as_bytes()));
        for object in objects {
            field(Some(object.as_bytes()));
        }
        hash.finalize().into()
    }
}

/// Appends an entry, in the transaction of what it tells. It is found by its object.
pub fn append(transaction: &Transaction<'_>, now: Timestamp, entry: &NewEntry<'_>) -> rusqlite::Result<Head> {
    append_about(transaction, now, entry, BTreeSet::new())
}

/// The same for an entry that is about more than its object: signs and places, as `signs 7K3M9QX2`.
pub fn append_about(
    transaction: &Transaction<'_>,
    now: Timestamp,
    entry: &NewEntry<'_>,
    mut objects: BTreeSet<String>,
) -> rusqlite::Result<Head> {
    objects.insert(entry.object.to_owned());
    let head = head(transaction)?;
    let generation = |generation: u64| i64::try_from(generation).unwrap_or(i64::MAX);
    let details = entry.details.to_string();
    let stored = Stored {
        previous: &head.hash,
        seq: head.seq + 1,
        time: now.as_millisecond(),
        account: entry.account,
        action: entry.action.as_str(),
        object: entry.object,
        change_set: entry.change_set,
        reason: entry.reason,
        approver: entry.approver,
        before: entry.generations.map(|(before, _)| generation(before)),
        after: entry.generations.map(|(_, after)| generation(after)),
        details: &details,
    };
    let hash = stored.hash(objects.iter().map(String::as_str));
    transaction
        .prepare_cached(
            "INSERT INTO history (seq, time, account, action, object, change_set, reason, approver, before, after, \
             details, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            stored.seq,
            stored.time,
            stored.account,
            stored.action,
            stored.object,
            stored.change_set,
            stored.reason,
            stored.approver,
            stored.before,
            stored.after,
            stored.details,
            stored.previous,
            hash,
        ])?;
    let mut about = transaction.prepare_cached("INSERT INTO history_objects (object, seq) VALUES (?1, ?2)")?;
    for object in &objects {
        about.execute(params![object, stored.seq])?;
    }
    Ok(Head { seq: stored.seq, hash })
}

/// The head.
pub fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let last = connection
        .prepare_cached("SELECT seq, hash FROM history ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }))
        .optional()?;
    Ok(last.unwrap_or(Head { seq: 0, hash: [0; 32] }))
}
