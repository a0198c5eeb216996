//! Who is signed in, and on which device.
//!
//! Owns the sessions. One ends after [`IDLE`] without a request, [`MOST`] after the sign-in, when it is signed out,
//! and when the account's password or rights to sign in change. Of the device its kind is kept, and no address.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::{Account, Accounts, DatabaseError, numbered, time, token};

/// A session that nobody has used for so long ends.
pub(super) const IDLE: Duration = Duration::from_hours(12);
/// The longest time between two sign-ins.
pub const MOST: Duration = Duration::from_hours(7 * 24);
/// How exactly it is known when a session was last used: a write to the disk for each request would be many.
const TOUCH: Duration = Duration::from_mins(5);

/// A session, as a page lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// By which it is ended.
    pub number: i64,
    /// Such as "chrome, android".
    pub client: String,
    /// The sign-in.
    pub created: Timestamp,
    /// To 5 min.
    pub last_used: Timestamp,
    /// When it ends at the latest.
    pub expires: Timestamp,
}

/// A session that has begun.
#[derive(Debug)]
pub struct NewSession {
    /// Whose.
    pub account: i64,
    /// What the cookie gets. It is nowhere else.
    pub token: String,
}

impl Accounts {
    /// Whose session a cookie's is, and its number.
    pub fn session(&self, now: Timestamp, token: &str) -> Result<Option<(Account, i64)>, DatabaseError> {
        let hash = token::hash(token);
        let found: Option<(Account, i64, i64)> = self.database.read(|connection| {
            let sql =
                "SELECT account, number, last_used FROM sessions WHERE hash = ?1 AND expires > ?2 AND last_used > ?3";
            let parameters = (hash, now.as_millisecond(), (now - IDLE).as_millisecond());
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?));
            let Some((account, number, last)) = connection.query_row(sql, parameters, row).optional()? else {
                return Ok::<_, DatabaseError>(None);
            };
            let account = numbered(connection, account)?.filter(|account| !account.is_disabled);
            Ok(account.map(|account| (account, number, last)))
        })?;
        let Some((account, number, last)) = found else { return Ok(None) };
        if time(last) + TOUCH <= now {
            let used = "UPDATE sessions SET last_used = ?2 WHERE number = ?1";
            let noted = self.database.write(|transaction| transaction.execute(used, (number, now.as_millisecond())));
            // On a full disk people go on reading.
            if let Err(error) = noted {
                tracing::warn!(%error, "when a session was last used can't be noted");
            }
        }
        Ok(Some((account, number)))
    }

    /// Those of an account that have not ended, the newest first.
    pub fn sessions(&self, now: Timestamp, account: i64) -> Result<Vec<Session>, DatabaseError> {
        self.database.read(|connection| {
            let sql = "SELECT number, client, created, last_used, expires FROM sessions \
                       WHERE account = ?1 AND expires > ?2 AND last_used > ?3 ORDER BY created DESC, number DESC";
            let session = |row: &rusqlite::Row<'_>| {
                Ok(Session {
                    number: row.get(0)?,
                    client: row.get(1)?,
                    created: time(row.get(2)?),
                    last_used: time(row.get(3)?),
                    expires: time(row.get(4)?),
                })
            };
            let mut statement = connection.prepare(sql)?;
            let parameters = (account, now.as_millisecond(), (now - IDLE).as_millisecond());
            Ok(statement.query_map(parameters, session)?.collect::<Result<_, _>>()?)
        })
    }

    /// Ends one of an account's.
    pub fn end_session(&self, account: i64, number: i64) -> Result<(), DatabaseError> {
        self.database.write(|transaction| {
            transaction.execute("DELETE FROM sessions WHERE account = ?1 AND number = ?2", (account, number))?;
            Ok(())
        })
    }

    /// Ends all of an account's but one.
    pub fn end_sessions(&self, account: i64, but: Option<i64>) -> Result<(), DatabaseError> {
        self.database.write(|transaction| Ok(end_all(transaction, account, but)?))
    }
}

/// Begins one, and ends the one that the same browser had.
pub(super) fn begin(
    transaction: &Transaction<'_>,
    now: Timestamp,
    account: i64,
    client: &str,
    (token, previous): (&str, Option<&str>),
) -> rusqlite::Result<()> {
    let now_ms = now.as_millisecond();
    let ended = "DELETE FROM sessions WHERE expires <= ?1 OR last_used <= ?2 OR hash = ?3";
    let previous = previous.map(token::hash);
    transaction.execute(ended, (now_ms, (now - IDLE).as_millisecond(), previous))?;
    let begun = "INSERT INTO sessions (hash, number, account, client, created, last_used, expires) \
                 VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM sessions), ?2, ?3, ?4, ?4, ?5)";
    let expires = (now + MOST).as_millisecond();
    transaction.execute(begun, (token::hash(token), account, client, now_ms, expires)).map(drop)
}

/// Ends all of an account's but one.
pub(super) fn end_all(connection: &Connection, account: i64, but: Option<i64>) -> rusqlite::Result<()> {
    // No session has the number 0.
    let but = but.unwrap_or(0);
    connection.execute("DELETE FROM sessions WHERE account = ?1 AND number <> ?2", (account, but)).map(drop)
}
