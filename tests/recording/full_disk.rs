//! When the disk is full redirects go on, and what could not be recorded is counted, exactly.
//!
//! The journal is on a file system of 8 MiB of its own, which fills up because the store
//! is locked by somebody else. Later the store is let go, the journal drains into it, and
//! what is stored and what was dropped are together what was answered.

use crate::support::load::Load;
use crate::support::{Setup, SmallDisk, many_signs, wait_for};

#[test]
#[ignore = "needs root: tests/run"]
fn a_full_disk_costs_scans_that_are_counted_and_no_redirect() {
    let (places, signs, codes) = many_signs(10);
    let setup = Setup::new()
        .set("edge", "workers", "2")
        .set("journal", "dir", "\"../disk/journal\"")
        .set("journal", "segment", "\"1MiB\"")
        .registry(&places, &signs);
    let disk = SmallDisk::mount(&setup.path("disk"));
    let mut edge = setup.start();
    wait_for("the store is there", || edge.setup.path("data/waypost.db").exists().then_some(()));
    let database = edge.database();
    wait_for("the store is locked", || database.execute_batch("BEGIN EXCLUSIVE").ok());
    let mut load = Load::start(edge.address(), 4, &codes);
    let dropped = "waypost_scans_dropped_total{reason=\"disk_full\"}";
    wait_for("scans are dropped", || (edge.metrics().get(dropped) > 20_000.0).then_some(()));
    edge.metrics().assert_books_balance();
    load.stop();
    let waiting = edge.metrics().total("waypost_scans_pending");
    database.execute_batch("ROLLBACK").unwrap();
    wait_for("the journal drains", || (edge.metrics().total("waypost_scans_pending") < waiting / 2).then_some(()));
    let mut later = Load::start(edge.address(), 1, &codes);
    let stored = "waypost_scans_stored_total";
    wait_for("scans are recorded again", || (edge.metrics().total(stored) > waiting + 1000).then_some(()));
    later.stop();
    edge.wait_until_stored();

    let dropped = edge.metrics().total("waypost_scans_dropped_total");
    let counted: u64 = edge.counts().values().sum();
    for load in [&load, &later] {
        assert_eq!(load.errors.load(std::sync::atomic::Ordering::Relaxed), 0, "no redirect failed");
        assert_eq!(load.received(), load.sent());
    }
    assert_eq!(counted + dropped, load.received() + later.received(), "dropped is exactly what is missing");
    edge.stop();
    drop(disk);
}

#[test]
fn a_journal_that_reaches_its_own_limit_does_the_same() {
    let (places, signs, codes) = many_signs(10);
    let edge = Setup::new().set("journal", "max_size", "\"1MiB\"").registry(&places, &signs).start();
    wait_for("the store is there", || edge.setup.path("data/waypost.db").exists().then_some(()));
    let database = edge.database();
    wait_for("the store is locked", || database.execute_batch("BEGIN EXCLUSIVE").ok());
    let mut load = Load::start(edge.address(), 2, &codes);
    let dropped = "waypost_scans_dropped_total{reason=\"journal_full\"}";
    wait_for("scans are dropped", || (edge.metrics().get(dropped) > 1000.0).then_some(()));
    assert!(edge.metrics().get("waypost_journal_bytes") <= f64::from(1 << 20));
    load.stop();
    database.execute_batch("ROLLBACK").unwrap();
    edge.wait_until_stored();
    let counted: u64 = edge.counts().values().sum();
    assert_eq!(counted + edge.metrics().total("waypost_scans_dropped_total"), load.received());
}
