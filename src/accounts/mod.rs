//! Who may do what at the console.
//!
//! Owns accounts, their rights, how somebody proves to be one (password, second factor, one-time link), and the
//! sessions. Passwords are hashed with argon2id, what a cookie or a link has is kept as a hash; a wrong name takes
//! as long and is answered as a wrong password.

mod invitations;
mod limits;
mod managing;
mod password;
mod rights;
mod second_factor;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

pub use invitations::{Invited, NewAccount};
pub use limits::{Attempt, Limits, Pause, Refused};
pub use managing::Rights;
pub use password::{MAX_PASSWORD, MIN_PASSWORD, PasswordError};
pub use rights::{Right, Role};
pub use second_factor::TotpSecret;
pub use sessions::{MOST, NewSession, Session};
pub use sign_in::{Credentials, SignInError};

use crate::history::{self, Action, Database, DatabaseError, NewEntry};

/// Characters of a name.
pub const MAX_NAME: usize = 64;

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a column of its own")]
pub struct Account {
    /// Never given twice: the history names people by it.
    pub number: i64,
    /// As it is typed at the sign-in.
    pub name: String,
    /// What it may do,
    pub role: Role,
    /// and where; empty: in every area.
    pub areas: Vec<String>,
    /// Whether it may apply a change that is reviewed afterwards.
    pub applies_first: bool,
    /// Of the pages: `vi`, `en`; empty: the browser's.
    pub language: String,
    /// Whether a second factor is asked for.
    pub has_second_factor: bool,
    /// Whether it may not sign in.
    pub is_disabled: bool,
    /// Whether it has been invited and has set no password yet.
    pub is_invited: bool,
    /// When it last signed in.
    pub last_sign_in: Option<Timestamp>,
}

impl Account {
    /// Whether its name was erased, and everything with it but its number.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.name.starts_with('#')
    }
}

impl Account {
    /// Whether it may do something in all of these areas (what has no area is only for those of every area). Accents
    /// may be composed or not, as in the table.
    #[must_use]
    pub fn may<'a>(&self, right: Right, mut areas: impl Iterator<Item = &'a str>) -> bool {
        self.role.has(right)
            && (right != Right::ApplyFirst || self.applies_first)
            && (self.areas.is_empty() || areas.all(|area| self.areas.iter().any(|own| own.nfc().eq(area.nfc()))))
    }
}

/// Why something can't be done to an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The console's file fails.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
    /// There is none of this name or number, or it was erased.
    #[error("expected an account, found none of this name")]
    Unknown,
    /// It would leave nobody who manages accounts.
    #[error("expected another manager who can sign in: this is the last one")]
    LastManager,
    /// It is no name.
    #[error("expected a name of 1 to {MAX_NAME} characters that does not begin with #, found {0:?}")]
    Name(String),
    /// Another has the name.
    #[error("expected a name that nobody has, found {0:?}")]
    Taken(String),
    /// An area that no place is in.
    #[error("expected the name of an area, found {0:?}")]
    Area(String),
    /// The link was used, is too old, or never was one; or its account was disabled.
    #[error("expected a link that was not used and is at most 72 hours old")]
    Link,
    /// The new password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The password that the account has is another.
    #[error("expected the account's own password")]
    Wrong,
    /// The digits are not those that the phone shows now.
    #[error("expected the six digits that the application shows now")]
    Code,
}

impl From<rusqlite::Error> for AccountError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// All accounts.
#[derive(Debug)]
pub struct Accounts {
    database: Arc<Database>,
    /// How often somebody may try.
    pub limits: Arc<Limits>,
}

impl Accounts {
    /// Those of a database.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database, limits: Arc::default() }
    }

    /// Each, by number, the erased too: for the names in the history.
    pub fn all(&self) -> Result<Vec<Account>, DatabaseError> {
        self.database.read(|connection| {
            let mut statement = connection.prepare(&format!("{SELECT} ORDER BY number"))?;
            let accounts = statement.query_map([], account)?;
            Ok(accounts.collect::<Result<_, _>>()?)
        })
    }

    /// The one of a name, as it is typed; the erased have none.
    pub fn named(&self, name: &str) -> Result<Option<Account>, DatabaseError> {
        self.database.read(|connection| Ok(named(connection, name)?))
    }
}

const SELECT: &str = "SELECT number, name, role, areas, applies_first, language, password IS NULL, totp IS NOT NULL, \
                      last_sign_in, disabled IS NOT NULL FROM accounts";

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let (role, areas, last): (String, String, Option<i64>) = (row.get(2)?, row.get(3)?, row.get(8)?);
    Ok(Account {
        number: row.get(0)?,
        name: row.get(1)?,
        // A word that this release does not know gives no right but to see, and areas that can't be read none at all.
        role: Role::named(&role).unwrap_or(Role::Viewer),
        areas: serde_json::from_str(&areas).unwrap_or_else(|_| vec!["\0".to_owned()]),
        applies_first: row.get(4)?,
        language: row.get(5)?,
        is_invited: row.get(6)?,
        has_second_factor: row.get(7)?,
        last_sign_in: last.map(time),
        is_disabled: row.get(9)?,
    })
}

fn numbered(connection: &Connection, number: i64) -> rusqlite::Result<Option<Account>> {
    connection.query_row(&format!("{SELECT} WHERE number = ?1"), [number], account).optional()
}

fn named(connection: &Connection, name: &str) -> rusqlite::Result<Option<Account>> {
    let name = normal_name(name);
    if name.starts_with('#') {
        return Ok(None);
    }
    connection.query_row(&format!("{SELECT} WHERE name = ?1"), [name], account).optional()
}

/// A name as it is compared.
fn normal_name(name: &str) -> String {
    name.trim().nfc().collect()
}

/// A name for a new account.
fn new_name(connection: &Connection, name: &str) -> Result<String, AccountError> {
    let normal = normal_name(name);
    let is_name = (1..=MAX_NAME).contains(&normal.chars().count())
        && !normal.starts_with('#')
        && !normal.chars().any(char::is_control);
    if !is_name {
        return Err(AccountError::Name(name.chars().take(MAX_NAME).collect()));
    }
    if named(connection, &normal)?.is_some() { Err(AccountError::Taken(normal)) } else { Ok(normal) }
}

/// Notes in the history what was done to an account.
fn note(
    transaction: &Transaction<'_>,
    now: Timestamp,
    by: Option<i64>,
    (action, number): (Action, i64),
    details: Value,
) -> rusqlite::Result<()> {
    let object = format!("account {number}");
    let entry = NewEntry {
        account: by,
        action,
        object: &object,
        change_set: None,
        reason: "",
        approver: None,
        generations: None,
        details,
    };
    history::append(transaction, now, &entry).map(drop)
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
