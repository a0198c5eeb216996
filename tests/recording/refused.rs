//! A file system that refuses what others do costs nothing but time: where blocks can't be reserved
//! or pages touched by one call, it is done by hand; where a disk fails to sync, rename or read, it
//! is told and tried again, redirects go on, and no scan is lost in silence.

use std::fs;

use crate::support::refuse::Refused;
use crate::support::{Edge, Setup, files_below, wait_for};

fn scan(edge: &Edge, scans: u64) {
    for _ in 0..scans {
        assert_eq!(edge.scan("/A1B2C3").status, 302);
    }
}

/// Nothing is lost, dropped or waiting.
#[track_caller]
fn assert_all_stored(edge: &Edge, scans: u64) {
    edge.wait_until_stored();
    let metrics = edge.metrics();
    metrics.assert_books_balance();
    assert_eq!(metrics.total("waypost_scans_lost_total") + metrics.total("waypost_scans_dropped_total"), 0);
    assert_eq!(edge.counts().get("A1B2C3"), Some(&scans));
}

/// Whole segments, so that a page that was not reserved or touched would be met.
fn fills_segments(edge: &mut Edge) {
    scan(edge, 5000);
    wait_for("several", || (edge.metrics().get("waypost_store_batches_total") > 2.0).then_some(()));
    assert_all_stored(edge, 5000);
    edge.stop();
}

#[test]
fn without_fallocate_blocks_are_reserved_by_zeros() {
    let (refused, setup) = Refused::in_edge(Setup::new().set("journal", "segment", "\"64KiB\""));
    refused.refuse("fallocate", "");
    let mut edge = setup.start();
    let status = fs::read_to_string(format!("/proc/{}/status", edge.pid())).unwrap();
    assert!(status.contains("Seccomp:\t2\n"), "the kernel refuses it: {status}");
    for segment in files_below(&edge.setup.path("data/journal")) {
        let is_open = segment.extension().is_some_and(|kind| kind == "open");
        assert!(!is_open || fs::metadata(&segment).unwrap().len() == 64 << 10, "{} is reserved", segment.display());
    }
    fills_segments(&mut edge);
}

#[test]
fn without_populate_pages_are_touched_one_by_one() {
    let (refused, setup) = Refused::in_edge(Setup::new().set("journal", "segment", "\"64KiB\""));
    refused.refuse("populate", "");
    let mut edge = setup.start();
    assert!(refused.times("populate") > 0);
    fills_segments(&mut edge);
}

#[test]
fn a_sync_that_fails_is_counted_and_loses_nothing() {
    let (refused, setup) = Refused::in_edge(Setup::new().set("journal", "seal_after", "\"1h\""));
    let mut edge = setup.start();
    refused.refuse("msync", "");
    scan(&edge, 20);
    let errors = "waypost_journal_errors_total";
    wait_for("syncs fail", || (edge.metrics().get(errors) > 1.0).then_some(()));
    assert!(edge.log().contains("a segment can't be synced"));
    scan(&edge, 20);
    refused.allow("msync");
    let syncs = || edge.metrics().get("waypost_journal_syncs_total");
    let before = syncs();
    wait_for("it is synced after all", || (syncs() > before).then_some(()));
    refused.refuse("msync", "");
    edge.stop();
    edge.start();
    assert_all_stored(&edge, 40);
    edge.stop();
}

/// Each step of sealing fails for a while: cutting, its sync, the rename, the folder's sync.
#[test]
fn sealing_that_fails_is_tried_again_and_loses_nothing() {
    let (refused, setup) = Refused::in_edge(Setup::new());
    let mut edge = setup.start();
    let mut scans = 0;
    for (call, part) in [("ftruncate", ".open"), ("fsync", ".open"), ("rename", ".sealed"), ("fsync", "/journal")] {
        let (times, errors) = (refused.times(call), edge.metrics().get("waypost_journal_errors_total"));
        refused.refuse(call, part);
        scan(&edge, 10);
        scans += 10;
        wait_for(call, || (refused.times(call) > times + 2).then_some(()));
        let metrics = edge.metrics();
        assert!(metrics.get("waypost_journal_errors_total") > errors, "{call}");
        assert!(metrics.get("waypost_scans_pending") >= 1.0, "{call}: they wait");
        metrics.assert_books_balance();
        refused.allow(call);
        assert_all_stored(&edge, scans);
    }
    assert!(edge.log().contains("a segment can't be sealed"));
    edge.stop();
}

/// Of two segments that a kill has left, one can't be read at the start.
#[test]
fn a_segment_that_cannot_be_read_at_the_start_is_set_aside_and_the_others_are_stored() {
    let (refused, setup) =
        Refused::in_edge(Setup::new().set("edge", "workers", "2").set("journal", "seal_after", "\"1h\""));
    let mut edge = setup.start();
    let used = |edge: &Edge| {
        let journal = waypost::journal::segments(&edge.setup.path("data/journal")).unwrap();
        let used = journal.into_iter().map(|(path, _)| (waypost::journal::read(&path).unwrap().scans.len(), path));
        used.filter(|(scans, _)| *scans > 0).collect::<Vec<_>>()
    };
    let mut scans = 0;
    // Each scan is on a new connection, which the kernel gives to one of the workers.
    let segments = wait_for("both workers have recorded", || {
        scan(&edge, 1);
        scans += 1;
        Some(used(&edge)).filter(|used| used.len() == 2)
    });
    edge.kill();
    let (unread, broken) = &segments[0];
    let name = broken.file_stem().unwrap().to_str().unwrap();
    refused.refuse("read", name);
    edge.start();
    assert!(edge.log().contains("a segment can't be recovered"));
    assert_all_stored(&edge, scans - *unread as u64);
    let aside = files_below(&edge.setup.path("data/journal/quarantine"));
    assert!(aside.iter().any(|file| file.to_str().unwrap().contains(name)), "{aside:?}");
    edge.stop();
}
