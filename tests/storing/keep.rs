//! The embedded store stays within store.keep and store.max_size: what is dropped is counted exactly, what
//! is not dropped is there, and a store that is to stop at its size stops, and goes on when it has room.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::{ContextV7, Uuid};
use waypost::store::{Batch, Sqlite};

use crate::support::clickhouse::ClickHouse;
use crate::support::load::Load;
use crate::support::{Edge, Random, Setup, many_signs, scan_by_a_person, wait_for};

const BY_AGE: &str = "waypost_store_scans_expired_total{reason=\"age\"}";
const BY_SIZE: &str = "waypost_store_scans_expired_total{reason=\"size\"}";
const FULL: &str = "waypost_scans_dropped_total{reason=\"store_full\"}";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Ten signs, and a limit of the size. (Smaller segments would be filled faster than they are made.)
fn setup(max_size: &str) -> (Setup, Vec<String>) {
    let (places, signs, codes) = many_signs(10);
    let setup =
        Setup::new().set("journal", "segment", "\"512KiB\"").set("store", "max_size", format!("\"{max_size}\""));
    (setup.registry(&places, &signs), codes)
}

/// Stores so many scans of a sign, a millisecond apart, from so many days ago on. Returns when the first was.
fn store(setup: &Setup, code: &str, days_ago: i64, scans: u32) -> i64 {
    let first = Timestamp::now().as_millisecond() - days_ago * DAY_MS;
    let made = uuid::Timestamp::from_unix(ContextV7::new(), first as u64 / 1000, 0);
    let scans = (0..scans).map(|seq| (seq, scan_by_a_person(code, first + i64::from(seq)))).collect();
    let mut store = Sqlite::open(&setup.path("data/waypost.db")).unwrap();
    store.insert(&Batch { id: Uuid::new_v7(made), edge: "test".to_owned(), scans }).unwrap();
    first
}

fn number(edge: &Edge, sql: &str) -> u64 {
    edge.database().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64
}

/// What was stored is in the file, or counted as dropped.
#[track_caller]
fn assert_all_is_accounted_for(edge: &Edge) -> u64 {
    let stored = number(edge, "SELECT sum(rows) FROM batches");
    let kept = number(edge, "SELECT count(*) FROM scans");
    let dropped = number(edge, "SELECT coalesce(sum(scans), 0) FROM expired");
    assert_eq!(stored, kept + dropped, "stored = kept + dropped");
    let by_hour = number(edge, "SELECT sum(scans) FROM sign_hours");
    assert_eq!(stored, by_hour, "what is counted by hour stays");
    stored
}

#[test]
fn scans_beyond_their_age_are_dropped_counted_and_said_to_be_missing() {
    let setup = Setup::new().set("store", "keep", "\"40d\"");
    let old = store(&setup, "A1B2C3", 50, 9_000);
    store(&setup, "A1B2C3", 30, 100);
    let edge = setup.start();
    wait_for("the old ones are dropped", || (edge.metrics().get(BY_AGE) == 9000.0).then_some(()));
    edge.scan("/A1B2C3");
    edge.wait_until_stored();
    assert_eq!(edge.metrics().get(BY_SIZE), 0.0);
    let usage = edge.usage(&[]);
    assert_eq!(usage["total"]["all"], 101);
    let before = Timestamp::from_millisecond(old + 9000).unwrap().to_string();
    assert_eq!(usage["no_longer_kept"], serde_json::json!({ "before": before, "scans": 9000 }));
    // Who asks about later days is not bothered.
    let later = Timestamp::from_millisecond(old + 10 * DAY_MS).unwrap().to_string();
    assert_eq!(edge.usage(&["--from", &later])["no_longer_kept"], Value::Null);

    for (format, on_stdout) in [("table", true), ("csv", false)] {
        let output = edge.setup.command(&["usage", "--format", format]).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let note = |text: &str| text.contains("are no longer kept: 9000 were dropped, of all outcomes");
        assert_eq!((note(&out), note(&err)), (on_stdout, !on_stdout), "{format}: {out}{err}");
    }
    edge.metrics().assert_books_balance();
}

#[test]
fn beyond_its_size_the_oldest_scans_are_dropped_and_the_newest_are_there() {
    let (setup, codes) = setup("2MiB");
    let mut edge = setup.start();
    let mut load = Load::start(edge.address(), 4, &codes);
    wait_for("much has gone through it", || (edge.metrics().get(BY_SIZE) > 20_000.0).then_some(()));
    load.stop();
    edge.wait_until_stored();
    let used = "SELECT (page_count - freelist_count) * page_size
                FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let expired = "SELECT scans FROM expired WHERE reason = 'size'";
    wait_for("what the last batch was too much is dropped, and counted", || {
        let is_within = number(&edge, used) < 2 << 20;
        (is_within && edge.metrics().total_of(BY_SIZE) == number(&edge, expired)).then_some(())
    });
    let metrics = edge.metrics();
    metrics.assert_books_balance();
    assert_eq!(metrics.sum("waypost_scans_dropped_total"), 0.0);
    assert_eq!(assert_all_is_accounted_for(&edge), load.received());
    let oldest_kept = number(&edge, "SELECT min(ts) FROM scans");
    assert!(
        oldest_kept + 1 >= number(&edge, "SELECT until FROM expired"),
        "nothing older than what was dropped is kept"
    );
    // The limit, and the batches that it was reached by.
    let file = std::fs::metadata(edge.setup.path("data/waypost.db")).unwrap().len();
    assert!(file < 4 << 20, "{file} bytes");
    assert_eq!(metrics.get("waypost_store_size_bytes") > 0.0, file > 0);
    edge.stop();
}

#[test]
fn hours_by_sign_that_fill_the_store_alone_stop_no_recording() {
    let (setup, codes) = setup("2MiB");
    store(&setup, &codes[0], 1, 100);
    let database = rusqlite::Connection::open(setup.path("data/waypost.db")).unwrap();
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)
                INSERT INTO sign_hours SELECT -i * 3600000, 'S0001', 0, 0 FROM n";
    database.execute(fill, []).unwrap();
    drop(database);
    let edge = setup.start();
    for round in 1..=3 {
        edge.scan("/S0002");
        wait_for("it is stored, and dropped", || (edge.metrics().get(BY_SIZE) == f64::from(100 + round)).then_some(()));
    }
    assert_eq!(edge.metrics().sum("waypost_scans_dropped_total"), 0.0);
    assert_eq!(edge.log().matches("what is counted by hour alone has reached store.max_size").count(), 1);
    assert_all_is_accounted_for(&edge);
}

#[test]
fn a_full_store_that_is_to_stop_loses_nothing_and_goes_on_when_it_has_room() {
    let (setup, codes) = setup("2MiB");
    let mut edge = setup.set("store", "when_full", "\"stop\"").start();
    let mut load = Load::start(edge.address(), 2, &codes);
    wait_for("recording has stopped", || (edge.metrics().get(FULL) > 1000.0).then_some(()));
    load.stop();
    let of = |edge: &Edge, name: &str| edge.metrics().total_of(name);
    edge.metrics().assert_books_balance();
    assert_eq!(edge.metrics().get(BY_SIZE), 0.0);
    assert!(edge.log().contains("the store has reached store.max_size"));
    let (recorded, dropped) = (of(&edge, "waypost_scans_recorded_total"), of(&edge, FULL));
    assert_eq!(recorded + dropped, load.received(), "each is recorded, or counted as dropped");
    assert_eq!(of(&edge, "waypost_scans_stored_total") + of(&edge, "waypost_scans_pending"), recorded);
    // What waits goes in with a raised limit, and recording goes on.
    edge.stop();
    edge.setup = std::mem::replace(&mut edge.setup, Setup::new()).set("store", "max_size", "\"64MiB\"");
    edge.setup.write_config();
    edge.start();
    edge.wait_until_stored();
    assert_eq!(assert_all_is_accounted_for(&edge), recorded);
    assert_eq!(edge.scan("/S0001").status, 302);
    wait_for("it is recorded", || (number(&edge, "SELECT count(*) FROM scans") == recorded + 1).then_some(()));
    assert_eq!(of(&edge, FULL), 0);
}

#[test]
fn a_full_store_goes_on_by_itself_once_old_scans_have_expired() {
    let (setup, _) = setup("2MiB");
    // They expire seconds from now.
    let first = Timestamp::now().as_millisecond() - 31 * DAY_MS + 8000;
    let scans = (0..20_000).map(|seq| (seq, scan_by_a_person("S0001", first))).collect();
    let batch = Batch { id: Uuid::now_v7(), edge: "test".to_owned(), scans };
    Sqlite::open(&setup.path("data/waypost.db")).unwrap().insert(&batch).unwrap();
    let edge = setup.set("store", "when_full", "\"stop\"").set("store", "keep", "\"31d\"").start();
    wait_for("recording has stopped", || {
        edge.scan("/S0002");
        (edge.metrics().get(FULL) > 0.0).then_some(())
    });
    wait_for("they expire", || (edge.metrics().get(BY_AGE) == 20_000.0).then_some(()));
    wait_for("recording goes on", || edge.log().contains("the store has room again").then_some(()));
    let dropped = edge.metrics().get(FULL);
    edge.scan("/S0003");
    edge.wait_until_stored();
    assert_eq!(edge.metrics().get(FULL), dropped);
    assert_eq!(edge.counts()["S0003"], 1);
    edge.metrics().assert_books_balance();
}

#[test]
fn kill_9_while_scans_are_dropped_loses_none_and_counts_none_twice() {
    let mut random = Random::new();
    let (setup, codes) = setup("2MiB");
    let mut edge = setup.start();
    let mut load = Load::start(edge.address(), 2, &codes);
    wait_for("scans are being dropped", || (edge.metrics().get(BY_SIZE) > 0.0).then_some(()));
    let mut dropped = 0.0;
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(50 + random.below(300)));
        dropped += edge.metrics().sum("waypost_scans_dropped_total");
        load.wait();
        edge.kill();
        edge.start();
        load.go_to(edge.address());
    }
    load.stop();
    edge.wait_until_stored();
    assert_eq!(dropped, 0.0);
    let stored = assert_all_is_accounted_for(&edge);
    assert!((load.received()..=load.sent()).contains(&stored), "{} <= {stored} <= {}", load.received(), load.sent());
    assert!(number(&edge, "SELECT scans FROM expired") > 20_000, "the test is worth what it has dropped");
    edge.metrics().assert_books_balance();
    // While some are still dropped the file is another from one question to the next.
    edge.stop();
    let kept = number(&edge, "SELECT count(*) FROM scans WHERE outcome = 'found'");
    for by in ["sign", "hour", "lang", "country", "app"] {
        assert_eq!(edge.usage(&["--by", by])["total"]["all"], kept, "by {by}, as the scans that are there");
    }
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn what_is_left_is_carried_over_and_the_rest_is_said_to_be_missing() {
    let engine = ClickHouse::start();
    let setup = Setup::new().set("store", "keep", "\"40d\"");
    store(&setup, "A1B2C3", 50, 9_000);
    store(&setup, "A1B2C3", 30, 100);
    let mut edge = setup.start();
    wait_for("the old ones are dropped", || (edge.metrics().get(BY_AGE) == 9000.0).then_some(()));
    edge.stop();
    let setup = std::mem::replace(&mut edge.setup, Setup::new()).clickhouse(&engine, engine.address);
    let output = setup.run(&["backfill"]);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("100 scans carried over; 9000 older ones had been dropped here"), "{said}");
    assert_eq!(engine.number("SELECT count() FROM {db}.scans"), 100);
}

#[test]
#[ignore = "needs root: tests/run"]
fn with_less_free_than_min_free_the_store_takes_nothing_and_the_journal_keeps_it() {
    let setup = Setup::new().set("store", "path", "\"../disk/waypost.db\"").set("journal", "min_free", "\"4MiB\"");
    let disk = crate::support::SmallDisk::mount(&setup.path("disk"));
    let edge = setup.start();
    edge.scan("/A1B2C3");
    edge.wait_until_stored();
    let ballast = edge.setup.path("disk/ballast");
    std::fs::write(&ballast, vec![0; 5 << 20]).unwrap();
    edge.scan("/A1B2C3");
    wait_for("it is refused", || edge.log().contains("bytes free on its file system (journal.min_free)").then_some(()));
    assert_eq!(edge.metrics().get("waypost_scans_pending"), 1.0);
    assert_eq!(edge.metrics().sum("waypost_scans_dropped_total"), 0.0);
    std::fs::remove_file(ballast).unwrap();
    edge.wait_until_stored();
    assert_eq!(edge.metrics().get("waypost_scans_stored_total"), 2.0);
    drop((edge, disk));
}

#[test]
fn a_size_that_can_not_fit_is_told_by_check() {
    let check = |max_size: &str| {
        let setup = Setup::new().set("journal", "segment", "\"1MiB\"");
        let output = setup.set("store", "max_size", format!("\"{max_size}\"")).run(&["check"]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (is_ok, text) = check("1MiB");
    assert!(
        !is_ok && text.contains("expected 0B, which is no limit, or at least 4MiB: 4 of journal.segment, found 1MiB")
    );
    let (is_ok, text) = check("1024TiB");
    assert!(is_ok && text.contains("warning: store.max_size: 1024TiB is more than the"), "{text}");
    let (is_ok, text) = check("4MiB");
    assert!(is_ok && !text.contains("warning: store."), "{text}");
}
