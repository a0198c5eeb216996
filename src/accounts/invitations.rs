//! One-time links: for a new account, for a forgotten password or a lost phone, and for the first account of all.
//!
//! Owns them. A link holds for 72 h and is used up by the password that is set with it, not by being looked at: programs
//! that fetch what stands in a message must not use it up.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde_json::json;

use super::sessions::{self, NewSession};
use super::sign_in::{forget_second_factor, signed_in};
use super::{Account, AccountError, Accounts, DatabaseError, Role, named, new_name, note, numbered, password, token};
use crate::history::Action;

const VALID: Duration = Duration::from_hours(72);

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// As it will be typed at the sign-in.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where; empty: everywhere.
    pub areas: Vec<String>,
    /// Whether it may apply a change that is reviewed afterwards.
    pub applies_first: bool,
}

/// Whom a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invited {
    /// Whoever makes the first account; on this machine only.
    First,
    /// Somebody.
    Account(Account),
}

impl Accounts {
    /// Makes an account without a password, and a link to set one.
    pub fn invite(&self, now: Timestamp, by: Option<i64>, new: &NewAccount) -> Result<String, AccountError> {
        let token = token::draw()?;
        self.database
            .write(|transaction| {
                let number = insert(transaction, now, new)?;
                let areas = json!(new.areas);
                let details = json!({
                    "what": "invited", "role": new.role.as_str(), "areas": areas, "applies_first": new.applies_first,
                });
                note(transaction, now, by, (Action::Account, number), details)?;
                Ok(link(transaction, now, Some(number), &token)?)
            })
            .map(|()| token.clone())
    }

    /// Takes an account's password, second factor and sessions away, and makes a link to set a password. The name is as
    /// it is typed.
    pub fn reset(&self, now: Timestamp, by: Option<i64>, name: &str) -> Result<String, AccountError> {
        let token = token::draw()?;
        self.database
            .write(|transaction| {
                let account = named(transaction, name)?.ok_or(AccountError::Unknown)?;
                transaction.execute("UPDATE accounts SET password = NULL WHERE number = ?1", [account.number])?;
                forget_second_factor(transaction, account.number)?;
                sessions::end_all(transaction, account.number, None)?;
                note(transaction, now, by, (Action::Account, account.number), json!({ "what": "reset" }))?;
                Ok(link(transaction, now, Some(account.number), &token)?)
            })
            .map(|()| token.clone())
    }

    /// A link to make the first account, a manager's, where there is none; those from before hold no longer.
    pub fn invite_first(&self, now: Timestamp) -> Result<Option<String>, AccountError> {
        let token = token::draw()?;
        self.database.write(|transaction| {
            if has_accounts(transaction)? {
                return Ok(None);
            }
            link(transaction, now, None, &token)?;
            Ok(Some(token.clone()))
        })
    }

    /// Whom a link is for; uses nothing up.
    pub fn invitation(&self, now: Timestamp, token: &str) -> Result<Option<Invited>, DatabaseError> {
        self.database.read(|connection| Ok(invited(connection, now, token)?))
    }

    /// Sets a password by a link, and begins a session. `name` is asked of the first account only. Takes as long as
    /// a sign-in.
    pub fn accept(
        &self,
        now: Timestamp,
        token: &str,
        (name, password): (&str, &str),
        (client, previous): (&str, Option<&str>),
    ) -> Result<NewSession, AccountError> {
        let invitation = self.invitation(now, token)?.ok_or(AccountError::Link)?;
        let name = match &invitation {
            Invited::First => name,
            Invited::Account(account) => &account.name,
        };
        password::check(name, password)?;
        let hash = password::hash(password).ok_or(getrandom::Error::UNEXPECTED)?;
        let session = token::draw()?;
        self.database.write(|transaction| {
            // Somebody may have used it while the hash was computed.
            let number = match invited(transaction, now, token)?.ok_or(AccountError::Link)? {
                Invited::Account(account) => account.number,
                Invited::First => {
                    let (role, areas) = (Role::Manager, Vec::new());
                    let first = NewAccount { name: name.to_owned(), role, areas, applies_first: false };
                    let number = insert(transaction, now, &first)?;
                    let details = json!({ "what": "first account", "role": role.as_str() });
                    note(transaction, now, None, (Action::Account, number), details)?;
                    number
                }
            };
            transaction.execute("DELETE FROM invitations WHERE account = ?1 OR account IS NULL", [number])?;
            transaction.execute("UPDATE accounts SET password = ?2 WHERE number = ?1", (number, &hash))?;
            sessions::end_all(transaction, number, None)?;
            sessions::begin(transaction, now, number, client, (&session, previous))?;
            signed_in(transaction, now, number, "link")?;
            Ok(NewSession { account: number, token: session.clone() })
        })
    }
}

fn invited(connection: &Connection, now: Timestamp, token: &str) -> rusqlite::Result<Option<Invited>> {
    let sql = "SELECT account FROM invitations WHERE hash = ?1 AND expires > ?2";
    let found: Option<Option<i64>> =
        connection.query_row(sql, (token::hash(token), now.as_millisecond()), |row| row.get(0)).optional()?;
    Ok(match found {
        None => None,
        Some(None) => {
            if has_accounts(connection)? {
                None
            } else {
                Some(Invited::First)
            }
        }
        Some(Some(number)) => {
            let account = numbered(connection, number)?.filter(|account| !account.is_disabled && !account.is_erased());
            account.map(Invited::Account)
        }
    })
}

fn has_accounts(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM accounts)", [], |row| row.get(0))
}

fn insert(transaction: &Transaction<'_>, now: Timestamp, new: &NewAccount) -> Result<i64, AccountError> {
    let name = new_name(transaction, &new.name)?;
    let sql = "INSERT INTO accounts (name, role, areas, applies_first, created) VALUES (?1, ?2, ?3, ?4, ?5)";
    let areas = serde_json::Value::from(new.areas.clone()).to_string();
    transaction.execute(sql, (name, new.role.as_str(), areas, new.applies_first, now.as_millisecond()))?;
    Ok(transaction.last_insert_rowid())
}

/// Makes a link, in the place of those that there are for the same account.
fn link(transaction: &Transaction<'_>, now: Timestamp, account: Option<i64>, token: &str) -> rusqlite::Result<()> {
    let old = "DELETE FROM invitations WHERE account IS ?1 OR expires <= ?2";
    transaction.execute(old, (account, now.as_millisecond()))?;
    let new = "INSERT INTO invitations (hash, account, expires) VALUES (?1, ?2, ?3)";
    transaction.execute(new, (token::hash(token), account, (now + VALID).as_millisecond())).map(drop)
}
