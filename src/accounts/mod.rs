//! Who may do what at the console.
//!
//! Owns accounts, their rights, how somebody proves to be one (password, second factor, one-time link), and the
//! sessions. Passwords are hashed with argon2id, what a cookie or a link has is kept as a hash; a wrong name takes
//! as long and is answered as a wrong password.

mod rights;

use std::sync::Arc;

use jiff::Timestamp;

pub use rights::{Right, Role};

use crate::history::{Database, DatabaseError};

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Whether it may do something in all of these areas (what has no area is only for those of every area).
    #[must_use]
    pub fn may<'a>(&self, right: Right, mut areas: impl Iterator<Item = &'a str>) -> bool {
        self.role.has(right)
            && (right != Right::ApplyFirst || self.applies_first)
            && (self.areas.is_empty() || areas.all(|area| self.areas.iter().any(|own| own == area)))
    }
}

/// All accounts.
#[derive(Debug)]
pub struct Accounts {
    database: Arc<Database>,
}

impl Accounts {
    /// Those of a database.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Each, by number, the erased too: for the names in the history.
    pub fn all(&self) -> Result<Vec<Account>, DatabaseError> {
        todo!("{:?}", self.database)
    }
}
