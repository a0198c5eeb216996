//! The embedded store's tables, and how a scan goes in and comes out.
//!
//! Owns the SQL that names a scan's columns, made from [`COLUMNS`].

use rusqlite::types::Type;
use rusqlite::{Row, Statement};

use crate::core::scan::{Agent, App, COLUMNS, Channel, Client, Column, Device, Field, Origin, Os, Outcome, Scan, Word};

/// The number in `PRAGMA user_version` that [`setup`] leaves: 2 since scans are counted by hour as they are
/// stored, 3 since they are counted for `waypost usage` as well, and hours lie by time.
pub(super) const VERSION: i64 = 3;

/// Counts the tables that are not ours.
pub(super) const FOREIGN: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
    AND name NOT IN ('batches', 'scans', 'carried', 'sign_hours', 'uncounted', 'sign_health', 'expired', 'figures')";

/// Which scans the headline figures count.
pub(super) const HEADLINE: &str = "(outcome = 'found' AND agent = 'person' AND repeat = 0)";

/// Columns of `scans` before those of [`COLUMNS`]: batch and seq.
const KEYS: usize = 2;

/// For each connection that writes. `synchronous = FULL` makes a commit durable before the segment's file is
/// deleted. A write-ahead log that has grown, while somebody was reading for long, is cut to 64 MiB again.
pub(super) const CONNECTION: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;";

/// Brings the tables of a version, 0 for none, up to this one; in one transaction. What was stored before scans were
/// counted is noted in `uncounted`.
pub(super) fn setup(version: i64) -> String {
    let steps: String = match version {
        0 => [&scans(), HEALTH, COUNTED].concat(),
        1 => [HEALTH, COUNTED].concat(),
        _ => [OLD_HOURS, COUNTED, KEPT_HOURS].concat(),
    };
    format!("{steps} PRAGMA user_version = {VERSION};")
}

fn scans() -> String {
    let column = |Column { name, field }: &Column| match field {
        Field::Time(_) => format!("{name} INTEGER NOT NULL, -- milliseconds since the Unix epoch, UTC\n        "),
        Field::Code(_) | Field::Text(_) => format!("{name} TEXT NOT NULL, "),
        Field::Flag(_) | Field::Number(_) => format!("{name} INTEGER NOT NULL, "),
    };
    let columns: String = COLUMNS.iter().map(column).collect();
    format!(
        "
    CREATE TABLE batches (
        batch INTEGER PRIMARY KEY,
        id    TEXT NOT NULL UNIQUE,
        edge  TEXT NOT NULL,
        rows  INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE scans (
        batch INTEGER NOT NULL REFERENCES batches (batch),
        seq INTEGER NOT NULL,
        {columns}
        PRIMARY KEY (batch, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX scans_by_ts ON scans (ts, outcome, code, agent, repeat);"
    )
}

const HEALTH: &str = "
    CREATE TABLE sign_health (
        day          TEXT NOT NULL,    -- of the computation, in the province's time zone: 2026-12-01
        computed     INTEGER NOT NULL, -- when, in milliseconds since the Unix epoch, UTC
        code         TEXT PRIMARY KEY,
        state        TEXT NOT NULL,    -- silent, quiet, normal, not_enough_data, never_scanned, new
        since        INTEGER,          -- its last headline scan since it was mounted, as computed
        per_day      REAL NOT NULL,    -- hours with a scan on an average day
        expected     REAL NOT NULL,    -- hours with a scan expected since the last one
        one_in       REAL,             -- the chance of such a silence: 1 in so many
        alarm_on     TEXT,             -- the day of the alarm, come or to come if nothing is scanned
        looks_copied TEXT NOT NULL,    -- empty, or: planned, retired, abroad, burst
        group_kind   TEXT NOT NULL,    -- silent together: empty, or: street, area, province
        group_name   TEXT NOT NULL,    -- the place's or the area's name
        ended_alarms INTEGER NOT NULL, -- alarms within the last 30 days that ended with a scan
        budget       REAL NOT NULL     -- false alarms promised for a sign and month
    ) STRICT;";

/// Hours by time: a batch writes to few pages. By code it wrote to one for each, and a backlog went in at a third of
/// the speed. (`expired` is in some files of version 2.)
const COUNTED: &str = "
    CREATE TABLE IF NOT EXISTS expired ( -- what was dropped
        reason TEXT PRIMARY KEY, -- age or size
        scans  INTEGER NOT NULL, -- how many, so far
        until  INTEGER NOT NULL  -- all are from before this time, in milliseconds since the Unix epoch, UTC
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sign_hours (
        hour  INTEGER NOT NULL, -- its start, in milliseconds since the Unix epoch, UTC
        code  TEXT NOT NULL,
        scans INTEGER NOT NULL, -- headline scans
        last  INTEGER NOT NULL, -- the last of them, in milliseconds since the Unix epoch, UTC
        PRIMARY KEY (hour, code)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE figures ( -- scans that were found
        kind    INTEGER NOT NULL, -- 0: all by quarter of an hour; 1: language, 2: country, 3: app by hour;
                                  -- 4: code by day of UTC, 5: by 32 days
        span    INTEGER NOT NULL, -- how many spans of this length after the Unix epoch
        key     TEXT NOT NULL,    -- the language, country, app or code; empty for kind 0
        scans   INTEGER NOT NULL, -- headline scans
        repeats INTEGER NOT NULL,
        bots    INTEGER NOT NULL,
        PRIMARY KEY (kind, span, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE uncounted ( -- a row, or none: what sign_hours and figures do not have yet
        batch INTEGER NOT NULL, -- behind this scan of this batch,
        seq   INTEGER NOT NULL,
        until INTEGER NOT NULL, -- up to the end of this batch;
        since INTEGER NOT NULL  -- sign_hours has all before this hour, in milliseconds since the Unix epoch, UTC
    ) STRICT;
    INSERT INTO uncounted SELECT 0, 0, max(batch), -9223372036854775808 FROM batches HAVING count(*) > 0;";

/// Version 2 had hours by code, and nothing uncounted once a scan was dropped.
const OLD_HOURS: &str = "
    DROP TABLE uncounted;
    ALTER TABLE sign_hours RENAME TO old_hours;";

/// Hours of which scans were dropped can't be counted anew.
const KEPT_HOURS: &str = "
    INSERT INTO sign_hours (hour, code, scans, last)
        SELECT hour, code, scans, last FROM old_hours WHERE hour < (SELECT max(until) FROM expired) ORDER BY hour, code;
    UPDATE uncounted SET since = (SELECT max(until) - 1 - (max(until) - 1) % 3600000 + 3600000 FROM expired)
        WHERE EXISTS (SELECT * FROM expired);
    DROP TABLE old_hours;";

/// Stores one scan of a batch, unless it is there already.
pub(super) fn insert() -> String {
    let parameters: String = (0..COLUMNS.len()).map(|_| ", ?").collect();
    format!("INSERT INTO scans (batch, seq, {}) VALUES (?, ?{parameters}) ON CONFLICT (batch, seq) DO NOTHING", names())
}

/// Runs [`insert`]. Returns whether the scan was not there yet. `last` is the scan of the same batch that the statement
/// was run for before: parameters keep their values, and most words are the same.
pub(super) fn execute(
    insert: &mut Statement<'_>,
    batch: i64,
    seq: u32,
    scan: &Scan,
    last: Option<&Scan>,
) -> rusqlite::Result<bool> {
    // Parameters are counted from 1.
    if last.is_none() {
        insert.raw_bind_parameter(1, batch)?;
    }
    insert.raw_bind_parameter(KEYS, seq)?;
    for (at, column) in (KEYS + 1..).zip(&COLUMNS) {
        match column.field {
            Field::Time(time) => insert.raw_bind_parameter(at, time(scan)),
            Field::Code(code) => insert.raw_bind_parameter(at, code(scan).text().as_str()),
            Field::Text(text) if last.is_some_and(|last| text(last) == text(scan)) => continue,
            Field::Text(text) => insert.raw_bind_parameter(at, text(scan)),
            Field::Flag(flag) => insert.raw_bind_parameter(at, flag(scan)),
            // SQLite's integers have a sign.
            Field::Number(number) => insert.raw_bind_parameter(at, number(scan).cast_signed()),
        }?;
    }
    insert.raw_execute().map(|rows| rows > 0)
}

/// The scans of a batch, in their order, for [`read`].
pub(super) fn select() -> String {
    format!("SELECT batch, seq, {} FROM scans WHERE batch = ? ORDER BY seq", names())
}

/// A row of [`select`]: position in the batch, and scan.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(u32, Scan)> {
    let scan = Scan {
        ts_ms: row.get(const { at("ts") })?,
        code: text(row, const { at("code") }, |text| text.parse().ok())?,
        outcome: text(row, const { at("outcome") }, Outcome::from_word)?,
        channel: text(row, const { at("channel") }, Channel::from_word)?,
        lang: text(row, const { at("lang") }, |text| Word::from(text).ok())?,
        served: text(row, const { at("served") }, |text| Word::from(text).ok())?,
        origin: Origin {
            country: text(row, const { at("country") }, |text| text.try_into().ok())?,
            region: text(row, const { at("region") }, |text| text.try_into().ok())?,
        },
        client: Client {
            device: text(row, const { at("device") }, Device::from_word)?,
            os: text(row, const { at("os") }, Os::from_word)?,
            app: text(row, const { at("app") }, App::from_word)?,
            agent: text(row, const { at("agent") }, Agent::from_word)?,
        },
        repeat: row.get(const { at("repeat") })?,
        generation: row.get::<_, i64>(const { at("generation") })?.cast_unsigned(),
    };
    Ok((row.get(1)?, scan))
}

fn text<T>(row: &Row<'_>, at: usize, parse: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(at)?.as_str()?;
    parse(text).ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(at, Type::Text, text.into()))
}

/// Where a column of [`COLUMNS`] is in a row of [`select`]. A name that the list does not have
/// fails the build.
const fn at(name: &str) -> usize {
    let mut at = 0;
    while !is_same(COLUMNS[at].name, name) {
        at += 1;
    }
    KEYS + at
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

fn names() -> String {
    COLUMNS.map(|column| column.name).join(", ")
}
