//! A sign-in.
//!
//! Owns its order: the password first, as long for a name that is none, then the second factor where there is one;
//! whoever is refused is not told at which. [`Accounts::sign_in`] computes a hash (see `password`).

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde_json::json;

use super::sessions::{self, NewSession};
use super::{
    AccountError, Accounts, DatabaseError, TotpSecret, named, normal_name, note, password, second_factor, token,
};
use crate::history::Action;

/// What somebody types.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The account's name.
    pub name: &'a str,
    /// Its password.
    pub password: &'a str,
    /// Six digits of the second factor, or a recovery code; empty: none.
    pub code: &'a str,
}

/// Why somebody is not signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Name, password or code is wrong, or the account is disabled: the same for all.
    #[error("expected the name, the password and the second factor of an account")]
    Refused {
        /// Which account it was; for the counts, and for nobody who asks.
        account: Option<i64>,
    },
    /// The console's file fails.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}

impl From<rusqlite::Error> for SignInError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What a sign-in is compared with.
struct Stored {
    number: i64,
    password: Option<String>,
    is_disabled: bool,
    totp: Option<Vec<u8>>,
    totp_step: i64,
}

fn stored(connection: &Connection, name: &str) -> rusqlite::Result<Option<Stored>> {
    let name = normal_name(name);
    if name.starts_with('#') {
        return Ok(None);
    }
    let sql = "SELECT number, password, disabled IS NOT NULL, totp, totp_step FROM accounts WHERE name = ?1";
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Stored {
            number: row.get(0)?,
            password: row.get(1)?,
            is_disabled: row.get(2)?,
            totp: row.get(3)?,
            totp_step: row.get(4)?,
        })
    };
    connection.query_row(sql, [name], row).optional()
}

impl Accounts {
    /// Begins a session. `previous` is what the browser's cookie had, which ends: a session that somebody else has
    /// planted there is worth nothing.
    pub fn sign_in(
        &self,
        now: Timestamp,
        credentials: Credentials<'_>,
        client: &str,
        previous: Option<&str>,
    ) -> Result<NewSession, SignInError> {
        let before = self.database.read(|connection| Ok::<_, SignInError>(stored(connection, credentials.name)?))?;
        let hash = before.as_ref().and_then(|stored| stored.password.as_deref());
        let is_right = password::verify(credentials.password, hash);
        let account = before.as_ref().map(|stored| stored.number);
        let hash = hash.filter(|_| is_right).ok_or(SignInError::Refused { account })?.to_owned();
        let token = token::draw()?;
        self.database.write(|transaction| {
            // The account may have changed while the hash was computed.
            let stored = stored(transaction, credentials.name)?;
            let stored = stored.filter(|stored| !stored.is_disabled && stored.password.as_ref() == Some(&hash));
            let stored = stored.ok_or(SignInError::Refused { account })?;
            if !has_second_factor(transaction, now, &stored, credentials.code)? {
                return Err(SignInError::Refused { account });
            }
            sessions::begin(transaction, now, stored.number, client, (&token, previous))?;
            signed_in(transaction, now, stored.number, "password")?;
            Ok(NewSession { account: stored.number, token: token.clone() })
        })
    }

    /// Notes that somebody asks whom a proxy has signed in: once in twelve hours, as a session would begin.
    pub fn signed_in_elsewhere(&self, now: Timestamp, account: &super::Account) -> Result<(), DatabaseError> {
        if account.last_sign_in.is_some_and(|last| last + sessions::IDLE > now) {
            return Ok(());
        }
        self.database.write(|transaction| Ok(signed_in(transaction, now, account.number, "proxy")?))
    }

    /// Whether this is an account's password. Takes as long as a sign-in.
    pub fn has_password(&self, name: &str, password: &str) -> Result<bool, DatabaseError> {
        let stored = self.database.read(|connection| Ok::<_, DatabaseError>(stored(connection, name)?))?;
        Ok(password::verify(password, stored.and_then(|stored| stored.password).as_deref()))
    }

    /// Gives an account another password, and ends its sessions but this one. Takes as long as two sign-ins.
    pub fn change_password(
        &self,
        now: Timestamp,
        name: &str,
        (old, new): (&str, &str),
        session: Option<i64>,
    ) -> Result<(), AccountError> {
        password::check(name, new)?;
        if !self.has_password(name, old)? {
            return Err(AccountError::Wrong);
        }
        let hash = password::hash(new).ok_or(getrandom::Error::UNEXPECTED)?;
        self.database.write(|transaction| {
            let account = named(transaction, name)?.ok_or(AccountError::Unknown)?;
            transaction.execute("UPDATE accounts SET password = ?2 WHERE number = ?1", (account.number, &hash))?;
            sessions::end_all(transaction, account.number, session)?;
            let what = (Action::Account, account.number);
            Ok(note(transaction, now, Some(account.number), what, json!({ "what": "password changed" }))?)
        })
    }

    /// Gives an account a second factor, if `digits` are those of the secret; the recovery codes, which are nowhere
    /// else. Those from before hold no longer.
    pub fn add_second_factor(
        &self,
        now: Timestamp,
        account: i64,
        secret: &TotpSecret,
        digits: &str,
    ) -> Result<Vec<String>, AccountError> {
        let step = secret.check(digits, now.as_second(), 0).ok_or(AccountError::Code)?;
        let codes = second_factor::draw_recovery_codes()?;
        self.database
            .write(|transaction| {
                let set = "UPDATE accounts SET totp = ?2, totp_step = ?3 WHERE number = ?1";
                transaction.execute(set, (account, secret.as_bytes(), step))?;
                transaction.execute("DELETE FROM recovery_codes WHERE account = ?1", [account])?;
                for hash in codes.iter().filter_map(|code| second_factor::recovery_hash(code)) {
                    transaction
                        .execute("INSERT INTO recovery_codes (account, hash) VALUES (?1, ?2)", (account, hash))?;
                }
                let what = (Action::Account, account);
                Ok(note(transaction, now, Some(account), what, json!({ "what": "second factor on" }))?)
            })
            .map(|()| codes)
    }

    /// Takes an account's second factor away.
    pub fn remove_second_factor(&self, now: Timestamp, account: i64) -> Result<(), AccountError> {
        self.database.write(|transaction| {
            forget_second_factor(transaction, account)?;
            let what = (Action::Account, account);
            Ok(note(transaction, now, Some(account), what, json!({ "what": "second factor off" }))?)
        })
    }

    /// Recovery codes that an account has left.
    pub fn recovery_codes(&self, account: i64) -> Result<i64, DatabaseError> {
        let sql = "SELECT count(*) FROM recovery_codes WHERE account = ?1";
        self.database.read(|connection| Ok(connection.query_row(sql, [account], |row| row.get(0))?))
    }

    /// Notes a burst of tries that failed, at an account or at names that are none.
    pub fn note_burst(&self, now: Timestamp, account: Option<i64>) -> Result<(), DatabaseError> {
        self.database.write(|transaction| {
            // No account has the number 0.
            let what = (Action::Account, account.unwrap_or(0));
            Ok(note(transaction, now, None, what, json!({ "what": "sign-ins refused", "known": account.is_some() }))?)
        })
    }
}

/// Whether the code is right, or none is needed. What was right is not right again.
fn has_second_factor(
    transaction: &Transaction<'_>,
    now: Timestamp,
    stored: &Stored,
    code: &str,
) -> Result<bool, SignInError> {
    let Some(secret) = &stored.totp else { return Ok(true) };
    let secret = TotpSecret::from_bytes(secret);
    if let Some(step) = secret.and_then(|secret| secret.check(code, now.as_second(), stored.totp_step)) {
        transaction.execute("UPDATE accounts SET totp_step = ?2 WHERE number = ?1", (stored.number, step))?;
        return Ok(true);
    }
    let Some(hash) = second_factor::recovery_hash(code) else { return Ok(false) };
    let used = "DELETE FROM recovery_codes WHERE account = ?1 AND hash = ?2";
    Ok(transaction.execute(used, (stored.number, hash))? == 1)
}

pub(super) fn signed_in(
    transaction: &Transaction<'_>,
    now: Timestamp,
    account: i64,
    how: &str,
) -> rusqlite::Result<()> {
    let last = "UPDATE accounts SET last_sign_in = ?2 WHERE number = ?1";
    transaction.execute(last, (account, now.as_millisecond()))?;
    note(transaction, now, Some(account), (Action::SignedIn, account), json!({ "by": how }))
}

pub(super) fn forget_second_factor(transaction: &Transaction<'_>, account: i64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM recovery_codes WHERE account = ?1", [account])?;
    transaction.execute("UPDATE accounts SET totp = NULL, totp_step = 0 WHERE number = ?1", [account]).map(drop)
}
