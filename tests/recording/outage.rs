//! An outage of the store makes files and inserts by the scan, and not by the hour: segments stay
//! open until the store is back, and then they are sealed at once.

use std::time::{Duration, Instant};

use crate::support::clickhouse::ClickHouse;
use crate::support::fault::{FaultProxy, Mood};
use crate::support::{Edge, Setup, wait_for};

/// Scans for some twenty times `seal_after`, so that each tick of a worker finds some.
fn scan_for_a_while(edge: &Edge) -> u64 {
    let (begun, mut scans) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(5) {
        edge.scan("/A1B2C3");
        scans += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    scans
}

fn segments(edge: &Edge) -> usize {
    waypost::journal::segments(&edge.setup.path("data/journal")).unwrap().len()
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn a_store_that_is_away_makes_no_small_files() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let edge = Setup::new().clickhouse(&engine, proxy.address()).set("edge", "workers", "2").start();
    edge.wait_until_registry_stored();
    proxy.set(Mood::Refuse);
    edge.scan("/A1B2C3");
    wait_for("the outage is seen", || (edge.metrics().get("waypost_store_retries_total") > 0.0).then_some(()));
    let scans = 1 + scan_for_a_while(&edge);
    // One that was sealed before the outage was seen, one open and one spare of each worker; and
    // room for a try that was under way.
    assert!(segments(&edge) <= 7, "{} files", segments(&edge));
    let deferred = edge.metrics().get("waypost_journal_deferred_segments");
    assert!((1.0..=2.0).contains(&deferred), "{deferred}");
    let inserts = proxy.inserts_forwarded();
    proxy.set(Mood::Pass);
    edge.wait_until_stored();
    assert_eq!(engine.number("SELECT count() FROM {db}.scans"), scans);
    assert!(proxy.inserts_forwarded() - inserts <= 5, "{} inserts", proxy.inserts_forwarded() - inserts);
    assert_eq!(edge.metrics().get("waypost_journal_deferred_segments"), 0.0);
    edge.metrics().assert_books_balance();
}

#[test]
fn an_embedded_store_that_is_locked_is_an_outage_too() {
    let edge = Setup::new().start();
    wait_for("the store is there", || edge.setup.path("data/waypost.db").exists().then_some(()));
    let database = edge.database();
    wait_for("the store is locked", || database.execute_batch("BEGIN EXCLUSIVE").ok());
    edge.scan("/A1B2C3");
    wait_for("the outage is seen", || (edge.metrics().get("waypost_store_retries_total") > 0.0).then_some(()));
    let scans = 1 + scan_for_a_while(&edge);
    // SQLite waits 5 s for the lock before it reports it, and until then the edge does not know.
    let sealed = edge.metrics().get("waypost_journal_sealed_segments");
    database.execute_batch("ROLLBACK").unwrap();
    edge.wait_until_stored();
    assert!(sealed < 34.0, "{sealed} sealed segments");
    assert_eq!(edge.counts().get("A1B2C3"), Some(&scans));
    edge.metrics().assert_books_balance();
}

#[test]
#[ignore = "needs ClickHouse's engine: tests/run"]
fn an_outage_has_an_age_at_which_segments_are_sealed_all_the_same() {
    let engine = ClickHouse::start();
    let proxy = FaultProxy::start(engine.address);
    let setup = Setup::new().clickhouse(&engine, proxy.address()).set("journal", "seal_after_outage", "\"1s\"");
    proxy.set(Mood::Refuse);
    let edge = setup.start();
    wait_for("the outage is seen", || (edge.metrics().get("waypost_store_retries_total") > 0.0).then_some(()));
    edge.scan("/A1B2C3");
    wait_for("it is sealed", || (edge.metrics().get("waypost_journal_sealed_segments") == 1.0).then_some(()));
}
