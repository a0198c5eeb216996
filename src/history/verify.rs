//! Whether the history is whole.
//!
//! Owns the look at each entry, each link, and what keeps SQLite from changing them. Somebody who may write the file
//! can make all of it anew: only a head that was noted elsewhere shows that.

use rusqlite::{Connection, OptionalExtension as _};

use super::entry::{Head, Stored, first_bits};

/// Problems that are listed; what is wrong beyond is only counted.
const MOST: usize = 100;

/// What a look at the whole chain has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Entries that were looked at.
    pub entries: i64,
    /// The head as it is.
    pub head: Head,
    /// All that is wrong, a line each (the first 100, and how many more there are); none: the history is whole, as
    /// far as the file itself can tell.
    pub problems: Vec<String>,
}

/// A text is no head.
#[derive(Debug, thiserror::Error)]
#[error("expected a number, a colon and 16 hexadecimal digits, found {0:?}")]
pub struct NoHead(String);

/// A head that was noted, `SEQ:HEX16`: its number, and the first 64 bits of its hash.
pub fn noted_head(text: &str) -> Result<(i64, u64), NoHead> {
    let parse = || {
        let (seq, bits) = text.trim().split_once(':')?;
        let is_hex = bits.len() == 16 && bits.bytes().all(|b| b.is_ascii_hexdigit());
        let seq = seq.parse::<i64>().ok().filter(|&seq| seq >= 0)?;
        Some((seq, u64::from_str_radix(bits, 16).ok().filter(|_| is_hex)?))
    };
    parse().ok_or_else(|| NoHead(text.to_owned()))
}

/// Looks at each entry and link, and whether a head that was noted elsewhere (its number, and the first 16
/// hexadecimal digits of its hash) is in the chain. While entries are appended: within a transaction, so that all is
/// seen as it stood at one time.
pub fn verify(connection: &Connection, noted: Option<(i64, u64)>) -> rusqlite::Result<Verification> {
    let (mut problems, mut more) = (Vec::new(), 0_usize);
    let mut wrong = |text: String| {
        if problems.len() < MOST { problems.push(text) } else { more += 1 }
    };
    let mut entries = 0;
    let mut head = Head { seq: 0, hash: [0; 32] };
    let mut last = head.hash.to_vec();
    let mut objects = connection.prepare("SELECT object FROM history_objects WHERE seq = ?1 ORDER BY object")?;
    let mut chain = connection.prepare(
        "SELECT seq, time, account, action, object, change_set, reason, approver, before, after, details, previous, \
         hash FROM history ORDER BY seq",
    )?;
    let mut rows = chain.query([])?;
    while let Some(row) = rows.next()? {
        let text = |at: usize| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_str()?);
        let seq: i64 = row.get(0)?;
        let stored = Stored {
            previous: row.get_ref(11)?.as_blob()?,
            seq,
            time: row.get(1)?,
            account: row.get(2)?,
            action: text(3)?,
            object: text(4)?,
            change_set: row.get(5)?,
            reason: text(6)?,
            approver: row.get(7)?,
            before: row.get(8)?,
            after: row.get(9)?,
            details: text(10)?,
        };
        entries += 1;
        if seq != head.seq + 1 {
            wrong(format!("entry {seq}: expected entry {} here: entries are missing", head.seq + 1));
        }
        if stored.previous != last {
            wrong(format!("entry {seq}: expected the hash of the entry before it, found another: the chain is forked"));
        }
        let about: Vec<String> = objects.query_map([seq], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let hash = row.get_ref(12)?.as_blob()?;
        if hash != stored.hash(about.iter().map(String::as_str)) {
            wrong(format!("entry {seq}: expected the hash of its fields, found another: it was changed"));
        }
        if let Some((_, bits)) = noted.filter(|&(noted, _)| noted == seq)
            && first_bits(hash) != bits
        {
            let found = first_bits(hash);
            wrong(format!(
                "entry {seq}: expected the hash {bits:016x} that was noted, found {found:016x}: it, or one before it, \
                 was written anew"
            ));
        }
        last = hash.to_vec();
        head = Head { seq, hash: hash.try_into().unwrap_or_default() };
    }
    drop(rows);
    if let Some((seq, _)) = noted.filter(|&(seq, _)| seq > head.seq) {
        wrong(format!("expected entry {seq}, which was noted, found {} as the last: the end was cut off", head.seq));
    }
    let stray = "SELECT count(*) FROM history_objects WHERE seq NOT IN (SELECT seq FROM history)";
    let stray: i64 = connection.query_row(stray, [], |row| row.get(0))?;
    if stray > 0 {
        wrong(format!("expected every object with its entry, found {stray} without"));
    }
    for (name, expected) in triggers() {
        let found: Option<String> = connection
            .query_row("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?1", [name], |row| row.get(0))
            .optional()?;
        if found.as_deref() != Some(expected) {
            let found = found.map_or("none", |_| "another");
            wrong(format!("expected the trigger {name}, which keeps entries from being changed, found {found}"));
        }
    }
    if more > 0 {
        problems.push(format!("and {more} more problems"));
    }
    Ok(Verification { entries, head, problems })
}

/// The triggers of the tables: name and text, as SQLite keeps it.
fn triggers() -> impl Iterator<Item = (&'static str, &'static str)> {
    include_str!("schema.sql").split(";\n").filter_map(|statement| {
        let rest = statement.trim_start().strip_prefix("CREATE TRIGGER ")?;
        rest.split_once(' ').map(|(name, _)| (name, statement.trim_start()))
    })
}
