//! What is dropped so that the embedded store's file stays within its limits.
//!
//! Owns the deletion of scans, oldest first, in steps: a batch waits for one step and its commit. The count
//! of what is dropped, and until when, is kept in `expired`, in the transaction that drops: so each scan is
//! dropped and counted once, whenever the process ends. A batch stays known after its scans are gone, for
//! [`REMEMBERED`]: offered again, it is not stored again. What was counted by hour stays; the figures of
//! `waypost usage`, which is about the scans that are kept, go with the scans.
//!
//! A file does not shrink: pages that deletion frees are used again by what comes. So the limit is one of the
//! pages in use, and a file of which much was dropped at once keeps its size and has room. Once the counts alone
//! reach it, nothing is left to drop: whoever asked for dropping did not ask for a stop, so the file grows on.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::counting::Uncounted;
use super::figures;
use super::{Sqlite, SqliteError};
use crate::store::StoreError;
use crate::store::limits::{Gone, Limits, Room, Step, WhenFull};

/// Scans that a step drops at most.
const STEP: usize = 4000;

/// For how long after its making a batch whose scans are gone is known. (For ever would be 6 million rows a
/// year, with a batch every five seconds.)
pub(in crate::store) const REMEMBERED: Duration = Duration::from_hours(31 * 24);

/// Why scans are dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Age,
    Size,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
        }
    }
}

impl Sqlite {
    /// Drops some of what is beyond the limits, if anything is. Nothing is dropped before all is counted by hour
    /// ([`Sqlite::count_older`]): until then a file that has reached its size has no room.
    pub(in crate::store) fn make_room(&mut self, limits: &Limits, now: Timestamp) -> Result<Step, StoreError> {
        self.try_make_room(limits, now.as_millisecond()).map_err(|error| self.unavailable(error))
    }

    fn try_make_room(&mut self, limits: &Limits, now_ms: i64) -> rusqlite::Result<Step> {
        // Asked before each batch, and twice a second: by default there is nothing to look for.
        if limits.keep.is_none() && limits.max_size.is_none() {
            return Ok(Step::default());
        }
        let is_over = match limits.max_size {
            Some(most) => self.used()? >= most,
            None => false,
        };
        if Uncounted::read(&self.connection)?.is_some() {
            let room = match limits.when_full {
                _ if !is_over => Room::Enough,
                WhenFull::DropOldest => Room::NotYet,
                WhenFull::Stop => Room::Full,
            };
            return Ok(Step { room, ..Step::default() });
        }
        let oldest = self.connection.prepare_cached("SELECT min(ts) FROM scans")?.query_row([], |row| row.get(0))?;
        let expires = limits.keep.map(|keep| before(now_ms, keep));
        let is_expired = |oldest: &i64| expires.is_some_and(|expires| *oldest < expires);
        let (reason, until) = match oldest {
            Some(oldest) if is_expired(&oldest) => (Reason::Age, expires.unwrap_or(i64::MIN)),
            Some(_) if is_over && limits.when_full == WhenFull::DropOldest => (Reason::Size, i64::MAX),
            _ if !is_over => return Ok(Step::default()),
            _ if limits.when_full == WhenFull::Stop => return Ok(Step { room: Room::Full, ..Step::default() }),
            _ => return Ok(Step { room: Room::Beyond, ..Step::default() }),
        };
        let dropped = self.drop_oldest(reason, until, now_ms)?;
        let room = if is_over { Room::NotYet } else { Room::More };
        Ok(match reason {
            Reason::Age => Step { by_age: dropped, by_size: 0, room },
            Reason::Size => Step { by_age: 0, by_size: dropped, room },
        })
    }

    /// Bytes of the pages that are in use.
    fn used(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT (page_count - freelist_count) * page_size
                   FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        self.connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }

    /// Drops the oldest scans from before a time, [`STEP`] at most.
    fn drop_oldest(&mut self, reason: Reason, until: i64, now_ms: i64) -> rusqlite::Result<u64> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut dropped, mut last) = (0, i64::MIN);
        {
            let mut oldest = transaction.prepare_cached(&format!(
                "SELECT batch, seq, ts FROM scans INDEXED BY scans_by_ts WHERE ts < ?1 ORDER BY ts LIMIT {STEP}"
            ))?;
            // Gathered first: what is read must not be deleted meanwhile.
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let oldest: Vec<(i64, i64, i64)> = oldest.query_map([until], row)?.collect::<rusqlite::Result<_>>()?;
            let mut delete = transaction.prepare_cached("DELETE FROM scans WHERE batch = ?1 AND seq = ?2")?;
            for (batch, seq, ts) in oldest {
                dropped += delete.execute([batch, seq])? as u64;
                last = ts;
            }
        }
        if dropped > 0 {
            let count = "INSERT INTO expired (reason, scans, until) VALUES (?1, ?2, ?3) ON CONFLICT (reason)
                         DO UPDATE SET scans = scans + excluded.scans, until = max(until, excluded.until)";
            transaction.execute(count, params![reason.as_str(), dropped.cast_signed(), last.saturating_add(1)])?;
            forget(&transaction, now_ms)?;
            figures::forget(&transaction, gone_before(&transaction)?)?;
        }
        transaction.commit()?;
        Ok(dropped)
    }

    /// What was dropped; `None` where nothing was.
    pub fn gone(&self) -> Result<Option<Gone>, StoreError> {
        self.try_gone().map_err(|error| self.unavailable(error))
    }

    fn try_gone(&self) -> rusqlite::Result<Option<Gone>> {
        // This may be a file that was only written by a release which drops nothing.
        let is_there = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'expired'";
        if self.connection.query_row(is_there, [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(None);
        }
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let sql = "SELECT max(until), sum(scans) FROM expired HAVING count(*) > 0";
        let gone = self.connection.query_row(sql, [], read).optional()?;
        Ok(gone.and_then(|(before, scans)| {
            Some(Gone { before: Timestamp::from_millisecond(before).ok()?, scans: scans.cast_unsigned() })
        }))
    }

    /// Fails if the file system has less free than it is to have.
    pub(in crate::store) fn ensure_free(&self, min_free: u64) -> Result<(), StoreError> {
        let free = match rustix::fs::statvfs(&self.real) {
            Ok(system) => system.f_bavail.saturating_mul(system.f_frsize),
            // Whoever stores will hear what is wrong with it.
            Err(_) => return Ok(()),
        };
        if free < min_free {
            let path = self.path.clone();
            return Err(StoreError::Unavailable(SqliteError::NoneToSpare { path, min_free, free }.into()));
        }
        Ok(())
    }

    /// Bytes of the file and its write-ahead log.
    pub(in crate::store) fn bytes(&self) -> u64 {
        [&self.real, &super::beside(&self.real, "-wal")]
            .into_iter()
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

/// Scans before this time may have been dropped; [`i64::MIN`]: none were.
pub(super) fn gone_before(connection: &Connection) -> rusqlite::Result<i64> {
    let until = connection.query_row("SELECT max(until) FROM expired", [], |row| row.get::<_, Option<i64>>(0))?;
    Ok(until.unwrap_or(i64::MIN))
}

/// Forgets the oldest batches of which no scan is left and that were made longer ago than [`REMEMBERED`]. The
/// newest stays: numbers of batches only rise.
fn forget(connection: &Connection, now_ms: i64) -> rusqlite::Result<()> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let first_with_scans = number("SELECT min(batch) FROM scans")?;
    let Some(first) =
        first_with_scans.map_or_else(|| number("SELECT max(batch) FROM batches"), |first| Ok(Some(first)))?
    else {
        return Ok(());
    };
    // An identity begins with the time of its making, 48 bits in milliseconds.
    let made = format!("{:012x}", before(now_ms, REMEMBERED).max(0));
    let made = format!("{}-{}", &made[..8], &made[8..]);
    let mut batches =
        connection.prepare_cached(&format!("SELECT batch, id FROM batches ORDER BY batch LIMIT {STEP}"))?;
    let (mut rows, mut last) = (batches.query([])?, None);
    while let Some(row) = rows.next()? {
        let batch: i64 = row.get(0)?;
        if batch >= first || row.get_ref(1)?.as_str()? >= made.as_str() {
            break;
        }
        last = Some(batch);
    }
    drop(rows);
    if let Some(last) = last {
        connection.execute("DELETE FROM batches WHERE batch <= ?1", [last])?;
    }
    Ok(())
}

fn before(now_ms: i64, age: Duration) -> i64 {
    now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use uuid::{ContextV7, Timestamp as Made, Uuid};

    use super::*;
    use crate::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};
    use crate::store::{Batch, Stored};

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    const NOW_MS: i64 = 1_795_230_000_000;

    fn batch(days_ago: i64, scans: u32) -> Batch {
        let ts_ms = NOW_MS - days_ago * DAY_MS;
        let scan = |seq: u32| Scan {
            ts_ms: ts_ms + i64::from(seq),
            generation: 1,
            code: "A1B2C3".parse().expect("a code"),
            outcome: Outcome::Found,
            channel: Channel::Qr,
            client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
            repeat: false,
            lang: "vi".try_into().expect("short"),
            served: "vi".try_into().expect("short"),
            origin: Origin::default(),
        };
        let made = Made::from_unix(ContextV7::new(), (ts_ms / 1000).cast_unsigned(), 0);
        let scans = (0..scans).map(|seq| (seq, scan(seq))).collect();
        Batch { id: Uuid::new_v7(made), edge: "edge-1".to_owned(), scans }
    }

    fn number(store: &Sqlite, sql: &str) -> i64 {
        store.connection.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// Drops until there is nothing to drop.
    fn settle(store: &mut Sqlite, limits: &Limits) -> (u64, u64, Room) {
        let (mut by_age, mut by_size) = (0, 0);
        loop {
            let step = store.make_room(limits, Timestamp::from_millisecond(NOW_MS).expect("a time")).expect("a step");
            (by_age, by_size) = (by_age + step.by_age, by_size + step.by_size);
            if matches!(step.room, Room::Enough | Room::Beyond | Room::Full) {
                return (by_age, by_size, step.room);
            }
            assert!(step.by_age + step.by_size <= STEP as u64, "a step is bounded");
        }
    }

    #[test]
    fn a_batch_that_is_offered_again_after_its_scans_were_dropped_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::open(&folder.path().join("waypost.db")).expect("a store");
        let batches = [batch(500, 10), batch(50, 9000), batch(20, 10)];
        for batch in &batches {
            assert_eq!(store.insert(batch).expect("stored"), Stored::New);
        }
        let hours = number(&store, "SELECT sum(scans) FROM sign_hours");
        let limits = Limits { keep: Some(Duration::from_hours(24 * 40)), ..Limits::default() };
        assert_eq!(settle(&mut store, &limits), (9010, 0, Room::Enough));
        assert_eq!(store.insert(&batches[2]).expect("known"), Stored::Already);
        // Not the oldest: it was made longer ago than a batch is remembered. So was the second, of the same step.
        assert_eq!(number(&store, "SELECT count(*) FROM batches"), 1);
        let gone = store.gone().expect("readable").expect("some are gone");
        assert_eq!((gone.before.as_millisecond(), gone.scans), (NOW_MS - 50 * DAY_MS + 9000, 9010));
        assert_eq!(number(&store, "SELECT sum(scans) FROM sign_hours"), hours, "what is counted by hour stays");
    }

    #[test]
    fn a_better_copy_of_a_batch_brings_back_nothing_that_was_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::open(&folder.path().join("waypost.db")).expect("a store");
        let mut whole = batch(20, 6000);
        whole.scans.extend(batch(10, 10).scans.into_iter().map(|(seq, scan)| (6000 + seq, scan)));
        let mut damaged = whole.clone();
        damaged.scans.retain(|(seq, _)| *seq % 2 == 1);
        store.insert(&damaged).expect("stored");
        let hours = number(&store, "SELECT sum(scans) FROM sign_hours");
        let limits = Limits { keep: Some(Duration::from_hours(24 * 15)), ..Limits::default() };
        assert_eq!(settle(&mut store, &limits), (3000, 0, Room::Enough));
        assert_eq!(store.insert(&whole).expect("joined"), Stored::New);
        assert_eq!(number(&store, "SELECT count(*) FROM scans"), 10);
        assert_eq!(number(&store, "SELECT sum(scans) FROM sign_hours"), hours + 5);
    }

    #[test]
    fn what_is_in_use_stays_within_the_size_and_freed_pages_are_used_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::open(&folder.path().join("waypost.db")).expect("a store");
        let limits = Limits { max_size: Some(2 << 20), ..Limits::default() };
        let (mut stored, mut dropped) = (0, 0);
        for day in (0..40).rev() {
            let (_, by_size, room) = settle(&mut store, &limits);
            assert_eq!(room, Room::Enough);
            dropped += by_size;
            store.insert(&batch(day, 3000)).expect("stored");
            stored += 3000;
        }
        let kept = number(&store, "SELECT count(*) FROM scans").cast_unsigned();
        assert!(dropped > 0 && kept > 0, "{dropped} dropped, {kept} kept");
        assert_eq!(kept + dropped, stored);
        // The newest are kept; the file is that of the limit and a batch, whatever has gone through it.
        assert_eq!(number(&store, "SELECT max(ts) FROM scans"), NOW_MS + 2999);
        let file = number(&store, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
        assert!(file < 4 << 20, "{file} bytes");
    }

    #[test]
    fn scans_that_are_not_counted_yet_count_towards_the_size_and_are_counted_before_they_are_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::open(&folder.path().join("waypost.db")).expect("a store");
        store.insert(&batch(1, 9000)).expect("stored");
        // As a release leaves it that did not count.
        let older = "DELETE FROM sign_hours; DELETE FROM figures; INSERT INTO uncounted SELECT 0, 0, max(batch), 0 FROM batches;";
        store.connection.execute_batch(older).expect("a file of version 1");
        let now = Timestamp::from_millisecond(NOW_MS).expect("a time");
        let limits = Limits { max_size: Some(256 << 10), ..Limits::default() };
        let that_stops = Limits { when_full: WhenFull::Stop, ..limits };
        let larger = Limits { max_size: Some(64 << 20), ..limits };
        let mut steps = 0;
        loop {
            for (limits, room) in [(limits, Room::NotYet), (that_stops, Room::Full), (larger, Room::Enough)] {
                let step = store.make_room(&limits, now).expect("a step");
                assert_eq!((step.by_age, step.by_size, step.room), (0, 0, room));
            }
            steps += 1;
            if !store.count_older().expect("counted") {
                break;
            }
        }
        assert_eq!(steps, 3);
        let (_, by_size, room) = settle(&mut store, &limits);
        assert!(by_size > 0 && room == Room::Enough, "{by_size} dropped, {room:?}");
        assert_eq!(number(&store, "SELECT sum(scans) FROM sign_hours"), 9000);
    }

    #[test]
    fn a_full_store_that_is_to_stop_drops_nothing_and_one_that_is_to_drop_is_never_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::open(&folder.path().join("waypost.db")).expect("a store");
        store.insert(&batch(1, 3000)).expect("stored");
        let limits = Limits { max_size: Some(256 << 10), when_full: WhenFull::Stop, ..Limits::default() };
        assert_eq!(settle(&mut store, &limits), (0, 0, Room::Full));
        let smaller = Limits { max_size: Some(1), when_full: WhenFull::DropOldest, ..limits };
        assert_eq!(settle(&mut store, &smaller), (0, 3000, Room::Beyond));
        store.insert(&batch(0, 100)).expect("stored, though the counts alone are beyond the size");
        assert_eq!(settle(&mut store, &smaller), (0, 100, Room::Beyond));
        assert_eq!(number(&store, "SELECT sum(scans) FROM sign_hours"), 3100);
    }
}
