//! What a manager does to accounts.
//!
//! Owns that there is always one manager left who can sign in: the last can't be demoted, disabled or erased.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};
use serde_json::json;

use super::sign_in::forget_second_factor;
use super::{Account, AccountError, Accounts, DatabaseError, Role, note, numbered, sessions};
use crate::history::Action;

/// What an account may do, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// What.
    pub role: Role,
    /// Where; empty: everywhere.
    pub areas: Vec<String>,
    /// Whether it may apply a change that is reviewed afterwards.
    pub applies_first: bool,
}

impl Accounts {
    /// Gives an account other rights.
    pub fn change_rights(&self, now: Timestamp, by: i64, number: i64, rights: &Rights) -> Result<(), AccountError> {
        self.change(now, by, number, |transaction, account| {
            if rights.role != Role::Manager {
                keep_a_manager(transaction, account)?;
            }
            let sql = "UPDATE accounts SET role = ?2, areas = ?3, applies_first = ?4 WHERE number = ?1";
            let areas = json!(rights.areas).to_string();
            transaction.execute(sql, (number, rights.role.as_str(), areas, rights.applies_first))?;
            let before = (account.role.as_str(), &account.areas, account.applies_first);
            let after = (rights.role.as_str(), &rights.areas, rights.applies_first);
            Ok(json!({ "what": "rights changed", "before": before, "after": after }))
        })
    }

    /// Lets an account sign in no longer, and ends its sessions; or lets it again.
    pub fn disable(&self, now: Timestamp, by: i64, number: i64, is_disabled: bool) -> Result<(), AccountError> {
        self.change(now, by, number, |transaction, account| {
            if is_disabled {
                keep_a_manager(transaction, account)?;
                sessions::end_all(transaction, number, None)?;
            }
            let since = is_disabled.then(|| now.as_millisecond());
            transaction.execute("UPDATE accounts SET disabled = ?2 WHERE number = ?1", (number, since))?;
            Ok(json!({ "what": if is_disabled { "disabled" } else { "enabled" } }))
        })
    }

    /// Forgets who an account was: its name becomes its number, and nobody can sign in with it. What was done with it stays.
    pub fn erase(&self, now: Timestamp, by: i64, number: i64) -> Result<(), AccountError> {
        self.change(now, by, number, |transaction, account| {
            keep_a_manager(transaction, account)?;
            let sql = "UPDATE accounts SET name = '#' || number, areas = '[]', applies_first = 0, role = 'viewer', \
                       language = '', password = NULL, last_sign_in = NULL, disabled = ?2 WHERE number = ?1";
            transaction.execute(sql, (number, now.as_millisecond()))?;
            forget_second_factor(transaction, number)?;
            sessions::end_all(transaction, number, None)?;
            transaction.execute("DELETE FROM invitations WHERE account = ?1", [number])?;
            Ok(json!({ "what": "erased" }))
        })
    }

    /// The language of an account's pages: `vi`, `en`, or empty for the browser's.
    pub fn set_language(&self, number: i64, language: &str) -> Result<(), DatabaseError> {
        let language = if matches!(language, "vi" | "en") { language } else { "" };
        self.database.write(|transaction| {
            transaction.execute("UPDATE accounts SET language = ?2 WHERE number = ?1", (number, language))?;
            Ok(())
        })
    }

    /// Does something to an account that is there, and notes what.
    fn change(
        &self,
        now: Timestamp,
        by: i64,
        number: i64,
        work: impl FnOnce(&Transaction<'_>, &Account) -> Result<serde_json::Value, AccountError>,
    ) -> Result<(), AccountError> {
        self.database.write(|transaction| {
            let account = numbered(transaction, number)?.filter(|account| !account.is_erased());
            let details = work(transaction, &account.ok_or(AccountError::Unknown)?)?;
            Ok(note(transaction, now, Some(by), (Action::Account, number), details)?)
        })
    }
}

/// Refuses where an account is the last manager who can sign in.
fn keep_a_manager(connection: &Connection, account: &Account) -> Result<(), AccountError> {
    // One without a password may be signed in by a proxy.
    let can_sign_in = !account.is_disabled && (!account.is_invited || account.last_sign_in.is_some());
    if account.role != Role::Manager || !can_sign_in {
        return Ok(());
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM accounts WHERE role = 'manager' AND number <> ?1 \
               AND disabled IS NULL AND (password IS NOT NULL OR last_sign_in IS NOT NULL))";
    let is_another: bool = connection.query_row(sql, [account.number], |row| row.get(0))?;
    if is_another { Ok(()) } else { Err(AccountError::LastManager) }
}
